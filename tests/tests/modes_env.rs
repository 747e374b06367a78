//! The environment variables, good values and bad, in programs of their own: what they change, what is said about a value that cannot be
//! used, that the program runs on in any case, and what is written when it ends.
//!
//! What is in a report or a snapshot is tested elsewhere; here only that it is whole and about this program.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};

use alloc_core::Snapshot;

struct Ran {
    output: Output,
    stdout: String,
    stderr: String,
}

fn run(argument: &str, variables: &[(&str, &str)]) -> Ran {
    run_executable(env!("CARGO_BIN_EXE_env_child"), argument, variables)
}

fn run_executable(executable: &str, argument: &str, variables: &[(&str, &str)]) -> Ran {
    let mut command = Command::new(executable);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ALLOCSCOPE_") {
            command.env_remove(name);
        }
    }
    let output = command
        .arg(argument)
        .envs(variables.iter().copied())
        .output()
        .expect("the program was built with this test");
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    Ran { output, stdout, stderr }
}

impl Ran {
    /// It ran to its end, in this mode.
    fn assert_done(&self, mode: &str) {
        assert!(self.output.status.success(), "{}: {}", self.output.status, self.stderr);
        let lines: Vec<&str> = self.stdout.lines().collect();
        assert_eq!(lines.first(), Some(&format!("mode {mode}").as_str()), "{}", self.stdout);
        assert_eq!(lines.last(), Some(&"done"), "{}", self.stdout);
    }
}

