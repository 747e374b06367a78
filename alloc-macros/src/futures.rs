//! Writes tracked functions whose calls are futures: `async fn`, and functions that return a future.
//!
//! Called by `expand`. The invariants are stated there.
//!
//! # Size
//! An `async fn` keeps its arguments in its future. One that only awaits a tracked future would keep them twice. Hence
//! `async fn f(a: A) -> R` is written as `fn f(a: A) -> impl Future<Output = R>`, which the compiler treats as the same:
//! in traits, too, and with every lifetime captured, as this crate's spans are of edition 2024. The future grows by
//! the wrapper only. Not where someone would notice: see `keeps_async`. There the tracked future takes its arguments
//! straight from the outer one, which costs their size only if the body gives them away before it first waits (docs/track-memory.md, "Cost").
//!
//! LIMIT: where a trait says `-> u32` and is implemented for `u32`, clippy's `use_self` (nursery) looks at the `u32` in `impl Future<Output = u32>`
//! and asks for `Self`; it knows that only of a plain `u32`.
#![forbid(unsafe_code)]

use proc_macro2::{Delimiter, Ident, Spacing, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote_spanned};
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::visit_mut::{self, VisitMut, visit_type_mut};
use syn::{
    Attribute, Block, Expr, ExprAsync, ExprClosure, ExprReturn, FnArg, GenericArgument, Item, Meta, Pat, PatIdent,
    PathArguments, ReturnType, Signature, Stmt, Token, Type, TypeParamBound, parse_quote, parse_quote_spanned,
};

use crate::expand::{is_borrowed, is_unused, move_arguments, user_block};
use crate::item::RawBody;
use crate::loops::{self, Context, mentions};
use crate::names::Names;

