//! The ordered backlog of one queue: entries in memory, and ranges that only the journal holds.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use evergate_journal::LiveRange;
use evergate_model::{Message, Seq};

use crate::consumer::ConsumerKey;

/// A message in the backlog.
#[derive(Debug)]
pub struct Entry {
    pub seq: Seq,
    pub message: Arc<Message>,
    pub failed_count: u32,
    pub redelivered: bool,
    pub retained: bool,
    /// The journal holds it, or will once the commit is through.
    pub stored: bool,
    pub state: State,
    /// Consumers that do not want it again (outcome modified, undeliverable-here).
    pub refused_by: Vec<ConsumerKey>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Waits for a consumer.
    Ready,
    /// A consumer has it.
    Held,
    /// On its way to `_DMQ`.
    Leaving,
    /// Settled; its slot goes when it reaches the front.
    Gone,
}

/// Fewer slots of settled entries than this are not worth a pass.
const COMPACT_ABOVE: usize = 64;

#[derive(Debug)]
enum Item {
    Entry(Entry),
    Stored(LiveRange),
}

impl Item {
    fn last(&self) -> Seq {
        match self {
            Self::Entry(entry) => entry.seq,
            Self::Stored(range) => range.last,
        }
    }
}

/// What stands next in line.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// This entry is ready.
    Ready(Seq),
    /// These must be read back first.
    Stored { first: Seq, last: Seq },
    /// Nothing.
    Nothing,
}

/// Items ascending by place. Those before `cursor` have been handed out at least once.
#[derive(Debug, Default)]
pub struct Backlog {
    items: VecDeque<Item>,
    cursor: usize,
    /// Entries before the cursor that are ready again.
    returned: BTreeSet<Seq>,
    /// Slots of settled entries.
    gone: usize,
    /// Live messages, and their bytes, wherever they are.
    pub count: u64,
    pub bytes: u64,
    /// Bytes of entries that are in memory and live.
    pub resident_bytes: u64,
}

impl Backlog {
    /// What a restart found: nothing in memory.
    pub fn recovered(live: &[LiveRange]) -> Self {
        Self {
            items: live.iter().filter(|range| range.count > 0).map(|range| Item::Stored(*range)).collect(),
            count: live.iter().map(|range| range.count).sum(),
            bytes: live.iter().map(|range| range.bytes).sum(),
            ..Self::default()
        }
    }

    /// Appends an entry; its place is higher than all before.
    pub fn push(&mut self, entry: Entry) {
        let size_bytes = entry.message.size_bytes();
        self.count += 1;
        self.bytes += size_bytes;
        self.resident_bytes += size_bytes;
        self.items.push_back(Item::Entry(entry));
    }

    /// The first entry that is ready and that `wanted` takes.
    pub fn next(&mut self, wanted: impl Fn(&Entry) -> bool) -> Next {
        for seq in &self.returned {
            if self.get(*seq).is_some_and(&wanted) {
                return Next::Ready(*seq);
            }
        }
        loop {
            match self.items.get(self.cursor) {
                None => return Next::Nothing,
                Some(Item::Stored(range)) => return Next::Stored { first: range.first, last: range.last },
                Some(Item::Entry(entry)) if entry.state != State::Ready => self.cursor += 1,
                Some(Item::Entry(entry)) if wanted(entry) => return Next::Ready(entry.seq),
                // Nobody with credit wants this one: it waits beside the line, those behind it do not.
                Some(Item::Entry(entry)) => {
                    self.returned.insert(entry.seq);
                    self.cursor += 1;
                }
            }
        }
    }

    /// Whether an entry that was passed over or given back waits.
    pub fn has_ready(&self) -> bool {
        !self.returned.is_empty()
    }

    /// Takes a ready entry out of the line.
    pub fn hold(&mut self, seq: Seq) -> Option<&Entry> {
        let index = self.position(seq);
        match self.items.get_mut(index) {
            Some(Item::Entry(entry)) if entry.seq == seq => entry.state = State::Held,
            _ => return None,
        }
        if index == self.cursor {
            self.cursor += 1;
        } else {
            self.returned.remove(&seq);
        }
        self.get(seq)
    }

    /// Puts an entry back to its place.
    pub fn give_back(&mut self, seq: Seq, change: impl FnOnce(&mut Entry)) {
        let index = self.position(seq);
        let Some(entry) = self.get_mut(seq) else { return };
        entry.state = State::Ready;
        change(entry);
        if index < self.cursor {
            self.returned.insert(seq);
        }
    }

    /// Marks an entry as on its way out, and returns it.
    pub fn leave(&mut self, seq: Seq) -> Option<&Entry> {
        let entry = self.get_mut(seq)?;
        entry.state = State::Leaving;
        Some(entry)
    }

    /// Removes an entry. Returns whether the journal holds it; `None`: there is no such entry.
    pub fn remove(&mut self, seq: Seq) -> Option<bool> {
        let entry = self.get_mut(seq).filter(|entry| entry.state != State::Gone)?;
        entry.state = State::Gone;
        let (stored, size_bytes) = (entry.stored, entry.message.size_bytes());
        // The slot stays until it reaches the front, but not the body.
        entry.message = empty();
        self.returned.remove(&seq);
        self.count -= 1;
        self.bytes -= size_bytes;
        self.resident_bytes -= size_bytes;
        self.gone += 1;
        self.trim();
        Some(stored)
    }

