//! A link on which the client sends: credit, transfers put together, publishes.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use evergate_model::{Action, Address, Encoding, Message, Meta, Outcome, Output, Publish, Time, TransactionId};

use super::attach::Answer;
use super::context::{Context, LinkId, Place, Publishing};
use super::large::{Large, too_large};
use crate::error::{AmqpError, INVALID_FIELD, NOT_IMPLEMENTED, RESOURCE_LIMIT_EXCEEDED, TRANSFER_LIMIT_EXCEEDED};
use crate::message;
use crate::performative::{TransactionRef, Transfer, put_outcome, write_disposition};
use crate::terminus::{Terminus, relay_destination};

/// Delivery tags are no longer than this (2.8.7).
const TAG_BYTES_MAX: usize = 32;

/// A message shorter than this is copied out of the read buffer, so that it does not keep all of it.
const COPY_BELOW_BYTES: usize = 4096;

/// A body that begins so early in its message says how long it is before much of it is in memory.
const EARLY_BYTES: usize = 64 * 1024;

/// A delivery of which more is to come.
struct Partial {
    delivery_id: u32,
    settled: bool,
    transaction: Option<TransactionRef>,
    bytes: BytesMut,
    /// It grew too large for memory: its bytes have gone on.
    large: Option<Box<Large>>,
    /// It began on an earlier attach, of which we know nothing.
    resumed: bool,
}

impl Partial {
    /// Its end will not come.
    fn abandon(&self, out: &mut Output) {
        if let Some(large) = &self.large {
            large.abandon(out);
        }
    }
}

/// A delivery that is all here.
struct Whole {
    delivery_id: u32,
    settled: bool,
    transaction: Option<TransactionRef>,
    bytes: Bytes,
    /// All of it has gone on; `bytes` is empty.
    large: Option<Box<Large>>,
}

/// What a frame made of its delivery.
enum Assembled {
    Part,
    /// It will not be whole, or is of no meaning here.
    Aborted,
    Whole(Whole),
}

pub(super) struct Incoming {
    pub id: LinkId,
    pub name: Arc<str>,
    /// Until our `attach` is written.
    pub answer: Option<Answer>,
    /// The client's detach, if it came before that.
    pub detach: Option<bool>,
    pub target: Terminus,
    /// `None`: each message says where it goes.
    pub destination: Option<Address>,
    /// A consumer without credit holds the link's temporary queue.
    pub dynamic: bool,
    /// The link of a transaction controller.
    pub coordinator: bool,
    /// The client understands «rejected».
    pub source_rejects: bool,
    pub credit: u32,
    pub delivery_count: u32,
    /// Publishes that are not answered.
    pub pending: u32,
    partial: Option<Partial>,
}

impl Incoming {
    pub fn new(id: LinkId, name: Arc<str>, answer: Answer, initial_delivery_count: Option<u32>) -> Self {
        Self {
            id,
            name,
            answer: Some(answer),
            detach: None,
            target: Terminus::default(),
            destination: None,
            dynamic: false,
            coordinator: false,
            source_rejects: true,
            credit: 0,
            delivery_count: initial_delivery_count.unwrap_or(0),
            pending: 0,
            partial: None,
        }
    }

    /// The link goes: what has arrived in part is forgotten.
    pub fn release(&mut self, context: &mut Context, out: &mut Output) {
        if let Some(partial) = self.take_partial(context) {
            partial.abandon(out);
        }
    }

    /// What has arrived of a delivery, to be gone on with.
    fn take_partial(&mut self, context: &mut Context) -> Option<Partial> {
        let partial = self.partial.take()?;
        context.assembly_bytes -= partial.bytes.len() as u64;
        context.transactions.in_part.remove(&self.id);
        context.unfinished.take_if(|unfinished| unfinished.place.link == self.id);
        Some(partial)
    }

    /// More of it is to come.
    fn keep_partial(&mut self, partial: Partial, context: &mut Context) {
        context.assembly_bytes += partial.bytes.len() as u64;
        if let Some(Some(transaction)) = partial.transaction {
            context.transactions.in_part.insert(self.id, transaction);
        }
        self.partial = Some(partial);
    }

    /// A message that is too large for memory is on its way.
    pub fn takes_large(&self) -> bool {
        self.partial.as_ref().is_some_and(|partial| partial.large.is_some())
    }

    /// More is to come of a delivery.
    pub fn has_begun(&self) -> bool {
        self.partial.is_some()
    }

