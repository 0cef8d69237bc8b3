//! What an attach means where a queue is there already.

use std::borrow::Cow;

use evergate_model::{Attach, AttachAccess, AttachError, Standing};

use super::Directory;

impl Directory {
    /// The attach with the name, the lifetime and the access that follow from what is there.
    pub(super) fn find_standing<'a>(&self, attach: &'a Attach) -> Result<Cow<'a, Attach>, AttachError> {
        let name = match &attach.standing {
            Standing::Taken => return Ok(Cow::Borrowed(attach)),
            Standing::Needed => &attach.queue.name,
            Standing::Instead(name) => name,
        };
        let found = self.names.get(name).and_then(|id| self.queues.get(id));
        let mut means = Cow::Borrowed(attach);
        match (found, &attach.standing) {
            (None, Standing::Needed) => return Err(AttachError::NotFound),
            (Some(info), Standing::Needed) => {
                let queue = &mut means.to_mut().queue;
                (queue.durable, queue.lifetime) = (info.durable, info.lifetime);
            }
            (Some(info), _) if !info.consumers.iter().any(|holder| holder.access == AttachAccess::Shared) => {
                let attach = means.to_mut();
                attach.queue.name = name.clone();
                attach.access = AttachAccess::TakeOver;
            }
            _ => {}
        }
        Ok(means)
    }
}
