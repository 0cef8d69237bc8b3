//! Loads, on a connection of their own.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use evergate_journal::index::{PackId, Run};
use evergate_journal::load::Loading;
use evergate_journal::{JournalError, JournalReader, Loaded};
use evergate_model::{Message, QueueId, Seq};
use parking_lot::Mutex;
use tokio_postgres::{Error, Statement};

use crate::Shared;
use crate::connection::Connection;
use crate::fetch::{fetch, query};
use crate::schema::{describe, open_error};

/// Rows fetched at once.
const ROWS_MAX: u64 = 32;

/// Reads beside the writer.
#[derive(Debug)]
pub struct Reader {
    shared: Arc<Mutex<Shared>>,
    connection: Connection,
    /// How the rows of a ring table are read, by its slot.
    statements: Mutex<HashMap<i32, Statement>>,
}

/// What the rows of a load had so far that was wanted.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    rows: u64,
    bytes: u64,
}

impl Seen {
    /// Rows that have about so many bytes. A row has eight KiB or one message that is larger: nobody knows before the
    /// first is there.
    fn rows_of(self, bytes: u64) -> u64 {
        bytes.saturating_mul(self.rows).checked_div(self.bytes).unwrap_or(1).clamp(1, ROWS_MAX)
    }

    /// Whether a row more than so many bytes is likely to be in vain.
    fn is_more_than(self, bytes: u64) -> bool {
        self.bytes > bytes.saturating_mul(self.rows)
    }
}

impl Reader {
    /// On this connection.
    pub async fn new(shared: Arc<Mutex<Shared>>, connection: Connection) -> Result<Self, JournalError> {
        // A plan is kept although its table was empty when it was made, and may be large when it is used.
        let settings = "SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan";
        let failed = |error| open_error("the session that reads cannot be set up", &error);
        connection.client.batch_execute(settings).await.map_err(failed)?;
        Ok(Self { shared, connection, statements: Mutex::default() })
    }

    /// What it reads on.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    async fn statement(&self, slot: i32) -> Result<Statement, Error> {
        let known = self.statements.lock().get(&slot).cloned();
        if let Some(statement) = known {
            return Ok(statement);
        }
        let statement = self.connection.client.prepare(&query(slot)).await?;
        Ok(self.statements.lock().entry(slot).or_insert(statement).clone())
    }

    /// The next runs in `first..=last`, of at most so many rows, with the tables they are in.
    fn next_runs(&self, queue: QueueId, first: Seq, last: Seq, rows_max: u64, loading: &Loading) -> Vec<(i32, Run)> {
        // One more than wanted, so that a full load is known to be full.
        let places_max = (loading.messages_left() as u64).saturating_add(1);
        let shared = self.shared.lock();
        let (mut rows, mut places, mut runs) = (HashSet::new(), 0_u64, Vec::new());
        for run in shared.index.runs(queue, first, last) {
            rows.insert(run.pack);
            if rows.len() as u64 > rows_max || places >= places_max {
                break;
            }
            let run = Run { first: run.first.max(first), last: run.last.min(last), ..run };
            places = places.saturating_add(run.count());
            if let Some(generation) = shared.ring.of(run.pack) {
                runs.push((generation.slot, run));
            }
        }
        runs
    }

    /// Whether a run that was not found is where it was looked for: then it is not committed yet.
    fn is_still_at(&self, run: &Run) -> bool {
        self.shared.lock().index.runs(run.queue, run.first, run.last).all(|now| now.pack == run.pack)
    }

    async fn fetch_runs(
        &self,
        runs: &[(i32, Run)],
    ) -> Result<HashMap<PackId, HashMap<Seq, Arc<Message>>>, JournalError> {
        let mut slots: HashMap<i32, Vec<PackId>> = HashMap::new();
        let mut wanted: HashMap<PackId, Vec<Run>> = HashMap::new();
        for (slot, run) in runs {
            let of_pack = wanted.entry(run.pack).or_default();
            if of_pack.is_empty() {
                slots.entry(*slot).or_default().push(run.pack);
            }
            of_pack.push(*run);
        }
        let is_wanted = |pack: PackId, queue: QueueId, seq: Seq| {
            let runs = wanted.get(&pack).map_or(&[][..], Vec::as_slice);
            runs.iter().any(|run| run.queue == queue && (run.first..=run.last).contains(&seq))
        };
        let mut found: HashMap<PackId, HashMap<Seq, Arc<Message>>> = HashMap::new();
        for (slot, packs) in slots {
            let statement = self.statement(slot).await.map_err(|error| JournalError::Read(describe(&error)))?;
            for row in fetch(&self.connection.client, &statement, &packs, is_wanted).await? {
                let messages = found.entry(row.id).or_default();
                for stored in row.messages {
                    messages.extend(stored.targets.iter().map(|(_, seq)| (*seq, stored.message.clone())));
                }
            }
        }
        Ok(found)
    }
}

#[async_trait]
impl JournalReader for Reader {
    async fn load(
        &self,
        queue: QueueId,
        first: Seq,
        last: Seq,
        messages_max: usize,
        bytes_max: u64,
    ) -> Result<Loaded, JournalError> {
        let mut loading = Loading::new(last, messages_max, bytes_max);
        let mut at = first;
        let mut seen = Seen::default();
        'windows: while at <= last {
            let left = loading.bytes_left();
            if left < bytes_max && seen.is_more_than(left) {
                loading.stop();
                break;
            }
            let runs = self.next_runs(queue, at, last, seen.rows_of(left), &loading);
            if runs.is_empty() {
                break;
            }
            let found = self.fetch_runs(&runs).await?;
            seen.rows += found.len() as u64;
            seen.bytes += found.values().flat_map(HashMap::values).map(|message| message.size_bytes()).sum::<u64>();
            for (_, run) in runs {
                let Some(messages) = found.get(&run.pack) else {
                    if self.is_still_at(&run) {
                        at = Seq(run.last.0.saturating_add(1));
                        continue;
                    }
                    // It was settled or moved on meanwhile: look again from there.
                    at = run.first;
                    continue 'windows;
                };
                for seq in (run.first.0..=run.last.0).map(Seq) {
                    if let Some(message) = messages.get(&seq)
                        && !loading.take(seq, message.clone())
                    {
                        break 'windows;
                    }
                }
                if run.last.0 == u64::MAX {
                    break 'windows;
                }
                at = Seq(run.last.0 + 1);
            }
        }
        Ok(loading.finish())
    }
}
