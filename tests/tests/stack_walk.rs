//! The stack capture at its edges: any bytes as unwind information, any words as a stack, deep recursion, stacks that are
//! not the thread's own, threads, libraries that come and go.
//!
//! Each test compares with the `backtrace` crate, with a capture that remembers nothing, or with bounds that fault.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]
#![allow(unsafe_code, reason = "signals, stack switches, guarded memory")]

use std::cell::RefCell;
use std::ffi::{CString, c_int, c_void};
use std::hint::black_box;
use std::path::Path;
use std::process::Command;
use std::sync::Once;

use alloc_core::__private::probe::{self, Found, Probe};

/// Repeatable numbers (a linear congruence, upper half).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 20) as usize
    }

    fn below(&mut self, limit: usize) -> usize {
        self.next() % limit
    }
}

fn ready() -> Box<Probe> {
    static ONCE: Once = Once::new();
    ONCE.call_once(probe::init_process);
    let mut probe = Box::new(Probe::zeroed());
    probe.init_thread();
    probe
}

fn frames(probe: &Probe) -> Vec<usize> {
    let mut frames = [0; 128];
    let count = probe.frames(&mut frames);
    frames[..count].to_vec()
}

/// Up to `limit` frames above the caller of this function, by the `backtrace` crate.
#[inline(never)]
fn oracle(limit: usize) -> Vec<usize> {
    let marker = 0u8;
    let here = (&raw const marker).addr();
    let mut found = Vec::new();
    // SAFETY: a trace without symbols shares nothing with other threads.
    unsafe {
        backtrace::trace_unsynchronized(|frame| {
            if frame.sp().addr() > here && !frame.ip().is_null() {
                found.push(frame.ip().addr());
            }
            found.len() <= limit
        });
    }
    // The first is this function's caller.
    found.remove(0);
    found.truncate(limit);
    found
}

/// Captures with every probe, from one place in the code, so that all see the same frames.
#[inline(never)]
fn capture_all(probes: &mut [(Box<Probe>, usize)]) -> Vec<(Found, Vec<usize>)> {
    let mut found = Vec::with_capacity(probes.len());
    for (probe, depth) in black_box(probes) {
        let captured = capture_here(probe, *depth);
        found.push((captured, frames(probe)));
    }
    found
}

#[inline(never)]
fn capture_here(probe: &mut Probe, depth: usize) -> Found {
    black_box(probe).capture(depth)
}

/// Frames between a capture through [`capture_all`] and the caller of that.
const OWN: usize = 2;

/// Compares captures, at the depths given, with the oracle.
#[inline(never)]
fn check(probes: &mut [(Box<Probe>, usize)]) {
    let all = capture_all(probes);
    let theirs = oracle(140);
    for ((found, ours), (_, depth)) in all.iter().zip(&*probes) {
        let total = OWN + 1 + theirs.len();
        assert_eq!(found.len, ours.len());
        assert_eq!(found.len, total.min(*depth), "frames kept, of {total}");
        assert_eq!(found.truncated, total > *depth);
        assert!(!found.foreign);
        assert_ne!(found.hash, 0);
        // The one after our own is `check`, at another address than in the oracle's trace.
        let after = (OWN + 1).min(ours.len());
        assert_eq!(ours[after..], theirs[..ours.len() - after]);
    }
    for ((one, its), (two, others)) in all.iter().zip(all.iter().skip(1)) {
        assert_eq!(one.hash == two.hash, its == others && one.truncated == two.truncated);
    }
}

#[inline(never)]
fn recurse(levels: usize, probes: &mut [(Box<Probe>, usize)]) -> usize {
    let step = |probes: &mut [(Box<Probe>, usize)]| {
        // A probe that remembers nothing beside each that does.
        for at in [1, 3, 5] {
            probes[at].0 = ready();
        }
        check(probes);
    };
    if levels.is_multiple_of(97) || !(50..=9_950).contains(&levels) {
        step(probes);
    }
    if levels == 0 {
        return 0;
    }
    // Two call sites, so that neighbouring frames differ.
    let below = if levels.is_multiple_of(3) {
        recurse(levels - 1, probes)
    } else {
        1 + recurse(levels - 1, probes)
    };
    if levels.is_multiple_of(89) || !(50..=9_950).contains(&levels) {
        step(probes);
    }
    black_box(below)
}

