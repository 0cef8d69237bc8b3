//! The event log: what happens, as JSON, in a local file and on the topic `_LOG/<level>`.
//!
//! It is a layer of `tracing`: what the gateway logs at level info and above is an event here as well, whatever
//! the filter of the log for people says. The file is written at once, so that it has the last words of a
//! gateway that fails; the topic follows when the gateway runs.

mod file;
mod layer;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use evergate_runtime::Gateway;
use tokio::sync::mpsc;

pub use file::EventFile;
pub use layer::EventLayer;

/// Events that may wait for the gateway to start, or to publish them; more are in the file only, and counted.
const WAITING_MAX: usize = 1024;

/// An event on its way to the topic.
#[derive(Debug)]
pub struct Event {
    topic: &'static str,
    json: String,
}

/// Those that are to be published.
#[derive(Debug)]
pub struct Events {
    waiting: mpsc::Receiver<Event>,
    /// Those for which there was no room.
    lost: Arc<AtomicU64>,
}

/// The layer, and the events that it makes.
pub fn event_log(file: Option<EventFile>) -> (EventLayer, Events) {
    let (sender, waiting) = mpsc::channel(WAITING_MAX);
    let lost = Arc::new(AtomicU64::new(0));
    (EventLayer::new(file, sender, lost.clone()), Events { waiting, lost })
}

impl Events {
    /// The next event, and how many more are lost. One that is lost leaves others waiting: it is counted with them.
    async fn next(&mut self) -> Option<(Event, u64)> {
        let event = self.waiting.recv().await?;
        Some((event, self.lost.swap(0, Ordering::Relaxed)))
    }
}

/// Publishes events for as long as there are any.
pub async fn publish(gateway: Arc<Gateway>, mut events: Events) {
    while let Some((event, lost)) = events.next().await {
        gateway.totals.announcements_dropped.fetch_add(lost, Ordering::Relaxed);
        gateway.announce(event.topic, event.json, false);
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[tokio::test]
    async fn events_for_which_there_is_no_room_are_counted() {
        let (layer, mut events) = event_log(None);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            (0..WAITING_MAX + 5).for_each(|number| tracing::info!(target: "evergate", number, "an event"));
        });
        assert_eq!(events.next().await.map(|(_, lost)| lost), Some(5));
        for _ in 1..WAITING_MAX {
            assert_eq!(events.next().await.map(|(_, lost)| lost), Some(0));
        }
        assert!(events.next().await.is_none());
    }
}
