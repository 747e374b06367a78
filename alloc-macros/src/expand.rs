//! Writes the tracked function.
//!
//! Called by the entry point with a function that passed every rule; it cannot fail. Three shapes: a sync function gets
//! a guard, an `async fn` gets its body wrapped in a future, a function that ends in a future gets that future wrapped.
//!
//! # Invariants
//! - Signature, attributes and body keep their tokens, and with them their spans.
//! - What is added has a span of this macro (`mixed_site`): the user's lints do not look at it, its guard cannot be
//!   named by the body, and its blocks have this crate's edition, in which a tail expression drops its temporaries
//!   before the block's locals. The user's body stands inside, with its own edition.
//! - The guard of a sync function never meets an `.await`.
//!
//! # Cost
//! At run time, what `__private::enter` and `__private::track` cost, and one move per by-value argument. An
//! `async fn` hands its arguments from the outer future to the tracked one, so it grows by their size and by that of
//! the wrapper.
#![forbid(unsafe_code)]

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::visit_mut::{VisitMut, visit_type_mut};
use syn::{
    Attribute, Expr, FnArg, GenericArgument, Pat, PathArguments, ReturnType, Signature, Stmt, Type, TypeParamBound,
    parse_quote,
};

use crate::args::Args;
use crate::item::{Body, RawBody, SITE, TrackedFn, async_block};

pub(crate) fn expand(args: &Args, mut function: TrackedFn) -> TokenStream {
    let body = match function.body {
        Body::Raw(body) => body,
        // `validate` refuses these; unchanged is the honest result if it ever lets one through.
        Body::Missing(semicolon) => {
            let TrackedFn {
                attrs,
                vis,
                defaultness,
                sig,
                ..
            } = function;
            return quote!(#(#attrs)* #vis #defaultness #sig #semicolon);
        }
    };
    let names = Names::new(args, &function.sig.ident);
    let inner_attrs = &body.inner_attrs;
    let site = names.site();
    let tracked = if function.sig.asyncness.is_some() {
        names.async_body(&mut function.sig, &body)
    } else if let Some((statements, last)) = body.ends_in_future() {
        names.future_body(&function.sig.output, &statements, last)
    } else {
        names.sync_body(&mut function.sig, &body)
    };
    let TrackedFn {
        attrs,
        vis,
        defaultness,
        sig,
        ..
    } = function;
    quote_spanned! {names.ours=>
        #(#attrs)* #vis #defaultness #sig {
            #(#inner_attrs)*
            #site
            #tracked
        }
    }
}

/// What the generated code refers to.
struct Names {
    /// `alloc_core::__private`, by absolute path or as the user said.
    runtime: TokenStream,
    /// An expression of type `&'static str`.
    name: TokenStream,
    static_name: Ident,
    /// Where the function's name stands, in the user's own context: `line!` answers with this line.
    theirs: Span,
    /// The same place, in the macro's context.
    ours: Span,
}

