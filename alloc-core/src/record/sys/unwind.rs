//! OS calls of the stack capture: where a thread's stack lies, and which module holds an address.
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

/// A loaded module, as the loader describes it.
#[cfg(stack_rules)]
pub(crate) struct Module {
    /// First address of its mapping; the ELF header lies there.
    pub(crate) start: usize,
    /// First address after its mapping.
    pub(crate) end: usize,
    /// Address of its `.eh_frame_hdr`.
    pub(crate) header: usize,
}

#[cfg(stack_rules)]
pub(crate) use elf::{find_module, init_modules, sync_modules, unwind_segment};

/// Modules of the process, without the loader's lock wherever an allocation may be under way.
#[cfg(stack_rules)]
mod elf {
    use core::ffi::{CStr, c_char, c_int, c_void};
    use core::mem::{MaybeUninit, size_of, transmute};
    // What the kernel and the loader map has no provenance in the program but an exposed one.
    use core::ptr::with_exposed_provenance;
    use core::sync::atomic::{AtomicUsize, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};

    use super::Module;

    type Header = libc::Elf64_Ehdr;
    type Segment = libc::Elf64_Phdr;

    /// What `_dl_find_object` fills in (glibc 2.35, x86-64).
    #[repr(C)]
    struct Found {
        flags: u64,
        map_start: usize,
        map_end: usize,
        link_map: usize,
        eh_frame_header: usize,
        reserved: [u64; 7],
    }

    type FindObject = unsafe extern "C" fn(address: *const c_void, result: *mut Found) -> c_int;

    /// Address of `_dl_find_object`, or 0 where the loader has none.
    ///
    /// Not linked, so that the program still starts under an older glibc; and not looked up by `dlsym`, which takes
    /// the loader's lock and could be called here during a constructor that another thread waits for.
    static FIND_OBJECT: AtomicUsize = AtomicUsize::new(0);

    /// Where the executable is mapped, from its first segment to its last, holes included.
    static PROGRAM_START: AtomicUsize = AtomicUsize::new(0);
    static PROGRAM_END: AtomicUsize = AtomicUsize::new(0);

    /// Modules found without `_dl_find_object`. Filled from the front; a slot is written once, `start` last, and never
    /// again, except that `end` becomes 0 when the module is gone.
    struct Slot {
        start: AtomicUsize,
        end: AtomicUsize,
        header: AtomicUsize,
    }

    /// LIMIT: modules beyond these are not known to the walk; it stops at their frames.
    const SLOTS: usize = 256;

    static LIST: [Slot; SLOTS] = [const {
        Slot {
            start: AtomicUsize::new(0),
            end: AtomicUsize::new(0),
            header: AtomicUsize::new(0),
        }
    }; SLOTS];

    /// Looks up `_dl_find_object` among the modules loaded at start; without it, lists the modules the kernel mapped.
    pub(crate) fn init_modules() {
        // SAFETY: getauxval has no conditions.
        let (loader, program, count, vdso) = unsafe {
            (
                libc::getauxval(libc::AT_BASE) as usize,
                libc::getauxval(libc::AT_PHDR) as usize,
                libc::getauxval(libc::AT_PHNUM) as usize,
                libc::getauxval(libc::AT_SYSINFO_EHDR) as usize,
            )
        };
        // SAFETY: the kernel says that `count` program headers of the executable lie there, for the life of the process.
        let own = (program != 0)
            .then(|| unsafe { core::slice::from_raw_parts(with_exposed_provenance::<Segment>(program), count) });
        let own = own.and_then(|segments| Some((own_bias(program, segments)?, segments)));
        if let Some((bias, segments)) = own {
            let loads = || segments.iter().filter(|segment| segment.p_type == libc::PT_LOAD);
            let start = loads().map(|load| load.p_vaddr as usize & !0xfff).min();
            let end = loads().map(|load| (load.p_vaddr + load.p_memsz) as usize).max();
            PROGRAM_START.store(bias.wrapping_add(start.unwrap_or(0)), Relaxed);
            PROGRAM_END.store(bias.wrapping_add(end.unwrap_or(0)), Relaxed);
        }
        if loader != 0 {
            // SAFETY: AT_BASE is where the kernel mapped the loader that runs this process; it is never unmapped.
            if let Some(address) = unsafe { find_object(loader) } {
                FIND_OBJECT.store(address, Relaxed);
                return;
            }
        }
        for image in [loader, vdso] {
            if image != 0 {
                // SAFETY: both are ELF images that the kernel mapped, for the life of the process.
                let segments = unsafe { segments_of(image) };
                list(bias_of(image, segments), segments);
            }
        }
        if let Some((bias, segments)) = own {
            list(bias, segments);
        }
    }

