//! Goes through the body of a function and notes what it makes, in which loops, and where that goes.
//!
//! Called once a function, with the tree and the index of all files. Every expression is walked with the flow of its value; variables
//! are resolved by name, with their scopes. What the notes amount to is decided after, in `candidates`.
//!
//! # Invariants
//! - `chain` holds the loops that the code under the cursor runs in every turn of. A branch that ends a loop is walked without it.
//! - A closure that is called for each element is a loop; one that is spawned is in no loop.
//! - Nothing here fails: code that is not understood makes its values leave.
#![forbid(unsafe_code)]

mod calls;
mod chain;
mod chain_flow;
mod closures;
mod depends;
mod exits;
mod expr;
pub(crate) mod flow;
mod loops;
mod macros;
mod patterns;

use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::{Attribute, Block, Expr, FnArg, Local, Stmt};

use crate::index::Index;
use crate::names::Names;
use crate::outline::Function;
use crate::types::Ty;
use exits::Ending;
use flow::{Binding, BindingId, Body, Borrow, Call, Creation, Exit, Flow, LoopId, Made, Use};

/// Walks one function.
pub(crate) fn function(function: &Function<'_>, names: &Names, index: &Index, file: usize) -> Body {
    let mut walker = Walker {
        names,
        index,
        file,
        owner: function.owner.clone(),
        is_self_mut: false,
        body: Body::default(),
        scopes: vec![Vec::new()],
        captures: Vec::new(),
        place: Place::default(),
        statement: (0, 0),
    };
    for input in &function.signature.inputs {
        match input {
            FnArg::Receiver(receiver) => {
                walker.is_self_mut = receiver.mutability.is_some() && receiver.reference.is_some()
            }
            FnArg::Typed(typed) => walker.parameter(&typed.pat, Some(names.ty(&typed.ty))),
        }
    }
    let output = names.output(&function.signature.output);
    walker.block(function.body, Flow::Out(Exit::Returned), output.as_ref());
    walker.body
}

/// Where the cursor is: all that a branch or a closure changes for its inside.
#[derive(Clone, Default)]
struct Place {
    /// Loops around, outermost first.
    chain: Vec<LoopId>,
    /// How many of them are outside of the closure or function around.
    base: usize,
    is_rare: bool,
    is_conditional: bool,
    request_line: Option<usize>,
}

struct Walker<'a> {
    names: &'a Names,
    index: &'a Index,
    file: usize,
    owner: Option<String>,
    is_self_mut: bool,
    body: Body,
    scopes: Vec<Vec<(String, BindingId)>>,
    /// For each closure around that takes what it names with it: how many scopes are outside of it.
    captures: Vec<usize>,
    place: Place,
    /// Lines of the statement around.
    statement: (usize, usize),
}

