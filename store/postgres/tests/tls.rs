//! Encryption of the way to the server, as the URL wants it.

mod support;

use std::fs;

use evergate_postgres::{Options, PostgresJournal};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use support::Server;
use tempfile::TempDir;

async fn error_of(url: &str) -> String {
    PostgresJournal::connect(url, Options::default()).await.unwrap_err().to_string()
}

#[tokio::test]
async fn a_server_with_tls_is_spoken_to_as_the_url_says() {
    let certificate = || generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let CertifiedKey { cert, signing_key } = certificate();
    let (pem, key) = (cert.pem(), signing_key.serialize_pem());
    let server = Server::start_with("ssl = on\n", &[("server.crt", &pem), ("server.key", &key)]).await;
    let database = server.database().await;
    let files = TempDir::new().unwrap();
    let file = |name: &str, content: &str| {
        let path = files.path().join(name);
        fs::write(&path, content).unwrap();
        path.display().to_string()
    };
    let (right, other) = (file("right.pem", &pem), file("other.pem", &certificate().cert.pem()));
    let url = |parameters: &str| format!("{}?{parameters}", database.url);
    let encrypted = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
        WHERE application_name = 'evergate'";
    for (parameters, is_encrypted) in [
        ("sslmode=disable", false),
        ("sslmode=prefer", true),
        ("connect_timeout=9", true),
        ("sslmode=require", true),
        (&format!("sslmode=require&sslrootcert={right}"), true),
        (&format!("sslmode=verify-full&sslrootcert={right}"), true),
    ] {
        let journal = PostgresJournal::connect(&url(parameters), database.options).await.unwrap();
        let found: bool = database.client().await.query_one(encrypted, &[]).await.unwrap().get(0);
        assert_eq!(found, is_encrypted, "{parameters}");
        drop(journal);
    }
    let error = error_of(&url(&format!("sslmode=verify-full&sslrootcert={other}"))).await;
    assert!(error.contains("invalid peer certificate") && error.contains("sslrootcert in [journal] url"), "{error}");
}

#[tokio::test]
async fn a_server_without_tls_is_refused_where_the_url_wants_it() {
    let server = Server::start_own().await;
    let error = error_of(&format!("{}?sslmode=require", server.database().await.url)).await;
    assert!(error.contains("server does not support TLS; see ssl in postgresql.conf"), "{error}");
}