    /// What must be added to the addresses inside the executable, whose program headers lie at `program`.
    fn own_bias(program: usize, segments: &[Segment]) -> Option<usize> {
        let own = segments.iter().find(|segment| segment.p_type == libc::PT_PHDR);
        own.map_or(Some(0), |own| program.checked_sub(own.p_vaddr as usize))
    }

    /// The module that holds `address`. Takes no lock.
    pub(crate) fn find_module(address: usize) -> Option<Module> {
        let find = FIND_OBJECT.load(Relaxed);
        if find == 0 {
            return LIST
                .iter()
                // ORDERING: pairs with the Release in `list`: a slot with a start is complete.
                .map(|slot| {
                    (
                        slot.start.load(Acquire),
                        slot.end.load(Relaxed),
                        slot.header.load(Relaxed),
                    )
                })
                .take_while(|&(start, _, _)| start != 0)
                .find(|&(start, end, _)| start <= address && address < end)
                .map(|(start, end, header)| Module { start, end, header });
        }
        // SAFETY: the address was found under this name in the loader's symbol table, and this is its type.
        let find = unsafe { transmute::<usize, FindObject>(find) };
        let mut found = MaybeUninit::<Found>::zeroed();
        // SAFETY: the result is large enough (the reserved words are part of it); any address may be asked for.
        let result = unsafe { find(with_exposed_provenance::<c_void>(address), found.as_mut_ptr()) };
        // SAFETY: all-zero is a valid `Found`, and the call writes integers only.
        let found = unsafe { found.assume_init() };
        let (program_start, program_end) = (PROGRAM_START.load(Relaxed), PROGRAM_END.load(Relaxed));
        // An executable whose segments leave pages free between them is several mappings to the loader, and the ELF header is in
        // another one than the code.
        let is_program = program_start <= found.map_start && found.map_start < program_end;
        let (start, end) = if is_program {
            (program_start, program_end)
        } else {
            (found.map_start, found.map_end)
        };
        (result == 0 && found.eh_frame_header != 0).then_some(Module {
            start,
            end,
            header: found.eh_frame_header,
        })
    }

