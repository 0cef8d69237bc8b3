//! One connection: its socket, its protocol session, and the way between the session and the core.

mod ahead;
pub mod bodies;
mod consumers;
mod requests;
mod takeover;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::BytesMut;
use evergate_core::{Publisher, PublisherOut, SessionEvent, SessionId};
use evergate_model::{Access, Close, Credentials, Event, Output, Session, Will};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::connections::{Connection, ConnectionFigures, add};
pub(crate) use crate::driver::bodies::Releases;
use crate::driver::consumers::Consumers;
use crate::driver::takeover::DirectoryLine;
pub(crate) use crate::driver::takeover::Gates;
use crate::gateway::Gateway;
use crate::mailbox::Mailbox;
use crate::publisher;
use crate::well_known::announce_presence;
use crate::wire::WriteQueue;

/// How long a closing connection may take to read its last words.
const FAREWELL: Duration = Duration::from_secs(2);
/// How often a publish that waits looks again: nobody tells when memory has room.
const MEMORY_RETRY: Duration = Duration::from_millis(20);
const READ_BYTES: usize = 64 << 10;
/// A session that holds back the senders of large bodies is read on until so many windows of them await their commit:
/// that is for senders who go beyond, or were given a wide window before their body began.
const HELD_BACK_WINDOWS: u64 = 4;

/// Decides who may come in.
#[async_trait::async_trait]
pub trait Authenticator: Send + Sync {
    /// Checks what the peer said of itself.
    async fn check(&self, credentials: Credentials) -> Access;

    /// Whether this user, who was let in, may send requests to the administration.
    fn may_administrate(&self, user: &str) -> bool;
}

/// Drives a connection until it ends.
pub async fn drive(
    gateway: Arc<Gateway>,
    authenticator: Arc<dyn Authenticator>,
    remote: std::net::SocketAddr,
    listener: Arc<str>,
    socket: impl AsyncRead + AsyncWrite,
    make_session: impl FnOnce(u64) -> Box<dyn Session>,
) {
    let (id, mailbox) = gateway.open_session();
    let session = make_session(id.0);
    let connection = Arc::new(Connection {
        id,
        remote,
        listener,
        since: gateway.clock.now(),
        peer: parking_lot::Mutex::new(session.peer()),
        figures: ConnectionFigures::default(),
        closing: tokio::sync::watch::Sender::new(None),
    });
    gateway.connections.add(connection.clone());
    tracing::debug!(id = id.0, %remote, "connected");
    let mut driver = Driver {
        id,
        mailbox,
        authenticator,
        session,
        out: Output::default(),
        publisher: Publisher::new(id, gateway.config.transactions),
        consumers: Consumers::new(id, gateway.config.delivery_window_bytes),
        directory: DirectoryLine::new(id),
        will: None,
        close: None,
        sent_away: false,
        presence: Presence::Unknown,
        published: PublisherOut::default(),
        pieces_told: 0,
        piece_at: None,
        piece_sent: None,
        has_served_others: false,
        connection,
        gateway,
    };
    if let Err(lost) = driver.run(socket).await {
        driver.leave(Some(&lost));
    }
    driver.gateway.connections.remove(id);
}

/// A connection's state.
struct Driver {
    gateway: Arc<Gateway>,
    id: SessionId,
    mailbox: Arc<Mailbox<SessionEvent>>,
    authenticator: Arc<dyn Authenticator>,
    session: Box<dyn Session>,
    out: Output,
    publisher: Publisher,
    consumers: Consumers,
    directory: DirectoryLine,
    will: Option<Box<Will>>,
    close: Option<Close>,
    /// The gateway stops, or an operator wants it closed: what it holds is given back, and has not failed.
    sent_away: bool,
    presence: Presence,
    /// What the publisher wants, until it is carried out.
    published: PublisherOut,
    /// Bytes of pieces that await their commit, as the session knows it.
    pieces_told: u64,
    /// When the next piece may go to the journal.
    piece_at: Option<Instant>,
    /// When a piece went to the journal that is not answered.
    piece_sent: Option<Instant>,
    /// A message that is not large came or went.
    has_served_others: bool,
    connection: Arc<Connection>,
}

