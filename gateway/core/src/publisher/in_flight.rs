//! Messages to queues that are not answered yet. What follows does not go to a successor of the same name before those
//! are answered, since they may have to go there, too.

use std::hash::BuildHasher;

use evergate_model::few::FewMap;
use evergate_model::{NameHash, QueueId};

use super::Waiting;

/// A message to a queue by name, until it is answered: if the queue was deleted meanwhile, it goes to its successor.
#[derive(Debug)]
pub struct ToQueue {
    name: NameKey,
    queue: QueueId,
    /// The newest of all queues when it was sent.
    newest: QueueId,
    /// The message, as it waited.
    pub waiting: Waiting,
}

/// What stands for a name. Two names may share one: the second then waits until the first is answered, as if it were
/// the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct NameKey(u64);

/// How many there are, by the newest of all queues when they were sent: one number, unless queues are being made.
#[derive(Debug, Default)]
pub struct InFlight {
    hash: NameHash,
    counts: FewMap<QueueId, u32>,
}

impl InFlight {
    /// A message is on its way to `queue`.
    pub fn sent(&mut self, queue: QueueId, newest: QueueId, waiting: Waiting) -> ToQueue {
        *self.counts.get_or_insert_with(newest, || 0) += 1;
        ToQueue { name: self.key(&waiting.message.meta.address.name), queue, newest, waiting }
    }

    /// It is answered.
    pub fn landed(&mut self, sent: &ToQueue) {
        if let Some(count) = self.counts.get_mut(&sent.newest) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&sent.newest);
            }
        }
    }

    /// Whether one of `sent`, which is all that is unanswered, went to another queue of this name. Nearly always that
    /// is told without a look at them: `queue` was there before any of them was sent, so its name led to it then.
    pub fn may_overtake<'a>(&self, name: &str, queue: QueueId, mut sent: impl Iterator<Item = &'a ToQueue>) -> bool {
        if self.counts.keys().next().is_none_or(|newest| queue <= *newest) {
            return false;
        }
        let name = self.key(name);
        sent.any(|other| other.name == name && other.queue != queue)
    }

    fn key(&self, name: &str) -> NameKey {
        NameKey(self.hash.hash_one(name))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use evergate_model::{Address, Encoding, Message, Meta, Token};

    use super::*;

    fn waiting(name: &str) -> Waiting {
        let message = Message::new(Meta::new(Address::queue(name)), Encoding::Plain, Bytes::new(), Bytes::new());
        Waiting { token: Token(1), message: Arc::new(message), retain: false, mark: None, body: None }
    }

    #[test]
    fn a_message_waits_for_those_that_went_to_the_queue_before_its_own() {
        let mut in_flight = InFlight::default();
        let (old, other, successor) = (QueueId(5), QueueId(7), QueueId(9));
        let sent = [in_flight.sent(old, other, waiting("a")), in_flight.sent(other, other, waiting("b"))];
        let may_overtake = |in_flight: &InFlight, sent: &[ToQueue], name: &str, queue| {
            in_flight.may_overtake(name, queue, sent.iter())
        };
        assert!(!may_overtake(&in_flight, &sent, "a", old));
        assert!(may_overtake(&in_flight, &sent, "a", successor));
        assert!(!may_overtake(&in_flight, &sent, "c", successor), "nothing of that name is under way");
        // What went to the successor itself need not be waited for, what went before does.
        let [a, b] = sent;
        let sent = [a, b, in_flight.sent(successor, successor, waiting("b"))];
        assert!(may_overtake(&in_flight, &sent, "b", successor));
        sent[..2].iter().for_each(|one| in_flight.landed(one));
        assert!(!may_overtake(&in_flight, &sent[2..], "b", successor));
        in_flight.landed(&sent[2]);
        assert!(!may_overtake(&in_flight, &[], "a", QueueId(11)));
    }
}
