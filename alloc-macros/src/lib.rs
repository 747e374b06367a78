//! `#[track_memory]`: the attribute that makes a function a scope of Allocscope.
//!
//! Called by the compiler while it builds the user's crate; users reach it as `alloc_core::track_memory`. It belongs to
//! neither the record side nor the read side: what it writes calls `alloc_core::__private`, and nothing else.
//!
//! The way of the tokens, a file each: `args` reads what stands in the parentheses, `item` reads the function and keeps
//! its nodes as they were written, `validate` holds every rule, `expand` writes the result, `futures` that of async
//! functions, `loops` that of `loops`, `budget` that of `budget`; `names` is what they write it with. A whole `impl`, trait or module is marked
//! function by function in `container`; closures are in `closure`. `#[allocation_test]` has its own way: `test_args`, `test_above`, `test_expand`. Any error goes to `fallback`, which emits it beside
//! the untouched function, so that a mistake is reported once, where it was made.
//!
//! # Invariants
//! - The expansion names everything by absolute path and uses no `unsafe`.
//! - The user's tokens keep their spans: the compiler's messages about a body point into that body.
//! - No lint is switched off for the user's code, and none of rustc's or of clippy's usual groups for ours: an `allow`
//!   does not compile in a crate that forbids the lint. Generated code is quiet by its spans.
//!
//! # Cost
//! Build time only: one pass over the signature; the body is parsed only where it may end in a future, and for `loops`.
#![forbid(unsafe_code)]

mod args;
mod budget;
mod closure;
mod container;
mod expand;
mod fallback;
mod futures;
mod item;
mod loops;
mod names;
mod test_above;
mod test_args;
mod test_expand;
#[cfg(test)]
mod tests;
mod validate;

use proc_macro2::TokenStream;

/// Makes a function a scope: what it allocates, itself and through what it calls, is accounted for under its name.
///
/// A sync function is inside its scope from its first statement until its locals and its by-value arguments have been
/// dropped. An `async fn` is inside its scope while it is polled, on whichever thread that happens, and outside while
/// it waits. A function that returns `impl Future`, or boxes the future it returns (`Box::pin(..)`, which is what the
/// `async-trait` crate makes of a method), is one call from its first statement to the last poll of that future.
///
/// It works on free functions, associated functions and methods with any receiver, in `impl` blocks, in trait
/// implementations and as default methods of traits; on `unsafe` and `extern "C"` functions; with generics,
/// `impl Trait`, destructured arguments and other attributes above or below. Above an `impl`, a trait or a module, it
/// marks every function in there that can be a scope. For closures and `async` blocks there is `tracked!`.
///
/// # Arguments
/// - `name = "..."`: the name of the scope in reports. The default is the module path and the function's name.
/// - `request`: each call is a request that the program serves, one iteration of its main loop.
/// - `loops`: each `for`, `while` and `loop` in the body is a scope too, and each turn a call of it.
/// - `budget(...)`: what a call may allocate, itself and through what it calls: `allocations` (a number), `bytes`, `peak`
///   and `retained` (bytes, or a size like `"64 KiB"`), `bounded` for a ceiling on what is alive of all calls together,
///   and `on_exceed = warn`, `panic` or `count`. Without `on_exceed`, a call over its budget panics in builds with debug
///   assertions, and is counted in others.
/// - `skip`: leaves the function, or the block, as it is; for those inside a block that is marked as a whole.
/// - `crate = path`: where `alloc_core` is to be found, for a crate that renamed or re-exports it.
///
/// # Overhead
/// One static of a few words per function, and one scope enter and leave per call, or per poll. Without the feature
/// `tracking` of `alloc-core` nothing: the function is emitted as it was written.
///
/// # Errors
/// A `const fn`, a function without a body, a `naked` function, a function marked twice, and anything that is neither a
/// function nor a block of functions are compile errors that say what to write instead.
///
/// # Examples
/// ```
/// use alloc_core::track_memory;
///
/// #[track_memory]
/// fn parse(line: &str) -> Vec<String> {
///     line.split(',').map(str::to_owned).collect()
/// }
///
/// #[track_memory(name = "checkout", request)]
/// async fn check_out(items: Vec<String>) -> usize {
///     items.len()
/// }
///
/// struct Cart(Vec<String>);
///
/// #[track_memory(loops)]
/// impl Cart {
///     fn add_all(&mut self, items: &[&str]) {
///         for item in items {
///             self.0.push((*item).to_owned());
///         }
///     }
///
///     #[track_memory(skip)]
///     fn len(&self) -> usize {
///         self.0.len()
///     }
/// }
///
/// let mut cart = Cart(parse("a,b"));
/// cart.add_all(&["c"]);
/// assert_eq!(cart.len(), 3);
/// # let _ = check_out(Vec::new());
/// ```
#[proc_macro_attribute]
pub fn track_memory(args: proc_macro::TokenStream, item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let item = TokenStream::from(item);
    match run(args.into(), item.clone(), TRACKING) {
        Ok(expanded) => expanded.into(),
        Err(error) => fallback::error_beside_item(&error, item).into(),
    }
}

