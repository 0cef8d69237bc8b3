//! A client that does anything a client may do, at random. It comes back after a crash or when it
//! vanished, and sends again what was not confirmed.

mod sending;
mod transactions;

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use evergate_core::{DirectoryCommand, SessionId, ShardCommand, Waiting};
use evergate_model::{
    Address, AddressKind, Attached, ConsumerId, Encoding, Filter, Fingerprint, Mark, Message, Meta, Outcome, QueueId,
    Retained, Seq, StreamStart, Time, TransactionId,
};

use crate::connection::{AttachOptions, Connection, Kind, Pending, Told, binding};
use crate::journal::SimJournal;
use crate::key::Key;
use crate::model::{Check, Model, Sent};
use crate::node::{Fault, Node};
use crate::publisher::Publisher;
use crate::rng::Rng;
use crate::traits::{self, DESK, KEYS, PECULIAR, PLAIN};
use crate::transaction::Settled;

pub const TOPICS: [&str; 3] = ["t/a", "t/b", "t/a/x"];
pub const FILTERS: [&str; 6] = ["t/a", "t/+", "t/#", "t/a/#", "#glob:t/?", "#regex:t/a(/.*)?"];
const SUBSCRIPTIONS: [(&str, &str); 3] =
    [("$subscription/1", "t/#"), ("$subscription/2", "t/a"), ("$subscription/3", "#glob:t/*")];
/// Numbers that mark publishes; those of settles stand above.
const NUMBERS: u32 = 6;
const UNCONFIRMED_MAX: usize = 24;

/// What a client knows of a number that marks a publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Number {
    Free,
    Sent(Key),
    Taken,
    Clearing,
}

#[derive(Clone, Debug)]
struct Draft {
    address: Address,
    durable: bool,
    retain: bool,
    expires_at: Option<Time>,
    padding: usize,
    priority: u8,
    deliver_at: Option<Time>,
    group: Option<u64>,
    discardable: bool,
    number: Option<u32>,
    /// What the session's queue is to remember it by.
    fingerprint: Option<Fingerprint>,
    /// Bytes of its body, if that goes ahead in pieces.
    large: Option<u64>,
}

#[derive(Debug)]
pub struct Client {
    index: u32,
    id: String,
    /// It goes to the operator's queues more than others.
    is_at_desks: bool,
    pub connection: Option<Connection>,
    /// It keeps a session; whether that survives restarts.
    session: Option<bool>,
    /// The session's queue and its consumer, once attached.
    queue: Option<QueueId>,
    own: Option<ConsumerId>,
    ready: bool,
    last_number: u64,
    unconfirmed: BTreeMap<Key, Draft>,
    transaction: Option<Current>,
    /// Those whose answer was lost.
    doubtful: Vec<TransactionId>,
    numbers: [Number; NUMBERS as usize],
}

/// The transaction that a client has open.
#[derive(Debug, Default)]
struct Current {
    /// Once it was told.
    id: Option<TransactionId>,
    settled: Vec<(ConsumerId, Settled)>,
    /// It asked for the end of it.
    ends: bool,
}

/// What a client works on.
pub struct Around<'a> {
    pub node: &'a mut Node,
    pub journal: &'a mut SimJournal,
    pub model: &'a mut Model,
    pub rng: &'a mut Rng,
    pub last_session: &'a mut u64,
    /// Sessions whose connection is dead without the gateway knowing.
    pub half_open: &'a mut Vec<(SessionId, Publisher)>,
}

impl Client {
    pub fn new(index: u32, rng: &mut Rng) -> Self {
        let session = rng.one_in(2).then(|| !rng.one_in(3));
        Self {
            index,
            id: format!("client-{index}"),
            is_at_desks: rng.one_in(4),
            connection: None,
            session,
            queue: None,
            own: None,
            ready: false,
            last_number: 0,
            unconfirmed: BTreeMap::new(),
            transaction: None,
            doubtful: Vec::new(),
            numbers: [Number::Free; NUMBERS as usize],
        }
    }

