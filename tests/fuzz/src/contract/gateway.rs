//! A gateway for one session: queues in memory, answers in the order of the requests. It checks what
//! the contract between sessions and gateway promises of a session.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use evergate_model::{
    Access, Action, Address, AddressKind, Attach, AttachError, Attached, Binding, ConsumerId, Credit, Delivery,
    Encoding, Event, Fingerprint, Mark, Message, Meta, Outcome, Publish, PublishError, QueueSpec, Retained, RollbackReason, Seq,
    Settle, Standing, Time, Token, TransactionError, TransactionId,
};

use super::input::Choices;

/// Deliveries in one run. More would only be slow.
const DELIVERIES_MAX: u64 = 2000;

#[derive(Default)]
struct Queue {
    backlog: VecDeque<(Seq, Arc<Message>)>,
    bindings: Vec<Binding>,
    marks: BTreeSet<u32>,
    fingerprints: Vec<Fingerprint>,
}

struct Consumer {
    queue: Arc<str>,
    settled: bool,
    browse: bool,
    limit: u64,
    delivered: u64,
    held: BTreeMap<Seq, Arc<Message>>,
}

/// What takes effect with a commit.
#[derive(Default)]
struct Transaction {
    published: Vec<Arc<Message>>,
    settled: Vec<Settle>,
}

/// See the module.
pub struct Gateway<'a> {
    choices: Choices<'a>,
    granted: bool,
    /// Credentials were sent: nobody asks twice.
    asked_access: bool,
    queues: BTreeMap<Arc<str>, Queue>,
    consumers: BTreeMap<ConsumerId, Consumer>,
    used_ids: HashSet<ConsumerId>,
    used_tokens: HashSet<Token>,
    transactions: BTreeMap<TransactionId, Transaction>,
    transactions_begun: u64,
    last_seq: u64,
    deliveries: u64,
    delivered_bytes: u64,
    /// Whether a new queue has messages.
    pub stocked: bool,
    /// The answers, in order.
    pub events: VecDeque<Event>,
    /// What the session published, wills too.
    pub published: Vec<Arc<Message>>,
}

impl<'a> Gateway<'a> {
    /// One that grants everything while `choices` are 0.
    pub fn new(choices: Choices<'a>) -> Self {
        Self {
            choices,
            granted: false,
            asked_access: false,
            queues: BTreeMap::new(),
            consumers: BTreeMap::new(),
            used_ids: HashSet::new(),
            used_tokens: HashSet::new(),
            transactions: BTreeMap::new(),
            transactions_begun: 0,
            last_seq: 0,
            deliveries: 0,
            delivered_bytes: 0,
            stocked: true,
            events: VecDeque::new(),
            published: Vec::new(),
        }
    }

    /// The consumers that are attached.
    pub fn consumers(&self) -> impl Iterator<Item = ConsumerId> {
        self.consumers.keys().copied()
    }

    /// What the session may have written for the deliveries it got: their bytes, with room for escapes
    /// and for their frames.
    pub fn delivered_bytes_max(&self) -> u64 {
        self.deliveries * 16 * 1024 + self.delivered_bytes * 8
    }

    /// The session is about to be told of a delivery of `message`.
    pub fn count(&mut self, message: &Message) {
        self.deliveries += 1;
        self.delivered_bytes += message.size_bytes() + message.meta.address.name.len() as u64;
    }

    /// Takes a request; its answers are in `events`.
    pub fn act(&mut self, action: Action) {
        let before = matches!(action, Action::Authenticate(_));
        assert!(self.granted || before, "a request before authentication succeeded: {action:?}");
        match action {
            Action::Authenticate(_) => self.authenticate(),
            Action::Publish(publish) => self.publish(publish),
            Action::MayPublish { to, token } => {
                assert!(to.is_reserved(), "anybody may publish to {to}");
                self.name(token);
                let result = if self.choices.next().is_multiple_of(2) { Ok(0) } else { Err(PublishError::Reserved) };
                self.events.push_back(Event::Published { token, result });
            }
            // The publish that may follow is what is answered.
            Action::Piece { .. } | Action::Abandon { .. } => {}
            Action::Attach(attach) => self.attach(attach),
            Action::Detach { consumer, delete, .. } => self.detach(consumer, delete),
            Action::Bind { consumer, binding, retained, token } => self.bind(consumer, binding, retained, token),
            Action::Unbind { consumer, filter, token } => {
                self.name(token);
                let existed = self.queue_of(consumer).is_some_and(|queue| {
                    let before = queue.bindings.len();
                    queue.bindings.retain(|binding| binding.filter != filter);
                    queue.bindings.len() < before
                });
                self.events.push_back(Event::Unbound { token, existed });
            }
            Action::Credit(credit) => self.credit(credit),
            Action::Settle(settle) => self.settle(settle),
            Action::Mark { consumer, number, set, token } => {
                if let Some(queue) = self.queue_of(consumer) {
                    if set {
                        queue.marks.insert(number);
                    } else {
                        queue.marks.remove(&number);
                    }
                }
                self.done(token);
            }
            Action::Begin { token } => self.begin(token),
            Action::Commit { transaction, token } => self.commit(transaction, token),
            Action::Rollback { transaction, token } => {
                self.transactions.remove(&transaction);
                self.done(Some(token));
            }
            Action::Will(will) => {
                if let Some(will) = will {
                    check_message(&will.message);
                    self.published.push(Arc::new(will.message));
                }
            }
        }
    }

