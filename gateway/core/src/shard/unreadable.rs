//! Bodies that the journal has not, or not whole. Their messages go where operators see them; the node goes on.

use std::sync::Arc;

use evergate_model::{Event, QueueId};

use super::Shard;
use crate::effect::ShardEffect;
use crate::lane::Lane;

impl Shard {
    /// What was to be read back is damaged. Whoever reads a body is told that it is not there; of other messages the node
    /// does not know what it would leave out.
    pub(super) fn load_failed(&mut self, stored_as: QueueId, why: Arc<str>, effects: &mut Vec<ShardEffect>) {
        let (id, _) = Lane::split(stored_as);
        let Some(queue) = self.queues.get_mut(&id) else { return };
        if !queue.holds_body {
            effects.push(ShardEffect::Failed(why));
            return;
        }
        queue.set_damaged();
        let readers: Vec<_> = queue.consumers().map(|consumer| (consumer.attached, consumer.key)).collect();
        for (attached, key) in readers {
            self.tell_after(attached, key.session, Event::Deleted { consumer: key.consumer }, effects);
        }
    }

    /// A restart found less of a body than its messages name.
    pub(crate) fn recover_damaged(&mut self, id: QueueId) {
        if let Some(queue) = self.queues.get_mut(&id) {
            queue.set_damaged();
        }
    }
}