    /// Does something at random.
    pub fn act(&mut self, around: &mut Around<'_>) -> Check {
        let Some(connection) = &self.connection else {
            return self.connect(around);
        };
        if !self.ready {
            return Ok(());
        }
        let consumers: Vec<ConsumerId> = connection
            .consumers
            .iter()
            .filter(|(_, state)| state.place.is_some() && !state.leaving)
            .map(|(id, _)| *id)
            .collect();
        let chosen = (!consumers.is_empty()).then(|| around.rng.pick(&consumers));
        match (around.rng.below(121), chosen) {
            (0..30, _) => self.publish(around),
            (30..37, _) if consumers.len() < 4 => self.attach(around),
            (37..55, Some(consumer)) => self.grant(around, consumer),
            (55..85, Some(consumer)) => self.settle(around, consumer),
            (85..89, Some(consumer)) => self.detach(around, consumer),
            (89..93, Some(consumer)) => self.rebind(around, consumer),
            (93..97, _) => self.clear_number(around),
            (97, _) => self.leave(around)?,
            (98..105, _) => self.begin(around),
            (105..115, _) => self.end_transaction(around),
            (115..120, _) => self.ask_again(around),
            (120, _) => self.abandon_body(around),
            _ => {}
        }
        Ok(())
    }

    fn connect(&mut self, around: &mut Around<'_>) -> Check {
        *around.last_session += 1;
        let mut connection = Connection::open(around.node, SessionId(*around.last_session));
        self.own = None;
        self.ready = self.session.is_none();
        if self.session.is_some() && around.node.fault != Some(Fault::AttachOvertakesPublish) {
            // What the last connection sent must be through before the marks are read.
            let token = connection.token(Pending::Fence);
            connection.publisher.fence(around.node, token, format!("$session/{}", self.id));
        }
        self.connection = Some(connection);
        if !self.ready && around.node.fault == Some(Fault::AttachOvertakesPublish) {
            self.attach_session(around);
        }
        if self.ready {
            self.send_again(around, &Attached::default())?;
        }
        Ok(())
    }

    fn attach_session(&mut self, around: &mut Around<'_>) {
        let (Some(connection), Some(durable)) = (&mut self.connection, self.session) else { return };
        let fresh = around.rng.one_in(12);
        let window_bytes = around.rng.pick(&[300, 1000, 100_000]);
        let options = AttachOptions { fresh, durable, window_bytes, ..AttachOptions::default() };
        connection.attach(around.node, &self.id, Kind::Session, options);
    }

    fn publish(&mut self, around: &mut Around<'_>) {
        if self.unconfirmed.len() >= UNCONFIRMED_MAX {
            return;
        }
        let rng = &mut *around.rng;
        let to_queue = rng.one_in(3);
        // The one that goes when it is idle, more often where that is what is looked at.
        let to_mail = around.node.fault == Some(Fault::RetireOvertakes) && rng.one_in(2);
        let address = if to_mail {
            Address::queue("mail")
        } else if to_queue {
            Address::queue(some_queue(rng, self.is_at_desks))
        } else {
            Address::topic(rng.pick(&TOPICS))
        };
        let durable = !rng.one_in(4);
        let free = self.numbers.iter().position(|number| *number == Number::Free);
        // Who is refused has set no number.
        let may_be_refused = traits::refuses(&address.name);
        let number = free
            .filter(|_| self.queue.is_some() && durable && !may_be_refused && rng.one_in(3))
            .map(|index| index as u32);
        let draft = Draft {
            retain: address.kind == AddressKind::Topic && rng.one_in(8),
            address,
            durable,
            expires_at: rng.one_in(12).then(|| around.node.now.after(Duration::from_millis(rng.below(500)))),
            padding: rng.pick(&[0, 0, 10, 200, 900]),
            priority: if rng.one_in(4) { rng.below(10) as u8 } else { 4 },
            deliver_at: rng.one_in(12).then(|| around.node.now.after(Duration::from_millis(rng.below(200)))),
            group: rng.one_in(6).then(|| rng.below(4)),
            discardable: !durable && rng.one_in(6),
            number,
            fingerprint: None,
            large: rng.one_in(16).then(|| rng.below(200)),
        };
        let draft = Draft { large: draft.large.filter(|_| !draft.retain), ..draft };
        self.last_number += 1;
        let key = Key { producer: self.index, number: self.last_number };
        let is_known =
            self.session == Some(true) && self.queue.is_some() && durable && number.is_none() && rng.one_in(2);
        let draft = Draft { fingerprint: is_known.then(|| self.fingerprint(key)), ..draft };
        if let Some(transaction) = self.open_transaction()
            && rng.one_in(2)
        {
            let draft = Draft { retain: false, number: None, fingerprint: None, ..draft };
            self.send_in(around, Some(transaction), Some(key), &draft, false);
            return;
        }
        if let Some(number) = number {
            self.numbers[number as usize] = Number::Sent(key);
        }
        let is_clear = draft.retain && rng.one_in(4);
        if is_clear && number.is_none() {
            self.send(around, None, &draft, false);
            return;
        }
        self.send(around, Some(key), &draft, true);
        self.unconfirmed.insert(key, draft);
    }

