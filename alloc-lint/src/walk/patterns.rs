//! Names that patterns declare.
#![forbid(unsafe_code)]

use syn::Pat;

use super::Walker;
use super::flow::BindingId;
use crate::types::Ty;

impl Walker<'_> {
    /// Declares the names of a pattern. With `id`, all of them stand for that value: parts of it cannot be told apart.
    pub(super) fn declare(&mut self, pattern: &Pat, ty: Option<Ty>, id: Option<BindingId>) {
        match pattern {
            Pat::Ident(ident) => {
                let name = ident.ident.to_string();
                let starts_low = name.chars().next().is_none_or(|first| !first.is_uppercase());
                if starts_low {
                    let is_mut = ident.mutability.is_some() && ident.by_ref.is_none();
                    let id = id.unwrap_or_else(|| self.new_binding(name.clone(), ty, is_mut));
                    if let Some(scope) = self.scopes.last_mut() {
                        scope.push((name, id));
                    }
                    if let Some((_, inner)) = &ident.subpat {
                        self.declare(inner, None, Some(id));
                    }
                }
            }
            Pat::Type(typed) => {
                let ty = self.names.ty(&typed.ty);
                self.declare(&typed.pat, Some(ty), id);
            }
            Pat::Reference(reference) => self.declare(&reference.pat, ty.map(|ty| ty.bare().clone()), id),
            Pat::Paren(inner) => self.declare(&inner.pat, ty, id),
            Pat::Or(alternatives) => alternatives.cases.iter().for_each(|case| self.declare(case, None, id)),
            Pat::Tuple(tuple) => match ty {
                Some(Ty::Tuple(types)) if types.len() == tuple.elems.len() => {
                    for (elem, ty) in tuple.elems.iter().zip(types) {
                        self.declare(elem, Some(ty), id);
                    }
                }
                _ => tuple.elems.iter().for_each(|elem| self.declare(elem, None, id)),
            },
            Pat::TupleStruct(tuple) => {
                // `State(state): State<App>`: the one part has the type's argument.
                let inner = match ty {
                    Some(Ty::Named(_, args)) if tuple.elems.len() == 1 && args.len() == 1 => args.into_iter().next(),
                    _ => None,
                };
                for elem in &tuple.elems {
                    self.declare(elem, inner.clone(), id);
                }
            }
            Pat::Struct(fields) => fields
                .fields
                .iter()
                .for_each(|field| self.declare(&field.pat, None, id)),
            Pat::Slice(slice) => slice.elems.iter().for_each(|elem| self.declare(elem, None, id)),
            _ => {}
        }
    }

    /// Declares the parameters of a function or a closure.
    pub(super) fn parameter(&mut self, pattern: &Pat, ty: Option<Ty>) {
        let first = self.body.bindings.len();
        self.declare(pattern, ty, None);
        for binding in &mut self.body.bindings[first..] {
            binding.is_parameter = true;
        }
    }
}

/// An arm or an `if let` for an error.
pub(super) fn is_error(pattern: &Pat) -> bool {
    match pattern {
        Pat::TupleStruct(tuple) => tuple.path.segments.last().is_some_and(|segment| segment.ident == "Err"),
        Pat::Reference(reference) => is_error(&reference.pat),
        Pat::Paren(inner) => is_error(&inner.pat),
        Pat::Or(alternatives) => alternatives.cases.iter().all(is_error),
        _ => false,
    }
}
