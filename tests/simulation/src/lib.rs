//! The destination core in one thread, driven by a seed instead of tokio: random clients, random
//! interleaving of sessions, directory, shards and journal, stalls, crashes and restarts. A model checks
//! what was promised. `SIM_SEED=7 cargo test -p evergate-simulation` shows one run step by step.

mod bound;
mod client;
mod connection;
mod definitions;
mod in_force;
mod journal;
mod key;
mod model;
mod node;
mod operations;
mod operator;
mod promises;
mod publisher;
mod released;
mod rng;
mod start;
mod traits;
mod transaction;
mod world;

pub use node::Fault;
pub use world::{Failure, Summary, run};
