//! Free slots and free pages: none is lent to two at once, none comes back with what the last one wrote.

use std::sync::OnceLock;

use super::checker::{all_executions, thread};
use super::{Fault, alone};
use crate::record::arena;
use crate::record::atomic::{AtomicU32, Ordering};
use crate::record::counters::Row;
use crate::record::free::FreeStack;
use crate::record::pages::{PAGE, Pool};

static FREE: FreeStack = FreeStack::new();
static LINKS: [AtomicU32; 4] = [const { AtomicU32::new(0) }; 4];
static OWNED: [AtomicU32; 4] = [const { AtomicU32::new(0) }; 4];

fn use_a_slot() {
    let Some(slot) = FREE.pop(|slot| LINKS.get(slot as usize)) else {
        return;
    };
    assert_eq!(
        OWNED[slot as usize].swap(1, Ordering::Relaxed),
        0,
        "wrong: a slot lent to two"
    );
    OWNED[slot as usize].store(0, Ordering::Relaxed);
    FREE.push(slot, &LINKS[slot as usize]);
}

fn slots_have_one_owner(fault: Fault) {
    let _alone = alone();
    all_executions(
        fault,
        3,
        || {
            for slot in 1..=3 {
                FREE.push(slot, &LINKS[slot as usize]);
            }
            vec![
                thread(|| {
                    // Two of its own, given back the other way round: the head comes back and its link is another.
                    let [first, second] = [0; 2].map(|_| FREE.pop(|slot| LINKS.get(slot as usize)));
                    for slot in [first, second].into_iter().flatten() {
                        assert_eq!(
                            OWNED[slot as usize].swap(1, Ordering::Relaxed),
                            0,
                            "wrong: a slot lent to two"
                        );
                    }
                    for slot in [first, second].into_iter().flatten() {
                        OWNED[slot as usize].store(0, Ordering::Relaxed);
                        FREE.push(slot, &LINKS[slot as usize]);
                    }
                }),
                thread(use_a_slot),
            ]
        },
        || {
            let mut left: Vec<u32> = std::iter::from_fn(|| FREE.pop(|slot| LINKS.get(slot as usize))).collect();
            left.sort_unstable();
            assert_eq!(left, [1, 2, 3], "wrong: slots were lost");
        },
    );
}

#[test]
fn a_free_slot_has_one_owner() {
    slots_have_one_owner(Fault::None);
}

#[test]
#[should_panic(expected = "wrong")]
fn slots_exchanged_in_two_steps_are_found_out() {
    slots_have_one_owner(Fault::Torn);
}

static POOL: Pool = Pool::new();

fn page(number: usize) -> usize {
    static PAGES: OnceLock<[usize; 2]> = OnceLock::new();
    PAGES.get_or_init(|| {
        // SAFETY: zero is a valid Row.
        [0; 2].map(|_| {
            unsafe { arena::take_zeroed::<Row>(PAGE) }
                .unwrap()
                .as_ptr()
                .expose_provenance()
        })
    })[number]
}

fn push_page(address: usize) {
    let page = std::ptr::NonNull::new(std::ptr::with_exposed_provenance_mut(address)).unwrap();
    // SAFETY: the pages of `page`, each used by whoever popped it alone.
    unsafe { POOL.push(page, size_of::<Row>() * PAGE) };
}

fn use_a_page() {
    let Some(page) = POOL.pop() else { return };
    // SAFETY: pages of this pool hold rows.
    let row = unsafe { page.cast::<Row>().as_ref() };
    assert_eq!(
        [&row.allocations, &row.frees].map(|counter| counter.get()),
        [0, 0],
        "wrong: a page lent to two, or not empty"
    );
    row.allocations.set(1);
    row.frees.set(1);
    push_page(page.as_ptr().expose_provenance());
}

fn pages_have_one_owner(fault: Fault) {
    let _alone = alone();
    page(0);
    all_executions(
        fault,
        3,
        || {
            push_page(page(0));
            push_page(page(1));
            vec![
                thread(|| {
                    use_a_page();
                    use_a_page();
                }),
                thread(use_a_page),
            ]
        },
        || {
            assert_eq!(std::iter::from_fn(|| POOL.pop()).count(), 2, "wrong: pages were lost");
        },
    );
}

#[test]
fn a_free_page_is_empty_and_has_one_owner() {
    pages_have_one_owner(Fault::None);
}

#[test]
#[should_panic(expected = "wrong")]
fn pages_without_orderings_are_found_out() {
    pages_have_one_owner(Fault::Unordered);
}

#[test]
#[should_panic(expected = "wrong")]
fn pages_exchanged_in_two_steps_are_found_out() {
    pages_have_one_owner(Fault::Torn);
}