/// What `_PRESENCE` was told of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    /// Nothing: nobody has shown who it is.
    Unknown,
    /// Nothing yet: it was let in, and will say its name with its first request.
    Granted,
    /// That it is there.
    Told,
}

impl Driver {
    /// Until the session closes, and has left; or the socket does: then the error says how.
    async fn run(&mut self, socket: impl AsyncRead + AsyncWrite) -> std::io::Result<()> {
        let (mut reader, mut writer) = tokio::io::split(socket);
        let mut stopping = self.gateway.stopping();
        let mut input = BytesMut::with_capacity(READ_BYTES);
        // A session may leave what it cannot take yet, but no more than its largest frame and some.
        let input_bytes_max = usize::try_from(self.gateway.config.message_bytes_max).unwrap_or(usize::MAX) + (1 << 20);
        let mut unwritten = WriteQueue::default();
        let mut events = Vec::new();
        let mut evicted = false;
        let mut read_since_yield = 0;
        loop {
            self.settle_output(&mut unwritten);
            self.tell_pieces(&mut unwritten);
            self.note_others();
            if self.close.is_some() {
                // Who takes over from it need not wait for the peer to read its last words.
                self.leave(None);
                return self.farewell(&mut writer, &mut unwritten).await;
            }
            // The runtime lets a task read 128 times before others have their turn: with a peer that floods
            // us with the shortest frames, that is too long for a shard that waits behind this task.
            if read_since_yield >= READ_BYTES {
                read_since_yield = 0;
                tokio::task::yield_now().await;
            }
            let mut paced = self.piece_at;
            if unwritten.is_empty() {
                let window_at = self.consumers.written(&self.gateway, |consumer| self.session.holds_back(consumer));
                paced = paced.into_iter().chain(window_at).min();
            }
            let may_read = self.may_read()
                && input.len() < input_bytes_max
                && unwritten.len_bytes() < self.gateway.config.outbox_bytes_max;
            let blocked = self.publisher.is_blocked();
            self.connection.figures.blocked.store(blocked, Ordering::Relaxed);
            let timeout = self.session.next_timeout().map(|at| self.gateway.clock.instant(at));
            let too_old = self.publisher.next_timeout().map(|at| self.gateway.clock.instant(at));
            let opened = self.gateway.opened.notified();
            tokio::select! {
                read = reader.read_buf(&mut input), if may_read => match read {
                    Ok(0) => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                    Ok(count) => {
                        add(&self.connection.figures.received_bytes, count as u64);
                        read_since_yield += count;
                        let now = self.gateway.clock.now();
                        self.session.received(now, &mut input, &mut self.out);
                        input.reserve(READ_BYTES);
                    }
                    Err(error) => return Err(error),
                },
                written = unwritten.write_some(&mut writer), if !unwritten.is_empty() => match written {
                    Ok(count) => add(&self.connection.figures.sent_bytes, count as u64),
                    Err(error) => return Err(error),
                },
                () = self.mailbox.filled() => {
                    self.mailbox.take(&mut events);
                    self.on_events(&mut events);
                    // What the session left for want of an answer, it may take now.
                    if !input.is_empty() && self.may_read() {
                        self.session.received(self.gateway.clock.now(), &mut input, &mut self.out);
                    }
                }
                () = opened, if blocked => self.pump(),
                () = tokio::time::sleep(MEMORY_RETRY), if blocked => self.pump(),
                () = sleep_until(paced), if paced.is_some() => self.pump(),
                () = sleep_until(timeout), if timeout.is_some() => {
                    self.session.timeout(self.gateway.clock.now(), &mut self.out);
                }
                consumer = self.directory.gate().evicted(), if !evicted => {
                    evicted = true;
                    self.tell(Event::TakenOver { consumer });
                }
                reason = self.connection.told_to_close(), if !self.sent_away => {
                    self.sent_away = true;
                    self.session.handle(self.gateway.clock.now(), Event::ToldToClose { reason }, &mut self.out);
                }
                () = sleep_until(too_old), if too_old.is_some() => {
                    self.publisher.expire(self.gateway.clock.now(), &mut self.published);
                    self.pump();
                }
                reason = told_to_stop(&mut stopping), if !self.sent_away => {
                    self.sent_away = true;
                    self.session.handle(self.gateway.clock.now(), Event::Stopping { reason }, &mut self.out);
                }
            }
        }
    }

