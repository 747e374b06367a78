//! Expressions, one by one: which flow the parts of each have.
#![forbid(unsafe_code)]

use syn::spanned::Spanned;
use syn::{BinOp, Expr};

use super::exits::Ending;
use super::flow::{Borrow, Exit, Flow, Use};
use super::{Walker, borrowed};
use crate::types::Ty;

impl Walker<'_> {
    /// Walks an expression whose value goes to `flow`. `hint` is the type that it is expected to have, where that is written.
    pub(super) fn expr(&mut self, expr: &Expr, flow: Flow, hint: Option<&Ty>) {
        match expr {
            Expr::Path(path) => {
                if let Some(ident) = path.path.get_ident() {
                    self.use_name(&ident.to_string(), ident.span(), flow, false);
                }
            }
            Expr::MethodCall(_) | Expr::Try(_) | Expr::Await(_) | Expr::Field(_) => self.chain(expr, flow, hint),
            Expr::Call(call) => self.function_call(call, flow, hint),
            Expr::Macro(mac) => self.macro_call(&mac.mac, flow, hint),
            Expr::Paren(inner) => self.expr(&inner.expr, flow, hint),
            Expr::Group(inner) => self.expr(&inner.expr, flow, hint),
            Expr::Cast(cast) => self.expr(&cast.expr, borrowed(flow), None),
            Expr::Reference(reference) => {
                if reference.mutability.is_some()
                    && let Some((name, span)) = base_name(&reference.expr)
                {
                    // Whoever gets it may put something in.
                    self.use_name(&name, span, Flow::Borrowed(Borrow::Other), true);
                } else {
                    self.expr(&reference.expr, borrowed(flow), None);
                }
            }
            Expr::Unary(unary) => self.expr(&unary.expr, Flow::Borrowed(Borrow::Other), None),
            Expr::Binary(binary) => self.binary(binary, flow),
            Expr::Assign(assign) => self.assign(&assign.left, &assign.right),
            Expr::Block(block) => self.block(&block.block, flow, hint),
            Expr::Unsafe(block) => self.block(&block.block, flow, hint),
            Expr::Const(_) => {}
            Expr::If(branch) => self.branch(branch, flow, hint),
            Expr::Match(choice) => self.arms(choice, flow, hint),
            Expr::ForLoop(expr) => self.for_loop(expr),
            Expr::While(expr) => self.while_loop(expr),
            Expr::Loop(expr) => self.bare_loop(expr),
            Expr::Let(_) => {
                self.condition(expr);
            }
            Expr::Return(leave) => self.leave(leave.expr.as_deref(), Ending::Return),
            Expr::Break(leave) => {
                let label = leave.label.as_ref().map(|label| label.ident.to_string());
                self.leave(leave.expr.as_deref(), Ending::Break(label));
            }
            Expr::Yield(item) => {
                if let Some(item) = &item.expr {
                    self.expr(item, Flow::Out(Exit::Item), None);
                }
            }
            Expr::Closure(closure) => self.plain_closure(closure),
            Expr::Async(block) => self.async_block(block, super::closures::Waits::Elsewhere, flow),
            Expr::Index(index) => {
                self.expr(&index.expr, Flow::Borrowed(Borrow::Other), None);
                let looked_up = match &*index.index {
                    Expr::Reference(_) => Flow::Borrowed(Borrow::Lookup),
                    _ => Flow::Borrowed(Borrow::Other),
                };
                self.expr(&index.index, looked_up, None);
            }
            Expr::Range(range) => {
                for end in [&range.start, &range.end].into_iter().flatten() {
                    self.expr(end, Flow::Borrowed(Borrow::Other), None);
                }
            }
            Expr::Tuple(tuple) => self.parts(tuple.elems.iter(), flow),
            Expr::Array(array) => self.parts(array.elems.iter(), flow),
            Expr::Repeat(repeat) => self.parts([&*repeat.expr, &*repeat.len].into_iter(), flow),
            Expr::Struct(literal) => {
                let rest = literal.rest.as_deref();
                self.parts(literal.fields.iter().map(|field| &field.expr).chain(rest), flow);
            }
            _ => {}
        }
    }

    /// Parts of a larger value go where it goes.
    pub(super) fn parts<'e>(&mut self, parts: impl Iterator<Item = &'e Expr>, flow: Flow) {
        if let Flow::Local(id) | Flow::Assigned(id) = flow {
            self.body.bindings[id].is_aggregate = true;
        }
        for part in parts {
            self.expr(part, flow, None);
        }
    }

    fn binary(&mut self, binary: &syn::ExprBinary, flow: Flow) {
        match binary.op {
            // `text + &more` keeps the memory of its left side.
            BinOp::Add(_) => {
                if let Flow::Local(id) | Flow::Assigned(id) = flow {
                    let usage = Use {
                        flow: Flow::Borrowed(Borrow::Other),
                        line: binary.op.span().start().line,
                        grows: true,
                        is_rare: self.place.is_rare,
                    };
                    self.body.bindings[id].uses.push(usage);
                }
                self.expr(&binary.left, flow, None);
                self.expr(&binary.right, Flow::Borrowed(Borrow::Append), None);
            }
            BinOp::AddAssign(_) => {
                match base_name(&binary.left) {
                    Some((name, span)) => self.use_name(&name, span, Flow::Borrowed(Borrow::Other), true),
                    None => self.expr(&binary.left, Flow::Borrowed(Borrow::Other), None),
                }
                self.expr(&binary.right, Flow::Borrowed(Borrow::Append), None);
            }
            BinOp::Eq(_) | BinOp::Ne(_) | BinOp::Lt(_) | BinOp::Le(_) | BinOp::Gt(_) | BinOp::Ge(_) => {
                self.expr(&binary.left, Flow::Borrowed(Borrow::Compare), None);
                self.expr(&binary.right, Flow::Borrowed(Borrow::Compare), None);
            }
            BinOp::And(_) | BinOp::Or(_) => {
                self.expr(&binary.left, Flow::Borrowed(Borrow::Other), None);
                let mut place = self.place.clone();
                place.is_conditional = true;
                self.at(place, |this| {
                    this.expr(&binary.right, Flow::Borrowed(Borrow::Other), None)
                });
            }
            _ => {
                self.expr(&binary.left, Flow::Borrowed(Borrow::Other), None);
                self.expr(&binary.right, Flow::Borrowed(Borrow::Other), None);
            }
        }
    }

    fn assign(&mut self, left: &Expr, right: &Expr) {
        let flow = match left {
            Expr::Infer(_) => Flow::Dropped,
            Expr::Path(path) => match path.path.get_ident().and_then(|ident| self.look_up(&ident.to_string())) {
                Some(id) => Flow::Assigned(id),
                None => Flow::Out(Exit::Stored),
            },
            // A field of a variable of this function is a part of it; what is behind a pointer is somebody else's.
            Expr::Field(_) => match base_name(left).and_then(|(name, _)| self.look_up(&name)) {
                Some(id) if self.is_owned(id) => {
                    self.body.bindings[id].is_aggregate = true;
                    Flow::Assigned(id)
                }
                _ => Flow::Out(Exit::Stored),
            },
            _ => {
                self.expr(left, Flow::Borrowed(Borrow::Other), None);
                Flow::Out(Exit::Stored)
            }
        };
        let hint = match flow {
            Flow::Assigned(id) => self.body.bindings[id].ty.clone(),
            _ => None,
        };
        self.expr(right, flow, hint.as_ref());
    }

    /// The variable holds a value of its own, as far as can be seen: made by a literal or a call of a constructor here.
    fn is_owned(&self, id: usize) -> bool {
        let binding = &self.body.bindings[id];
        !binding.is_parameter && binding.is_mut && !matches!(binding.ty, Some(Ty::Ref(..)))
    }
}

/// `x` of `x`, `x.field`, `(x).field.other`.
pub(super) fn base_name(expr: &Expr) -> Option<(String, proc_macro2::Span)> {
    match expr {
        Expr::Path(path) => path.path.get_ident().map(|ident| (ident.to_string(), ident.span())),
        Expr::Field(field) => base_name(&field.base).map(|(name, _)| (name, field.span())),
        Expr::Paren(inner) => base_name(&inner.expr),
        _ => None,
    }
}
