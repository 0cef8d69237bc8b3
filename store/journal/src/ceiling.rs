//! A journal's own ceiling: commits of N new and N settled messages with nothing in front of it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use evergate_model::{Address, Encoding, Message, MessageId, Meta, QueueId, Seq};

use crate::{Batch, Journal, JournalError, Record};

/// What was measured for one N.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// Messages a commit.
    pub messages: u64,
    /// Thousand messages a second.
    pub rate: f64,
    /// The middle commit.
    pub p50: Duration,
    /// 99 of 100 commits are no slower.
    pub p99: Duration,
    /// The slowest.
    pub worst: Duration,
}

const BODY_BYTES: usize = 256;
const QUEUES: u64 = 8;
/// How many commits a message lives.
const AGE_COMMITS: usize = 4;

/// Runs each N for `time` on the journal, which must have been recovered, and prints a line for each.
pub async fn run(name: &str, journal: &mut dyn Journal, time: Duration) -> Result<Vec<Figures>, JournalError> {
    println!("{name}: {BODY_BYTES}-byte messages, {QUEUES} queues, as many settled as inserted");
    println!("{:>8} {:>16} {:>9} {:>9} {:>9}", "N", "thousand msg/s", "p50 ms", "p99 ms", "worst ms");
    let mut next = 1;
    let mut all = Vec::new();
    for messages in [1, 10, 100, 500, 2_000] {
        let figures = measure(journal, messages, time, &mut next).await?;
        let millis = |duration: Duration| duration.as_secs_f64() * 1_000.0;
        println!(
            "{:>8} {:>16.1} {:>9.2} {:>9.2} {:>9.2}",
            messages,
            figures.rate,
            millis(figures.p50),
            millis(figures.p99),
            millis(figures.worst)
        );
        all.push(figures);
    }
    Ok(all)
}

async fn measure(
    journal: &mut dyn Journal,
    messages: u64,
    time: Duration,
    next: &mut u64,
) -> Result<Figures, JournalError> {
    let body = Bytes::from(vec![b'x'; BODY_BYTES]);
    let mut waiting: VecDeque<u64> = VecDeque::new();
    let mut commits = Vec::new();
    let started = Instant::now();
    while started.elapsed() < time {
        let mut batch = Batch::default();
        waiting.push_back(*next);
        for seq in *next..*next + messages {
            let mut meta = Meta::new(Address::queue("ceiling"));
            (meta.id, meta.durable) = (MessageId(seq), true);
            let message = Arc::new(Message::new(meta, Encoding::Plain, Bytes::new(), body.clone()));
            batch.add(Record::Enqueue { message, queue: QueueId(seq % QUEUES + 1), seq: Seq(seq), origin: None });
        }
        *next += messages;
        if waiting.len() > AGE_COMMITS
            && let Some(oldest) = waiting.pop_front()
        {
            for queue in 1..=QUEUES {
                let (first, last) = (Seq(oldest), Seq(oldest + messages - 1));
                batch.add(Record::Settle { queue: QueueId(queue), first, last });
            }
        }
        let begun = Instant::now();
        journal.commit(&batch).await?;
        commits.push(begun.elapsed());
    }
    let elapsed = started.elapsed().as_secs_f64();
    commits.sort_unstable();
    let at = |percent: usize| commits.get(commits.len() * percent / 100).copied().unwrap_or_default();
    #[allow(clippy::cast_precision_loss)] // far below 2^52
    let rate = (commits.len() as u64 * messages) as f64 / elapsed / 1_000.0;
    let worst = commits.last().copied().unwrap_or_default();
    Ok(Figures { messages, rate, p50: at(50), p99: at(99), worst })
}
