//! Runs every program of `src/bin`, each in a process of its own and in every mode where that matters, with a time limit: a hang is a
//! failure with a name. Each program checks its own figures; what is checked here is how it ends.
//!
//! The everyday form tries everything a few times. `ALLOCSCOPE_FULL=1` tries as often as `docs/trust.md` says.

use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

const MODES: [&str; 3] = ["exact", "scopes", "off"];

fn is_full() -> bool {
    std::env::var_os("ALLOCSCOPE_FULL").is_some_and(|value| value == "1")
}

struct Ran {
    name: String,
    status: ExitStatus,
    stdout: String,
    stderr: String,
}

impl Ran {
    fn assert(&self, is_right: bool, expected: &str) {
        assert!(
            is_right,
            "{}: {expected} was expected, but it ended with {}\n{}{}",
            self.name, self.status, self.stdout, self.stderr
        );
    }
    fn assert_success(self) -> Self {
        self.assert(self.status.success(), "success");
        print!("{}: {}", self.name, self.stdout);
        self
    }
    fn assert_code(self, code: i32) -> Self {
        self.assert(self.status.code() == Some(code), &format!("exit status {code}"));
        self
    }
    fn assert_aborted(self) -> Self {
        self.assert(self.status.signal() == Some(libc::SIGABRT), "SIGABRT");
        self
    }
    fn assert_says(self, text: &str) -> Self {
        let says = self.stdout.contains(text) || self.stderr.contains(text);
        self.assert(says, &format!("the text \"{text}\""));
        self
    }
}