    /// Drops a stored entry that nobody was given yet from memory.
    pub fn page_out(&mut self, seq: Seq) {
        let index = self.position(seq);
        let Some(Item::Entry(entry)) = self.items.get(index) else { return };
        if index < self.cursor || entry.seq != seq || entry.state != State::Ready || !entry.stored || entry.retained {
            return;
        }
        let bytes = entry.message.size_bytes();
        self.resident_bytes -= bytes;
        if index > self.cursor
            && let Some(Item::Stored(before)) = self.items.get_mut(index - 1)
        {
            before.last = seq;
            before.count += 1;
            before.bytes += bytes;
            self.items.remove(index);
        } else {
            self.items[index] = Item::Stored(LiveRange { first: seq, last: seq, count: 1, bytes });
        }
    }

    /// Drops stored entries that nobody was given yet and that stand more than `keep_bytes` from their turn.
    pub fn page_out_beyond(&mut self, keep_bytes: u64, committed: Seq) {
        let mut near_bytes = 0;
        let waiting = self.items.split_off(self.cursor);
        for item in waiting {
            let paged = match &item {
                Item::Entry(entry) => {
                    let bytes = entry.message.size_bytes();
                    near_bytes += bytes;
                    let may_leave =
                        entry.stored && entry.seq <= committed && entry.state == State::Ready && !entry.retained;
                    (may_leave && near_bytes > keep_bytes).then(|| {
                        self.resident_bytes -= bytes;
                        LiveRange { first: entry.seq, last: entry.seq, count: 1, bytes }
                    })
                }
                Item::Stored(_) => None,
            };
            let Some(range) = paged else {
                self.items.push_back(item);
                continue;
            };
            let behind_cursor = self.items.len() > self.cursor;
            match self.items.back_mut() {
                Some(Item::Stored(before)) if behind_cursor => {
                    before.last = range.last;
                    before.count += range.count;
                    before.bytes += range.bytes;
                }
                _ => self.items.push_back(Item::Stored(range)),
            }
        }
    }

    /// Puts messages that were read back in the place of their range.
    pub fn loaded(&mut self, messages: Vec<(Seq, Arc<Message>)>, complete_to: Seq, redelivered_before: Seq) {
        let index = self.position(complete_to);
        let Some(Item::Stored(range)) = self.items.get_mut(index) else { return };
        let known = range.first..=range.last;
        let mut entries = Vec::with_capacity(messages.len());
        for (seq, message) in messages {
            if !known.contains(&seq) {
                continue;
            }
            let size_bytes = message.size_bytes();
            range.count = range.count.saturating_sub(1);
            range.bytes = range.bytes.saturating_sub(size_bytes);
            self.resident_bytes += size_bytes;
            entries.push(Item::Entry(Entry {
                seq,
                message,
                failed_count: 0,
                redelivered: seq < redelivered_before,
                retained: false,
                stored: true,
                state: State::Ready,
                refused_by: Vec::new(),
            }));
        }
        if complete_to >= range.last {
            // What was counted but is not there would block the line for ever.
            self.count -= range.count;
            self.bytes -= range.bytes;
            self.items.remove(index);
        } else {
            range.first = Seq(complete_to.0 + 1);
        }
        let behind = self.items.split_off(index);
        self.items.extend(entries);
        self.items.extend(behind);
    }

    /// The entry at a place.
    pub fn get(&self, seq: Seq) -> Option<&Entry> {
        match self.items.get(self.position(seq)) {
            Some(Item::Entry(entry)) if entry.seq == seq => Some(entry),
            _ => None,
        }
    }

    fn get_mut(&mut self, seq: Seq) -> Option<&mut Entry> {
        let index = self.position(seq);
        match self.items.get_mut(index) {
            Some(Item::Entry(entry)) if entry.seq == seq => Some(entry),
            _ => None,
        }
    }

    /// Index of the item that covers `seq`, or of the first behind it.
    fn position(&self, seq: Seq) -> usize {
        // Most settles concern the front: try it before searching.
        match self.items.front() {
            Some(front) if front.last() >= seq => 0,
            _ => self.items.partition_point(|item| item.last() < seq),
        }
    }

    fn trim(&mut self) {
        while let Some(Item::Entry(entry)) = self.items.front() {
            if entry.state != State::Gone {
                break;
            }
            self.items.pop_front();
            self.gone -= 1;
            self.cursor = self.cursor.saturating_sub(1);
        }
        if self.gone > COMPACT_ABOVE && self.gone > self.items.len() / 2 {
            self.compact();
        }
    }

    /// Drops the slots behind one that stays held: they would grow with all that passes by it.
    fn compact(&mut self) {
        let is_gone = |item: &Item| matches!(item, Item::Entry(entry) if entry.state == State::Gone);
        self.cursor -= self.items.iter().take(self.cursor).filter(|item| is_gone(item)).count();
        self.items.retain(|item| !is_gone(item));
        self.gone = 0;
    }
}

/// One shared empty message for the slots of settled entries.
fn empty() -> Arc<Message> {
    use std::sync::OnceLock;

    use bytes::Bytes;
    use evergate_model::{Address, Encoding, Meta};
    static EMPTY: OnceLock<Arc<Message>> = OnceLock::new();
    let message = || Message::new(Meta::new(Address::queue("")), Encoding::Plain, Bytes::new(), Bytes::new());
    EMPTY.get_or_init(|| Arc::new(message())).clone()
}
