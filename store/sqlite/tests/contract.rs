//! SQLite keeps the journal's contract.

use async_trait::async_trait;
use evergate_journal::contract::{Storage, run_all};
use evergate_journal::{Journal, JournalError};
use evergate_sqlite::{Options, SqliteJournal};
use tempfile::TempDir;

struct Directory {
    directory: TempDir,
    options: Options,
}

#[async_trait]
impl Storage for Directory {
    async fn open(&self) -> Result<Box<dyn Journal>, JournalError> {
        Ok(Box::new(SqliteJournal::open(self.directory.path(), self.options)?))
    }
}

async fn run_with(options: Options) {
    run_all(async || Directory { directory: TempDir::new().unwrap(), options }).await;
}

#[tokio::test]
async fn sqlite_keeps_the_contract() {
    run_with(Options::default()).await;
}

#[tokio::test]
async fn sqlite_keeps_the_contract_with_tiny_rows_and_a_short_log() {
    run_with(Options { pack_bytes: 600, checkpoint_pages: 10, page_bytes: 1024 }).await;
}
