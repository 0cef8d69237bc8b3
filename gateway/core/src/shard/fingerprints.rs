//! What sessions published with MQTT QoS 1, remembered by the shard that took the message: in the same commit, and
//! without a word to the shard of the session's queue. Who comes back to a session collects from all shards.
//!
//! The fingerprints of one commit are one row of the journal. A row goes when none of it is wanted any more; where
//! most of what is stored is no longer wanted, or most rows are empty, the oldest row's survivors move to the newest.

use std::collections::VecDeque;

use evergate_journal::{Origin, Record, StateChange, Table, codec};
use evergate_model::{Fingerprint, IdMap, MessageId, QueueId};

use crate::effect::{Position, ShardId};

/// How much is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FingerprintLimits {
    /// Publishes of each session; 0: none.
    pub per_session_max: usize,
    /// Publishes of all sessions.
    pub total_max: usize,
    /// So many more than are wanted, twice, may be stored, and so many rows be there, before they are tidied up.
    pub stale_max: usize,
}

impl Default for FingerprintLimits {
    fn default() -> Self {
        Self { per_session_max: 1024, total_max: 1_000_000, stale_max: 4096 }
    }
}

/// A publish of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// Ids rise in the order in which the session published.
    pub message: MessageId,
    /// What it looked like.
    pub fingerprint: Fingerprint,
}

/// Stands for a session that sent the same message twice with one packet identifier, as new each time: what comes again
/// cannot be told from what is new. No packet identifier is 0.
const AMBIGUOUS: Fingerprint = Fingerprint(1);

/// What all shards remember of one session: the newest for each packet identifier.
pub fn newest(mut all: Vec<Remembered>) -> Vec<Fingerprint> {
    if all.iter().any(|one| one.fingerprint == AMBIGUOUS) {
        return Vec::new();
    }
    all.sort_unstable_by_key(|one| (one.fingerprint.packet_id(), std::cmp::Reverse(one.message)));
    all.dedup_by_key(|one| one.fingerprint.packet_id());
    all.into_iter().map(|one| one.fingerprint).collect()
}

/// So many are moved after one commit, about.
const MOVED_AT_ONCE: usize = 512;

/// Of one shard. Entries are numbered in the order in which they came: first those in `rows`, then those in `pending`.
#[derive(Debug)]
pub struct Fingerprints {
    limits: FingerprintLimits,
    shard: ShardId,
    sessions: IdMap<QueueId, Session>,
    rows: VecDeque<Row>,
    /// Not committed yet.
    pending: VecDeque<(Position, Entry)>,
    /// The number of the next one.
    next: u64,
    /// In `rows`, wanted or not.
    stored: usize,
    /// Wanted, wherever they are.
    wanted: usize,
    /// Rows of which nothing is wanted any more.
    dead: Vec<RowKey>,
    /// For `enlist` alone.
    unwanted: Vec<u64>,
}

/// What one session published. Of numbers 32 bits are kept.
#[derive(Debug, Default)]
struct Session {
    by_packet_id: IdMap<u16, u32>,
    order: VecDeque<(u16, u32)>,
    is_ambiguous: bool,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    queue: QueueId,
    message: MessageId,
    /// [`UNWANTED`] before its commit, if its session has it no more. After it, the session is asked.
    fingerprint: Fingerprint,
    /// It is in the journal, or on its way there.
    kept: bool,
}

/// No packet identifier is 0.
const UNWANTED: Fingerprint = Fingerprint(0);

/// The shard that wrote a row, and the number of its first entry.
type RowKey = (u16, u64);

#[derive(Debug)]
struct Row {
    first: u64,
    /// `None`: nothing of it is in the journal.
    key: Option<RowKey>,
    entries: Vec<Entry>,
    wanted: usize,
}

/// A row of [`Table::Fingerprint`].
#[derive(Debug)]
pub struct FingerprintRow {
    key: RowKey,
    entries: Vec<(QueueId, MessageId, Fingerprint)>,
}

impl FingerprintRow {
    /// Reads a row. `None`: it is not of this release's form.
    pub fn decode(key: &str, value: &bytes::Bytes) -> Option<Self> {
        let (shard, first) = key.split_once(' ')?;
        let entries = codec::decode_fingerprints(value).ok()?;
        Some(Self { key: (shard.parse().ok()?, first.parse().ok()?), entries })
    }

    /// Which shard wrote it.
    pub fn shard(&self) -> u16 {
        self.key.0
    }

    /// The number behind its last entry.
    pub fn end(&self) -> u64 {
        self.key.1.saturating_add(self.entries.len() as u64)
    }

    /// What deletes it.
    pub fn delete(&self) -> Record {
        delete_row(self.key)
    }

    /// Forgets what is of queues that are no more. Returns whether anything is left.
    pub fn retain(&mut self, is_known: impl Fn(QueueId) -> bool) -> bool {
        self.entries.retain(|(queue, ..)| is_known(*queue));
        !self.entries.is_empty()
    }
}

