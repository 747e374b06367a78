//! What was seen so far in one place: how often contents were equal to those before, and how many different ones there were.
//!
//! Read side, called by `site` under its lock. Fixed size, no memory, no clock. Cost: a few compares.
#![forbid(unsafe_code)]

use std::num::NonZero;

/// Different contents that are told apart.
pub(super) const KINDS: usize = 8;

/// One content, as far as it was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) shallow: u64,
    /// `None`: the shallow look was enough.
    pub(super) hash: Option<NonZero<u64>>,
}

impl Look {
    const NOTHING: Self = Self { shallow: 0, hash: None };
}

/// INVARIANT: the first `kinds` of `known` are different from each other for certain.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) observed: u64,
    pub(super) compared: u64,
    pub(super) equal: u64,
    pub(super) too_large: u64,
    /// Contents that may have been new ones, or not.
    uncertain: u64,
    last: Option<Look>,
    known: [Look; KINDS],
    kinds: u8,
}

impl Seen {
    pub(super) const NOTHING: Self = Self {
        observed: 0,
        compared: 0,
        equal: 0,
        too_large: 0,
        uncertain: 0,
        last: None,
        known: [Look::NOTHING; KINDS],
        kinds: 0,
    };

    fn known(&self) -> &[Look] {
        &self.known[..usize::from(self.kinds)]
    }

    /// True when a shallow look does not tell contents from all that were seen before.
    ///
    /// The first contents are hashed in any case: the second may be as long.
    pub(super) fn needs_hash(&self, shallow: u64) -> bool {
        self.last.is_none_or(|last| last.shallow == shallow)
            || self.known().iter().any(|known| known.shallow == shallow)
    }

    /// Takes up contents that could not be hashed.
    pub(super) fn add_too_large(&mut self) {
        self.too_large += 1;
        self.last = None;
    }

    pub(super) fn add(&mut self, look: Look) {
        self.observed += 1;
        let before = self.last.replace(look);
        let is_equal = match before {
            Some(last) if last.shallow != look.shallow => Some(false),
            Some(Look { hash: Some(last), .. }) => look.hash.map(|hash| hash == last),
            _ => None,
        };
        self.compared += u64::from(is_equal.is_some());
        if is_equal == Some(true) {
            self.equal += 1;
        } else {
            self.add_kind(look);
        }
    }

    fn add_kind(&mut self, look: Look) {
        let kinds = usize::from(self.kinds);
        let as_long = |known: &&mut Look| known.shallow == look.shallow;
        let Some(hash) = look.hash else {
            // Unless another thread has seen the first of this length since the caller asked, it is a new one.
            if self.known().iter().any(|known| known.shallow == look.shallow) {
                self.uncertain += 1;
            } else {
                self.add_new(look);
            }
            return;
        };
        let mut unhashed = None;
        for known in self.known.iter_mut().take(kinds).filter(as_long) {
            match known.hash {
                Some(known) if known == hash => return,
                Some(_) => {}
                None => unhashed = Some(known),
            }
        }
        match unhashed {
            Some(known) => {
                // Perhaps what was not hashed then, perhaps not.
                known.hash = Some(hash);
                self.uncertain += 1;
            }
            None => self.add_new(look),
        }
    }

    fn add_new(&mut self, look: Look) {
        match self.known.get_mut(usize::from(self.kinds)) {
            Some(free) => {
                *free = look;
                self.kinds += 1;
            }
            None => self.uncertain += 1,
        }
    }

    /// How many different contents there were, at least and at most.
    pub(super) fn distinct(&self) -> (u64, u64) {
        let kinds = u64::from(self.kinds);
        (kinds, kinds + self.uncertain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Contents `(length, number)` one after the other, hashed where that is asked for.
    fn see(contents: impl IntoIterator<Item = (u64, u64)>) -> (Seen, u64) {
        let mut seen = Seen::NOTHING;
        let mut hashes = 0;
        for (shallow, content) in contents {
            let hash = seen.needs_hash(shallow).then(|| {
                hashes += 1;
                NonZero::new(shallow * 1000 + content + 1).expect("it is above 0")
            });
            seen.add(Look { shallow, hash });
        }
        (seen, hashes)
    }

    fn figures(seen: &Seen) -> (u64, u64, u64, (u64, u64)) {
        (seen.observed, seen.compared, seen.equal, seen.distinct())
    }

    #[test]
    fn equal_each_time() {
        let (seen, _) = see([(5, 1); 100]);
        assert_eq!(figures(&seen), (100, 99, 99, (1, 1)));
    }

    #[test]
    fn different_each_time_with_one_length() {
        let (seen, _) = see((0..100).map(|n| (5, n)));
        assert_eq!(figures(&seen), (100, 99, 0, (8, 100)));
    }

    #[test]
    fn other_lengths_are_not_hashed() {
        let (seen, hashes) = see((1..=100).map(|n| (n, 0)));
        assert_eq!(figures(&seen), (100, 99, 0, (8, 100)));
        assert_eq!(hashes, 1, "the first");
    }

    #[test]
    fn two_in_turn_are_two() {
        let (seen, _) = see((0..100).map(|n| (n % 2 + 3, 0)));
        // The one of length 4 was not hashed at first: it may have been a third.
        assert_eq!(figures(&seen), (100, 99, 0, (2, 3)));
        let (seen, _) = see((0..100).map(|n| (3, n % 2)));
        assert_eq!(figures(&seen), (100, 99, 0, (2, 2)));
    }

    #[test]
    fn a_refresh_now_and_then_is_seen() {
        let (seen, _) = see((0..100).map(|n| (9, n / 25)));
        assert_eq!(figures(&seen), (100, 99, 96, (4, 4)));
        let (seen, _) = see((0..100).map(|n| (9 + n / 50, 0)));
        // After the change of length one comparison is missing.
        assert_eq!(figures(&seen), (100, 98, 97, (2, 3)));
    }

    #[test]
    fn too_large_ones_are_compared_with_nothing() {
        let (mut seen, _) = see([(5, 1); 3]);
        seen.add_too_large();
        seen.add(Look {
            shallow: 5,
            hash: NonZero::new(5002),
        });
        assert_eq!((seen.observed, seen.compared, seen.equal, seen.too_large), (4, 2, 2, 1));
        assert_eq!(seen.distinct(), (1, 1));
    }
}
