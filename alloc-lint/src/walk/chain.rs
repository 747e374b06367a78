//! Chains of methods, fields, `?` and `.await`, taken as a whole: each link's value goes where the links after it send it.
//!
//! ```text
//! base  .iter()    .map(f)    .collect::<Vec<_>>()   .join(",")
//!       Borrowed   Borrowed   Borrowed (made here)   flow of the whole
//! ```
#![forbid(unsafe_code)]

use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::{Expr, ExprMethodCall, GenericArgument};

use super::chain_flow::{self, argument, borrowed_argument, is_for_errors, is_iterated, receiver};
use super::closures::{Role, Waits};
use super::expr::base_name;
use super::flow::{Borrow, Depends, Exit, Flow, Made};
use super::{Walker, borrowed};
use crate::index::Callee;
use crate::kinds::{self, Kind};
use crate::types::{CloneCost, Ty};

/// A link, without its receiver.
enum Link<'e> {
    Method(&'e ExprMethodCall),
    Field,
    Try,
    Await,
}

impl Walker<'_> {
    pub(super) fn chain(&mut self, whole: &Expr, flow: Flow, hint: Option<&Ty>) {
        let mut links = Vec::new();
        let mut base = whole;
        loop {
            (base, links) = match base {
                Expr::MethodCall(call) => (&*call.receiver, with(links, Link::Method(call))),
                Expr::Field(field) => (&*field.base, with(links, Link::Field)),
                Expr::Try(attempt) => (&*attempt.expr, with(links, Link::Try)),
                Expr::Await(wait) => (&*wait.base, with(links, Link::Await)),
                Expr::Paren(inner) => (&*inner.expr, links),
                Expr::Group(inner) => (&*inner.expr, links),
                _ => break,
            };
        }
        links.reverse();
        let methods: Vec<Option<String>> = links
            .iter()
            .map(|link| match link {
                Link::Method(call) => Some(call.method.to_string()),
                _ => None,
            })
            .collect();
        // outs[i]: where the value of link i goes; the base is before them all.
        let mut outs = vec![flow; links.len() + 1];
        for number in (0..links.len()).rev() {
            outs[number] = match &links[number] {
                Link::Method(call) => receiver(&call.method.to_string(), outs[number + 1]),
                Link::Field | Link::Try | Link::Await => outs[number + 1],
            };
        }
        self.chain_base(base, &methods, &links, outs[0], hint);
        // The type that is expected of the whole is expected of each link that is only unwrapped after.
        let unwraps = |link: &Link<'_>| match link {
            Link::Method(call) => kinds::passes_on(&call.method.to_string()) && call.method != "into",
            Link::Try | Link::Await => true,
            Link::Field => false,
        };
        let is_hinted_from = links.iter().rposition(|link| !unwraps(link)).unwrap_or(0);
        let starts_iterated = self.is_iterator(base);
        for (number, link) in links.iter().enumerate() {
            if let Link::Method(call) = link {
                let has_code = call
                    .args
                    .iter()
                    .any(|arg| matches!(arg, Expr::Closure(_) | Expr::Macro(_)));
                let is_iterated = has_code && is_iterated(&methods, number, starts_iterated);
                let hint = hint.filter(|_| number >= is_hinted_from);
                self.method(call, outs[number + 1], hint, is_iterated);
            }
        }
    }

    fn chain_base(
        &mut self,
        base: &Expr,
        methods: &[Option<String>],
        links: &[Link<'_>],
        flow: Flow,
        hint: Option<&Ty>,
    ) {
        let first_method = methods.iter().flatten().next();
        match base_name(base) {
            Some((name, span)) => {
                let grows = first_method.is_some_and(|method| kinds::is_growth(method));
                self.use_name(&name, span, flow, grows);
            }
            None => match base {
                Expr::Async(block) if matches!(links.first(), Some(Link::Await)) => {
                    self.async_block(block, Waits::Here, flow)
                }
                base => {
                    let is_plain = first_method.is_none();
                    self.expr(
                        base,
                        flow,
                        hint.filter(|_| is_plain || methods.iter().flatten().all(|m| kinds::passes_on(m))),
                    );
                }
            },
        }
    }

    fn is_iterator(&self, base: &Expr) -> bool {
        match base {
            Expr::Range(_) => true,
            Expr::Call(call) => match &*call.func {
                Expr::Path(path) => {
                    let path = self.names.full_path(&path.path);
                    let before = path.iter().rev().nth(1).map(String::as_str);
                    matches!(before, Some("iter" | "stream" | "Itertools" | "WalkDir"))
                }
                _ => false,
            },
            _ => false,
        }
    }

    /// A method call whose receiver has been walked.
    fn method(&mut self, call: &ExprMethodCall, out: Flow, hint: Option<&Ty>, is_iterated: bool) {
        let name = call.method.to_string();
        self.made_by_method(call, &name, out, hint);
        let number_of_args = call.args.len();
        for (number, arg) in call.args.iter().enumerate() {
            match arg {
                Expr::Closure(closure) => {
                    let is_last = number + 1 == number_of_args;
                    let role = self.role(&name, closure.inputs.len(), is_last, is_iterated, out);
                    self.closure(closure, role);
                }
                Expr::Async(block) => self.async_block(block, spawned(&name), Flow::Out(Exit::HandedOver)),
                Expr::Macro(mac) if is_tracked(&mac.mac) => {
                    let is_last = number + 1 == number_of_args;
                    let role = self.role(&name, 1, is_last, is_iterated, out);
                    self.tracked(&mac.mac, role);
                }
                arg => {
                    let mut place = self.place.clone();
                    place.is_rare |= is_for_errors(&name) || speaks_of_errors(&name);
                    self.at(place, |this| {
                        let by_value = match name.as_str() {
                            "unwrap_or" | "or" => out,
                            name => argument(name),
                        };
                        this.argument(arg, by_value, borrowed_argument(&name));
                    });
                }
            }
        }
    }

    /// An argument: by reference if it is written with `&`.
    pub(super) fn argument(&mut self, arg: &Expr, by_value: Flow, by_reference: Borrow) {
        match arg {
            Expr::Reference(_) => self.expr(arg, Flow::Borrowed(by_reference), None),
            Expr::MethodCall(call) if is_view(&call.method.to_string()) => {
                self.expr(arg, borrowed(Flow::Borrowed(by_reference)), None)
            }
            arg => self.expr(arg, by_value, None),
        }
    }

    /// What the closure of a method is called for.
    fn role(&self, method: &str, inputs: usize, is_last: bool, is_iterated: bool, out: Flow) -> Role {
        let is_each = inputs > 0
            && is_last
            && (chain_flow::calls_for_each(method) || (chain_flow::may_call_for_each(method) && is_iterated));
        if is_each {
            return Role::each(method, chain_flow::returned(method));
        }
        if chain_flow::is_once(method) {
            return Role::once();
        }
        if is_for_errors(method) {
            return Role::rare(out);
        }
        if spawned(method) == Waits::Spawned {
            return Role::spawned();
        }
        match method {
            "map" | "and_then" | "map_or" | "then" | "filter" | "is_some_and" | "is_ok_and" | "is_none_or"
            | "inspect" => Role::inline(out),
            _ => Role::unknown(),
        }
    }

    fn made_by_method(&mut self, call: &ExprMethodCall, name: &str, out: Flow, hint: Option<&Ty>) {
        let made = match (name, call.args.len()) {
            ("collect" | "collect_vec" | "try_collect", 0) => collected(self, call, name, hint),
            ("clone", 0) => self.cloned(call),
            ("to_vec", 0) => self.copied(call, Kind::Vec, "Vec<_>", ".to_vec()"),
            ("to_path_buf", 0) => self.copied(call, Kind::PathBuf, "PathBuf", ".to_path_buf()"),
            ("to_string" | "to_owned", 0) => self.owned(call, name),
            _ => {
                self.called_method(call, name, out);
                None
            }
        };
        if let Some(made) = made {
            let depends = self.depends_on(&call.receiver);
            self.create(made, call.method.span(), out, depends);
        }
    }

    /// A method of std's, unless a type of the files has one of that name, too.
    fn copied(&self, call: &ExprMethodCall, kind: Kind, ty: &str, how: &str) -> Option<Made> {
        let mut made = made(kind, ty, how)?;
        made.is_guess = self.index.declares(&call.method.to_string()) && self.type_of(&call.receiver).is_none();
        Some(made)
    }

    fn owned(&self, call: &ExprMethodCall, name: &str) -> Option<Made> {
        let how = format!(".{name}()");
        let is_empty = matches!(&*call.receiver, Expr::Lit(literal) if matches!(&literal.lit, syn::Lit::Str(text) if text.value().is_empty()));
        let ty = self.type_of(&call.receiver);
        if name == "to_owned" {
            match ty.as_ref().map(Ty::bare) {
                Some(Ty::Slice(_)) => return made(Kind::Vec, "Vec<_>", &how),
                Some(Ty::Named(path, _)) if path == "Path" => return made(Kind::PathBuf, "PathBuf", &how),
                Some(known) if known.clone_cost() == CloneCost::Nothing && known.name() != Some("str") => return None,
                _ => {}
            }
        }
        let mut made = made(Kind::String, "String", &how)?;
        made.is_empty = is_empty;
        // That `to_owned` makes a `String` is likely, not certain.
        made.is_guess = name == "to_owned" && ty.is_none();
        Some(made)
    }

    fn cloned(&self, call: &ExprMethodCall) -> Option<Made> {
        let ty = self.type_of(&call.receiver);
        let cost = ty.as_ref().map_or(CloneCost::Unknown, |ty| self.index.clone_cost(ty));
        match cost {
            CloneCost::Nothing => None,
            CloneCost::Makes(kind) => {
                let text = ty
                    .as_ref()
                    .map_or_else(|| kind.name().to_owned(), |ty| ty.bare().to_string());
                made(kind, &text, ".clone()")
            }
            CloneCost::Struct(name) => made(Kind::Clone, &name, ".clone()"),
            CloneCost::Unknown => {
                let mut made = made(Kind::Clone, "_", ".clone()")?;
                made.is_guess = true;
                Some(made)
            }
        }
    }

    /// A call that may be one of a function of the files: to be followed, and to make what it returns.
    fn called_method(&mut self, call: &ExprMethodCall, name: &str, out: Flow) {
        let owner = match &*call.receiver {
            Expr::Path(path) if path.path.is_ident("self") => self.owner.clone(),
            receiver => self.type_of(receiver).and_then(|ty| ty.name().map(str::to_owned)),
        };
        if owner.is_some() {
            let callee = Callee {
                name: name.to_owned(),
                owner,
            };
            self.followed(callee, call.method.span(), out);
        }
    }

    pub(super) fn followed(&mut self, callee: Callee, span: Span, out: Flow) {
        if let Some(id) = self.index.find(&callee, self.file) {
            if let Some((kind, ty)) = self.index.functions[id].output.clone() {
                let how = format!("`{}`", self.index.functions[id].name);
                let made = Made {
                    kind,
                    ty,
                    how,
                    is_empty: false,
                    is_guess: false,
                    by: Some(id),
                };
                self.create(made, span, out, Depends::Turn);
            }
            self.call(callee);
        }
    }
}

