//! The functions of a file, with the paths that reports name them by, and the lines of the items around them.
//!
//! Called by `index` and by the lint proper, which both go through a file's functions in the same order: the n-th here is the n-th
//! there. What is left out (tests, cold functions) is left out here, for both.
#![forbid(unsafe_code)]

use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, Block, ImplItemFn, ItemFn, ItemImpl, ItemMod, ItemTrait, Signature, TraitItemFn, Type};

use crate::attributes::{is_cold, is_request, is_test};
use crate::names::Names;
use crate::options::Tests;

/// A function with a body.
pub(crate) struct Function<'a> {
    pub(crate) signature: &'a Signature,
    pub(crate) body: &'a Block,
    /// `module::Type::name`.
    pub(crate) path: String,
    /// The type or trait it belongs to.
    pub(crate) owner: Option<String>,
    pub(crate) is_request: bool,
}

/// An item that a comment may stand above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// The line of its first attribute or keyword.
    pub(crate) first: usize,
    /// The line of its name.
    pub(crate) name: usize,
    pub(crate) last: usize,
}

/// What is where in a file.
#[derive(Default)]
pub(crate) struct Outline {
    /// Functions, modules, impl blocks and traits.
    pub(crate) heads: Vec<Head>,
    /// First and last lines of what was left out.
    pub(crate) skipped: Vec<(usize, usize)>,
    /// `#[cfg(test)] mod name;`
    pub(crate) test_files: Vec<String>,
}

/// Calls `each` with every function of the file, in the order of the source.
pub(crate) fn read(
    file: &syn::File,
    names: &Names,
    module: &str,
    tests: Tests,
    each: &mut dyn FnMut(&Function<'_>),
) -> Outline {
    let mut reader = Reader {
        names,
        tests,
        each,
        path: module
            .split("::")
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect(),
        owner: None,
        is_request: false,
        outline: Outline::default(),
    };
    if tests == Tests::Skip && is_test(&file.attrs) {
        reader.outline.skipped.push((1, usize::MAX));
    } else {
        reader.visit_file(file);
    }
    reader.outline
}

struct Reader<'a> {
    names: &'a Names,
    tests: Tests,
    each: &'a mut dyn FnMut(&Function<'_>),
    path: Vec<String>,
    owner: Option<String>,
    /// The attribute stands on a block around.
    is_request: bool,
    outline: Outline,
}

impl Reader<'_> {
    /// True when the item is to be gone into.
    fn open(&mut self, attributes: &[Attribute], whole: proc_macro2::Span, name: proc_macro2::Span) -> bool {
        let first = attributes.first().map_or(whole, Spanned::span).start().line;
        let lines = (first.min(whole.start().line), whole.end().line);
        if (self.tests == Tests::Skip && is_test(attributes)) || is_cold(attributes) {
            self.outline.skipped.push(lines);
            return false;
        }
        self.outline.heads.push(Head {
            first: lines.0,
            name: name.start().line,
            last: lines.1,
        });
        true
    }

    fn function(&mut self, attributes: &[Attribute], signature: &Signature, body: &Block) {
        self.path.push(signature.ident.to_string());
        let function = Function {
            signature,
            body,
            path: self.path.join("::"),
            owner: self.owner.clone(),
            is_request: self.is_request || is_request(attributes, self.names),
        };
        (self.each)(&function);
        let (owner, is_around) = (self.owner.take(), std::mem::take(&mut self.is_request));
        visit::visit_block(self, body);
        self.owner = owner;
        self.is_request = is_around;
        self.path.pop();
    }

    /// Goes into a block of functions.
    fn block(
        &mut self,
        attributes: &[Attribute],
        name: Option<String>,
        owner: Option<String>,
        go: &mut dyn FnMut(&mut Self),
    ) {
        let request = self.is_request;
        let around = std::mem::replace(&mut self.owner, owner);
        self.is_request |= is_request(attributes, self.names);
        let depth = self.path.len();
        self.path.extend(name);
        go(self);
        self.path.truncate(depth);
        self.is_request = request;
        self.owner = around;
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        if self.open(&item.attrs, item.span(), item.sig.ident.span()) {
            let owner = self.owner.take();
            self.function(&item.attrs, &item.sig, &item.block);
            self.owner = owner;
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        if self.open(&item.attrs, item.span(), item.sig.ident.span()) {
            self.function(&item.attrs, &item.sig, &item.block);
        }
    }

    fn visit_trait_item_fn(&mut self, item: &'ast TraitItemFn) {
        if let Some(body) = &item.default
            && self.open(&item.attrs, item.span(), item.sig.ident.span())
        {
            self.function(&item.attrs, &item.sig, body);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        if item.content.is_none() {
            if self.tests == Tests::Skip && is_test(&item.attrs) {
                let mut path = self.path.clone();
                path.push(item.ident.to_string());
                self.outline.test_files.push(path.join("::"));
            }
            return;
        }
        if self.open(&item.attrs, item.span(), item.ident.span()) {
            let name = item.ident.to_string();
            self.block(&item.attrs, Some(name), None, &mut |this| {
                visit::visit_item_mod(this, item)
            });
        }
    }

    fn visit_item_impl(&mut self, item: &'ast ItemImpl) {
        if self.open(&item.attrs, item.span(), item.self_ty.span()) {
            let name = type_name(&item.self_ty);
            self.block(&item.attrs, name.clone(), name, &mut |this| {
                visit::visit_item_impl(this, item)
            });
        }
    }

    fn visit_item_trait(&mut self, item: &'ast ItemTrait) {
        if self.open(&item.attrs, item.span(), item.ident.span()) {
            let name = Some(item.ident.to_string());
            self.block(&item.attrs, name.clone(), name, &mut |this| {
                visit::visit_item_trait(this, item)
            });
        }
    }
}

/// `Cart` of `&mut shop::Cart<T>`.
fn type_name(ty: &Type) -> Option<String> {
    match ty {
        Type::Path(path) => path.path.segments.last().map(|segment| segment.ident.to_string()),
        Type::Reference(reference) => type_name(&reference.elem),
        Type::Paren(inner) => type_name(&inner.elem),
        Type::Group(inner) => type_name(&inner.elem),
        _ => None,
    }
}
