//! The arguments of `#[track_memory(...)]`.
//!
//! Called by the entry point. One table, `OPTIONS`, says what exists, so "unknown", "given twice" and "wrong type" are
//! one path each, whatever the option. A new option is a row there, a field in `Args` and an arm in `Args::set`.
//! Every error stands on the token at fault and says what was found, what is accepted and how to write it. Rules about
//! the function itself are in `validate`.
#![forbid(unsafe_code)]

use proc_macro2::{Ident, TokenStream, TokenTree};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream, Parser};
use syn::{Error, LitStr, Path, Result, Token};

/// What the user asked for.
#[derive(Default)]
pub(crate) struct Args {
    /// The scope's name in reports, as it is to be printed.
    pub(crate) name: Option<LitStr>,
    /// The path under which `alloc_core` is found.
    pub(crate) krate: Option<Path>,
}

/// One option that the attribute knows.
struct Spec {
    key: &'static str,
    /// What its value has to be, to follow "takes".
    takes: &'static str,
    /// How it is written.
    example: &'static str,
}

const NAME: &str = "name";
const CRATE: &str = "crate";

const OPTIONS: [Spec; 2] = [
    Spec {
        key: NAME,
        takes: "a string literal",
        example: "name = \"parse\"",
    },
    Spec {
        key: CRATE,
        takes: "a path to `alloc_core`",
        example: "crate = ::my_alloc_core",
    },
];

impl Args {
    /// Reads `name = "x", crate = path`, in any order, each at most once.
    pub(crate) fn parse(tokens: TokenStream) -> Result<Self> {
        Self::read.parse2(tokens)
    }

    fn read(input: ParseStream<'_>) -> Result<Self> {
        let mut args = Self::default();
        let mut given: Vec<&'static str> = Vec::new();
        while !input.is_empty() {
            let (key, spec) = read_key(input)?;
            if given.contains(&spec.key) {
                return Err(Error::new(
                    key.span(),
                    format!(
                        "found a second `{}`: it is accepted once; write only the one you mean",
                        spec.key
                    ),
                ));
            }
            given.push(spec.key);
            if !input.peek(Token![=]) || input.peek(Token![==]) {
                let (span, found) = match next(input) {
                    Some(token) => (token.span(), format!("`{token}`")),
                    None => (key.span(), "nothing".to_owned()),
                };
                let message = format!(
                    "found {found} after `{}`, which takes {}; write `{}`",
                    spec.key, spec.takes, spec.example
                );
                return Err(Error::new(span, message));
            }
            let sign: Token![=] = input.parse()?;
            if input.is_empty() {
                let message = format!("found nothing after `{} =`; write `{}`", spec.key, spec.example);
                return Err(Error::new(sign.span, message));
            }
            args.set(spec, input)?;
            if !input.is_empty() && !input.peek(Token![,]) {
                let token = input.parse::<TokenTree>()?;
                return Err(Error::new(
                    token.span(),
                    format!(
                        "found `{token}` after the value of `{}`; put a comma between arguments: `{}`",
                        spec.key,
                        all_examples()
                    ),
                ));
            }
            input.parse::<Option<Token![,]>>()?;
        }
        Ok(args)
    }

    /// Reads the value of one option; the input stands just behind the `=`.
    fn set(&mut self, spec: &Spec, input: ParseStream<'_>) -> Result<()> {
        match spec.key {
            NAME => {
                let name: LitStr = value(spec, input, <LitStr as Parse>::parse)?;
                if name.value().trim().is_empty() {
                    let message = format!(
                        "found an empty `name`: a scope needs one to be shown by; write `{}`",
                        spec.example
                    );
                    return Err(Error::new(name.span(), message));
                }
                if !name.suffix().is_empty() {
                    return Err(wrong_type(spec, &TokenTree::Literal(name.token())));
                }
                self.name = Some(name);
            }
            CRATE => self.krate = Some(value(spec, input, Path::parse_mod_style)?),
            key => return Err(input.error(format!("`{key}` has a row in the table of options and no reader"))),
        }
        Ok(())
    }
}

/// The key of the next argument. `crate` is a keyword, hence `parse_any`.
fn read_key(input: ParseStream<'_>) -> Result<(Ident, &'static Spec)> {
    if !input.peek(syn::Ident::peek_any) {
        let token = input.parse::<TokenTree>()?;
        let message = format!(
            "found `{token}` where an argument starts; accepted are `{}`",
            all_examples()
        );
        return Err(Error::new(token.span(), message));
    }
    let key = input.call(Ident::parse_any)?;
    match OPTIONS.iter().find(|spec| key == spec.key) {
        Some(spec) => Ok((key, spec)),
        None => {
            let message = format!("found the unknown argument `{key}`; accepted are `{}`", all_examples());
            Err(Error::new(key.span(), message))
        }
    }
}

fn value<T>(spec: &Spec, input: ParseStream<'_>, read: fn(ParseStream<'_>) -> Result<T>) -> Result<T> {
    let first = next(input);
    read(input).map_err(|error| first.map_or(error, |token| wrong_type(spec, &token)))
}

fn wrong_type(spec: &Spec, found: &TokenTree) -> Error {
    let message = format!(
        "found `{found}`, but `{}` takes {}; write `{}`",
        spec.key, spec.takes, spec.example
    );
    Error::new(found.span(), message)
}

fn next(input: ParseStream<'_>) -> Option<TokenTree> {
    input.fork().parse().ok()
}

/// Every option as it is written: ``name = "parse"`, `crate = ::my_alloc_core``, to be put between backticks.
fn all_examples() -> String {
    OPTIONS.iter().map(|spec| spec.example).collect::<Vec<_>>().join("`, `")
}