/// In the order in which rows were written.
pub fn in_order(rows: &mut [FingerprintRow]) {
    rows.sort_by_key(|row| (row.key.1, row.key.0));
}

fn delete_row((shard, first): RowKey) -> Record {
    let key = codec::fingerprint_key(shard, first).into();
    Record::State(StateChange { table: Table::Fingerprint, key, value: None })
}

impl Fingerprints {
    pub fn new(limits: FingerprintLimits, shard: ShardId) -> Self {
        Self {
            limits,
            shard,
            sessions: IdMap::default(),
            rows: VecDeque::new(),
            pending: VecDeque::new(),
            next: 0,
            stored: 0,
            wanted: 0,
            dead: Vec::new(),
            unwanted: Vec::new(),
        }
    }

    /// Rows that it writes from now on begin at this number or behind it. Before `recover`.
    pub fn start_at(&mut self, number: u64) {
        self.next = number;
    }

    /// Takes over the rows that a restart found, in their order.
    pub fn recover(&mut self, rows: Vec<FingerprintRow>) {
        let mut found = Vec::new();
        for row in rows {
            for (queue, message, fingerprint) in row.entries {
                self.pending.push_back((Position(0), Entry { queue, message, fingerprint, kept: true }));
                found.push((message, self.next, queue, fingerprint));
                self.next += 1;
            }
            self.close_row(self.pending.len(), Some(row.key));
        }
        // Those that were moved stand in newer rows than they came with.
        found.sort_unstable_by_key(|(message, ..)| *message);
        for (_, number, queue, fingerprint) in found {
            self.enlist(queue, fingerprint, number);
        }
    }