#[test]
fn recursion_ten_thousand_deep_keeps_the_innermost_frames() {
    let on_a_big_stack = || {
        let mut probes: Vec<_> = [64, 64, 128, 128, 1, 1]
            .into_iter()
            .map(|depth| (ready(), depth))
            .collect();
        recurse(10_000, &mut probes)
    };
    let thread = std::thread::Builder::new()
        .stack_size(256 << 20)
        .spawn(on_a_big_stack)
        .expect("a thread");
    assert!(thread.join().expect("every comparison holds") > 0);
}

#[test]
fn threads_capture_at_once() {
    std::thread::scope(|scope| {
        for seed in 0..8 {
            scope.spawn(move || {
                let mut probes: Vec<_> = [64, 128, 7].into_iter().map(|depth| (ready(), depth)).collect();
                let mut numbers = Numbers(seed);
                for _ in 0..40 {
                    wander(&mut numbers, 40, &mut probes);
                }
            });
        }
    });
}

/// Goes up and down at random, through closures, trait objects and a C function.
fn wander(numbers: &mut Numbers, left: usize, probes: &mut [(Box<Probe>, usize)]) {
    if left == 0 || numbers.below(9) == 0 {
        return check(probes);
    }
    match numbers.below(3) {
        0 => wander(numbers, left - 1, probes),
        1 => {
            let boxed: Box<dyn FnOnce(&mut Numbers)> = Box::new(|numbers| wander(numbers, left - 1, probes));
            boxed(numbers);
        }
        _ => through_c(&mut || wander(numbers, left - 1, probes)),
    }
    if numbers.below(4) == 0 {
        check(probes);
    }
}

