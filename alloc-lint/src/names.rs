//! What names mean in a file: its imports with `as`, its type aliases, and the types it declares itself.
//!
//! Called by `source` once a file, asked by everything after. A name counts as std's if nothing in the file says otherwise:
//! preludes, glob imports and re-exports are not followed.
//!
//! LIMIT: imports are taken for the whole file, also those inside of functions and modules.
#![forbid(unsafe_code)]

use std::collections::{HashMap, HashSet};

use syn::visit::{self, Visit};
use syn::{GenericArgument, ItemUse, PathArguments, ReturnType, Type, UseTree};

use crate::kinds::Kind;
use crate::types::Ty;

/// The names of a file.
#[derive(Default)]
pub(crate) struct Names {
    /// Name here -> full path there.
    imports: HashMap<String, Vec<String>>,
    aliases: HashMap<String, Ty>,
    /// Types that the file declares: no std type is meant by these.
    declared: HashSet<String>,
}

impl Names {
    pub(crate) fn read(file: &syn::File) -> Self {
        let mut names = Self::default();
        let mut reader = Reader {
            names: &mut names,
            aliases: Vec::new(),
        };
        reader.visit_file(file);
        let aliases = std::mem::take(&mut reader.aliases);
        for alias in aliases {
            // An alias with parameters of its own is named, its arguments are not known.
            let ty = names.ty(&alias.ty);
            names.aliases.insert(alias.ident.to_string(), ty);
        }
        names
    }

    /// The name that `name` has where it is declared.
    pub(crate) fn original<'a>(&'a self, name: &'a str) -> &'a str {
        self.imports
            .get(name)
            .and_then(|path| path.last())
            .map_or(name, String::as_str)
    }

    /// The full path that a path of the file stands for, as far as its imports say.
    pub(crate) fn full_path(&self, path: &syn::Path) -> Vec<String> {
        let mut segments = path.segments.iter().map(|segment| segment.ident.to_string());
        let Some(first) = segments.next() else {
            return Vec::new();
        };
        let mut full = self.imports.get(&first).cloned().unwrap_or_else(|| vec![first]);
        full.extend(segments);
        full
    }

    pub(crate) fn is_declared(&self, name: &str) -> bool {
        self.declared.contains(name)
    }

    /// A type as the lint knows it.
    pub(crate) fn ty(&self, ty: &Type) -> Ty {
        match ty {
            Type::Reference(reference) => Ty::Ref(Box::new(self.ty(&reference.elem)), reference.mutability.is_some()),
            Type::Paren(inner) => self.ty(&inner.elem),
            Type::Group(inner) => self.ty(&inner.elem),
            Type::Slice(slice) => Ty::Slice(Box::new(self.ty(&slice.elem))),
            Type::Array(array) => Ty::Slice(Box::new(self.ty(&array.elem))),
            Type::Tuple(tuple) => Ty::Tuple(tuple.elems.iter().map(|elem| self.ty(elem)).collect()),
            Type::Path(path) => self.path_ty(&path.path),
            _ => Ty::Other,
        }
    }

    /// The type that a path names.
    pub(crate) fn path_ty(&self, path: &syn::Path) -> Ty {
        let Some(last) = path.segments.last() else {
            return Ty::Other;
        };
        self.segment_ty(&last.ident.to_string(), &last.arguments, path.segments.len() == 1)
    }

    /// The type before the last segment: `Vec<u8>` of `Vec::<u8>::new`.
    pub(crate) fn owner_ty(&self, path: &syn::ExprPath) -> Option<Ty> {
        if let Some(qself) = &path.qself {
            return Some(self.ty(&qself.ty));
        }
        let before = path.path.segments.len().checked_sub(2)?;
        let segment = &path.path.segments[before];
        Some(self.segment_ty(&segment.ident.to_string(), &segment.arguments, before == 0))
    }

    fn segment_ty(&self, name: &str, arguments: &PathArguments, is_bare: bool) -> Ty {
        let args: Vec<Ty> = match arguments {
            PathArguments::AngleBracketed(list) => list
                .args
                .iter()
                .filter_map(|argument| match argument {
                    GenericArgument::Type(ty) => Some(self.ty(ty)),
                    _ => None,
                })
                .collect(),
            _ => Vec::new(),
        };
        if !is_bare {
            return Ty::Named(name.to_owned(), args);
        }
        match self.aliases.get(name) {
            Some(Ty::Named(aliased, of)) => Ty::Named(aliased.clone(), if of.is_empty() { args } else { of.clone() }),
            Some(other) => other.clone(),
            None if self.is_declared(name) => Ty::Named(format!("{OWN}{name}"), args),
            None => Ty::Named(self.original(name).to_owned(), args),
        }
    }

    /// What a function returns.
    pub(crate) fn output(&self, output: &ReturnType) -> Option<Ty> {
        match output {
            ReturnType::Default => None,
            ReturnType::Type(_, ty) => Some(self.ty(ty)),
        }
    }
}

/// Before the name of a type that the file declares and std has, too: no kind has such a name.
const OWN: &str = "self::";

struct Reader<'a, 'ast> {
    names: &'a mut Names,
    aliases: Vec<&'ast syn::ItemType>,
}

impl Reader<'_, '_> {
    fn declare(&mut self, ident: &syn::Ident) {
        let name = ident.to_string();
        // Only names that would be mistaken for others are of interest.
        if Kind::of_type(&name).is_some() {
            self.names.declared.insert(name);
        }
    }

    fn tree(&mut self, tree: &UseTree, before: &mut Vec<String>) {
        match tree {
            UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.tree(&path.tree, before);
                before.pop();
            }
            UseTree::Name(name) => self.import(name.ident.to_string(), &name.ident, before),
            UseTree::Rename(rename) => self.import(rename.rename.to_string(), &rename.ident, before),
            UseTree::Group(group) => group.items.iter().for_each(|item| self.tree(item, before)),
            UseTree::Glob(_) => {}
        }
    }

    fn import(&mut self, here: String, there: &syn::Ident, before: &[String]) {
        let mut path = before.to_vec();
        if there != "self" {
            path.push(there.to_string());
        }
        match path.last() {
            Some(last) if here == "self" => {
                self.names.imports.insert(last.clone(), path);
            }
            _ => {
                self.names.imports.insert(here, path);
            }
        }
    }
}

impl<'ast> Visit<'ast> for Reader<'_, 'ast> {
    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.tree(&item.tree, &mut Vec::new());
    }

    fn visit_item_type(&mut self, item: &'ast syn::ItemType) {
        self.aliases.push(item);
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.declare(&item.ident);
        visit::visit_item_struct(self, item);
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.declare(&item.ident);
        visit::visit_item_enum(self, item);
    }

    fn visit_item_union(&mut self, item: &'ast syn::ItemUnion) {
        self.declare(&item.ident);
    }
}
