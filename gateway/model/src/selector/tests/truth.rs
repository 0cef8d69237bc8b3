//! Conditions and what they say, in the order of JMS 2.0, section 3.8.1.

use super::{F, T, U, check, every_type, view};
use crate::Value;

#[test]
fn truth_tables_are_sqls() {
    // JMS 2.0, tables 3-4 to 3-6. `gone` is missing: unknown.
    check(
        &[
            ("yes AND yes", T),
            ("yes AND no", F),
            ("yes AND gone", U),
            ("no AND yes", F),
            ("no AND no", F),
            ("no AND gone", F),
            ("gone AND yes", U),
            ("gone AND no", F),
            ("gone AND gone", U),
            ("yes OR yes", T),
            ("yes OR no", T),
            ("yes OR gone", T),
            ("no OR yes", T),
            ("no OR no", F),
            ("no OR gone", U),
            ("gone OR yes", T),
            ("gone OR no", U),
            ("gone OR gone", U),
            ("NOT yes", F),
            ("NOT no", T),
            ("NOT gone", U),
            ("NOT NOT gone", U),
            ("NOT NOT yes", T),
            ("NOT NOT NOT yes", F),
            ("TRUE", T),
            ("FALSE", F),
            ("true and not False", T),
            ("gone = 1 AND no AND yes", F),
            ("gone = 1 OR no OR yes", T),
            ("yes AND yes AND gone AND yes", U),
        ],
        &every_type(),
    );
}

#[test]
fn precedence_is_not_then_and_then_or_and_parentheses_override() {
    check(
        &[
            ("yes OR no AND no", T),
            ("(yes OR no) AND no", F),
            ("no AND no OR yes", T),
            ("no AND (no OR yes)", F),
            ("NOT no AND no", F),
            ("NOT (no AND no)", T),
            ("NOT yes OR yes", T),
            ("NOT (yes OR yes)", F),
            ("NOT weight = 4", T),
            ("NOT weight = 5 OR colour = 'red'", T),
            ("((((weight = 5))))", T),
            ("2 + 3 * 4 = 14", T),
            ("(2 + 3) * 4 = 20", T),
            ("20 - 5 - 3 = 12", T),
            ("100 / 10 / 5 = 2", T),
            ("100 / (10 / 5) = 50", T),
            ("2 * 3 + 4 * 5 = 26", T),
            ("-2 * 3 = -6", T),
            ("- weight + 6 = 1", T),
            ("-(weight + 6) = -11", T),
            ("2 - -3 = 5", T),
            ("2--3 = 5", T),
            ("+weight = 5", T),
            ("- + - weight = 5", T),
            ("7 - 2 * weight < 0 AND weight > 0", T),
        ],
        &every_type(),
    );
}

#[test]
fn the_examples_of_the_specification() {
    let message = view(&[
        ("age", Value::Int(17)),
        ("old", Value::Int(20)),
        ("Country", Value::text("UK")),
        ("phone", Value::text("12993")),
        ("word", Value::text("lose")),
        ("underscored", Value::text("_foo")),
        ("prop_name", Value::text("x")),
        ("color", Value::text("blue")),
        ("weight", Value::Int(2501)),
        ("JMSXnothing", Value::Null),
    ]);
    check(
        &[
            // What a comparison is: the section's own sentence.
            ("color = 'blue' AND weight > 2500", T),
            ("age BETWEEN 15 AND 19", T),
            ("age >= 15 AND age <= 19", T),
            ("old BETWEEN 15 AND 19", F),
            ("age NOT BETWEEN 15 AND 19", F),
            ("age < 15 OR age > 19", F),
            ("old NOT BETWEEN 15 AND 19", T),
            ("gone BETWEEN 15 AND 19", U),
            ("gone NOT BETWEEN 15 AND 19", U),
            ("Country IN ('UK', 'US', 'France')", T),
            ("(Country = 'UK') OR (Country = 'US') OR (Country = 'France')", T),
            ("Country NOT IN ('UK', 'US', 'France')", F),
            ("NOT ((Country = 'UK') OR (Country = 'US') OR (Country = 'France'))", F),
            ("color IN ('UK', 'US', 'France')", F),
            ("color NOT IN ('UK', 'US', 'France')", T),
            ("gone IN ('UK')", U),
            ("gone NOT IN ('UK')", U),
            ("phone LIKE '12%3'", T),
            ("word LIKE 'l_se'", T),
            (r"underscored LIKE '\_%' ESCAPE '\'", T),
            (r"word LIKE '\_%' ESCAPE '\'", F),
            ("phone NOT LIKE '12%3'", F),
            ("word NOT LIKE '12%3'", T),
            ("gone LIKE '12%3'", U),
            ("gone NOT LIKE '12%3'", U),
            ("prop_name IS NULL", F),
            ("gone IS NULL", T),
            ("prop_name IS NOT NULL", T),
            ("gone IS NOT NULL", F),
            ("JMSType = 'car' AND color = 'blue' AND weight > 2500", U),
        ],
        &message,
    );
}

