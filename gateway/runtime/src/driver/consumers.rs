//! A connection's consumers: where their queues are, and how many bytes each has been sent.

use std::sync::Arc;

use evergate_core::{SessionId, ShardCommand, ShardId};
use evergate_model::ahead::{CACHED, read};
use evergate_model::{
    Action, AttachError, Attached, BODY_PREFIX, ConsumerId, Credit, IdMap, Lifetime, QueueId, QueueSpec,
    SESSION_PREFIX, Settle,
};
use tokio::time::Instant;

use crate::gateway::Gateway;

pub struct Consumers {
    session: SessionId,
    window_bytes: u64,
    all: IdMap<ConsumerId, State>,
    /// The consumer that was attached first, and its queue: an MQTT session's own.
    first: Option<(ConsumerId, Arc<str>, Lifetime)>,
    /// Consumers that were sent something since it was last looked after what is written, each once.
    served: Vec<ConsumerId>,
    /// Those that read the body of a large message; when their shard may be told that so many bytes more are
    /// written, if that is all they wait for.
    bodies: IdMap<ConsumerId, Option<(Instant, u64)>>,
}

enum State {
    /// The answer is on its way; what is asked meanwhile waits for it.
    Attaching(Vec<Action>),
    Attached(Place),
}

struct Place {
    queue: QueueId,
    shard: ShardId,
    /// Sent in all, and known to the shard as written.
    delivered_bytes: u64,
    reported_bytes: u64,
    /// It is among `served`.
    is_served: bool,
}

impl Consumers {
    pub fn new(session: SessionId, window_bytes: u64) -> Self {
        Self { session, window_bytes, all: IdMap::default(), first: None, served: Vec::new(), bodies: IdMap::default() }
    }

    pub fn attaching(&mut self, consumer: ConsumerId, queue: &QueueSpec) {
        self.first.get_or_insert_with(|| (consumer, queue.name.clone(), queue.lifetime));
        if queue.name.starts_with(BODY_PREFIX) {
            self.bodies.insert(consumer, None);
        }
        self.all.insert(consumer, State::Attaching(Vec::new()));
    }

    /// The directory's answer; what waited for it is carried out.
    pub fn attached(
        &mut self,
        gateway: &Gateway,
        consumer: ConsumerId,
        result: Result<(QueueId, ShardId, Attached), AttachError>,
    ) -> Result<Attached, AttachError> {
        let waited = self.all.remove(&consumer);
        if result.is_err() {
            self.bodies.remove(&consumer);
        }
        let (queue, shard, found) = result?;
        let place = Place { queue, shard, delivered_bytes: 0, reported_bytes: 0, is_served: false };
        self.all.insert(consumer, State::Attached(place));
        if let Some(State::Attaching(actions)) = waited {
            for action in actions {
                self.forward(gateway, consumer, action);
            }
        }
        Ok(found)
    }

    pub fn remove(&mut self, consumer: ConsumerId) {
        self.all.remove(&consumer);
        self.bodies.remove(&consumer);
    }

    /// Whether what it is sent are pieces of a large message.
    pub fn reads_body(&self, consumer: ConsumerId) -> bool {
        !self.bodies.is_empty() && self.bodies.contains_key(&consumer)
    }

    /// A consumer detaches, and its queue lives another while now, perhaps.
    pub fn detaching(&mut self, consumer: ConsumerId, lifetime: Option<Lifetime>) {
        if let (Some((first, _, known)), Some(lifetime)) = (&mut self.first, lifetime)
            && *first == consumer
        {
            *known = lifetime;
        }
    }

    /// The queue of an MQTT session and how long it lives behind its connection; `None`: there is none.
    pub fn session(&self) -> Option<(Arc<str>, Lifetime)> {
        let session = self.first.as_ref().filter(|(_, name, _)| name.starts_with(SESSION_PREFIX))?;
        Some((session.1.clone(), session.2))
    }

