//! What happened to what a session published, in numbers.

use super::Out;

/// What happened, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PublisherCounts {
    /// Messages sent on.
    pub published: u64,
    /// Messages answered with a confirm.
    pub confirmed: u64,
    /// Messages refused.
    pub refused: u64,
    /// Transient messages that a full subscription missed.
    pub dropped: u64,
    /// Of transactions.
    pub transactions: TransactionCounts,
}

/// What became of transactions, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransactionCounts {
    /// Begun.
    pub begun: u64,
    /// No longer open: on the way to their commit, or rolled back.
    pub ended: u64,
    /// Commits that the client was told of.
    pub committed: u64,
    /// Rolled back, whoever wanted it.
    pub rolled_back: u64,
    /// Refused because of a limit: not begun, or rolled back.
    pub beyond_limit: u64,
}

impl Out {
    /// A transaction is refused because of a limit.
    pub(super) fn beyond_limit(&mut self, why: String) {
        self.counts.transactions.beyond_limit += 1;
        self.beyond_limits.push(why);
    }
}
