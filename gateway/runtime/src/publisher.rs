//! A session's publishes on their way into the core: routed in order for each address, held back while a
//! queue or memory is full, answered when all their parts are done.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use evergate_core::{DirectoryCommand, Group, RouteCache, SessionId, ShardCommand, ShardId, Target, split_by_shard};
use evergate_model::{Address, AddressKind, Message, PublishError, QueueId, Token};

use crate::connections::add;
use crate::gateway::Gateway;

/// A message that waits to be routed.
#[derive(Debug)]
pub struct Waiting {
    pub token: Token,
    pub message: Arc<Message>,
    pub retain: bool,
    pub mark: Option<(ShardId, QueueId, u32)>,
}

/// A message that was routed and is not answered yet.
#[derive(Debug)]
struct Unanswered {
    size_bytes: u64,
    parts: u32,
    reached: u32,
    error: Option<PublishError>,
    /// Kept for a queue by name: if the queue was deleted meanwhile, the message goes to its successor.
    again: Option<Waiting>,
}

/// How a publish ended.
pub type Answer = (Token, Result<u32, PublishError>);

/// One session's publishes.
pub struct Publisher {
    session: SessionId,
    waiting: VecDeque<Waiting>,
    unanswered: HashMap<Token, Unanswered>,
    bytes: u64,
    ensuring: HashSet<Arc<str>>,
    /// Retained publishes that the directory has not routed yet. What follows must not overtake them.
    with_directory: usize,
    routed: RouteCache,
    targets: Vec<Target>,
    /// Whether the totals count what it publishes.
    counted: bool,
}

impl Publisher {
    /// A client's.
    pub fn new(session: SessionId) -> Self {
        Self {
            session,
            counted: true,
            waiting: VecDeque::new(),
            unanswered: HashMap::new(),
            bytes: 0,
            ensuring: HashSet::new(),
            with_directory: 0,
            routed: RouteCache::default(),
            targets: Vec::new(),
        }
    }

    /// The gateway's own: the totals are those of the clients.
    pub fn uncounted(session: SessionId) -> Self {
        Self { counted: false, ..Self::new(session) }
    }

    /// Publishes that are not answered yet, and their bytes.
    pub fn load(&self) -> (usize, u64) {
        (self.waiting.len() + self.unanswered.len(), self.bytes)
    }

