//! Comments of a source file, which are not in syn's tree; and how deep its brackets and its expressions nest.
//!
//! Called by `source`. A scan of the text that knows what a comment cannot be in: strings with escapes, raw strings with
//! any number of `#`, byte and C strings, characters (and that a lifetime is none), raw identifiers, and block comments inside block
//! comments. It never fails: on text that is no Rust it finds some comments, and the parser reports the text.
//! Cost: one pass over the bytes.
#![forbid(unsafe_code)]

use crate::depth::Depth;

/// A `//` comment that documents nothing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Comment {
    /// From 1.
    pub(crate) line: usize,
    /// Without the slashes, trimmed.
    pub(crate) text: String,
    /// There is code before it on its line.
    pub(crate) is_trailing: bool,
}

/// What a scan finds.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// In the order of the text.
    pub(crate) comments: Vec<Comment>,
    /// Lines with code on them, ascending, from 1.
    pub(crate) code_lines: Vec<usize>,
    /// Most brackets open at once.
    pub(crate) depth: usize,
    /// Most prefix operators in a row: each is a level of the tree, too.
    pub(crate) prefix_run: usize,
    /// Most tokens that the tree may go down by, see [`Depth::most`].
    pub(crate) tokens: usize,
}

/// Scans `text`.
pub(crate) fn scan(text: &str) -> Scan {
    let mut scanner = Scanner {
        bytes: text.as_bytes(),
        at: 0,
        line: 1,
        open: 0,
        run: 0,
        tokens: Depth::default(),
        scan: Scan::default(),
    };
    scanner.run(text);
    scanner.scan.tokens = scanner.tokens.most;
    scanner.scan
}

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    line: usize,
    open: usize,
    run: usize,
    tokens: Depth,
    scan: Scan,
}

