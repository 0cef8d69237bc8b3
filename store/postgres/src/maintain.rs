//! Keeps the ring small: begins new tables, gives up dead ones, moves the last few messages out of old ones.

use std::collections::HashMap;
use std::time::Duration;

use evergate_journal::index::{PackId, Run};
use evergate_journal::{JournalError, StoredMessage};
use evergate_model::{QueueId, Seq};
use futures_util::SinkExt as _;
use tokio::time::Instant;
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;

use crate::connection::commit_error;
use crate::fetch::fetch;
use crate::pack::{COLUMNS, copy_bytes};
use crate::plan::{insert, pack};
use crate::ring::Generation;
use crate::schema::slot_sql;
use crate::{PostgresJournal, Shared};

/// How long to leave a table alone that a reader held.
const TRUNCATE_PAUSE: Duration = Duration::from_secs(1);
/// Rows whose survivors move in one step.
const MOVE_ROWS_MAX: usize = 16;

/// The last messages of a generation.
struct Survivors {
    number: i64,
    slot: i32,
    /// Its first rows, by key.
    packs: Vec<PackId>,
    /// What is live in them.
    runs: HashMap<PackId, Vec<Run>>,
}

/// Live places of some generations as columns: queues, first and last places.
type Columns = (Vec<i64>, Vec<i64>, Vec<i64>);

impl PostgresJournal {
    /// Begins a new generation if the one being written is full, or if there is none.
    pub(crate) async fn rotate_if_full(&mut self) -> Result<(), JournalError> {
        let is_full = self.shared.lock().ring.current().is_none_or(|current| {
            current.messages >= self.options.table_messages || current.bytes >= self.options.table_bytes
        });
        if !is_full {
            return Ok(());
        }
        self.free_dead().await?;
        if self.shared.lock().ring.free.is_empty() {
            self.truncate_one().await?;
        }
        let (free, new, number) = {
            let ring = &self.shared.lock().ring;
            (ring.free.last().copied(), ring.next_new_slot(), ring.current().map_or(1, |current| current.number + 1))
        };
        let create = if free.is_some() { String::new() } else { new.map(slot_sql).unwrap_or_default() };
        // With every table in use the current one grows on: what fills it is live.
        let Some(slot) = free.or(new) else { return Ok(()) };
        let first_pack = PackId(self.counters.next_pack);
        self.begin_generation(slot, number, first_pack, &create).await.map_err(|error| commit_error(&error))?;
        let mut shared = self.shared.lock();
        shared.ring.free.retain(|free| *free != slot);
        let fresh = Generation { number, slot, first_pack, messages: 0, bytes: 0, live: 0, is_dirty: false };
        shared.ring.generations.push(fresh);
        Ok(())
    }

    async fn begin_generation(&mut self, slot: i32, number: i64, first: PackId, create: &str) -> Result<(), Error> {
        let transaction = self.connection.client.transaction().await?;
        transaction.batch_execute(create).await?;
        let begin = "INSERT INTO evergate.ring (slot, generation, first_id) VALUES ($1, $2, $3) \
            ON CONFLICT (slot) DO UPDATE SET generation = excluded.generation, first_id = excluded.first_id";
        transaction.execute(begin, &[&slot, &number, &first.0.cast_signed()]).await?;
        transaction.commit().await?;
        self.statements.use_slot(&self.connection.client, slot).await
    }

    /// Writes to the tables that a restart found.
    pub(crate) async fn use_current(&mut self) -> Result<(), JournalError> {
        let slot = self.shared.lock().ring.current().map(|current| current.slot);
        if let Some(slot) = slot {
            let used = self.statements.use_slot(&self.connection.client, slot).await;
            used.map_err(|error| commit_error(&error))?;
        }
        Ok(())
    }

    /// One bounded piece of work, if there is any.
    pub(crate) async fn maintain(&mut self) -> Result<(), JournalError> {
        self.free_dead().await?;
        self.move_survivors().await?;
        if self.shared.lock().ring.free.is_empty() {
            self.truncate_one().await?;
        }
        Ok(())
    }

