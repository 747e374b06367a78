//! What to look for: cost floors, whose code, which paths.
//!
//! Called by the user. Read side. The thresholds of the verdicts themselves are no options: `docs/rebuilds.md` says what they are.
#![forbid(unsafe_code)]

use crate::symbolize::Own;

/// What [`Findings::of`](super::Findings::of) reports, and what it leaves out as too cheap.
///
/// # Examples
/// ```
/// use alloc_core::findings::Options;
///
/// let options = Options::default().min_bytes(1024).min_share(0.05).user_crates(["shop"]);
/// # drop(options);
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    pub(super) min_bytes: u64,
    pub(super) min_share: f64,
    pub(super) min_copied_bytes: u64,
    pub(super) min_severity: u8,
    pub(super) own: Own,
    pub(super) base: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        let base = std::env::current_dir()
            .ok()
            .and_then(|path| path.into_os_string().into_string().ok());
        Self {
            min_bytes: 64,
            min_share: 0.01,
            min_copied_bytes: 256,
            min_severity: 0,
            own: Own::default(),
            base,
        }
    }
}

impl Options {
    /// Bytes that a line must grant and release per iteration, with what it holds; 64 by default.
    #[must_use]
    pub fn min_bytes(mut self, bytes: u64) -> Self {
        self.min_bytes = bytes;
        self
    }

    /// Share of its loop's churn, in bytes or in allocations, that a line must have: 0 to 1, 0.01 by default.
    #[must_use]
    pub fn min_share(mut self, share: f64) -> Self {
        self.min_share = if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) };
        self
    }

    /// Bytes that growths must copy per iteration before a capacity is worth writing; 256 by default.
    #[must_use]
    pub fn min_copied_bytes(mut self, bytes: u64) -> Self {
        self.min_copied_bytes = bytes;
        self
    }

    /// Findings of a lower severity are left out; 0 by default, at most 100.
    #[must_use]
    pub fn min_severity(mut self, severity: u8) -> Self {
        self.min_severity = severity.min(100);
        self
    }

    /// Names the crates that are your own, as [`Report::user_crates`](crate::report::Report::user_crates).
    #[must_use]
    pub fn user_crates<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        self.own = Own::new(&names);
        self
    }

    #[cfg(feature = "html")]
    pub(crate) fn own(mut self, own: Own) -> Self {
        self.own = own;
        self
    }

    /// Shows paths relative to this directory instead of the current one.
    #[must_use]
    pub fn relative_to(mut self, directory: impl Into<String>) -> Self {
        self.base = Some(directory.into());
        self
    }
}
