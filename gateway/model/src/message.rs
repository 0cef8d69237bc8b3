//! A message: what is read once (`Meta`), the publisher's own encoding, the broker's annotations.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::{Address, Encoding, LargeBody, MemoryPermit, MessageId, PeerInfo, QueueId, Time};

/// What a message costs beyond its bytes, when limits are counted in bytes. Names of usual length are in it.
pub const OVERHEAD_BYTES: u64 = 256;

/// So many bytes of names [`OVERHEAD_BYTES`] covers; longer ones count with what they have more.
const USUAL_NAMES_BYTES: usize = 64;

/// What routing, limits and dispatch need, read from the wire once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Given by the gateway at ingress; zero before.
    pub id: MessageId,
    /// Where it was sent.
    pub address: Address,
    /// Survives a restart; confirmed after its commit.
    pub durable: bool,
    /// 0 to 9, JMS's range; 4 is usual.
    pub priority: u8,
    /// When it is no longer wanted.
    pub expires_at: Option<Time>,
    /// When the gateway took it; zero before.
    pub ingress: Time,
    /// What few messages have.
    pub rare: Option<Box<RareMeta>>,
}

/// The wishes that few messages carry, out of the way of all the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RareMeta {
    /// Not to be delivered before (scheduled delivery).
    pub deliver_at: Option<Time>,
    /// Messages of one group go to one consumer, in order (`JMSXGroupID`).
    pub group_id: Option<Arc<str>>,
    /// The publisher's own identity for this message: a second one with it, within a destination's window,
    /// is confirmed and not stored.
    pub dedup_id: Option<Arc<str>>,
    /// May be thrown away before anything else when there is no room (delivery mode DISCARDABLE). Never durable.
    pub discardable: bool,
    /// The body, where it is too large for memory: then `Message::body` is empty.
    pub large: Option<Arc<LargeBody>>,
    /// Of the queues that its topic leads to, only this one: a dead letter on its way back. Not stored.
    pub only_to: Option<QueueId>,
    /// Who sent it: a request to the administration. Not stored.
    pub asked_by: Option<Arc<PeerInfo>>,
}

impl Meta {
    /// A message to `address` with everything else as usual: transient, priority 4, no expiry.
    pub fn new(address: Address) -> Self {
        Self { id: MessageId(0), address, durable: false, priority: 4, expires_at: None, ingress: Time(0), rare: None }
    }

    /// What few messages have, to be filled in.
    pub fn rare_mut(&mut self) -> &mut RareMeta {
        self.rare.get_or_insert_default()
    }

    /// Not to be delivered before.
    pub fn deliver_at(&self) -> Option<Time> {
        self.rare.as_ref()?.deliver_at
    }

    /// Its message group.
    pub fn group_id(&self) -> Option<&Arc<str>> {
        self.rare.as_ref()?.group_id.as_ref()
    }

    /// The publisher's own identity for it.
    pub fn dedup_id(&self) -> Option<&Arc<str>> {
        self.rare.as_ref()?.dedup_id.as_ref()
    }

    /// Its body, if that is too large for memory.
    pub fn large(&self) -> Option<&Arc<LargeBody>> {
        self.rare.as_ref()?.large.as_ref()
    }

    /// The one queue that it goes to, of those that its topic leads to.
    pub fn only_to(&self) -> Option<QueueId> {
        self.rare.as_ref()?.only_to
    }

    /// Bytes of the names that a peer chose and that are kept beside head and body.
    fn names_bytes(&self) -> usize {
        let rare = self
            .rare
            .as_ref()
            .map_or(0, |rare| [&rare.group_id, &rare.dedup_id].into_iter().flatten().map(|name| name.len()).sum());
        self.address.name.len() + rare
    }

    /// Who sent it, if it is a request to the administration.
    pub fn asked_by(&self) -> Option<&PeerInfo> {
        self.rare.as_ref()?.asked_by.as_deref()
    }

    /// Whether it may be thrown away first.
    pub fn is_discardable(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.discardable)
    }
}

/// What the broker adds. Never mixed with the publisher's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Annotation {
    /// As in [`crate::dead_letter`].
    pub name: Arc<str>,
    /// Text.
    pub value: Arc<str>,
}