    /// Whether this connection may send more: its session wants it, and its window of unanswered publishes
    /// has room.
    fn may_read(&self) -> bool {
        if !self.session.wants_input() {
            return false;
        }
        let (messages, bytes) = self.publisher.load();
        let config = &self.gateway.config;
        let windows = if self.session.holds_senders_back() { HELD_BACK_WINDOWS } else { 1 };
        messages < config.publish_window_messages
            && bytes < config.publish_window_bytes
            && self.publisher.piece_bytes() < config.large_message_window_bytes.saturating_mul(windows)
    }

    /// Tells the session how much of its large bodies awaits its commit, if that has changed.
    fn tell_pieces(&mut self, unwritten: &mut WriteQueue) {
        let pending = self.publisher.piece_bytes();
        if pending != self.pieces_told {
            self.pieces_told = pending;
            self.session.pieces_pending(self.gateway.clock.now(), pending, &mut self.out);
            self.settle_output(unwritten);
        }
    }

    /// Carries what the session put out to where it goes. Carrying a request may put out more.
    fn settle_output(&mut self, unwritten: &mut WriteQueue) {
        loop {
            if !self.out.wire.is_empty() {
                unwritten.extend(self.out.wire.take());
            }
            if self.close.is_none() {
                self.close = self.out.close.take();
            }
            if self.out.actions.is_empty() {
                return;
            }
            self.note_peer();
            let actions = std::mem::take(&mut self.out.actions);
            self.request_all(actions);
            self.introduce();
            self.pump();
        }
    }

    /// Notes who the peer is, until it has said its client id.
    fn note_peer(&self) {
        let mut peer = self.connection.peer.lock();
        if peer.client_id.is_empty() {
            *peer = self.session.peer();
        }
    }

    /// Tells that the peer is there: once it was let in and, of several connections of a client, once the one before
    /// has left.
    fn introduce(&mut self) {
        if self.presence == Presence::Granted && !self.directory.is_fenced() {
            self.presence = Presence::Told;
            announce_presence(&self.gateway, &self.connection, None);
        }
    }

    fn pump(&mut self) {
        self.send_pieces();
        if self.publisher.is_blocked() {
            let taken_over = self.directory.gate().shut();
            let peer = self.connection.peer.lock();
            publisher::pump(&self.gateway, &mut self.publisher, &peer.client_id, *taken_over, &mut self.published);
        } else {
            publisher::carry_out(&self.gateway, &mut self.published);
        }
        self.give_answers();
    }

    fn give_answers(&mut self) {
        publisher::count(&self.gateway, &mut self.published);
        for why in self.published.beyond_limits.drain(..) {
            let client_id = self.connection.peer.lock().client_id.clone();
            tracing::warn!(id = self.id.0, %client_id, why, "transaction refused by a limit");
        }
        let now = self.gateway.clock.now();
        for event in self.published.answers.drain(..) {
            if let Event::Published { .. } = event {
                add(&self.connection.figures.published, 1);
            }
            self.session.handle(now, event, &mut self.out);
        }
    }

