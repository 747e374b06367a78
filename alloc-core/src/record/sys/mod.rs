//! OS calls that the record side needs, and nothing else. One file per system; this is the Unix one.
//!
//! Called during the first allocation of a process or a thread, so nothing here may allocate from Rust or take a lock of
//! ours. Cost: system calls, all on cold paths.

pub(crate) mod unwind;

use core::ffi::{CStr, c_char, c_int, c_void};
use core::ptr::{self, NonNull};

/// Reserves `bytes` of zeroed, lazily backed memory that the process keeps until it ends.
pub(crate) fn reserve(bytes: usize) -> Option<NonNull<u8>> {
    // SAFETY: an anonymous mapping at an address of the kernel's choice touches no existing memory.
    let base = unsafe {
        libc::mmap(
            ptr::null_mut(),
            bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    if base == libc::MAP_FAILED {
        return None;
    }
    // Huge pages would make the first touch of a table cost 2 MiB of resident memory.
    #[cfg(target_os = "linux")]
    // SAFETY: the range was mapped above; the advice changes no content.
    unsafe {
        libc::madvise(base, bytes, libc::MADV_NOHUGEPAGE);
    }
    NonNull::new(base.cast())
}

/// Writes to standard error without allocating or locking. A failed write is nobody's to report.
pub(crate) fn write_stderr(text: &[u8]) {
    // SAFETY: the pointer and the length describe `text`.
    let _ = unsafe { libc::write(2, text.as_ptr().cast(), text.len()) };
}

/// Columns of the terminal that a descriptor is; `None` when it is none, or does not say.
pub(crate) fn terminal_columns(descriptor: c_int) -> Option<u16> {
    let mut size = libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: the request writes one `winsize`, and the pointer is to one of our own; of no terminal the system refuses it.
    let outcome = unsafe { libc::ioctl(descriptor, libc::TIOCGWINSZ, &raw mut size) };
    (outcome == 0 && size.ws_col > 0).then_some(size.ws_col)
}

/// Ends the process at once, as a crash.
pub(crate) fn abort() -> ! {
    // SAFETY: has no precondition.
    unsafe { libc::abort() }
}

/// True for a program that runs with more rights than its caller: the environment is then not to be trusted.
pub(crate) fn is_privileged() -> bool {
    #[cfg(target_os = "linux")]
    {
        // SAFETY: reads the auxiliary vector; has no precondition.
        unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
    }
    #[cfg(not(target_os = "linux"))]
    {
        // SAFETY: these four calls only read the process's ids.
        unsafe { libc::getuid() != libc::geteuid() || libc::getgid() != libc::getegid() }
    }
}

#[cfg(not(target_vendor = "apple"))]
unsafe extern "C" {
    static environ: *const *const c_char;
}

fn environment() -> *const *const c_char {
    #[cfg(target_vendor = "apple")]
    {
        // SAFETY: `_NSGetEnviron` returns the address of the process's `environ`, valid from start to end.
        unsafe { *libc::_NSGetEnviron() }.cast_const().cast()
    }
    #[cfg(not(target_vendor = "apple"))]
    {
        // SAFETY: `environ` is set by the C library before any code of ours runs; reading the pointer is all we do.
        unsafe { environ }
    }
}

/// The value of an environment variable, read without `std::env` (which allocates and locks).
///
/// Used once, during the first allocation of the process, when no other thread can be changing the environment.
pub(crate) fn env(name: &str) -> Option<&'static CStr> {
    let mut entry = environment();
    if entry.is_null() {
        return None;
    }
    loop {
        // SAFETY: `environ` is an array of C strings that ends in a null pointer, and we stop there.
        let text = unsafe { *entry };
        if text.is_null() {
            return None;
        }
        // SAFETY: a non-null entry is a C string; the C library keeps it while nobody changes the environment.
        let text = unsafe { CStr::from_ptr(text) };
        if let Some(rest) = text.to_bytes_with_nul().strip_prefix(name.as_bytes())
            && let Some(value) = rest.strip_prefix(b"=")
            && let Ok(value) = CStr::from_bytes_with_nul(value)
        {
            return Some(value);
        }
        // SAFETY: the entry just read was not the terminating null, so the next one is in the array.
        entry = unsafe { entry.add(1) };
    }
}

/// Runs `hook` when the process ends by returning from `main` or by `exit`; or when the library that this code is in is unloaded.
pub(crate) fn at_exit(hook: extern "C" fn()) {
    // SAFETY: `hook` is a plain function that lives as long as the program.
    let _ = unsafe { libc::atexit(hook) };
}

/// Runs the three hooks around every `fork`.
pub(crate) fn at_fork(prepare: unsafe extern "C" fn(), parent: unsafe extern "C" fn(), child: unsafe extern "C" fn()) {
    // SAFETY: plain functions that live as long as the program.
    let _ = unsafe { libc::pthread_atfork(Some(prepare), Some(parent), Some(child)) };
}

/// Creates the key whose destructor tells us that a thread ends. `None` when the system has no key left.
pub(crate) fn thread_exit_key(destructor: unsafe extern "C" fn(*mut c_void)) -> Option<libc::pthread_key_t> {
    let mut key = 0;
    // SAFETY: `key` is a valid place to write; `destructor` lives as long as the program.
    let status = unsafe { libc::pthread_key_create(&raw mut key, Some(destructor)) };
    (status == 0).then_some(key)
}

/// Threads that end from now on are not told of any more.
pub(crate) fn forget_thread_exit_key(key: libc::pthread_key_t) {
    // SAFETY: `key` came from `thread_exit_key`, and nobody uses it after this.
    let _ = unsafe { libc::pthread_key_delete(key) };
}

/// Arms the destructor for the calling thread.
pub(crate) fn arm_thread_exit(key: libc::pthread_key_t, value: *const c_void) {
    // SAFETY: `key` came from `thread_exit_key`; the value is only handed back to the destructor.
    let _ = unsafe { libc::pthread_setspecific(key, value) };
}

/// Nanoseconds of a clock that never goes back.
pub(crate) fn monotonic_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a valid place to write.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    (now.tv_sec as u64)
        .wrapping_mul(1_000_000_000)
        .wrapping_add(now.tv_nsec as u64)
}