/// A path in the build directory that nothing else uses.
fn scratch(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("modes_env_{}_{name}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    path
}

#[test]
fn good_values_change_the_mode_and_say_nothing() {
    for (variables, mode) in [
        (&[][..], "exact"),
        (&[("ALLOCSCOPE_MODE", "exact")][..], "exact"),
        (&[("ALLOCSCOPE_MODE", "scopes")][..], "scopes"),
        (&[("ALLOCSCOPE_MODE", "off")][..], "off"),
        (
            &[("ALLOCSCOPE_MODE", "scopes"), ("ALLOCSCOPE_DEPTH", "128")][..],
            "scopes",
        ),
        (
            &[
                ("ALLOCSCOPE_MODE", "sampled"),
                ("ALLOCSCOPE_SAMPLE_INTERVAL", "64 KiB"),
                ("ALLOCSCOPE_SAMPLE_RATE", "0"),
                ("ALLOCSCOPE_SAMPLE_SEED", "18446744073709551615"),
            ][..],
            "sampled",
        ),
    ] {
        let ran = run("take", variables);
        ran.assert_done(mode);
        assert_eq!(ran.stderr, "", "{variables:?}");
        assert!(ran.stdout.contains("taken true"), "{variables:?}: {}", ran.stdout);
    }
}

#[test]
fn a_value_that_cannot_be_used_gets_one_line_and_the_default() {
    let long = "x".repeat(10_000);
    for (name, value, default) in [
        ("ALLOCSCOPE_MODE", "fast", "exact"),
        ("ALLOCSCOPE_MODE", "", "exact"),
        ("ALLOCSCOPE_MODE", "Exact", "exact"),
        ("ALLOCSCOPE_MODE", "off ", "exact"),
        ("ALLOCSCOPE_MODE", "a\nb", "exact"),
        ("ALLOCSCOPE_MODE", &long, "exact"),
        ("ALLOCSCOPE_DEPTH", "0", "64"),
        ("ALLOCSCOPE_DEPTH", "129", "64"),
        ("ALLOCSCOPE_DEPTH", "-1", "64"),
        ("ALLOCSCOPE_DEPTH", "many", "64"),
        ("ALLOCSCOPE_DEPTH", "99999999999999999999", "64"),
        ("ALLOCSCOPE_DEPTH", "", "64"),
        ("ALLOCSCOPE_SAMPLE_INTERVAL", "15", "512KiB"),
        ("ALLOCSCOPE_SAMPLE_INTERVAL", "2TiB", "512KiB"),
        ("ALLOCSCOPE_SAMPLE_INTERVAL", "KiB", "512KiB"),
        ("ALLOCSCOPE_SAMPLE_INTERVAL", "512 kb", "512KiB"),
        ("ALLOCSCOPE_SAMPLE_INTERVAL", "99999999999999999999", "512KiB"),
        ("ALLOCSCOPE_SAMPLE_RATE", "fast", "10000"),
        ("ALLOCSCOPE_SAMPLE_SEED", "-1", "a number"),
        ("ALLOCSCOPE_REPORT", "", "nothing"),
        ("ALLOCSCOPE_SNAPSHOT", "", "nothing"),
        ("ALLOCSCOPE_MEMORY_MIB", "none", "256"),
        ("ALLOCSCOPE_RANK", "size", "bytes"),
        ("ALLOCSCOPE_TOP", "0", "10"),
    ] {
        let ran = run("take", &[(name, value)]);
        ran.assert_done("exact");
        let said = &ran.stderr;
        assert_eq!(said.lines().count(), 1, "{name}={value:?}: {said}");
        assert!(said.ends_with('\n') && said.len() < 400, "{name}={value:?}: {said}");
        assert!(
            said.contains(name) && said.contains(default),
            "{name}={value:?}: {said}"
        );
        assert!(said.starts_with("allocscope"), "who says it: {said}");
    }
    let ran = run("take", &[("ALLOCSCOPE_MODE", "x"), ("ALLOCSCOPE_DEPTH", "y")]);
    assert_eq!(ran.stderr.lines().count(), 2, "one line each: {}", ran.stderr);
}

#[test]
fn depth_bounds_the_stacks_that_are_kept() {
    for (depth, is_cut) in [("1", true), ("4", true), ("128", false)] {
        let ran = run("stacks", &[("ALLOCSCOPE_DEPTH", depth)]);
        ran.assert_done("exact");
        let number = |name: &str| {
            let line = ran.stdout.lines().find_map(|line| line.strip_prefix(name));
            line.expect("it prints this").trim().to_owned()
        };
        let deepest: usize = number("deepest").parse().expect("a number");
        let bound: usize = depth.parse().expect("a number");
        assert!(deepest >= 1 && deepest <= bound, "depth {depth}: {}", ran.stdout);
        assert_eq!(number("cut"), is_cut.to_string(), "depth {depth}: {}", ran.stdout);
    }
    let ran = run("stacks", &[("ALLOCSCOPE_MODE", "scopes")]);
    assert!(
        ran.stdout.contains("deepest 0"),
        "no stacks in this mode: {}",
        ran.stdout
    );
}

#[test]
fn report_and_snapshot_are_written_when_the_program_returns_or_exits() {
    for (argument, code) in [("return", 0), ("exit", 7)] {
        let (report, saved) = (
            scratch(&format!("{argument}.txt")),
            scratch(&format!("{argument}.json")),
        );
        let variables = [
            ("ALLOCSCOPE_REPORT", report.to_str().expect("ASCII")),
            ("ALLOCSCOPE_SNAPSHOT", saved.to_str().expect("ASCII")),
        ];
        let ran = run(argument, &variables);
        assert_eq!(ran.output.status.code(), Some(code), "{}", ran.stderr);
        assert_eq!(ran.stderr, "");
        let text = std::fs::read_to_string(&report).expect("the report was written");
        assert!(text.contains("the work"), "{argument}: {text}");
        let snapshot = Snapshot::load(&saved).expect("the snapshot was written");
        let scope = allocscope_tests::node(&snapshot, "the work");
        assert_eq!(
            (scope.calls.entered, scope.own.total_bytes),
            (6, 6 * 1234),
            "{argument}"
        );
        assert_eq!(
            scope.own.live_blocks,
            u64::from(argument == "exit"),
            "still held when it exits"
        );
        for path in [report, saved] {
            std::fs::remove_file(path).expect("it was written");
        }
    }
}

#[test]
fn programs_with_one_environment_write_files_of_their_own() {
    let directory = scratch("own");
    std::fs::create_dir_all(&directory).expect("a place for files");
    let path = |name: &str| directory.join(name).to_str().expect("ASCII").to_owned();
    let (report, saved) = (path("heap-%p.txt"), path("%p-of-%p%.json"));
    for _ in 0..2 {
        let ran = run(
            "return",
            &[("ALLOCSCOPE_REPORT", &report), ("ALLOCSCOPE_SNAPSHOT", &saved)],
        );
        ran.assert_done("exact");
        assert_eq!(ran.stderr, "");
    }
    let entries = std::fs::read_dir(&directory).expect("it exists");
    let names: Vec<String> = entries
        .map(|entry| entry.expect("readable").file_name().into_string().expect("ASCII"))
        .collect();
    let of_reports = names
        .iter()
        .filter_map(|name| name.strip_prefix("heap-")?.strip_suffix(".txt"));
    let ids: Vec<&str> = of_reports.filter(|id| id.parse::<u32>().is_ok()).collect();
    assert_eq!((ids.len(), names.len()), (2, 4), "{names:?}");
    for id in ids {
        assert!(names.contains(&format!("{id}-of-{id}%.json")), "{names:?}");
    }
    std::fs::remove_dir_all(&directory).expect("it was made");
}

#[test]
fn a_dash_writes_to_stderr_and_leaves_stdout_alone() {
    let ran = run("return", &[("ALLOCSCOPE_REPORT", "-")]);
    ran.assert_done("exact");
    assert!(ran.stderr.contains("the work"), "{}", ran.stderr);
    assert_eq!(ran.stdout.lines().count(), 2);

    let ran = run("exit", &[("ALLOCSCOPE_SNAPSHOT", "-")]);
    assert_eq!(ran.output.status.code(), Some(7));
    let snapshot = Snapshot::from_json(&ran.stderr).expect("a whole snapshot, and nothing else");
    assert_eq!(allocscope_tests::node(&snapshot, "the work").calls.completed, 1);

    let ran = run("return", &[("ALLOCSCOPE_REPORT", "-"), ("ALLOCSCOPE_MODE", "scopes")]);
    ran.assert_done("scopes");
    assert!(ran.stderr.contains("the work"), "{}", ran.stderr);
    let ran = run("return", &[("ALLOCSCOPE_REPORT", "-"), ("ALLOCSCOPE_MODE", "off")]);
    ran.assert_done("off");
    assert!(!ran.stderr.is_empty(), "a report of nothing is still a report");
}

#[test]
fn a_path_that_cannot_be_written_is_said_in_one_line() {
    for name in ["ALLOCSCOPE_REPORT", "ALLOCSCOPE_SNAPSHOT"] {
        let missing = scratch("missing").join("file");
        let ran = run("return", &[(name, missing.to_str().expect("ASCII"))]);
        ran.assert_done("exact");
        assert_eq!(ran.stderr.lines().count(), 1, "{name}: {}", ran.stderr);
        assert!(ran.stderr.contains("missing"), "which path: {}", ran.stderr);
    }
}

#[test]
fn the_report_at_exit_is_ranked_and_cut_as_is_asked_for() {
    for rank in ["bytes", "allocations", "live", "peak", "copied", "temporary"] {
        let path = scratch(&format!("{rank}.json"));
        let variables = [
            ("ALLOCSCOPE_REPORT", path.to_str().expect("ASCII")),
            ("ALLOCSCOPE_RANK", rank),
            ("ALLOCSCOPE_TOP", "2"),
        ];
        let ran = run("exit", &variables);
        assert_eq!(ran.stderr, "", "{rank}");
        let report: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).expect("written")).expect("JSON");
        assert_eq!(report["rank"], rank);
        assert!(
            report["sites"].as_array().expect("sites").len() <= 2,
            "{rank}: {report}"
        );
        std::fs::remove_file(path).expect("it was written");
    }
}

