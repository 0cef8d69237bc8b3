//! Deliveries of the session's own queue that were started under a subscription that is no more, or has another QoS:
//! they are completed as they began, also over a new connection. [MQTT-3.10.4-3], [MQTT-4.4.0-1]
//!
//! A delivery's packet id follows from its place; its QoS is noted, as a mark of the session's queue, when the
//! subscription changes while it is in flight. That is rare, so nothing is written for usual deliveries.

use evergate_model::{Action, Delivery, IdMap, Output, Token};

use super::outbound::{RELEASE_MARK, Stage, own_id};
use super::replies::Reply;
use super::{MqttSession, OWN};
use crate::codec::Qos;

/// Marks from here on, in steps of [`RELEASE_MARK`]: packet ids of deliveries that were started with QoS 1, and with 2.
const STARTED_MARK: u32 = 2 * RELEASE_MARK;

fn mark(packet_id: u16, qos: Qos) -> u32 {
    let level = if qos == Qos::ExactlyOnce { RELEASE_MARK } else { 0 };
    STARTED_MARK + level + u32::from(packet_id)
}

/// The QoS by packet id.
#[derive(Debug, Default)]
pub(super) struct Started {
    by_id: IdMap<u16, Qos>,
}

impl MqttSession {
    /// The subscriptions change: notes how what is in flight was started. What is sent in answer waits for that.
    pub(super) fn keep_started(&mut self, out: &mut Output) {
        if !self.identity.is_persistent() {
            return;
        }
        let mut last = None;
        for (&packet_id, flight) in &self.in_flight {
            let qos = match flight.stage {
                _ if flight.consumer != OWN => continue,
                Stage::Puback => Qos::AtLeastOnce,
                Stage::Pubrec => Qos::ExactlyOnce,
                Stage::Settling | Stage::Pubcomp => continue, // a mark says so
            };
            if self.started.by_id.insert(packet_id, qos).is_some() {
                continue;
            }
            let number = mark(packet_id, qos);
            out.actions.extend(last.replace(number).map(|number| set(number, None)));
        }
        if let Some(number) = last {
            // They are committed in order: the last stands for all.
            let token = self.token();
            self.replies.push(token, 1, Reply::Nothing);
            out.actions.push(set(number, Some(token)));
        }
    }

    /// A mark that an earlier connection left. False: it is none of these.
    pub(super) fn restore_started(&mut self, mark: u32) -> bool {
        let qos = match mark / RELEASE_MARK {
            2 => Qos::AtLeastOnce,
            3 => Qos::ExactlyOnce,
            _ => return false,
        };
        self.started.by_id.insert((mark % RELEASE_MARK) as u16, qos);
        true
    }

    /// With which QoS this was started before, if that was noted.
    pub(super) fn started(&mut self, delivery: &Delivery, out: &mut Output) -> Option<Qos> {
        if delivery.consumer != OWN || self.started.by_id.is_empty() {
            return None;
        }
        let packet_id = own_id(delivery.seq);
        if delivery.redelivered {
            return self.started.by_id.get(&packet_id).copied();
        }
        // What had this id before expired, or was removed; unless it is still on its way.
        if !self.in_flight.contains_key(&packet_id) {
            self.forget_started(packet_id, out);
        }
        None
    }

    /// The delivery is over.
    pub(super) fn forget_started(&mut self, packet_id: u16, out: &mut Output) {
        if self.started.by_id.is_empty() {
            return;
        }
        if let Some(qos) = self.started.by_id.remove(&packet_id) {
            let number = mark(packet_id, qos);
            out.actions.push(Action::Mark { consumer: OWN, number, set: false, token: None });
        }
    }
}

fn set(number: u32, token: Option<Token>) -> Action {
    Action::Mark { consumer: OWN, number, set: true, token }
}
