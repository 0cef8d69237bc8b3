//! A link on which the client receives: its credit, and what the gateway counts.

use std::collections::VecDeque;
use std::sync::Arc;

use evergate_model::{
    Action, Address, AddressKind, Attached, ConsumerId, Credit, Delivery, Outcome, Output, Seq, Settle, Time,
};

use super::attach::Answer;
use super::channel::{Channel, Link};
use super::context::{Context, LinkId, Place};
use super::stream::Stream;
use crate::filters::Filters;
use crate::message::Payload;
use crate::performative::{Attach, Flow};
use crate::subscription::describe_lifetime;
use crate::terminus::{Terminus, address_of};

#[allow(clippy::struct_excessive_bools)] // independent facts, each with its own comment
pub(super) struct Outgoing {
    pub id: LinkId,
    pub name: Arc<str>,
    /// Until our `attach` is written.
    pub answer: Option<Answer>,
    /// The client's detach, if it came before that.
    pub detach: Option<bool>,
    pub source: Terminus,
    /// The source was null: only a subscription that exists will do.
    pub resume: bool,
    /// Our `attach` says how long the queue lives.
    pub tells_lifetime: bool,
    /// The queue is a subscription of this link alone: closing the link deletes it.
    pub subscription: bool,
    /// The client asked for settled deliveries.
    pub settled: bool,
    pub browse: bool,
    /// Deliveries tell their place in the stream, for a consumer that may begin there next time.
    pub tells_place: bool,
    pub message_bytes_max: u64,
    /// Our delivery-count, from 0. On the wire its low half.
    pub sent: u64,
    /// The delivery-count up to which the client gave credit.
    pub limit: u64,
    /// What the gateway has counted beyond our delivery-count: deliveries given back unsent count there,
    /// credit used up by a drain counts here.
    pub ahead: i64,
    /// The limit told to the gateway.
    issued: u64,
    /// Deliveries that wait for the session's window.
    pub held: VecDeque<Delivery>,
    /// What was begun to be sent, and waits for it.
    pub partial: Option<Payload>,
    /// The delivery that is being sent has a body that comes in pieces.
    pub stream: Option<Box<Stream>>,
    pub unsettled: u32,
    /// The client's last flow said drain.
    pub drain: bool,
    /// That was not answered.
    pub drain_asked: bool,
    /// The gateway was asked for a drain, and has not answered.
    is_draining: bool,
    /// The client asked once more meanwhile, for what has come since.
    drains_again: bool,
    pub drained: bool,
}

impl Outgoing {
    pub fn new(id: LinkId, name: Arc<str>, answer: Answer, attach: &Attach<'_>) -> Self {
        Self {
            id,
            name,
            answer: Some(answer),
            detach: None,
            source: Terminus::default(),
            resume: false,
            tells_lifetime: false,
            subscription: false,
            settled: attach.snd_settle_mode == 1,
            browse: false,
            tells_place: false,
            message_bytes_max: attach.message_bytes_max.unwrap_or(u64::MAX),
            sent: 0,
            limit: 0,
            ahead: 0,
            issued: 0,
            held: VecDeque::new(),
            partial: None,
            stream: None,
            unsettled: 0,
            drain: false,
            drain_asked: false,
            is_draining: false,
            drains_again: false,
            drained: false,
        }
    }

    /// Puts what was found into the source.
    pub fn describe_source(&mut self, attached: &Attached) {
        if !attached.stream {
            self.source.filters.drop_start();
        }
        self.tells_place = self.source.filters.start.is_some();
        if self.tells_lifetime {
            describe_lifetime(&mut self.source, attached);
        }
        if self.resume {
            if let Some(binding) = attached.bindings.first() {
                self.source.address = Some(address_of(&binding.filter));
                self.source.filters = Filters::of(binding);
            }
        } else if self.source.dynamic && self.source.address.is_none() {
            let queue = Address { kind: AddressKind::Queue, name: attached.queue.clone() };
            self.source.address = Some(queue.to_string());
        }
    }

