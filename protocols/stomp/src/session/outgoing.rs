//! MESSAGE frames whose bodies are too large for memory. Such a frame is written as its pieces come from the gateway.
//! Frames do not mix: all else that there is to write waits behind it, in order.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::{BufMut, Bytes};
use evergate_model::{
    Action, Attach, AttachError, Close, ConsumerId, ContentReader, Credit, Event, Message, Outcome, Output, Seq,
    Settle, Wire,
};

use super::fault::Fault;
use super::subscription::{Browsing, Phase as SubscriptionPhase};
use super::{Phase, StompSession};

/// Pieces that may be on their way from the gateway.
const PIECES_AHEAD: u64 = 2;

/// While so many bytes of RECEIPT frames wait behind a large one, the client is not read. Deliveries that wait are
/// bounded by their consumers' windows.
const RECEIPT_BYTES_MAX: usize = 256 << 10;

/// A large message for a subscription.
pub(super) struct LargeMessage {
    /// The subscription.
    pub(super) consumer: ConsumerId,
    /// Its place in the queue.
    pub(super) seq: Seq,
    /// The MESSAGE frame up to its body.
    pub(super) head: Bytes,
    pub(super) message: Arc<Message>,
}

/// A large MESSAGE frame on its way.
struct LargeFrame {
    /// The subscription, and the place in its queue.
    consumer: ConsumerId,
    seq: Seq,
    /// Reads the body's pieces.
    reader: ConsumerId,
    /// Keeps the body from being deleted.
    message: Arc<Message>,
    /// Until the first piece is there; from then on the frame must be finished, or the connection closed.
    head: Option<Bytes>,
    content: Box<dyn ContentReader>,
    /// Bytes of content that are to be written.
    unwritten: u64,
    /// Bytes of the stored body that are to come.
    unread: u64,
    pieces: u64,
}

enum Behind {
    Frames {
        wire: Wire,
        /// Bytes of RECEIPT frames among them.
        receipt_bytes: usize,
    },
    Large(LargeMessage),
}

/// What the client is sent, as far as it cannot be written at once.
#[derive(Default)]
pub(super) struct Outgoing {
    current: Option<LargeFrame>,
    /// Empty while there is no current one.
    behind: VecDeque<Behind>,
    receipt_bytes: usize,
    /// The messages of frames that are done, until their readers have detached.
    done: HashMap<ConsumerId, Arc<Message>>,
    /// Told after the current frame, before the close.
    last_words: Option<Fault>,
}

impl Outgoing {
    /// Where to write: to the client, or behind the large frame that is on its way.
    pub(super) fn wire<'a>(&'a mut self, direct: &'a mut Wire) -> &'a mut Wire {
        if self.current.is_none() {
            return direct;
        }
        if !matches!(self.behind.back(), Some(Behind::Frames { .. })) {
            self.behind.push_back(Behind::Frames { wire: Wire::default(), receipt_bytes: 0 });
        }
        match self.behind.back_mut() {
            Some(Behind::Frames { wire, .. }) => wire,
            _ => direct, // not reached
        }
    }

    /// Counts a RECEIPT frame that was written.
    pub(super) fn count_receipt(&mut self, bytes: usize) {
        if let Some(Behind::Frames { receipt_bytes, .. }) = self.behind.back_mut() {
            *receipt_bytes += bytes;
            self.receipt_bytes += bytes;
        }
    }

    /// Whether the client must not ask for more receipts now.
    pub(super) fn is_full(&self) -> bool {
        self.receipt_bytes >= RECEIPT_BYTES_MAX
    }

    /// Whether everything is written.
    pub(super) fn is_idle(&self) -> bool {
        self.current.is_none()
    }

    /// Whether what is written next belongs to a frame that has begun.
    pub(super) fn is_within_frame(&self) -> bool {
        self.current.as_ref().is_some_and(|frame| frame.head.is_none())
    }

    /// Whether what this consumer is sent may wait here.
    pub(super) fn holds_back(&self, consumer: ConsumerId) -> bool {
        self.current.as_ref().is_some_and(|frame| frame.reader != consumer)
    }

    fn is_reader(&self, consumer: ConsumerId) -> bool {
        self.current.as_ref().is_some_and(|frame| frame.reader == consumer)
    }

    /// A reader has detached.
    pub(super) fn on_detached(&mut self, consumer: ConsumerId) {
        self.done.remove(&consumer);
    }

    /// Gives the current frame up: what waits behind it is written, but for further large ones.
    fn give_up(&mut self, out: &mut Output) {
        self.current = None;
        self.receipt_bytes = 0;
        for behind in self.behind.drain(..) {
            if let Behind::Frames { wire, .. } = behind {
                append(wire, &mut out.wire);
            }
        }
    }
}

fn append(mut wire: Wire, to: &mut Wire) {
    for segment in wire.take() {
        to.push(&segment);
    }
}

impl StompSession {
    /// Sends a large message, now or in its turn.
    pub(super) fn send_large(&mut self, large: LargeMessage, out: &mut Output) {
        if self.outgoing.is_idle() {
            self.begin_large(large, out);
        } else {
            self.outgoing.behind.push_back(Behind::Large(large));
        }
    }

