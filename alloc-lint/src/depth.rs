//! How deep the tree of a text can be at most, known before anybody builds it.
//!
//! Called by `comments`, token by token: words, literals, and single characters of punctuation. The parser and the walk go down the tree by
//! recursion, and every level of the tree begins with a token of its own. So no tree is deeper than the tokens in front of a place that
//! belong to something which goes on there: those since the last end of an expression, and the same of each bracket around.
//!
//! # Invariants
//! - An end is only taken for one if nothing goes on after it whatever the text means. Where that is not clear the count is too large, never too
//!   small.
//! - It never fails: text that is no Rust has some depth, and the parser reports the text.
#![forbid(unsafe_code)]

/// Counts the tokens of a text.
#[derive(Debug, Default)]
pub(crate) struct Depth {
    /// Most tokens that something still went on after.
    pub(crate) most: usize,
    around: Vec<Level>,
    here: Level,
    is_after_brace: bool,
    last: u8,
}

/// What is between two brackets.
#[derive(Clone, Copy, Debug, Default)]
struct Level {
    /// Those before the bracket.
    before: usize,
    /// These, and those since the last end.
    tokens: usize,
    /// `<` that are not closed: a comma may stand between arguments of types.
    angles: usize,
    /// There was a `|`: a comma may stand between parameters of a closure, and its body comes after.
    has_pipe: bool,
}

impl Level {
    fn end(&mut self) {
        *self = Self {
            before: self.before,
            tokens: self.before,
            ..Self::default()
        };
    }
}

impl Depth {
    pub(crate) fn word(&mut self, word: &[u8]) {
        // After `}` these words go on; any other begins a statement, an item or an arm.
        if self.is_after_brace && !matches!(word, b"else" | b"as" | b"in") {
            self.here.end();
        }
        self.token(0);
    }

    pub(crate) fn literal(&mut self) {
        self.token(0);
    }

    /// `next` is the byte after it.
    pub(crate) fn punct(&mut self, byte: u8, next: u8) {
        match (byte, next) {
            (b'(' | b'[' | b'{', _) => {
                self.token(byte);
                self.around.push(self.here);
                self.here.before = self.here.tokens;
                return self.here.end();
            }
            (b')' | b']' | b'}', _) => self.here = self.around.pop().unwrap_or_default(),
            (b';', _) => self.here.end(),
            (b',', _) if self.here.angles == 0 && !self.here.has_pipe => self.here.end(),
            // A pattern is complete, with its guard.
            (b'=', b'>') => self.here.end(),
            (b'#', _) if self.is_after_brace => self.here.end(),
            (b'<', _) => self.here.angles += 1,
            (b'>', _) if self.last != b'-' => self.here.angles = self.here.angles.saturating_sub(1),
            // `||` is an operator, or a closure without parameters.
            (b'|', b'|') if self.last != b'|' => return self.token(b'|'),
            (b'|', _) if self.last == b'|' => return self.token(0),
            (b'|', _) => self.here.has_pipe = true,
            _ => {}
        }
        // What was said of a `|` and of a `-` is of the byte right before.
        self.token(if byte == b'|' { 0 } else { byte });
        self.is_after_brace = byte == b'}';
    }

    fn token(&mut self, last: u8) {
        self.here.tokens += 1;
        self.most = self.most.max(self.here.tokens);
        self.is_after_brace = false;
        self.last = last;
    }
}

#[cfg(test)]
mod tests {
    use crate::comments::scan;

    fn tokens(text: &str) -> usize {
        scan(text).tokens
    }

    #[test]
    fn what_nests_without_brackets_is_counted_to_its_end() {
        for unit in [
            "return ",
            "x = ",
            "x + ",
            "|a| ",
            "|a, b| ",
            "|||a, b| ",
            "if a {} else ",
            "S {} = ",
            "S {} as ",
            "for S {} in ",
            "V<u8, ",
            "V<(u8), F, fn() -> u8, ",
            "f() + ",
            "f(a; b, c => d) + ",
            "'a' + ",
            "\"a\" + ",
            "r#\"a\"# + ",
            "&",
            "!",
        ] {
            assert!(tokens(&format!("({}", unit.repeat(1000))) > 1000, "{unit}");
            // Brackets around add up.
            let nested = format!("f({}", unit.repeat(100)).repeat(10);
            assert!(tokens(&nested) > 1000, "{unit}");
        }
    }

    #[test]
    fn what_is_over_is_not_counted() {
        for unit in [
            "return x; ",
            "x, ",
            "V<u8>, ",
            "a::<V<V<u8>>>(), ",
            "a || b, ",
            "A | B => x, ",
            "A | B if a < b => {} ",
            "if a {} ",
            "fn f() -> u8 { a } ",
            "#[a] m! {} ",
            "let a = b < c; ",
            "f(x + y, z); ",
            "// x = x = x\n",
        ] {
            assert!(tokens(&format!("{{ {} }}", unit.repeat(1000))) < 30, "{unit}");
        }
    }

    #[test]
    fn text_that_is_no_rust_has_some_depth() {
        for text in ["", ")", "}}}", "}>", ",", "||", "|", "->", "=>", "(]{)"] {
            tokens(text);
        }
    }
}
