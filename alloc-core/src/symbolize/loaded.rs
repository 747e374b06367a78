//! What is loaded in this process now: path, build id and load address of each module.
//!
//! Called by `Snapshot::resolve`, to tell whether an address of a snapshot means the same here; [`identity`] also by
//! whoever lists modules for a snapshot. Read side. Invariant: a module is listed only when its file could be read. Cost:
//! a few small reads per module; one without a build id is hashed, a few milliseconds, the executable only once. Leaves
//! out systems other than Linux, where the answer is "unknown".
#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::sync::OnceLock;

use crate::model::Module;

/// The file of this process, also when its name has been given to another one since.
const OWN_EXECUTABLE: &str = "/proc/self/exe";

/// The modules of this process, or `None` where the system does not tell.
pub(crate) fn modules() -> Option<Vec<Module>> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    let executable = fs::read_link(OWN_EXECUTABLE).ok();
    let executable = executable.as_deref().and_then(|path| path.to_str()).unwrap_or_default();
    Some(modules_of(&fs::read_to_string("/proc/self/maps").ok()?, executable))
}

fn modules_of(maps: &str, executable: &str) -> Vec<Module> {
    let mut modules: Vec<Module> = Vec::new();
    for (start, path) in loaded_files(maps) {
        let file = if path == executable { OWN_EXECUTABLE } else { path };
        let Some(elf) = File::open(file).ok().and_then(|mut file| read_elf(&mut file)) else {
            continue;
        };
        let build_id = if elf.build_id.is_empty() {
            identity(file).unwrap_or_default()
        } else {
            elf.build_id
        };
        let path = path.strip_suffix(" (deleted)").unwrap_or(path).to_owned();
        modules.push(Module {
            path,
            build_id,
            load_address: start.wrapping_sub(elf.first_address),
            code: None,
        });
    }
    modules
}

/// What tells one build of a module from another: the GNU build id, or `code-` and a hash of code and line tables
/// where the linker wrote none (as Rust's default one does). `None` when the file cannot be read or is not ELF.
///
/// # Overhead
/// Without a build id, reads the code and the line tables. The executable's answer is kept; ask for it as
/// `/proc/self/exe`.
pub(crate) fn identity(path: &str) -> Option<String> {
    static OF_EXECUTABLE: OnceLock<Option<String>> = OnceLock::new();
    let read = || {
        let mut file = File::open(path).ok()?;
        let elf = read_elf(&mut file)?;
        if elf.build_id.is_empty() {
            hash_of_code(&mut file, &elf)
        } else {
            Some(elf.build_id)
        }
    };
    if path == OWN_EXECUTABLE {
        OF_EXECUTABLE.get_or_init(read).clone()
    } else {
        read()
    }
}

/// Every identity that a snapshot may know a file by: its own, and, where that is a hash, that of the same code after its line tables were
/// stripped.
#[cfg(feature = "offline")]
pub(super) fn identities(path: &std::path::Path) -> Vec<String> {
    let read = || {
        let mut file = File::open(path).ok()?;
        let elf = read_elf(&mut file)?;
        if !elf.build_id.is_empty() {
            return Some(vec![elf.build_id]);
        }
        let whole = hash_of_code(&mut file, &elf);
        let stripped = Elf {
            line_table: None,
            ..elf
        };
        Some(whole.into_iter().chain(hash_of_code(&mut file, &stripped)).collect())
    };
    read().unwrap_or_default()
}

