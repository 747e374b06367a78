//! A whole module without a prelude, without `unsafe`, and with shadowed names, marked at its top.
#![forbid(unsafe_code)]

use alloc_core::track_memory as mark;

#[mark(loops)]
mod inner {
    #![no_implicit_prelude]

    pub struct Queue<const N: usize>(pub [u32; N]);

    impl<const N: usize> Queue<N> {
        pub fn sum(self) -> u32 {
            let mut sum = 0;
            for n in self.0 {
                sum += n;
            }
            sum
        }

        pub async fn wait(&self) -> usize {
            let mut turns = 0;
            while turns < N {
                turns += 1;
                ::core::future::ready(()).await;
            }
            turns
        }

        pub const fn len() -> usize {
            N
        }
    }

    pub fn returned(n: u32) -> impl ::core::future::Future<Output = u32> {
        ::core::future::ready(n)
    }
}

fn main() {
    let queue = inner::Queue([1, 2]);
    let _ = (queue.wait(), inner::returned(1), inner::Queue::<3>::len());
    assert_eq!(queue.sum(), 3);
}
