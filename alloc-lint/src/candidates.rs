//! From what the walk noted to candidates: what is made per turn or request, takes memory, and ends there.
//!
//! Called by `lint` once all functions are walked, because "called by a request" and "this function returns a new collection" are
//! known only then.
#![forbid(unsafe_code)]

use std::collections::{HashMap, HashSet};

use crate::id::id;
use crate::index::{FnId, Index};
use crate::kinds::Kind;
use crate::model::{Candidate, LoopPlace, RequestPlace};
use crate::rank::{Request, rank};
use crate::suggest::suggest;
use crate::walk::flow::{Body, Borrow, Consumer, Creation, Depends, Exit, Fate, Flow, Loop, Stay};

/// A function that was walked.
pub(crate) struct Walked {
    pub(crate) id: FnId,
    pub(crate) body: Body,
}

/// A candidate, and what of it the report does not show.
pub(crate) struct Found {
    pub(crate) candidate: Candidate,
    pub(crate) file: usize,
    /// First and last line of the statement.
    pub(crate) statement: (usize, usize),
    /// Lines where it grows.
    pub(crate) growth: Vec<usize>,
}

/// What is known of all functions together.
pub(crate) struct Facts<'a> {
    index: &'a Index,
    /// Functions that return a collection they made.
    fresh: HashSet<FnId>,
    /// Functions that a request calls -> that request's name.
    called: HashMap<FnId, String>,
}

impl<'a> Facts<'a> {
    pub(crate) fn gather(index: &'a Index, all: &[Walked]) -> Self {
        let mut facts = Self {
            index,
            fresh: HashSet::new(),
            called: HashMap::new(),
        };
        for walked in all {
            let declared = &index.functions[walked.id];
            let kind = declared.output.as_ref().map(|(kind, _)| *kind);
            if walked
                .body
                .creations
                .iter()
                .any(|creation| returns_it(&walked.body, creation, kind))
            {
                facts.fresh.insert(walked.id);
            }
            for call in walked.body.calls.iter().filter(|call| !call.is_rare) {
                let request = match call.request_line {
                    Some(line) => format!("{}::tracked@{line}", declared.path),
                    None if declared.is_request => declared.path.clone(),
                    None => continue,
                };
                if let Some(id) = index.find(&call.callee, declared.file) {
                    facts.called.entry(id).or_insert(request);
                }
            }
        }
        facts
    }

    /// The candidates of a function.
    pub(crate) fn candidates(&self, walked: &Walked, file_name: &str) -> Vec<Found> {
        let mut ordinals: HashMap<(Kind, bool), usize> = HashMap::new();
        let mut found = Vec::new();
        for creation in &walked.body.creations {
            let is_called = creation.made.by.is_some();
            let ordinal = ordinals.entry((creation.made.kind, is_called)).or_default();
            *ordinal += 1;
            if let Some(stay) = self.stays(walked, creation) {
                let path = &self.index.functions[walked.id].path;
                let id = id(file_name, path, creation.made.kind, is_called, *ordinal);
                found.push(self.found(walked, creation, &stay, id, file_name));
            }
        }
        found
    }

    /// What is done with a creation that is a candidate.
    fn stays(&self, walked: &Walked, creation: &Creation) -> Option<Stay> {
        let is_repeated = !creation.loops.is_empty() || self.request(walked, creation).is_some();
        if creation.is_rare || !is_repeated {
            return None;
        }
        if creation.made.by.is_some_and(|id| !self.fresh.contains(&id)) {
            return None;
        }
        match walked.body.fate(creation) {
            Fate::Leaves(_) => None,
            Fate::Stays(stay) if creation.made.is_empty && !stay.grows => None,
            Fate::Stays(stay) => Some(stay),
        }
    }

    fn request(&self, walked: &Walked, creation: &Creation) -> Option<RequestPlace> {
        let declared = &self.index.functions[walked.id];
        let own = |function| RequestPlace {
            function,
            is_caller: false,
        };
        if let Some(line) = creation.request_line {
            return Some(own(format!("{}::tracked@{line}", declared.path)));
        }
        if declared.is_request {
            return Some(own(declared.path.clone()));
        }
        self.called.get(&walked.id).map(|request| RequestPlace {
            function: request.clone(),
            is_caller: true,
        })
    }

