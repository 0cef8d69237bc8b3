//! Policies: how queues behave, by name.

use std::sync::Arc;

use async_trait::async_trait;
use evergate_admin::operations::{NoArguments, Operation, OperationError, Operations, Operator, arguments};
use evergate_core::{ManageReply, ManageRequest};
use evergate_model::Policy;
use evergate_runtime::Gateway;
use serde::Deserialize;
use serde_json::{Value, json};

use super::refused;

pub fn register(operations: Operations, gateway: &Arc<Gateway>) -> Operations {
    operations
        .with("policy.list", List(gateway.clone()))
        .with("policy.put", Put(gateway.clone()))
        .with("policy.delete", Delete(gateway.clone()))
}

struct List(Arc<Gateway>);

#[async_trait]
impl Operation for List {
    async fn run(&self, given: Value, _by: &Operator) -> Result<Value, OperationError> {
        let NoArguments {} = arguments(given)?;
        match self.0.manage(ManageRequest::Policies).await.map_err(refused)? {
            ManageReply::Policies { fixed, added } => Ok(json!({ "configured": fixed, "added": added })),
            _ => Ok(json!({})),
        }
    }

    fn describe(&self) -> &'static str {
        "the policies in force: those of the configuration, then those added"
    }
}

struct Put(Arc<Gateway>);

#[async_trait]
impl Operation for Put {
    async fn run(&self, given: Value, by: &Operator) -> Result<Value, OperationError> {
        let policy: Policy = arguments(given)?;
        let matches = policy.matches.clone();
        self.0.manage(ManageRequest::PutPolicy(policy)).await.map_err(refused)?;
        told!(info, by, policy = matches, "policy put by an operator");
        Ok(json!({}))
    }

    fn describe(&self) -> &'static str {
        "adds a policy, or replaces the added one with the same match {match, …}"
    }
}

struct Delete(Arc<Gateway>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeleteArguments {
    r#match: String,
}

#[async_trait]
impl Operation for Delete {
    async fn run(&self, given: Value, by: &Operator) -> Result<Value, OperationError> {
        let DeleteArguments { r#match: matches } = arguments(given)?;
        self.0.manage(ManageRequest::DeletePolicy { matches: matches.clone() }).await.map_err(refused)?;
        told!(info, by, policy = matches, "policy deleted by an operator");
        Ok(json!({}))
    }

    fn describe(&self) -> &'static str {
        "removes an added policy {match}"
    }
}
