//! Consumers come, say how much they take, and leave.

use std::collections::BTreeSet;

use evergate_model::few::FewMap;
use evergate_model::{Event, Seq, StreamStart, Time};

use super::class::{Class, ClassId, Mode};
use super::dispatch::Found;
use super::{Out, Queue};
use crate::bug::Bug;
use crate::consumer::{Consumer, ConsumerKey};
use crate::effect::{Position, SessionEvent, ShardEffect};
use crate::lane::{Lane, Place};
use crate::shard::ConsumerWants;

impl Queue {
    /// Adds a consumer.
    pub fn attach(&mut self, key: ConsumerKey, attached: Position, wants: &ConsumerWants, window_bytes: u64) {
        let copies = (wants.browse || self.is_stream()) && self.config.bug != Some(Bug::BrowserTakes);
        let class = self.class_for(wants, copies);
        self.next_turn += 1;
        let consumer = Consumer {
            key,
            attached,
            settled: wants.settled,
            copies,
            browses: wants.browse,
            priority: wants.priority,
            class,
            served: self.next_turn,
            came: self.next_turn,
            is_listed: false,
            limit: 0,
            delivered: 0,
            limit_bytes: window_bytes,
            delivered_bytes: 0,
            held: FewMap::default(),
            pinned: BTreeSet::new(),
            buckets: 0,
        };
        self.consumers.insert(key, Box::new(consumer));
        self.choose_active();
        if !copies {
            self.share_groups();
        }
    }

    /// The class of those that want the same; who is sent copies has one of its own.
    fn class_for(&mut self, wants: &ConsumerWants, copies: bool) -> ClassId {
        let is_same =
            |class: &Class| class.mode == Mode::Take && class.only.is_none() && class.selector == wants.selector;
        let known = self.classes.iter().find(|(_, class)| !copies && is_same(class)).map(|(id, _)| *id);
        let id = known.unwrap_or_else(|| {
            let mode = if copies { Mode::Copy } else { Mode::Take };
            let mut class = Class::new(mode, wants.selector.clone(), None);
            if self.is_stream() {
                self.begin(&mut class, wants.start);
            }
            self.add_class(class)
        });
        if let Some(class) = self.classes.get_mut(&id) {
            class.members += 1;
        }
        id
    }

    pub(super) fn add_class(&mut self, class: Class) -> ClassId {
        let id = ClassId(self.next_class);
        self.next_class += 1;
        self.classes.insert(id, Box::new(class));
        id
    }

    /// Where a consumer of a stream begins.
    fn begin(&self, class: &mut Class, start: StreamStart) {
        match start {
            StreamStart::First => {}
            StreamStart::Last => {
                let last = self.line.last_of(Lane::USUAL).map_or(self.next_seq, |place| place.seq);
                class.set_cursors(last);
            }
            StreamStart::Next => class.set_cursors(self.next_seq),
            StreamStart::Offset(seq) => class.set_cursors(seq),
            StreamStart::Time(at) => class.begin_at(at),
        }
    }

    pub fn has_consumer(&self, key: ConsumerKey) -> bool {
        self.consumers.contains_key(&key)
    }

    pub fn consumers(&self) -> impl Iterator<Item = &Consumer> {
        self.consumers.values().map(|consumer| &**consumer)
    }

    /// Removes a consumer; what it holds goes back. `failed`: it vanished, so each counts as a failed delivery.
    /// Returns when it is told that it was attached.
    pub fn detach(&mut self, key: ConsumerKey, failed: bool, now: Time, out: &mut Out<'_>) -> Option<Position> {
        let mut consumer = self.consumers.remove(&key)?;
        self.leave_class(&consumer);
        self.choose_active();
        if let Some(rare) = self.rare.made() {
            rare.unpinning.remove(&key);
            rare.drains.remove(&key);
        }
        self.let_go(&mut consumer, failed, now, out);
        Some(consumer.attached)
    }

    /// The groups of a consumer that was taken out of the line are free, and what it holds goes back.
    fn let_go(&mut self, consumer: &mut Consumer, failed: bool, now: Time, out: &mut Out<'_>) {
        let (held, pinned) = (std::mem::take(&mut consumer.held), std::mem::take(&mut consumer.pinned));
        self.leave_groups(consumer.key, pinned, &held);
        self.unsettled -= held.len() as u64;
        for (&seq, &lane) in held.iter() {
            self.give_back(Place { lane, seq }, failed, None, now, out);
        }
    }

