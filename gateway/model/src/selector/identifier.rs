//! What a name in a selector stands for: a header field, or an application property.

use std::fmt::Write as _;

use super::COMPARED_BYTES_MAX;
use super::operand::Operand;
use crate::{Message, Value, View};

/// A header field that a selector can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Header {
    DeliveryMode,
    Durable,
    Priority,
    Destination,
    /// 0 if it does not expire, as JMS has it.
    Expiration,
    /// Null if it does not expire, as AMQP has it.
    ExpiryTime,
    TimeToLive,
    /// As the JMS mapping writes AMQP's ids.
    JmsMessageId,
    JmsCorrelationId,
    /// As the publisher wrote it.
    MessageId,
    CorrelationId,
    Timestamp,
    Subject,
    ReplyTo,
    GroupId,
    GroupSequence,
    ReplyToGroupId,
    UserId,
    ContentType,
    ContentEncoding,
}

/// Every name of a header field: JMS's, and those that AMQP clients know from other brokers.
pub(super) const HEADERS: &[(&str, Header)] = &[
    ("JMSDeliveryMode", Header::DeliveryMode),
    ("JMSPriority", Header::Priority),
    ("JMSMessageID", Header::JmsMessageId),
    ("JMSTimestamp", Header::Timestamp),
    ("JMSCorrelationID", Header::JmsCorrelationId),
    ("JMSType", Header::Subject),
    ("JMSXGroupID", Header::GroupId),
    ("JMSXGroupSeq", Header::GroupSequence),
    ("JMSXUserID", Header::UserId),
    ("JMSReplyTo", Header::ReplyTo),
    ("JMSDestination", Header::Destination),
    ("JMSExpiration", Header::Expiration),
    ("amqp.durable", Header::Durable),
    ("amqp.delivery_mode", Header::DeliveryMode),
    ("amqp.priority", Header::Priority),
    ("amqp.ttl", Header::TimeToLive),
    ("amqp.message_id", Header::MessageId),
    ("amqp.user_id", Header::UserId),
    ("amqp.to", Header::Destination),
    ("amqp.subject", Header::Subject),
    ("amqp.jms_type", Header::Subject),
    ("amqp.reply_to", Header::ReplyTo),
    ("amqp.correlation_id", Header::CorrelationId),
    ("amqp.content_type", Header::ContentType),
    ("amqp.content_encoding", Header::ContentEncoding),
    ("amqp.absolute_expiry_time", Header::ExpiryTime),
    ("amqp.creation_time", Header::Timestamp),
    ("amqp.group_id", Header::GroupId),
    ("amqp.group_sequence", Header::GroupSequence),
    ("amqp.reply_to_group_id", Header::ReplyToGroupId),
];

/// What is not settled before a message is handed to a consumer. A selector on it is refused, rather
/// than never true. JMS does not allow it either. [JMS 2.0, 3.8.1.1]
pub(super) const NOT_SELECTABLE: &[&str] = &[
    "JMSRedelivered",
    "JMSXDeliveryCount",
    "JMSDeliveryTime",
    "amqp.redelivered",
    "amqp.delivery_count",
    "amqp.first_acquirer",
];

impl Header {
    /// The header field of that name.
    pub(super) fn named(name: &str) -> Option<Self> {
        HEADERS.iter().find(|(known, _)| *known == name).map(|(_, header)| *header)
    }

    /// Whether it is found in the view, not in `Meta`.
    pub(super) fn needs_view(self) -> bool {
        match self {
            Self::DeliveryMode
            | Self::Durable
            | Self::Priority
            | Self::Destination
            | Self::Expiration
            | Self::ExpiryTime
            | Self::TimeToLive => false,
            Self::JmsMessageId
            | Self::JmsCorrelationId
            | Self::MessageId
            | Self::CorrelationId
            | Self::Timestamp
            | Self::Subject
            | Self::ReplyTo
            | Self::GroupId
            | Self::GroupSequence
            | Self::ReplyToGroupId
            | Self::UserId
            | Self::ContentType
            | Self::ContentEncoding => true,
        }
    }

