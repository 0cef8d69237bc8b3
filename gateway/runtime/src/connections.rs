//! Who is connected, for operators.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use evergate_core::SessionId;
use evergate_model::{PeerInfo, Time};
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

/// Every open connection.
#[derive(Debug, Default)]
pub struct Connections {
    open: RwLock<BTreeMap<SessionId, Arc<Connection>>>,
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    /// Its session.
    pub id: SessionId,
    /// The peer's address.
    pub remote: SocketAddr,
    /// The listener's name (`mqtt`, `amqp`, `stomp`, `http`).
    pub listener: Arc<str>,
    /// Since when.
    pub since: Time,
    /// What the protocol session says of its peer.
    pub peer: Mutex<PeerInfo>,
    /// Counters.
    pub figures: ConnectionFigures,
    /// Set once: why it is to end.
    pub(crate) closing: watch::Sender<Option<Arc<str>>>,
}

impl Connection {
    /// Has it say goodbye and end. The reason is for the peer. False: it does so already.
    pub fn close(&self, reason: &str) -> bool {
        self.closing.send_if_modified(|closing| {
            let first = closing.is_none();
            closing.get_or_insert_with(|| reason.into());
            first
        })
    }

    /// Waits until somebody wants it closed; returns why.
    pub(crate) async fn told_to_close(&self) -> Arc<str> {
        let mut closing = self.closing.subscribe();
        let told = closing.wait_for(Option::is_some).await.map(|reason| reason.clone().unwrap_or_default());
        // The sender lives as long as `self`.
        told.unwrap_or_default()
    }
}

/// A connection's counters since it opened.
#[derive(Debug, Default)]
pub struct ConnectionFigures {
    /// Messages that came in.
    pub published: AtomicU64,
    /// Messages that went out.
    pub delivered: AtomicU64,
    /// Bytes read.
    pub received_bytes: AtomicU64,
    /// Bytes written.
    pub sent_bytes: AtomicU64,
    /// Its publishes wait: a queue is full, or memory is.
    pub blocked: AtomicBool,
}

impl Connections {
    /// Adds one.
    pub fn add(&self, connection: Arc<Connection>) {
        self.open.write().insert(connection.id, connection);
    }

    /// Removes one.
    pub fn remove(&self, id: SessionId) {
        self.open.write().remove(&id);
    }

    /// The one of this session.
    pub fn get(&self, id: SessionId) -> Option<Arc<Connection>> {
        self.open.read().get(&id).cloned()
    }

    /// How many are open.
    pub fn count(&self) -> usize {
        self.open.read().len()
    }

    /// All of them, oldest first.
    pub fn list(&self) -> Vec<Arc<Connection>> {
        self.open.read().values().cloned().collect()
    }
}

/// Adds to a counter that only one task writes and others read now and then.
pub fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}
