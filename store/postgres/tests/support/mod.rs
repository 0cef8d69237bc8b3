//! A PostgreSQL server for tests: the one that EVERGATE_TEST_POSTGRES names, or one of their own.

#![allow(dead_code)] // each test file uses its part

pub mod flow;
pub mod proxy;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use evergate_journal::contract::Storage;
use evergate_journal::{Journal, JournalError};
use evergate_postgres::{Options, PostgresJournal};
use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

const VARIABLE: &str = "EVERGATE_TEST_POSTGRES";

/// A server. One of our own stops when this is dropped.
pub struct Server {
    /// Of a database that is there; others are made from it.
    url: String,
    own: Option<Own>,
    databases: std::sync::Mutex<Vec<String>>,
}

struct Own {
    directory: TempDir,
    child: Child,
    port: u16,
    user: Option<User>,
}

#[derive(Clone, Copy)]
struct User {
    uid: u32,
    gid: u32,
}

impl Server {
    /// The server that the environment names, or one of our own.
    pub async fn start() -> Self {
        match std::env::var(VARIABLE) {
            Ok(url) if !url.is_empty() => Self { url, own: None, databases: Vec::new().into() },
            _ => Self::start_own().await,
        }
    }

    /// One of our own, whatever the environment says: it may be killed.
    pub async fn start_own() -> Self {
        Self::start_with("", &[]).await
    }

