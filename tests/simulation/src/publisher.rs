//! A session's publishes on their way into the core, as the runtime's driver sends them: routed in order
//! for each address, held back while a queue is full, answered when all their parts are done.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use evergate_core::{
    DirectoryCommand, Group, RouteCache, SessionEvent, SessionId, ShardCommand, ShardId, Target, split_by_shard,
};
use evergate_model::{Address, AddressKind, Message, QueueId, Token};

use crate::journal::SimJournal;
use crate::model::{Check, Model};
use crate::node::{Fault, Node, expect_whole};

#[derive(Debug)]
pub struct Waiting {
    pub token: Token,
    pub message: Arc<Message>,
    pub retain: bool,
    pub mark: Option<(ShardId, QueueId, u32)>,
}

#[derive(Debug)]
struct Unanswered {
    address: Address,
    retain: bool,
    /// `None`: the directory has not told yet.
    parts: Option<u32>,
    answered: u32,
    refused: bool,
    /// The queues that are promised once it is confirmed; whether they keep durable messages.
    targets: Vec<(QueueId, bool)>,
}

/// How a publish ended: with the queues that hold it, or refused.
pub type Answer = (Token, Option<Vec<(QueueId, bool)>>);

#[derive(Debug)]
pub struct Publisher {
    session: SessionId,
    waiting: VecDeque<Waiting>,
    unanswered: BTreeMap<Token, Unanswered>,
    ensuring: BTreeSet<Arc<str>>,
    routed: RouteCache,
}

impl Publisher {
    pub fn new(session: SessionId) -> Self {
        Self {
            session,
            waiting: VecDeque::new(),
            unanswered: BTreeMap::new(),
            ensuring: BTreeSet::new(),
            routed: RouteCache::default(),
        }
    }

    pub fn submit(&mut self, waiting: Waiting) {
        self.waiting.push_back(waiting);
    }

    /// Publishes that were sent on and not answered.
    pub fn unanswered(&self) -> usize {
        self.unanswered.len()
    }

    /// Sends on the first message that can be sent on.
    pub fn pump(
        &mut self,
        node: &mut Node,
        journal: &mut SimJournal,
        model: &Model,
        client_id: &str,
    ) -> Result<Option<Answer>, String> {
        let mut blocked: BTreeSet<&Address> = BTreeSet::new();
        let mut targets = Vec::new();
        let mut next = None;
        for (index, waiting) in self.waiting.iter().enumerate() {
            let address = &waiting.message.meta.address;
            node.routes.find(&waiting.message, client_id, &mut self.routed, &mut targets);
            let unknown = address.kind == AddressKind::Queue && targets.is_empty();
            if unknown && self.ensuring.insert(address.name.clone()) {
                let (session, name) = (self.session, address.name.clone());
                node.to_directory.push_back(DirectoryCommand::Ensure { session, name });
            }
            let full = targets.iter().any(|target| node.routes.is_full(target.queue));
            let apart = node.fault == Some(Fault::RetainedOvertakes);
            let behind = !apart && self.must_wait(address, waiting.retain);
            if unknown || full || behind || blocked.contains(address) {
                blocked.insert(address);
            } else {
                next = Some(index);
                break;
            }
        }
        let Some(waiting) = next.and_then(|index| self.waiting.remove(index)) else { return Ok(None) };
        model.routed(&waiting.message.meta.address, &targets)?;
        Ok(self.send(node, journal, model, client_id, waiting, &targets))
    }

    /// Retained messages take the way through the directory, others do not: of one address they wait for
    /// each other.
    fn must_wait(&self, address: &Address, retain: bool) -> bool {
        self.unanswered.values().any(|other| other.address == *address && other.retain != retain)
    }

    fn send(
        &mut self,
        node: &mut Node,
        journal: &mut SimJournal,
        model: &Model,
        client_id: &str,
        waiting: Waiting,
        targets: &[Target],
    ) -> Option<Answer> {
        let Waiting { token, message, retain, mark } = waiting;
        let answer = Some((self.session, token));
        let address = message.meta.address.clone();
        let mut unanswered =
            Unanswered { address, retain, parts: None, answered: 0, refused: false, targets: Vec::new() };
        if retain {
            unanswered.targets = model.subscribed(&unanswered.address);
            self.unanswered.insert(token, unanswered);
            let client_id = client_id.into();
            node.to_directory.push_back(DirectoryCommand::PublishRetained { answer, client_id, message, mark });
            return None;
        }
        unanswered.targets = targets.iter().map(|target| (target.queue, target.durable)).collect();
        let parts = split_by_shard(targets, mark);
        if parts.is_empty() {
            return Some((token, Some(Vec::new())));
        }
        unanswered.parts = Some(parts.len() as u32);
        self.unanswered.insert(token, unanswered);
        let group = (parts.len() > 1 && message.meta.durable)
            .then_some(Group { id: message.meta.id.0, parts: parts.len() as u16 });
        for (shard, targets, mark) in parts {
            let command = ShardCommand::Publish { answer, message: message.clone(), targets, mark, group };
            expect_whole(journal, &command);
            node.publishes[usize::from(shard.0)].push_back(command);
        }
        None
    }

    /// An empty publish to every shard, answered when all that was sent to them before is through.
    pub fn fence(&mut self, node: &mut Node, token: Token, message: &Arc<Message>) {
        let parts = Some(node.shards.len() as u32);
        let (address, targets) = (message.meta.address.clone(), Vec::new());
        let unanswered = Unanswered { address, retain: false, parts, answered: 0, refused: false, targets };
        self.unanswered.insert(token, unanswered);
        for publishes in &mut node.publishes {
            let (answer, message) = (Some((self.session, token)), message.clone());
            let (targets, mark, group) = (Vec::new(), None, None);
            publishes.push_back(ShardCommand::Publish { answer, message, targets, mark, group });
        }
    }

    /// What concerns publishes. Others ignore it.
    pub fn handle(&mut self, event: &SessionEvent) -> Result<Option<Answer>, String> {
        let token = match event {
            SessionEvent::Ensured { name, .. } => {
                self.ensuring.remove(name);
                return Ok(None);
            }
            SessionEvent::PublishParts { token, parts } => {
                self.of(*token)?.parts = Some(*parts);
                *token
            }
            SessionEvent::PublishPart { token, error, .. } => {
                let unanswered = self.of(*token)?;
                unanswered.answered += 1;
                unanswered.refused |= error.is_some();
                *token
            }
            SessionEvent::Event(_)
            | SessionEvent::Attached { .. }
            | SessionEvent::Managed { .. }
            | SessionEvent::Peeked { .. }
            | SessionEvent::Removed { .. } => return Ok(None),
        };
        let unanswered = self.of(token)?;
        if unanswered.parts != Some(unanswered.answered) {
            return Ok(None);
        }
        let done = self.unanswered.remove(&token);
        Ok(done.map(|done| (token, (!done.refused).then_some(done.targets))))
    }

    fn of(&mut self, token: Token) -> Result<&mut Unanswered, String> {
        self.unanswered.get_mut(&token).ok_or_else(|| format!("{token:?} was answered too often"))
    }

    /// For a client that comes to rest: whether everything that can be sent on was.
    pub fn check_answered(&self) -> Check {
        match self.unanswered.iter().next() {
            None => Ok(()),
            Some((token, unanswered)) => Err(format!("{token:?} to {} was never answered", unanswered.address)),
        }
    }
}
