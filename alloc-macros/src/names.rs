//! What generated code refers to: the runtime, the site of a scope and the ways to enter it.
//!
//! Used by every file that writes code. All of it has spans of this macro (`mixed_site`) and absolute paths; only a
//! name and a place that the compiler fills in (`module_path!`, `line!`) has the user's.
#![forbid(unsafe_code)]

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::ext::IdentExt;

use crate::args::Args;
use crate::item::SITE;

pub(crate) struct Names {
    /// `alloc_core::__private`, by absolute path or as the user said.
    pub(crate) runtime: TokenStream,
    /// An expression of type `&'static str`.
    name: TokenStream,
    /// The constructor of the site.
    kind: Ident,
    pub(crate) static_name: Ident,
    /// The static of the budget and its definition.
    budget: Option<(Ident, TokenStream)>,
    /// Where the function's name stands, in the user's own context: `line!` answers with this line.
    theirs: Span,
    /// The same place, in the macro's context.
    pub(crate) ours: Span,
}

impl Names {
    /// For a function: named after its module, the type around it if that is known, and itself.
    pub(crate) fn of_function(args: &Args, ident: &Ident) -> Self {
        let theirs = ident.span();
        let ident = ident.unraw();
        let path = match &args.owner {
            Some(owner) => format!("::{}::{ident}", owner.value()),
            None => format!("::{ident}"),
        };
        Self::new(
            args,
            theirs,
            quote_spanned!(theirs=> ::core::concat!(::core::module_path!(), #path)),
        )
    }

    /// For what has no name of its own: `module::closure@12`.
    pub(crate) fn of_expression(args: &Args, what: &str, theirs: Span) -> Self {
        let what = format!("::{what}@");
        let name = quote_spanned!(theirs=> ::core::concat!(::core::module_path!(), #what, ::core::line!()));
        Self::new(args, theirs, name)
    }

    fn new(args: &Args, theirs: Span, default_name: TokenStream) -> Self {
        let ours = Span::mixed_site().located_at(theirs);
        let runtime = match &args.krate {
            Some(path) => quote!(#path::__private),
            None => quote_spanned!(ours=> ::alloc_core::__private),
        };
        let budget = args.budget.as_ref().map(|budget| {
            let name = Ident::new("__ALLOCSCOPE_BUDGET", ours);
            let definition = budget.to_static(&name, &runtime, ours);
            (name, definition)
        });
        Self {
            runtime,
            budget,
            name: match &args.name {
                Some(name) => name.to_token_stream(),
                None => default_name,
            },
            kind: Ident::new(if args.is_request { "request" } else { "new" }, ours),
            static_name: Ident::new(SITE, ours),
            theirs,
            ours,
        }
    }

    /// `static SITE: ScopeSite = ..;`, and that of the budget, if there is one.
    pub(crate) fn site(&self) -> TokenStream {
        let mut site = self.make_site(&self.static_name, &self.kind, &self.name, self.theirs);
        site.extend(self.budget.iter().map(|(_, definition)| definition.clone()));
        site
    }

    pub(crate) fn has_budget(&self) -> bool {
        self.budget.is_some()
    }

    /// The site of a loop in the body: `f::for@12`.
    pub(crate) fn loop_site(&self, static_name: &Ident, keyword: &str, theirs: Span) -> TokenStream {
        let (name, what) = (&self.name, format!("::{keyword}@"));
        let name = quote_spanned!(theirs=> ::core::concat!(#name, #what, ::core::line!()));
        self.make_site(static_name, &Ident::new("turn", self.ours), &name, theirs)
    }

    fn make_site(&self, static_name: &Ident, kind: &Ident, name: &TokenStream, theirs: Span) -> TokenStream {
        let runtime = &self.runtime;
        let place = quote_spanned!(theirs=> ::core::file!(), ::core::line!());
        quote_spanned! {self.ours=>
            static #static_name: #runtime::ScopeSite = #runtime::ScopeSite::#kind(#name, #place);
        }
    }

    /// An expression that enters the scope, of the type of a guard.
    pub(crate) fn enter(&self) -> TokenStream {
        let Self {
            runtime, static_name, ..
        } = self;
        match &self.budget {
            Some((budget, _)) => quote_spanned!(self.ours=> #runtime::enter_with_budget(&#static_name, &#budget)),
            None => quote_spanned!(self.ours=> #runtime::enter(&#static_name)),
        }
    }

    /// An expression that makes `future` a future inside the scope.
    pub(crate) fn track(&self, future: &impl ToTokens) -> TokenStream {
        let (place, static_name) = (self.at(future), &self.static_name);
        let runtime = self.runtime_at(place);
        match &self.budget {
            Some((budget, _)) => quote_spanned!(place=> #runtime::track_with_budget(&#static_name, &#budget, #future)),
            None => quote_spanned!(place=> #runtime::track(&#static_name, #future)),
        }
    }

    /// The path of the runtime at another place: the compiler joins the places of an expression's tokens in its messages.
    pub(crate) fn runtime_at(&self, place: Span) -> TokenStream {
        let moved = self.runtime.clone().into_iter().map(|mut token| {
            token.set_span(token.span().located_at(place));
            token
        });
        moved.collect()
    }

    /// The macro's context, at the place of the user's code that is being wrapped: there mistakes about its type are shown.
    pub(crate) fn at(&self, code: &impl ToTokens) -> Span {
        let first = code.to_token_stream().into_iter().next();
        first.map_or(self.ours, |first| self.ours.located_at(first.span()))
    }

    /// A name that the user's code cannot see.
    pub(crate) fn hidden(&self, name: &str) -> Ident {
        format_ident!("__{name}", span = self.ours)
    }
}
