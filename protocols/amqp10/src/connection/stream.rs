//! A delivery whose body is too large for memory: a reader of its pieces, a few of them at a time.

use std::collections::VecDeque;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use bytes::Bytes;
use evergate_model::{Action, Attach, ConsumerId, Credit, Delivery, Encoding, Message, Outcome, Output, Seq, Time};

use super::AmqpSession;
use super::channel::Channel;
use super::context::{Context, Place, Reading};
use super::outgoing::{Outgoing, settle};
use crate::message::{Framing, Payload};

/// Pieces that the gateway may give us beyond those that have gone to the client.
const PIECES_AHEAD: u64 = 2;

/// The body of the delivery that a link is sending.
pub(super) struct Stream {
    /// The number of the delivery, and its place in the queue.
    number: u64,
    seq: Seq,
    /// Reads the pieces, until all have come.
    reader: Option<ConsumerId>,
    /// For a body of another protocol.
    framing: Option<Framing>,
    /// Bytes of pieces that have not come.
    left: u64,
    /// Came and did not go.
    pieces: VecDeque<Bytes>,
    /// What the link is sending is a piece, and not what stands before the body.
    in_piece: bool,
    /// Pieces that have gone.
    passed_on: u64,
    /// There will be no more. The client must be told.
    given_up: bool,
}

/// The gateway cannot give a body now.
pub(super) const FAILED: Outcome = Outcome::Modify { failed: true, undeliverable_here: false };

/// What a large body adds to a message, as it goes to a client.
pub(super) fn framed_bytes(message: &Message) -> u64 {
    match message.meta.large() {
        None => 0,
        Some(body) if message.encoding == Encoding::Amqp10 => body.bytes,
        Some(body) => Framing::framed_bytes(body.payload_bytes),
    }
}

impl Stream {
    /// Asks for the body of a message that has a large one. `number`: of its delivery, for which place in the queue.
    pub fn start(
        (number, seq): (u64, Seq),
        place: Place,
        message: &Arc<Message>,
        context: &mut Context,
        out: &mut Output,
    ) -> Option<Self> {
        let body = message.meta.large()?;
        let reader = context.next_link()?.consumer();
        context.readers.insert(reader, Reading { place, _message: message.clone() });
        out.actions.push(Action::Attach(Attach::body(reader, body)));
        let framing = (message.encoding != Encoding::Amqp10)
            .then(|| Framing::new(context.formats.content(message.encoding), body.payload_bytes));
        Some(Self {
            number,
            seq,
            reader: Some(reader),
            framing,
            left: body.bytes,
            pieces: VecDeque::new(),
            in_piece: false,
            passed_on: 0,
            given_up: false,
        })
    }

    /// Whether there is something to send.
    pub fn is_ready(&self) -> bool {
        self.given_up || !self.pieces.is_empty()
    }

    /// Whether something follows what is being sent.
    pub fn has_more(&self) -> bool {
        self.left > 0 || !self.pieces.is_empty()
    }

    pub fn is_given_up(&self) -> bool {
        self.given_up
    }

    /// The next piece, to be sent.
    pub fn next_piece(&mut self) -> Option<Payload> {
        let piece = self.pieces.pop_front()?;
        self.in_piece = true;
        Some(Payload::piece(match &mut self.framing {
            None => VecDeque::from([piece]),
            Some(framing) => framing.frame(&piece),
        }))
    }

    /// What was being sent has gone: there is room for more.
    pub fn passed_on(&mut self, out: &mut Output) {
        if std::mem::take(&mut self.in_piece) {
            self.passed_on += 1;
            self.give_credit(out);
        }
    }

    fn give_credit(&self, out: &mut Output) {
        if let Some(consumer) = self.reader {
            let limit = self.passed_on + PIECES_AHEAD;
            out.actions.push(Action::Credit(Credit { consumer, limit, drain: false }));
        }
    }

