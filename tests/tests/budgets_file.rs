//! The file of budgets: what a missing, worse or better entry says, and that programs which update it at once lose nothing.
//!
//! A program of its own: it runs itself again with another environment, as several test programs would.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use alloc_core::__private::{Recorded, Subject, TestSettings, run_once};
use alloc_core::TrackingAllocator;

#[global_allocator]
static ALLOC: TrackingAllocator = TrackingAllocator::new();

const CHILD: &str = "BUDGETS_FILE_CHILD";

/// As a test: `<directory> <first> <last> <bytes>` judges the tests `t<first>` to `t<last>`, which allocate once.
fn child(orders: &str) {
    let orders: Vec<&'static str> = String::leak(orders.to_owned()).split(' ').collect();
    let [directory, first, last, bytes] = orders[..] else {
        panic!("four orders");
    };
    let number = |text: &str| text.parse::<usize>().expect("a number");
    for n in number(first)..=number(last) {
        let name: &'static str = String::leak(format!("t{n}"));
        let settings = TestSettings {
            subject: Subject {
                what: name,
                file: file!(),
                line: 1,
            },
            checks: &[],
            recorded: Some(Recorded {
                manifest_dir: directory,
                target: "shared",
                test: name,
                is_debug: true,
            }),
            warm_up: false,
            samples: 1,
            workers: 1,
        };
        run_once(
            &settings,
            || drop(std::hint::black_box(vec![0_u8; number(bytes)])),
            |()| false,
        );
    }
}

struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("allocscope-budgets-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).expect("it can be made");
        Self(path)
    }
    fn file(&self) -> PathBuf {
        self.0.join("budgets/shared.toml")
    }
    fn text(&self) -> String {
        std::fs::read_to_string(self.file()).expect("it was written")
    }
    fn write(&self, text: &str) {
        std::fs::create_dir_all(self.0.join("budgets")).expect("it can be made");
        std::fs::write(self.file(), text).expect("it can be written");
    }
    fn command(&self, wish: &str, tests: std::ops::RangeInclusive<usize>, bytes: usize) -> Command {
        let mut command = Command::new(std::env::current_exe().expect("the program has a path"));
        let path = self.0.to_str().expect("a plain path");
        command
            .env(CHILD, format!("{path} {} {} {bytes}", tests.start(), tests.end()))
            .env("ALLOCSCOPE_BUDGETS", wish);
        command
    }
    fn run(&self, wish: &str, test: usize, bytes: usize) -> (bool, String) {
        let Output { status, stderr, .. } = self.command(wish, test..=test, bytes).output().expect("it runs");
        (status.success(), String::from_utf8_lossy(&stderr).into_owned())
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(Path::new(&self.0));
    }
}

fn a_missing_entry_fails_with_the_line_to_add() {
    let directory = Directory::new("missing");
    let (passes, text) = directory.run("check", 1, 100);
    assert!(!passes);
    assert!(
        text.contains("t1 has no budget for debug builds; run with ALLOCSCOPE_BUDGETS=update, or add to "),
        "{text}"
    );
    let line = "[\"t1\"]\ndebug = { allocations = 1, reallocations = 0, bytes = 100, peak = 100, retained = 0 }";
    assert!(text.contains(line), "{text}");
    // The very lines make it pass.
    directory.write(line);
    let (passes, text) = directory.run("check", 1, 100);
    assert!(passes, "{text}");
}

fn worse_fails_and_better_asks_to_tighten() {
    let directory = Directory::new("worse");
    assert!(directory.run("update", 1, 100).0);
    let (passes, text) = directory.run("check", 1, 101);
    assert!(
        !passes && text.contains("bytes         101 B   limit <= 100 B   over by 1 B"),
        "{text}"
    );
    assert!(
        text.contains("NEW SINCE THE LAST RECORDED PASS\n") && text.contains("more: 0 allocations, 1 B"),
        "{text}"
    );
    let better =
        "t1 needs less than its budget: bytes 99 of 100, peak 99 of 100; tighten it with ALLOCSCOPE_BUDGETS=update";
    let (passes, text) = directory.run("check", 1, 99);
    assert!(passes && text.contains(better), "{text}");
    let (passes, text) = directory.run("strict", 1, 99);
    assert!(!passes && text.contains(better), "{text}");
    assert!(directory.run("update", 1, 99).0);
    let (passes, text) = directory.run("strict", 1, 99);
    assert!(passes && !text.contains("budget"), "{text}");
}

