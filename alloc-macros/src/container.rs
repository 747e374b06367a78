//! The attribute above a block: an `impl`, a trait or a module.
//!
//! Called by the entry point. It puts the attribute above each function in the block and leaves the rest to them, so
//! another attribute on the block (`#[async_trait]`) finds functions as people write them, in whatever order the two
//! stand. It looks at the shape of the items only; bodies stay raw.
//!
//! Left as they are: functions that cannot be scopes (`const`, naked, without a body), functions that have the
//! attribute already, with arguments of their own or `skip`, and what macros make.
#![forbid(unsafe_code)]

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::parse::{Parse, ParseStream, Parser};
use syn::{Attribute, Error, ImplItem, Item, ItemImpl, ItemMod, ItemTrait, Result, Token, TraitItem, Type, Visibility};

use crate::args::{Args, BUDGET, NAME, REQUEST};
use crate::item::{Body, TrackedFn, is_mark};

/// A block of functions.
pub(crate) struct Container {
    /// What stands before the braces.
    head: TokenStream,
    block: Group,
    kind: Kind,
    /// The name to put before those of the functions.
    owner: Option<String>,
}

#[derive(Clone, Copy)]
enum Kind {
    Impl,
    Trait,
    Module,
}

impl Kind {
    fn words(self) -> &'static str {
        match self {
            Self::Impl => "an `impl` block",
            Self::Trait => "a trait",
            Self::Module => "a module",
        }
    }
}

impl Container {
    /// The block that `item` is; `None` when it is something else.
    pub(crate) fn read(item: &TokenStream) -> Option<Self> {
        let mut head: Vec<TokenTree> = item.clone().into_iter().collect();
        let block = match head.pop() {
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => group,
            _ => return None,
        };
        let head: TokenStream = head.into_iter().collect();
        // Without its items, whose shape does not matter here.
        let empty = quote!(#head {});
        let (kind, owner) = if let Ok(item) = syn::parse2::<ItemImpl>(empty.clone()) {
            (Kind::Impl, type_name(&item.self_ty))
        } else if let Ok(item) = syn::parse2::<ItemTrait>(empty.clone()) {
            (Kind::Trait, Some(item.ident.to_string()))
        } else if syn::parse2::<ItemMod>(empty).is_ok() {
            (Kind::Module, None)
        } else {
            return None;
        };
        Some(Self {
            head,
            block,
            kind,
            owner,
        })
    }

    /// ```text
    /// impl A { fn f(&self) {} const fn g() {} #[track_memory(skip)] fn h() {} }
    /// =>
    /// impl A { #[::alloc_core::track_memory(__owner = "A")] fn f(&self) {} const fn g() {} #[track_memory(skip)] fn h() {} }
    /// ```
    pub(crate) fn mark(self, args: &Args) -> Result<TokenStream> {
        for (key, why) in [
            (NAME, "would give all of its functions one name"),
            (REQUEST, "would make each of its functions a request"),
            (BUDGET, "would give each of its functions the same limits"),
        ] {
            if let Some(span) = args.span_of(key) {
                let kind = self.kind.words();
                let message = format!(
                    "found `{key}` above {kind}, where it {why}; accepted there are `loops`, `skip` and `crate`; write \
                     `{key}` above the one function it is meant for"
                );
                return Err(Error::new(span, message));
            }
        }
        let mark = self.mark_for_functions(args);
        let (kind, marked_args) = (self.kind, args);
        let read = |input: ParseStream<'_>| -> Result<TokenStream> {
            let mut out = TokenStream::new();
            let inner = input.call(Attribute::parse_inner)?;
            out.extend(inner.iter().map(ToTokens::to_token_stream));
            while !input.is_empty() {
                out.extend(mark_item(input, kind, &mark, marked_args)?);
            }
            Ok(out)
        };
        let inside = read.parse2(self.block.stream()).map_err(|error| {
            let message = format!(
                "found something in {} that is no item ({error}); `#[track_memory]` accepts blocks in stable Rust; write it \
                 above each function in there",
                kind.words()
            );
            Error::new(error.span(), message)
        })?;
        let mut block = Group::new(Delimiter::Brace, inside);
        block.set_span(self.block.span());
        let mut out = self.head;
        out.extend([TokenTree::Group(block)]);
        Ok(out)
    }

    fn mark_for_functions(&self, args: &Args) -> TokenStream {
        let ours = proc_macro2::Span::mixed_site();
        let path = match &args.krate {
            Some(path) => path.to_token_stream(),
            None => quote_spanned!(ours=> ::alloc_core),
        };
        let mut inside = TokenStream::new();
        if let Some(owner) = &self.owner {
            inside.extend(quote!(__owner = #owner,));
        }
        if args.has_loops {
            inside.extend(quote!(loops,));
        }
        if let Some(krate) = &args.krate {
            inside.extend(quote!(crate = #krate,));
        }
        quote_spanned!(ours=> #[#path::track_memory(#inside)])
    }
}

/// Reads the next item, and puts the mark where it belongs.
fn mark_item(input: ParseStream<'_>, kind: Kind, mark: &TokenStream, args: &Args) -> Result<TokenStream> {
    if starts_function(&input.fork()) {
        let start = input.fork();
        let function = TrackedFn::read(input)?;
        let written = tokens_between(&start, input);
        let is_left = function.sig.constness.is_some()
            || function.naked().is_some()
            || function.attrs.iter().any(is_mark)
            || matches!(function.body, Body::Missing(_));
        return Ok(if is_left { written } else { quote!(#mark #written) });
    }
    let start = input.fork();
    match kind {
        Kind::Impl => drop(ImplItem::parse(input)?),
        Kind::Trait => drop(TraitItem::parse(input)?),
        Kind::Module => {
            let item = Item::parse(input)?;
            let written = tokens_between(&start, input);
            let attrs = match &item {
                Item::Impl(item) => &item.attrs,
                Item::Trait(item) => &item.attrs,
                Item::Mod(item) => &item.attrs,
                _ => return Ok(written),
            };
            if attrs.iter().any(is_mark) {
                return Ok(written);
            }
            return match Container::read(&written) {
                Some(inner) => inner.mark(args),
                None => Ok(written),
            };
        }
    }
    Ok(tokens_between(&start, input))
}

/// Does a function stand here, whatever its body?
fn starts_function(input: ParseStream<'_>) -> bool {
    input.call(Attribute::parse_outer).is_ok()
        && input.parse::<Visibility>().is_ok()
        && (!input.peek(Token![default]) || input.parse::<Token![default]>().is_ok())
        && input.parse::<syn::Signature>().is_ok()
}

/// What was read between two places, as it was written.
fn tokens_between(start: ParseStream<'_>, end: ParseStream<'_>) -> TokenStream {
    let (mut cursor, end) = (start.cursor(), end.cursor());
    let mut out = TokenStream::new();
    while cursor != end {
        let Some((token, next)) = cursor.token_tree() else {
            break;
        };
        out.extend([token]);
        cursor = next;
    }
    out
}

/// `Vec<T>` is `Vec`; what has no such name has none here.
fn type_name(ty: &Type) -> Option<String> {
    match ty {
        Type::Path(path) => Some(path.path.segments.last()?.ident.to_string()),
        Type::Reference(reference) => type_name(&reference.elem),
        Type::Group(group) => type_name(&group.elem),
        Type::Paren(paren) => type_name(&paren.elem),
        _ => None,
    }
}