    /// The queue is a stream now, or no longer. Its consumers begin anew as those of such a queue do; what they held
    /// stands in it, and their word on that means nothing any more.
    pub(super) fn rejoin_all(&mut self, now: Time, out: &mut Out<'_>) {
        let takers = self.consumers.values().filter(|consumer| !consumer.browses);
        let keys: Vec<ConsumerKey> = takers.map(|consumer| consumer.key).collect();
        for key in keys {
            let Some(mut consumer) = self.consumers.remove(&key) else { continue };
            let selector = self.classes.get(&consumer.class).and_then(|class| class.selector.clone());
            self.leave_class(&consumer);
            self.let_go(&mut consumer, false, now, out);
            consumer.copies = self.is_stream();
            consumer.class = self.class_for(&ConsumerWants { selector, ..ConsumerWants::default() }, consumer.copies);
            (consumer.is_listed, consumer.buckets) = (false, 0);
            self.consumers.insert(key, consumer);
            self.refresh(key);
        }
    }

    fn leave_class(&mut self, consumer: &Consumer) {
        let id = consumer.class;
        let Some(class) = self.classes.get_mut(&id) else { return };
        class.turns.remove(&consumer.turn());
        class.members -= 1;
        let is_empty = class.members == 0;
        self.list(id);
        if is_empty && let Some(mut class) = self.classes.remove(&id) {
            for place in class.take_returned() {
                let stays = self.classes.values().any(|other| other.has_returned(place));
                if let Some(entry) = self.line.get_mut(place) {
                    entry.aside = stays;
                }
            }
        }
    }

    /// A consumer that refused a message looks at the line on its own from now on.
    pub(super) fn seclude(&mut self, key: ConsumerKey) {
        let Some(consumer) = self.consumers.get_mut(&key) else { return };
        let old = consumer.class;
        let turn = consumer.turn();
        let Some(class) = self.classes.get_mut(&old).filter(|class| class.only.is_none()) else { return };
        let mut own = class.split_off(key);
        own.members = 1;
        if class.turns.remove(&turn) {
            own.turns.insert(turn);
        }
        class.members -= 1;
        let is_empty = class.members == 0;
        consumer.class = ClassId(self.next_class);
        let new = self.add_class(own);
        self.list(old);
        self.list(new);
        if is_empty {
            self.classes.remove(&old);
        }
    }

    /// Sets how much a consumer may be sent in all.
    pub fn credit(&mut self, key: ConsumerKey, limit: u64) {
        if let Some(consumer) = self.consumers.get_mut(&key) {
            consumer.limit = limit;
            self.refresh(key);
        }
    }

    /// Sets how many bytes a consumer may be sent in all.
    pub fn window(&mut self, key: ConsumerKey, limit_bytes: u64) {
        if let Some(consumer) = self.consumers.get_mut(&key) {
            consumer.limit_bytes = limit_bytes;
            self.refresh(key);
        }
    }

    /// A consumer is told, once there is nothing more for it of what stands here now, and loses what credit is left.
    pub fn drain(&mut self, key: ConsumerKey) {
        if self.consumers.contains_key(&key) {
            self.rare.make().drains.insert(key, self.next_seq);
        }
    }

    /// Answers the drains that nothing holds up any more.
    pub(super) fn answer_drains(&mut self, now: Time, out: &mut Out<'_>) {
        let Some(rare) = self.rare.made() else { return };
        let mut drains = std::mem::take(&mut rare.drains);
        drains.retain(|key, before| {
            if self.has_more_for(*key, *before, now, out) {
                return true;
            }
            if let Some(delivered) = self.drained(*key) {
                let event = Event::Drained { consumer: key.consumer, delivered };
                out.effects.push(ShardEffect::Tell(key.session, SessionEvent::Event(event)));
            }
            false
        });
        self.rare.make().drains = drains;
    }

