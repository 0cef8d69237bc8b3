//! AMQP values as JSON, for protocols whose bodies are bytes.

use std::fmt::Write as _;

use evergate_model::Value;

use crate::codec::{Item, Items, Reader};

/// Deeper values become null. Messages are checked against a smaller limit when they are published.
const DEPTH_MAX: u32 = 64;

/// `item` as JSON text.
pub(super) fn text(item: &Item<'_>) -> String {
    let mut out = String::new();
    append(&mut out, item, DEPTH_MAX);
    out
}

/// The elements of a list, each after a comma except the first in `out`.
pub(super) fn append_elements(out: &mut String, items: Items<'_>) {
    elements(out, items, DEPTH_MAX);
}

fn elements<'a>(
    out: &mut String,
    items: impl Iterator<Item = Result<Item<'a>, crate::codec::DecodeError>>,
    depth: u32,
) {
    for item in items.map_while(Result::ok) {
        if !matches!(out.as_bytes().last(), None | Some(b'[')) {
            out.push(',');
        }
        append(out, &item, depth);
    }
}

fn append(out: &mut String, item: &Item<'_>, depth_left: u32) {
    let Some(depth_left) = depth_left.checked_sub(1) else {
        out.push_str("null");
        return;
    };
    match item {
        Item::Simple(value) => simple(out, value),
        Item::List(items) => {
            out.push('[');
            elements(out, items.clone(), depth_left);
            out.push(']');
        }
        Item::Array(array) => {
            out.push('[');
            elements(out, array.clone(), depth_left);
            out.push(']');
        }
        Item::Map(items) => map(out, items.clone(), depth_left),
        Item::Described { value, .. } => match Reader::new(value).item() {
            Ok(inner) => append(out, &inner, depth_left),
            Err(_) => out.push_str("null"),
        },
    }
}

fn map(out: &mut String, mut items: Items<'_>, depth_left: u32) {
    out.push('{');
    while let (Some(Ok(key)), Some(Ok(value))) = (items.next(), items.next()) {
        if !out.ends_with('{') {
            out.push(',');
        }
        match &key {
            Item::Simple(key) => string(out, &key.to_text()),
            // JSON keys are strings: a compound key is its own JSON, quoted.
            other => {
                let mut inner = String::new();
                append(&mut inner, other, depth_left.min(1));
                string(out, &inner);
            }
        }
        out.push(':');
        append(out, &value, depth_left);
    }
    out.push('}');
}

fn simple(out: &mut String, value: &Value<'_>) {
    match value {
        Value::Bool(_)
        | Value::Ubyte(_)
        | Value::Ushort(_)
        | Value::Uint(_)
        | Value::Ulong(_)
        | Value::Byte(_)
        | Value::Short(_)
        | Value::Int(_)
        | Value::Long(_)
        | Value::Timestamp(_) => out.push_str(&value.to_text()),
        // JSON has no NaN and no infinity. The debug form has an exponent where digits would run on.
        // Writing to a String cannot fail.
        Value::Float(v) if v.is_finite() => drop(write!(out, "{v:?}")),
        Value::Double(v) if v.is_finite() => drop(write!(out, "{v:?}")),
        Value::Null | Value::Float(_) | Value::Double(_) => out.push_str("null"),
        other => string(out, &other.to_text()),
    }
}

fn string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' => drop(write!(out, "\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}
