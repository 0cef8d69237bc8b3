//! Rows that pack messages.

use bytes::{BufMut as _, Bytes, BytesMut};
use evergate_journal::StoredMessage;
use evergate_journal::codec::{append_notes, has_notes};
use evergate_journal::index::PackId;
use evergate_model::AddressKind;
use tokio_postgres::types::{ToSql, Type};

use crate::array::{Array, Raw};

/// Flags of a message.
pub const DURABLE: u8 = 1;
/// Its address is a topic.
pub const TOPIC: u8 = 2;

/// The columns of a message row, as INSERT, COPY and SELECT name them.
pub const COLUMNS: &str = "id, generation, message_ids, flags, encodings, priorities, expires, ingress, sizes, \
    target_messages, target_queues, target_seqs, addresses, annotations, heads, bodies";

/// Arrays among them.
const ARRAYS: usize = 14;

/// A row's own cost: its header, two numbers, fourteen array headers with their padding.
const ROW_BYTES: usize = 24 + 16 + ARRAYS * 30;

/// What a message adds to a row, in the table.
pub fn cost(stored: &StoredMessage) -> usize {
    // A length before each, and padding to four bytes.
    let padded = |bytes: usize| (bytes + 4).next_multiple_of(4);
    let message = &stored.message;
    let annotations = match &message.annotations[..] {
        [] => 0,
        all => padded(all.iter().map(|one| one.name.len() + one.value.len() + 10).sum::<usize>() + 5),
    };
    let rare = message.meta.rare.as_ref().map_or(0, |rare| {
        let texts = [&rare.group_id, &rare.dedup_id];
        padded(texts.into_iter().flatten().map(|text| text.len()).sum::<usize>() + 29)
    });
    let expiry = if message.meta.expires_at.is_some() { 8 } else { 0 };
    let bytes = padded(message.head.len()) + padded(message.body.len()) + padded(message.meta.address.name.len());
    // 8-byte id, ingress and size; three 2-byte numbers; bits for NULLs; for each target 4, 8 and 8 bytes.
    bytes + annotations + rare + expiry + 24 + 6 + 1 + stored.targets.len() * 20
}

/// A row being filled.
#[derive(Debug)]
pub struct PackWriter {
    /// Its key.
    pub id: PackId,
    /// About the bytes it will take.
    pub bytes: usize,
    /// Messages in it.
    pub messages: u32,
    columns: [Array; ARRAYS],
}

impl PackWriter {
    /// An empty row.
    pub fn new(id: PackId) -> Self {
        let int8 = || Array::new(&Type::INT8);
        let int2 = || Array::new(&Type::INT2);
        let bytea = || Array::new(&Type::BYTEA);
        let columns = [
            int8(),
            int2(),
            int2(),
            int2(),
            int8(),
            int8(),
            int8(),
            Array::new(&Type::INT4),
            int8(),
            int8(),
            bytea(),
            bytea(),
            bytea(),
            bytea(),
        ];
        Self { id, bytes: ROW_BYTES, messages: 0, columns }
    }

    /// Adds a message.
    pub fn push(&mut self, stored: &StoredMessage) {
        let [
            ids,
            flags,
            encodings,
            priorities,
            expires,
            ingress,
            sizes,
            target_messages,
            queues,
            seqs,
            addresses,
            annotations,
            heads,
            bodies,
        ] = &mut self.columns;
        let message = &stored.message;
        let meta = &message.meta;
        self.bytes += cost(stored);
        self.messages += 1;
        ids.push_u64(meta.id.0);
        let topic = if meta.address.kind == AddressKind::Topic { TOPIC } else { 0 };
        flags.push_u8(topic | if meta.durable { DURABLE } else { 0 });
        encodings.push_u8(message.encoding as u8);
        priorities.push_u8(meta.priority);
        match meta.expires_at {
            Some(at) => expires.push_u64(at.0),
            None => expires.push_null(),
        }
        ingress.push_u64(meta.ingress.0);
        sizes.push_u64(message.size_bytes());
        for (queue, seq) in &stored.targets {
            target_messages.push(&self.messages.to_be_bytes());
            queues.push_u64(queue.0);
            seqs.push_u64(seq.0);
        }
        addresses.push(meta.address.name.as_bytes());
        if has_notes(message) {
            let mut bytes = Vec::new();
            append_notes(&mut bytes, message);
            annotations.push(&bytes);
        } else {
            annotations.push_null();
        }
        heads.push(&message.head);
        bodies.push(&message.body);
    }

    /// The finished row.
    pub fn finish(self, generation: i64) -> Pack {
        Pack { id: self.id.0.cast_signed(), generation, columns: self.columns.map(Array::finish) }
    }
}

/// A row to insert.
#[derive(Debug)]
pub struct Pack {
    id: i64,
    generation: i64,
    columns: [Raw; ARRAYS],
}

impl Pack {
    /// The parameters of an INSERT of [`COLUMNS`].
    pub fn parameters(&self) -> Vec<&(dyn ToSql + Sync)> {
        let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![&self.id, &self.generation];
        parameters.extend(self.columns.iter().map(|column| column as &(dyn ToSql + Sync)));
        parameters
    }
}

/// Rows as COPY takes them in binary form.
pub fn copy_bytes(packs: &[Pack]) -> Bytes {
    let size: usize = packs.iter().flat_map(|pack| &pack.columns).map(|column| column.0.len() + 4).sum();
    let mut out = BytesMut::with_capacity(size + packs.len() * 32 + 32);
    out.put_slice(b"PGCOPY\n\xff\r\n\0");
    out.put_i32(0); // flags
    out.put_i32(0); // header extension
    for pack in packs {
        out.put_u16(ARRAYS as u16 + 2);
        for number in [pack.id, pack.generation] {
            out.put_i32(8);
            out.put_i64(number);
        }
        for column in &pack.columns {
            out.put_u32(column.0.len() as u32);
            out.put_slice(&column.0);
        }
    }
    out.put_i16(-1);
    out.freeze()
}
