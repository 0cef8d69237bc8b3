//! A server that goes away while the journal has nothing to do.

mod support;

use std::time::Duration;

use evergate_journal::JournalError;
use evergate_journal::contract::Storage as _;
use support::Server;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn the_end_of_an_idle_connection_is_told_though_nobody_asks() {
    let mut server = Server::start_own().await;
    let database = server.database().await;
    let mut journal = database.open().await.unwrap();
    journal.recover().await.unwrap();
    journal.ask().await.unwrap();
    assert!(timeout(Duration::from_millis(300), journal.ended()).await.is_err(), "it ends while all is well");
    server.kill();
    let error = timeout(SOON, journal.ended()).await.expect("the end is noticed");
    assert!(matches!(&error, JournalError::Ended(text) if text.contains("connection to PostgreSQL ended")), "{error}");
    assert!(journal.ask().await.is_err());
}

#[tokio::test]
async fn the_end_of_either_connection_is_told_with_the_words_of_the_server() {
    let server = Server::start().await;
    // Of the two, the writer's is the one with the lock.
    for is_writer in [true, false] {
        let database = server.database().await;
        let mut journal = database.open().await.unwrap();
        journal.recover().await.unwrap();
        let client = database.client().await;
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() \
            AND pid <> pg_backend_pid() AND $1 = (pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory'))";
        let ended = client.query(end, &[&is_writer]).await.unwrap();
        assert_eq!(ended.len(), 1, "writer: {is_writer}");
        let error = timeout(SOON, journal.ended()).await.expect("the end is noticed").to_string();
        assert!(error.contains("57P01"), "{error}");
    }
    server.remove_databases().await;
}