    fn queue_of(&mut self, consumer: ConsumerId) -> Option<&mut Queue> {
        self.queues.get_mut(&self.consumers.get(&consumer)?.queue)
    }

    fn name(&mut self, token: Token) {
        assert!(self.used_tokens.insert(token), "{token:?} names two requests");
    }

    fn done(&mut self, token: Option<Token>) {
        if let Some(token) = token {
            self.name(token);
            self.events.push_back(Event::Done(token));
        }
    }

    fn authenticate(&mut self) {
        assert!(!self.asked_access, "credentials are sent once");
        self.asked_access = true;
        let access = if self.choices.next() % 64 == 63 { Access::Denied } else { Access::Granted("fuzz".into()) };
        self.events.push_back(Event::Authenticated(access));
    }

    /// The session is about to hear `event`.
    pub fn told(&mut self, event: &Event) {
        if let Event::Authenticated(Access::Granted(_)) = event {
            self.granted = true;
        }
    }

    fn begin(&mut self, token: Token) {
        self.name(token);
        let transaction = TransactionId(1 + self.transactions_begun);
        self.transactions_begun += 1;
        let result = if self.choices.next() % 32 == 31 {
            Err(TransactionError::RolledBack(RollbackReason::Limit, "too many".into()))
        } else {
            self.transactions.insert(transaction, Transaction::default());
            Ok(transaction)
        };
        self.events.push_back(Event::Begun { token, result });
    }

    fn commit(&mut self, transaction: TransactionId, token: Token) {
        self.name(token);
        let result = match self.transactions.remove(&transaction) {
            None => Err(TransactionError::Unknown),
            Some(_) if self.choices.next() % 16 == 15 => Err(TransactionError::RolledBack(RollbackReason::TooOld, "too old".into())),
            Some(held) => {
                for message in &held.published {
                    self.route(message);
                }
                held.settled.iter().for_each(|settle| self.take_effect(settle));
                Ok(())
            }
        };
        self.events.push_back(Event::Committed { token, result });
        self.dispatch_all();
    }

    fn publish(&mut self, publish: Publish) {
        check_message(&publish.message);
        self.name(publish.token);
        if let Some((consumer, mark)) = publish.mark
            && let Some(queue) = self.queue_of(consumer)
        {
            match mark {
                Mark::Number(number) => _ = queue.marks.insert(number),
                Mark::Fingerprint(fingerprint) => queue.fingerprints.push(fingerprint),
            }
        }
        let message = Arc::new(publish.message);
        self.published.push(message.clone());
        if let Some(transaction) = publish.transaction {
            let held = self.transactions.get_mut(&transaction);
            let result = held.map(|held| held.published.push(message)).map(|()| 0);
            let result = result.ok_or(PublishError::Transaction(TransactionError::Unknown));
            self.events.push_back(Event::Published { token: publish.token, result });
            return;
        }
        let result = match self.choices.next() % 64 {
            60 => Err(PublishError::Reserved),
            61 => Err(PublishError::TooLarge { limit_bytes: 1 }),
            62 => Err(PublishError::Unavailable),
            59 => Err(PublishError::NotFound),
            63 => Err(PublishError::Limit("enough".into())),
            _ => Ok(self.route(&message)),
        };
        self.events.push_back(Event::Published { token: publish.token, result });
        self.dispatch_all();
    }

    fn route(&mut self, message: &Arc<Message>) -> u32 {
        let address = &message.meta.address;
        let mut reached = 0;
        for (name, queue) in &mut self.queues {
            let wanted = match address.kind {
                AddressKind::Queue => *name == address.name,
                AddressKind::Topic => queue.bindings.iter().any(|binding| binding.filter.matches(&address.name)),
            };
            if wanted {
                self.last_seq += 1;
                queue.backlog.push_back((Seq(self.last_seq), message.clone()));
                reached += 1;
            }
        }
        reached
    }

