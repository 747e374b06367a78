//! Whether what is made can differ from turn to turn, as far as names say.
//!
//! Asked once a creation. "Outside" is claimed only for what is made of variables that are declared outside of the loop and not
//! `mut`, by methods that are known to depend on nothing else; everything that is not known depends on the turn.
#![forbid(unsafe_code)]

use std::collections::HashSet;

use syn::visit::{self, Visit};
use syn::{Expr, ExprCall};

use super::Walker;
use super::flow::Depends;
use super::macros::arguments;
use crate::types::Ty;

impl Walker<'_> {
    pub(super) fn depends_on(&self, expr: &Expr) -> Depends {
        let mut reader = Reader {
            walker: self,
            own: HashSet::new(),
            found: Depends::Nothing,
            left: MOST_PARTS,
        };
        reader.visit_expr(expr);
        reader.found
    }

    pub(super) fn depends_on_call(&self, call: &ExprCall) -> Depends {
        call.args
            .iter()
            .map(|arg| self.depends_on(arg))
            .max()
            .unwrap_or(Depends::Nothing)
    }

    pub(super) fn depends_on_format(&self, args: &[Expr]) -> Depends {
        let captured = match args.first() {
            Some(Expr::Lit(literal)) => match &literal.lit {
                syn::Lit::Str(text) => captured(&text.value()),
                _ => Vec::new(),
            },
            _ => return Depends::Turn,
        };
        let by_name = captured.iter().map(|name| self.depends_on_name(name));
        by_name
            .chain(args.iter().map(|arg| self.depends_on(arg)))
            .max()
            .unwrap_or(Depends::Nothing)
    }

    fn depends_on_name(&self, name: &str) -> Depends {
        if name == "self" {
            return if self.is_self_mut {
                Depends::Turn
            } else {
                Depends::Outside
            };
        }
        let is_constant = name
            .chars()
            .all(|letter| letter.is_uppercase() || letter == '_' || letter.is_numeric());
        match self.look_up(name) {
            None if is_constant => Depends::Nothing,
            None => Depends::Turn,
            Some(id) => {
                let binding = &self.body.bindings[id];
                let is_shared = matches!(binding.ty, Some(Ty::Ref(_, true)));
                // In no loop, everything that has a name is this call's.
                let is_outside = !self.place.chain.is_empty() && binding.depth < self.place.chain.len();
                match is_outside && !binding.is_mut && !is_shared {
                    true => Depends::Outside,
                    false => Depends::Turn,
                }
            }
        }
    }
}

/// Expressions with more parts are taken to depend on the turn: each creation in a long chain looks at what is before it.
const MOST_PARTS: usize = 300;

struct Reader<'w, 'a> {
    walker: &'w Walker<'a>,
    /// Parameters of closures in the expression.
    own: HashSet<String>,
    found: Depends,
    /// How many more expressions are looked at.
    left: usize,
}

impl Reader<'_, '_> {
    fn add(&mut self, depends: Depends) {
        self.found = self.found.max(depends);
    }
}

