//! What happened in the core, and what the session wants, in groups: see [`evergate_model::ahead`].

use evergate_core::SessionEvent;
use evergate_model::ahead::AHEAD;
use evergate_model::{Action, ConsumerId, Event};

use super::Driver;

impl Driver {
    /// Carries out all of `events`, in order.
    pub(super) fn on_events(&mut self, events: &mut Vec<SessionEvent>) {
        let delivered = |event: &SessionEvent| match event {
            SessionEvent::Event(Event::Deliver(delivery)) => Some(delivery.consumer),
            _ => None,
        };
        let mut next = events.drain(..);
        while next.len() > 0 {
            let (consumers, count) = gather(next.as_slice().iter().take(AHEAD).filter_map(delivered));
            self.consumers.look_at(&consumers[..count]);
            self.session.look_ahead(&consumers[..count]);
            next.by_ref().take(AHEAD).for_each(|event| self.on_event(event));
        }
    }

    /// Carries out all of `actions`, in order.
    pub(super) fn request_all(&mut self, actions: Vec<Action>) {
        let settled = |action: &Action| match action {
            Action::Settle(settle) => Some(settle.consumer),
            _ => None,
        };
        let mut next = actions.into_iter();
        while next.len() > 0 {
            let (consumers, count) = gather(next.as_slice().iter().take(AHEAD).filter_map(settled));
            self.consumers.look_at(&consumers[..count]);
            next.by_ref().take(AHEAD).for_each(|action| self.request(action));
        }
    }
}

/// The first [`AHEAD`] of these, and how many there are.
fn gather(ids: impl Iterator<Item = ConsumerId>) -> ([ConsumerId; AHEAD], usize) {
    let mut all = [ConsumerId(0); AHEAD];
    let count = all.iter_mut().zip(ids).map(|(place, id)| *place = id).count();
    (all, count)
}
