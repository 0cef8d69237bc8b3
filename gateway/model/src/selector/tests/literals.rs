//! Names, literals and white space. [JMS 2.0, 3.8.1.1]

use super::{F, T, check, every_type, parsed, view};
use crate::selector::number::{Literal, LiteralError, Number, literal};
use crate::{Selector, Value};

#[test]
fn numbers_are_written_as_in_java() {
    check(
        &[
            ("57 = 57L AND 57 = 57l", T),
            ("-957 < 0", T),
            ("+62 = 62", T),
            ("0x1F = 31 AND 0X1f = 31", T),
            ("0xFFL = 255", T),
            ("0xFFFFFFFFFFFFFFFF = -1", T),
            ("017 = 15", T),
            ("00 = 0 AND 0 = 0L", T),
            ("0b101 = 5", T),
            ("1_000_000 = 1000000", T),
            ("0x5e-3 = 91", T),
            ("7. = 7", T),
            ("-95.7 < -95", T),
            ("+6.2 > 6", T),
            (".5 = 0.5", T),
            ("7E3 = 7000", T),
            ("-57.9E2 = -5790.0", T),
            ("7.e3 = 7000", T),
            ("7e+3 = 7000", T),
            ("5e-1 = .5", T),
            ("09.5 = 9.5", T),
            ("1f = 1 AND 1D = 1 AND 1.5F = 1.5d", T),
            ("-0x10 = -16", T),
            ("- 9223372036854775808 < 0", T),
            ("1e-400 = 0", T),
        ],
        &every_type(),
    );
}

#[test]
fn words_that_begin_like_numbers_and_are_none_are_malformed() {
    for word in
        ["0x", "0b", "0b2", "08", "5abc", "1e", "1.2.3", "1__", "_1", "1_.5", "0x_1", "0x1G", "1Lf", "1e5L", "."]
    {
        assert_eq!(literal(word), Err(LiteralError::Malformed), "{word}");
    }
    for word in ["9223372036854775809", "99999999999999999999", "0x10000000000000000", "1e999", "1e39f"] {
        assert_eq!(literal(word), Err(LiteralError::OutOfRange), "{word}");
    }
    assert_eq!(literal("9223372036854775808"), Ok(Literal::Decimal(1 << 63)));
    assert_eq!(Literal::Decimal(1 << 63).value(false), None);
    assert_eq!(Literal::Decimal(1 << 63).value(true), Some(Number::Exact(i64::MIN)));
}

#[test]
fn names_are_java_identifiers_case_sensitive_or_anything_in_double_quotes() {
    check(
        &[
            ("Colour = 'RED'", T),
            ("colour = 'RED'", F),
            ("größe = 3", T),
            ("$cost_1 = 4", T),
            ("_under = 5", T),
            ("price.net = 8", T),
            ("android = 6", T),
            ("\"my-prop\" = 1", T),
            ("\"a \"\"b\"\"\" = 2", T),
            ("\"colour\" = 'red'", T),
            ("\"and\" = 7", T),
            ("twice = 'first'", T),
            ("my-prop = 1", None), // a difference of two missing properties
        ],
        &every_type(),
    );
}

#[test]
fn reserved_words_are_known_in_any_case() {
    check(
        &[
            ("colour Is Not nUlL aNd weight betWEEN 1 and 9", T),
            ("nOt (colour iN ('x') oR colour lIKe 'y!_' eSCape '!')", T),
            ("yes = tRUE AND no = falsE", T),
        ],
        &every_type(),
    );
}

#[test]
fn a_doubled_quote_stands_for_itself() {
    let messages = view(&[("s", Value::text("literal's")), ("q", Value::text("'")), ("d", Value::text("a\"b"))]);
    check(
        &[
            ("s = 'literal''s'", T),
            ("q = ''''", T),
            ("q = ''''''", F),
            ("d = 'a\"b'", T),
            ("s IN ('''', 'literal''s')", T),
        ],
        &messages,
    );
}

#[test]
fn white_space_stands_anywhere_between_tokens_and_nowhere_else() {
    check(
        &[
            ("\t\r\n\u{c} colour\n=\r\n'red'\t", T),
            ("colour='red'AND weight=5", T),
            ("(weight)BETWEEN(1)AND(9)", T),
            ("colour IN('red','blue')", T),
        ],
        &every_type(),
    );
}

#[test]
fn a_blank_selector_selects_everything() {
    check(&[("", T), (" \n", T), ("convert_string_expressions:", T)], &every_type());
}

#[test]
fn selectors_are_equal_by_their_trimmed_text() {
    assert_eq!(parsed(" a = 1\n").as_str(), "a = 1");
    assert_eq!(parsed(" a = 1\n"), parsed("a = 1"));
    assert_ne!(parsed("a=1"), parsed("a = 1"));
    assert_eq!(format!("{:?} {}", parsed("a=1"), parsed("a=1")), "Selector(\"a=1\") a=1");
    assert_eq!(Selector::parse("a ="), Selector::parse("a ="));
}