fn tolerances_and_comments_are_kept() {
    let directory = Directory::new("tolerance");
    let text = "# ours\n\n[t1]\n# because\ndebug = { bytes = \"1 KiB\", tolerance = \"5 %\" }\n\n[t2]\ndebug = { bytes = 10, tolerance = 3 }\n";
    directory.write(text);
    for (test, bytes, holds) in [
        (1, 1075, true),
        (1, 1076, false),
        (2, 13, true),
        (2, 14, false),
        (2, 7, true),
    ] {
        let (passes, text) = directory.run("strict", test, bytes);
        assert_eq!(passes, holds, "t{test} with {bytes}: {text}");
    }
    assert!(directory.run("update", 1, 2000).0);
    let now = directory.text();
    assert!(
        now.starts_with("# ours\n\n[t1]\n# because\n") && now.contains("bytes = 2000") && now.contains("\"5 %\""),
        "{now}"
    );
    assert!(now.contains("[t2]\ndebug = { bytes = 10, tolerance = 3 }"), "{now}");
    assert!(!now.contains("allocations"), "an entry says no more than before: {now}");
    assert!(directory.run("update", 2, 9).0);
    assert_eq!(directory.text(), now, "what holds stays as it is");
}

fn an_entry_for_the_toolchain_goes_before_that_of_the_profile() {
    let directory = Directory::new("toolchain");
    assert!(directory.run("update", 1, 100).0);
    let (passes, text) = directory.run("check", 1, 200);
    assert!(!passes, "{text}");
    let version = Command::new("rustc")
        .arg("--version")
        .output()
        .expect("there is a compiler")
        .stdout;
    let version = String::from_utf8(version).expect("text");
    let version: Vec<&str> = version.split_whitespace().take(2).collect();
    let text = format!(
        "{}\"debug {}\" = {{ bytes = 200 }}\n",
        directory.text(),
        version.join(" ")
    );
    directory.write(&text);
    let (passes, text) = directory.run("check", 1, 200);
    assert!(passes, "{text}");
}

fn what_cannot_be_read_is_said() {
    let directory = Directory::new("unreadable");
    for (text, reason) in [
        (
            "[t1]\ndebug = { bites = 1 }",
            "[\"t1\"] debug: found `bites`; accepted are allocations, reallocations, bytes, peak, retained and tolerance",
        ),
        (
            "[t1]\ndebug = { bytes = -1 }",
            "found no number for bytes; write 12 or \"4 KiB\"",
        ),
        (
            "[t1]\ndebug = { bytes = 1, tolerance = \"a lot\" }",
            "found a tolerance that is none; write 2, \"64 B\" or \"5 %\"",
        ),
        (
            "[t1]\ndebug = 5",
            "found no table; write { allocations = 1, bytes = 100 }",
        ),
        ("t1 = 5", "[\"t1\"] is no table"),
        ("[t1", "failed to read "),
    ] {
        directory.write(text);
        let (passes, found) = directory.run("check", 1, 1);
        assert!(!passes && found.contains(reason), "{text}: {found}");
    }
    let (passes, text) = directory.run("maybe", 1, 1);
    assert!(
        !passes && text.contains("found ALLOCSCOPE_BUDGETS=maybe; use \"check\", \"strict\" or \"update\""),
        "{text}"
    );
}

fn programs_that_update_at_once_lose_nothing() {
    let directory = Directory::new("at-once");
    let children: Vec<_> = (0..4)
        .map(|n| {
            directory
                .command("update", n * 20..=n * 20 + 19, 10 + n)
                // Without call stacks: naming them takes so long that two updates would hardly ever meet.
                .env("ALLOCSCOPE_MODE", "scopes")
                .spawn()
                .expect("it runs")
        })
        .collect();
    for mut child in children {
        assert!(child.wait().expect("it ends").success());
    }
    let text = directory.text();
    for n in 0..80 {
        let entry = format!(
            "[t{n}]\ndebug = {{ allocations = 1, reallocations = 0, bytes = {}, ",
            10 + n / 20
        );
        assert!(text.contains(&entry), "{entry} is missing in\n{text}");
    }
    assert_eq!(text.matches("# Allocation budgets").count(), 1);
}

fn main() {
    if let Ok(orders) = std::env::var(CHILD) {
        return child(&orders);
    }
    a_missing_entry_fails_with_the_line_to_add();
    worse_fails_and_better_asks_to_tighten();
    tolerances_and_comments_are_kept();
    an_entry_for_the_toolchain_goes_before_that_of_the_profile();
    what_cannot_be_read_is_said();
    programs_that_update_at_once_lose_nothing();
}
