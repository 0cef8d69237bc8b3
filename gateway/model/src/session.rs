//! The contract between a protocol's sans-IO session and the gateway: what a session may ask
//! ([`Action`]) and what it is told ([`Event`]).

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use crate::{ConsumerId, Delivery, Filter, Message, Selector, Seq, Time, Token, TransactionId};

/// One connection's protocol state machine: bytes and events in, bytes and actions out.
/// It has no socket and no clock.
pub trait Session: Send {
    /// Takes what it can from `input` (leaves an incomplete frame there).
    fn received(&mut self, now: Time, input: &mut BytesMut, out: &mut Output);
    /// Whether more input is of use now. False while what came before must be answered first: then the
    /// socket is not read, so that what a peer sends meanwhile stays with the peer.
    fn wants_input(&self) -> bool {
        true
    }
    /// Something happened in the gateway.
    fn handle(&mut self, now: Time, event: Event, out: &mut Output);
    /// `next_timeout()` has passed.
    fn timeout(&mut self, now: Time, out: &mut Output);
    /// When to call `timeout` next.
    fn next_timeout(&self) -> Option<Time>;
    /// Who is on the line, for logs and the console.
    fn peer(&self) -> PeerInfo;
}

/// What a session says of its peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerInfo {
    /// `MQTT 5`, `AMQP 1.0`, `STOMP 1.2`; empty until known.
    pub protocol: &'static str,
    /// Client id, container id, or empty.
    pub client_id: Arc<str>,
    /// Authenticated user, or empty.
    pub user: Arc<str>,
}

/// What a session produces in one call.
#[derive(Debug, Default)]
pub struct Output {
    /// Bytes for the peer.
    pub wire: Wire,
    /// Requests to the gateway, in order.
    pub actions: Vec<Action>,
    /// Set: write what is in `wire`, then close the connection. Actions before it still count.
    pub close: Option<Close>,
}

/// Bytes on their way out: small writes coalesce, bodies are passed on without a copy.
#[derive(Debug, Default)]
pub struct Wire {
    segments: VecDeque<Bytes>,
    tail: BytesMut,
}

/// A body shorter than this is copied beside its frame: cheaper than a segment of its own.
const COPY_BELOW_BYTES: usize = 2048;

impl Wire {
    /// A buffer to append a small frame to.
    pub fn tail(&mut self) -> &mut BytesMut {
        &mut self.tail
    }

    /// Appends a body.
    pub fn push(&mut self, body: &Bytes) {
        if body.len() < COPY_BELOW_BYTES {
            self.tail.extend_from_slice(body);
        } else {
            self.seal();
            self.segments.push_back(body.clone());
        }
    }

    fn seal(&mut self) {
        if !self.tail.is_empty() {
            self.segments.push_back(self.tail.split().freeze());
        }
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty() && self.tail.is_empty()
    }

    /// Everything to write, in order; leaves this empty.
    pub fn take(&mut self) -> VecDeque<Bytes> {
        self.seal();
        std::mem::take(&mut self.segments)
    }
}

/// Why a session closes its connection. The peer was told in its own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Close {
    /// The peer said goodbye.
    Goodbye,
    /// The peer broke the protocol, or a limit; what it did, for the log.
    ProtocolError(String),
    /// Name or password refused.
    Unauthorized,
    /// Silence for longer than the keep-alive allows.
    Silent,
    /// Another connection took over its client id.
    TakenOver,
    /// The gateway is stopping or failed; text for the log.
    Gateway(String),
}

/// A request to the gateway. Requests of one session take effect in order, for each destination.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // publishes are the common case: boxing them would cost more
pub enum Action {
    /// Answered by `Event::Authenticated`. At most once outstanding; nothing else before it succeeded.
    Authenticate(Credentials),
    /// Answered by `Event::Published`.
    Publish(Publish),
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
    /// to publish it anyway by a close that is not a goodbye.
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

/// What an authenticated peer may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Go on, as this user (empty: anonymous on loopback).
    Granted(Arc<str>),
    /// Refused.
    Denied,
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
    /// A number to set on that consumer's queue in the same commit (MQTT QoS 2 packet id).
    pub mark: Option<(ConsumerId, u32)>,
    /// Published when this transaction commits. `Published` then comes as soon as the transaction holds it.
    pub transaction: Option<TransactionId>,
}

/// Why a message was not taken. None of it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublishError {
    /// Clients may not publish to this name (`_DMQ` and the like).
    Reserved,
    /// Larger than the configured limit, in bytes.
    TooLarge {
        /// The limit.
        limit_bytes: u64,
    },
    /// The gateway is stopping, or its journal failed.
    Unavailable,
    /// A limit of the gateway (number of queues, …) says no; text for the peer.
    Limit(String),
    /// The destination is full and its policy is to refuse.
    Full {
        /// Its name.
        destination: Arc<str>,
    },
    /// No such destination, and policy does not let it come into being.
    NotFound,
    /// The transaction cannot take it.
    Transaction(TransactionError),
}