    /// Takes a piece; after the last one the reader is of no more use.
    fn take(&mut self, mut piece: Bytes, out: &mut Output) {
        piece.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left -= piece.len() as u64;
        if self.left == 0 {
            self.detach(out);
        }
        self.pieces.push_back(piece);
    }

    pub fn detach(&mut self, out: &mut Output) {
        if let Some(consumer) = self.reader.take() {
            out.actions.push(Action::Detach { consumer, delete: false, lifetime: None });
        }
    }
}

impl Outgoing {
    /// The delivery that is being sent is not sent to its end, if it is one of these. True: it was.
    pub fn give_up(&mut self, numbers: (u64, u64), out: &mut Output) -> bool {
        match &mut self.stream {
            Some(stream) if (numbers.0..=numbers.1).contains(&stream.number) => {
                stream.detach(out);
                stream.pieces.clear();
                stream.given_up = true;
                self.partial = None;
                true
            }
            _ => false,
        }
    }

    fn stream_of(&mut self, reader: ConsumerId) -> Option<&mut Stream> {
        self.stream.as_deref_mut().filter(|stream| stream.reader == Some(reader))
    }
}

impl AmqpSession {
    /// The gateway has found a body.
    pub(super) fn reader_attached(&mut self, reader: ConsumerId, out: &mut Output) {
        let Some(place) = self.context.readers.get(&reader).map(|reading| reading.place) else { return };
        if let Some((channel, _)) = self.channel(place.channel)
            && let Some(stream) = channel.outgoing(place).and_then(|link| link.stream_of(reader))
        {
            stream.give_credit(out);
        }
    }

    /// A piece of a body.
    pub(super) fn piece(&mut self, now: Time, delivery: &Delivery, out: &mut Output) {
        let Some(place) = self.context.readers.get(&delivery.consumer).map(|reading| reading.place) else { return };
        if let Some((channel, context)) = self.channel(place.channel)
            && let Some(stream) = channel.outgoing(place).and_then(|link| link.stream_of(delivery.consumer))
        {
            stream.take(delivery.message.body.clone(), out);
            channel.pump(now, place.handle, context, out);
        }
    }

    /// The gateway does not give the body: the client is told, and the queue hears the outcome.
    pub(super) fn reader_lost(&mut self, now: Time, reader: ConsumerId, outcome: Outcome, out: &mut Output) {
        let Some(Reading { place, .. }) = self.context.readers.remove(&reader) else { return };
        if let Some((channel, context)) = self.channel(place.channel) {
            channel.fail(place, reader, outcome, context, out);
            channel.pump(now, place.handle, context, out);
        }
    }
}

impl Channel {
    /// The delivery that this reader was for cannot be completed.
    fn fail(&mut self, place: Place, reader: ConsumerId, outcome: Outcome, context: &mut Context, out: &mut Output) {
        let Some(link) = self.outgoing(place) else { return };
        let Some(stream) = link.stream_of(reader) else { return };
        stream.reader = None;
        let (number, seq) = (stream.number, stream.seq);
        link.give_up((number, number), out);
        if link.settled && !link.browse {
            out.actions.push(settle(link.id.consumer(), seq, outcome));
            return;
        }
        // What a transaction holds is its to decide.
        let Entry::Occupied(entry) = self.unsettled.entry(number) else { return };
        if entry.get().retired.is_some() {
            return;
        }
        let unsettled = entry.remove();
        let Some(link) = self.outgoing(place) else { return };
        if !unsettled.browse {
            out.actions.push(settle(link.id.consumer(), unsettled.seq, outcome));
        }
        link.settled_some(1, context, out);
    }
}

#[cfg(test)]
impl super::channel::Link {
    /// Bytes of a large body that are here.
    pub fn held_bytes(&self) -> usize {
        let Self::Outgoing(link) = self else { return 0 };
        let pieces = link.stream.iter().flat_map(|stream| &stream.pieces).map(Bytes::len);
        pieces.sum::<usize>() + link.partial.as_ref().map_or(0, Payload::len)
    }
}
