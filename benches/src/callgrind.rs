//! Instruction counts of a child, by valgrind's callgrind.
//!
//! A task runs twice with different counts: the difference of the two runs, divided by the difference of the counts, is free of
//! start-up and warm-up. The counts don't depend on how busy the machine is, but on the compiler, the C library and valgrind.

use std::process::Command;

/// What `valgrind --version` says, where there is one.
#[must_use]
pub fn version() -> Option<String> {
    let output = Command::new("valgrind").arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success().then_some(text)
}

/// Instructions of one turn of a task in the steady state.
///
/// # Errors
/// When the child fails under callgrind: what it said.
pub fn per_turn(child: &Command, task: &str, few: u64, many: u64) -> Result<f64, String> {
    let (few_total, many_total) = (instructions(child, task, few)?, instructions(child, task, many)?);
    Ok((many_total as f64 - few_total as f64) / (many - few) as f64)
}

fn instructions(child: &Command, task: &str, count: u64) -> Result<u64, String> {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    for (name, value) in child.get_envs() {
        match value {
            Some(value) => valgrind.env(name, value),
            None => valgrind.env_remove(name),
        };
    }
    valgrind.arg(child.get_program());
    let output = valgrind.args(["loop", task, &count.to_string()]).output();
    let output = output.map_err(|error| format!("valgrind cannot be started: {error}"))?;
    let messages = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        let words = crate::drive::first_line(&messages);
        return Err(format!("`{task}` fails under callgrind ({}){words}", output.status));
    }
    let line = messages.lines().find_map(|line| line.split_once("Collected : "));
    let total = line.and_then(|(_, total)| total.trim().parse().ok());
    total.ok_or_else(|| "callgrind does not say how many instructions it counted".to_owned())
}

/// Does all the jobs, on as many threads as there are cores; the results in the order of the jobs.
pub fn parallel<J: Sync, R: Send>(jobs: &[J], run: impl Fn(&J) -> R + Sync) -> Vec<R> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let next = std::sync::atomic::AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let place = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let Some(job) = jobs.get(place) else {
                return done;
            };
            done.push((place, run(job)));
        }
    };
    let mut done: Vec<(usize, R)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().expect("jobs do not panic"))
            .collect()
    });
    done.sort_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, result)| result).collect()
}
