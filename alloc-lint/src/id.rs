//! Names for candidates that stay when lines move.
#![forbid(unsafe_code)]

use crate::kinds::Kind;

/// FNV-1a, 64 bit, of file, function, kind, whether a called function makes it, and the how-many-th such place of the function it is.
pub(crate) fn id(file: &str, function: &str, kind: Kind, is_called: bool, ordinal: usize) -> String {
    let ordinal = ordinal.to_string();
    let called = if is_called { "call" } else { "here" };
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for part in [file, function, kind.name(), called, &ordinal] {
        for byte in part.bytes().chain([0]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    format!("{hash:016x}")
}
