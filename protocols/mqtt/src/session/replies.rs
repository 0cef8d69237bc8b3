//! Answers to the client, in the order of its packets.
//!
//! MQTT wants PUBACK, PUBREC and PUBREL in order ([MQTT-4.6.0-2] to [MQTT-4.6.0-4]). One queue for all
//! keeps it whatever order the gateway answers in.

use std::collections::VecDeque;

use evergate_model::Token;

use crate::codec::{AckKind, ReasonCode};

/// What is sent when all its slots are answered.
#[derive(Debug)]
pub(super) enum Reply {
    Ack {
        kind: AckKind,
        packet_id: u16,
        reason: ReasonCode,
        text: Option<String>,
    },
    /// The text says why the first that was refused was.
    Suback {
        packet_id: u16,
        codes: Vec<ReasonCode>,
        text: Option<String>,
    },
    Unsuback {
        packet_id: u16,
        codes: Vec<ReasonCode>,
    },
    /// What follows has to wait.
    Nothing,
}

#[derive(Debug)]
struct Entry {
    /// Token of its first slot; the others follow.
    first: u64,
    slots: u64,
    /// Slots without an answer.
    missing: u64,
    reply: Reply,
}

#[derive(Debug, Default)]
pub(super) struct Replies {
    queue: VecDeque<Entry>,
}

impl Replies {
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether a PUBACK with this packet identifier is still to be sent.
    pub(super) fn awaits_puback(&self, id: u16) -> bool {
        self.queue
            .iter()
            .any(|entry| matches!(entry.reply, Reply::Ack { kind: AckKind::Puback, packet_id, .. } if packet_id == id))
    }

    /// Queues `reply`, which waits for `slots` answers to the tokens from `first`.
    pub(super) fn push(&mut self, first: Token, slots: usize, reply: Reply) {
        let slots = slots as u64;
        self.queue.push_back(Entry { first: first.0, slots, missing: slots, reply });
    }

    /// Queues `reply`, which waits only for those before it.
    pub(super) fn push_ready(&mut self, at: Token, reply: Reply) {
        self.queue.push_back(Entry { first: at.0, slots: 0, missing: 0, reply });
    }

    /// Changes the code that a slot has if it is answered as foreseen.
    pub(super) fn foresee(&mut self, token: Token, code: ReasonCode) {
        let after = self.queue.partition_point(|entry| entry.first <= token.0);
        let Some(entry) = after.checked_sub(1).and_then(|at| self.queue.get_mut(at)) else { return };
        if let Reply::Suback { codes, .. } = &mut entry.reply
            && let Some(place) = codes.get_mut((token.0 - entry.first) as usize)
        {
            *place = code;
        }
    }

    /// An answer came: as foreseen (`None`), or another.
    pub(super) fn answer(&mut self, token: Token, code: Option<ReasonCode>, said: Option<String>) {
        // Tokens rise along the queue.
        let after = self.queue.partition_point(|entry| entry.first <= token.0);
        let Some(entry) = after.checked_sub(1).and_then(|at| self.queue.get_mut(at)) else { return };
        let slot = token.0 - entry.first;
        if slot >= entry.slots || entry.missing == 0 {
            return;
        }
        entry.missing -= 1;
        let Some(code) = code else { return };
        match &mut entry.reply {
            Reply::Ack { reason, text, .. } => {
                *reason = code;
                *text = said;
            }
            Reply::Suback { codes, text, .. } => {
                if let Some(place) = codes.get_mut(slot as usize) {
                    *place = code;
                }
                *text = text.take().or(said);
            }
            Reply::Unsuback { codes, .. } => {
                if let Some(place) = codes.get_mut(slot as usize) {
                    *place = code;
                }
            }
            Reply::Nothing => {}
        }
    }

    /// The next one that can be sent.
    pub(super) fn pop_ready(&mut self) -> Option<Reply> {
        if self.queue.front()?.missing > 0 {
            return None;
        }
        self.queue.pop_front().map(|entry| entry.reply)
    }
}
