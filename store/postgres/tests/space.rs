//! Space and a restart's work follow what is live, never what was.
//! `EVERGATE_TEST_LONG=1` runs 3,000,000 messages instead of 120,000.

mod support;

use std::time::{Duration, Instant};

use bytes::Bytes;
use evergate_journal::contract::Storage as _;
use evergate_journal::{Batch, Journal, Recovered};
use evergate_model::{QueueId, Seq};
use support::{Database, Server, flow};
use tokio_postgres::Client;

const COMMIT: u64 = 500;

/// `total` messages of which one in eleven stays, the others are settled two commits later. Returns the
/// time each commit took and the most generations that were in use.
async fn scattered(journal: &mut dyn Journal, client: &Client, total: u64) -> (Vec<Duration>, i64) {
    let body = Bytes::from(vec![b'x'; 256]);
    let (mut times, mut most) = (Vec::new(), 0);
    for first in (1..=total).step_by(COMMIT as usize) {
        let mut batch = Batch::default();
        flow::enqueue(&mut batch, 1, first, COMMIT, &body);
        let past = first.saturating_sub(2 * COMMIT);
        for seq in (past..past + COMMIT).filter(|seq| *seq > 0 && seq % 11 != 0) {
            flow::settle(&mut batch, 1, seq, seq);
        }
        let started = Instant::now();
        journal.commit(&batch).await.unwrap();
        times.push(started.elapsed());
        if (first / COMMIT).is_multiple_of(10) {
            most = most.max(generations(client).await);
        }
    }
    times.sort_unstable();
    (times, most)
}

async fn generations(client: &Client) -> i64 {
    client.query_one("SELECT count(generation) FROM evergate.ring", &[]).await.unwrap().get(0)
}

fn live(found: &Recovered) -> u64 {
    found.queues.iter().flat_map(|queue| &queue.live).map(|range| range.count).sum()
}

async fn opened(database: &Database) -> (Box<dyn Journal>, Recovered) {
    let mut journal = database.open().await.unwrap();
    let found = journal.recover().await.unwrap();
    (journal, found)
}

#[tokio::test]
async fn tables_in_use_follow_what_is_live_under_load() {
    let is_long = std::env::var_os("EVERGATE_TEST_LONG").is_some();
    let (total, table) = if is_long { (3_000_000, 50_000) } else { (120_000, 2_000) };
    let server = Server::start().await;
    let mut database = server.database().await;
    database.options.table_messages = table;
    let client = database.client().await;
    let (mut journal, _) = opened(&database).await;
    let (times, most) = scattered(&mut *journal, &client, total).await;
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    println!("{total} messages in tables of {table}: at most {most} generations");
    println!("commits of {COMMIT}: p50 {:?}, p99 {:?}, worst {:?}", at(50), at(99), at(100));
    let stay = total / 11;
    // Twice the live messages, some to spare, those dead and not yet given up.
    let enough = (2 * stay).div_ceil(table) + 8;
    assert!(most <= enough.cast_signed(), "{most} generations in use, {enough} are enough");
    journal.close().await.unwrap();

    let started = Instant::now();
    let (mut journal, found) = opened(&database).await;
    println!("recovered in {:?}", started.elapsed());
    let unsettled = (total - 2 * COMMIT + 1..=total).filter(|seq| seq % 11 != 0).count() as u64;
    assert_eq!(live(&found), stay + unsettled);
    let loaded =
        journal.reader().load(QueueId(1), Seq(1), Seq(total - 2 * COMMIT), usize::MAX, u64::MAX).await.unwrap();
    assert!(loaded.messages.iter().map(|(seq, _)| seq.0).eq((1..=(total - 2 * COMMIT) / 11).map(|n| n * 11)));
    // A restarted journal goes on moving.
    let (_, most) = scattered_more(&mut journal, &client, total).await;
    assert!(most <= enough.cast_signed() + 1, "{most} generations in use after a restart");
    journal.close().await.unwrap();
    server.remove_databases().await;
}

