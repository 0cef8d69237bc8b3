//! Where each live place is stored: the small index in memory that the stores share.
//!
//! A store packs the messages of a commit into rows. The index knows, for each queue, the runs of live
//! places and the pack (row) that holds each run. Nothing of a message is kept here. It tells a store
//! what a settle really removes, and a reader which rows to fetch.

use std::collections::BTreeSet;

use evergate_model::ahead::{AHEAD, CACHED, read};
use evergate_model::few::FewMap;
use evergate_model::{IdMap, QueueId, Seq};

use crate::{LiveRange, Recovered, RecoveredQueue};

/// How far ahead of the highest place used a store writes down `next_seq`, so that it writes once in so
/// many messages and not in every commit.
pub const SEQ_SLACK: u64 = 4096;

/// Most live messages in one [`LiveRange`].
pub const LIVE_RANGE_MESSAGES_MAX: u64 = 1024;

/// The number of a stored row of messages. Rising, never used twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackId(pub u64);

/// Neighbouring live places of one queue, all in the same pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Which queue.
    pub queue: QueueId,
    /// First place.
    pub first: Seq,
    /// Last place, included.
    pub last: Seq,
    /// The row that holds them.
    pub pack: PackId,
}

impl Run {
    /// How many places.
    pub fn count(&self) -> u64 {
        self.last.0 - self.first.0 + 1
    }
}

#[derive(Debug, Default)]
struct Places {
    /// Runs by their first place: last place and pack.
    runs: FewMap<u64, (u64, PackId)>,
    marks: BTreeSet<u32>,
    /// Higher than every place used.
    next_seq: u64,
    /// The `next_seq` that the store has written down; 0: none.
    kept_seq: u64,
}

impl Places {
    fn settle(&mut self, queue: QueueId, first: Seq, last: Seq, removed: &mut Vec<Run>) {
        // The run that begins before `first` may reach into it; all others begin inside.
        let from = self.runs.at_or_before(&first.0).map_or(first.0, |(start, _)| *start);
        if from > last.0 {
            return;
        }
        loop {
            let mut runs = self.runs.range(from..=last.0).map(|(start, (end, pack))| (*start, *end, *pack));
            let Some((start, end, pack)) = runs.find(|(_, end, _)| *end >= first.0) else { return };
            drop(runs);
            self.runs.remove(&start);
            if start < first.0 {
                self.runs.insert(start, (first.0 - 1, pack));
            }
            if end > last.0 {
                self.runs.insert(last.0 + 1, (end, pack));
            }
            removed.push(Run { queue, first: Seq(start.max(first.0)), last: Seq(end.min(last.0)), pack });
        }
    }

    fn seq_to_keep(&mut self) -> Option<Seq> {
        if self.next_seq <= self.kept_seq {
            return None;
        }
        self.kept_seq = self.next_seq.saturating_add(SEQ_SLACK);
        Some(Seq(self.kept_seq))
    }
}

/// Live places of every queue.
#[derive(Debug, Default)]
pub struct Index {
    queues: IdMap<QueueId, Box<Places>>,
}

impl Index {
    /// Reads what changes of these queues will ask for: see [`evergate_model::ahead`].
    pub fn look_at(&self, queues: impl Iterator<Item = QueueId>) {
        if self.queues.len() > CACHED {
            read(queues.filter_map(|queue| self.queues.get(&queue)).map(|places| {
                let first = places.runs.first().map_or(0, |(last, _)| *last);
                first ^ places.next_seq ^ places.kept_seq
            }));
        }
    }

    /// A place became live.
    pub fn insert(&mut self, queue: QueueId, seq: Seq, pack: PackId) {
        let places = self.queues.entry(queue).or_default();
        places.next_seq = places.next_seq.max(seq.0.saturating_add(1));
        if let Some((_, (last, run_pack))) = places.runs.at_or_before(&seq.0) {
            if *last >= seq.0 {
                return;
            }
            if *run_pack == pack && *last + 1 == seq.0 {
                *last = seq.0;
                return;
            }
        }
        places.runs.insert(seq.0, (seq.0, pack));
    }

    /// Places `first..=last` are done with. The live ones among them go to `removed`, in order.
    pub fn settle(&mut self, queue: QueueId, first: Seq, last: Seq, removed: &mut Vec<Run>) {
        if let Some(places) = self.queues.get_mut(&queue) {
            places.settle(queue, first, last, removed);
        }
    }

