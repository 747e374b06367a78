//! What is compiled or parsed for one request.

use std::hint::black_box;
use std::sync::LazyLock;

use alloc_core::track_memory;
use regex::Regex;
use serde::Deserialize;
use serde_json::Value;

use crate::input::{line, number, user_id};

/// A regular expression, compiled for each request; and once.
pub(crate) mod expression {
    use super::*;

    pub(crate) fn bad(n: u64) {
        let lines: Vec<String> = (0..50).map(line).collect();
        for request in 0..n {
            black_box(has_code(&lines[request as usize % lines.len()]));
        }
    }

    #[track_memory(request)]
    fn has_code(line: &str) -> bool {
        let code = Regex::new(r"(^|,)0[1-9]{3,5}").expect("the expression is right"); // REBUILT: cache
        code.is_match(line)
    }

    pub(crate) fn fixed(n: u64) {
        let lines: Vec<String> = (0..50).map(line).collect();
        for request in 0..n {
            black_box(has_code_compiled(&lines[request as usize % lines.len()]));
        }
    }

    #[track_memory(request)]
    fn has_code_compiled(line: &str) -> bool {
        static CODE: LazyLock<Regex> =
            LazyLock::new(|| Regex::new(r"(^|,)0[1-9]{3,5}").expect("the expression is right"));
        CODE.is_match(line)
    }
}

/// A document, parsed into a tree of values; and into a type that borrows from it.
pub(crate) mod document {
    use super::*;

    fn document(order: u64) -> String {
        let items: Vec<String> = (0..10)
            .map(|item| format!(r#"{{"sku":"{}","amount":{}}}"#, user_id(item), number(order + item)))
            .collect();
        format!(r#"{{"user":"{}","items":[{}]}}"#, user_id(order), items.join(","))
    }

    pub(crate) fn bad(n: u64) {
        let documents: Vec<String> = (0..50).map(document).collect();
        for request in 0..n {
            black_box(amount(&documents[request as usize % documents.len()]));
        }
    }

    #[track_memory(request)]
    fn amount(document: &str) -> u64 {
        let order: Value = serde_json::from_str(document).expect("it is JSON"); // REBUILT: pool
        let items = order["items"].as_array().expect("a list");
        items.iter().filter_map(|item| item["amount"].as_u64()).sum()
    }

    #[derive(Deserialize)]
    struct Order<'text> {
        user: &'text str,
        #[serde(borrow)]
        items: [Item<'text>; 10],
    }

    #[derive(Clone, Copy, Deserialize)]
    struct Item<'text> {
        sku: &'text str,
        amount: u64,
    }

    pub(crate) fn fixed(n: u64) {
        let documents: Vec<String> = (0..50).map(document).collect();
        for request in 0..n {
            black_box(amount_borrowed(&documents[request as usize % documents.len()]));
        }
    }

    #[track_memory(request)]
    fn amount_borrowed(document: &str) -> u64 {
        let order: Order<'_> = serde_json::from_str(document).expect("it is an order");
        black_box((order.user, order.items[0].sku));
        order.items.iter().map(|item| item.amount).sum()
    }
}
