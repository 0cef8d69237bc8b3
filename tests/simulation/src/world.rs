//! The schedule: whose turn it is, and when the node crashes.

mod ending;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use evergate_core::{
    DirectoryCommand, PeekFrom, QueueLimits, Reserve, SessionId, ShardCommand, ShardId, Target, Waiting,
};
use evergate_journal::memory::CommitFault;
use evergate_model::{MemoryBudget, QueueId, QueueSettings, Seq, Time, Token};

use crate::client::{Around, Client, TOPICS};
use crate::connection::Connection;
use crate::journal::SimJournal;
use crate::model::{Check, Model};
use crate::node::{Fault, Node};
use crate::operations::Done;
use crate::operator::Operator;
use crate::publisher::{Answer, Publisher};
use crate::rng::Rng;
use crate::start::{policies, shard_config, start};
use crate::traits::PECULIAR;
use crate::transaction::Fate;

/// A broken promise.
#[derive(Debug)]
pub struct Failure {
    /// Of this run.
    pub seed: u64,
    /// How far it came.
    pub step: u64,
    /// Which promise.
    pub broken: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, step, broken } = self;
        write!(f, "step {step}: {broken}\nagain: SIM_SEED={seed} cargo test -p evergate-simulation -- --nocapture")
    }
}

/// What a run did, so that a test can see that it was worth it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Summary {
    /// Publishes confirmed.
    pub confirmed: u64,
    /// Deliveries.
    pub dispatched: u64,
    /// Restarts after a crash.
    pub crashes: u64,
    /// Reads from the journal.
    pub loads: u64,
    /// Transactions that a client was told are committed, and are rolled back.
    pub transactions: u64,
    /// Transactions that were rolled back.
    pub rollbacks: u64,
    /// Times that an operator made, changed, bound or deleted a single queue.
    pub definitions: u64,
    /// Times that an operator changed policies, deleted a queue, and moved a message.
    pub policies: u64,
    #[allow(missing_docs)] // see above
    pub deletions: u64,
    #[allow(missing_docs)] // see above
    pub moves: u64,
}

/// The gateway's own publisher.
const HOUSE: SessionId = SessionId(0);

struct World {
    rng: Rng,
    trace: bool,
    fault: Option<Fault>,
    shards: u16,
    limits: QueueLimits,
    defaults: QueueSettings,
    batch_bytes_max: u64,
    journal: SimJournal,
    memory: Arc<MemoryBudget>,
    model: Model,
    node: Node,
    clients: Vec<Client>,
    half_open: Vec<(SessionId, Publisher)>,
    last_session: u64,
    house: Publisher,
    operator: Operator,
    /// He asks for something in one of so many of his turns.
    operator_acts_every: u64,
    origins: BTreeMap<Token, (ShardId, QueueId, Seq)>,
    last_token: u64,
    /// Who empties the queues at the end.
    last: Option<Connection>,
    /// Topics whose retained message he has to clear, the last first.
    uncleared: Vec<&'static str>,
    /// The journal does not move until then.
    stalled_until: Time,
    steps: u64,
    summary: Summary,
}

/// One run. `trace` prints every step.
pub fn run(seed: u64, fault: Option<Fault>, trace: bool) -> Result<Summary, Failure> {
    let mut world = World::new(seed, fault, trace).map_err(|broken| Failure { seed, step: 0, broken })?;
    world.play().map_err(|broken| Failure { seed, step: world.steps, broken })?;
    world.summary.confirmed = world.model.confirmed;
    world.summary.dispatched = world.model.dispatched;
    let Done { policies, deletions, moves } = world.model.operations.done;
    (world.summary.policies, world.summary.deletions, world.summary.moves) = (policies, deletions, moves);
    world.summary.definitions = world.model.operations.definitions.changes;
    let all = &world.model.transactions.all;
    let count = |fate: Fate| all.values().filter(|it| it.fate == fate && it.holds_something()).count();
    let (committed, void) = (count(Fate::Committed), count(Fate::Void));
    (world.summary.transactions, world.summary.rollbacks) = (committed as u64, void as u64);
    Ok(world.summary)
}

