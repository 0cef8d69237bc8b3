//! A message in the line of a queue.

use std::sync::Arc;

use evergate_model::{Message, Time};

use crate::consumer::ConsumerKey;

#[derive(Debug)]
#[allow(clippy::struct_excessive_bools)] // independent facts
pub struct Entry {
    pub message: Arc<Message>,
    /// The size of the whole message, if its body is not in memory: a consumer holds it, and the journal has it.
    pub away_bytes: Option<u64>,
    pub failed_count: u32,
    /// The message's own expiry, cut to what the queue allows.
    pub expires_at: Option<Time>,
    pub redelivered: bool,
    pub retained: bool,
    /// The journal holds it, or will once the commit is through.
    pub stored: bool,
    /// It came in a transaction: nobody gets it before the commit is through, stored or not.
    pub hidden: bool,
    /// It stands in the set of a class or of a consumer, so it stays in memory.
    pub aside: bool,
    /// A newer message with its key is there: it goes when its consumer gives it back.
    pub replaced: bool,
    pub state: State,
    /// Consumers that do not want it again (outcome modified, undeliverable-here).
    pub refused_by: Vec<ConsumerKey>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Waits for a consumer.
    Ready,
    /// Its time has not come: scheduled for later, or a pause after a failed delivery.
    Waiting(Time),
    /// A consumer has it.
    Held,
    /// On its way elsewhere: to `_DMQ`, or where an operator moves it.
    Leaving,
}

impl Entry {
    /// Its body is not in memory.
    pub fn is_away(&self) -> bool {
        self.away_bytes.is_some()
    }

    /// Of the whole message, wherever its body is.
    pub fn size_bytes(&self) -> u64 {
        self.away_bytes.unwrap_or_else(|| self.message.size_bytes())
    }

    pub fn is_expired(&self, now: Time) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    /// Nobody was given it yet, and no consumer ever refused it.
    pub fn is_pristine(&self) -> bool {
        self.failed_count == 0 && self.refused_by.is_empty()
    }

    /// When it changes by itself next.
    pub fn wakes_at(&self) -> Option<Time> {
        match (self.state, self.expires_at) {
            (State::Waiting(until), Some(expiry)) => Some(until.min(expiry)),
            (State::Waiting(until), None) => Some(until),
            (State::Ready, expiry) => expiry,
            (State::Held | State::Leaving, _) => None,
        }
    }
}
