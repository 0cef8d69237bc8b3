//! PostgreSQL keeps the journal's contract.

mod support;

use evergate_journal::contract::run_all;
use evergate_postgres::Options;
use support::Server;

async fn run_with(options: Options) {
    let server = Server::start().await;
    run_all(async || {
        let mut database = server.database().await;
        database.options = options;
        database
    })
    .await;
    server.remove_databases().await;
}

#[tokio::test]
async fn postgres_keeps_the_contract() {
    run_with(Options::default()).await;
}

/// Tables of a hundred messages: every few commits a table is begun, given up, emptied, moved out of.
#[tokio::test]
async fn postgres_keeps_the_contract_with_tiny_tables() {
    run_with(Options { table_messages: 100, row_bytes: 1_500, ..Options::default() }).await;
}
