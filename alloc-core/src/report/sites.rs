//! Call stacks folded into the lines of code that a person would change.
//!
//! Called by both reports and by `findings`. Read side. A site is the first frame in the user's own code together with the collection
//! that the library frames below it build: all stacks that share these are one row. Cost: linear in stacks; each
//! distinct frame is classified once, each stack is walked only as far as its first own frame.
#![forbid(unsafe_code)]

use std::collections::HashMap;

use super::{NO_LINES, NO_SYMBOLS};
use crate::model::{Frame, Module, Symbol};
use crate::symbolize::{
    Origin, Own, belongs_to_collection, collection_kind, deciding_frame, enclosing_function, is_conduit,
    short_function, short_path,
};

/// The line of code that a site is shown as.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Line {
    /// As the debug information has it; empty when unknown.
    pub(crate) file: String,
    pub(crate) line: u32,
    /// Short form.
    pub(crate) function: String,
    /// `HashSet<u64>`; `None` when the stack does not say.
    pub(crate) collection: Option<String>,
    /// Shown instead of the file when that is unknown: an address, or why there is none.
    pub(crate) instead: String,
    /// False when no frame of the user's own code is in the stack.
    pub(crate) is_own: bool,
}

impl Line {
    /// `src/fraud.rs:58`, or what stands in for it.
    pub(crate) fn place(&self, base: Option<&str>) -> String {
        match (self.file.is_empty(), self.line) {
            (true, _) => self.instead.clone(),
            (false, 0) => short_path(&self.file, base),
            (false, line) => format!("{}:{line}", short_path(&self.file, base)),
        }
    }

    /// `src/fraud.rs:58  check_fraud  HashSet<u64>`.
    pub(crate) fn title(&self, base: Option<&str>) -> String {
        let mut title = self.place(base);
        for part in [Some(self.function.as_str()), self.collection.as_deref()]
            .into_iter()
            .flatten()
        {
            if !part.is_empty() && part != title {
                if !title.is_empty() {
                    title.push_str("  ");
                }
                title.push_str(part);
            }
        }
        title
    }

    /// `check_fraud builds HashSet<u64>`, as far as known.
    pub(crate) fn sentence(&self) -> String {
        match (&self.collection, self.function.is_empty()) {
            (Some(collection), false) => format!("{} builds {collection}", self.function),
            (Some(collection), true) => format!("builds {collection}"),
            (None, false) => self.function.clone(),
            (None, true) => String::new(),
        }
    }
}

/// Position of one source frame: index of the frame, then of the symbol in it.
type At = (u32, u32);

/// Folds stacks into lines. Lines are numbered as they first appear.
pub(crate) struct Folder<'a> {
    frames: &'a [Frame],
    modules: &'a [Module],
    /// For each frame, the origin of each of its symbols.
    origins: Vec<Vec<Origin>>,
    /// For each frame, whether each of its symbols is a collection's.
    collections: Vec<Vec<bool>>,
    /// Line numbers by what makes them equal.
    keys: HashMap<(PlaceKey<'a>, Option<u32>), usize>,
    /// Collection labels, each once.
    labels: Vec<String>,
    label_of: HashMap<String, u32>,
    label_at: HashMap<At, Option<u32>>,
    lines: Vec<Line>,
    /// How far the user's own code can be named.
    names: Names,
    /// Whether a conduit is taken for the line that a person would change.
    conduits: Conduits,
}

/// What own functions stand for that others call on a person's behalf: `clone`, `fmt`, `visit_map`, often derived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Conduits {
    /// Themselves.
    Named,
    /// Whoever called them, if it is own code.
    PassedThrough,
}

/// How far the user's own code can be named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Names {
    Lines,
    /// No line tables in the binary.
    Functions,
    /// Not resolved.
    Addresses,
}

#[derive(PartialEq, Eq, Hash)]
enum PlaceKey<'a> {
    Line(&'a str, u32),
    Function(&'a str),
    Address(Option<u32>, u64),
    NoStack,
}

/// A scope that a stack ran in: its name, file and first line.
#[derive(Clone, Copy)]
pub(crate) struct Enclosing<'a> {
    pub(crate) name: &'a str,
    pub(crate) file: &'a str,
    pub(crate) line: u32,
}

