//! What a consumer attaches to, and how.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::{ConsumerId, Filter, LargeBody, Selector, Seq, Time};

/// How long a queue lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lifetime {
    /// Until it is deleted.
    #[default]
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
    /// What a queue that is there already has to do with it.
    pub standing: Standing,
    /// Bindings to add in the same step (a topic subscription). On a queue that exists, these replace its
    /// bindings; a named subscription (`$subscription/…`) whose topics or selectors change begins anew, as JMS
    /// says, and does not change while others consume from it.
    pub bindings: Vec<Binding>,
    /// Whether the retained messages that match these follow.
    pub retained: Retained,
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
            standing: Standing::default(),
            bindings: Vec::new(),
            retained: Retained::Skip,
            access: AttachAccess::Shared,
            fresh: false,
            settled: false,
            browse: false,
            selector: None,
            priority: 0,
            start: StreamStart::Next,
        }
    }

    /// A reader of a body that is too large for memory: each delivery to it is a piece, in order, as its
    /// publisher sent it; nothing is settled. The reader counts bytes to know the end, gives credit no faster than
    /// it passes pieces on, holds the message until it has detached, and detaches.
    pub fn body(consumer: ConsumerId, body: &LargeBody) -> Self {
        Self { browse: true, ..Self::new(consumer, QueueSpec::named(body.queue.clone())) }
    }
}

/// What a queue that is there already has to do with an attach.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// The one of its name is attached to, with the lifetime that the attach says; otherwise it is made.
    #[default]
    Taken,
    /// Only the one of its name will do (`AttachError::NotFound`), and its lifetime stays as it is.
    Needed,
    /// The one of this other name, if it is there, is what is meant: it is taken over from its consumer, and lives on as
    /// the attach says. Not if consumers share it.
    Instead(Arc<str>),
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
    /// False: what comes through this binding alone is promised at most once (QoS 0 subscription): it is not stored, and
    /// missed when the queue is full.
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
