//! What happened in the core, in groups: see [`evergate_model::ahead`].

use evergate_core::SessionEvent;
use evergate_model::ahead::AHEAD;
use evergate_model::{ConsumerId, Event};

use super::Driver;

impl Driver {
    /// Carries out all of `events`, in order.
    pub(super) fn on_events(&mut self, events: &mut Vec<SessionEvent>) {
        let mut next = events.drain(..);
        while next.len() > 0 {
            self.look_ahead(next.as_slice());
            next.by_ref().take(AHEAD).for_each(|event| self.on_event(event));
        }
    }

    /// Reads what the next [`AHEAD`] events will ask for.
    fn look_ahead(&self, next: &[SessionEvent]) {
        let mut consumers = [ConsumerId(0); AHEAD];
        let mut count = 0;
        for event in next.iter().take(AHEAD) {
            if let SessionEvent::Event(Event::Deliver(delivery)) = event {
                consumers[count] = delivery.consumer;
                count += 1;
            }
        }
        self.consumers.look_at(&consumers[..count]);
        self.session.look_ahead(&consumers[..count]);
    }
}
