//! Configuration: defaults, over them `evergate.toml`, over it the environment, over it the command
//! line. What is wrong is told to a person: where, what, what is allowed, what to do.

mod check;
mod environment;
mod load;
mod problem;
mod schema;
mod units;

#[cfg(test)]
mod tests;

pub use check::{Checked, ListenerSpec};
pub use load::{DEFAULT_FILE, load};
pub use problem::{Place, Problem, Problems};
pub use schema::{
    Amqp, Auth, Config, Http, Journal, Limits, Listen, Listener, Log, LogFormat, Mqtt, Protocol, Stomp, Tls, User,
};
pub use units::{Addresses, ByteSize};
