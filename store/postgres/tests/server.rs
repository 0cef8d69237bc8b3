//! What other sessions on the same server see and do.

mod support;

use std::time::{Duration, Instant};

use bytes::Bytes;
use evergate_journal::contract::Storage as _;
use evergate_journal::{Batch, JournalError, Record, StateChange, Table};
use evergate_postgres::{Options, PostgresJournal};
use support::proxy::Proxy;
use support::{Server, flow};

#[tokio::test]
async fn a_second_gateway_on_the_same_database_is_told_who_has_it() {
    let server = Server::start().await;
    let mut database = server.database().await;
    database.options.lock_patience = Duration::from_millis(100);
    let first = database.open().await.unwrap();
    let Err(JournalError::Open(text)) = database.open().await else { panic!("two gateways use one database") };
    assert!(text.contains("another gateway (evergate from") && text.contains("evergate_test_"), "{text}");
    first.close().await.unwrap();
    database.open().await.unwrap().close().await.unwrap();
    server.remove_databases().await;
}

#[tokio::test]
async fn the_view_shows_exactly_what_is_live() {
    let server = Server::start().await;
    let mut database = server.database().await;
    database.options.table_messages = 300;
    let mut journal = database.open().await.unwrap();
    journal.recover().await.unwrap();
    let body = Bytes::from_static(b"a\0b");
    let client = database.client().await;
    let mut named = Batch::default();
    let value = Some(Bytes::from_static(br#"{"name":"orders"}"#));
    named.add(Record::State(StateChange { table: Table::Queue, key: "1".into(), value }));
    journal.commit(&named).await.unwrap();
    for round in 0..30 {
        let first = round * 100 + 1;
        let mut batch = Batch::default();
        flow::enqueue(&mut batch, 1, first, 100, &body);
        flow::enqueue(&mut batch, 2, round + 1, 1, &body);
        // Every 50th place stays for good.
        for hole in [first, first + 50] {
            flow::settle(&mut batch, 1, hole, hole + 48);
        }
        journal.commit(&batch).await.unwrap();
        journal.idle().await.unwrap();
    }
    let rows =
        client.query("SELECT queue_id, seq, address, durable, priority, body FROM evergate.live", &[]).await.unwrap();
    let queues = "SELECT queue_id, max(queue) FROM evergate.live GROUP BY 1 ORDER BY 1";
    let queues: Vec<Option<String>> = client.query(queues, &[]).await.unwrap().iter().map(|row| row.get(1)).collect();
    assert_eq!(queues, [Some("orders".to_owned()), None]);
    let mut seen: Vec<(i64, i64)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    seen.sort_unstable();
    let expected: Vec<(i64, i64)> = (1..=60).map(|n| (1, n * 50)).chain((1..=30).map(|n| (2, n))).collect();
    assert_eq!(seen, expected);
    assert_eq!(rows[0].get::<_, &str>(2), "/queue/orders");
    assert_eq!(
        (rows[0].get::<_, bool>(3), rows[0].get::<_, i16>(4), rows[0].get::<_, &[u8]>(5)),
        (true, 4, &b"a\0b"[..])
    );
    // Survivors were moved: most of the thirteen generations are gone.
    let used: i64 =
        client.query_one("SELECT count(*) FROM evergate.ring WHERE generation IS NOT NULL", &[]).await.unwrap().get(0);
    assert!(used <= 10, "{used} generations");
    journal.close().await.unwrap();
    server.remove_databases().await;
}

/// The core keeps a queue's messages of priority p under an id of their own: p + 1 in bits 56 to 59.
#[tokio::test]
async fn the_view_shows_messages_of_every_priority_under_their_queue() {
    let server = Server::start().await;
    let database = server.database().await;
    let mut journal = database.open().await.unwrap();
    journal.recover().await.unwrap();
    let queue = 3 << 32 | 7;
    let lanes = [queue, queue | 10 << 56, queue | 1 << 56];
    let mut batch = Batch::default();
    let value = Some(Bytes::from_static(br#"{"name":"orders"}"#));
    batch.add(Record::State(StateChange { table: Table::Queue, key: queue.to_string().into(), value }));
    for (lane, first) in lanes.into_iter().zip([1, 11, 21]) {
        flow::enqueue(&mut batch, lane, first, 3, &Bytes::from_static(b"x"));
    }
    flow::settle(&mut batch, lanes[1], 12, 12);
    journal.commit(&batch).await.unwrap();
    let client = database.client().await;
    let rows = client.query("SELECT queue, queue_id, seq FROM evergate.live ORDER BY seq", &[]).await.unwrap();
    let shown: Vec<(&str, i64, i64)> = rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
    let expected: Vec<_> = [1, 2, 3, 11, 13, 21, 22, 23].map(|seq| ("orders", queue.cast_signed(), seq)).into();
    assert_eq!(shown, expected);
    journal.close().await.unwrap();
    server.remove_databases().await;
}

#[tokio::test]
async fn a_server_that_is_starting_is_waited_for() {
    let server = Server::start().await;
    let database = server.database().await;
    let proxy = Proxy::start(&database.url).await;
    let url = proxy.url(&database.url);
    proxy.refuse(3);
    PostgresJournal::connect(&url, database.options).await.unwrap();
    assert_eq!(proxy.refusals_left(), 0);
    proxy.refuse(100);
    let hasty = Options { start_patience: Duration::from_secs(1), ..database.options };
    let error = PostgresJournal::connect(&url, hasty).await;
    assert!(matches!(&error, Err(JournalError::Open(text)) if text.contains("starting up [57P03]")), "{error:?}");
    assert!((80..=98).contains(&proxy.refusals_left()), "{} refusals left", proxy.refusals_left());
    server.remove_databases().await;
}

#[tokio::test]
async fn a_reader_that_holds_the_tables_does_not_stop_commits() {
    let server = Server::start().await;
    let mut database = server.database().await;
    database.options.table_messages = 500;
    let mut journal = database.open().await.unwrap();
    journal.recover().await.unwrap();
    let body = Bytes::from_static(b"x");
    let reader = database.client().await;
    let mut next = 1;
    let mut flow = async |journal: &mut Box<dyn evergate_journal::Journal>, commits| {
        let mut slowest = Duration::ZERO;
        for _ in 0..commits {
            let mut batch = Batch::default();
            flow::enqueue(&mut batch, 1, next, 100, &body);
            flow::settle(&mut batch, 1, next.saturating_sub(100), next - 1);
            next += 100;
            let started = Instant::now();
            journal.commit(&batch).await.unwrap();
            slowest = slowest.max(started.elapsed());
        }
        slowest
    };
    flow(&mut journal, 20).await;
    reader.batch_execute("BEGIN; SELECT count(*) FROM evergate.live").await.unwrap();
    let slowest = flow(&mut journal, 100).await;
    println!("slowest commit while the view is held: {slowest:?}");
    // One that waits for the tables waits for the reader, which goes on after this.
    assert!(slowest < Duration::from_secs(10), "{slowest:?}");
    reader.batch_execute("COMMIT").await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    for _ in 0..40 {
        journal.idle().await.unwrap();
    }
    let before = count(&reader, "pg_tables WHERE tablename LIKE 'message_%' AND schemaname = 'evergate'").await;
    flow(&mut journal, 100).await;
    let after = count(&reader, "pg_tables WHERE tablename LIKE 'message_%' AND schemaname = 'evergate'").await;
    assert_eq!(before, after, "tables are used again, not added");
    journal.close().await.unwrap();
    server.remove_databases().await;
}

async fn count(client: &tokio_postgres::Client, what: &str) -> i64 {
    client.query_one(&format!("SELECT count(*) FROM {what}"), &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn ring_tables_have_the_storage_that_was_measured() {
    let server = Server::start().await;
    let database = server.database().await;
    let mut journal = database.open().await.unwrap();
    journal.recover().await.unwrap();
    let mut batch = Batch::default();
    flow::enqueue(&mut batch, 1, 1, 500, &Bytes::from(vec![b'x'; 256]));
    journal.commit(&batch).await.unwrap();
    let client = database.client().await;
    let compressed = "pg_attribute WHERE attrelid IN ('evergate.message_0'::regclass, 'evergate.settled_0'::regclass) \
        AND attnum > 0 AND attlen = -1 AND attstorage <> 'e'";
    assert_eq!(count(&client, compressed).await, 0);
    let query = "SELECT max(cardinality(sizes)), pg_relation_size(reltoastrelid) \
        FROM evergate.message_0, pg_class WHERE oid = 'evergate.message_0'::regclass GROUP BY 2";
    let row = client.query_one(query, &[]).await.unwrap();
    let (packed, toasted): (i32, i64) = (row.get(0), row.get(1));
    assert!(packed >= 22 && toasted == 0, "{packed} messages in a row, {toasted} bytes stored apart");
    let row = client
        .query_one("SELECT reloptions FROM pg_class WHERE oid = 'evergate.message_0'::regclass", &[])
        .await
        .unwrap();
    let options: Vec<String> = row.get(0);
    assert!(options.contains(&"autovacuum_enabled=off".into()) && options.contains(&"toast_tuple_target=8160".into()));
    journal.close().await.unwrap();
    server.remove_databases().await;
}
