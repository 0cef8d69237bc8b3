//! One subscription: its mode, its window, what it holds unacknowledged.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::Arc;

use evergate_model::{Seq, Token};

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

#[derive(Debug)]
pub(super) struct Subscription {
    /// The client's name for it.
    pub(super) key: Arc<str>,
    pub(super) phase: Phase,
    pub(super) mode: AckMode,
    /// Whether MESSAGE carries the `subscription` header: not without an id in 1.0.
    pub(super) named: bool,
    /// Set: the client's name of its temporary queue.
    pub(super) temp_queue: Option<Arc<str>>,
    prefetch: u64,
    settled: u64,
    limit: u64,
    /// In the order of delivery, which is what a cumulative ACK goes by.
    unsettled: VecDeque<Seq>,
}

impl Subscription {
    pub(super) fn new(key: Arc<str>, phase: Phase, mode: AckMode, prefetch: u64) -> Self {
        Self {
            key,
            phase,
            mode,
            named: true,
            temp_queue: None,
            prefetch,
            settled: 0,
            limit: 0,
            unsettled: VecDeque::new(),
        }
    }

    /// The credit limit to announce, if it is worth a word: a quarter of the window has been settled.
    pub(super) fn new_limit(&mut self) -> Option<u64> {
        let limit = match self.mode {
            AckMode::Auto => u64::MAX, // the driver bounds bytes
            AckMode::Client | AckMode::Individual => self.settled.saturating_add(self.prefetch),
        };
        let step = (self.prefetch / 4).max(1);
        (limit - self.limit >= step).then(|| {
            self.limit = limit;
            limit
        })
    }

    pub(super) fn delivered(&mut self, seq: Seq) {
        if self.mode != AckMode::Auto {
            self.unsettled.push_back(seq);
        }
    }

    /// Takes what an ACK or NACK of `seq` settles; `None`: it is not held. The ranges hold nothing that
    /// stays unsettled.
    pub(super) fn settle(&mut self, seq: Seq) -> Option<Vec<RangeInclusive<u64>>> {
        let at = self.unsettled.iter().position(|held| *held == seq)?;
        if self.mode == AckMode::Individual {
            self.unsettled.remove(at);
            self.settled += 1;
            return Some(vec![seq.0..=seq.0]);
        }
        let mut taken: Vec<u64> = self.unsettled.drain(..=at).map(|seq| seq.0).collect();
        self.settled += taken.len() as u64;
        taken.sort_unstable();
        let (first, last) = (*taken.first()?, *taken.last()?);
        // A redelivered message comes with a lower number than those sent before it.
        if self.unsettled.iter().any(|held| (first..=last).contains(&held.0)) {
            return Some(taken.into_iter().map(|seq| seq..=seq).collect());
        }
        Some(vec![first..=last])
    }
}
