//! A gateway small enough to be obviously right: queues in memory, everything granted at once.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use evergate_model::{Action, Attached, ConsumerId, Delivery, Event, Message, Outcome, Seq};

use super::client::Client;

#[derive(Default)]
struct Queue {
    backlog: VecDeque<(u64, Arc<Message>)>,
    last: u64,
}

struct Consumer {
    queue: String,
    limit: u64,
    sent: u64,
    held: Vec<(u64, Arc<Message>)>,
    settled: bool,
}

#[derive(Default)]
pub struct Gateway {
    queues: HashMap<String, Queue>,
    consumers: HashMap<ConsumerId, Consumer>,
    pub accepted: Vec<Vec<u8>>,
}

impl Gateway {
    /// Carries out what the session asked, until it asks no more.
    pub fn run(&mut self, client: &mut Client) {
        loop {
            let actions = client.actions();
            if actions.is_empty() {
                return;
            }
            for action in actions {
                self.act(action, client);
            }
        }
    }

    fn act(&mut self, action: Action, client: &mut Client) {
        match action {
            Action::Publish(publish) => {
                let queue = self.queues.entry(publish.message.meta.address.name.to_string()).or_default();
                queue.last += 1;
                queue.backlog.push_back((queue.last, Arc::new(publish.message)));
                client.event(Event::Published { token: publish.token, result: Ok(1) });
                let ids: Vec<ConsumerId> = self.consumers.keys().copied().collect();
                for id in ids {
                    self.dispatch(id, client);
                }
            }
            Action::Attach(attach) => {
                let name = attach.queue.name.to_string();
                let existed = self.queues.contains_key(&name);
                self.queues.entry(name.clone()).or_default();
                let consumer =
                    Consumer { queue: name.clone(), limit: 0, sent: 0, held: Vec::new(), settled: attach.settled };
                self.consumers.insert(attach.consumer, consumer);
                let attached = Attached { queue: name.into(), existed, bindings: attach.bindings, marks: Vec::new() };
                client.event(Event::Attached { consumer: attach.consumer, result: Ok(attached) });
            }
            Action::Credit(credit) => {
                let Some(consumer) = self.consumers.get_mut(&credit.consumer) else { return };
                consumer.limit = credit.limit;
                self.dispatch(credit.consumer, client);
                if credit.drain {
                    let Some(consumer) = self.consumers.get_mut(&credit.consumer) else { return };
                    let delivered = consumer.sent;
                    consumer.limit = delivered;
                    client.event(Event::Drained { consumer: credit.consumer, delivered });
                }
            }
            Action::Settle(settle) => {
                let Some(consumer) = self.consumers.get_mut(&settle.consumer) else { return };
                let range = settle.first.0..=settle.last.0;
                let (settled, held): (Vec<_>, Vec<_>) =
                    consumer.held.drain(..).partition(|(seq, _)| range.contains(seq));
                consumer.held = held;
                for (seq, message) in settled {
                    if settle.outcome == Outcome::Accept {
                        self.accepted.push(message.body.to_vec());
                    } else if let Some(queue) = self.queues.get_mut(&consumer.queue) {
                        queue.backlog.push_front((seq, message));
                    }
                }
                if let Some(token) = settle.token {
                    client.event(Event::Done(token));
                }
            }
            Action::Detach { consumer, .. } => {
                self.consumers.remove(&consumer);
                client.event(Event::Detached { consumer });
            }
            other => panic!("not expected: {other:?}"),
        }
    }

    fn dispatch(&mut self, id: ConsumerId, client: &mut Client) {
        let Some(consumer) = self.consumers.get_mut(&id) else { return };
        let Some(queue) = self.queues.get_mut(&consumer.queue) else { return };
        while consumer.sent < consumer.limit {
            let Some((seq, message)) = queue.backlog.pop_front() else { return };
            consumer.sent += 1;
            if !consumer.settled {
                consumer.held.push((seq, message.clone()));
            }
            client.event(Event::Deliver(Delivery {
                consumer: id,
                seq: Seq(seq),
                message,
                failed_count: 0,
                redelivered: false,
                retained: false,
            }));
        }
    }
}
