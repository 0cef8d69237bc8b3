//! Queues made, changed, bound and deleted by operators.

use std::sync::Arc;

use async_trait::async_trait;
use evergate_admin::operations::{Operation, OperationError, Operator, arguments};
use evergate_core::{ManageReply, ManageRequest, QueueDefinition};
use evergate_model::{Address, Binding, Filter, Policy, SHARED_PREFIX};
use evergate_mqtt::QUEUE_PREFIX;
use evergate_runtime::Gateway;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::refused;
use super::messages::selector;

/// Done and committed, or refused.
async fn manage(gateway: &Gateway, request: ManageRequest) -> Result<(), OperationError> {
    gateway.manage(request).await.map_err(refused).map(drop)
}

pub(super) fn filter(text: &str) -> Result<Filter, OperationError> {
    Filter::read(text).map_err(|error| OperationError::Invalid(format!("{text}: {error}")))
}

fn binding(text: &str, selected: Option<&str>) -> Result<Binding, OperationError> {
    check_filter(text)?;
    Ok(Binding { selector: selector(selected)?, ..Binding::new(filter(text)?, true) })
}

/// Refuses what other protocols write where a filter is wanted: as a filter it would match nothing that anybody means.
fn check_filter(text: &str) -> Result<(), OperationError> {
    let table = [
        ("/topic/", ""),
        ("topic://", ""),
        ("/glob/", Filter::GLOB_PREFIX),
        ("/regex/", Filter::REGEX_PREFIX),
        ("#glob:", Filter::GLOB_PREFIX),
        ("#regex:", Filter::REGEX_PREFIX),
    ];
    for (prefix, instead) in table {
        if let Some(rest) = text.strip_prefix(prefix) {
            return Err(OperationError::Invalid(format!("{text}: this filter is written as {instead}{rest}")));
        }
    }
    if Address::parse(text).is_some() || text.starts_with(SHARED_PREFIX) || text.starts_with(QUEUE_PREFIX) {
        return Err(OperationError::Invalid(format!("{text}: a queue is bound to topics, by their names")));
    }
    Ok(())
}

/// What a queue goes by, as a policy says it, but for no other queue.
#[derive(Debug, Default, Deserialize)]
#[serde(try_from = "Map<String, Value>")]
struct Settings(Policy);

impl TryFrom<Map<String, Value>> for Settings {
    type Error = String;

    fn try_from(given: Map<String, Value>) -> Result<Self, Self::Error> {
        if given.contains_key("match") {
            return Err("settings are those of the queue that is named: match means nothing there".into());
        }
        serde_json::from_value(given.into()).map(Self).map_err(|error| error.to_string())
    }
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
    settings: Settings,
}

#[async_trait]
impl Operation for Create {
    async fn run(&self, given: Value, by: &Operator) -> Result<Value, OperationError> {
        let CreateArguments { queue, bind, selector, settings: Settings(settings) } = arguments(given)?;
        if selector.is_some() && bind.is_empty() {
            let text = "selector says which messages come through bind, and there is no bind";
            return Err(OperationError::Invalid(text.into()));
        }
        let bindings = bind.iter().map(|text| binding(text, selector.as_deref())).collect::<Result<_, _>>()?;
        let definition = QueueDefinition { name: queue.as_str().into(), bindings, settings };
        manage(&self.0, ManageRequest::CreateQueue(definition)).await?;
        told!(info, by, queue, "queue created by an operator");
        Ok(json!({}))
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
    settings: Settings,
}

#[async_trait]
impl Operation for Change {
    async fn run(&self, given: Value, by: &Operator) -> Result<Value, OperationError> {
        let ChangeArguments { queue, settings: Settings(settings) } = arguments(given)?;
        manage(&self.0, ManageRequest::ChangeQueue { name: queue.clone(), settings }).await?;
        told!(info, by, queue, "settings of a queue changed by an operator");
        Ok(json!({}))
    }

