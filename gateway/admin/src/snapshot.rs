//! What the server tells this package about the gateway.

use serde::Serialize;

/// The gateway, seen from here.
pub trait Observe: Send + Sync {
    /// The gateway's state now. Called about once a second while anyone looks; it must not block.
    fn snapshot(&self) -> Snapshot;

    /// Whether the gateway can do its work. The error is a sentence for people.
    fn ready(&self) -> Result<(), String>;
}

/// The gateway's state at one moment. Counters start at 0 with the process and only rise.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Snapshot {
    /// The process.
    pub node: Node,
    /// Sums over everything that ever happened in this process, also on destinations that are gone.
    pub totals: Totals,
    /// Every destination.
    pub destinations: Vec<DestinationRow>,
    /// Every connection.
    pub connections: Vec<ConnectionRow>,
    /// The memory that messages take.
    pub memory: Memory,
    /// The journal.
    pub journal: JournalTotals,
}

/// The process.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Node {
    /// The gateway's version.
    pub version: String,
    /// When the process started, in ms since 1970.
    pub started_at_ms: u64,
    /// How long it has been running, by a clock that never steps back. Rates divide by its differences.
    pub uptime_ms: u64,
    /// The kind of journal, as people say it: `SQLite`.
    pub journal: String,
}

/// Sums since the start.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Totals {
    /// Messages that publishers sent.
    pub published: u64,
    /// Messages sent to consumers, redeliveries included.
    pub delivered: u64,
    /// Confirms sent to publishers.
    pub confirmed: u64,
    /// Deliveries that consumers settled.
    pub settled: u64,
    /// Messages refused to their publishers.
    pub rejected: u64,
    /// Messages taken from publishers and then given up: expired, over a limit, or without anyone to receive them.
    pub dropped: u64,
    /// Connections refused because a limit was reached.
    pub connections_refused: u64,
    /// Events of the gateway's own that were not published because too many waited.
    pub announcements_dropped: u64,
    /// Messages whose time was up.
    pub expired: u64,
    /// Messages sent to `_DMQ`, whatever the reason.
    pub dead_lettered: u64,
    /// Transactions that are open now.
    pub transactions_open: u64,
    /// Commits that clients were told of.
    pub transactions_committed: u64,
    /// Transactions rolled back, whoever wanted it.
    pub transactions_rolled_back: u64,
    /// Transactions refused because of a limit: not begun, or rolled back.
    pub transactions_refused: u64,
}

/// What kind of destination a row shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DestinationKind {
    /// A named queue.
    Queue,
    /// A subscription to a topic filter.
    Subscription,
    /// The backlog of an MQTT session.
    Session,
}

impl DestinationKind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Queue, Self::Subscription, Self::Session];

    /// The kind's name in labels and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Subscription => "subscription",
            Self::Session => "session",
        }
    }
}

/// One destination.
#[derive(Debug, Clone, Serialize)]
pub struct DestinationRow {
    /// Its name, as the gateway writes addresses.
    pub name: String,
    /// Its kind.
    pub kind: DestinationKind,
    /// Messages it holds, those delivered and not yet settled included.
    pub messages: u64,
    /// Their size.
    pub bytes: u64,
    /// Consumers attached now.
    pub consumers: u64,
    /// Messages delivered and not yet settled.
    pub unsettled: u64,
    /// Messages that arrived.
    pub published_total: u64,
    /// Messages sent to consumers.
    pub delivered_total: u64,
    /// Messages that consumers settled.
    pub settled_total: u64,
    /// Messages whose time was up.
    pub expired_total: u64,
    /// Messages sent to `_DMQ`, whatever the reason.
    pub dead_lettered_total: u64,
}

/// Whether a connection may publish now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ConnectionState {
    /// It may.
    Running,
    /// The gateway has stopped reading from it until something it fills has room again.
    Blocked,
}

impl ConnectionState {
    /// The state's name, as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Blocked => "blocked",
        }
    }
}

/// One connection.
#[derive(Debug, Clone, Serialize)]
pub struct ConnectionRow {
    /// Its number, unique in this process.
    pub id: u64,
    /// Protocol and version, as `MQTT 5`.
    pub protocol: String,
    /// The name the client gave itself: MQTT client id, AMQP container id, STOMP session. May be empty.
    pub client_id: String,
    /// The account. Empty for an anonymous client.
    pub user: String,
    /// The client's address and port.
    pub remote: String,
    /// The listener that accepted it.
    pub listener: String,
    /// When it was accepted, in ms since 1970.
    pub since_ms: u64,
    /// Messages it published.
    pub published_total: u64,
    /// Messages delivered to it.
    pub delivered_total: u64,
    /// Bytes read from it.
    pub received_bytes: u64,
    /// Bytes written to it.
    pub sent_bytes: u64,
    /// Whether it may publish now.
    pub state: ConnectionState,
}

/// The memory that messages take.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Memory {
    /// Bytes in use.
    pub used_bytes: u64,
    /// The limit.
    pub max_bytes: u64,
}

/// The journal's work since the start.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct JournalTotals {
    /// Commits that succeeded.
    pub commits_total: u64,
    /// Messages stored by them.
    pub messages_total: u64,
    /// Seconds spent in commits.
    pub commit_seconds_sum: f64,
    /// The longest commit, in seconds.
    pub commit_seconds_max: f64,
    /// Records that wait for their commit.
    pub pending: u64,
}
