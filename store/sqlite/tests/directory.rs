//! The directory: one gateway at a time, clear errors, nothing confirmed lost when the process is killed.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use evergate_journal::{Batch, Journal, JournalError, Record, StateChange, Table};
use evergate_model::{Address, Encoding, Message, MessageId, Meta, QueueId, Seq};
use evergate_sqlite::{FILE_NAME, Options, SqliteJournal};

const CHILD: &str = "EVERGATE_TEST_SQLITE_CHILD";
const LIVE: u64 = 30;
/// What a child confirms at least before it is killed.
const ROUNDS: usize = 20;

fn open(directory: &std::path::Path) -> Result<SqliteJournal, JournalError> {
    SqliteJournal::open(directory, Options { checkpoint_pages: 50, ..Options::default() })
}

/// Round `round`: some messages, all but the last rounds' settled, a counter.
fn batch(round: u64) -> Batch {
    let mut batch = Batch::default();
    for n in 0..=round % 40 {
        let mut meta = Meta::new(Address::queue("q"));
        meta.id = MessageId(round * 1_000 + n);
        let message = Message::new(meta, Encoding::Plain, Bytes::new(), Bytes::from(vec![b'x'; 500]));
        batch.add(Record::Enqueue {
            message: Arc::new(message),
            queue: QueueId(1),
            seq: Seq(round * 1_000 + n),
            origin: None,
        });
    }
    if let Some(old) = round.checked_sub(LIVE) {
        batch.add(Record::Settle { queue: QueueId(1), first: Seq(0), last: Seq(old * 1_000 + 999) });
    }
    let value = Some(Bytes::from(round.to_string()));
    batch.add(Record::State(StateChange { table: Table::Counter, key: "round".into(), value }));
    batch
}

#[tokio::test]
async fn a_killed_process_leaves_a_prefix_with_everything_confirmed() {
    if let Some(directory) = std::env::var_os(CHILD) {
        return write_for_ever(directory.as_ref()).await;
    }
    let directory = tempfile::tempdir().unwrap();
    for crash in 0..8_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_killed_process_leaves_a_prefix_with_everything_confirmed", "--nocapture"])
            .env(CHILD, directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        let mut rounds =
            lines.lines().map_while(Result::ok).filter_map(|line| line.strip_prefix("round ")?.parse().ok());
        // It is killed somewhere behind so many rounds; every round that it confirmed until then is read.
        let seen: Option<u64> = rounds.by_ref().take(ROUNDS).last();
        tokio::time::sleep(Duration::from_millis(crash * 7)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        let confirmed = rounds.last().or(seen).expect("rounds");
        let mut journal = open(directory.path()).unwrap();
        let found = journal.recover().await.unwrap();
        let round: u64 =
            found.state.first().map_or(0, |(.., value)| std::str::from_utf8(value).unwrap().parse().unwrap());
        assert!(round == confirmed || round == confirmed + 1, "crash {crash}: {round}, {confirmed} confirmed");
        let all = journal.reader().load(QueueId(1), Seq(0), Seq(u64::MAX), usize::MAX, u64::MAX).await.unwrap();
        let places: Vec<u64> = all.messages.iter().map(|(seq, _)| seq.0).collect();
        let rounds = (round + 1).saturating_sub(LIVE).max(1)..=round;
        let expected: Vec<u64> = rounds.flat_map(|round| (0..=round % 40).map(move |n| round * 1_000 + n)).collect();
        assert_eq!(places, expected, "crash {crash}, round {round}");
        Box::new(journal).close().await.unwrap();
    }
}

async fn write_for_ever(directory: &std::path::Path) {
    let mut journal = open(directory).unwrap();
    let found = journal.recover().await.unwrap();
    let round: u64 = found.state.first().map_or(0, |(.., value)| std::str::from_utf8(value).unwrap().parse().unwrap());
    for round in round + 1.. {
        journal.commit(&batch(round)).await.unwrap();
        println!("\nround {round}");
    }
}

#[tokio::test]
async fn a_second_gateway_on_the_same_directory_is_told_who_has_it() {
    let directory = tempfile::tempdir().unwrap();
    let first = open(directory.path()).unwrap();
    let Err(JournalError::Open(text)) = open(directory.path()) else { panic!("two gateways use one directory") };
    assert!(text.contains(&directory.path().display().to_string()), "{text}");
    assert!(text.contains(&format!("process {}", std::process::id())), "{text}");
    drop(first);
    open(directory.path()).unwrap();
}

#[tokio::test]
async fn a_directory_that_cannot_be_used_is_a_clear_error() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let Err(JournalError::Open(text)) = open(&file) else { panic!("a file is no directory") };
    assert!(text.contains("file"), "{text}");
    std::fs::write(directory.path().join(FILE_NAME), "this is no database, however long it may be").unwrap();
    let Err(JournalError::Open(text)) = open(directory.path()) else { panic!("the file is no database") };
    assert!(text.contains(FILE_NAME), "{text}");
}

#[tokio::test]
async fn a_commit_before_recovery_or_after_one_given_up_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = open(directory.path()).unwrap();
    assert!(matches!(journal.commit(&batch(1)).await, Err(JournalError::Commit(_))));
    journal.recover().await.unwrap();
    journal.commit(&batch(1)).await.unwrap();
    // Polled once, then dropped: whether it was written is not known.
    {
        let second = batch(2);
        let mut commit = std::pin::pin!(journal.commit(&second));
        std::future::poll_fn(|context| {
            let _ = commit.as_mut().poll(context);
            std::task::Poll::Ready(())
        })
        .await;
    }
    assert!(matches!(journal.commit(&batch(3)).await, Err(JournalError::Commit(_))));
    drop(journal);
    let mut journal = open(directory.path()).unwrap();
    let found = journal.recover().await.unwrap();
    assert!([&b"1"[..], b"2"].contains(&&found.state[0].2[..]));
}

/// The file does not grow with what has passed through it.
#[tokio::test]
async fn settled_messages_give_their_room_back() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = open(directory.path()).unwrap();
    journal.recover().await.unwrap();
    for round in 1..=2_000 {
        journal.commit(&batch(round)).await.unwrap();
    }
    journal.idle().await.unwrap();
    Box::new(journal).close().await.unwrap();
    let bytes = std::fs::metadata(directory.path().join(FILE_NAME)).unwrap().len();
    assert!(bytes < 3 << 20, "{bytes} bytes for {LIVE} rounds of at most 20 KB");
}
