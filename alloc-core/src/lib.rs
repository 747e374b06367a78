//! Allocscope.
mod record;

#[doc(hidden)]
pub mod __private {
    #[doc(hidden)]
    pub use crate::record::stack::probe;
}