    /// Gives up generations with nothing live. Their settled rows go with them: what those say about
    /// generations that stay is written down first, in the same transaction.
    async fn free_dead(&mut self) -> Result<(), JournalError> {
        let (dead, slots, folded) = {
            let shared = self.shared.lock();
            let dead = shared.ring.dead();
            let Some(newest) = dead.last().copied() else { return Ok(()) };
            let is_dead = |number: &i64| dead.contains(number);
            let slots: Vec<i32> =
                shared.ring.generations.iter().filter(|one| is_dead(&one.number)).map(|one| one.slot).collect();
            // Settled rows speak of their own generation and of older ones.
            let fold = |one: &&Generation| one.number < newest && one.is_dirty && !is_dead(&one.number);
            let folded: Vec<i64> = shared.ring.generations.iter().filter(fold).map(|one| one.number).collect();
            let folded = live_columns(&shared, &folded, &[]);
            (dead, slots, folded)
        };
        self.write_freed(&dead, &slots, &folded).await.map_err(|error| commit_error(&error))?;
        let mut shared = self.shared.lock();
        for generation in &mut shared.ring.generations {
            generation.is_dirty &= !folded.contains_key(&generation.number);
        }
        shared.ring.generations.retain(|one| !dead.contains(&one.number));
        shared.ring.void.extend(slots);
        self.counters.are_marks_dirty = false;
        Ok(())
    }

    async fn write_freed(&mut self, dead: &[i64], slots: &[i32], folded: &HashMap<i64, Columns>) -> Result<(), Error> {
        let marks: Option<(Vec<i64>, Vec<i64>)> = self.counters.are_marks_dirty.then(|| {
            let shared = self.shared.lock();
            shared.index.marks().map(|(queue, number)| (queue.0.cast_signed(), i64::from(number))).unzip()
        });
        let last_settled = self.counters.next_settled - 1;
        let transaction = self.connection.client.transaction().await?;
        for (generation, live) in folded {
            write_checkpoint(&transaction, *generation, live).await?;
        }
        if let Some((queues, numbers)) = &marks {
            let update = "UPDATE evergate.mark_checkpoint SET settled_id = $1, queues = $2, numbers = $3";
            transaction.execute(update, &[&last_settled, queues, numbers]).await?;
        }
        transaction.execute("DELETE FROM evergate.checkpoint WHERE generation = ANY ($1)", &[&dead]).await?;
        transaction.execute("UPDATE evergate.ring SET generation = NULL WHERE slot = ANY ($1)", &[&slots]).await?;
        transaction.commit().await
    }

