//! What a session may ask of the gateway.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::attach::{Attach, Binding, Lifetime, Retained};
use crate::{Address, ConsumerId, Filter, Message, Seq, Token, TransactionId};

/// A request to the gateway. Requests of one session take effect in order, for each destination.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // publishes are the common case: boxing them would cost more
pub enum Action {
    /// Answered by `Event::Authenticated`. At most once outstanding; nothing else before it succeeded.
    Authenticate(Credentials),
    /// Answered by `Event::Published`.
    Publish(Publish),
    /// Whether it may publish to this address, for what it will publish later (a will). Answered by
    /// `Event::Published`; nothing is.
    MayPublish {
        /// Where to.
        to: Address,
        /// Named in the answer.
        token: Token,
    },
    /// The next bytes of a body that is too large for memory. The first of a new number starts one. The message
    /// follows as a publish that names it in `Publish::large`; its answer tells, too, if a piece could not be kept.
    Piece {
        /// The session's own number for it.
        body: Token,
        /// Any number of them.
        bytes: Bytes,
    },
    /// No publish follows: the pieces are of no use.
    Abandon {
        /// Which body.
        body: Token,
    },
    /// Starts consuming; answered by `Event::Attached`.
    Attach(Attach),
    /// Stops consuming. What it holds unsettled goes back to the queue. Answered by `Event::Detached`,
    /// after which no delivery to this consumer follows.
    Detach {
        /// Whose.
        consumer: ConsumerId,
        /// Delete the queue as well (unsubscribe), whatever its lifetime.
        delete: bool,
        /// A new lifetime for the queue (MQTT 5 DISCONNECT with a session expiry interval).
        lifetime: Option<Lifetime>,
    },
    /// Adds, or replaces by filter, a binding of the consumer's queue. Answered by `Event::Done` once
    /// it is live and, on a durable queue, committed. Retained messages follow it as deliveries.
    Bind {
        /// Whose queue.
        consumer: ConsumerId,
        /// What to bind.
        binding: Binding,
        /// Whether the retained messages that match are wanted.
        retained: Retained,
        /// Named in the answer.
        token: Token,
    },
    /// Removes a binding of the consumer's queue. Answered by `Event::Unbound`.
    Unbind {
        /// Whose queue.
        consumer: ConsumerId,
        /// Which.
        filter: Filter,
        /// Named in the answer.
        token: Token,
    },
    /// How much the consumer may be sent.
    Credit(Credit),
    /// The consumer's word on deliveries.
    Settle(Settle),
    /// Sets or clears a small number kept with the consumer's queue (a QoS 2 packet id).
    Mark {
        /// Whose queue.
        consumer: ConsumerId,
        /// The number.
        number: u32,
        /// Set or cleared.
        set: bool,
        /// If given, answered by `Event::Done` after the commit.
        token: Option<Token>,
    },
    /// Starts a transaction of this session; answered by `Event::Begun`. Publishes and settles that name it
    /// take effect with its commit, all at once. It is rolled back when the session ends.
    Begin {
        /// Named in the answer.
        token: Token,
    },
    /// Answered by `Event::Committed`, after the commit. Also asks for the outcome of an earlier one, of
    /// this session or of another, that was committed and whose answer was lost.
    Commit {
        /// Which.
        transaction: TransactionId,
        /// Named in the answer.
        token: Token,
    },
    /// Undoes it: nothing was published; deliveries settled in it are the consumer's again, unsettled.
    /// Answered by `Event::Done`.
    Rollback {
        /// Which.
        transaction: TransactionId,
        /// Named in the answer.
        token: Token,
    },
    /// Sets (or clears) what is published if the connection ends without `Close::Goodbye`, or is told
    /// to publish it anyway by a close that is not a goodbye. What the peer may not publish is not published.
    Will(Option<Box<Will>>),
}

/// How the peer says who it is.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// No name given.
    Anonymous,
    /// Name and password.
    Password {
        /// Name.
        user: Arc<str>,
        /// Password, as sent.
        password: Bytes,
    },
}

