//! What a publisher asks of the gateway for one message, beside its header: message-annotations and
//! application-properties under names that JMS clients, Artemis or we use.

use evergate_model::{Address, Meta, Time, Value};

use super::sections::Incoming;
use crate::codec::Item;
use crate::error::{AmqpError, INVALID_FIELD};

/// When to deliver, in milliseconds since 1970 (AMQP JMS mapping, 3.2.1.1).
pub(super) const DELIVERY_TIME: &str = "x-opt-delivery-time";
/// How long from now, in milliseconds.
const DELIVERY_DELAY: &str = "x-opt-delivery-delay";
/// The publisher's identity for the message.
pub(super) const DEDUP_ID: &str = "x-opt-dedup-id";
/// The same among the application-properties, as Artemis's clients have it.
const DUPLICATE_ID: &str = "_AMQ_DUPL_ID";
/// The message may be thrown away first.
pub(super) const DISCARDABLE: &str = "x-opt-discardable";

/// JMS's highest priority, and ours.
const PRIORITY_MAX: u8 = 9;

/// The wishes of a message.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Wishes {
    delivery_time: Option<i64>,
    delivery_delay: Option<i64>,
    pub(super) group_id: Option<String>,
    dedup_id: Option<String>,
    discardable: bool,
    /// A wish that says nothing sensible. To ignore it would not be what its publisher relies on.
    unclear: Option<&'static str>,
}

impl Wishes {
    pub(super) fn read_annotation(&mut self, name: &str, value: &Item<'_>) {
        match (name, value) {
            (DELIVERY_TIME, Item::Simple(value)) if value.as_integer().is_some() => {
                self.delivery_time = value.as_integer();
            }
            (DELIVERY_DELAY, Item::Simple(value)) if value.as_integer().is_some() => {
                self.delivery_delay = value.as_integer();
            }
            (DEDUP_ID, Item::Simple(value)) => self.dedup_id = Some(value.to_text().into_owned()),
            (DISCARDABLE, Item::Simple(Value::Bool(value))) => self.discardable = *value,
            (DELIVERY_TIME, _) => self.unclear = Some("x-opt-delivery-time is milliseconds since 1970"),
            (DELIVERY_DELAY, _) => self.unclear = Some("x-opt-delivery-delay is a number of milliseconds"),
            (DEDUP_ID, _) => self.unclear = Some("x-opt-dedup-id is a simple value"),
            (DISCARDABLE, _) => self.unclear = Some("x-opt-discardable is true or false"),
            _ => {}
        }
    }

    pub(super) fn read_property(&mut self, name: &str, value: &Value<'_>) {
        if name == DUPLICATE_ID && self.dedup_id.is_none() {
            self.dedup_id = Some(value.to_text().into_owned());
        }
    }
}

/// What the gateway needs to know of a message. The error is for this message alone.
pub(crate) fn meta(now: Time, address: Address, incoming: &Incoming) -> Result<Meta, AmqpError> {
    let wishes = &incoming.wishes;
    if let Some(text) = wishes.unclear {
        return Err(AmqpError::new(INVALID_FIELD, text));
    }
    let mut meta = Meta::new(address);
    meta.durable = incoming.durable;
    meta.priority = incoming.priority.unwrap_or(meta.priority).min(PRIORITY_MAX);
    // A time to live does not depend on the client's clock, so it goes first; zero means none.
    meta.expires_at = match (incoming.ttl.filter(|ttl| *ttl > 0), incoming.absolute_expiry) {
        (Some(ttl), _) => Some(Time(now.0.saturating_add(ttl.into()))),
        (None, Some(at)) if at > 0 => Some(Time(at.cast_unsigned())),
        _ => None,
    };
    let at = match (wishes.delivery_delay, wishes.delivery_time) {
        (Some(delay), _) => now.0.saturating_add_signed(delay),
        (None, Some(at)) => u64::try_from(at).unwrap_or(0),
        (None, None) => 0,
    };
    if at > now.0 {
        meta.rare_mut().deliver_at = Some(Time(at));
    }
    if let Some(group) = wishes.group_id.as_deref().filter(|group| !group.is_empty()) {
        meta.rare_mut().group_id = Some(group.into());
    }
    if let Some(identity) = wishes.dedup_id.as_deref().filter(|identity| !identity.is_empty()) {
        meta.rare_mut().dedup_id = Some(identity.into());
    }
    if wishes.discardable {
        if meta.durable {
            return Err(AmqpError::new(INVALID_FIELD, "a message is durable or discardable, not both"));
        }
        meta.rare_mut().discardable = true;
    }
    Ok(meta)
}
