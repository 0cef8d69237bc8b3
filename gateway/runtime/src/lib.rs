//! tokio around the core: listeners, the session driver, the tasks that own directory, shards and journal.
//!
//! A connection is one task ([`drive`]); so are the directory, each shard, and the journal's writer. They
//! talk through unbounded queues whose content is bounded by what fills them: the publish window of each
//! connection, the credit of each consumer, and the memory budget over all.

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
