//! Joins the streams of directory and shards into batches for the journal.
//!
//! A publish to queues of several shards must be stored whole or not at all, though each shard logs its
//! part on its own. So a batch is a *consistent cut*: a prefix of every stream such that a group is in it
//! with all its parts or with none. Parts arrive within microseconds of each other; what is not whole yet
//! waits, with all behind it in its stream, for the next batch.
//!
//! What shards log may rest on what the directory logged before: a message on the definition of its queue.
//! So when the directory's stream is cut, all that arrived after the cut waits as well.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use evergate_journal::{Batch, Record};
use evergate_model::Message;

use crate::{Logged, Position, StreamId};

/// Collects logged records and cuts batches.
#[derive(Debug)]
pub struct Sequencer {
    streams: Vec<Stream>,
    /// Groups with a part waiting here: in how many streams.
    arrived: HashMap<u64, u16>,
    /// How many records arrived.
    arrivals: u64,
    batch_bytes_max: u64,
}

#[derive(Debug, Default)]
struct Stream {
    waiting: VecDeque<Waiting>,
    /// Position of the last record that left.
    taken: Position,
    /// How many of `waiting` belong to groups.
    grouped: usize,
    /// The group of the last record that arrived.
    last_group: Option<u64>,
}

#[derive(Debug)]
struct Waiting {
    logged: Logged,
    /// Its number among all that arrived.
    arrival: u64,
}

impl Sequencer {
    /// For `streams` streams; a batch closes when it holds about `batch_bytes_max` bytes of messages.
    pub fn new(streams: usize, batch_bytes_max: u64) -> Self {
        let streams = (0..streams).map(|_| Stream::default()).collect();
        Self { streams, arrived: HashMap::new(), arrivals: 0, batch_bytes_max }
    }

    /// Takes records, in their stream's order. What the directory logs must be pushed before a shard is
    /// told of it.
    pub fn push(&mut self, stream: StreamId, records: impl IntoIterator<Item = Logged>) {
        let stream = &mut self.streams[usize::from(stream.0)];
        for logged in records {
            let group = logged.group.map(|group| group.id);
            if let Some(id) = group {
                stream.grouped += 1;
                if stream.last_group != group {
                    *self.arrived.entry(id).or_insert(0) += 1;
                }
            }
            stream.last_group = group;
            self.arrivals += 1;
            stream.waiting.push_back(Waiting { logged, arrival: self.arrivals });
        }
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.streams.iter().all(|stream| stream.waiting.is_empty())
    }

    /// How many records wait.
    pub fn waiting(&self) -> usize {
        self.streams.iter().map(|stream| stream.waiting.len()).sum()
    }

    /// The largest whole batch within the byte bound, and how far each stream will be durable once it is
    /// committed. `None`: nothing whole waits. The batch may be empty although streams advance.
    pub fn take(&mut self) -> Option<(Batch, Vec<(StreamId, Position)>)> {
        let mut lengths = self.cut(self.batch_bytes_max);
        if lengths.iter().all(|length| *length == 0) {
            // Groups that cross in several streams may fit into no batch of that size.
            lengths = self.cut(u64::MAX);
        }
        let mut batch = Batch::default();
        let mut reached = Vec::new();
        for (index, length) in lengths.into_iter().enumerate() {
            if length == 0 {
                continue;
            }
            let stream = &mut self.streams[index];
            for Waiting { logged, .. } in stream.waiting.drain(..length) {
                if let Some(group) = logged.group {
                    stream.grouped -= 1;
                    // A publish that reached nobody is sent again under the same id.
                    stream.last_group = stream.last_group.filter(|last| *last != group.id);
                    self.arrived.remove(&group.id);
                }
                logged.record.into_iter().for_each(|record| batch.add(record));
            }
            stream.taken.0 += length as u64;
            reached.push((StreamId(index as u16), stream.taken));
        }
        batch.seal();
        (!reached.is_empty()).then_some((batch, reached))
    }