    fn begin_large(&mut self, large: LargeMessage, out: &mut Output) {
        let LargeMessage { consumer, seq, head, message } = large;
        let Some(body) = message.meta.large().cloned() else { return };
        let reader = self.new_consumer();
        out.actions.push(Action::Attach(Attach::body(reader, &body)));
        out.actions.push(Action::Credit(Credit { consumer: reader, limit: PIECES_AHEAD, drain: false }));
        self.outgoing.current = Some(LargeFrame {
            consumer,
            seq,
            reader,
            content: self.formats.content(message.encoding),
            message,
            head: Some(head),
            unwritten: body.payload_bytes,
            unread: body.bytes,
            pieces: 0,
        });
    }

    /// Takes an event that is for the reader of the current frame; gives others back.
    pub(super) fn on_reader_event(&mut self, event: Event, out: &mut Output) -> Option<Event> {
        match event {
            Event::Deliver(delivery) if self.outgoing.is_reader(delivery.consumer) => {
                self.on_stored_piece(&delivery.message.body, out);
            }
            Event::Attached { consumer, result } if self.outgoing.is_reader(consumer) => match result {
                Ok(_) => {}
                Err(AttachError::NotFound) => self.on_unreadable(&AttachError::NotFound, out),
                Err(reason) => self.cannot_finish(&reason, out),
            },
            Event::Deleted { consumer } if self.outgoing.is_reader(consumer) => {
                out.actions.push(Action::Detach { consumer, delete: false, lifetime: None });
                self.on_unreadable(&AttachError::NotFound, out);
            }
            other => return Some(other),
        }
        None
    }

    fn on_stored_piece(&mut self, piece: &Bytes, out: &mut Output) {
        let Some(frame) = &mut self.outgoing.current else { return };
        if let Some(head) = frame.head.take() {
            out.wire.push(&head);
        }
        let (unwritten, wire) = (&mut frame.unwritten, &mut out.wire);
        frame.content.read(piece, &mut |mut content| {
            // Never more than content-length says.
            content.truncate(usize::try_from(*unwritten).unwrap_or(usize::MAX));
            *unwritten -= content.len() as u64;
            wire.push(&content);
        });
        frame.unread = frame.unread.saturating_sub(piece.len() as u64);
        frame.pieces += 1;
        if frame.unwritten == 0 {
            self.end_large(out);
        } else if frame.unread == 0 {
            self.on_unreadable(&"it is shorter than it was", out);
        } else {
            let limit = frame.pieces + PIECES_AHEAD;
            out.actions.push(Action::Credit(Credit { consumer: frame.reader, limit, drain: false }));
        }
    }

    fn end_large(&mut self, out: &mut Output) {
        let Some(frame) = self.outgoing.current.take() else { return };
        out.wire.tail().put_u8(0);
        out.actions.push(Action::Detach { consumer: frame.reader, delete: false, lifetime: None });
        self.outgoing.done.insert(frame.reader, frame.message);
        if let Some(fault) = self.outgoing.last_words.take() {
            return self.fail(fault, out);
        }
        self.go_on(out);
    }

    /// Writes what waited behind a large frame.
    fn go_on(&mut self, out: &mut Output) {
        while self.outgoing.is_idle() {
            match self.outgoing.behind.pop_front() {
                None => break,
                Some(Behind::Frames { wire, receipt_bytes }) => {
                    self.outgoing.receipt_bytes -= receipt_bytes;
                    append(wire, &mut out.wire);
                }
                Some(Behind::Large(large)) => {
                    // Who has unsubscribed meanwhile could not acknowledge it: it went back to its queue.
                    let subscription = self.subscriptions.get(&large.consumer);
                    if subscription.is_some_and(|found| found.phase == SubscriptionPhase::Attached) {
                        self.begin_large(large, out);
                    }
                }
            }
        }
    }

    /// The body is not there, or not whole, and will not be the next time either: the queue is told. The client goes on with
    /// what follows, unless it has the beginning of this one.
    fn on_unreadable(&mut self, reason: &dyn std::fmt::Display, out: &mut Output) {
        let Some(LargeFrame { consumer, seq, .. }) = self.outgoing.current else { return };
        let subscription = self.subscriptions.get_mut(&consumer);
        if let Some(subscription) = subscription.filter(|found| found.phase == SubscriptionPhase::Attached) {
            if subscription.browsing == Browsing::No {
                out.actions.push(Action::Settle(Settle::new(consumer, seq, seq, Outcome::Unreadable)));
            }
            subscription.skip(seq);
            out.actions.extend(subscription.new_credit(consumer).map(Action::Credit));
        }
        if self.outgoing.is_within_frame() {
            return self.cannot_finish(reason, out);
        }
        self.outgoing.current = None;
        self.go_on(out);
    }

    /// The frame cannot be completed.
    fn cannot_finish(&mut self, reason: &dyn std::fmt::Display, out: &mut Output) {
        let text = format!("the body of a large message cannot be read: {reason}");
        self.outgoing.last_words = None;
        self.fail(Fault::refused(&text).with_close(Close::Gateway(text)), out);
    }

    /// Tells the peer and closes: behind the large frame that is on its way, if that can be finished.
    pub(super) fn fail(&mut self, fault: Fault, out: &mut Output) {
        self.abandon(out);
        self.stalled = None;
        self.held.clear();
        if self.outgoing.is_within_frame() {
            if matches!(fault.close, Close::ProtocolError(_)) {
                self.phase = Phase::Failing;
                self.outgoing.last_words = Some(fault);
                return;
            }
        } else {
            self.outgoing.give_up(out);
            fault.encode(self.version, out.wire.tail());
        }
        self.phase = Phase::Closed;
        out.close = Some(fault.close);
    }
}