    /// The loaded segment that holds the module's unwind header: its address, and its bytes.
    ///
    /// The bytes stay valid as long as the module is loaded: the caller must not keep them.
    pub(crate) fn unwind_segment<'a>(module: &Module) -> Option<(usize, &'a [u8])> {
        if module.end.checked_sub(module.start)? < size_of::<Header>() {
            return None;
        }
        // SAFETY: the loader says that a module is mapped there; its first page is readable, as it holds the headers.
        let segments = unsafe { segments_of(module.start) };
        let bias = bias_of(module.start, segments);
        segments
            .iter()
            .filter(|segment| segment.p_type == libc::PT_LOAD && segment.p_flags & libc::PF_R != 0)
            .map(|segment| (bias.wrapping_add(segment.p_vaddr as usize), segment.p_memsz as usize))
            .find(|&(start, size)| module.header.wrapping_sub(start) < size)
            .filter(|&(start, size)| start >= module.start && size <= module.end.saturating_sub(start))
            .map(|(start, size)| {
                // SAFETY: the segment is mapped and readable, inside the module's mapping, and nobody writes to it.
                let bytes = unsafe { core::slice::from_raw_parts(with_exposed_provenance(start), size) };
                (start, bytes)
            })
    }

    /// Under the loader's lock: its unload counter, and whether the list of modules changed. Never in an allocation.
    pub(crate) fn sync_modules() -> (u64, bool) {
        let mut sync = Sync {
            unloads: 0,
            changed: false,
            seen: [false; SLOTS],
        };
        let listing = FIND_OBJECT.load(Relaxed) == 0;
        if listing {
            // SAFETY: the callback gets the pointer that it expects, for the duration of the call.
            unsafe { libc::dl_iterate_phdr(Some(add), (&raw mut sync).cast()) };
            for (slot, seen) in LIST.iter().zip(sync.seen) {
                if slot.start.load(Acquire) != 0 && slot.end.load(Relaxed) != 0 && !seen {
                    slot.end.store(0, Relaxed);
                    sync.changed = true;
                }
            }
        } else {
            // SAFETY: as above.
            unsafe { libc::dl_iterate_phdr(Some(count), (&raw mut sync).cast()) };
        }
        (sync.unloads, sync.changed)
    }

    struct Sync {
        unloads: u64,
        changed: bool,
        seen: [bool; SLOTS],
    }

    /// Reads the counter from the first module; the loader's lock is held.
    unsafe extern "C" fn count(info: *mut libc::dl_phdr_info, _size: usize, sync: *mut c_void) -> c_int {
        // SAFETY: the loader passes a complete record, and `sync` is what `sync_modules` passed.
        unsafe { (*sync.cast::<Sync>()).unloads = (*info).dlpi_subs };
        1
    }

    /// Adds one module to the list, or marks it as seen; the loader's lock is held.
    unsafe extern "C" fn add(info: *mut libc::dl_phdr_info, _size: usize, sync: *mut c_void) -> c_int {
        // SAFETY: the loader passes a complete record, whose headers are `dlpi_phnum` many and stay while the lock is
        // held; `sync` is what `sync_modules` passed, and nobody else uses it during the call.
        let (bias, unloads, segments, sync) = unsafe {
            let info = &*info;
            let segments: &[Segment] = match info.dlpi_phdr.is_null() {
                true => &[],
                false => core::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)),
            };
            (
                info.dlpi_addr as usize,
                info.dlpi_subs,
                segments,
                &mut *sync.cast::<Sync>(),
            )
        };
        sync.unloads = unloads;
        if let Some((index, new)) = list(bias, segments) {
            sync.changed |= new;
            if let Some(seen) = sync.seen.get_mut(index) {
                *seen = true;
            }
        }
        0
    }

    /// Puts a module on the list: its place there, and whether it is new.
    fn list(bias: usize, segments: &[Segment]) -> Option<(usize, bool)> {
        let loads = || segments.iter().filter(|segment| segment.p_type == libc::PT_LOAD);
        let start = bias.wrapping_add(loads().map(|load| load.p_vaddr as usize).min()? & !0xfff);
        let end = bias.wrapping_add(loads().map(|load| (load.p_vaddr + load.p_memsz) as usize).max()?);
        let header = segments
            .iter()
            .find(|segment| segment.p_type == libc::PT_GNU_EH_FRAME)?;
        let header = bias.wrapping_add(header.p_vaddr as usize);
        for (index, slot) in LIST.iter().enumerate() {
            let known = slot.start.load(Acquire);
            if known == 0 {
                slot.end.store(end, Relaxed);
                slot.header.store(header, Relaxed);
                // ORDERING: pairs with the Acquire in `find_module`.
                slot.start.store(start, Release);
                return Some((index, true));
            }
            if (known, slot.end.load(Relaxed), slot.header.load(Relaxed)) == (start, end, header) {
                return Some((index, false));
            }
        }
        None
    }

    /// The program headers of the ELF image at `image`; none if there is no such image.
    ///
    /// # Safety
    /// `image` must be the start of a mapping of at least one page, readable as long as the result is used; if it is an
    /// ELF image, its program headers must be mapped with it.
    unsafe fn segments_of<'a>(image: usize) -> &'a [Segment] {
        // SAFETY: an ELF header is smaller than a page.
        let header = unsafe { with_exposed_provenance::<Header>(image).read_unaligned() };
        let at = header.e_phoff as usize;
        let plain = header.e_ident.starts_with(b"\x7fELF")
            && usize::from(header.e_phentsize) == size_of::<Segment>()
            && at.wrapping_add(image).is_multiple_of(align_of::<Segment>())
            && at < 4096;
        if !plain {
            return &[];
        }
        // SAFETY: the caller vouches for the headers; the alignment was checked.
        unsafe {
            core::slice::from_raw_parts(
                with_exposed_provenance::<Segment>(image + at),
                usize::from(header.e_phnum),
            )
        }
    }

    /// What must be added to the addresses inside an image that is loaded at `image`.
    fn bias_of(image: usize, segments: &[Segment]) -> usize {
        let first = segments
            .iter()
            .filter(|segment| segment.p_type == libc::PT_LOAD)
            .map(|load| load.p_vaddr)
            .min();
        image.wrapping_sub(first.unwrap_or(0) as usize & !0xfff)
    }

    const DT_STRTAB: u64 = 5;
    const DT_SYMTAB: u64 = 6;
    const DT_GNU_HASH: u64 = 0x6fff_fef5;

    /// The start of what a loader publishes for debuggers: `_r_debug`.
    #[repr(C)]
    struct Published {
        version: c_int,
        first: *const Linked,
    }

    /// The public part of the loader's record of a module.
    #[repr(C)]
    struct Linked {
        bias: usize,
        name: *const c_char,
        dynamic: *const [u64; 2],
        next: *const Linked,
    }

    /// The address of `_dl_find_object`, which the C library defines, found without the loader's lock: among the modules
    /// from the executable to the loader itself. These were loaded at start and stay.
    ///
    /// # Safety
    /// `loader` must be where the running process's loader is mapped, and the loader must have loaded the executable.
    unsafe fn find_object(loader: usize) -> Option<usize> {
        // SAFETY: the caller vouches for the loader's image; its list is complete up to the loader before any code of
        // the executable runs, and that part of it never changes.
        unsafe {
            let segments = segments_of(loader);
            let bias = bias_of(loader, segments);
            let dynamic = segments.iter().find(|segment| segment.p_type == libc::PT_DYNAMIC)?;
            let dynamic = with_exposed_provenance::<[u64; 2]>(bias.wrapping_add(dynamic.p_vaddr as usize));
            let published = with_exposed_provenance::<Published>(symbol(bias, dynamic, c"_r_debug")?);
            let mut module = (*published).first;
            while !module.is_null() {
                let Linked {
                    bias: at,
                    dynamic,
                    next,
                    ..
                } = *module;
                if !dynamic.is_null()
                    && let Some(address) = symbol(at, dynamic, c"_dl_find_object")
                {
                    return Some(address);
                }
                if at == bias {
                    break;
                }
                module = next;
            }
            None
        }
    }

    /// The address of the symbol `name`, as the module with the dynamic section `dynamic` defines it.
    ///
    /// # Safety
    /// The module must be mapped, at `bias`, and stay so during the call.
    unsafe fn symbol(bias: usize, dynamic: *const [u64; 2], name: &CStr) -> Option<usize> {
        // SAFETY: the caller vouches for a mapped module, so every table its dynamic section leads to can be read: the
        // dynamic section ends with a null entry, a hash chain with a set low bit, a string with a null byte, and the
        // chain's symbols exist.
        unsafe {
            let mut entry = dynamic;
            let (mut strings, mut symbols, mut hashes) = (None, None, None);
            loop {
                let [tag, value] = *entry;
                if tag == 0 {
                    break;
                }
                // Some loaders have added the bias in place by now, some never do.
                let value = value as usize;
                let address = Some(if value < bias { value.wrapping_add(bias) } else { value });
                match tag {
                    DT_STRTAB => strings = address,
                    DT_SYMTAB => symbols = address,
                    DT_GNU_HASH => hashes = address,
                    _ => {}
                }
                entry = entry.add(1);
            }
            let (strings, symbols) = (strings?, with_exposed_provenance::<libc::Elf64_Sym>(symbols?));
            let hashes = with_exposed_provenance::<u32>(hashes?);
            let hash = name.to_bytes().iter().fold(5381u32, |hash, &byte| {
                hash.wrapping_mul(33).wrapping_add(u32::from(byte))
            });
            // Bucket count, first symbol in the table, words (of 64 bits) in the filter, its shift; filter, buckets,
            // chains.
            let [buckets, first, filter, _] = *hashes.cast::<[u32; 4]>();
            if buckets == 0 {
                return None;
            }
            let bucket_at = hashes.add(4 + 2 * filter as usize);
            let chain_at = bucket_at.add(buckets as usize);
            let mut index = *bucket_at.add((hash % buckets) as usize);
            if index < first {
                return None;
            }
            loop {
                let chain = *chain_at.add((index - first) as usize);
                if chain | 1 == hash | 1 {
                    let symbol = &*symbols.add(index as usize);
                    let text = CStr::from_ptr(with_exposed_provenance(strings + symbol.st_name as usize));
                    if text == name && symbol.st_shndx != 0 {
                        return Some(bias.wrapping_add(symbol.st_value as usize));
                    }
                }
                if chain & 1 != 0 {
                    return None;
                }
                index += 1;
            }
        }
    }
}