    /// How many records to take of each stream.
    fn cut(&self, bytes_max: u64) -> Vec<usize> {
        // Each stream has its share, so that a busy one does not starve the others.
        let busy = self.streams.iter().filter(|stream| !stream.waiting.is_empty()).count();
        let share_bytes = bytes_max / busy.max(1) as u64;
        let mut lengths: Vec<usize> = self.streams.iter().map(|stream| stream.within(share_bytes)).collect();
        if self.streams.iter().all(|stream| stream.grouped == 0) {
            // Without groups the directory's stream, which has no messages, is never cut.
            return lengths;
        }
        // What is cut off one stream makes its groups incomplete in the others: repeat until nothing changes.
        let mut left_out: HashSet<u64> = HashSet::new();
        for (stream, length) in self.streams.iter().zip(&lengths) {
            left_out.extend(stream.groups(*length));
        }
        loop {
            let mut changed = false;
            let directory = &self.streams[usize::from(StreamId::DIRECTORY.0)];
            let cut = directory.waiting.get(lengths[usize::from(StreamId::DIRECTORY.0)]);
            let resting_before = cut.map_or(u64::MAX, |waiting| waiting.arrival);
            for (stream, length) in self.streams.iter().zip(&mut lengths) {
                let is_whole = |waiting: &Waiting| match waiting.logged.group {
                    Some(group) => !left_out.contains(&group.id) && self.arrived.get(&group.id) == Some(&group.parts),
                    None => true,
                };
                let may_go = |waiting: &Waiting| waiting.arrival < resting_before && is_whole(waiting);
                let shorter =
                    stream.waiting.iter().take(*length).position(|waiting| !may_go(waiting)).unwrap_or(*length);
                if shorter < *length {
                    *length = shorter;
                    left_out.extend(stream.groups(shorter));
                    changed = true;
                }
            }
            if !changed {
                return lengths;
            }
        }
    }
}

impl Stream {
    /// How many records fit into `bytes_left`; at least one publish. A publish to several queues of a shard
    /// is logged as one record a queue and then its mark: it is counted once and never cut.
    fn within(&self, mut bytes_left: u64) -> usize {
        let mut last: Option<&Arc<Message>> = None;
        for (index, waiting) in self.waiting.iter().enumerate() {
            if let Some(Record::Enqueue { message, .. }) = &waiting.logged.record
                && !last.is_some_and(|last| Arc::ptr_eq(last, message))
            {
                let size_bytes = message.size_bytes();
                if index > 0 && bytes_left < size_bytes {
                    return index;
                }
                bytes_left = bytes_left.saturating_sub(size_bytes);
                last = Some(message);
            }
        }
        self.waiting.len()
    }

