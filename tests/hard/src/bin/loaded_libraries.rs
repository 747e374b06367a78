//! Libraries that allocate are loaded, called and unloaded, over and over, on threads that outlive them and on threads that do not.
//!
//! Arguments: the kind (`c`, `plain`, `tracking`) and the path of the library. What a library of C allocates is not ours to see; what the
//! program allocates on behalf of a call-back out of the library is, with the library's frames on the stack.

use std::ffi::{CString, c_void};
use std::hint::black_box;
use std::mem::transmute;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use alloc_core::{TrackingAllocator, scope};
use allocscope_hard::{growth, in_this_mode, resident_bytes, times};
use allocscope_tests::{check_sums, snapshot};

#[global_allocator]
static ALLOC: TrackingAllocator = TrackingAllocator::new();

type Work = extern "C" fn(usize) -> usize;
type CallBack = extern "C" fn(extern "C" fn());

struct Library(*mut c_void);

impl Library {
    fn load(path: &Path) -> Self {
        let name = CString::new(path.as_os_str().as_bytes()).expect("a path has no null byte");
        // SAFETY: the libraries of this test may be loaded at any time.
        let library = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        assert!(!library.is_null(), "{} cannot be loaded", path.display());
        Self(library)
    }
    fn symbol(&self, name: &std::ffi::CStr) -> Option<*mut c_void> {
        // SAFETY: the library is loaded, the name is terminated.
        let symbol = unsafe { libc::dlsym(self.0, name.as_ptr()) };
        (!symbol.is_null()).then_some(symbol)
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        // SAFETY: loaded once by `load`, and nothing of it is used any more.
        assert_eq!(unsafe { libc::dlclose(self.0) }, 0);
    }
}

extern "C" fn called_back() {
    let _scope = scope!("called back");
    drop(black_box(vec![1_u8; 30]));
}

fn use_library(path: &Path) {
    let library = Library::load(path);
    let work = library.symbol(c"work").expect("all libraries of this test have it");
    // SAFETY: `work` is such a function in all of them.
    let work: Work = unsafe { transmute(work) };
    let expected: usize = (0..100).map(|turn| turn % 50 + 1).sum();
    assert_eq!(work(100), expected, "the library's own figures are right");
    if let Some(call_back) = library.symbol(c"call_back") {
        // SAFETY: `call_back` is such a function where it is found.
        let call_back: CallBack = unsafe { transmute(call_back) };
        call_back(called_back);
    }
}

fn is_loaded(path: &Path) -> bool {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("Linux has it");
    maps.contains(path.to_str().expect("the path of a build directory"))
}

fn main() {
    let mut arguments = std::env::args_os().skip(1);
    let kind = arguments.next().expect("the kind of library");
    let path = std::path::PathBuf::from(arguments.next().expect("the path of the library"));
    let path = path.canonicalize().expect("the library was built");
    let loads = times(40, 1000);
    use_library(&path);
    let (before, early) = (snapshot(), resident_bytes());
    for turn in 0..loads {
        if turn % 4 == 0 {
            // This thread goes on when the library has gone, and ends after it.
            std::thread::scope(|threads| threads.spawn(|| use_library(&path)).join().expect("no panic"));
        } else {
            use_library(&path);
        }
        drop(black_box(vec![1_u8; 100]));
        if turn % 16 == 0 {
            check_sums(&snapshot());
            // What libraries wanted to be told of forks went with them.
            // SAFETY: the child does nothing but end.
            let process = unsafe { libc::fork() };
            if process == 0 {
                // SAFETY: ends the child without the destructors of what it shares with the parent.
                unsafe { libc::_exit(0) };
            }
            let mut status = 0;
            // SAFETY: waits for the child just made.
            assert_eq!(unsafe { libc::waitpid(process, &raw mut status, 0) }, process);
            assert_eq!(status, 0, "the child ended well");
        }
    }
    let (after, late) = (snapshot(), resident_bytes());
    check_sums(&after);
    assert_eq!(growth(&before, &after)[5..], [0, 0], "nothing is left of {loads} loads");
    let called_back = allocscope_tests::nodes(&after, "called back")
        .map(|node| node.own.total_allocations)
        .sum::<u64>();
    if kind == "c" {
        let expected = in_this_mode([loads as i64 + 1, 0, 0, 0, 0, 0, 0])[0];
        assert_eq!(called_back, expected as u64);
    }
    println!(
        "{} loads, still loaded at the end: {}; resident {} KiB before, {} KiB after; the tracker holds {} KiB",
        loads,
        is_loaded(&path),
        early >> 10,
        late >> 10,
        after.tracker.tracker_bytes >> 10
    );
    let per_load = late.saturating_sub(early) / loads as u64;
    // What a library's own tracker has used of its reservation stays when the library goes.
    let most = if kind == "tracking" { 1 << 20 } else { 16 << 10 };
    assert!(per_load < most, "{per_load} bytes stay resident per load");
}
