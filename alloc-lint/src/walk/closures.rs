//! Closures and `async` blocks: when they run, and where what they return goes.
#![forbid(unsafe_code)]

use syn::spanned::Spanned;
use syn::{Expr, ExprAsync, ExprClosure};

use super::flow::{Exit, Flow, Loop};
use super::{Place, Walker};
use crate::model::LoopKind;

/// What a closure is for.
#[derive(Clone, Debug)]
pub(super) struct Role {
    when: When,
    /// Where its result goes.
    result: Flow,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum When {
    /// For each element, by this method.
    Each(String),
    /// Right there, once at most.
    Inline,
    /// The same, on errors.
    Rare,
    /// Once in the life of the program, or of an entry.
    Once,
    /// On another thread or task.
    Spawned,
    Unknown,
}

/// Who polls an `async` block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waits {
    /// It is awaited where it stands.
    Here,
    Elsewhere,
    /// A task of its own.
    Spawned,
}

impl Role {
    pub(super) fn each(method: &str, result: Flow) -> Self {
        let when = When::Each(method.to_owned());
        Self { when, result }
    }

    pub(super) fn inline(result: Flow) -> Self {
        let when = When::Inline;
        Self { when, result }
    }

    pub(super) fn rare(result: Flow) -> Self {
        let when = When::Rare;
        Self { when, result }
    }

    pub(super) fn once() -> Self {
        Self {
            when: When::Once,
            result: Flow::Out(Exit::Stored),
        }
    }

    pub(super) fn spawned() -> Self {
        Self {
            when: When::Spawned,
            result: Flow::Out(Exit::Returned),
        }
    }

    pub(super) fn unknown() -> Self {
        Self {
            when: When::Unknown,
            result: Flow::Out(Exit::Returned),
        }
    }

    /// Each call is a request.
    fn place(&self, walker: &mut Walker<'_>, line: usize) -> Place {
        let mut place = walker.place.clone();
        match &self.when {
            When::Each(method) => {
                walker.body.loops.push(Loop {
                    kind: LoopKind::Each,
                    method: Some(method.clone()),
                    line,
                    label: None,
                    is_short: false,
                    waits: false,
                });
                place.chain.push(walker.body.loops.len() - 1);
                place.is_conditional = false;
            }
            When::Rare => place.is_rare = true,
            When::Once => {
                place.chain.clear();
                place.is_rare = true;
            }
            When::Spawned => {
                place.chain.clear();
                place.is_conditional = false;
            }
            When::Inline => place.is_conditional = true,
            When::Unknown => {}
        }
        place.base = place.chain.len();
        place
    }
}

impl Walker<'_> {
    pub(super) fn closure(&mut self, closure: &ExprClosure, role: Role) {
        let line = closure.or1_token.span.start().line;
        let place = role.place(self, line);
        // What an adapter's closure takes with it ends with the adapter.
        let stays = matches!(role.when, When::Each(_) | When::Inline | When::Rare);
        self.closure_at(closure, place, role.result, stays);
    }

    fn closure_at(&mut self, closure: &ExprClosure, place: Place, result: Flow, stays: bool) {
        let takes = closure.capture.is_some() && !stays;
        if takes {
            self.captures.push(self.scopes.len());
        }
        self.at(place, |this| {
            this.narrow(&closure.body);
            for input in &closure.inputs {
                this.parameter(input, None);
            }
            this.expr(&closure.body, result, None);
        });
        if takes {
            self.captures.pop();
        }
    }

    /// A closure that is not an argument: who calls it is not seen.
    pub(super) fn plain_closure(&mut self, closure: &ExprClosure) {
        self.closure(closure, Role::unknown());
    }

    pub(super) fn async_block(&mut self, block: &ExprAsync, waits: Waits, flow: Flow) {
        let takes = block.capture.is_some() && waits != Waits::Here;
        let mut place = self.place.clone();
        if waits == Waits::Spawned {
            place.chain.clear();
            place.is_conditional = false;
        }
        place.base = place.chain.len();
        if takes {
            self.captures.push(self.scopes.len());
        }
        let result = if waits == Waits::Here {
            flow
        } else {
            Flow::Out(Exit::Returned)
        };
        self.at(place, |this| this.block(&block.block, result, None));
        if takes {
            self.captures.pop();
        }
    }

    /// `tracked!(request, |x| ..)`: its arguments, then a closure or an `async` block.
    pub(super) fn tracked(&mut self, mac: &syn::Macro, role: Role) {
        let Some((is_request, expr)) = read_tracked(mac) else {
            return;
        };
        let line = mac.span().start().line;
        match &expr {
            Expr::Closure(closure) => {
                let mut place = role.place(self, line);
                if is_request {
                    place.chain.clear();
                    place.base = 0;
                    place.is_conditional = false;
                    place.request_line = Some(line);
                }
                self.closure_at(closure, place, role.result, false);
            }
            Expr::Async(block) => {
                let mut place = self.place.clone();
                if is_request {
                    place.chain.clear();
                    place.is_conditional = false;
                    place.request_line = Some(line);
                }
                place.base = place.chain.len();
                self.at(place, |this| this.block(&block.block, Flow::Out(Exit::Returned), None));
            }
            _ => {}
        }
    }
}

/// Whether `request` is among the arguments, and what is tracked.
fn read_tracked(mac: &syn::Macro) -> Option<(bool, Expr)> {
    use syn::parse::Parser;
    let tokens: Vec<proc_macro2::TokenTree> = mac.tokens.clone().into_iter().collect();
    // Arguments end at commas; the closure begins behind one of them, and may have commas itself.
    let starts = std::iter::once(0).chain(tokens.iter().enumerate().filter_map(|(number, token)| match token {
        proc_macro2::TokenTree::Punct(punct) if punct.as_char() == ',' => Some(number + 1),
        _ => None,
    }));
    for start in starts {
        let rest: proc_macro2::TokenStream = tokens[start..].iter().cloned().collect();
        let parser = |input: syn::parse::ParseStream<'_>| {
            let expr: Expr = input.parse()?;
            input.parse::<Option<syn::Token![,]>>()?;
            Ok(expr)
        };
        if let Ok(expr @ (Expr::Closure(_) | Expr::Async(_))) = parser.parse2(rest) {
            let args: proc_macro2::TokenStream = tokens[..start].iter().cloned().collect();
            return Some((crate::attributes::names_request(args), expr));
        }
    }
    None
}