impl Names {
    fn new(args: &Args, ident: &Ident) -> Self {
        let theirs = ident.span();
        let ours = Span::mixed_site().located_at(theirs);
        let runtime = match &args.krate {
            Some(path) => quote!(#path::__private),
            None => quote_spanned!(ours=> ::alloc_core::__private),
        };
        let name = match &args.name {
            Some(name) => name.to_token_stream(),
            None => {
                let ident = ident.unraw().to_string();
                quote_spanned!(theirs=> ::core::concat!(::core::module_path!(), "::", #ident))
            }
        };
        Self {
            runtime,
            name,
            static_name: Ident::new(SITE, ours),
            theirs,
            ours,
        }
    }

    fn site(&self) -> TokenStream {
        let Self {
            runtime,
            name,
            static_name,
            ..
        } = self;
        let place = quote_spanned!(self.theirs=> ::core::file!(), ::core::line!());
        quote_spanned! {self.ours=>
            static #static_name: #runtime::ScopeSite = #runtime::ScopeSite::new(#name, #place);
        }
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
    ///
    /// LIMIT: a receiver cannot be moved under its own name; what `self` or `Box<Self>` owns is dropped after the scope.
    fn sync_body(&self, sig: &mut Signature, body: &RawBody) -> TokenStream {
        let Self {
            runtime, static_name, ..
        } = self;
        let moves = self.move_arguments(sig, |ty| !is_borrowed(ty));
        let block = self.user_block(body);
        quote_spanned! {self.ours=>
            let __guard = #runtime::enter(&#static_name);
            #moves
            #block
        }
    }

    /// ```text
    /// async fn f(self, a: A, (b, _): (B, C)) -> R { body }
    /// =>
    /// async fn f(self, a: A, __arg2: (B, C)) -> R {
    ///     SITE
    ///     track(&SITE, async move {
    ///         if let Some(r) = None::<R> { return r; }
    ///         let _ = &self;
    ///         let a = a; let __arg2 = __arg2; let (b, _) = __arg2;
    ///         { body }
    ///     }).await
    /// }
    /// ```
    /// The `if` tells the compiler the type of the block before it reads the body, as a signature would. The moves are
    /// those of the compiler's own `async fn`: every argument belongs to the tracked future, used or not, and drops in
    /// the same order. `let _ = &self` makes the future own the receiver; what is captured drops after the locals.
    fn async_body(&self, sig: &mut Signature, body: &RawBody) -> TokenStream {
        let Self {
            runtime, static_name, ..
        } = self;
        let never = matches!(&sig.output, ReturnType::Type(_, ty) if matches!(**ty, Type::Never(_)));
        // `!` is no type that a hint may name; the empty enum says the same, and matching on it gives the `!` back.
        let hint = match &sig.output {
            ReturnType::Default => self.type_hint(&parse_quote!(())),
            ReturnType::Type(..) if never => self.type_hint(&parse_quote!(::core::convert::Infallible)),
            ReturnType::Type(_, ty) => self.type_hint(ty),
        };
        let receiver = sig.receiver().map(|receiver| receiver.self_token).into_iter();
        let moves = self.move_arguments(sig, |_| true);
        let block = self.user_block(body);
        let call = quote_spanned! {self.ours=>
            #runtime::track(&#static_name, async move {
                #hint
                #(let _ = &#receiver;)*
                #moves
                #block
            }).await
        };
        if never {
            quote_spanned!(self.ours=> match #call {})
        } else {
            call
        }
    }

    /// The `let` of each argument whose type is wanted; patterns leave the signature and stand in their `let`, while
    /// plain names stay for the documentation to show.
    fn move_arguments(&self, sig: &mut Signature, wanted: fn(&Type) -> bool) -> TokenStream {
        let mut moves = TokenStream::new();
        for (index, arg) in sig.inputs.iter_mut().enumerate() {
            let FnArg::Typed(arg) = arg else { continue };
            if !wanted(&arg.ty) {
                continue;
            }
            // What is written about an argument must vanish together with it.
            let cfgs: Vec<&Attribute> = arg.attrs.iter().filter(|attr| attr.path().is_ident("cfg")).collect();
            moves.extend(match &mut *arg.pat {
                Pat::Ident(name) if name.by_ref.is_none() && name.subpat.is_none() && !is_unused(&name.ident) => {
                    // The `mut` moves along, or the compiler calls the one in the signature unused.
                    let mutability = name.mutability.take();
                    let name = &name.ident;
                    quote_spanned!(self.ours=> #(#cfgs)* #[allow(clippy::shadow_same)] let #mutability #name = #name;)
                }
                pattern => {
                    let name = format_ident!("__arg{index}", span = self.ours);
                    let pattern = std::mem::replace(pattern, parse_quote!(#name));
                    let last = match pattern {
                        // The tuple is for clippy, which finds `let _a = b` pointless.
                        Pat::Ident(_) => quote_spanned!(self.ours=> let (#pattern,) = (#name,);),
                        // Here it would drop what the pattern leaves out.
                        _ => quote_spanned!(self.ours=> let #pattern = #name;),
                    };
                    quote_spanned!(self.ours=> #(#cfgs)* let #name = #name; #(#cfgs)* #last)
                }
            });
        }
        moves
    }

    /// The body in its own braces, which carry the user's span and edition. The empty statement keeps the compiler from
    /// calling the braces of a one-line body unnecessary.
    fn user_block(&self, body: &RawBody) -> TokenStream {
        let statements = &body.statements;
        let mut block = TokenStream::new();
        body.brace.surround(&mut block, |inside| {
            inside.extend(quote_spanned!(self.ours=> ; #statements))
        });
        block
    }

    /// ```text
    /// fn f() -> Pin<Box<dyn Future<Output = R>>> { statements  Box::pin(async move { inner }) }
    /// =>
    /// fn f() -> Pin<Box<dyn Future<Output = R>>> {
    ///     SITE
    ///     { statements  Box::pin(track(&SITE, async move { if let Some(r) = None::<R> { return r; } inner })) }
    /// }
    /// ```
    /// LIMIT: what the function does before it returns the future, the box included, is charged to its caller: one call
    /// is one future.
    fn future_body(&self, output: &ReturnType, statements: &[Stmt], mut last: Expr) -> TokenStream {
        let Self {
            runtime, static_name, ..
        } = self;
        if let Some(slot) = async_block(&mut last) {
            if let (Expr::Async(block), Some(ty)) = (&mut *slot, future_output(output)) {
                let hint = self.type_hint(&ty);
                block.block.stmts.insert(0, Stmt::Expr(Expr::Verbatim(hint), None));
            }
            let future = slot.to_token_stream();
            *slot = Expr::Verbatim(quote_spanned!(self.ours=> #runtime::track(&#static_name, #future)));
        }
        quote_spanned!(self.ours=> { #(#statements)* #last })
    }

    /// `if let Some(r) = None::<R> { return r; }`, with every `impl Trait` in `R` left open. It stands where the return
    /// type stands, so that a mismatch in the body is explained with that place.
    fn type_hint(&self, ty: &Type) -> TokenStream {
        let mut ty = ty.clone();
        LeaveImplTraitOpen.visit_type_mut(&mut ty);
        let place = ty
            .to_token_stream()
            .into_iter()
            .next()
            .map_or(self.ours, |first| self.ours.located_at(first.span()));
        quote_spanned! {place=>
            if let ::core::option::Option::Some(__value) = ::core::option::Option::None::<#ty> {
                return __value;
            }
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

fn is_unused(name: &Ident) -> bool {
    name.to_string().starts_with('_')
}

/// References and pointers own nothing that could be freed.
fn is_borrowed(ty: &Type) -> bool {
    match ty {
        Type::Reference(_) | Type::Ptr(_) => true,
        Type::Group(group) => is_borrowed(&group.elem),
        Type::Paren(paren) => is_borrowed(&paren.elem),
        _ => false,
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
