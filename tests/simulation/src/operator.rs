//! An operator: changes policies, makes, empties and deletes queues, moves messages, and looks whether what he was
//! told is so. He asks for one thing at a time.

use std::collections::VecDeque;
use std::sync::Arc;

use evergate_core::DirectoryCommand;
use evergate_core::{
    ManageError, ManageReply, ManageRequest, PeekFrom, Peeked, QueueDefinition, QueueEntry, Reserve, SessionEvent,
    SessionId, ShardCommand, ShardId, Target, Waiting,
};
use evergate_model::{
    Address, Binding, Consumers, Dispatch, Event, Filter, OnFull, Policy, QueueId, QueueSettings, Selector, Seq, Token,
    TransactionId,
};

use crate::client::{Around, FILTERS, parsed};
use crate::connection::binding;
use crate::key::Key;
use crate::model::{Check, DEAD_LETTERS, Model};
use crate::node::{Fault, Node};
use crate::publisher::{Answer, Publisher};
use crate::rng::Rng;
use crate::start::names;
use crate::traits::{DESK, KEYS, PLAIN};

/// His session.
pub const OPERATOR: SessionId = SessionId(u64::MAX - 1);

/// Where he takes messages from.
const SOURCES: [&str; 9] = ["orders", "bills", "mail", "desk/1", "desk/2", "patient", "short", "single", DEAD_LETTERS];

/// What he waits for.
#[derive(Debug)]
enum Asked {
    Manage(Box<ManageRequest>),
    /// Messages that will go there, or that he takes out if there is no such place.
    Look {
        queue: QueueId,
        shard: ShardId,
        to: Option<&'static str>,
    },
    Removal {
        queue: QueueId,
        places: Vec<(Seq, Key)>,
    },
    Move {
        transaction: TransactionId,
        shard: ShardId,
        queue: QueueId,
        seqs: Vec<Seq>,
    },
}

pub struct Operator {
    publisher: Publisher,
    asked: Option<Asked>,
    /// Queues that he will have shown to him.
    listed: Vec<Arc<str>>,
    last_token: u64,
    /// How queues behave of which no added policy says otherwise.
    defaults: QueueSettings,
    fixed: Vec<Policy>,
}

impl Operator {
    pub fn new(node: &mut Node, defaults: QueueSettings, fixed: Vec<Policy>) -> Self {
        node.mailboxes.insert(OPERATOR, VecDeque::new());
        Self { publisher: Publisher::new(OPERATOR), asked: None, listed: Vec::new(), last_token: 0, defaults, fixed }
    }

    pub fn check_answered(&self) -> Check {
        self.asked.as_ref().map_or(Ok(()), |asked| Err(format!("the operator waits for ever: {asked:?}")))
    }

    fn token(&mut self) -> Token {
        self.last_token += 1;
        Token(self.last_token)
    }

    /// Asks for something at random.
    pub fn act(&mut self, around: &mut Around<'_>) {
        if self.asked.is_some() {
            return;
        }
        if around.model.operations.is_in_doubt() {
            return self.manage(around, ManageRequest::Policies);
        }
        if let Some(name) = self.listed.pop() {
            return self.manage(around, ManageRequest::Queue { name: name.to_string() });
        }
        match around.rng.below(20) {
            0 => {
                self.listed = names(&around.node.shards).into_iter().filter(|_| around.rng.one_in(4)).collect();
            }
            1..10 => {
                let request = some_request(around.rng);
                self.manage(around, request);
            }
            choice => self.look(around, choice < 18),
        }
    }

    fn manage(&mut self, around: &mut Around<'_>, request: ManageRequest) {
        around.model.operations.asks(&request);
        let (session, token) = (OPERATOR, self.token());
        let request = Box::new(request);
        let command = DirectoryCommand::Manage { session, token, request: request.clone() };
        around.node.to_directory.push_back(command);
        self.asked = Some(Asked::Manage(request));
    }

