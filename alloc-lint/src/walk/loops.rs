//! Loops, and the branches in them.
#![forbid(unsafe_code)]

use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Arm, Block, Expr, ExprForLoop, ExprIf, ExprMatch, ExprWhile, Label};

use super::flow::{Consumer, Exit, Flow, Loop};
use super::patterns::is_error;
use super::{Place, Walker, exits};
use crate::model::LoopKind;
use crate::types::Ty;

/// A loop over at most so many things that are written out is no loop to worry about.
const SHORT: u64 = 8;

impl Walker<'_> {
    pub(super) fn for_loop(&mut self, expr: &ExprForLoop) {
        self.narrow(&expr.expr);
        self.expr(&expr.expr, Flow::Consumed(Consumer::Loop), None);
        let kind = (LoopKind::For, expr.for_token.span.start().line);
        let place = self.turn(kind, expr.label.as_ref(), Some(&expr.expr), &expr.body);
        self.at(place, |this| {
            this.declare(&expr.pat, None, None);
            this.block(&expr.body, Flow::Dropped, None);
        });
    }

    pub(super) fn while_loop(&mut self, expr: &ExprWhile) {
        let kind = (LoopKind::While, expr.while_token.span.start().line);
        let place = self.turn(kind, expr.label.as_ref(), None, &expr.body);
        self.at(place, |this| {
            this.narrow(&expr.cond);
            this.condition(&expr.cond);
            this.block(&expr.body, Flow::Dropped, None);
        });
    }

    pub(super) fn bare_loop(&mut self, expr: &syn::ExprLoop) {
        let kind = (LoopKind::Loop, expr.loop_token.span.start().line);
        let place = self.turn(kind, expr.label.as_ref(), None, &expr.body);
        self.at(place, |this| this.block(&expr.body, Flow::Dropped, None));
    }

    /// The place inside of a turn.
    fn turn(&mut self, kind: (LoopKind, usize), label: Option<&Label>, over: Option<&Expr>, body: &Block) -> Place {
        let is_short = over.is_some_and(is_short);
        self.body.loops.push(Loop {
            kind: kind.0,
            method: None,
            line: kind.1,
            label: label.map(|label| label.name.ident.to_string()),
            is_short,
            waits: waits(body),
        });
        let mut place = self.place.clone();
        place.chain.push(self.body.loops.len() - 1);
        place.is_conditional = false;
        place
    }

    /// The condition of an `if` or a `while`; what it declares goes into the scope around. True for `let Err(..) =`.
    pub(super) fn condition(&mut self, condition: &Expr) -> bool {
        match condition {
            Expr::Let(check) => {
                let ty = self.type_of(&check.expr);
                let id = self.new_binding(String::new(), ty, false);
                self.expr(&check.expr, Flow::Local(id), None);
                self.declare(&check.pat, None, Some(id));
                is_error(&check.pat)
            }
            Expr::Binary(binary) if matches!(binary.op, syn::BinOp::And(_)) => {
                let left = self.condition(&binary.left);
                self.condition(&binary.right) || left
            }
            Expr::Paren(inner) => self.condition(&inner.expr),
            other => {
                self.expr(other, Flow::Dropped, None);
                asks_for_debugging(other)
            }
        }
    }

    pub(super) fn branch(&mut self, expr: &ExprIf, flow: Flow, hint: Option<&Ty>) {
        let place = self.place.clone();
        self.at(place, |this| {
            this.narrow(&expr.cond);
            let is_rare = this.condition(&expr.cond);
            let mut place = this.place.clone();
            place.is_conditional = true;
            place.is_rare |= is_rare;
            this.at(place, |this| this.block(&expr.then_branch, flow, hint));
        });
        if let Some((_, otherwise)) = &expr.else_branch {
            let mut place = self.place.clone();
            place.is_conditional = true;
            self.at(place, |this| this.expr(otherwise, flow, hint));
        }
    }

    pub(super) fn arms(&mut self, expr: &ExprMatch, flow: Flow, hint: Option<&Ty>) {
        let ty = self.type_of(&expr.expr);
        let id = self.new_binding(String::new(), ty, false);
        self.narrow(&expr.expr);
        self.expr(&expr.expr, Flow::Local(id), None);
        for arm in &expr.arms {
            self.arm(arm, id, flow, hint);
        }
    }

    fn arm(&mut self, arm: &Arm, scrutinee: usize, flow: Flow, hint: Option<&Ty>) {
        let mut place = self.ending(exits::of_expr(&arm.body));
        place.is_conditional = true;
        place.is_rare |= is_error(&arm.pat);
        self.at(place, |this| {
            this.declare(&arm.pat, None, Some(scrutinee));
            if let Some((_, guard)) = &arm.guard {
                this.expr(guard, Flow::Dropped, None);
            }
            this.narrow(&arm.body);
            this.expr(&arm.body, flow, hint);
        });
    }

    /// For what follows, the lines of the statement are those of this part of it.
    pub(super) fn narrow(&mut self, part: &Expr) {
        // PERF: finding a span goes through all of the part, so not again for each level of nested ones.
        if matches!(part, Expr::Closure(_) | Expr::Block(_) | Expr::If(_) | Expr::Match(_)) {
            return;
        }
        let span = part.span();
        self.statement = (span.start().line, span.end().line);
    }

    /// `return x`, `break x`: whatever is made in there ends the loop.
    pub(super) fn leave(&mut self, value: Option<&Expr>, ending: exits::Ending) {
        if let Some(value) = value {
            let place = self.ending(Some(ending));
            self.at(place, |this| this.expr(value, Flow::Out(Exit::Returned), None));
        }
    }
}

