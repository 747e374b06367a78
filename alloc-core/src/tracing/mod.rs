//! Spans of the `tracing` crate as scopes: a program that is instrumented already needs no new attributes. Feature `tracing`.
//!
//! ```
//! use alloc_core::TrackingAllocator;
//! use tracing_subscriber::layer::SubscriberExt as _;
//! use tracing_subscriber::util::SubscriberInitExt as _;
//!
//! #[global_allocator]
//! static ALLOC: TrackingAllocator = TrackingAllocator::new();
//!
//! tracing_subscriber::registry().with(alloc_core::tracing::layer()).init();
//! // From here on every span is a scope.
//! ```
//!
//! # What is counted
//! - *A scope for each callsite*, with the span's name and the place of the macro; spans of one callsite add up.
//! - *Its place in the tree* is that of the span: inside the span's parent if one was given, else inside the scope (a span,
//!   a `#[track_memory]` function, a `scope!`) that the thread was in when the span was made. So a future that was instrumented in a
//!   request stays in that request, whatever task polls it. A span inside a span of the same callsite is part of it, as in
//!   a recursion.
//! - *A span is a call*, from its first entry to its close; the figures add up over its entries, whatever threads they were on. While a
//!   span is entered already, here or on another thread, what further entries do is charged to the scope, but is no part of
//!   the call's figures. A span that is never entered is no call.
//! - *Left out of order*, a span ends when the spans that were entered inside it have been left: until then they are inside it. If
//!   an innermost scope that is no span is open at that time, it ends with it, as it does with guards, and neither call has figures.
//!   A span that is left on another thread than the one it was entered on is left there at the next entry or exit of any span.
//! - What the layer allocates is the tracker's own. What `tracing` and its other layers allocate is the program's: the
//!   registry's in the scope that makes the span.
//!
//! # Overhead
//! Besides what `tracing` itself does, making a span costs a look-up of its callsite and one small block, entering and leaving it
//! some 100 ns. Filter what is not wanted as a scope: `layer().with_filter(LevelFilter::INFO)`.
//!
//! Read side. `stack` keeps the entered spans of a thread; `record::carried` does the entering. It leaves out events, and
//! `follows_from`.
#![forbid(unsafe_code)]

mod stack;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use tracing_core::callsite::Identifier;
use tracing_core::span::{Attributes, Id};
use tracing_core::{Metadata, Subscriber};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use self::stack::SpanScope;
use crate::ids::ScopeNodeId;
use crate::inside::inside_tracker;
use crate::record::carried;
use crate::record::scope::ScopeSite;

/// A layer that makes every span a scope; see the [module](self). It asks for no events.
///
/// # Panics
/// When it is added to a subscriber that has no per-layer filters; `tracing_subscriber::Registry` has them. Others take
/// a [`ScopeLayer`].
///
/// # Examples
/// ```
/// use alloc_core::{Snapshot, TrackingAllocator};
/// use tracing_subscriber::layer::SubscriberExt as _;
///
/// #[global_allocator]
/// static ALLOC: TrackingAllocator = TrackingAllocator::new();
///
/// let subscriber = tracing_subscriber::registry().with(alloc_core::tracing::layer());
/// let body = tracing::subscriber::with_default(subscriber, || {
///     tracing::info_span!("render").in_scope(|| vec![0_u8; 4096])
/// });
/// let snapshot = Snapshot::take()?;
/// let render = snapshot.scopes.iter().find(|node| node.name == "render").expect("it was entered");
/// assert_eq!((render.own.live_bytes, render.calls.completed), (body.len() as u64, 1));
/// # Ok::<(), alloc_core::Error>(())
/// ```
pub fn layer<S>() -> impl Layer<S> + Send + Sync + 'static
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    ScopeLayer::new().with_filter(filter_fn(|metadata| metadata.is_span()))
}

/// The layer alone, for subscribers without per-layer filters. It is asked for events, too, and ignores them.
#[derive(Debug)]
pub struct ScopeLayer {
    /// Tells this layer's spans from another's: ids are those of a subscriber.
    number: u32,
    sites: RwLock<HashMap<Identifier, &'static ScopeSite>>,
}

impl Default for ScopeLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl ScopeLayer {
    /// A layer that has seen no span yet.
    #[must_use]
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        Self {
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            sites: RwLock::default(),
        }
    }

    /// The scope of a callsite. Never given back: there are as many as the program has `span!`s.
    fn site(&self, metadata: &'static Metadata<'static>) -> &'static ScopeSite {
        let callsite = metadata.callsite();
        let known = self.sites.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(site) = known.get(&callsite) {
            return site;
        }
        drop(known);
        let mut sites = self.sites.write().unwrap_or_else(PoisonError::into_inner);
        sites.entry(callsite).or_insert_with(|| {
            let file = metadata.file().or(metadata.module_path()).unwrap_or_default();
            let site = ScopeSite::new(metadata.name(), file, metadata.line().unwrap_or_default());
            Box::leak(Box::new(site))
        })
    }
}

fn scope_of<S>(context: &Context<'_, S>, id: &Id) -> Option<Arc<SpanScope>>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    context.span(id)?.extensions().get::<Arc<SpanScope>>().cloned()
}

impl<S> Layer<S> for ScopeLayer
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let parent = match attributes.parent() {
            Some(parent) => scope_of(&context, parent).and_then(|parent| parent.node()),
            None if attributes.is_root() => Some(ScopeNodeId::ROOT),
            None => None,
        };
        let around = parent.or_else(carried::current_node);
        inside_tracker(|| {
            let site = self.site(attributes.metadata());
            let scope = Arc::new(SpanScope::new(site, around));
            if let Some(span) = context.span(id) {
                span.extensions_mut().replace(scope);
            }
        });
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        if let Some(scope) = scope_of(&context, id) {
            stack::enter(self.number, id, scope);
        }
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        if !stack::exit(self.number, id)
            && let Some(scope) = scope_of(&context, id)
        {
            scope.left_elsewhere();
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        if let Some(scope) = scope_of(&context, &id) {
            scope.close();
        }
    }
}