    /// Looks at messages; those that are to be moved leave service.
    fn look(&mut self, around: &mut Around<'_>, moves: bool) {
        let rng = &mut *around.rng;
        let there = SOURCES.into_iter().filter(|name| around.node.routes.queue(name).is_some());
        let there: Vec<&str> = there.collect();
        if there.is_empty() {
            return;
        }
        let name = rng.pick(&there);
        let Some(Target { shard, queue, .. }) = around.node.routes.queue(name) else { return };
        let to = if rng.one_in(2) { rng.pick(&PLAIN) } else { rng.pick(&DESK) };
        if to == name || (!moves && name == DEAD_LETTERS) {
            return;
        }
        let from = Seq(if rng.one_in(3) { rng.below(30) } else { 0 });
        let reserve = match (moves, !rng.one_in(4)) {
            (false, _) => Reserve::Nothing,
            (true, true) => Reserve::All,
            (true, false) => Reserve::Chosen((0..4).map(|more| Seq(from.0 + more)).collect()),
        };
        let from = if rng.one_in(4) {
            PeekFrom::Behind { priority: rng.below(10) as u8, seq: from }
        } else {
            PeekFrom::Place(from)
        };
        around.model.operations.reserving = moves.then_some(queue);
        let (count, answer) = (1 + rng.index(3), (OPERATOR, self.token()));
        around.node.control(shard, ShardCommand::Peek { queue, from, count, selector: None, reserve, answer });
        self.asked = Some(Asked::Look { queue, shard, to: moves.then_some(to) });
    }