/// A message on its way in.
#[derive(Debug)]
pub struct Publish {
    /// Named in the answer.
    pub token: Token,
    /// The message; the gateway fills in id and ingress time.
    pub message: Message,
    /// MQTT's retain flag: also keep it as the topic's last message; an empty body clears that.
    pub retain: bool,
    /// What to keep with that consumer's queue in the same commit.
    pub mark: Option<(ConsumerId, Mark)>,
    /// Published when this transaction commits. `Published` then comes as soon as the transaction holds it.
    pub transaction: Option<TransactionId>,
    /// Its body went ahead in pieces; `message.body` is empty.
    pub large: Option<LargeEnd>,
}

/// What is kept with a session's queue in the commit of a message, so that the message is known if it comes again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// A small number, until `Action::Mark` clears it (MQTT QoS 2: the packet identifier).
    Number(u32),
    /// MQTT QoS 1, where nobody clears it: the newest are kept, as many as a limit allows.
    Fingerprint(Fingerprint),
}

/// Which packet identifier a message had, and a digest of what it said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub u64);

impl Fingerprint {
    /// Of the digest, 48 bits count.
    pub fn new(packet_id: u16, digest: u64) -> Self {
        Self(u64::from(packet_id) << 48 | digest >> 16)
    }

    /// The packet identifier.
    pub fn packet_id(self) -> u16 {
        (self.0 >> 48) as u16
    }
}

/// The end of a body that went ahead in pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LargeEnd {
    /// Which.
    pub body: Token,
    /// How long its content is without the framing of its encoding, in bytes.
    pub payload_bytes: u64,
}

/// How much a consumer may be sent. The gateway bounds bytes in flight by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credit {
    /// Whose.
    pub consumer: ConsumerId,
    /// How many deliveries in all since it attached: AMQP's delivery-count plus link-credit.
    /// `u64::MAX`: no limit. It starts at 0.
    pub limit: u64,
    /// Answer with `Event::Drained` when there is nothing more to send now. One that comes before the answer has its
    /// answer with it.
    pub drain: bool,
}

/// The consumer's word on a range of its deliveries (those of `first..=last` that it still holds).
#[derive(Clone, Debug)]
pub struct Settle {
    /// Whose deliveries.
    pub consumer: ConsumerId,
    /// First of the range.
    pub first: Seq,
    /// Last of the range, included.
    pub last: Seq,
    /// What became of them.
    pub outcome: Outcome,
    /// A number to set on the queue in the same commit (QoS 2: the packet id that awaits PUBCOMP).
    pub mark: Option<u32>,
    /// If given, answered by `Event::Done` after the commit.
    pub token: Option<Token>,
    /// Takes effect when this transaction commits. `Done` then comes as soon as the transaction holds it.
    pub transaction: Option<TransactionId>,
}

impl Settle {
    /// A word on `first..=last` that sets no mark, asks for no answer and takes effect at once.
    pub fn new(consumer: ConsumerId, first: Seq, last: Seq, outcome: Outcome) -> Self {
        Self { consumer, first, last, outcome, mark: None, token: None, transaction: None }
    }
}

/// What became of a delivery (AMQP 1.0 part 3, section 3.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done with: it leaves the queue.
    Accept,
    /// Never looked at: back to its place, for anyone; not counted as a failure.
    Release,
    /// The session never sent it: back to its place as if it had not been handed out.
    Unsent,
    /// Unprocessable: to `_DMQ`, with the reason.
    Reject {
        /// The consumer's words, or empty.
        reason: Arc<str>,
    },
    /// Its body cannot be read: to `_DMQ`; from there nowhere, but not to this consumer again. For one whose deliveries are
    /// settled as they go out it is too late: operators are told.
    Unreadable,
    /// Back to its place.
    Modify {
        /// Count it as a failed delivery.
        failed: bool,
        /// Not to this consumer again.
        undeliverable_here: bool,
    },
}

/// What is published when a client vanishes.
#[derive(Debug)]
pub struct Will {
    /// The message.
    pub message: Message,
    /// Retain it.
    pub retain: bool,
    /// Wait so long for the client to come back to its queue first, or until that is gone.
    pub delay: Duration,
    /// It expires so long after its publication.
    pub expiry: Option<Duration>,
}
