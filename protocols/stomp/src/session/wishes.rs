//! What the headers of a SEND ask of the gateway. The names are ours and those that ActiveMQ, Artemis and
//! RabbitMQ use for the same.

use evergate_model::{Address, Meta, Time};

use super::fault::Fault;
use super::is_true;
use crate::codec::Frame;

/// Headers for scheduled delivery that repeats (ActiveMQ): never ignored, since a client relies on it.
const REPEATING: [&str; 3] = ["AMQ_SCHEDULED_PERIOD", "AMQ_SCHEDULED_REPEAT", "AMQ_SCHEDULED_CRON"];

/// The first of these headers that is there and not empty: its name and value.
pub(super) fn first_of<'a>(frame: &'a Frame, names: &[&'static str]) -> Option<(&'static str, &'a str)> {
    let found = names.iter().find_map(|name| Some((*name, frame.headers.get(name)?.trim())));
    found.filter(|(_, value)| !value.is_empty())
}

pub(super) fn read_meta(now: Time, address: Address, frame: &Frame) -> Result<Meta, Fault> {
    let mut meta = Meta::new(address);
    meta.durable = is_true(frame, "persistent");
    if let Some((name, text)) = first_of(frame, &["priority"]) {
        meta.priority = text
            .parse()
            .ok()
            .filter(|priority| *priority <= 9)
            .ok_or_else(|| Fault::refused(format!("{name} must be 0 to 9: {text}")))?;
    }
    meta.expires_at = expiry(now, frame)?;
    if let Some(at) = schedule(now, frame)? {
        meta.rare_mut().deliver_at = Some(at);
    }
    if let Some((_, group)) = first_of(frame, &["group-id", "JMSXGroupID"]) {
        meta.rare_mut().group_id = Some(group.into());
    }
    if let Some((_, identity)) = first_of(frame, &["dedup-id", "_AMQ_DUPL_ID"]) {
        meta.rare_mut().dedup_id = Some(identity.into());
    }
    if is_true(frame, "discardable") {
        if meta.durable {
            return Err(Fault::refused("a message is persistent or discardable, not both"));
        }
        meta.rare_mut().discardable = true;
    }
    Ok(meta)
}

/// `expires`, a time, or `ttl` and `expiration`, how long from now. 0: never, as in JMS.
fn expiry(now: Time, frame: &Frame) -> Result<Option<Time>, Fault> {
    if let Some((name, text)) = first_of(frame, &["expires"]) {
        return Ok(Some(Time(time(name, text)?)).filter(|at| at.0 > 0));
    }
    let Some((name, text)) = first_of(frame, &["ttl", "expiration"]) else {
        return Ok(None);
    };
    let millis = period(name, text)?;
    Ok((millis > 0).then(|| Time(now.0.saturating_add(millis))))
}

/// `deliver-at`, a time, or `delay` and `AMQ_SCHEDULED_DELAY`, how long from now.
fn schedule(now: Time, frame: &Frame) -> Result<Option<Time>, Fault> {
    if let Some((name, _)) = first_of(frame, &REPEATING) {
        return Err(Fault::refused(format!("{name}: delivery that repeats is not supported")));
    }
    let at = if let Some((name, text)) = first_of(frame, &["deliver-at"]) {
        time(name, text)?
    } else if let Some((name, text)) = first_of(frame, &["delay", "AMQ_SCHEDULED_DELAY"]) {
        now.0.saturating_add(period(name, text)?)
    } else {
        return Ok(None);
    };
    Ok((at > now.0).then_some(Time(at))) // what is due already is an ordinary message
}

fn time(name: &str, text: &str) -> Result<u64, Fault> {
    text.parse().map_err(|_| Fault::refused(format!("{name} must be milliseconds since 1970: {text}")))
}

fn period(name: &str, text: &str) -> Result<u64, Fault> {
    text.parse().map_err(|_| Fault::refused(format!("{name} must be a number of milliseconds: {text}")))
}