/// This process's id.
pub(crate) fn process_id() -> u32 {
    // SAFETY: has no precondition.
    unsafe { libc::getpid() as u32 }
}

/// Lets another thread run.
pub(crate) fn yield_now() {
    // SAFETY: has no precondition.
    unsafe { libc::sched_yield() };
}

/// Sleeps for a moment: a tenth of a millisecond, or somewhat more.
pub(crate) fn nap() {
    let moment = libc::timespec {
        tv_sec: 0,
        tv_nsec: 100_000,
    };
    // SAFETY: the place is valid; what is left of the time is not asked for.
    unsafe { libc::nanosleep(&raw const moment, ptr::null_mut()) };
}

/// Random bits for the id of this run.
pub(crate) fn random() -> u64 {
    #[cfg(target_os = "linux")]
    {
        let mut bits = 0u64;
        // SAFETY: `bits` is a valid place for its eight bytes.
        let filled = unsafe { libc::getrandom((&raw mut bits).cast(), size_of::<u64>(), libc::GRND_NONBLOCK) };
        if filled == 8 {
            return bits;
        }
    }
    monotonic_ns().wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// A loaded executable or library.
pub(crate) struct LoadedModule<'a> {
    /// As the loader has it; empty for the executable.
    pub(crate) path: &'a [u8],
    /// Difference between addresses in memory and in the file.
    pub(crate) load_address: usize,
    /// First and last byte of what is mapped.
    pub(crate) range: core::ops::RangeInclusive<usize>,
    /// GNU build id; empty when there is none.
    pub(crate) build_id: &'a [u8],
    /// The first segment that is run: its link-time address, where it is in the file, and its length.
    pub(crate) code: Option<[u64; 3]>,
}

