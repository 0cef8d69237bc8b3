//! What a restart costs: live messages scattered among past ones, then three restarts.
//! Arguments: the address of an empty database, live messages, past messages, bytes of a body (256). Without
//! messages the database may be one that this filled before.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use evergate_journal::{Batch, Journal, JournalError, Record, Recovered};
use evergate_model::{Address, Encoding, Message, MessageId, Meta, QueueId, Seq};
use evergate_postgres::{Options, PostgresJournal};

const COMMIT: u64 = 500;
const RESTARTS: usize = 3;
/// Past messages go through so many queues; the live ones wait in one of their own.
const QUEUES: u64 = 8;
const LIVE: QueueId = QueueId(QUEUES + 1);

#[tokio::main]
async fn main() -> Result<(), JournalError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let url = arguments.first().ok_or_else(|| JournalError::Open("name the database: postgres://…".into()))?;
    let number = |at: usize, usual| arguments.get(at).and_then(|text| text.parse::<u64>().ok()).unwrap_or(usual);
    let (live, past) = (number(1, 1_000_000), number(2, 10_000_000));
    let (mut journal, _) = opened(url).await?;
    if live + past > 0 {
        fill(&mut journal, live, past, number(3, 256) as usize).await?;
    }
    Box::new(journal).close().await?;
    for _ in 0..RESTARTS {
        let started = Instant::now();
        let (journal, found) = opened(url).await?;
        println!("restart: {:?}, {} live", started.elapsed(), count(&found));
        Box::new(journal).close().await?;
    }
    Ok(())
}

async fn opened(url: &str) -> Result<(PostgresJournal, Recovered), JournalError> {
    let mut journal = PostgresJournal::connect(url, Options::default()).await?;
    let found = journal.recover().await?;
    Ok((journal, found))
}

fn count(found: &Recovered) -> u64 {
    found.queues.iter().flat_map(|queue| &queue.live).map(|range| range.count).sum()
}

async fn fill(journal: &mut PostgresJournal, live: u64, past: u64, body: usize) -> Result<(), JournalError> {
    let total = live + past;
    let body = Bytes::from(vec![b'x'; body]);
    let mut commits: Vec<Duration> = Vec::new();
    let started = Instant::now();
    for first in (1..=total).step_by(COMMIT as usize) {
        let mut batch = Batch::default();
        for seq in first..(first + COMMIT).min(total + 1) {
            // As many live ones so far as their share asks for.
            let is_live = seq * live / total > (seq - 1) * live / total;
            let queue = if is_live { LIVE } else { QueueId(seq % QUEUES + 1) };
            let mut meta = Meta::new(Address::queue("restart"));
            (meta.id, meta.durable) = (MessageId(seq), true);
            let message = Arc::new(Message::new(meta, Encoding::Plain, Bytes::new(), body.clone()));
            batch.add(Record::Enqueue { message, queue, seq: Seq(seq), origin: None });
        }
        if let Some(last) = first.checked_sub(COMMIT + 1) {
            for queue in (1..=QUEUES).map(QueueId) {
                batch.add(Record::Settle { queue, first: Seq((last + 1).saturating_sub(COMMIT)), last: Seq(last) });
            }
        }
        let begun = Instant::now();
        journal.commit(&batch).await?;
        commits.push(begun.elapsed());
    }
    let seconds = started.elapsed().as_secs_f64();
    commits.sort_unstable();
    let at = |thousandth: usize| commits[(commits.len() - 1) * thousandth / 1_000];
    #[allow(clippy::cast_precision_loss)] // far below 2^52
    let rate = total as f64 / seconds / 1_000.0;
    println!("{live} live, {past} past: {rate:.0} thousand messages a second, commits of {COMMIT}");
    println!("p50 {:?}, p99 {:?}, p999 {:?}, worst {:?}", at(500), at(990), at(999), at(1_000));
    Ok(())
}
