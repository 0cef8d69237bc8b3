//! From a batch to the rows of one commit.

use std::collections::BTreeMap;

use bytes::Bytes;
use evergate_journal::index::{Index, PackId, Run};
use evergate_journal::{Batch, StateChange, StoredMessage};
use evergate_model::ahead::AHEAD;
use evergate_model::{QueueId, Seq};

use crate::pack::{Pack, PackWriter, cost};
use crate::ring::Ring;

/// The number that stands for every mark of a queue.
pub const ALL_MARKS: i64 = -1;

/// Everything one commit writes.
#[derive(Debug, Default)]
pub struct Plan {
    /// Message rows.
    pub packs: Vec<Pack>,
    /// Settled places and marks, if any.
    pub settled: Option<Settled>,
    /// Next places to write down: queues and places.
    pub next_seqs: (Vec<i64>, Vec<i64>),
    /// Queues that are gone.
    pub forgotten: Vec<i64>,
    /// Keyed state: the last change of each key.
    pub state: State,
    /// What was live in a ring table's rows up to this one is among `packs`: slot and row.
    pub moved: Option<(i32, i64)>,
}

/// Changes of keyed state as columns.
#[derive(Debug, Default)]
pub struct State {
    /// Tables, keys and values to set.
    pub put: (Vec<i16>, Vec<Bytes>, Vec<Bytes>),
    /// Tables and keys to delete.
    pub deleted: (Vec<i16>, Vec<Bytes>),
}

/// A row of settled places and marks.
#[derive(Debug, Default)]
pub struct Settled {
    /// Its number: rising.
    pub id: i64,
    /// Its generation.
    pub generation: i64,
    /// Ranges.
    pub queues: Vec<i64>,
    /// Their first places.
    pub firsts: Vec<i64>,
    /// Their last places.
    pub lasts: Vec<i64>,
    /// Marks' queues.
    pub mark_queues: Vec<i64>,
    /// Marks' numbers.
    pub mark_numbers: Vec<i64>,
    /// Set or cleared.
    pub mark_sets: Vec<bool>,
}

impl Settled {
    fn is_empty(&self) -> bool {
        self.queues.is_empty() && self.mark_queues.is_empty()
    }

    fn push_range(&mut self, queue: QueueId, first: Seq, last: Seq) {
        self.queues.push(queue.0.cast_signed());
        self.firsts.push(first.0.cast_signed());
        self.lasts.push(last.0.cast_signed());
    }

    fn push_mark(&mut self, queue: QueueId, number: i64, set: bool) {
        self.mark_queues.push(queue.0.cast_signed());
        self.mark_numbers.push(number);
        self.mark_sets.push(set);
    }
}

impl Plan {
    /// Whether nothing is written.
    pub fn is_empty(&self) -> bool {
        self.packs.is_empty() && self.settled.is_none() && !self.has_state()
    }

    /// Whether anything but message and settled rows is written.
    pub fn has_state(&self) -> bool {
        let State { put, deleted } = &self.state;
        let is_unchanged = self.next_seqs.0.is_empty() && self.forgotten.is_empty() && self.moved.is_none();
        !(is_unchanged && put.0.is_empty() && deleted.0.is_empty())
    }
}

/// The numbers that go into rows.
#[derive(Debug)]
pub struct Counters {
    /// The next row of messages.
    pub next_pack: u64,
    /// The next row of settled places.
    pub next_settled: i64,
    /// Marks have changed since they were last written down whole.
    pub are_marks_dirty: bool,
}

/// Packs messages into rows of at most about `row_bytes`, and says which rows hold which of them.
pub fn pack(
    messages: &[StoredMessage],
    row_bytes: usize,
    next_pack: &mut u64,
    generation: i64,
) -> (Vec<Pack>, Vec<PackId>) {
    let mut packs = Vec::new();
    let mut ids = Vec::with_capacity(messages.len());
    let mut filling: Option<PackWriter> = None;
    for stored in messages {
        if stored.targets.is_empty() {
            ids.push(PackId(0)); // nobody holds it: it goes nowhere
            continue;
        }
        let full = filling.take_if(|pack| pack.bytes + cost(stored) > row_bytes);
        packs.extend(full.map(|pack| pack.finish(generation)));
        let pack = filling.get_or_insert_with(|| {
            *next_pack += 1;
            PackWriter::new(PackId(*next_pack - 1))
        });
        pack.push(stored);
        ids.push(pack.id);
    }
    packs.extend(filling.map(|pack| pack.finish(generation)));
    (packs, ids)
}

