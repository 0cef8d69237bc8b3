//! The journal on PostgreSQL: insert-only tables in a ring, nothing updated or deleted for a message.
//!
//! The messages of a commit are packed into rows of about 8 KB. What is settled is a row of its own, one a
//! commit. A table whose messages are all settled is emptied by TRUNCATE and used again. An index in memory
//! knows where each live place is.
//!
//! Connections are encrypted as `sslmode` says: `prefer` (the default) if the server can, `require` and `verify-full`
//! always. What `sslrootcert` names verifies the server's certificate; without it any is taken, and the log says so.

mod array;
mod connection;
mod fetch;
mod heads;
mod maintain;
mod moves;
mod pack;
mod place;
mod places;
mod plan;
mod ranges;
mod reader;
mod recovery;
mod ring;
mod schema;
mod tls;
mod write;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use evergate_journal::index::Index;
use evergate_journal::{Batch, Journal, JournalError, JournalReader, Recovered};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::connection::{Connection, commit_error};
use crate::moves::Moving;
use crate::place::Place;
use crate::plan::{Counters, plan};
use crate::reader::Reader;
use crate::ring::Ring;
use crate::schema::{migrate, open_error};
use crate::write::Statements;

/// Under constant load, one piece of maintenance in so many rows and commits.
const TIDY_EACH: usize = 256;

/// What can be tuned. The defaults are what was measured best.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// About how many bytes of messages go into one row: as much as fits a page of the server.
    pub row_bytes: usize,
    /// Messages in a ring table before the next one is begun.
    pub table_messages: u64,
    /// Bytes in a ring table before the next one is begun.
    pub table_bytes: u64,
    /// How long to wait for a gateway that is just going away.
    pub lock_patience: Duration,
    /// How long to wait for a server that is starting: after a crash it recovers first.
    pub start_patience: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            row_bytes: 8_100,
            table_messages: 200_000,
            table_bytes: 256 << 20,
            lock_patience: Duration::from_secs(5),
            start_patience: Duration::from_secs(30),
        }
    }
}

/// What the writer and its readers know together.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    index: Index,
    ring: Ring,
}

/// A journal in a database that no other gateway uses meanwhile.
#[derive(Debug)]
pub struct PostgresJournal {
    place: Place,
    // std-like Mutex: never held across await.
    shared: Arc<Mutex<Shared>>,
    connection: Connection,
    statements: Statements,
    reader: Arc<Reader>,
    counters: Counters,
    options: Options,
    /// Rows and commits since the last piece of maintenance.
    since_tidy: usize,
    /// The generation that is being emptied, and how many of its rows are to be read for those written.
    moving: Option<Moving>,
    owed_rows: usize,
    truncate_after: Option<Instant>,
    /// Why no commit is taken. Set while one is under way, so that one given up half-way counts as failed.
    refuses: Option<String>,
}

/// Whether [`PostgresJournal::connect`] could use this URL. The error is for people, and has no password in it.
pub fn check_url(url: &str) -> Result<(), String> {
    Place::parse(url).map(drop)
}

impl PostgresJournal {
    /// Connects to `url` (`postgres://user:password@host:port/database`), takes the journal's lock and
    /// brings its schema to the newest version.
    pub async fn connect(url: &str, options: Options) -> Result<Self, JournalError> {
        let place = Place::parse(url).map_err(JournalError::Open)?;
        Self::open(&place, options).await.map_err(|error| place.named(error))
    }

    async fn open(place: &Place, options: Options) -> Result<Self, JournalError> {
        let mut connection = Connection::open(place, options.start_patience).await?;
        place.tell_encryption(connection.is_encrypted().await?);
        connection.lock(options.lock_patience).await?;
        migrate(&mut connection.client).await?;
        let shared = Arc::<Mutex<Shared>>::default();
        let statements = Statements::prepare(&connection.client).await;
        let reader = Reader::new(shared.clone(), Connection::open(place, options.start_patience).await?).await?;
        Ok(Self {
            place: place.clone(),
            statements: statements.map_err(|error| open_error("the schema is not as expected", &error))?,
            reader: Arc::new(reader),
            shared,
            connection,
            counters: Counters { next_pack: 1, next_settled: 1, are_marks_dirty: false },
            options,
            since_tidy: 0,
            moving: None,
            owed_rows: 0,
            truncate_after: None,
            refuses: Some("it was not recovered first".into()),
        })
    }

    async fn write(&mut self, batch: &Batch) -> Result<(), JournalError> {
        self.rotate_if_full().await?;
        if self.since_tidy >= TIDY_EACH {
            self.since_tidy = 0;
            self.tidy().await?;
        }
        let mut step = self.owed_step().await?;
        let mut plan = {
            let Shared { index, ring } = &mut *self.shared.lock();
            plan(batch, self.options.row_bytes, &mut self.counters, index, ring)
        };
        self.since_tidy += plan.packs.len() + 1;
        self.owe_moves(plan.packs.len());
        if let Some(step) = &mut step {
            step.add_to(&mut plan);
        }
        if plan.is_empty() {
            return Ok(());
        }
        let written = self.statements.write(&self.connection.client, &plan).await;
        written.map_err(|error| commit_error(&error))?;
        if let Some(step) = step {
            self.moved(step);
        }
        Ok(())
    }

    /// Some of the work that need not wait for a commit.
    async fn maintain(&mut self) -> Result<(), JournalError> {
        self.tidy().await?;
        self.write_down_one().await?;
        self.move_some().await
    }

    /// Runs nothing if something failed before, and remembers if this fails.
    fn refuse_after_failure(&mut self) -> Result<(), JournalError> {
        if let Some(reason) = &self.refuses {
            return Err(JournalError::Commit(reason.clone()));
        }
        self.refuses = Some("an earlier commit was given up before its outcome was known".into());
        self.connection.clear_warning();
        Ok(())
    }

    fn settle_outcome(&mut self, result: Result<(), JournalError>) -> Result<(), JournalError> {
        let result = result.and_then(|()| self.connection.check_warning());
        self.refuses = result.as_ref().err().map(|error| format!("an earlier commit failed: {error}"));
        result
    }
}

#[async_trait]
impl Journal for PostgresJournal {
    async fn recover(&mut self) -> Result<Recovered, JournalError> {
        let found = recovery::recover(&self.connection.client).await.map_err(|error| self.place.named(error))?;
        *self.shared.lock() = Shared { index: found.index, ring: found.ring };
        self.counters = found.counters;
        self.use_current().await?;
        self.refuses = None;
        Ok(found.recovered)
    }

    async fn commit(&mut self, batch: &Batch) -> Result<(), JournalError> {
        self.refuse_after_failure()?;
        let result = self.write(batch).await;
        self.settle_outcome(result)
    }

    fn reader(&self) -> Arc<dyn JournalReader> {
        self.reader.clone()
    }

    async fn idle(&mut self) -> Result<(), JournalError> {
        self.refuse_after_failure()?;
        let result = self.maintain().await;
        self.settle_outcome(result)
    }

    async fn ask(&mut self) -> Result<(), JournalError> {
        self.connection.ask().await?;
        self.reader.connection().ask().await
    }

    async fn ended(&mut self) -> JournalError {
        tokio::select! {
            error = self.connection.ended() => error,
            error = self.reader.connection().ended() => error,
        }
    }

    async fn close(self: Box<Self>) -> Result<(), JournalError> {
        self.connection.close().await;
        Ok(())
    }
}
