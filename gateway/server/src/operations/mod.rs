//! What the administration can do. A file a subject; the registry is `evergate_admin::operations`.

/// Tells the event log what an operator had done, and who that was. Once it is done.
macro_rules! told {
    ($level:ident, $by:expr, $($event:tt)*) => {
        tracing::$level!(by_client_id = &*$by.client_id, by_user = &*$by.user, $($event)*)
    };
}

mod connections;
mod node;
mod policies;
mod queues;

use std::sync::Arc;

use evergate_admin::operations::{OperationError, Operations};
use evergate_core::ManageError;
use evergate_model::Formats;
use evergate_runtime::Gateway;

/// All of it.
pub fn all(gateway: &Arc<Gateway>, formats: Formats) -> Operations {
    let operations = Operations::default();
    let operations = node::register(operations, gateway);
    let operations = connections::register(operations, gateway);
    let operations = policies::register(operations, gateway);
    queues::register(operations, gateway, formats)
}

fn refused(error: ManageError) -> OperationError {
    match error {
        ManageError::NotFound(text) => OperationError::NotFound(text),
        ManageError::Invalid(text) => OperationError::Invalid(text),
        ManageError::InUse(text) | ManageError::Limit(text) => OperationError::Refused(text),
        ManageError::Unavailable => OperationError::Unavailable,
    }
}
