//! The arguments of `#[track_memory(...)]` and of `tracked!`.
//!
//! Called by the entry point. One table, `OPTIONS`, says what exists, so "unknown", "given twice" and "wrong type" are
//! one path each, whatever the option. A new option is a row there, a field in `Args` and an arm in `Args::set`.
//! Every error stands on the token at fault and says what was found, what is accepted and how to write it. Rules about
//! the function itself are in `validate`.
#![forbid(unsafe_code)]

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream, Parser};
use syn::{Error, LitStr, Path, Result, Token};

use crate::budget::Budget;

/// What the user asked for.
#[derive(Default)]
pub(crate) struct Args {
    /// The scope's name in reports, as it is to be printed.
    pub(crate) name: Option<LitStr>,
    /// The path under which `alloc_core` is found.
    pub(crate) krate: Option<Path>,
    /// Each call is a request.
    pub(crate) is_request: bool,
    /// Each loop of the body is a scope, too.
    pub(crate) has_loops: bool,
    /// Nothing is to be done.
    pub(crate) is_skipped: bool,
    /// What a call may allocate.
    pub(crate) budget: Option<Budget>,
    /// The type or trait around a method, from the attribute on the block; not written by people.
    pub(crate) owner: Option<LitStr>,
    given: Vec<(&'static str, Span)>,
}

/// One option that the attribute knows.
struct Spec {
    key: &'static str,
    form: Form,
    /// How it is written.
    example: &'static str,
}

enum Form {
    /// `key = value`; what the value has to be, to follow "takes".
    Value(&'static str),
    /// `key` alone.
    Flag,
    /// `key(..)`.
    List,
}

pub(crate) const NAME: &str = "name";
pub(crate) const CRATE: &str = "crate";
pub(crate) const REQUEST: &str = "request";
pub(crate) const LOOPS: &str = "loops";
pub(crate) const SKIP: &str = "skip";
pub(crate) const BUDGET: &str = "budget";
/// What the attribute on a block writes above its methods. Left out of every message.
pub(crate) const OWNER: &str = "__owner";

const OPTIONS: [Spec; 7] = [
    Spec {
        key: NAME,
        form: Form::Value("a string literal"),
        example: "name = \"parse\"",
    },
    Spec {
        key: REQUEST,
        form: Form::Flag,
        example: "request",
    },
    Spec {
        key: LOOPS,
        form: Form::Flag,
        example: "loops",
    },
    Spec {
        key: SKIP,
        form: Form::Flag,
        example: "skip",
    },
    Spec {
        key: BUDGET,
        form: Form::List,
        example: "budget(allocations = 10)",
    },
    Spec {
        key: CRATE,
        form: Form::Value("a path to `alloc_core`"),
        example: "crate = ::my_alloc_core",
    },
    Spec {
        key: OWNER,
        form: Form::Value("a string literal"),
        example: "",
    },
];

impl Args {
    /// Reads `name = "x", crate = path`, in any order, each at most once.
    pub(crate) fn parse(tokens: TokenStream) -> Result<Self> {
        (|input: ParseStream<'_>| Self::read(input, |input| input.is_empty())).parse2(tokens)
    }

    /// Reads arguments until `is_end` says that the input stands behind them.
    pub(crate) fn read(input: ParseStream<'_>, is_end: fn(ParseStream<'_>) -> bool) -> Result<Self> {
        let mut args = Self::default();
        while !is_end(input) {
            let (key, spec) = read_key(input)?;
            if args.span_of(spec.key).is_some() {
                return Err(Error::new(
                    key.span(),
                    format!(
                        "found a second `{}`: it is accepted once; write only the one you mean",
                        spec.key
                    ),
                ));
            }
            args.given.push((spec.key, key.span()));
            args.set(spec, &key, input)?;
            if !input.is_empty() && !input.peek(Token![,]) {
                let token = input.parse::<TokenTree>()?;
                return Err(Error::new(
                    token.span(),
                    format!(
                        "found `{token}` after `{}`; put a comma between arguments: `{}`",
                        spec.example,
                        all_examples()
                    ),
                ));
            }
            input.parse::<Option<Token![,]>>()?;
        }
        args.skips_alone()?;
        Ok(args)
    }

    /// Where the argument `key` stands, if it was given.
    pub(crate) fn span_of(&self, key: &str) -> Option<Span> {
        self.given
            .iter()
            .find(|(given, _)| *given == key)
            .map(|(_, span)| *span)
    }

    fn skips_alone(&self) -> Result<()> {
        match self.given.iter().find(|(key, _)| *key != SKIP && *key != OWNER) {
            Some((key, span)) if self.is_skipped => Err(Error::new(
                *span,
                format!(
                    "found `{key}` beside `skip`, which leaves the item as it is; write `#[track_memory(skip)]`, or \
                     leave out `skip`"
                ),
            )),
            _ => Ok(()),
        }
    }

