//! Moves live messages out of generations that are mostly dead, row by row, so that their tables can be used
//! again: space follows what is live, never what was.

use std::collections::BTreeMap;

use evergate_journal::index::{Index, PackId, Run};
use evergate_journal::{JournalError, StoredMessage};
use evergate_model::{QueueId, Seq};
use tokio_postgres::{Client, Statement};

use crate::connection::commit_error;
use crate::fetch::{fetch, query};
use crate::pack::Pack;
use crate::places::live_parts;
use crate::plan::{Plan, insert, pack};
use crate::{PostgresJournal, Shared};

/// Rows are read back in steps of so many: fewer wait, more are left for the next step.
const STEP_ROWS_MIN: usize = 16;
const STEP_ROWS_MAX: usize = 128;
/// Rows of a step when nothing waits: the next commit may come any moment.
const QUIET_STEP_ROWS: usize = 32;
/// Rows to read back for each row that is written: more than one, or the ring would grow.
const ROWS_PER_ROW: usize = 2;
/// Runs looked at and bytes moved in one step, but for those of its last row.
const STEP_RUNS_MAX: usize = 4_096;
const STEP_BYTES_MAX: u64 = 1 << 20;

/// The generation that is being emptied.
#[derive(Debug)]
pub struct Moving {
    number: i64,
    slot: i32,
    query: Statement,
    /// What was live in it when this began, with its bytes, by row.
    runs: Vec<(Run, u64)>,
    at: usize,
}

/// Messages that one commit moves.
#[derive(Debug)]
pub struct Step {
    number: i64,
    slot: i32,
    /// The last row they come from.
    last: PackId,
    /// The rows they go to.
    packs: Vec<Pack>,
    /// The row each comes from, and the one it goes to.
    messages: Vec<(PackId, StoredMessage, PackId)>,
}

impl Step {
    /// Has the plan write them.
    pub fn add_to(&mut self, plan: &mut Plan) {
        plan.packs.append(&mut self.packs);
        plan.moved = Some((self.slot, self.last.0.cast_signed()));
    }
}

impl Moving {
    /// The next rows with something live, and what that is.
    fn take(&mut self, rows_max: usize, index: &Index) -> BTreeMap<PackId, Vec<Run>> {
        let mut found: BTreeMap<PackId, Vec<Run>> = BTreeMap::new();
        let (from, mut bytes) = (self.at, 0);
        while let Some((run, run_bytes)) = self.runs.get(self.at) {
            let is_next_row = self.at > from && self.runs[self.at - 1].0.pack != run.pack;
            let is_enough = found.len() >= rows_max || self.at - from >= STEP_RUNS_MAX || bytes >= STEP_BYTES_MAX;
            if is_next_row && is_enough {
                break;
            }
            let mut parts = live_parts(index, run).peekable();
            if parts.peek().is_some() {
                bytes += run_bytes;
                found.entry(run.pack).or_default().extend(parts);
            }
            self.at += 1;
        }
        found
    }
}

impl PostgresJournal {
    /// Rows were written: as many and more of an old generation are owed for them.
    pub(crate) fn owe_moves(&mut self, rows: usize) {
        self.owed_rows = self.owed_rows.saturating_add(rows * ROWS_PER_ROW).min(STEP_ROWS_MAX);
    }

    /// What the next commit moves, if it owes enough.
    pub(crate) async fn owed_step(&mut self) -> Result<Option<Step>, JournalError> {
        if self.owed_rows < STEP_ROWS_MIN {
            return Ok(None);
        }
        let rows = std::mem::take(&mut self.owed_rows);
        self.next_step(rows).await
    }

    /// Moves some, in a commit of their own.
    pub(crate) async fn move_some(&mut self) -> Result<(), JournalError> {
        let Some(mut step) = self.next_step(QUIET_STEP_ROWS).await? else { return Ok(()) };
        let mut plan = Plan::default();
        step.add_to(&mut plan);
        let written = self.statements.write(&self.connection.client, &plan).await;
        written.map_err(|error| commit_error(&error))?;
        self.moved(step);
        Ok(())
    }