    /// Whether a publish waits for room.
    pub fn is_blocked(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Takes a message. `pump` sends it on.
    pub fn submit(&mut self, waiting: Waiting) {
        self.bytes += waiting.message.size_bytes();
        self.waiting.push_back(waiting);
    }

    /// Sends on what can be sent on. Messages to one address stay in order; those to another do not wait
    /// for them. `taken_over`: another connection owns the client's session now; what this one marks there is
    /// dropped, since the client sends it again.
    pub fn pump(&mut self, gateway: &Gateway, client_id: &str, taken_over: bool, answers: &mut Vec<Answer>) {
        if self.waiting.is_empty() {
            return;
        }
        // Held for the whole pass: were a queue to open in between, a later message could overtake.
        let routes = gateway.routes.read();
        let mut blocked: HashSet<Address> = HashSet::new();
        let mut kept = VecDeque::new();
        while let Some(waiting) = self.waiting.pop_front() {
            if taken_over && waiting.mark.is_some() {
                self.bytes -= waiting.message.size_bytes();
                continue;
            }
            let address = &waiting.message.meta.address;
            if gateway.memory.is_exhausted() || (self.with_directory > 0 && !waiting.retain) {
                kept.push_back(waiting);
                break;
            }
            if !blocked.is_empty() && blocked.contains(address) {
                kept.push_back(waiting);
                continue;
            }
            routes.find(&waiting.message, client_id, &mut self.routed, &mut self.targets);
            if address.kind == AddressKind::Queue && self.targets.is_empty() {
                if self.ensuring.insert(address.name.clone()) {
                    let (session, name) = (self.session, address.name.clone());
                    gateway.directory.push(DirectoryCommand::Ensure { session, name });
                }
                blocked.insert(address.clone());
                kept.push_back(waiting);
                continue;
            }
            if self.targets.iter().any(|target| routes.is_full(target.queue)) {
                if waiting.message.meta.durable || address.kind == AddressKind::Queue {
                    blocked.insert(address.clone());
                    kept.push_back(waiting);
                    continue;
                }
                // At most once: a subscriber that does not keep up misses it, the others do not wait.
                let before = self.targets.len();
                self.targets.retain(|target| !routes.is_full(target.queue));
                add(&gateway.totals.dropped, (before - self.targets.len()) as u64);
            }
            self.send(gateway, client_id, waiting, answers);
        }
        kept.append(&mut self.waiting);
        self.waiting = kept;
    }

    fn count(&self, total: &AtomicU64) {
        if self.counted {
            add(total, 1);
        }
    }

    fn send(&mut self, gateway: &Gateway, client_id: &str, waiting: Waiting, answers: &mut Vec<Answer>) {
        let Waiting { token, message, retain, mark } = waiting;
        let answer = Some((self.session, token));
        let size_bytes = message.size_bytes();
        self.count(&gateway.totals.published);
        if retain {
            let client_id = client_id.into();
            self.with_directory += 1;
            // How many parts it has, the directory tells.
            self.unanswered
                .insert(token, Unanswered { size_bytes, parts: u32::MAX, reached: 0, error: None, again: None });
            gateway.directory.push(DirectoryCommand::PublishRetained { answer, client_id, message, mark });
            return;
        }
        let parts = split_by_shard(&self.targets, mark);
        if parts.is_empty() {
            self.bytes -= size_bytes;
            self.count(&gateway.totals.confirmed);
            answers.push((token, Ok(0)));
            return;
        }
        let again = (message.meta.address.kind == AddressKind::Queue).then(|| Waiting {
            token,
            message: message.clone(),
            retain,
            mark,
        });
        let count = parts.len() as u32;
        self.unanswered.insert(token, Unanswered { size_bytes, parts: count, reached: 0, error: None, again });
        // Transient messages are not in the journal: nothing to keep together.
        let group = (count > 1 && message.meta.durable).then_some(Group { id: message.meta.id.0, parts: count as u16 });
        for (shard, targets, mark) in parts {
            let message = message.clone();
            gateway.publish_to(shard, ShardCommand::Publish { answer, message, targets, mark, group });
        }
    }

    /// The directory routed a retained publish: what waited behind it may go on.
    pub fn on_parts(&mut self, gateway: &Gateway, token: Token, parts: u32) -> Option<Answer> {
        self.with_directory -= 1;
        let unanswered = self.unanswered.get_mut(&token)?;
        // Parts that were answered already have counted down from the largest number.
        unanswered.parts -= u32::MAX - parts;
        self.finish_if_done(gateway, token)
    }

    /// A part is done.
    pub fn on_part(
        &mut self,
        gateway: &Gateway,
        token: Token,
        reached: u32,
        error: Option<PublishError>,
    ) -> Option<Answer> {
        let unanswered = self.unanswered.get_mut(&token)?;
        unanswered.parts -= 1;
        unanswered.reached += reached;
        if error.is_some() {
            unanswered.error = error;
        }
        self.finish_if_done(gateway, token)
    }

    fn finish_if_done(&mut self, gateway: &Gateway, token: Token) -> Option<Answer> {
        if self.unanswered.get(&token)?.parts > 0 {
            return None;
        }
        let done = self.unanswered.remove(&token)?;
        if done.reached == 0
            && done.error.is_none()
            && let Some(waiting) = done.again
        {
            self.waiting.push_front(waiting);
            return None;
        }
        self.bytes -= done.size_bytes;
        let result = if let Some(error) = done.error {
            gateway.count_refused();
            Err(error)
        } else {
            self.count(&gateway.totals.confirmed);
            Ok(done.reached)
        };
        Some((token, result))
    }

    /// The directory made a queue, or says why not: then every message for it is refused.
    pub fn on_ensured(
        &mut self,
        gateway: &Gateway,
        name: &Arc<str>,
        result: Result<(), PublishError>,
        answers: &mut Vec<Answer>,
    ) {
        self.ensuring.remove(name);
        let Err(error) = result else { return };
        let address = Address::queue(name.clone());
        let bytes = &mut self.bytes;
        self.waiting.retain(|waiting| {
            let refused = waiting.message.meta.address == address;
            if refused {
                *bytes -= waiting.message.size_bytes();
                gateway.count_refused();
                answers.push((waiting.token, Err(error.clone())));
            }
            !refused
        });
    }
}
