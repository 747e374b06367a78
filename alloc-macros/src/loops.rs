//! `loops`: every loop of a body becomes a scope of its own, and every turn one call of it.
//!
//! Called by `expand` with a parsed body, before the body goes into its place. Loops in closures, in `async` blocks and in functions
//! inside the body are theirs, not the function's. Where a turn may wait, no guard is held meanwhile: see `awaited`.
//!
//! # Invariants
//! - A sync loop gets a guard; so does a loop of an async body that cannot wait. Else a turn is a `Turn`, which is
//!   plain data, and its guard is moved away before each `.await`: the future is `Send` exactly if it was.
//! - Only function calls are put around an `.await`, so temporaries live as long as they did.
//!
//! LIMIT: what a macro expands to is not seen. A macro that may await (any but the well-known ones that do not) runs
//! outside of the turn, in the function's scope; a loop inside a macro is no scope. A macro that has a well-known one's
//! name and awaits leaves the turn entered while it waits, and the turn then has no figures.
#![forbid(unsafe_code)]

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote_spanned};
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::visit_mut::{self, VisitMut};
use syn::{
    Block, Expr, ExprAsync, ExprAwait, ExprClosure, ExprConst, Item, Macro, Pat, Stmt, StmtMacro, Token, parse_quote,
};

use crate::names::Names;

/// Whether the code around a loop may contain `.await`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Context {
    Sync,
    Async,
}

/// Makes every loop in `statements` a scope.
pub(crate) fn instrument(names: &Names, context: Context, statements: &mut [Stmt]) {
    let mut loops = Loops {
        names,
        context,
        waiting: Vec::new(),
        count: 0,
    };
    loops.visit_statements(statements);
}

struct Loops<'a> {
    names: &'a Names,
    context: Context,
    /// The turns around the present place that no guard may outlive a wait in, outermost first, by number.
    waiting: Vec<usize>,
    count: usize,
}

