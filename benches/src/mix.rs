//! Five programs that allocate the way real code does: through library code, at the depth library code has.
//!
//! Together they are the "realistic mix": JSON, compiled expressions, words in hash maps and trees, a recursive
//! parser of expressions, and a parser of Rust. Their stacks are 19 frames deep in the mean; the bench prints how deep.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt::Write;
use std::hash::BuildHasherDefault;
use std::hint::black_box;
use std::rc::Rc;

use crate::figures::Numbers;
use crate::workloads::records;

/// Names of the workloads that make up the mix.
pub const PROGRAMS: [&str; 5] = ["mix_json", "mix_regex", "mix_words", "mix_expr", "mix_syn"];

/// Writes JSON, parses it, copies the value, and prints it.
#[inline(never)]
pub fn json() -> u64 {
    let value: serde_json::Value = serde_json::from_str(&records(200)).expect("the text is JSON");
    let copy = value.clone();
    let text = serde_json::to_string_pretty(&copy).expect("a value can be written");
    text.len() as u64
}

/// Compiles four expressions and searches with them.
#[inline(never)]
pub fn regex() -> u64 {
    let expressions = [
        r"^([a-z_]+)\s*:\s*(\d{1,3}(?:\.\d{1,3}){3})$",
        r"\b(\d{4})-(\d{2})-(\d{2})[T ](\d{2}):(\d{2})\b",
        r"(get|put|post|delete)\s+/([a-z]+(/[a-z0-9]+)*)",
        r"(x|y|z(u|v(w|t)*)+)+end[^0-9]{2,6}",
    ];
    let text = "host: 10.0.0.17\nget /users/17 2024-05-06T07:08 xyzuvend..";
    let found = |expression: &&str| {
        regex::Regex::new(expression)
            .expect("it is valid")
            .find_iter(text)
            .count()
    };
    expressions.iter().map(found).sum::<usize>() as u64
}

/// Indexes the words of a text by their places and by how often they come.
#[inline(never)]
pub fn words(text: &str) -> u64 {
    type Places = HashMap<String, Vec<usize>, BuildHasherDefault<DefaultHasher>>;
    let mut places = Places::default();
    let is_separator = |letter: char| !letter.is_alphanumeric() && letter != '_';
    for (place, word) in text.split(is_separator).filter(|word| !word.is_empty()).enumerate() {
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
    (by_count.len() * 1000 + shared.len()) as u64
}

#[derive(Clone)]
enum Expression {
    Number(u64),
    Operation(Box<Expression>, char, Box<Expression>),
    Call(String, Vec<Expression>),
}

impl Expression {
    fn random(numbers: &mut Numbers, depth: u32) -> String {
        if depth == 0 || numbers.below(9) == 0 {
            return numbers.below(1000).to_string();
        }
        match numbers.below(3) {
            0 => {
                let count = 1 + numbers.below(3);
                let arguments: Vec<String> = (0..count).map(|_| Self::random(numbers, depth - 1)).collect();
                format!("f{}({})", numbers.below(10), arguments.join(","))
            }
            1 => format!("({})", Self::random(numbers, depth - 1)),
            _ => {
                let operator = ['+', '-', '*', '/'][numbers.below(4)];
                format!(
                    "{}{operator}{}",
                    Self::random(numbers, depth - 1),
                    Self::random(numbers, depth - 1)
                )
            }
        }
    }

    #[inline(never)]
    fn print(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Operation(left, operator, right) => format!("({} {operator} {})", left.print(), right.print()),
            Self::Call(name, arguments) => {
                let arguments: Vec<String> = arguments.iter().map(Self::print).collect();
                format!("{name}({})", arguments.join(", "))
            }
        }
    }
}

struct Parser<'text> {
    rest: &'text str,
}

