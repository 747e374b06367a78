//! Writes the tracked function.
//!
//! Called by the entry point with a function that passed every rule. Three shapes: a sync function gets a guard (here), an
//! `async fn` gets its body wrapped in a future, and a function that returns a future gets that future wrapped (both
//! in `futures`). `loops` works on the body before it is put into its shape.
//!
//! # Invariants
//! - Attributes and body keep their tokens, and with them their spans; the signature does, but for patterns, which move
//!   into the body, and for `async`, where that is equivalent (see `futures`). Where the signature was changed,
//!   documentation is made of the original.
//! - What is added has a span of this macro (`mixed_site`): the user's lints do not look at it, its guard cannot be
//!   named by the body, and its blocks have this crate's edition, in which a tail expression drops its temporaries
//!   before the block's locals. The user's body stands inside, with its own edition.
//! - The guard of a sync function never meets an `.await`.
//!
//! # Cost
//! At run time, what `__private::enter` and `__private::track` cost, and one move per by-value argument.
#![forbid(unsafe_code)]

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::parse::Parser;
use syn::{Attribute, Block, Error, FnArg, Pat, Result, Signature, Stmt, Type, parse_quote};

use crate::args::{Args, LOOPS};
use crate::futures;
use crate::item::{Body, RawBody, TrackedFn};
use crate::loops::{self, Context, mentions};
use crate::names::Names;

