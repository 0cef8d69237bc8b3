//! From `tracing` events to JSON.

use std::fmt::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use serde_json::{Map, Value};
use tokio::sync::mpsc::{self, error::TrySendError};
use tracing::field::{Field, Visit};
use tracing::{Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::{Event, EventFile};

/// Events of other libraries say nothing about the gateway.
const OUR_TARGETS: &str = "evergate";

/// Makes an event of what the gateway logs.
#[derive(Debug)]
pub struct EventLayer {
    file: Option<Mutex<EventFile>>,
    events: mpsc::Sender<Event>,
    lost: Arc<AtomicU64>,
}

impl EventLayer {
    pub(super) fn new(file: Option<EventFile>, events: mpsc::Sender<Event>, lost: Arc<AtomicU64>) -> Self {
        Self { file: file.map(Mutex::new), events, lost }
    }
}

impl<S: Subscriber> Layer<S> for EventLayer {
    fn on_event(&self, event: &tracing::Event<'_>, _context: Context<'_, S>) {
        let metadata = event.metadata();
        let (level, topic) = match *metadata.level() {
            Level::ERROR => ("error", "_LOG/error"),
            Level::WARN => ("warn", "_LOG/warn"),
            Level::INFO => ("info", "_LOG/info"),
            _ => return,
        };
        if !metadata.target().starts_with(OUR_TARGETS) {
            return;
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        let at_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        let mut object = Map::new();
        object.insert("at_ms".into(), at_ms.into());
        object.insert("level".into(), level.into());
        object.insert("event".into(), fields.message.into());
        object.append(&mut fields.others);
        let json = Value::Object(object).to_string();
        if let Some(file) = &self.file {
            file.lock().append(&json);
        }
        // Full: the topic misses it, the file has it.
        if let Err(TrySendError::Full(_)) = self.events.try_send(Event { topic, json }) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The fields of an event.
#[derive(Default)]
struct Fields {
    message: String,
    others: Map<String, Value>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.others.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            // Into a String this cannot fail.
            let _ = write!(self.message, "{value:?}");
        } else {
            self.put(field, format!("{value:?}"));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.put(field, value);
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }
}
