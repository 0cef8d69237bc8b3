use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use evergate_model::{Message, QueueId, Seq};

use super::{Opened, Rng, Storage, assert_same, message};
use crate::{Batch, Record, StateChange, Table};

/// What a journal holds, in the plainest way: each record as it comes.
#[derive(Default)]
struct Model {
    live: BTreeMap<(QueueId, Seq), Arc<Message>>,
    marks: BTreeSet<(QueueId, u32)>,
    state: BTreeMap<(Table, String), Bytes>,
    /// The highest place given out, and the highest that a committed message has: a purge in the same
    /// batch makes the difference.
    used: BTreeMap<QueueId, u64>,
    committed: BTreeMap<QueueId, u64>,
    next_id: u64,
}

impl Model {
    fn add(&mut self, record: &Record) {
        match record {
            Record::Enqueue { message, queue, seq, .. } => {
                self.live.insert((*queue, *seq), message.clone());
                self.used.insert(*queue, seq.0);
            }
            Record::Settle { queue, first, last } => {
                self.live.retain(|(live, seq), _| live != queue || seq < first || seq > last);
            }
            Record::Mark { queue, number, set: true } => {
                self.marks.insert((*queue, *number));
            }
            Record::Mark { queue, number, set: false } => {
                self.marks.remove(&(*queue, *number));
            }
            Record::Purge { queue } => {
                self.live.retain(|(live, _), _| live != queue);
                self.marks.retain(|(marked, _)| marked != queue);
            }
            // A batch makes state of it: see its own test.
            Record::Identity { .. } | Record::Fingerprint { .. } => {}
            Record::State(change) => {
                let key = (change.table, change.key.to_string());
                match &change.value {
                    Some(value) => self.state.insert(key, value.clone()),
                    None => self.state.remove(&key),
                };
            }
        }
    }

    fn records(&mut self, rng: &mut Rng, queue: QueueId) -> Vec<Record> {
        let used = self.used.get(&queue).copied().unwrap_or(0);
        match rng.below(100) {
            0..55 => {
                self.next_id += 1;
                let size = if rng.one_in(60) { rng.below(40_000) } else { rng.below(300) };
                let message = message(self.next_id, vec![(self.next_id % 251) as u8; size as usize]);
                let queues = if rng.one_in(5) { 1 + rng.below(6) } else { 1 };
                let target = |n| {
                    let queue = QueueId(1 + (queue.0 - 1 + n) % 6);
                    let used = self.used.get(&queue).copied().unwrap_or(0);
                    let gap = if n % 2 == 1 { 3 } else { 1 };
                    Record::Enqueue { message: message.clone(), queue, seq: Seq(used + gap), origin: None }
                };
                (0..queues).map(target).collect()
            }
            55..85 => {
                // Only places used so far: a batch applies its settles after its messages.
                let first = if rng.one_in(2) { used.saturating_sub(rng.below(40)) } else { rng.below(used + 1) };
                let length = if rng.one_in(3) { rng.below(30) } else { 0 };
                vec![Record::Settle { queue, first: Seq(first), last: Seq((first + length).min(used)) }]
            }
            85..92 => vec![Record::Mark { queue, number: rng.below(20) as u32, set: !rng.one_in(3) }],
            92..99 => {
                let table = Table::ALL[rng.below(Table::ALL.len() as u64) as usize];
                let value = (!rng.one_in(4)).then(|| Bytes::from(rng.number().to_string()));
                vec![Record::State(StateChange { table, key: format!("key {}", rng.below(6)).into(), value })]
            }
            _ if rng.one_in(3) => vec![Record::Purge { queue }],
            _ => vec![Record::Settle { queue, first: Seq(0), last: Seq(used / 2) }],
        }
    }

