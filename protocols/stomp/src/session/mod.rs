//! One connection's state machine: frames in, frames out, requests to the gateway.

mod ack;
mod arriving;
mod connect;
mod deliver;
mod destination;
mod event;
mod fault;
mod heartbeat;
mod input;
mod outgoing;
mod pending;
mod send;
mod source;
mod subscribe;
mod subscription;
mod temporary;
mod transaction;
mod wishes;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use evergate_model::{Close, ConsumerId, Event, Formats, Output, PeerInfo, Session, Time, Token};

use crate::StompConfig;
use crate::codec::{self, Command, Decoder, Frame, Headers, Version};
use arriving::Arriving;
use fault::Fault;
use heartbeat::Heartbeat;
use outgoing::Outgoing;
use pending::Pending;
use subscription::Subscription;
use transaction::Transactions;

/// Where the connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing yet, or not the whole CONNECT.
    AwaitConnect,
    /// The gateway looks at the credentials.
    Authenticating,
    /// Open.
    Connected,
    /// DISCONNECT came; what was before it awaits its answers.
    Disconnecting,
    /// An ERROR frame waits for the end of a large MESSAGE.
    Failing,
    /// Over.
    Closed,
}

/// A STOMP connection, sans I/O.
pub struct StompSession {
    config: StompConfig,
    formats: Formats,
    /// Makes message ids unique.
    conn_id: u64,
    phase: Phase,
    decoder: Decoder,
    version: Version,
    /// As CONNECT says; may be empty.
    client_id: Arc<str>,
    /// A name for a client that has none and needs one.
    given_id: Option<Arc<str>>,
    user: Arc<str>,
    heartbeat: Heartbeat,
    /// When CONNECT came.
    connected_at: Time,
    /// When it must be connected; known with the first call.
    connect_by: Option<Time>,
    pending: Pending,
    /// Publishes without an answer: the driver may not be reading, so silence means nothing.
    publishing: usize,
    /// Bytes of large messages that await their commit, likewise.
    pieces_bytes: u64,
    /// Those among them that go to temporary queues.
    replies: HashSet<Token>,
    /// Counts consumers.
    consumers: u32,
    subscriptions: HashMap<ConsumerId, Subscription>,
    by_key: HashMap<Arc<str>, ConsumerId>,
    /// The client's names of its temporary queues, and their real ones once known.
    temp_queues: HashMap<Arc<str>, Option<Arc<str>>>,
    transactions: Transactions,
    /// A frame that waits for the real name of a temporary queue, or for its transaction's.
    stalled: Option<Frame>,
    /// The large SEND whose body is on its way.
    arriving: Arriving,
    outgoing: Outgoing,
    /// Bytes that came while nothing could be processed.
    held: BytesMut,
    /// Bytes left in the driver's buffer by the last call.
    left_over: usize,
}

impl StompSession {
    /// A connection that was just accepted. `conn_id`: unique among this node's connections, and not
    /// soon used again, since message ids carry it.
    pub fn new(config: StompConfig, formats: Formats, conn_id: u64) -> Self {
        Self {
            decoder: Decoder::new(config.limits.clone()).with_large_bodies(config.large_body_bytes_max),
            config,
            formats,
            conn_id,
            phase: Phase::AwaitConnect,
            version: Version::V1_2,
            client_id: "".into(),
            given_id: None,
            user: "".into(),
            heartbeat: Heartbeat::default(),
            connected_at: Time::default(),
            connect_by: None,
            pending: Pending::default(),
            publishing: 0,
            pieces_bytes: 0,
            replies: HashSet::new(),
            consumers: 0,
            subscriptions: HashMap::new(),
            by_key: HashMap::new(),
            temp_queues: HashMap::new(),
            transactions: Transactions::default(),
            stalled: None,
            arriving: Arriving::Nothing,
            outgoing: Outgoing::default(),
            held: BytesMut::new(),
            left_over: 0,
        }
    }

    /// Whether frames must wait for an event.
    fn is_paused(&self) -> bool {
        self.phase == Phase::Authenticating || self.stalled.is_some() || self.transactions.is_aborting()
    }

    /// Sends the receipts whose turn has come; closes after the last one if the client said goodbye.
    fn flush_receipts(&mut self, out: &mut Output) {
        let (version, outgoing) = (self.version, &mut self.outgoing);
        if matches!(self.phase, Phase::Failing | Phase::Closed) {
            return;
        }
        self.pending.flush(|id| {
            let headers = Headers::from_iter([("receipt-id", id.as_str())]);
            let frame = Frame { command: Command::Receipt, headers, body: Bytes::new() };
            let wire = outgoing.wire(&mut out.wire).tail();
            let before = wire.len();
            codec::encode(&frame, version, wire);
            let bytes = wire.len() - before;
            outgoing.count_receipt(bytes);
        });
        if self.phase == Phase::Disconnecting && self.pending.is_empty() && self.outgoing.is_idle() {
            self.phase = Phase::Closed;
            out.close = Some(Close::Goodbye);
        }
    }
}