fn with<'e>(mut links: Vec<Link<'e>>, link: Link<'e>) -> Vec<Link<'e>> {
    links.push(link);
    links
}

pub(super) fn made(kind: Kind, ty: &str, how: &str) -> Option<Made> {
    Some(Made {
        kind,
        ty: ty.to_owned(),
        how: how.to_owned(),
        is_empty: false,
        is_guess: false,
        by: None,
    })
}

/// What `.collect()` makes: by its turbofish, else by the type that is written for the variable.
fn collected(walker: &Walker<'_>, call: &ExprMethodCall, name: &str, hint: Option<&Ty>) -> Option<Made> {
    if starts_work(&call.receiver) {
        return None;
    }
    if name == "collect_vec" {
        return made(Kind::Vec, "Vec<_>", ".collect_vec()");
    }
    let written = call
        .turbofish
        .as_ref()
        .and_then(|turbofish| match turbofish.args.first() {
            Some(GenericArgument::Type(ty)) => Some(walker.names.ty(ty)),
            _ => None,
        });
    let ty = written.as_ref().or(hint);
    if let Some((kind, ty)) = ty.and_then(Ty::collection) {
        return made(kind, &ty.to_string(), ".collect()");
    }
    match ty.map(Ty::unwrapped) {
        // `Result<(), E>`, and types that are known by another name than a collection's.
        Some(Ty::Tuple(_) | Ty::Ref(..)) => None,
        Some(Ty::Named(name, _)) if name != "Self" => None,
        _ => {
            let mut made = made(Kind::Collected, "_", ".collect()")?;
            made.is_guess = true;
            Some(made)
        }
    }
}

