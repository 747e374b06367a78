//! Contexts by the line of code that a person would change.
//!
//! Called by `groups` and `growth`. Read side. Everything below the first own frame belongs to the own line, whatever collections it
//! builds; `clone`, `fmt` and serde's visitors are looked through, because their caller decides. Cost: each stack is folded once.
#![forbid(unsafe_code)]

use std::collections::HashMap;

use super::elements::Collection;
use super::finding::CodeLine;
use super::making::{self, Making};
use crate::ids::ScopeNodeId;
use crate::model::Snapshot;
use crate::report::{Conduits, Enclosing, Folder};
use crate::symbolize::{Origin, Own, without_generics};

/// A line, whatever it builds: contexts of one are judged together.
pub(super) type PlaceId = u32;

/// What is known of one context.
#[derive(Clone, Copy, Debug)]
pub(super) struct At {
    pub(super) place: PlaceId,
    /// Number of its line in the folder: the line and the collection.
    line: usize,
    /// Index into `Snapshot::scopes`.
    pub(super) scope: usize,
    /// False for lines that are not the user's own.
    pub(super) is_own: bool,
}

pub(super) struct Places<'a> {
    snapshot: &'a Snapshot,
    folder: Folder<'a>,
    base: Option<String>,
    /// By index of the context.
    at: Vec<At>,
    /// For each scope the index of its parent.
    parents: Vec<Option<usize>>,
    position: HashMap<ScopeNodeId, usize>,
    making: HashMap<u32, Option<Making>>,
}

#[derive(PartialEq, Eq, Hash)]
enum Key {
    Line(String, u32),
    Function(String),
    Other(String),
    /// Not resolved: addresses do not tell lines apart.
    Stack(Option<u32>),
}

impl<'a> Places<'a> {
    pub(super) fn of(snapshot: &'a Snapshot, own: &Own, base: Option<String>) -> Self {
        let position: HashMap<ScopeNodeId, usize> = snapshot.scopes.iter().map(|scope| scope.id).zip(0..).collect();
        let parents: Vec<Option<usize>> = (0..)
            .zip(&snapshot.scopes)
            .map(|(at, scope)| {
                let parent = position.get(&scope.parent?).copied();
                // Parents come first; anything else would be a cycle.
                parent.filter(|&parent| parent < at)
            })
            .collect();
        let mut folder = Folder::new(&snapshot.frames, &snapshot.modules, own, Conduits::PassedThrough);
        let unresolved = folder.knows_addresses_only();
        let mut ids: HashMap<Key, PlaceId> = HashMap::new();
        let mut at = Vec::with_capacity(snapshot.contexts.len());
        for context in &snapshot.contexts {
            let scope = position.get(&context.scope).copied().unwrap_or(0);
            let enclosing = up(&parents, scope)
                .filter_map(|at| snapshot.scopes.get(at))
                .map(|scope| Enclosing {
                    name: &scope.name,
                    file: &scope.file,
                    line: scope.line,
                });
            let stack = context.stack.and_then(|stack| snapshot.stacks.get(stack as usize));
            let number = folder.fold(stack.map(|stack| stack.frames), enclosing);
            let line = &folder.lines()[number];
            let key = match (unresolved, line.file.is_empty()) {
                (true, _) => Key::Stack(context.stack),
                (false, false) => Key::Line(line.file.clone(), line.line),
                (false, true) if line.is_own => Key::Function(line.function.clone()),
                (false, true) => Key::Other(line.instead.clone()),
            };
            let next = ids.len() as PlaceId;
            at.push(At {
                place: *ids.entry(key).or_insert(next),
                line: number,
                scope,
                is_own: line.is_own || (unresolved && stack.is_some()),
            });
        }
        Self {
            snapshot,
            folder,
            base,
            at,
            parents,
            position,
            making: HashMap::new(),
        }
    }

    pub(super) fn at(&self, context: u32) -> Option<At> {
        self.at.get(context as usize).copied()
    }

    /// Index of a scope node.
    pub(super) fn scope(&self, id: ScopeNodeId) -> Option<usize> {
        self.position.get(&id).copied()
    }

    /// Whether each scope is `scope` or inside it.
    pub(super) fn inside(&self, scope: usize) -> Vec<bool> {
        let mut inside = vec![false; self.parents.len()];
        for at in 0..inside.len() {
            inside[at] = at == scope || self.parents[at].is_some_and(|parent| inside[parent]);
        }
        inside
    }

