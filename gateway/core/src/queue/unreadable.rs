//! A message whose body a consumer could not be sent: it is in nobody's way, and operators hear of it.

use evergate_model::{Seq, Time};

use super::{Out, Queue};
use crate::consumer::ConsumerKey;
use crate::effect::{Notice, NoticeKind, ShardEffect};
use crate::lane::Place;

/// Why it is a dead letter.
const REASON: &str = "unreadable";

impl Queue {
    /// A delivery could not be made, and would not be the next time.
    pub(super) fn set_aside(&mut self, key: ConsumerKey, place: Place, now: Time, out: &mut Out<'_>) {
        self.tell_unreadable(key, place.seq, Some(place), out);
        if self.is_for_letters {
            // There is nowhere to send it; it stays for operators to see.
            self.give_back(place, true, Some(key), now, out);
        } else {
            self.reject(place, REASON, now, out);
        }
    }

    /// `place`: the message is here yet.
    pub(super) fn tell_unreadable(&self, key: ConsumerKey, seq: Seq, place: Option<Place>, out: &mut Out<'_>) {
        let message = place.and_then(|place| self.line.get(place)).map(|entry| entry.message.meta.id);
        out.effects.push(ShardEffect::Notice(Notice {
            queue: self.name.clone(),
            what: NoticeKind::Unreadable { seq, message },
            messages: self.line.count,
            bytes: self.bytes(),
            consumers: vec![key.session],
        }));
    }
}
