//! The gateway over HTTP: health, metrics, what it is doing now, and the web console.
//!
//! This package does not know the core. The server hands it an [`Observe`], from which it takes snapshots, and,
//! where accounts are configured, an [`Authorize`]. Everything here reads; nothing changes the gateway.

mod authorize;
mod console;
mod health;
mod live;
mod metrics;
pub mod operations;
mod overview;
mod router;
mod snapshot;
#[cfg(test)]
mod tests;

pub use authorize::Authorize;
pub use router::{AdminState, router};
pub use snapshot::{
    ConnectionRow, ConnectionState, DestinationKind, DestinationRow, JournalTotals, Memory, Node, Observe, Snapshot,
    Totals,
};
