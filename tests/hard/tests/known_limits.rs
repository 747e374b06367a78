//! The limits that `docs/trust.md` names are what they are said to be: what happens at a border with C, what leak checkers say, where a
//! stack ends. A limit that is gone fails here, too: the document is then to be corrected.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_known_limits"));
    command
        .args(arguments)
        .env("ALLOCSCOPE_MODE", "exact")
        .env_remove("MALLOC_CHECK_");
    command.output().expect("the program was built with this test")
}

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[test]
fn a_tracked_block_freed_by_c_ends_the_program() {
    let output = run(&["our block, free"]);
    assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{}", printed(&output));
    let text = printed(&output);
    assert!(
        text.contains("free(): invalid pointer") || text.contains("munmap_chunk(): invalid pointer"),
        "{text}"
    );
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[test]
fn other_blocks_freed_by_c_stay_live_in_the_figures() {
    for what in ["our aligned block, free", "our untracked block, free"] {
        let output = run(&[what]);
        assert!(output.status.success(), "{what}: {}", printed(&output));
        assert_eq!(printed(&output).trim(), "survived; frees counted: 0", "{what}");
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[test]
fn a_block_of_c_that_is_dropped_here_counts_as_untracked() {
    let output = run(&["block of C, drop"]);
    assert!(output.status.success(), "{}", printed(&output));
    let expected = "survived; frees counted: 0, of blocks that are not tracked: 1";
    assert_eq!(printed(&output).trim(), expected);
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[test]
fn what_lies_behind_an_aligned_block_of_c_is_taken_for_its_header() {
    for (what, expected) in [
        ("zeroes", "not tracked: 1, corrupt headers: 0"),
        ("rubbish", "not tracked: 0, corrupt headers: 1"),
    ] {
        let output = run(&[&format!("aligned block of C, {what} behind it")]);
        assert!(output.status.success(), "{what}: {}", printed(&output));
        assert_eq!(printed(&output).trim(), format!("survived; blocks that are {expected}"));
    }
}

/// Bytes that Valgrind finds of each kind: definitely, indirectly, possibly lost, still reachable.
fn leaks(what: &str, mode: &str) -> Option<[u64; 4]> {
    let mut command = Command::new("valgrind");
    command.args([
        "--leak-check=full",
        "--show-leak-kinds=all",
        env!("CARGO_BIN_EXE_known_limits"),
        what,
    ]);
    let output = command.env("ALLOCSCOPE_MODE", mode).output().ok()?;
    let text = printed(&output);
    let bytes = |kind: &str| {
        let line = text
            .lines()
            .find(|line| line.contains(kind) && line.contains(" blocks"));
        let words = line
            .unwrap_or_else(|| panic!("{kind}: {text}"))
            .split(&format!("{kind} "))
            .nth(1);
        let number = words.and_then(|words| words.split(' ').next()).expect("a number");
        number.replace(',', "").parse().expect("a number")
    };
    Some(
        [
            "definitely lost:",
            "indirectly lost:",
            "possibly lost:",
            "still reachable:",
        ]
        .map(bytes),
    )
}

#[test]
fn valgrind_calls_reachable_blocks_possibly_lost() {
    let (Some(reachable), Some(lost)) = (leaks("reachable", "exact"), leaks("lost", "exact")) else {
        return println!("valgrind is not installed: skipped");
    };
    // With 8 bytes of header each.
    assert!(
        reachable[2] >= 1119,
        "possibly lost, because only its inside is pointed to: {reachable:?}"
    );
    assert!(
        reachable[3] >= 2230,
        "reachable, as its header lies behind it: {reachable:?}"
    );
    assert!(lost[0] + lost[2] >= 1119, "a lost block is found as such: {lost:?}");
    let off = leaks("reachable", "off").expect("it was there before");
    assert!(
        off[2] < 1111 && off[3] >= 1111 + 2230,
        "without headers in front: {off:?}"
    );
}

fn library(name: &str, flags: &[&str]) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("limits_{}_{name}.so", std::process::id()));
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/libraries/plain.c");
    let mut compiler = Command::new("cc");
    compiler
        .args(["-shared", "-fPIC", "-O2"])
        .args(flags)
        .arg(source)
        .arg("-o")
        .arg(&path);
    match compiler.status() {
        Ok(status) => {
            assert!(status.success(), "the library of C cannot be built");
            Some(path)
        }
        Err(error) => {
            println!("no compiler for C ({error}): skipped");
            None
        }
    }
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[test]
fn a_stack_ends_at_code_without_unwind_tables_and_says_so() {
    let no_tables = [
        "-fno-asynchronous-unwind-tables",
        "-fno-unwind-tables",
        "-fomit-frame-pointer",
    ];
    for (name, flags, expected) in [
        ("tables", &[][..], "truncated false, callback true, outermost true"),
        (
            "no_tables",
            &no_tables[..],
            "truncated true, callback true, outermost false",
        ),
    ] {
        let Some(library) = library(name, flags) else { return };
        let output = run(&["stack through C", library.to_str().expect("ASCII")]);
        assert!(output.status.success(), "{name}: {}", printed(&output));
        assert!(printed(&output).starts_with(expected), "{name}: {}", printed(&output));
    }
}
