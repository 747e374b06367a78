//! Five programs that allocate the way real code does: the workload of the stack capture's bench and of its oracle.
//!
//! Each runs the same work every time and returns a number that depends on all of it, so that nothing is removed.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::hint::black_box;
use std::rc::Rc;

/// A program: its name, and one run of it.
pub(crate) type Program = (&'static str, fn() -> usize);

/// All of them.
pub(crate) const PROGRAMS: [Program; 5] = [
    ("json", json),
    ("regex", regex),
    ("words", words),
    ("expressions", expressions),
    ("syn", syn),
];

/// Text to read: two of this workspace's own sources.
const TEXT: &str = concat!(
    include_str!("../../../alloc-core/src/record/stack/cfi.rs"),
    include_str!("../../../alloc-core/src/record/stack/incremental.rs"),
);
const SOURCES: [&str; 2] = [
    include_str!("../../../alloc-core/src/record/stack/cfi.rs"),
    include_str!("../../../alloc-core/src/record/stack/incremental.rs"),
];

/// Repeatable numbers (a linear congruence, upper half).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// Builds a document of orders, prints it, reads it back, changes it, and copies it.
#[inline(never)]
fn json() -> usize {
    let mut numbers = Numbers(1);
    let orders: Vec<serde_json::Value> = (0..150)
        .map(|id| {
            let lines: Vec<_> = (0..1 + numbers.below(4))
                .map(|line| serde_json::json!({ "item": format!("part-{line}"), "count": numbers.below(9), "price": 1.5 }))
                .collect();
            serde_json::json!({
                "id": id,
                "customer": { "name": format!("customer {}", numbers.below(500)), "tags": ["new", "web"] },
                "lines": lines,
                "note": null,
            })
        })
        .collect();
    let text = serde_json::to_string(&orders).expect("values print");
    let mut read: serde_json::Value = serde_json::from_str(&text).expect("printed values parse");
    for order in read.as_array_mut().expect("an array") {
        order["seen"] = true.into();
    }
    let copy = black_box(read.clone());
    serde_json::to_string_pretty(&copy).expect("values print").len()
}

/// Compiles some expressions and searches with them.
#[inline(never)]
fn regex() -> usize {
    const PATTERNS: [&str; 4] = [
        r"^\s*(pub(\(\w+\))?\s+)?fn\s+(?<name>\w+)",
        r"(?i)\b(safety|invariant|limit)\b:\s*(.{1,40})",
        r"0x[0-9a-f]{1,4}(\s*\|\s*0x[0-9a-f]{1,4})*",
        r"(?:[A-Z][a-z]+){2,}(::\w+)*",
    ];
    PATTERNS
        .iter()
        .map(|pattern| {
            let expression = regex::Regex::new(pattern).expect("a valid pattern");
            TEXT.lines()
                .take(200)
                .filter_map(|line| expression.captures(line))
                .map(|found| found.len())
                .sum::<usize>()
        })
        .sum()
}

/// Counts words, groups them, sorts them, and shares them out.
#[inline(never)]
fn words() -> usize {
    let mut places: HashMap<String, Vec<usize>> = HashMap::new();
    for (place, word) in TEXT
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| word.len() > 1)
        .enumerate()
    {
        places.entry(word.to_lowercase()).or_default().push(place);
    }
    let mut by_count: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
    for (word, places) in &places {
        by_count.entry(places.len()).or_default().insert(word.clone());
    }
    let mut lines: Vec<String> = places
        .iter()
        .map(|(word, places)| format!("{word} {}", places.len()))
        .collect();
    lines.sort_by_cached_key(|line| line.to_uppercase());
    let queue: VecDeque<Box<str>> = lines.into_iter().map(String::into_boxed_str).collect();
    let shared: Vec<Rc<str>> = queue.iter().map(|line| Rc::from(&**line)).collect();
    by_count.len() + shared.len()
}

/// An arithmetic expression.
#[derive(Clone)]
enum Tree {
    Number(u64),
    Pair(Box<Tree>, char, Box<Tree>),
    Call(String, Vec<Tree>),
}

/// Writes an expression of at most `depth` levels.
fn write_tree(numbers: &mut Numbers, depth: usize, out: &mut String) {
    match if depth == 0 { 0 } else { numbers.below(7) } {
        0 => out.push_str(&numbers.below(1000).to_string()),
        1 | 2 => {
            out.push_str(["min(", "max(", "sum("][numbers.below(3) as usize]);
            for argument in 0..1 + numbers.below(3) {
                if argument > 0 {
                    out.push(',');
                }
                write_tree(numbers, depth - 1, out);
            }
            out.push(')');
        }
        3 | 4 => {
            out.push('(');
            write_tree(numbers, depth - 1, out);
            out.push(')');
        }
        _ => {
            write_tree(numbers, depth - 1, out);
            out.push(['+', '-', '*', '/'][numbers.below(4) as usize]);
            write_tree(numbers, depth - 1, out);
        }
    }
}

/// A recursive-descent parser.
struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn take(&mut self, wanted: char) -> bool {
        let found = self.rest.strip_prefix(wanted);
        self.rest = found.unwrap_or(self.rest);
        found.is_some()
    }

    fn run(&mut self, of: impl Fn(char) -> bool) -> String {
        let end = self.rest.find(|c| !of(c)).unwrap_or(self.rest.len());
        let (run, rest) = self.rest.split_at(end);
        self.rest = rest;
        run.to_owned()
    }

    #[inline(never)]
    fn sum(&mut self) -> Tree {
        self.level(&['+', '-'], Self::product)
    }

    #[inline(never)]
    fn product(&mut self) -> Tree {
        self.level(&['*', '/'], Self::atom)
    }

    fn level(&mut self, operators: &[char], next: fn(&mut Self) -> Tree) -> Tree {
        let mut left = next(self);
        while let Some(&operator) = operators.iter().find(|&&operator| self.take(operator)) {
            left = Tree::Pair(Box::new(left), operator, Box::new(next(self)));
        }
        left
    }

    #[inline(never)]
    fn atom(&mut self) -> Tree {
        if self.take('(') {
            let inner = self.sum();
            assert!(self.take(')'), "a closing bracket");
            return inner;
        }
        let name = self.run(char::is_alphabetic);
        if name.is_empty() {
            return Tree::Number(self.run(|c| c.is_ascii_digit()).parse().expect("a number"));
        }
        assert!(self.take('('), "an opening bracket");
        let mut arguments = Vec::new();
        while !self.take(')') {
            arguments.push(self.sum());
            self.take(',');
        }
        Tree::Call(name, arguments)
    }
}

fn print(tree: &Tree) -> String {
    match tree {
        Tree::Number(number) => number.to_string(),
        Tree::Pair(left, operator, right) => format!("({}{operator}{})", print(left), print(right)),
        Tree::Call(name, arguments) => {
            format!("{name}({})", arguments.iter().map(print).collect::<Vec<_>>().join(","))
        }
    }
}

/// Writes, parses, copies and prints nested expressions.
#[inline(never)]
fn expressions() -> usize {
    let mut numbers = Numbers(7);
    (0..40)
        .map(|_| {
            let mut text = String::new();
            write_tree(&mut numbers, 9, &mut text);
            let tree = Parser { rest: &text }.sum();
            print(&black_box(tree.clone())).len()
        })
        .sum()
}

/// Parses this workspace's own code.
#[inline(never)]
fn syn() -> usize {
    SOURCES
        .iter()
        .map(|source| {
            let file = syn::parse_file(source).expect("it compiles, so it parses");
            black_box(file.clone()).items.len()
        })
        .sum()
}
