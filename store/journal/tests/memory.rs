//! The journal in memory keeps the contract, and fails when it is asked to.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use evergate_journal::contract::{Storage, run_all};
use evergate_journal::memory::{CommitFault, MemoryJournal};
use evergate_journal::{Batch, Journal, JournalError, Record};
use evergate_model::{Address, Encoding, Message, MessageId, Meta, QueueId, Seq};

struct Memory(MemoryJournal);

#[async_trait]
impl Storage for Memory {
    async fn open(&self) -> Result<Box<dyn Journal>, JournalError> {
        Ok(Box::new(self.0.clone()))
    }
}

fn batch(id: u64) -> Batch {
    let mut meta = Meta::new(Address::queue("q"));
    meta.id = MessageId(id);
    let message = Arc::new(Message::new(meta, Encoding::Plain, Bytes::new(), Bytes::new()));
    let mut batch = Batch::default();
    batch.add(Record::Enqueue { message, queue: QueueId(1), seq: Seq(id), origin: None });
    batch
}

#[tokio::test]
async fn memory_keeps_the_contract() {
    run_all(async || Memory(MemoryJournal::new())).await;
}

#[test]
fn a_failed_commit_is_terminal_until_a_restart() {
    let journal = MemoryJournal::new();
    journal.apply(&batch(1)).unwrap();
    for (fault, live_after) in [(CommitFault::Lost, 1), (CommitFault::Unknown, 2)] {
        journal.fail_next_commit(fault);
        assert!(matches!(journal.apply(&batch(2)), Err(JournalError::Commit(_))));
        assert!(matches!(journal.apply(&batch(3)), Err(JournalError::Commit(_))));
        let found = journal.recover_now();
        assert_eq!(found.queues[0].live.iter().map(|range| range.count).sum::<u64>(), live_after);
    }
    journal.apply(&batch(4)).unwrap();
    assert_eq!((journal.live_count(), journal.commit_count()), (3, 3));
}

#[tokio::test]
async fn a_stalled_commit_waits_and_a_dropped_one_is_lost() {
    let journal = MemoryJournal::new();
    journal.stall();
    let mut writer = journal.clone();
    let lost = tokio::time::timeout(std::time::Duration::from_millis(5), writer.commit(&batch(1))).await;
    assert!(lost.is_err());
    let waiting = tokio::spawn(async move { writer.commit(&batch(2)).await });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished() && journal.live_count() == 0);
    journal.resume();
    waiting.await.unwrap().unwrap();
    assert_eq!(journal.live_count(), 1);
}

#[test]
fn loads_fail_as_often_as_asked() {
    let journal = MemoryJournal::new();
    journal.apply(&batch(1)).unwrap();
    journal.fail_next_loads(1);
    let load = || journal.load_now(QueueId(1), Seq(1), Seq(9), 10, 1_000);
    assert!(matches!(load(), Err(JournalError::Read(_))));
    assert_eq!(load().unwrap().messages.len(), 1);
}