impl Scanner<'_> {
    fn peek(&self, ahead: usize) -> u8 {
        self.bytes.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn step(&mut self) {
        if self.peek(0) == b'\n' {
            self.line += 1;
        }
        self.at += 1;
    }

    fn code(&mut self) {
        if self.scan.code_lines.last() != Some(&self.line) {
            self.scan.code_lines.push(self.line);
        }
    }

    fn run(&mut self, text: &str) {
        if text.starts_with("#!") && !text.starts_with("#![") {
            self.skip_line();
        }
        while self.at < self.bytes.len() {
            let byte = self.peek(0);
            match byte {
                b'/' if self.peek(1) == b'/' => self.line_comment(text),
                b'/' if self.peek(1) == b'*' => self.block_comment(),
                b'"' => self.string(),
                b'\'' => self.quote(text),
                b' ' | b'\t' | b'\r' | b'\n' => self.step(),
                _ if byte == b'_' || byte.is_ascii_alphanumeric() || byte >= 0x80 => self.word(),
                _ => self.punct(byte),
            }
        }
    }

    fn punct(&mut self, byte: u8) {
        self.code();
        self.tokens.punct(byte, self.peek(1));
        match byte {
            b'(' | b'[' | b'{' => {
                self.open += 1;
                self.scan.depth = self.scan.depth.max(self.open);
                self.run = 0;
            }
            b')' | b']' | b'}' => self.open = self.open.saturating_sub(1),
            b'-' | b'!' | b'*' | b'&' | b'|' | b'<' => {
                self.run += 1;
                self.scan.prefix_run = self.scan.prefix_run.max(self.run);
            }
            _ => self.run = 0,
        }
        self.step();
    }

    fn skip_line(&mut self) {
        while self.at < self.bytes.len() && self.peek(0) != b'\n' {
            self.at += 1;
        }
    }

    fn line_comment(&mut self, text: &str) {
        let (start, line) = (self.at, self.line);
        self.skip_line();
        // Both ends stand next to ASCII, so they are boundaries of characters.
        let comment = text.get(start..self.at).unwrap_or_default();
        let is_doc = comment.starts_with("//!") || (comment.starts_with("///") && !comment.starts_with("////"));
        if !is_doc {
            self.scan.comments.push(Comment {
                line,
                text: comment.trim_start_matches('/').trim().to_owned(),
                is_trailing: self.scan.code_lines.last() == Some(&line),
            });
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 0_usize;
        while self.at < self.bytes.len() {
            match (self.peek(0), self.peek(1)) {
                (b'/', b'*') => {
                    depth += 1;
                    self.at += 2;
                }
                (b'*', b'/') => {
                    depth -= 1;
                    self.at += 2;
                    if depth == 0 {
                        return;
                    }
                }
                _ => self.step(),
            }
        }
    }

    fn string(&mut self) {
        self.run = 0;
        self.tokens.literal();
        self.code();
        self.step();
        while self.at < self.bytes.len() {
            match self.peek(0) {
                b'\\' => {
                    self.step();
                    self.step();
                }
                b'"' => {
                    self.step();
                    break;
                }
                _ => self.step(),
            }
        }
        self.code();
    }

    /// At the first `#` or at the quote. False when it is a raw identifier.
    fn raw_string(&mut self) -> bool {
        let mut hashes = 0;
        while self.peek(hashes) == b'#' {
            hashes += 1;
        }
        if self.peek(hashes) != b'"' {
            return false;
        }
        self.at += hashes + 1;
        while self.at < self.bytes.len() {
            let is_end = self.peek(0) == b'"' && (1..=hashes).all(|ahead| self.peek(ahead) == b'#');
            if is_end {
                self.at += 1 + hashes;
                break;
            }
            self.step();
        }
        self.code();
        true
    }

    /// A character, or the quote of a lifetime or a label.
    fn quote(&mut self, text: &str) {
        self.run = 0;
        self.tokens.literal();
        self.code();
        self.step();
        if self.peek(0) == b'\\' {
            self.step();
            self.step();
            while self.at < self.bytes.len() && !matches!(self.peek(0), b'\'' | b'\n') {
                self.step();
            }
            self.step();
            return;
        }
        let width = text
            .get(self.at..)
            .and_then(|rest| rest.chars().next())
            .map_or(1, char::len_utf8);
        if self.peek(width) == b'\'' {
            if self.peek(0) == b'\n' {
                self.line += 1;
            }
            self.at += width + 1;
        }
    }

    fn word(&mut self) {
        self.run = 0;
        self.code();
        let start = self.at;
        while self.peek(0) == b'_' || self.peek(0).is_ascii_alphanumeric() || self.peek(0) >= 0x80 {
            self.at += 1;
        }
        self.tokens.word(&self.bytes[start..self.at]);
        let is_raw_prefix = matches!(&self.bytes[start..self.at], b"r" | b"br" | b"cr");
        if is_raw_prefix && matches!(self.peek(0), b'#' | b'"') && !self.raw_string() {
            // A raw identifier: the next round reads the rest of it.
            self.at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<String> {
        scan(text).comments.into_iter().map(|comment| comment.text).collect()
    }

    #[test]
    fn comments_are_not_found_in_strings_of_any_kind() {
        assert_eq!(texts(r###"let a = "// no"; let b = r#"x " // no"#; // yes"###), ["yes"]);
        assert_eq!(texts("let a = \"\\\"// no\"; // yes"), ["yes"]);
        assert_eq!(
            texts("b\"// no\"; c\"// no\"; br##\"\"# // no\"##; cr\"// no\" // yes"),
            ["yes"]
        );
        assert_eq!(texts("\"two\n// no\nlines\" // yes"), ["yes"]);
    }

    #[test]
    fn quotes_of_characters_and_lifetimes_open_no_string() {
        assert_eq!(
            texts("let q = '\"'; // one\nlet p = '\\''; // two\nfn f<'a>(x: &'a str) {} // three"),
            ["one", "two", "three"]
        );
        assert_eq!(texts("let e = '\\u{1F600}'; let u = 'é'; // yes"), ["yes"]);
        assert_eq!(texts("'outer: loop { break 'outer; } // yes"), ["yes"]);
    }

    #[test]
    fn block_comments_nest_and_hide_line_comments() {
        assert_eq!(texts("/* a /* // no */ // no */ x // yes"), ["yes"]);
        assert!(texts("/* never ends // no").is_empty());
    }

    #[test]
    fn raw_identifiers_are_no_raw_strings() {
        assert_eq!(texts("let r#type = 1; // yes \"\n"), ["yes \""]);
    }

    #[test]
    fn documentation_is_left_out_and_trailing_is_told_from_own_line() {
        let scan = scan("/// doc\n//! doc\n//// not doc\nfn f() {} // trailing\n");
        let found: Vec<(usize, bool)> = scan.comments.iter().map(|c| (c.line, c.is_trailing)).collect();
        assert_eq!(found, [(3, false), (4, true)]);
        assert_eq!(scan.code_lines, [4]);
    }

    #[test]
    fn text_that_is_no_rust_is_scanned_to_its_end() {
        for text in [
            "\"",
            "'",
            "r#\"",
            "/*",
            "'\\",
            "r#",
            "b'",
            "\u{feff}//x",
            "#!/bin/sh '\n// a",
        ] {
            scan(text);
        }
        assert_eq!(scan("((([").depth, 4);
        assert_eq!(scan("!!!!!x").prefix_run, 5);
    }
}
