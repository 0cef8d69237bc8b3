//! A made-up gateway and a small HTTP client.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::{
    AdminState, ConnectionRow, ConnectionState, DestinationKind, DestinationRow, JournalTotals, Memory, Node, Observe,
    Snapshot, Totals, router,
};

/// A gateway that counts how often it was looked at.
pub struct MadeUp {
    pub destinations: usize,
    pub name_bytes: usize,
    pub connections: Vec<ConnectionRow>,
    pub ready: Result<(), String>,
    pub looks: AtomicU64,
}

impl Default for MadeUp {
    fn default() -> Self {
        Self {
            destinations: 3,
            name_bytes: 0,
            connections: vec![connection()],
            ready: Ok(()),
            looks: AtomicU64::new(0),
        }
    }
}

impl Observe for MadeUp {
    fn snapshot(&self) -> Snapshot {
        let look = self.looks.fetch_add(1, Ordering::Relaxed);
        Snapshot {
            node: Node {
                version: "0.1.0".into(),
                started_at_ms: 1_700_000_000_500,
                uptime_ms: look * 1000,
                journal: "SQLite".into(),
            },
            totals: Totals {
                published: 10 + look,
                delivered: 9,
                confirmed: 8,
                settled: 7,
                rejected: 6,
                dropped: 5,
                expired: 13,
                dead_lettered: 14,
                announcements_dropped: 4,
                transactions_open: 3,
                transactions_committed: 12,
                transactions_rolled_back: 11,
                transactions_refused: 2,
                connections_refused: 6,
            },
            destinations: (0..self.destinations).map(|i| destination(i, self.name_bytes)).collect(),
            connections: self.connections.clone(),
            memory: Memory { used_bytes: 1024, max_bytes: 4096 },
            journal: JournalTotals {
                commits_total: 4,
                messages_total: 40,
                commit_seconds_sum: 0.25,
                commit_seconds_max: 0.125,
                pending: 3,
            },
        }
    }

    fn ready(&self) -> Result<(), String> {
        self.ready.clone()
    }
}

/// The `i`th destination holds `i` messages.
fn destination(i: usize, name_bytes: usize) -> DestinationRow {
    DestinationRow {
        name: format!("orders-{i}{}", "x".repeat(name_bytes)),
        kind: if i.is_multiple_of(2) { DestinationKind::Queue } else { DestinationKind::Subscription },
        messages: i as u64,
        bytes: 100 * i as u64,
        consumers: 2,
        unsettled: 1,
        published_total: 21,
        delivered_total: 22,
        settled_total: 23,
        expired_total: 24,
        dead_lettered_total: 25,
    }
}

pub fn connection() -> ConnectionRow {
    ConnectionRow {
        id: 1,
        protocol: "MQTT 5".into(),
        client_id: "till-7".into(),
        user: "anna".into(),
        remote: "192.0.2.7:50000".into(),
        listener: "mqtt".into(),
        since_ms: 1_700_000_001_000,
        published_total: 31,
        delivered_total: 32,
        received_bytes: 33,
        sent_bytes: 34,
        state: ConnectionState::Blocked,
    }
}

/// A running interface. It stops with the test's runtime.
pub struct Served {
    pub address: std::net::SocketAddr,
    pub stop: watch::Sender<bool>,
}

pub async fn serve(observe: MadeUp) -> Served {
    serve_with(Arc::new(observe), |state| state).await
}

pub async fn serve_with(observe: Arc<MadeUp>, configure: impl FnOnce(AdminState) -> AdminState) -> Served {
    let (stop, stopping) = watch::channel(false);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = router(configure(AdminState::new(observe, stopping)));
    tokio::spawn(async move { axum::serve(listener, app).await });
    Served { address, stop }
}

/// Status, headers in lower case, and body.
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

impl Served {
    pub async fn get(&self, path: &str) -> Answer {
        self.request("GET", path, "").await
    }

    /// `headers` are whole lines.
    pub async fn request(&self, method: &str, path: &str, headers: &str) -> Answer {
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        timeout(Duration::from_secs(10), socket.read_to_end(&mut bytes)).await.expect("an answer").unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        // Names of headers come in any case.
        let head = head
            .lines()
            .map(|line| match line.split_once(": ") {
                Some((name, value)) => format!("{}: {value}\n", name.to_lowercase()),
                None => format!("{line}\n"),
            })
            .collect();
        Answer { status, head, body: body.to_owned() }
    }

    /// A connection on which the request for a live stream was sent.
    pub async fn open_live(&self, query: &str) -> TcpStream {
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        let request = format!("GET /api/live{query} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        socket
    }
}