/// Calls `f` from the C library's sort, which has no frame pointers.
fn through_c(f: &mut dyn FnMut()) {
    thread_local! {
        static CALL: RefCell<Vec<*mut (dyn FnMut() + 'static)>> = const { RefCell::new(Vec::new()) };
    }
    extern "C" fn compare(_: *const c_void, _: *const c_void) -> c_int {
        if let Some(call) = CALL.with(|calls| calls.borrow_mut().pop()) {
            // SAFETY: pushed by the call of `through_c` that is waiting for this, and taken once.
            unsafe { (*call)() };
        }
        0
    }
    // SAFETY: only the lifetime changes; the pointer is used or removed before this function returns.
    let call = unsafe { std::mem::transmute::<*mut dyn FnMut(), *mut (dyn FnMut() + 'static)>(f) };
    CALL.with(|calls| calls.borrow_mut().push(call));
    let mut words = [2u64, 1];
    // SAFETY: two elements of eight bytes, and a comparison that reads neither.
    unsafe { libc::qsort(words.as_mut_ptr().cast(), 2, 8, Some(compare)) };
}

/// What [`on_other_stack`] runs, and what it leaves behind.
struct Elsewhere {
    probe: Box<Probe>,
    found: Option<Found>,
}

#[inline(never)]
extern "C" fn capture_elsewhere(elsewhere: *mut Elsewhere) {
    // SAFETY: passed by one of the tests below, which does not touch it meanwhile.
    let elsewhere = unsafe { &mut *elsewhere };
    elsewhere.found = Some(elsewhere.probe.capture(64));
}

fn assert_foreign(elsewhere: &Elsewhere) {
    let found = elsewhere.found.expect("it ran");
    assert!(
        found.foreign && !found.truncated && found.len == 1 && found.hash != 0,
        "{found:?}"
    );
    let address = frames(&elsewhere.probe)[0];
    let function = capture_elsewhere as *const () as usize;
    assert!(
        (function..function + 4096).contains(&address),
        "{address:x} is in {function:x}"
    );
}

#[test]
fn a_hand_made_stack_is_foreign_and_the_next_capture_is_not() {
    let mut elsewhere = Elsewhere {
        probe: ready(),
        found: None,
    };
    let before = elsewhere.probe.capture(64);
    assert!(!before.foreign && before.len > 3);
    let mut memory = vec![0u128; 4096];
    let top = memory.as_mut_ptr_range().end;
    // SAFETY: the new stack is 64 KiB, aligned, and outlives the call; the old one is put back from a register that the
    // function called must preserve.
    unsafe {
        std::arch::asm!(
            "mov r12, rsp",
            "mov rsp, rsi",
            "call {run}",
            "mov rsp, r12",
            run = sym capture_elsewhere,
            in("rdi") &raw mut elsewhere,
            in("rsi") top,
            out("r12") _,
            clobber_abi("C"),
        );
    }
    assert_foreign(&elsewhere);
    check(&mut [(elsewhere.probe, 64), (ready(), 64)]);
}

#[test]
fn a_signal_stack_is_foreign() {
    static mut ELSEWHERE: *mut Elsewhere = std::ptr::null_mut();
    extern "C" fn handler(_: c_int) {
        // SAFETY: set before the signal is raised, on the thread that raises it.
        capture_elsewhere(unsafe { ELSEWHERE });
    }
    let mut elsewhere = Elsewhere {
        probe: ready(),
        found: None,
    };
    let mut memory = vec![0u128; 4096];
    // SAFETY: the stack and the handler's data outlive the signal, which is raised here and delivered to this thread.
    unsafe {
        ELSEWHERE = &raw mut elsewhere;
        let stack = libc::stack_t {
            ss_sp: memory.as_mut_ptr().cast(),
            ss_flags: 0,
            ss_size: size_of_val(&memory[..]),
        };
        let mut old = std::mem::zeroed();
        assert_eq!(libc::sigaltstack(&stack, &mut old), 0);
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as extern "C" fn(c_int) as usize;
        action.sa_flags = libc::SA_ONSTACK;
        assert_eq!(libc::sigaction(libc::SIGUSR2, &action, std::ptr::null_mut()), 0);
        libc::raise(libc::SIGUSR2);
        assert_eq!(libc::sigaltstack(&old, std::ptr::null_mut()), 0);
    }
    assert_foreign(&elsewhere);
}

#[test]
fn a_state_that_was_never_prepared_takes_every_stack_as_foreign() {
    let mut elsewhere = Elsewhere {
        probe: Box::new(Probe::zeroed()),
        found: None,
    };
    capture_elsewhere(&mut elsewhere);
    assert_foreign(&elsewhere);
}

/// Memory between two pages that fault.
struct Guarded {
    start: *mut c_void,
    words: usize,
}

const PAGE: usize = 4096;

impl Guarded {
    fn new(pages: usize) -> Self {
        let size = (pages + 2) * PAGE;
        // SAFETY: fresh memory, of which the inner pages are made usable.
        let start = unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let start = libc::mmap(std::ptr::null_mut(), size, libc::PROT_NONE, flags, -1, 0);
            assert_ne!(start, libc::MAP_FAILED);
            assert_eq!(
                libc::mprotect(start.add(PAGE), pages * PAGE, libc::PROT_READ | libc::PROT_WRITE),
                0
            );
            start
        };
        Self {
            start,
            words: pages * PAGE / 8,
        }
    }

    fn words(&mut self) -> &mut [usize] {
        // SAFETY: mapped, zeroed, aligned, and borrowed from the one owner.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(PAGE).cast(), self.words) }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: mapped in `new` with this size.
        unsafe { libc::munmap(self.start, self.words * 8 + 2 * PAGE) };
    }
}

/// Return addresses that code of this program really has.
fn real_addresses() -> Vec<usize> {
    let mut found = Vec::new();
    let mut numbers = Numbers(3);
    for _ in 0..200 {
        collect(&mut numbers, 20, &mut found);
    }
    found.sort_unstable();
    found.dedup();
    // Some that are not: inside the functions all the same.
    let more: Vec<_> = found
        .iter()
        .flat_map(|&pc| (1..60).map(move |back| pc - back))
        .collect();
    found.extend(more);
    found
}

fn collect(numbers: &mut Numbers, left: usize, into: &mut Vec<usize>) {
    if left == 0 || numbers.below(6) == 0 {
        into.extend(oracle(60));
    } else if numbers.below(2) == 0 {
        collect(numbers, left - 1, into);
    } else {
        through_c(&mut || collect(numbers, left - 1, into));
    }
}

/// Lays frames into `stack`, each where its rule wants it, from the lowest word up. Returns the words that hold their
/// return addresses, each with the value of `rbp` that the frame wants.
fn lay_frames(
    numbers: &mut Numbers,
    pool: &[(usize, (bool, usize, usize))],
    stack: &mut [usize],
) -> Vec<(usize, usize)> {
    let base = stack.as_ptr().addr();
    let mut words = Vec::new();
    // The word that the next frame which depends on rbp has its value from.
    let mut saved = None;
    let mut at = 0;
    while at < stack.len() {
        let (pc, (from_rbp, offset, slot)) = pool[numbers.below(pool.len())];
        let mut next = at + 1 + offset / 8;
        if from_rbp {
            let Some(saved) = saved else { continue };
            next += numbers.below(9);
            stack[saved] = base + 8 * next - offset;
        }
        stack[at] = pc;
        words.push((at, (base + 8 * next).wrapping_sub(offset)));
        if next > stack.len() {
            break;
        }
        if slot > 8 {
            saved = Some(next - slot / 8);
        }
        at = next - 1;
    }
    words
}

#[test]
fn made_up_stacks_are_walked_within_bounds_and_alike_with_and_without_memory() {
    let mut probe = ready();
    let pool: Vec<_> = real_addresses()
        .into_iter()
        .filter_map(|pc| Some((pc, probe::rule_at(pc)?)))
        .collect();
    assert!(pool.len() > 500, "{} addresses with a rule", pool.len());
    assert!(
        pool.iter().any(|(_, (from_rbp, ..))| *from_rbp),
        "rules from both registers"
    );
    let mut memory = Guarded::new(16);
    let stack = memory.words();
    let base = stack.as_ptr().addr();
    let mut numbers = Numbers(11);
    let (mut total, mut reused, mut deep) = (0, 0, 0);
    let mut words = Vec::new();
    for round in 0..60_000 {
        if round % 100 == 0 {
            words = lay_frames(&mut numbers, &pool, stack);
        }
        // Change a little: most of the stack is the same as before.
        let (any, wanted) = words[numbers.below(words.len())];
        let (inner, inner_wanted) = words[numbers.below(words.len().min(12))];
        match numbers.below(64) {
            0 => {
                let word = numbers.below(stack.len());
                stack[word] = match numbers.below(4) {
                    0 => numbers.next(),
                    1 => base + numbers.below(8 * stack.len()),
                    2 => pool[numbers.below(pool.len())].0,
                    _ => numbers.below(2),
                };
            }
            // A frame returns elsewhere, and perhaps back.
            1 => stack[any] = pool[numbers.below(pool.len())].0,
            2 => stack.swap(any, inner),
            _ => {}
        }
        // Start where a frame is; now and then anywhere, the very ends included.
        let (entry, wanted) = match numbers.below(20) {
            0 => (stack.len() - 1 - numbers.below(2), base),
            1 => (numbers.below(stack.len()), base),
            2 => (any, wanted),
            _ => (inner, inner_wanted),
        };
        let rbp = match numbers.below(12) {
            0 => numbers.next(),
            1 => 0usize.wrapping_sub(numbers.below(64)),
            2 => base + 8 * entry + numbers.below(4096),
            _ => wanted,
        };
        let depth = [1, 7, 64, 64, 128, 128][numbers.below(6)];
        let found = probe.walk_memory(stack, entry, rbp, depth);
        let mut forgetful = ready();
        let again = forgetful.walk_memory(stack, entry, rbp, depth);
        assert_eq!((found, frames(&probe)), (again, frames(&forgetful)), "round {round}");
        total += found.len;
        reused += usize::from(probe.fresh() < found.len);
        deep += usize::from(found.truncated && found.len == depth);
    }
    println!("{total} frames, {reused} walks ended at a remembered frame, {deep} were deeper than asked for");
    assert!(
        total > 500_000 && reused > 10_000 && deep > 10_000,
        "{total} frames, {reused} reused, {deep} deep"
    );
}

/// A frame that depends on `rbp` first calls a function that leaves `rbp` alone, then one that saves it, which goes on elsewhere: so its
/// `rbp` becomes a word that is compared, in front of a frame that was one word before.
#[test]
fn a_frame_whose_rbp_is_saved_only_now_does_not_hide_what_changes_inside_of_it() {
    probe::init_process();
    let code = (ready as fn() -> _) as usize;
    let pool: Vec<_> = (0..40_000)
        .map(|step| code + 11 * step)
        .filter_map(|pc| Some((pc, probe::rule_at(pc)?)))
        .collect();
    let mut tried = 0;
    // By offset: one that leaves rbp alone, and two that save it at the same place.
    for &(leaves, (from_rbp, offset, slot)) in &pool {
        if from_rbp || slot != 8 {
            continue;
        }
        let saves: Vec<_> = pool
            .iter()
            .filter(|(_, (from_rbp, its, slot))| !from_rbp && *its == offset && *slot > 8)
            .collect();
        let Some(&&(one, (_, _, slot))) = saves.first() else {
            continue;
        };
        let Some(&&(other, _)) = saves.iter().find(|(pc, (_, _, its))| *pc != one && *its == slot) else {
            continue;
        };
        let Some(&(outer, (_, up, _))) = pool.iter().find(|(_, (from_rbp, ..))| *from_rbp) else {
            continue;
        };
        tried += 1;
        let inner = offset / 8;
        let mut stack = vec![1; 1 + inner + 64 + up / 8];
        let rbp = stack.as_ptr().addr() + 8 * (1 + inner + 32);
        stack[inner] = outer;
        stack[1 + inner - slot / 8] = rbp;
        let mut probe = ready();
        for pc in [leaves, one, other, one, leaves, other] {
            stack[0] = pc;
            let found = probe.walk_memory(&stack, 0, rbp, 64);
            let mut forgetful = ready();
            let again = forgetful.walk_memory(&stack, 0, rbp, 64);
            assert_eq!((found, frames(&probe)), (again, frames(&forgetful)));
            assert_eq!(frames(&probe).get(..2), Some(&[pc, outer][..]));
        }
    }
    assert!(tried > 0, "no three rules with one offset");
}

/// The readable segment of this program that holds its unwind information: bytes, address, address of the header.
fn own_unwind_information() -> (Vec<u8>, usize, usize) {
    unsafe extern "C" fn first(info: *mut libc::dl_phdr_info, _: usize, out: *mut c_void) -> c_int {
        // SAFETY: the loader passes a complete record, and `out` is what is passed below; segments are mapped.
        unsafe {
            let info = &*info;
            let segments = std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into());
            let header = segments
                .iter()
                .find(|segment| segment.p_type == libc::PT_GNU_EH_FRAME)
                .expect("a header");
            let holds = |segment: &&libc::Elf64_Phdr| {
                segment.p_type == libc::PT_LOAD && header.p_vaddr.wrapping_sub(segment.p_vaddr) < segment.p_memsz
            };
            let segment = segments.iter().find(holds).expect("a segment");
            let address = (info.dlpi_addr + segment.p_vaddr) as usize;
            let bytes = std::slice::from_raw_parts(address as *const u8, segment.p_memsz as usize).to_vec();
            *out.cast() = (bytes, address, (info.dlpi_addr + header.p_vaddr) as usize);
        }
        1
    }
    let mut found = (Vec::new(), 0usize, 0usize);
    // SAFETY: the callback gets the pointer that it expects.
    unsafe { libc::dl_iterate_phdr(Some(first), (&raw mut found).cast()) };
    found
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

#[test]
fn any_bytes_are_read_as_unwind_information_without_a_panic() {
    let (mut bytes, address, header) = own_unwind_information();
    // The functions that the information is about, from its sorted table.
    let table = &bytes[header - address + 12..][..8 * u32_at(&bytes, header - address + 8) as usize];
    let functions: Vec<usize> = (0..table.len() / 8)
        .map(|entry| header.wrapping_add_signed(u32_at(table, 8 * entry) as i32 as isize))
        .collect();
    let code = |numbers: &mut Numbers| functions[numbers.below(functions.len())] + numbers.below(100);
    let mut numbers = Numbers(5);
    let (mut rows, mut rules) = (0, 0);
    let mut look = |bytes: &[u8], header: usize, target: usize| {
        if let Some(rule) = probe::rule_from(bytes, address, header, target) {
            rows += 1;
            if let Some((_, offset, slot)) = rule {
                rules += 1;
                assert!(offset >= 8 && slot >= 8 && slot <= offset && offset % 8 == 0 && slot % 8 == 0);
            }
        }
    };
    // The information as it is; then more and more of it broken. The rest of the segment is not changed.
    let at = header - address;
    for round in 0..400 {
        for _ in 0..500 {
            look(&bytes, header, code(&mut numbers));
        }
        for _ in 0..round % 40 * 20 {
            let place = at + numbers.below(bytes.len() - at);
            bytes[place] = [0, 0xff, 0x80, numbers.next() as u8][numbers.below(4)];
        }
        if round % 40 == 39 {
            (bytes, ..) = own_unwind_information();
        }
    }
    // Cut short anywhere, and a header anywhere, outside included.
    for _ in 0..50_000 {
        let end = numbers.below(bytes.len());
        look(&bytes[..end], header, code(&mut numbers));
        look(
            &bytes,
            address.wrapping_add(numbers.below(bytes.len() * 2)),
            code(&mut numbers),
        );
        look(&bytes[..numbers.below(64)], numbers.next(), numbers.next());
    }
    // No information at all: noise, behind a header that says that there is.
    let mut noise: Vec<u8> = vec![0; 4096];
    for _ in 0..20_000 {
        noise
            .iter_mut()
            .for_each(|byte| *byte = (numbers.next() >> 7) as u8 & [0xff, 0x1f, 0x03][numbers.below(3)]);
        noise[..4].copy_from_slice(&[1, 0x1b, 0x03, 0x3b]);
        noise[8..12].copy_from_slice(&(numbers.below(600) as u32).to_le_bytes());
        look(&noise, address, address.wrapping_add(numbers.below(8192)));
    }
    println!("{rows} rows, {rules} of them rules");
    assert!(
        rows > 50_000 && rules > 40_000 && rules < rows,
        "{rows} rows, {rules} rules"
    );
}

/// Compiles a library whose function `call` calls back from a frame of `size` bytes.
fn library(directory: &Path, name: &str, size: usize) -> std::path::PathBuf {
    let source = directory.join(format!("{name}.c"));
    let target = directory.join(format!("{name}.so"));
    let code = format!(
        "void call(void (*f)(void *), void *data) {{\n\
         volatile char room[{size}];\n\
         room[0] = 1;\n\
         f(data);\n\
         room[1] = room[0];\n}}\n"
    );
    std::fs::write(&source, code).expect("a writable directory");
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-fomit-frame-pointer", "-o"])
        .args([&target, &source])
        .status()
        .expect("the C compiler that links Rust programs");
    assert!(compiled.success());
    target
}

#[test]
fn a_library_loaded_where_another_was_has_its_own_rules() {
    type Call = unsafe extern "C" fn(extern "C" fn(*mut c_void), *mut c_void);
    extern "C" fn back(probes: *mut c_void) {
        // SAFETY: passed below, and not touched meanwhile.
        check(unsafe { &mut *probes.cast::<Vec<(Box<Probe>, usize)>>() });
    }
    let directory = std::env::temp_dir().join(format!("allocscope-stack-walk-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a writable directory");
    let libraries = [library(&directory, "small", 40), library(&directory, "large", 360)];
    let mut probes: Vec<_> = [64, 128].into_iter().map(|depth| (ready(), depth)).collect();
    let mut places = Vec::new();
    for round in 0..6 {
        let path = CString::new(libraries[round % 2].as_os_str().as_encoded_bytes()).expect("no null bytes");
        // SAFETY: the library has one function, of this type, and no initialisers; it is closed when nothing of it runs.
        unsafe {
            let handle = libc::dlopen(path.as_ptr(), libc::RTLD_NOW);
            assert!(!handle.is_null());
            let call = libc::dlsym(handle, c"call".as_ptr());
            assert!(!call.is_null());
            places.push(call.addr());
            let call = std::mem::transmute::<*mut c_void, Call>(call);
            call(back, (&raw mut probes).cast());
            assert_eq!(libc::dlclose(handle), 0);
        }
        probe::sync_with_loader();
    }
    std::fs::remove_dir_all(&directory).expect("it was made above");
    assert!(
        places.windows(2).any(|pair| pair[0] == pair[1]),
        "the loader reuses addresses: {places:x?}"
    );
}