/// Calls `each` for every loaded module. Takes the loader's lock: for the read side only, never from inside an allocation.
#[cfg(all(unix, not(target_vendor = "apple")))]
pub(crate) fn for_each_module(mut each: impl FnMut(LoadedModule<'_>)) {
    unsafe extern "C" fn visit<F: FnMut(LoadedModule<'_>)>(
        info: *mut libc::dl_phdr_info,
        _size: libc::size_t,
        each: *mut c_void,
    ) -> libc::c_int {
        // SAFETY: the loader passes a valid description for the time of the call.
        let info = unsafe { &*info };
        // SAFETY: `each` is the pointer to the closure given below, which outlives the iteration.
        let each = unsafe { &mut *each.cast::<F>() };
        if info.dlpi_phdr.is_null() {
            return 0;
        }
        // SAFETY: the loader promises `dlpi_phnum` headers at `dlpi_phdr`, which is not null.
        let headers = unsafe { core::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
        let load_address = info.dlpi_addr as usize;
        let loaded = headers
            .iter()
            .filter(|header| header.p_type == libc::PT_LOAD && header.p_memsz > 0);
        let start = loaded
            .clone()
            .map(|header| load_address.wrapping_add(header.p_vaddr as usize))
            .min();
        let end = loaded
            .map(|header| load_address.wrapping_add((header.p_vaddr + header.p_memsz) as usize - 1))
            .max();
        let (Some(start), Some(end)) = (start, end) else {
            return 0;
        };
        let readable = headers
            .iter()
            .filter(|header| header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_R != 0)
            .map(|load| (load_address.wrapping_add(load.p_vaddr as usize), load.p_memsz as usize));
        let code = headers
            .iter()
            .find(|header| header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_X != 0);
        let notes = headers
            .iter()
            .filter(|header| header.p_type == libc::PT_NOTE)
            .map(|header| {
                (
                    load_address.wrapping_add(header.p_vaddr as usize),
                    header.p_memsz as usize,
                )
            })
            .filter(|&(address, bytes)| is_inside(address, bytes, readable.clone()))
            .map(|(address, bytes)| {
                // SAFETY: inside a segment that is mapped and can be read while the module is loaded, which it is during the call.
                unsafe { core::slice::from_raw_parts(core::ptr::with_exposed_provenance(address), bytes) }
            });
        let path = if info.dlpi_name.is_null() {
            &[]
        } else {
            // SAFETY: the loader's name is a C string.
            unsafe { CStr::from_ptr(info.dlpi_name) }.to_bytes()
        };
        each(LoadedModule {
            path,
            load_address,
            range: start..=end,
            build_id: notes.flat_map(build_id_of).next().unwrap_or(&[]),
            code: code.map(|header| [header.p_vaddr, header.p_offset, header.p_memsz].map(u64::from)),
        });
        0
    }
    fn run<F: FnMut(LoadedModule<'_>)>(each: &mut F) {
        // SAFETY: `visit::<F>` expects a pointer to an `F`, valid for the whole iteration.
        unsafe { libc::dl_iterate_phdr(Some(visit::<F>), ptr::from_mut(each).cast()) };
    }
    run(&mut each);
}

/// True when the bytes lie in one of the pieces of memory: addresses and lengths. No loader promises that of notes: tools that rewrite files
/// leave some behind that are not loaded.
#[cfg(all(unix, not(target_vendor = "apple")))]
fn is_inside(address: usize, bytes: usize, mut pieces: impl Iterator<Item = (usize, usize)>) -> bool {
    pieces.any(|(start, length)| {
        let end = address.checked_sub(start).and_then(|offset| offset.checked_add(bytes));
        end.is_some_and(|end| end <= length)
    })
}

/// No list of modules here: frames keep their bare addresses.
#[cfg(not(all(unix, not(target_vendor = "apple"))))]
pub(crate) fn for_each_module(_each: impl FnMut(LoadedModule<'_>)) {}

/// The GNU build id among the notes of one segment.
#[cfg(all(unix, not(target_vendor = "apple")))]
fn build_id_of(notes: &[u8]) -> Option<&[u8]> {
    const NT_GNU_BUILD_ID: u32 = 3;
    let mut rest = notes;
    loop {
        let word = |at: usize| Some(u32::from_ne_bytes(rest.get(at..at + 4)?.try_into().ok()?));
        let (name_bytes, id_bytes, kind) = (word(0)? as usize, word(4)? as usize, word(8)?);
        let name = rest.get(12..12usize.checked_add(name_bytes)?)?;
        let id_start = 12 + name_bytes.checked_next_multiple_of(4)?;
        let id = rest.get(id_start..id_start.checked_add(id_bytes)?)?;
        if kind == NT_GNU_BUILD_ID && name == b"GNU\0" {
            return Some(id);
        }
        rest = rest.get(id_start + id_bytes.checked_next_multiple_of(4)?..)?;
    }
}

#[cfg(all(test, unix, not(target_vendor = "apple")))]
mod tests {
    use super::*;

    #[test]
    fn what_is_outside_of_what_is_loaded_is_not_read() {
        let is_loaded = |address, bytes| is_inside(address, bytes, [(0x1000, 0x100), (0x3000, 8)].into_iter());
        assert!(is_loaded(0x1000, 0x100) && is_loaded(0x10f0, 0x10) && is_loaded(0x3000, 8));
        assert!(!is_loaded(0x10f0, 0x11) && !is_loaded(0xfff, 2) && !is_loaded(0x10f0, usize::MAX));
    }
}
