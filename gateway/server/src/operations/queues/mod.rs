//! Queues: their figures, and their messages.

mod cursor;
mod defining;
mod messages;
mod moving;
mod shown;

use std::sync::Arc;

use async_trait::async_trait;
use evergate_admin::operations::{Operation, OperationError, Operations, Operator, arguments};
use evergate_core::QueueStats;
use evergate_model::Formats;
use evergate_runtime::Gateway;
use serde::Deserialize;
use serde_json::{Value, json};

use self::defining::{Bind, Change, Create, Delete, Show, Unbind};
use self::messages::{Browse, Purge, Remove};
use self::moving::{Edit, Move, Retry};

/// Queues in one answer.
const LIMIT: usize = 1000;

pub fn register(operations: Operations, gateway: &Arc<Gateway>, formats: Formats) -> Operations {
    operations
        .with("queue.list", List(gateway.clone()))
        .with("queue.show", Show(gateway.clone()))
        .with("queue.create", Create(gateway.clone()))
        .with("queue.change", Change(gateway.clone()))
        .with("queue.delete", Delete(gateway.clone()))
        .with("queue.bind", Bind(gateway.clone()))
        .with("queue.unbind", Unbind(gateway.clone()))
        .with("queue.browse", Browse(gateway.clone(), formats))
        .with("queue.purge", Purge(gateway.clone()))
        .with("queue.remove", Remove(gateway.clone()))
        .with("queue.move", Move(gateway.clone()))
        .with("queue.retry", Retry(gateway.clone()))
        .with("queue.edit", Edit(gateway.clone(), formats))
}

struct List(Arc<Gateway>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ListArguments {
    r#match: String,
    private: bool,
    limit: usize,
}

impl Default for ListArguments {
    fn default() -> Self {
        Self { r#match: "#".into(), private: false, limit: LIMIT }
    }
}

#[async_trait]
impl Operation for List {
    async fn run(&self, given: Value, _by: &Operator) -> Result<Value, OperationError> {
        let wanted: ListArguments = arguments(given)?;
        let filter = defining::filter(&wanted.r#match)?;
        let all = self.0.queue_stats().await;
        let total = all.len();
        let hidden = |name: &str| name.starts_with('$') || name.starts_with('_');
        let concerns = |name: &str| filter.matches(name) || (wanted.private && filter.as_str() == "#" && hidden(name));
        let mut matching: Vec<_> = all.into_iter().filter(|(name, _)| concerns(name)).collect();
        matching.sort_by(|(one, _), (other, _)| one.cmp(other));
        let rows: Vec<_> =
            matching.iter().take(wanted.limit.min(LIMIT)).map(|(name, stats)| row(name, stats)).collect();
        Ok(json!({ "total": total, "matching": matching.len(), "queues": rows }))
    }

    fn describe(&self) -> &'static str {
        "queues by name {match? (a filter), private? (with #: sessions and subscriptions too), limit? (at most 1000)}"
    }
}

fn row(name: &str, stats: &QueueStats) -> Value {
    json!({
        "name": name,
        "messages": stats.messages,
        "bytes": stats.bytes,
        "consumers": stats.consumers,
        "unsettled": stats.unsettled,
        "published": stats.published_total,
        "delivered": stats.delivered_total,
        "settled": stats.settled_total,
        "expired": stats.expired_total,
        "dead_lettered": stats.dead_lettered_total,
        "dropped": stats.dropped_total,
    })
}