    /// Takes one event; sends on what waits.
    pub fn step(&mut self, around: &mut Around<'_>) -> Check {
        let Around { node, journal, model, .. } = around;
        let mut answers = self.publisher.pump(node, journal, model, "")?;
        let mut told = None;
        if let Some(event) = node.mailboxes.get_mut(&OPERATOR).and_then(VecDeque::pop_front) {
            let (other, more) = self.publisher.handle(node, journal, model, event)?;
            answers.extend(more);
            told = other;
        }
        for answer in answers {
            if let Answer::Event(Event::Committed { result, .. }) = answer {
                self.moved(around, result.is_ok());
            }
        }
        match told {
            Some(SessionEvent::Managed { result, .. }) => self.managed(around, &result),
            Some(SessionEvent::Peeked { messages, .. }) => {
                self.looked(around, messages);
                Ok(())
            }
            Some(SessionEvent::Removed { count, .. }) => {
                if let Some(Asked::Removal { queue, places }) = self.asked.take()
                    && count == places.len() as u64
                {
                    around.model.are_gone(queue, &places);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn managed(&mut self, around: &mut Around<'_>, result: &Result<ManageReply, ManageError>) -> Check {
        let Some(Asked::Manage(request)) = self.asked.take() else { return Err(format!("nobody asked: {result:?}")) };
        match result {
            Ok(ManageReply::Queue { entry, .. }) => self.check_settings(around.model, entry),
            Ok(reply) => around.model.managed(&request, reply),
            Err(ManageError::NotFound(_) | ManageError::InUse(_)) => {
                around.model.operations.refused();
                Ok(())
            }
            Err(error) => Err(format!("{request:?} was refused: {error}")),
        }
    }

    /// A queue goes by the policies that are in force.
    fn check_settings(&self, model: &Model, entry: &QueueEntry) -> Check {
        let QueueEntry { name, settings, own, .. } = entry;
        model.operations.definitions.check(entry)?;
        let mut expected = self.defaults.clone();
        let policies = self.fixed.iter().chain(model.operations.policies());
        policies.filter(|policy| policy.concerns(name)).for_each(|policy| policy.apply(&mut expected));
        own.iter().for_each(|own| own.apply(&mut expected));
        if expected != **settings {
            return Err(format!("{name} goes by {settings:?}, but the policies in force say {expected:?}"));
        }
        model.check_told(name, settings)
    }

    fn looked(&mut self, around: &mut Around<'_>, messages: Vec<Peeked>) {
        let Some(Asked::Look { queue, shard, to }) = self.asked.take() else { return };
        around.model.operations.reserving = None;
        let Around { node, journal, model, rng, .. } = around;
        let Some(to) = to else {
            let found = messages.iter().filter_map(|peeked| Some((peeked.seq, Key::of(&peeked.message)?)));
            let places: Vec<(Seq, Key)> = found.collect();
            if !places.is_empty() {
                let (seqs, answer) = (places.iter().map(|(seq, _)| *seq).collect(), (OPERATOR, self.token()));
                model.operations.takes_out(queue, &places);
                node.control(shard, ShardCommand::TakeOut { queue, seqs, answer });
                self.asked = Some(Asked::Removal { queue, places });
            }
            return;
        };
        if messages.is_empty() {
            return;
        }
        let token = self.token();
        let transaction = self.publisher.begin(node, token);
        let mut seqs = Vec::new();
        for Peeked { seq, message, .. } in messages {
            let mut moved = message.readdressed(Address::queue(to), []);
            if let Some(key) = Key::of(&message) {
                model.moves(transaction, (queue, seq), key, to);
                if message.meta.large().is_none() && rng.one_in(3) {
                    // He edits it, too.
                    moved.body = key.body(rng.index(100));
                }
            }
            match node.fault {
                Some(Fault::MoveRemovesFirst) => node.control(shard, ShardCommand::Remove { queue, seq }),
                Some(Fault::MoveRemovesLater) => {}
                _ => self.publisher.take_in(node, journal, transaction, (shard, queue, seq)),
            }
            let token = self.token();
            let message = node.admit(moved);
            let waiting = Waiting { token, message, retain: false, mark: None, body: None };
            self.publisher.publish_in(journal, transaction, waiting);
            seqs.push(seq);
        }
        let token = self.token();
        self.publisher.commit(transaction, token);
        self.asked = Some(Asked::Move { transaction, shard, queue, seqs });
    }

    fn moved(&mut self, around: &mut Around<'_>, is_committed: bool) {
        let Some(Asked::Move { transaction, shard, queue, seqs }) = self.asked.take() else { return };
        if around.node.fault == Some(Fault::MoveRemovesLater) && is_committed {
            seqs.into_iter().for_each(|seq| around.node.control(shard, ShardCommand::Remove { queue, seq }));
        }
        around.model.moved(transaction, is_committed, true);
    }
}

fn some_request(rng: &mut Rng) -> ManageRequest {
    let name = if rng.one_in(3) { rng.pick(&PLAIN) } else { rng.pick(&DESK) };
    match rng.below(17) {
        0..4 => ManageRequest::PutPolicy(some_policy(rng)),
        4 => ManageRequest::DeletePolicy { matches: some_policy(rng).matches },
        5 => ManageRequest::Policies,
        6 => {
            let mut definition = QueueDefinition { name: name.into(), ..QueueDefinition::default() };
            if DESK.contains(&name) && rng.one_in(2) {
                definition.settings = some_settings(rng);
                let filter = parsed(rng.pick(&FILTERS));
                definition.bindings.push(some_binding(rng, filter));
            }
            ManageRequest::CreateQueue(definition)
        }
        7..11 => {
            let settings = if rng.one_in(4) { Policy::default() } else { some_settings(rng) };
            ManageRequest::ChangeQueue { name: rng.pick(&DESK).into(), settings }
        }
        11..15 => {
            let (name, filter) = (rng.pick(&DESK).into(), parsed(rng.pick(&FILTERS)));
            if rng.one_in(3) {
                return ManageRequest::UnbindQueue { name, filter };
            }
            ManageRequest::BindQueue { name, binding: some_binding(rng, filter) }
        }
        _ => {
            let (if_empty, if_unused) = (rng.one_in(2), rng.one_in(4));
            ManageRequest::DeleteQueue { name: name.into(), if_empty, if_unused }
        }
    }
}

fn some_binding(rng: &mut Rng, filter: Filter) -> Binding {
    let key = rng.one_in(3).then(|| rng.below(KEYS));
    let selector = key.and_then(|key| Selector::parse(&format!("key = {key}")).ok());
    Binding { selector, ..binding(filter, true) }
}

fn some_policy(rng: &mut Rng) -> Policy {
    let of = |name: &str| Policy { matches: name.into(), ..Policy::default() };
    match rng.below(8) {
        0 => Policy { messages_max: Some(6), ..of("orders") },
        1 => Policy { bytes_max: Some(3000), ..of("bills") },
        _ => Policy { matches: rng.pick(&["desk/#", "desk/1", "desk/+"]).into(), ..some_settings(rng) },
    }
}

/// For the queues whose settings change while the node runs.
fn some_settings(rng: &mut Rng) -> Policy {
    let full = |on_full| Policy { messages_max: Some(5), on_full: Some(on_full), ..Policy::default() };
    match rng.below(9) {
        0 => full(OnFull::Reject),
        1 => full(OnFull::DeadLetterOldest),
        2 => full(OnFull::DropOldest),
        3 => full(OnFull::Block),
        4 => Policy { time_to_live_ms: Some(150), ..Policy::default() },
        5 => Policy { deliveries_max: Some(2), redelivery_delay_ms: Some(10), ..Policy::default() },
        6 => Policy { consumers: Some(Consumers::SingleActive), ..Policy::default() },
        7 => Policy { last_value_key: Some("key".into()), ..Policy::default() },
        _ => Policy { dispatch: Some(Dispatch::Eager), ..Policy::default() },
    }
}
