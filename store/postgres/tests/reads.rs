//! What a load costs the server.

mod support;

use bytes::Bytes;
use evergate_journal::contract::Storage as _;
use evergate_journal::{Batch, Journal};
use evergate_model::{OVERHEAD_BYTES, QueueId, Seq};
use support::{Database, Server, flow};

const PIECE: u64 = 64 << 10;

/// Rows that sessions which have ended fetched of messages: by index, and by reading whole tables.
async fn fetched(database: &Database) -> (i64, i64) {
    let query = "SELECT sum(idx_tup_fetch)::int8, sum(seq_tup_read)::int8 FROM pg_stat_user_tables \
        WHERE relname LIKE 'message\\_%'";
    let row = database.client().await.query_one(query, &[]).await.unwrap();
    (row.get(0), row.get(1))
}

/// Commits messages with these bodies, a row each.
async fn fill(journal: &mut dyn Journal, first: u64, count: u64, bytes: u64) {
    let body = Bytes::from(vec![b'x'; bytes as usize]);
    for seq in first..first + count {
        let mut batch = Batch::default();
        flow::enqueue(&mut batch, 1, seq, 1, &body);
        journal.commit(&batch).await.unwrap();
    }
}

async fn load(journal: &dyn Journal, first: u64, messages_max: usize, bytes_max: u64) -> (usize, u64) {
    let loaded = journal.reader().load(QueueId(1), Seq(first), Seq(1000), messages_max, bytes_max).await.unwrap();
    (loaded.messages.len(), loaded.complete_to.0)
}

#[tokio::test]
async fn no_more_rows_are_fetched_than_are_wanted() {
    let server = Server::start().await;
    let database = server.database().await;
    let mut journal = database.open().await.unwrap();
    journal.recover().await.unwrap();
    fill(&mut *journal, 1, 100, PIECE).await;
    let (before, _) = fetched(&database).await;

    assert_eq!(load(&*journal, 1, 1024, 2 * (PIECE + OVERHEAD_BYTES)).await, (2, 2));
    assert_eq!(load(&*journal, 1, 1024, PIECE).await, (1, 1), "the first always fits");
    assert_eq!(load(&*journal, 1, 1024, 1 << 20).await, (15, 15));
    assert_eq!(load(&*journal, 91, 1024, 1 << 20).await, (10, 1000), "there are no more");
    journal.close().await.unwrap();

    let (after, whole) = fetched(&database).await;
    assert_eq!((after - before, whole), (2 + 1 + 15 + 10, 0));
    server.remove_databases().await;
}

#[tokio::test]
async fn a_load_goes_by_the_index_also_where_the_first_found_an_empty_table() {
    let server = Server::start().await;
    let database = server.database().await;
    let mut journal = database.open().await.unwrap();
    journal.recover().await.unwrap();
    fill(&mut *journal, 1, 1, 10).await;
    for _ in 0..10 {
        assert_eq!(load(&*journal, 1, 1, 1000).await, (1, 1000));
    }
    fill(&mut *journal, 2, 500, 10).await;
    assert_eq!(load(&*journal, 400, 5, 10_000).await, (5, 404));
    journal.close().await.unwrap();
    let (_, whole) = fetched(&database).await;
    assert_eq!(whole, 0);
    server.remove_databases().await;
}
