//! MQTT's messages in the hub's vocabulary, and back.
//!
//! The stored head is the PUBLISH's travelling properties as sent. What the model has no word for (QoS 2
//! apart from QoS 1, the publisher's retain flag) stands before them as a [`Flags`] mark: the identifier
//! of «Maximum QoS», which no PUBLISH has, and one byte. It is never sent to a client.

mod wishes;

use std::borrow::Cow;

use bytes::{BufMut, Bytes, BytesMut};
use evergate_model::{Address, AddressKind, Body, Encoding, Format, Formats, Message, Value, View};

use crate::codec::{Qos, RawValue, Reader, id, next_property, put_text};
pub(crate) use wishes::read_wishes;

/// How MQTT writes the address of a queue.
pub const QUEUE_PREFIX: &str = "$queue/";

/// The priority of a message that says none.
const USUAL_PRIORITY: u8 = 4;

/// Reads messages that MQTT clients published.
#[derive(Clone, Copy, Debug, Default)]
pub struct MqttFormat;

/// What a PUBLISH said and `Meta` cannot hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flags {
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
}

const RETAIN_BIT: u8 = 0x04;

impl Flags {
    /// `head` with these flags before it; unchanged for what goes without saying.
    pub(crate) fn mark(self, head: Bytes) -> Bytes {
        if self.qos != Qos::ExactlyOnce && !self.retain {
            return head;
        }
        let mut marked = BytesMut::with_capacity(2 + head.len());
        marked.put_u8(id::MAXIMUM_QOS);
        marked.put_u8(self.qos as u8 | if self.retain { RETAIN_BIT } else { 0 });
        marked.extend_from_slice(&head);
        marked.freeze()
    }

    /// The flags of `message`. Durable ones of other protocols may go out with any QoS.
    pub(crate) fn of(message: &Message) -> Self {
        let unmarked = match (message.meta.durable, message.encoding) {
            (false, _) => Qos::AtMostOnce,
            (true, Encoding::Mqtt5) => Qos::AtLeastOnce,
            (true, _) => Qos::ExactlyOnce,
        };
        match (message.encoding, &message.head[..]) {
            (Encoding::Mqtt5, [id::MAXIMUM_QOS, mark, ..]) => {
                Self { qos: Qos::from_number(mark & 0x03).unwrap_or(unmarked), retain: mark & RETAIN_BIT != 0 }
            }
            _ => Self { qos: unmarked, retain: false },
        }
    }
}

/// The properties as they travel, without the mark.
pub(crate) fn properties(head: &[u8]) -> &[u8] {
    match head {
        [id::MAXIMUM_QOS, _, rest @ ..] => rest,
        _ => head,
    }
}

impl Format for MqttFormat {
    fn view<'a>(&self, message: &'a Message) -> View<'a> {
        let mut view = View::new(Body::Binary(Cow::Borrowed(&message.body)));
        let mut reader = Reader::new(properties(&message.head));
        // User properties under names that MQTT has fields for.
        let mut named = Vec::new();
        while !reader.is_empty() {
            let Ok((id, value)) = next_property(&mut reader) else { break };
            match (id, value) {
                (id::PAYLOAD_FORMAT, RawValue::Flag(true)) => {
                    if let Ok(text) = std::str::from_utf8(&message.body) {
                        view.body = Body::Text(Cow::Borrowed(text));
                    }
                }
                (id::CONTENT_TYPE, RawValue::Text(text)) => view.content_type = Some(Cow::Borrowed(text)),
                (id::RESPONSE_TOPIC, RawValue::Text(topic)) => view.reply_to = Some(canonical(topic)),
                (id::CORRELATION_DATA, RawValue::Binary(data)) => view.correlation_id = Some(correlation(data)),
                (id::USER_PROPERTY, RawValue::Pair(name, text)) if !wishes::is_for_the_gateway(name, text) => {
                    let text = Cow::Borrowed(text);
                    if matches!(name, "content-type" | "reply-to" | "correlation-id") {
                        named.push((name, text));
                    } else if !view.take_named(model_name(name), &text) {
                        view.application.push((Cow::Borrowed(name), Value::String(text)));
                    }
                }
                _ => {}
            }
        }
        for (name, text) in named {
            let has_field = match name {
                "content-type" => view.content_type.is_some(),
                "reply-to" => view.reply_to.is_some(),
                _ => view.correlation_id.is_some(),
            };
            // The field counts; then it is a user property as any other.
            if has_field || !view.take_named(name, &text) {
                view.application.push((Cow::Borrowed(name), Value::String(text)));
            }
        }
        view
    }
}

