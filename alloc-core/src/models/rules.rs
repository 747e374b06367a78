//! The rule table: whatever others store and forget meanwhile, a rule is the one of its address.
#![forbid(unsafe_code)]
#![cfg(stack_rules)]

use std::sync::OnceLock;

use super::checker::{interleavings, thread};
use super::{Fault, Part, alone, count};
use crate::record::stack;

/// Return addresses of one set of the table, more than it has ways, and their rules. They differ in the upper half of the table's words.
fn known() -> &'static [(usize, Option<(bool, usize, usize)>)] {
    static KNOWN: OnceLock<Vec<(usize, Option<(bool, usize, usize)>)>> = OnceLock::new();
    KNOWN.get_or_init(|| {
        let code = (known as fn() -> _) as usize;
        let addresses = (0..6).map(|number| code + (number << 15));
        let known = addresses.map(|pc| (pc, stack::rule_parts(pc))).collect();
        stack::forget_modules();
        known
    })
}

fn rules_are_those_of_their_address(fault: Fault, count: usize) {
    let _alone = alone();
    assert!(known().iter().any(|(_, rule)| rule.is_some()), "no rule to look at");
    let look_up = |offset: usize| {
        for turn in 0..known().len() {
            let (pc, rule) = known()[(turn + offset) % known().len()];
            assert_eq!(stack::rule_parts(pc), rule, "wrong: the rule of another address");
        }
    };
    interleavings(
        fault,
        count,
        move || {
            vec![
                thread(move || look_up(0)),
                thread(move || look_up(3)),
                thread(stack::forget_modules),
            ]
        },
        || {},
    );
}

#[test]
fn a_rule_is_the_one_of_its_address() {
    rules_are_those_of_their_address(Fault::None, count(40));
}

#[test]
#[should_panic(expected = "wrong: the rule of another address")]
fn rules_that_are_stored_in_halves_are_found_out() {
    let (start, bytes) = stack::rule_memory();
    rules_are_those_of_their_address(Fault::HalvedIn(Part(start, bytes)), 2000);
}
