//! Calls of functions and constructors.
#![forbid(unsafe_code)]

use syn::spanned::Spanned;
use syn::{Expr, ExprCall, ExprPath, Lit};

use super::Walker;
use super::chain::{made, spawned, speaks_of_errors};
use super::closures::{Role, Waits};
use super::flow::{Borrow, Consumer, Exit, Flow, Made};
use crate::index::Callee;
use crate::kinds::{Ctor, Kind, constructor};
use crate::types::Ty;

/// What a call does with an argument that is passed by value.
enum Takes {
    /// Holds it, or is it: the argument goes where the result goes.
    PassesOn,
    Argument(Flow),
    /// Only runs on errors.
    Error,
}

impl Walker<'_> {
    pub(super) fn function_call(&mut self, call: &ExprCall, flow: Flow, hint: Option<&Ty>) {
        let Expr::Path(path) = &*call.func else {
            self.expr(&call.func, Flow::Borrowed(Borrow::Other), None);
            self.arguments(
                call,
                Takes::Argument(Flow::Out(Exit::HandedOver)),
                Role::unknown(),
                Waits::Elsewhere,
                flow,
            );
            return;
        };
        let full = self.names.full_path(&path.path);
        let name = full.last().cloned().unwrap_or_default();
        let before = full.iter().rev().nth(1).map(String::as_str).unwrap_or_default();
        if let Some(made) = self.made_by_call(call, path, &full, hint) {
            let depends = self.depends_on_call(call);
            let kind = made.kind;
            let holds = kind.is_pointer() || made.how.ends_with("::from");
            self.create(made, path.span(), flow, depends);
            // `HashSet::from_iter(list)` takes the list apart; `Arc::new(list)` holds it.
            let takes = match holds && kind.is_pointer() {
                true => Takes::PassesOn,
                false => Takes::Argument(Flow::Consumed(Consumer::Iterator)),
            };
            self.arguments(call, takes, Role::once(), Waits::Elsewhere, flow);
            return;
        }
        if self.takes_out(call, before, &name, flow) {
            return;
        }
        let role = match (before, name.as_str()) {
            ("LazyLock" | "Lazy" | "LazyCell" | "OnceCell" | "OnceLock", _) => Role::once(),
            ("panic", "catch_unwind") => Role::inline(flow),
            ("iter", "from_fn" | "repeat_with" | "successors") => Role::each(&name, Flow::Out(Exit::Item)),
            _ if spawned(&name) == Waits::Spawned => Role::spawned(),
            _ => Role::unknown(),
        };
        let takes = takes(before, &name);
        if !matches!(takes, Takes::Error) {
            self.called_function(path, &name, flow);
        }
        self.arguments(call, takes, role, spawned(&name), flow);
    }

    /// `mem::take(&mut x)` and the like: what was in `x` goes where the result goes.
    fn takes_out(&mut self, call: &ExprCall, before: &str, name: &str, flow: Flow) -> bool {
        let takes = matches!((before, name), ("mem" | "", "take" | "replace" | "swap"));
        let Some(Expr::Reference(first)) = call.args.first().filter(|_| takes) else {
            return false;
        };
        if name == "swap" {
            for arg in &call.args {
                if let Expr::Reference(arg) = arg {
                    self.expr(&arg.expr, Flow::Out(Exit::Stored), None);
                }
            }
            return true;
        }
        self.expr(&first.expr, flow, None);
        for arg in call.args.iter().skip(1) {
            self.expr(arg, Flow::Out(Exit::Stored), None);
        }
        true
    }

    fn arguments(&mut self, call: &ExprCall, takes: Takes, role: Role, waits: Waits, flow: Flow) {
        let mut place = self.place.clone();
        let by_value = match takes {
            Takes::PassesOn => {
                if let Flow::Local(id) | Flow::Assigned(id) = flow {
                    self.body.bindings[id].is_aggregate = true;
                }
                flow
            }
            Takes::Argument(flow) => flow,
            Takes::Error => {
                place.is_rare = true;
                flow
            }
        };
        self.at(place, |this| {
            for arg in &call.args {
                match arg {
                    Expr::Closure(closure) => this.closure(closure, role.clone()),
                    Expr::Async(block) => this.async_block(block, waits, Flow::Out(Exit::HandedOver)),
                    arg => this.argument(arg, by_value, Borrow::Other),
                }
            }
        });
    }

    fn made_by_call(&self, call: &ExprCall, path: &ExprPath, full: &[String], hint: Option<&Ty>) -> Option<Made> {
        if let Some(made) = parsed(self, call, path, full, hint) {
            return made;
        }
        let name = full.last()?;
        if full.len() < 2 && path.qself.is_none() {
            return None;
        }
        let owner = self.names.owner_ty(path)?;
        let kind = match owner.name() {
            Some("Default") if name == "default" => hint.and_then(|ty| ty.name()).and_then(Kind::of_type)?,
            Some(name) => Kind::of_type(name)?,
            None => return None,
        };
        if kind == Kind::Regex && is_multi_step(owner.name()) {
            return made(Kind::Regex, "Regex", "RegexBuilder::new").filter(|_| name == "new");
        }
        let ctor = constructor(kind, name)?;
        let first = call.args.first();
        let is_empty = match ctor {
            Ctor::Empty => true,
            Ctor::Capacity => first.is_some_and(is_zero),
            Ctor::From => first.is_some_and(is_empty_literal),
            Ctor::Makes => false,
        };
        let ty = match (&owner, hint.and_then(Ty::collection)) {
            (Ty::Named(_, args), Some((hinted, ty @ Ty::Named(_, known))))
                if args.is_empty() && hinted == kind && !known.is_empty() =>
            {
                ty.to_string()
            }
            (Ty::Named(known, args), _) if args.is_empty() && has_arguments(kind) => format!("{known}<_>"),
            (owner, _) => owner.to_string(),
        };
        Some(Made {
            kind,
            ty,
            how: format!("{}::{name}", owner.name().unwrap_or_default()),
            is_empty,
            // `Vec::from(x)` may only pass a buffer on.
            is_guess: name == "from"
                && first.is_some_and(|arg| matches!(arg, Expr::Path(_) | Expr::MethodCall(_) | Expr::Call(_))),
            by: None,
        })
    }

    fn called_function(&mut self, path: &ExprPath, name: &str, flow: Flow) {
        let segments = &path.path.segments;
        let owner = match segments.iter().rev().nth(1) {
            Some(segment) if segment.ident == "Self" => self.owner.clone(),
            Some(segment) => {
                let before = segment.ident.to_string();
                let is_type = before.chars().next().is_some_and(char::is_uppercase);
                is_type.then(|| self.names.original(&before).to_owned())
            }
            // A variable that holds a closure is not a function of the files.
            None if self.look_up(name).is_some() => return,
            None => None,
        };
        let callee = Callee {
            name: name.to_owned(),
            owner,
        };
        self.followed(callee, path.span(), flow);
    }
}

