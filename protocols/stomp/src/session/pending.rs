//! Frames that await their answer from the gateway, so that receipts leave in the order of the frames.

use std::collections::VecDeque;

use evergate_model::Token;

#[derive(Debug)]
struct Entry {
    receipt: Option<String>,
    done: bool,
}

/// A queue of frames; each has a [`Token`], counted up.
#[derive(Debug, Default)]
pub(super) struct Pending {
    first: u64,
    entries: VecDeque<Entry>,
}

impl Pending {
    /// Adds a frame that awaits its answer.
    pub(super) fn add(&mut self, receipt: Option<String>) -> Token {
        self.entries.push_back(Entry { receipt, done: false });
        Token(self.first + self.entries.len() as u64 - 1)
    }

    /// The answer is there.
    pub(super) fn answer(&mut self, token: Token) {
        if let Some(entry) = self.entry(token) {
            entry.done = true;
        }
    }

    /// Takes the receipt of a frame that failed.
    pub(super) fn take_receipt(&mut self, token: Token) -> Option<String> {
        self.entry(token)?.receipt.take()
    }

    fn entry(&mut self, token: Token) -> Option<&mut Entry> {
        self.entries.get_mut(usize::try_from(token.0.checked_sub(self.first)?).ok()?)
    }

    /// Takes the frames whose turn has come: gives each receipt that is wanted to `send`.
    pub(super) fn flush(&mut self, mut send: impl FnMut(String)) {
        while self.entries.front().is_some_and(|entry| entry.done) {
            self.first += 1;
            if let Some(receipt) = self.entries.pop_front().and_then(|entry| entry.receipt) {
                send(receipt);
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}
