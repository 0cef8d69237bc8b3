//! ACK and NACK.

use std::ops::RangeInclusive;

use evergate_model::{Action, ConsumerId, Outcome, Output, Seq, Settle};

use super::fault::Fault;
use super::subscription::{AckMode, Held, Phase};
use super::{StompSession, is_true, required};
use crate::codec::{Command, Frame, Version};

impl StompSession {
    pub(super) fn on_ack(&mut self, frame: &Frame, out: &mut Output) -> Result<(), Fault> {
        let name = frame.command.as_str();
        if frame.command == Command::Nack && self.version == Version::V1_0 {
            return Err(Fault::refused("STOMP 1.0 has no NACK"));
        }
        let text = match self.version {
            Version::V1_2 => required(frame, "id")?,
            Version::V1_1 | Version::V1_0 => required(frame, "message-id")?,
        };
        let unknown = || Fault::refused(format!("{name}: no message {text} awaits an acknowledgement"));
        let (consumer, seq) = self.parse_id(text).ok_or_else(unknown)?;
        if self.version == Version::V1_1 {
            // 1.1 names both.
            let key = required(frame, "subscription")?;
            if self.by_key.get(key) != Some(&consumer) {
                return Err(Fault::refused(format!("{name}: message {text} is not of subscription {key}")));
            }
        }
        let subscription = self
            .subscriptions
            .get_mut(&consumer)
            .filter(|subscription| subscription.phase == Phase::Attached)
            .ok_or_else(unknown)?;
        if subscription.mode == AckMode::Auto {
            return Err(Fault::refused(format!("{name}: subscription {} has ack:auto", subscription.key)));
        }
        let transaction = self.transactions.enlist(frame, self.config.transaction_frames_max)?;
        let settled = subscription.settle(seq).ok_or_else(unknown)?;
        let range = range_of(&settled).ok_or_else(unknown)?;
        // One word for all, unless others lie between them.
        let apart = subscription.holds_some_of(&range) || self.transactions.touches(consumer, &range);
        let ranges = if apart { each(&settled) } else { vec![range.clone()] };
        let credit = subscription.new_credit(consumer);
        if transaction.is_some() {
            self.transactions.note_taken(frame, consumer, settled, &range);
        }
        let outcome = match frame.command {
            Command::Nack => nacked(frame),
            _ => Outcome::Accept,
        };
        let receipt = frame.headers.get("receipt").map(str::to_owned);
        let token = receipt.map(|receipt| self.pending.add(Some(receipt)));
        let last = ranges.len().saturating_sub(1);
        for (at, range) in ranges.into_iter().enumerate() {
            let (first, end) = (Seq(*range.start()), Seq(*range.end()));
            // The last of them carries the token: they are committed in order.
            let token = token.filter(|_| at == last);
            let settle = Settle { token, transaction, ..Settle::new(consumer, first, end, outcome.clone()) };
            out.actions.push(Action::Settle(settle));
        }
        out.actions.extend(credit.map(Action::Credit));
        Ok(())
    }

    /// The id that MESSAGE carries: `<connection>-<consumer>-<place in its queue>`.
    pub(super) fn delivery_id(&self, consumer: ConsumerId, seq: Seq) -> String {
        format!("{}-{}-{}", self.conn_id, consumer.0, seq.0)
    }

    fn parse_id(&self, text: &str) -> Option<(ConsumerId, Seq)> {
        let mut parts = text.split('-');
        let conn_id: u64 = parts.next()?.parse().ok()?;
        let consumer = ConsumerId(parts.next()?.parse().ok()?);
        let seq = Seq(parts.next()?.parse().ok()?);
        (conn_id == self.conn_id && parts.next().is_none()).then_some((consumer, seq))
    }
}

/// What NACK wants: `requeue:true` puts it back to its place, as a failed delivery; else it is a dead letter.
fn nacked(frame: &Frame) -> Outcome {
    if is_true(frame, "requeue") {
        return Outcome::Modify { failed: true, undeliverable_here: false };
    }
    Outcome::Reject { reason: frame.headers.get("reason").unwrap_or("").into() }
}

/// From the lowest to the highest place.
fn range_of(settled: &[Held]) -> Option<RangeInclusive<u64>> {
    let places = || settled.iter().map(|held| held.seq.0);
    Some(places().min()?..=places().max()?)
}

fn each(settled: &[Held]) -> Vec<RangeInclusive<u64>> {
    let mut places: Vec<u64> = settled.iter().map(|held| held.seq.0).collect();
    places.sort_unstable();
    places.into_iter().map(|place| place..=place).collect()
}
