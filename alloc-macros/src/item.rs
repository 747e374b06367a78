//! The function under the attribute, read and kept as it was written.
//!
//! Called by the entry point; `validate` asks it questions and `expand` takes it apart. Attributes, visibility and
//! signature are parsed; the body stays raw tokens, so that code which `syn` cannot read (an unstable syntax, a line
//! half typed in an editor) still goes through to the compiler, which then reports it in its own words.
//! Rules are not here: a `const fn` or a missing body is read without complaint.
#![forbid(unsafe_code)]

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::parse::{ParseStream, Parser};
use syn::{Attribute, Error, Result, Signature, Token, Visibility, braced, token};

/// The name of the static that every expansion puts first in the block that a body then is. Its presence means "already tracked".
pub(crate) const SITE: &str = "__ALLOCSCOPE_SITE";

/// A function, a method or a function without a body.
pub(crate) struct TrackedFn {
    /// The attributes that stand below ours.
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) vis: Visibility,
    /// `default fn`, where specialization is switched on.
    pub(crate) defaultness: Option<Token![default]>,
    pub(crate) sig: Signature,
    pub(crate) body: Body,
}

pub(crate) enum Body {
    /// `fn f();` in a trait or an `extern` block.
    Missing(Token![;]),
    Raw(RawBody),
}

/// What stands between the braces.
pub(crate) struct RawBody {
    pub(crate) brace: token::Brace,
    /// `#![...]` at its start.
    pub(crate) inner_attrs: Vec<Attribute>,
    pub(crate) statements: TokenStream,
}

impl TrackedFn {
    pub(crate) fn parse(tokens: TokenStream) -> Result<Self> {
        Self::read.parse2(tokens)
    }

    /// Reads one function; what follows it stays in the input.
    pub(crate) fn read(input: ParseStream<'_>) -> Result<Self> {
        let attrs = input.call(Attribute::parse_outer)?;
        let vis: Visibility = input.parse()?;
        let defaultness = if input.peek(Token![default]) && !input.peek2(Token![!]) {
            input.parse()?
        } else {
            None
        };
        if let Some(error) = not_a_function(input) {
            return Err(error);
        }
        let sig: Signature = input.parse()?;
        let body = if input.peek(Token![;]) {
            Body::Missing(input.parse()?)
        } else {
            let content;
            let brace = braced!(content in input);
            let inner_attrs = content.call(Attribute::parse_inner)?;
            Body::Raw(RawBody {
                brace,
                inner_attrs,
                statements: content.parse()?,
            })
        };
        Ok(Self {
            attrs,
            vis,
            defaultness,
            sig,
            body,
        })
    }

    /// An attribute of ours that stands below the one being expanded.
    pub(crate) fn second_mark(&self) -> Option<&Attribute> {
        self.attrs.iter().find(|attr| is_mark(attr))
    }

    /// The attribute that makes the function a naked one.
    pub(crate) fn naked(&self) -> Option<&Attribute> {
        self.attrs.iter().find(|attr| {
            attr.path().is_ident("naked")
                || (attr.path().is_ident("unsafe")
                    && attr.parse_args::<syn::Ident>().is_ok_and(|inner| inner == "naked"))
        })
    }
}

/// Is it `#[track_memory]`, by whatever path?
pub(crate) fn is_mark(attr: &Attribute) -> bool {
    let last = attr.path().segments.last();
    last.is_some_and(|last| last.ident == "track_memory")
}

impl ToTokens for RawBody {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        self.brace.surround(tokens, |inside| {
            inside.extend(self.inner_attrs.iter().map(ToTokens::to_token_stream));
            inside.extend(self.statements.clone());
        });
    }
}

impl RawBody {
    /// Does the body come out of an expansion of ours? Catches a second mark under another name.
    pub(crate) fn is_tracked(&self) -> bool {
        let Some(TokenTree::Group(ours)) = self.statements.clone().into_iter().next() else {
            return false;
        };
        let mut tokens = ours.stream().into_iter();
        matches!(tokens.next(), Some(TokenTree::Ident(word)) if word == "static")
            && matches!(tokens.next(), Some(TokenTree::Ident(name)) if name == SITE)
    }
}

/// The error for an item that is something else, as far as its first words tell.
fn not_a_function(input: ParseStream<'_>) -> Option<Error> {
    let other = |what: &str| Some((what.to_owned(), "write it above a `fn`, an `impl`, a trait or a module"));
    let rest = input.fork();
    let _: Result<Option<Token![unsafe]>> = rest.parse();
    let found = if rest.peek(Token![mod]) {
        Some((
            "a module in another file".to_owned(),
            "write it above each function in there, or above a module with braces",
        ))
    } else if rest.peek(Token![extern]) && (rest.peek2(token::Brace) || rest.peek3(token::Brace)) {
        Some((
            "an `extern` block".to_owned(),
            "write it above the functions that call into it",
        ))
    } else if rest.peek(Token![extern]) && rest.peek2(Token![crate]) {
        other("an `extern crate`")
    } else if input.peek(Token![struct]) {
        other("a struct")
    } else if input.peek(Token![enum]) {
        other("an enum")
    } else if input.peek(Token![union]) {
        other("a union")
    } else if input.peek(Token![type]) {
        other("a type alias")
    } else if input.peek(Token![use]) {
        other("a `use`")
    } else if input.peek(Token![static]) {
        other("a static")
    } else if input.peek(Token![const]) && (input.peek2(syn::Ident) || input.peek2(Token![_])) {
        other("a constant")
    } else if input.peek(syn::Ident) && input.peek2(Token![!]) {
        other("a macro call")
    } else {
        None
    };
    found.map(|(what, how)| {
        let span = input
            .cursor()
            .token_tree()
            .map_or_else(Span::call_site, |(token, _)| token.span());
        Error::new(
            span,
            format!("found {what}; `#[track_memory]` accepts functions with a body, and blocks of them; {how}"),
        )
    })
}
