//! What a client sends, and how it is known again.

use evergate_model::Fingerprint;

use super::{Around, Client};
use crate::key::Key;

impl Client {
    /// Sends some of a body, and no message.
    pub(super) fn abandon_body(&mut self, around: &mut Around<'_>) {
        let Some(connection) = &mut self.connection else { return };
        connection.abandon_body(around.node, around.rng.below(300));
    }

    /// The lowest packet identifier that is free, as some clients use them, and a message that is like no other.
    pub(super) fn fingerprint(&self, key: Key) -> Fingerprint {
        let used: Vec<u16> =
            self.unconfirmed.values().filter_map(|draft| draft.fingerprint).map(Fingerprint::packet_id).collect();
        let free = (1..u16::MAX).find(|id| !used.contains(id)).unwrap_or(u16::MAX);
        Fingerprint::new(free, key.number << 16)
    }
}
