//! One subscription: its mode, its window, what it holds unacknowledged.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::Arc;

use evergate_model::{ConsumerId, Credit, Seq, Token};

/// The `ack` header of SUBSCRIBE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AckMode {
    /// Taken for acknowledged when sent.
    Auto,
    /// An ACK counts for all that was sent before it too.
    Client,
    /// An ACK counts for one message.
    Individual,
}

impl AckMode {
    pub(super) fn parse(text: Option<&str>) -> Option<Self> {
        Some(match text {
            None | Some("auto") => Self::Auto,
            Some("client") => Self::Client,
            Some("client-individual") => Self::Individual,
            Some(_) => return None,
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Awaits `Attached`; the SUBSCRIBE frame's token.
    Attaching(Token),
    /// Delivers.
    Attached,
    /// UNSUBSCRIBE came before `Attached`: both frames' tokens.
    AttachingThenDetaching(Token, Token),
    /// Awaits `Detached`; the UNSUBSCRIBE frame's token.
    Detaching(Token),
    /// A durable subscription attached only to be deleted; the UNSUBSCRIBE frame's token.
    Removing(Token),
}

/// A destination of one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Temporary {
    /// The client's name for it, and whether it has sent a SUBSCRIBE for it.
    Queue {
        name: Arc<str>,
        asked_for: bool,
    },
    Topic,
}

/// Looking at a queue without taking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Browsing {
    No,
    Yes,
    /// The client was told that it has seen all: nothing follows.
    Over,
}

/// A delivery that the client has not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    /// Counts the deliveries of the subscription.
    number: u64,
    pub(super) seq: Seq,
}

#[derive(Debug)]
pub(super) struct Subscription {
    /// The client's name for it.
    pub(super) key: Arc<str>,
    pub(super) phase: Phase,
    pub(super) mode: AckMode,
    /// Whether MESSAGE carries the `subscription` header: not without an id in 1.0.
    pub(super) named: bool,
    /// Set: what it consumes is this connection's own, and MESSAGE shows the client's name for it.
    pub(super) temporary: Option<Temporary>,
    /// As the client wrote it.
    pub(super) destination: Arc<str>,
    pub(super) browsing: Browsing,
    /// Whether MESSAGE tells the place in the stream.
    pub(super) tells_offset: bool,
    prefetch: u64,
    delivered: u64,
    settled: u64,
    limit: u64,
    /// In the order of delivery, which is what a cumulative ACK goes by.
    unsettled: VecDeque<Held>,
}

impl Subscription {
    pub(super) fn new(key: Arc<str>, phase: Phase, mode: AckMode, prefetch: u64) -> Self {
        Self {
            key,
            phase,
            mode,
            named: true,
            temporary: None,
            destination: "".into(),
            browsing: Browsing::No,
            tells_offset: false,
            prefetch,
            delivered: 0,
            settled: 0,
            limit: 0,
            unsettled: VecDeque::new(),
        }
    }

    /// The credit to announce, if it is worth a word: a quarter of the window has been settled.
    pub(super) fn new_credit(&mut self, consumer: ConsumerId) -> Option<Credit> {
        let limit = match self.mode {
            AckMode::Auto => u64::MAX, // the driver bounds bytes
            AckMode::Client | AckMode::Individual => self.settled.saturating_add(self.prefetch),
        };
        let step = (self.prefetch / 4).max(1);
        // What an aborted transaction gave back may have left less than was announced.
        (self.browsing != Browsing::Over && limit.saturating_sub(self.limit) >= step).then(|| {
            self.limit = limit;
            Credit { consumer, limit, drain: self.browsing == Browsing::Yes }
        })
    }

    /// Whether the consumer was sent all that its credit allows.
    pub(super) fn is_at_limit(&self, delivered: u64) -> bool {
        delivered >= self.limit
    }

    pub(super) fn delivered(&mut self, seq: Seq) {
        if self.mode != AckMode::Auto {
            self.unsettled.push_back(Held { number: self.delivered, seq });
            self.delivered += 1;
        }
    }

    /// Takes what an ACK or NACK of `seq` settles, in the order of delivery; `None`: it is not held.
    pub(super) fn settle(&mut self, seq: Seq) -> Option<Vec<Held>> {
        let at = self.unsettled.iter().position(|held| held.seq == seq)?;
        let taken: Vec<Held> = match self.mode {
            AckMode::Individual => self.unsettled.remove(at).into_iter().collect(),
            AckMode::Auto | AckMode::Client => self.unsettled.drain(..=at).collect(),
        };
        self.settled += taken.len() as u64;
        Some(taken)
    }

    /// The client is not sent this one after all.
    pub(super) fn skip(&mut self, seq: Seq) {
        let before = self.unsettled.len();
        self.unsettled.retain(|held| held.seq != seq);
        self.settled += (before - self.unsettled.len()) as u64;
    }

    /// Whether it holds unacknowledged deliveries of this range: a redelivered message comes with a lower number
    /// than those sent before it.
    pub(super) fn holds_some_of(&self, range: &RangeInclusive<u64>) -> bool {
        self.unsettled.iter().any(|held| range.contains(&held.seq.0))
    }

    /// Undoes `settle`: each is unacknowledged again, at its place among the others.
    pub(super) fn give_back(&mut self, taken: &[Held]) {
        self.settled = self.settled.saturating_sub(taken.len() as u64);
        self.unsettled.extend(taken);
        self.unsettled.make_contiguous().sort_unstable_by_key(|held| held.number);
    }
}
