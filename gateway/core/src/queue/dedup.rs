//! Duplicate detection: a second message with the same identity is confirmed and not stored.
//!
//! The identities of the messages of one commit are one row in the journal, under the first place of them.
//! Rows go when all their identities have left the window, never one by one.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use evergate_journal::{Record, Table, codec};
use evergate_model::{DedupWindow, Message, QueueId, Seq, Time, Value};

use super::rows::{parse_key, stored_row};
use super::{Out, Queue};
use crate::bug::Bug;
use crate::lane::Place;

/// A dead letter that is sent again after a restart is a duplicate, whatever the settings of `_DMQ`.
const LETTERS: DedupWindow =
    DedupWindow { count: 100_000, time: Duration::from_hours(24), by_message_id: false, by_correlation_id: false };

/// Longer identities are told apart by a hash of 128 bits.
const IDENTITY_BYTES_MAX: usize = 255;

#[derive(Debug, Default)]
pub struct Dedup {
    seen: HashSet<Arc<str>>,
    order: VecDeque<Identity>,
    /// Keys of the rows in the journal, ascending.
    rows: VecDeque<Seq>,
    /// Where messages stand whose identities are on their way to a row.
    pending: VecDeque<Seq>,
}

#[derive(Debug)]
struct Identity {
    at: Time,
    text: Arc<str>,
    /// Where its message was stored, if the journal has it.
    stored: Option<Seq>,
}

/// A row of the journal.
pub struct DedupRow {
    pub queue: QueueId,
    first: Seq,
    identities: Vec<(Time, Arc<str>)>,
}

impl DedupRow {
    /// Reads a row of [`Table::Dedup`]. `None`: it is not of this release's form.
    pub fn decode(key: &str, value: &Bytes) -> Option<Self> {
        let (queue, first) = parse_key(key)?;
        let identities = codec::decode_identities(value).ok()?;
        let identities = identities.into_iter().map(|(at, text)| (Time(at), text)).collect();
        Some(Self { queue, first, identities })
    }

    /// What deletes it.
    pub fn delete(&self) -> Record {
        delete_row(self.queue, self.first)
    }
}

fn delete_row(queue: QueueId, first: Seq) -> Record {
    stored_row(Table::Dedup, queue, first, None)
}

impl Queue {
    fn dedup_window(&self) -> Option<DedupWindow> {
        self.settings.dedup.or(self.is_for_letters.then_some(LETTERS))
    }

    /// What the publisher calls the message.
    fn identity(&self, message: &Message, window: &DedupWindow) -> Option<Arc<str>> {
        let view = || self.config.formats.view(message);
        // Services of several protocols answer, each as it writes the id.
        let correlation_id = || view().correlation_id.map(|id| id.to_text().into());
        let message_id = || view().message_id.map(|id| identity_of(&id));
        let text: Arc<str> = None
            .or_else(|| window.by_correlation_id.then(correlation_id).flatten())
            .or_else(|| message.meta.dedup_id().cloned())
            .or_else(|| window.by_message_id.then(message_id).flatten())?;
        Some(if text.len() > IDENTITY_BYTES_MAX { hashed(&text) } else { text })
    }

    /// Whether a message with its identity came within the window.
    pub(super) fn is_duplicate(&mut self, message: &Message, now: Time, out: &mut Out<'_>) -> bool {
        let Some(window) = self.dedup_window() else { return false };
        self.forget_identities(&window, now, out);
        let Some(identity) = self.identity(message, &window) else { return false };
        self.has_seen(&identity)
    }

    fn has_seen(&self, identity: &str) -> bool {
        self.rare.get().dedup.as_ref().is_some_and(|dedup| dedup.seen.contains(identity))
    }

    /// Whether a message with its identity came, as far as that can be told without a look at the time.
    pub(super) fn may_be_duplicate(&self, message: &Message) -> bool {
        let Some(window) = self.dedup_window() else { return false };
        self.identity(message, &window).is_some_and(|identity| self.has_seen(&identity))
    }

