//! ACK and NACK.

use evergate_model::{Action, ConsumerId, Credit, Outcome, Output, Seq, Settle};

use super::fault::Fault;
use super::send::refuse_transaction;
use super::subscription::{AckMode, Phase};
use super::{StompSession, required};
use crate::codec::{Command, Frame, Version};

impl StompSession {
    pub(super) fn on_ack(&mut self, frame: &Frame, out: &mut Output) -> Result<(), Fault> {
        refuse_transaction(frame)?;
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
        let ranges = subscription.settle(seq).ok_or_else(unknown)?;
        let outcome = match frame.command {
            Command::Nack => Outcome::Reject { reason: frame.headers.get("reason").unwrap_or("").into() },
            _ => Outcome::Accept,
        };
        let limit = subscription.new_limit();
        let receipt = frame.headers.get("receipt").map(str::to_owned);
        let mut token = receipt.map(|receipt| self.pending.add(Some(receipt)));
        let first_action = out.actions.len();
        // The last of them carries the token: they are committed in order.
        for range in ranges.into_iter().rev() {
            out.actions.push(Action::Settle(Settle {
                consumer,
                first: Seq(*range.start()),
                last: Seq(*range.end()),
                outcome: outcome.clone(),
                mark: None,
                token: token.take(),
                transaction: None,
            }));
        }
        out.actions[first_action..].reverse();
        if let Some(limit) = limit {
            out.actions.push(Action::Credit(Credit { consumer, limit, drain: false }));
        }
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
