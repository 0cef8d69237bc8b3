//! What all channels of a connection share.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::BytesMut;
use evergate_model::{ConsumerId, Formats, Message, Outcome, Output, Token, TransactionId};

use super::stall::Unfinished;
use super::transactions::Transactions;
use crate::config::AmqpConfig;
use crate::error::AmqpError;
use crate::performative::{put_outcome, put_transactional, write_disposition};

/// Our number for a link. A consumer's id is its link's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct LinkId(pub u32);

impl LinkId {
    pub fn consumer(self) -> ConsumerId {
        ConsumerId(self.0)
    }
}

/// Where a link is. The id tells it from later links in the same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub channel: u16,
    pub handle: u32,
    pub link: LinkId,
}

/// A publish that awaits its answer.
#[derive(Debug)]
pub(super) struct Publishing {
    pub place: Place,
    pub delivery_id: u32,
    pub settled: bool,
    pub transaction: Option<TransactionId>,
}

/// A reader of a large body.
pub(super) struct Reading {
    /// The link that the body goes to.
    pub place: Place,
    /// Keeps the body, until the reader is detached.
    pub _message: Arc<Message>,
}

/// Settled deliveries whose commit the consumer wants to hear of.
#[derive(Debug)]
pub(super) struct Settling {
    pub channel: u16,
    pub epoch: u32,
    pub first: u32,
    pub last: u32,
    pub outcome: Outcome,
}

/// The disposition written last, while nothing was written after it.
#[derive(Debug)]
struct LastConfirm {
    channel: u16,
    transaction: Option<TransactionId>,
    first: u32,
    last: u32,
    /// Where it begins and ends in the output's tail.
    at: usize,
    end: usize,
}

pub(super) struct Context {
    pub config: AmqpConfig,
    pub formats: Formats,
    pub conn_id: u64,
    /// The peer's container-id.
    pub container_id: Arc<str>,
    /// The peer's limit on frames.
    pub frame_bytes_max: usize,
    /// Bytes of messages that have arrived in part.
    pub assembly_bytes: u64,
    pub publishing: HashMap<Token, Publishing>,
    pub settling: HashMap<Token, Settling>,
    pub consumers: HashMap<ConsumerId, Place>,
    /// Those that read bodies in pieces. Their ids are links' ids that no link has.
    pub readers: HashMap<ConsumerId, Reading>,
    /// The delivery whose next frame is awaited, of those that have begun the one that came last.
    pub unfinished: Option<Unfinished>,
    /// Links by name and the client's role: attaching a name again steals it (2.6.1).
    pub names: HashMap<(Arc<str>, bool), Place>,
    pub transactions: Transactions,
    last_token: u64,
    last_link: u32,
    pub last_epoch: u32,
    confirm: Option<LastConfirm>,
}

impl Context {
    pub fn new(config: AmqpConfig, formats: Formats, conn_id: u64) -> Self {
        Self {
            config,
            formats,
            conn_id,
            container_id: "".into(),
            frame_bytes_max: 512,
            assembly_bytes: 0,
            publishing: HashMap::new(),
            settling: HashMap::new(),
            consumers: HashMap::new(),
            readers: HashMap::new(),
            unfinished: None,
            names: HashMap::new(),
            transactions: Transactions::default(),
            last_token: 0,
            last_link: 0,
            last_epoch: 0,
            confirm: None,
        }
    }

    pub fn next_token(&mut self) -> Token {
        self.last_token += 1;
        Token(self.last_token)
    }

    /// `None`: four thousand million links is enough for one connection.
    pub fn next_link(&mut self) -> Option<LinkId> {
        self.last_link = self.last_link.checked_add(1)?;
        Some(LinkId(self.last_link))
    }

    /// The buffer for a frame.
    pub fn buf<'o>(&mut self, out: &'o mut Output) -> &'o mut BytesMut {
        self.confirm = None;
        out.wire.tail()
    }

    /// Accepts a delivery that we received. Neighbours that are confirmed one after the other share one
    /// disposition: the frame before is widened while it is still the last thing in the buffer.
    pub fn confirm(&mut self, out: &mut Output, channel: u16, id: u32, transaction: Option<TransactionId>) {
        let buf = out.wire.tail();
        let mut first = id;
        if let Some(last) = &self.confirm
            && last.channel == channel
            && last.transaction == transaction
            && last.last.wrapping_add(1) == id
            && last.end == buf.len()
        {
            first = last.first;
            buf.truncate(last.at);
        }
        let at = buf.len();
        write_disposition(buf, channel, true, (first, id), |buf| put_word(buf, transaction, &Outcome::Accept, None));
        self.confirm = Some(LastConfirm { channel, transaction, first, last: id, at, end: buf.len() });
    }

    /// Refuses a delivery that we received.
    pub fn refuse(
        &mut self,
        out: &mut Output,
        channel: u16,
        id: u32,
        transaction: Option<TransactionId>,
        error: &AmqpError,
    ) {
        let outcome = Outcome::Reject { reason: "".into() };
        let put_state = |buf: &mut BytesMut| put_word(buf, transaction, &outcome, Some(error));
        write_disposition(self.buf(out), channel, true, (id, id), put_state);
    }
}

/// An outcome, now or with a transaction.
fn put_word(buf: &mut BytesMut, transaction: Option<TransactionId>, outcome: &Outcome, error: Option<&AmqpError>) {
    match transaction {
        Some(transaction) => put_transactional(buf, transaction, outcome, error),
        None => put_outcome(buf, outcome, error),
    }
}
