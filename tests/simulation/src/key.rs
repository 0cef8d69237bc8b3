//! What identifies a message to the model: who published it, and its number there. It is in the body, or in the head of a
//! message whose body is large.

use bytes::Bytes;
use evergate_model::Message;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub producer: u32,
    pub number: u64,
}

impl Key {
    /// A body that carries the key, with so many bytes of padding.
    pub fn body(self, padding: usize) -> Bytes {
        let mut body = Vec::with_capacity(12 + padding);
        body.extend_from_slice(&self.producer.to_le_bytes());
        body.extend_from_slice(&self.number.to_le_bytes());
        body.resize(12 + padding, 0);
        body.into()
    }

    /// The key of a message; `None` for one that clears a retained message.
    pub fn of(message: &Message) -> Option<Self> {
        // Where the body went ahead in pieces, the key is in the head.
        let bytes = if message.meta.large().is_some() { &message.head } else { &message.body };
        let producer = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?);
        let number = u64::from_le_bytes(bytes.get(4..12)?.try_into().ok()?);
        Some(Self { producer, number })
    }
}
