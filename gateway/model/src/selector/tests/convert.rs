//! `convert_string_expressions:` for protocols whose properties are all text.

use super::{F, T, U, check, view};
use crate::Value;

#[test]
fn with_the_prefix_texts_that_look_like_numbers_or_booleans_compare_as_such() {
    let texts = view(&[
        ("weight", Value::text("5")),
        ("price", Value::text("9.50")),
        ("debt", Value::text("-1e3")),
        ("yes", Value::text("True")),
        ("no", Value::text("false")),
        ("colour", Value::text("red")),
        ("inf", Value::text("inf")),
        ("nan", Value::text("NaN")),
        ("vast", Value::text("1e999")),
        ("hex", Value::text("0x10")),
        ("empty", Value::text("")),
        ("real", Value::Int(5)),
    ]);
    let rows = [
        ("weight = 5", T),
        ("weight = 5.0", T),
        ("weight <> 6", T),
        ("weight > 4 AND weight BETWEEN 3 AND 9", T),
        ("weight NOT BETWEEN 3 AND 9", F),
        ("price = 9.5", T),
        ("debt < 0", T),
        ("weight * 2 = 10", T),
        ("-weight = -5", T),
        ("weight < price", T),
        ("weight = real", T),
        ("weight = '5'", T),
        ("price = '9.5'", F),
        ("real = '5'", T),
        ("real = 5", T),
        ("yes = TRUE", T),
        ("no = FALSE", T),
        ("yes", T),
        ("NOT no", T),
        ("colour", U),
        ("colour = 5", F),
        ("colour <> 5", F),
        ("colour > 5", F),
        ("colour = TRUE", F),
        ("colour + 1 = 1", U),
        ("inf > 5", F),
        ("nan <> 5", F),
        ("hex = 16", F),
        ("vast > 5", F),
        ("empty = 0", F),
        ("yes = 1", F),
        ("gone > 5", U),
        ("colour = 'red'", T),
    ];
    for (text, expected) in rows {
        check(&[(&format!("convert_string_expressions:{text}"), expected)], &texts);
    }
    check(&[("convert_string_expressions: weight > 4", T), ("weight > 4", F), ("yes", U)], &texts);
}