/// Why a transaction did not, or cannot, commit. Nothing of it took effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransactionError {
    /// There is no such transaction, or its outcome is no longer known.
    Unknown,
    /// It grew beyond a limit, grew too old, or one of its parts failed: it can only be rolled back. Text for the peer.
    RolledBack(String),
    /// The gateway is stopping, or its journal failed: the outcome can be asked for later.
    Unavailable,
}

impl fmt::Display for TransactionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("there is no such transaction, or it ended too long ago to be remembered"),
            Self::RolledBack(text) => f.write_str(text),
            Self::Unavailable => f.write_str("the gateway cannot commit now; the outcome can be asked for later"),
        }
    }
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reserved => {
                f.write_str("names that begin with _ are the gateway's own: clients cannot publish there")
            }
            Self::TooLarge { limit_bytes } => write!(f, "the message is larger than the limit of {limit_bytes} bytes"),
            Self::Unavailable => f.write_str("the gateway cannot store messages now"),
            Self::Limit(text) => f.write_str(text),
            Self::Full { destination } => write!(f, "{destination} is full, and its policy is to refuse messages then"),
            Self::NotFound => f.write_str("there is no such destination, and its policy does not create it"),
            Self::Transaction(error) => error.fmt(f),
        }
    }
}

/// How long a queue lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// Until it is deleted.
    Permanent,
    /// Until its last consumer detaches.
    Attached,
    /// This long after its last consumer detached.
    AfterDetach(Duration),
}

/// The queue that a consumer attaches to; created if it is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueSpec {
    /// A client's queue as it is named (`orders`); others begin with `$`: `$session/<client id>`,
    /// `$subscription/<client id>/<name>`. For a temporary one see [`QueueSpec::temporary`].
    pub name: Arc<str>,
    /// The queue and its durable messages survive a restart.
    pub durable: bool,
    /// How long it lives.
    pub lifetime: Lifetime,
}

impl QueueSpec {
    /// A name that the gateway replaces by a unique one.
    pub const UNIQUE: &'static str = "$unique";

    /// A queue that clients share by name.
    pub fn named(name: impl Into<Arc<str>>) -> Self {
        Self { name: name.into(), durable: true, lifetime: Lifetime::Permanent }
    }

    /// A queue of a unique name for one subscription, gone when its consumer is.
    pub fn temporary() -> Self {
        Self { name: Self::UNIQUE.into(), durable: false, lifetime: Lifetime::Attached }
    }
}

/// Starts consuming from a queue.
#[derive(Clone, Debug)]
pub struct Attach {
    /// The session's number for it; it names all that follows.
    pub consumer: ConsumerId,
    /// Which queue.
    pub queue: QueueSpec,
    /// Bindings to add in the same step (a topic subscription). On a durable queue that exists, these
    /// replace its bindings.
    pub bindings: Vec<Binding>,
    /// What other consumers may be there.
    pub access: AttachAccess,
    /// Drop an existing queue of this name, its bindings and messages, first (MQTT clean start).
    pub fresh: bool,
    /// Settle each delivery as accepted when it is handed out (at most once).
    pub settled: bool,
    /// Deliver without taking (AMQP copy mode). Not settled. On a stream every consumer does so.
    pub browse: bool,
    /// Deliver only what this selects; the rest stays for others.
    pub selector: Option<Selector>,
    /// A consumer is served only while those of higher priority have no room. 0 is usual.
    pub priority: i32,
    /// Where to begin, on a stream.
    pub start: StreamStart,
}

impl Attach {
    /// A competing consumer of `queue` with everything else as usual.
    pub fn new(consumer: ConsumerId, queue: QueueSpec) -> Self {
        Self {
            consumer,
            queue,
            bindings: Vec::new(),
            access: AttachAccess::Shared,
            fresh: false,
            settled: false,
            browse: false,
            selector: None,
            priority: 0,
            start: StreamStart::Next,
        }
    }
}

/// Where a consumer of a stream begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StreamStart {
    /// The oldest message that is kept.
    First,
    /// The newest message that is there.
    Last,
    /// What is published from now on.
    #[default]
    Next,
    /// The message of this place, or the first behind it.
    Offset(Seq),
    /// The first message that the gateway took at this time or later.
    Time(Time),
}

impl StreamStart {
    /// Reads `first`, `last`, `next`, `offset=<place>` or `timestamp=<seconds since 1970>`: how clients without
    /// a field for it write it, after RabbitMQ's `x-stream-offset`.
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once('=') {
            None => match text {
                "first" => Some(Self::First),
                "last" => Some(Self::Last),
                "next" => Some(Self::Next),
                _ => None,
            },
            Some(("offset", place)) => Some(Self::Offset(Seq(place.parse().ok()?))),
            Some(("timestamp", seconds)) => Some(Self::Time(Time(seconds.parse::<u64>().ok()?.saturating_mul(1000)))),
            Some(_) => None,
        }
    }
}