    /// All that a commit settles, in order: queue, first and last place. `removed` as of [`Index::settle`], `next_seqs`
    /// as of [`Index::seq_to_keep`]. `each` is called with what each of `settled` has removed.
    pub fn settle_all(
        &mut self,
        settled: &[(QueueId, Seq, Seq)],
        removed: &mut Vec<Run>,
        next_seqs: &mut Vec<(QueueId, Seq)>,
        mut each: impl FnMut(&[Run]),
    ) {
        for next in settled.chunks(AHEAD) {
            self.look_at(next.iter().map(|(queue, ..)| *queue));
            for (queue, first, last) in next {
                let Some(places) = self.queues.get_mut(queue) else { continue };
                let before = removed.len();
                places.settle(*queue, *first, *last, removed);
                if removed.len() > before {
                    each(&removed[before..]);
                    next_seqs.extend(places.seq_to_keep().map(|next| (*queue, next)));
                }
            }
        }
    }

    /// Every place of the queue is done with and no mark is left.
    pub fn purge(&mut self, queue: QueueId, removed: &mut Vec<Run>) {
        self.settle(queue, Seq(0), Seq(u64::MAX), removed);
        self.clear_marks(queue);
    }

    /// Clears every mark of the queue.
    pub fn clear_marks(&mut self, queue: QueueId) {
        if let Some(places) = self.queues.get_mut(&queue) {
            places.marks.clear();
        }
    }

    /// Sets or clears a mark.
    pub fn mark(&mut self, queue: QueueId, number: u32, set: bool) {
        if set {
            self.queues.entry(queue).or_default().marks.insert(number);
        } else if let Some(places) = self.queues.get_mut(&queue) {
            places.marks.remove(&number);
        }
    }

    /// Every mark set, by queue.
    pub fn marks(&self) -> impl Iterator<Item = (QueueId, u32)> + '_ {
        self.queues.iter().flat_map(|(queue, places)| places.marks.iter().map(|number| (*queue, *number)))
    }

    /// The store has `next_seq` written down for the queue.
    pub fn set_kept_seq(&mut self, queue: QueueId, kept: Seq) {
        let places = self.queues.entry(queue).or_default();
        places.kept_seq = kept.0;
        places.next_seq = places.next_seq.max(kept.0);
    }

    /// To be called when places of the queue are removed: the `next_seq` to write down in the same
    /// commit, if what is written down no longer covers every place used.
    pub fn seq_to_keep(&mut self, queue: QueueId) -> Option<Seq> {
        self.queues.get_mut(&queue)?.seq_to_keep()
    }

    /// Drops the queue if nothing of it is live. True: drop what is written down of it, too.
    pub fn forget(&mut self, queue: QueueId) -> bool {
        match self.queues.get(&queue) {
            Some(places) if places.runs.is_empty() && places.marks.is_empty() => {
                self.queues.remove(&queue);
                true
            }
            _ => false,
        }
    }

    /// The live runs of the queue that touch `first..=last`, in order, not cut to it.
    pub fn runs(&self, queue: QueueId, first: Seq, last: Seq) -> impl Iterator<Item = Run> + '_ {
        let runs = self.queues.get(&queue).map(|places| &places.runs);
        let from = runs.and_then(|runs| runs.range(0..=first.0).next_back()).map_or(first.0, |(start, _)| *start);
        let range = (from <= last.0).then_some(from..=last.0);
        runs.zip(range)
            .into_iter()
            .flat_map(|(runs, range)| runs.range(range))
            .map(move |(start, (end, pack))| Run { queue, first: Seq(*start), last: Seq(*end), pack: *pack })
            .filter(move |run| run.last >= first)
    }
}

/// Gathers what a restart finds while a store reads its rows' heads.
#[derive(Debug, Default)]
pub struct Recovery {
    /// The index, ready for use afterwards.
    pub index: Index,
    sizes: IdMap<QueueId, Vec<(u64, u64)>>,
}

impl Recovery {
    /// A live place was found.
    pub fn place(&mut self, queue: QueueId, seq: Seq, size_bytes: u64, pack: PackId) {
        self.index.insert(queue, seq, pack);
        self.sizes.entry(queue).or_default().push((seq.0, size_bytes));
    }

    /// The index and what the caller of `recover` is told; its `state` is the store's to fill.
    pub fn finish(mut self) -> (Index, Recovered) {
        let mut queues = Vec::with_capacity(self.index.queues.len());
        for (id, places) in &self.index.queues {
            let mut sizes = self.sizes.remove(id).unwrap_or_default();
            sizes.sort_unstable();
            queues.push(RecoveredQueue {
                id: *id,
                next_seq: Seq(places.next_seq),
                live: live_ranges(&sizes),
                marks: places.marks.iter().copied().collect(),
            });
        }
        queues.sort_unstable_by_key(|queue| queue.id);
        (self.index, Recovered { queues, state: Vec::new() })
    }
}

