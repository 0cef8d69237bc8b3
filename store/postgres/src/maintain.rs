//! Begins new ring tables and gives up dead ones.

use std::time::Duration;

use evergate_journal::JournalError;
use evergate_journal::index::{PackId, Run};
use tokio::time::Instant;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Transaction};

use crate::connection::commit_error;
use crate::heads::{Checkpoint, read_checkpoint, read_rows};
use crate::places::{Columns, Places, live_parts};
use crate::ring::Generation;
use crate::schema::slot_sql;
use crate::{PostgresJournal, Shared};

/// How long to leave a table alone that a reader held.
const TRUNCATE_PAUSE: Duration = Duration::from_secs(1);
/// Live places that a generation is written down with at leisure; with more it waits until it must be.
const WRITE_DOWN_MAX: u64 = 500_000;

impl PostgresJournal {
    /// Begins a new generation if the one being written is full, or if there is none.
    pub(crate) async fn rotate_if_full(&mut self) -> Result<(), JournalError> {
        let is_full = self.shared.lock().ring.current().is_none_or(|current| {
            current.messages >= self.options.table_messages || current.bytes >= self.options.table_bytes
        });
        if !is_full {
            return Ok(());
        }
        self.tidy().await?;
        let (free, new, number) = {
            let ring = &self.shared.lock().ring;
            (ring.free.last().copied(), ring.next_new_slot(), ring.current().map_or(1, |current| current.number + 1))
        };
        let create = if free.is_some() { String::new() } else { new.map(slot_sql).unwrap_or_default() };
        // With every table in use the current one grows on: what fills it is live.
        let Some(slot) = free.or(new) else { return Ok(()) };
        let first_pack = PackId(self.counters.next_pack);
        let full = {
            let Shared { index, ring } = &mut *self.shared.lock();
            let written = ring.written.as_ref().map(|written| written.live(index));
            written.zip(ring.current().map(|full| (full.number, full.places)))
        };
        let begun = self.begin_generation(slot, number, first_pack, &create, full.as_ref()).await;
        begun.map_err(|error| commit_error(&error))?;
        let ring = &mut self.shared.lock().ring;
        if full.is_some()
            && let Some(full) = ring.generations.last_mut()
        {
            (full.dirty_from, full.has_checkpoint) = (None, true);
        }
        ring.free.retain(|free| *free != slot);
        ring.generations.push(Generation::new(number, slot, first_pack));
        // Of the same size each time: what grows anew with each generation leaves holes in memory.
        ring.written.get_or_insert_default().clear();
        Ok(())
    }

