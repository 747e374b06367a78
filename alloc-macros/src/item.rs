//! The function under the attribute, read and kept as it was written.
//!
//! Called by the entry point; `validate` asks it questions and `expand` takes it apart. Attributes, visibility and
//! signature are parsed; the body stays raw tokens, so that code which `syn` cannot read (an unstable syntax, a line
//! half typed in an editor) still goes through to the compiler, which then reports it in its own words.
//! Rules are not here: a `const fn` or a missing body is read without complaint.
#![forbid(unsafe_code)]

use proc_macro2::{Span, TokenStream, TokenTree};
use syn::parse::{ParseStream, Parser};
use syn::{Attribute, Block, Error, Expr, Result, Signature, Stmt, Token, Visibility, braced, token};

/// The name of the static that every expansion puts first in a body. Its presence means "already tracked".
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

    fn read(input: ParseStream<'_>) -> Result<Self> {
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
        self.attrs.iter().find(|attr| {
            attr.path()
                .segments
                .last()
                .is_some_and(|last| last.ident == "track_memory")
        })
    }
}

impl RawBody {
    /// Does the body come out of an expansion of ours? Catches a second mark under another name.
    pub(crate) fn is_tracked(&self) -> bool {
        let mut tokens = self.statements.clone().into_iter();
        matches!(tokens.next(), Some(TokenTree::Ident(word)) if word == "static")
            && matches!(tokens.next(), Some(TokenTree::Ident(name)) if name == SITE)
    }

    /// The body of a function that ends in a future it builds, split before that future.
    ///
    /// ```text
    /// { let a = 1; Box::pin(async move { .. }) }   =>   [ let a = 1; ]  Box::pin( async move { .. } )
    /// { async { .. } }                             =>   [ ]  async { .. }
    /// anything else, unparsable code included      =>   None
    /// ```
    pub(crate) fn ends_in_future(&self) -> Option<(Vec<Stmt>, Expr)> {
        // Most bodies have no `async` in them: do not parse those.
        if !mentions_async(self.statements.clone()) {
            return None;
        }
        let mut statements = Block::parse_within.parse2(self.statements.clone()).ok()?;
        let Some(Stmt::Expr(mut last, None)) = statements.pop() else {
            return None;
        };
        async_block(&mut last)?;
        Some((statements, last))
    }
}

/// The `async` block that an expression is, or that it hands to `Box::pin`.
pub(crate) fn async_block(expr: &mut Expr) -> Option<&mut Expr> {
    match expr {
        Expr::Async(_) => Some(expr),
        Expr::Call(call) => {
            let Expr::Path(callee) = &*call.func else { return None };
            let mut names = callee.path.segments.iter().rev().map(|segment| &segment.ident);
            let boxes =
                names.next().is_some_and(|name| name == "pin") && names.next().is_some_and(|name| name == "Box");
            match call.args.first_mut() {
                Some(arg @ Expr::Async(_)) if boxes => Some(arg),
                _ => None,
            }
        }
        _ => None,
    }
}

fn mentions_async(tokens: TokenStream) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(word) => word == "async",
        TokenTree::Group(group) => mentions_async(group.stream()),
        TokenTree::Punct(_) | TokenTree::Literal(_) => false,
    })
}

/// The error for an item that is something else, as far as its first words tell.
fn not_a_function(input: ParseStream<'_>) -> Option<Error> {
    let many = |what: &str| Some((what.to_owned(), "write it above each function with a body in there"));
    let other = |what: &str| Some((what.to_owned(), "write it above a `fn`"));
    let rest = input.fork();
    let _: Result<Option<Token![unsafe]>> = rest.parse();
    let found = if rest.peek(Token![impl]) {
        many("an `impl` block")
    } else if rest.peek(Token![mod]) {
        many("a module")
    } else if rest.peek(Token![trait]) {
        many("a trait")
    } else if rest.peek(Token![extern]) && (rest.peek2(token::Brace) || rest.peek3(token::Brace)) {
        many("an `extern` block")
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
            format!("found {what}; `#[track_memory]` accepts a function or a method with a body; {how}"),
        )
    })
}