    /// What deletes the rows of which nothing is wanted any more.
    pub fn delete_dead(&mut self) -> impl Iterator<Item = Record> + '_ {
        self.dead.drain(..).map(delete_row)
    }

    /// A session published a message, which was taken. `kept`: it is on its way to the journal, behind `logged` and in
    /// `records`, and so is what is remembered of it.
    pub fn remember(
        &mut self,
        queue: QueueId,
        (message, fingerprint): (MessageId, Fingerprint),
        kept: bool,
        logged: Position,
        records: &mut Vec<Record>,
    ) {
        if self.limits.per_session_max == 0 {
            return;
        }
        let session = self.sessions.get(&queue);
        if session.is_some_and(|session| session.is_ambiguous) {
            return;
        }
        let before = session.and_then(|session| session.by_packet_id.get(&fingerprint.packet_id()));
        let before = before.map(|number| self.whole(*number)).and_then(|number| self.entry(number));
        let fingerprint = if before.is_some_and(|before| before.fingerprint == fingerprint) {
            self.forget(queue);
            AMBIGUOUS
        } else {
            fingerprint
        };
        self.add(Entry { queue, message, fingerprint, kept }, logged, records);
        self.enlist(queue, fingerprint, self.next - 1);
        if !self.dead.is_empty() {
            records.extend(self.delete_dead());
        }
    }

    fn add(&mut self, entry: Entry, logged: Position, records: &mut Vec<Record>) {
        if entry.kept {
            let Entry { queue, message, fingerprint, .. } = entry;
            let origin = Origin { shard: self.shard.0, number: self.next, queue, fingerprint };
            match records.last_mut() {
                Some(Record::Enqueue { message: last, origin: place, .. }) if last.meta.id == message => {
                    *place = Some(origin);
                }
                _ => records.push(Record::Fingerprint { origin, message }),
            }
        }
        self.pending.push_back((Position(logged.0 + records.len() as u64), entry));
        self.next += 1;
    }

    /// The entry of that number is its session's newest.
    fn enlist(&mut self, queue: QueueId, fingerprint: Fingerprint, number: u64) {
        let next = self.next;
        let session = self.sessions.entry(queue).or_default();
        let (packet_id, number) = (fingerprint.packet_id(), number as u32);
        let before = session.by_packet_id.insert(packet_id, number);
        self.unwanted.extend(before.map(|before| whole(next, before)));
        if fingerprint == AMBIGUOUS {
            session.is_ambiguous = true;
        } else {
            session.order.push_back((packet_id, number));
        }
        while session.order.len() > self.limits.per_session_max
            && let Some((oldest, number)) = session.order.pop_front()
        {
            if session.by_packet_id.get(&oldest) == Some(&number) {
                session.by_packet_id.remove(&oldest);
                self.unwanted.push(whole(next, number));
            }
        }
        self.wanted += 1;
        while let Some(number) = self.unwanted.pop() {
            self.drop_entry(number);
        }
    }

    /// All of a number.
    fn whole(&self, number: u32) -> u64 {
        whole(self.next, number)
    }

    fn first_pending(&self) -> u64 {
        self.next - self.pending.len() as u64
    }

    fn row_of(&self, number: u64) -> Option<usize> {
        self.rows.partition_point(|row| row.first <= number).checked_sub(1)
    }

    fn entry(&self, number: u64) -> Option<&Entry> {
        if let Some(behind) = number.checked_sub(self.first_pending()) {
            return self.pending.get(usize::try_from(behind).ok()?).map(|(_, entry)| entry);
        }
        let row = self.rows.get(self.row_of(number)?)?;
        row.entries.get((number - row.first) as usize)
    }

    /// An entry that its session has no more.
    fn drop_entry(&mut self, number: u64) {
        self.wanted -= 1;
        if let Some(behind) = number.checked_sub(self.first_pending()) {
            if let Some((_, entry)) = self.pending.get_mut(behind as usize) {
                entry.fingerprint = UNWANTED;
            }
            return;
        }
        if let Some(row) = self.row_of(number).and_then(|at| self.rows.get_mut(at)) {
            row.wanted -= 1;
            if row.wanted == 0 {
                self.stored -= row.entries.len();
                row.entries = Vec::new();
                self.dead.extend(row.key.take());
            }
        }
        // Rows are found by the number of their first, so only those in front can go.
        while self.rows.len() > 1 && self.rows.front().is_some_and(|row| row.wanted == 0) {
            self.rows.pop_front();
        }
    }

    /// The first `count` that are pending become a row.
    fn close_row(&mut self, count: usize, key: Option<RowKey>) {
        let first = self.first_pending();
        let entries: Vec<Entry> = self.pending.drain(..count).map(|(_, entry)| entry).collect();
        let wanted = entries.iter().filter(|entry| entry.fingerprint != UNWANTED).count();
        match self.rows.back_mut() {
            // What is only in memory needs no row of its own.
            Some(last)
                if key.is_none() && last.key.is_none() && last.wanted > 0 && last.entries.len() < MOVED_AT_ONCE =>
            {
                self.stored += entries.len();
                last.entries.extend(entries);
                last.wanted += wanted;
            }
            _ if wanted == 0 => {
                self.dead.extend(key);
                self.rows.push_back(Row { first, key: None, entries: Vec::new(), wanted });
            }
            _ => {
                self.stored += entries.len();
                self.rows.push_back(Row { first, key, entries, wanted });
            }
        }
    }

    /// The shard's records up to here are committed.
    pub fn committed(&mut self, position: Position, logged: Position, records: &mut Vec<Record>) {
        let count = self.pending.partition_point(|(at, _)| *at <= position);
        if count > 0 {
            let first = self.first_pending();
            let kept = self.pending.iter().take(count).position(|(_, entry)| entry.kept);
            self.close_row(count, kept.map(|at| (self.shard.0, first + at as u64)));
        }
        self.tidy(logged, records);
        records.extend(self.delete_dead());
    }

    /// Moves the survivors of old rows where most of what is stored is not wanted, or most rows are empty; forgets them
    /// where it is too much.
    fn tidy(&mut self, logged: Position, records: &mut Vec<Record>) {
        let mut moved = 0;
        while moved < MOVED_AT_ONCE
            && self.rows.len() > 1
            && (self.stored.max(self.rows.len()) > 2 * self.wanted + self.limits.stale_max
                || self.wanted > self.limits.total_max)
        {
            let too_many = self.wanted > self.limits.total_max;
            let Some(row) = self.rows.pop_front() else { return };
            self.stored -= row.entries.len();
            self.dead.extend(row.key);
            for (number, entry) in (row.first..).zip(row.entries) {
                let Some(session) = self.sessions.get_mut(&entry.queue) else { continue };
                let packet_id = entry.fingerprint.packet_id();
                if session.by_packet_id.get(&packet_id) != Some(&(number as u32)) {
                    continue;
                }
                if too_many {
                    session.by_packet_id.remove(&packet_id);
                    if session.by_packet_id.is_empty() {
                        self.sessions.remove(&entry.queue);
                    }
                    self.wanted -= 1;
                } else {
                    let (before, after) = ((packet_id, number as u32), self.next as u32);
                    session.by_packet_id.insert(packet_id, after);
                    // Among the oldest, so it is found soon.
                    if let Some(place) = session.order.iter_mut().find(|place| **place == before) {
                        place.1 = after;
                    }
                    moved += 1;
                    self.add(entry, logged, records);
                }
            }
        }
    }

    /// What it remembers of a session.
    pub fn of(&self, queue: QueueId) -> Vec<Remembered> {
        let numbers = self.sessions.get(&queue).into_iter().flat_map(|session| session.by_packet_id.values());
        let entries = numbers.filter_map(|number| self.entry(self.whole(*number)));
        entries.map(|entry| Remembered { message: entry.message, fingerprint: entry.fingerprint }).collect()
    }

    /// The session is no more.
    pub fn forget(&mut self, queue: QueueId) {
        let Some(session) = self.sessions.remove(&queue) else { return };
        for number in session.by_packet_id.into_values() {
            self.drop_entry(self.whole(number));
        }
    }
}

/// The number that ends in these 32 bits and comes last before `next`.
fn whole(next: u64, number: u32) -> u64 {
    next - u64::from((next as u32).wrapping_sub(number))
}

#[cfg(test)]
mod tests;
