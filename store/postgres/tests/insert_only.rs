//! Nothing is updated or deleted for a message, and a held snapshot does no harm.
//! `EVERGATE_TEST_LONG=1` runs 1,000,000 messages instead of 200,000.

mod support;

use std::time::{Duration, Instant};

use bytes::Bytes;
use evergate_journal::Batch;
use evergate_journal::contract::Storage as _;
use support::{Server, flow};

const COMMIT: u64 = 500;

#[tokio::test]
async fn messages_are_inserted_and_truncated_never_updated_or_deleted() {
    let total: u64 = if std::env::var_os("EVERGATE_TEST_LONG").is_some() { 1_000_000 } else { 200_000 };
    let server = Server::start().await;
    let mut database = server.database().await;
    database.options.table_messages = total / 20;
    let mut journal = database.open().await.unwrap();
    journal.recover().await.unwrap();
    let body = Bytes::from(vec![b'x'; 256]);
    let mut stuck = Batch::default();
    flow::enqueue(&mut stuck, 2, 1, 100, &body);
    journal.commit(&stuck).await.unwrap();

    // Another session holds an old snapshot all the while.
    let holder = database.client().await;
    holder.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1").await.unwrap();

    let started = Instant::now();
    for first in (1..=total).step_by(COMMIT as usize) {
        let mut batch = Batch::default();
        flow::enqueue(&mut batch, 1, first, COMMIT, &body);
        flow::settle(&mut batch, 1, first.saturating_sub(2 * COMMIT), first.saturating_sub(COMMIT));
        journal.commit(&batch).await.unwrap();
    }
    println!("{total} messages in {:?}", started.elapsed());
    journal.close().await.unwrap();

    // The server adds a session's figures to the statistics when it ends.
    let client = database.client().await;
    let mut rows = Vec::new();
    for _ in 0..200 {
        client.batch_execute("SELECT pg_stat_clear_snapshot()").await.unwrap();
        let query = "SELECT relname, n_tup_ins, n_tup_upd, n_tup_del, n_dead_tup, pg_total_relation_size(relid) \
            FROM pg_stat_user_tables WHERE schemaname = 'evergate'";
        rows = client.query(query, &[]).await.unwrap();
        let inserted: i64 = rows.iter().filter(|row| is_ring(row.get(0))).map(|row| row.get::<_, i64>(1)).sum();
        // 256-byte bodies: at most 30 in a row, and a settled row in every commit.
        if inserted.cast_unsigned() >= total / 30 + total / COMMIT - 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (mut inserted, mut dead, mut bytes) = (0, 0, 0);
    for row in &rows {
        let (name, added, updated, deleted): (&str, i64, i64, i64) = (row.get(0), row.get(1), row.get(2), row.get(3));
        if is_ring(name) {
            assert_eq!((updated, deleted), (0, 0), "{name}");
            inserted += added.cast_unsigned();
            bytes += row.get::<_, i64>(5).cast_unsigned();
        }
        dead += row.get::<_, i64>(4);
    }
    println!("{inserted} rows inserted, {dead} dead, {bytes} bytes in the ring tables");
    assert!(inserted >= total / 30 + total / COMMIT - 2, "{inserted} rows: the statistics did not arrive");
    // What is updated is a row in thousands of messages and a few a table.
    assert!(dead < 2_000, "{dead} dead rows");
    // The flow alone is twenty tables: those in use at the end are few.
    assert!(bytes < total / 20 * 500 * 6, "{bytes} bytes");

    let mut journal = database.open().await.unwrap();
    let found = journal.recover().await.unwrap();
    let live: Vec<u64> = found.queues.iter().map(|queue| queue.live.iter().map(|range| range.count).sum()).collect();
    assert_eq!(live, [2 * COMMIT - 1, 100]);
    holder.batch_execute("COMMIT").await.unwrap();
    journal.close().await.unwrap();
    server.remove_databases().await;
}

fn is_ring(name: &str) -> bool {
    name.starts_with("message_") || (name.starts_with("settled_"))
}

#[tokio::test]
async fn a_hundred_thousand_stored_messages_recover_at_once() {
    const STORED: u64 = 100_000;
    let server = Server::start().await;
    let database = server.database().await;
    let mut journal = database.open().await.unwrap();
    journal.recover().await.unwrap();
    let body = Bytes::from(vec![b'x'; 256]);
    for first in (1..=STORED).step_by(1_000) {
        let mut batch = Batch::default();
        flow::enqueue(&mut batch, 1, first, 1_000, &body);
        journal.commit(&batch).await.unwrap();
    }
    journal.close().await.unwrap();
    let started = Instant::now();
    let mut journal = database.open().await.unwrap();
    let opened = started.elapsed();
    let found = journal.recover().await.unwrap();
    let total = started.elapsed();
    println!("{STORED} stored messages: opened in {opened:?}, recovered after {total:?}");
    assert_eq!(found.queues[0].live.iter().map(|range| range.count).sum::<u64>(), STORED);
    // Far above what it takes without optimisation on a busy machine, far below what a question per message takes.
    assert!(total < Duration::from_secs(5), "{total:?}");
    journal.close().await.unwrap();
    server.remove_databases().await;
}