/// `serde_json::from_str` and its sisters: `Some(None)` when what they make is no collection.
fn parsed(
    walker: &Walker<'_>,
    _: &ExprCall,
    path: &ExprPath,
    full: &[String],
    hint: Option<&Ty>,
) -> Option<Option<Made>> {
    let name = full.last()?;
    let is_json = full
        .iter()
        .rev()
        .nth(1)
        .is_some_and(|before| before == "serde_json" || before == "simd_json")
        && matches!(name.as_str(), "from_str" | "from_slice" | "from_reader" | "from_value");
    if !is_json {
        return None;
    }
    let written = match &path.path.segments.last()?.arguments {
        syn::PathArguments::AngleBracketed(list) => list.args.iter().find_map(|arg| match arg {
            syn::GenericArgument::Type(ty) => Some(walker.names.ty(ty)),
            _ => None,
        }),
        _ => None,
    };
    let ty = written.as_ref().or(hint).map(Ty::unwrapped);
    let how = format!("serde_json::{name}");
    if let Some((kind, ty)) = ty.and_then(Ty::collection) {
        return Some(made(kind, &ty.to_string(), &how));
    }
    if ty.is_some_and(Ty::is_plain) {
        return Some(None);
    }
    let mut parsed = made(
        Kind::Json,
        &ty.map_or_else(|| "_".to_owned(), ToString::to_string),
        &how,
    );
    if let Some(made) = &mut parsed {
        made.is_guess = made.ty != "Value";
    }
    Some(parsed)
}

fn takes(before: &str, name: &str) -> Takes {
    if name == "Err" || speaks_of_errors(name) || before.ends_with("Error") {
        return Takes::Error;
    }
    if name == "drop" {
        return Takes::Argument(Flow::Dropped);
    }
    let as_ref = matches!(before, "fs" | "File" | "env" | "Path" | "CString" | "OpenOptions") && name != "from";
    if as_ref {
        return Takes::Argument(Flow::Consumed(Consumer::AsRef));
    }
    // `Some(x)`, `Wrapper(x)`, `Variant(x)`.
    let is_constructor = name.chars().next().is_some_and(char::is_uppercase);
    let wraps = matches!(
        (before, name),
        (
            "Box"
                | "Pin"
                | "Mutex"
                | "RwLock"
                | "RefCell"
                | "Cell"
                | "Cow"
                | "Cursor"
                | "BufReader"
                | "BufWriter"
                | "ManuallyDrop",
            "new" | "from" | "pin"
        ) | ("String", "from_utf8" | "from_utf8_unchecked")
    );
    if is_constructor || wraps {
        return Takes::PassesOn;
    }
    Takes::Argument(Flow::Out(Exit::HandedOver))
}

fn is_multi_step(name: Option<&str>) -> bool {
    matches!(name, Some("RegexBuilder" | "RegexSetBuilder"))
}

fn has_arguments(kind: Kind) -> bool {
    !matches!(kind, Kind::String | Kind::PathBuf | Kind::Regex)
}

fn is_zero(expr: &Expr) -> bool {
    matches!(expr, Expr::Lit(literal) if matches!(&literal.lit, Lit::Int(number) if number.base10_digits() == "0"))
}

fn is_empty_literal(expr: &Expr) -> bool {
    match expr {
        Expr::Lit(literal) => matches!(&literal.lit, Lit::Str(text) if text.value().is_empty()),
        Expr::Array(array) => array.elems.is_empty(),
        Expr::Reference(reference) => is_empty_literal(&reference.expr),
        _ => false,
    }
}
