//! Last-value queues: of the messages with one key only the newest waits.

use std::collections::HashMap;
use std::sync::Arc;

use evergate_model::{Message, QueueKind, Time};

use super::class::{Class, Mode};
use super::entry::State;
use super::look::Look;
use super::{INDEX, Out, Queue};
use crate::bug::Bug;
use crate::lane::Place;

/// Where the newest message of each key stands.
#[derive(Debug, Default)]
pub struct Latest {
    places: HashMap<Arc<str>, Place>,
    /// Not all messages that were there before were looked at.
    is_incomplete: bool,
}

impl Queue {
    /// Brings the index into being or takes it away, as the settings say.
    pub(super) fn prepare_latest(&mut self) {
        let QueueKind::LastValue { .. } = &self.settings.kind else {
            self.latest = None;
            self.classes.remove(&INDEX);
            return;
        };
        // Anew: the key may be another one.
        self.latest = Some(Box::new(Latest { is_incomplete: true, ..Latest::default() }));
        self.classes.insert(INDEX, Box::new(Class::new(Mode::Index, None, None)));
    }

    /// A message's key.
    fn key_of(&self, message: &Message) -> Option<Arc<str>> {
        let QueueKind::LastValue { key } = &self.settings.kind else { return None };
        let view = self.config.formats.view(message);
        let (_, value) = view.application.iter().find(|(name, _)| **name == **key)?;
        Some(value.to_text().into())
    }

    /// A message came: the one before it with its key goes.
    pub(super) fn replaces(&mut self, place: Place, out: &mut Out<'_>) {
        if self.latest.is_none() {
            return;
        }
        let Some(key) = self.line.get(place).and_then(|entry| self.key_of(&entry.message)) else { return };
        let Some(latest) = &mut self.latest else { return };
        let old = match latest.places.insert(key.clone(), place) {
            Some(other) if other.seq > place.seq => {
                latest.places.insert(key, other);
                place
            }
            Some(other) if other.seq < place.seq && self.config.bug == Some(Bug::KeepOldValue) => place,
            Some(other) if other.seq < place.seq => other,
            _ => return,
        };
        self.is_replaced(old, out);
    }

    fn is_replaced(&mut self, place: Place, out: &mut Out<'_>) {
        let Some(entry) = self.line.get_mut(place) else {
            self.remove_paged(place, out);
            return;
        };
        match entry.state {
            State::Ready | State::Waiting(_) => self.remove_at(place, out),
            State::Held => entry.replaced = true,
            State::Leaving => {}
        }
    }

    /// A message goes.
    pub(super) fn forget_latest(&mut self, place: Place, message: &Message) {
        if self.latest.is_none() {
            return;
        }
        if let Some(key) = self.key_of(message)
            && let Some(latest) = &mut self.latest
            && latest.places.get(&key) == Some(&place)
        {
            latest.places.remove(&key);
        }
    }

    /// Looks at what was there before. False: some of it must be read back first, and until then nobody knows
    /// what is the newest.
    pub(super) fn index(&mut self, now: Time, out: &mut Out<'_>) -> bool {
        if !self.latest.as_ref().is_some_and(|latest| latest.is_incomplete) {
            return true;
        }
        for lane in self.line.lanes() {
            loop {
                match self.look(INDEX, lane, now) {
                    Look::Ready(place, _) => {
                        self.pass(INDEX, place);
                        self.replaces(place, out);
                        if self.is_over_memory() {
                            self.page_out(place);
                        }
                    }
                    Look::Paged(key, paged) => {
                        self.read_back(key, &paged, out);
                        return false;
                    }
                    Look::Expired(_) | Look::Uncommitted(_) | Look::Nothing => break,
                }
            }
        }
        if let Some(latest) = &mut self.latest {
            latest.is_incomplete = false;
        }
        self.classes.remove(&INDEX);
        true
    }
}
