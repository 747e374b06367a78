//! What the benches run: small loops that show the price of a pair, and programs as people write them.
//!
//! Each is deterministic in what it allocates (hashers included), and returns a checksum that must be the same in every
//! pass and under every allocator.

use std::alloc::{Layout, alloc, dealloc};
use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashSet};
use std::hash::BuildHasherDefault;
use std::hint::black_box;

use crate::figures::Numbers;
use crate::{mix, service};

/// One pass of a workload.
pub type Pass = Box<dyn FnMut() -> u64>;

/// A workload, and the name to ask for it by.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// Unique.
    pub name: &'static str,
    /// Prepares what a pass only reads, and what stays alive between passes.
    pub make: fn() -> Pass,
}

/// The programs that the geometric mean is taken over. `vec` and `string` are both growth, and count half each.
pub const REAL: [&str; 8] = ["json", "regex", "syn", "btree", "vec", "string", "set", "request"];

/// How much a program weighs in the geometric mean.
#[must_use]
pub fn weight(program: &str) -> f64 {
    if matches!(program, "vec" | "string") { 0.5 } else { 1.0 }
}

/// All of them.
pub const ALL: &[Workload] = &[
    Workload {
        name: "pair",
        make: pair,
    },
    Workload {
        name: "json",
        make: json,
    },
    Workload {
        name: "btree",
        make: btree,
    },
    Workload {
        name: "churn",
        make: churn,
    },
    Workload {
        name: "handover",
        make: hand_over,
    },
    Workload {
        name: "set",
        make: set_rebuild,
    },
    Workload {
        name: "request",
        make: request,
    },
    Workload {
        name: "vec",
        make: vec_growth,
    },
    Workload {
        name: "string",
        make: string_growth,
    },
    Workload {
        name: "regex",
        make: regex_compile,
    },
    Workload {
        name: "syn",
        make: syn_parse,
    },
    Workload {
        name: "payment",
        make: service::over_memory,
    },
    Workload {
        name: "mix_json",
        make: || Box::new(mix::json),
    },
    Workload {
        name: "mix_regex",
        make: || Box::new(mix::regex),
    },
    Workload {
        name: "mix_words",
        make: || {
            let text = mix::rust_source(24);
            Box::new(move || mix::words(&text))
        },
    },
    Workload {
        name: "mix_expr",
        make: || Box::new(mix::expr),
    },
    Workload {
        name: "mix_syn",
        make: || {
            let text = mix::rust_source(1);
            Box::new(move || mix::syn(&text))
        },
    },
];

/// The workload of this name.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn named(name: &str) -> Workload {
    *ALL.iter()
        .find(|workload| workload.name == name)
        .unwrap_or_else(|| panic!("there is no workload {name}"))
}

/// Allocates and frees 64 bytes, so often, through the global allocator.
pub fn pairs(count: u64) -> u64 {
    let layout = Layout::new::<[u64; 8]>();
    for _ in 0..count {
        // SAFETY: the size is not zero.
        let block = black_box(unsafe { alloc(black_box(layout)) });
        // SAFETY: just granted, for this layout.
        unsafe { dealloc(block, layout) };
    }
    count
}

fn pair() -> Pass {
    Box::new(|| pairs(20_000))
}

/// A JSON array of records, about 300 bytes each.
#[must_use]
pub fn records(count: usize) -> String {
    let mut numbers = Numbers::new(12345);
    let record = |number: usize| {
        format!(
            r#"{{"id":{number},"name":"customer {}","mail":"{}@example.com","tags":["a{}","new","b{}"],"address":{{"street":"{} High Street","city":"Springfield","position":{{"x":{}.5,"y":[{},{}]}}}},"orders":[{{"sku":"{:08x}","count":{}}},{{"sku":"{:08x}","count":2}}],"active":true}}"#,
            numbers.below(100_000),
            numbers.below(100_000),
            number % 7,
            number % 5,
            number % 300,
            numbers.below(180),
            number,
            number + 1,
            numbers.draw() as u32,
            numbers.below(9),
            numbers.draw() as u32,
        )
    };
    let records: Vec<String> = (0..count).map(record).collect();
    format!("[{}]", records.join(","))
}

fn json() -> Pass {
    let text = records(1000);
    Box::new(move || {
        let value: serde_json::Value = serde_json::from_str(&text).expect("the text is JSON");
        black_box(&value).as_array().map_or(0, Vec::len) as u64
    })
}