    fn attach(&mut self, attach: Attach) {
        let consumer = attach.consumer;
        assert!(self.used_ids.insert(consumer), "{consumer:?} is two consumers");
        assert!(!attach.queue.name.is_empty(), "a queue without a name");
        let refused = match self.choices.next() % 64 {
            59 => Some(AttachError::InUse),
            60 => Some(AttachError::NotFound),
            61 => Some(AttachError::Denied),
            62 => Some(AttachError::Limit("enough".into())),
            63 => Some(AttachError::Unavailable),
            _ => None,
        };
        if let Some(error) = refused {
            return self.events.push_back(Event::Attached { consumer, result: Err(error) });
        }
        let unique = &*attach.queue.name == QueueSpec::UNIQUE;
        if attach.standing == Standing::Needed && !self.queues.contains_key(&attach.queue.name) {
            return self.events.push_back(Event::Attached { consumer, result: Err(AttachError::NotFound) });
        }
        let name: Arc<str> = if unique { format!("$unique/{}", consumer.0).into() } else { attach.queue.name };
        if attach.fresh {
            self.queues.remove(&name);
        }
        let existed = self.queues.contains_key(&name);
        let queue = self.queues.entry(name.clone()).or_default();
        if !existed && self.stocked {
            for message in foreign_messages(&name) {
                self.last_seq += 1;
                queue.backlog.push_back((Seq(self.last_seq), message));
            }
        }
        queue.bindings.extend(attach.bindings);
        let (bindings, marks) = (queue.bindings.clone(), queue.marks.iter().copied().collect());
        let fingerprints = queue.fingerprints.clone();
        let attached = Attached { queue: name.clone(), existed, bindings, marks, fingerprints, ..Attached::default() };
        self.events.push_back(Event::Attached { consumer, result: Ok(attached) });
        let (settled, browse) = (attach.settled, attach.browse);
        let known = Consumer { queue: name, settled, browse, limit: 0, delivered: 0, held: BTreeMap::new() };
        self.consumers.insert(consumer, known);
    }

    fn detach(&mut self, consumer: ConsumerId, delete: bool) {
        if let Some(gone) = self.consumers.remove(&consumer) {
            let queue = self.queues.entry(gone.queue.clone()).or_default();
            gone.held.into_iter().rev().for_each(|held| queue.backlog.push_front(held));
            if delete {
                self.queues.remove(&gone.queue);
            }
        }
        self.events.push_back(Event::Detached { consumer });
        self.dispatch_all();
    }

    fn bind(&mut self, consumer: ConsumerId, binding: Binding, retained: Retained, token: Token) {
        self.name(token);
        self.events.push_back(Event::Done(token));
        let filter = binding.filter.clone();
        let Some(queue) = self.queue_of(consumer) else { return };
        let known = queue.bindings.iter_mut().find(|known| known.filter == filter);
        let is_new = known.is_none();
        match known {
            Some(known) => *known = binding,
            None => queue.bindings.push(binding),
        }
        let wanted = retained == Retained::Send || (retained == Retained::SendIfNew && is_new);
        if wanted && !filter.is_wild() {
            let meta = Meta::new(Address::topic(filter.as_str()));
            let message = Message::new(meta, Encoding::Plain, Bytes::new(), Bytes::from_static(b"retained"));
            self.last_seq += 1;
            self.deliver(consumer, Seq(self.last_seq), Arc::new(message), true);
        }
    }

    fn credit(&mut self, credit: Credit) {
        if let Some(consumer) = self.consumers.get_mut(&credit.consumer) {
            consumer.limit = credit.limit;
            self.dispatch(credit.consumer);
        }
        if credit.drain {
            let delivered = self.consumers.get_mut(&credit.consumer).map_or(0, |consumer| {
                consumer.limit = consumer.delivered;
                consumer.delivered
            });
            self.events.push_back(Event::Drained { consumer: credit.consumer, delivered });
        }
    }

    fn settle(&mut self, settle: Settle) {
        assert!(settle.first <= settle.last, "no range: {settle:?}");
        let token = settle.token;
        match settle.transaction {
            None => self.take_effect(&settle),
            Some(transaction) => {
                if let Some(held) = self.transactions.get_mut(&transaction) {
                    held.settled.push(settle);
                }
            }
        }
        self.done(token);
        self.dispatch_all();
    }