    /// The client's credit.
    pub fn flow(&mut self, flow: &Flow, context: &Context, out: &mut Output) {
        let Some(credit) = flow.link_credit else { return };
        // Serial numbers (2.6.7): what the client has counted is a little behind what we have sent.
        let behind = (self.sent as u32).wrapping_sub(flow.delivery_count.unwrap_or(0));
        let counted = self.sent.saturating_sub(u64::from(behind));
        self.limit = (counted + u64::from(credit)).max(self.sent);
        self.drain = flow.drain;
        self.drain_asked = flow.drain && self.limit > self.sent;
        self.drains_again = self.drain_asked && self.is_draining;
        self.drained = false;
        self.give_back(out);
        if self.answer.is_none() {
            self.issue_credit(context, out);
        }
    }

    /// Tells the gateway how much this link may be sent.
    pub fn issue_credit(&mut self, context: &Context, out: &mut Output) {
        let wanted = self.wanted(context);
        let drain = self.drain_asked && !self.is_draining;
        if wanted == self.issued && !drain {
            return;
        }
        self.issued = wanted;
        self.is_draining |= drain;
        let credit = Credit { consumer: self.id.consumer(), limit: wanted, drain };
        out.actions.push(Action::Credit(credit));
    }

    /// The client's limit, or what keeps its unsettled deliveries bounded; as the gateway counts.
    fn wanted(&self, context: &Context) -> u64 {
        self.limit.min(self.bound(context)).saturating_add_signed(self.ahead)
    }

    fn bound(&self, context: &Context) -> u64 {
        // Nothing waits for a word on these.
        if self.settled || self.browse {
            return u64::MAX;
        }
        let room = context.config.unsettled_per_link_max.saturating_sub(self.unsettled);
        self.sent + u64::from(room)
    }

    /// Deliveries that the client no longer has credit for go back, if they still can.
    fn give_back(&mut self, out: &mut Output) {
        if self.settled || self.browse {
            return;
        }
        while self.sent + self.held.len() as u64 > self.limit {
            let Some(delivery) = self.held.pop_back() else { return };
            self.ahead += 1;
            out.actions.push(settle(self.id.consumer(), delivery.seq, Outcome::Release));
        }
    }

    /// Whether there is something to send now.
    pub fn is_ready(&self) -> bool {
        self.partial.is_some()
            || match &self.stream {
                Some(stream) => stream.is_ready(),
                None => !self.held.is_empty() && self.sent < self.limit,
            }
    }

    /// Settled deliveries make room for more.
    pub fn settled_some(&mut self, count: u32, context: &Context, out: &mut Output) {
        self.unsettled = self.unsettled.saturating_sub(count);
        let low = self.unsettled <= context.config.unsettled_per_link_max / 2;
        if low && self.wanted(context) > self.issued {
            self.issue_credit(context, out);
        }
    }
}

pub(super) fn settle(consumer: ConsumerId, seq: Seq, outcome: Outcome) -> Action {
    Action::Settle(Settle::new(consumer, seq, seq, outcome))
}

impl Channel {
    pub(super) fn outgoing(&mut self, place: Place) -> Option<&mut Outgoing> {
        match self.links.get_mut(&place.handle) {
            Some(Link::Outgoing(link)) if link.id == place.link => Some(link),
            _ => None,
        }
    }

    /// A message for a consumer.
    pub(super) fn deliver(
        &mut self,
        now: Time,
        place: Place,
        delivery: Delivery,
        context: &mut Context,
        out: &mut Output,
    ) {
        let Some(link) = self.outgoing(place) else { return };
        link.held.push_back(delivery);
        link.give_back(out);
        self.pump(now, place.handle, context, out);
    }

    /// Everything that there was has been delivered to a consumer, or all that may be unsettled: who drains wants an
    /// answer (2.6.7), and gives credit for more when it has settled some.
    pub(super) fn drained(&mut self, now: Time, place: Place, delivered: u64, context: &mut Context, out: &mut Output) {
        let Some(link) = self.outgoing(place) else { return };
        link.is_draining = false;
        // The gateway took the unused credit away.
        link.issued = link.issued.min(delivered);
        if !link.drain_asked || std::mem::take(&mut link.drains_again) {
            // The client changed its mind meanwhile: it is owed what it gave since.
            return link.issue_credit(context, out);
        }
        link.drained = true;
        self.pump(now, place.handle, context, out);
    }
}
