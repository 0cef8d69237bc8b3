//! Whatever the text and the message, reading and evaluating stay short and shallow.

use super::{F, T, U, check, message, parsed, truth, view};
use crate::selector::like::Pattern;
use crate::selector::{COMPARED_BYTES_MAX, NESTING_MAX, NODES_MAX, TEXT_BYTES_MAX};
use crate::{Selector, Value};

/// A thread has 2 MiB of stack by default; a quarter of it must do.
fn on_a_small_stack(test: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(512 * 1024).spawn(test).unwrap().join().unwrap();
}

fn error(text: &str) -> String {
    Selector::parse(text).unwrap_err().to_string()
}

#[test]
fn a_text_is_at_most_64_kib() {
    let pad = |bytes: usize| format!("a = '{}'", "x".repeat(bytes - 6));
    assert!(Selector::parse(&pad(TEXT_BYTES_MAX)).is_ok());
    assert_eq!(error(&pad(TEXT_BYTES_MAX + 1)), "selector: it is longer than 65536 bytes at column 1");
}

#[test]
fn parentheses_nest_at_most_64_deep() {
    on_a_small_stack(|| {
        let nested = |depth: usize| format!("{}a = 1{}", "(".repeat(depth), ")".repeat(depth));
        assert!(Selector::parse(&nested(NESTING_MAX)).is_ok());
        assert_eq!(error(&nested(NESTING_MAX + 1)), "selector: parentheses nest deeper than 64 at column 65");
        assert!(Selector::parse(&"(".repeat(TEXT_BYTES_MAX)).is_err());
        // Beside each other, not in each other.
        let beside = vec!["(a = 1)"; NESTING_MAX * 2].join(" OR ");
        assert!(Selector::parse(&beside).is_ok());
    });
}

#[test]
fn the_deepest_expression_is_evaluated_and_dropped_on_a_small_stack() {
    on_a_small_stack(|| {
        let text = format!("{}gone{}", "NOT (yes AND (no OR (".repeat(21), ")))".repeat(21));
        let values = view(&[("yes", Value::Bool(true)), ("no", Value::Bool(false))]);
        assert_eq!(truth(&text, &message(), &values), U);
        let text = format!("{}weight{} > 0", "-(1 * (0 - ".repeat(32), "))".repeat(32));
        let weight = view(&[("weight", Value::Int(5))]);
        assert_eq!(truth(&text, &message(), &weight), T);
    });
}

#[test]
fn chains_are_long_not_deep() {
    on_a_small_stack(|| {
        let one = view(&[("a", Value::Int(1)), ("b", Value::Bool(true))]);
        let or = vec!["a = 2"; 1000].join(" OR ");
        let and = vec!["b"; 2000].join(" AND ");
        let sum = format!("{} = 2000", vec!["a"; 2000].join(" + "));
        let product = format!("{} = 1", vec!["a"; 2000].join("*"));
        let not = format!("{}b", "NOT ".repeat(4000));
        let minus = format!("{}a = 1", "-".repeat(4000));
        check(&[(&or, F), (&and, T), (&sum, T), (&product, T), (&not, T), (&minus, T)], &one);
    });
}

#[test]
fn nodes_are_counted_at_their_edge() {
    // Each name is a node, and each AND.
    let names = |names: usize| vec!["a"; names].join(" AND ");
    assert!(Selector::parse(&names(NODES_MAX / 2)).is_ok());
    assert_eq!(
        error(&names(NODES_MAX / 2 + 1)),
        "selector: it has more than 4096 names, literals and operators at column 12289"
    );
    // Chains that only prefix operators make, members of IN, and the characters of LIKE.
    for (part, text) in [
        ("NOT ", format!("{}a", "NOT ".repeat(NODES_MAX + 1))),
        ("-", format!("{}a = 1", "-".repeat(NODES_MAX + 1))),
        ("'',", format!("a IN ({}'')", "'',".repeat(NODES_MAX))),
        ("x", format!("a LIKE '{}'", "x".repeat(NODES_MAX + 1))),
    ] {
        assert!(error(&text).contains("more than 4096"), "{part}");
    }
    assert!(Selector::parse(&format!("a LIKE '{}'", "x".repeat(NODES_MAX - 2))).is_ok());
    assert!(Selector::parse(&format!("a LIKE '{}'", "x".repeat(NODES_MAX - 1))).is_err());
}