impl<'ast> Visit<'ast> for Reader<'_, '_> {
    fn visit_expr(&mut self, expr: &'ast Expr) {
        if self.found == Depends::Turn {
            return;
        }
        let Some(left) = self.left.checked_sub(1) else {
            return self.add(Depends::Turn);
        };
        self.left = left;
        match expr {
            Expr::Path(path) => match path.path.get_ident() {
                Some(ident) if self.own.contains(&ident.to_string()) => {}
                Some(ident) => self.add(self.walker.depends_on_name(&ident.to_string())),
                None => {}
            },
            Expr::MethodCall(call) => {
                if !is_pure(&call.method.to_string()) {
                    self.add(Depends::Turn);
                }
                visit::visit_expr_method_call(self, call);
            }
            Expr::Call(call) => match &*call.func {
                Expr::Path(path) => {
                    let is_constructor = path.path.segments.iter().any(|segment| {
                        let name = segment.ident.to_string();
                        name.chars().next().is_some_and(char::is_uppercase)
                    });
                    let last = path.path.segments.last().map(|segment| segment.ident.to_string());
                    if !is_constructor || matches!(last.as_deref(), Some("now" | "open" | "current")) {
                        self.add(Depends::Turn);
                    }
                    call.args.iter().for_each(|arg| self.visit_expr(arg));
                }
                _ => self.add(Depends::Turn),
            },
            Expr::Macro(mac) => {
                let name = mac.mac.path.segments.last().map(|segment| segment.ident.to_string());
                match (name.as_deref(), arguments(&mac.mac.tokens)) {
                    (Some("format"), Some(args)) => self.add(self.walker.depends_on_format(&args)),
                    (Some("vec"), Some(args)) => args.iter().for_each(|arg| self.add(self.walker.depends_on(arg))),
                    (Some("concat" | "env" | "include_str" | "stringify" | "line" | "file"), _) => {}
                    _ => self.add(Depends::Turn),
                }
            }
            Expr::Closure(closure) => {
                for input in &closure.inputs {
                    names_of(input, &mut self.own);
                }
                self.visit_expr(&closure.body);
            }
            Expr::Lit(_)
            | Expr::Field(_)
            | Expr::Reference(_)
            | Expr::Paren(_)
            | Expr::Group(_)
            | Expr::Array(_)
            | Expr::Tuple(_)
            | Expr::Binary(_)
            | Expr::Unary(_)
            | Expr::Cast(_)
            | Expr::Index(_)
            | Expr::Range(_)
            | Expr::Struct(_)
            | Expr::Repeat(_)
            | Expr::Try(_) => visit::visit_expr(self, expr),
            _ => self.add(Depends::Turn),
        }
    }
}

fn names_of(pattern: &syn::Pat, names: &mut HashSet<String>) {
    struct Idents<'n>(&'n mut HashSet<String>);
    impl<'ast> Visit<'ast> for Idents<'_> {
        fn visit_pat_ident(&mut self, ident: &'ast syn::PatIdent) {
            self.0.insert(ident.ident.to_string());
            visit::visit_pat_ident(self, ident);
        }
    }
    Idents(names).visit_pat(pattern);
}

/// Methods whose result is decided by their receiver and arguments.
fn is_pure(method: &str) -> bool {
    matches!(
        method,
        "iter"
            | "into_iter"
            | "map"
            | "filter"
            | "filter_map"
            | "flat_map"
            | "cloned"
            | "copied"
            | "clone"
            | "to_string"
            | "to_owned"
            | "to_vec"
            | "collect"
            | "chars"
            | "bytes"
            | "lines"
            | "split"
            | "split_whitespace"
            | "trim"
            | "as_str"
            | "as_slice"
            | "as_ref"
            | "as_bytes"
            | "unwrap"
            | "expect"
            | "to_lowercase"
            | "to_uppercase"
            | "to_ascii_lowercase"
            | "to_ascii_uppercase"
            | "len"
            | "rev"
            | "enumerate"
            | "zip"
            | "chain"
            | "keys"
            | "values"
            | "skip"
            | "take"
            | "to_path_buf"
            | "as_path"
            | "join"
            | "is_empty"
            | "into"
            | "get"
            | "first"
            | "windows"
            | "chunks"
            | "repeat"
            | "replace"
            | "sum"
            | "min"
            | "max"
            | "count"
            | "ok"
            | "unwrap_or_default"
            | "unwrap_or"
    )
}

/// `["name", "other"]` of `"{name} {} {other:>8}"`.
fn captured(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find('{') {
        rest = &rest[start + 1..];
        if let Some(escaped) = rest.strip_prefix('{') {
            rest = escaped;
            continue;
        }
        let end = rest.find('}').unwrap_or(rest.len());
        let name = rest[..end].split(':').next().unwrap_or_default().trim();
        if name.starts_with(|first: char| first.is_alphabetic() || first == '_') {
            names.push(name.to_owned());
        }
        rest = &rest[end..];
    }
    names
}

#[cfg(test)]
mod tests {
    use super::captured;

    #[test]
    fn names_in_format_strings_are_found() {
        assert_eq!(captured("{name} {} {{no}} {other:>8} {0}"), ["name", "other"]);
        assert!(captured("{").is_empty());
    }
}