#[test]
fn a_report_that_nobody_will_write_is_said_to_be_none() {
    for name in ["ALLOCSCOPE_REPORT", "ALLOCSCOPE_SNAPSHOT"] {
        let ran = run_executable(env!("CARGO_BIN_EXE_env_child_bare"), "", &[(name, "-")]);
        assert!(ran.output.status.success(), "{}", ran.stderr);
        assert!(
            ran.stderr
                .starts_with(&format!("allocscope: {name} is set, and nothing will be written: ")),
            "{}",
            ran.stderr
        );
        assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
    }
}

#[test]
fn what_can_be_written_is_written_when_the_other_cannot() {
    let saved = scratch("other.json");
    let missing = scratch("missing").join("file");
    let (saved_to, missing) = (saved.to_str().expect("ASCII"), missing.to_str().expect("ASCII"));
    for [good, bad] in [
        ["ALLOCSCOPE_SNAPSHOT", "ALLOCSCOPE_REPORT"],
        ["ALLOCSCOPE_REPORT", "ALLOCSCOPE_SNAPSHOT"],
    ] {
        let ran = run("return", &[(good, saved_to), (bad, missing)]);
        assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
        assert!(
            ran.stderr.starts_with("allocscope: at exit: failed to write "),
            "{}",
            ran.stderr
        );
        std::fs::remove_file(&saved).expect("it was written");
    }
}

