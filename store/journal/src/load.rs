//! The bounds of a load, in one place, so that every store stops at the same message.

use std::sync::Arc;

use evergate_model::{Message, Seq};

use crate::Loaded;

/// Collects messages until a bound is reached.
#[derive(Debug)]
pub struct Loading {
    loaded: Loaded,
    bytes: u64,
    messages_max: usize,
    bytes_max: u64,
    is_full: bool,
}

impl Loading {
    /// For a load up to and with `last`.
    pub fn new(last: Seq, messages_max: usize, bytes_max: u64) -> Self {
        let loaded = Loaded { messages: Vec::new(), complete_to: last };
        Self { loaded, bytes: 0, messages_max: messages_max.max(1), bytes_max, is_full: false }
    }

    /// Takes the next message, if it still fits; the first always does. False: no more are wanted.
    pub fn take(&mut self, seq: Seq, message: Arc<Message>) -> bool {
        let size = message.size_bytes();
        let fits = self.loaded.messages.len() < self.messages_max && self.bytes.saturating_add(size) <= self.bytes_max;
        if self.is_full || !(fits || self.loaded.messages.is_empty()) {
            self.is_full = true;
            return false;
        }
        self.bytes += size;
        self.loaded.messages.push((seq, message));
        true
    }

    /// How many more may be taken.
    pub fn messages_left(&self) -> usize {
        if self.is_full { 0 } else { self.messages_max - self.loaded.messages.len() }
    }

    /// How many more bytes may be taken.
    pub fn bytes_left(&self) -> u64 {
        self.bytes_max.saturating_sub(self.bytes)
    }

    /// There may be more behind what was taken.
    pub fn stop(&mut self) {
        self.is_full = true;
    }

    /// What was taken.
    pub fn finish(mut self) -> Loaded {
        if self.is_full
            && let Some((seq, _)) = self.loaded.messages.last()
        {
            self.loaded.complete_to = *seq;
        }
        self.loaded
    }
}
