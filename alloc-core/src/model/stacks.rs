//! The call stacks of a snapshot, in one piece of memory.
//!
//! Read side. Filled by `control` and by files. PERF: with a vector for each stack, asking for their memory was a quarter of the instructions
//! of a snapshot, and a third of the pages that it touched.
#![forbid(unsafe_code)]

use std::fmt;

use serde::de::{Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// A distinct call stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[non_exhaustive]
pub struct Stack<'a> {
    /// Indices into `Snapshot::frames`, innermost first.
    pub frames: &'a [u32],
    /// Deeper than the configured depth: outermost frames are missing.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    /// Taken on a stack that is not the thread's own (coroutine, signal stack): one address only.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub foreign: bool,
}

/// The distinct call stacks of a snapshot. `Context::stack` is an index into them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Stacks {
    /// Of all stacks, one after the other.
    frames: Vec<u32>,
    shapes: Vec<Shape>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Shape {
    /// Where its frames end, and those of the next begin.
    end: usize,
    truncated: bool,
    foreign: bool,
}

impl Stacks {
    /// How many stacks there are.
    pub fn len(&self) -> usize {
        self.shapes.len()
    }

    /// True when there is none, as in mode `scopes`.
    pub fn is_empty(&self) -> bool {
        self.shapes.is_empty()
    }

    /// The stack with that index.
    pub fn get(&self, index: usize) -> Option<Stack<'_>> {
        let shape = self.shapes.get(index)?;
        let start = index.checked_sub(1).map_or(0, |before| self.shapes[before].end);
        Some(Stack {
            frames: &self.frames[start..shape.end],
            truncated: shape.truncated,
            foreign: shape.foreign,
        })
    }

    /// All stacks, by ascending index.
    pub fn iter(&self) -> impl Iterator<Item = Stack<'_>> {
        (0..self.len()).map_while(|index| self.get(index))
    }

    /// With room for so many stacks.
    pub(crate) fn with_capacity(stacks: usize) -> Self {
        Self {
            frames: Vec::new(),
            shapes: Vec::with_capacity(stacks),
        }
    }

    /// Adds a stack. Gives its index.
    pub(crate) fn push(&mut self, frames: &[u32], truncated: bool, foreign: bool) -> usize {
        self.frames.extend_from_slice(frames);
        self.shapes.push(Shape {
            end: self.frames.len(),
            truncated,
            foreign,
        });
        self.shapes.len() - 1
    }

    /// The frames of all stacks, to number them anew.
    pub(crate) fn frames_mut(&mut self) -> &mut [u32] {
        &mut self.frames
    }

    pub(crate) fn shrink_to_fit(&mut self) {
        self.frames.shrink_to_fit();
        self.shapes.shrink_to_fit();
    }
}

impl<'a> FromIterator<Stack<'a>> for Stacks {
    fn from_iter<I: IntoIterator<Item = Stack<'a>>>(all: I) -> Self {
        let mut stacks = Self::default();
        for stack in all {
            stacks.push(stack.frames, stack.truncated, stack.foreign);
        }
        stacks
    }
}

impl fmt::Debug for Stacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl Serialize for Stacks {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Stacks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// A stack as files have it.
        #[derive(Deserialize)]
        #[serde(rename = "Stack")]
        struct Written {
            frames: Vec<u32>,
            #[serde(default)]
            truncated: bool,
            #[serde(default)]
            foreign: bool,
        }

        struct All;

        impl<'de> Visitor<'de> for All {
            type Value = Stacks;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a sequence")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Stacks, A::Error> {
                let mut stacks = Stacks::default();
                while let Some(stack) = all.next_element::<Written>()? {
                    stacks.push(&stack.frames, stack.truncated, stack.foreign);
                }
                Ok(stacks)
            }
        }

        deserializer.deserialize_seq(All)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stacks_of_any_length_are_told_apart() {
        let mut stacks = Stacks::default();
        for (frames, truncated, foreign) in [
            (&[][..], false, false),
            (&[3, 1], true, false),
            (&[], false, true),
            (&[2], false, false),
        ] {
            stacks.push(frames, truncated, foreign);
        }
        let frames: Vec<&[u32]> = stacks.iter().map(|stack| stack.frames).collect();
        assert_eq!(frames, [&[][..], &[3, 1], &[], &[2]]);
        assert!(stacks.get(1).is_some_and(|stack| stack.truncated && !stack.foreign));
        assert!(stacks.get(2).is_some_and(|stack| stack.foreign && !stack.truncated));
        assert_eq!(stacks.get(4), None);
        assert_eq!(stacks.iter().collect::<Stacks>(), stacks);
        let written = serde_json::to_string(&stacks).unwrap();
        assert_eq!(
            written,
            r#"[{"frames":[]},{"frames":[3,1],"truncated":true},{"frames":[],"foreign":true},{"frames":[2]}]"#
        );
        assert_eq!(serde_json::from_str::<Stacks>(&written).unwrap(), stacks);
    }
}
