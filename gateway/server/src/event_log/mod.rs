//! The event log: what happens, as JSON, in a local file and on the topic `_LOG/<level>`.
//!
//! It is a layer of `tracing`: what the gateway logs at level info and above is an event here as well, whatever
//! the filter of the log for people says. The file is written at once, so that it has the last words of a
//! gateway that fails; the topic follows when the gateway runs.

mod file;
mod layer;

use std::sync::Arc;

use evergate_runtime::Gateway;
use tokio::sync::mpsc;

pub use file::EventFile;
pub use layer::EventLayer;

/// Events that may wait for the gateway to start, or to publish them; more are in the file only.
const WAITING_MAX: usize = 1024;

/// An event on its way to the topic.
#[derive(Debug)]
pub struct Event {
    topic: &'static str,
    json: String,
}

/// The layer, and the events that it makes.
pub fn event_log(file: Option<EventFile>) -> (EventLayer, mpsc::Receiver<Event>) {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    (EventLayer::new(file, sender), receiver)
}

/// Publishes events for as long as there are any.
pub async fn publish(gateway: Arc<Gateway>, mut events: mpsc::Receiver<Event>) {
    while let Some(event) = events.recv().await {
        gateway.announce(event.topic, event.json, false);
    }
}
