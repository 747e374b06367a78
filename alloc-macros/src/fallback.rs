//! What is emitted when something is wrong: the error, and the item as it was written.
//!
//! Called by the entry point only. Keeping the item means that its callers still find it, so one mistake gives one
//! message instead of a "cannot find function" at every call. It leaves out nothing of the item, other attributes
//! included.
#![forbid(unsafe_code)]

use proc_macro2::TokenStream;

/// ```text
/// <error>, fn f() { .. }   =>   ::core::compile_error! { "..." } fn f() { .. }
/// ```
pub(crate) fn error_beside_item(error: &syn::Error, item: TokenStream) -> TokenStream {
    let mut out = error.to_compile_error();
    out.extend(item);
    out
}
