//! `/metrics`: the OpenMetrics text that Prometheus reads. `docs/observability.md` explains every name.

use std::collections::BTreeMap;
use std::fmt;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use crate::AdminState;
use crate::overview::{ROWS_MAX, busiest};
use crate::snapshot::{ConnectionState, DestinationKind, DestinationRow, Snapshot};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(crate) async fn metrics(State(state): State<AdminState>) -> Response {
    let ready = state.observe.ready().is_ok();
    match text(state.observe.snapshot(), ready) {
        Ok(text) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(fmt::Error) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// The metrics of one snapshot.
pub(crate) fn text(mut snapshot: Snapshot, ready: bool) -> Result<String, fmt::Error> {
    let mut kinds = DestinationKind::ALL.map(|kind| (kind, 0));
    for row in &snapshot.destinations {
        for (kind, count) in &mut kinds {
            *count += u64::from(*kind == row.kind);
        }
    }
    // A name that is a label costs whoever stores the series: only the busiest appear by name.
    busiest(&mut snapshot.destinations, ROWS_MAX);
    let mut registry = Registry::with_prefix("evergate");
    registry.register_collector(Box::new(Scrape { snapshot, ready, kinds }));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Scrape {
    snapshot: Snapshot,
    ready: bool,
    kinds: [(DestinationKind, u64); DestinationKind::ALL.len()],
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let mut page = Page(encoder);
        self.node(&mut page)?;
        self.messages(&mut page)?;
        self.connections(&mut page)?;
        self.destinations(&mut page)?;
        self.resources(&mut page)
    }
}

impl Scrape {
    fn node(&self, page: &mut Page) -> fmt::Result {
        let node = &self.snapshot.node;
        let info = [("version", node.version.as_str()), ("journal", node.journal.as_str())];
        page.family(
            "build_info",
            "Version of the gateway and kind of its journal; always 1",
            None,
            [(info, gauge(1))],
        )?;
        // Milliseconds since 1970 are exact in a double for longer than anyone counts.
        #[allow(clippy::cast_precision_loss)]
        let started = ConstGauge::new(node.started_at_ms as f64 / 1000.0);
        page.one("start_time", "When the process started, in seconds since 1970", Some(&Unit::Seconds), &started)?;
        page.one("ready", "Whether the gateway can do its work", None, &gauge(u64::from(self.ready)))
    }

    fn messages(&self, page: &mut Page) -> fmt::Result {
        let totals = &self.snapshot.totals;
        for (name, help, value) in [
            ("messages_published", "Messages that publishers sent", totals.published),
            ("messages_delivered", "Messages sent to consumers, redeliveries included", totals.delivered),
            ("messages_confirmed", "Confirms sent to publishers", totals.confirmed),
            ("messages_settled", "Deliveries that consumers settled", totals.settled),
            ("messages_rejected", "Messages refused to their publishers", totals.rejected),
            ("messages_dropped", "Messages accepted and then given up", totals.dropped),
            ("messages_expired", "Messages whose time was up", totals.expired),
            ("messages_dead_lettered", "Messages sent to _DMQ", totals.dead_lettered),
            ("connections_refused", "Connections refused because a limit was reached", totals.connections_refused),
            ("announcements_dropped", "Events not published because too many waited", totals.announcements_dropped),
            ("transactions_committed", "Commits that clients were told of", totals.transactions_committed),
            ("transactions_rolled_back", "Transactions rolled back", totals.transactions_rolled_back),
            ("transactions_refused", "Transactions refused because of a limit", totals.transactions_refused),
        ] {
            page.one(name, help, None, &ConstCounter::new(value))?;
        }
        page.one("transactions_open", "Transactions that are open", None, &gauge(totals.transactions_open))
    }

    fn connections(&self, page: &mut Page) -> fmt::Result {
        let mut protocols = BTreeMap::<&str, u64>::new();
        let mut blocked = 0;
        for row in &self.snapshot.connections {
            *protocols.entry(&row.protocol).or_default() += 1;
            blocked += u64::from(row.state == ConnectionState::Blocked);
        }
        let samples = protocols.into_iter().map(|(protocol, count)| ([("protocol", protocol)], gauge(count)));
        page.family("connections", "Open connections", None, samples)?;
        page.one("connections_blocked", "Connections from which the gateway does not read now", None, &gauge(blocked))
    }

    fn destinations(&self, page: &mut Page) -> fmt::Result {
        let samples = self.kinds.iter().map(|(kind, count)| ([("kind", kind.name())], gauge(*count)));
        page.family("destinations", "Destinations that exist", None, samples)?;
        for (name, help, unit, value) in DESTINATION_GAUGES {
            let samples = self.snapshot.destinations.iter().map(|row| (labels(row), gauge(value(row))));
            page.family(name, help, unit.as_ref(), samples)?;
        }
        for (name, help, value) in DESTINATION_COUNTERS {
            let samples = self.snapshot.destinations.iter().map(|row| (labels(row), ConstCounter::new(value(row))));
            page.family(name, help, None, samples)?;
        }
        Ok(())
    }

    fn resources(&self, page: &mut Page) -> fmt::Result {
        let (memory, journal) = (&self.snapshot.memory, &self.snapshot.journal);
        let (bytes, seconds) = (Some(&Unit::Bytes), Some(&Unit::Seconds));
        page.one("memory_used", "Memory that messages take", bytes, &gauge(memory.used_bytes))?;
        page.one("memory_limit", "Memory that messages may take", bytes, &gauge(memory.max_bytes))?;
        page.one("journal_commits", "Commits of the journal", None, &ConstCounter::new(journal.commits_total))?;
        page.one(
            "journal_messages",
            "Messages stored by those commits",
            None,
            &ConstCounter::new(journal.messages_total),
        )?;
        let (sum, max) = (ConstCounter::new(journal.commit_seconds_sum), ConstGauge::new(journal.commit_seconds_max));
        page.one("journal_commit", "Time spent in commits", seconds, &sum)?;
        page.one("journal_commit_max", "The longest commit since the start", seconds, &max)?;
        page.one("journal_pending_records", "Records that wait for their commit", None, &gauge(journal.pending))
    }
}

type GaugeOfRow = (&'static str, &'static str, Option<Unit>, fn(&DestinationRow) -> u64);
type CounterOfRow = (&'static str, &'static str, fn(&DestinationRow) -> u64);

const DESTINATION_GAUGES: &[GaugeOfRow] = &[
    ("destination_messages", "Messages held, the unsettled included", None, |row| row.messages),
    ("destination", "Size of the messages held", Some(Unit::Bytes), |row| row.bytes),
    ("destination_consumers", "Consumers attached", None, |row| row.consumers),
    ("destination_unsettled_messages", "Messages delivered and not yet settled", None, |row| row.unsettled),
];

const DESTINATION_COUNTERS: &[CounterOfRow] = &[
    ("destination_published", "Messages that arrived", |row| row.published_total),
    ("destination_delivered", "Messages sent to consumers", |row| row.delivered_total),
    ("destination_settled", "Messages that consumers settled", |row| row.settled_total),
    ("destination_expired", "Messages whose time was up", |row| row.expired_total),
    ("destination_dead_lettered", "Messages sent to _DMQ", |row| row.dead_lettered_total),
];

fn labels(row: &DestinationRow) -> [(&str, &str); 2] {
    [("kind", row.kind.name()), ("destination", row.name.as_str())]
}

fn gauge(value: u64) -> ConstGauge<i64> {
    ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX))
}

/// The text under construction.
struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    /// A metric with one value.
    fn one(&mut self, name: &str, help: &str, unit: Option<&Unit>, metric: &impl EncodeMetric) -> fmt::Result {
        metric.encode(self.0.encode_descriptor(name, help, unit, metric.metric_type())?)
    }

    /// A metric with a value for each set of labels.
    fn family<L: EncodeLabelSet, M: EncodeMetric>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        samples: impl IntoIterator<Item = (L, M)>,
    ) -> fmt::Result {
        let mut samples = samples.into_iter().peekable();
        let Some((_, first)) = samples.peek() else { return Ok(()) };
        let mut encoder = self.0.encode_descriptor(name, help, unit, first.metric_type())?;
        for (labels, metric) in samples {
            metric.encode(encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
