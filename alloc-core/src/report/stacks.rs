//! Call stacks as the names that people and other tools are shown: library frames folded or whole, the tracker's own left out.
//!
//! Called by the call tree and by every export but pprof, which has addresses of its own. Read side. Invariants: a stack has at least one name; the outermost
//! comes first; what no stack was recorded of is named by its scopes. Cost: each frame is named once, each stack walked once.
#![forbid(unsafe_code)]

use std::collections::HashMap;

use crate::model::{Frame, Module, ScopeNode, ScopeNodeId, Snapshot, Symbol};
use crate::progress::Progress;
use crate::symbolize::{
    Origin, Own, belongs_to_collection, collection_kind, deciding_frame, enclosing_function, qualified_function,
    short_path, without_generics,
};

/// What the library frames of a call stack are shown as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Library {
    /// Those next to the allocator as the collection that they build, all others as one frame `<std>`.
    #[default]
    Folded,
    /// As they are.
    Whole,
}

/// What a frame is shown as.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Name {
    pub(crate) text: String,
    /// Empty when unknown.
    pub(crate) file: String,
    /// 0 when unknown.
    pub(crate) line: u32,
}

/// Names, each once, and the stacks made of them.
#[derive(Default)]
pub(crate) struct Names {
    pub(crate) names: Vec<Name>,
    of: HashMap<Name, u32>,
}

impl Names {
    pub(crate) fn intern(&mut self, name: Name) -> u32 {
        let next = self.names.len() as u32;
        *self.of.entry(name).or_insert_with_key(|name| {
            self.names.push(name.clone());
            next
        })
    }
}

/// Names the frames of a snapshot or of a diff.
pub(crate) struct Namer<'a> {
    frames: &'a [Frame],
    modules: &'a [Module],
    origins: Vec<Vec<Origin>>,
    library: Library,
    pub(crate) names: Names,
    /// Scopes of contexts without a stack.
    scopes: &'a [ScopeNode],
    place_of_scope: HashMap<ScopeNodeId, usize>,
}

impl<'a> Namer<'a> {
    pub(crate) fn new(
        frames: &'a [Frame],
        modules: &'a [Module],
        scopes: &'a [ScopeNode],
        own: &Own,
        library: Library,
    ) -> Self {
        let origins = |frame: &Frame| frame.symbols.iter().map(|symbol| own.origin(symbol)).collect();
        Self {
            frames,
            modules,
            origins: frames.iter().map(origins).collect(),
            library,
            names: Names::default(),
            scopes,
            place_of_scope: scopes.iter().map(|scope| scope.id).zip(0..).collect(),
        }
    }

    pub(crate) fn of_snapshot(snapshot: &'a Snapshot, own: &Own, library: Library) -> Self {
        Self::new(&snapshot.frames, &snapshot.modules, &snapshot.scopes, own, library)
    }

    /// The names of a stack, outermost first.
    pub(crate) fn stack(&mut self, stack: &[u32]) -> Vec<u32> {
        let mut names = match self.library {
            Library::Whole => self.whole(stack),
            Library::Folded => self.folded(stack),
        };
        if names.is_empty() {
            names.push(self.plain("(unknown)"));
        }
        names.reverse();
        names
    }

    /// The names of the scopes that a context without a stack ran in, outermost first.
    pub(crate) fn scope(&mut self, scope: ScopeNodeId) -> Vec<u32> {
        let mut names = vec![self.plain("(no call stack recorded)")];
        let mut at = self.place_of_scope.get(&scope).copied();
        while let Some(place) = at.filter(|&place| place > 0) {
            let node = &self.scopes[place];
            names.push(self.names.intern(Name {
                text: node.name.clone(),
                file: node.file.clone(),
                line: node.line,
            }));
            // Parents come first; anything else would be a cycle.
            let parent = node.parent.and_then(|parent| self.place_of_scope.get(&parent).copied());
            at = parent.filter(|&parent| parent < place);
        }
        names.reverse();
        names
    }

    fn plain(&mut self, text: &str) -> u32 {
        self.names.intern(Name {
            text: text.to_owned(),
            file: String::new(),
            line: 0,
        })
    }

    /// Source frames of a stack, innermost first; an address that is not resolved has no symbol.
    fn walk(&self, stack: &[u32]) -> Vec<(&'a Frame, Option<&'a Symbol>, Origin)> {
        let mut all = Vec::with_capacity(stack.len() * 2);
        for &at in stack {
            let Some(frame) = self.frames.get(at as usize) else {
                continue;
            };
            if frame.symbols.is_empty() {
                all.push((frame, None, Origin::Unknown));
            }
            for (symbol, &origin) in frame.symbols.iter().zip(&self.origins[at as usize]) {
                if origin != Origin::Tracker {
                    all.push((frame, Some(symbol), origin));
                }
            }
        }
        all
    }

    fn whole(&mut self, stack: &[u32]) -> Vec<u32> {
        let walk = self.walk(stack);
        (0..walk.len()).map(|at| self.name(&walk, at)).collect()
    }