fn btree() -> Pass {
    Box::new(|| {
        let mut numbers = Numbers::new(99);
        let mut map = BTreeMap::new();
        for turn in 0..30_000_u64 {
            map.insert(numbers.draw() % 20_000, turn);
            map.remove(&(numbers.draw() % 20_000));
        }
        map.len() as u64
    })
}

/// 10,000 live blocks of 16 to 1024 bytes, replaced in random order under a stack of 16 more frames.
fn churn() -> Pass {
    fn block(numbers: &mut Numbers) -> Box<[u8]> {
        vec![1; 16 + numbers.below(1009)].into_boxed_slice()
    }
    #[inline(never)]
    fn replace(frames: u32, blocks: &mut [Box<[u8]>], numbers: &mut Numbers) {
        if frames > 0 {
            replace(black_box(frames - 1), blocks, numbers);
            black_box(&blocks);
            return;
        }
        for _ in 0..20_000 {
            let place = numbers.below(blocks.len());
            blocks[place] = block(numbers);
        }
    }
    let mut numbers = Numbers::new(4711);
    let mut blocks: Vec<Box<[u8]>> = (0..10_000).map(|_| block(&mut numbers)).collect();
    Box::new(move || {
        replace(15, &mut blocks, &mut Numbers::new(4712));
        blocks.iter().map(|block| u64::from(block[0])).sum()
    })
}

/// One thread allocates 8,000 blocks of 16 to 1024 bytes, another frees them, a hundred at a time.
fn hand_over() -> Pass {
    Box::new(|| {
        let mut numbers = Numbers::new(31);
        let (sender, receiver) = std::sync::mpsc::sync_channel::<Vec<Box<[u8]>>>(4);
        std::thread::scope(|scope| {
            let freeing = scope.spawn(|| receiver.into_iter().map(|batch| batch.len() as u64).sum());
            for _ in 0..80 {
                let block = |_| vec![1; 16 + numbers.below(1009)].into_boxed_slice();
                let batch = (0..100).map(block).collect();
                sender.send(batch).expect("the other thread lives");
            }
            drop(sender);
            freeing.join().expect("freeing does not panic")
        })
    })
}

/// Rebuilds a hash set of 1,000 texts from a list of them that is there already, 20 times.
fn set_rebuild() -> Pass {
    let ids: Vec<String> = (0..1000_u64)
        .map(|id| format!("user-{:06}", id * 7919 % 1_000_000))
        .collect();
    Box::new(move || {
        let rebuild = |_| {
            let set: HashSet<String, BuildHasherDefault<DefaultHasher>> = ids.iter().cloned().collect();
            black_box(&set).len() as u64
        };
        (0..20).map(rebuild).sum()
    })
}

/// The service of the README in small: every request rebuilds a set from the cached JSON list of 1,000 ids.
fn request() -> Pass {
    let ids: Vec<String> = (0..1000_u64)
        .map(|id| format!(r#""user-{:06}""#, id * 7919 % 1_000_000))
        .collect();
    let list = format!("[{}]", ids.join(","));
    Box::new(move || {
        let is_risky = |user: u64| {
            let ids: Vec<String> = serde_json::from_str(&list).expect("the list is JSON");
            let risky: HashSet<String, BuildHasherDefault<DefaultHasher>> = ids.into_iter().collect();
            risky.contains(&format!("user-{:06}", user * 7919 % 1_000_000))
        };
        (990..1010).filter(|&user| is_risky(user)).count() as u64
    })
}

fn vec_growth() -> Pass {
    Box::new(|| {
        let mut vector = Vec::new();
        for number in 0..500_000_u64 {
            vector.push(number);
        }
        black_box(&vector).len() as u64
    })
}

fn string_growth() -> Pass {
    Box::new(|| {
        let mut total = 0;
        for line in 0..500_u32 {
            let mut text = String::new();
            for word in 0..60 {
                text.push_str(if (line ^ word) % 3 == 0 { "something " } else { "else " });
                text.push(char::from(b'a' + (word % 26) as u8));
            }
            total += black_box(&text).len();
        }
        total as u64
    })
}

fn regex_compile() -> Pass {
    Box::new(|| {
        let regex = regex::Regex::new(r"(?i)\b(\d{4})-(\d{2})-(\d{2})T(\w+)\s*=\s*(foo|bar|[a-f0-9]{2,8})+$");
        regex.expect("the expression is valid").captures_len() as u64
    })
}

fn syn_parse() -> Pass {
    let text = mix::rust_source(10);
    Box::new(move || syn::parse_file(&text).expect("the text is Rust").items.len() as u64)
}