#[test]
fn a_missing_property_makes_a_comparison_unknown() {
    check(
        &[
            ("gone = 1", U),
            ("gone <> 1", U),
            ("gone > 1", U),
            ("gone = gone", U),
            ("NOT (gone = 1)", U),
            ("\"null\" IS NULL", T),
            ("\"null\" = 1", U),
            ("gone + 1 = 1", U),
            ("1 + gone * 2 > 0", U),
            ("-gone < 0", U),
            ("weight BETWEEN gone AND 9", U),
            ("weight BETWEEN gone AND 3", F),
            ("weight BETWEEN 6 AND gone", F),
            ("weight NOT BETWEEN gone AND 3", T),
            ("weight NOT BETWEEN 6 AND gone", T),
            ("weight NOT BETWEEN 3 AND gone", U),
            ("gone = TRUE", U),
            ("gone = 'red'", U),
            ("(gone = 1) = TRUE", U),
        ],
        &every_type(),
    );
}

#[test]
fn exact_and_approximate_numbers_compare_as_java_promotes_them() {
    check(
        &[
            ("weight = 5.0", T),
            ("weight = 5", T),
            ("weight <> 5.0", F),
            ("weight < 5.5", T),
            ("weight >= 5", T),
            ("weight <= 4", F),
            ("5 = weight", T),
            ("6 > weight", T),
            ("price > weight", T),
            ("price = 9.5", T),
            ("price = 9.5d", T),
            ("price = 95e-1", T),
            ("ratio = 0.1", F),
            ("ratio = 0.1f", T),
            ("ratio < 0.2", T),
            ("byte = -3", T),
            ("ubyte = 200", T),
            ("short = -300", T),
            ("ushort = 60000", T),
            ("uint = 4000000000", T),
            ("long = 9223372036854775807", T),
            ("least = -9223372036854775808", T),
            ("ulong = 7", T),
            ("huge > long", T),
            ("huge = 18446744073709551615.0", T),
            ("tick > 1699999999999", T),
            ("9007199254740993 = 9007199254740992.0", T),
            ("9007199254740993 = 9007199254740992", F),
            ("nan = nan", F),
            ("nan <> nan", T),
            ("nan < 1", F),
            ("nan NOT BETWEEN 1 AND 2", F),
            ("infinite > 1e300", T),
            ("0.0 = -0.0", T),
            ("weight BETWEEN 5 AND 9", T),
            ("weight BETWEEN 1 AND 5", T),
            ("weight BETWEEN 5.5 AND 9", F),
            ("weight BETWEEN 9 AND 1", F),
            ("weight NOT BETWEEN 5 AND 9", F),
            ("weight NOT BETWEEN 1 AND 5", F),
            ("weight NOT BETWEEN 9 AND 1", T),
        ],
        &every_type(),
    );
}

#[test]
fn arithmetic_without_a_result_is_unknown() {
    check(
        &[
            ("5 / 2 = 2", T),
            ("5 / 2.0 = 2.5", T),
            ("-7 / 2 = -3", T),
            ("weight + price = 14.5", T),
            ("weight * 2 - 1 = 9", T),
            ("weight / 0 = 0", U),
            ("weight / zero <> 1", U),
            ("weight / 0.0 > 1", U),
            ("NOT (weight / 0 > 1)", U),
            ("0 / 0 = 0", U),
            ("long + 1 > 0", U),
            ("least - 1 < 0", U),
            ("long * 2 > 0", U),
            ("-least > 0", U),
            ("least / -1 > 0", U),
            ("long + 1.0 > 0", T),
            ("colour + 1 = 1", U),
            ("yes + 1 = 2", U),
            ("-colour = 1", U),
            ("blob * 2 = 2", U),
        ],
        &every_type(),
    );
}