    fn folded(&mut self, stack: &[u32]) -> Vec<u32> {
        let mut walk = self.walk(stack);
        // What runs before `main`, or starts a thread, is the same for all and says nothing.
        let is_start = |&(_, symbol, origin): &(&Frame, Option<&Symbol>, Origin)| {
            symbol.is_some() && matches!(origin, Origin::Std | Origin::Unknown)
        };
        if let Some(outermost) = walk.iter().rposition(|frame| !is_start(frame)) {
            walk.truncate(outermost + 1);
        }
        let belongs = |symbol: Option<&Symbol>| symbol.is_some_and(belongs_to_collection);
        let deciding = deciding_frame(
            walk.iter()
                .map(|&(_, symbol, origin)| (origin, origin == Origin::Std && belongs(symbol))),
        );
        let collection = deciding
            .and_then(|at| walk[at].1)
            .and_then(collection_kind)
            .map(|kind| kind.to_string());
        let mut names = Vec::new();
        let mut at = walk.iter().take_while(|(_, _, origin)| *origin == Origin::Std).count();
        if at > 0 {
            names.push(self.plain(collection.as_deref().unwrap_or("<std>")));
        }
        let mut is_site = true;
        while at < walk.len() {
            let (_, symbol, origin) = walk[at];
            if origin == Origin::Std {
                // What runs user code on user code's behalf: iterators, closures, the start of a thread.
                let run = walk[at..]
                    .iter()
                    .take_while(|(_, _, origin)| *origin == Origin::Std)
                    .count();
                at += run;
                names.push(self.plain("<std>"));
                continue;
            }
            let mut name = self.name(&walk, at);
            if let Some(symbol) = symbol {
                let mut named = self.names.names[name as usize].clone();
                if !std::mem::take(&mut is_site) {
                    // One function is one frame, on whatever lines it calls.
                    named.line = 0;
                } else if !symbol.file.is_empty() && symbol.line > 0 {
                    // One function may allocate on several lines: the one that does is told apart.
                    let file = short_path(&symbol.file, None);
                    let file = file.rsplit('/').next().unwrap_or(&file);
                    named.text = format!("{} ({file}:{})", named.text, symbol.line);
                }
                name = self.names.intern(named);
            }
            names.push(name);
            at += 1;
        }
        names
    }

    fn name(&mut self, walk: &[(&Frame, Option<&Symbol>, Origin)], at: usize) -> u32 {
        let (frame, symbol, _) = walk[at];
        let Some(symbol) = symbol else {
            let text = address(frame, self.modules);
            return self.plain(&text);
        };
        let mut text = if self.library == Library::Folded {
            let plain = qualified_function(&Symbol {
                function: outside_generics(&symbol.function),
                ..symbol.clone()
            });
            if plain.is_empty() {
                symbol.function.clone()
            } else {
                plain
            }
        } else {
            qualified_function(symbol)
        };
        if symbol.function.starts_with('{') {
            let outside = walk[at + 1..].iter().filter_map(|(_, symbol, _)| *symbol);
            let outside = outside.map(|symbol| symbol.function.as_str());
            if let Some(name) = enclosing_function(&symbol.function, outside) {
                let kind = symbol.function.trim_start_matches('{');
                let kind = kind.split(['#', '}']).next().unwrap_or_default();
                text = format!("{name}::{{{kind}}}");
            }
        }
        if text.is_empty() {
            text = address(frame, self.modules);
        }
        self.names.intern(Name {
            text,
            file: symbol.file.clone(),
            line: symbol.line,
        })
    }
}

/// Without generics, but `<T as Trait>::method` keeps its type.
fn outside_generics(function: &str) -> String {
    if function.starts_with('<') {
        crate::symbolize::short_function(function)
    } else {
        without_generics(function)
    }
}

fn address(frame: &Frame, modules: &[Module]) -> String {
    match frame.module.and_then(|module| modules.get(module as usize)) {
        Some(module) => format!("{}+{:#x}", module.file_name(), frame.offset),
        None => format!("{:#x}", frame.offset),
    }
}

/// The names of each context's stack, outermost first, in the order of the contexts.
pub(crate) fn of_contexts(namer: &mut Namer<'_>, snapshot: &Snapshot) -> Vec<Vec<u32>> {
    let mut known: Vec<Option<Vec<u32>>> = vec![None; snapshot.stacks.len()];
    let contexts = snapshot.contexts.iter();
    let mut progress = Progress::new("naming call stacks", contexts.len());
    contexts
        .map(|context| {
            progress.step();
            let stack = context.stack.map(|stack| stack as usize);
            match stack.and_then(|at| Some((at, snapshot.stacks.get(at)?))) {
                Some((at, stack)) => known[at].get_or_insert_with(|| namer.stack(stack.frames)).clone(),
                None => namer.scope(context.scope),
            }
        })
        .collect()
}

/// A tree of names with figures at its nodes: what several formats are made of.
pub(crate) struct Tree<const N: usize> {
    /// The first is the root. Parents come before their children.
    pub(crate) nodes: Vec<Node<N>>,
    place: HashMap<(u32, u32), u32>,
}

pub(crate) struct Node<const N: usize> {
    pub(crate) parent: u32,
    /// Index of the name; the root's means nothing.
    pub(crate) name: u32,
    /// Without the nodes inside.
    pub(crate) own: [u64; N],
    pub(crate) children: Vec<u32>,
}

impl<const N: usize> Tree<N> {
    pub(crate) fn new() -> Self {
        let root = Node {
            parent: 0,
            name: 0,
            own: [0; N],
            children: Vec::new(),
        };
        Self {
            nodes: vec![root],
            place: HashMap::new(),
        }
    }

    /// Adds figures to the node that a path of names, outermost first, leads to.
    pub(crate) fn add(&mut self, path: &[u32], figures: [u64; N]) {
        let mut at = 0;
        for &name in path {
            at = *self.place.entry((at, name)).or_insert_with(|| {
                let next = self.nodes.len() as u32;
                self.nodes[at as usize].children.push(next);
                self.nodes.push(Node {
                    parent: at,
                    name,
                    own: [0; N],
                    children: Vec::new(),
                });
                next
            });
        }
        for (sum, more) in self.nodes[at as usize].own.iter_mut().zip(figures) {
            *sum = sum.saturating_add(more);
        }
    }
}
