//! The contract between a protocol's sans-IO session and the gateway: what a session may ask
//! ([`Action`]) and what it is told ([`Event`]).

mod action;
mod attach;
mod event;
mod note;

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::{ConsumerId, Time};

pub use action::{Action, Credentials, Credit, Fingerprint, LargeEnd, Mark, Outcome, Publish, Settle, Will};
pub use attach::{Attach, AttachAccess, Binding, Lifetime, QueueSpec, Retained, Standing, StreamStart};
pub use event::{Access, AttachError, Attached, Event, PublishError, RollbackReason, TransactionError};
pub use note::{note, noted};

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
    /// Whether what was delivered to this consumer may still be in the session, behind something that takes long to
    /// write: then it is not written yet, whatever the socket says.
    fn holds_back(&self, _consumer: ConsumerId) -> bool {
        false
    }
    /// Of the bodies that it passes on in pieces, so many bytes await their commit: said when that changes. While
    /// there are any the socket may not be read: then the peer's silence is the gateway's.
    fn pieces_pending(&mut self, _now: Time, _bytes: u64, _out: &mut Output) {}
    /// Whether its protocol can hold back the sender of a large body and hear others of the same connection
    /// meanwhile. Then it does so by what `pieces_pending` says, and the socket is read on.
    fn holds_senders_back(&self) -> bool {
        false
    }
    /// Deliveries of these consumers are handed over next: it may read what it will need of them. Nothing changes. See
    /// [`ahead`](crate::ahead).
    fn look_ahead(&self, _consumers: &[ConsumerId]) {}
    /// Something happened in the gateway.
    fn handle(&mut self, now: Time, event: Event, out: &mut Output);
    /// `next_timeout()` has passed.
    fn timeout(&mut self, now: Time, out: &mut Output);
    /// The connection is over, whoever ended it. Last requests: what it holds and has not sent goes back. Nothing is
    /// written any more.
    fn leaving(&mut self, _out: &mut Output) {}
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
