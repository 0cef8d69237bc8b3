//! Message groups: the messages of one group go to one consumer, in order.
//!
//! Groups are counted by bucket, so that a million of them cost no more than a thousand. A bucket belongs to
//! the consumer that its first message went to. A message whose consumer has no room waits beside the line
//! for it; those of other groups pass.
//!
//! What the owner does not select it never gets. Whoever selects it gets the whole bucket, once the owner holds
//! nothing of it; until then all of the bucket waits, so that the owner cannot keep it for ever.

use std::collections::BTreeSet;

use super::class::{ClassId, Mode};
use super::{Out, Queue};
use crate::bug::Bug;
use crate::consumer::ConsumerKey;
use crate::lane::{Lane, Place};
use evergate_model::few::FewMap;
use evergate_model::{Seq, Time};

const BUCKETS: usize = 1024;

/// So many messages wait beside the line for one consumer; then the line waits.
const PINNED_MAX: usize = 1024;

#[derive(Debug)]
pub struct Groups {
    buckets: Vec<Bucket>,
    /// Classes that a bucket was freed for: each is served once before the others, whatever its priority. They
    /// would take the bucket back.
    favoured: BTreeSet<ClassId>,
    /// A bucket was taken over since something was handed out.
    has_moved: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    owner: Option<ConsumerKey>,
    /// Messages that the owner holds, or that wait beside the line for it.
    busy: u32,
    /// This class gets it once the owner holds nothing of it.
    claimed_by: Option<ClassId>,
}

/// Who may be sent a message.
#[derive(Debug)]
pub enum Recipient {
    /// Whoever of the class has its turn.
    Any,
    /// This one, which has room.
    Only(ConsumerKey),
    /// Nobody of this class now: the class goes on to the next.
    Elsewhere,
    /// The one it is for has no room, and too much waits for it already.
    Blocked,
}

/// FNV-1a: the same in every release, though nothing depends on it.
fn bucket_of(group: &str) -> usize {
    let hash = group
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    (hash % BUCKETS as u64) as usize
}

impl Groups {
    fn new() -> Self {
        Self { buckets: vec![Bucket::default(); BUCKETS], favoured: BTreeSet::new(), has_moved: false }
    }
}

impl Queue {
    /// The bucket of an entry's group.
    fn bucket_at(&self, place: Place) -> Option<usize> {
        self.line.get(place)?.message.meta.group_id().map(|group| bucket_of(group))
    }

    /// Who of a class may be sent a ready entry.
    pub(super) fn recipient(&mut self, id: ClassId, place: Place) -> Recipient {
        // Where one consumer gets everything, it gets every group.
        if self.is_single_active() || !self.classes.get(&id).is_some_and(|class| class.mode == Mode::Take) {
            return Recipient::Any;
        }
        let Some(number) = self.bucket_at(place) else { return Recipient::Any };
        if self.config.bug == Some(Bug::ScatterGroups) {
            return Recipient::Any;
        }
        let groups = self.groups.get_or_insert_with(|| Box::new(Groups::new()));
        let bucket = groups.buckets[number];
        let owner = bucket.owner.and_then(|key| self.consumers.get_mut(&key));
        let Some(owner) = owner else {
            // Its owner has left, perhaps, with some of it in a transaction.
            return if bucket.busy > 0 { self.wait_for_bucket(id, place) } else { self.choose_owner(id, number) };
        };
        if bucket.claimed_by.is_some() {
            return self.wait_for_bucket(id, place);
        }
        if owner.class != id {
            let (key, class, entry) = (owner.key, self.classes.get(&owner.class), self.line.get(place));
            let wants = class.zip(entry).is_some_and(|(class, entry)| class.wants(entry, &self.config.formats));
            if !wants {
                return self.claim(id, number, key, place);
            }
            self.skip(id, place);
            return Recipient::Elsewhere;
        }
        if owner.is_listed && owner.pinned.is_empty() {
            return Recipient::Only(owner.key);
        }
        if owner.pinned.len() >= PINNED_MAX {
            return Recipient::Blocked;
        }
        // It is there already if the class looks again at what it had passed.
        groups.buckets[number].busy += u32::from(owner.pinned.insert(place));
        if let Some(entry) = self.line.get_mut(place) {
            entry.aside = true;
        }
        self.pass(id, place);
        Recipient::Elsewhere
    }