impl<'a> Folder<'a> {
    pub(crate) fn new(frames: &'a [Frame], modules: &'a [Module], own: &Own, conduits: Conduits) -> Self {
        let origins: Vec<Vec<Origin>> = frames
            .iter()
            .map(|frame| frame.symbols.iter().map(|symbol| own.origin(symbol)).collect())
            .collect();
        let own = || {
            let symbols = frames
                .iter()
                .zip(&origins)
                .flat_map(|(frame, origins)| frame.symbols.iter().zip(origins));
            symbols
                .filter(|(_, origin)| **origin == Origin::User)
                .map(|(symbol, _)| symbol)
        };
        Self {
            names: if own().any(|symbol| !symbol.file.is_empty()) {
                Names::Lines
            } else if own().next().is_some() {
                Names::Functions
            } else if frames.iter().any(|frame| frame.symbols.is_empty()) {
                Names::Addresses
            } else {
                Names::Lines
            },
            frames,
            modules,
            collections: {
                let belongs =
                    |(symbol, origin): (&Symbol, &Origin)| *origin == Origin::Std && belongs_to_collection(symbol);
                let of_frame =
                    |(frame, origins): (&Frame, &Vec<Origin>)| frame.symbols.iter().zip(origins).map(belongs).collect();
                frames.iter().zip(&origins).map(of_frame).collect()
            },
            origins,
            keys: HashMap::new(),
            labels: Vec::new(),
            label_of: HashMap::new(),
            label_at: HashMap::new(),
            lines: Vec::new(),
            conduits,
        }
    }

