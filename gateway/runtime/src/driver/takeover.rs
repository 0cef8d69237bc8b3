//! Taking over from another connection of the same client: what that one published must be in before the new
//! one is told which packet ids were taken, or a message that is sent again would be stored twice. An MQTT session has
//! one connection: the one before leaves first, with all that belongs to its leaving (its will, what it was not sent).

use std::collections::HashMap;
use std::sync::Arc;

use evergate_core::{DirectoryCommand, Remembered, SessionId, newest};
use evergate_model::{ConsumerId, Fingerprint, SESSION_PREFIX, Token};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::gateway::Gateway;

/// The token of fences. Sessions count theirs from below.
pub const FENCE: Token = Token(u64::MAX);

/// A connection, as those see it that take over from it.
#[derive(Debug)]
pub struct Gate {
    /// Its marked publishes are no longer taken, because another took over. Held while they are sent.
    shut: Mutex<bool>,
    /// Which of its consumers another took over with all that the connection is.
    evicted: watch::Sender<Option<ConsumerId>>,
    /// The directory has been told that it is gone.
    left: watch::Sender<bool>,
}

impl Gate {
    fn new() -> Arc<Self> {
        Arc::new(Self { shut: Mutex::new(false), evicted: watch::Sender::new(None), left: watch::Sender::new(false) })
    }

    /// Whether marked publishes are no longer taken. Held while they are sent.
    pub fn shut(&self) -> parking_lot::MutexGuard<'_, bool> {
        self.shut.lock()
    }

    /// Waits until another connection wants to be the session's only one; returns what that takes over.
    pub async fn evicted(&self) -> ConsumerId {
        let mut evicted = self.evicted.subscribe();
        let consumer = evicted.wait_for(Option::is_some).await.ok().and_then(|consumer| *consumer);
        match consumer {
            Some(consumer) => consumer,
            None => std::future::pending().await, // the sender lives as long as `self`
        }
    }

    async fn left(&self) {
        // An error says that nobody is there any more.
        let _ = self.left.subscribe().wait_for(|left| *left).await;
    }
}

/// Connections that hold a queue, and their consumers of it.
type Owners = Vec<(Arc<Gate>, ConsumerId)>;

/// Who has which queue for itself, by its name: the last, and those before it that have not left.
#[derive(Debug, Default)]
pub struct Gates {
    by_queue: Mutex<HashMap<Arc<str>, Owners>>,
}

impl Gates {
    /// Notes the new owner and shuts the gates of those before, who are returned.
    fn take_over(&self, queue: &Arc<str>, gate: &Arc<Gate>, consumer: ConsumerId) -> Owners {
        let before = {
            let mut by_queue = self.by_queue.lock();
            let owners = by_queue.entry(queue.clone()).or_default();
            owners.retain(|(held, _)| !Arc::ptr_eq(held, gate));
            let before = owners.clone();
            owners.push((gate.clone(), consumer));
            before
        };
        before.iter().for_each(|(held, _)| *held.shut.lock() = true);
        before
    }

    fn leave(&self, queues: &[Arc<str>], gate: &Arc<Gate>) {
        let mut by_queue = self.by_queue.lock();
        for queue in queues {
            let Some(owners) = by_queue.get_mut(queue) else { continue };
            owners.retain(|(held, _)| !Arc::ptr_eq(held, gate));
            if owners.is_empty() {
                by_queue.remove(queue);
            }
        }
    }
}

/// A connection's commands to the directory: those behind a takeover wait for the fence.
pub struct DirectoryLine {
    session: SessionId,
    gate: Arc<Gate>,
    /// The queues that it took for itself.
    owned: Vec<Arc<str>>,
    /// Parts of the fence that are not answered yet.
    fenced_parts: u32,
    waiting: Vec<DirectoryCommand>,
    /// What the shards remember of the session that is taken over.
    remembered: Vec<Remembered>,
}

impl DirectoryLine {
    pub fn new(session: SessionId) -> Self {
        Self {
            session,
            gate: Gate::new(),
            owned: Vec::new(),
            fenced_parts: 0,
            waiting: Vec::new(),
            remembered: Vec::new(),
        }
    }

    /// How others take over from this connection.
    pub fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    /// Whether requests wait until all that was published before is in.
    pub fn is_fenced(&self) -> bool {
        self.fenced_parts > 0
    }

    /// Before `consumer`'s attach that takes `queue` over: what follows waits until all that was published is in.
    pub fn fence(&mut self, gateway: &Arc<Gateway>, queue: &Arc<str>, consumer: ConsumerId) {
        let mut before = gateway.gates.take_over(queue, &self.gate, consumer);
        if !self.owned.contains(queue) {
            self.owned.push(queue.clone());
        }
        self.fenced_parts += u32::from(gateway.config.shards);
        let fence = DirectoryCommand::Fence { session: self.session, token: FENCE, queue: queue.clone() };
        // Others hold links to what they consume from, beside other links: the directory detaches them.
        before.retain(|_| queue.starts_with(SESSION_PREFIX));
        if before.is_empty() {
            gateway.directory.push(fence);
            return;
        }
        for (held, consumer) in &before {
            held.evicted.send_replace(Some(*consumer));
        }
        let gateway = gateway.clone();
        tokio::spawn(async move {
            for (held, _) in before {
                held.left().await;
            }
            gateway.directory.push(fence);
        });
    }

    /// Sends a command, now or behind the fence.
    pub fn push(&mut self, gateway: &Gateway, command: DirectoryCommand) {
        if self.is_fenced() {
            self.waiting.push(command);
        } else {
            gateway.directory.push(command);
        }
    }

    /// A part of the fence is answered.
    pub fn on_part(&mut self, gateway: &Gateway, remembered: Vec<Remembered>) {
        self.remembered.extend(remembered);
        self.fenced_parts -= 1;
        if self.fenced_parts == 0 {
            gateway.directory.extend(self.waiting.drain(..));
        }
    }

    /// What the session published before this connection.
    pub fn take_fingerprints(&mut self) -> Vec<Fingerprint> {
        newest(std::mem::take(&mut self.remembered))
    }

    /// The connection is over: says so to the directory, and to those that wait for it.
    pub fn end(&self, gateway: &Gateway, failed: bool) {
        gateway.gates.leave(&self.owned, &self.gate);
        gateway.directory.push(DirectoryCommand::Gone { session: self.session, failed });
        self.gate.left.send_replace(true);
    }
}

impl Drop for DirectoryLine {
    fn drop(&mut self) {
        // Should the connection's task have been stopped from outside, nobody waits for it in vain.
        self.gate.left.send_replace(true);
    }
}
