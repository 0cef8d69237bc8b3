//! A message of the gateway's own, with properties.

use bytes::{Bytes, BytesMut};
use evergate_model::{Encoding, Message, Meta, Value, View};

use super::sections::{PROPERTIES, VALUE};
use crate::codec::{ListWriter, put_descriptor, put_string, put_string_header, put_symbol};

/// A message as `view` describes it, in this encoding.
pub fn compose(meta: Meta, view: &View<'_>) -> Message {
    let draft = Message::new(meta, Encoding::Plain, Bytes::new(), Bytes::new());
    let mut head = BytesMut::with_capacity(256);
    super::convert::put_front(&mut head, &draft, view);
    let bytes = view.body.bytes();
    let mut body = BytesMut::with_capacity(bytes.len() + 16);
    super::convert::put_body_header(&mut body, &view.body);
    body.extend_from_slice(bytes);
    Message::new(draft.meta, Encoding::Amqp10, head.freeze(), body.freeze())
}

/// A JSON text with a correlation id, which keeps its type.
pub fn compose_json(meta: Meta, correlation_id: Option<&Value<'_>>, json: &str) -> Message {
    let mut head = BytesMut::with_capacity(64);
    ListWriter::described(&mut head, PROPERTIES)
        .null()
        .null()
        .field(|buf| put_string(buf, &meta.address.to_string()))
        .null()
        .null()
        .option(correlation_id, super::convert::put_id)
        .field(|buf| put_symbol(buf, "application/json"))
        .close();
    let mut body = BytesMut::with_capacity(json.len() + 16);
    put_descriptor(&mut body, VALUE);
    put_string_header(&mut body, json.len());
    body.extend_from_slice(json.as_bytes());
    Message::new(meta, Encoding::Amqp10, head.freeze(), body.freeze())
}
