//! The programs that the oracle measures: deterministic, single-threaded, and the same source under both allocators.
//!
//! Included by the `with_*.rs` files. Each program keeps some of what it allocates in `Keep`, so that
//! the live figures at its end have something to agree on. Hash maps have a fixed hasher: with random keys, removals
//! leave different tombstones behind and the table grows at different times. Nothing here prints or starts a thread.

use std::any::Any;
use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BinaryHeap, HashMap, LinkedList, VecDeque};
use std::hash::BuildHasherDefault;
use std::hint::black_box;
use std::rc::{Rc, Weak};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Waker};

use alloc_core::track_memory;
use allocscope_tests::YieldOnce;

/// What a program leaves alive.
pub(crate) type Keep = Vec<Box<dyn Any>>;

/// A program and the name to ask for it by.
pub(crate) struct Program {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&mut Keep),
}

macro_rules! programs {
    ($($name:ident),* $(,)?) => {
        &[$(Program { name: stringify!($name), run: $name }),*]
    };
}

/// All of them.
pub(crate) const PROGRAMS: &[Program] = programs![
    nothing,
    boxes,
    growing_vectors,
    shrinking_vectors,
    zeroed_memory,
    odd_alignments,
    strings,
    hash_maps,
    tree_maps,
    other_collections,
    shared_pointers,
    sorting,
    channels,
    unwinding,
    json,
    scopes,
    futures,
    failing_requests,
];

/// The program that the first argument names.
pub(crate) fn asked_for() -> &'static Program {
    // The first scope of a process asks the allocator, whichever it has, for 8 bytes once. Not while a tool counts.
    drop(alloc_core::scope!("before anything is counted"));
    let name = std::env::args().nth(1).expect("the name of a program");
    let program = PROGRAMS.iter().find(|program| program.name == name);
    program.expect("a known program")
}

/// The same sequence of numbers in every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % (limit as u64)).expect("it is below a usize")
    }
}

fn nothing(_: &mut Keep) {}

fn boxes(keep: &mut Keep) {
    for n in 0..1000_u64 {
        let boxed = black_box(Box::new([n; 3]));
        if n % 10 == 0 {
            keep.push(boxed);
        }
    }
    std::mem::forget(black_box(Box::new([0_u8; 100])));
}

fn growing_vectors(keep: &mut Keep) {
    let mut bytes: Vec<u8> = Vec::new();
    let mut exact: Vec<u32> = Vec::with_capacity(7);
    for n in 0..100_000_u32 {
        bytes.push(n.to_le_bytes()[0]);
        if n % 100 == 0 {
            exact.reserve_exact(1);
            exact.push(n);
        }
    }
    let nested: Vec<Vec<u16>> = (0..200).map(|n| vec![n; usize::from(n)]).collect();
    keep.push(Box::new((black_box(bytes), black_box(exact), black_box(nested))));
}

fn shrinking_vectors(keep: &mut Keep) {
    for size in [1, 10, 1000, 200_000_usize] {
        let mut vector: Vec<u64> = (0..size as u64).collect();
        vector.truncate(size / 3);
        vector.shrink_to_fit();
        black_box(&mut vector).shrink_to(0);
        vector.clear();
        vector.shrink_to_fit();
        keep.push(Box::new(black_box(vector)));
        keep.push(Box::new(
            (0..size).map(|n| n * 2).collect::<Vec<_>>().into_boxed_slice(),
        ));
    }
}

fn zeroed_memory(keep: &mut Keep) {
    for size in [0, 1, 4096, 1 << 20, 8 << 20_usize] {
        let mut zeroed = black_box(vec![0_u8; size]);
        assert!(zeroed.iter().all(|byte| *byte == 0));
        zeroed.extend_from_slice(&[1, 2, 3]);
        keep.push(Box::new(zeroed));
    }
}