/// The model's name of a user property: JMS's names for the same are understood.
fn model_name(name: &str) -> &str {
    match name {
        "JMSXGroupID" => "group-id",
        "JMSXGroupSeq" => "group-sequence",
        _ => name,
    }
}

/// Correlation data is text for the other protocols if it can be: a STOMP client that sent `42` must
/// get `42` back, not its base64.
fn correlation(data: &[u8]) -> Value<'_> {
    match std::str::from_utf8(data) {
        Ok(text) if !text.chars().any(char::is_control) => Value::String(Cow::Borrowed(text)),
        _ => Value::Binary(Cow::Borrowed(data)),
    }
}

/// An MQTT topic as the hub writes it.
fn canonical(topic: &str) -> Cow<'_, str> {
    let address = match topic.strip_prefix(QUEUE_PREFIX) {
        Some(name) => Address::queue(name),
        None => Address::topic(topic),
    };
    Cow::Owned(address.to_string())
}

/// The hub's address as an MQTT topic; one that is not ours as it is.
fn response_topic(reply_to: &str) -> Option<Cow<'_, str>> {
    let topic = match Address::parse(reply_to) {
        Some((AddressKind::Topic, name)) => Cow::Borrowed(name),
        Some((AddressKind::Queue, name)) => Cow::Owned(format!("{QUEUE_PREFIX}{name}")),
        None => Cow::Borrowed(reply_to),
    };
    Address::check_topic(&topic).is_ok().then_some(topic)
}

/// Text as MQTT can write it: without NUL. `None`: it is too long.
fn writable(text: &str) -> Option<Cow<'_, str>> {
    let text = if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{FFFD}")) } else { Cow::Borrowed(text) };
    u16::try_from(text.len()).is_ok().then_some(text)
}

pub(crate) fn put_pair(head: &mut BytesMut, name: &str, text: &str) {
    // A property that is longer than MQTT can write is left out; the message still arrives.
    if let (Some(name), Some(text)) = (writable(name), writable(text)) {
        head.put_u8(id::USER_PROPERTY);
        put_text(head, &name);
        put_text(head, &text);
    }
}

/// Head and body of a message of another protocol as an MQTT 5 client gets them.
pub(crate) fn to_mqtt5(formats: &Formats, message: &Message) -> (Bytes, Bytes) {
    let view = formats.view(message);
    let mut head = BytesMut::new();
    let body = match &view.body {
        Body::Text(_) => {
            head.put_slice(&[id::PAYLOAD_FORMAT, 1]);
            shared(message, view.body.bytes())
        }
        Body::Binary(_) => shared(message, view.body.bytes()),
    };
    if let Some(text) = view.content_type.as_deref().and_then(writable) {
        head.put_u8(id::CONTENT_TYPE);
        put_text(&mut head, &text);
    }
    let reply = view.reply_to.as_deref().and_then(response_topic);
    if let Some(topic) = &reply {
        head.put_u8(id::RESPONSE_TOPIC);
        put_text(&mut head, topic);
    }
    if let Some(value) = &view.correlation_id {
        let data = value.to_bytes();
        if let Ok(length) = u16::try_from(data.len()) {
            head.put_u8(id::CORRELATION_DATA);
            head.put_u16(length);
            head.put_slice(&data);
        }
    }
    for (name, value) in &view.application {
        put_pair(&mut head, name, &value.to_text());
    }
    let has_place = |name: &str| match name {
        "content-type" | "correlation-id" => true,
        "reply-to" => reply.is_some(),
        _ => false,
    };
    for (name, text) in view.homeless(has_place) {
        put_pair(&mut head, name, &text);
    }
    if message.meta.priority != USUAL_PRIORITY {
        put_pair(&mut head, "priority", &message.meta.priority.to_string());
    }
    if let Some(at) = message.meta.deliver_at() {
        put_pair(&mut head, "deliver-at", &at.0.to_string());
    }
    if message.meta.is_discardable() {
        put_pair(&mut head, "discardable", "true");
    }
    (head.freeze(), body)
}

/// `bytes` without a copy if they are a part of the message's body.
fn shared(message: &Message, bytes: &[u8]) -> Bytes {
    let (body, part) = (message.body.as_ptr_range(), bytes.as_ptr_range());
    if !bytes.is_empty() && body.start <= part.start && part.end <= body.end {
        message.body.slice_ref(bytes)
    } else {
        Bytes::copy_from_slice(bytes)
    }
}

#[cfg(test)]
mod tests;
