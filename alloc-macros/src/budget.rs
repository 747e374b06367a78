//! `budget(...)`: what a call may allocate, read from the attribute and written as a `static`.
//!
//! Called by `args` and `names`. As there, one table says what exists. Sizes are read here, so a mistake in one is a
//! mistake in the source and not in the program.
#![forbid(unsafe_code)]

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::quote_spanned;
use syn::ext::IdentExt;
use syn::parse::ParseStream;
use syn::{Error, Lit, Result, Token};

use crate::args::{next, short};

/// Limits for one call of a function.
pub(crate) struct Budget {
    /// The name of each limit and its value, as they were given.
    limits: Vec<(&'static str, u64)>,
    on_exceed: Option<&'static str>,
}

struct Limit {
    key: &'static str,
    kind: Kind,
    example: &'static str,
}

#[derive(Clone, Copy)]
enum Kind {
    /// A whole number.
    Count,
    /// A whole number of bytes, or a text with a unit.
    Size,
    /// What happens when a limit is passed.
    Reaction,
}

impl Kind {
    fn takes(self) -> &'static str {
        match self {
            Self::Count => "a whole number",
            Self::Size => "a whole number of bytes or a size like \"64 KiB\"",
            Self::Reaction => "one of `warn`, `panic`, `count`",
        }
    }
}

const LIMITS: [Limit; 6] = [
    Limit {
        key: "allocations",
        kind: Kind::Count,
        example: "allocations = 10",
    },
    Limit {
        key: "bytes",
        kind: Kind::Size,
        example: "bytes = \"64 KiB\"",
    },
    Limit {
        key: "peak",
        kind: Kind::Size,
        example: "peak = \"16 KiB\"",
    },
    Limit {
        key: "retained",
        kind: Kind::Size,
        example: "retained = 0",
    },
    Limit {
        key: "bounded",
        kind: Kind::Size,
        example: "bounded = \"64 MiB\"",
    },
    Limit {
        key: "on_exceed",
        kind: Kind::Reaction,
        example: "on_exceed = warn",
    },
];

const REACTIONS: [(&str, &str); 3] = [("warn", "Warn"), ("panic", "Panic"), ("count", "Count")];