impl Parser<'_> {
    fn take_while(&mut self, is_wanted: fn(char) -> bool) -> &str {
        let end = self.rest.find(|letter| !is_wanted(letter)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    fn take(&mut self, letter: char) -> bool {
        let rest = self.rest.strip_prefix(letter);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    #[inline(never)]
    fn sum(&mut self) -> Expression {
        self.chain(&['+', '-'], Self::product)
    }

    #[inline(never)]
    fn product(&mut self) -> Expression {
        self.chain(&['*', '/'], Self::atom)
    }

    fn chain(&mut self, operators: &[char], mut part: impl FnMut(&mut Self) -> Expression) -> Expression {
        let mut left = part(self);
        while let Some(&operator) = operators.iter().find(|operator| self.take(**operator)) {
            let right = part(self);
            left = Expression::Operation(Box::new(left), operator, Box::new(right));
        }
        left
    }

    #[inline(never)]
    fn atom(&mut self) -> Expression {
        if self.take('(') {
            let inner = self.sum();
            assert!(self.take(')'), "parentheses match");
            return inner;
        }
        if self.rest.starts_with(|letter: char| letter.is_ascii_digit()) {
            let digits = self.take_while(|letter| letter.is_ascii_digit());
            return Expression::Number(digits.parse().expect("digits are a number"));
        }
        let name = self.take_while(|letter| letter.is_ascii_alphanumeric()).to_owned();
        assert!(self.take('('), "a name is followed by arguments");
        let mut arguments = vec![self.sum()];
        while self.take(',') {
            arguments.push(self.sum());
        }
        assert!(self.take(')'), "parentheses match");
        Expression::Call(name, arguments)
    }
}

/// Parses random expressions by recursive descent, copies them, and prints them by recursion.
#[inline(never)]
pub fn expr() -> u64 {
    let mut numbers = Numbers::new(777);
    let mut total = 0;
    for _ in 0..12 {
        let text = Expression::random(&mut numbers, 9);
        let expression = Parser { rest: &text }.sum();
        let copy = expression.clone();
        drop(black_box(expression));
        total += copy.print().len();
    }
    total as u64
}

/// Parses Rust and copies the tree.
#[inline(never)]
pub fn syn(text: &str) -> u64 {
    let file = syn::parse_file(text).expect("the text is Rust");
    let copy = file.clone();
    (file.items.len() + black_box(copy).items.len()) as u64
}

/// A Rust source with so many chapters of about 40 lines.
#[must_use]
pub fn rust_source(chapters: usize) -> String {
    let mut text = String::from("//! Generated for a bench.\nuse std::collections::HashMap;\n");
    for chapter in 0..chapters {
        let written = write!(
            text,
            r#"
/// Orders of region {chapter}.
#[derive(Clone, Debug, Default)]
pub struct Orders{chapter}<T: Clone> {{
    pub by_customer: HashMap<u64, Vec<Order{chapter}<T>>>,
    limit: Option<(usize, f64)>,
    name: &'static str,
}}

pub enum Order{chapter}<T> {{
    Open {{ item: T, count: u32 }},
    Paid(T, Vec<u8>, Result<(), String>),
    Gone,
}}

impl<T: Clone + std::fmt::Debug> Orders{chapter}<T> {{
    /// The dearest of the orders that pass.
    pub fn dearest(&self, price: impl Fn(&T) -> u64) -> Option<u64> {{
        let mut best = None;
        for (customer, orders) in self.by_customer.iter().filter(|(_, orders)| !orders.is_empty()) {{
            for (place, order) in orders.iter().enumerate() {{
                match order {{
                    Order{chapter}::Open {{ item, count }} if *count > 0 && place < 1000 + {chapter} => {{
                        let total = price(item) * u64::from(*count) - (customer % 17) / 3;
                        if best.map_or(true, |known| known < total) {{
                            best = Some(total);
                        }}
                    }}
                    Order{chapter}::Paid(item, bytes, Ok(())) => best = best.max(Some(price(item) + bytes.len() as u64)),
                    _ => continue,
                }}
            }}
        }}
        best
    }}

    fn rename(&mut self, name: &'static str) -> Result<usize, String> {{
        if name.is_empty() || name.len() > 64 {{
            return Err(format!("{{}} is no name for {{:?}}", name, self.limit));
        }}
        self.name = name;
        Ok(self.by_customer.values().map(|orders| orders.len()).sum::<usize>() + [1, 2, 3][{chapter} % 3])
    }}
}}
"#
        );
        written.expect("a string can be written to");
    }
    text
}