    /// 2.6.7: a client that has drained its credit counts it as used.
    pub fn drained(&mut self, delivery_count: u32) {
        let used = delivery_count.wrapping_sub(self.delivery_count);
        if let Some(credit) = self.credit.checked_sub(used) {
            self.credit = credit;
            self.delivery_count = delivery_count;
        }
    }

    /// Raises the credit when half of it is used and answered. True: the client must be told.
    pub fn replenish(&mut self, credit_max: u32) -> bool {
        let outstanding = self.credit.saturating_add(self.pending);
        if self.answer.is_some() || outstanding > credit_max / 2 {
            return false;
        }
        self.credit = credit_max - self.pending;
        true
    }

    /// Takes a frame of a delivery. True: credit may be given back.
    pub fn transfer(
        &mut self,
        now: Time,
        place: Place,
        transfer: &Transfer<'_>,
        payload: Bytes,
        context: &mut Context,
        out: &mut Output,
    ) -> Result<bool, AmqpError> {
        match self.assemble(place.channel, transfer, payload, context, out)? {
            Assembled::Part => Ok(false),
            Assembled::Aborted => Ok(true),
            Assembled::Whole(whole) => self.publish(now, place, whole, context, out),
        }
    }

    /// Takes a frame of a message for the coordinator. A delivery with an error is to be rejected.
    pub fn control(
        &mut self,
        place: Place,
        transfer: &Transfer<'_>,
        payload: &Bytes,
        context: &mut Context,
        out: &mut Output,
    ) -> Result<Option<(u32, AmqpError)>, AmqpError> {
        let Assembled::Whole(whole) = self.assemble(place.channel, transfer, payload.clone(), context, out)? else {
            return Ok(None);
        };
        self.pending += 1;
        let answer = context.control(place, whole.delivery_id, whole.settled, &whole.bytes, out)?;
        Ok(answer.err().map(|error| (whole.delivery_id, error)))
    }

    /// Puts frames together.
    fn assemble(
        &mut self,
        channel: u16,
        transfer: &Transfer<'_>,
        payload: Bytes,
        context: &mut Context,
        out: &mut Output,
    ) -> Result<Assembled, AmqpError> {
        let mut partial = match self.take_partial(context) {
            Some(partial) => {
                if transfer.delivery_id.is_some_and(|id| id != partial.delivery_id) {
                    partial.abandon(out);
                    return Err(AmqpError::new(INVALID_FIELD, "a delivery begins before the last one ended"));
                }
                partial
            }
            None => self.begin(transfer)?,
        };
        partial.settled |= transfer.settled;
        partial.transaction = transfer.transaction.or(partial.transaction);
        if transfer.aborted {
            partial.abandon(out);
            return Ok(Assembled::Aborted);
        }
        if partial.resumed {
            return Ok(self.ignore(partial, channel, transfer.more, context, out));
        }
        let bytes = (partial.bytes.len() + payload.len()) as u64;
        if partial.large.is_some() || bytes > context.config.message_bytes_max {
            return self.assemble_large(partial, transfer.more, payload, context, out);
        }
        if transfer.more {
            let is_early = partial.bytes.len() < EARLY_BYTES;
            partial.bytes.extend_from_slice(&payload);
            let announced = if is_early { message::announced_bytes(&partial.bytes) } else { 0 };
            if announced > context.config.message_bytes_max {
                if announced > context.config.large_message_bytes_max {
                    return Err(too_large(context.config.large_message_bytes_max));
                }
                return self.assemble_large(partial, true, Bytes::new(), context, out);
            }
            if context.assembly_bytes + bytes > context.config.assembly_bytes_max {
                return Err(AmqpError::new(RESOURCE_LIMIT_EXCEEDED, "too many messages arrive in part at once"));
            }
            self.keep_partial(partial, context);
            return Ok(Assembled::Part);
        }
        let Partial { delivery_id, settled, transaction, bytes: mut before, .. } = partial;
        let bytes = if !before.is_empty() {
            before.extend_from_slice(&payload);
            before.freeze()
        } else if payload.len() < COPY_BELOW_BYTES {
            Bytes::copy_from_slice(&payload)
        } else {
            payload
        };
        Ok(Assembled::Whole(Whole { delivery_id, settled, transaction, bytes, large: None }))
    }

