//! Queues made, changed, bound and deleted by operators.

use std::sync::Arc;

use async_trait::async_trait;
use evergate_admin::operations::{Operation, OperationError, arguments};
use evergate_core::{ManageReply, ManageRequest, QueueDefinition};
use evergate_model::{Binding, Filter, Policy};
use evergate_runtime::Gateway;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::refused;
use super::messages::selector;

async fn manage(gateway: &Gateway, request: ManageRequest) -> Result<Value, OperationError> {
    gateway.manage(request).await.map_err(refused)?;
    Ok(json!({}))
}

fn filter(text: &str) -> Result<Filter, OperationError> {
    Filter::new(text).map_err(|error| OperationError::Invalid(format!("{text}: {error}")))
}

fn binding(text: &str, selected: Option<&str>) -> Result<Binding, OperationError> {
    Ok(Binding { selector: selector(selected)?, ..Binding::new(filter(text)?, true) })
}

pub struct Create(pub Arc<Gateway>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CreateArguments {
    queue: String,
    #[serde(default)]
    bind: Vec<String>,
    selector: Option<String>,
    #[serde(default)]
    settings: Policy,
}

#[async_trait]
impl Operation for Create {
    async fn run(&self, given: Value) -> Result<Value, OperationError> {
        let CreateArguments { queue, bind, selector, settings } = arguments(given)?;
        let bindings = bind.iter().map(|text| binding(text, selector.as_deref())).collect::<Result<_, _>>()?;
        tracing::info!(queue, "queue created by an operator");
        let definition = QueueDefinition { name: queue.as_str().into(), bindings, settings };
        manage(&self.0, ManageRequest::CreateQueue(definition)).await
    }

    fn describe(&self) -> &'static str {
        "makes a durable queue {queue, bind? (topic filters), selector? (for what comes through them), settings? (as in a policy)}"
    }
}

pub struct Change(pub Arc<Gateway>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangeArguments {
    queue: String,
    settings: Policy,
}

#[async_trait]
impl Operation for Change {
    async fn run(&self, given: Value) -> Result<Value, OperationError> {
        let ChangeArguments { queue, settings } = arguments(given)?;
        tracing::info!(queue, "settings of a queue changed by an operator");
        manage(&self.0, ManageRequest::ChangeQueue { name: queue, settings }).await
    }

    fn describe(&self) -> &'static str {
        "gives a queue settings of its own, over all policies {queue, settings (as in a policy)}"
    }
}

pub struct Delete(pub Arc<Gateway>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeleteArguments {
    queue: String,
    #[serde(default)]
    if_empty: bool,
    #[serde(default)]
    if_unused: bool,
}

#[async_trait]
impl Operation for Delete {
    async fn run(&self, given: Value) -> Result<Value, OperationError> {
        let DeleteArguments { queue, if_empty, if_unused } = arguments(given)?;
        tracing::warn!(queue, if_empty, if_unused, "queue deleted by an operator");
        manage(&self.0, ManageRequest::DeleteQueue { name: queue, if_empty, if_unused }).await
    }

    fn describe(&self) -> &'static str {
        "deletes a queue with its messages; consumers are told {queue, if_empty?, if_unused?}"
    }
}

pub struct Bind(pub Arc<Gateway>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BindArguments {
    queue: String,
    filter: String,
    selector: Option<String>,
}

#[async_trait]
impl Operation for Bind {
    async fn run(&self, given: Value) -> Result<Value, OperationError> {
        let BindArguments { queue, filter, selector } = arguments(given)?;
        let binding = binding(&filter, selector.as_deref())?;
        tracing::info!(queue, filter, "queue bound by an operator");
        manage(&self.0, ManageRequest::BindQueue { name: queue, binding }).await
    }

    fn describe(&self) -> &'static str {
        "has a queue take what is published to topics {queue, filter, selector?}"
    }
}

pub struct Unbind(pub Arc<Gateway>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UnbindArguments {
    queue: String,
    filter: String,
}

#[async_trait]
impl Operation for Unbind {
    async fn run(&self, given: Value) -> Result<Value, OperationError> {
        let UnbindArguments { queue, filter: text } = arguments(given)?;
        tracing::info!(queue, filter = text, "queue unbound by an operator");
        manage(&self.0, ManageRequest::UnbindQueue { name: queue, filter: filter(&text)? }).await
    }

    fn describe(&self) -> &'static str {
        "takes a binding away {queue, filter}"
    }
}

pub struct Show(pub Arc<Gateway>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ShowArguments {
    queue: String,
}

#[async_trait]
impl Operation for Show {
    async fn run(&self, given: Value) -> Result<Value, OperationError> {
        let ShowArguments { queue } = arguments(given)?;
        let request = ManageRequest::Queue { name: queue };
        let ManageReply::Queue { entry, .. } = self.0.manage(request).await.map_err(refused)? else {
            return Err(OperationError::Unavailable);
        };
        let bindings: Vec<_> = entry
            .bindings
            .iter()
            .map(|one| json!({ "filter": one.filter.as_str(), "selector": one.selector.as_ref().map(evergate_model::Selector::as_str) }))
            .collect();
        Ok(json!({
            "queue": &*entry.name,
            "durable": entry.durable,
            "configured": entry.configured,
            "consumers": entry.consumers,
            "bindings": bindings,
            "own_settings": entry.own,
        }))
    }

    fn describe(&self) -> &'static str {
        "a queue's bindings, and the settings that are its own {queue}"
    }
}