/// ```text
/// async fn f(self, a: A, (b, _): (B, C)) -> R { body }
/// =>
/// fn f(self, a: A, __arg2: (B, C)) -> impl Future<Output = R> {
///     SITE
///     track(&SITE, async move {
///         if let Some(r) = None::<R> { return r; }
///         let _ = &self;
///         let a = a; let __arg2 = __arg2; let (b, _) = __arg2;
///         { body }
///     })
/// }
/// ```
/// The `if` tells the compiler the type of the block before it reads the body, as a signature would. The moves are
/// those of the compiler's own `async fn`: every argument belongs to the tracked future, used or not, and drops in
/// the same order. `let _ = &self` makes the future own the receiver; what is captured drops after the locals.
pub(crate) fn async_body(names: &Names, attrs: &[Attribute], sig: &mut Signature, body: &RawBody) -> TokenStream {
    let ours = names.ours;
    let (hint, never) = return_hint(names, &sig.output);
    let keeps = never || sig.ident == "main" || attrs.iter().any(keeps_async);
    let receiver = sig.receiver().map(|receiver| receiver.self_token.to_token_stream());
    let mut owned: Vec<TokenStream> = receiver.into_iter().collect();
    let mut first = 0;
    if keeps {
        // Captured under their own names, in an order that makes them drop last to first, after the rest.
        first = usize::from(!owned.is_empty());
        for (index, arg) in sig.inputs.iter_mut().enumerate().skip(first) {
            let Some(names) = capturable(names, arg, index, body) else {
                break;
            };
            for name in names {
                owned.insert(0, name);
            }
            first += 1;
        }
    }
    let moves = move_arguments(names, sig, first, |_| true);
    let block = user_block(names, body);
    let future = names.track(&quote_spanned! {ours=>
        async move {
            #hint
            #(let _ = &#owned;)*
            #moves
            #block
        }
    });
    if never {
        return quote_spanned!(ours=> #future.await.never());
    }
    if keeps {
        return quote_spanned!(ours=> #future.await);
    }
    sig.asyncness = None;
    let output = match &sig.output {
        ReturnType::Default => quote_spanned!(ours=> ()),
        ReturnType::Type(_, ty) => ty.to_token_stream(),
    };
    // With the span goes the edition, which decides that every lifetime is captured.
    sig.output = parse_quote_spanned!(ours=> -> impl ::core::future::Future<Output = #output>);
    future
}

/// The names of an argument that a block can take over under them, without a `let` that would hide an unused one, and without a
/// part that stays behind. What the body cannot name gets a name.
fn capturable(names: &Names, arg: &mut FnArg, index: usize, body: &RawBody) -> Option<Vec<TokenStream>> {
    fn bound<'a>(pat: &'a Pat, found: &mut Vec<&'a PatIdent>) -> Option<()> {
        match pat {
            Pat::Ident(name) if name.by_ref.is_none() && name.subpat.is_none() => found.push(name),
            Pat::Paren(inner) => bound(&inner.pat, found)?,
            Pat::Type(inner) => bound(&inner.pat, found)?,
            Pat::Tuple(tuple) => tuple.elems.iter().try_for_each(|part| bound(part, found))?,
            Pat::TupleStruct(tuple) => tuple.elems.iter().try_for_each(|part| bound(part, found))?,
            Pat::Slice(slice) => slice.elems.iter().try_for_each(|part| bound(part, found))?,
            Pat::Struct(fields) if fields.rest.is_none() => {
                fields.fields.iter().try_for_each(|field| bound(&field.pat, found))?;
            }
            _ => return None,
        }
        Some(())
    }
    let FnArg::Typed(arg) = arg else { return None };
    if !arg.attrs.is_empty() {
        return None;
    }
    let is_named = |name: &Ident| mentions(body.statements.clone(), &name.to_string());
    let is_left = match &*arg.pat {
        Pat::Wild(_) => true,
        Pat::Ident(name) => is_unused(&name.ident) && name.by_ref.is_none() && !is_named(&name.ident),
        _ => false,
    };
    if is_left {
        let name = format_ident!("__arg{index}", span = names.ours);
        *arg.pat = parse_quote!(#name);
        return Some(vec![name.into_token_stream()]);
    }
    let mut found = Vec::new();
    bound(&arg.pat, &mut found)?;
    // What is assigned to a captured variable and only dropped after, the compiler calls never read.
    let is_kept = |name: &&PatIdent| {
        let is_assigned = || name.mutability.is_some() && assigns(body.statements.clone(), &name.ident);
        !is_unused(&name.ident) && is_named(&name.ident) && !is_assigned()
    };
    (!found.is_empty() && found.iter().all(is_kept))
        .then(|| found.into_iter().map(|name| name.ident.to_token_stream()).collect())
}

/// Is there anything like `name = ..`, `name.part[0] = ..` or `name += ..`?
fn assigns(tokens: TokenStream, name: &Ident) -> bool {
    let mut tokens = tokens.into_iter().peekable();
    let mut is_place = false;
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Group(group) if is_place && group.delimiter() == Delimiter::Bracket => {
                if assigns(group.stream(), name) {
                    return true;
                }
            }
            TokenTree::Group(group) => {
                if assigns(group.stream(), name) {
                    return true;
                }
                is_place = false;
            }
            TokenTree::Ident(ident) => is_place = is_place || ident == *name,
            TokenTree::Literal(_) => {}
            TokenTree::Punct(sign) if !is_place || sign.as_char() == '.' => {}
            TokenTree::Punct(sign) => {
                let (first, mut signs) = (sign.as_char(), vec![sign.clone()]);
                while signs.last().is_some_and(|last| last.spacing() == Spacing::Joint) {
                    match tokens.next() {
                        Some(TokenTree::Punct(next)) => signs.push(next),
                        _ => break,
                    }
                }
                let ends_so = signs.len() > 1 && signs.last().is_some_and(|last| last.as_char() == '=');
                let is_operation = ends_so && (!matches!(first, '=' | '<' | '>' | '!') || signs.len() > 2);
                if is_operation || (signs.len() == 1 && first == '=') {
                    return true;
                }
                is_place = false;
            }
        }
    }
    false
}

/// May this attribute, which stands below ours, want to see `async`? All may, but those that are known not to.
/// `must_use` speaks about what is awaited on an `async fn`, and about the future on others.
fn keeps_async(attr: &Attribute) -> bool {
    const INERT: [&str; 13] = [
        "allow",
        "cfg",
        "cold",
        "deny",
        "deprecated",
        "doc",
        "expect",
        "forbid",
        "inline",
        "no_mangle",
        "optimize",
        "coverage",
        "warn",
    ];
    fn is_inert(meta: &Meta) -> bool {
        let path = meta.path();
        let tool = path.segments.first().map(|first| first.ident.to_string());
        path.get_ident()
            .is_some_and(|name| INERT.iter().any(|inert| name == inert))
            || (path.segments.len() > 1 && matches!(tool.as_deref(), Some("clippy" | "rustfmt" | "diagnostic")))
    }
    if attr.path().is_ident("cfg_attr") {
        let parts = attr.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated);
        return !parts.is_ok_and(|parts| parts.iter().skip(1).all(is_inert));
    }
    !is_inert(&attr.meta)
}