fn hash_of_code(file: &mut (impl Read + Seek), elf: &Elf) -> Option<String> {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut buffer = vec![0_u8; 1 << 16];
    for &(offset, size) in elf.code.iter().chain(&elf.line_table) {
        file.seek(SeekFrom::Start(offset)).ok()?;
        let mut left = size;
        while left > 0 {
            let part = buffer.get_mut(..left.min(1 << 16) as usize)?;
            file.read_exact(part).ok()?;
            left -= part.len() as u64;
            for word in part.chunks(8) {
                let mut bytes = [0_u8; 8];
                bytes[..word.len()].copy_from_slice(word);
                hash = (hash.rotate_left(5) ^ u64::from_le_bytes(bytes)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            }
        }
        hash = (hash.rotate_left(5) ^ size).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    Some(format!("code-{hash:016x}"))
}

/// Start and path of every file that is loaded: mapped from its offset 0 on, with a part that can be executed. A file may
/// be mapped as data as well, by whoever reads its debug information; such a mapping has no part of this kind.
fn loaded_files(maps: &str) -> Vec<(u64, &str)> {
    let mut files = Vec::new();
    let mut begun: Option<(u64, &str)> = None;
    for mapping in maps.lines().filter_map(Mapping::parse) {
        if mapping.offset == 0 {
            begun = Some((mapping.start, mapping.path));
        }
        if mapping.executable
            && let Some((start, path)) = begun.take_if(|(_, path)| *path == mapping.path)
        {
            files.push((start, path));
        }
    }
    files
}

/// One line of the memory map that maps a file.
struct Mapping<'a> {
    start: u64,
    offset: u64,
    executable: bool,
    path: &'a str,
}

impl<'a> Mapping<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        // start-end permissions offset device inode path, the path padded on the left
        let mut rest = line;
        let mut field = || {
            let (head, tail) = rest.split_once(' ')?;
            rest = tail;
            Some(head)
        };
        let (start, _) = field()?.split_once('-')?;
        let permissions = field()?;
        let offset = field()?;
        let _device = field()?;
        let _inode = field()?;
        let path = rest.trim_start();
        Some(Self {
            start: u64::from_str_radix(start, 16).ok()?,
            offset: u64::from_str_radix(offset, 16).ok()?,
            executable: permissions.contains('x'),
            path: Some(path).filter(|path| path.starts_with('/'))?,
        })
    }
}

struct Elf {
    build_id: String,
    /// Offset and size in the file of the executable segments.
    code: Vec<(u64, u64)>,
    /// The same of `.debug_line`, where there is one.
    line_table: Option<(u64, u64)>,
    /// Page of the first loaded segment's link-time address: 0 unless the module is linked to a fixed place.
    first_address: u64,
}

/// Reads the program headers and the build id note of a 64-bit little-endian ELF file.
fn read_elf(file: &mut (impl Read + Seek)) -> Option<Elf> {
    const LOAD: u32 = 1;
    const NOTE: u32 = 4;
    const EXECUTABLE: u32 = 1;
    let mut header = [0_u8; 64];
    file.read_exact(&mut header).ok()?;
    let (magic, class, order) = (header.get(..4)?, header[4], header[5]);
    if magic != b"\x7fELF" || class != 2 || order != 1 {
        return None;
    }
    let table = u64_at(&header, 32)?;
    let (size, count) = (usize::from(u16_at(&header, 54)?), usize::from(u16_at(&header, 56)?));
    if size < 56 {
        return None;
    }
    let mut headers = vec![0_u8; size * count];
    file.seek(SeekFrom::Start(table)).ok()?;
    file.read_exact(&mut headers).ok()?;

    let mut elf = Elf {
        build_id: String::new(),
        code: Vec::new(),
        line_table: None,
        first_address: u64::MAX,
    };
    for entry in headers.chunks_exact(size) {
        let (offset, address, bytes) = (u64_at(entry, 8)?, u64_at(entry, 16)?, u64_at(entry, 32)?);
        match u32_at(entry, 0)? {
            LOAD => {
                if elf.first_address == u64::MAX {
                    elf.first_address = address & !0xfff;
                }
                if u32_at(entry, 4)? & EXECUTABLE != 0 {
                    elf.code.push((offset, bytes));
                }
            }
            // A note segment is a few dozen bytes; a huge one is not worth reading.
            NOTE if elf.build_id.is_empty() && bytes <= 1 << 16 => {
                let mut notes = vec![0_u8; bytes as usize];
                file.seek(SeekFrom::Start(offset)).ok()?;
                file.read_exact(&mut notes).ok()?;
                elf.build_id = build_id(&notes).unwrap_or_default();
            }
            _ => {}
        }
    }
    elf.line_table = section(file, &header, b".debug_line\0");
    (elf.first_address != u64::MAX).then_some(elf)
}

