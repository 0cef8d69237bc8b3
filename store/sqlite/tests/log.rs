//! The write-ahead log: moved to the file while commits go on, and begun anew.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use evergate_journal::{Batch, Journal, Record, Recovered};
use evergate_model::{Address, Encoding, Message, MessageId, Meta, QueueId, Seq};
use evergate_sqlite::{FILE_NAME, Options, SqliteJournal};

const MESSAGE_BYTES: usize = 128 << 10;
const PAGE_BYTES: u64 = 8192;
const PAGES: u32 = 2000;

fn publish(number: u64) -> Batch {
    let mut meta = Meta::new(Address::queue("q"));
    (meta.id, meta.durable) = (MessageId(number), true);
    let body = Bytes::from(vec![number as u8; MESSAGE_BYTES]);
    let message = Arc::new(Message::new(meta, Encoding::Plain, Bytes::new(), body));
    let mut batch = Batch::default();
    batch.add(Record::Enqueue { message, queue: QueueId(1), seq: Seq(number), origin: None });
    if number > 10 {
        batch.add(Record::Settle { queue: QueueId(1), first: Seq(number - 10), last: Seq(number - 10) });
    }
    batch
}

async fn open(directory: &Path) -> (SqliteJournal, Recovered) {
    let options = Options { checkpoint_pages: PAGES, page_bytes: PAGE_BYTES as u32, ..Options::default() };
    let mut journal = SqliteJournal::open(directory, options).unwrap();
    let found = journal.recover().await.unwrap();
    (journal, found)
}

fn log_bytes(directory: &Path) -> u64 {
    std::fs::metadata(directory.join(format!("{FILE_NAME}-wal"))).map_or(0, |log| log.len())
}

#[tokio::test]
async fn under_a_writer_that_never_pauses_the_log_stays_bounded_and_all_of_it_reaches_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(directory.path()).await;
    let mut longest = 0;
    for number in 1..=2500 {
        journal.commit(&publish(number)).await.unwrap();
        longest = longest.max(log_bytes(directory.path()));
    }
    // 330 MB were written. Eight times the length at which it is to begin anew, and a commit more.
    let bound = (u64::from(PAGES) * 8 + 200) * (PAGE_BYTES + 24);
    assert!(longest < bound, "{longest} bytes");
    Box::new(journal).close().await.unwrap();
    assert_eq!(log_bytes(directory.path()), 0);

    let (_, found) = open(directory.path()).await;
    assert_eq!(found.queues[0].live.iter().map(|range| range.count).sum::<u64>(), 10);
}

#[tokio::test]
async fn what_the_log_grew_to_beside_a_backup_is_given_back() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(directory.path()).await;
    journal.commit(&publish(1)).await.unwrap();
    let backup = rusqlite::Connection::open(directory.path().join(FILE_NAME)).unwrap();
    backup.execute_batch("BEGIN; SELECT * FROM pack").unwrap();
    let usual = 2 * u64::from(PAGES) * PAGE_BYTES;
    let mut number = 1;
    while log_bytes(directory.path()) < 2 * usual {
        number += 1;
        journal.commit(&publish(number)).await.unwrap();
    }
    backup.execute_batch("COMMIT").unwrap();
    for _ in 0..2500 {
        number += 1;
        journal.commit(&publish(number)).await.unwrap();
        if log_bytes(directory.path()) <= usual {
            return;
        }
    }
    panic!("{} bytes", log_bytes(directory.path()));
}