    /// The owner does not want this one, and the class does: the bucket changes hands as soon as it may.
    fn claim(&mut self, id: ClassId, number: usize, owner: ConsumerKey, place: Place) -> Recipient {
        if self.classes.get(&id).is_none_or(|class| class.turns.is_empty()) {
            return Recipient::Any;
        }
        self.unpin_all_of(number, owner);
        let Some(groups) = &mut self.groups else { return Recipient::Any };
        if groups.buckets[number].busy > 0 && self.config.bug != Some(Bug::GroupMovesTooEarly) {
            groups.buckets[number].claimed_by = Some(id);
            return self.wait_for_bucket(id, place);
        }
        self.free_bucket(number);
        self.choose_owner(id, number);
        // Of what was skipped while the bucket was another's, the oldest goes first.
        self.groups.iter_mut().for_each(|groups| groups.has_moved = true);
        Recipient::Elsewhere
    }

    /// Whether a bucket was taken over since this was asked last.
    pub(super) fn has_moved_group(&mut self) -> bool {
        self.groups.as_mut().is_some_and(|groups| std::mem::take(&mut groups.has_moved))
    }

    /// A class that is served once before the others.
    pub(super) fn favoured_class(&mut self) -> Option<ClassId> {
        while let Some(id) = self.groups.as_mut()?.favoured.pop_first() {
            if self.classes.get(&id).is_some_and(|class| class.listed.is_some()) {
                return Some(id);
            }
        }
        None
    }

    /// Looked at again when the bucket has changed hands.
    fn wait_for_bucket(&mut self, id: ClassId, place: Place) -> Recipient {
        match self.classes.get_mut(&id) {
            Some(class) if class.waits() < PINNED_MAX => class.add_waiting(),
            _ => return Recipient::Blocked,
        }
        self.skip(id, place);
        Recipient::Elsewhere
    }

    /// The class goes past a place that is another's for now, and that need not wait in memory.
    fn skip(&mut self, id: ClassId, place: Place) {
        self.pass(id, place);
        self.classes.get_mut(&id).into_iter().for_each(|class| class.skip(place));
        if self.is_over_memory() {
            self.page_out(place);
        }
    }

    /// What waits beside the line for credit does not keep a bucket: it stands in the line again.
    fn unpin_all_of(&mut self, number: usize, owner: ConsumerKey) {
        let Some(consumer) = self.consumers.get(&owner) else { return };
        let (id, pinned) = (consumer.class, consumer.pinned.iter().copied());
        let concerned: Vec<Place> = pinned.filter(|place| self.bucket_at(*place) == Some(number)).collect();
        for place in concerned {
            self.unpin(place);
            self.classes.get_mut(&id).into_iter().for_each(|class| class.skip(place));
        }
    }

    /// The bucket is nobody's.
    fn free_bucket(&mut self, number: usize) {
        let Some(groups) = &mut self.groups else { return };
        let bucket = std::mem::take(&mut groups.buckets[number]);
        if let Some(owner) = bucket.owner.and_then(|key| self.consumers.get_mut(&key)) {
            owner.buckets -= 1;
        }
        groups.favoured.extend(bucket.claimed_by);
        self.classes.values_mut().for_each(|class| class.rewind());
    }

    /// The consumer of the class that has room and the fewest buckets gets the bucket.
    fn choose_owner(&mut self, id: ClassId, number: usize) -> Recipient {
        let turns = self.classes.get(&id).into_iter().flat_map(|class| class.turns.iter());
        let keys = turns.filter_map(|turn| Some((self.consumers.get(&turn.key)?.buckets, turn.key)));
        let Some((_, key)) = keys.min() else { return Recipient::Any };
        if let (Some(consumer), Some(groups)) = (self.consumers.get_mut(&key), &mut self.groups) {
            consumer.buckets += 1;
            groups.buckets[number] = Bucket { owner: Some(key), ..Bucket::default() };
        }
        Recipient::Only(key)
    }

    /// A consumer was sent an entry from the line.
    pub(super) fn group_is_held(&mut self, key: ConsumerKey, place: Place) {
        let Some(number) = self.groups.as_ref().and_then(|_| self.bucket_at(place)) else { return };
        if let Some(groups) = &mut self.groups
            && groups.buckets[number].owner == Some(key)
        {
            groups.buckets[number].busy += 1;
        }
    }

    /// A consumer no longer holds an entry.
    pub(super) fn group_is_settled(&mut self, key: ConsumerKey, place: Place) {
        let Some(number) = self.groups.as_ref().and_then(|_| self.bucket_at(place)) else { return };
        let Some(bucket) = self.groups.as_mut().map(|groups| &mut groups.buckets[number]) else { return };
        if bucket.owner == Some(key) {
            bucket.busy = bucket.busy.saturating_sub(1);
            if bucket.busy == 0 && (bucket.claimed_by.is_some() || !self.consumers.contains_key(&key)) {
                self.free_bucket(number);
            }
        }
    }

