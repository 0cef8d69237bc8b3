//! Bodies that are too large for memory, on their way in: cut into pieces, which are published to a queue of their
//! own. The message follows when all of them are committed.

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
        Self { all: IdMap::default(), pieces: IdMap::default(), next_piece: FIRST_PIECE, bytes: 0 }
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

    /// A piece is answered.
    pub fn answered(&mut self, piece: Token, size_bytes: u64, error: Option<PublishError>) {
        let Some(token) = self.pieces.remove(&piece) else { return };
        self.bytes -= size_bytes;
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

    /// Takes a piece. `pump` sends it on.
    pub fn submit_piece(&mut self, body: Token, message: Arc<Message>) {
        let Some(incoming) = self.bodies.all.get_mut(&body) else { return };
        incoming.unanswered += 1;
        let token = Token(self.bodies.next_piece);
        self.bodies.next_piece += 1;
        self.bodies.pieces.insert(token, body);
        self.bodies.bytes += message.size_bytes();
        self.submit(Waiting { token, message, retain: false, mark: None, body: None });
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
        let mut dropped = Vec::new();
        let bytes = &mut self.bytes;
        self.waiting.retain(|next| match next {
            InLine::Message(waiting) if bodies.pieces.get(&waiting.token) == Some(&body) => {
                *bytes -= waiting.message.size_bytes();
                dropped.push((waiting.token, waiting.message.size_bytes()));
                false
            }
            _ => true,
        });
        if incoming.unanswered == 0 {
            bodies.all.remove(&body);
        }
        for (token, size_bytes) in dropped {
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
