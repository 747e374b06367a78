//! What checks that held looked like, so that one that fails can say what is new; and profiles of those that failed.
//!
//! Called by `assert`. Read side. Passes are recorded when `ALLOCSCOPE_RECORD` or the update of budgets asks for it, beside the
//! build's own files: `<target>/<profile>/allocscope/<program>/<subject>.json`. Sites are compared by file, function and collection,
//! so that lines may move. Nothing here fails a test: trouble is a line in its text, or on stderr.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::assert::Subject;
use super::usage::{SiteUsage, Usage};
use crate::model::{Snapshot, write_atomically};

/// What a site allocates more than in the last recorded pass.
pub(crate) struct More {
    pub(crate) site: SiteUsage,
    pub(crate) allocations: u64,
    pub(crate) bytes: u64,
    pub(crate) is_new: bool,
}

/// Comparison with the last recorded pass.
pub(crate) enum News {
    /// None was recorded.
    NoPass,
    /// The recorded one cannot be read.
    Unreadable(String),
    /// Most bytes first.
    Since(Vec<More>),
}

/// What became of the full profile.
pub(crate) enum Written {
    NotAsked,
    To(PathBuf),
    Failed(String),
}

const RECORD: &str = "ALLOCSCOPE_RECORD";
const PROFILES: &str = "ALLOCSCOPE_PROFILES";

/// `debug/deps/parse-0123456789abcdef` to `debug/allocscope/parse`.
fn directory() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    let name = program.file_stem()?.to_str()?;
    let hash = |text: &str| text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let name = match name.rsplit_once('-') {
        Some((name, tail)) if hash(tail) => name,
        _ => name,
    };
    let mut base = program.parent()?;
    if base.ends_with("deps") || base.ends_with("examples") {
        base = base.parent()?;
    }
    Some(base.join("allocscope").join(name))
}

/// A file name that tells subjects apart and can be recognised.
fn file_name(subject: Subject) -> String {
    let plain = |text: &str| -> String {
        let short = text.chars().filter(|c| !c.is_whitespace()).take(48);
        short.map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
    };
    let hash = subject.file.bytes().chain([0]).chain(subject.what.bytes());
    let hash = hash.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{}-{hash:016x}.json", plain(subject.what))
}

fn is_asked_to_record() -> bool {
    std::env::var_os(RECORD).is_some_and(|value| !value.is_empty() && value != "0")
}

/// Keeps the sites of a check that held, if the environment asks for it.
pub(crate) fn record(subject: Subject, usage: &Usage) {
    if is_asked_to_record() {
        keep(subject, &usage.sites());
    }
}

/// Keeps them in any case.
pub(crate) fn keep(subject: Subject, sites: &[SiteUsage]) {
    let Some(directory) = directory() else { return };
    let path = directory.join(file_name(subject));
    let written = std::fs::create_dir_all(&directory).and_then(|()| {
        write_atomically(&path, |out| {
            serde_json::to_writer_pretty(out, sites).map_err(Into::into)
        })
    });
    if let Err(error) = written {
        eprintln!("allocscope: failed to record a pass in {}: {error}", path.display());
    }
}

pub(crate) fn news(subject: Subject, sites: &[SiteUsage]) -> News {
    let Some(path) = directory().map(|directory| directory.join(file_name(subject))) else {
        return News::NoPass;
    };
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return News::NoPass,
        Err(error) => return News::Unreadable(format!("{}: {error}", path.display())),
    };
    match serde_json::from_slice::<Vec<SiteUsage>>(&bytes) {
        Ok(before) => News::Since(compare(&before, sites)),
        Err(error) => News::Unreadable(format!("{}: {error}", path.display())),
    }
}

/// Sites that allocate more, most bytes first.
pub(crate) fn compare(before: &[SiteUsage], now: &[SiteUsage]) -> Vec<More> {
    type Key<'a> = (&'a str, &'a str, Option<&'a str>);
    fn key(site: &SiteUsage) -> Key<'_> {
        (&site.file, &site.function, site.collection.as_deref())
    }
    fn sums(sites: &[SiteUsage]) -> HashMap<Key<'_>, (u64, u64)> {
        let mut sums: HashMap<Key<'_>, (u64, u64)> = HashMap::new();
        for site in sites {
            let sum = sums.entry(key(site)).or_default();
            sum.0 += site.allocations + site.reallocations;
            sum.1 += site.bytes;
        }
        sums
    }
    let (old, new) = (sums(before), sums(now));
    let mut seen = Vec::new();
    let mut more: Vec<More> = Vec::new();
    for site in now {
        if seen.contains(&key(site)) {
            continue;
        }
        seen.push(key(site));
        let (allocations, bytes) = new[&key(site)];
        let known = old.get(&key(site));
        let (old_allocations, old_bytes) = known.copied().unwrap_or_default();
        if allocations > old_allocations || bytes > old_bytes {
            more.push(More {
                site: site.clone(),
                allocations: allocations.saturating_sub(old_allocations),
                bytes: bytes.saturating_sub(old_bytes),
                is_new: known.is_none(),
            });
        }
    }
    more.sort_by_key(|more| std::cmp::Reverse((more.bytes, more.allocations)));
    more
}

/// Writes the whole profile of a check that failed to the directory that `ALLOCSCOPE_PROFILES` names.
pub(crate) fn write_profile(subject: Subject, snapshot: &Snapshot) -> Written {
    match std::env::var_os(PROFILES) {
        Some(directory) if !directory.is_empty() => write_profile_to(Path::new(&directory), subject, snapshot),
        _ => Written::NotAsked,
    }
}

fn write_profile_to(directory: &Path, subject: Subject, snapshot: &Snapshot) -> Written {
    let path = directory.join(file_name(subject));
    let written =
        std::fs::create_dir_all(directory).and_then(|()| write_atomically(&path, |out| snapshot.write_json(out)));
    match written {
        Ok(()) => Written::To(path),
        Err(error) => Written::Failed(format!("{}: {error}", path.display())),
    }
}
