//! Errors say what is wrong and where, in one line.

use crate::Selector;

#[test]
fn errors_say_what_was_expected_and_at_which_column() {
    let table = [
        ("colour    =", "expected a value after = at column 12"),
        ("colour = ", "expected a value after = at column 9"),
        ("  colour = AND", "expected a value after = at column 12"),
        ("größe = )", "expected a value after = at column 9"),
        ("= 5", "expected a value at column 1"),
        ("()", "expected a value after ( at column 2"),
        ("AND", "expected a value at column 1"),
        ("a = 1 AND", "expected a value after AND at column 10"),
        ("a = 1 OR OR b = 2", "expected a value after OR at column 10"),
        ("(a = 1", "expected an operator or ) after 1 at column 7"),
        ("a = 1)", "expected AND, OR or the end after 1 at column 6"),
        ("a = b = c", "expected AND, OR or the end after b at column 7"),
        ("colour 'red'", "expected an operator or the end after colour at column 8"),
        ("a == 1", "expected a value after = at column 4"),
        ("a != 1", "unexpected ! (not equal is written <>) at column 3"),
        ("a = #", "unexpected # at column 5"),
        ("a\u{a0}= 1", "unexpected character U+00A0 at column 2"),
        ("a = 'x", "the closing ' is missing for the one at column 5"),
        ("a = 'it''s", "the closing ' is missing for the one at column 5"),
        ("\"a = 1", "the closing \" is missing for the one at column 1"),
        ("\"\" = 1", "the name is empty at column 1"),
        ("a = 5x", "malformed number at column 5"),
        ("a = .", "malformed number at column 5"),
        ("a = 9223372036854775808", "a number out of range at column 5"),
        ("a = 1e999", "a number out of range at column 5"),
        ("a = -0x8000000000000000", "a number out of range at column 6"),
        ("a = NULL", "NULL is no value; it is tested with IS NULL at column 5"),
        ("a IS 5", "expected NULL or NOT NULL after IS at column 6"),
        ("a IS NOT 5", "expected NULL after NOT at column 10"),
        ("5 IS NULL", "IS NULL needs a name before it at column 1"),
        ("a NOT 5", "expected BETWEEN, IN or LIKE after NOT at column 7"),
        ("a BETWEEN 1 OR 2", "expected AND after 1 at column 13"),
        ("a BETWEEN 'a' AND 'b'", "expected a number at column 11"),
        ("'a' BETWEEN 1 AND 2", "expected a number at column 1"),
        ("a IN 'x'", "expected ( after IN at column 6"),
        ("a IN ()", "expected a text in single quotes after ( at column 7"),
        ("a IN (1)", "expected a text in single quotes after ( at column 7"),
        ("a IN ('x' 'y')", "expected , or ) after 'x' at column 11"),
        ("a IN ('x',)", "expected a text in single quotes after , at column 11"),
        ("'x' IN ('x')", "IN needs a name before it at column 1"),
        ("a LIKE b", "expected a text in single quotes after LIKE at column 8"),
        ("a + 1 LIKE 'b'", "LIKE needs a name before it at column 1"),
        ("a LIKE 'b' ESCAPE 'xy'", "ESCAPE needs one character at column 19"),
        ("a LIKE 'b' ESCAPE ''", "ESCAPE needs one character at column 19"),
        ("a LIKE 'b!' ESCAPE '!'", "nothing follows the escape character at the end of the pattern at column 8"),
        ("a > 'x'", "only numbers have an order; compare others with = or <> at column 5"),
        ("TRUE <= a", "only numbers have an order; compare others with = or <> at column 1"),
        ("'x' + 1 = 2", "expected a number at column 1"),
        ("1 + 'x' = 2", "expected a number at column 5"),
        ("1 * (a = 2) = 2", "expected a number at column 5"),
        ("-'x' = 2", "expected a number at column 2"),
        ("5", "expected a condition, found a value at column 1"),
        ("'red'", "expected a condition, found a value at column 1"),
        ("a = 1 AND b + 2", "expected a condition, found a value at column 11"),
        ("a + 2 OR b", "expected a condition, found a value at column 1"),
        ("NOT 5", "expected a condition, found a value at column 5"),
        ("JMSRedelivered = TRUE", "JMSRedelivered cannot be used in a selector at column 1"),
        ("JMSXDeliveryCount > 1", "JMSXDeliveryCount cannot be used in a selector at column 1"),
        ("convert_string_expressions:a = #", "unexpected # at column 32"),
        ("convert_string_expressions:a =", "expected a value after = at column 31"),
        (
            "a = '12345678901234567890\n12345' b",
            "expected AND, OR or the end after '12345678901234567890 12… at column 34",
        ),
    ];
    for (text, expected) in table {
        match Selector::parse(text) {
            Ok(_) => panic!("{text} is taken"),
            Err(error) => assert_eq!(error.to_string(), format!("selector: {expected}"), "{text}"),
        }
    }
}

#[test]
fn an_error_knows_its_column() {
    assert_eq!(Selector::parse("a ==").unwrap_err().column(), 4);
}
