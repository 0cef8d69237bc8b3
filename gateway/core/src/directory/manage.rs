//! What operators ask of the directory.

use std::fmt;
use std::sync::Arc;

use evergate_model::{Binding, Filter, Lifetime, Policy, QueueId, QueueSettings, Token, shortened};

use super::{Directory, Out, QueueDefinition, storage};
use crate::effect::{DirectoryEffect, SessionEvent, SessionId, ShardId};

/// How many policies operators may add.
const POLICIES_MAX: usize = 1000;

/// What an operator asks of the directory.
#[derive(Clone, Debug)]
pub enum ManageRequest {
    /// Which policies are in force; answered by `ManageReply::Policies`.
    Policies,
    /// Adds a policy behind the others, or replaces the added one with the same `match` in its place.
    PutPolicy(Policy),
    /// Removes the added policy with this `match`.
    DeletePolicy {
        /// Its pattern.
        matches: String,
    },
    /// The queue of this name, also of a session or a subscription; answered by `ManageReply::Queue`.
    Queue {
        /// Its name.
        name: String,
    },
    /// Makes a durable queue.
    CreateQueue(QueueDefinition),
    /// Gives a queue settings of its own, in place of those it had.
    ChangeQueue {
        /// Its name.
        name: String,
        /// What it goes by; over all policies.
        settings: Policy,
    },
    /// Deletes a queue with its messages; consumers are told.
    DeleteQueue {
        /// Its name.
        name: String,
        /// Only if it has no messages.
        if_empty: bool,
        /// Only if it has no consumers.
        if_unused: bool,
    },
    /// Binds a queue to a topic filter; replaces a binding to the same filter.
    BindQueue {
        /// Its name.
        name: String,
        /// To what.
        binding: Binding,
    },
    /// Takes a binding away.
    UnbindQueue {
        /// Its name.
        name: String,
        /// Which.
        filter: Filter,
    },
}

/// A queue as the directory knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueEntry {
    /// Its name.
    pub name: Arc<str>,
    /// It survives a restart.
    pub durable: bool,
    /// How long it lives.
    pub lifetime: Lifetime,
    /// The configuration names it.
    pub configured: bool,
    /// How many are attached.
    pub consumers: usize,
    /// What it is bound to.
    pub bindings: Vec<Binding>,
    /// What it goes by.
    pub settings: Arc<QueueSettings>,
    /// Of that, what is its own.
    pub own: Option<Policy>,
}

/// What an operator is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManageReply {
    /// It is done, and committed.
    Done,
    /// The policies in force, in their order.
    Policies {
        /// Of the configuration.
        fixed: Vec<Policy>,
        /// Added by operators; they come behind.
        added: Vec<Policy>,
    },
    /// One queue.
    Queue {
        /// What the directory knows of it.
        entry: Box<QueueEntry>,
        /// Which it is.
        queue: QueueId,
        /// Who has its messages.
        shard: ShardId,
    },
}

/// Why an operator's request was not carried out. Nothing changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManageError {
    /// There is no such thing; text for people.
    NotFound(String),
    /// It is there already, or still in use; text for people.
    InUse(String),
    /// The request makes no sense; text for people.
    Invalid(String),
    /// A limit of the gateway says no; text for people.
    Limit(String),
    /// The gateway is stopping, or its journal failed.
    Unavailable,
}

impl fmt::Display for ManageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound(text) | Self::InUse(text) | Self::Invalid(text) | Self::Limit(text) => {
                f.write_str(&shortened(text))
            }
            Self::Unavailable => f.write_str("the gateway cannot do this now"),
        }
    }
}

impl std::error::Error for ManageError {}

impl Directory {
    pub(super) fn manage(&mut self, session: SessionId, token: Token, request: ManageRequest, out: &mut Out<'_>) {
        let result = match request {
            ManageRequest::Policies => {
                let (fixed, added) = (self.policies.fixed(), self.policies.added());
                Ok(ManageReply::Policies { fixed, added })
            }
            ManageRequest::PutPolicy(policy) => self.put_policy(policy, out),
            ManageRequest::DeletePolicy { matches } => self.delete_policy(&matches, out),
            ManageRequest::Queue { name } => self.show_queue(&name),
            ManageRequest::CreateQueue(definition) => self.create_queue(definition, out),
            ManageRequest::ChangeQueue { name, settings } => self.change_queue(&name, settings, out),
            ManageRequest::DeleteQueue { name, if_empty, if_unused } => {
                let answered = self.delete_queue((session, token), &name, (if_empty, if_unused), out);
                let Some(result) = answered else { return };
                result
            }
            ManageRequest::BindQueue { name, binding } => self.bind_queue(&name, binding, out),
            ManageRequest::UnbindQueue { name, filter } => self.unbind_queue(&name, &filter, out),
        };
        self.log(out);
        self.defer(DirectoryEffect::Tell(session, SessionEvent::Managed { token, result }), out);
    }

    fn put_policy(&mut self, policy: Policy, out: &mut Out<'_>) -> Result<ManageReply, ManageError> {
        policy.check().map_err(|error| ManageError::Invalid(error.to_string()))?;
        let mut added = self.policies.added();
        let are_enough = added.len() >= POLICIES_MAX;
        match added.iter_mut().find(|other| other.matches == policy.matches) {
            Some(other) => *other = policy,
            None if are_enough => {
                return Err(ManageError::Limit(format!("there may be at most {POLICIES_MAX} policies")));
            }
            None => added.push(policy),
        }
        Ok(self.set_policies(added, out))
    }

    fn delete_policy(&mut self, matches: &str, out: &mut Out<'_>) -> Result<ManageReply, ManageError> {
        let mut added = self.policies.added();
        let before = added.len();
        added.retain(|policy| policy.matches != matches);
        if added.len() == before {
            let is_fixed = self.policies.fixed().iter().any(|policy| policy.matches == matches);
            let why = if is_fixed { "the policy comes from the configuration" } else { "there is no such policy" };
            return Err(ManageError::NotFound(format!("{why}: {matches}")));
        }
        Ok(self.set_policies(added, out))
    }

    /// Replaces what operators added; queues that are concerned behave otherwise from now on.
    fn set_policies(&mut self, added: Vec<Policy>, out: &mut Out<'_>) -> ManageReply {
        self.records.push(storage::put_policies(&added));
        self.policies.set_added(added);
        let mut all: Vec<QueueId> = self.queues.keys().copied().collect();
        all.sort_unstable();
        for id in all {
            self.renew_settings(id, out);
        }
        ManageReply::Done
    }
}
