//! STOMP's encoding of a message and the hub's view of it.

use std::borrow::Cow;
use std::fmt::Write as _;

use bytes::{Bytes, BytesMut};
use evergate_model::{Body, Encoding, Format, Message, Meta, Value, View};

use crate::codec::{self, Version, head_lines};

/// How the publisher's own message id travels, since `message-id` is the broker's on a MESSAGE.
pub(crate) const ORIGINAL_ID: &str = "original-message-id";

/// Before the hexadecimal digits of an id that is not text, as JMS writes those of AMQP. It comes back as the same bytes:
/// a responder that only knows text can answer a request of one that does not.
const BINARY_ID: &str = "ID:AMQP_BINARY:";

/// An id as a header.
fn id_text<'a>(value: &'a Value<'_>) -> Cow<'a, str> {
    let Value::Binary(bytes) = value else { return value.to_text() };
    let mut text = String::with_capacity(BINARY_ID.len() + 2 * bytes.len());
    text.push_str(BINARY_ID);
    for byte in &**bytes {
        let _ = write!(text, "{byte:02X}"); // writing to a String cannot fail
    }
    text.into()
}

/// The bytes of an id that is not text.
fn binary_id(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix(BINARY_ID)?.as_bytes();
    let number = |digit: u8| char::from(digit).to_digit(16).map(|number| number as u8);
    let (pairs, rest) = digits.as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some(number(*high)? << 4 | number(*low)?)).collect()
}

/// Headers that a delivery writes itself or that belong to one frame only: never part of a message's head.
const RESERVED: [&str; 12] = [
    "destination",
    "receipt",
    "receipt-id",
    "transaction",
    "content-length",
    "subscription",
    "ack",
    "message-id",
    "redelivered",
    "persistent",
    "priority",
    "expires",
];

/// Headers of a SEND that are for the gateway. What consumers need of it a delivery writes itself.
const WISHES: [&str; 6] = ["ttl", "expiration", "delay", "AMQ_SCHEDULED_DELAY", "deliver-at", "discardable"];

/// Whether a header of this name is never part of a message's head.
pub(crate) fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name)
}

/// Whether a header of this name stays with the gateway if it comes in a SEND.
pub(crate) fn is_taken(name: &str) -> bool {
    is_reserved(name) || WISHES.contains(&name)
}

/// The model's name of a header: that of another broker for the same is understood.
fn model_name(name: Cow<'_, str>) -> Cow<'_, str> {
    match &*name {
        ORIGINAL_ID => "message-id".into(),
        "JMSXGroupID" => "group-id".into(),
        "JMSXGroupSeq" => "group-sequence".into(),
        _ => name,
    }
}

/// Reads `Encoding::Stomp`: header lines in 1.2 escaping, and the body.
pub struct StompFormat;

impl Format for StompFormat {
    fn view<'a>(&self, message: &'a Message) -> View<'a> {
        let mut view = View::new(Body::Binary(Cow::Borrowed(&message.body)));
        for (name, value) in head_lines(&message.head) {
            let name = model_name(name);
            // Repeated names: the first counts. [STOMP 1.2, Repeated Header Entries]
            if is_set(&view, &name) || !view.take_named(&name, &value) {
                let seen = is_set(&view, &name) || view.application.iter().any(|(known, _)| *known == name);
                if !seen {
                    view.application.push((name, Value::String(value)));
                }
            }
        }
        for id in [&mut view.message_id, &mut view.correlation_id].into_iter().flatten() {
            if let Value::String(text) = id
                && let Some(bytes) = binary_id(text)
            {
                *id = Value::Binary(bytes.into());
            }
        }
        if let (Some(kind), Ok(text)) = (&view.content_type, std::str::from_utf8(&message.body))
            && is_text(kind)
        {
            view.body = Body::Text(Cow::Borrowed(text));
        }
        view
    }
}

/// Whether the model property of this name is there already.
fn is_set(view: &View<'_>, name: &str) -> bool {
    match name {
        "message-id" => view.message_id.is_some(),
        "correlation-id" => view.correlation_id.is_some(),
        "reply-to" => view.reply_to.is_some(),
        "content-type" => view.content_type.is_some(),
        "content-encoding" => view.content_encoding.is_some(),
        "subject" => view.subject.is_some(),
        "group-id" => view.group_id.is_some(),
        "group-sequence" => view.group_sequence.is_some(),
        "reply-to-group-id" => view.reply_to_group_id.is_some(),
        "user-id" => view.user_id.is_some(),
        "creation-time" => view.creation_time.is_some(),
        _ => false,
    }
}

/// Whether bodies of this content type are text. A body without content type stays bytes.
fn is_text(content_type: &str) -> bool {
    content_type.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("text/"))
}

/// A message in STOMP's encoding.
pub fn compose(meta: Meta, view: &View<'_>) -> Message {
    let (head, body) = from_view(view, &Bytes::new());
    Message::new(meta, Encoding::Stomp, head, body)
}

/// Head and body of a view in `Encoding::Stomp`.
pub(crate) fn from_view(view: &View<'_>, body: &Bytes) -> (Bytes, Bytes) {
    let mut head = BytesMut::new();
    for (name, text) in view.homeless(|_| false) {
        let (name, text) = match (name, &view.message_id, &view.correlation_id) {
            ("message-id", Some(id), _) => (ORIGINAL_ID, id_text(id)),
            ("correlation-id", _, Some(id)) => (name, id_text(id)),
            _ => (name, text),
        };
        codec::header(name, &text, Version::V1_2, &mut head);
    }
    if view.content_type.is_none() && matches!(view.body, Body::Text(_)) {
        codec::header("content-type", "text/plain;charset=utf-8", Version::V1_2, &mut head);
    }
    for (name, value) in &view.application {
        // Of repeated headers the first counts: a second one would only confuse.
        if !name.is_empty() && !is_reserved(name) && !is_set(view, name) {
            codec::header(name, &value.to_text(), Version::V1_2, &mut head);
        }
    }
    // A body that is a slice of the message is passed on without a copy.
    let bytes = view.body.bytes();
    let (range, inner) = (body.as_ptr_range(), bytes.as_ptr_range());
    let inside = range.start <= inner.start && inner.end <= range.end;
    let body = if inside { body.slice_ref(bytes) } else { Bytes::copy_from_slice(bytes) };
    (head.freeze(), body)
}