/// What other consumers a queue may have beside this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachAccess {
    /// Competing consumers.
    Shared,
    /// Refused with `AttachError::InUse` if there is another.
    Exclusive,
    /// The other one is detached and told `Event::TakenOver` (same MQTT client id, link stealing).
    TakeOver,
}

/// A queue's interest in topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// Which topics.
    pub filter: Filter,
    /// False: what comes through this binding alone is not stored (QoS 0 subscription).
    pub durable: bool,
    /// Skip what this client id published.
    pub no_local: Option<Arc<str>>,
    /// Only what this selects comes through.
    pub selector: Option<Selector>,
    /// The protocol's own options, kept with the binding and given back in `Attached`.
    pub options: Bytes,
}

impl Binding {
    /// A binding with everything else as usual.
    pub fn new(filter: Filter, durable: bool) -> Self {
        Self { filter, durable, no_local: None, selector: None, options: Bytes::new() }
    }
}

/// Which retained messages follow a bind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retained {
    /// All that match.
    Send,
    /// All that match if the binding is new.
    SendIfNew,
    /// None.
    Skip,
}

/// How much a consumer may be sent. The gateway bounds bytes in flight by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credit {
    /// Whose.
    pub consumer: ConsumerId,
    /// How many deliveries in all since it attached: AMQP's delivery-count plus link-credit.
    /// `u64::MAX`: no limit. It starts at 0.
    pub limit: u64,
    /// Answer with `Event::Drained` when there is nothing more to send now.
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
    /// Unprocessable: to `_DMQ`, with the reason.
    Reject {
        /// The consumer's words, or empty.
        reason: Arc<str>,
    },
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
    /// Wait so long for the client to come back (to its queue) first.
    pub delay: Duration,
    /// It expires so long after its publication.
    pub expiry: Option<Duration>,
}

/// Something that happened in the gateway, told to the session that it concerns.
#[derive(Debug)]
pub enum Event {
    /// The answer to `Authenticate`.
    Authenticated(Access),
    /// The answer to `Publish`: durable ones after the commit.
    Published {
        /// Whose answer.
        token: Token,
        /// Number of queues that it reached (MQTT 5 «no matching subscribers»), or why none.
        result: Result<u32, PublishError>,
    },
    /// The answer to `Attach`.
    Attached {
        /// Whose.
        consumer: ConsumerId,
        /// What was found, or why not.
        result: Result<Attached, AttachError>,
    },
    /// The answer to `Detach`.
    Detached {
        /// Whose.
        consumer: ConsumerId,
    },
    /// A message for a consumer.
    Deliver(Delivery),
    /// All that there was has been delivered (answer to `Credit` with `drain`).
    Drained {
        /// Whose.
        consumer: ConsumerId,
        /// Deliveries in all since it attached.
        delivered: u64,
    },
    /// `Bind`, `Mark` or `Settle` is in force and, if durable, committed.
    Done(Token),
    /// The answer to `Begin`.
    Begun {
        /// Whose answer.
        token: Token,
        /// The new transaction, or why there is none.
        result: Result<TransactionId, TransactionError>,
    },
    /// The answer to `Commit`.
    Committed {
        /// Whose answer.
        token: Token,
        /// Whether it is committed.
        result: Result<(), TransactionError>,
    },
    /// The answer to `Unbind`.
    Unbound {
        /// Whose answer.
        token: Token,
        /// Whether there was such a binding.
        existed: bool,
    },
    /// Another session attached with `AttachAccess::TakeOver`; this consumer is detached.
    TakenOver {
        /// Whose.
        consumer: ConsumerId,
    },
    /// The consumer's queue was deleted under it; this consumer is detached.
    Deleted {
        /// Whose.
        consumer: ConsumerId,
    },
    /// The gateway is stopping: say goodbye in the protocol's words and close.
    Stopping {
        /// Text for the peer.
        reason: Arc<str>,
    },
}

/// What `Attach` found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attached {
    /// The queue's name (the unique one of a temporary queue).
    pub queue: Arc<str>,
    /// The queue was there before.
    pub existed: bool,
    /// Its bindings.
    pub bindings: Vec<Binding>,
    /// The numbers set on it.
    pub marks: Vec<u32>,
}

/// Why `Attach` failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttachError {
    /// There is a consumer, and one of the two wants to be alone.
    InUse,
    /// No such queue, and it may not be created.
    NotFound,
    /// Not allowed.
    Denied,
    /// A limit of the gateway says no; text for the peer.
    Limit(String),
    /// The gateway is stopping, or its journal failed.
    Unavailable,
}

impl fmt::Display for AttachError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse => f.write_str("another consumer has it for itself"),
            Self::NotFound => f.write_str("there is no such destination"),
            Self::Denied => f.write_str("not allowed"),
            Self::Limit(text) => f.write_str(text),
            Self::Unavailable => f.write_str("the gateway cannot serve this now"),
        }
    }
}
