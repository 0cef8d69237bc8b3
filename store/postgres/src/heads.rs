//! Reads the places of one generation: from its checkpoint, or from its message rows.

use evergate_journal::index::PackId;
use evergate_model::{QueueId, Seq};
use futures_util::{TryStreamExt as _, pin_mut};
use tokio_postgres::{Client, Error};

use crate::array::Elements;
use crate::places::Places;
use crate::ranges::Ranges;
use crate::recovery::message_index;

/// What is written down of a generation.
#[derive(Debug)]
pub enum Checkpoint {
    /// What was live, and how many places there ever were.
    Places(Places, u64),
    /// What was live, without rows and sizes: those are in the message rows.
    Ranges(Ranges),
    /// Nothing: everything in the message rows was live.
    None,
}

/// Reads it.
pub async fn read_checkpoint(client: &Client, generation: i64) -> Result<Checkpoint, Error> {
    let query = "SELECT queues, firsts, lasts, packs, sizes, places FROM evergate.checkpoint WHERE generation = $1";
    let Some(row) = client.query_opt(query, &[&generation]).await? else { return Ok(Checkpoint::None) };
    if let (Some(packs), Some(sizes), Some(places)) = (row.get(3), row.get(4), row.get::<_, Option<i64>>(5))
        && let Some(found) = Places::from_columns([row.get(0), row.get(1), row.get(2), packs], sizes)
    {
        return Ok(Checkpoint::Places(found, places.cast_unsigned()));
    }
    let mut ranges = Ranges::default();
    ranges.extend(row.get(0), row.get(1), row.get(2));
    ranges.tidy();
    Ok(Checkpoint::Ranges(ranges))
}

/// What message rows sum up to.
#[derive(Debug, Default)]
pub struct Sums {
    /// The highest row.
    pub last: PackId,
    /// Messages in them.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Places in them.
    pub places: u64,
}

/// Reads the message rows of a generation, without the messages: each place, live or not, with its size.
pub async fn read_rows(
    client: &Client,
    slot: i32,
    generation: i64,
    mut each: impl FnMut(QueueId, Seq, u64, PackId),
) -> Result<Sums, Error> {
    let query = format!(
        "SELECT id, sizes, target_messages, target_queues, target_seqs FROM evergate.message_{slot} WHERE generation = $1"
    );
    let rows = client.query_raw(&query, [generation]).await?;
    pin_mut!(rows);
    let mut sums = Sums::default();
    let mut sizes = Vec::new();
    while let Some(row) = rows.try_next().await? {
        let pack = PackId(row.get::<_, i64>(0).cast_unsigned());
        sums.last = sums.last.max(pack);
        sizes.clear();
        let mut elements: Elements<'_> = row.get(1);
        while let Some(size) = elements.number() {
            sizes.push(size);
        }
        sums.messages += sizes.len() as u64;
        sums.bytes += sizes.iter().sum::<u64>();
        let (mut queues, mut seqs): (Elements<'_>, Elements<'_>) = (row.get(3), row.get(4));
        for message in row.get::<_, Elements<'_>>(2) {
            let (Some(queue), Some(seq)) = (queues.number(), seqs.number()) else { break };
            let size = message_index(message).and_then(|index| sizes.get(index)).copied().unwrap_or(0);
            sums.places += 1;
            each(QueueId(queue), Seq(seq), size, pack);
        }
    }
    Ok(sums)
}