/// Everything is settled but one in 110; the same load again behind it.
async fn scattered_more(journal: &mut Box<dyn Journal>, client: &Client, total: u64) -> (u64, i64) {
    let mut batch = Batch::default();
    for seq in (1..=total).filter(|seq| seq % 110 != 0) {
        flow::settle(&mut batch, 1, seq, seq);
    }
    journal.commit(&batch).await.unwrap();
    let body = Bytes::from(vec![b'x'; 256]);
    let mut most = 0;
    for first in (total + 1..=total + total / 4).step_by(COMMIT as usize) {
        let mut batch = Batch::default();
        flow::enqueue(&mut batch, 1, first, COMMIT, &body);
        flow::settle(&mut batch, 1, first, first + COMMIT - 1);
        journal.commit(&batch).await.unwrap();
        most = most.max(generations(client).await);
    }
    (total / 110, most)
}

#[tokio::test]
async fn a_restart_reads_message_rows_of_the_last_table_only() {
    let server = Server::start().await;
    let mut database = server.database().await;
    database.options.table_messages = 2_000;
    let client = database.client().await;
    let (mut journal, _) = opened(&database).await;
    scattered(&mut *journal, &client, 21_000).await;
    let (before, places) = {
        drop(journal);
        let (journal, found) = opened(&database).await;
        let reader = journal.reader();
        let loaded = reader.load(QueueId(1), Seq(0), Seq(u64::MAX), usize::MAX, u64::MAX).await.unwrap();
        drop(reader);
        journal.close().await.unwrap();
        (found, loaded.messages.len() as u64)
    };
    assert_eq!(live(&before), places);
    let finished = "SELECT slot FROM evergate.ring WHERE generation < (SELECT max(generation) FROM evergate.ring)";
    let slots: Vec<i32> = client.query(finished, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    assert!(slots.len() >= 3, "{slots:?}");
    for slot in &slots {
        let hide = format!("ALTER TABLE evergate.message_{slot} RENAME TO hidden_{slot}");
        client.batch_execute(&hide).await.unwrap();
    }
    let (journal, found) = opened(&database).await;
    assert_eq!(found, before);
    journal.close().await.unwrap();
    server.remove_databases().await;
}

/// Takes the schema back to what the second version of it was.
const OLDER: &str = "DROP VIEW evergate.live;
    ALTER TABLE evergate.checkpoint DROP COLUMN packs, DROP COLUMN sizes, DROP COLUMN places;
    ALTER TABLE evergate.ring DROP COLUMN moved_id;
    UPDATE evergate.schema_version SET version = 2";

#[tokio::test]
async fn a_database_of_an_older_version_opens_and_goes_on() {
    const TOTAL: u64 = 10_000;
    let server = Server::start().await;
    let mut database = server.database().await;
    // Nothing is moved: the older version had no note of half-moved tables.
    database.options.table_messages = 4_000;
    let client = database.client().await;
    let (mut journal, _) = opened(&database).await;
    scattered(&mut *journal, &client, TOTAL).await;
    journal.close().await.unwrap();
    let (journal, before) = opened(&database).await;
    journal.close().await.unwrap();
    assert_eq!(generations(&client).await, 3);
    client.batch_execute(OLDER).await.unwrap();
    // Of one table nothing was written down; of the other without rows and sizes.
    client.batch_execute("DELETE FROM evergate.checkpoint WHERE generation = 2").await.unwrap();
    client.batch_execute(include_str!("../migrations/0002_lanes.sql")).await.unwrap();

    database.options.table_messages = 400;
    let (mut journal, found) = opened(&database).await;
    assert_eq!(found, before);
    for _ in 0..3 {
        journal.idle().await.unwrap();
    }
    let missing = "SELECT count(*) FROM evergate.ring LEFT JOIN evergate.checkpoint USING (generation) \
        WHERE generation < (SELECT max(generation) FROM evergate.ring) AND packs IS NULL";
    assert_eq!(client.query_one(missing, &[]).await.unwrap().get::<_, i64>(0), 0);
    let mut batch = Batch::default();
    flow::settle(&mut batch, 1, 1, TOTAL - 500);
    journal.commit(&batch).await.unwrap();
    drop(journal);
    let (mut journal, found) = opened(&database).await;
    assert_eq!(live(&found), 500);
    scattered_more(&mut journal, &client, TOTAL).await;
    journal.close().await.unwrap();
    let (journal, found) = opened(&database).await;
    assert_eq!(live(&found), (TOTAL - 499..=TOTAL).filter(|seq| seq % 110 == 0).count() as u64);
    journal.close().await.unwrap();
    server.remove_databases().await;
}
