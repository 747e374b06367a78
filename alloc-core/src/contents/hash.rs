//! The trait of what can be compared by content, and the hash it is compared by.
//!
//! Read side. Implemented for std's types in `types`, called by `site`. Invariants: equal contents have equal hashes within one process;
//! nothing is allocated; the work for one hash is bounded. Cost: SipHash 1-3 over the elements.
#![forbid(unsafe_code)]

use std::collections::hash_map::{DefaultHasher, RandomState};
use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher};
use std::num::NonZero;
use std::sync::OnceLock;

/// Steps for one hash at most. One step is an element, or 32 bytes of text or of numbers in a row.
pub const MAX_STEPS: u32 = 1 << 16;

/// Bytes that count as one step.
const STEP_BYTES: usize = 32;

/// What can be compared by content: for [`observe_contents!`](crate::observe_contents).
///
/// Implemented for std's collections of `Content`, in order for `Vec`, `VecDeque`, `BTreeMap`, arrays and tuples, and in any order for
/// `HashMap`, `HashSet` and `BinaryHeap`; for text, paths, numbers (floats by their bits) and what std wraps around them. A type of your own that
/// implements `Hash` is observed as [`Hashed`]; any other implements this trait:
///
/// ```
/// use alloc_core::contents::{Content, ContentHash};
///
/// struct Rules {
///     limits: Vec<f64>,
///     names: std::collections::HashSet<String>,
/// }
///
/// impl Content for Rules {
///     fn add_to(&self, hash: &mut ContentHash<'_>) {
///         hash.part(&self.limits);
///         hash.part(&self.names);
///     }
/// }
/// ```
///
/// Equal contents must add the same parts in the same order.
#[diagnostic::on_unimplemented(
    message = "the contents of `{Self}` cannot be compared: `{Self}` does not implement `Content`",
    label = "observed here",
    note = "if it implements `Hash`, wrap it: `observe_contents!(&Hashed(&value))` with `alloc_core::contents::Hashed`",
    note = "else implement `alloc_core::contents::Content` for it: `fn add_to(&self, hash: &mut ContentHash<'_>)` adds its parts"
)]
pub trait Content {
    /// What is compared before anything is hashed: the number of elements of a collection, of bytes of a text; 1 for anything else.
    fn shallow(&self) -> usize {
        1
    }

    /// Adds the content to `hash`.
    fn add_to(&self, hash: &mut ContentHash<'_>);

    /// Adds the contents of all `values`, in order. Their number has been added.
    fn add_all(values: &[Self], hash: &mut ContentHash<'_>)
    where
        Self: Sized,
    {
        // A collection that is too large is not begun.
        if (*hash.left as usize) <= values.len() {
            *hash.left = 0;
            return;
        }
        for value in values {
            hash.part(value);
        }
    }
}

/// The key of this process's hashes. Never written anywhere.
fn key() -> &'static RandomState {
    static KEY: OnceLock<RandomState> = OnceLock::new();
    KEY.get_or_init(RandomState::new)
}

/// A random number that `from` determines within this process.
pub(super) fn random(from: u64) -> u64 {
    key().hash_one(from)
}

/// Takes up contents, part by part. Given to [`Content::add_to`].
///
/// Once it has taken up [`MAX_STEPS`], it takes no more, and the contents count as too large: a hash of a part would prove nothing.
pub struct ContentHash<'steps> {
    hasher: DefaultHasher,
    /// Shared with the hashes of the elements of hash collections.
    left: &'steps mut u32,
}

impl fmt::Debug for ContentHash<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Nothing that tells of the contents.
        f.debug_struct("ContentHash").finish_non_exhaustive()
    }
}

impl ContentHash<'_> {
    /// The hash of `value`; `None` when it is too large.
    pub(super) fn of<T: Content + ?Sized>(value: &T) -> Option<NonZero<u64>> {
        let mut left = MAX_STEPS;
        let mut hash = ContentHash {
            hasher: key().build_hasher(),
            left: &mut left,
        };
        // A generic function observes several types in one place.
        std::any::type_name::<T>().hash(&mut hash.hasher);
        hash.part(value);
        let bits = hash.hasher.finish();
        (left != 0).then(|| NonZero::new(bits).unwrap_or(NonZero::<u64>::MIN))
    }

    /// True when `steps` may still be done. Else nothing may any more.
    fn spend(&mut self, steps: usize) -> bool {
        *self.left = u32::try_from(steps).map_or(0, |steps| self.left.saturating_sub(steps));
        *self.left != 0
    }

    /// Adds a part.
    pub fn part<T: Content + ?Sized>(&mut self, part: &T) {
        if *self.left != 0 {
            part.add_to(self);
        }
    }

    /// Adds what `value` is by its `Hash`.
    pub fn value<T: Hash + ?Sized>(&mut self, value: &T) {
        if self.spend(1 + size_of_val(value) / STEP_BYTES) {
            value.hash(&mut self.hasher);
        }
    }

    /// Adds `values` by their `Hash`, as quickly as that goes.
    pub fn values<T: Hash>(&mut self, values: &[T]) {
        if self.spend(size_of_val(values) / STEP_BYTES) {
            T::hash_slice(values, &mut self.hasher);
        }
    }

    /// Adds the elements of a list: their number, and each, in order.
    pub fn list<T: Content>(&mut self, parts: &[T]) {
        self.value(&parts.len());
        if *self.left != 0 {
            T::add_all(parts, self);
        }
    }

    /// Adds the elements of an ordered collection: their number, and each, in order.
    pub fn ordered<T: Content>(&mut self, parts: impl ExactSizeIterator<Item = T>) {
        self.value(&parts.len());
        // A collection that is too large is not begun.
        if (*self.left as usize) > parts.len() {
            parts.for_each(|part| self.part(&part));
        } else {
            *self.left = 0;
        }
    }

    /// Adds the elements of a collection in which they have no order: their number, and the sum of their hashes.
    pub fn unordered<T: Content>(&mut self, parts: impl ExactSizeIterator<Item = T>) {
        let count = parts.len();
        self.value(&count);
        if (*self.left as usize) <= count {
            *self.left = 0;
            return;
        }
        let mut sum = 0_u64;
        for part in parts {
            let mut one = ContentHash {
                hasher: key().build_hasher(),
                left: &mut *self.left,
            };
            one.part(&part);
            sum = sum.wrapping_add(one.hasher.finish());
        }
        self.value(&sum);
    }
}

