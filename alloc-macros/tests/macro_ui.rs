//! What compiles and what does not, one file per rule under `ui/`.
//!
//! `ui/fail/*.stderr` are reviewed texts: a message says what was found, what is accepted and how to write it, at the
//! token at fault. After an intended change, run with `TRYBUILD=overwrite` and read the difference.

#[test]
fn accepted_and_refused_forms() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/pass/*.rs");
    cases.compile_fail("tests/ui/fail/*.rs");
}
