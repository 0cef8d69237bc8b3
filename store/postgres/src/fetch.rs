//! Reads whole rows of messages back.

use std::sync::Arc;

use bytes::Bytes;
use evergate_journal::codec::decode_notes;
use evergate_journal::index::PackId;
use evergate_journal::{JournalError, StoredMessage};
use evergate_model::{Address, AddressKind, Encoding, Message, MessageId, Meta, QueueId, Seq, Time};
use tokio_postgres::{Client, Row, ToStatement};

use crate::array::Elements;
use crate::pack::{COLUMNS, DURABLE, TOPIC};
use crate::recovery::message_index;
use crate::schema::describe;

/// A row read back: its messages with every place they were stored at, settled or not.
#[derive(Debug)]
pub struct Fetched {
    /// Its key.
    pub id: PackId,
    /// What is in it.
    pub messages: Vec<StoredMessage>,
}

/// The query of [`fetch`] for these ring tables.
pub fn query(slot: i32) -> String {
    format!("SELECT {COLUMNS} FROM evergate.message_{slot} WHERE id = ANY ($1)")
}

/// The rows of these keys that are there, in no order. Messages that nobody in `is_wanted` asks for are left out.
pub async fn fetch(
    client: &Client,
    query: &(impl ToStatement + ?Sized),
    packs: &[PackId],
    is_wanted: impl Fn(PackId, QueueId, Seq) -> bool,
) -> Result<Vec<Fetched>, JournalError> {
    let ids: Vec<i64> = packs.iter().map(|pack| pack.0.cast_signed()).collect();
    let rows = client.query(query, &[&ids]).await.map_err(|error| JournalError::Read(describe(&error)))?;
    rows.iter().map(|row| decode(row, &is_wanted)).collect()
}

fn decode(row: &Row, is_wanted: impl Fn(PackId, QueueId, Seq) -> bool) -> Result<Fetched, JournalError> {
    let id = PackId(row.get::<_, i64>(0).cast_unsigned());
    let damaged = || JournalError::Damaged(format!("row {} of its messages is damaged", id.0));
    let mut targets: Vec<Vec<(QueueId, Seq)>> = Vec::new();
    let (mut queues, mut seqs): (Elements<'_>, Elements<'_>) = (row.get(10), row.get(11));
    for message in row.get::<_, Elements<'_>>(9) {
        let index = message_index(message).ok_or_else(damaged)?;
        let queue = QueueId(queues.number().ok_or_else(damaged)?);
        let seq = Seq(seqs.number().ok_or_else(damaged)?);
        if is_wanted(id, queue, seq) {
            if targets.len() <= index {
                targets.resize_with(index + 1, Vec::new);
            }
            targets[index].push((queue, seq));
        }
    }
    let columns = &mut Columns::of(row);
    let mut messages = Vec::new();
    for targets in targets {
        let fields = columns.next().ok_or_else(damaged)?;
        if !targets.is_empty() {
            messages.push(StoredMessage { message: Arc::new(fields.message().ok_or_else(damaged)?), targets });
        }
    }
    Ok(Fetched { id, messages })
}

/// The array columns that have an element for each message.
struct Columns<'a> {
    numbers: [Elements<'a>; 6],
    bytes: [Elements<'a>; 4],
}

/// One message's elements: id, flags, encoding, priority, expiry, ingress; address, annotations, head, body.
struct Fields<'a> {
    numbers: [Option<&'a [u8]>; 6],
    bytes: [Option<&'a [u8]>; 4],
}

impl<'a> Columns<'a> {
    fn of(row: &'a Row) -> Self {
        Self { numbers: [2, 3, 4, 5, 6, 7].map(|at| row.get(at)), bytes: [12, 13, 14, 15].map(|at| row.get(at)) }
    }

    fn next(&mut self) -> Option<Fields<'a>> {
        let mut fields = Fields { numbers: [None; 6], bytes: [None; 4] };
        for (field, column) in fields.numbers.iter_mut().zip(&mut self.numbers) {
            *field = column.next()?;
        }
        for (field, column) in fields.bytes.iter_mut().zip(&mut self.bytes) {
            *field = column.next()?;
        }
        Some(fields)
    }
}

impl Fields<'_> {
    fn message(&self) -> Option<Message> {
        let [id, flags, encoding, priority, expires, ingress] = self.numbers;
        let [address, annotations, head, body] = self.bytes;
        let wide = |bytes: &[u8]| Some(u64::from_be_bytes(bytes.try_into().ok()?));
        let small = |bytes: &[u8]| u8::try_from(i16::from_be_bytes(bytes.try_into().ok()?)).ok();
        let flags = small(flags?)?;
        let kind = if flags & TOPIC == 0 { AddressKind::Queue } else { AddressKind::Topic };
        let meta = Meta {
            id: MessageId(wide(id?)?),
            address: Address { kind, name: std::str::from_utf8(address?).ok()?.into() },
            durable: flags & DURABLE != 0,
            priority: small(priority?)?,
            expires_at: match expires {
                Some(at) => Some(Time(wide(at)?)),
                None => None,
            },
            ingress: Time(wide(ingress?)?),
            rare: None,
        };
        // Copies: slices would keep the whole row in memory.
        let (head, body) = (Bytes::copy_from_slice(head?), Bytes::copy_from_slice(body?));
        let mut message = Message::new(meta, Encoding::from_number(small(encoding?)?)?, head, body);
        if let Some(annotations) = annotations {
            let notes = decode_notes(&Bytes::copy_from_slice(annotations)).ok()?;
            message.annotations = notes.annotations;
            message.meta.rare = notes.rare;
        }
        Some(message)
    }
}
