//! The ceiling of the SQLite journal. Arguments: seconds for each size (2), directory (a temporary one).

use std::path::PathBuf;
use std::time::Duration;

use evergate_journal::{Journal, JournalError, ceiling};
use evergate_sqlite::{Options, SqliteJournal};

#[tokio::main]
async fn main() -> Result<(), JournalError> {
    let mut arguments = std::env::args().skip(1);
    let seconds = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(2.0);
    let temporary = tempfile::tempdir().map_err(|error| JournalError::Open(error.to_string()))?;
    let directory = arguments.next().map_or_else(|| temporary.path().to_owned(), PathBuf::from);
    let mut options = Options::default();
    if let Some(bytes) = std::env::var("PACK_BYTES").ok().and_then(|text| text.parse().ok()) {
        options.pack_bytes = bytes;
    }
    let mut journal = SqliteJournal::open(&directory, options)?;
    journal.recover().await?;
    ceiling::run("sqlite", &mut journal, Duration::from_secs_f64(seconds)).await?;
    Box::new(journal).close().await
}