fn is_true(frame: &Frame, name: &str) -> bool {
    frame.headers.get(name).is_some_and(|text| text.trim().eq_ignore_ascii_case("true"))
}

/// A header that the frame must have.
fn required<'a>(frame: &'a Frame, name: &str) -> Result<&'a str, Fault> {
    frame
        .headers
        .get(name)
        .filter(|value| !value.is_empty())
        .ok_or_else(|| Fault::refused(format!("{} without a {name} header", frame.command.as_str())))
}

impl Session for StompSession {
    fn received(&mut self, now: Time, input: &mut BytesMut, out: &mut Output) {
        self.connect_by.get_or_insert(now.after(self.config.connect_timeout));
        if matches!(self.phase, Phase::Disconnecting | Phase::Failing | Phase::Closed) {
            input.clear();
            return;
        }
        if input.len() != self.left_over {
            self.heartbeat.heard(now);
        }
        if !self.is_paused() {
            if !self.held.is_empty() {
                let mut joined = std::mem::take(&mut self.held);
                joined.unsplit(input.split());
                *input = joined;
            }
            self.process(now, input, out);
        }
        if self.is_paused() {
            self.hold(input, out);
        }
        self.left_over = input.len();
        if !out.wire.is_empty() {
            self.heartbeat.sent(now);
        }
    }

    fn wants_input(&self) -> bool {
        !self.is_paused() && !self.outgoing.is_full()
    }

    fn holds_back(&self, consumer: ConsumerId) -> bool {
        self.outgoing.holds_back(consumer)
    }

    fn handle(&mut self, now: Time, event: Event, out: &mut Output) {
        if self.phase == Phase::Closed {
            return;
        }
        let was_paused = self.is_paused();
        match self.on_event(now, event, out) {
            Ok(()) => self.flush_receipts(out),
            Err(fault) => self.fail(fault, out),
        }
        if was_paused && self.phase == Phase::Connected {
            if let Some(frame) = self.stalled.take() {
                self.on_frame(now, frame, out);
            }
            let mut held = std::mem::take(&mut self.held);
            self.process(now, &mut held, out);
            self.held = held;
        }
        if !out.wire.is_empty() {
            self.heartbeat.sent(now);
        }
    }

    fn pieces_pending(&mut self, now: Time, bytes: u64, _out: &mut Output) {
        self.pieces_bytes = bytes;
        self.heartbeat.heard(now);
    }

    fn timeout(&mut self, now: Time, out: &mut Output) {
        match self.phase {
            Phase::AwaitConnect => {
                let by = *self.connect_by.get_or_insert(now.after(self.config.connect_timeout));
                if by <= now {
                    self.fail(Fault::refused("no CONNECT in time").with_close(Close::Silent), out);
                }
            }
            Phase::Connected => {
                // Then the driver may not read: that silence is ours.
                if self.publishing > 0 || self.pieces_bytes > 0 || !self.wants_input() {
                    self.heartbeat.heard(now);
                }
                if self.heartbeat.is_silent(now) {
                    let fault = Fault::refused("no heart-beat in time").with_close(Close::Silent);
                    return self.fail(fault, out);
                }
                self.send_heartbeat(now, out);
            }
            Phase::Disconnecting => self.send_heartbeat(now, out),
            Phase::Authenticating | Phase::Failing | Phase::Closed => {}
        }
    }

    fn next_timeout(&self) -> Option<Time> {
        match self.phase {
            // Not called yet: at once, to learn the time.
            Phase::AwaitConnect => Some(self.connect_by.unwrap_or_default()),
            Phase::Connected => self.heartbeat_at().into_iter().chain(self.heartbeat.silent_at()).min(),
            // The client has said all it had to say: its silence counts no more.
            Phase::Disconnecting => self.heartbeat_at(),
            Phase::Authenticating | Phase::Failing | Phase::Closed => None,
        }
    }

    fn peer(&self) -> PeerInfo {
        PeerInfo {
            protocol: connect::protocol_name(self.phase, self.version),
            client_id: self.identity().clone(),
            user: self.user.clone(),
        }
    }
}

impl StompSession {
    /// When the next heart-beat is to be sent. Within a frame there is none: what comes of the frame says as much.
    fn heartbeat_at(&self) -> Option<Time> {
        self.heartbeat.send_at().filter(|_| !self.outgoing.is_within_frame())
    }

    fn send_heartbeat(&mut self, now: Time, out: &mut Output) {
        if self.heartbeat_at().is_some_and(|at| at <= now) {
            out.wire.tail().put_u8(b'\n');
            self.heartbeat.sent(now);
        }
    }
}
