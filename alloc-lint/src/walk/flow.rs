//! Where a value goes, and whether it leaves the turn it was made in.
//!
//! Filled by the walk, asked by `candidates`. The check is by name and within one function: a value is followed through the local
//! variables that it is moved to, and everything that is not seen to end with the turn counts as leaving it.
#![forbid(unsafe_code)]

use crate::index::{Callee, FnId};
use crate::kinds::Kind;
use crate::model::LoopKind;
use crate::types::Ty;

/// Number of a variable in its function.
pub(crate) type BindingId = usize;
/// Number of a loop in its function.
pub(crate) type LoopId = usize;

/// What happens to the value of an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// Dropped at the end of the statement.
    Dropped,
    /// Looked at, then dropped.
    Borrowed(Borrow),
    /// Taken apart; its memory is freed.
    Consumed(Consumer),
    /// Becomes, or becomes a part of, a variable that is declared by this.
    Local(BindingId),
    /// The same for a variable that exists.
    Assigned(BindingId),
    /// Outlives the turn, or may.
    Out(Exit),
}

/// What looks at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Borrow {
    /// `&x`, and anything else.
    Other,
    /// A method.
    Method,
    /// `map.get(&x)`, `set.contains(&x)`.
    Lookup,
    /// `text.push_str(&x)`, `text += &x`.
    Append,
    /// `x == y`.
    Compare,
    /// The key that a sort asks for, at every comparison.
    Key,
    /// `.iter()` on what was just collected.
    Iterate,
    /// An argument of `println!` and the like.
    Print,
    /// `.expect(&x)`, `.ok_or(x)`: made whether or not there is an error.
    Eager,
}

/// What takes it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Consumer {
    /// `for item in x`
    Loop,
    /// `x.into_iter()`, `other.extend(x)`, `HashSet::from_iter(x)`
    Iterator,
    /// What the closure of `flat_map` returns.
    FlatMap,
    /// `path.join(x)`, `File::open(x)`: only looked at, though taken by value.
    AsRef,
}

/// How it gets away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Returned,
    /// Into a field, behind a pointer, into a variable outside.
    Stored,
    /// Into a collection.
    Pushed,
    /// By value to a function or method.
    HandedOver,
    /// Into a closure or an `async` block that may run elsewhere.
    Captured,
    /// Into a macro that is not known.
    Macro,
    /// As an item of an iterator.
    Item,
}

/// A variable.
#[derive(Debug)]
pub(crate) struct Binding {
    pub(crate) name: String,
    /// Loops around the place where it is declared.
    pub(crate) depth: usize,
    pub(crate) is_parameter: bool,
    pub(crate) is_mut: bool,
    pub(crate) ty: Option<Ty>,
    /// Holds what it holds inside of something else: a struct, a tuple.
    pub(crate) is_aggregate: bool,
    pub(crate) uses: Vec<Use>,
}

/// A place where a variable is named.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Use {
    pub(crate) flow: Flow,
    pub(crate) line: usize,
    /// May make it larger.
    pub(crate) grows: bool,
    /// In a branch that is seldom taken.
    pub(crate) is_rare: bool,
}

/// A loop around something.
#[derive(Clone, Debug)]
pub(crate) struct Loop {
    pub(crate) kind: LoopKind,
    /// The method that calls a closure for each element.
    pub(crate) method: Option<String>,
    pub(crate) line: usize,
    pub(crate) label: Option<String>,
    /// A handful of turns, by the looks of it.
    pub(crate) is_short: bool,
    /// Sleeps or waits for a timer.
    pub(crate) waits: bool,
}

/// What the value of a creation depends on, as far as can be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Depends {
    /// Literals and constants.
    Nothing,
    /// Variables from outside the loop that do not change in it; of a request, `&self`.
    Outside,
    /// What is different in each turn, or may be.
    Turn,
}

