//! Deliveries cut into frames, as far as credit and the client's window go, and whose turn it is.

use evergate_model::{Delivery, Outcome, Output, Time};

use super::channel::{Channel, Link};
use super::context::{Context, Place};
use super::outgoing::{Outgoing, settle};
use super::settlement::{Unsettled, forget_browsed};
use super::stream::{Stream, framed_bytes};
use crate::message::{Payload, encode};
use crate::performative::{TransferHead, write_transfer};

/// Bytes of a transfer frame that are not the message: frame header, descriptor, list, its fields.
const TRANSFER_OVERHEAD_BYTES: usize = 64;

/// Frames of a large message that go one after the other while other links wait for the window.
const FRAMES_A_TURN: u32 = 8;

impl Channel {
    /// Something has changed for a link: sends what it holds, as far as credit and window go.
    pub(super) fn pump(&mut self, now: Time, handle: u32, context: &mut Context, out: &mut Output) {
        // What waited for the window goes before the next piece of a large message.
        if !self.waiting.is_empty() && matches!(self.links.get(&handle), Some(Link::Outgoing(l)) if l.stream.is_some())
        {
            return self.wait(handle);
        }
        self.send(now, handle, context, out);
    }

    /// Puts a link among those that have something to send.
    pub(super) fn wait(&mut self, handle: u32) {
        if !self.waiting.contains(&handle) {
            self.waiting.push_back(handle);
        }
    }

    /// Sends what waits, in turn, as far as the window goes.
    pub(super) fn serve(&mut self, now: Time, context: &mut Context, out: &mut Output) {
        while self.remote_window > 0
            && let Some(handle) = self.waiting.pop_front()
        {
            self.send(now, handle, context, out);
        }
    }

    fn send(&mut self, now: Time, handle: u32, context: &mut Context, out: &mut Output) {
        let number = self.number;
        let Some(Link::Outgoing(link)) = self.links.get_mut(&handle) else { return };
        if link.answer.is_some() {
            return;
        }
        let mut frames = 0;
        while link.is_ready() {
            let turn_is_over = frames == FRAMES_A_TURN && link.stream.is_some() && !self.waiting.is_empty();
            if self.remote_window == 0 || turn_is_over {
                return self.wait(handle);
            }
            let mut head = TransferHead { handle, delivery: None, settled: link.settled, more: false, aborted: false };
            let mut payload = if let Some(payload) = link.partial.take() {
                payload
            } else if let Some(stream) = &mut link.stream {
                if stream.is_given_up() {
                    // 2.7.5: who has a part of it forgets it.
                    link.stream = None;
                    head.aborted = true;
                    Payload::default()
                } else {
                    let Some(piece) = stream.next_piece() else { break };
                    piece
                }
            } else {
                if link.browse && link.unsettled >= context.config.unsettled_per_link_max {
                    forget_browsed(link, &mut self.unsettled, number, context, out);
                }
                let Some(delivery) = link.held.pop_front() else { break };
                let id = self.deliveries;
                let place = Place { channel: number, handle, link: link.id };
                let Some(payload) = link.begin(now, place, &delivery, id, context, out) else { continue };
                self.deliveries += 1;
                if !link.settled {
                    let unsettled =
                        Unsettled { link: link.id, handle, seq: delivery.seq, browse: link.browse, retired: None };
                    self.unsettled.insert(id, unsettled);
                }
                head.delivery = Some((id as u32, id));
                payload
            };
            let room = context.frame_bytes_max - TRANSFER_OVERHEAD_BYTES;
            let length = payload.len();
            let part = length.min(room);
            head.more = length > part || link.stream.as_ref().is_some_and(|stream| stream.has_more());
            write_transfer(context.buf(out), number, &head, part);
            payload.write_front(part, &mut out.wire);
            self.next_outgoing_id = self.next_outgoing_id.wrapping_add(1);
            self.remote_window -= 1;
            frames += 1;
            if length > part {
                link.partial = Some(payload);
            } else if let Some(stream) = &mut link.stream {
                stream.passed_on(out);
                if !head.more {
                    link.stream = None;
                }
            }
        }
        if link.drained && link.held.is_empty() && link.stream.is_none() {
            self.finish_drain(handle, context, out);
        }
    }

    /// Whether deliveries to a link wait here, for the client's window or behind a large one.
    pub(super) fn holds_back(&self, place: Place) -> bool {
        match self.links.get(&place.handle) {
            Some(Link::Outgoing(link)) => link.id == place.link && (link.partial.is_some() || !link.held.is_empty()),
            _ => false,
        }
    }

    /// 2.6.7: what credit is left is used up, and the client told.
    fn finish_drain(&mut self, handle: u32, context: &mut Context, out: &mut Output) {
        let Some(Link::Outgoing(link)) = self.links.get_mut(&handle) else { return };
        let unused = link.limit.saturating_sub(link.sent);
        link.sent = link.limit;
        link.ahead -= i64::try_from(unused).unwrap_or(i64::MAX);
        link.drained = false;
        link.drain_asked = false;
        self.answer_flow(handle, context, out);
    }
}

impl Outgoing {
    /// Begins the delivery `number`: what of it is here. Nothing if it cannot go to this client.
    fn begin(
        &mut self,
        now: Time,
        place: Place,
        delivery: &Delivery,
        number: u64,
        context: &mut Context,
        out: &mut Output,
    ) -> Option<Payload> {
        let message = &delivery.message;
        let payload = encode(delivery, self.tells_place, &context.formats, now);
        let mut fits = payload.len() as u64 + framed_bytes(message) <= self.message_bytes_max;
        if fits && message.meta.large().is_some() {
            self.stream = Stream::start((number, delivery.seq), place, message, context, out).map(Box::new);
            fits = self.stream.is_some();
        }
        if fits {
            self.sent += 1;
            self.unsettled += u32::from(!self.settled);
            return Some(payload);
        }
        self.ahead += 1;
        let outcome = Outcome::Modify { failed: false, undeliverable_here: true };
        if !self.settled && !self.browse {
            out.actions.push(settle(self.id.consumer(), delivery.seq, outcome));
        }
        self.issue_credit(context, out);
        None
    }
}
