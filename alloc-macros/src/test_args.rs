//! The arguments of `#[allocation_test(...)]`.
//!
//! Called by the entry point. Limits are passed on as tokens to the macro of `assert_budget!`, which knows the metrics; `metric = number`
//! means at most. Every error stands on the token at fault and says what was found, what is accepted and how to write it.
#![forbid(unsafe_code)]

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::quote;
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::{Error, Expr, LitInt, Path, Result, Token};

/// What the user asked for.
#[derive(Default)]
pub(crate) struct TestArgs {
    /// `allocations <= 12, bytes <= "4 KiB",`: empty for a test whose limits stand in a file.
    pub(crate) limits: TokenStream,
    pub(crate) warm_up: bool,
    pub(crate) samples: Option<LitInt>,
    pub(crate) workers: Option<LitInt>,
    /// The path under which `alloc_core` is found.
    pub(crate) krate: Option<Path>,
}

const METRICS: [&str; 7] = [
    "allocations",
    "reallocations",
    "frees",
    "bytes",
    "copied",
    "peak",
    "retained",
];
const ACCEPTED: &str = "accepted are limits as `allocations <= 12`, `bytes <= \"4 KiB\"`, `retained == 0` or `frees in 1..=3`, and \
                        `warm_up`, `samples = 5`, `workers = 2`, `crate = path`";

impl TestArgs {
    pub(crate) fn parse(tokens: TokenStream) -> Result<Self> {
        Self::read.parse2(tokens)
    }

    fn read(input: ParseStream<'_>) -> Result<Self> {
        let mut args = Self::default();
        let mut given: Vec<String> = Vec::new();
        while !input.is_empty() {
            if !input.peek(syn::Ident::peek_any) {
                let token = input.parse::<TokenTree>()?;
                return Err(Error::new(
                    token.span(),
                    format!("found `{token}` where an argument starts; {ACCEPTED}"),
                ));
            }
            let key = input.call(Ident::parse_any)?;
            let name = key.to_string();
            if !METRICS.contains(&name.as_str()) {
                if given.contains(&name) {
                    let message = format!("found a second `{name}`: it is accepted once; write only the one you mean");
                    return Err(Error::new(key.span(), message));
                }
                given.push(name.clone());
            }
            match name.as_str() {
                "warm_up" => args.warm_up = true,
                "samples" => args.samples = Some(number(&key, input)?),
                "workers" => args.workers = Some(number(&key, input)?),
                "crate" => {
                    assign(&key, input)?;
                    args.krate = Some(input.call(Path::parse_mod_style)?);
                }
                _ if METRICS.contains(&name.as_str()) => args.limit(&key, input)?,
                _ => {
                    let message = format!("found the unknown argument `{name}`; {ACCEPTED}");
                    return Err(Error::new(key.span(), message));
                }
            }
            if !input.is_empty() && !input.peek(Token![,]) {
                let token = input.parse::<TokenTree>()?;
                let message = format!("found `{token}` after `{name}`; put a comma between arguments");
                return Err(Error::new(token.span(), message));
            }
            input.parse::<Option<Token![,]>>()?;
        }
        Ok(args)
    }

    fn limit(&mut self, metric: &Ident, input: ParseStream<'_>) -> Result<()> {
        let relation = if input.peek(Token![<=]) {
            let sign: Token![<=] = input.parse()?;
            quote!(#sign)
        } else if input.peek(Token![==]) {
            let sign: Token![==] = input.parse()?;
            quote!(#sign)
        } else if input.peek(Token![=]) {
            input.parse::<Token![=]>()?;
            quote!(<=)
        } else if input.peek(Token![<]) {
            let sign: Token![<] = input.parse()?;
            quote!(#sign)
        } else if input.peek(Token![in]) {
            let sign: Token![in] = input.parse()?;
            quote!(#sign)
        } else {
            let message = format!("found no limit for `{metric}`; write `{metric} <= 12`, `<`, `==`, `in 1..=3`");
            return Err(Error::new(metric.span(), message));
        };
        let limit: Expr = input.parse()?;
        self.limits.extend(quote!(#metric #relation #limit,));
        Ok(())
    }
}

fn assign(key: &Ident, input: ParseStream<'_>) -> Result<()> {
    if input.parse::<Token![=]>().is_err() {
        let message = format!("found no value for `{key}`; write `{key} = ..`");
        return Err(Error::new(key.span(), message));
    }
    Ok(())
}

/// A number from 1 on.
fn number(key: &Ident, input: ParseStream<'_>) -> Result<LitInt> {
    assign(key, input)?;
    let found: TokenTree = input
        .fork()
        .parse()
        .map_err(|_| Error::new(key.span(), format!("found nothing after `{key} =`; write `{key} = 5`")))?;
    let wrong = || {
        Error::new(
            found.span(),
            format!("found `{found}`, but `{key}` takes a number from 1 on; write `{key} = 5`"),
        )
    };
    let number: LitInt = input.parse().map_err(|_| wrong())?;
    match number.base10_parse::<u32>() {
        Ok(1..) => Ok(number),
        _ => Err(wrong()),
    }
}
