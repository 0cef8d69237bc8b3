//! One connection's state machine: frames in, frames out, requests to the gateway.

mod ack;
mod connect;
mod deliver;
mod destination;
mod fault;
mod heartbeat;
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
use evergate_model::{Close, ConsumerId, Event, Formats, Output, PeerInfo, PublishError, Session, Time, Token};

use crate::StompConfig;
use crate::codec::{self, Command, Decoder, Frame, Headers, Version};
use fault::Fault;
use heartbeat::Heartbeat;
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
            decoder: Decoder::new(config.limits.clone()),
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
            replies: HashSet::new(),
            consumers: 0,
            subscriptions: HashMap::new(),
            by_key: HashMap::new(),
            temp_queues: HashMap::new(),
            transactions: Transactions::default(),
            stalled: None,
            held: BytesMut::new(),
            left_over: 0,
        }
    }

    /// Whether frames must wait for an event.
    fn is_paused(&self) -> bool {
        self.phase == Phase::Authenticating || self.stalled.is_some() || self.transactions.is_aborting()
    }

    /// Keeps what cannot be processed yet, because the driver need not call again when the answer is there.
    fn hold(&mut self, input: &mut BytesMut, out: &mut Output) {
        self.held.unsplit(input.split());
        let max = match self.phase {
            Phase::Authenticating => self.config.early_bytes_max,
            // Waits for an answer that comes soon: room for a frame more.
            _ => self.config.early_bytes_max + self.config.limits.body_bytes_max,
        };
        if self.held.len() > max {
            self.fail(Fault::refused(format!("more than {max} bytes sent without waiting for the answer")), out);
        }
    }

    /// Processes whole frames until there are no more, or one must wait.
    fn process(&mut self, now: Time, input: &mut BytesMut, out: &mut Output) {
        while !self.is_paused() && matches!(self.phase, Phase::AwaitConnect | Phase::Connected) {
            match self.decoder.decode(input) {
                Ok(Some(frame)) => self.on_frame(now, frame, out),
                Ok(None) => return,
                Err(error) => self.fail(Fault::refused(error.to_string()), out),
            }
        }
        if matches!(self.phase, Phase::Disconnecting | Phase::Closed) {
            input.clear(); // nothing may follow DISCONNECT or an ERROR
        }
    }

    fn on_frame(&mut self, now: Time, frame: Frame, out: &mut Output) {
        let receipt = frame.headers.get("receipt").map(str::to_owned);
        let result = self.dispatch(now, frame, out);
        if let Err(mut fault) = result {
            fault.receipt = fault.receipt.or(receipt);
            self.fail(fault, out);
        }
    }

    fn dispatch(&mut self, now: Time, frame: Frame, out: &mut Output) -> Result<(), Fault> {
        let connecting = matches!(frame.command, Command::Connect | Command::Stomp);
        match (self.phase, connecting) {
            (Phase::AwaitConnect, true) => return self.on_connect(now, &frame, out),
            (Phase::AwaitConnect, false) => {
                // CONNECTED: the decoder lets no other through.
                return Err(Fault::refused(format!("{} before CONNECT", frame.command.as_str())));
            }
            (_, true) => return Err(Fault::refused("this connection is connected already")),
            (_, false) => {}
        }
        if self.pending.len() >= self.config.pending_max {
            return Err(Fault::refused(format!("more than {} frames await their answer", self.config.pending_max)));
        }
        if self.transactions.must_wait(&frame) {
            self.stalled = Some(frame);
            return Ok(());
        }
        match frame.command {
            Command::Send => self.stalled = self.on_send(now, frame, out)?,
            Command::Subscribe => self.on_subscribe(&frame, out)?,
            Command::Unsubscribe => self.on_unsubscribe(&frame, out)?,
            Command::Ack | Command::Nack => self.on_ack(&frame, out)?,
            Command::Begin => self.on_begin(&frame, out)?,
            Command::Commit => self.on_commit(&frame, out)?,
            Command::Abort => self.on_abort(&frame, out)?,
            Command::Disconnect => {
                let token = self.pending.add(frame.headers.get("receipt").map(str::to_owned));
                self.pending.answer(token);
                self.phase = Phase::Disconnecting;
                self.flush_receipts(out);
            }
            // Handled above, or only a server may send it.
            Command::Connect
            | Command::Stomp
            | Command::Connected
            | Command::Message
            | Command::Receipt
            | Command::Error => {
                return Err(Fault::refused(format!("a client cannot send {}", frame.command.as_str())));
            }
        }
        Ok(())
    }

    /// Sends the receipts whose turn has come; closes after the last one if the client said goodbye.
    fn flush_receipts(&mut self, out: &mut Output) {
        let version = self.version;
        self.pending.flush(|id| {
            let headers = Headers::from_iter([("receipt-id", id.as_str())]);
            let frame = Frame { command: Command::Receipt, headers, body: Bytes::new() };
            codec::encode(&frame, version, out.wire.tail());
        });
        if self.phase == Phase::Disconnecting && self.pending.is_empty() {
            self.phase = Phase::Closed;
            out.close = Some(Close::Goodbye);
        }
    }

    /// Tells the peer and closes.
    fn fail(&mut self, fault: Fault, out: &mut Output) {
        fault.encode(self.version, out.wire.tail());
        self.phase = Phase::Closed;
        self.stalled = None;
        self.held.clear();
        out.close = Some(fault.close);
    }

    fn on_event(&mut self, now: Time, event: Event, out: &mut Output) -> Result<(), Fault> {
        match event {
            Event::Authenticated(access) if self.phase == Phase::Authenticating => {
                self.on_authenticated(now, access, out)
            }
            Event::Published { token, result } => {
                self.publishing = self.publishing.saturating_sub(1);
                self.heartbeat.heard(now);
                let was_reply = self.replies.remove(&token);
                match result {
                    // Who asked is gone, and its queue with it: as with a topic that nobody subscribes to.
                    Err(PublishError::NotFound) if was_reply => {}
                    Ok(_queues) => {}
                    Err(reason) => {
                        let mut fault = Fault::refused(format!("the message was not taken: {reason}"));
                        fault.receipt = self.pending.take_receipt(token);
                        return Err(fault);
                    }
                }
                self.pending.answer(token);
                Ok(())
            }
            Event::Attached { consumer, result } => self.on_attached(consumer, result, out),
            Event::Detached { consumer } => {
                self.on_detached(consumer);
                Ok(())
            }
            Event::Deliver(delivery) => {
                self.on_deliver(&delivery, out);
                Ok(())
            }
            Event::Done(token) => {
                self.on_aborted(token);
                self.pending.answer(token);
                Ok(())
            }
            Event::Begun { token, result } => self.on_begun(token, result),
            Event::Committed { token, result } => self.on_committed(token, result),
            Event::Drained { consumer, delivered } => {
                self.on_drained(consumer, delivered, out);
                Ok(())
            }
            Event::TakenOver { consumer } => self.on_lost(consumer, "another connection took it over"),
            Event::Deleted { consumer } => self.on_lost(consumer, "its queue was deleted"),
            Event::Overrun { .. } => {
                let what = "the client does not keep up with what it subscribed to";
                Err(Fault::refused(what).with_close(Close::Gateway(what.into())))
            }
            Event::Stopping { reason } => Err(Fault::refused(&*reason).with_close(Close::Gateway(reason.to_string()))),
            // Never asked for.
            Event::Authenticated(_) | Event::Unbound { .. } => Ok(()),
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
        if matches!(self.phase, Phase::Disconnecting | Phase::Closed) {
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
        !self.is_paused()
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

    fn timeout(&mut self, now: Time, out: &mut Output) {
        match self.phase {
            Phase::AwaitConnect => {
                let by = *self.connect_by.get_or_insert(now.after(self.config.connect_timeout));
                if by <= now {
                    self.fail(Fault::refused("no CONNECT in time").with_close(Close::Silent), out);
                }
            }
            Phase::Connected => {
                if self.publishing > 0 || self.is_paused() {
                    self.heartbeat.heard(now);
                }
                if self.heartbeat.is_silent(now) {
                    let fault = Fault::refused("no heart-beat in time").with_close(Close::Silent);
                    return self.fail(fault, out);
                }
                self.send_heartbeat(now, out);
            }
            Phase::Disconnecting => self.send_heartbeat(now, out),
            Phase::Authenticating | Phase::Closed => {}
        }
    }

    fn next_timeout(&self) -> Option<Time> {
        match self.phase {
            // Not called yet: at once, to learn the time.
            Phase::AwaitConnect => Some(self.connect_by.unwrap_or_default()),
            Phase::Connected => self.heartbeat.next(),
            // The client has said all it had to say: its silence counts no more.
            Phase::Disconnecting => self.heartbeat.send_at(),
            Phase::Authenticating | Phase::Closed => None,
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
    fn send_heartbeat(&mut self, now: Time, out: &mut Output) {
        if self.heartbeat.is_due(now) {
            out.wire.tail().put_u8(b'\n');
            self.heartbeat.sent(now);
        }
    }
}