    /// Reads what follows the key of an option.
    fn set(&mut self, spec: &Spec, key: &Ident, input: ParseStream<'_>) -> Result<()> {
        match spec.form {
            Form::Value(takes) => read_sign(spec, takes, key, input)?,
            Form::Flag => return self.switch(spec, input),
            Form::List => {
                self.budget = Some(read_budget(spec, key, input)?);
                return Ok(());
            }
        }
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
            OWNER => self.owner = Some(value(spec, input, <LitStr as Parse>::parse)?),
            key => return Err(no_reader(key, input)),
        }
        Ok(())
    }

    fn switch(&mut self, spec: &Spec, input: ParseStream<'_>) -> Result<()> {
        match spec.key {
            REQUEST => self.is_request = true,
            LOOPS => self.has_loops = true,
            SKIP => self.is_skipped = true,
            key => return Err(no_reader(key, input)),
        }
        let takes_nothing = input.peek(Token![=]) || input.peek(syn::token::Paren);
        match next(input).filter(|_| takes_nothing) {
            None => Ok(()),
            Some(token) => {
                let message = format!(
                    "found `{}` after `{}`, which takes no value; write `{}`",
                    short(&token),
                    spec.key,
                    spec.example
                );
                Err(Error::new(token.span(), message))
            }
        }
    }
}

const LIST: &str = "limits in parentheses";

fn read_budget(spec: &Spec, key: &Ident, input: ParseStream<'_>) -> Result<Budget> {
    if input.peek(syn::token::Paren) {
        let content;
        syn::parenthesized!(content in input);
        return Budget::read(&content, key.span());
    }
    let (span, found) = match next(input) {
        Some(token) => (token.span(), format!("`{}`", short(&token))),
        None => (key.span(), "nothing".to_owned()),
    };
    let message = format!(
        "found {found} after `{}`, which takes {LIST}; write `{}`",
        spec.key, spec.example
    );
    Err(Error::new(span, message))
}

fn no_reader(key: &str, input: ParseStream<'_>) -> Error {
    input.error(format!("`{key}` has a row in the table of options and no reader"))
}

/// The key of the next argument. `crate` is a keyword, hence `parse_any`.
fn read_key(input: ParseStream<'_>) -> Result<(Ident, &'static Spec)> {
    if !input.peek(syn::Ident::peek_any) {
        let token = input.parse::<TokenTree>()?;
        let message = format!(
            "found `{}` where an argument starts; accepted are `{}`",
            short(&token),
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

/// The `=` between a key and its value.
fn read_sign(spec: &Spec, takes: &str, key: &Ident, input: ParseStream<'_>) -> Result<()> {
    if !input.peek(Token![=]) || input.peek(Token![==]) {
        let (span, found) = match next(input) {
            Some(token) => (token.span(), format!("`{}`", short(&token))),
            None => (key.span(), "nothing".to_owned()),
        };
        let message = format!(
            "found {found} after `{}`, which takes {takes}; write `{}`",
            spec.key, spec.example
        );
        return Err(Error::new(span, message));
    }
    let sign: Token![=] = input.parse()?;
    if input.is_empty() {
        let message = format!("found nothing after `{} =`; write `{}`", spec.key, spec.example);
        return Err(Error::new(sign.span, message));
    }
    Ok(())
}

fn value<T>(spec: &Spec, input: ParseStream<'_>, read: fn(ParseStream<'_>) -> Result<T>) -> Result<T> {
    let first = next(input);
    read(input).map_err(|error| first.map_or(error, |token| wrong_type(spec, &token)))
}

fn wrong_type(spec: &Spec, found: &TokenTree) -> Error {
    let takes = match spec.form {
        Form::Value(takes) => takes,
        Form::Flag => "no value",
        Form::List => LIST,
    };
    let message = format!(
        "found `{}`, but `{}` takes {takes}; write `{}`",
        short(found),
        spec.key,
        spec.example
    );
    Error::new(found.span(), message)
}

pub(crate) fn next(input: ParseStream<'_>) -> Option<TokenTree> {
    input.fork().parse().ok()
}

/// A token as it is named in a message; what stands in brackets is left out.
pub(crate) fn short(token: &TokenTree) -> String {
    use proc_macro2::Delimiter;
    match token {
        TokenTree::Group(group) => match group.delimiter() {
            Delimiter::Parenthesis => "(..)".to_owned(),
            Delimiter::Brace => "{..}".to_owned(),
            Delimiter::Bracket => "[..]".to_owned(),
            Delimiter::None => group.stream().to_string(),
        },
        other => other.to_string(),
    }
}

/// Every option as it is written: ``name = "parse"`, `crate = ::my_alloc_core``, to be put between backticks.
fn all_examples() -> String {
    let shown = OPTIONS.iter().filter(|spec| spec.key != OWNER);
    shown.map(|spec| spec.example).collect::<Vec<_>>().join("`, `")
}