/// Runs `command` in this mode; ends it, and all that it started, when it hangs.
fn run(mut command: Command, mode: &str) -> Ran {
    let limit = Duration::from_secs(if is_full() { 1800 } else { 180 });
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("ALLOCSCOPE_") && text != "ALLOCSCOPE_FULL" {
            command.env_remove(name);
        }
    }
    command.env("ALLOCSCOPE_MODE", mode).env("RUST_BACKTRACE", "0");
    let name = format!("{command:?}");
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{name}: {error}"));
    let read = |mut from: Box<dyn Read + Send>| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            from.read_to_end(&mut bytes).expect("a pipe can be read");
            String::from_utf8_lossy(&bytes).into_owned()
        })
    };
    let stdout = read(Box::new(child.stdout.take().expect("piped")));
    let stderr = read(Box::new(child.stderr.take().expect("piped")));
    let end = Instant::now() + limit;
    let status = loop {
        if let Some(status) = child.try_wait().expect("it was started here") {
            break status;
        }
        if Instant::now() > end {
            // SAFETY: the group was made for this child.
            unsafe { libc::kill(-child.id().cast_signed(), libc::SIGKILL) };
            panic!("{name}: hangs: not ended after {} s", limit.as_secs());
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    Ran {
        name,
        status,
        stdout: stdout.join().expect("it only reads"),
        stderr: stderr.join().expect("it only reads"),
    }
}

macro_rules! program {
    ($name:literal $(, $argument:expr)*) => {{
        #[allow(unused_mut, reason = "not without arguments")]
        let mut command = Command::new(env!(concat!("CARGO_BIN_EXE_", $name)));
        $(command.arg($argument);)*
        command
    }};
}

fn in_every_mode(make: impl Fn() -> Command) {
    for mode in MODES {
        run(make(), mode).assert_success();
    }
}

#[test]
fn forks() {
    in_every_mode(|| program!("forks"));
}

#[test]
fn signal_handlers() {
    in_every_mode(|| program!("signals"));
}

#[test]
fn failing_allocator() {
    in_every_mode(|| program!("failing_allocator"));
}

#[test]
fn many_threads() {
    in_every_mode(|| program!("threads_many"));
}

#[test]
fn coroutines() {
    in_every_mode(|| program!("coroutines"));
}

#[test]
fn layouts() {
    in_every_mode(|| program!("layouts"));
}

#[test]
fn printing_inside_reports() {
    in_every_mode(|| program!("printing"));
}

#[test]
fn ways_to_end() {
    for mode in MODES {
        for _ in 0..if is_full() { 20 } else { 1 } {
            let end = |how| run(program!("process_ends", how), mode);
            end("return").assert_code(0).assert_says("the last handler has run");
            end("exit").assert_code(7).assert_says("the last handler has run");
            end("abort").assert_aborted();
            end("caught").assert_code(0).assert_says("the last handler has run");
            end("panic").assert_code(101).assert_says("on purpose");
            end("panic_twice")
                .assert_aborted()
                .assert_says("while panicking [1, 2, 3]");
        }
    }
}

#[test]
fn reports_are_written_however_the_program_exits() {
    for (how, code) in [("return", 0), ("exit", 7), ("panic", 101)] {
        let path = scratch(&format!("report_{how}.txt"));
        let _ = std::fs::remove_file(&path);
        let mut command = Command::new("/bin/sh");
        // By a shell, because `run` clears the variables that this test's own run may have.
        command.args(["-c", r#"ALLOCSCOPE_REPORT="$1" exec "$2" "$3""#, "sh"]);
        command.arg(&path).arg(env!("CARGO_BIN_EXE_process_ends")).arg(how);
        run(command, "exact").assert_code(code);
        let report = std::fs::read_to_string(&path).expect("the report was written");
        assert!(report.contains("before main"), "{how}: {report}");
    }
}

#[test]
fn stack_overflow() {
    for mode in MODES {
        for thread in ["main", "thread"] {
            run(program!("stack_overflow", thread), mode)
                .assert_aborted()
                .assert_says("has overflowed its stack");
        }
    }
}

#[test]
fn little_memory() {
    // Address space in KiB. Below 40 MiB the program itself, and what the tracker reserves, hardly find room.
    for limit in [48_000, 64_000, 150_000, 300_000, 2_000_000] {
        for mode in MODES {
            // To use up two gibibytes takes minutes.
            let ways = if limit < 1_000_000 {
                &["run", "exhaust"][..]
            } else {
                &["run"]
            };
            for what in ways {
                let mut command = Command::new("/bin/sh");
                command.args(["-c", r#"ulimit -v "$1" && exec "$2" "$3""#, "sh"]);
                command
                    .arg(limit.to_string())
                    .arg(env!("CARGO_BIN_EXE_little_memory"))
                    .arg(what);
                run(command, mode).assert_success().assert_says("done");
            }
        }
    }
    // The tracker's own ceiling at its least.
    for what in ["run", "exhaust"] {
        let mut command = Command::new("/bin/sh");
        command.args([
            "-c",
            r#"ulimit -v 300000 && ALLOCSCOPE_MEMORY_MIB=1 exec "$1" "$2""#,
            "sh",
        ]);
        command.arg(env!("CARGO_BIN_EXE_little_memory")).arg(what);
        run(command, "exact").assert_success().assert_says("done");
    }
}

fn scratch(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}_{name}", std::process::id()))
}

#[test]
fn loaded_libraries() {
    let examples = Path::new(env!("CARGO_BIN_EXE_loaded_libraries"))
        .parent()
        .expect("in a directory")
        .join("examples");
    for kind in ["plain", "tracking"] {
        let library = examples.join(format!("lib{kind}_library.so"));
        if !library.exists() {
            println!(
                "{} is not built: skipped (`cargo test -p allocscope-hard` builds it)",
                library.display()
            );
            continue;
        }
        in_every_mode(|| program!("loaded_libraries", kind, &library));
    }
    let library = scratch("plain_c.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/libraries/plain.c");
    let compiler = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", source, "-o"])
        .arg(&library)
        .status();
    match compiler {
        Ok(status) => assert!(status.success(), "the library of C cannot be built"),
        Err(error) => return println!("no compiler for C ({error}): its library is skipped"),
    }
    in_every_mode(|| program!("loaded_libraries", "c", &library));
}

#[test]
fn panics_that_abort() {
    // In place of the program with the usual setting, which the next build makes again; what both depend on is built.
    let program = Path::new(env!("CARGO_BIN_EXE_abort_on_panic"));
    let profile = program.parent().expect("in a directory");
    let mut build = Command::new(env!("CARGO"));
    build.args([
        "rustc",
        "-q",
        "-p",
        "allocscope-hard",
        "--bin",
        "abort_on_panic",
        "--target-dir",
    ]);
    build.arg(profile.parent().expect("in the target directory"));
    if profile.ends_with("release") {
        build.arg("--release");
    }
    build
        .args(["--", "-C", "panic=abort"])
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    assert!(
        build.status().expect("cargo runs").success(),
        "the program cannot be built"
    );
    for mode in MODES {
        run(Command::new(program), mode)
            .assert_aborted()
            .assert_says("counted; panics abort: true");
    }
}