/// Makes a closure or an `async` block a scope.
///
/// `tracked!(|line| ..)` is the closure, and each call of it a call of the scope; `tracked!(async { .. })` is the
/// future. The scope is named after the module and the line, `shop::cart::closure@12`, if no name is given.
///
/// # Arguments
/// Those of [`macro@track_memory`] but for `skip`, before the closure: `tracked!(name = "parse", |line| ..)`.
///
/// # Overhead
/// As that of a marked function.
///
/// # Errors
/// Anything but a closure or an `async` block is a compile error, and so is a `const` closure.
///
/// # Examples
/// ```
/// use alloc_core::tracked;
///
/// let words = ["a", "b"];
/// let owned: Vec<String> = words.iter().map(tracked!(name = "to owned", |word| word.to_string())).collect();
/// assert_eq!(owned, words);
/// ```
#[proc_macro]
pub fn tracked(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    match closure::Tracked::parse(input.into()) {
        Ok(tracked) if TRACKING == Tracking::On => tracked.expand().into(),
        Ok(tracked) => tracked.untracked().into(),
        Err(error) => error.to_compile_error().into(),
    }
}

/// Whether anything is to be tracked at all.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tracking {
    On,
    Off,
}

const TRACKING: Tracking = if cfg!(feature = "tracking") {
    Tracking::On
} else {
    Tracking::Off
};

/// Reads both inputs before it gives up, so that a mistake in each is reported in one go. Mistakes are mistakes when
/// nothing is tracked, too.
fn run(args: TokenStream, item: TokenStream, tracking: Tracking) -> syn::Result<TokenStream> {
    let args = args::Args::parse(args);
    if let Ok(args) = &args
        && args.is_skipped
    {
        return Ok(item);
    }
    if let Some(container) = container::Container::read(&item) {
        // The functions in there say what is wrong with them themselves.
        let marked = container.mark(&args?)?;
        return Ok(if tracking == Tracking::Off { item } else { marked });
    }
    let function = item::TrackedFn::parse(item.clone()).and_then(|function| {
        validate::validate(&function)?;
        Ok(function)
    });
    match (args, function) {
        (Ok(_), Ok(_)) if tracking == Tracking::Off => Ok(item),
        (Ok(args), Ok(function)) => expand::expand(&args, function),
        (Err(mut error), Err(other)) => {
            error.combine(other);
            Err(error)
        }
        (Err(error), Ok(_)) | (Ok(_), Err(error)) => Err(error),
    }
}

/// A test whose allocations have a budget: this test's own, and none of its neighbours', however many run at once.
///
/// `#[allocation_test(allocations <= 12, bytes <= "4 KiB", peak < 2048, retained == 0)]` takes the limits of `assert_budget!`;
/// `allocations = 12` means at most 12. Without any limit, they stand in `budgets/<test target>.toml` (feature `budgets` of
/// alloc-core). What the test returns is dropped after it was measured.
///
/// It makes the function a test, unless another attribute does. `#[tokio::test]`, `#[actix_rt::test]`, `#[async_std::test]` and `#[rstest]` may
/// stand below or above it, `#[test]` below (above, it makes the test run twice); neither their runtime nor their fixtures are measured.
///
/// An `async fn` that none of them runs gets a multi-thread Tokio runtime of its own (feature `tokio`), whose threads all count: plain
/// `tokio::spawn` and `spawn_blocking` are part of the test. In other runtimes only work that scope handles carry is.
///
/// # Arguments
/// - limits: see above.
/// - `warm_up`: run the test once before it is measured, for what is made once and kept.
/// - `samples = 5`: measure so often, and judge the smallest of each figure. For tests on shared state that cannot be had alone.
/// - `workers = 2`: worker threads of the runtime that an async test gets.
/// - `crate = path`: where `alloc_core` is to be found.
///
/// A test with arguments, run more than once, takes clones of them, and the last time those that were given. Below `#[rstest]` each run gets new
/// ones.
///
/// # Errors
/// Arguments that nobody gives or, with `warm_up` or `samples`, that are not `Clone`; `workers` where no runtime is made; `#[rstest]` with a
/// timeout above, which runs the test elsewhere. The errors of the compiler say what to write.
///
/// # Examples
/// ```
/// use alloc_core::{TrackingAllocator, allocation_test};
///
/// #[global_allocator]
/// static ALLOC: TrackingAllocator = TrackingAllocator::new();
///
/// #[allocation_test(allocations <= 1, bytes <= "1 KiB", retained == 0)]
/// fn squares_take_one_block() {
///     assert_eq!((0..100_u64).map(|n| n * n).collect::<Vec<_>>().len(), 100);
/// }
/// # fn main() {}
/// ```
#[proc_macro_attribute]
pub fn allocation_test(args: proc_macro::TokenStream, item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let item = TokenStream::from(item);
    let expanded = test_args::TestArgs::parse(args.into()).and_then(|args| test_expand::expand(&args, item.clone()));
    match expanded {
        Ok(expanded) => expanded.into(),
        Err(error) => fallback::error_beside_item(&error, item).into(),
    }
}
