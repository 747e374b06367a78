//! Advice for values that are built in a way of their own: compiled, parsed, cloned, copied, sorted.
#![forbid(unsafe_code)]

use super::About;
use crate::findings::finding::Suggestion;
use crate::findings::making::Compiled;
use crate::ids::ScopeKind;

pub(super) fn compile(compiled: &Compiled) -> Suggestion {
    let type_name = compiled.type_name;
    let build = match type_name {
        "Regex" => "Regex::new(r\"^[a-z]+$\").expect(\"the pattern is valid\")".to_owned(),
        "Client" => "Client::new()".to_owned(),
        _ => "build().expect(\"the source is valid\")".to_owned(),
    };
    Suggestion {
        explanation: format!(
            "Build the {type_name} once, and use that one. If what it is built from comes from outside, keep it where that is configured, or keep a \
             bounded map from source to {type_name}."
        ),
        code: format!(
            "static {}: LazyLock<{type_name}> = LazyLock::new(|| {{\n    {build}\n}});",
            match type_name {
                "Regex" => "PATTERN",
                "Client" => "CLIENT",
                _ => "COMPILED",
            }
        ),
    }
}

pub(super) fn same(about: &About<'_>) -> Suggestion {
    let (type_name, variable, each) = (about.type_name(), about.variable(), about.noun);
    let explanation = if about.is_loop() {
        format!(
            "It holds the same in nearly every {each}. Build it once, above the loop at {}, and only read it inside; where it changes, build it anew there.",
            about.loop_place
        )
    } else {
        format!(
            "It holds the same in nearly every {each}. Build it once and share it: a `LazyLock` if it never changes, else an `Arc` in the state that is \
             replaced when the data do."
        )
    };
    let code = if about.is_loop() {
        format!("let {variable}: {type_name} = build(); // above the loop")
    } else {
        format!(
            "static SHARED: RwLock<Option<Arc<{type_name}>>> = RwLock::new(None);\n\
             let {variable} = SHARED.read().unwrap().clone(); // an `Arc`: nothing is copied\n\
             *SHARED.write().unwrap() = Some(Arc::new(build())); // when the data change"
        )
    };
    Suggestion { explanation, code }
}

pub(super) fn parse(parser: &str, noun: &str) -> Suggestion {
    let of_serde = !matches!(parser, "quick_xml");
    Suggestion {
        explanation: format!(
            "A document becomes many small blocks that the {noun} soon frees. Read it into a struct that has only the fields that are used and \
             borrows its text from the input; what must outlive the input, or has escapes, is a `Cow<str>`. If the document is the same each time, parse it \
             once. Where it must be a tree, put it into an arena."
        ),
        code: if of_serde {
            "#[derive(Deserialize)]\nstruct Order<'a> {\n    id: u64,\n    #[serde(borrow)]\n    customer: Cow<'a, str>,\n}\nlet order: Order<'_> = \
             serde_json::from_str(&body)?;"
                .replace("serde_json", parser)
        } else {
            String::new()
        },
    }
}

pub(super) fn clone(about: &About<'_>) -> Suggestion {
    let what = about
        .finding
        .line
        .collection
        .clone()
        .unwrap_or_else(|| "value".to_owned());
    let each = about.noun;
    let crossing = if about.finding.crosses {
        " An `Arc` may be held across an `.await` and on any thread."
    } else {
        " Where a reference is enough, take `&` instead of a value."
    };
    Suggestion {
        explanation: format!(
            "Each {each} clones a {what} and drops the clone. Share one value by `Arc`: that clone only counts.{crossing} If a few {}s change it, \
             `Arc::make_mut` or `Cow` clones only then.",
            each
        ),
        code: "let config: Arc<Config> = Arc::clone(&shared); // allocates nothing\nhandle(&config);".to_owned(),
    }
}

pub(super) fn copy(about: &About<'_>) -> Suggestion {
    let is_loop = about.finding.iteration.kind == ScopeKind::Loop;
    let is_text = matches!(about.collection.name.as_str(), "String" | "PathBuf" | "OsString" | "");
    let each = about.noun;
    if !is_text {
        return Suggestion {
            explanation: format!(
                "Each {each} copies a slice and drops the copy. Borrow it (`&[T]`); where it must be changed, copy into a buffer that is kept{}.",
                if is_loop { " above the loop" } else { "" }
            ),
            code: "buffer.clear(); // keeps its memory\nbuffer.extend_from_slice(items);".to_owned(),
        };
    }
    Suggestion {
        explanation: format!(
            "Each {each} makes a text of its own and drops it. Borrow it: a map whose keys are `String` is asked with a `&str`, and functions that read take \
             `&str`. `Cow<str>` owns only where it must. Numbers are written into a text that is kept: `write!(text, \"{{number}}\")`."
        ),
        code: "let found = map.get(name); // `name: &str`, no `to_string()`".to_owned(),
    }
}

pub(super) fn sort() -> Suggestion {
    Suggestion {
        explanation: "A stable sort takes a scratch buffer of up to the slice's size. If the order of equal elements does not matter, the unstable \
                      one needs none and is faster."
            .to_owned(),
        code: "items.sort_unstable(); // or sort_unstable_by_key(|item| item.rank)".to_owned(),
    }
}
