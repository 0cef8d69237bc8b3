//! What a restart reads: places, marks, state; no message.

use std::sync::Arc;

use bytes::Bytes;
use evergate_journal::index::{Index, PackId, Recovery};
use evergate_journal::{JournalError, Recovered, Table};
use evergate_model::{QueueId, Seq};
use futures_util::{TryStreamExt as _, pin_mut};
use tokio_postgres::{Client, Error};

use crate::heads::{Checkpoint, Sums, read_checkpoint, read_rows};
use crate::places::Places;
use crate::plan::{ALL_MARKS, Counters};
use crate::ranges::{Ranges, contains};
use crate::ring::{Generation, Ring};
use crate::schema::open_error;

/// What was found.
#[derive(Debug)]
pub struct Found {
    /// For the caller.
    pub recovered: Recovered,
    /// Where each live place is.
    pub index: Index,
    /// Which tables hold what.
    pub ring: Ring,
    /// The next numbers.
    pub counters: Counters,
}

/// Reads it.
pub async fn recover(client: &Client) -> Result<Found, JournalError> {
    read(client).await.map_err(|error| open_error("it cannot be read", &error))
}

async fn read(client: &Client) -> Result<Found, Error> {
    let mut recovery = Recovery::default();
    let mut ring = read_ring(client).await?;
    let (settled, last_settled, are_marks_dirty) = read_settled(client, &ring, &mut recovery).await?;
    let mut last_pack = PackId(0);
    let count = ring.generations.len();
    for at in 0..count {
        let is_current = at + 1 == count;
        let last = read_places(client, &mut ring, at, is_current, &settled, &mut recovery).await?;
        last_pack = last_pack.max(last).max(PackId(ring.generations[at].first_pack.0.saturating_sub(1)));
    }
    for row in client.query("SELECT id, next_seq FROM evergate.queue", &[]).await? {
        let (queue, next) = (row.get::<_, i64>(0).cast_unsigned(), row.get::<_, i64>(1).cast_unsigned());
        recovery.index.set_kept_seq(QueueId(queue), Seq(next));
    }
    let state = read_state(client).await?;
    let (index, mut recovered) = recovery.finish();
    recovered.state = state;
    let counters = Counters { next_pack: last_pack.0 + 1, next_settled: last_settled + 1, are_marks_dirty };
    Ok(Found { recovered, index, ring, counters })
}

async fn read_ring(client: &Client) -> Result<Ring, Error> {
    let mut ring = Ring::default();
    let rows =
        client.query("SELECT slot, generation, first_id, moved_id FROM evergate.ring ORDER BY generation", &[]).await?;
    for row in rows {
        let slot = row.get(0);
        let Some(number) = row.get::<_, Option<i64>>(1) else {
            ring.void.push(slot);
            continue;
        };
        let first_pack = PackId(row.get::<_, i64>(2).cast_unsigned());
        let moved = PackId(row.get::<_, i64>(3).cast_unsigned());
        ring.generations.push(Generation { moved, ..Generation::new(number, slot, first_pack) });
    }
    Ok(ring)
}

/// Settled places, the highest row number used, and whether marks changed since they were written down whole.
async fn read_settled(client: &Client, ring: &Ring, recovery: &mut Recovery) -> Result<(Ranges, i64, bool), Error> {
    let row = client.query_one("SELECT settled_id, queues, numbers FROM evergate.mark_checkpoint", &[]).await?;
    let marks_at: i64 = row.get(0);
    let (queues, numbers): (Vec<i64>, Vec<i64>) = (row.get(1), row.get(2));
    for (queue, number) in queues.into_iter().zip(numbers) {
        mark(recovery, queue, number, true);
    }
    let mut settled = Ranges::default();
    let mut last = marks_at;
    let mut are_marks_dirty = false;
    for Generation { slot, number, .. } in &ring.generations {
        let query = format!(
            "SELECT id, queues, firsts, lasts, mark_queues, mark_numbers, mark_sets \
             FROM evergate.settled_{slot} WHERE generation = $1 ORDER BY id"
        );
        let rows = client.query_raw(&query, [number]).await?;
        pin_mut!(rows);
        while let Some(row) = rows.try_next().await? {
            settled.extend(row.get(1), row.get(2), row.get(3));
            let id: i64 = row.get(0);
            last = last.max(id);
            if id > marks_at {
                let (queues, numbers, sets): (Vec<i64>, Vec<i64>, Vec<bool>) = (row.get(4), row.get(5), row.get(6));
                are_marks_dirty |= !queues.is_empty();
                for ((queue, number), set) in queues.into_iter().zip(numbers).zip(sets) {
                    mark(recovery, queue, number, set);
                }
            }
        }
        settled.tidy();
    }
    Ok((settled, last, are_marks_dirty))
}