/// A function that returns a future: its own run and the polls of the future are one call.
///
/// ```text
/// fn f(..) -> impl Future<Output = R> { statements  future }      fn f(..) -> Pin<Box<dyn Future<Output = R>>> { .. }
/// =>
/// {                                                               { ..
///     SITE                                                            Box::pin(carry(async move { .. }, ..))
///     let mut __call = Turn::new(&SITE);                          }
///     let __guard = __call.enter();
///     { statements  carry(future, __guard, __call) }        
/// }
/// ```
/// Each `return` is written likewise. Where nothing runs before the future, it is `track(&SITE, future)`.
/// `None` when the function returns no future that can be wrapped: it is a sync function then.
///
/// LIMIT: a box around the future is charged to the caller.
pub(crate) fn returned_future(
    names: &Names,
    has_loops: bool,
    sig: &mut Signature,
    body: &RawBody,
) -> Option<TokenStream> {
    let opaque = is_opaque_future(&sig.output);
    let is_named = matches!(&sig.output, ReturnType::Type(_, ty) if is_boxed_future(ty));
    // Most functions are none of these: do not parse their bodies.
    if !opaque && !is_named && !mentions(body.statements.clone(), "async") {
        return None;
    }
    let mut statements = Block::parse_within.parse2(body.statements.clone()).ok()?;
    // LIMIT: with a budget, the call is the future; what runs before it belongs to the caller.
    let runs_before = !is_only_a_block(&statements) && !names.has_budget();
    let mut wrap = Wrap {
        names,
        has_loops,
        opaque,
        is_named,
        runs_before,
        hint: future_output(&sig.output).map(|ty| type_hint(names, &ty)),
        found: 0,
    };
    wrap.returns(&mut statements);
    match statements.last_mut() {
        Some(Stmt::Expr(last, None)) => wrap.place(last),
        Some(Stmt::Macro(last)) if last.semi_token.is_none() && opaque && !diverges(&last.mac.path) => {
            let mut value = Expr::Verbatim(last.to_token_stream());
            wrap.place(&mut value);
            statements.pop();
            statements.push(Stmt::Expr(value, None));
        }
        _ => {}
    }
    if wrap.found == 0 {
        return None;
    }
    let ours = names.ours;
    let mut inside = TokenStream::new();
    body.brace.surround(&mut inside, |tokens| {
        tokens.extend(quote_spanned!(ours=> ; #(#statements)*))
    });
    if !runs_before {
        return Some(quote_spanned!(ours=> #inside));
    }
    let (runtime, site) = (&names.runtime, &names.static_name);
    let moves = move_arguments(names, sig, 0, |ty| !is_borrowed(ty));
    Some(quote_spanned! {ours=>
        let mut __call = #runtime::Turn::new(&#site);
        let __guard = __call.enter();
        #moves
        #inside
    })
}

/// Puts a wrapper around every expression whose value the function returns.
struct Wrap<'a> {
    names: &'a Names,
    has_loops: bool,
    /// The function returns `impl Future`: every value it returns is a future. Else those that are boxed here are.
    opaque: bool,
    /// The return type says that it is a future.
    is_named: bool,
    runs_before: bool,
    hint: Option<TokenStream>,
    found: usize,
}

impl Wrap<'_> {
    fn returns(&mut self, statements: &mut [Stmt]) {
        struct Returns<'a, 'b>(&'a mut Wrap<'b>);
        impl VisitMut for Returns<'_, '_> {
            fn visit_expr_return_mut(&mut self, returned: &mut ExprReturn) {
                visit_mut::visit_expr_return_mut(self, returned);
                if let Some(value) = &mut returned.expr {
                    self.0.place(value);
                }
            }
            fn visit_expr_closure_mut(&mut self, _: &mut ExprClosure) {}
            fn visit_expr_async_mut(&mut self, _: &mut ExprAsync) {}
            fn visit_item_mut(&mut self, _: &mut Item) {}
        }
        for statement in statements {
            Returns(self).visit_stmt_mut(statement);
        }
    }

    /// The value of `expr` is returned.
    fn place(&mut self, expr: &mut Expr) {
        match expr {
            Expr::Return(_) | Expr::Break(_) | Expr::Continue(_) | Expr::Infer(_) => {}
            Expr::Macro(call) if diverges(&call.mac.path) => {}
            Expr::Loop(endless) if !mentions(endless.body.to_token_stream(), "break") => {}
            _ if self.opaque => self.future(expr),
            Expr::Block(block) => self.tail(&mut block.block),
            Expr::Unsafe(block) => self.tail(&mut block.block),
            Expr::If(choice) => {
                self.tail(&mut choice.then_branch);
                if let Some((_, otherwise)) = &mut choice.else_branch {
                    self.place(otherwise);
                }
            }
            Expr::Match(choice) => {
                for arm in &mut choice.arms {
                    self.place(&mut arm.body);
                }
            }
            Expr::Cast(cast) => self.place(&mut cast.expr),
            Expr::Paren(paren) => self.place(&mut paren.expr),
            Expr::Async(_) => self.future(expr),
            Expr::Call(call) => {
                let Expr::Path(callee) = &*call.func else { return };
                let mut names = callee.path.segments.iter().rev().map(|segment| &segment.ident);
                let (last, before) = (names.next(), names.next());
                let boxes = before.is_some_and(|name| name == "Box")
                    && last.is_some_and(|name| name == "pin" || (name == "new" && self.is_named));
                match call.args.first_mut() {
                    Some(future) if boxes && (self.is_named || matches!(future, Expr::Async(_))) => self.future(future),
                    _ => {}
                }
            }
            Expr::MethodCall(call)
                if self.is_named
                    && (call.method == "boxed" || call.method == "boxed_local")
                    && call.args.is_empty() =>
            {
                self.future(&mut call.receiver);
            }
            _ => {}
        }
    }

    fn tail(&mut self, block: &mut Block) {
        if let Some(Stmt::Expr(last, None)) = block.stmts.last_mut() {
            self.place(last);
        }
    }

    fn future(&mut self, future: &mut Expr) {
        self.found += 1;
        if let Expr::Async(block) = future {
            if self.has_loops {
                loops::instrument(self.names, Context::Async, &mut block.block.stmts);
            }
            if let Some(hint) = &self.hint {
                block
                    .block
                    .stmts
                    .insert(0, Stmt::Expr(Expr::Verbatim(hint.clone()), None));
            }
        }
        let ours = self.names.at(future);
        let runtime = self.names.runtime_at(ours);
        *future = Expr::Verbatim(if self.runs_before {
            quote_spanned!(ours=> #runtime::carry(#future, __guard, __call))
        } else {
            self.names.track(future)
        });
    }
}

/// Nothing runs when the function is called: it is `{ async { .. } }` or `{ Box::pin(async { .. }) }`.
fn is_only_a_block(statements: &[Stmt]) -> bool {
    match statements {
        [Stmt::Expr(Expr::Async(_), None)] => true,
        [Stmt::Expr(Expr::Call(call), None)] => matches!(call.args.first(), Some(Expr::Async(_))),
        _ => false,
    }
}

/// `impl Future<Output = R>`, with nothing else but bounds that the wrapper passes on.
fn is_opaque_future(output: &ReturnType) -> bool {
    let ReturnType::Type(_, ty) = output else { return false };
    let Type::ImplTrait(opaque) = &**ty else { return false };
    let mut is_future = false;
    opaque.bounds.iter().all(|bound| match bound {
        TypeParamBound::Trait(bound) => {
            let last = bound.path.segments.last();
            let is = |name: &str| last.is_some_and(|last| last.ident == name);
            is_future |= is("Future");
            is("Future") || is("Send") || is("Sync") || is("Unpin") || is("UnwindSafe") || is("RefUnwindSafe")
        }
        _ => true,
    }) && is_future
}

/// `Pin<Box<dyn Future<..>>>`, `BoxFuture<'a, T>`, `Self::Future`, or a part of them: a type that is a future and may be a box. Not one that merely
/// has one in it, as the box of a function that returns futures.
fn is_boxed_future(ty: &Type) -> bool {
    let says_future = |path: &syn::Path| {
        let last = path.segments.last().map(|last| last.ident.to_string());
        matches!(last.as_deref(), Some("Future" | "BoxFuture" | "LocalBoxFuture"))
    };
    match ty {
        Type::Group(group) => is_boxed_future(&group.elem),
        Type::Paren(paren) => is_boxed_future(&paren.elem),
        Type::TraitObject(object) => object
            .bounds
            .iter()
            .any(|bound| matches!(bound, TypeParamBound::Trait(bound) if says_future(&bound.path))),
        Type::Path(path) => {
            let wraps = |last: &syn::PathSegment| last.ident == "Pin" || last.ident == "Box";
            match path.path.segments.last() {
                Some(last) if wraps(last) => matches!(&last.arguments, PathArguments::AngleBracketed(inner)
                    if matches!(inner.args.first(), Some(GenericArgument::Type(inner)) if is_boxed_future(inner))),
                _ => says_future(&path.path),
            }
        }
        _ => false,
    }
}

fn diverges(mac: &syn::Path) -> bool {
    let last = mac.segments.last();
    last.is_some_and(|last| {
        ["todo", "unimplemented", "panic", "unreachable"]
            .iter()
            .any(|name| last.ident == name)
    })
}

/// What tells the compiler the type of a block that is to return what a function returns; and whether that is `!`, which no
/// hint may name: `Never` says the same, and gives the `!` back.
pub(crate) fn return_hint(names: &Names, output: &ReturnType) -> (TokenStream, bool) {
    match output {
        ReturnType::Default => (type_hint(names, &parse_quote!(())), false),
        ReturnType::Type(_, ty) if matches!(**ty, Type::Never(_)) => {
            let runtime = &names.runtime;
            (type_hint(names, &parse_quote!(#runtime::Never)), true)
        }
        ReturnType::Type(_, ty) => (type_hint(names, ty), false),
    }
}

/// `if let Some(r) = None::<R> { return r; }`, with every `impl Trait` in `R` left open. It stands where the return
/// type stands, so that a mismatch in the body is explained with that place.
fn type_hint(names: &Names, ty: &Type) -> TokenStream {
    let mut ty = ty.clone();
    LeaveImplTraitOpen.visit_type_mut(&mut ty);
    let place = ty
        .to_token_stream()
        .into_iter()
        .next()
        .map_or(names.ours, |first| names.ours.located_at(first.span()));
    quote_spanned! {place=>
        if let ::core::option::Option::Some(__value) = ::core::option::Option::None::<#ty> {
            return __value;
        }
    }
}

struct LeaveImplTraitOpen;

impl VisitMut for LeaveImplTraitOpen {
    fn visit_type_mut(&mut self, ty: &mut Type) {
        if let Type::ImplTrait(_) = ty {
            *ty = parse_quote!(_);
        } else {
            visit_type_mut(self, ty);
        }
    }
}

/// `R` of `impl Future<Output = R>` and of `Pin<Box<dyn Future<Output = R>>>`, wherever it stands in the return type.
fn future_output(output: &ReturnType) -> Option<Type> {
    struct FindOutput(Option<Type>);
    impl VisitMut for FindOutput {
        fn visit_type_param_bound_mut(&mut self, bound: &mut TypeParamBound) {
            let TypeParamBound::Trait(bound) = bound else { return };
            let Some(last) = bound.path.segments.last().filter(|last| last.ident == "Future") else {
                return;
            };
            let PathArguments::AngleBracketed(arguments) = &last.arguments else {
                return;
            };
            let output = arguments.args.iter().find_map(|argument| match argument {
                GenericArgument::AssocType(output) if output.ident == "Output" => Some(output.ty.clone()),
                _ => None,
            });
            self.0 = self.0.take().or(output);
        }
    }
    let ReturnType::Type(_, ty) = output else { return None };
    let mut find = FindOutput(None);
    find.visit_type_mut(&mut ty.as_ref().clone());
    find.0.filter(|ty| !matches!(ty, Type::Never(_)))
}
