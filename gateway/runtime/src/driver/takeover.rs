//! Taking over from another connection of the same client: what that one published must be in before the new
//! one is told which packet ids were taken, or a message that is sent again would be stored twice.

use std::collections::HashMap;
use std::sync::Arc;

use evergate_core::{DirectoryCommand, Remembered, SessionId, newest};
use evergate_model::{Fingerprint, Token};
use parking_lot::Mutex;

use crate::gateway::Gateway;

/// The token of fences. Sessions count theirs from below.
pub const FENCE: Token = Token(u64::MAX);

/// Whether a connection's marked publishes are no longer taken, because another took over. Held while they
/// are sent.
pub type Gate = Arc<Mutex<bool>>;

/// Who has which queue for itself, by its name.
#[derive(Debug, Default)]
pub struct Gates {
    by_queue: Mutex<HashMap<Arc<str>, Gate>>,
}

impl Gates {
    /// Notes the new owner and shuts the gate of the one before.
    fn take_over(&self, queue: &Arc<str>, gate: &Gate) {
        let before = self.by_queue.lock().insert(queue.clone(), gate.clone());
        if let Some(before) = before.filter(|before| !Arc::ptr_eq(before, gate)) {
            *before.lock() = true;
        }
    }

    fn leave(&self, queues: &[Arc<str>], gate: &Gate) {
        let mut by_queue = self.by_queue.lock();
        for queue in queues {
            // Unless somebody took over meanwhile.
            if by_queue.get(queue).is_some_and(|held| Arc::ptr_eq(held, gate)) {
                by_queue.remove(queue);
            }
        }
    }
}

/// A connection's commands to the directory: those behind a takeover wait for the fence.
pub struct DirectoryLine {
    session: SessionId,
    gate: Gate,
    /// The queues that it took for itself.
    owned: Vec<Arc<str>>,
    /// Parts of the fence that are not answered yet.
    fenced_parts: u16,
    waiting: Vec<DirectoryCommand>,
    /// What the shards remember of the session that is taken over.
    remembered: Vec<Remembered>,
}

impl DirectoryLine {
    pub fn new(session: SessionId) -> Self {
        Self {
            session,
            gate: Gate::default(),
            owned: Vec::new(),
            fenced_parts: 0,
            waiting: Vec::new(),
            remembered: Vec::new(),
        }
    }

    /// Whether marked publishes are taken.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Before an attach that takes `queue` over: what follows waits until all that was published is in.
    pub fn fence(&mut self, gateway: &Gateway, queue: &Arc<str>) {
        gateway.gates.take_over(queue, &self.gate);
        self.owned.push(queue.clone());
        self.fenced_parts += gateway.config.shards;
        let (session, queue) = (self.session, queue.clone());
        gateway.directory.push(DirectoryCommand::Fence { session, token: FENCE, queue });
    }

    /// Sends a command, now or behind the fence.
    pub fn push(&mut self, gateway: &Gateway, command: DirectoryCommand) {
        if self.fenced_parts > 0 {
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

    /// The connection is over.
    pub fn end(&self, gateway: &Gateway) {
        gateway.gates.leave(&self.owned, &self.gate);
    }
}
