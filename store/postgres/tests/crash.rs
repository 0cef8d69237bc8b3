//! What was confirmed survives the server's death, and nothing after a failed commit is taken.

mod support;

use std::time::Duration;

use bytes::Bytes;
use evergate_journal::contract::{Rng, Storage as _};
use evergate_journal::{Batch, Journal, JournalError, Record, StateChange, Table};
use evergate_model::QueueId;
use support::{Server, flow};

const LIVE: u64 = 40;

/// Round `round`: a few messages, all but the last rounds' settled, a mark, a counter.
fn batch(round: u64, size: u64, body: &Bytes) -> Batch {
    let mut batch = Batch::default();
    flow::enqueue(&mut batch, 1, round * 1_000, size, body);
    if round > LIVE {
        flow::settle(&mut batch, 1, 0, (round - LIVE) * 1_000 + 999);
    }
    batch.add(Record::Mark { queue: QueueId(1), number: round as u32, set: true });
    batch.add(Record::Mark { queue: QueueId(1), number: round as u32 - 1, set: false });
    let value = Some(Bytes::from(round.to_string()));
    batch.add(Record::State(StateChange { table: Table::Counter, key: "round".into(), value }));
    batch
}

#[tokio::test]
async fn a_killed_server_leaves_a_prefix_with_everything_confirmed() {
    let mut server = Server::start_own().await;
    let mut database = server.database().await;
    database.options.table_messages = 2_000;
    let body = Bytes::from(vec![b'x'; 200]);
    let mut rng = Rng::new(20_240_501);
    let mut confirmed = 0;
    for crash in 0..6 {
        let mut journal = database.open().await.unwrap();
        let found = journal.recover().await.unwrap();
        let round: u64 =
            found.state.first().map_or(0, |(.., value)| std::str::from_utf8(value).unwrap().parse().unwrap());
        assert!(round == confirmed || round == confirmed + 1, "crash {crash}: {round} found, {confirmed} confirmed");
        if round > 0 {
            // Whole rounds: the mark, the counter and the messages agree.
            assert_eq!(found.queues[0].marks, [round as u32]);
            let reader = journal.reader();
            let all =
                reader.load(QueueId(1), evergate_model::Seq(0), evergate_model::Seq(u64::MAX), usize::MAX, u64::MAX);
            let places: Vec<u64> = all.await.unwrap().messages.iter().map(|(seq, _)| seq.0).collect();
            let rounds = round.saturating_sub(LIVE - 1).max(1)..=round;
            let expected: Vec<u64> =
                rounds.flat_map(|round| (0..size(round)).map(move |n| round * 1_000 + n)).collect();
            assert_eq!(places, expected, "crash {crash}, round {round}");
        }
        confirmed = round;
        let rounds = write_until_killed(&mut server, journal, round, &body, rng.below(400) + 20).await;
        confirmed += rounds;
        println!("crash {crash}: {rounds} rounds confirmed");
        server.restart().await;
    }
}

/// From one message to more than INSERT takes.
fn size(round: u64) -> u64 {
    [1, 7, 150, 2][round as usize % 4]
}

async fn write_until_killed(
    server: &mut Server,
    mut journal: Box<dyn Journal>,
    from: u64,
    body: &Bytes,
    millis: u64,
) -> u64 {
    let body = body.clone();
    let writer = tokio::spawn(async move {
        for round in from + 1.. {
            if let Err(error) = journal.commit(&batch(round, size(round), &body)).await {
                assert!(matches!(error, JournalError::Commit(_)), "{error}");
                let again = journal.commit(&batch(round + 1, 1, &body)).await;
                assert!(matches!(again, Err(JournalError::Commit(_))), "a failed journal takes nothing more");
                return round - 1 - from;
            }
        }
        unreachable!("the server was killed")
    });
    tokio::time::sleep(Duration::from_millis(millis)).await;
    server.kill();
    writer.await.unwrap()
}

#[tokio::test]
async fn a_cancelled_wait_for_the_standby_is_a_failed_commit() {
    let server = Server::start_own().await;
    let database = server.database().await;
    let mut journal = database.open().await.unwrap();
    journal.recover().await.unwrap();
    let body = Bytes::from_static(b"x");
    journal.commit(&batch(1, 1, &body)).await.unwrap();
    let client = database.client().await;
    client.batch_execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'").await.unwrap();
    client.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    let names = "SHOW synchronous_standby_names";
    while client.query_one(names, &[]).await.unwrap().get::<_, &str>(0) != "nobody" {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // The checkpointer, which tells the commits, is told when this session is.
    tokio::time::sleep(Duration::from_millis(300)).await;
    for size in [1, 500] {
        let writing = tokio::spawn(async move {
            let result = journal.commit(&batch(2, size, &Bytes::from_static(b"x"))).await;
            (journal, result)
        });
        let cancel = "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity \
            WHERE wait_event = 'SyncRep' AND datname = current_database()";
        while client.query_one(cancel, &[]).await.unwrap().get::<_, i64>(0) == 0 {
            assert!(!writing.is_finished(), "the commit did not wait for the standby");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let (mut failed, result) = writing.await.unwrap();
        assert!(matches!(&result, Err(JournalError::Commit(text)) if text.contains("01000")), "{result:?}");
        assert!(failed.commit(&batch(3, 1, &body)).await.is_err());
        failed.close().await.unwrap();
        journal = database.open().await.unwrap();
        journal.recover().await.unwrap();
    }
}
