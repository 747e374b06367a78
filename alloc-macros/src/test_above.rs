//! What a test attribute *above* `#[allocation_test]` has made of the function before it comes here.
//!
//! Called by `test_expand`. `#[tokio::test]`, `#[actix_rt::test]` and `#[async_std::test]` turn the body into an `async` block and run that in a
//! runtime, `#[rstest]` makes the arguments and calls the function. To measure what the user wrote, and no runtime and no fixtures, that block
//! or that call is looked for. What another macro wrote is known by its tokens: the source text at their place is the attribute.
#![forbid(unsafe_code)]

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::parse::Parser;
use syn::visit_mut::VisitMut;
use syn::{Attribute, Block, Error, Expr, ExprAsync, Item, Meta, Path, Result, Stmt};

use crate::loops::mentions;

/// Does the attribute of this path make a test of a function: `#[test]`, `#[tokio::test]`, `#[rstest]`, `#[test_case(..)]` and their like?
pub(crate) fn makes_a_test(path: &Path) -> bool {
    const NAMES: [&str; 6] = [
        "test",
        "rstest",
        "test_case",
        "case",
        "parameterized",
        "wasm_bindgen_test",
    ];
    let last = path.segments.last();
    last.is_some_and(|segment| NAMES.iter().any(|name| segment.ident == name))
}

/// Does it run `async` tests? `#[test]` may be an imported `tokio::test`, unless another macro wrote it.
pub(crate) fn runs_async(attribute: &Attribute) -> bool {
    let path = attribute.path();
    if path.is_ident("test_attr") {
        // `#[rstest]`'s way to name the test attribute.
        return true;
    }
    let Some(last) = path.segments.last() else { return false };
    let is_builtin = path.segments.iter().any(|segment| segment.ident == "prelude")
        || (path.segments.len() == 1 && made_by(last.ident.span()).is_some());
    last.ident == "wasm_bindgen_test" || (last.ident == "test" && !is_builtin)
}

/// The path of the test attribute whose expansion wrote the token there; `None` for the user's own.
fn made_by(span: Span) -> Option<Path> {
    let text = span.source_text()?;
    let path = match Attribute::parse_outer.parse_str(&text) {
        Ok(attributes) => attributes.first()?.path().clone(),
        // Of `#[cfg_attr(.., tokio::test)]` the place is the inner part.
        Err(_) => syn::parse_str::<Meta>(&text).ok()?.path().clone(),
    };
    makes_a_test(&path).then_some(path)
}

/// Puts something else into the `async` block that a test attribute above has made of the body; `false` when none did.
pub(crate) fn replace_async_body(
    body: &mut Block,
    replacement: impl FnMut(&Block) -> Result<TokenStream>,
) -> Result<bool> {
    struct Replace<F>(F, Option<Result<()>>);
    impl<F: FnMut(&Block) -> Result<TokenStream>> VisitMut for Replace<F> {
        fn visit_expr_async_mut(&mut self, found: &mut ExprAsync) {
            if self.1.is_none() && made_by(found.async_token.span).is_some() {
                let replaced = (self.0)(&found.block);
                self.1 =
                    Some(replaced.map(|tokens| found.block.stmts = vec![Stmt::Expr(Expr::Verbatim(tokens), None)]));
            }
        }
        fn visit_item_mut(&mut self, _: &mut Item) {}
    }
    let mut replace = Replace(replacement, None);
    replace.visit_block_mut(body);
    replace.1.map_or(Ok(false), |replaced| replaced.map(|()| true))
}

/// What stands between the braces of a test.
pub(crate) struct Parts {
    /// Makes the arguments of the test: not measured. Empty unless `#[rstest]` is above.
    pub(crate) before: TokenStream,
    /// A block, or the call of the test.
    pub(crate) measured: TokenStream,
}

/// ```text
/// { let db = db::default(); let n = 1; test(db, n).await }   =>   `let db = db::default(); let n = 1;`, `test(db, n).await`
/// ```
/// That is what `#[rstest]` writes. Anything else is measured as it is.
///
/// # Errors
/// At `test`, the name of the test, when it does not run where it is measured.
pub(crate) fn parts(block: &Block, test: Span) -> Result<Parts> {
    let whole = || Parts {
        before: TokenStream::new(),
        measured: with_empty_statement(block),
    };
    // Runtimes put braces around the body.
    if let [Stmt::Expr(Expr::Block(inner), None)] = &block.stmts[..]
        && inner.label.is_none()
        && inner.attrs.is_empty()
    {
        return parts(&inner.block, test);
    }
    let fixtures = made_by(block.brace_token.span.join()).filter(|path| mentions(path.to_token_stream(), "rstest"));
    let (Some(_), Some((last, before))) = (fixtures, block.stmts.split_last()) else {
        return Ok(whole());
    };
    let Stmt::Expr(call, None) = last else {
        return Ok(whole());
    };
    if !is_call_with_names(call) {
        let message = "found `#[rstest]` with a timeout above, which runs the test elsewhere; write #[allocation_test] above #[rstest]";
        return Err(Error::new(test, message));
    }
    Ok(Parts {
        before: quote!(#(#before)*),
        measured: call.to_token_stream(),
    })
}

/// The compiler calls braces around one expression unnecessary.
fn with_empty_statement(block: &Block) -> TokenStream {
    let mut whole = TokenStream::new();
    block.brace_token.surround(&mut whole, |inside| {
        inside.extend(quote_spanned!(Span::mixed_site()=> ;));
        block.stmts.iter().for_each(|statement| statement.to_tokens(inside));
    });
    whole
}

/// `test(db, &n)` and `test(db, &n).await`.
fn is_call_with_names(call: &Expr) -> bool {
    fn is_name(argument: &Expr) -> bool {
        match argument {
            Expr::Path(_) => true,
            Expr::Reference(reference) => is_name(&reference.expr),
            _ => false,
        }
    }
    match call {
        Expr::Await(awaited) => is_call_with_names(&awaited.base),
        Expr::Call(call) => call.args.iter().all(is_name),
        _ => false,
    }
}
