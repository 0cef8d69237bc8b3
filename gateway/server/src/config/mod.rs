//! Configuration: defaults, over them `evergate.toml`, over it the environment, over it the command
//! line. What is wrong is told to a person: where, what, what is allowed, what to do.

mod check;
mod destinations;
mod environment;
mod load;
mod log;
mod problem;
mod schema;
mod units;

#[cfg(test)]
mod tests;

pub use check::Checked;
pub use load::load;
pub use problem::Problems;
pub use schema::{Config, LogFormat, Protocol};