    fn send(&mut self, around: &mut Around<'_>, key: Option<Key>, draft: &Draft, marked: bool) {
        self.send_in(around, None, key, draft, marked);
    }

    fn send_in(
        &mut self,
        around: &mut Around<'_>,
        transaction: Option<TransactionId>,
        key: Option<Key>,
        draft: &Draft,
        marked: bool,
    ) {
        let Some(connection) = &mut self.connection else { return };
        let place = self.own.and_then(|own| connection.consumers.get(&own)).and_then(|state| state.place);
        let number = draft.number.map(Mark::Number);
        let mark = number.or(draft.fingerprint.map(Mark::Fingerprint)).filter(|_| marked);
        let mark = mark.zip(place).map(|(mark, (queue, shard))| (shard, queue, mark));
        if let Some((_, queue, Mark::Number(number))) = mark {
            around.model.mark(queue, number, None);
        }
        let mut meta = Meta::new(draft.address.clone());
        meta.durable = draft.durable;
        meta.expires_at = draft.expires_at;
        meta.priority = draft.priority;
        let dedup_id = key.filter(|_| &*draft.address.name == "once");
        if draft.deliver_at.is_some() || draft.group.is_some() || draft.discardable || dedup_id.is_some() {
            let rare = meta.rare_mut();
            rare.deliver_at = draft.deliver_at;
            rare.group_id = draft.group.map(|group| format!("group {group}").into());
            rare.discardable = draft.discardable;
            rare.dedup_id = dedup_id.map(|key| format!("{} {}", key.producer, key.number).into());
        }
        let body = key.map_or(Bytes::new(), |key| key.body(draft.padding));
        let mut message = Message::new(meta, Encoding::Plain, Bytes::new(), body);
        let body = draft.large.map(|bytes| connection.send_body(around.node, bytes, &mut message));
        let body = body.filter(|_| around.node.fault != Some(Fault::BodyLeftBehind));
        let message = around.node.admit(message);
        if let Some(key) = key {
            let Draft { address, durable, retain, .. } = draft.clone();
            let expires = draft.expires_at.is_some();
            around.model.sends(
                key,
                Sent {
                    address,
                    durable,
                    retain,
                    expires,
                    priority: draft.priority,
                    deliver_at: draft.deliver_at,
                    group: draft.group.map(|group| group.to_string()),
                    discardable: draft.discardable,
                    copies: 0,
                    times: 0,
                    left_open: false,
                    transaction,
                },
                mark.is_some(),
            );
        }
        if let (Some(transaction), Some(key)) = (transaction, key) {
            around.model.holds(transaction, key);
            let token = connection.token(Pending::Held);
            let waiting = Waiting { token, message, retain: false, mark: None, body };
            connection.publisher.publish_in(around.journal, transaction, waiting);
            return;
        }
        let token = connection.token(Pending::Publish(key));
        connection.publisher.submit(Waiting { token, message, retain: draft.retain, mark, body });
    }

