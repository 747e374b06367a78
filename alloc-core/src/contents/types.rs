//! `Content` of std's types.
//!
//! Read side. Leaves out what has no content to compare (locks, cells, functions) and trait objects.
#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet, LinkedList, VecDeque};
use std::ffi::{CStr, CString, OsStr, OsString};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::{NonZeroI32, NonZeroI64, NonZeroU8, NonZeroU16, NonZeroU32, NonZeroU64, NonZeroUsize, Wrapping};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::hash::{Content, ContentHash};

/// By their `Hash`, many at once.
macro_rules! values {
    ($($type:ty)*) => {$(
        impl Content for $type {
            fn add_to(&self, hash: &mut ContentHash<'_>) {
                hash.value(self);
            }

            fn add_all(values: &[Self], hash: &mut ContentHash<'_>) {
                hash.values(values);
            }
        }
    )*};
}

values! {
    u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize bool char
    NonZeroU8 NonZeroU16 NonZeroU32 NonZeroU64 NonZeroUsize NonZeroI32 NonZeroI64
    Duration Instant SystemTime IpAddr Ipv4Addr Ipv6Addr SocketAddr
}

/// Texts, by their `Hash`; with the number of their bytes.
macro_rules! texts {
    ($($type:ty: $bytes:expr;)*) => {$(
        impl Content for $type {
            fn shallow(&self) -> usize {
                let bytes: fn(&$type) -> usize = $bytes;
                bytes(self)
            }

            fn add_to(&self, hash: &mut ContentHash<'_>) {
                hash.value(self);
            }
        }
    )*};
}

texts! {
    str: str::len;
    CStr: |text| text.count_bytes();
    OsStr: OsStr::len;
    Path: |path| path.as_os_str().len();
}

/// What is compared as the thing that it stands for.
macro_rules! forwarded {
    ($([$($generics:tt)*] $type:ty: $inner:ty;)*) => {$(
        impl<$($generics)*> Content for $type {
            fn shallow(&self) -> usize {
                <$inner as Content>::shallow(self)
            }

            fn add_to(&self, hash: &mut ContentHash<'_>) {
                <$inner as Content>::add_to(self, hash);
            }
        }
    )*};
}

forwarded! {
    [] String: str;
    [] CString: CStr;
    [] OsString: OsStr;
    [] PathBuf: Path;
    [T: Content] Vec<T>: [T];
    [T: Content, const N: usize] [T; N]: [T];
    [T: Content + ?Sized] &T: T;
    [T: Content + ?Sized] &mut T: T;
    [T: Content + ?Sized] Box<T>: T;
    [T: Content + ?Sized] Rc<T>: T;
    [T: Content + ?Sized] Arc<T>: T;
    [T: Content + ToOwned + ?Sized] Cow<'_, T>: T;
}

impl<T: Content> Content for [T] {
    fn shallow(&self) -> usize {
        self.len()
    }

    fn add_to(&self, hash: &mut ContentHash<'_>) {
        hash.list(self);
    }
}

/// Collections with an order.
macro_rules! ordered {
    ($([$($generics:tt)*] $type:ty;)*) => {$(
        impl<$($generics)*> Content for $type {
            fn shallow(&self) -> usize {
                self.len()
            }

            fn add_to(&self, hash: &mut ContentHash<'_>) {
                hash.ordered(self.iter());
            }
        }
    )*};
}

ordered! {
    // Element by element: the two halves of its ring lie anywhere.
    [T: Content] VecDeque<T>;
    [T: Content] LinkedList<T>;
    [T: Content] BTreeSet<T>;
    [K: Content, V: Content] BTreeMap<K, V>;
}

/// Collections in which the order of the elements says nothing.
macro_rules! unordered {
    ($([$($generics:tt)*] $type:ty;)*) => {$(
        impl<$($generics)*> Content for $type {
            fn shallow(&self) -> usize {
                self.len()
            }

            fn add_to(&self, hash: &mut ContentHash<'_>) {
                hash.unordered(self.iter());
            }
        }
    )*};
}

unordered! {
    [T: Content, S] HashSet<T, S>;
    [K: Content, V: Content, S] HashMap<K, V, S>;
    [T: Content] BinaryHeap<T>;
}

impl<T: Content> Content for Option<T> {
    fn shallow(&self) -> usize {
        self.as_ref().map_or(0, T::shallow)
    }

    fn add_to(&self, hash: &mut ContentHash<'_>) {
        hash.value(&self.is_some());
        if let Some(value) = self {
            hash.part(value);
        }
    }
}

impl<T: Content, E: Content> Content for Result<T, E> {
    fn shallow(&self) -> usize {
        self.as_ref().map_or_else(E::shallow, T::shallow)
    }

    fn add_to(&self, hash: &mut ContentHash<'_>) {
        hash.value(&self.is_ok());
        match self {
            Ok(value) => hash.part(value),
            Err(error) => hash.part(error),
        }
    }
}

impl Content for () {
    fn add_to(&self, _: &mut ContentHash<'_>) {}
}

impl<T: Content> Content for Wrapping<T> {
    fn add_to(&self, hash: &mut ContentHash<'_>) {
        hash.part(&self.0);
    }
}

impl Content for f32 {
    fn add_to(&self, hash: &mut ContentHash<'_>) {
        hash.value(&self.to_bits());
    }
}

impl Content for f64 {
    fn add_to(&self, hash: &mut ContentHash<'_>) {
        hash.value(&self.to_bits());
    }
}

macro_rules! tuples {
    ($(($($name:ident $at:tt),+))*) => {$(
        impl<$($name: Content),+> Content for ($($name,)+) {
            fn add_to(&self, hash: &mut ContentHash<'_>) {
                $(hash.part(&self.$at);)+
            }
        }
    )*};
}

tuples! {
    (A 0)
    (A 0, B 1)
    (A 0, B 1, C 2)
    (A 0, B 1, C 2, D 3)
    (A 0, B 1, C 2, D 3, E 4)
    (A 0, B 1, C 2, D 3, E 4, F 5)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7)
}