impl Walker<'_> {
    /// Runs `walk` somewhere else, and comes back.
    fn at<R>(&mut self, place: Place, walk: impl FnOnce(&mut Self) -> R) -> R {
        let around = std::mem::replace(&mut self.place, place);
        let statement = self.statement;
        self.scopes.push(Vec::new());
        let result = walk(self);
        self.scopes.pop();
        self.statement = statement;
        self.place = around;
        result
    }

    /// The place inside of a branch that ends like this.
    fn ending(&self, ending: Option<Ending>) -> Place {
        let mut place = self.place.clone();
        match ending {
            Some(Ending::Return) => place.chain.truncate(place.base),
            Some(Ending::Break(label)) => {
                let inner = &place.chain[place.base.min(place.chain.len())..];
                let position = match &label {
                    None => inner.len().checked_sub(1),
                    Some(label) => inner
                        .iter()
                        .position(|id| self.body.loops[*id].label.as_deref() == Some(label)),
                };
                if let Some(position) = position {
                    place.chain.truncate(place.base + position);
                }
            }
            Some(Ending::Panic) => place.is_rare = true,
            None => {}
        }
        place
    }

    fn block(&mut self, block: &Block, flow: Flow, hint: Option<&Ty>) {
        let place = self.ending(exits::of_block(block));
        self.at(place, |this| this.statements(&block.stmts, flow, hint));
    }

    fn statements(&mut self, statements: &[Stmt], flow: Flow, hint: Option<&Ty>) {
        let last = statements.len().saturating_sub(1);
        for (number, statement) in statements.iter().enumerate() {
            let span = statement.span();
            self.statement = (span.start().line, span.end().line);
            if crate::attributes::is_for_debugging(attributes_of(statement)) {
                continue;
            }
            match statement {
                Stmt::Local(local) => self.local(local),
                Stmt::Expr(expr, None) if number == last => self.expr(expr, flow, hint),
                Stmt::Expr(expr, _) => self.expr(expr, Flow::Dropped, None),
                Stmt::Macro(statement) => {
                    let (flow, hint) = match statement.semi_token {
                        None if number == last => (flow, hint),
                        _ => (Flow::Dropped, None),
                    };
                    self.macro_call(&statement.mac, flow, hint);
                }
                // Functions in functions are functions of their own, constants and statics are made once.
                Stmt::Item(_) => {}
            }
        }
    }

    /// `let pattern: type = init else { .. };`
    fn local(&mut self, local: &Local) {
        let (pattern, ty) = match &local.pat {
            syn::Pat::Type(typed) => (&*typed.pat, Some(self.names.ty(&typed.ty))),
            pattern => (pattern, None),
        };
        let Some(init) = &local.init else {
            self.declare(pattern, ty, None);
            return;
        };
        if let (syn::Pat::Tuple(names), Expr::Tuple(values)) = (pattern, &*init.expr)
            && names.elems.len() == values.elems.len()
        {
            let mut declared = Vec::new();
            for (name, value) in names.elems.iter().zip(&values.elems) {
                declared.push((name, self.bind_value(name, None, value)));
            }
            for (name, id) in declared {
                self.declare(name, None, id);
            }
            return;
        }
        let id = self.bind_value(pattern, ty.clone(), &init.expr);
        if let Some((_, otherwise)) = &init.diverge {
            self.expr(otherwise, Flow::Dropped, None);
        }
        self.declare(pattern, ty, id);
    }

    /// Walks the value of a variable to be; its name is not in scope yet.
    fn bind_value(&mut self, pattern: &syn::Pat, ty: Option<Ty>, value: &Expr) -> Option<BindingId> {
        if matches!(pattern, syn::Pat::Wild(_)) {
            self.expr(value, Flow::Dropped, ty.as_ref());
            return None;
        }
        let name = match pattern {
            syn::Pat::Ident(ident) if ident.subpat.is_none() => ident.ident.to_string(),
            _ => String::new(),
        };
        let is_mut = matches!(pattern, syn::Pat::Ident(ident) if ident.mutability.is_some());
        let ty = ty.or_else(|| self.type_of(value));
        let id = self.new_binding(name, ty.clone(), is_mut);
        self.expr(value, Flow::Local(id), ty.as_ref());
        Some(id)
    }

    fn new_binding(&mut self, name: String, ty: Option<Ty>, is_mut: bool) -> BindingId {
        self.body.bindings.push(Binding {
            name,
            depth: self.place.chain.len(),
            is_parameter: false,
            is_mut,
            ty,
            is_aggregate: false,
            uses: Vec::new(),
        });
        self.body.bindings.len() - 1
    }

    fn look_up(&self, name: &str) -> Option<BindingId> {
        self.look_up_with_scope(name).map(|(id, _)| id)
    }

    fn look_up_with_scope(&self, name: &str) -> Option<(BindingId, usize)> {
        self.scopes.iter().enumerate().rev().find_map(|(number, scope)| {
            let (_, id) = scope.iter().rev().find(|(known, _)| known == name)?;
            Some((*id, number))
        })
    }

    /// A variable is named here.
    fn use_name(&mut self, name: &str, span: Span, flow: Flow, grows: bool) {
        let Some((id, scope)) = self.look_up_with_scope(name) else {
            return;
        };
        let is_captured = self.captures.iter().any(|outside| scope < *outside);
        let usage = Use {
            flow: if is_captured { Flow::Out(Exit::Captured) } else { flow },
            line: span.start().line,
            grows,
            is_rare: self.place.is_rare,
        };
        self.body.bindings[id].uses.push(usage);
    }

    fn create(&mut self, made: Made, span: Span, flow: Flow, depends: flow::Depends) {
        let start = span.start();
        self.body.creations.push(Creation {
            made,
            line: start.line,
            column: start.column + 1,
            statement: self.statement,
            flow,
            loops: self.place.chain.clone(),
            is_rare: self.place.is_rare,
            is_conditional: self.place.is_conditional,
            depends,
            request_line: self.place.request_line,
        });
    }

    fn call(&mut self, callee: crate::index::Callee) {
        self.body.calls.push(Call {
            callee,
            is_rare: self.place.is_rare,
            request_line: self.place.request_line,
        });
    }

    /// The type of an expression, where names alone say it.
    fn type_of(&self, expr: &Expr) -> Option<Ty> {
        match expr {
            Expr::Path(path) if path.qself.is_none() => {
                let ident = path.path.get_ident()?;
                let id = self.look_up(&ident.to_string())?;
                self.body.bindings[id].ty.clone()
            }
            Expr::Field(field) => {
                let name = match &field.member {
                    syn::Member::Named(ident) => ident.to_string(),
                    syn::Member::Unnamed(index) => index.index.to_string(),
                };
                let owner = match &*field.base {
                    Expr::Path(path) if path.path.is_ident("self") => self.owner.clone()?,
                    base => match self.type_of(base)?.bare() {
                        Ty::Named(pointer, args)
                            if matches!(pointer.as_str(), "Arc" | "Rc" | "Box" | "State" | "Data") =>
                        {
                            args.first()?.name()?.to_owned()
                        }
                        ty => ty.name()?.to_owned(),
                    },
                };
                self.index.field(&owner, &name).cloned()
            }
            Expr::Reference(reference) => {
                let inner = self.type_of(&reference.expr)?;
                Some(Ty::Ref(Box::new(inner), reference.mutability.is_some()))
            }
            Expr::Paren(inner) => self.type_of(&inner.expr),
            Expr::Lit(literal) => match &literal.lit {
                syn::Lit::Str(_) => Some(Ty::Ref(Box::new(Ty::Named("str".to_owned(), Vec::new())), false)),
                syn::Lit::Int(_) | syn::Lit::Float(_) | syn::Lit::Bool(_) | syn::Lit::Char(_) => {
                    Some(Ty::Named("u64".to_owned(), Vec::new()))
                }
                _ => None,
            },
            Expr::Call(call) => match &*call.func {
                Expr::Path(path) => {
                    let owner = self.names.owner_ty(path)?;
                    let last = path.path.segments.last()?.ident.to_string();
                    let makes_itself = matches!(
                        last.as_str(),
                        "new" | "with_capacity" | "from" | "default" | "from_iter" | "clone"
                    );
                    let is_known = owner.name().is_some_and(|name| {
                        crate::kinds::Kind::of_type(name).is_some() || crate::kinds::is_cheap(name)
                    });
                    (makes_itself && is_known).then_some(owner)
                }
                _ => None,
            },
            Expr::Macro(mac) => match mac.mac.path.segments.last()?.ident.to_string().as_str() {
                "vec" => Some(Ty::Named("Vec".to_owned(), Vec::new())),
                "format" => Some(Ty::Named("String".to_owned(), Vec::new())),
                _ => None,
            },
            Expr::Struct(literal) => Some(self.names.path_ty(&literal.path)),
            Expr::MethodCall(method) => match method.method.to_string().as_str() {
                "to_string" | "to_lowercase" | "to_uppercase" => Some(Ty::Named("String".to_owned(), Vec::new())),
                "clone" => match &*method.receiver {
                    // A clone of a clone: nobody writes it, and chains may be long.
                    Expr::MethodCall(_) => None,
                    receiver => self.type_of(receiver).map(|ty| ty.bare().clone()),
                },
                "collect" => method
                    .turbofish
                    .as_ref()
                    .and_then(|turbofish| match turbofish.args.first() {
                        Some(syn::GenericArgument::Type(ty)) => Some(self.names.ty(ty)),
                        _ => None,
                    }),
                _ => None,
            },
            _ => None,
        }
    }
}

/// The attributes of a statement, where such are at all likely.
fn attributes_of(statement: &Stmt) -> &[Attribute] {
    match statement {
        Stmt::Local(local) => &local.attrs,
        Stmt::Macro(statement) => &statement.attrs,
        Stmt::Expr(Expr::Block(block), _) => &block.attrs,
        Stmt::Expr(Expr::Call(call), _) => &call.attrs,
        Stmt::Expr(Expr::MethodCall(call), _) => &call.attrs,
        Stmt::Expr(Expr::If(branch), _) => &branch.attrs,
        Stmt::Expr(Expr::ForLoop(expr), _) => &expr.attrs,
        _ => &[],
    }
}

/// What is borrowed stays what it is known as; anything else is borrowed for no known reason.
fn borrowed(flow: Flow) -> Flow {
    match flow {
        Flow::Borrowed(_) => flow,
        _ => Flow::Borrowed(Borrow::Other),
    }
}