/// `report_error`, `ParseError`, `warn_once`: what is said there is said seldom.
pub(super) fn speaks_of_errors(name: &str) -> bool {
    let name = name.to_lowercase();
    ["error", "panic", "warn"].iter().any(|word| name.contains(word))
}

/// `.map(|x| spawn(x))`: collected so that all of it runs at once.
fn starts_work(receiver: &Expr) -> bool {
    struct Spawns(bool);
    impl<'ast> syn::visit::Visit<'ast> for Spawns {
        fn visit_ident(&mut self, ident: &'ast proc_macro2::Ident) {
            self.0 |= ident.to_string().starts_with("spawn");
        }
    }
    let Expr::MethodCall(map) = receiver else { return false };
    let mut visitor = Spawns(false);
    for arg in &map.args {
        syn::visit::Visit::visit_expr(&mut visitor, arg);
    }
    visitor.0
}

/// Methods that hand out a view of their receiver.
fn is_view(method: &str) -> bool {
    matches!(
        method,
        "as_str" | "as_slice" | "as_ref" | "as_bytes" | "as_path" | "as_mut" | "as_deref"
    )
}

/// Whether a function by this name runs what it is given on another thread or task.
pub(super) fn spawned(name: &str) -> Waits {
    match name.starts_with("spawn") || name == "execute" {
        true => Waits::Spawned,
        false => Waits::Elsewhere,
    }
}

pub(super) fn is_tracked(mac: &syn::Macro) -> bool {
    mac.path
        .segments
        .last()
        .is_some_and(|segment| segment.ident == "tracked")
        && !mac.tokens.is_empty()
        && mac.span().start().line > 0
}
