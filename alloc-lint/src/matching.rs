//! Measured sites and candidates: which belong together.
//!
//! Called by `lint` with all candidates. A site belongs to the candidate whose line it is, else to one that grows on its line, else to
//! one whose statement covers it. A site without a line belongs to the candidates of its function. A site with a line that
//! is none of theirs is another allocation, and is charged to nobody.
#![forbid(unsafe_code)]

use std::collections::HashMap;

use crate::candidates::Found;
use crate::model::{MatchedBy, Measured, Note, NoteKind};
use crate::profile::{MeasuredSite, Profile};

/// Gives the candidates their costs. A note when the profile says nothing about these files.
pub(crate) fn measure(found: &mut [Found], profile: &Profile, files: &[&str]) -> Option<Note> {
    let files = Files::new(files);
    let mut in_files = 0_usize;
    let mut matched = 0_usize;
    for site in &profile.sites {
        let Some(file) = files.file_of(site) else { continue };
        in_files += 1;
        let (owners, by) = owners(found, site, file);
        matched += usize::from(!owners.is_empty());
        let is_shared = owners.len() > 1;
        for owner in owners {
            add(&mut found[owner].candidate.measured, site, by, is_shared);
        }
    }
    let count = profile.sites.len();
    let message = match (count, in_files, matched, found.is_empty()) {
        (0, ..) => "the profile holds no site: was the program resolved, and did it allocate?".to_owned(),
        (_, 0, ..) => format!("none of the {count} sites of the profile is in these files: is it of another program?"),
        (_, _, 0, false) => format!(
            "{in_files} of the {count} sites of the profile are in these files, but none is at a candidate: did the program run that code, and \
             is it of this version?"
        ),
        _ => return None,
    };
    Some(Note {
        file: String::new(),
        line: 0,
        kind: NoteKind::ProfileUnmatched,
        message,
    })
}

/// The linted files, their names split once. Paths that have anything in common end with the same component.
struct Files<'a> {
    by_last: HashMap<&'a str, Vec<(usize, Vec<&'a str>)>>,
}

impl<'a> Files<'a> {
    fn new(names: &[&'a str]) -> Self {
        let mut by_last: HashMap<_, Vec<_>> = HashMap::new();
        for (number, name) in names.iter().enumerate() {
            let parts = parts(name);
            if let Some(last) = parts.last() {
                by_last.entry(*last).or_default().push((number, parts));
            }
        }
        Self { by_last }
    }

    /// The file that a site is in: the one with most of its path in common, if there is only one.
    fn file_of(&self, site: &MeasuredSite) -> Option<usize> {
        let of_site = parts(&site.file);
        let mut best: Option<(usize, usize)> = None;
        let mut is_tie = false;
        for (number, parts) in self.by_last.get(of_site.last()?)? {
            let Some(common) = common_suffix(&of_site, parts) else {
                continue;
            };
            match best {
                Some((most, _)) if common < most => {}
                Some((most, _)) if common == most => is_tie = true,
                _ => {
                    best = Some((common, *number));
                    is_tie = false;
                }
            }
        }
        best.filter(|_| !is_tie).map(|(_, number)| number)
    }
}

fn parts(path: &str) -> Vec<&str> {
    path.split(['/', '\\'])
        .filter(|part| !part.is_empty() && *part != ".")
        .collect()
}

/// How many components two paths share at the end, if that is all of the shorter one.
fn common_suffix(a: &[&str], b: &[&str]) -> Option<usize> {
    let common = a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a == b).count();
    (common > 0 && common == a.len().min(b.len())).then_some(common)
}

