//! Types as far as the lint needs them: names and arguments, aliases resolved, no lifetimes.
//!
//! Called by `names`, `index` and the walk. Plain data: no span of the source survives in here, so a file's tree can go
//! before its types are used.
#![forbid(unsafe_code)]

use std::fmt;

use crate::kinds::{Kind, is_cheap};

/// A type as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ty {
    /// `&T`, `&mut T`; true for `mut`.
    Ref(Box<Ty>, bool),
    /// A path by its last segment, the name that it has where it is declared.
    Named(String, Vec<Ty>),
    /// `[T]`, `[T; N]`.
    Slice(Box<Ty>),
    Tuple(Vec<Ty>),
    /// `_`, functions, trait objects.
    Other,
}

/// What a clone of a type costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CloneCost {
    /// Makes one of these.
    Makes(Kind),
    /// Copies no heap memory.
    Nothing,
    /// A type by this name that is neither.
    Struct(String),
    Unknown,
}

impl Ty {
    /// Without the references around it.
    pub(crate) fn bare(&self) -> &Ty {
        match self {
            Ty::Ref(inner, _) => inner.bare(),
            other => other,
        }
    }

    /// Its name, if it has one.
    pub(crate) fn name(&self) -> Option<&str> {
        match self.bare() {
            Ty::Named(name, _) => Some(name),
            _ => None,
        }
    }

    /// The first collection in it, from the outside: `Vec<u8>` of `Result<Vec<u8>, E>`.
    pub(crate) fn collection(&self) -> Option<(Kind, &Ty)> {
        match self {
            Ty::Named(name, args) => match (Kind::of_type(name), name.as_str()) {
                (Some(kind), _) if !kind.is_pointer() => Some((kind, self)),
                (_, "Result" | "Option" | "Box" | "Rc" | "Arc" | "Cow" | "Pin") => {
                    args.first().and_then(Ty::collection)
                }
                _ => None,
            },
            Ty::Tuple(parts) => parts.iter().find_map(Ty::collection),
            _ => None,
        }
    }

    /// The type inside of `Result` and `Option`.
    pub(crate) fn unwrapped(&self) -> &Ty {
        match self {
            Ty::Named(name, args) if matches!(name.as_str(), "Result" | "Option") => {
                args.first().map_or(self, Ty::unwrapped)
            }
            other => other,
        }
    }

    /// No heap memory in it by its looks: numbers, text that is borrowed, `()`.
    pub(crate) fn is_plain(&self) -> bool {
        match self {
            Ty::Ref(..) => true,
            Ty::Named(name, _) => is_cheap(name) && !matches!(name.as_str(), "Rc" | "Arc"),
            Ty::Tuple(parts) => parts.iter().all(Ty::is_plain),
            Ty::Slice(_) | Ty::Other => false,
        }
    }

    pub(crate) fn clone_cost(&self) -> CloneCost {
        match self.bare() {
            Ty::Named(name, args) => match Kind::of_type(name) {
                Some(Kind::Rc | Kind::Arc | Kind::Regex) => CloneCost::Nothing,
                Some(kind) => CloneCost::Makes(kind),
                None if is_cheap(name) => CloneCost::Nothing,
                None if name == "str" => CloneCost::Nothing,
                None if matches!(name.as_str(), "Option" | "Cow") => {
                    args.first().map_or(CloneCost::Unknown, |inner| match inner {
                        Ty::Ref(..) => CloneCost::Nothing,
                        inner => inner.clone_cost(),
                    })
                }
                None => CloneCost::Struct(name.clone()),
            },
            Ty::Slice(_) => CloneCost::Nothing,
            Ty::Tuple(parts) => {
                let costs: Vec<CloneCost> = parts.iter().map(Ty::clone_cost).collect();
                let made = costs.iter().find(|cost| matches!(cost, CloneCost::Makes(_)));
                match made {
                    Some(cost) => cost.clone(),
                    None if costs.iter().all(|cost| *cost == CloneCost::Nothing) => CloneCost::Nothing,
                    None => CloneCost::Unknown,
                }
            }
            _ => CloneCost::Unknown,
        }
    }
}

impl fmt::Display for Ty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, parts: &[Ty]| {
            for (index, part) in parts.iter().enumerate() {
                if index > 0 {
                    f.write_str(", ")?;
                }
                write!(f, "{part}")?;
            }
            Ok(())
        };
        match self {
            Ty::Ref(inner, is_mut) => write!(f, "&{}{inner}", if *is_mut { "mut " } else { "" }),
            Ty::Named(name, args) if args.is_empty() => f.write_str(name),
            Ty::Named(name, args) => {
                write!(f, "{name}<")?;
                list(f, args)?;
                f.write_str(">")
            }
            Ty::Slice(inner) => write!(f, "[{inner}]"),
            Ty::Tuple(parts) => {
                f.write_str("(")?;
                list(f, parts)?;
                f.write_str(")")
            }
            Ty::Other => f.write_str("_"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str, args: Vec<Ty>) -> Ty {
        Ty::Named(name.to_owned(), args)
    }

    #[test]
    fn the_collection_of_a_type_is_the_outermost_one() {
        let set = named("HashSet", vec![named("u64", vec![])]);
        let ty = named("Result", vec![set.clone(), named("Error", vec![])]);
        assert_eq!(ty.collection(), Some((Kind::HashSet, &set)));
        assert_eq!(ty.to_string(), "Result<HashSet<u64>, Error>");
    }

    #[test]
    fn clones_of_shared_and_plain_values_cost_nothing() {
        assert_eq!(
            named("Arc", vec![named("Vec", vec![])]).clone_cost(),
            CloneCost::Nothing
        );
        assert_eq!(named("u64", vec![]).clone_cost(), CloneCost::Nothing);
        assert_eq!(
            Ty::Ref(Box::new(named("Vec", vec![])), false).clone_cost(),
            CloneCost::Makes(Kind::Vec)
        );
        assert_eq!(
            named("Config", vec![]).clone_cost(),
            CloneCost::Struct("Config".to_owned())
        );
    }
}
