//! How the directory's state is kept: one row a queue, a binding, a retained topic. JSON where a person
//! may want to read it.

use std::time::Duration;

use bytes::Bytes;
use evergate_journal::{Record, StateChange, Table, codec};
use evergate_model::{Binding, Filter, Lifetime, Message, Policy, QueueId, Selector, Time, TransactionId};
use serde::{Deserialize, Serialize};

use super::QueueInfo;
use super::queues::StoredQueue;

#[derive(Serialize, Deserialize)]
struct QueueRow {
    name: String,
    /// Absent: permanent. Milliseconds after the last consumer left.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_after_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    settings: Option<Policy>,
}

#[derive(Serialize, Deserialize)]
struct StoredBinding {
    durable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    no_local: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    selector: Option<String>,
    /// The protocol's options, in hexadecimal.
    options: String,
}

#[derive(Serialize, Deserialize)]
struct StoredTransaction {
    /// In milliseconds since 1970.
    committed_at: u64,
}

pub fn put_queue(id: QueueId, info: &QueueInfo) -> Record {
    put_row(id, &info.name, info.lifetime, info.own.as_deref())
}

/// The same of what a restart found.
pub fn put_definition(stored: &StoredQueue) -> Record {
    put_row(stored.id, &stored.name, stored.lifetime, stored.own.as_ref())
}

fn put_row(id: QueueId, name: &str, lifetime: Lifetime, own: Option<&Policy>) -> Record {
    let expires_after_ms = match lifetime {
        Lifetime::Permanent => None,
        Lifetime::Attached => Some(0),
        Lifetime::AfterDetach(after) => Some(u64::try_from(after.as_millis()).unwrap_or(u64::MAX)),
    };
    put(Table::Queue, queue_key(id), &QueueRow { name: name.to_owned(), expires_after_ms, settings: own.cloned() })
}

/// Reads back what `put_queue` wrote. `None`: it is not of this release's form.
pub fn decode_queue(key: &str, value: &[u8]) -> Option<StoredQueue> {
    let row: QueueRow = serde_json::from_slice(value).ok()?;
    let lifetime = match row.expires_after_ms {
        None => Lifetime::Permanent,
        Some(0) => Lifetime::Attached,
        Some(millis) => Lifetime::AfterDetach(Duration::from_millis(millis)),
    };
    Some(StoredQueue { id: QueueId(key.parse().ok()?), name: row.name.into(), lifetime, own: row.settings })
}

pub fn delete_queue(id: QueueId, info: &QueueInfo) -> Vec<Record> {
    let mut records: Vec<Record> = info.bindings.iter().map(|binding| delete_binding(id, &binding.filter)).collect();
    records.push(delete_queue_row(id));
    records
}

/// The queue's own row goes. The journal then forgets the id, once nothing of it is live: so this is said
/// again by whoever purges the queue later.
pub fn delete_queue_row(id: QueueId) -> Record {
    delete(Table::Queue, queue_key(id))
}

pub fn put_binding(id: QueueId, binding: &Binding) -> Record {
    let mut options = String::with_capacity(binding.options.len() * 2);
    for byte in &binding.options {
        options.extend([byte >> 4, byte & 15].map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)])));
    }
    let no_local = binding.no_local.as_deref().map(str::to_owned);
    let selector = binding.selector.as_ref().map(|selector| selector.as_str().to_owned());
    let stored = StoredBinding { durable: binding.durable, no_local, selector, options };
    put(Table::Binding, binding_key(id, &binding.filter), &stored)
}

/// Reads back what `put_binding` wrote. `None`: it is not of this release's form.
pub fn decode_binding(key: &str, value: &[u8]) -> Option<(QueueId, Binding)> {
    let (id, filter) = key.split_once(' ')?;
    let stored: StoredBinding = serde_json::from_slice(value).ok()?;
    let digits = stored.options.as_bytes();
    let options: Option<Vec<u8>> =
        digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect();
    let binding = Binding {
        filter: Filter::parse(filter).ok()?,
        durable: stored.durable,
        no_local: stored.no_local.map(Into::into),
        selector: match stored.selector {
            Some(text) => Some(Selector::parse(&text).ok()?),
            None => None,
        },
        options: options?.into(),
    };
    Some((QueueId(id.parse().ok()?), binding))
}

pub fn delete_binding(id: QueueId, filter: &Filter) -> Record {
    delete(Table::Binding, binding_key(id, filter))
}

/// The one row of [`Table::Policy`].
pub const POLICIES_KEY: &str = "added";

/// The policies that operators added, in their order.
pub fn put_policies(policies: &[Policy]) -> Record {
    put(Table::Policy, POLICIES_KEY.to_owned(), &policies)
}

/// Reads back what `put_policies` wrote. `None`: it is not of this release's form.
pub fn decode_policies(value: &[u8]) -> Option<Vec<Policy>> {
    let policies: Vec<Policy> = serde_json::from_slice(value).ok()?;
    policies.iter().all(|policy| policy.check().is_ok()).then_some(policies)
}

pub fn put_retained(message: &Message) -> Record {
    let value = Some(Bytes::from(codec::encode_message(message)));
    Record::State(StateChange { table: Table::Retained, key: message.meta.address.name.clone(), value })
}

pub fn delete_retained(topic: &str) -> Record {
    delete(Table::Retained, topic.to_owned())
}

/// A transaction was committed. Stands in one commit with all that it changes.
pub fn put_transaction(id: TransactionId, now: Time) -> Record {
    put(Table::Transaction, id.0.to_string(), &StoredTransaction { committed_at: now.0 })
}

/// Reads back what `put_transaction` wrote. `None`: it is not of this release's form.
pub fn decode_transaction(key: &str, value: &[u8]) -> Option<(Time, TransactionId)> {
    let stored: StoredTransaction = serde_json::from_slice(value).ok()?;
    Some((Time(stored.committed_at), TransactionId(key.parse().ok()?)))
}

pub fn delete_transaction(id: TransactionId) -> Record {
    delete(Table::Transaction, id.0.to_string())
}

/// In decimal: the journal reads it, too.
fn queue_key(id: QueueId) -> String {
    id.0.to_string()
}

fn binding_key(id: QueueId, filter: &Filter) -> String {
    format!("{} {filter}", id.0)
}

fn put(table: Table, key: String, value: &impl Serialize) -> Record {
    // These structs hold nothing that JSON cannot express.
    let value = serde_json::to_vec(value).unwrap_or_default();
    Record::State(StateChange { table, key: key.into(), value: Some(value.into()) })
}

fn delete(table: Table, key: String) -> Record {
    Record::State(StateChange { table, key: key.into(), value: None })
}
