//! What the gateway itself publishes, for clients that care: who comes and goes (`_PRESENCE`), what happens
//! (`_LOG`), how it is doing (`$SYS`). Transient, at most once: a reader that does not keep up misses some.

mod presence;
mod requests;
mod sys;

use std::sync::atomic::Ordering;

use bytes::Bytes;
use evergate_model::{Address, Encoding, Message, Meta};

use crate::gateway::Gateway;
use crate::house::HouseRequest;

pub use presence::announce_presence;
pub use requests::{Compose, serve_requests};
pub use sys::publish_figures;

/// Announcements that may wait to be published; more are dropped and counted.
const WAITING_MAX: u64 = 10_000;

impl Gateway {
    /// Publishes something of the gateway's own to a topic. Never waits.
    pub fn announce(&self, topic: &str, body: impl Into<Bytes>, retain: bool) {
        let waiting = self.announcements.fetch_add(1, Ordering::Relaxed);
        if waiting >= WAITING_MAX {
            self.announcements.fetch_sub(1, Ordering::Relaxed);
            crate::connections::add(&self.totals.announcements_dropped, 1);
            return;
        }
        let message = Message::new(Meta::new(Address::topic(topic)), Encoding::Plain, Bytes::new(), body.into());
        self.house.push(HouseRequest::Announce { message: Box::new(message), retain });
    }
}