    /// Empties one void table, unless a reader holds it: then later.
    pub(crate) async fn truncate_one(&mut self) -> Result<(), JournalError> {
        let Some(slot) = self.shared.lock().ring.void.last().copied() else { return Ok(()) };
        if self.truncate_after.is_some_and(|after| Instant::now() < after) {
            return Ok(());
        }
        match self.truncate(slot).await {
            Ok(()) => {
                let ring = &mut self.shared.lock().ring;
                ring.void.retain(|void| *void != slot);
                ring.free.push(slot);
                self.truncate_after = None;
                Ok(())
            }
            // A waiting TRUNCATE would block readers behind it, and they the view.
            Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
                self.truncate_after = Some(Instant::now() + TRUNCATE_PAUSE);
                Ok(())
            }
            Err(error) => Err(commit_error(&error)),
        }
    }

    async fn truncate(&mut self, slot: i32) -> Result<(), Error> {
        let transaction = self.connection.client.transaction().await?;
        let sql = format!(
            "SET LOCAL lock_timeout = '50ms'; TRUNCATE ONLY evergate.message_{slot}, ONLY evergate.settled_{slot}"
        );
        transaction.batch_execute(&sql).await?;
        transaction.commit().await
    }

    /// Moves some of the last messages of an old generation to the current one, so that its tables can be reused.
    async fn move_survivors(&mut self) -> Result<(), JournalError> {
        let Some(Survivors { number, slot, packs, runs }) = self.survivors() else { return Ok(()) };
        let is_live = |pack: PackId, queue: QueueId, seq: Seq| {
            let runs = runs.get(&pack).map_or(&[][..], Vec::as_slice);
            runs.iter().any(|run| run.queue == queue && (run.first..=run.last).contains(&seq))
        };
        let rows = fetch(&self.connection.client, slot, &packs, is_live).await?;
        let messages: Vec<StoredMessage> = rows.into_iter().flat_map(|row| row.messages).collect();
        let current = self.shared.lock().ring.current().map_or(0, |current| current.number);
        let (rows, ids) = pack(&messages, self.options.row_bytes, &mut self.counters.next_pack, current);
        let left = live_columns(&self.shared.lock(), &[number], &packs).remove(&number).unwrap_or_default();
        self.write_moved(&rows, number, &left).await.map_err(|error| commit_error(&error))?;
        let mut shared = self.shared.lock();
        let Shared { index, ring } = &mut *shared;
        let mut removed = Vec::new();
        for run in runs.into_values().flatten() {
            index.settle(run.queue, run.first, run.last, &mut removed);
        }
        let moved: u64 = removed.iter().map(Run::count).sum();
        if let Some(generation) = ring.generations.iter_mut().find(|one| one.number == number) {
            generation.live = generation.live.saturating_sub(moved);
            generation.is_dirty = false;
        }
        insert(&messages, &ids, index, ring);
        Ok(())
    }

    /// A generation with few live messages, the first of its rows, and what is live in them.
    fn survivors(&self) -> Option<Survivors> {
        let shared = self.shared.lock();
        let Generation { number, slot, .. } = *shared.ring.sparse(self.options.table_messages)?;
        let mut runs: HashMap<PackId, Vec<Run>> = HashMap::new();
        for run in shared.index.all_runs() {
            if shared.ring.of(run.pack).is_some_and(|one| one.number == number) {
                runs.entry(run.pack).or_default().push(run);
            }
        }
        let mut packs: Vec<PackId> = runs.keys().copied().collect();
        packs.sort_unstable();
        packs.truncate(MOVE_ROWS_MAX);
        runs.retain(|pack, _| packs.binary_search(pack).is_ok());
        Some(Survivors { number, slot, packs, runs })
    }

    async fn write_moved(&mut self, rows: &[crate::pack::Pack], from: i64, left: &Columns) -> Result<(), Error> {
        let slot = self.shared.lock().ring.current().map_or(0, |current| current.slot);
        let transaction = self.connection.client.transaction().await?;
        let copy = format!("COPY evergate.message_{slot} ({COLUMNS}) FROM STDIN (FORMAT binary)");
        let mut sink = Box::pin(transaction.copy_in(&copy).await?);
        sink.send(copy_bytes(rows)).await?;
        sink.as_mut().finish().await?;
        write_checkpoint(&transaction, from, left).await?;
        transaction.commit().await
    }
}

/// What is live in these generations, but for some rows.
fn live_columns(shared: &Shared, generations: &[i64], without: &[PackId]) -> HashMap<i64, Columns> {
    let mut live: HashMap<i64, Columns> = generations.iter().map(|number| (*number, Columns::default())).collect();
    if live.is_empty() {
        return live;
    }
    for run in shared.index.all_runs().filter(|run| without.binary_search(&run.pack).is_err()) {
        let generation = shared.ring.of(run.pack);
        if let Some((queues, firsts, lasts)) = generation.and_then(|one| live.get_mut(&one.number)) {
            queues.push(run.queue.0.cast_signed());
            firsts.push(run.first.0.cast_signed());
            lasts.push(run.last.0.cast_signed());
        }
    }
    live
}

async fn write_checkpoint(
    transaction: &tokio_postgres::Transaction<'_>,
    generation: i64,
    live: &Columns,
) -> Result<(), Error> {
    let upsert = "INSERT INTO evergate.checkpoint (generation, queues, firsts, lasts) VALUES ($1, $2, $3, $4) \
        ON CONFLICT (generation) DO UPDATE \
        SET queues = excluded.queues, firsts = excluded.firsts, lasts = excluded.lasts";
    let parameters: [&(dyn ToSql + Sync); 4] = [&generation, &live.0, &live.1, &live.2];
    transaction.execute(upsert, &parameters).await.map(drop)
}
