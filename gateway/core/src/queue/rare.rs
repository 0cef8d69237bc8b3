//! What few queues have anything of. It is out of the way of what every message needs: with thousands of queues each is
//! met after the processor's cache has lost it, and its lines of memory decide what a message costs.

use std::collections::{BTreeMap, BTreeSet};

use evergate_model::{Seq, Time};

use super::admin::Peek;
use super::away::Returning;
use super::bodies::Bodies;
use super::dedup::Dedup;
use super::failures::Failures;
use super::notice::Notices;
use crate::consumer::ConsumerKey;
use crate::lane::Place;

/// Made when something is put into it; stays as long as its queue.
#[derive(Debug, Default)]
pub struct Rarely(Option<Box<Rare>>);

impl Rarely {
    /// What there is; nothing, if it was not made.
    pub fn get(&self) -> &Rare {
        self.0.as_deref().unwrap_or(&NOTHING)
    }

    /// To put something into it.
    pub fn make(&mut self) -> &mut Rare {
        self.0.get_or_insert_default()
    }

    /// To take something out of it.
    pub fn made(&mut self) -> Option<&mut Rare> {
        self.0.as_deref_mut()
    }
}

/// What few queues have anything of.
#[derive(Debug)]
pub struct Rare {
    pub returning: Returning,
    /// Paged ranges in which something is due: read back when memory allows. By their first place.
    pub due: BTreeSet<Place>,
    /// Places in paged ranges that were settled while those could not be told apart.
    pub settled_in_range: BTreeSet<Place>,
    /// Messages that go first when there is no room.
    pub discardable: BTreeSet<Place>,
    /// Consumers with room for which messages wait beside the line.
    pub unpinning: BTreeSet<ConsumerKey>,
    /// How often messages failed that may not fail for ever.
    pub failures: Failures,
    pub peeks: Vec<Peek>,
    /// Consumers that asked for a drain which the journal or their window holds up, and before which place.
    pub drains: BTreeMap<ConsumerKey, Seq>,
    pub marks: BTreeSet<u32>,
    /// Which messages have a body that is not in memory.
    pub bodies: Bodies,
    /// What identities came within the window of duplicate detection.
    pub dedup: Option<Box<Dedup>>,
    pub notices: Notices,
    /// On a stream: when the oldest message goes.
    pub ages_next: Option<Time>,
    pub counts: RareCounts,
    /// Messages on their way elsewhere, and their bytes.
    pub leaving: u64,
    pub leaving_bytes: u64,
}

/// Messages that did not go the usual way.
#[derive(Debug)]
pub struct RareCounts {
    pub expired: u64,
    pub dead_lettered: u64,
    pub dropped: u64,
    pub duplicates: u64,
}

static NOTHING: Rare = Rare::new();

impl Rare {
    const fn new() -> Self {
        Self {
            returning: Returning::new(),
            due: BTreeSet::new(),
            settled_in_range: BTreeSet::new(),
            discardable: BTreeSet::new(),
            unpinning: BTreeSet::new(),
            failures: BTreeMap::new(),
            peeks: Vec::new(),
            drains: BTreeMap::new(),
            marks: BTreeSet::new(),
            bodies: Bodies::new(),
            dedup: None,
            notices: Notices::new(),
            ages_next: None,
            counts: RareCounts { expired: 0, dead_lettered: 0, dropped: 0, duplicates: 0 },
            leaving: 0,
            leaving_bytes: 0,
        }
    }
}

impl Default for Rare {
    fn default() -> Self {
        Self::new()
    }
}