/// # Errors
/// When the body has to be understood and cannot be.
pub(crate) fn expand(args: &Args, function: TrackedFn) -> Result<TokenStream> {
    let TrackedFn {
        attrs,
        vis,
        defaultness,
        sig: written,
        body,
    } = function;
    let mut body = match body {
        Body::Raw(body) => body,
        // `validate` refuses these; unchanged is the honest result if it ever lets one through.
        Body::Missing(semicolon) => return Ok(quote!(#(#attrs)* #vis #defaultness #written #semicolon)),
    };
    let names = Names::of_function(args, &written.ident);
    let original = body.to_token_stream();
    let (mut sig, site) = (written.clone(), names.site());
    let context = if sig.asyncness.is_some() {
        Context::Async
    } else {
        Context::Sync
    };
    if args.has_loops {
        let mut statements = parse_for_loops(args, &body)?;
        loops::instrument(&names, context, &mut statements);
        // The loops of a returned future are instrumented where that future is found.
        body.statements = quote!(#(#statements)*);
    }
    let tracked = if context == Context::Async {
        futures::async_body(&names, &attrs, &mut sig, &body)
    } else if let Some(tracked) = futures::returned_future(&names, args.has_loops, &mut sig, &body) {
        tracked
    } else {
        sync_body(&names, &attrs, &mut sig, &body)
    };
    // Braces of the user's around those of ours: of a function that ends in a place of ours, the compiler takes all for ours, and says nothing
    // when nobody calls it.
    let inner_attrs = &body.inner_attrs;
    let ours = quote_spanned!(names.ours=> { #site #tracked });
    let mut block = TokenStream::new();
    body.brace
        .surround(&mut block, |inside| inside.extend(quote!(#(#inner_attrs)* #ours)));
    let (not_docs, docs) = if sig == written {
        (TokenStream::new(), TokenStream::new())
    } else {
        let docs = quote_spanned!(names.ours=> #[cfg(doc)] #(#attrs)* #vis #defaultness #written #original);
        (quote_spanned!(names.ours=> #[cfg(not(doc))]), docs)
    };
    Ok(quote_spanned! {names.ours=>
        #docs
        #not_docs #(#attrs)* #vis #defaultness #sig #block
    })
}

fn parse_for_loops(args: &Args, body: &RawBody) -> Result<Vec<Stmt>> {
    Block::parse_within.parse2(body.statements.clone()).map_err(|error| {
        let message = format!(
            "found a body that `loops` cannot read ({error}); `loops` accepts stable Rust; leave it out, or write \
             `let _turn = alloc_core::scope!(\"...\");` into the loop"
        );
        Error::new(args.span_of(LOOPS).unwrap_or_else(Span::call_site), message)
    })
}

/// ```text
/// fn f(a: A, mut b: B, (c, _): (C, D), e: &E) { body }
/// =>
/// fn f(a: A, b: B, __arg2: (C, D), e: &E) {
///     SITE
///     let __guard = enter(&SITE);
///     let a = a; let mut b = b; let __arg2 = __arg2; let (c, _) = __arg2;
///     { body }
/// }
/// ```
/// By-value arguments move behind the guard, so that they are dropped before it, in the order they would be
/// dropped in anyway. What a call granted and its argument frees on the way out is thus not "retained".
fn sync_body(names: &Names, attrs: &[Attribute], sig: &mut Signature, body: &RawBody) -> TokenStream {
    // A closure would be the caller that `#[track_caller]` names.
    let names_caller = attrs
        .iter()
        .any(|attr| mentions(attr.to_token_stream(), "track_caller"));
    if owns_receiver(sig) && mentions(body.statements.clone(), "self") && !names_caller {
        return owning_body(names, sig, body);
    }
    let moves = move_arguments(names, sig, 0, |ty| !is_borrowed(ty));
    let (enter, block) = (names.enter(), user_block(names, body));
    quote_spanned! {names.ours=>
        let __guard = #enter;
        #moves
        #block
    }
}

/// ```text
/// fn f(self, a: A) -> R { body }
/// =>
/// fn f(self, a: A) -> R {
///     SITE
///     let __guard = enter(&SITE);
///     let __once = Cell::new(());
///     (move || { let __once = __once; if let Some(r) = None::<R> { return r; } let _ = &self; let a = a; { body } })()
/// }
/// ```
/// `self` can be given no other name, and only a closure can own it under this one. `__once` makes it a closure that
/// is called once, which may hand out what it borrows from what `self` points to. What is captured drops after the
/// locals, as `self` does.
fn owning_body(names: &Names, sig: &mut Signature, body: &RawBody) -> TokenStream {
    let (hint, never) = futures::return_hint(names, &sig.output);
    let receiver = sig.receiver().map(|receiver| receiver.self_token);
    let moves = move_arguments(names, sig, 0, |_| true);
    let (enter, block) = (names.enter(), user_block(names, body));
    let call = quote_spanned! {names.ours=>
        (move || {
            let __once = __once;
            #hint
            let _ = &#receiver;
            #moves
            #block
        })()
    };
    let call = if never {
        quote_spanned!(names.ours=> #call.never())
    } else {
        call
    };
    quote_spanned! {names.ours=>
        let __guard = #enter;
        let __once = ::core::cell::Cell::new(());
        #call
    }
}

fn owns_receiver(sig: &Signature) -> bool {
    sig.receiver()
        .is_some_and(|receiver| receiver.reference.is_none() && !is_borrowed(&receiver.ty))
}

/// Attributes that set the level of lints.
const LINT_LEVELS: [&str; 5] = ["allow", "expect", "warn", "deny", "forbid"];

/// The `let` of each argument from the `first` on whose type is wanted; patterns leave the signature and stand in their
/// `let`.
pub(crate) fn move_arguments(
    names: &Names,
    sig: &mut Signature,
    first: usize,
    wanted: fn(&Type) -> bool,
) -> TokenStream {
    let mut moves = TokenStream::new();
    for (index, arg) in sig.inputs.iter_mut().enumerate().skip(first) {
        let FnArg::Typed(arg) = arg else { continue };
        if !wanted(&arg.ty) {
            continue;
        }
        // What is written about an argument must vanish together with it, and lints are about the name that the body sees.
        let is_lint = |attr: &Attribute| LINT_LEVELS.iter().any(|level| attr.path().is_ident(level));
        let (lints, others) = std::mem::take(&mut arg.attrs).into_iter().partition(is_lint);
        arg.attrs = others;
        let cfgs: Vec<&Attribute> = arg.attrs.iter().filter(|attr| attr.path().is_ident("cfg")).collect();
        moves.extend(move_pattern(names, &mut arg.pat, index, &cfgs, &lints));
    }
    moves
}

/// ```text
/// a: A, mut b: B, (c, _): (C, D)
/// =>
/// a: A, b: B, __arg2: (C, D)      let a = a; let mut b = b; let __arg2 = __arg2; let (c, _) = __arg2;
/// ```
pub(crate) fn move_pattern(
    names: &Names,
    pat: &mut Pat,
    index: usize,
    cfgs: &[&Attribute],
    lints: &[Attribute],
) -> TokenStream {
    let ours = names.ours;
    match pat {
        Pat::Ident(name) if name.by_ref.is_none() && name.subpat.is_none() && !is_unused(&name.ident) => {
            // The `mut` moves along, or the compiler calls the one in the signature unused.
            let mutability = name.mutability.take();
            let name = &name.ident;
            quote_spanned!(ours=> #(#cfgs)* #[allow(clippy::shadow_same)] #(#lints)* let #mutability #name = #name;)
        }
        pattern => {
            let name = format_ident!("__arg{index}", span = ours);
            let pattern = std::mem::replace(pattern, parse_quote!(#name));
            let last = match pattern {
                // The tuple is for clippy, which finds `let _a = b` pointless.
                Pat::Ident(_) => quote_spanned!(ours=> let (#pattern,) = (#name,);),
                // Here it would drop what the pattern leaves out.
                _ => quote_spanned!(ours=> let #pattern = #name;),
            };
            quote_spanned!(ours=> #(#cfgs)* let #name = #name; #(#cfgs)* #(#lints)* #last)
        }
    }
}

/// The body in its own braces, which carry the user's span and edition. The empty statement keeps the compiler from
/// calling the braces of a one-line body unnecessary.
pub(crate) fn user_block(names: &Names, body: &RawBody) -> TokenStream {
    let statements = &body.statements;
    let mut block = TokenStream::new();
    body.brace.surround(&mut block, |inside| {
        inside.extend(quote_spanned!(names.ours=> ; #statements));
    });
    block
}

pub(crate) fn is_unused(name: &Ident) -> bool {
    name.to_string().starts_with('_')
}

/// References and pointers own nothing that could be freed.
pub(crate) fn is_borrowed(ty: &Type) -> bool {
    match ty {
        Type::Reference(_) | Type::Ptr(_) => true,
        Type::Group(group) => is_borrowed(&group.elem),
        Type::Paren(paren) => is_borrowed(&paren.elem),
        // `Pin<&mut Self>`
        Type::Path(path) => path.path.segments.last().is_some_and(|last| {
            last.ident == "Pin"
                && matches!(&last.arguments, syn::PathArguments::AngleBracketed(args)
                    if matches!(args.args.first(), Some(syn::GenericArgument::Type(Type::Reference(_)))))
        }),
        _ => false,
    }
}
