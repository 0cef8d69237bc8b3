//! The file's tables, and how connections to it are set up.

use std::path::Path;

use evergate_journal::JournalError;
use rusqlite::{Connection, OpenFlags};

use crate::Options;

/// Each entry brings the file from the version of its place in the list to the next. Never changed, only added to.
const MIGRATIONS: &[&str] = &["
    CREATE TABLE pack (id INTEGER PRIMARY KEY, places BLOB NOT NULL, messages BLOB NOT NULL);
    CREATE TABLE settled (
        pack INTEGER NOT NULL, queue INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
        PRIMARY KEY (pack, queue, first)
    ) WITHOUT ROWID;
    CREATE TABLE queue (id INTEGER PRIMARY KEY, next_seq INTEGER NOT NULL);
    CREATE TABLE mark (queue INTEGER NOT NULL, number INTEGER NOT NULL, PRIMARY KEY (queue, number)) WITHOUT ROWID;
    CREATE TABLE state (kind INTEGER NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (kind, key));
"];

/// Says where the trouble is.
pub fn open_error(path: &Path, error: &impl std::fmt::Display) -> JournalError {
    JournalError::Open(format!("{}: {error}", path.display()))
}

/// Opens the file for writing, creates it if need be and brings it to the newest version.
pub fn open_writer(path: &Path, options: Options) -> Result<Connection, JournalError> {
    let version_max = MIGRATIONS.len();
    let open = || -> rusqlite::Result<(Connection, usize)> {
        let mut connection = Connection::open(path)?;
        connection.pragma_update(None, "page_size", options.page_bytes)?;
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
        // FULL: the log is synced in every commit.
        connection.pragma_update(None, "synchronous", "FULL")?;
        // Another thread's.
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        // What the log grew to while it could not begin anew, as during a backup, is given back after it.
        connection.pragma_update_and_check(None, "journal_size_limit", options.log_bytes_max(), |_| Ok(()))?;
        connection.pragma_update(None, "cache_size", -16 * 1024)?;
        connection.set_prepared_statement_cache_capacity(32);
        let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        let version = usize::try_from(version).unwrap_or(usize::MAX);
        for (number, migration) in (1_i64..).zip(MIGRATIONS).skip(version) {
            let transaction = connection.transaction()?;
            transaction.execute_batch(migration)?;
            transaction.pragma_update(None, "user_version", number)?;
            transaction.commit()?;
        }
        Ok((connection, version))
    };
    let (connection, version) = open().map_err(|error| open_error(path, &error))?;
    if version > version_max {
        let text = format!("a newer gateway wrote it (version {version}, this one knows {version_max})");
        return Err(open_error(path, &text));
    }
    Ok(connection)
}

/// Opens the file, which the writer has set up, to move its log.
pub fn open_checkpointer(path: &Path) -> Result<Connection, JournalError> {
    let open = || {
        let connection = Connection::open(path)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        Ok(connection)
    };
    open().map_err(|error: rusqlite::Error| open_error(path, &error))
}

/// Opens the file, which the writer has set up, for reading.
pub fn open_reader(path: &Path) -> Result<Connection, JournalError> {
    let open = || {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        connection.pragma_update(None, "cache_size", -4 * 1024)?;
        // Only while the writer restarts the log.
        connection.busy_timeout(std::time::Duration::from_secs(10))?;
        Ok(connection)
    };
    open().map_err(|error: rusqlite::Error| open_error(path, &error))
}