    /// Its value.
    pub(super) fn value<'a>(self, message: &'a Message, view: Option<&'a View<'_>>) -> Operand<'a> {
        let meta = &message.meta;
        let found = match self {
            Self::DeliveryMode if meta.durable => Some(Operand::text("PERSISTENT")),
            Self::DeliveryMode => Some(Operand::text("NON_PERSISTENT")),
            Self::Durable => Some(Operand::Bool(meta.durable)),
            Self::Priority => Some(Operand::exact(meta.priority)),
            Self::Destination => Some(Operand::text(meta.address.to_string())),
            Self::Expiration => Some(Operand::unsigned(meta.expires_at.map_or(0, |at| at.0))),
            Self::ExpiryTime => meta.expires_at.map(|at| Operand::unsigned(at.0)),
            Self::TimeToLive => meta.expires_at.map(|at| Operand::unsigned(at.0.saturating_sub(meta.ingress.0))),
            // What the session read, also from encodings whose view has no place for it.
            Self::GroupId if meta.group_id().is_some() => meta.group_id().map(|group| Operand::text(&**group)),
            _ => view.and_then(|view| self.value_in(view)),
        };
        found.unwrap_or(Operand::Null)
    }

    fn value_in<'a>(self, view: &'a View<'_>) -> Option<Operand<'a>> {
        match self {
            Self::JmsMessageId => view.message_id.as_ref().map(jms_id),
            Self::JmsCorrelationId => view.correlation_id.as_ref().map(jms_id),
            Self::MessageId => view.message_id.as_ref().map(Operand::of),
            Self::CorrelationId => view.correlation_id.as_ref().map(Operand::of),
            Self::Timestamp => view.creation_time.map(Operand::exact),
            Self::Subject => view.subject.as_deref().map(Operand::text),
            Self::ReplyTo => view.reply_to.as_deref().map(Operand::text),
            Self::GroupId => view.group_id.as_deref().map(Operand::text),
            Self::GroupSequence => view.group_sequence.map(Operand::exact),
            Self::ReplyToGroupId => view.reply_to_group_id.as_deref().map(Operand::text),
            Self::UserId => view.user_id.as_ref().map(user_id),
            Self::ContentType => view.content_type.as_deref().map(Operand::text),
            Self::ContentEncoding => view.content_encoding.as_deref().map(Operand::text),
            Self::DeliveryMode
            | Self::Durable
            | Self::Priority
            | Self::Destination
            | Self::Expiration
            | Self::ExpiryTime
            | Self::TimeToLive => None,
        }
    }
}

/// An id as a JMS client sees it. [AMQP JMS mapping 1.0, 3.2.1.1]
fn jms_id<'a>(id: &'a Value<'_>) -> Operand<'a> {
    match id {
        Value::Uuid(_) => Operand::text(format!("ID:AMQP_UUID:{}", id.to_text())),
        Value::Ulong(number) => Operand::text(format!("ID:AMQP_ULONG:{number}")),
        Value::Binary(bytes) if bytes.len() > COMPARED_BYTES_MAX => Operand::Other,
        Value::Binary(bytes) => {
            let mut text = String::from("ID:AMQP_BINARY:");
            for byte in bytes.iter() {
                let _ = write!(text, "{byte:02X}"); // writing to a String cannot fail
            }
            Operand::text(text)
        }
        other => Operand::of(other),
    }
}

/// AMQP's user id is binary; JMS reads it as UTF-8. [AMQP JMS mapping 1.0, 3.2.2]
fn user_id<'a>(user: &'a Value<'_>) -> Operand<'a> {
    match user {
        Value::Binary(bytes) => std::str::from_utf8(bytes).map_or(Operand::Other, Operand::text),
        other => Operand::of(other),
    }
}
