//! Addresses to source frames, and what the frames say: whose code, which collection.
//!
//! `Snapshot::resolve` is called by the user, by `control` at exit, and by nobody on the record side; `report` uses the
//! classification. Read side.
#![forbid(unsafe_code)]

use crate::model::Snapshot;

impl Snapshot {
    /// Fills [`Frame::symbols`](crate::model::Frame::symbols) from the debug information of this process.
    pub fn resolve(&mut self) {}
}
