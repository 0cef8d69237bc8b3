//! A message of another protocol, written as an AMQP message.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};
use evergate_model::{Body, Message, Value, View};

use super::annotations::{JMS_REPLY_TO, jms_number};
use super::sections::{APPLICATION_PROPERTIES, DATA, MESSAGE_ANNOTATIONS, PROPERTIES, VALUE};
use crate::codec::{
    ListWriter, MapWriter, put_binary_header, put_descriptor, put_string, put_string_header, put_symbol, put_value,
};

/// Head and body. The body section's own header ends the head, so that the publisher's bytes can follow it
/// without a copy. A body that goes in pieces brings its own, see [`super::Framing`].
pub(super) fn convert(message: &Message, view: &View<'_>) -> (Bytes, Bytes) {
    let mut head = BytesMut::with_capacity(256);
    put_front(&mut head, message, view);
    if message.meta.large().is_none() {
        put_body_header(&mut head, &view.body);
    }
    (head.freeze(), share(&message.body, view.body.bytes()))
}

/// The sections before the body.
pub(super) fn put_front(head: &mut BytesMut, message: &Message, view: &View<'_>) {
    // Of an address JMS reads the name, and its kind here.
    if let Some(number) = view.reply_to.as_deref().and_then(jms_number) {
        put_descriptor(head, MESSAGE_ANNOTATIONS);
        let mut map = MapWriter::new(head);
        map.pair(&Value::Symbol(JMS_REPLY_TO.into()), &Value::Byte(number));
        map.close();
    }
    put_properties(head, message, view);
    if !view.application.is_empty() {
        put_descriptor(head, APPLICATION_PROPERTIES);
        let mut map = MapWriter::new(head);
        for (name, value) in &view.application {
            map.pair(&Value::String(Cow::Borrowed(name)), value);
        }
        map.close();
    }
}

/// What stands before the bytes of a body.
pub(super) fn put_body_header(buf: &mut BytesMut, body: &Body<'_>) {
    let length = body.bytes().len();
    match body {
        Body::Binary(_) => {
            put_descriptor(buf, DATA);
            put_binary_header(buf, length);
        }
        Body::Text(_) => {
            put_descriptor(buf, VALUE);
            put_string_header(buf, length);
        }
    }
}

/// `part` without a copy if it lies within `whole`.
fn share(whole: &Bytes, part: &[u8]) -> Bytes {
    let (outer, inner) = (whole.as_ptr_range(), part.as_ptr_range());
    if !part.is_empty() && outer.start <= inner.start && inner.end <= outer.end {
        whole.slice_ref(part)
    } else {
        Bytes::copy_from_slice(part)
    }
}

fn put_properties(buf: &mut BytesMut, message: &Message, view: &View<'_>) {
    let string = |buf: &mut BytesMut, text: &Cow<'_, str>| put_string(buf, text);
    let symbol = |buf: &mut BytesMut, text: &Cow<'_, str>| put_symbol(buf, text);
    let timestamp = |buf: &mut BytesMut, millis: i64| put_value(buf, &Value::Timestamp(millis));
    // A symbol is ASCII; a MIME type that is not is none.
    let ascii = |text: &Option<Cow<'_, str>>| text.as_ref().is_some_and(|text| text.is_ascii());
    let content_type = view.content_type.as_ref().filter(|_| ascii(&view.content_type));
    let content_encoding = view.content_encoding.as_ref().filter(|_| ascii(&view.content_encoding));
    let expiry = message.meta.expires_at.and_then(|at| i64::try_from(at.0).ok());
    ListWriter::described(buf, PROPERTIES)
        .option(view.message_id.as_ref(), put_id)
        .option(view.user_id.as_ref(), |buf, user| put_value(buf, &Value::Binary(user.to_bytes())))
        .field(|buf| put_string(buf, &message.meta.address.to_string()))
        .option(view.subject.as_ref(), string)
        .option(view.reply_to.as_ref(), string)
        .option(view.correlation_id.as_ref(), put_id)
        .option(content_type, symbol)
        .option(content_encoding, symbol)
        .option(expiry, timestamp)
        .option(view.creation_time, timestamp)
        .option(view.group_id.as_ref(), string)
        .option(view.group_sequence, |buf, number| put_value(buf, &Value::Uint(number)))
        .option(view.reply_to_group_id.as_ref(), string)
        .close();
}

/// Ids of types that AMQP does not know as ids become strings.
pub(super) fn put_id(buf: &mut BytesMut, id: &Value<'_>) {
    match id {
        Value::Ulong(_) | Value::Uuid(_) | Value::Binary(_) | Value::String(_) => put_value(buf, id),
        other => put_string(buf, &other.to_text()),
    }
}
