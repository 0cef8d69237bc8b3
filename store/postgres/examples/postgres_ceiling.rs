//! The ceiling of the PostgreSQL journal. Arguments: the server's address, seconds for each size (2).

use std::time::Duration;

use evergate_journal::{Journal, JournalError, ceiling};
use evergate_postgres::{Options, PostgresJournal};

#[tokio::main]
async fn main() -> Result<(), JournalError> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().ok_or_else(|| JournalError::Open("name the server: postgres://…".into()))?;
    let seconds = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(2.0);
    let mut journal = PostgresJournal::connect(&url, Options::default()).await?;
    journal.recover().await?;
    ceiling::run("postgres", &mut journal, Duration::from_secs_f64(seconds)).await?;
    Box::new(journal).close().await
}
