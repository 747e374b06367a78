//! The bench's side of a child: starting it, asking it, and finding out that it crashed, hangs or answers wrongly.
//!
//! Other trackers may do each of these; then `ask` says what happened, and the table has a row that says so.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

/// A running child.
#[derive(Debug)]
pub struct Child {
    process: std::process::Child,
    answers: Receiver<String>,
    complaints: Option<std::thread::JoinHandle<String>>,
    name: String,
    patience: Duration,
}

/// Command for one of the children, in a given mode and nothing else of ours in its environment.
#[must_use]
pub fn command(executable: &Path, mode: &str) -> Command {
    let mut command = Command::new(executable);
    for variable in ["DEPTH", "REPORT", "SNAPSHOT", "OBSERVE", "MEMORY_MIB"] {
        command.env_remove(format!("ALLOCSCOPE_{variable}"));
    }
    command.env("ALLOCSCOPE_MODE", mode);
    command
}

impl Child {
    /// Starts one of ours or the bare one; `mode` is for ours.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(executable: &Path, mode: &str) -> Self {
        let name = format!("{} in {mode}", executable.display());
        Self::start_command(command(executable, mode), name).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Starts one with a command of its own.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_command(mut command: Command, name: String) -> Result<Self, String> {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut process = command
            .spawn()
            .map_err(|error| format!("{name} cannot be started: {error}"))?;
        let (sender, answers) = channel();
        let output = BufReader::new(process.stdout.take().expect("its output is a pipe"));
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let mut errors = process.stderr.take().expect("its messages are a pipe");
        let complaints = std::thread::spawn(move || {
            let mut text = Vec::new();
            // What cannot be read is not shown.
            let _ = errors.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        Ok(Self {
            process,
            answers,
            complaints: Some(complaints),
            name,
            patience: Duration::from_secs(120),
        })
    }

    /// Waits no longer than this for an answer.
    #[must_use]
    pub fn patient(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Sends a command and waits for the numbers.
    ///
    /// # Panics
    /// When the child has failed.
    pub fn ask(&mut self, line: &str) -> Vec<u64> {
        self.try_ask(line).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Sends a command and waits for the numbers.
    ///
    /// # Errors
    /// When the child crashed, hangs or says something else: what happened, in one line.
    pub fn try_ask(&mut self, line: &str) -> Result<Vec<u64>, String> {
        self.send(line);
        self.listen(line)
    }

    /// Sends a command; [`Child::listen`] waits for the numbers.
    ///
    /// # Panics
    /// Never: its input is a pipe.
    pub fn send(&mut self, line: &str) {
        let pipe = self.process.stdin.as_mut().expect("its input is a pipe");
        // If it has ended, waiting for the answer tells more.
        let _ = writeln!(pipe, "{line}");
    }

    /// Waits for a line of numbers.
    ///
    /// # Errors
    /// As [`Child::try_ask`].
    pub fn listen(&mut self, line: &str) -> Result<Vec<u64>, String> {
        let answer = match self.answers.recv_timeout(self.patience) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Timeout) => {
                let patience = self.patience.as_secs();
                // It may have ended just now.
                let _ = self.process.kill();
                return Err(format!("{}: no answer to `{line}` in {patience} s", self.name));
            }
            Err(RecvTimeoutError::Disconnected) => return Err(self.death(line)),
        };
        let numbers: Result<Vec<u64>, _> = answer.split_whitespace().map(str::parse).collect();
        numbers.map_err(|_| format!("{}: `{line}` was answered by `{answer}`", self.name))
    }

    fn death(&mut self, line: &str) -> String {
        let status = self
            .process
            .wait()
            .map_or_else(|error| error.to_string(), |status| status.to_string());
        let complaints = self
            .complaints
            .take()
            .and_then(|thread| thread.join().ok())
            .unwrap_or_default();
        let words = first_line(&complaints);
        format!("{}: ended at `{line}` ({status}){words}", self.name)
    }
}

/// The first line that says something, for a message of one line.
#[must_use]
pub fn first_line(text: &str) -> String {
    let says = |line: &&str| {
        let line = line.trim();
        !line.is_empty() && !line.starts_with("==") && !line.starts_with("thread '")
    };
    text.lines()
        .find(says)
        .map_or(String::new(), |line| format!(": {}", line.trim()))
}

impl Drop for Child {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        // A child that does not end by itself is ended: what it was asked for is known by now.
        for _ in 0..200 {
            if !matches!(self.process.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