/// How something is made.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) kind: Kind,
    /// `HashSet<u64>`
    pub(crate) ty: String,
    /// `HashSet::from_iter`, `.collect()`, `format!`
    pub(crate) how: String,
    /// Takes no memory before something is put in.
    pub(crate) is_empty: bool,
    /// That it takes memory at all is a guess.
    pub(crate) is_guess: bool,
    /// It is made by this function.
    pub(crate) by: Option<FnId>,
}

/// A place that makes something.
#[derive(Debug)]
pub(crate) struct Creation {
    pub(crate) made: Made,
    pub(crate) line: usize,
    pub(crate) column: usize,
    /// First and last line of the statement.
    pub(crate) statement: (usize, usize),
    pub(crate) flow: Flow,
    /// The loops that each turn of makes it, outermost first.
    pub(crate) loops: Vec<LoopId>,
    pub(crate) is_rare: bool,
    /// In a branch.
    pub(crate) is_conditional: bool,
    pub(crate) depends: Depends,
    /// The line of the `tracked!(request, ..)` around.
    pub(crate) request_line: Option<usize>,
}

/// A call of a function that may be one of ours.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) callee: Callee,
    pub(crate) is_rare: bool,
    pub(crate) request_line: Option<usize>,
}

/// What the walk finds in a function.
#[derive(Debug, Default)]
pub(crate) struct Body {
    pub(crate) bindings: Vec<Binding>,
    pub(crate) loops: Vec<Loop>,
    pub(crate) creations: Vec<Creation>,
    pub(crate) calls: Vec<Call>,
}

/// How a creation ends.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Leaves(Exit),
    /// Ends with its turn.
    Stays(Stay),
}

/// What was done with something that stays.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Stay {
    /// The first variable that holds it, whole.
    pub(crate) variable: Option<String>,
    pub(crate) is_mut: bool,
    /// Something is put in, not only in rare branches.
    pub(crate) grows: bool,
    /// Lines where something is put in.
    pub(crate) growth_lines: Vec<usize>,
    pub(crate) borrows: Vec<Borrow>,
    pub(crate) consumers: Vec<Consumer>,
}

impl Stay {
    pub(crate) fn only_borrowed_as(&self, borrow: Borrow) -> bool {
        self.consumers.is_empty() && self.borrows == [borrow]
    }
}

impl Body {
    /// Follows a creation to its end.
    pub(crate) fn fate(&self, creation: &Creation) -> Fate {
        let mut stay = Stay::default();
        let mut seen = Vec::new();
        match self.follow(creation.flow, creation.loops.len(), &mut seen, &mut stay) {
            Some(exit) => Fate::Leaves(exit),
            None => Fate::Stays(stay),
        }
    }

    fn follow(&self, flow: Flow, depth: usize, seen: &mut Vec<BindingId>, stay: &mut Stay) -> Option<Exit> {
        match flow {
            Flow::Out(exit) => return Some(exit),
            Flow::Dropped => {}
            Flow::Borrowed(borrow) => stay.borrows.push(borrow),
            Flow::Consumed(consumer) => stay.consumers.push(consumer),
            Flow::Local(id) | Flow::Assigned(id) => {
                let binding = self.bindings.get(id)?;
                let is_outside = matches!(flow, Flow::Assigned(_)) && (binding.depth < depth || binding.is_parameter);
                if is_outside {
                    return Some(Exit::Stored);
                }
                if seen.contains(&id) {
                    return None;
                }
                if seen.is_empty() && !binding.is_aggregate && !binding.name.is_empty() {
                    stay.variable = Some(binding.name.clone());
                    stay.is_mut = binding.is_mut;
                }
                seen.push(id);
                for usage in &binding.uses {
                    if usage.grows {
                        stay.grows |= !usage.is_rare;
                        stay.growth_lines.push(usage.line);
                    }
                    if binding.is_aggregate && usage.flow == Flow::Borrowed(Borrow::Method) && !usage.grows {
                        // A method of a type that is not known may take its receiver by value.
                        return Some(Exit::HandedOver);
                    }
                    if let Some(exit) = self.follow(usage.flow, depth, seen, stay) {
                        return Some(exit);
                    }
                }
            }
        }
        None
    }
}