    /// An entry goes, perhaps while it waits beside the line.
    pub(super) fn unpin(&mut self, place: Place) {
        let Some(number) = self.groups.as_ref().and_then(|_| self.bucket_at(place)) else { return };
        let Some(groups) = &mut self.groups else { return };
        let bucket = &mut groups.buckets[number];
        if let Some(owner) = bucket.owner.and_then(|key| self.consumers.get_mut(&key))
            && owner.pinned.remove(&place)
        {
            bucket.busy = bucket.busy.saturating_sub(1);
        }
    }

    /// Hands out what waits beside the line for consumers that have room again.
    pub(super) fn hand_out_pinned(&mut self, now: Time, out: &mut Out<'_>) {
        while let Some(key) = self.rare.get().unpinning.first().copied() {
            let Some(consumer) = self.consumers.get(&key).filter(|consumer| consumer.is_listed) else {
                self.rare.make().unpinning.remove(&key);
                continue;
            };
            let Some(place) = consumer.pinned.first().copied() else {
                self.rare.make().unpinning.remove(&key);
                continue;
            };
            self.unpin(place);
            if self.line.get(place).is_some_and(|entry| entry.is_expired(now)) {
                self.expire(place, now, out);
            } else {
                self.group_is_held(key, place);
                self.deliver(key, place, out);
            }
        }
    }

    /// A consumer leaves, or wants something else from now on: its buckets are free, but for those of which a
    /// transaction holds something. Until that is decided nobody gets what stands behind it.
    pub(super) fn leave_groups(&mut self, key: ConsumerKey, pinned: BTreeSet<Place>, held: &FewMap<Seq, Lane>) {
        if self.groups.is_none() {
            return;
        }
        let held = held.iter().map(|(&seq, &lane)| Place { lane, seq });
        let left: Vec<usize> = held.chain(pinned.iter().copied()).filter_map(|place| self.bucket_at(place)).collect();
        let Some(groups) = &mut self.groups else { return };
        for number in left {
            let bucket = &mut groups.buckets[number];
            bucket.busy = bucket.busy.saturating_sub(u32::from(bucket.owner == Some(key)));
        }
        for bucket in groups.buckets.iter_mut().filter(|bucket| bucket.owner == Some(key) && bucket.busy == 0) {
            *bucket = Bucket::default();
        }
        for place in pinned {
            self.offer(place, false);
        }
        self.classes.values_mut().for_each(|class| class.rewind());
    }

    /// Others are served from now on: what waits beside the line stands in it again, and who holds something of a
    /// group has it.
    pub(super) fn regroup(&mut self) {
        if let Some(rare) = self.rare.made() {
            rare.unpinning.clear();
        }
        let all: Vec<ConsumerKey> = self.consumers.keys().copied().collect();
        let mut groups = Groups::new();
        for key in all {
            let Some(consumer) = self.consumers.get_mut(&key) else { continue };
            consumer.buckets = 0;
            let (pinned, held) = (std::mem::take(&mut consumer.pinned), consumer.held.clone());
            pinned.into_iter().for_each(|place| self.offer(place, false));
            for (&seq, &lane) in held.iter() {
                let Some(number) = self.bucket_at(Place { lane, seq }) else { continue };
                let bucket = &mut groups.buckets[number];
                if bucket.owner.is_none() {
                    bucket.owner = Some(key);
                    self.consumers.get_mut(&key).into_iter().for_each(|consumer| consumer.buckets += 1);
                }
                bucket.busy += u32::from(bucket.owner == Some(key));
            }
        }
        let is_any = groups.buckets.iter().any(|bucket| bucket.owner.is_some());
        self.groups = is_any.then(|| Box::new(groups));
        self.classes.values_mut().for_each(|class| class.rewind());
    }

    /// A consumer joins: those with more than their share let go of what nobody is at work on.
    pub(super) fn share_groups(&mut self) {
        let Some(groups) = &mut self.groups else { return };
        let takers = self.consumers.values().filter(|consumer| !consumer.copies).count();
        let owned = groups.buckets.iter().filter(|bucket| bucket.owner.is_some()).count();
        let share = owned.div_ceil(takers.max(1)) as u32;
        let mut was_freed = false;
        for bucket in groups.buckets.iter_mut().filter(|bucket| bucket.busy == 0) {
            let consumer = bucket.owner.and_then(|key| self.consumers.get_mut(&key));
            if let Some(rich) = consumer.filter(|consumer| consumer.buckets > share) {
                rich.buckets -= 1;
                bucket.owner = None;
                was_freed = true;
            }
        }
        if was_freed {
            self.classes.values_mut().for_each(|class| class.rewind());
        }
    }
}
