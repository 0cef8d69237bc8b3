//! A gateway small enough to be obviously right: queues in memory, everything granted at once.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use evergate_model::{
    Action, Attached, ConsumerId, Delivery, Event, Message, Outcome, Seq, Settle, TransactionError, TransactionId,
};

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

/// What a transaction holds.
#[derive(Default)]
struct Transaction {
    publishes: Vec<Message>,
    /// Out of their consumers' hands; whose, and of which queue.
    settles: Vec<(ConsumerId, String, u64, Arc<Message>, Outcome)>,
}

#[derive(Default)]
pub struct Gateway {
    queues: HashMap<String, Queue>,
    consumers: HashMap<ConsumerId, Consumer>,
    transactions: HashMap<TransactionId, Transaction>,
    committed: Vec<TransactionId>,
    last_transaction: u64,
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
                match publish.transaction {
                    None => self.enqueue(publish.message),
                    Some(id) => {
                        let transaction = self.transactions.get_mut(&id).expect("the session knows what is open");
                        transaction.publishes.push(publish.message);
                    }
                }
                client.event(Event::Published { token: publish.token, result: Ok(1) });
                self.dispatch_all(client);
            }
            Action::Attach(attach) => {
                let name = attach.queue.name.to_string();
                let existed = self.queues.contains_key(&name);
                self.queues.entry(name.clone()).or_default();
                let consumer =
                    Consumer { queue: name.clone(), limit: 0, sent: 0, held: Vec::new(), settled: attach.settled };
                self.consumers.insert(attach.consumer, consumer);
                let attached =
                    Attached { queue: name.into(), existed, bindings: attach.bindings, ..Attached::default() };
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
                if settle.transaction.is_some() {
                    return self.pledge(&settle);
                }
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
                if let Some(Consumer { queue, held, .. }) = self.consumers.remove(&consumer)
                    && let Some(queue) = self.queues.get_mut(&queue)
                {
                    held.into_iter().rev().for_each(|entry| queue.backlog.push_front(entry));
                }
                client.event(Event::Detached { consumer });
            }
            Action::Begin { token } => {
                self.last_transaction += 1;
                let id = TransactionId(self.last_transaction);
                self.transactions.insert(id, Transaction::default());
                client.event(Event::Begun { token, result: Ok(id) });
            }
            Action::Commit { transaction, token } => {
                let result = match self.transactions.remove(&transaction) {
                    Some(held) => {
                        self.committed.push(transaction);
                        self.commit(held);
                        Ok(())
                    }
                    None if self.committed.contains(&transaction) => Ok(()),
                    None => Err(TransactionError::Unknown),
                };
                client.event(Event::Committed { token, result });
                self.dispatch_all(client);
            }
            Action::Rollback { transaction, token } => {
                let settles = self.transactions.remove(&transaction).unwrap_or_default().settles;
                for (consumer, queue, seq, message, _) in settles {
                    match self.consumers.get_mut(&consumer) {
                        Some(consumer) => consumer.held.push((seq, message)),
                        None => self.queues.entry(queue).or_default().backlog.push_front((seq, message)),
                    }
                }
                client.event(Event::Done(token));
            }
            other => panic!("not expected: {other:?}"),
        }
    }

    fn enqueue(&mut self, message: Message) {
        let queue = self.queues.entry(message.meta.address.name.to_string()).or_default();
        queue.last += 1;
        queue.backlog.push_back((queue.last, Arc::new(message)));
    }

    fn pledge(&mut self, settle: &Settle) {
        let Some(consumer) = self.consumers.get_mut(&settle.consumer) else { return };
        let transaction =
            self.transactions.get_mut(&settle.transaction.unwrap()).expect("the session knows what is open");
        let range = settle.first.0..=settle.last.0;
        let (taken, held): (Vec<_>, Vec<_>) = consumer.held.drain(..).partition(|(seq, _)| range.contains(seq));
        consumer.held = held;
        for (seq, message) in taken {
            let entry = (settle.consumer, consumer.queue.clone(), seq, message, settle.outcome.clone());
            transaction.settles.push(entry);
        }
    }

    fn commit(&mut self, transaction: Transaction) {
        for message in transaction.publishes {
            self.enqueue(message);
        }
        for (_, queue, seq, message, outcome) in transaction.settles {
            if outcome == Outcome::Accept {
                self.accepted.push(message.body.to_vec());
            } else {
                self.queues.entry(queue).or_default().backlog.push_front((seq, message));
            }
        }
    }

    /// Bodies of what is in a queue and in nobody's hands.
    pub fn backlog(&self, queue: &str) -> Vec<Vec<u8>> {
        self.queues
            .get(queue)
            .map(|queue| queue.backlog.iter().map(|(_, m)| m.body.to_vec()).collect())
            .unwrap_or_default()
    }

    fn dispatch_all(&mut self, client: &mut Client) {
        let ids: Vec<ConsumerId> = self.consumers.keys().copied().collect();
        for id in ids {
            self.dispatch(id, client);
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
