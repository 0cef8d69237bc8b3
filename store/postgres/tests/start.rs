//! What is told when it cannot be opened: where, what, what to do.

mod support;

use std::time::{Duration, Instant};

use evergate_journal::JournalError;
use evergate_postgres::{Options, PostgresJournal};
use support::Server;
use tokio::net::TcpListener;

async fn error_of(url: &str) -> String {
    let options = Options { start_patience: Duration::from_secs(1), ..Options::default() };
    match PostgresJournal::connect(url, options).await {
        Err(error @ JournalError::Open(_)) => error.to_string(),
        other => panic!("{url}: {other:?}"),
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_a_clear_error() {
    let error = error_of("postgres://nobody@127.0.0.1:1/x").await;
    assert!(error.contains("PostgreSQL at 127.0.0.1:1 (database x, user nobody): no connection"), "{error}");
    assert!(error.contains("see that PostgreSQL runs"), "{error}");
    let error = error_of("postgres://[").await;
    assert!(error.contains("the address of PostgreSQL is wrong"), "{error}");
}

#[tokio::test]
async fn a_server_that_takes_connections_and_says_nothing_is_not_waited_for_for_ever() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let started = Instant::now();
    let error = error_of(&format!("postgres://nobody@127.0.0.1:{port}/x?connect_timeout=1")).await;
    assert!(started.elapsed() < Duration::from_secs(5));
    assert!(error.contains(&format!("127.0.0.1:{port}")) && error.contains("within 1 s"), "{error}");
    assert!(error.contains("connect_timeout"), "{error}");
}

#[tokio::test]
async fn what_the_server_refuses_is_told_with_what_to_do() {
    let server = Server::start().await;
    let database = server.database().await;
    let (place, _) = database.url.rsplit_once('/').unwrap();
    let error = error_of(&format!("{place}/nowhere")).await;
    assert!(error.contains("database nowhere") && error.contains("[3D000]; make it with CREATE DATABASE"), "{error}");

    PostgresJournal::connect(&database.url, database.options).await.unwrap();
    let client = database.client().await;
    client.batch_execute("DELETE FROM evergate.schema_version").await.unwrap();
    let error = error_of(&database.url).await;
    assert!(error.contains("PostgreSQL at ") && error.contains("the schema is damaged"), "{error}");
    assert!(error.contains("restore"), "{error}");
    server.remove_databases().await;
}
