//! Macros: those that are well known are read as what they mean; of others, as much as looks like expressions.
//!
//! LIMIT: a name in a macro that is not known leaves, as far as one can see.
#![forbid(unsafe_code)]

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Block, Expr, Macro, Token};

use super::Walker;
use super::chain::{is_tracked, made};
use super::closures::Role;
use super::exits::is_panic;
use super::expr::base_name;
use super::flow::{Borrow, Depends, Exit, Flow};
use crate::kinds::Kind;
use crate::types::Ty;

impl Walker<'_> {
    pub(super) fn macro_call(&mut self, mac: &Macro, flow: Flow, hint: Option<&Ty>) {
        let Some(name) = mac.path.segments.last().map(|segment| segment.ident.to_string()) else {
            return;
        };
        if is_tracked(mac) {
            return self.tracked(mac, Role::unknown());
        }
        match name.as_str() {
            "vec" => self.vec_macro(mac, flow, hint),
            "format" => {
                if let Some(made) = made(Kind::String, "String", "format!") {
                    let args = arguments(&mac.tokens).unwrap_or_default();
                    let depends = self.depends_on_format(&args);
                    self.create(made, mac.span(), flow, depends);
                }
                self.read_only(mac, Borrow::Print);
            }
            "println" | "print" | "eprintln" | "eprint" | "info" | "matches" | "dbg" | "format_args" | "assert"
            | "assert_eq" | "assert_ne" => {
                self.read_only(mac, Borrow::Print);
            }
            "write" | "writeln" => {
                let args = arguments(&mac.tokens).unwrap_or_default();
                for (number, arg) in args.iter().enumerate() {
                    let target = match arg {
                        Expr::Reference(reference) => &reference.expr,
                        arg => arg,
                    };
                    match base_name(target).filter(|_| number == 0) {
                        Some((name, span)) => self.use_name(&name, span, Flow::Borrowed(Borrow::Other), true),
                        None => self.expr(arg, Flow::Borrowed(Borrow::Print), None),
                    }
                }
            }
            // Left out of release builds, or off unless somebody looks for something.
            "debug_assert" | "debug_assert_eq" | "debug_assert_ne" | "trace" | "debug" | "warn" | "error" | "log" => {}
            "ensure" => {
                for (number, arg) in arguments(&mac.tokens).unwrap_or_default().iter().enumerate() {
                    let mut place = self.place.clone();
                    place.is_rare |= number > 0;
                    self.at(place, |this| this.expr(arg, Flow::Borrowed(Borrow::Other), None));
                }
            }
            "bail" | "anyhow" | "eyre" | "format_err" => self.rare(mac),
            name if is_panic(name) => self.rare(mac),
            _ => self.unknown(&mac.tokens),
        }
    }

    fn vec_macro(&mut self, mac: &Macro, flow: Flow, hint: Option<&Ty>) {
        let repeated = (|input: syn::parse::ParseStream<'_>| {
            let value: Expr = input.parse()?;
            input.parse::<Token![;]>()?;
            Ok((value, input.parse::<Expr>()?))
        })
        .parse2(mac.tokens.clone());
        let args = match repeated {
            Ok((value, count)) => vec![value, count],
            Err(_) => arguments(&mac.tokens).unwrap_or_default(),
        };
        let ty = match hint.and_then(Ty::collection) {
            Some((Kind::Vec, ty @ Ty::Named(_, args))) if !args.is_empty() => ty.to_string(),
            _ => "Vec<_>".to_owned(),
        };
        if let Some(mut made) = made(Kind::Vec, &ty, "vec!") {
            made.is_empty = mac.tokens.is_empty();
            let depends = args
                .iter()
                .map(|arg| self.depends_on(arg))
                .max()
                .unwrap_or(Depends::Nothing);
            self.create(made, mac.span(), flow, depends);
        }
        for arg in &args {
            self.expr(arg, Flow::Out(Exit::Pushed), None);
        }
    }

    fn read_only(&mut self, mac: &Macro, borrow: Borrow) {
        match arguments(&mac.tokens) {
            Some(args) => args.iter().for_each(|arg| self.expr(arg, Flow::Borrowed(borrow), None)),
            None => self.names_in(&mac.tokens, Flow::Borrowed(Borrow::Other)),
        }
    }

    fn rare(&mut self, mac: &Macro) {
        let mut place = self.place.clone();
        place.is_rare = true;
        self.at(place, |this| this.read_only(mac, Borrow::Print));
    }

    fn unknown(&mut self, tokens: &TokenStream) {
        if let Some(args) = arguments(tokens) {
            for arg in &args {
                self.argument(arg, Flow::Out(Exit::Macro), Borrow::Other);
            }
            return;
        }
        // `select! { .. => { block } }`: the blocks are code.
        for token in tokens.clone() {
            match token {
                TokenTree::Group(group) => {
                    let block = (group.delimiter() == Delimiter::Brace)
                        .then(|| syn::parse2::<Block>(TokenTree::Group(group.clone()).into()).ok())
                        .flatten();
                    match block {
                        Some(block) => {
                            let mut place = self.place.clone();
                            place.is_conditional = true;
                            self.at(place, |this| this.block(&block, Flow::Out(Exit::Macro), None));
                        }
                        None => self.unknown(&group.stream()),
                    }
                }
                TokenTree::Ident(ident) => {
                    self.use_name(&ident.to_string(), ident.span(), Flow::Out(Exit::Macro), true)
                }
                _ => {}
            }
        }
    }

    fn names_in(&mut self, tokens: &TokenStream, flow: Flow) {
        for token in tokens.clone() {
            match token {
                TokenTree::Group(group) => self.names_in(&group.stream(), flow),
                TokenTree::Ident(ident) => self.use_name(&ident.to_string(), ident.span(), flow, false),
                _ => {}
            }
        }
    }
}

/// The arguments of a macro that is called like a function; `name = value` stands for its value.
pub(super) fn arguments(tokens: &TokenStream) -> Option<Vec<Expr>> {
    let args = Punctuated::<Expr, Token![,]>::parse_terminated
        .parse2(tokens.clone())
        .ok()?;
    let values = args.into_iter().map(|arg| match arg {
        Expr::Assign(assign) => *assign.right,
        other => other,
    });
    Some(values.collect())
}
