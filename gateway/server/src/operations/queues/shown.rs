//! A message as operators see it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use evergate_core::{Peeked, PeekedState};
use evergate_model::{Body, Formats, Value as Property, View};
use serde_json::{Map, Value, json};

/// Place, state, history, properties, and the first `body_bytes` bytes of the body: as text where it is, else in base64.
/// Of a body that is too large for memory only its length.
pub fn shown(peeked: &Peeked, formats: &Formats, body_bytes: usize) -> Value {
    let message = &peeked.message;
    let meta = &message.meta;
    let view = formats.view(message);
    let (state, until) = match peeked.state {
        PeekedState::Ready => ("ready", None),
        PeekedState::Scheduled(until) => ("scheduled", Some(until.0)),
        PeekedState::Held => ("held", None),
        PeekedState::Leaving => ("leaving", None),
    };
    let notes: Map<_, _> =
        message.annotations.iter().map(|note| (note.name.to_string(), Value::from(&*note.value))).collect();
    let mut row = json!({
        "seq": peeked.seq.0,
        "state": state,
        "until_ms": until,
        "failed_count": peeked.failed_count,
        "address": meta.address.to_string(),
        "durable": meta.durable,
        "priority": meta.priority,
        "arrived_ms": meta.ingress.0,
        "expires_ms": meta.expires_at.map(|at| at.0),
        "bytes": message.all_bytes(),
        "notes": notes,
        "properties": properties(&view),
    });
    let bytes = view.body.bytes();
    row["body_bytes"] = bytes.len().into();
    match (meta.large(), text(&view.body, body_bytes)) {
        (Some(large), _) => {
            row["large"] = true.into();
            row["body_bytes"] = large.payload_bytes.into();
        }
        (None, Some(text)) => row["body"] = text.into(),
        (None, None) => row["body_base64"] = STANDARD.encode(&bytes[..bytes.len().min(body_bytes)]).into(),
    }
    // What is not there is left out.
    if let Value::Object(fields) = &mut row {
        fields.retain(|_, value| !value.is_null());
    }
    row
}

/// The first bytes of a body that is text, cut between characters.
fn text<'a>(body: &'a Body<'_>, bytes_max: usize) -> Option<&'a str> {
    let text = match body {
        Body::Text(text) => text,
        Body::Binary(bytes) => std::str::from_utf8(bytes).ok()?,
    };
    Some(&text[..text.floor_char_boundary(bytes_max)])
}

fn properties(view: &View<'_>) -> Value {
    let mut all: Map<String, Value> =
        view.homeless(|_| false).into_iter().map(|(name, text)| (name.to_owned(), text.into())).collect();
    let application: Map<_, _> = view.application.iter().map(|(name, value)| (name.to_string(), json(value))).collect();
    if !application.is_empty() {
        all.insert("application".into(), application.into());
    }
    all.into()
}

fn json(value: &Property<'_>) -> Value {
    match value {
        Property::Null => Value::Null,
        Property::Bool(flag) => (*flag).into(),
        Property::Float(number) => f64::from(*number).into(),
        Property::Double(number) => (*number).into(),
        Property::Timestamp(_) => value.to_text().into(),
        Property::Ulong(number) => (*number).into(),
        other => other.as_integer().map_or_else(|| other.to_text().into(), Value::from),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use evergate_model::{Address, Encoding, LargeBody, Message, Meta, OVERHEAD_BYTES, Seq};

    use super::*;

    #[test]
    fn of_a_large_body_the_real_size_is_shown_and_nothing_else() {
        let mut meta = Meta::new(Address::queue("q"));
        meta.rare_mut().large = Some(Arc::new(LargeBody::named("$body/1".into(), 5_000_000_010, 5_000_000_000)));
        let message = Arc::new(Message::new(meta, Encoding::Stomp, Bytes::from_static(b"a:b\n"), Bytes::new()));
        let peeked = Peeked { seq: Seq(7), message, failed_count: 0, state: PeekedState::Ready };
        let row = shown(&peeked, &crate::protocols::formats(), 4096);
        assert_eq!(row["bytes"], 5_000_000_010 + 4 + OVERHEAD_BYTES);
        assert_eq!(row["body_bytes"], 5_000_000_000_u64);
        assert_eq!(row["large"], true);
        assert!(row.get("body").is_none() && row.get("body_base64").is_none());
        assert_eq!(row["properties"]["application"]["a"], "b");
    }
}
