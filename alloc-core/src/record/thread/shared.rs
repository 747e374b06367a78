//! The shared shard: figures of ended threads, and of threads that have no state.
//!
//! Record side. Written by many, with `add_shared`. Pages are made when a context is interned and never go.

use core::slice;

use super::MAX_CONTEXTS;
use crate::ids::ContextId;
use crate::record::counters::{LOSSES, Row};
use crate::record::growth::GrowthRow;
use crate::record::index::Lazy;
use crate::record::pages::PAGE;

static SHARED_ROWS: [Lazy<Row>; MAX_CONTEXTS / PAGE] = [const { Lazy::new() }; MAX_CONTEXTS / PAGE];
static SHARED_GROWTH: [Lazy<GrowthRow>; MAX_CONTEXTS / PAGE] = [const { Lazy::new() }; MAX_CONTEXTS / PAGE];

fn shared<T>(table: &'static [Lazy<T>], context: ContextId) -> Option<&'static T> {
    rows_of(table, context.0 as usize / PAGE).get(context.0 as usize % PAGE)
}

fn rows_of<T>(table: &'static [Lazy<T>], page: usize) -> &'static [T] {
    match table.get(page).and_then(Lazy::get) {
        // SAFETY: pages of the shared shard have PAGE rows and are never freed.
        Some(page) => unsafe { slice::from_raw_parts(page.as_ptr(), PAGE) },
        None => &[],
    }
}

/// The rows of so many contexts, from that of `PAGE * page` on; none when none of them is in use.
pub(crate) fn shared_rows(page: usize) -> &'static [Row] {
    rows_of(&SHARED_ROWS, page)
}

/// The same of their growth.
pub(crate) fn shared_growth_rows(page: usize) -> &'static [GrowthRow] {
    rows_of(&SHARED_GROWTH, page)
}

/// Makes room for `context` in the shared shard, so that its figures always have a place to go.
pub(crate) fn make_shared_row(context: ContextId) -> bool {
    match SHARED_ROWS.get(context.0 as usize / PAGE) {
        // SAFETY: zero is a valid Row.
        Some(page) => unsafe { page.get_or_make(PAGE) }.is_some(),
        None => false,
    }
}

/// The row that threads without a state, and ended threads, share. Written with `add_shared` only.
pub(crate) fn shared_row(context: ContextId) -> Option<&'static Row> {
    shared(&SHARED_ROWS, context)
}

/// What is counted of a context's growth, if anything.
pub(crate) fn shared_growth(context: ContextId) -> Option<&'static GrowthRow> {
    shared(&SHARED_GROWTH, context)
}

/// The same, made if need be.
pub(super) fn make_shared_growth(context: ContextId) -> Option<&'static GrowthRow> {
    let page = SHARED_GROWTH.get(context.0 as usize / PAGE)?;
    // SAFETY: zero is a valid GrowthRow.
    unsafe { page.get_or_make(PAGE) }?;
    shared_growth(context)
}

/// A thread without a state has copied `bytes`.
pub(crate) fn copied_shared(context: ContextId, bytes: u64) {
    match make_shared_growth(context) {
        Some(row) => row.copied_bytes.add_shared(bytes),
        None => LOSSES.dropped_events.add_shared(1),
    }
}