fn owners(found: &[Found], site: &MeasuredSite, file: usize) -> (Vec<usize>, MatchedBy) {
    let line = site.line as usize;
    let select = |is_it: &dyn Fn(&Found) -> bool| -> Vec<usize> {
        let in_file = found.iter().enumerate().filter(|(_, found)| found.file == file);
        in_file
            .filter(|(_, found)| is_it(found))
            .map(|(number, _)| number)
            .collect()
    };
    if line == 0 {
        return (
            select(&|found| is_function(&found.candidate.function, &site.function)),
            MatchedBy::Function,
        );
    }
    let by_line = select(&|found| found.candidate.line == line);
    if !by_line.is_empty() {
        return (by_line, MatchedBy::Line);
    }
    let by_growth = select(&|found| found.growth.contains(&line));
    if !by_growth.is_empty() {
        return (by_growth, MatchedBy::Line);
    }
    let covers = |found: &Found| (found.statement.0..=found.statement.1).contains(&line);
    (select(&covers), MatchedBy::Line)
}

/// `shop::fraud::Checker::check::{{closure}}` is `fraud::Checker::check`.
fn is_function(candidate: &str, site: &str) -> bool {
    let site = plain(site);
    let ours: Vec<&str> = candidate.split("::").collect();
    let common = ours
        .iter()
        .rev()
        .zip(site.iter().rev())
        .take_while(|(a, b)| *a == b)
        .count();
    common > 0 && common >= ours.len().min(site.len()).min(2)
}

/// The segments of a symbol, without closures and type arguments.
fn plain(symbol: &str) -> Vec<String> {
    // `<shop::Cart as Trait>::add`: the type stands for its `impl`.
    let symbol = match symbol.strip_prefix('<').and_then(|rest| rest.split_once(" as ")) {
        Some((ty, rest)) => format!("{ty}{}", rest.split_once('>').map_or("", |(_, rest)| rest)),
        None => symbol.to_owned(),
    };
    let mut depth = 0_usize;
    let mut text = String::new();
    for letter in symbol.chars() {
        match letter {
            '<' => depth += 1,
            '>' => depth = depth.saturating_sub(1),
            letter if depth == 0 => text.push(letter),
            _ => {}
        }
    }
    text.split("::")
        .filter(|part| !part.is_empty() && !part.starts_with('{'))
        .map(str::to_owned)
        .collect()
}

fn add(measured: &mut Option<Measured>, site: &MeasuredSite, by: MatchedBy, is_shared: bool) {
    let sum = measured.get_or_insert(Measured {
        allocations: 0,
        bytes: 0,
        iterations: None,
        verdict: None,
        matched_by: by,
        is_shared,
    });
    sum.allocations = sum.allocations.saturating_add(site.allocations);
    sum.bytes = sum.bytes.saturating_add(site.bytes);
    sum.iterations = sum.iterations.max(site.iterations);
    sum.is_shared |= is_shared;
    if sum.verdict.is_none() {
        sum.verdict.clone_from(&site.verdict);
    }
    if by == MatchedBy::Line {
        sum.matched_by = MatchedBy::Line;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_is_in_the_file_with_which_its_path_ends() {
        let site = |file: &str| MeasuredSite {
            file: file.to_owned(),
            ..MeasuredSite::default()
        };
        let files = Files::new(&["a/src/main.rs", "b/src/main.rs", "src/cart.rs"]);
        assert_eq!(files.file_of(&site("/home/me/shop/b/src/main.rs")), Some(1));
        assert_eq!(files.file_of(&site("src/main.rs")), None);
        assert_eq!(files.file_of(&site("cart.rs")), Some(2));
        assert_eq!(files.file_of(&site("src/mart.rs")), None);
    }

    #[test]
    fn functions_are_compared_by_their_last_names() {
        assert!(is_function(
            "fraud::Checker::check",
            "shop::fraud::Checker::check::{{closure}}"
        ));
        assert!(is_function("Cart::add", "<shop::Cart as shop::Add>::add"));
        assert!(is_function("cart::sum", "shop::cart::sum::<u64>"));
        assert!(is_function("check", "shop::check"));
        assert!(!is_function("Cart::add", "shop::Set::add"));
        assert!(!is_function("cart::sum", ""));
    }
}