/// `cfg!(debug_assertions)`, `log_enabled!(..)`, `tracing::enabled!(..)`.
fn asks_for_debugging(condition: &Expr) -> bool {
    match condition {
        Expr::Macro(mac) => mac
            .mac
            .path
            .segments
            .last()
            .is_some_and(|segment| matches!(segment.ident.to_string().as_str(), "cfg" | "log_enabled" | "enabled")),
        _ => false,
    }
}

/// `0..4`, `[a, b]`, `&[a, b]`, `[a, b].iter()`.
fn is_short(over: &Expr) -> bool {
    match over {
        Expr::Array(array) => array.elems.len() as u64 <= SHORT,
        Expr::Reference(reference) => is_short(&reference.expr),
        Expr::Paren(inner) => is_short(&inner.expr),
        Expr::MethodCall(call) => call.args.is_empty() && is_short(&call.receiver),
        Expr::Range(range) => {
            let number = |end: &Option<Box<Expr>>| match end.as_deref() {
                Some(Expr::Lit(literal)) => match &literal.lit {
                    syn::Lit::Int(value) => value.base10_parse::<u64>().ok(),
                    _ => None,
                },
                _ => None,
            };
            match (number(&range.start), number(&range.end)) {
                (Some(start), Some(end)) => end.saturating_sub(start) <= SHORT,
                _ => false,
            }
        }
        _ => false,
    }
}

/// The loop sleeps, or waits for a timer: its turns are few, whatever they cost.
fn waits(body: &Block) -> bool {
    struct Waits(bool);
    impl<'ast> Visit<'ast> for Waits {
        fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
            self.0 |= matches!(
                call.method.to_string().as_str(),
                "tick" | "recv_timeout" | "wait_timeout" | "wait_timeout_while"
            );
            visit::visit_expr_method_call(self, call);
        }
        fn visit_expr_call(&mut self, call: &'ast syn::ExprCall) {
            if let Expr::Path(path) = &*call.func {
                let name = path.path.segments.last().map(|segment| segment.ident.to_string());
                self.0 |= matches!(
                    name.as_deref(),
                    Some("sleep" | "sleep_until" | "park_timeout" | "sleep_ms")
                );
            }
            visit::visit_expr_call(self, call);
        }
        fn visit_expr_closure(&mut self, _: &'ast syn::ExprClosure) {}
        fn visit_expr_for_loop(&mut self, _: &'ast syn::ExprForLoop) {}
        fn visit_expr_while(&mut self, _: &'ast syn::ExprWhile) {}
        fn visit_expr_loop(&mut self, _: &'ast syn::ExprLoop) {}
        fn visit_item(&mut self, _: &'ast syn::Item) {}
    }
    let mut visitor = Waits(false);
    visitor.visit_block(body);
    visitor.0
}
