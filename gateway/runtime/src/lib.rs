//! tokio around the core: listeners, the session driver, the tasks that own directory, shards and journal.
//!
//! A connection is one task ([`drive`]); so are the directory and the journal's writer. Runners take the shards in turn.
//! They talk through queues without a bound of their own: what fills them is bounded by the publish window of each
//! connection, the credit of each consumer, the requests that a session may have open, and the memory budget over all.

mod clock;
mod connections;
mod core_tasks;
mod driver;
mod gateway;
mod house;
mod journal_task;
mod mailbox;
mod manage;
mod memory;
pub mod net;
mod pace;
mod publisher;
mod queues;
mod runners;
mod well_known;
mod wills;
mod wire;

pub use clock::Clock;
pub use connections::{Connection, ConnectionFigures, Connections};
pub use driver::{Authenticator, drive};
pub use gateway::{Gateway, GatewayConfig, Tasks, Totals};
pub use queues::Moved;
pub use well_known::{Compose, publish_figures, serve_requests};
