//! QoS 1 publishes that a client sends again because it saw no PUBACK. [MQTT-4.4.0-1]
//!
//! A packet identifier says little by itself: a client that has its PUBACK uses it again, and the first copy of the
//! message for which it did may have been lost. So a resend is one if the message is the same, too.

use std::collections::HashMap;

use evergate_model::Fingerprint;

use super::MqttSession;
use crate::codec::Publish;

/// What was taken on earlier connections of the session, by packet identifier.
#[derive(Debug, Default)]
pub(super) struct Taken(HashMap<u16, Fingerprint>);

impl Taken {
    pub(super) fn new(fingerprints: Vec<Fingerprint>) -> Self {
        Self(fingerprints.into_iter().map(|it| (it.packet_id(), it)).collect())
    }

    /// Whether a publish was taken already. One that was not uses its identifier anew.
    fn knows(&mut self, dup: bool, fingerprint: Fingerprint) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let packet_id = fingerprint.packet_id();
        let is_known = dup && self.0.get(&packet_id) == Some(&fingerprint);
        if !is_known {
            self.0.remove(&packet_id);
        }
        is_known
    }
}

impl MqttSession {
    /// Whether a QoS 1 publish was taken before, and how it is known if it comes again.
    pub(super) fn recognise(&mut self, publish: &Publish) -> (bool, Option<Fingerprint>) {
        // On this connection: its answer is still to come, and is that of both.
        let awaited = publish.dup && self.replies.awaits_puback(publish.packet_id);
        if !self.identity.is_persistent() {
            return (awaited, None);
        }
        let fingerprint = Fingerprint::new(publish.packet_id, digest(publish));
        let known = self.inbound.resends.knows(publish.dup, fingerprint);
        (awaited || known, Some(fingerprint))
    }
}

/// What the client said, but for DUP and what it may change from one time to the next. Digests are stored: another
/// function would tell no resend of a message that an earlier release took.
fn digest(publish: &Publish) -> u64 {
    let mut state = 0x9e37_79b9_7f4a_7c15 ^ u64::from(publish.retain);
    for part in [publish.topic.as_bytes(), &publish.properties.head, &publish.payload] {
        state = mixed(state ^ part.len() as u64, 0xd6e8_feb8_6659_fd93);
        let mut chunks = part.chunks_exact(16);
        for chunk in &mut chunks {
            state = mixed(word(&chunk[..8]) ^ 0xa076_1d64_78bd_642f, word(&chunk[8..]) ^ state);
        }
        let rest = chunks.remainder();
        let (first, second) = rest.split_at(rest.len().min(8));
        state = mixed(word(first) ^ 0xe703_7ed1_a0b4_28db, word(second) ^ state);
    }
    state
}

fn word(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

/// Both halves of a product of 128 bits.
fn mixed(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::codec::{MessageProperties, Qos};

    fn publish(topic: &str, head: &[u8], payload: &[u8]) -> Publish {
        let properties = MessageProperties { head: head.to_vec().into(), ..MessageProperties::default() };
        let (topic, payload) = (topic.into(), payload.to_vec().into());
        Publish { dup: false, qos: Qos::AtLeastOnce, retain: false, topic, packet_id: 1, properties, payload }
    }

    #[test]
    fn messages_that_differ_anywhere_have_other_digests() {
        let mut all: Vec<Publish> = Vec::new();
        for length in 0..70 {
            all.push(publish("t", &[], &vec![0; length]));
            for at in 0..length {
                let mut payload = vec![0; length];
                payload[at] = 1;
                all.push(publish("t", &[], &payload));
            }
        }
        all.extend([publish("u", &[], &[]), publish("", b"t", &[]), publish("", &[], b"t"), publish("t", b"t", b"t")]);
        all.push(Publish { retain: true, ..publish("t", &[], &[]) });
        let digests: HashSet<u64> = all.iter().map(|publish| digest(publish) >> 16).collect();
        assert_eq!(digests.len(), all.len());
    }

    #[test]
    fn a_digest_is_the_same_in_every_release() {
        assert_eq!(digest(&publish("shop/eu", b"\x01\x01", b"a fish, and another fish")), 14_319_606_359_391_013_945);
    }

    #[test]
    fn a_resend_needs_dup_the_identifier_and_the_message() {
        let old = Fingerprint::new(5, 1 << 20);
        let table = [
            (true, old, true),
            (false, old, false),
            (true, Fingerprint::new(5, 2 << 20), false),
            (true, Fingerprint::new(6, 1 << 20), false),
        ];
        for (dup, fingerprint, expected) in table {
            let mut taken = Taken::new(vec![old]);
            assert_eq!(taken.knows(dup, fingerprint), expected, "{dup} {fingerprint:?}");
            // Who uses the identifier anew has no use for the old message.
            assert_eq!(taken.knows(true, old), expected || fingerprint.packet_id() != 5);
        }
    }
}
