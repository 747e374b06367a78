//! `tracked!(..)`: the same for closures and `async` blocks, above which no attribute can stand.
//!
//! Called by the entry point. The closure stays what it was: what it captures, and which of the `Fn` traits it has.
//!
//! LIMIT: the types of a closure's arguments may be unknown here, so every argument is moved behind the guard.
#![forbid(unsafe_code)]

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote_spanned};
use syn::parse::{ParseStream, Parser};
use syn::spanned::Spanned;
use syn::{Error, Expr, ExprAsync, ExprClosure, Pat, Result, Token};

use crate::args::Args;
use crate::expand::move_pattern;
use crate::loops::{self, Context};
use crate::names::Names;

const ACCEPTED: &str = "`tracked!` accepts a closure or an `async` block, after its arguments: write `tracked!(name = \
                        \"parse\", |line| ..)`";

/// What stands between the parentheses of `tracked!`.
pub(crate) struct Tracked {
    args: Args,
    expr: Expr,
}

impl Tracked {
    pub(crate) fn parse(tokens: TokenStream) -> Result<Self> {
        Self::read.parse2(tokens)
    }

    fn read(input: ParseStream<'_>) -> Result<Self> {
        let args = Args::read(input, |input| input.is_empty() || starts_expression(input))?;
        if let Some(span) = args.span_of("skip") {
            let message = "found `skip` in `tracked!`, which it would undo; write the closure alone";
            return Err(Error::new(span, message));
        }
        if input.is_empty() {
            return Err(Error::new(
                Span::call_site(),
                format!("found nothing to track; {ACCEPTED}"),
            ));
        }
        let expr: Expr = input.parse()?;
        input.parse::<Option<Token![,]>>()?;
        if !input.is_empty() {
            return Err(input.error(format!("found more after the closure; {ACCEPTED}")));
        }
        match &expr {
            Expr::Closure(closure) => match &closure.constness {
                None => Ok(Self { args, expr }),
                Some(keyword) => Err(Error::new(
                    keyword.span,
                    "found a `const` closure; `tracked!` accepts closures that run only in the program, because a \
                     scope is entered at run time; write it without `const`",
                )),
            },
            Expr::Async(_) => Ok(Self { args, expr }),
            other => Err(Error::new_spanned(
                other,
                format!("found another expression; {ACCEPTED}"),
            )),
        }
    }

    /// The expression as it was written.
    pub(crate) fn untracked(self) -> TokenStream {
        self.expr.into_token_stream()
    }

    pub(crate) fn expand(self) -> TokenStream {
        let Self { args, expr } = self;
        match expr {
            Expr::Closure(closure) => closure_in_scope(&args, closure),
            Expr::Async(block) => {
                let names = Names::of_expression(&args, "async", block.async_token.span);
                let (site, future) = (names.site(), async_in_scope(&args, &names, block));
                quote_spanned!(names.ours=> { #site #future })
            }
            other => other.into_token_stream(),
        }
    }
}

/// Arguments of `tracked!` start with a name; so does no closure, and of the expressions only those it refuses anyway.
fn starts_expression(input: ParseStream<'_>) -> bool {
    let is_argument = input.peek(syn::Ident) && (input.peek2(Token![,]) || input.peek2(Token![=]) || is_list(input));
    let is_crate = input.peek(Token![crate]) && input.peek2(Token![=]);
    !is_argument && !is_crate
}

fn is_list(input: ParseStream<'_>) -> bool {
    input.peek(syn::Ident) && input.peek2(syn::token::Paren)
}

fn async_in_scope(args: &Args, names: &Names, mut block: ExprAsync) -> TokenStream {
    if args.has_loops {
        loops::instrument(names, Context::Async, &mut block.block.stmts);
    }
    names.track(&block)
}

/// ```text
/// move |a, (b, _)| body
/// =>
/// move |a, __arg1| { SITE  let __guard = enter(&SITE); let a = a; let __arg1 = __arg1; let (b, _) = __arg1; { body } }
///
/// |a| async move { body }      =>   |a| { SITE  track(&SITE, async move { body }) }
/// async |a| body               =>   async |a| { SITE  track(&SITE, async { let a = a; { body } }).await }
/// ```
fn closure_in_scope(args: &Args, mut closure: ExprClosure) -> TokenStream {
    let names = Names::of_expression(args, "closure", closure.or1_token.span());
    let ours = names.ours;
    let site = names.site();
    let body = match *closure.body {
        Expr::Async(block) => {
            let future = async_in_scope(args, &names, block);
            quote_spanned!(ours=> { #site #future })
        }
        mut body => {
            let context = if closure.asyncness.is_some() {
                Context::Async
            } else {
                Context::Sync
            };
            if args.has_loops {
                let mut statement = [syn::Stmt::Expr(body, None)];
                loops::instrument(&names, context, &mut statement);
                let [statement] = statement;
                body = match statement {
                    syn::Stmt::Expr(body, _) => body,
                    other => Expr::Verbatim(other.into_token_stream()),
                };
            }
            let body = in_its_braces(&names, body);
            let mut moves = TokenStream::new();
            for (index, pat) in closure.inputs.iter_mut().enumerate() {
                let pat = match pat {
                    Pat::Type(typed) => &mut *typed.pat,
                    pat => pat,
                };
                moves.extend(move_pattern(&names, pat, index, &[], &[]));
            }
            if context == Context::Async {
                let future = names.track(&quote_spanned!(ours=> async { #moves #body }));
                quote_spanned!(ours=> { #site #future.await })
            } else {
                let enter = names.enter();
                quote_spanned!(ours=> { #site let __guard = #enter; #moves #body })
            }
        }
    };
    closure.body = Box::new(Expr::Verbatim(body));
    closure.into_token_stream()
}

/// A body as a block: its own, or a new one. The empty statement keeps the compiler from calling braces unnecessary.
fn in_its_braces(names: &Names, body: Expr) -> TokenStream {
    match body {
        Expr::Block(body) if body.attrs.is_empty() && body.label.is_none() => {
            let mut block = TokenStream::new();
            let statements = &body.block.stmts;
            body.block.brace_token.surround(&mut block, |inside| {
                inside.extend(quote_spanned!(names.ours=> ; #(#statements)*));
            });
            block
        }
        body => quote_spanned!(names.ours=> { ; #body }),
    }
}