#[test]
fn like_takes_time_in_proportion_to_the_text() {
    let text = format!("{}c", "a".repeat(COMPARED_BYTES_MAX - 1));
    for pattern in [
        format!("%{}b%", "a".repeat(4_000)),
        format!("%b{}%", "a".repeat(4_000)),
        format!("%{}b%c", "a_".repeat(31)),
        format!("{}b%", "%a".repeat(2_000)),
        format!("{}b", "%_".repeat(2_000)),
        format!("{}%b", "_".repeat(4_000)),
        "%a%a%a%a%a%a%a%a%a%a%a%a_b%".to_owned(),
    ] {
        let compiled = Pattern::new(&pattern, None).unwrap();
        let start = std::time::Instant::now();
        assert!(!compiled.matches(&text), "{pattern}");
        // Pieces times characters would be minutes.
        assert!(start.elapsed().as_millis() < 1_000, "{pattern}: {:?}", start.elapsed());
    }
}

#[test]
fn between_two_percent_signs_with_an_underscore_are_at_most_64_characters() {
    let pattern = |middle: &str| format!("a LIKE 'x{0}%{middle}%{0}'", "_".repeat(100));
    let values = view(&[("a", Value::text(format!("x{}{}", "y".repeat(230), "z".repeat(40))))]);
    check(&[(&pattern(&format!("{}z", "_".repeat(63))), F), (&pattern(&format!("{}y", "_".repeat(63))), T)], &values);
    check(&[(&pattern(&"y".repeat(71)), F), (&pattern(&"y".repeat(70)), T)], &values);
    assert_eq!(
        error(&pattern(&format!("{}y", "_".repeat(64)))),
        "selector: between two % there may be at most 64 characters if _ is among them at column 8"
    );
}

#[test]
fn a_selector_searches_about_a_hundred_times() {
    let searches = |searches: usize| vec!["a LIKE '%x%'"; searches].join(" OR ");
    assert!(Selector::parse(&searches(107)).is_ok());
    assert!(error(&searches(108)).contains("more than 4096"));
    // At its start and its end a text is compared once.
    assert!(Selector::parse(&vec!["a LIKE 'x%y'"; 600].join(" OR ")).is_ok());
}

#[test]
fn very_long_texts_compare_with_nothing_but_are_there() {
    let long = "x".repeat(COMPARED_BYTES_MAX + 1);
    let edge = &long[1..];
    let texts = view(&[("long", Value::text(&*long)), ("edge", Value::text(edge))]);
    check(
        &[
            ("edge LIKE 'x%'", T),
            ("edge = edge", T),
            ("long LIKE 'x%'", F),
            ("long = long", F),
            ("long IS NOT NULL", T),
        ],
        &texts,
    );
}

#[test]
fn many_names_are_found_in_one_pass_with_the_same_result() {
    let names: Vec<String> = (0..1_000).map(|i| format!("p{i}")).collect();
    let properties: Vec<(&str, Value<'_>)> =
        names.iter().map(|name| (&**name, Value::text(name.clone()))).chain([("p7", Value::text("second"))]).collect();
    let view = view(&properties);
    for mentions in [1, 15, 16, 17, 500, 1_000] {
        let terms = |value: &dyn Fn(&str) -> String| {
            names[..mentions].iter().map(|name| format!("{name} = '{}'", value(name))).collect::<Vec<_>>()
        };
        let all = terms(&|name| name.to_owned());
        check(&[(&all.join(" AND "), T)], &view);
        let none = terms(&|name| format!("{name}x"));
        check(&[(&none.join(" OR "), F), (&format!("{} OR gone = 1", none.join(" OR ")), U)], &view);
    }
}

#[test]
fn a_long_list_is_searched_not_walked() {
    let members: Vec<String> = (0..4_000).rev().map(|i| format!("'m{i}'")).collect();
    let selector = parsed(&format!("a IN ({})", members.join(",")));
    for (member, expected) in [("m0", true), ("m3999", true), ("m4000", false), ("", false)] {
        assert_eq!(selector.matches(&message(), &view(&[("a", Value::text(member))])), expected, "{member}");
    }
}
