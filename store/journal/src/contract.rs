//! What every journal promises, as tests that memory, SQLite and PostgreSQL all run.

mod load;
mod places;
mod random;
mod rng;
mod state;
mod volume;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use evergate_model::{Address, Annotation, Encoding, Message, MessageId, Meta, QueueId, Seq, Time};

use crate::{Batch, Journal, JournalError, JournalReader, Loaded, Record, Recovered, RecoveredQueue};

pub use random::run_random;
pub use rng::Rng;

/// A place where a journal lives. Each is empty at first.
#[async_trait]
pub trait Storage: Send + Sync {
    /// Opens the journal that is there. The one opened before is closed or dropped by then.
    async fn open(&self) -> Result<Box<dyn Journal>, JournalError>;
}

/// Runs every promise, each on storage of its own.
pub async fn run_all<S: Storage>(mut fresh: impl AsyncFnMut() -> S) {
    macro_rules! run {
        ($($module:ident::$test:ident),* $(,)?) => {
            $(
                println!("contract: {}", stringify!($test));
                $module::$test(&fresh().await).await;
            )*
        };
    }
    run!(
        places::an_empty_journal_recovers_empty,
        places::what_was_committed_recovers_and_what_was_settled_does_not,
        places::holes_leave_exact_counts,
        places::places_never_go_back_even_when_everything_is_settled,
        places::a_deleted_queue_is_forgotten,
        places::a_message_in_many_queues_lives_until_the_last_is_settled,
        places::a_message_in_very_many_queues_is_kept_for_each,
        places::settling_unknown_places_is_ignored,
        places::a_place_settled_in_its_own_batch_is_gone,
        places::a_purge_takes_what_was_before_it_only,
        state::marks_are_set_and_cleared_in_order,
        state::state_is_replaced_and_deleted_in_order,
        state::messages_marks_and_state_of_one_batch_come_together,
        state::an_empty_batch_changes_nothing,
        state::a_journal_dropped_without_close_keeps_what_was_committed,
        load::messages_come_back_as_they_were,
        load::empty_large_and_nul_bodies_come_back,
        load::a_load_stops_at_its_bounds_but_gives_at_least_one,
        load::a_load_of_nothing_is_complete,
        load::messages_read_beside_the_writer,
        volume::a_hundred_thousand_messages_recover_without_bodies,
        volume::a_stuck_queue_survives_the_flow_of_others,
    );
    for seed in 1..=8 {
        println!("contract: any order of records recovers as the model says, seed {seed}");
        run_random(&fresh().await, seed).await;
    }
}

/// A journal, its reader and what it recovered.
struct Opened {
    journal: Box<dyn Journal>,
    reader: Arc<dyn JournalReader>,
    found: Recovered,
}

impl Opened {
    async fn at(storage: &impl Storage) -> Self {
        let mut journal = storage.open().await.expect("the journal opens");
        let found = journal.recover().await.expect("the journal recovers");
        let reader = journal.reader();
        Self { journal, reader, found }
    }

    async fn reopened(self, storage: &impl Storage) -> Self {
        drop(self.reader);
        self.journal.close().await.expect("the journal closes");
        Self::at(storage).await
    }

    async fn commit(&mut self, records: impl IntoIterator<Item = Record>) {
        let mut batch = Batch::default();
        records.into_iter().for_each(|record| batch.add(record));
        self.journal.commit(&batch).await.expect("the commit succeeds");
    }

    async fn load(&self, queue: u64, first: u64, last: u64) -> Loaded {
        let loaded = self.reader.load(QueueId(queue), Seq(first), Seq(last), usize::MAX, u64::MAX).await;
        loaded.expect("the load succeeds")
    }

    async fn places(&self, queue: u64) -> Vec<u64> {
        self.load(queue, 0, u64::MAX).await.messages.iter().map(|(seq, _)| seq.0).collect()
    }

    /// (messages, bytes) of a queue; nothing if it is unknown.
    fn counts(&self, queue: u64) -> (u64, u64) {
        let Some(queue) = self.queue(queue) else { return (0, 0) };
        assert_ranges(queue);
        queue.live.iter().fold((0, 0), |(count, bytes), range| (count + range.count, bytes + range.bytes))
    }

    fn queue(&self, queue: u64) -> Option<&RecoveredQueue> {
        self.found.queues.iter().find(|found| found.id == QueueId(queue))
    }
}

fn assert_ranges(queue: &RecoveredQueue) {
    for range in &queue.live {
        assert!(range.first <= range.last && range.count > 0, "{range:?}");
        assert!(range.count <= range.last.0 - range.first.0 + 1, "{range:?}");
        assert!(range.last < queue.next_seq, "{range:?} {:?}", queue.next_seq);
    }
    assert!(queue.live.windows(2).all(|pair| pair[0].last < pair[1].first), "{:?}", queue.live);
    assert!(queue.marks.is_sorted());
}

/// A message whose every part follows from its id.
fn message(id: u64, body: impl Into<Bytes>) -> Arc<Message> {
    let mut meta =
        Meta::new(if id.is_multiple_of(2) { Address::queue("orders") } else { Address::topic("shop/eu/\u{e9}") });
    meta.id = MessageId(id);
    meta.durable = true;
    meta.priority = (id % 10) as u8;
    meta.expires_at = id.is_multiple_of(3).then_some(Time(1_700_000_000_000 + id));
    meta.ingress = Time(1_600_000_000_000 + id);
    let encoding = Encoding::from_number((id % Encoding::COUNT as u64) as u8).expect("a known encoding");
    let head = if id.is_multiple_of(5) { Bytes::new() } else { Bytes::from(format!("head\0{id}")) };
    let mut message = Message::new(meta, encoding, head, body.into());
    if id.is_multiple_of(7) {
        message.annotations.push(Annotation { name: "dead-letter-reason".into(), value: "expired \"\\{}".into() });
        message.annotations.push(Annotation { name: "original-destination".into(), value: "".into() });
    }
    Arc::new(message)
}

fn enqueue(queue: u64, seq: u64, message: &Arc<Message>) -> Record {
    Record::Enqueue { message: message.clone(), queue: QueueId(queue), seq: Seq(seq), origin: None }
}

/// Small messages at these places; each place is its message's id.
fn enqueue_all(queue: u64, places: impl IntoIterator<Item = u64>) -> Vec<Record> {
    places.into_iter().map(|seq| enqueue(queue, seq, &message(queue << 32 | seq, format!("{queue}/{seq}")))).collect()
}

fn settle(queue: u64, first: u64, last: u64) -> Record {
    Record::Settle { queue: QueueId(queue), first: Seq(first), last: Seq(last) }
}

fn assert_same(a: &Message, b: &Message) {
    assert_eq!(a.meta, b.meta);
    assert_eq!((a.encoding, &a.annotations), (b.encoding, &b.annotations));
    assert_eq!(a.head, b.head);
    assert!(a.body == b.body, "bodies differ: {} and {} bytes", a.body.len(), b.body.len());
}