fn mark(recovery: &mut Recovery, queue: i64, number: i64, set: bool) {
    let queue = QueueId(queue.cast_unsigned());
    if number == ALL_MARKS {
        recovery.index.clear_marks(queue);
    } else if let Ok(number) = u32::try_from(number) {
        recovery.index.mark(queue, number, set);
    }
}

/// Reads the live places of one generation; returns its highest row, if its rows were read.
async fn read_places(
    client: &Client,
    ring: &mut Ring,
    at: usize,
    is_current: bool,
    settled: &Ranges,
    recovery: &mut Recovery,
) -> Result<PackId, Error> {
    let Generation { number, slot, moved, .. } = ring.generations[at];
    let checkpoint = read_checkpoint(client, number).await?;
    let (mut live, mut is_dirty) = (0, false);
    let mut written = is_current.then(Places::default);
    let mut settled_of = (QueueId(0), settled.of(0));
    let mut found = |queue: QueueId, seq: Seq, size: u64, pack: PackId| {
        if settled_of.0 != queue {
            settled_of = (queue, settled.of(queue.0));
        }
        if pack <= moved {
            return;
        }
        if contains(settled_of.1, seq.0) {
            is_dirty = true;
            return;
        }
        live += 1;
        recovery.place(queue, seq, size, pack);
        if let Some(written) = &mut written {
            written.push(queue, seq, size, pack);
        }
    };
    let (has_checkpoint, sums) = match checkpoint {
        Checkpoint::Places(places, count) => {
            places.each(|run, seq, size| found(run.queue, seq, size, run.pack));
            (true, Sums { places: count, ..Sums::default() })
        }
        Checkpoint::Ranges(kept) => {
            let found = |queue: QueueId, seq: Seq, size, pack| {
                if kept.contains(queue.0, seq.0) {
                    found(queue, seq, size, pack);
                }
            };
            (false, read_rows(client, slot, number, found).await?)
        }
        Checkpoint::None => (false, read_rows(client, slot, number, found).await?),
    };
    if is_current {
        ring.written = written;
    }
    let generation = &mut ring.generations[at];
    (generation.messages, generation.bytes, generation.places) = (sums.messages, sums.bytes, sums.places);
    (generation.live, generation.has_checkpoint) = (live, has_checkpoint);
    // Settled rows of its own and of later generations: those there are.
    generation.dirty_from = is_dirty.then_some(number);
    Ok(sums.last)
}

/// The index from 0 of a target's message, which counts from 1.
pub fn message_index(element: Option<&[u8]>) -> Option<usize> {
    let number = i32::from_be_bytes(element?.try_into().ok()?);
    usize::try_from(number).ok()?.checked_sub(1)
}

async fn read_state(client: &Client) -> Result<Vec<(Table, Arc<str>, Bytes)>, Error> {
    let mut state = Vec::new();
    for row in client.query("SELECT kind, key, value FROM evergate.state ORDER BY kind, key", &[]).await? {
        // A table that this version does not know is left alone.
        if let (Some(table), Ok(key)) = (Table::from_number(row.get(0)), std::str::from_utf8(row.get(1))) {
            state.push((table, key.into(), Bytes::copy_from_slice(row.get(2))));
        }
    }
    Ok(state)
}