/// Offset and size of a section; `None` when it, or the whole table of sections, is missing.
fn section(file: &mut (impl Read + Seek), header: &[u8], name: &[u8]) -> Option<(u64, u64)> {
    let table = u64_at(header, 40)?;
    let (size, count) = (usize::from(u16_at(header, 58)?), usize::from(u16_at(header, 60)?));
    let names = usize::from(u16_at(header, 62)?);
    if size < 64 {
        return None;
    }
    let mut headers = vec![0_u8; size * count];
    file.seek(SeekFrom::Start(table)).ok()?;
    file.read_exact(&mut headers).ok()?;
    let place = |entry: &[u8]| Some((u64_at(entry, 24)?, u64_at(entry, 32)?));
    let (offset, bytes) = place(headers.chunks_exact(size).nth(names)?)?;
    let mut strings = vec![0_u8; usize::try_from(bytes).ok().filter(|bytes| *bytes <= 1 << 20)?];
    file.seek(SeekFrom::Start(offset)).ok()?;
    file.read_exact(&mut strings).ok()?;
    let is_it = |entry: &&[u8]| {
        let start = u32_at(entry, 0).and_then(|at| strings.get(at as usize..));
        start.is_some_and(|start| start.starts_with(name))
    };
    headers.chunks_exact(size).find(is_it).and_then(place)
}

/// Finds the GNU build id in a note segment.
fn build_id(notes: &[u8]) -> Option<String> {
    const BUILD_ID: u32 = 3;
    let mut at = 0;
    loop {
        let name_size = u32_at(notes, at)? as usize;
        let size = u32_at(notes, at + 4)? as usize;
        let kind = u32_at(notes, at + 8)?;
        let name = at.checked_add(12)?;
        let content = name.checked_add(name_size.next_multiple_of(4))?;
        let end = content.checked_add(size)?;
        if kind == BUILD_ID && notes.get(name..name + name_size)? == b"GNU\0" {
            let hex = |byte: &u8| format!("{byte:02x}");
            return Some(notes.get(content..end)?.iter().map(hex).collect());
        }
        at = end.next_multiple_of(4);
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_mapped_as_data_is_not_taken_for_a_loaded_one() {
        let maps = "\
55d0a000-55d0b000 r--p 00000000 08:01 131                  /opt/my app/bin
55d0b000-55d0c000 r-xp 00001000 08:01 131                  /opt/my app/bin
7e000000-7e200000 r--p 00000000 08:01 132                  /lib/libc.so.6
7f000000-7f001000 r--p 00000000 08:01 132                  /lib/libc.so.6
7f001000-7f002000 r-xp 00001000 08:01 132                  /lib/libc.so.6
7f002000-7f003000 r--p 00002000 08:01 132                  /lib/libc.so.6
7f100000-7f101000 r-xp 00000000 08:01 133                  /lib/one segment.so
7f200000-7f201000 r--p 00000000 08:01 134                  /usr/share/data
7f300000-7f301000 r-xp 00001000 08:01 135                  /lib/tail.so
7ffc0000-7ffc1000 rw-p 00000000 00:00 0                    [stack]
7ffd0000-7ffd1000 r-xp 00000000 00:00 0                    [vdso]
7ffe0000-7ffe1000 rw-p 00000000 00:00 0 

nonsense
";
        let expected = [
            (0x55d0_a000, "/opt/my app/bin"),
            (0x7f00_0000, "/lib/libc.so.6"),
            (0x7f10_0000, "/lib/one segment.so"),
        ];
        assert_eq!(loaded_files(maps), expected);
    }

    #[test]
    fn the_build_id_is_found_behind_another_note() {
        let mut notes = Vec::new();
        for (kind, name, content) in [(5_u32, b"GNU\0", &[1_u8, 2, 3, 4, 5][..]), (3, b"GNU\0", &[0xab, 0x01])] {
            notes.extend_from_slice(&4_u32.to_le_bytes());
            notes.extend_from_slice(&(content.len() as u32).to_le_bytes());
            notes.extend_from_slice(&kind.to_le_bytes());
            notes.extend_from_slice(name);
            notes.extend_from_slice(content);
            notes.resize(notes.len().next_multiple_of(4), 0);
        }
        assert_eq!(build_id(&notes).as_deref(), Some("ab01"));
        for cut in 0..notes.len() - 2 {
            assert_eq!(build_id(&notes[..cut]), None, "cut at {cut}");
        }
        assert_eq!(build_id(&[0xff; 64]), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_executable_is_among_its_own_modules() {
        let executable = std::env::current_exe().unwrap();
        let modules = modules().unwrap();
        assert!(
            modules.iter().any(|module| module.path == executable.to_str().unwrap()),
            "{modules:?}"
        );
    }
}