impl World {
    fn new(seed: u64, fault: Option<Fault>, trace: bool) -> Result<Self, String> {
        let mut rng = Rng::new(seed);
        let shards = 1 + rng.below(4) as u16;
        let limits = QueueLimits {
            resident_bytes_max: rng.pick(&[300, 600, 2000, 1_000_000]),
            pressed_bytes_max: rng.pick(&[1, 300, 600]),
        };
        let defaults = QueueSettings {
            messages_max: rng.pick(&[8, 50, 1000]),
            bytes_max: rng.pick(&[4000, 1_000_000]),
            ..QueueSettings::default()
        };
        let batch_bytes_max = rng.pick(&[400, 3000, 100_000]);
        let journal = SimJournal::default();
        let memory = MemoryBudget::new(u64::MAX);
        let mut model = Model::default();
        let config = shard_config(limits, fault);
        let core = start(Time(1), &journal, &mut model, shards, config, &defaults)?;
        let memories = (batch_bytes_max, memory.clone());
        let mut node = Node::new(Time(1), core, memories, (fault, trace), &journal, &mut model)?;
        node.mailboxes.insert(HOUSE, std::collections::VecDeque::new());
        let operator = Operator::new(&mut node, defaults.clone(), policies(fault));
        let operator_acts_every = rng.pick(&[2, 4]);
        let clients = (0..2 + rng.below(4) as u32).map(|index| Client::new(index, &mut rng)).collect();
        Ok(Self {
            rng,
            trace,
            fault,
            shards,
            limits,
            defaults,
            batch_bytes_max,
            journal,
            memory,
            model,
            node,
            clients,
            half_open: Vec::new(),
            last_session: 0,
            house: Publisher::new(HOUSE),
            operator,
            operator_acts_every,
            origins: BTreeMap::new(),
            last_token: 0,
            last: None,
            uncleared: TOPICS.to_vec(),
            stalled_until: Time(0),
            steps: 0,
            summary: Summary::default(),
        })
    }

    fn play(&mut self) -> Check {
        let length = self.rng.pick(&[300, 1500, 4000]);
        let crash_every = self.rng.pick(&[0, 400, 1500]);
        let act_every = self.rng.pick(&[2, 4, 8]);
        for _ in 0..length {
            if crash_every > 0 && self.rng.one_in(crash_every) {
                self.crash()?;
            } else if self.rng.one_in(act_every) {
                self.client_acts()?;
            } else {
                self.turn()?;
            }
        }
        self.rest()?;
        for client in &self.clients {
            if let Some(connection) = &client.connection {
                connection.check_answered()?;
            }
        }
        self.house.check_answered()?;
        self.empty_all()
    }

    fn client_acts(&mut self) -> Check {
        let index = self.rng.index(self.clients.len());
        let (client, mut around) = self.client(index);
        client.act(&mut around)?;
        self.note(|| format!("client {index} acts"));
        Ok(())
    }

    fn client(&mut self, index: usize) -> (&mut Client, Around<'_>) {
        let (clients, _, around) = self.actors();
        (&mut clients[index], around)
    }

    fn operator(&mut self) -> (&mut Operator, Around<'_>) {
        let (_, operator, around) = self.actors();
        (operator, around)
    }

    /// Who acts, and what they act on.
    fn actors(&mut self) -> (&mut [Client], &mut Operator, Around<'_>) {
        let around = Around {
            node: &mut self.node,
            journal: &mut self.journal,
            model: &mut self.model,
            rng: &mut self.rng,
            last_session: &mut self.last_session,
            half_open: &mut self.half_open,
        };
        (&mut self.clients, &mut self.operator, around)
    }

    fn operator_turn(&mut self) -> Check {
        let (operator, mut around) = self.operator();
        operator.step(&mut around)
    }