    /// 2.7.5: a resumed delivery is ignored, since none is left of an earlier attach. Its sender hears that it was not
    /// taken: what it was, it may send again.
    fn ignore(
        &mut self,
        partial: Partial,
        channel: u16,
        more: bool,
        context: &mut Context,
        out: &mut Output,
    ) -> Assembled {
        if more {
            self.keep_partial(partial, context);
            return Assembled::Part;
        }
        if !partial.settled {
            let ids = (partial.delivery_id, partial.delivery_id);
            let put_state = |buf: &mut BytesMut| put_outcome(buf, &Outcome::Release, None);
            write_disposition(context.buf(out), channel, true, ids, put_state);
        }
        Assembled::Aborted
    }

    /// Passes on what is too much for memory.
    fn assemble_large(
        &mut self,
        partial: Partial,
        more: bool,
        payload: Bytes,
        context: &mut Context,
        out: &mut Output,
    ) -> Result<Assembled, AmqpError> {
        if self.coordinator {
            return Err(too_large(context.config.message_bytes_max));
        }
        let Partial { delivery_id, settled, transaction, mut bytes, large, resumed } = partial;
        let large = if let Some(mut large) = large {
            large.take(payload, context, out)?;
            large
        } else {
            bytes.extend_from_slice(&payload);
            Box::new(Large::begin(&bytes.freeze(), context, out)?)
        };
        if more {
            let bytes = BytesMut::new();
            let partial = Partial { delivery_id, settled, transaction, bytes, large: Some(large), resumed };
            self.keep_partial(partial, context);
            return Ok(Assembled::Part);
        }
        let bytes = Bytes::new();
        Ok(Assembled::Whole(Whole { delivery_id, settled, transaction, bytes, large: Some(large) }))
    }

    /// The first frame of a delivery.
    fn begin(&mut self, transfer: &Transfer<'_>) -> Result<Partial, AmqpError> {
        let invalid = |text| Err(AmqpError::new(INVALID_FIELD, text));
        let Some(delivery_id) = transfer.delivery_id else {
            return invalid("a delivery's first transfer needs its id");
        };
        match &transfer.delivery_tag {
            None => return invalid("a delivery's first transfer needs its tag"),
            Some(tag) if tag.len() > TAG_BYTES_MAX => return invalid("a delivery tag is at most 32 bytes"),
            Some(_) => {}
        }
        if transfer.message_format.unwrap_or(0) != 0 {
            return Err(AmqpError::new(NOT_IMPLEMENTED, "only message format 0 is known"));
        }
        // 2.6.7: who sends without credit is detached.
        self.credit = self
            .credit
            .checked_sub(1)
            .ok_or_else(|| AmqpError::new(TRANSFER_LIMIT_EXCEEDED, "a delivery beyond the link's credit"))?;
        self.delivery_count = self.delivery_count.wrapping_add(1);
        Ok(Partial {
            delivery_id,
            settled: false,
            transaction: None,
            bytes: BytesMut::new(),
            large: None,
            resumed: transfer.resume,
        })
    }

    fn publish(
        &mut self,
        now: Time,
        place: Place,
        whole: Whole,
        context: &mut Context,
        out: &mut Output,
    ) -> Result<bool, AmqpError> {
        let Whole { delivery_id, settled, transaction: named, bytes, large } = whole;
        let (incoming, large) = match large {
            None => (message::parse(&bytes, context.config.depth_max)?, None),
            Some(large) => {
                let (front, end) = large.end(context, out)?;
                (front, Some(end))
            }
        };
        let (meta, transaction) = match self.meta(now, &incoming, named, context) {
            Ok(accepted) => accepted,
            Err(error) => {
                out.actions.extend(large.map(|end| Action::Abandon { body: end.body }));
                // One bad message does not end a link that serves many.
                if settled {
                    return Err(error);
                }
                context.refuse(out, place.channel, delivery_id, None, &error);
                return Ok(true);
            }
        };
        let token = context.next_token();
        context.publishing.insert(token, Publishing { place, delivery_id, settled, transaction });
        self.pending += 1;
        let message = Message::new(meta, Encoding::Amqp10, incoming.head, incoming.body);
        out.actions.push(Action::Publish(Publish { token, message, retain: false, mark: None, transaction, large }));
        Ok(false)
    }

    /// Where a message goes and what it asks for, and with which transaction.
    fn meta(
        &self,
        now: Time,
        incoming: &message::Incoming,
        named: Option<TransactionRef>,
        context: &Context,
    ) -> Result<(Meta, Option<TransactionId>), AmqpError> {
        let transaction = named.map(|named| context.transactions.find(named)).transpose()?;
        let address = match &self.destination {
            Some(address) => address.clone(),
            None => relay_destination(incoming.to.as_deref(), incoming.jms_dest)?,
        };
        Ok((message::meta(now, address, incoming)?, transaction))
    }
}