    /// Whether a consumer with credit will be sent something that stands before `before`, once it is
    /// committed, read back, or fits into the consumer's window.
    fn has_more_for(&mut self, key: ConsumerKey, before: Seq, now: Time, out: &mut Out<'_>) -> bool {
        let Some(consumer) = self.consumers.get(&key) else { return false };
        if consumer.delivered >= consumer.limit || !self.is_served(consumer) {
            return false;
        }
        if consumer.pinned.first().is_some_and(|place| place.seq < before) {
            return true;
        }
        match self.find(consumer.class, now, out) {
            Found::Ready(place, _) => place.seq < before,
            Found::Paged(_, paged) => paged.range.first < before,
            Found::Nothing { uncommitted } => uncommitted.is_some_and(|seq| seq < before),
        }
    }

    /// Ends a drain: unused credit is gone. Returns the deliveries made since it attached.
    fn drained(&mut self, key: ConsumerKey) -> Option<u64> {
        let consumer = self.consumers.get_mut(&key)?;
        consumer.limit = consumer.limit.min(consumer.delivered);
        let delivered = consumer.delivered;
        self.refresh(key);
        Some(delivered)
    }

    fn is_served(&self, consumer: &Consumer) -> bool {
        consumer.copies || !self.is_single_active() || self.active == Some(consumer.key)
    }

    /// Finds out who is served, where only one is: the highest priority, among equals who came first.
    pub(super) fn choose_active(&mut self) {
        if !self.is_single_active() {
            if self.active.take().is_some() {
                self.refresh_all();
            }
            return;
        }
        let takers = self.consumers.values().filter(|consumer| !consumer.copies);
        let best = takers.min_by_key(|consumer| (std::cmp::Reverse(consumer.priority), consumer.came));
        let best = best.map(|consumer| consumer.key);
        if best != self.active {
            let before = std::mem::replace(&mut self.active, best);
            match before {
                Some(before) => [before].into_iter().chain(best).for_each(|key| self.refresh(key)),
                // All were served until now, perhaps.
                None => self.refresh_all(),
            }
        }
    }

    fn refresh_all(&mut self) {
        let all: Vec<ConsumerKey> = self.consumers.keys().copied().collect();
        all.into_iter().for_each(|key| self.refresh(key));
    }

    /// Notes whether a consumer may be sent something.
    pub(super) fn refresh(&mut self, key: ConsumerKey) {
        let Some(consumer) = self.consumers.get(&key) else { return };
        let is_listed = consumer.has_room() && (self.is_served(consumer) || self.config.bug == Some(Bug::TwoActive));
        if is_listed == consumer.is_listed {
            return;
        }
        let (turn, id) = (consumer.turn(), consumer.class);
        let Some(consumer) = self.consumers.get_mut(&key) else { return };
        consumer.is_listed = is_listed;
        let Some(class) = self.classes.get_mut(&id) else { return };
        if is_listed {
            if !consumer.pinned.is_empty() {
                self.rare.make().unpinning.insert(key);
            }
            class.turns.insert(turn);
        } else {
            class.turns.remove(&turn);
        }
        self.list(id);
    }

    /// A consumer was served: others of its priority go first now.
    pub(super) fn served(&mut self, key: ConsumerKey) {
        let Some(consumer) = self.consumers.get_mut(&key) else { return };
        let has_room = consumer.has_room();
        let Some(class) = self.classes.get_mut(&consumer.class) else { return };
        let is_alone = class.turns.len() == 1 && self.turns.len() == 1;
        if has_room && is_alone {
            return;
        }
        class.turns.remove(&consumer.turn());
        self.next_turn += 1;
        consumer.served = self.next_turn;
        consumer.is_listed = has_room;
        if has_room {
            class.turns.insert(consumer.turn());
        }
        let id = consumer.class;
        self.list(id);
    }

    /// Brings a class's place among the others up to date.
    fn list(&mut self, id: ClassId) {
        let Some(class) = self.classes.get_mut(&id) else { return };
        let rank = class.turns.first().map(|turn| turn.rank);
        if rank == class.listed {
            return;
        }
        if let Some(before) = class.listed {
            self.turns.remove(&(before, id));
        }
        class.listed = rank;
        if let Some(rank) = rank {
            self.turns.insert((rank, id));
        }
    }
}