    /// A scope and those around it, the innermost first.
    pub(super) fn around(&self, scope: usize) -> impl Iterator<Item = usize> {
        up(&self.parents, scope)
    }

    /// Names of the scopes around one, outermost first, itself last.
    pub(super) fn path(&self, scope: usize) -> Vec<String> {
        let mut names: Vec<String> = self
            .around(scope)
            .filter(|&at| at > 0)
            .filter_map(|at| Some(self.snapshot.scopes.get(at)?.name.clone()))
            .collect();
        names.reverse();
        names
    }

    /// The collection that a context builds.
    pub(super) fn collection(&self, context: u32) -> Option<Collection> {
        Some(Collection::of(self.label(context)?))
    }

    pub(super) fn label(&self, context: u32) -> Option<&str> {
        let line = &self.folder.lines()[self.at(context)?.line];
        line.collection.as_deref()
    }

    /// The part of a context's stack inside the loop of `scope`, by its frames; `None` when it is not known where the loop begins.
    pub(super) fn stack_inside(&self, context: u32, scope: usize) -> Option<&[u32]> {
        let stack = self.snapshot.contexts.get(context as usize)?.stack?;
        let frames = self.snapshot.stacks.get(stack as usize)?.frames;
        let scope = self.snapshot.scopes.get(scope)?;
        // A loop is named after its function, its keyword and its line.
        let function = scope
            .name
            .rsplit("::")
            .find(|part| !part.contains('@'))
            .unwrap_or_default();
        self.folder.inside(frames, |symbol, origin| match origin {
            // The poll of a tracked future: what is outside of it is the runtime's.
            Origin::Tracker => symbol.file.ends_with("src/future.rs") && symbol.function.contains("poll"),
            Origin::User => {
                let is_file = !scope.file.is_empty() && symbol.file.ends_with(&scope.file);
                let name = without_generics(&symbol.function);
                is_file && symbol.line >= scope.line && name.rsplit("::").next() == Some(function)
            }
            _ => false,
        })
    }

    /// How a context comes to be built.
    pub(super) fn making(&mut self, context: u32) -> Option<Making> {
        let stack = self.snapshot.contexts.get(context as usize)?.stack?;
        if let Some(known) = self.making.get(&stack) {
            return known.clone();
        }
        let frames = self.snapshot.stacks.get(stack as usize)?.frames;
        let making = Making::of(&self.folder.below_line(frames));
        self.making.insert(stack, making.clone());
        making
    }

    /// True when a dependency builds it for itself.
    pub(super) fn is_of_dependency(&self, context: u32) -> bool {
        let stack = self.stack(context);
        stack.is_some_and(|frames| making::is_of_dependency(&self.folder.below_line(frames)))
    }

    /// True when no `with_capacity` of the own code's can reach it.
    pub(super) fn is_inside_dependency(&self, context: u32) -> bool {
        let stack = self.stack(context);
        stack.is_some_and(|frames| making::is_inside_dependency(&self.folder.below_line(frames)))
    }

    fn stack(&self, context: u32) -> Option<&'a [u32]> {
        let stack = self.snapshot.contexts.get(context as usize)?.stack?;
        Some(self.snapshot.stacks.get(stack as usize)?.frames)
    }

    /// The line of a context, for people.
    pub(super) fn code_line(&mut self, context: u32) -> CodeLine {
        let making = self.making(context);
        let Some(at) = self.at(context) else {
            return CodeLine::default();
        };
        let line = &self.folder.lines()[at.line];
        CodeLine {
            place: line.place(self.base.as_deref()),
            file: line.file.clone(),
            line: line.line,
            function: line.function.clone(),
            collection: match &making {
                // Whatever it consists of.
                Some(Making::Compile(compiled)) => Some(compiled.type_name.to_owned()),
                _ => line.collection.clone(),
            },
            made_by: making.map(|making| making.to_string()),
        }
    }

    /// What to tell the reader about names, if anything.
    pub(super) fn note(&self) -> Option<&'static str> {
        self.folder.note()
    }

    /// False when the snapshot was not resolved.
    pub(super) fn is_resolved(&self) -> bool {
        !self.folder.knows_addresses_only()
    }
}

fn up(parents: &[Option<usize>], scope: usize) -> impl Iterator<Item = usize> {
    std::iter::successors(Some(scope), |&at| parents.get(at).copied().flatten())
}