/// Head and body in each encoding, once somebody wanted them.
type Converted = [OnceLock<(Bytes, Bytes)>; Encoding::COUNT];

/// A message as published. Shared behind `Arc` by all queues that hold it; immutable.
#[derive(Debug)]
pub struct Message {
    /// Read once at ingress.
    pub meta: Meta,
    /// Whose encoding `head` and `body` are.
    pub encoding: Encoding,
    /// The publisher's property sections, as sent.
    pub head: Bytes,
    /// The publisher's body, as sent.
    pub body: Bytes,
    /// What the broker added: dead-letter history, …
    pub annotations: Vec<Annotation>,
    /// Its share of the memory budget, given back with the last reference.
    pub permit: Option<MemoryPermit>,
    /// One slot an encoding: the message converted to it, kept so that a fan-out converts once.
    converted: OnceLock<Box<Converted>>,
}

impl Message {
    /// A message in its publisher's encoding.
    pub fn new(meta: Meta, encoding: Encoding, head: Bytes, body: Bytes) -> Self {
        Self { meta, encoding, head, body, annotations: Vec::new(), permit: None, converted: OnceLock::new() }
    }

    /// Bytes it takes in memory: head, body and [`OVERHEAD_BYTES`], and what its address, group, identity and notes
    /// are longer than usual; not its conversions. Every limit counts these; what a queue may hold in all counts
    /// [`Self::all_bytes`].
    pub fn size_bytes(&self) -> u64 {
        let notes: usize = self.annotations.iter().map(|note| note.name.len() + note.value.len()).sum();
        let names = (self.meta.names_bytes() + notes).saturating_sub(USUAL_NAMES_BYTES);
        (self.head.len() + self.body.len() + names) as u64 + OVERHEAD_BYTES
    }

    /// The same with a body that is too large for memory.
    pub fn all_bytes(&self) -> u64 {
        self.size_bytes() + self.meta.large().map_or(0, |body| body.bytes)
    }

    /// Head and body in `encoding`: as sent if it is the publisher's, else converted by `convert` once
    /// and kept.
    pub fn in_encoding(&self, encoding: Encoding, convert: impl FnOnce() -> (Bytes, Bytes)) -> (&Bytes, &Bytes) {
        if encoding == self.encoding {
            return (&self.head, &self.body);
        }
        let (head, body) = self.converted.get_or_init(Box::default)[encoding as usize].get_or_init(convert);
        (head, body)
    }

    /// Whether it has expired.
    pub fn is_expired(&self, now: Time) -> bool {
        self.meta.expires_at.is_some_and(|at| at <= now)
    }

    /// A copy with another address and further annotations, as dead-lettering makes it.
    #[must_use]
    pub fn readdressed(&self, address: Address, added: impl IntoIterator<Item = Annotation>) -> Self {
        let mut meta = self.meta.clone();
        meta.address = address;
        let mut copy = Self::new(meta, self.encoding, self.head.clone(), self.body.clone());
        copy.annotations = self.annotations.iter().cloned().chain(added).collect();
        copy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(name: &str) -> Message {
        Message::new(Meta::new(Address::topic(name)), Encoding::Plain, "head".into(), "body".into())
    }

    #[test]
    fn names_count_from_where_they_are_longer_than_usual() {
        for (length, counts) in [(1, 0), (64, 0), (65, 1), (65_535, 65_471)] {
            assert_eq!(message(&"n".repeat(length)).size_bytes(), 8 + OVERHEAD_BYTES + counts, "{length}");
        }
    }

    #[test]
    fn every_name_that_a_peer_chose_counts() {
        let mut message = message(&"n".repeat(64));
        message.meta.rare_mut().group_id = Some("g".repeat(100).into());
        message.meta.rare_mut().dedup_id = Some("d".repeat(1000).into());
        message.annotations.push(Annotation { name: "origin".into(), value: "o".repeat(10_000).into() });
        assert_eq!(message.size_bytes(), 8 + OVERHEAD_BYTES + 100 + 1000 + 6 + 10_000);
    }
}
