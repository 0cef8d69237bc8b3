//! Bodies that are too large for memory, on their way in: cut into pieces, which are published to a queue of their
//! own. The message follows when all of them are committed.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use evergate_model::{Address, Encoding, IdMap, LargeBody, LargeEnd, Message, Meta, PublishError, Token};

use super::{InLine, Publisher, Waiting};

/// How bodies are cut, and how large they may be.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimits {
    /// Bytes of a piece.
    pub piece_bytes: usize,
    /// Bytes of all of it.
    pub bytes_max: u64,
}

/// The tokens of pieces count from here: no session counts so far.
const FIRST_PIECE: u64 = 1 << 63;

/// Of one session.
#[derive(Debug)]
pub(super) struct Bodies {
    all: IdMap<Token, Body>,
    /// Pieces that are not answered, and whose they are.
    pieces: IdMap<Token, Token>,
    next_piece: u64,
    /// Bytes of those.
    pub(super) bytes: u64,
    /// The pieces that are on their way to the journal: every commit of everybody may carry them.
    under_way: Vec<Token>,
    /// Those behind them.
    later: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Body {
    /// Until its message takes it.
    large: Option<LargeBody>,
    /// What is no whole piece yet.
    rest: BytesMut,
    /// Pieces that are not answered.
    unanswered: usize,
    error: Option<PublishError>,
    /// Nobody will ask what became of it.
    abandoned: bool,
}

impl Default for Bodies {
    fn default() -> Self {
        Self {
            all: IdMap::default(),
            pieces: IdMap::default(),
            next_piece: FIRST_PIECE,
            bytes: 0,
            under_way: Vec::new(),
            later: VecDeque::new(),
        }
    }
}

impl Bodies {
    /// Whether some pieces of it are not committed.
    pub fn is_pending(&self, body: Token) -> bool {
        self.all.get(&body).is_some_and(|body| body.unanswered > 0)
    }

    /// Whether the token is a piece's.
    pub fn is_piece(&self, token: Token) -> bool {
        token.0 >= FIRST_PIECE && self.pieces.contains_key(&token)
    }

    /// A body all of whose pieces are answered: whether they are kept. The body is the message's from now on.
    pub fn take(&mut self, body: Token) -> Result<(), PublishError> {
        self.all.remove(&body).and_then(|body| body.error).map_or(Ok(()), Err)
    }

    /// A piece is answered, or will not be sent. The next may go.
    pub(super) fn answered(&mut self, piece: Token, size_bytes: u64, error: Option<PublishError>) {
        let Some(token) = self.pieces.remove(&piece) else { return };
        self.bytes -= size_bytes;
        self.under_way.retain(|under_way| *under_way != piece);
        let Some(body) = self.all.get_mut(&token) else { return };
        body.unanswered -= 1;
        if error.is_some() {
            body.error = error;
        }
        if body.abandoned && body.unanswered == 0 {
            self.all.remove(&token);
        }
    }
}

impl Publisher {
    /// Adds bytes to a body; `begin` makes a new one, still without any. Returns the pieces that are whole: the
    /// caller gives each its id and hands it to `submit_piece`. Over the limit nothing is kept any more, and the
    /// message will be refused.
    pub fn add_to_body(
        &mut self,
        body: Token,
        bytes: &Bytes,
        limits: BodyLimits,
        begin: impl FnOnce() -> LargeBody,
    ) -> Vec<Message> {
        let new = || Body { large: Some(begin()), rest: BytesMut::new(), unanswered: 0, error: None, abandoned: false };
        let incoming = self.bodies.all.entry(body).or_insert_with(new);
        let Some(large) = &mut incoming.large else { return Vec::new() };
        large.bytes += bytes.len() as u64;
        let limit_bytes = limits.bytes_max;
        if large.bytes > limit_bytes {
            incoming.error.get_or_insert(PublishError::TooLarge { limit_bytes });
        }
        if incoming.error.is_some() {
            incoming.rest = BytesMut::new();
            return Vec::new();
        }
        incoming.rest.extend_from_slice(bytes);
        let name = large.queue.clone();
        let mut pieces = Vec::new();
        while incoming.rest.len() >= limits.piece_bytes {
            pieces.push(piece(&name, incoming.rest.split_to(limits.piece_bytes).freeze()));
        }
        pieces
    }

