//! Who is connected.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use evergate_admin::operations::{Operation, OperationError, Operations, Operator, arguments};
use evergate_runtime::{Connection, Gateway};
use serde::Deserialize;
use serde_json::{Value, json};

/// Connections in one answer.
const LIMIT: usize = 1000;

pub fn register(operations: Operations, gateway: &Arc<Gateway>) -> Operations {
    operations.with("connection.list", List(gateway.clone())).with("connection.close", Close(gateway.clone()))
}

struct List(Arc<Gateway>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ListArguments {
    client_id: Option<String>,
    limit: usize,
}

impl Default for ListArguments {
    fn default() -> Self {
        Self { client_id: None, limit: LIMIT }
    }
}

#[async_trait]
impl Operation for List {
    async fn run(&self, given: Value, _by: &Operator) -> Result<Value, OperationError> {
        let wanted: ListArguments = arguments(given)?;
        let all = self.0.connections.list();
        let concerns = |connection: &&Arc<Connection>| match &wanted.client_id {
            Some(id) => **id == *connection.peer.lock().client_id,
            None => true,
        };
        let matching: Vec<_> = all.iter().filter(concerns).collect();
        let rows: Vec<_> = matching.iter().take(wanted.limit.min(LIMIT)).map(|one| row(one)).collect();
        Ok(json!({ "total": all.len(), "matching": matching.len(), "connections": rows }))
    }

    fn describe(&self) -> &'static str {
        "open connections, oldest first {client_id?, limit? (at most 1000)}"
    }
}

fn row(connection: &Connection) -> Value {
    let peer = connection.peer.lock().clone();
    let figures = &connection.figures;
    json!({
        "id": connection.id.0,
        "client_id": &*peer.client_id,
        "user": &*peer.user,
        "protocol": peer.protocol,
        "listener": &*connection.listener,
        "remote": connection.remote.to_string(),
        "since_ms": connection.since.0,
        "published": figures.published.load(Ordering::Relaxed),
        "delivered": figures.delivered.load(Ordering::Relaxed),
        "blocked": figures.blocked.load(Ordering::Relaxed),
    })
}

struct Close(Arc<Gateway>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CloseArguments {
    id: u64,
}

#[async_trait]
impl Operation for Close {
    async fn run(&self, given: Value, by: &Operator) -> Result<Value, OperationError> {
        let CloseArguments { id } = arguments(given)?;
        let Some(connection) = self.0.connections.list().into_iter().find(|one| one.id.0 == id) else {
            return Err(OperationError::NotFound(format!("there is no connection {id}")));
        };
        if connection.close("closed by an operator") {
            let client_id = connection.peer.lock().client_id.clone();
            told!(info, by, id, remote = %connection.remote, %client_id, "connection closed by an operator");
        }
        Ok(json!({}))
    }

    fn describe(&self) -> &'static str {
        "ends a connection; its client may come back {id}"
    }
}