/// A value that is compared by its `Hash`: `observe_contents!(&Hashed(&value))`.
///
/// # Accuracy
/// Values that are equal and were hashed alike are found equal. A `Hash` that leaves something out leaves it out here, too. It counts as one element,
/// however large it is: its cost is not bounded.
#[derive(Clone, Copy, Debug)]
pub struct Hashed<'value, T: ?Sized>(pub &'value T);

impl<T: Hash + ?Sized> Content for Hashed<'_, T> {
    fn add_to(&self, hash: &mut ContentHash<'_>) {
        hash.value(self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet, VecDeque};
    use std::sync::Arc;

    use super::*;

    fn hash<T: Content + ?Sized>(value: &T) -> NonZero<u64> {
        ContentHash::of(value).expect("it is small")
    }

    #[test]
    fn hash_collections_have_no_order() {
        let up: HashSet<u64> = (0..1000).collect();
        let mut down: HashSet<u64> = HashSet::with_capacity(5000);
        down.extend((0..1000).rev());
        assert_eq!(hash(&up), hash(&down));
        down.remove(&7);
        down.insert(7_000);
        assert_ne!(hash(&up), hash(&down), "as many, and one of them another");

        let map = |pairs: &[(&'static str, Vec<u8>)]| pairs.iter().cloned().collect::<HashMap<_, _>>();
        let one = map(&[("a", vec![1]), ("b", vec![2])]);
        assert_eq!(hash(&one), hash(&map(&[("b", vec![2]), ("a", vec![1])])));
        assert_ne!(
            hash(&one),
            hash(&map(&[("b", vec![1]), ("a", vec![2])])),
            "keys belong to values"
        );

        assert_eq!(
            hash(&BinaryHeap::from(vec![1, 2, 3, 3])),
            hash(&[3, 3, 2, 1].into_iter().collect::<BinaryHeap<i32>>())
        );
    }

    #[test]
    fn ordered_collections_have_one() {
        assert_ne!(hash(&vec![1, 2]), hash(&vec![2, 1]));
        let mut turned: VecDeque<u8> = (0..8).collect();
        turned.rotate_left(3);
        let plain: VecDeque<u8> = turned.iter().copied().collect();
        assert_ne!(turned.as_slices(), plain.as_slices());
        assert_eq!(hash(&turned), hash(&plain), "wherever its ring begins");
        assert_eq!(
            hash(&BTreeMap::from([(2, "b"), (1, "a")])),
            hash(&BTreeMap::from([(1, "a"), (2, "b")]))
        );
    }

    #[test]
    fn where_a_part_ends_matters() {
        let words = |words: &[&str]| hash(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        assert_ne!(words(&["ab", "c"]), words(&["a", "bc"]));
        assert_ne!(hash(&vec![vec![1, 2], vec![]]), hash(&vec![vec![1], vec![2]]));
        assert_ne!(hash(&(Some(1), None::<i32>)), hash(&(None::<i32>, Some(1))));
        assert_ne!(hash(&Some(())), hash(&None::<()>));
    }

    #[test]
    fn types_of_the_same_bytes_differ() {
        assert_ne!(hash(&vec![1_u32]), hash(&vec![1_i32]));
        assert_ne!(hash(&vec![0.0_f64]), hash(&vec![-0.0_f64]), "floats by their bits");
    }

    #[test]
    fn what_is_wrapped_counts_as_itself() {
        #[derive(Hash)]
        struct Rule(&'static str);
        let [a, b] = [Rule("a"), Rule("b")];
        assert_eq!(hash(&Hashed(&a)), hash(&Hashed(&Rule("a"))));
        assert_ne!(hash(&Hashed(&a)), hash(&Hashed(&b)));
        assert_eq!(hash(&Arc::new(vec![1])), hash(&Arc::new(vec![1])));
        assert_ne!(hash(&Arc::new(vec![1])), hash(&Arc::new(vec![2])));
        assert_eq!(hash("text"), hash(String::from("text").as_str()));
    }

    #[test]
    fn too_much_is_not_hashed_in_part() {
        let most = MAX_STEPS as usize;
        assert!(ContentHash::of(&(0..most as u64).collect::<HashSet<u64>>()).is_none());
        assert!(ContentHash::of(&(0..most as u64 - 100).collect::<HashSet<u64>>()).is_some());
        assert!(ContentHash::of(&vec![7_u8; most]).is_some(), "bytes are quick");
        assert!(ContentHash::of(&vec![7_u8; 40 * most]).is_none());
        let nested: Vec<Vec<String>> = vec![vec![String::from("x"); 300]; 300];
        assert!(ContentHash::of(&nested).is_none(), "however it is nested");
        assert!(ContentHash::of("x".repeat(40 * most).as_str()).is_none());
    }
}