#[test]
fn unlike_types_compare_as_false() {
    // JMS 2.0, 3.8.1.1: "If the comparison of non-like type values is attempted, the value of the
    // operation is false."
    check(
        &[
            ("NumberOfOrders > 1", F), // the section's example
            ("five = 5", F),
            ("five <> 5", F),
            ("five > 4", F),
            ("NOT (five = 5)", T),
            ("weight = '5'", F),
            ("weight <> '5'", F),
            ("yes = 'true'", F),
            ("yes <> 'true'", F),
            ("yes = 1", F),
            ("colour = TRUE", F),
            ("colour <> FALSE", F),
            ("colour BETWEEN 1 AND 2", F),
            ("colour NOT BETWEEN 1 AND 2", F),
            ("weight IN ('5', '6')", F),
            ("weight NOT IN ('5', '6')", T),
            ("weight LIKE '5'", F),
            ("weight NOT LIKE '5'", T),
            ("blob = 'red'", F),
            ("blob <> 'red'", F),
            ("blob = blob", F),
            ("blob IS NOT NULL", T),
            ("decimal = 0", F),
            ("decimal IS NULL", F),
            ("'a' = 1", F),
            ("'a' = 'a'", T),
        ],
        &every_type(),
    );
}

#[test]
fn text_and_booleans_are_equal_or_not_and_have_no_order() {
    check(
        &[
            ("colour = 'red'", T),
            ("colour = 'Red'", F),
            ("colour <> 'Red'", T),
            ("colour = 'red '", F),
            ("'red' = colour", T),
            ("empty = ''", T),
            ("empty IS NULL", F),
            ("colour < symbol", F),
            ("colour >= colour", F),
            ("yes >= yes", F),
            ("symbol = 'sym'", T),
            ("letter = 'ß'", T),
            ("id = 'abababab-abab-abab-abab-abababababab'", T),
            ("yes = TRUE", T),
            ("yes <> TRUE", F),
            ("no = FALSE", T),
            ("yes <> no", T),
            ("TRUE = yes", T),
            ("(weight > 4) = TRUE", T),
            ("(weight > 4) <> no", T),
            ("yes = (colour IN ('red'))", T),
        ],
        &every_type(),
    );
}

#[test]
fn a_name_alone_is_a_condition_if_it_is_boolean() {
    check(
        &[
            ("yes", T),
            ("no", F),
            ("(yes)", T),
            ("colour", U),
            ("weight", U),
            ("NOT colour", U),
            ("weight OR yes", T),
            ("colour AND yes", U),
        ],
        &every_type(),
    );
}

#[test]
fn like_matches_the_whole_text() {
    let subject = view(&[
        ("s", Value::text("a_b%c")),
        ("german", Value::text("größer")),
        ("quote", Value::text("it's")),
        ("lines", Value::text("a\nb")),
        ("empty", Value::text("")),
        ("aab", Value::text("aaaab")),
        ("banana", Value::text("banana")),
    ]);
    check(
        &[
            ("s LIKE 'a_b%c'", T),
            ("s LIKE 'a'", F),
            ("s LIKE 'a%'", T),
            ("s LIKE '%c'", T),
            ("s LIKE '%b%'", T),
            ("s LIKE '%d%'", F),
            ("s LIKE '_____'", T),
            ("s LIKE '____'", F),
            ("s LIKE '______'", F),
            ("s LIKE 'a!_b!%c' ESCAPE '!'", T),
            ("s LIKE 'a!__!%c' ESCAPE '!'", T),
            ("banana LIKE 'b!an!ana' ESCAPE '!'", T),
            ("s LIKE 'a%_b%%c' ESCAPE '%'", T),
            ("s LIKE '%__'", T),
            ("s LIKE 'A%'", F),
            ("german LIKE 'gr__er'", T),
            ("german LIKE 'gr%ß%'", T),
            ("quote LIKE 'it''s'", T),
            ("quote LIKE '%''%'", T),
            ("lines LIKE 'a_b'", T),
            ("lines LIKE 'a%b'", T),
            ("empty LIKE ''", T),
            ("empty LIKE '%'", T),
            ("empty LIKE '_'", F),
            ("s LIKE ''", F),
            ("aab LIKE '%aab'", T),
            ("aab LIKE '%a%a%b'", T),
            ("aab LIKE '%ab%b'", F),
            ("banana LIKE '%ana'", T),
            ("banana LIKE '%an%an%'", T),
            ("banana LIKE '%an%an%an%'", F),
            ("banana LIKE 'b_n%a'", T),
            ("banana LIKE '%n_'", T),
            ("banana NOT LIKE '%nn%'", T),
        ],
        &subject,
    );
}