    fn take_effect(&mut self, settle: &Settle) {
        if let Some(consumer) = self.consumers.get_mut(&settle.consumer) {
            let queue = self.queues.entry(consumer.queue.clone()).or_default();
            let taken: Vec<Seq> = consumer.held.range(settle.first..=settle.last).map(|(seq, _)| *seq).collect();
            for seq in taken.into_iter().rev() {
                let Some(message) = consumer.held.remove(&seq) else { continue };
                match settle.outcome {
                    Outcome::Accept | Outcome::Reject { .. } | Outcome::Unreadable => {}
                    Outcome::Release | Outcome::Unsent | Outcome::Modify { .. } => queue.backlog.push_front((seq, message)),
                }
            }
            queue.marks.extend(settle.mark);
        }
    }

    fn dispatch_all(&mut self) {
        let ids: Vec<ConsumerId> = self.consumers().collect();
        ids.into_iter().for_each(|id| self.dispatch(id));
    }

    fn dispatch(&mut self, id: ConsumerId) {
        while let Some(consumer) = self.consumers.get(&id)
            && consumer.delivered < consumer.limit
            && self.deliveries < DELIVERIES_MAX
            && let Some(queue) = self.queues.get_mut(&consumer.queue)
            && let Some((seq, message)) = queue.backlog.pop_front()
        {
            self.deliver(id, seq, message, false);
        }
    }

    fn deliver(&mut self, id: ConsumerId, seq: Seq, message: Arc<Message>, retained: bool) {
        let redelivered = self.choices.next() % 8 == 7;
        let Some(consumer) = self.consumers.get_mut(&id) else { return };
        consumer.delivered += 1;
        if !consumer.settled && !consumer.browse {
            consumer.held.insert(seq, message.clone());
        }
        self.count(&message);
        let failed_count = u32::from(redelivered);
        let delivery = Delivery { consumer: id, seq, message, failed_count, redelivered, retained };
        self.events.push_back(Event::Deliver(delivery));
    }

    /// Does something that the session did not ask for.
    pub fn disturb(&mut self) {
        let choice = self.choices.next();
        let Some(consumer) = self.consumers().nth(usize::from(choice / 8)) else { return };
        let event = match choice % 8 {
            5 => Event::TakenOver { consumer },
            4 => Event::Overrun { consumer },
            6 => Event::Deleted { consumer },
            7 => return self.events.push_back(Event::Stopping { reason: "the gateway stops".into() }),
            _ => return,
        };
        self.consumers.remove(&consumer);
        self.events.push_back(event);
    }
}

/// What every message on its way in must be.
fn check_message(message: &Message) {
    let Address { kind, name } = &message.meta.address;
    let checked = match kind {
        AddressKind::Queue => Address::check_name(name),
        AddressKind::Topic => Address::check_topic(name),
    };
    assert_eq!(checked, Ok(()), "a message to {name:?}");
    assert!(message.meta.priority <= 9, "priority {}", message.meta.priority);
}

/// A message of each encoding, for every new queue.
fn foreign_messages(queue: &str) -> Vec<Arc<Message>> {
    let amqp_head = b"\0Ss\xc0\x0a\x03\xa1\x02id\x40\xa1\x02to\0St\xc1\x09\x02\xa1\x01k\xa1\x03v\r\n";
    let stomp_head = b"content-type:text/plain\ncorrelation-id:7\nk\\c:v\\n\n";
    let mqtt_head = b"\x01\x01\x08\0\x03r/t\x09\0\x02\xff\x00\x26\0\x01k\0\x01v";
    let all: [(Encoding, &'static [u8], &'static [u8]); 4] = [
        (Encoding::Plain, b"", b"plain"),
        (Encoding::Amqp10, amqp_head, b"\0Su\xa0\x04body"),
        (Encoding::Stomp, stomp_head, b"text\0more"),
        (Encoding::Mqtt5, mqtt_head, "\u{e9}".as_bytes()),
    ];
    let make = |(encoding, head, body)| {
        // What is in a client's queue was sent to it; what is in a subscription's, to a topic.
        let private = queue.starts_with('$');
        let mut meta = Meta::new(if private { Address::topic("a/b") } else { Address::queue(queue) });
        meta.durable = encoding != Encoding::Plain;
        meta.expires_at = (encoding == Encoding::Stomp).then_some(Time(u64::MAX));
        Arc::new(Message::new(meta, encoding, Bytes::from_static(head), Bytes::from_static(body)))
    };
    all.into_iter().map(make).collect()
}