fn odd_alignments(keep: &mut Keep) {
    #[repr(align(16))]
    struct A16(#[expect(dead_code, reason = "only the layout matters")] [u8; 24]);
    #[repr(align(64))]
    struct A64(#[expect(dead_code, reason = "only the layout matters")] [u8; 1]);
    #[repr(align(4096))]
    struct A4096(#[expect(dead_code, reason = "only the layout matters")] [u8; 5000]);
    #[repr(align(65536))]
    struct A65536(#[expect(dead_code, reason = "only the layout matters")] [u8; 3]);

    fn grow<T>(keep: &mut Keep, make: fn(u8) -> T)
    where
        T: 'static,
    {
        let mut items = Vec::new();
        for n in 0..20 {
            items.push(make(n));
            drop(black_box(Box::new(make(n))));
        }
        items.truncate(3);
        items.shrink_to_fit();
        assert!(items.as_ptr().is_aligned());
        keep.push(Box::new(black_box(items)));
    }
    grow(keep, |n| A16([n; 24]));
    grow(keep, |n| A64([n]));
    grow(keep, |n| A4096([n; 5000]));
    grow(keep, |n| A65536([n; 3]));
}

fn strings(keep: &mut Keep) {
    let mut text = String::new();
    for n in 0..3000 {
        text += &format!("{n:>5} ");
        text.push_str(&n.to_string());
    }
    let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
    let upper = words
        .iter()
        .map(|word| word.to_uppercase())
        .collect::<Vec<_>>()
        .join("-");
    let replaced = upper.replace('1', "one");
    keep.push(Box::new(replaced.into_boxed_str()));
    keep.push(Box::new(std::ffi::CString::new(words.concat()).expect("digits only")));
    keep.push(Box::new(std::path::Path::new("a").join("b").join("c")));
}

fn hash_maps(keep: &mut Keep) {
    let mut map: HashMap<u64, String, BuildHasherDefault<DefaultHasher>> = HashMap::default();
    let mut numbers = Numbers(42);
    for round in 0..10_000 {
        let key = numbers.next() % 3000;
        if round % 3 == 0 {
            map.remove(&key);
        } else {
            map.entry(key).or_default().push_str("x y z");
        }
    }
    let copy = map.clone();
    map.retain(|key, _| key % 5 == 0);
    map.shrink_to_fit();
    keep.push(Box::new((map, copy.into_values().collect::<Vec<_>>())));
}

fn tree_maps(keep: &mut Keep) {
    let mut map = BTreeMap::new();
    let mut numbers = Numbers(7);
    for _ in 0..5000 {
        map.insert(numbers.next() % 4000, vec![1_u8; numbers.below(50)]);
        map.remove(&(numbers.next() % 4000));
    }
    let upper = map.split_off(&2000);
    drop(black_box(upper));
    keep.push(Box::new(map));
}

fn other_collections(keep: &mut Keep) {
    let mut queue = VecDeque::new();
    let mut heap = BinaryHeap::new();
    let mut list = LinkedList::new();
    let mut numbers = Numbers(3);
    for _ in 0..4000 {
        queue.push_back(numbers.next());
        if queue.len() > 100 {
            queue.pop_front();
        }
        heap.push(numbers.next());
        list.push_front(numbers.next());
        if list.len() > 50 {
            list.pop_back();
        }
    }
    heap.shrink_to_fit();
    keep.push(Box::new((
        queue.make_contiguous().to_vec(),
        heap.into_sorted_vec(),
        list,
    )));
}

fn shared_pointers(keep: &mut Keep) {
    struct Node {
        parent: Option<Weak<Node>>,
        text: Arc<str>,
    }
    let text: Arc<str> = "shared".into();
    let mut last = Rc::new(Node {
        parent: None,
        text: Arc::clone(&text),
    });
    let mut kept = Vec::new();
    for n in 0..500 {
        let next = Rc::new(Node {
            parent: Some(Rc::downgrade(&last)),
            text: Arc::clone(&text),
        });
        if n % 4 == 0 {
            kept.push(Rc::clone(&next));
        }
        last = next;
    }
    assert!(kept.iter().all(|node| node.text.len() == 6));
    assert!(
        kept.iter()
            .any(|node| node.parent.as_ref().is_some_and(|parent| parent.upgrade().is_none()))
    );
    keep.push(Box::new((kept, Arc::<[u16]>::from(vec![1, 2, 3]))));
}

fn sorting(keep: &mut Keep) {
    let mut numbers = Numbers(11);
    let mut items: Vec<String> = (0..3000).map(|_| numbers.next().to_string()).collect();
    items.sort();
    items.sort_by_key(String::len);
    items.sort_by_cached_key(|item| item.chars().rev().collect::<String>());
    items.dedup_by_key(|item| item.len());
    keep.push(Box::new(items));
}

fn channels(keep: &mut Keep) {
    let (sender, receiver) = mpsc::channel();
    let (bounded, outlet) = mpsc::sync_channel(16);
    for n in 0..1000_u32 {
        sender.send(vec![n; 5]).expect("the receiver lives");
        if n % 3 != 0 {
            drop(black_box(receiver.recv().expect("one was sent")));
        }
        bounded.try_send(Box::new(n)).expect("there is room");
        drop(black_box(outlet.recv().expect("one was sent")));
    }
    keep.push(Box::new((sender, receiver)));
}

fn unwinding(keep: &mut Keep) {
    for n in 0..50_usize {
        // Without the hook: it prints, and captures a backtrace as the environment asks.
        let result = std::panic::catch_unwind(|| {
            let held = black_box(vec![n; n + 1]);
            std::panic::resume_unwind(Box::new(held.len()));
        });
        keep.extend(result.map_err(|payload| payload as Box<dyn Any>).err());
    }
}

fn json(keep: &mut Keep) {
    let rows: Vec<String> = (0..300)
        .map(|n| format!(r#"{{"id":{n},"tags":["a","b{n}"],"nested":{{"x":{n}.5,"y":null}}}}"#))
        .collect();
    let text = format!("[{}]", rows.join(","));
    let value: serde_json::Value = serde_json::from_str(&text).expect("well formed");
    let printed = serde_json::to_string_pretty(&value).expect("printable");
    drop(black_box(value.clone()));
    keep.push(Box::new((value, printed)));
}

#[track_memory]
fn scoped(depth: usize, numbers: &mut Numbers) -> Vec<String> {
    let mut made = vec![format!("{depth}"); numbers.below(10)];
    if depth > 0 {
        made.extend(scoped(depth - 1, numbers));
        let _guard = alloc_core::scope!("block");
        made.push(black_box(String::from("in a block")));
    }
    made
}

fn scopes(keep: &mut Keep) {
    let mut numbers = Numbers(5);
    for depth in 0..30 {
        let made = scoped(depth, &mut numbers);
        if depth % 2 == 0 {
            keep.push(Box::new(made));
        }
    }
}

#[track_memory]
async fn step(n: usize) -> Vec<usize> {
    let before = black_box(vec![n; n]);
    YieldOnce::default().await;
    let mut after = before.clone();
    drop(before);
    after.push(n);
    after
}

fn futures(keep: &mut Keep) {
    let mut context = Context::from_waker(Waker::noop());
    let mut pending: VecDeque<_> = (0..100).map(|n| Box::pin(step(n))).collect();
    let mut polls = 0_usize;
    while let Some(mut future) = pending.pop_front() {
        polls += 1;
        match future.as_mut().poll(&mut context) {
            Poll::Ready(made) if made.len() % 2 == 0 => keep.push(Box::new(made)),
            Poll::Ready(_) => {}
            // Some are dropped half-way.
            Poll::Pending if polls.is_multiple_of(7) => {}
            Poll::Pending => pending.push_back(future),
        }
    }
}

fn failing_requests(keep: &mut Keep) {
    let mut vector = black_box(vec![1_u8; 10]);
    assert!(
        vector.try_reserve(isize::MAX as usize / 2).is_err(),
        "no machine has that much"
    );
    assert!(Vec::<u8>::new().try_reserve_exact(isize::MAX as usize / 2).is_err());
    vector.push(2);
    keep.push(Box::new(vector));
}