    /// One of our own, with lines for its configuration and files in its data directory.
    pub async fn start_with(lines: &str, files: &[(&str, &str)]) -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        let user = unprivileged();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700)).expect("permissions");
        if let Some(user) = user {
            chown(directory.path(), Some(user.uid), Some(user.gid)).expect("chown");
        }
        let mut initdb = command("initdb", user);
        initdb.args(["--no-sync", "-A", "trust", "-U", "evergate", "-E", "UTF8", "--locale=C", "-D"]);
        let made = initdb.arg(directory.path().join("data")).output().expect("initdb runs");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let mut config = fs::read_to_string(directory.path().join("data/postgresql.conf")).expect("configuration");
        config.push_str("\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\nmax_connections = 50\n");
        config.push_str(lines);
        for (name, content) in files {
            let path = directory.path().join("data").join(name);
            fs::write(&path, content).expect("a file");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("permissions");
            if let Some(user) = user {
                chown(&path, Some(user.uid), Some(user.gid)).expect("chown");
            }
        }
        fs::write(directory.path().join("data/postgresql.conf"), config).expect("configuration");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
        let child = launch(directory.path(), port, user);
        let url = format!("postgres://evergate@127.0.0.1:{port}/postgres");
        let mut this = Self { url, own: Some(Own { directory, child, port, user }), databases: Vec::new().into() };
        this.wait_until_ready().await;
        this
    }

    /// Kills every process of the server, as a crash would, and waits until it is gone.
    pub fn kill(&mut self) {
        let own = self.own.as_mut().expect("only our own server is killed");
        own.child.kill().expect("kill -9");
        own.child.wait().expect("it ends");
    }

    /// Starts it again after [`Self::kill`].
    pub async fn restart(&mut self) {
        let own = self.own.as_mut().expect("only our own server is restarted");
        // Its processes notice the death of their parent; until then the data directory is theirs.
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            own.child = launch(own.directory.path(), own.port, own.user);
            std::thread::sleep(Duration::from_millis(200));
            match own.child.try_wait().expect("its state") {
                None => break,
                Some(status) => assert!(Instant::now() < deadline, "PostgreSQL does not start again: {status}"),
            }
        }
        self.wait_until_ready().await;
    }

    /// A new database.
    pub async fn database(&self) -> Database {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("evergate_test_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let client = connect(&self.url).await.expect("PostgreSQL answers");
        client.batch_execute(&format!("CREATE DATABASE {name}")).await.expect("a database is created");
        self.databases.lock().expect("no test panics here").push(name.clone());
        let (server, _) = self.url.rsplit_once('/').expect("the address ends with a database");
        Database { url: format!("{server}/{name}"), options: Options::default() }
    }

    /// Deletes its databases: a server that stays would fill up.
    pub async fn remove_databases(&self) {
        let client = connect(&self.url).await.expect("PostgreSQL answers");
        let databases = std::mem::take(&mut *self.databases.lock().expect("no test panics here"));
        for name in databases {
            client.batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)")).await.expect("the database is dropped");
        }
    }

    async fn wait_until_ready(&mut self) {
        let deadline = Instant::now() + Duration::from_mins(1);
        while let Err(error) = connect(&self.url).await {
            if let Some(own) = &mut self.own
                && let Ok(Some(status)) = own.child.try_wait()
            {
                let log = fs::read_to_string(own.directory.path().join("log")).unwrap_or_default();
                panic!("PostgreSQL ended ({status}): {log}");
            }
            assert!(Instant::now() < deadline, "PostgreSQL is not ready: {error}");
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // Immediate stop: its processes and shared memory go, nothing is written, then the directory goes.
        let _ = Command::new("kill").args(["-QUIT", &self.child.id().to_string()]).status();
        let deadline = Instant::now() + Duration::from_secs(10);
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                let _ = self.child.kill();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn launch(directory: &Path, port: u16, user: Option<User>) -> Child {
    let log = fs::OpenOptions::new().create(true).append(true).open(directory.join("log")).expect("a log file");
    let mut postgres = command("postgres", user);
    postgres.arg("-D").arg(directory.join("data")).args(["-p", &port.to_string()]);
    postgres.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    postgres.spawn().expect("postgres runs")
}

fn command(name: &str, user: Option<User>) -> Command {
    let mut command = Command::new(binaries().join(name));
    if let Some(user) = user {
        command.uid(user.uid).gid(user.gid);
    }
    command.current_dir("/");
    command
}

fn binaries() -> PathBuf {
    let asked = Command::new("pg_config").arg("--bindir").output();
    let asked = asked.ok().and_then(|output| String::from_utf8(output.stdout).ok());
    let usual = (13..=18).rev().map(|version| PathBuf::from(format!("/usr/lib/postgresql/{version}/bin")));
    let found = asked.into_iter().map(|text| PathBuf::from(text.trim())).chain(usual);
    found.into_iter().find(|directory| directory.join("initdb").exists()).unwrap_or_else(|| {
        panic!("these tests need PostgreSQL: install its server package (Debian: postgresql), or set {VARIABLE} to a server's address")
    })
}

/// PostgreSQL refuses to run as root: somebody else, then.
fn unprivileged() -> Option<User> {
    let me = fs::metadata("/proc/self").map_or(0, |me| std::os::unix::fs::MetadataExt::uid(&me));
    if me != 0 {
        return None;
    }
    let passwd = fs::read_to_string("/etc/passwd").expect("/etc/passwd");
    let user = |name: &str| {
        let fields: Vec<&str> =
            passwd.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|f| f[0] == name)?;
        Some(User { uid: fields[2].parse().ok()?, gid: fields[3].parse().ok()? })
    };
    Some(user("postgres").or_else(|| user("nobody")).expect("a user to run PostgreSQL as: postgres or nobody"))
}

/// A connection whose driver runs by itself.
pub async fn connect(url: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// A database of its own for one test.
#[derive(Clone)]
pub struct Database {
    /// Its address.
    pub url: String,
    /// How the journal is opened.
    pub options: Options,
}

impl Database {
    /// A plain connection to it.
    pub async fn client(&self) -> Client {
        connect(&self.url).await.expect("the database answers")
    }
}

#[async_trait]
impl Storage for Database {
    async fn open(&self) -> Result<Box<dyn Journal>, JournalError> {
        Ok(Box::new(PostgresJournal::connect(&self.url, self.options).await?))
    }
}