    fn describe(&self) -> &'static str {
        "gives a queue settings of its own, over all policies, in place of all that it had {queue, settings (as in a policy)}"
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
    async fn run(&self, given: Value, by: &Operator) -> Result<Value, OperationError> {
        let DeleteArguments { queue, if_empty, if_unused } = arguments(given)?;
        manage(&self.0, ManageRequest::DeleteQueue { name: queue.clone(), if_empty, if_unused }).await?;
        told!(warn, by, queue, if_empty, if_unused, "queue deleted by an operator");
        Ok(json!({}))
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
    async fn run(&self, given: Value, by: &Operator) -> Result<Value, OperationError> {
        let BindArguments { queue, filter, selector } = arguments(given)?;
        let binding = binding(&filter, selector.as_deref())?;
        manage(&self.0, ManageRequest::BindQueue { name: queue.clone(), binding }).await?;
        told!(info, by, queue, filter, selector, "queue bound by an operator");
        Ok(json!({}))
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
    async fn run(&self, given: Value, by: &Operator) -> Result<Value, OperationError> {
        let UnbindArguments { queue, filter: text } = arguments(given)?;
        manage(&self.0, ManageRequest::UnbindQueue { name: queue.clone(), filter: filter(&text)? }).await?;
        told!(info, by, queue, filter = text, "queue unbound by an operator");
        Ok(json!({}))
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
    async fn run(&self, given: Value, _by: &Operator) -> Result<Value, OperationError> {
        let ShowArguments { queue } = arguments(given)?;
        let request = ManageRequest::Queue { name: queue.clone() };
        let ManageReply::Queue { entry, queue: id, shard } = self.0.manage(request).await.map_err(refused)? else {
            return Err(OperationError::Unavailable);
        };
        let bindings: Vec<_> = entry
            .bindings
            .iter()
            .map(|one| json!({ "filter": one.filter.written(), "selector": one.selector.as_ref().map(evergate_model::Selector::as_str) }))
            .collect();
        let Some(stats) = self.0.stats_of(id, shard).await else {
            return Err(OperationError::NotFound(format!("there is no queue {queue}"))); // deleted meanwhile
        };
        Ok(json!({
            "queue": &*entry.name,
            "durable": entry.durable,
            "configured": entry.configured,
            "consumers": entry.consumers,
            "bindings": bindings,
            "own_settings": own_settings(entry.own.as_ref()),
            "expired": stats.expired_total,
            "dead_lettered": stats.dead_lettered_total,
            "dropped": stats.dropped_total,
        }))
    }

    fn describe(&self) -> &'static str {
        "a queue's bindings, and the settings that are its own {queue}"
    }
}

/// As `queue.change` takes them.
fn own_settings(own: Option<&Policy>) -> Value {
    let mut settings = json!(own);
    if let Some(fields) = settings.as_object_mut() {
        fields.remove("match");
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_taken_and_never_work_is_refused_with_what_to_write() {
        let table = [
            ("/topic/a/+", "written as a/+"),
            ("topic://a", "written as a"),
            ("/glob/a/*", "written as $glob/a/*"),
            ("#regex:a.*", "written as $regex/a.*"),
            ("/queue/a", "bound to topics"),
            ("$share/g/a", "bound to topics"),
            ("a/#/b", "whole last level"),
        ];
        for (text, why) in table {
            let error = binding(text, None).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
        for (text, topic) in [("a/+", "a/b"), ("$glob/a/*", "a/b"), ("$regex/a/.", "a/b"), ("/a", "/a")] {
            assert!(binding(text, None).unwrap().filter.matches(topic), "{text}");
        }
    }

    #[test]
    fn settings_are_an_object_and_concern_their_queue_alone() {
        let table = [
            (json!({ "queue": "q", "settings": ["x", 5] }), "invalid type"),
            (json!({ "queue": "q", "settings": { "match": "x", "messages_max": 5 } }), "match means nothing there"),
            (json!({ "queue": "q", "settings": { "mesages_max": 5 } }), "unknown field `mesages_max`"),
            (json!(["q", { "messages_max": 5 }]), "args is a JSON object"),
        ];
        for (given, why) in table {
            let error = arguments::<ChangeArguments>(given.clone()).err().unwrap().to_string();
            assert!(error.contains(why), "{given}: {error}");
        }
        let given = json!({ "queue": "q", "settings": { "messages_max": 5 } });
        let settings = arguments::<ChangeArguments>(given).unwrap().settings.0;
        assert_eq!(settings.messages_max, Some(5));
        // What is shown is taken.
        let given = json!({ "queue": "q", "settings": own_settings(Some(&settings)) });
        assert_eq!(arguments::<ChangeArguments>(given).unwrap().settings.0, settings);
        assert_eq!(own_settings(None), Value::Null);
    }
}