    /// Takes a piece. `send_piece` puts it in line.
    pub fn submit_piece(&mut self, body: Token, message: Arc<Message>) {
        let Some(incoming) = self.bodies.all.get_mut(&body) else { return };
        incoming.unanswered += 1;
        let token = Token(self.bodies.next_piece);
        self.bodies.next_piece += 1;
        self.bodies.pieces.insert(token, body);
        self.bodies.bytes += message.size_bytes();
        self.bytes += message.size_bytes();
        self.bodies.later.push_back(Waiting { token, message, retain: false, mark: None, body: None });
    }

    /// Bytes of the piece that goes next, if one waits and less than `at_once` are under way.
    pub fn next_piece_bytes(&self, at_once: usize) -> Option<u64> {
        let next = self.bodies.later.front().filter(|_| self.bodies.under_way.len() < at_once)?;
        Some(next.message.size_bytes())
    }

    /// Whether pieces were sent on and are not answered.
    pub fn has_pieces_under_way(&self) -> bool {
        !self.bodies.under_way.is_empty()
    }

    /// Puts the next piece in line: when is the caller's choice. `pump` sends it on.
    pub fn send_piece(&mut self) {
        if let Some(next) = self.bodies.later.pop_front() {
            self.bodies.under_way.push(next.token);
            self.waiting.push_back(InLine::Message(next));
        }
    }

    /// All bytes of a body are there. Its last piece is returned, for `submit_piece`, before the message is
    /// submitted with the same number in `Waiting::body`.
    pub fn end_body(&mut self, end: LargeEnd, message: &mut Message) -> Option<Message> {
        let incoming = self.bodies.all.get_mut(&end.body)?;
        let mut large = incoming.large.take()?;
        large.payload_bytes = end.payload_bytes;
        let rest = std::mem::take(&mut incoming.rest).freeze();
        let last = (!rest.is_empty()).then(|| piece(&large.queue, rest));
        message.meta.rare_mut().large = Some(Arc::new(large));
        last
    }

    /// No message follows, or it was refused: the pieces are of no use.
    pub fn abandon_body(&mut self, body: Token) {
        let bodies = &mut self.bodies;
        let Some(incoming) = bodies.all.get_mut(&body) else { return };
        incoming.abandoned = true;
        let pieces = &bodies.pieces;
        let mut dropped = Vec::new();
        let mut stays = |waiting: &Waiting| {
            let is_dropped = pieces.get(&waiting.token) == Some(&body);
            if is_dropped {
                dropped.push((waiting.token, waiting.message.size_bytes()));
            }
            !is_dropped
        };
        bodies.later.retain(&mut stays);
        self.waiting.retain(|next| match next {
            InLine::Message(waiting) => stays(waiting),
            InLine::Commit { .. } => true,
        });
        if incoming.unanswered == 0 {
            bodies.all.remove(&body);
        }
        for (token, size_bytes) in dropped {
            self.bytes -= size_bytes;
            bodies.answered(token, size_bytes, None);
        }
    }

