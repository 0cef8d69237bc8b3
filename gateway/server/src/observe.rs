//! What the HTTP interface shows of the gateway: a snapshot taken each second.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use evergate_admin::{
    ConnectionRow, ConnectionState, DestinationKind, DestinationRow, JournalTotals, Memory, Node, Observe, Snapshot,
    Totals,
};
use evergate_model::SESSION_PREFIX;
use evergate_runtime::Gateway;
use evergate_runtime::net::ConnectionLimit;
use parking_lot::Mutex;

const EVERY: Duration = Duration::from_secs(1);

/// The latest snapshot.
pub struct Observer {
    gateway: Arc<Gateway>,
    journal: String,
    clients: ConnectionLimit,
    latest: Mutex<Destinations>,
}

/// The figures of the queues, which only their shards know.
#[derive(Default)]
struct Destinations {
    rows: Vec<DestinationRow>,
    /// What happened in queues that are gone.
    elsewhere: Sums,
}

/// Totals of queues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    settled: u64,
    expired: u64,
}

impl Sums {
    fn of(row: &DestinationRow) -> Self {
        Self { settled: row.settled_total, expired: row.expired_total }
    }

    fn and(self, other: Self) -> Self {
        Self { settled: self.settled + other.settled, expired: self.expired + other.expired }
    }

    /// Whether these can follow on `earlier` ones of the same queue.
    fn follow(self, earlier: Self) -> bool {
        self.settled >= earlier.settled && self.expired >= earlier.expired
    }
}

impl Observer {
    /// Observes `gateway`, whose journal is called `journal`, and whose connections have this limit.
    pub fn new(gateway: Arc<Gateway>, journal: String, clients: ConnectionLimit) -> Arc<Self> {
        Arc::new(Self { gateway, journal, clients, latest: Mutex::default() })
    }

    /// Takes a snapshot of the queues each second, for as long as the gateway runs.
    pub async fn run(self: Arc<Self>) {
        let mut interval = tokio::time::interval(EVERY);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            let stats = self.gateway.destination_stats().await;
            let rows: Vec<DestinationRow> = stats
                .into_iter()
                .map(|(name, stats)| DestinationRow {
                    kind: kind_of(&name),
                    name: name.to_string(),
                    messages: stats.messages,
                    bytes: stats.bytes,
                    consumers: stats.consumers,
                    unsettled: stats.unsettled,
                    published_total: stats.published_total,
                    delivered_total: stats.delivered_total,
                    settled_total: stats.settled_total,
                    expired_total: stats.expired_total,
                    dead_lettered_total: stats.dead_lettered_total,
                })
                .collect();
            let mut latest = self.latest.lock();
            latest.replace(rows);
        }
    }
}

impl Destinations {
    /// Takes new rows; the totals of queues that are gone are kept, so that no total ever falls.
    fn replace(&mut self, rows: Vec<DestinationRow>) {
        let now: HashMap<&str, Sums> = rows.iter().map(|row| (row.name.as_str(), Sums::of(row))).collect();
        for old in &self.rows {
            let before = Sums::of(old);
            if !now.get(old.name.as_str()).is_some_and(|sums| sums.follow(before)) {
                self.elsewhere = self.elsewhere.and(before);
            }
        }
        self.rows = rows;
    }

    fn sums(&self) -> Sums {
        self.rows.iter().map(Sums::of).fold(self.elsewhere, Sums::and)
    }
}

fn kind_of(name: &str) -> DestinationKind {
    if name.starts_with(SESSION_PREFIX) {
        DestinationKind::Session
    } else if name.starts_with('$') {
        DestinationKind::Subscription
    } else {
        DestinationKind::Queue
    }
}

#[allow(clippy::cast_precision_loss)] // microseconds of a process's life fit
fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

impl Observe for Observer {
    fn snapshot(&self) -> Snapshot {
        let gateway = &self.gateway;
        let (started, now) = (gateway.clock.started_at(), gateway.clock.now());
        let connections = gateway.connections.list().into_iter().map(|connection| {
            let peer = connection.peer.lock().clone();
            let figures = &connection.figures;
            ConnectionRow {
                id: connection.id.0,
                protocol: peer.protocol.to_owned(),
                client_id: peer.client_id.to_string(),
                user: peer.user.to_string(),
                remote: connection.remote.to_string(),
                listener: connection.listener.to_string(),
                since_ms: connection.since.0,
                published_total: figures.published.load(Relaxed),
                delivered_total: figures.delivered.load(Relaxed),
                received_bytes: figures.received_bytes.load(Relaxed),
                sent_bytes: figures.sent_bytes.load(Relaxed),
                state: if figures.blocked.load(Relaxed) { ConnectionState::Blocked } else { ConnectionState::Running },
            }
        });
        let connections = connections.collect();
        let latest = self.latest.lock();
        let sums = latest.sums();
        let totals = &gateway.totals;
        let journal = &gateway.journal;
        Snapshot {
            node: Node {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                started_at_ms: started.0,
                uptime_ms: now.0 - started.0,
                journal: self.journal.clone(),
            },
            totals: Totals {
                published: totals.published.load(Relaxed),
                delivered: totals.delivered.load(Relaxed),
                confirmed: totals.confirmed.load(Relaxed),
                settled: sums.settled,
                rejected: totals.rejected.load(Relaxed),
                dropped: totals.dropped.load(Relaxed),
                expired: sums.expired,
                dead_lettered: totals.dead_lettered.load(Relaxed),
                connections_refused: self.clients.refused(),
                announcements_dropped: totals.announcements_dropped.load(Relaxed),
                // What ended is read first: it never is more than what was begun then.
                transactions_open: {
                    let ended = totals.transactions_ended.load(Relaxed);
                    totals.transactions_begun.load(Relaxed).saturating_sub(ended)
                },
                transactions_committed: totals.transactions_committed.load(Relaxed),
                transactions_rolled_back: totals.transactions_rolled_back.load(Relaxed),
                transactions_refused: totals.transactions_beyond_limit.load(Relaxed),
            },
            destinations: latest.rows.clone(),
            connections,
            memory: Memory { used_bytes: gateway.memory.used_bytes(), max_bytes: gateway.memory.max_bytes() },
            journal: JournalTotals {
                commits_total: journal.commits.load(Relaxed),
                messages_total: journal.messages.load(Relaxed),
                commit_seconds_sum: seconds(journal.commit_micros.load(Relaxed)),
                commit_seconds_max: seconds(journal.commit_micros_max.load(Relaxed)),
                pending: gateway.journal_pending() as u64,
            },
        }
    }

    fn ready(&self) -> Result<(), String> {
        if let Some(reason) = self.gateway.failure() {
            return Err(reason.to_string());
        }
        if let Some(reason) = &*self.gateway.stopping().borrow() {
            return Err(reason.to_string());
        }
        match self.gateway.journal.stalled_for() {
            Some(elapsed) => Err(format!(
                "the journal ({}) has not answered for {} s: durable messages wait; look at its disk or server",
                self.journal,
                elapsed.as_secs()
            )),
            None => Ok(()),
        }
    }
}
