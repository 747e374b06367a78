//! OS calls of the stack capture: where a thread's stack lies.
//!
//! Record side; called by `stack` only, on cold paths. Nothing here allocates from Rust.

/// Lowest address of the calling thread's stack and the first address above it.
///
/// `None` when the system does not tell: the capture then treats every stack as foreign.
#[cfg(target_os = "linux")]
pub(crate) fn stack_bounds() -> Option<(usize, usize)> {
    // PERF: 60-80 µs on the main thread, where the C library reads the process's map of memory; under 1 µs elsewhere.
    let mut attributes = core::mem::MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: pthread_self has no conditions; the attributes are written before they are read, because a non-zero
    // result (nothing written, nothing to destroy) leaves at once.
    unsafe {
        if libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) != 0 {
            return None;
        }
    }
    let (mut low, mut size) = (core::ptr::null_mut(), 0);
    // SAFETY: pthread_getattr_np returned 0, so `attributes` is initialised; it is destroyed once, and not used after.
    let result = unsafe {
        let result = libc::pthread_attr_getstack(attributes.as_ptr(), &mut low, &mut size);
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
        result
    };
    if result != 0 || low.is_null() {
        return None;
    }
    low.addr().checked_add(size).map(|top| (low.addr(), top))
}

/// Lowest address of the calling thread's stack and the first address above it.
#[cfg(target_vendor = "apple")]
pub(crate) fn stack_bounds() -> Option<(usize, usize)> {
    // SAFETY: both ask about the calling thread, which exists.
    let (top, size) = unsafe {
        let this = libc::pthread_self();
        (
            libc::pthread_get_stackaddr_np(this).addr(),
            libc::pthread_get_stacksize_np(this),
        )
    };
    top.checked_sub(size).filter(|&low| low != 0).map(|low| (low, top))
}

/// Not known on this system: every address counts as the thread's own stack. Sound for the backend used here, the
/// `backtrace` crate, which relies on the platform's unwinder and not on these bounds.
#[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
pub(crate) fn stack_bounds() -> Option<(usize, usize)> {
    Some((1, usize::MAX))
}