/// Bytes of a unit. Those with an `i` are powers of 1024, the others of 1000, as everywhere but in old habits.
const UNITS: [(&str, u64); 9] = [
    ("B", 1),
    ("kB", 1000),
    ("KB", 1000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

impl Budget {
    /// Reads what stands between the parentheses of `budget(..)`; `place` is that of the word itself.
    pub(crate) fn read(input: ParseStream<'_>, place: Span) -> Result<Self> {
        let mut budget = Self {
            limits: Vec::new(),
            on_exceed: None,
        };
        let mut given: Vec<(&'static str, Span)> = Vec::new();
        while !input.is_empty() {
            let (limit, span) = read_key(input)?;
            if given.iter().any(|(key, _)| *key == limit.key) {
                let message = format!(
                    "found a second `{}` in `budget`: it is accepted once; write only the one you mean",
                    limit.key
                );
                return Err(Error::new(span, message));
            }
            given.push((limit.key, span));
            read_sign(limit, span, input)?;
            match limit.kind {
                Kind::Reaction => budget.on_exceed = Some(read_reaction(limit, input)?),
                Kind::Count | Kind::Size => budget.limits.push((limit.key, read_amount(limit, input)?)),
            }
            if !input.is_empty() && !input.peek(Token![,]) {
                let token = input.parse::<TokenTree>()?;
                let message = format!(
                    "found `{}` after the value of `{}`; put a comma between limits: `budget({})`",
                    short(&token),
                    limit.key,
                    all_examples()
                );
                return Err(Error::new(token.span(), message));
            }
            input.parse::<Option<Token![,]>>()?;
        }
        if budget.limits.is_empty() {
            let (found, span) = match given.first() {
                Some((_, span)) => ("`on_exceed` and no limit that could be exceeded", *span),
                None => ("a `budget` without a limit", place),
            };
            let message = format!("found {found}; write at least one, as in `budget(allocations = 10)`");
            return Err(Error::new(span, message));
        }
        Ok(budget)
    }

    /// ```text
    /// budget(allocations = 10, peak = "1 KiB", on_exceed = warn)
    /// =>
    /// static BUDGET: CallBudget = CallBudget::new(cfg!(debug_assertions)).allocations(10).peak(1024).on_exceed(Warn);
    /// ```
    /// `debug_assertions` are those of the crate the attribute stands in.
    pub(crate) fn to_static(&self, name: &Ident, runtime: &TokenStream, ours: Span) -> TokenStream {
        let limits = self.limits.iter().map(|(key, amount)| {
            let key = Ident::new(key, ours);
            quote_spanned!(ours=> .#key(#amount))
        });
        let reaction = self.on_exceed.iter().map(|reaction| {
            let reaction = Ident::new(reaction, ours);
            quote_spanned!(ours=> .on_exceed(#runtime::OnExceed::#reaction))
        });
        quote_spanned! {ours=>
            static #name: #runtime::CallBudget =
                #runtime::CallBudget::new(::core::cfg!(debug_assertions)) #(#limits)* #(#reaction)*;
        }
    }
}

fn read_key(input: ParseStream<'_>) -> Result<(&'static Limit, Span)> {
    if !input.peek(syn::Ident::peek_any) {
        let token = input.parse::<TokenTree>()?;
        let message = format!(
            "found `{}` where a limit starts; accepted are `{}`",
            short(&token),
            all_examples()
        );
        return Err(Error::new(token.span(), message));
    }
    let key = input.call(Ident::parse_any)?;
    let limit = LIMITS.iter().find(|limit| key == limit.key).ok_or_else(|| {
        let message = format!("found the unknown limit `{key}`; accepted are `{}`", all_examples());
        Error::new(key.span(), message)
    })?;
    Ok((limit, key.span()))
}

fn read_sign(limit: &Limit, place: Span, input: ParseStream<'_>) -> Result<()> {
    let sign = next(input);
    if input.peek(Token![=]) && !input.peek(Token![==]) {
        input.parse::<Token![=]>()?;
        if !input.is_empty() {
            return Ok(());
        }
    }
    let found = sign.map_or_else(|| "nothing".to_owned(), |token| format!("`{}`", short(&token)));
    let (found, span) = match next(input) {
        Some(token) => (found, token.span()),
        None => ("no value".to_owned(), place),
    };
    let message = format!(
        "found {found} after `{}`, which takes {}; write `{}`",
        limit.key,
        limit.kind.takes(),
        limit.example
    );
    Err(Error::new(span, message))
}

fn read_reaction(limit: &Limit, input: ParseStream<'_>) -> Result<&'static str> {
    let token: TokenTree = input.parse()?;
    let known = REACTIONS.iter().find(|(word, _)| token.to_string() == *word);
    known
        .map(|(_, reaction)| *reaction)
        .ok_or_else(|| wrong_type(limit, &token))
}

fn read_amount(limit: &Limit, input: ParseStream<'_>) -> Result<u64> {
    let token: TokenTree = input.parse()?;
    let literal = match &token {
        TokenTree::Literal(literal) => Lit::new(literal.clone()),
        _ => return Err(wrong_type(limit, &token)),
    };
    let amount = match (literal, limit.kind) {
        (Lit::Int(number), _) if number.suffix().is_empty() => number.base10_parse().ok(),
        (Lit::Str(text), Kind::Size) if text.suffix().is_empty() => parse_size(&text.value()),
        _ => None,
    };
    amount.ok_or_else(|| wrong_type(limit, &token))
}

/// `64 KiB`, `1.5MiB`, `100` in bytes. `None` for anything else, and for more than fits.
fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let end = text
        .find(|letter: char| !letter.is_ascii_digit() && letter != '.' && letter != '_')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = match unit.trim() {
        "" => 1,
        unit => UNITS.iter().find(|(name, _)| *name == unit)?.1,
    };
    let number = number.replace('_', "");
    let (whole, fraction) = number.split_once('.').unwrap_or((&number, "0"));
    if whole.is_empty() || fraction.is_empty() || fraction.len() > 9 {
        return None;
    }
    let part = fraction.parse::<u128>().ok()? * u128::from(unit);
    let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    // Half a byte is no size.
    if part % scale != 0 {
        return None;
    }
    let bytes = u128::from(whole.parse::<u64>().ok()?) * u128::from(unit) + part / scale;
    u64::try_from(bytes).ok()
}

fn wrong_type(limit: &Limit, found: &TokenTree) -> Error {
    let message = format!(
        "found `{}`, but `{}` takes {}; write `{}`",
        short(found),
        limit.key,
        limit.kind.takes(),
        limit.example
    );
    Error::new(found.span(), message)
}

fn all_examples() -> String {
    LIMITS.map(|limit| limit.example).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_whole_numbers_of_bytes() {
        let sizes = [
            ("100", 100),
            ("0", 0),
            ("64 KiB", 65_536),
            ("64KiB", 65_536),
            ("  1.5 MiB ", 1_572_864),
            ("4 kB", 4000),
            ("1_000 B", 1000),
            ("0.001 GB", 1_000_000),
            ("16777215 TiB", 16_777_215 << 40),
        ];
        for (text, bytes) in sizes {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in [
            "",
            "KiB",
            "1 kib",
            "1 K",
            "-1",
            "+1",
            "1.",
            ".5 KiB",
            "1.1",
            "0.3 KiB",
            "1.2.3 KiB",
            "16777216 TiB",
            "99999999999999999999",
            "1 KiB 2",
            "1e3",
            "_",
            "٣ KiB",
        ] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }
}
