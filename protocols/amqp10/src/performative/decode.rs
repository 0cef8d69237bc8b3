//! Reads performatives.

use std::borrow::Cow;

use evergate_model::Value;

use super::{DeliveryState, TransactionRef, code, read_state};
use crate::codec::{DecodeError, Fields, Item, Reader};

/// What a client may send, with what we need of it.
#[derive(Debug)]
pub(crate) enum Performative<'a> {
    Open(Open<'a>),
    Begin(Begin),
    Attach(Box<Attach<'a>>),
    Flow(Flow),
    Transfer(Transfer<'a>),
    Disposition(Disposition),
    Detach(Detach),
    End,
    Close,
    SaslInit { mechanism: Cow<'a, str>, response: Option<Cow<'a, [u8]>> },
    SaslResponse(Cow<'a, [u8]>),
}

#[derive(Debug)]
pub(crate) struct Open<'a> {
    pub container_id: Cow<'a, str>,
    pub frame_bytes_max: Option<u32>,
    pub channel_max: Option<u16>,
    pub idle_timeout: Option<u32>,
}

#[derive(Debug)]
pub(crate) struct Begin {
    pub remote_channel: Option<u16>,
    pub next_outgoing_id: u32,
    pub incoming_window: u32,
    pub handle_max: Option<u32>,
}

#[derive(Debug)]
pub(crate) struct Attach<'a> {
    pub name: Cow<'a, str>,
    pub handle: u32,
    /// The client's role: true, it receives.
    pub receiver: bool,
    pub snd_settle_mode: u8,
    pub rcv_settle_mode: u8,
    pub source: Option<&'a [u8]>,
    pub target: Option<&'a [u8]>,
    pub initial_delivery_count: Option<u32>,
    pub message_bytes_max: Option<u64>,
    pub desired: Vec<String>,
    pub properties: Option<&'a [u8]>,
}

#[derive(Debug)]
pub(crate) struct Flow {
    pub next_incoming_id: Option<u32>,
    pub incoming_window: u32,
    pub handle: Option<u32>,
    pub delivery_count: Option<u32>,
    pub link_credit: Option<u32>,
    pub drain: bool,
    pub echo: bool,
    /// The properties name a transaction (part 4, 4.4.3).
    pub transactional: bool,
}

#[derive(Debug)]
#[allow(clippy::struct_excessive_bools)] // the standard's own fields
pub(crate) struct Transfer<'a> {
    pub handle: u32,
    pub delivery_id: Option<u32>,
    pub delivery_tag: Option<Cow<'a, [u8]>>,
    pub message_format: Option<u32>,
    pub settled: bool,
    pub more: bool,
    /// The message is published when this transaction commits.
    pub transaction: Option<TransactionRef>,
    /// It is of a delivery that began on an earlier attach of the link.
    pub resume: bool,
    pub aborted: bool,
    /// Bytes of the message after the performative.
    pub payload_bytes: usize,
}

#[derive(Debug)]
pub(crate) struct Disposition {
    /// The client's role: true, it received the deliveries.
    pub receiver: bool,
    pub first: u32,
    pub last: u32,
    pub settled: bool,
    pub state: Option<DeliveryState>,
}

#[derive(Debug)]
pub(crate) struct Detach {
    pub handle: u32,
    pub closed: bool,
}

fn required<T>(field: Option<T>) -> Result<T, DecodeError> {
    field.ok_or(DecodeError::MissingField)
}

impl<'a> Performative<'a> {
    /// Reads a frame's body.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let (code, mut fields) = Fields::described(&mut reader)?;
        let code = u8::try_from(code).map_err(|_| DecodeError::UnknownDescriptor)?;
        if code != code::TRANSFER && !reader.is_empty() {
            return Err(DecodeError::BadLength);
        }
        let f = &mut fields;
        Ok(match code {
            code::OPEN => Self::Open(Open::read(f)?),
            code::BEGIN => Self::Begin(Begin::read(f)?),
            code::ATTACH => Self::Attach(Box::new(Attach::read(f)?)),
            code::FLOW => Self::Flow(Flow::read(f)?),
            code::TRANSFER => Self::Transfer(Transfer::read(f, reader.rest().len())?),
            code::DISPOSITION => Self::Disposition(Disposition::read(f)?),
            code::DETACH => Self::Detach(Detach { handle: required(f.u32()?)?, closed: f.flag()? }),
            code::END => Self::End,
            code::CLOSE => Self::Close,
            code::SASL_INIT => Self::SaslInit { mechanism: required(f.symbol()?)?, response: f.binary()? },
            code::SASL_RESPONSE => Self::SaslResponse(required(f.binary()?)?),
            _ => return Err(DecodeError::UnknownDescriptor),
        })
    }
}

