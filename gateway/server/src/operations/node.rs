//! The node itself.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use evergate_admin::operations::{NoArguments, Operation, OperationError, Operations, Operator, arguments};
use evergate_runtime::Gateway;
use serde_json::{Value, json};

pub fn register(operations: Operations, gateway: &Arc<Gateway>) -> Operations {
    operations.with("node.status", Status(gateway.clone()))
}

struct Status(Arc<Gateway>);

#[async_trait]
impl Operation for Status {
    async fn run(&self, given: Value, _by: &Operator) -> Result<Value, OperationError> {
        let NoArguments {} = arguments(given)?;
        let gateway = &self.0;
        let totals = &gateway.totals;
        let figure = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        Ok(json!({
            "version": env!("CARGO_PKG_VERSION"),
            "at_ms": gateway.clock.now().0,
            "connections": gateway.connections.count(),
            "memory_bytes": gateway.memory.used_bytes(),
            "memory_bytes_max": gateway.memory.max_bytes(),
            "published": figure(&totals.published),
            "confirmed": figure(&totals.confirmed),
            "delivered": figure(&totals.delivered),
            "rejected": figure(&totals.rejected),
            "dropped": figure(&totals.dropped),
            "dead_lettered": figure(&totals.dead_lettered),
        }))
    }

    fn describe(&self) -> &'static str {
        "version, memory, and the totals since the start"
    }
}