    /// Where a consumer's queue is.
    pub fn place(&self, consumer: ConsumerId) -> Option<(ShardId, QueueId)> {
        match self.all.get(&consumer)? {
            State::Attached(place) => Some((place.shard, place.queue)),
            State::Attaching(_) => None,
        }
    }

    /// Sends credit, a settlement or a mark to the consumer's shard. Returns whether there is such a
    /// consumer (still).
    pub fn forward(&mut self, gateway: &Gateway, consumer: ConsumerId, action: Action) -> bool {
        let place = match self.all.get_mut(&consumer) {
            None => return false,
            Some(State::Attaching(waiting)) => {
                waiting.push(action);
                return true;
            }
            Some(State::Attached(place)) => place,
        };
        let (session, queue) = (self.session, place.queue);
        let command = match action {
            Action::Credit(Credit { consumer, limit, drain }) => {
                ShardCommand::Credit { queue, session, consumer, limit, drain }
            }
            Action::Settle(settle @ Settle { .. }) => ShardCommand::Settle { queue, session, settle },
            Action::Mark { number, set, token, .. } => {
                ShardCommand::Mark { queue, number, set, answer: token.map(|token| (session, token)) }
            }
            // Nothing else goes to a shard by way of a consumer.
            _ => return false,
        };
        gateway.control(place.shard, command);
        true
    }

    /// Reads what deliveries of these will ask for: see [`evergate_model::ahead`].
    pub fn look_at(&self, consumers: &[ConsumerId]) {
        if self.all.len() > CACHED {
            read(consumers.iter().filter_map(|consumer| match self.all.get(consumer)? {
                State::Attached(place) => Some(place.delivered_bytes ^ u64::from(place.is_served)),
                State::Attaching(_) => None,
            }));
        }
    }

    /// A delivery is on its way to the socket.
    pub fn delivered(&mut self, consumer: ConsumerId, size_bytes: u64) {
        if let Some(State::Attached(place)) = self.all.get_mut(&consumer) {
            place.delivered_bytes += size_bytes;
            if !std::mem::replace(&mut place.is_served, true) {
                self.served.push(consumer);
            }
        }
    }

    /// Everything is written but what the session holds back: shards may send as many bytes again. Said for half a
    /// window at a time. The cost follows those that were served, not all that are there. Returns when to ask again
    /// for bodies that must keep their pace.
    pub fn written(&mut self, gateway: &Gateway, is_held_back: impl Fn(ConsumerId) -> bool) -> Option<Instant> {
        let (session, window_bytes, all, bodies) = (self.session, self.window_bytes, &mut self.all, &mut self.bodies);
        let mut again: Option<Instant> = None;
        self.served.retain(|&consumer| {
            let Some(State::Attached(place)) = all.get_mut(&consumer) else { return false };
            if is_held_back(consumer) {
                return true;
            }
            let mut written_bytes = place.delivered_bytes - place.reported_bytes;
            if written_bytes < window_bytes / 2 {
                place.is_served = false;
                return false;
            }
            if !bodies.is_empty()
                && let Some(booked) = bodies.get_mut(&consumer)
            {
                let (now, paces) = (Instant::now(), &gateway.paces);
                let book = || (paces.outgoing.book(now, written_bytes, paces.has_others(now)), written_bytes);
                let (at, bytes) = *booked.get_or_insert_with(book);
                if at > now {
                    again = again.into_iter().chain([at]).min();
                    return true;
                }
                *booked = None;
                written_bytes = bytes;
            }
            place.reported_bytes += written_bytes;
            let (queue, limit_bytes) = (place.queue, place.reported_bytes + window_bytes);
            gateway.control(place.shard, ShardCommand::Window { queue, session, consumer, limit_bytes });
            // More may have been written since that was booked.
            place.is_served = place.delivered_bytes > place.reported_bytes;
            if place.is_served {
                again = Some(Instant::now());
            }
            place.is_served
        });
        again
    }
}