impl Loops<'_> {
    /// ```text
    /// { body }
    /// =>
    /// { static L: ..; let __turn = enter(&L); { ; body } }
    /// { static L: ..; let mut __turn0 = Turn::new(&L); let mut __guard0 = __turn0.enter(); { ; body } }
    /// ```
    fn body(&mut self, keyword: &str, span: Span, unpack: Option<TokenStream>, body: &mut Block) {
        let (ours, runtime) = (self.names.ours, &self.names.runtime);
        let static_name = self.names.hidden("ALLOCSCOPE_LOOP");
        let site = self.names.loop_site(&static_name, keyword, span);
        let begin = if self.context == Context::Async && may_wait(body) {
            let number = self.count;
            self.count += 1;
            let (turn, guard) = (self.turn(number), self.guard(number));
            let begin = quote_spanned! {ours=>
                let mut #turn = #runtime::Turn::new(&#static_name);
                let mut #guard = #turn.enter();
            };
            self.waiting.push(number);
            self.visit_statements(&mut body.stmts);
            self.waiting.pop();
            begin
        } else {
            let guard = self.names.hidden("turn");
            let begin = quote_spanned!(ours=> let #guard = #runtime::enter(&#static_name););
            self.visit_statements(&mut body.stmts);
            begin
        };
        // The user's own braces, so that temporaries of the last expression die as they did in the user's edition.
        let mut inner = TokenStream::new();
        let statements = &body.stmts;
        body.brace_token.surround(&mut inner, |inside| {
            inside.extend(quote_spanned!(ours=> ; #(#statements)*));
        });
        body.stmts = vec![
            Stmt::Expr(Expr::Verbatim(quote_spanned!(ours=> #site #begin #unpack)), None),
            Stmt::Expr(Expr::Verbatim(inner), None),
        ];
    }

    fn turn(&self, number: usize) -> Ident {
        format_ident!("__turn{number}", span = self.names.ours)
    }

    fn guard(&self, number: usize) -> Ident {
        format_ident!("__guard{number}", span = self.names.ours)
    }

    /// ```text
    /// future.await
    /// =>
    /// between((), in_turn(in_turn(future, guard1, &mut turn1), guard0, &mut turn0).await,
    ///     { guard0 = turn0.enter(); guard1 = turn1.enter(); })
    /// ```
    /// The future is made inside the turn, polled inside the turn by its wrapper, and the guards are new after it.
    fn awaited(&self, wait: &ExprAwait) -> TokenStream {
        // Where the compiler explains a mistake about the value.
        let ours = self.names.ours.located_at(wait.await_token.span);
        let runtime = self.names.runtime_at(ours);
        let mut future = wait.base.to_token_stream();
        for &number in self.waiting.iter().rev() {
            let (turn, guard) = (self.turn(number), self.guard(number));
            future = quote_spanned!(ours=> #runtime::in_turn(#future, #guard, &mut #turn));
        }
        let dot = &wait.dot_token;
        let word = &wait.await_token;
        let enter = self.enter_again();
        quote_spanned!(ours=> #runtime::between((), #future #dot #word, { #enter }))
    }

    fn enter_again(&self) -> TokenStream {
        let pairs = self
            .waiting
            .iter()
            .map(|&number| (self.turn(number), self.guard(number)));
        pairs
            .map(|(turn, guard)| quote_spanned!(self.names.ours=> #guard = #turn.enter();))
            .collect()
    }

    fn leave_all(&self) -> TokenStream {
        let pairs = self.waiting.iter().rev();
        let pairs = pairs.map(|&number| (self.turn(number), self.guard(number)));
        pairs
            .map(|(turn, guard)| quote_spanned!(self.names.ours=> #turn.leave(#guard);))
            .collect()
    }

    fn visit_statements(&mut self, statements: &mut [Stmt]) {
        let last = statements.len().wrapping_sub(1);
        for (at, statement) in statements.iter_mut().enumerate() {
            self.statement(statement, at == last);
        }
    }

    fn statement(&mut self, statement: &mut Stmt, is_last: bool) {
        let Stmt::Macro(StmtMacro { attrs, mac, semi_token }) = statement else {
            return visit_mut::visit_stmt_mut(self, statement);
        };
        if self.waiting.is_empty() || !self.leaves_turn(mac) {
            return;
        }
        let ours = self.names.ours;
        // A macro in the place of a statement may declare variables, so it has to stay one.
        *statement = if is_last && semi_token.is_none() {
            Stmt::Expr(
                Expr::Verbatim(self.outside(&quote_spanned!(ours=> #(#attrs)* #mac))),
                None,
            )
        } else {
            let (leave, enter) = (self.leave_all(), self.enter_again());
            Stmt::Expr(
                Expr::Verbatim(quote_spanned!(ours=> #leave #(#attrs)* #mac #semi_token #enter)),
                None,
            )
        };
    }

    /// `between({ turn.leave(guard); }, value, { guard = turn.enter(); })`
    fn outside(&self, value: &TokenStream) -> TokenStream {
        let (leave, enter) = (self.leave_all(), self.enter_again());
        let ours = self.names.at(value);
        let runtime = self.names.runtime_at(ours);
        quote_spanned!(ours=> #runtime::between({ #leave }, #value, { #enter }))
    }

    /// True when a macro may wait at a place that cannot be seen. Rewrites those it can see.
    fn leaves_turn(&mut self, mac: &mut Macro) -> bool {
        if !is_well_known(mac) {
            return true;
        }
        if !mentions(mac.tokens.clone(), "await") {
            return false;
        }
        let arguments = Punctuated::<Expr, Token![,]>::parse_terminated.parse2(mac.tokens.clone());
        let Ok(mut arguments) = arguments else { return true };
        arguments.iter_mut().for_each(|argument| self.visit_expr_mut(argument));
        mac.tokens = arguments.into_token_stream();
        false
    }
}

impl VisitMut for Loops<'_> {
    fn visit_block_mut(&mut self, block: &mut Block) {
        self.visit_statements(&mut block.stmts);
    }

    fn visit_expr_mut(&mut self, expr: &mut Expr) {
        match expr {
            Expr::ForLoop(each) => {
                self.visit_expr_mut(&mut each.expr);
                // The loop variable moves into the turn, so that what it owns is dropped there.
                let unpack = if matches!(*each.pat, Pat::Wild(_)) {
                    None
                } else {
                    let item = self.names.hidden("item");
                    let pat = std::mem::replace(&mut *each.pat, parse_quote!(#item));
                    Some(quote_spanned!(self.names.ours=> let #pat = #item;))
                };
                self.body("for", each.for_token.span, unpack, &mut each.body);
            }
            Expr::While(whilst) => {
                self.visit_expr_mut(&mut whilst.cond);
                self.body("while", whilst.while_token.span, None, &mut whilst.body);
            }
            Expr::Loop(endless) => self.body("loop", endless.loop_token.span, None, &mut endless.body),
            Expr::Await(wait) if !self.waiting.is_empty() => {
                self.visit_expr_mut(&mut wait.base);
                *expr = Expr::Verbatim(self.awaited(wait));
            }
            Expr::Macro(call) if !self.waiting.is_empty() => {
                if self.leaves_turn(&mut call.mac) {
                    *expr = Expr::Verbatim(self.outside(&call.to_token_stream()));
                }
            }
            _ => visit_mut::visit_expr_mut(self, expr),
        }
    }

    fn visit_stmt_mut(&mut self, statement: &mut Stmt) {
        self.statement(statement, false);
    }

    // Code that runs at another time, or as another function.
    fn visit_expr_closure_mut(&mut self, _: &mut ExprClosure) {}
    fn visit_expr_async_mut(&mut self, _: &mut ExprAsync) {}
    fn visit_expr_const_mut(&mut self, _: &mut ExprConst) {}
    fn visit_item_mut(&mut self, _: &mut Item) {}
}

/// Could the code wait, as far as one can see?
fn may_wait(body: &Block) -> bool {
    struct Waits(bool);
    impl<'ast> syn::visit::Visit<'ast> for Waits {
        fn visit_expr_await(&mut self, _: &'ast ExprAwait) {
            self.0 = true;
        }
        fn visit_macro(&mut self, mac: &'ast Macro) {
            self.0 |= !is_well_known(mac) || mentions(mac.tokens.clone(), "await");
        }
        fn visit_expr_closure(&mut self, _: &'ast ExprClosure) {}
        fn visit_expr_async(&mut self, _: &'ast ExprAsync) {}
        fn visit_expr_const(&mut self, _: &'ast ExprConst) {}
        fn visit_item(&mut self, _: &'ast Item) {}
    }
    let mut waits = Waits(false);
    syn::visit::Visit::visit_block(&mut waits, body);
    waits.0
}

/// Macros of std and of crates that everybody uses which add no `.await` of their own.
fn is_well_known(mac: &Macro) -> bool {
    const KNOWN: [&str; 51] = [
        "anyhow",
        "assert",
        "assert_eq",
        "assert_ne",
        "bail",
        "cfg",
        "column",
        "concat",
        "dbg",
        "debug",
        "debug_assert",
        "debug_assert_eq",
        "debug_assert_ne",
        "ensure",
        "env",
        "eprint",
        "eprintln",
        "error",
        "eyre",
        "file",
        "format",
        "format_args",
        "include_bytes",
        "include_str",
        "info",
        "json",
        "line",
        "log",
        "matches",
        "module_path",
        "option_env",
        "panic",
        "print",
        "println",
        "ready",
        "stringify",
        "thread_local",
        "todo",
        "trace",
        "unimplemented",
        "unreachable",
        "vec",
        "warn",
        "write",
        "writeln",
        "span",
        "event",
        "addr_of",
        "addr_of_mut",
        "scope",
        "compile_error",
    ];
    let name = mac.path.segments.last().map(|last| last.ident.to_string());
    name.is_some_and(|name| KNOWN.contains(&name.as_str()))
}

/// Does the word occur in the tokens, at whatever depth?
pub(crate) fn mentions(tokens: TokenStream, word: &str) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => ident == word,
        TokenTree::Group(group) => mentions(group.stream(), word),
        TokenTree::Punct(_) | TokenTree::Literal(_) => false,
    })
}