    fn on_event(&mut self, event: SessionEvent) {
        if let SessionEvent::Fenced { remembered, .. } = event {
            self.directory.on_part(&self.gateway, remembered);
            self.introduce();
            return;
        }
        let Some(event) = self.publisher.handle(event, &mut self.published) else { return self.pump() };
        match event {
            SessionEvent::Attached { consumer, result } => {
                let mut result = self.consumers.attached(&self.gateway, consumer, result);
                if let Ok(found) = &mut result {
                    self.gateway.settle_will(&found.queue, found.existed);
                    if found.existed {
                        found.fingerprints = self.directory.take_fingerprints();
                    }
                }
                self.tell(Event::Attached { consumer, result });
            }
            SessionEvent::Event(event) => {
                match &event {
                    Event::Deliver(delivery) => {
                        self.consumers.delivered(delivery.consumer, delivery.message.size_bytes());
                        if !self.consumers.reads_body(delivery.consumer) {
                            add(&self.connection.figures.delivered, 1);
                            add(&self.gateway.totals.delivered, 1);
                            self.has_served_others |= delivery.message.meta.large().is_none();
                        }
                    }
                    Event::Detached { consumer } | Event::TakenOver { consumer } | Event::Deleted { consumer } => {
                        self.consumers.remove(*consumer);
                    }
                    _ => {}
                }
                self.tell(event);
            }
            // The publisher has taken all others.
            _ => {}
        }
    }

    fn tell(&mut self, event: Event) {
        let introduced = matches!(event, Event::Authenticated(_));
        let granted = matches!(event, Event::Authenticated(Access::Granted(_)));
        self.session.handle(self.gateway.clock.now(), event, &mut self.out);
        if introduced {
            *self.connection.peer.lock() = self.session.peer();
        }
        if granted {
            self.presence = Presence::Granted;
            // Its first request introduces it, if there is none yet.
            if !self.connection.peer.lock().client_id.is_empty() && self.out.actions.is_empty() {
                self.introduce();
            }
        }
    }

    /// Writes the last words, within a bound, and shuts the socket.
    async fn farewell(
        &mut self,
        writer: &mut (impl AsyncWrite + Unpin),
        unwritten: &mut WriteQueue,
    ) -> std::io::Result<()> {
        let last_words = async {
            while !unwritten.is_empty() {
                unwritten.write_some(writer).await?;
            }
            writer.shutdown().await
        };
        // Who does not read them has been left already.
        let _ = tokio::time::timeout(FAREWELL, last_words).await;
        Ok(())
    }

    /// The connection is over: what it held goes back, its will is published unless it said goodbye.
    fn leave(&mut self, lost: Option<&std::io::Error>) {
        let goodbye = self.close == Some(Close::Goodbye);
        let peer = self.session.peer();
        match (&self.close, lost) {
            (Some(Close::Goodbye), _) => tracing::debug!(id = self.id.0, "disconnected"),
            (Some(close), _) => {
                let (client_id, remote) = (&peer.client_id, self.connection.remote);
                tracing::info!(id = self.id.0, %remote, %client_id, ?close, "connection closed");
            }
            (None, error) => {
                let error = error.map(std::string::ToString::to_string).unwrap_or_default();
                tracing::debug!(id = self.id.0, error, "connection lost");
            }
        }
        self.session.leaving(&mut self.out);
        let actions = std::mem::take(&mut self.out.actions);
        self.request_all(actions);
        if let Some(will) = self.will.take().filter(|_| !goodbye) {
            self.publish_will(*will);
        }
        if self.presence == Presence::Told {
            let reason = match &self.close {
                Some(Close::Goodbye) => "goodbye",
                Some(Close::ProtocolError(_)) => "protocol error",
                Some(Close::Unauthorized) => "unauthorized",
                Some(Close::Silent) => "silent",
                Some(Close::TakenOver) => "taken over",
                Some(Close::Gateway(_)) => "closed by the gateway",
                None => "connection lost",
            };
            announce_presence(&self.gateway, &self.connection, Some(reason));
        }
        self.publisher.end(&mut self.published);
        publisher::carry_out(&self.gateway, &mut self.published);
        publisher::count(&self.gateway, &mut self.published);
        self.directory.end(&self.gateway, !goodbye && !self.sent_away);
        self.gateway.close_session(self.id);
    }
}

async fn told_to_stop(stopping: &mut watch::Receiver<Option<Arc<str>>>) -> Arc<str> {
    // The value is borrowed from the channel: it must not be held across the await below.
    let told = stopping.wait_for(Option::is_some).await.map(|reason| reason.clone().unwrap_or_default());
    match told {
        Ok(reason) => reason,
        Err(_) => std::future::pending().await,
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