    /// The number of the line that a stack belongs to. `scopes` yields the scopes it ran in, innermost first; they
    /// name an async body that the debug information leaves nameless.
    pub(crate) fn fold<'s>(&mut self, stack: Option<&[u32]>, scopes: impl Iterator<Item = Enclosing<'s>>) -> usize {
        let Some(stack) = stack else {
            return self.line(PlaceKey::NoStack, None, |_| no_stack());
        };
        let belongs = |at: At| self.collections[at.0 as usize][at.1 as usize];
        let label = deciding_frame(self.walk(stack).map(|(at, _, origin)| (origin, belongs(at))))
            .and_then(|position| self.walk(stack).nth(position))
            .and_then(|(at, symbol, _)| self.label(at, symbol));
        let Some((position, at)) = self.own_frame(stack) else {
            let frame = stack.first().and_then(|&frame| self.frames.get(frame as usize));
            let key = frame.map_or(PlaceKey::NoStack, |frame| PlaceKey::Address(frame.module, frame.offset));
            return self.line(key, label, |folder| {
                frame.map_or_else(no_stack, |frame| folder.address(frame))
            });
        };
        let symbol = &self.frames[at.0 as usize].symbols[at.1 as usize];
        let key = match symbol.file.as_str() {
            "" => PlaceKey::Function(&symbol.function),
            file => PlaceKey::Line(file, symbol.line),
        };
        self.line(key, label, |folder| Line {
            file: symbol.file.clone(),
            line: symbol.line,
            function: folder.function(stack, position, symbol, scopes),
            collection: None,
            instead: if symbol.file.is_empty() {
                "(no line)".to_owned()
            } else {
                String::new()
            },
            is_own: folder.origins[at.0 as usize][at.1 as usize] == Origin::User,
        })
    }

    /// True when no frame is resolved: a line then is an address inside the allocator, and says nothing.
    pub(crate) fn knows_addresses_only(&self) -> bool {
        self.names == Names::Addresses
    }

    /// The source frames between the allocator and the line, innermost first, each with its origin.
    pub(crate) fn below_line(&self, stack: &[u32]) -> Vec<(&'a Symbol, Origin)> {
        let until = self.own_frame(stack).map_or(0, |(position, _)| position);
        self.walk(stack)
            .take(until)
            .map(|(_, symbol, origin)| (symbol, origin))
            .collect()
    }

    /// The part of a stack that lies inside the outermost frame of which `is_edge` is true, that frame included.
    pub(crate) fn inside<'s>(&self, stack: &'s [u32], is_edge: impl Fn(&Symbol, Origin) -> bool) -> Option<&'s [u32]> {
        let has_edge = |&at: &u32| {
            let symbols = self.frames.get(at as usize).map_or(&[][..], |frame| &frame.symbols);
            let origins = self.origins.get(at as usize).map_or(&[][..], Vec::as_slice);
            symbols
                .iter()
                .zip(origins)
                .any(|(symbol, &origin)| is_edge(symbol, origin))
        };
        let outermost = stack.iter().rposition(has_edge)?;
        Some(&stack[..=outermost])
    }

    /// What to tell the reader about names, if anything.
    pub(crate) fn note(&self) -> Option<&'static str> {
        match self.names {
            Names::Lines => None,
            Names::Functions => Some(NO_LINES),
            Names::Addresses => Some(NO_SYMBOLS),
        }
    }

    /// The lines seen, by number.
    pub(crate) fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// The source frames of a stack outside the tracker, innermost first, for JSON.
    pub(crate) fn source_frames(&self, stack: &[u32]) -> Vec<&'a Symbol> {
        self.walk(stack)
            .filter(|(_, _, origin)| *origin != Origin::Tracker)
            .map(|(_, symbol, _)| symbol)
            .collect()
    }

    /// Own frames outside the one that names the site: who called it, nearest first.
    pub(crate) fn callers(&self, stack: &[u32]) -> Vec<&'a Symbol> {
        let Some((position, _)) = self.own_frame(stack) else {
            return Vec::new();
        };
        self.walk(stack)
            .skip(position + 1)
            .filter(|(_, symbol, origin)| *origin == Origin::User && !symbol.file.is_empty())
            .map(|(_, symbol, _)| symbol)
            .collect()
    }

    fn walk<'s>(&'s self, stack: &'s [u32]) -> impl Iterator<Item = (At, &'a Symbol, Origin)> + use<'a, 's> {
        stack
            .iter()
            .filter_map(|&at| Some((at, self.frames.get(at as usize)?)))
            .flat_map(move |(at, frame)| {
                let origins = &self.origins[at as usize];
                frame
                    .symbols
                    .iter()
                    .zip(origins)
                    .zip(0..)
                    .map(move |((symbol, origin), nth)| ((at, nth), symbol, *origin))
            })
    }

    /// The frame that a person would look at: the first own one; else the first of a dependency; else the first that
    /// has a name at all, outside of the collection that is built.
    fn own_frame(&self, stack: &[u32]) -> Option<(usize, At)> {
        let mut conduit = None;
        let mut second = None;
        let mut third = None;
        let mut inside = None;
        for (position, (at, symbol, origin)) in self.walk(stack).enumerate() {
            match origin {
                Origin::User if self.conduits == Conduits::PassedThrough && is_conduit(symbol) => {
                    conduit = conduit.or(Some((position, at)));
                }
                Origin::User => return Some((position, at)),
                Origin::Dependency => second = second.or(Some((position, at))),
                Origin::Std if self.collections[at.0 as usize][at.1 as usize] => {
                    (third, inside) = (None, third.or(inside))
                }
                Origin::Std | Origin::Unknown => third = third.or(Some((position, at))),
                Origin::Tracker => {}
            }
        }
        // Where the innermost address is a mystery, it says more than the C library's `start_thread`.
        let innermost = stack.first().and_then(|&frame| self.frames.get(frame as usize));
        conduit.or(second).or(third
            .or(inside)
            .filter(|_| innermost.is_some_and(|frame| !frame.symbols.is_empty())))
    }

    fn function<'s>(
        &self,
        stack: &[u32],
        position: usize,
        symbol: &Symbol,
        mut scopes: impl Iterator<Item = Enclosing<'s>>,
    ) -> String {
        let outside = self
            .walk(stack)
            .skip(position + 1)
            .map(|(_, symbol, _)| symbol.function.as_str());
        if let Some(name) = enclosing_function(&symbol.function, outside) {
            return name;
        }
        let name = short_function(&symbol.function);
        let last = name.rsplit("::").next();
        let is_anonymous = symbol.function.starts_with('{');
        // With line tables only, a name has no module; the scope of the same function in the same file has one.
        let fits = |scope: &Enclosing<'_>| {
            let known = !scope.file.is_empty() && !symbol.file.is_empty();
            let same_file = symbol.file.ends_with(scope.file) || scope.file.ends_with(&symbol.file);
            let same_name = || scope.name.rsplit("::").next() == last;
            known && same_file && scope.line <= symbol.line && (is_anonymous || same_name())
        };
        match scopes.find(fits) {
            Some(scope) => short_function(scope.name),
            None => name,
        }
    }

    fn label(&mut self, at: At, symbol: &Symbol) -> Option<u32> {
        if let Some(&label) = self.label_at.get(&at) {
            return label;
        }
        let label = collection_kind(symbol).map(|kind| {
            let next = self.labels.len() as u32;
            let text = kind.to_string();
            *self.label_of.entry(text).or_insert_with_key(|text| {
                self.labels.push(text.clone());
                next
            })
        });
        self.label_at.insert(at, label);
        label
    }

    fn line(&mut self, key: PlaceKey<'a>, label: Option<u32>, describe: impl FnOnce(&Self) -> Line) -> usize {
        let key = (key, label);
        if let Some(&number) = self.keys.get(&key) {
            return number;
        }
        let mut line = describe(self);
        line.collection = label.and_then(|label| self.labels.get(label as usize).cloned());
        let number = self.lines.len();
        self.lines.push(line);
        self.keys.insert(key, number);
        number
    }

    fn address(&self, frame: &Frame) -> Line {
        let module = frame.module.and_then(|module| self.modules.get(module as usize));
        let instead = match module {
            Some(module) => format!("{}+{:#x}", module.file_name(), frame.offset),
            None => format!("{:#x}", frame.offset),
        };
        Line { instead, ..no_stack() }
    }
}

fn no_stack() -> Line {
    Line {
        file: String::new(),
        line: 0,
        function: String::new(),
        collection: None,
        instead: "(no call stack recorded)".to_owned(),
        is_own: false,
    }
}
