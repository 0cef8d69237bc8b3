//! What holds of every selector.

use proptest::prelude::*;

use super::{message, truth, view};
use crate::selector::like::Pattern;
use crate::{Selector, Value, View};

fn values() -> View<'static> {
    view(&[("t", Value::Bool(true)), ("f", Value::Bool(false)), ("n", Value::Int(3)), ("s", Value::text("ab"))])
}

/// Conditions of every form, among them unknown ones (`u` is missing).
fn condition() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "t",
        "f",
        "u",
        "n = 3",
        "n > 4.5",
        "n <> u",
        "s = 'ab'",
        "s LIKE 'a_'",
        "s IN ('x')",
        "u IS NULL",
        "n BETWEEN 1 AND u",
        "s NOT LIKE '%c'",
        "n + 1 = 4",
        "n / 0 = 1",
        "s = 3",
    ]);
    leaf.prop_map(str::to_owned).prop_recursive(5, 32, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} AND {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} OR {b})")),
            inner.prop_map(|a| format!("NOT ({a})")),
        ]
    })
}

/// LIKE as its definition says, slow: every % tries every length.
fn like(pattern: &[char], text: &[char]) -> bool {
    match pattern {
        [] => text.is_empty(),
        ['%', rest @ ..] => (0..=text.len()).any(|taken| like(rest, &text[taken..])),
        ['_', rest @ ..] => !text.is_empty() && like(rest, &text[1..]),
        [c, rest @ ..] => text.first() == Some(c) && like(rest, &text[1..]),
    }
}

proptest! {
    #[test]
    fn de_morgan_holds_with_unknown(a in condition(), b in condition()) {
        let (message, view) = (message(), values());
        let truth = |text: String| truth(&text, &message, &view);
        prop_assert_eq!(truth(format!("NOT ({a} AND {b})")), truth(format!("NOT ({a}) OR NOT ({b})")));
        prop_assert_eq!(truth(format!("NOT ({a} OR {b})")), truth(format!("NOT ({a}) AND NOT ({b})")));
        prop_assert_eq!(truth(format!("NOT NOT ({a})")), truth(a.clone()));
        prop_assert_eq!(truth(format!("({a}) AND ({b})")), truth(format!("({b}) AND ({a})")));
        prop_assert_eq!(truth(format!("({a}) = TRUE")), truth(a));
    }

    #[test]
    fn like_is_what_its_definition_says(pattern in "[aä%_]{0,8}", text in "[aäc]{0,8}") {
        let slow = like(&pattern.chars().collect::<Vec<_>>(), &text.chars().collect::<Vec<_>>());
        prop_assert_eq!(Pattern::new(&pattern, None).unwrap().matches(&text), slow);
    }

    #[test]
    fn any_text_is_a_selector_or_an_error_of_one_line(text in "\\PC{0,40}|[a-c0-9.eEx'\"()=<>+*/, \n-]{0,40}") {
        match Selector::parse(&text) {
            Ok(selector) => {
                selector.matches(&message(), &values());
                prop_assert_eq!(Selector::parse(selector.as_str()).unwrap(), selector);
            }
            Err(error) => {
                prop_assert!(error.column() >= 1 && error.column() <= text.chars().count() + 1);
                prop_assert!(!error.to_string().contains('\n'));
            }
        }
    }

    #[test]
    fn integers_and_doubles_come_back_as_they_are_written(whole: i64, approximate in prop::num::f64::NORMAL) {
        let numbers = view(&[("whole", Value::Long(whole)), ("approximate", Value::Double(approximate))]);
        let text = format!("whole = {whole} AND approximate = {approximate:e} AND approximate <= {approximate:?}");
        prop_assert!(Selector::parse(&text).unwrap().matches(&message(), &numbers), "{}", text);
    }
}
