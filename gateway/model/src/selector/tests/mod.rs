//! Selectors against what JMS says of them.

mod convert;
mod errors;
mod headers;
mod limits;
mod literals;
mod page;
mod properties;
mod truth;

use bytes::Bytes;

use super::evaluate::Environment;
use super::operand::Truth;
use crate::{Address, Body, Encoding, Message, Meta, Selector, Value, View};

const T: Truth = Some(true);
const F: Truth = Some(false);
const U: Truth = None;

fn message() -> Message {
    Message::new(Meta::new(Address::queue("orders")), Encoding::Plain, Bytes::new(), Bytes::new())
}

fn view<'a>(application: &[(&'a str, Value<'a>)]) -> View<'a> {
    let mut view = View::new(Body::Binary(b"".into()));
    view.application = application.iter().map(|(name, value)| ((*name).into(), value.clone())).collect();
    view
}

fn parsed(text: &str) -> Selector {
    Selector::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn truth(text: &str, message: &Message, view: &View<'_>) -> Truth {
    let selector = parsed(text);
    let truth = Environment::new(&selector.program, message, Some(view)).truth();
    assert_eq!(selector.matches(message, view), truth == T, "{text}");
    truth
}

/// Each row is a selector and what it says of a message with the properties of `view`.
fn check(rows: &[(&str, Truth)], view: &View<'_>) {
    let message = message();
    let wrong: Vec<_> = rows
        .iter()
        .map(|(text, expected)| (text, expected, truth(text, &message, view)))
        .filter(|(_, expected, found)| *expected != found)
        .map(|(text, expected, found)| format!("{text}: expected {expected:?}, found {found:?}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// One property of every type, and some.
fn every_type() -> View<'static> {
    let mut view = view(&[
        ("colour", Value::text("red")),
        ("weight", Value::Int(5)),
        ("price", Value::Double(9.5)),
        ("ratio", Value::Float(0.1)),
        ("yes", Value::Bool(true)),
        ("no", Value::Bool(false)),
        ("empty", Value::text("")),
        ("five", Value::text("5")),
        ("NumberOfOrders", Value::text("2")),
        ("byte", Value::Byte(-3)),
        ("ubyte", Value::Ubyte(200)),
        ("short", Value::Short(-300)),
        ("ushort", Value::Ushort(60_000)),
        ("uint", Value::Uint(4_000_000_000)),
        ("long", Value::Long(i64::MAX)),
        ("least", Value::Long(i64::MIN)),
        ("ulong", Value::Ulong(7)),
        ("huge", Value::Ulong(u64::MAX)),
        ("tick", Value::Timestamp(1_700_000_000_000)),
        ("letter", Value::Char('ß')),
        ("id", Value::Uuid([0xab; 16])),
        ("symbol", Value::Symbol("sym".into())),
        ("blob", Value::Binary(b"red"[..].into())),
        ("decimal", Value::Decimal32([0; 4])),
        ("null", Value::Null),
        ("nan", Value::Double(f64::NAN)),
        ("infinite", Value::Double(f64::INFINITY)),
        ("zero", Value::Int(0)),
        ("twice", Value::text("first")),
        ("twice", Value::text("second")),
    ]);
    view.application.push(("my-prop".into(), Value::Int(1)));
    view.application.push(("a \"b\"".into(), Value::Int(2)));
    view.application.push(("größe".into(), Value::Int(3)));
    view.application.push(("$cost_1".into(), Value::Int(4)));
    view.application.push(("_under".into(), Value::Int(5)));
    view.application.push(("Colour".into(), Value::text("RED")));
    view.application.push(("price.net".into(), Value::Double(8.0)));
    view.application.push(("android".into(), Value::Int(6)));
    view.application.push(("and".into(), Value::Int(7)));
    view
}
