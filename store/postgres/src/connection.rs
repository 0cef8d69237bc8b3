//! A connection to the server, its warnings, and the lock that makes this gateway the only one.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use evergate_journal::JournalError;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::error::{Severity, SqlState};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{AsyncMessage, Client, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::place::Place;
use crate::schema::{describe, open_error};

type Encrypted = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;

/// "evergate" in ASCII.
const LOCK_KEY: i64 = 0x6576_6572_6761_7465;
const LOCK_RETRY: Duration = Duration::from_millis(50);
const START_RETRY: Duration = Duration::from_millis(200);
/// How often a wait for the server is told.
const START_TELL: Duration = Duration::from_secs(3);

/// A connection and the task that drives it.
#[derive(Debug)]
pub struct Connection {
    /// Speaks to the server.
    pub client: Client,
    warning: Arc<Mutex<Option<String>>>,
    driver: tokio::task::JoinHandle<()>,
    /// Set once: why it ended.
    end: watch::Receiver<Option<String>>,
}

impl Connection {
    /// Connects, and sets what a journal relies on. Waits for a server that is starting.
    pub async fn open(place: &Place, start_patience: Duration) -> Result<Self, JournalError> {
        let (client, mut connection) = connect(place, start_patience).await?;
        let warning = Arc::new(Mutex::new(None));
        let seen = warning.clone();
        let (ended, end) = watch::channel(None);
        let driver = tokio::spawn(async move {
            let why = loop {
                match poll_fn(|context| connection.poll_message(context)).await {
                    Some(Ok(AsyncMessage::Notice(notice))) => {
                        if notice.parsed_severity() == Some(Severity::Warning) {
                            *seen.lock() = Some(format!("{} [{}]", notice.message(), notice.code().code()));
                        }
                    }
                    Some(Ok(_)) => {}
                    // Whoever waits for an answer sees it, too.
                    Some(Err(error)) => break describe(&error),
                    None => break "it was closed".to_owned(),
                }
            };
            ended.send_replace(Some(why));
        });
        let this = Self { client, warning, driver, end };
        // `on`, not `remote_write`: that can lose data when the standby's system crashes. No time limit may
        // cancel a commit: a cancelled wait for the standby is answered with success and a warning.
        let settings = "SET synchronous_commit = on; SET statement_timeout = 0; \
            SET idle_in_transaction_session_timeout = 0; SET search_path = evergate, pg_catalog";
        let set = timeout(place.patience(), this.client.batch_execute(settings)).await;
        let set = set.map_err(|_| place.no_answer())?;
        set.map_err(|error| open_error("the session cannot be set up", &error))?;
        Ok(this)
    }

    /// Whether the server says that what it is sent is encrypted.
    pub async fn is_encrypted(&self) -> Result<bool, JournalError> {
        let query = "SELECT ssl FROM pg_catalog.pg_stat_ssl WHERE pid = pg_backend_pid()";
        let row = self.client.query_opt(query, &[]).await;
        let row = row.map_err(|error| open_error("the session cannot be looked at", &error))?;
        Ok(row.is_some_and(|row| row.get(0)))
    }

    /// Forgets warnings from before a commit.
    pub fn clear_warning(&self) {
        self.warning.lock().take();
    }

    /// Fails if the server warned since [`Self::clear_warning`]: its success is then only local, or worse.
    pub fn check_warning(&self) -> Result<(), JournalError> {
        match self.warning.lock().take() {
            Some(warning) => Err(JournalError::Commit(format!("the server warned: {warning}"))),
            None => Ok(()),
        }
    }

    /// Takes the journal's lock in this database. It ends with the connection.
    pub async fn lock(&self, patience: Duration) -> Result<(), JournalError> {
        let failed = |error| open_error("the journal cannot be locked", &error);
        let deadline = Instant::now() + patience;
        // The server may not have noticed yet that the gateway before this one is gone.
        loop {
            let row = self.client.query_one("SELECT pg_try_advisory_lock($1)", &[&LOCK_KEY]).await.map_err(failed)?;
            if row.get(0) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(JournalError::Open(self.describe_holder().await));
            }
            sleep(LOCK_RETRY).await;
        }
    }

    async fn describe_holder(&self) -> String {
        let query = "SELECT a.pid, coalesce(host(a.client_addr), 'local socket'), a.application_name, current_database() \
            FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a USING (pid) \
            WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 \
              AND (l.classid::int8 << 32 | l.objid::int8) = $1 \
              AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())";
        let holder = match self.client.query_opt(query, &[&LOCK_KEY]).await {
            Ok(Some(row)) => {
                let (pid, address, name, database): (i32, String, String, String) =
                    (row.get(0), row.get(1), row.get(2), row.get(3));
                format!("another gateway ({name} from {address}, server process {pid}) uses the database {database}")
            }
            _ => "another gateway uses this database".to_owned(),
        };
        format!("{holder}; stop it or choose another database")
    }

    /// Asks the server whether it is still there.
    pub async fn ask(&self) -> Result<(), JournalError> {
        self.client.batch_execute("").await.map_err(|error| ended_error(&describe(&error)))
    }

    /// Returns once it has ended.
    pub async fn ended(&self) -> JournalError {
        let mut end = self.end.clone();
        let why = end.wait_for(Option::is_some).await.ok().and_then(|why| why.clone());
        ended_error(&why.unwrap_or_else(|| "what drives it panicked".into()))
    }

    /// Closes it and waits until the server has let go of the lock's connection.
    pub async fn close(self) {
        drop(self.client);
        // A panic in it was reported by its own hook.
        let _ = self.driver.await;
    }
}

/// After a crash PostgreSQL takes connections only once it has recovered.
async fn connect(
    place: &Place,
    start_patience: Duration,
) -> Result<(Client, tokio_postgres::Connection<Socket, Encrypted>), JournalError> {
    let started = Instant::now();
    let mut told = None::<Instant>;
    loop {
        // The limit of `Config` ends with the TCP connection: who takes it may never say a word.
        let connected = timeout(place.patience(), place.config.connect(place.encryption())).await;
        let error = match connected.map_err(|_| place.no_answer())? {
            Ok(connected) => return Ok(connected),
            Err(error) => error,
        };
        let is_starting = error.code() == Some(&SqlState::CANNOT_CONNECT_NOW);
        if !is_starting || started.elapsed() >= start_patience {
            return Err(open_error("no connection", &error));
        }
        if told.is_none_or(|told| told.elapsed() >= START_TELL) {
            told = Some(Instant::now());
            tracing::warn!(
                waited_seconds = started.elapsed().as_secs(),
                patience_seconds = start_patience.as_secs(),
                "PostgreSQL is not ready, waiting: {}",
                describe(&error)
            );
        }
        sleep(START_RETRY).await;
    }
}

fn ended_error(why: &str) -> JournalError {
    JournalError::Ended(format!("the connection to PostgreSQL ended: {why}"))
}

/// A failed write: terminal.
pub fn commit_error(error: &tokio_postgres::Error) -> JournalError {
    JournalError::Commit(describe(error))
}