    /// Reads the next live messages of a generation that is worth emptying.
    async fn next_step(&mut self, rows_max: usize) -> Result<Option<Step>, JournalError> {
        if self.moving.is_none() {
            self.moving = self.begin_moving().await?;
        }
        let Some(moving) = &mut self.moving else { return Ok(None) };
        let found = moving.take(rows_max, &self.shared.lock().index);
        let (number, slot) = (moving.number, moving.slot);
        let client = &self.connection.client;
        let rows = read_back(client, moving, &found).await?;
        if moving.at == moving.runs.len() {
            self.moving = None;
        }
        let Some((last, _)) = found.last_key_value() else { return Ok(None) };
        let current = self.shared.lock().ring.current().map_or(0, |current| current.number);
        let (from, messages): (Vec<PackId>, Vec<StoredMessage>) = rows.into_iter().unzip();
        let (packs, ids) = pack(&messages, self.options.row_bytes, &mut self.counters.next_pack, current);
        let messages = from.into_iter().zip(messages).zip(ids).map(|((from, stored), to)| (from, stored, to)).collect();
        Ok(Some(Step { number, slot, last: *last, packs, messages }))
    }

    async fn begin_moving(&self) -> Result<Option<Moving>, JournalError> {
        let sparse = self.shared.lock().ring.sparse().map(|one| (one.number, one.slot));
        let Some((number, slot)) = sparse else { return Ok(None) };
        let client = &self.connection.client;
        let query = client.prepare(&query(slot)).await.map_err(|error| commit_error(&error))?;
        let found = self.live_of(number).await.map_err(|error| commit_error(&error))?;
        let runs = found.map(|(live, _)| live.to_runs()).unwrap_or_default();
        Ok(Some(Moving { number, slot, query, runs, at: 0 }))
    }

    /// They are stored at their new rows: readers look there from now on. What the same commit settled is
    /// gone already.
    pub(crate) fn moved(&mut self, step: Step) {
        let Shared { index, ring } = &mut *self.shared.lock();
        let (mut removed, mut messages, mut ids) = (Vec::new(), Vec::new(), Vec::new());
        for (from, mut stored, to) in step.messages {
            stored.targets.retain(|(queue, seq)| {
                let place = Run { queue: *queue, first: *seq, last: *seq, pack: from };
                let is_live = live_parts(index, &place).next().is_some();
                if is_live {
                    index.settle(*queue, *seq, *seq, &mut removed);
                }
                is_live
            });
            messages.push(stored);
            ids.push(to);
        }
        if let Some(generation) = ring.generations.iter_mut().find(|one| one.number == step.number) {
            generation.live = generation.live.saturating_sub(removed.len() as u64);
            generation.moved = step.last;
        }
        insert(&messages, &ids, index, ring);
    }
}

/// Reads these messages, each with the row it is in, by row. All must be there.
async fn read_back(
    client: &Client,
    moving: &Moving,
    found: &BTreeMap<PackId, Vec<Run>>,
) -> Result<Vec<(PackId, StoredMessage)>, JournalError> {
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let is_wanted = |pack: PackId, queue: QueueId, seq: Seq| {
        let runs = found.get(&pack).map_or(&[][..], Vec::as_slice);
        runs.iter().any(|run| run.queue == queue && (run.first..=run.last).contains(&seq))
    };
    let packs: Vec<PackId> = found.keys().copied().collect();
    let mut rows = fetch(client, &moving.query, &packs, is_wanted).await?;
    rows.sort_unstable_by_key(|row| row.id);
    let wanted: u64 = found.values().flatten().map(Run::count).sum();
    let messages = rows.into_iter().flat_map(|row| row.messages.into_iter().map(move |message| (row.id, message)));
    let messages: Vec<(PackId, StoredMessage)> = messages.collect();
    if messages.iter().map(|(_, stored)| stored.targets.len() as u64).sum::<u64>() != wanted {
        let table = moving.slot;
        return Err(JournalError::Read(format!("messages are missing in table message_{table}: it was changed")));
    }
    Ok(messages)
}