    async fn assert_loads(&self, opened: &Opened, rng: &mut Rng, seed: u64) {
        for queue in 1..=6 {
            let queue = QueueId(queue);
            let used = self.used.get(&queue).copied().unwrap_or(0);
            let first = if rng.one_in(2) { 0 } else { rng.below(used + 1) };
            let loaded = opened.load(queue.0, first, u64::MAX).await;
            let expected: Vec<_> = self.live.range((queue, Seq(first))..=(queue, Seq(u64::MAX))).collect();
            let places: Vec<_> = loaded.messages.iter().map(|(seq, _)| *seq).collect();
            let expected_places: Vec<_> = expected.iter().map(|((_, seq), _)| *seq).collect();
            assert_eq!(places, expected_places, "seed {seed}, {queue:?} from {first}");
            for ((_, back), (_, sent)) in loaded.messages.iter().zip(expected) {
                assert_same(back, sent);
            }
        }
    }

    fn assert_recovered(&self, opened: &Opened, seed: u64) {
        for queue in (1..=6).map(QueueId) {
            let live: Vec<_> = self.live.range((queue, Seq(0))..=(queue, Seq(u64::MAX))).collect();
            let bytes: u64 = live.iter().map(|(_, message)| message.size_bytes()).sum();
            assert_eq!(opened.counts(queue.0), (live.len() as u64, bytes), "seed {seed}, {queue:?}");
            let found = opened.queue(queue.0);
            for range in found.iter().flat_map(|found| &found.live) {
                let inside: Vec<_> = self.live.range((queue, range.first)..=(queue, range.last)).collect();
                let bytes: u64 = inside.iter().map(|(_, message)| message.size_bytes()).sum();
                assert_eq!((range.count, range.bytes), (inside.len() as u64, bytes), "seed {seed}, {queue:?}");
            }
            let used = self.committed.get(&queue).copied().unwrap_or(0);
            let next = found.map_or(1, |found| found.next_seq.0);
            assert!(next > used, "seed {seed}, {queue:?}: next {next}, used {used}");
            let marks: Vec<u32> =
                self.marks.iter().filter(|(marked, _)| *marked == queue).map(|(_, number)| *number).collect();
            assert_eq!(found.map_or(vec![], |found| found.marks.clone()), marks, "seed {seed}, {queue:?}");
        }
        let state: Vec<_> =
            opened.found.state.iter().map(|(table, key, value)| ((*table, key.to_string()), value)).collect();
        let expected: Vec<_> = self.state.iter().map(|(key, value)| (key.clone(), value)).collect();
        assert_eq!(state, expected, "seed {seed}");
    }
}

/// Random records in random batches with random restarts, against the model. A failure names its seed.
pub async fn run_random(storage: &impl Storage, seed: u64) {
    let mut rng = Rng::new(seed);
    let mut model = Model::default();
    let mut opened = Opened::at(storage).await;
    for _ in 0..250 {
        let mut batch = Batch::default();
        let length = if rng.one_in(8) { rng.below(400) } else { 1 + rng.below(12) };
        for _ in 0..length {
            let queue = QueueId(1 + rng.below(6));
            for record in model.records(&mut rng, queue) {
                model.add(&record);
                batch.add(record);
            }
        }
        if let Err(error) = opened.journal.commit(&batch).await {
            panic!("seed {seed}: {error}");
        }
        model.committed.extend(batch.messages.iter().flat_map(|stored| &stored.targets).map(|(id, seq)| (*id, seq.0)));
        match rng.below(12) {
            0 => opened.journal.idle().await.expect("idle work succeeds"),
            1 => model.assert_loads(&opened, &mut rng, seed).await,
            2 => {
                if rng.one_in(2) {
                    drop(opened);
                    opened = Opened::at(storage).await;
                } else {
                    opened = opened.reopened(storage).await;
                }
                model.assert_recovered(&opened, seed);
            }
            _ => {}
        }
    }
    let opened = opened.reopened(storage).await;
    model.assert_recovered(&opened, seed);
    model.assert_loads(&opened, &mut rng, seed).await;
}