    /// Bytes of pieces that are not committed.
    pub fn piece_bytes(&self) -> u64 {
        self.bodies.bytes
    }
}

fn piece(queue: &Arc<str>, bytes: Bytes) -> Message {
    let mut meta = Meta::new(Address::queue(queue.clone()));
    // Whatever the message is: what is not in memory is in the journal. A restart drops what no message names.
    meta.durable = true;
    Message::new(meta, Encoding::Plain, Bytes::new(), bytes)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use evergate_model::{Mark, MessageId, OnRelease, QueueId};

    use super::*;
    use crate::effect::{SessionEvent, SessionId, ShardId};
    use crate::publisher::{Out, PublisherEffect, Surroundings, TransactionLimits};
    use crate::routes::{Routes, Target};
    use crate::shard::ShardCommand;

    const LIMITS: BodyLimits = BodyLimits { piece_bytes: 10, bytes_max: 1000 };

    struct Bench {
        publisher: Publisher,
        routes: Routes,
        at_once: usize,
        taken_over: bool,
    }

    impl Bench {
        fn new() -> Self {
            let limits = TransactionLimits {
                messages_max: 1,
                bytes_max: 1,
                age_max: Duration::from_secs(1),
                per_session_max: 1,
            };
            let mut routes = Routes::default();
            for body in 1..=2 {
                let target = Target { shard: ShardId(0), queue: QueueId(body), durable: true, at_most_once: false };
                routes.add_queue(format!("$body/{body}").into(), target);
            }
            Self { publisher: Publisher::new(SessionId(1), limits), routes, at_once: 1, taken_over: false }
        }

        /// Passes on `bytes` of a body.
        fn add(&mut self, body: u64, bytes: usize) {
            let begin = || LargeBody::new(format!("$body/{body}").into(), 0, 0, OnRelease::default());
            let bytes = vec![7; bytes].into();
            for mut message in self.publisher.add_to_body(Token(body), &bytes, LIMITS, begin) {
                message.meta.id = MessageId(1);
                self.publisher.submit_piece(Token(body), Arc::new(message));
            }
        }

        /// The pieces that are sent on, by the number of their body.
        fn sent(&mut self) -> Vec<(Token, u64)> {
            let mut out = Out::default();
            while self.publisher.next_piece_bytes(self.at_once).is_some() {
                self.publisher.send_piece();
            }
            let around = Surroundings {
                routes: &self.routes,
                client_id: "",
                taken_over: self.taken_over,
                memory_is_exhausted: false,
            };
            self.publisher.pump(around, &mut out);
            let sent = out.effects.into_iter().map(|effect| match effect {
                PublisherEffect::Publish(_, ShardCommand::Publish { answer: Some((_, token)), message, .. }) => {
                    (token, u64::from(message.meta.address.name.ends_with('2')) + 1)
                }
                other => panic!("not expected: {other:?}"),
            });
            sent.collect()
        }

        fn answer(&mut self, token: Token) {
            let answer = SessionEvent::PublishPart { token, reached: 1, error: None };
            self.publisher.handle(answer, &mut Out::default());
        }
    }

    #[test]
    fn no_more_pieces_of_a_connection_are_under_way_than_may_be_in_the_order_they_came() {
        let mut bench = Bench::new();
        bench.at_once = 2;
        bench.add(1, 45);
        let [(first, 1), (second, 1)] = bench.sent()[..] else { panic!("two") };
        assert_eq!(bench.sent(), []);
        bench.answer(second);
        let [(third, 1)] = bench.sent()[..] else { panic!("one") };
        assert!(first < second && second < third);
        bench.at_once = 1;
        bench.answer(third);
        assert_eq!(bench.sent(), []);
        bench.answer(first);
        assert_eq!(bench.sent().len(), 1);
    }

    #[test]
    fn pieces_go_one_by_one_in_the_order_they_came() {
        let mut bench = Bench::new();
        bench.add(1, 25);
        bench.add(2, 10);
        bench.add(1, 5);
        let mut order = Vec::new();
        while let [(token, body)] = bench.sent()[..] {
            assert_eq!(bench.sent(), [], "before it is answered");
            order.push(body);
            assert!(bench.publisher.piece_bytes() > 0);
            bench.answer(token);
        }
        assert_eq!(order, [1, 1, 2, 1]);
        assert_eq!((bench.publisher.piece_bytes(), bench.publisher.load()), (0, (0, 0)));
    }

    #[test]
    fn pieces_of_a_body_that_is_abandoned_make_way_for_the_others() {
        for was_sent in [false, true] {
            let mut bench = Bench::new();
            bench.add(1, 30);
            bench.add(2, 10);
            let sent = if was_sent { bench.sent() } else { Vec::new() };
            bench.publisher.abandon_body(Token(1));
            for (token, _) in sent {
                assert_eq!(bench.sent(), []);
                bench.answer(token);
            }
            let [(token, 2)] = bench.sent()[..] else { panic!("the other body's piece follows") };
            bench.answer(token);
            assert_eq!((bench.publisher.piece_bytes(), bench.publisher.load()), (0, (0, 0)));
        }
    }

    /// Simulator, seed 2915: a piece that came after its message was dropped made the body's queue anew.
    #[test]
    fn pieces_of_a_message_that_is_dropped_are_not_sent() {
        let mut bench = Bench::new();
        bench.add(1, 30);
        let [(first, 1)] = bench.sent()[..] else { panic!("one") };
        let message = Arc::new(piece(&"q".into(), Bytes::new()));
        let mark = Some((ShardId(0), QueueId(9), Mark::Number(1)));
        bench.publisher.submit(Waiting { token: Token(5), message, retain: false, mark, body: Some(Token(1)) });
        bench.taken_over = true;
        assert_eq!(bench.sent(), [], "the message is dropped");
        bench.answer(first);
        assert_eq!(bench.sent(), []);
        assert_eq!((bench.publisher.piece_bytes(), bench.publisher.load()), (0, (0, 0)));
    }
}