impl<'a> Open<'a> {
    fn read(f: &mut Fields<'a>) -> Result<Self, DecodeError> {
        let container_id = required(f.string()?)?;
        f.skip()?; // hostname
        Ok(Self { container_id, frame_bytes_max: f.u32()?, channel_max: f.u16()?, idle_timeout: f.u32()? })
    }
}

impl Begin {
    fn read(f: &mut Fields<'_>) -> Result<Self, DecodeError> {
        let remote_channel = f.u16()?;
        let next_outgoing_id = required(f.u32()?)?;
        let incoming_window = required(f.u32()?)?;
        required(f.u32()?)?; // outgoing-window
        Ok(Self { remote_channel, next_outgoing_id, incoming_window, handle_max: f.u32()? })
    }
}

impl<'a> Attach<'a> {
    fn read(f: &mut Fields<'a>) -> Result<Self, DecodeError> {
        let name = required(f.string()?)?;
        let handle = required(f.u32()?)?;
        let receiver = required(f.boolean()?)?;
        let snd_settle_mode = f.u8()?.unwrap_or(2);
        let rcv_settle_mode = f.u8()?.unwrap_or(0);
        let source = f.raw()?;
        let target = f.raw()?;
        f.skip()?; // unsettled: we hold none of an earlier attach, and our answer says so
        f.skip()?; // incomplete-unsettled
        let initial_delivery_count = f.u32()?;
        let message_bytes_max = f.u64()?.filter(|max| *max > 0);
        f.skip()?; // offered-capabilities
        Ok(Self {
            name,
            handle,
            receiver,
            snd_settle_mode,
            rcv_settle_mode,
            source,
            target,
            initial_delivery_count,
            message_bytes_max,
            desired: f.symbols()?,
            properties: f.raw()?,
        })
    }
}

impl Flow {
    fn read(f: &mut Fields<'_>) -> Result<Self, DecodeError> {
        let next_incoming_id = f.u32()?;
        let incoming_window = required(f.u32()?)?;
        required(f.u32()?)?; // next-outgoing-id
        required(f.u32()?)?; // outgoing-window
        let handle = f.u32()?;
        let delivery_count = f.u32()?;
        let link_credit = f.u32()?;
        f.skip()?; // available
        Ok(Self {
            next_incoming_id,
            incoming_window,
            handle,
            delivery_count,
            link_credit,
            drain: f.flag()?,
            echo: f.flag()?,
            transactional: names_transaction(f.item()?)?,
        })
    }
}

fn names_transaction(properties: Option<Item<'_>>) -> Result<bool, DecodeError> {
    let mut items = match properties {
        None => return Ok(false),
        Some(Item::Map(items)) => items,
        Some(_) => return Err(DecodeError::WrongType),
    };
    while let Some(key) = items.next().transpose()? {
        items.next().transpose()?;
        if matches!(key, Item::Simple(Value::Symbol(key)) if key == "txn-id") {
            return Ok(true);
        }
    }
    Ok(false)
}

impl<'a> Transfer<'a> {
    fn read(f: &mut Fields<'a>, payload_bytes: usize) -> Result<Self, DecodeError> {
        let handle = required(f.u32()?)?;
        let delivery_id = f.u32()?;
        let delivery_tag = f.binary()?;
        let message_format = f.u32()?;
        let settled = f.flag()?;
        let more = f.flag()?;
        f.skip()?; // rcv-settle-mode: first is all we do
        let transaction = match read_state(f.item()?)? {
            Some(DeliveryState::Transactional { transaction, .. }) => Some(transaction),
            _ => None,
        };
        let resume = f.flag()?;
        Ok(Self {
            handle,
            delivery_id,
            delivery_tag,
            message_format,
            settled,
            more,
            transaction,
            resume,
            aborted: f.flag()?,
            payload_bytes,
        })
    }
}

impl Disposition {
    fn read(f: &mut Fields<'_>) -> Result<Self, DecodeError> {
        let receiver = required(f.boolean()?)?;
        let first = required(f.u32()?)?;
        let last = f.u32()?.unwrap_or(first);
        let settled = f.flag()?;
        Ok(Self { receiver, first, last, settled, state: read_state(f.item()?)? })
    }
}