    /// Somebody who may have something to do has a turn.
    fn turn(&mut self) -> Check {
        match self.rng.below(20) {
            0 => self.node.now.0 += self.rng.below(20),
            1..4 => self.node.run_directory(&mut self.journal, &mut self.model)?,
            4..10 => {
                let index = self.rng.index(usize::from(self.shards));
                self.node.run_shard(index, &mut self.journal, &mut self.model)?;
            }
            10..13 => self.journal_turn()?,
            13 => self.load()?,
            14 => self.house_turn()?,
            16 if self.rng.one_in(60) => self.operate(),
            17 if self.rng.one_in(self.operator_acts_every) => {
                let (operator, mut around) = self.operator();
                operator.act(&mut around);
            }
            17 | 18 => self.operator_turn()?,
            16 if self.rng.one_in(100) => {
                let (pressed, shard) = (self.rng.one_in(2), ShardId(self.rng.below(u64::from(self.shards)) as u16));
                self.node.control(shard, ShardCommand::Pressure(pressed));
            }
            15 if self.rng.one_in(4) && !self.half_open.is_empty() => {
                let index = self.rng.index(self.half_open.len());
                self.half_open[index].1.pump_half_open(&mut self.node, &mut self.journal);
            }
            16 if self.rng.one_in(4) && !self.half_open.is_empty() => {
                let index = self.rng.index(self.half_open.len());
                let (session, publisher) = self.half_open.swap_remove(index);
                publisher.end(&mut self.node, &mut self.journal);
                self.node.to_directory.push_back(DirectoryCommand::Gone { session, failed: true });
            }
            _ => {
                let index = self.rng.index(self.clients.len());
                let (client, mut around) = self.client(index);
                client.step(&mut around)?;
            }
        }
        Ok(())
    }

    /// An operator looks into a queue or empties it.
    fn operate(&mut self) {
        let name = self.rng.pick(&PECULIAR);
        let Some(Target { shard, queue, .. }) = self.node.routes.queue(name) else { return };
        let answer = (HOUSE, Token(0));
        let command = if self.rng.one_in(4) {
            ShardCommand::Purge { queue, answer }
        } else {
            ShardCommand::Peek {
                queue,
                from: PeekFrom::Place(Seq(self.rng.below(20))),
                count: 5,
                selector: None,
                reserve: Reserve::Nothing,
                answer,
            }
        };
        self.node.control(shard, command);
    }

    fn journal_turn(&mut self) -> Check {
        if self.node.now < self.stalled_until {
            return Ok(());
        }
        if self.journal.committing.is_none() {
            self.node.begin_commit(&mut self.journal);
            return Ok(());
        }
        if self.rng.one_in(100) {
            self.stalled_until = Time(self.node.now.0 + self.rng.below(100));
            return Ok(());
        }
        if self.rng.one_in(300) {
            let fault = self.rng.pick(&[CommitFault::Lost, CommitFault::Unknown]);
            self.journal.store.fail_next_commit(fault);
        }
        if !self.node.finish_commit(&mut self.journal, &self.model)? {
            // A failed commit ends the node.
            return self.crash();
        }
        self.note(|| "committed".into());
        Ok(())
    }

    /// A read from the journal comes back.
    fn load(&mut self) -> Check {
        if self.node.loads.is_empty() {
            return Ok(());
        }
        let index = self.rng.index(self.node.loads.len());
        let Some((shard, queue, first, last)) = self.node.loads.remove(index) else { return Ok(()) };
        let (messages_max, bytes_max) = (1 + self.rng.index(10), self.rng.pick(&[0, 1000, 100_000]));
        let loaded = self.journal.store.load_now(queue, first, last, messages_max, bytes_max);
        let loaded = loaded.map_err(|error| error.to_string())?;
        self.summary.loads += 1;
        let command = ShardCommand::Loaded { queue, messages: loaded.messages, complete_to: loaded.complete_to };
        self.node.control(shard, command);
        Ok(())
    }