    /// A message came: from now on a second one is a duplicate.
    pub(super) fn remember(&mut self, message: &Message, place: Place, stored: bool, now: Time, out: &mut Out<'_>) {
        let Some(window) = self.dedup_window() else { return };
        let Some(text) = self.identity(message, &window) else { return };
        if self.has_seen(&text) {
            // It was here before, and comes back.
            return;
        }
        if stored {
            let (queue, seq, identity) = (self.id, place.seq, text.clone());
            out.records.push(Record::Identity { queue, seq, identity, at: now.0 });
        }
        let dedup = self.rare.make().dedup.get_or_insert_default();
        dedup.pending.extend(stored.then_some(place.seq));
        dedup.seen.insert(text.clone());
        dedup.order.push_back(Identity { at: now, text, stored: stored.then_some(place.seq) });
        self.forget_identities(&window, now, out);
    }

    /// Forgets what has left the window.
    fn forget_identities(&mut self, window: &DedupWindow, now: Time, out: &mut Out<'_>) {
        let Some(dedup) = self.rare.made().and_then(|rare| rare.dedup.as_mut()) else { return };
        while let Some(oldest) = dedup.order.front() {
            if dedup.order.len() <= window.count as usize && oldest.at.after(window.time) > now {
                break;
            }
            let Some(oldest) = dedup.order.pop_front() else { break };
            dedup.seen.remove(&oldest.text);
            // Of a row that another one follows, all have left once one of that other leaves.
            while oldest.stored.is_some_and(|seq| dedup.rows.get(1).is_some_and(|next| *next <= seq))
                && let Some(first) = dedup.rows.pop_front()
            {
                out.records.push(delete_row(self.id, first));
            }
        }
    }

    /// A commit is through: the identities in it are a row now.
    pub fn identities_committed(&mut self) {
        let Some(dedup) = self.rare.made().and_then(|rare| rare.dedup.as_mut()) else { return };
        let committed = dedup.pending.partition_point(|seq| *seq <= self.committed);
        let first = dedup.pending.drain(..committed).next();
        dedup.rows.extend(first);
    }

    /// The settings no longer call for it.
    pub(super) fn drop_identities(&mut self, out: &mut Out<'_>) {
        if self.dedup_window().is_none() {
            out.records.extend(self.delete_identities());
            if let Some(rare) = self.rare.made() {
                rare.dedup = None;
            }
        }
    }

    /// Takes over a row that a restart found; rows come in order of their places.
    pub fn recover_identities(&mut self, row: DedupRow) {
        if self.config.bug == Some(Bug::ForgetDuplicates) {
            return;
        }
        let dedup = self.rare.make().dedup.get_or_insert_default();
        dedup.rows.push_back(row.first);
        for (at, text) in row.identities {
            dedup.seen.insert(text.clone());
            dedup.order.push_back(Identity { at, text, stored: Some(row.first) });
        }
    }

    /// What deletes its rows, when the queue goes.
    pub fn delete_identities(&self) -> impl Iterator<Item = Record> + '_ {
        let rows = self.rare.get().dedup.iter().flat_map(|dedup| &dedup.rows);
        rows.map(|first| delete_row(self.id, *first))
    }
}

/// A message id of AMQP is another one than its text. [AMQP 1.0 part 3, 3.2.11 to 3.2.14]
fn identity_of(id: &Value<'_>) -> Arc<str> {
    let kind = match id {
        Value::Ulong(_) => "ulong",
        Value::Uuid(_) => "uuid",
        Value::Binary(_) => "binary",
        _ => return id.to_text().into(),
    };
    // A character that no publisher puts at the head of a text.
    format!("\u{1}{kind} {}", id.to_text()).into()
}

/// In the order in which rows were written.
pub fn in_order(rows: &mut [DedupRow]) {
    rows.sort_by_key(|row| (row.queue, row.first));
}

/// FNV-1a over 128 bits.
fn hashed(text: &str) -> Arc<str> {
    const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let hash = text.bytes().fold(BASIS, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME));
    format!("#{hash:032x}").into()
}