/// What to write for the batch; index and ring change as if it were written.
pub fn plan(batch: &Batch, row_bytes: usize, counters: &mut Counters, index: &mut Index, ring: &mut Ring) -> Plan {
    let current = ring.current().map_or(0, |current| current.number);
    let mut settled = Settled { generation: current, ..Settled::default() };
    let mut removed = Vec::new();
    for queue in &batch.purged {
        let before = removed.len();
        index.purge(*queue, &mut removed);
        push_span(&mut settled, &removed[before..]);
        settled.push_mark(*queue, ALL_MARKS, false);
    }
    let (packs, ids) = pack(&batch.messages, row_bytes, &mut counters.next_pack, current);
    insert(&batch.messages, &ids, index, ring);
    // What was purged, and then what is settled: of each queue once, since nothing comes in between.
    let mut next_seqs: Vec<_> =
        removed.iter().filter_map(|run| Some((run.queue, index.seq_to_keep(run.queue)?))).collect();
    index.settle_all(&batch.settled, &mut removed, &mut next_seqs, |runs| push_span(&mut settled, runs));
    let (queues, next) = next_seqs.iter().map(|(queue, next)| (queue.0.cast_signed(), next.0.cast_signed())).unzip();
    let mut plan = Plan { packs, next_seqs: (queues, next), ..Plan::default() };
    for run in &removed {
        if let Some(generation) = ring.of_mut(run.pack) {
            generation.live = generation.live.saturating_sub(run.count());
            generation.dirty_from.get_or_insert(current);
        }
    }
    for (queue, number, set) in &batch.marks {
        index.mark(*queue, *number, *set);
        settled.push_mark(*queue, i64::from(*number), *set);
    }
    counters.are_marks_dirty |= !settled.mark_queues.is_empty();
    if !settled.is_empty() {
        settled.id = counters.next_settled;
        counters.next_settled += 1;
        plan.settled = Some(settled);
    }
    let deleted = batch.state.iter().filter_map(StateChange::deleted_queue);
    plan.forgotten.extend(deleted.filter(|queue| index.forget(*queue)).map(|queue| queue.0.cast_signed()));
    plan.state = state(&batch.state);
    plan
}

/// Puts the places of packed messages into the index and counts them.
pub fn insert(messages: &[StoredMessage], ids: &[PackId], index: &mut Index, ring: &mut Ring) {
    for (number, (stored, pack)) in messages.iter().zip(ids).enumerate() {
        if number % AHEAD == 0 {
            let next = messages[number..].iter().take(AHEAD);
            index.look_at(next.filter_map(|stored| Some(stored.targets.first()?.0)));
        }
        let size = stored.message.size_bytes();
        for (queue, seq) in &stored.targets {
            index.insert(*queue, *seq, *pack);
            ring.remember(*queue, *seq, size, *pack);
        }
        if let Some(current) = ring.generations.last_mut()
            && !stored.targets.is_empty()
        {
            current.messages += 1;
            current.bytes += size;
            current.places += stored.targets.len() as u64;
            current.live += stored.targets.len() as u64;
        }
    }
}

/// One range over everything that one settle removed: what lies between was settled before or never stored.
fn push_span(settled: &mut Settled, removed: &[Run]) {
    if let (Some(first), Some(last)) = (removed.first(), removed.last()) {
        settled.push_range(first.queue, first.first, last.last);
    }
}

fn state(changes: &[StateChange]) -> State {
    let mut state = State::default();
    let last: BTreeMap<_, _> = changes.iter().map(|change| ((change.table, &change.key), &change.value)).collect();
    for ((table, key), value) in last {
        let key = Bytes::copy_from_slice(key.as_bytes());
        if let Some(value) = value {
            state.put.0.push(table as i16);
            state.put.1.push(key);
            state.put.2.push(value.clone());
        } else {
            state.deleted.0.push(table as i16);
            state.deleted.1.push(key);
        }
    }
    state
}
