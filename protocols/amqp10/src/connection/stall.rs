//! A client that stops in the middle of a message, though it may send: it is asked to go on.
//!
//! Qpid JMS writes what a flow lets it send, and may leave the last of it, up to a MiB, unflushed until it writes again
//! (`AmqpProvider.pumpToProtonTransport` of 2.6). It has nothing to write before it hears from us, and we await a frame
//! that it believes to have sent. So it is given a reason to write: first room for one frame more, and if nothing comes
//! of it the whole message may wait there, then its credit is drained, which it must answer (2.6.7).

use std::time::Duration;

use evergate_model::{Output, Time};

use super::AmqpSession;
use super::channel::{Channel, Link};
use super::context::{Context, Place};
use crate::performative::LinkFlow;

/// So long nothing comes before it is asked, each time.
const STALL: Duration = Duration::from_millis(50);

/// A delivery of which more is to come.
pub(super) struct Unfinished {
    pub place: Place,
    asked: Asked,
}

/// What was asked of the client since the latest frame, and when.
#[derive(Clone, Copy)]
enum Asked {
    Nothing,
    OneMore(Time),
    All,
}

impl Unfinished {
    pub fn new(place: Place) -> Self {
        Self { place, asked: Asked::Nothing }
    }
}

impl AmqpSession {
    /// When a delivery that has begun has come to a halt.
    pub(super) fn stalled_at(&self) -> Option<Time> {
        // While something awaits its commit it is our turn.
        let unfinished = self.context.unfinished.as_ref().filter(|_| self.pieces_bytes == 0)?;
        match unfinished.asked {
            Asked::Nothing => Some(self.heard_at.after(STALL)),
            Asked::OneMore(at) => Some(self.heard_at.max(at).after(STALL)),
            Asked::All => None,
        }
    }

    /// Gives the client a reason to write.
    pub(super) fn ask(&mut self, now: Time, out: &mut Output) {
        let Some(unfinished) = &mut self.context.unfinished else { return };
        let place = unfinished.place;
        let for_all = matches!(unfinished.asked, Asked::OneMore(_));
        unfinished.asked = if for_all { Asked::All } else { Asked::OneMore(now) };
        let Some((channel, context)) = self.channel(place.channel) else { return };
        if for_all {
            channel.drain(place, context, out);
        } else {
            channel.incoming.widen();
            channel.write_flow(None, context, out);
        }
    }
}

impl Channel {
    /// The client is to use up a link's credit, or to say that it does not need it.
    fn drain(&self, place: Place, context: &mut Context, out: &mut Output) {
        if let Some(Link::Incoming(link)) = self.links.get(&place.handle)
            && link.id == place.link
            && link.credit > 0
        {
            let (delivery_count, link_credit) = (link.delivery_count, link.credit);
            let flow = LinkFlow { handle: place.handle, delivery_count, link_credit, drain: true };
            self.write_flow(Some(flow), context, out);
        }
    }
}
