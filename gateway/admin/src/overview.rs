//! A snapshot as the page wants it: the busiest rows, how many there are, and whether the gateway is ready.

use std::cmp::Reverse;

use axum::Json;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};

use crate::AdminState;
use crate::snapshot::{
    ConnectionRow, ConnectionState, DestinationRow, JournalTotals, Memory, Node, Observe, Snapshot, Totals,
};

/// Rows in one list, at most and unless told otherwise.
pub(crate) const ROWS_MAX: usize = 1_000;

/// A longer filter matches nothing that people type.
const FILTER_BYTES_MAX: usize = 256;

/// What the caller wants to see.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Selection {
    /// Only rows in which this text occurs, in any case.
    filter: Option<String>,
    /// The same, for destinations alone.
    destinations: Option<String>,
    /// The same, for connections alone.
    connections: Option<String>,
    /// So many rows in each list.
    limit: Option<usize>,
}

/// The answer to `/api/overview`, and each message of `/api/live`.
#[derive(Debug, Serialize)]
pub(crate) struct Overview {
    ready: Readiness,
    node: Node,
    totals: Totals,
    memory: Memory,
    journal: JournalTotals,
    destinations: List<DestinationRow>,
    connections: List<ConnectionRow>,
    /// Blocked connections, whatever the filter.
    connections_blocked: usize,
}

#[derive(Debug, Serialize)]
struct Readiness {
    ok: bool,
    reason: Option<String>,
}

/// The first rows of a list.
#[derive(Debug, Serialize)]
struct List<T> {
    /// All there are.
    total: usize,
    /// Those that match the filter.
    matching: usize,
    /// The busiest of them, the busiest first.
    rows: Vec<T>,
}

pub(crate) async fn overview(State(state): State<AdminState>, Query(selection): Query<Selection>) -> Json<Overview> {
    let snapshot = state.observe.snapshot();
    Json(Overview::new(snapshot, state.observe.as_ref(), &selection))
}

impl Overview {
    pub(crate) fn new(snapshot: Snapshot, observe: &dyn Observe, selection: &Selection) -> Self {
        let ready = match observe.ready() {
            Ok(()) => Readiness { ok: true, reason: None },
            Err(reason) => Readiness { ok: false, reason: Some(reason) },
        };
        let blocked = |row: &&ConnectionRow| row.state == ConnectionState::Blocked;
        Self {
            ready,
            connections_blocked: snapshot.connections.iter().filter(blocked).count(),
            node: snapshot.node,
            totals: snapshot.totals,
            memory: snapshot.memory,
            journal: snapshot.journal,
            destinations: selection.select(snapshot.destinations, selection.destinations.as_deref()),
            connections: selection.select(snapshot.connections, selection.connections.as_deref()),
        }
    }
}

impl Selection {
    fn select<T: Row>(&self, mut rows: Vec<T>, filter: Option<&str>) -> List<T> {
        let total = rows.len();
        for filter in [self.filter.as_deref(), filter].into_iter().flatten() {
            keep(&mut rows, filter);
        }
        let matching = rows.len();
        busiest(&mut rows, self.limit.unwrap_or(ROWS_MAX).min(ROWS_MAX));
        List { total, matching, rows }
    }
}

/// Keeps the rows in which the text occurs, in any case.
fn keep<T: Row>(rows: &mut Vec<T>, filter: &str) {
    if filter.len() > FILTER_BYTES_MAX {
        rows.clear();
    } else if !filter.is_empty() {
        let filter = filter.to_lowercase();
        rows.retain(|row| row.texts().iter().any(|text| text.to_lowercase().contains(&filter)));
    }
}

/// Keeps the `count` busiest rows, the busiest first.
pub(crate) fn busiest<T: Row>(rows: &mut Vec<T>, count: usize) {
    let order = |a: &T, b: &T| (Reverse(a.weight()), a.texts()[0]).cmp(&(Reverse(b.weight()), b.texts()[0]));
    if count < rows.len() {
        // Sorting only what is kept: there may be a million rows.
        rows.select_nth_unstable_by(count, order);
        rows.truncate(count);
    }
    rows.sort_by(order);
}

/// What both lists share.
pub(crate) trait Row {
    /// What the filter looks at; the first decides between rows of the same weight.
    fn texts(&self) -> [&str; 6];
    /// A backlog counts as much as traffic, and being blocked more than either.
    fn weight(&self) -> u64;
}

impl Row for DestinationRow {
    fn texts(&self) -> [&str; 6] {
        [&self.name, self.kind.name(), console_kind(&self.name), "", "", ""]
    }

    fn weight(&self) -> u64 {
        self.messages.saturating_add(self.published_total).saturating_add(self.delivered_total)
    }
}

impl Row for ConnectionRow {
    fn texts(&self) -> [&str; 6] {
        [&self.client_id, &self.user, &self.remote, &self.protocol, &self.listener, self.state.name()]
    }

    fn weight(&self) -> u64 {
        match self.state {
            ConnectionState::Blocked => u64::MAX,
            ConnectionState::Running => self.published_total.saturating_add(self.delivered_total),
        }
    }
}

/// What the console calls a queue of this name, so that its filter finds what it shows (`names.ts`).
fn console_kind(name: &str) -> &'static str {
    match name.split_once('/') {
        Some(("$session", _)) => "MQTT session",
        Some(("$subscription", _)) => "Durable subscription",
        Some(("$share", _)) => "Shared subscription",
        Some(("$temporary", _)) => "Temporary queue",
        _ => "",
    }
}
