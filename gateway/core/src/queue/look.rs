//! What stands next for a class.

use evergate_model::{Seq, Time};

use super::Queue;
use super::class::{ClassId, Mode};
use super::entry::State;
use super::line::{Item, Paged};
use crate::bug::Bug;
use crate::lane::{Lane, Place};

/// What stands next in one lane.
#[derive(Debug)]
pub enum Look {
    /// This one is there for the class; whether it belongs to a message group.
    Ready(Place, bool),
    /// This one would be, but its time is up.
    Expired(Place),
    /// This range must be read back first. With its key in the line.
    Paged(Place, Paged),
    /// This one must be committed first, and in order that holds up all behind it.
    Uncommitted(Seq),
    Nothing,
}

impl Queue {
    /// The next in a lane for a class. What the class does not want is looked at once.
    pub(super) fn look(&mut self, id: ClassId, lane: Lane, now: Time) -> Look {
        let waits_for_commits = self.waits_for_commits();
        loop {
            let Some(class) = self.classes.get_mut(&id) else { return Look::Nothing };
            let cursor = class.cursor(lane);
            let returned = class.first_returned(lane).filter(|place| place.seq < cursor);
            // What is on its way back goes before all that stands behind it.
            let takes = matches!(class.mode, Mode::Take | Mode::Evict);
            if takes
                && let Some(place) = self.rare.get().returning.first_in(lane).filter(|place| place.seq < cursor)
                && returned.is_none_or(|other| place < other)
            {
                return Look::Paged(place, self.range_of_bodies(place));
            }
            if let Some(place) = returned {
                match self.line.get(place) {
                    Some(entry) if !class.sees(entry) => class.drop_returned(place),
                    Some(entry) if entry.is_away() => return Look::Paged(place, self.range_of_bodies(place)),
                    None => class.drop_returned(place),
                    Some(entry) if entry.is_expired(now) && class.mode == Mode::Take => return Look::Expired(place),
                    Some(entry) => return Look::Ready(place, entry.message.meta.group_id().is_some()),
                }
                continue;
            }
            let Some((place, item)) = self.line.next_at(lane, cursor) else { return Look::Nothing };
            let entry = match item {
                Item::Entry(entry) => entry,
                Item::Paged(paged) => {
                    let is_too_old = class.since().zip(paged.taken).is_some_and(|(since, (_, newest))| newest < since);
                    if !is_too_old {
                        return Look::Paged(place, *paged);
                    }
                    class.set_cursor(lane, Seq(place.seq.0 + 1));
                    continue;
                }
            };
            if entry.is_away() && (class.sees(entry) || (takes && self.rare.get().returning.contains(place))) {
                return Look::Paged(place, self.range_of_bodies(place));
            }
            let waits = entry.stored && waits_for_commits;
            let awaits_commit = (waits || entry.hidden) && place.seq > self.committed && class.mode != Mode::Evict;
            if awaits_commit {
                return Look::Uncommitted(place.seq);
            }
            let is_early = matches!(entry.state, State::Waiting(_)) && self.config.bug == Some(Bug::IgnoreSchedule);
            if class.sees(entry) || (is_early && class.mode == Mode::Take) {
                let is_expired = entry.is_expired(now);
                if is_expired && class.mode == Mode::Take {
                    return Look::Expired(place);
                }
                if (!is_expired || class.mode != Mode::Copy) && class.wants(entry, &self.config.formats) {
                    return Look::Ready(place, entry.message.meta.group_id().is_some());
                }
            }
            class.set_cursor(lane, Seq(place.seq.0 + 1));
            if self.is_over_memory() {
                self.page_out(place);
            }
        }
    }

    /// The class goes past a place that it found ready.
    pub(super) fn pass(&mut self, id: ClassId, place: Place) {
        let Some(class) = self.classes.get_mut(&id) else { return };
        class.drop_returned(place);
        if !class.has_passed(place) {
            class.set_cursor(place.lane, Seq(place.seq.0 + 1));
        }
    }

    /// An entry is ready again, or at last: classes that have passed it look at it once more.
    pub(super) fn offer(&mut self, place: Place, to_copies: bool) {
        let ignores = self.config.bug == Some(Bug::ReturnedIgnoreSelectors);
        let Some(entry) = self.line.get_mut(place) else { return };
        for class in self.classes.values_mut() {
            if class.has_passed(place)
                && (class.mode != Mode::Copy || (to_copies && !class.has_copied(place)))
                && class.sees(entry)
                && (ignores || class.wants(entry, &self.config.formats))
            {
                class.put_back(place);
                entry.aside = true;
            }
        }
    }
}
