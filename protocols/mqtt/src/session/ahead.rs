//! Reading ahead where there are thousands of consumers: see [`evergate_model::ahead`].

use evergate_model::ConsumerId;
use evergate_model::ahead::{AHEAD, CACHED, read};

use super::MqttSession;

/// A PUBACK without properties, but for its packet id: both versions of the protocol write it alike.
const PUBACK: [u8; 2] = [0x40, 2];

impl MqttSession {
    /// Of consumers: what deliveries to them will ask for.
    pub(super) fn look_at<'a>(&self, consumers: impl Iterator<Item = &'a ConsumerId>) {
        if self.consumers.len() > CACHED {
            read(consumers.filter_map(|id| self.consumers.get(id)).map(|consumer| consumer.sample()));
        }
    }

    /// Of what was read from the socket: the consumers whose deliveries the next [`AHEAD`] packets acknowledge, if
    /// that is what they are.
    pub(super) fn look_at_acks(&self, input: &[u8]) {
        let packet_id = |packet: &[u8; 4]| match *packet {
            [kind, len, high, low] if [kind, len] == PUBACK => Some(u16::from_be_bytes([high, low])),
            _ => None,
        };
        let acked = input.as_chunks().0.iter().take(AHEAD).map_while(packet_id);
        self.look_at(acked.filter_map(|id| self.in_flight.get(&id)).map(|flight| &flight.consumer));
    }
}
