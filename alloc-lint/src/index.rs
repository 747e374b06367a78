//! What all files together declare: structs with the types of their fields, and functions by name.
//!
//! Filled by the first pass over the files, asked by the second: so a clone of a struct is known to copy collections, and a call is
//! followed by name. Plain data, no trees.
//!
//! LIMIT: names, not paths. Two structs of one name are told apart by nothing, so neither is known; a function is found if
//! its name (with its type, where the call says it) is the only such one, or the only one in the caller's file.
#![forbid(unsafe_code)]

use std::collections::HashMap;

use syn::visit::{self, Visit};

use crate::kinds::Kind;
use crate::names::Names;
use crate::outline::Function;
use crate::types::{CloneCost, Ty};

/// Number of a function in the index.
pub(crate) type FnId = usize;

/// A function as its callers see it.
pub(crate) struct Declared {
    pub(crate) file: usize,
    pub(crate) name: String,
    pub(crate) owner: Option<String>,
    /// The collection that it hands out.
    pub(crate) output: Option<(Kind, String)>,
    pub(crate) is_request: bool,
    pub(crate) path: String,
}

/// A call as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Callee {
    pub(crate) name: String,
    /// The type it is called on, where that is known.
    pub(crate) owner: Option<String>,
}

#[derive(Default)]
pub(crate) struct Index {
    pub(crate) functions: Vec<Declared>,
    by_name: HashMap<String, Vec<FnId>>,
    /// `None` for a name that several structs have.
    structs: HashMap<String, Option<Vec<(String, Ty)>>>,
}

impl Index {
    pub(crate) fn add_function(&mut self, file: usize, function: &Function<'_>, names: &Names) -> FnId {
        let id = self.functions.len();
        let name = function.signature.ident.to_string();
        let output = names.output(&function.signature.output);
        let output = output.as_ref().and_then(Ty::collection);
        self.by_name.entry(name.clone()).or_default().push(id);
        self.functions.push(Declared {
            file,
            name,
            owner: function.owner.clone(),
            output: output.map(|(kind, ty)| (kind, ty.to_string())),
            is_request: function.is_request,
            path: function.path.clone(),
        });
        id
    }

    pub(crate) fn add_structs(&mut self, file: &syn::File, names: &Names) {
        let mut reader = Structs { index: self, names };
        reader.visit_file(file);
    }

    /// The function that a call in `file` runs.
    pub(crate) fn find(&self, callee: &Callee, file: usize) -> Option<FnId> {
        let mut found: Vec<FnId> = self
            .by_name
            .get(&callee.name)?
            .iter()
            .copied()
            .filter(|id| self.functions[*id].owner == callee.owner)
            .collect();
        if found.len() > 1 {
            found.retain(|id| self.functions[*id].file == file);
        }
        match found.as_slice() {
            [only] => Some(*only),
            _ => None,
        }
    }

    /// Some type of the files has a method or function of this name.
    pub(crate) fn declares(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// The type of a field.
    pub(crate) fn field(&self, owner: &str, field: &str) -> Option<&Ty> {
        let fields = self.structs.get(owner)?.as_ref()?;
        fields.iter().find(|(name, _)| name == field).map(|(_, ty)| ty)
    }

    /// What a clone of a type costs, structs looked into.
    pub(crate) fn clone_cost(&self, ty: &Ty) -> CloneCost {
        self.cost(ty, 3)
    }

    fn cost(&self, ty: &Ty, depth: usize) -> CloneCost {
        let CloneCost::Struct(name) = ty.clone_cost() else {
            return ty.clone_cost();
        };
        let (Some(Some(fields)), Some(depth)) = (self.structs.get(&name), depth.checked_sub(1)) else {
            return CloneCost::Unknown;
        };
        let mut total = CloneCost::Nothing;
        for (_, field) in fields {
            match self.cost(field, depth) {
                CloneCost::Makes(_) | CloneCost::Struct(_) => return CloneCost::Struct(name),
                CloneCost::Unknown => total = CloneCost::Unknown,
                CloneCost::Nothing => {}
            }
        }
        total
    }
}

struct Structs<'a> {
    index: &'a mut Index,
    names: &'a Names,
}

impl<'ast> Visit<'ast> for Structs<'_> {
    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        let fields = item.fields.iter().enumerate().map(|(number, field)| {
            let name = field
                .ident
                .as_ref()
                .map_or_else(|| number.to_string(), ToString::to_string);
            (name, self.names.ty(&field.ty))
        });
        let fields: Vec<(String, Ty)> = fields.collect();
        self.index
            .structs
            .entry(item.ident.to_string())
            .and_modify(|known| *known = None)
            .or_insert(Some(fields));
        visit::visit_item_struct(self, item);
    }
}