/// Ranges of at most [`LIVE_RANGE_MESSAGES_MAX`] messages over (place, bytes), ascending.
pub fn live_ranges(sizes: &[(u64, u64)]) -> Vec<LiveRange> {
    let chunks = sizes.chunks(LIVE_RANGE_MESSAGES_MAX as usize);
    let range = |chunk: &[(u64, u64)]| LiveRange {
        first: Seq(chunk[0].0),
        last: Seq(chunk[chunk.len() - 1].0),
        count: chunk.len() as u64,
        bytes: chunk.iter().map(|(_, bytes)| bytes).sum(),
    };
    chunks.map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const Q: QueueId = QueueId(1);

    fn index(places: &[(u64, u64)]) -> Index {
        let mut index = Index::default();
        for (seq, pack) in places {
            index.insert(Q, Seq(*seq), PackId(*pack));
        }
        index
    }

    fn runs(index: &Index, first: u64, last: u64) -> Vec<(u64, u64, u64)> {
        index.runs(Q, Seq(first), Seq(last)).map(|run| (run.first.0, run.last.0, run.pack.0)).collect()
    }

    #[test]
    fn runs_end_where_places_or_packs_do() {
        let index = index(&[(1, 1), (2, 1), (3, 2), (5, 2), (6, 2)]);
        assert_eq!(runs(&index, 0, u64::MAX), [(1, 2, 1), (3, 3, 2), (5, 6, 2)]);
        assert_eq!(runs(&index, 2, 3), [(1, 2, 1), (3, 3, 2)]);
        assert_eq!(runs(&index, 4, 4), []);
        assert_eq!(runs(&index, 9, 3), []);
    }

    #[test]
    fn a_settle_removes_what_is_live_and_splits_a_run() {
        let mut index = index(&[(1, 1), (2, 1), (3, 1), (4, 1), (8, 2), (9, 2)]);
        let mut removed = Vec::new();
        index.settle(Q, Seq(2), Seq(3), &mut removed);
        index.settle(Q, Seq(2), Seq(3), &mut removed);
        index.settle(Q, Seq(4), Seq(8), &mut removed);
        let removed: Vec<_> = removed.iter().map(|run| (run.first.0, run.last.0, run.pack.0)).collect();
        assert_eq!(removed, [(2, 3, 1), (4, 4, 1), (8, 8, 2)]);
        assert_eq!(runs(&index, 0, u64::MAX), [(1, 1, 1), (9, 9, 2)]);
    }

    #[test]
    fn what_a_commit_settles_is_told_one_by_one_and_keeps_the_next_place_of_each_queue_once() {
        let mut index = index(&[(1, 1), (2, 1), (3, 1), (4, 2)]);
        index.insert(QueueId(2), Seq(7), PackId(2));
        let settled = [(Q, 1, 1), (QueueId(3), 1, 9), (QueueId(2), 7, 7), (Q, 3, 4), (Q, 3, 4)];
        let settled = settled.map(|(queue, first, last)| (queue, Seq(first), Seq(last)));
        let (mut removed, mut next_seqs, mut told) = (Vec::new(), Vec::new(), Vec::new());
        index.settle_all(&settled, &mut removed, &mut next_seqs, |runs| told.push(runs.to_vec()));
        let places = |runs: &[Run]| runs.iter().map(|run| (run.first.0, run.last.0, run.pack.0)).collect::<Vec<_>>();
        let told: Vec<_> = told.iter().map(|runs| places(runs)).collect();
        assert_eq!(told, [vec![(1, 1, 1)], vec![(7, 7, 2)], vec![(3, 3, 1), (4, 4, 2)]]);
        assert_eq!(places(&removed), told.concat());
        assert_eq!(next_seqs, [(Q, Seq(5 + SEQ_SLACK)), (QueueId(2), Seq(8 + SEQ_SLACK))]);
    }

    #[test]
    fn the_next_place_is_written_down_once_in_a_while() {
        let mut index = index(&[(1, 1), (2, 1)]);
        assert_eq!(index.seq_to_keep(Q), Some(Seq(3 + SEQ_SLACK)));
        index.insert(Q, Seq(3 + SEQ_SLACK - 1), PackId(2));
        assert_eq!(index.seq_to_keep(Q), None);
        index.insert(Q, Seq(3 + SEQ_SLACK), PackId(2));
        assert!(index.seq_to_keep(Q).is_some());
    }

    #[test]
    fn only_an_empty_queue_is_forgotten() {
        let mut index = index(&[(1, 1)]);
        assert!(!index.forget(Q));
        index.purge(Q, &mut Vec::new());
        assert!(index.forget(Q));
        assert!(!index.forget(Q));
    }
}