#[test]
#[cfg(unix)]
fn a_path_that_is_no_text_is_written_to() {
    use std::os::unix::ffi::OsStrExt;
    let mut name = scratch("no text ").into_os_string();
    name.push(std::ffi::OsStr::from_bytes(b"\xff.json"));
    let status = std::process::Command::new(env!("CARGO_BIN_EXE_env_child"))
        .arg("return")
        .env("ALLOCSCOPE_SNAPSHOT", &name)
        .stdout(std::process::Stdio::null())
        .status();
    assert!(status.expect("it starts").success());
    std::fs::remove_file(&name).expect("it was written");
}

#[test]
fn without_the_allocator_the_error_says_what_to_do() {
    let ran = run_executable(
        env!("CARGO_BIN_EXE_env_child_bare"),
        "",
        &[("ALLOCSCOPE_MODE", "scopes")],
    );
    assert!(ran.output.status.success(), "{}", ran.stderr);
    assert!(ran.stdout.contains("not installed: true:"), "{}", ran.stdout);
    assert_eq!(ran.stderr, "");
    assert!(ran.stdout.contains("#[global_allocator]"), "{}", ran.stdout);
    assert!(
        ran.stdout.contains("TrackingAllocator::new()"),
        "what to write: {}",
        ran.stdout
    );
    assert!(ran.stdout.ends_with("done\n"), "{}", ran.stdout);
    for mode in ["off", "exact"] {
        let ran = run_executable(env!("CARGO_BIN_EXE_env_child_bare"), "", &[("ALLOCSCOPE_MODE", mode)]);
        assert!(ran.stdout.contains("not installed: true:"), "{mode}: {}", ran.stdout);
    }
}

/// A copy of a program that runs as another user than the one who starts it; `None`, with the reason printed, where that cannot be had.
fn set_user_id(executable: &str) -> Option<PathBuf> {
    const NOBODY: u32 = 65_534;
    let name = executable.rsplit('/').next().expect("a path");
    let copy = scratch(&format!("as_nobody_{name}"));
    if let Err(error) = std::fs::copy(executable, &copy) {
        println!("skipped: {executable}: {error}");
        return None;
    }
    if let Err(error) = std::os::unix::fs::chown(&copy, Some(NOBODY), None) {
        println!("skipped: only root can give a program to another user ({error})");
        return None;
    }
    std::fs::set_permissions(&copy, Permissions::from_mode(0o4755)).expect("it is ours");
    Some(copy)
}

#[test]
fn a_set_user_id_program_ignores_every_variable() {
    // Whether the system heeds the bit at all is asked of a program that has nothing to do with us.
    let Some(id) = set_user_id("/usr/bin/id") else { return };
    let asked = Command::new(&id).arg("-u").output().expect("it was copied");
    if asked.stdout != b"65534\n" {
        std::fs::remove_file(&id).expect("it was copied");
        println!("skipped: set-user-id programs do not change their user here");
        return;
    }
    let child = set_user_id(env!("CARGO_BIN_EXE_env_child")).expect("as with `id`");
    let child = child.to_str().expect("ASCII");
    let written = std::env::temp_dir().join(format!("allocscope_set_user_id_{}", std::process::id()));
    let path = written.to_str().expect("ASCII");
    let variables = [
        ("ALLOCSCOPE_MODE", "scopes"),
        ("ALLOCSCOPE_REPORT", "-"),
        ("ALLOCSCOPE_SNAPSHOT", path),
    ];
    let ran = run_executable(child, "take", &variables);
    ran.assert_done("exact");
    assert_eq!(ran.stderr, "");
    assert!(!written.exists(), "it wrote to {path}");
    // The same program without the bit does as it is told.
    std::fs::set_permissions(child, Permissions::from_mode(0o755)).expect("it is ours");
    let ran = run_executable(child, "take", &variables);
    ran.assert_done("scopes");
    assert!(ran.stderr.contains("the work"), "{}", ran.stderr);
    for path in [id.as_path(), child.as_ref(), &written] {
        std::fs::remove_file(path).expect("it was written");
    }
}
