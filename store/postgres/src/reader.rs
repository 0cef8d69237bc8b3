//! Loads, on a connection of their own.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use evergate_journal::index::{PackId, Run};
use evergate_journal::load::Loading;
use evergate_journal::{JournalError, JournalReader, Loaded};
use evergate_model::{Message, QueueId, Seq};
use parking_lot::Mutex;

use crate::Shared;
use crate::connection::Connection;
use crate::fetch::{fetch, query};

/// Rows fetched at once: at most about so many bytes beyond what is wanted.
const ROWS_MAX: usize = 32;
const ROW_BYTES: u64 = 8 * 1024;

/// Reads beside the writer.
#[derive(Debug)]
pub struct Reader {
    shared: Arc<Mutex<Shared>>,
    connection: Connection,
}

impl Reader {
    /// On this connection.
    pub fn new(shared: Arc<Mutex<Shared>>, connection: Connection) -> Self {
        Self { shared, connection }
    }

    /// The next runs in `first..=last`, of as many rows as are worth fetching at once, with the tables
    /// they are in.
    fn next_runs(&self, queue: QueueId, first: Seq, last: Seq, loading: &Loading) -> Vec<(i32, Run)> {
        let rows_max = (loading.bytes_left() / ROW_BYTES + 1).min(ROWS_MAX as u64) as usize;
        // One more than wanted, so that a full load is known to be full.
        let places_max = (loading.messages_left() as u64).saturating_add(1);
        let shared = self.shared.lock();
        let (mut rows, mut places, mut runs) = (HashSet::new(), 0_u64, Vec::new());
        for run in shared.index.runs(queue, first, last) {
            rows.insert(run.pack);
            if rows.len() > rows_max || places >= places_max {
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
            for row in fetch(&self.connection.client, &query(slot)[..], &packs, is_wanted).await? {
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
        'windows: while at <= last {
            let runs = self.next_runs(queue, at, last, &loading);
            if runs.is_empty() {
                break;
            }
            let found = self.fetch_runs(&runs).await?;
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