    fn found(&self, walked: &Walked, creation: &Creation, stay: &Stay, id: String, file_name: &str) -> Found {
        let declared = &self.index.functions[walked.id];
        let loops: Vec<&Loop> = creation.loops.iter().map(|id| &walked.body.loops[*id]).collect();
        let request = self.request(walked, creation);
        let standing = match &request {
            None => Request::No,
            Some(place) if place.is_caller => Request::Called,
            Some(_) => Request::Own,
        };
        let loop_place = loops.last().map(|inner| LoopPlace {
            kind: inner.kind,
            line: inner.line,
            method: inner.method.clone(),
        });
        let candidate = Candidate {
            id,
            file: file_name.to_owned(),
            line: creation.line,
            column: creation.column,
            function: declared.path.clone(),
            why: why(creation, stay, loop_place.as_ref(), request.as_ref(), &loops),
            suggestion: suggest(creation, stay, changes(creation, stay), loop_place.is_some()),
            loop_place,
            loop_depth: loops.len(),
            request,
            kind: creation.made.kind,
            type_text: creation.made.ty.clone(),
            made_by: creation.made.how.clone(),
            rank: rank(creation, changes(creation, stay), &loops, standing),
            source: String::new(),
            measured: None,
        };
        Found {
            candidate,
            file: declared.file,
            statement: creation.statement,
            growth: stay.growth_lines.clone(),
        }
    }
}

/// What its content depends on: what is filled or changed after is another in each turn, whatever it was made of.
fn changes(creation: &Creation, stay: &Stay) -> Depends {
    match creation.made.is_empty || stay.grows || stay.is_mut {
        true => Depends::Turn,
        false => creation.depends,
    }
}

/// The function makes it and hands it out: its callers get a new one each time.
fn returns_it(body: &Body, creation: &Creation, kind: Option<Kind>) -> bool {
    let is_of_kind = kind == Some(creation.made.kind);
    if !is_of_kind || creation.is_rare || creation.made.by.is_some() {
        return false;
    }
    let is_filled = !creation.made.is_empty
        || match creation.flow {
            Flow::Local(id) | Flow::Assigned(id) => body.bindings[id].uses.iter().any(|usage| usage.grows),
            _ => false,
        };
    is_filled && body.fate(creation) == Fate::Leaves(Exit::Returned)
}

fn why(
    creation: &Creation,
    stay: &Stay,
    place: Option<&LoopPlace>,
    request: Option<&RequestPlace>,
    loops: &[&Loop],
) -> String {
    let made = &creation.made;
    let what = match made.kind {
        Kind::Clone if made.ty == "_" => "a clone".to_owned(),
        Kind::Clone => format!("a clone of `{}`", made.ty),
        Kind::Collected => "what `.collect()` makes".to_owned(),
        Kind::Json => "a parsed JSON value".to_owned(),
        Kind::Regex => "a regular expression".to_owned(),
        _ => format!("`{}`", made.ty),
    };
    let mut text = match made.by {
        Some(_) => format!("{what}, new from each call of {},", made.how),
        None => what,
    };
    text += match made.kind {
        Kind::Regex => " is compiled and dropped ",
        _ => " is made and dropped ",
    };
    text += &match (place, request) {
        (Some(place), Some(request)) => format!("in every turn of {place}, in {}", request_text(request)),
        (Some(place), None) => format!("in every turn of {place}"),
        (None, Some(request)) => format!("in {}", request_text(request)),
        (None, None) => String::new(),
    };
    if creation.is_conditional {
        text += ", on one branch";
    }
    text += end(stay);
    match changes(creation, stay) {
        Depends::Nothing => text += "; it is made of constants",
        Depends::Outside if place.is_some() => text += "; nothing it is made of changes in the loop",
        Depends::Outside => text += "; no part of the request is in it",
        Depends::Turn => {}
    }
    if let Some(inner) = loops.last() {
        if inner.waits {
            text += "; the loop waits in each turn";
        } else if inner.is_short {
            text += "; the loop has few turns";
        }
    }
    if made.is_guess {
        text += match made.kind {
            Kind::Clone => "; its type is not seen, it may cost nothing",
            Kind::Collected => "; its type is not seen",
            _ => "; its type is a guess",
        };
    }
    text
}

fn request_text(request: &RequestPlace) -> String {
    match request.is_caller {
        false => format!("every call of the request `{}`", request.function),
        true => format!(
            "every call of this function, which the request `{}` calls",
            request.function
        ),
    }
}

fn end(stay: &Stay) -> &'static str {
    match (stay.consumers.as_slice(), stay.borrows.as_slice()) {
        ([Consumer::Loop], _) => "; it is gone through once",
        ([Consumer::Iterator | Consumer::FlatMap], _) => "; it is taken apart",
        ([], [Borrow::Lookup]) => "; it is used for one look-up",
        ([], [Borrow::Append]) => "; it is copied from",
        ([], [Borrow::Compare]) => "; it is compared",
        ([], [Borrow::Print]) => "; it is printed",
        ([], [Borrow::Key]) => "; it is used as a key",
        ([], [Borrow::Eager]) => ", whether or not it is needed",
        _ => "",
    }
}