    /// The groups from `start` on.
    fn groups(&self, start: usize) -> impl Iterator<Item = u64> {
        self.waiting.iter().skip(start).filter_map(|waiting| Some(waiting.logged.group?.id))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use evergate_model::{Address, Encoding, MessageId, Meta, QueueId, Seq};

    use super::*;
    use crate::Group;

    #[test]
    fn a_group_that_is_sent_again_right_behind_itself_is_whole_again() {
        let mut sequencer = Sequencer::new(3, 1000);
        for number in 1..=2 {
            sequencer.push(StreamId(1), [mark(number, Some((5, 2)))]);
            sequencer.push(StreamId(2), [mark(number, Some((5, 2)))]);
            assert_eq!(sequencer.take().map(|(batch, _)| batch.marks.len()), Some(2), "time {number}");
        }
    }

    fn mark(number: u32, group: Option<(u64, u16)>) -> Logged {
        let record = Record::Mark { queue: QueueId(1), number, set: true };
        Logged { record: Some(record), group: group.map(|(id, parts)| Group { id, parts }) }
    }

    fn numbers(batch: &Batch) -> Vec<u32> {
        batch.marks.iter().map(|mark| mark.1).collect()
    }

    fn message(id: u64, bytes: usize, group: Option<(u64, u16)>) -> Logged {
        let mut meta = Meta::new(Address::queue("q"));
        meta.id = MessageId(id);
        let message = Arc::new(Message::new(meta, Encoding::Plain, Bytes::new(), Bytes::from(vec![0; bytes])));
        let record = Record::Enqueue { message, queue: QueueId(1), seq: Seq(id), origin: None };
        Logged { record: Some(record), group: group.map(|(id, parts)| Group { id, parts }) }
    }

    #[test]
    fn an_incomplete_group_waits_with_all_behind_it_in_its_stream() {
        let mut sequencer = Sequencer::new(3, 1000);
        sequencer.push(StreamId(1), [mark(1, None), mark(2, Some((7, 2))), mark(3, None)]);
        sequencer.push(StreamId(2), [mark(4, None)]);
        let (batch, reached) = sequencer.take().unwrap();
        assert_eq!(numbers(&batch), [1, 4]);
        assert_eq!(reached, [(StreamId(1), Position(1)), (StreamId(2), Position(1))]);
        assert!(sequencer.take().is_none());
        sequencer.push(StreamId(2), [mark(5, Some((7, 2)))]);
        assert_eq!(numbers(&sequencer.take().unwrap().0), [2, 3, 5]);
        assert!(sequencer.is_empty());
    }

    #[test]
    fn nothing_is_committed_before_what_the_directory_logged_before_it() {
        let mut sequencer = Sequencer::new(3, 1000);
        sequencer.push(StreamId(1), [mark(1, None)]);
        // A retained publish whose other part is missing, then the definition of a queue, then a message to it.
        sequencer.push(StreamId::DIRECTORY, [mark(2, Some((7, 2))), mark(3, None)]);
        sequencer.push(StreamId(1), [mark(4, None)]);
        assert_eq!(numbers(&sequencer.take().unwrap().0), [1]);
        assert!(sequencer.take().is_none());
        sequencer.push(StreamId(2), [mark(5, Some((7, 2)))]);
        assert_eq!(numbers(&sequencer.take().unwrap().0), [2, 3, 4, 5]);
    }

    #[test]
    fn large_messages_whose_groups_cross_are_taken_together_beyond_the_bound() {
        let mut sequencer = Sequencer::new(3, 1000);
        sequencer.push(StreamId(1), [message(1, 900, Some((1, 2))), message(2, 900, Some((2, 2)))]);
        sequencer.push(StreamId(2), [message(2, 900, Some((2, 2))), message(1, 900, Some((1, 2)))]);
        let (batch, _) = sequencer.take().unwrap();
        assert_eq!(batch.messages.len(), 2);
        assert!(sequencer.is_empty());
    }

    #[test]
    fn a_publish_to_several_queues_of_a_shard_is_never_cut() {
        let mut sequencer = Sequencer::new(2, 1000);
        let Some(Record::Enqueue { message: shared, .. }) = message(2, 700, None).record else { unreachable!() };
        let to = |queue| Record::Enqueue { message: shared.clone(), queue: QueueId(queue), seq: Seq(1), origin: None };
        let logged = |record| Logged { record: Some(record), group: None };
        sequencer.push(StreamId(1), [message(1, 700, None), logged(to(1)), logged(to(2)), mark(1, None)]);
        assert_eq!(sequencer.take().unwrap().1, [(StreamId(1), Position(1))]);
        let (batch, _) = sequencer.take().unwrap();
        assert_eq!((batch.messages[0].targets.len(), numbers(&batch)), (2, vec![1]));
    }

    #[test]
    fn a_busy_stream_leaves_room_for_the_others() {
        let mut sequencer = Sequencer::new(3, 4000);
        for id in 1..=20 {
            sequencer.push(StreamId(1), [message(id, 100, None)]);
            sequencer.push(StreamId(2), [message(100 + id, 100, None)]);
        }
        let (batch, reached) = sequencer.take().unwrap();
        assert_eq!(reached, [(StreamId(1), Position(5)), (StreamId(2), Position(5))]);
        assert!(batch.bytes <= 4000);
    }

    #[test]
    fn what_is_cut_off_cuts_the_groups_behind_it_in_other_streams() {
        let mut sequencer = Sequencer::new(2, 1000);
        // Group 2 is whole but stands behind the incomplete group 1, so it must wait in both streams.
        sequencer.push(StreamId(0), [mark(1, Some((1, 2))), mark(2, Some((2, 2)))]);
        sequencer.push(StreamId(1), [mark(3, Some((2, 2))), mark(4, None)]);
        assert!(sequencer.take().is_none());
        sequencer.push(StreamId(1), [mark(5, Some((1, 2)))]);
        assert_eq!(numbers(&sequencer.take().unwrap().0).len(), 5);
    }

    #[test]
    fn several_records_of_a_group_in_one_stream_are_one_part() {
        let mut sequencer = Sequencer::new(2, 1000);
        sequencer.push(StreamId(0), [mark(1, Some((1, 2))), mark(2, Some((1, 2)))]);
        assert!(sequencer.take().is_none());
        sequencer.push(StreamId(1), [mark(3, Some((1, 2)))]);
        assert_eq!(numbers(&sequencer.take().unwrap().0), [1, 2, 3]);
    }
}
