//! The program of named sites under dhat, which writes its profile to the file that the argument names.
#![forbid(unsafe_code)]

#[path = "../../oracle/sites.rs"]
mod sites;

#[global_allocator]
static ALLOC: dhat::Alloc = dhat::Alloc;

fn main() {
    let path = std::env::args_os().nth(1).expect("the path of a profile");
    let profiler = dhat::Profiler::builder().file_name(path).trim_backtraces(None).build();
    sites::run();
    drop(profiler);
}