    async fn begin_generation(
        &mut self,
        slot: i32,
        number: i64,
        first: PackId,
        create: &str,
        full: Option<&(Places, (i64, u64))>,
    ) -> Result<(), Error> {
        let transaction = self.connection.client.transaction().await?;
        transaction.batch_execute(create).await?;
        let begin = "INSERT INTO evergate.ring (slot, generation, first_id) VALUES ($1, $2, $3) \
            ON CONFLICT (slot) DO UPDATE SET generation = excluded.generation, first_id = excluded.first_id, moved_id = 0";
        transaction.execute(begin, &[&slot, &number, &first.0.cast_signed()]).await?;
        if let Some((live, (full, places))) = full {
            write_checkpoint(&transaction, *full, live, *places).await?;
        }
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

    /// One bounded piece of work that keeps the ring small, if there is any.
    pub(crate) async fn tidy(&mut self) -> Result<(), JournalError> {
        let in_the_way = self.shared.lock().ring.in_the_way();
        if let Some(number) = in_the_way {
            self.write_down(number).await?;
        }
        self.free_dead().await?;
        if self.shared.lock().ring.free.is_empty() {
            self.truncate_one().await?;
        }
        Ok(())
    }

    /// Writes down a generation that an older version left, or one that was too large to remember: the next
    /// restart then need not read its rows.
    pub(crate) async fn write_down_one(&mut self) -> Result<(), JournalError> {
        let missing = {
            let ring = &self.shared.lock().ring;
            let is_missing = |one: &&Generation| (1..=WRITE_DOWN_MAX).contains(&one.live) && !one.has_checkpoint;
            ring.finished().iter().find(is_missing).map(|one| one.number)
        };
        match missing {
            Some(number) => self.write_down(number).await,
            None => Ok(()),
        }
    }

    /// Writes the live places of a finished generation down.
    async fn write_down(&mut self, number: i64) -> Result<(), JournalError> {
        let written = self.try_write_down(number).await;
        written.map_err(|error| commit_error(&error))?;
        let ring = &mut self.shared.lock().ring;
        if let Some(generation) = ring.generations.iter_mut().find(|one| one.number == number) {
            (generation.dirty_from, generation.has_checkpoint) = (None, true);
        }
        Ok(())
    }

    async fn try_write_down(&mut self, number: i64) -> Result<(), Error> {
        let Some((live, places)) = self.live_of(number).await? else { return Ok(()) };
        let transaction = self.connection.client.transaction().await?;
        write_checkpoint(&transaction, number, &live, places).await?;
        transaction.commit().await
    }

    /// The live places of a finished generation, and how many it ever had.
    pub(crate) async fn live_of(&self, number: i64) -> Result<Option<(Places, u64)>, Error> {
        let generation = self.shared.lock().ring.finished().iter().find(|one| one.number == number).cloned();
        let Some(Generation { slot, places, .. }) = generation else { return Ok(None) };
        let client = &self.connection.client;
        if let Checkpoint::Places(found, _) = read_checkpoint(client, number).await? {
            return Ok(Some((found.live(&self.shared.lock().index), places)));
        }
        let mut live = Places::default();
        let keep = |queue, seq, size, pack| {
            let place = Run { queue, first: seq, last: seq, pack };
            if live_parts(&self.shared.lock().index, &place).next().is_some() {
                live.push(queue, seq, size, pack);
            }
        };
        read_rows(client, slot, number, keep).await?;
        Ok(Some((live, places)))
    }

    /// Gives up generations with nothing live. Their settled rows go with them: what those say about
    /// generations that stay was written down before.
    async fn free_dead(&mut self) -> Result<(), JournalError> {
        let (dead, slots) = {
            let ring = &self.shared.lock().ring;
            let dead = ring.dead();
            let slots = ring.generations.iter().filter(|one| dead.contains(&one.number)).map(|one| one.slot);
            let slots: Vec<i32> = slots.collect();
            (dead, slots)
        };
        if dead.is_empty() {
            return Ok(());
        }
        self.write_freed(&dead, &slots).await.map_err(|error| commit_error(&error))?;
        let ring = &mut self.shared.lock().ring;
        ring.generations.retain(|one| !dead.contains(&one.number));
        ring.void.extend(slots);
        self.counters.are_marks_dirty = false;
        Ok(())
    }

    async fn write_freed(&mut self, dead: &[i64], slots: &[i32]) -> Result<(), Error> {
        let marks: Option<(Vec<i64>, Vec<i64>)> = self.counters.are_marks_dirty.then(|| {
            let shared = self.shared.lock();
            shared.index.marks().map(|(queue, number)| (queue.0.cast_signed(), i64::from(number))).unzip()
        });
        let last_settled = self.counters.next_settled - 1;
        let transaction = self.connection.client.transaction().await?;
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
}

async fn write_checkpoint(
    transaction: &Transaction<'_>,
    generation: i64,
    live: &Places,
    places: u64,
) -> Result<(), Error> {
    let upsert = "INSERT INTO evergate.checkpoint (generation, queues, firsts, lasts, packs, sizes, places) \
        VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (generation) DO UPDATE \
        SET queues = excluded.queues, firsts = excluded.firsts, lasts = excluded.lasts, \
            packs = excluded.packs, sizes = excluded.sizes, places = excluded.places";
    let (Columns { queues, firsts, lasts, packs }, sizes) = live.columns();
    let parameters: [&(dyn ToSql + Sync); 7] =
        [&generation, &queues, &firsts, &lasts, &packs, &sizes, &places.cast_signed()];
    transaction.execute(upsert, &parameters).await.map(drop)
}
