//! Whether a branch ends the loop, the function or the program: what is made in it is then not made in every turn.
//!
//! Called by the walk before it goes into a block or an arm. Only the last statement is looked at.
#![forbid(unsafe_code)]

use syn::{Block, Expr, Macro, Stmt};

/// How a branch ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Return,
    /// Leaves the loop with this label, or the innermost.
    Break(Option<String>),
    /// Or in an error.
    Panic,
}

/// How a block always ends; `None` when what follows it may run, or the next turn.
pub(crate) fn of_block(block: &Block) -> Option<Ending> {
    match block.stmts.last()? {
        Stmt::Expr(expr, _) => of_expr(expr),
        Stmt::Macro(statement) => of_macro(&statement.mac),
        _ => None,
    }
}

/// The same for an expression.
pub(crate) fn of_expr(expr: &Expr) -> Option<Ending> {
    match expr {
        // An error is seldom, wherever it returns to.
        Expr::Return(leave) if leave.expr.as_deref().is_some_and(is_err) => Some(Ending::Panic),
        Expr::Return(_) => Some(Ending::Return),
        Expr::Break(exit) => Some(Ending::Break(exit.label.as_ref().map(|label| label.ident.to_string()))),
        Expr::Macro(mac) => of_macro(&mac.mac),
        Expr::Block(block) => of_block(&block.block),
        Expr::Unsafe(block) => of_block(&block.block),
        Expr::Paren(inner) => of_expr(&inner.expr),
        Expr::Call(call) => match &*call.func {
            Expr::Path(path) => {
                let name = path.path.segments.last()?.ident.to_string();
                let before = path
                    .path
                    .segments
                    .iter()
                    .rev()
                    .nth(1)
                    .map(|segment| segment.ident.to_string());
                let ends = matches!((before.as_deref(), name.as_str()), (Some("process"), "exit" | "abort"));
                ends.then_some(Ending::Panic)
            }
            _ => None,
        },
        _ => None,
    }
}

fn is_err(value: &Expr) -> bool {
    matches!(value, Expr::Call(call) if matches!(&*call.func, Expr::Path(path) if path.path.segments.last().is_some_and(|last| last.ident == "Err")))
}

fn of_macro(mac: &Macro) -> Option<Ending> {
    let name = mac.path.segments.last()?.ident.to_string();
    match name.as_str() {
        "bail" => Some(Ending::Panic),
        name => is_panic(name).then_some(Ending::Panic),
    }
}

/// Macros that end the thread.
pub(crate) fn is_panic(name: &str) -> bool {
    matches!(
        name,
        "panic" | "unreachable" | "todo" | "unimplemented" | "compile_error"
    )
}