    /// The gateway's own publisher moves dead letters to their queue.
    fn house_turn(&mut self) -> Check {
        if let Some((shard, queue, seq, message)) = self.node.dead_letters.pop_front() {
            self.last_token += 1;
            let token = Token(self.last_token);
            self.origins.insert(token, (shard, queue, seq));
            let message = self.node.admit(*message);
            self.house.submit(Waiting { token, message, retain: false, mark: None, body: None });
        }
        let mut answers = self.house.pump(&mut self.node, &mut self.journal, &self.model, "")?;
        if let Some(event) = self.node.mailboxes.get_mut(&HOUSE).and_then(std::collections::VecDeque::pop_front) {
            answers.extend(self.house.handle(&mut self.node, &mut self.journal, &self.model, event)?.1);
        }
        for answer in answers {
            let Answer::Published(token, _) = answer else { continue };
            if let Some((shard, queue, seq)) = self.origins.remove(&token) {
                self.node.control(shard, ShardCommand::Remove { queue, seq });
            }
        }
        Ok(())
    }

    /// The node dies and starts again on what was committed.
    fn crash(&mut self) -> Check {
        self.note(|| "crash".into());
        self.summary.crashes += 1;
        if self.rng.one_in(2)
            && let Some((batch, _)) = self.journal.committing.take()
        {
            // It got through, but nobody heard of it.
            self.journal.apply(&batch, |queue| self.model.may_lack(queue))?;
        }
        self.journal.crash();
        self.journal.restarted();
        self.model.resolve_moves(|id| self.journal.committed.contains(&id));
        for client in &mut self.clients {
            client.cut(&mut self.node, &mut self.model)?;
        }
        self.half_open.clear();
        self.house = Publisher::new(HOUSE);
        self.origins.clear();
        let now = Time(self.node.now.0 + 1);
        let config = shard_config(self.limits, self.fault);
        let core = start(now, &self.journal, &mut self.model, self.shards, config, &self.defaults)?;
        let memories = (self.batch_bytes_max, self.memory.clone());
        self.node = Node::new(now, core, memories, (self.fault, self.trace), &self.journal, &mut self.model)?;
        self.node.mailboxes.insert(HOUSE, std::collections::VecDeque::new());
        self.operator = Operator::new(&mut self.node, self.defaults.clone(), policies(self.fault));
        Ok(())
    }

    /// Everybody finishes what was begun; nobody begins anything.
    fn rest(&mut self) -> Check {
        self.stalled_until = Time(0);
        // Who was told something in one round may go on in the next.
        let mut was_calm = false;
        for _ in 0..100_000 {
            self.steps += 1;
            self.node.run_directory(&mut self.journal, &mut self.model)?;
            for index in 0..usize::from(self.shards) {
                self.node.run_shard(index, &mut self.journal, &mut self.model)?;
            }
            self.node.begin_commit(&mut self.journal);
            if !self.node.finish_commit(&mut self.journal, &self.model)? {
                return self.crash();
            }
            self.load()?;
            self.house_turn()?;
            self.operator_turn()?;
            self.consume_all()?;
            for index in 0..self.clients.len() {
                let (client, mut around) = self.client(index);
                client.step(&mut around)?;
            }
            let is_calm = self.node.is_idle(&self.journal) && self.sent_on();
            if is_calm && was_calm {
                return Ok(());
            }
            was_calm = is_calm;
        }
        Err(format!("it does not come to rest: {}", self.node.what_waits(&self.journal)))
    }

    fn sent_on(&self) -> bool {
        let waits = |client: &Client| client.connection.as_ref().is_some_and(|it| it.publisher.unanswered() > 0);
        let last_waits = self.last.as_ref().is_some_and(|last| !last.pending.is_empty());
        !self.clients.iter().any(waits) && self.house.unanswered() == 0 && !last_waits
    }

    fn note(&mut self, what: impl FnOnce() -> String) {
        self.steps += 1;
        if self.trace {
            println!("{:>6} {:>6} ms  {}", self.steps, self.node.now.0, what());
        }
    }
}
