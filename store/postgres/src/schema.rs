//! The tables, and how a server is brought to them.

use evergate_journal::JournalError;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

/// Each entry brings the schema from the version of its place in the list to the next. Never changed,
/// only added to.
const MIGRATIONS: &[&str] = &[
    include_str!("../migrations/0001_journal.sql"),
    include_str!("../migrations/0002_lanes.sql"),
    include_str!("../migrations/0003_checkpoint_places.sql"),
];

/// The most ring tables. A reader of the view locks them all, and the server's lock table is finite.
pub const SLOTS_MAX: i32 = 64;

/// Brings the schema to the newest version, in one transaction. The caller holds the journal's lock.
pub async fn migrate(client: &mut Client) -> Result<(), JournalError> {
    let version = apply(client).await.map_err(|error| open_error("the schema cannot be created", &error))?;
    let wrong = match version {
        Some(version) if version <= MIGRATIONS.len() => return Ok(()),
        Some(version) => format!(
            "the schema was written by a newer gateway (version {version}, this one knows {}); \
             start that one, or name another database",
            MIGRATIONS.len()
        ),
        None => "the schema is damaged: the table evergate.schema_version does not have its one row; restore the \
             database from a backup, name another, or DROP SCHEMA evergate CASCADE if nothing in it is needed"
            .into(),
    };
    Err(JournalError::Open(wrong))
}

/// The version that was found; `None`: tables without one.
async fn apply(client: &mut Client) -> Result<Option<usize>, tokio_postgres::Error> {
    let transaction = client.transaction().await?;
    let is_there = transaction.query_one("SELECT to_regclass('evergate.schema_version') IS NOT NULL", &[]).await?;
    let mut version = 0;
    if is_there.get(0) {
        let rows = transaction.query("SELECT version FROM evergate.schema_version", &[]).await?;
        let [row] = &rows[..] else { return Ok(None) };
        version = usize::try_from(row.get::<_, i32>(0)).unwrap_or(usize::MAX);
    }
    for (number, migration) in MIGRATIONS.iter().enumerate().skip(version) {
        transaction.batch_execute(migration).await?;
        let next = i32::try_from(number + 1).unwrap_or(i32::MAX);
        transaction.execute("UPDATE evergate.schema_version SET version = $1", &[&next]).await?;
    }
    transaction.commit().await?;
    Ok(Some(version))
}

/// The statements that add ring tables number `slot`. Their columns and storage come from their parents.
pub fn slot_sql(slot: i32) -> String {
    const MODES: &str = "autovacuum_enabled = off, toast.autovacuum_enabled = off, toast_tuple_target = 8160";
    format!(
        "CREATE TABLE evergate.message_{slot} (PRIMARY KEY (id)) INHERITS (evergate.message) WITH ({MODES});
         CREATE TABLE evergate.settled_{slot} () INHERITS (evergate.settled) WITH ({MODES})"
    )
}

/// An error for people: with the server's own words, and what to do. [`crate::place::Place::named`] adds where.
pub fn open_error(what: &str, error: &tokio_postgres::Error) -> JournalError {
    JournalError::Open(format!("{what}: {}; {}", describe(error), next_step(error)))
}

fn next_step(error: &tokio_postgres::Error) -> &'static str {
    use std::error::Error as _;
    let Some(code) = error.code() else {
        // The library tells its kinds of errors by their text alone.
        if error.to_string().starts_with("error performing TLS handshake") {
            return "see ssl in postgresql.conf, and sslmode and sslrootcert in [journal] url";
        }
        let source = error.source().and_then(<dyn std::error::Error>::downcast_ref::<std::io::Error>);
        return if source.is_some() {
            "see that PostgreSQL runs and listens there, or correct [journal] url"
        } else {
            "correct [journal] url; the log of PostgreSQL may say more"
        };
    };
    match *code {
        SqlState::INVALID_PASSWORD | SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
            "correct user and password in [journal] url, or let the user in with a line in pg_hba.conf"
        }
        SqlState::INVALID_CATALOG_NAME => "make it with CREATE DATABASE, or name another in [journal] url",
        SqlState::INSUFFICIENT_PRIVILEGE => {
            "the user needs the right to make a schema: GRANT CREATE ON DATABASE … TO …, as its owner"
        }
        SqlState::TOO_MANY_CONNECTIONS => "raise max_connections of PostgreSQL: the gateway needs two",
        SqlState::CANNOT_CONNECT_NOW => "start the gateway again once PostgreSQL is up",
        SqlState::READ_ONLY_SQL_TRANSACTION => "the gateway needs the primary, not a standby: correct [journal] url",
        _ => "the log of PostgreSQL may say more",
    }
}

/// The server's words, not only "db error".
pub fn describe(error: &tokio_postgres::Error) -> String {
    use std::error::Error as _;
    match (error.as_db_error(), error.source()) {
        (Some(db), _) => {
            let detail = db.detail().map(|detail| format!(" ({detail})")).unwrap_or_default();
            format!("{}{detail} [{}]", db.message(), db.code().code())
        }
        (None, Some(source)) => format!("{error}: {source}"),
        (None, None) => error.to_string(),
    }
}