    /// What was not confirmed on the last connection: sent again or given up. `found`: what the session's queue tells
    /// of what did arrive.
    fn send_again(&mut self, around: &mut Around<'_>, found: &Attached) -> Check {
        for (key, draft) in std::mem::take(&mut self.unconfirmed) {
            around.model.left_open(key);
            let known = draft.number.is_some_and(|number| self.numbers[number as usize] == Number::Sent(key));
            match draft.number {
                Some(number) if known && found.marks.contains(&number) => self.numbers[number as usize] = Number::Taken,
                Some(_) if known => {
                    self.send(around, Some(key), &draft, true);
                    self.unconfirmed.insert(key, draft);
                }
                None if draft.fingerprint.is_some_and(|it| found.fingerprints.contains(&it)) => {
                    // Who is told that it is there would confirm it.
                    let is_kept = PLAIN.contains(&&*draft.address.name);
                    let is_there = around.journal.stored.contains(&key);
                    (!is_kept || is_there).then_some(()).ok_or(format!("{key:?} is said to be stored and is not"))?;
                }
                None if draft.fingerprint.is_some() && found.existed => {
                    self.send(around, Some(key), &draft, true);
                    self.unconfirmed.insert(key, draft);
                }
                _ if around.rng.one_in(2) => {
                    let draft = Draft { fingerprint: None, ..draft };
                    self.send(around, Some(key), &draft, false);
                    self.unconfirmed.insert(key, draft);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn attach(&mut self, around: &mut Around<'_>) {
        let Some(connection) = &mut self.connection else { return };
        let rng = &mut *around.rng;
        let kind = match rng.below(8) {
            0..3 => Kind::Named(some_queue(rng, self.is_at_desks)),
            3..6 => {
                let (name, filter) = rng.pick(&SUBSCRIPTIONS);
                Kind::Subscription(name, parsed(filter))
            }
            _ => Kind::Temporary(parsed(rng.pick(&FILTERS))),
        };
        let window_bytes = rng.pick(&[300, 1000, 100_000]);
        let (settled, exclusive) = (rng.one_in(5), rng.one_in(12));
        let options = AttachOptions {
            settled,
            durable: true,
            exclusive,
            window_bytes,
            selector: rng.one_in(4).then(|| rng.below(KEYS)),
            browse: rng.one_in(10),
            priority: if rng.one_in(5) { rng.below(4) as i32 - 1 } else { 0 },
            start: match rng.below(5) {
                0 => StreamStart::First,
                1 => StreamStart::Last,
                2 => StreamStart::Next,
                3 => StreamStart::Offset(Seq(rng.below(50))),
                _ => StreamStart::Time(Time(around.node.now.0.saturating_sub(rng.below(300)))),
            },
            ..AttachOptions::default()
        };
        connection.attach(around.node, &self.id, kind, options);
    }

    fn grant(&mut self, around: &mut Around<'_>, consumer: ConsumerId) {
        let Some(connection) = &mut self.connection else { return };
        if connection.consumers.get(&consumer).is_some_and(|state| !state.draining) {
            let (more, drain) = (around.rng.below(10), around.rng.one_in(5));
            connection.grant(around.node, around.model, consumer, more, drain);
        }
    }

    fn settle(&mut self, around: &mut Around<'_>, consumer: ConsumerId) {
        let open = self.open_transaction();
        let Some(connection) = &mut self.connection else { return };
        let Some(state) = connection.consumers.get(&consumer).filter(|state| !state.held.is_empty()) else { return };
        let rng = &mut *around.rng;
        let (one, _) = state.held[rng.index(state.held.len())];
        let range = if rng.one_in(2) { state.run_around(one) } else { (one, one) };
        let outcome = match rng.below(12) {
            0 => Outcome::Release,
            1 => Outcome::Modify { failed: rng.one_in(2), undeliverable_here: rng.one_in(2) },
            2 => Outcome::Reject { reason: "no".into() },
            _ => Outcome::Accept,
        };
        if let Some(transaction) = open
            && rng.one_in(2)
        {
            let settled = connection.settle_in(around.node, around.journal, transaction, consumer, range, &outcome);
            if let (Some(current), Some(settled)) = (&mut self.transaction, settled) {
                current.settled.push((consumer, settled));
            }
            return;
        }
        let confirm = !rng.one_in(4);
        let marks = Some(consumer) == self.own && outcome == Outcome::Accept && confirm && rng.one_in(3);
        let mark = marks.then(|| 100 + rng.below(4) as u32);
        connection.settle(around.node, around.model, consumer, range, outcome, (confirm, mark));
    }

    fn detach(&mut self, around: &mut Around<'_>, consumer: ConsumerId) {
        let Some(connection) = &mut self.connection else { return };
        if Some(consumer) == self.own {
            return;
        }
        let is_subscription =
            connection.consumers.get(&consumer).is_some_and(|state| matches!(state.kind, Kind::Subscription(..)));
        let delete = is_subscription && around.rng.one_in(4);
        connection.detach(around.node, around.model, consumer, delete);
    }

    fn rebind(&mut self, around: &mut Around<'_>, consumer: ConsumerId) {
        let Some(connection) = &mut self.connection else { return };
        if Some(consumer) != self.own {
            return;
        }
        let filter = parsed(around.rng.pick(&FILTERS));
        if around.rng.one_in(3) {
            connection.unbind(around.node, consumer, filter);
        } else {
            let retained = around.rng.pick(&[Retained::Send, Retained::SendIfNew, Retained::Skip]);
            connection.bind(around.node, consumer, binding(filter, !around.rng.one_in(4)), retained);
        }
    }

    /// A publish is answered, and its number, if it was sent with one, is taken or free.
    fn number_is(&mut self, around: &mut Around<'_>, key: Option<Key>, now: Number) {
        let draft = key.and_then(|key| self.unconfirmed.remove(&key));
        if let Some(number) = draft.and_then(|draft| draft.number)
            && key.is_some_and(|key| self.numbers[number as usize] == Number::Sent(key))
        {
            self.numbers[number as usize] = now;
            if let Some(queue) = self.queue {
                around.model.mark(queue, number, Some(now == Number::Taken));
            }
        }
    }

    /// The peer has taken note: a number may be used again.
    fn clear_number(&mut self, around: &mut Around<'_>) {
        let (Some(connection), Some(own)) = (&mut self.connection, self.own) else { return };
        let Some((queue, shard)) = connection.consumers.get(&own).and_then(|state| state.place) else { return };
        let Some(index) = self.numbers.iter().position(|number| *number == Number::Taken) else { return };
        let number = index as u32;
        self.numbers[index] = Number::Clearing;
        around.model.mark(queue, number, None);
        let token = connection.token(Pending::Clear(number));
        let answer = Some((connection.session, token));
        around.node.control(shard, ShardCommand::Mark { queue, number, set: false, answer });
    }

    /// Says goodbye, vanishes, or vanishes without the gateway noticing.
    pub fn leave(&mut self, around: &mut Around<'_>) -> Check {
        let Some(connection) = self.connection.take() else { return Ok(()) };
        self.lose_transactions(&connection, around.model)?;
        let session = connection.session;
        let publisher = connection.close(around.node, around.model);
        match around.rng.below(3) {
            0 => around.half_open.push((session, publisher)),
            failed => {
                publisher.end(around.node, around.journal);
                around.node.to_directory.push_back(DirectoryCommand::Gone { session, failed: failed == 1 });
            }
        }
        Ok(())
    }

    /// The node is gone.
    pub fn cut(&mut self, node: &mut Node, model: &mut Model) -> Check {
        if let Some(connection) = self.connection.take() {
            self.lose_transactions(&connection, model)?;
            connection.close(node, model);
        }
        Ok(())
    }

    /// Takes one event; sends on one message.
    pub fn step(&mut self, around: &mut Around<'_>) -> Check {
        let Some(connection) = &mut self.connection else { return Ok(()) };
        let sent = connection.publisher.pump(around.node, around.journal, around.model, &self.id)?;
        let mut told: Vec<Told> =
            sent.into_iter().filter_map(|answer| connection.answered(around.model, answer)).collect();
        told.extend(connection.handle(around.node, around.journal, around.model)?);
        for told in told {
            self.told(around, told)?;
        }
        Ok(())
    }

    fn told(&mut self, around: &mut Around<'_>, told: Told) -> Check {
        match told {
            Told::Begun(None) => self.transaction = None,
            Told::Begun(Some(id)) => {
                around.model.begins(id);
                if let Some(current) = &mut self.transaction {
                    current.id = Some(id);
                }
            }
            Told::Outcome(id, result) => self.told_outcome(around.model, id, &result)?,
            Told::Attached { consumer, queue, found } => {
                let is_session = self.connection.as_ref().and_then(|connection| connection.consumers.get(&consumer));
                if is_session.is_some_and(|state| state.kind == Kind::Session) {
                    self.session_attached(around, consumer, queue, found)?;
                }
            }
            Told::Refused if !self.ready => self.attach_session(around),
            Told::Refused
            | Told::Answered(
                Pending::Bind | Pending::Begin | Pending::Held | Pending::Commit(_) | Pending::Rollback(_),
            ) => {}
            Told::Answered(Pending::Fence) => self.attach_session(around),
            Told::NotPublished(key) => {
                // Nothing of it was stored, not even its number.
                self.number_is(around, key, Number::Free);
                key.map_or(Ok(()), |key| around.model.refused(key))?;
            }
            Told::Answered(Pending::Publish(key)) => self.number_is(around, key, Number::Taken),
            Told::Answered(Pending::Clear(number)) => {
                self.numbers[number as usize] = Number::Free;
                if let Some(queue) = self.queue {
                    around.model.mark(queue, number, Some(false));
                }
            }
            Told::Answered(Pending::Settle { queue, mark, .. }) => {
                if let Some(number) = mark {
                    around.model.mark(queue, number, Some(true));
                }
            }
        }
        Ok(())
    }

    fn session_attached(
        &mut self,
        around: &mut Around<'_>,
        consumer: ConsumerId,
        queue: QueueId,
        mut found: Attached,
    ) -> Check {
        if self.queue != Some(queue) {
            found.existed = false;
            found.fingerprints.clear();
            // Another queue: nothing of the old session is left.
            self.numbers = [Number::Free; NUMBERS as usize];
        }
        for (index, number) in self.numbers.iter_mut().enumerate() {
            if *number == Number::Clearing {
                *number = if found.marks.contains(&(index as u32)) { Number::Taken } else { Number::Free };
            }
        }
        self.queue = Some(queue);
        self.own = Some(consumer);
        self.ready = true;
        self.send_again(around, &found)
    }
}

pub fn parsed(filter: &str) -> Filter {
    /// Patterns are compiled once for all runs.
    static ALL: LazyLock<BTreeMap<&str, Filter>> = LazyLock::new(|| {
        let texts = FILTERS.into_iter().chain(SUBSCRIPTIONS.map(|(_, filter)| filter));
        texts.filter_map(|text| Some((text, Filter::parse(text).ok()?))).collect()
    });
    ALL[filter].clone()
}

/// Mostly one that behaves as usual.
fn some_queue(rng: &mut Rng, at_desks: bool) -> &'static str {
    if at_desks && rng.one_in(2) {
        return rng.pick(&DESK);
    }
    match rng.below(9) {
        0..4 => rng.pick(&PLAIN),
        4..7 => rng.pick(&PECULIAR),
        _ => rng.pick(&DESK),
    }
}
