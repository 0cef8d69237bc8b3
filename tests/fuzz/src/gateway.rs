//! A connection and the least of a gateway behind it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::BytesMut;
use evergate_model::{
    Access, Action, Attached, ConsumerId, Delivery, Event, Message, Output, PeerInfo, Seq, Session, Time,
};

/// Messages delivered to one connection at most, so that one input ends soon.
const DELIVERIES_MAX: u64 = 64;

#[derive(Default)]
struct Consumer {
    limit: u64,
    delivered: u64,
}

/// A session, its unread input, and the answers that it awaits.
pub struct Line {
    session: Box<dyn Session>,
    input: BytesMut,
    out: Output,
    now: Time,
    events: VecDeque<Event>,
    consumers: HashMap<ConsumerId, Consumer>,
    published: Vec<Arc<Message>>,
    closed: bool,
}

impl Line {
    pub fn new(session: Box<dyn Session>) -> Self {
        Self {
            session,
            input: BytesMut::new(),
            out: Output::default(),
            now: Time(1_700_000_000_000),
            events: VecDeque::new(),
            consumers: HashMap::new(),
            published: Vec::new(),
            closed: false,
        }
    }

    pub fn is_closed(&self) -> bool {
        self.closed
    }

    pub fn is_consuming(&self) -> bool {
        self.consumers.values().any(|consumer| consumer.limit > 0)
    }

    pub fn peer(&self) -> PeerInfo {
        self.session.peer()
    }

    pub fn take_published(&mut self) -> Vec<Arc<Message>> {
        std::mem::take(&mut self.published)
    }

    /// Bytes from the peer.
    pub fn receive(&mut self, bytes: &[u8]) {
        if self.closed {
            return;
        }
        self.input.extend_from_slice(bytes);
        self.session.received(self.now, &mut self.input, &mut self.out);
        self.act();
    }

    /// Hands over all answers that are due, and those that follow from them.
    pub fn answer(&mut self) {
        while let Some(event) = self.events.pop_front() {
            if self.closed {
                return;
            }
            self.session.handle(self.now, event, &mut self.out);
            self.act();
        }
        if !self.closed {
            // The driver calls again after answers: a session may have left input for later.
            self.session.received(self.now, &mut self.input, &mut self.out);
            self.act();
        }
    }

    /// A message for every consumer that has credit.
    pub fn deliver(&mut self, message: &Arc<Message>) {
        let ready: Vec<(ConsumerId, u64)> = self
            .consumers
            .iter_mut()
            .filter(|(_, consumer)| consumer.delivered < consumer.limit.min(DELIVERIES_MAX))
            .map(|(id, consumer)| {
                consumer.delivered += 1;
                (*id, consumer.delivered)
            })
            .collect();
        for (consumer, seq) in ready {
            self.events.push_back(Event::Deliver(Delivery {
                consumer,
                seq: Seq(seq),
                message: message.clone(),
                failed_count: u32::from(seq % 3 == 0),
                redelivered: seq % 2 == 0,
                retained: seq % 5 == 0,
            }));
        }
        self.answer();
    }

    /// Time passes until the session has nothing more to wait for, or often enough.
    pub fn wait(&mut self) {
        for _ in 0..4 {
            let Some(at) = self.session.next_timeout() else { return };
            if self.closed {
                return;
            }
            self.now = self.now.max(at);
            self.session.timeout(self.now, &mut self.out);
            self.act();
        }
    }

    /// The gateway stops.
    pub fn stop(&mut self) {
        if !self.closed {
            self.session.handle(self.now, Event::Stopping { reason: "end".into() }, &mut self.out);
            self.act();
        }
    }

    fn act(&mut self) {
        drop(self.out.wire.take());
        for action in std::mem::take(&mut self.out.actions) {
            self.perform(action);
        }
        self.closed |= self.out.close.is_some();
    }

    fn perform(&mut self, action: Action) {
        let answer = match action {
            Action::Authenticate(_) => Some(Event::Authenticated(Access::Granted("".into()))),
            Action::Publish(publish) => {
                self.published.push(Arc::new(publish.message));
                Some(Event::Published { token: publish.token, result: Ok(1) })
            }
            Action::Attach(attach) => {
                self.consumers.insert(attach.consumer, Consumer::default());
                let attached = Attached { queue: attach.queue.name, bindings: attach.bindings, ..Attached::default() };
                Some(Event::Attached { consumer: attach.consumer, result: Ok(attached) })
            }
            Action::Detach { consumer, .. } => {
                self.consumers.remove(&consumer);
                Some(Event::Detached { consumer })
            }
            Action::Bind { token, .. } => Some(Event::Done(token)),
            Action::Unbind { token, .. } => Some(Event::Unbound { token, existed: true }),
            Action::Credit(credit) => {
                let delivered = self.consumers.get_mut(&credit.consumer).map(|consumer| {
                    consumer.limit = credit.limit;
                    consumer.delivered
                });
                let drained = |delivered| Event::Drained { consumer: credit.consumer, delivered };
                delivered.filter(|_| credit.drain).map(drained)
            }
            Action::Settle(settle) => settle.token.map(Event::Done),
            Action::Mark { token, .. } => token.map(Event::Done),
            Action::Will(_) => None,
        };
        self.events.extend(answer);
    }
}
