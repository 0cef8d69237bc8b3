//! What the user properties of a PUBLISH ask of the gateway. The names are those of docs/protocols/mqtt.md, and
//! those that other brokers use for the same. A property whose value makes no sense for it is an ordinary one.

use std::sync::Arc;

use evergate_model::{Meta, Time};

use crate::codec::{RawValue, Reader, next_property};

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish<'a> {
    Priority(u8),
    /// Milliseconds since 1970.
    DeliverAt(u64),
    /// Milliseconds from now.
    Delay(u64),
    Discardable(bool),
    Group(&'a str),
    Identity(&'a str),
}

fn wish<'a>(name: &str, text: &'a str) -> Option<Wish<'a>> {
    match name {
        "priority" => match text.as_bytes() {
            [digit @ b'0'..=b'9'] => Some(Wish::Priority(digit - b'0')),
            _ => None,
        },
        "deliver-at" => text.parse().ok().map(Wish::DeliverAt),
        "delay" | "AMQ_SCHEDULED_DELAY" => text.parse().ok().map(Wish::Delay),
        "discardable" => text.parse().ok().map(Wish::Discardable),
        "group-id" | "JMSXGroupID" if !text.is_empty() => Some(Wish::Group(text)),
        "dedup-id" | "_AMQ_DUPL_ID" if !text.is_empty() => Some(Wish::Identity(text)),
        _ => None,
    }
}

/// Whether a user property is for the gateway alone: other protocols' consumers find it in their own place for it.
pub(super) fn is_for_the_gateway(name: &str, text: &str) -> bool {
    match wish(name, text) {
        Some(Wish::Priority(_) | Wish::DeliverAt(_) | Wish::Delay(_) | Wish::Discardable(_)) => true,
        Some(Wish::Group(_) | Wish::Identity(_)) | None => false,
    }
}

/// Reads the wishes in `head`, a PUBLISH's properties, into `meta`. Of repeated ones the first counts.
pub(crate) fn read_wishes(now: Time, head: &[u8], meta: &mut Meta) {
    let mut reader = Reader::new(head);
    let mut has_priority = false;
    while !reader.is_empty() {
        let Ok((_, value)) = next_property(&mut reader) else { break };
        let RawValue::Pair(name, text) = value else { continue };
        match wish(name, text) {
            Some(Wish::Priority(priority)) if !has_priority => {
                has_priority = true;
                meta.priority = priority;
            }
            Some(Wish::DeliverAt(at)) => schedule(now, at, meta),
            Some(Wish::Delay(millis)) => schedule(now, now.0.saturating_add(millis), meta),
            // What is confirmed is kept: only QoS 0 can be discardable.
            Some(Wish::Discardable(true)) if !meta.durable => meta.rare_mut().discardable = true,
            Some(Wish::Group(group)) => {
                meta.rare_mut().group_id.get_or_insert_with(|| Arc::from(group));
            }
            Some(Wish::Identity(identity)) => {
                meta.rare_mut().dedup_id.get_or_insert_with(|| Arc::from(identity));
            }
            Some(Wish::Priority(_) | Wish::Discardable(_)) | None => {}
        }
    }
}

fn schedule(now: Time, at: u64, meta: &mut Meta) {
    // What is due already is an ordinary message.
    if at > now.0 {
        meta.rare_mut().deliver_at.get_or_insert(Time(at));
    }
}
