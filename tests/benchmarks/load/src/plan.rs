//! What to do, from the command line.

use std::time::Duration;

/// The options of a run; each mode reads those that it needs.
pub struct Plan {
    pub mode: Mode,
    pub protocol: String,
    pub address: String,
    pub durable: bool,
    pub pairs: u32,
    /// Prefix of queues and client names: makes a run independent of those before it.
    pub name: String,
    /// Messages a second, all pairs together, while latency is measured.
    pub rate: f64,
    pub paced: Duration,
    pub full: Duration,
    /// Unconfirmed messages of a publisher (durable only).
    pub window: u64,
    /// Messages of a pair that the broker may hold: with more, latency and memory would grow without bound.
    pub delivery_window: u64,
    /// Processes whose CPU time is the broker's.
    pub pids: Vec<u32>,
    /// Bytes of a message's body.
    pub body: usize,
    /// Destinations of a pair; its publisher takes them in turn. MQTT and STOMP.
    pub destinations: u64,
    /// MQTT publishers have sessions that outlive their connection.
    pub sessions: bool,
    /// MQTT publishes to the queues `$queue/…`, not to topics.
    pub queues: bool,
    /// Publish while nobody consumes; afterwards everything is consumed and checked.
    pub later: bool,
    /// Messages to fill in or to drain.
    pub messages: u64,
    /// Number of the first of them.
    pub first: u64,
    /// Consumers of a topic, or connections of bystanders.
    pub subscribers: u32,
    /// How many of the consumers never read.
    pub stalled: u32,
    /// Subscriptions of each bystander.
    pub filters: u32,
    /// How long to try to connect.
    pub connect: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Pairs of a publisher and a consumer: throughput and latency.
    Pairs,
    /// One publisher fills one queue.
    Fill,
    /// One consumer empties it.
    Drain,
    /// One publisher, many consumers of one topic.
    Fanout,
    /// Subscriptions that match nothing, until standard input ends.
    Bystand,
}

impl Plan {
    pub fn from(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut plan = Self::default();
        while let Some(option) = arguments.next() {
            match option.as_str() {
                "--durable" => plan.durable = true,
                "--queues" => plan.queues = true,
                "--sessions" => plan.sessions = true,
                "--later" => plan.later = true,
                _ => plan.set(&option, arguments.next().ok_or_else(|| format!("{option} needs a value"))?)?,
            }
        }
        if plan.destinations == 0 || plan.body < crate::source::HEAD_BYTES {
            return Err("too few destinations, or too small a body".into());
        }
        Ok(plan)
    }

    fn set(&mut self, option: &str, value: String) -> Result<(), String> {
        let number = || value.parse::<f64>().map_err(|_| format!("{option} needs a number"));
        let seconds = || number().map(Duration::from_secs_f64);
        match option {
            "--mode" => self.mode = Mode::named(&value).ok_or_else(|| format!("no mode {value}"))?,
            "--protocol" => self.protocol = value,
            "--address" => self.address = value,
            "--name" => self.name = value,
            "--pairs" => self.pairs = number()? as u32,
            "--rate" => self.rate = number()?,
            "--window" => self.window = number()? as u64,
            "--delivery-window" => self.delivery_window = number()? as u64,
            "--paced-seconds" => self.paced = seconds()?,
            "--full-seconds" => self.full = seconds()?,
            "--body" => self.body = number()? as usize,
            "--destinations" => self.destinations = number()? as u64,
            "--messages" => self.messages = number()? as u64,
            "--first" => self.first = number()? as u64,
            "--subscribers" => self.subscribers = number()? as u32,
            "--stalled" => self.stalled = number()? as u32,
            "--filters" => self.filters = number()? as u32,
            "--connect-seconds" => self.connect = seconds()?,
            "--pids" => self.pids = value.split(',').filter_map(|pid| pid.parse().ok()).collect(),
            _ => return Err(format!("unknown option {option}")),
        }
        Ok(())
    }
}

impl Mode {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "pairs" => Self::Pairs,
            "fill" => Self::Fill,
            "drain" => Self::Drain,
            "fanout" => Self::Fanout,
            "bystand" => Self::Bystand,
            _ => return None,
        })
    }
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            mode: Mode::Pairs,
            protocol: "mqtt".into(),
            address: String::new(),
            durable: false,
            pairs: 1,
            name: "bench".into(),
            rate: 1000.0,
            paced: Duration::from_secs(1),
            full: Duration::from_secs(2),
            window: 1024,
            delivery_window: 4096,
            pids: Vec::new(),
            body: 256,
            destinations: 1,
            queues: false,
            sessions: false,
            later: false,
            messages: 0,
            first: 0,
            subscribers: 1,
            stalled: 0,
            filters: 1,
            connect: Duration::ZERO,
        }
    }
}
