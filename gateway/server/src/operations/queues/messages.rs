//! The messages of one queue: browse, remove, purge.

use std::sync::Arc;

use async_trait::async_trait;
use evergate_admin::operations::{Operation, OperationError, Operator, arguments};
use evergate_model::{Formats, Selector, Seq};
use evergate_runtime::Gateway;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::refused;
use super::cursor::{Count, Cursor, tell_next};
use super::shown::shown;

/// Places in one request.
const SEQS_MAX: usize = 10_000;

pub struct Browse(pub Arc<Gateway>, pub Formats);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BrowseArguments {
    queue: String,
    #[serde(default)]
    from: Cursor,
    #[serde(default = "some")]
    count: Count,
    selector: Option<String>,
    /// Bytes of each body that are shown.
    #[serde(default = "some_bytes")]
    body_bytes: usize,
}

fn some() -> Count {
    Count(100)
}

fn some_bytes() -> usize {
    4096
}

#[async_trait]
impl Operation for Browse {
    async fn run(&self, given: Value, _by: &Operator) -> Result<Value, OperationError> {
        let wanted: BrowseArguments = arguments(given)?;
        let selector = selector(wanted.selector.as_deref())?;
        let (messages, next) =
            self.0.browse(&wanted.queue, wanted.from.into(), wanted.count.0, selector).await.map_err(refused)?;
        let rows: Vec<_> = messages.iter().map(|one| shown(one, &self.1, wanted.body_bytes)).collect();
        let mut answer = json!({ "messages": rows });
        tell_next(&mut answer, next);
        Ok(answer)
    }

    fn describe(&self) -> &'static str {
        "messages in order of service, without taking them {queue, from? (a place, or next of the last answer), count? (100; 1 to 1000), selector?, body_bytes? (4096)}"
    }
}

pub struct Purge(pub Arc<Gateway>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PurgeArguments {
    queue: String,
    selector: Option<String>,
}

#[async_trait]
impl Operation for Purge {
    async fn run(&self, given: Value, by: &Operator) -> Result<Value, OperationError> {
        let PurgeArguments { queue, selector: text } = arguments(given)?;
        let removed = self.0.purge(&queue, selector(text.as_deref())?).await.map_err(refused)?;
        if removed > 0 {
            told!(warn, by, queue, selector = text, removed, "queue purged by an operator");
        }
        Ok(json!({ "removed": removed }))
    }

    fn describe(&self) -> &'static str {
        "removes every message that no consumer holds; there is no way back {queue, selector?}"
    }
}

pub struct Remove(pub Arc<Gateway>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RemoveArguments {
    queue: String,
    seqs: Vec<u64>,
}

#[async_trait]
impl Operation for Remove {
    async fn run(&self, given: Value, by: &Operator) -> Result<Value, OperationError> {
        let RemoveArguments { queue, seqs } = arguments(given)?;
        if seqs.len() > SEQS_MAX {
            return Err(OperationError::Invalid(format!("at most {SEQS_MAX} messages at a time")));
        }
        let removed = self.0.take_out(&queue, seqs.into_iter().map(Seq).collect()).await.map_err(refused)?;
        if removed > 0 {
            told!(warn, by, queue, removed, "messages removed by an operator");
        }
        Ok(json!({ "removed": removed }))
    }

    fn describe(&self) -> &'static str {
        "removes chosen messages that no consumer holds {queue, seqs (places, as browse tells them)}"
    }
}

pub(super) fn selector(text: Option<&str>) -> Result<Option<Selector>, OperationError> {
    let parse = |text| Selector::parse(text).map_err(|error| OperationError::Invalid(error.to_string()));
    text.map(parse).transpose()
}
