//! AMQP 1.0, server side, without I/O: bytes and events in, bytes and actions out.
//!
//! [`AmqpSession`] is one connection's state machine; [`Amqp10Format`] reads AMQP messages for the other
//! protocols. References such as «2.6.7» are to sections of the OASIS AMQP 1.0 standard, by part.
//!
//! The codec borrows from the frame, never recurses deeper than a limit, and believes no length or count
//! before it has checked it against the bytes that are there.

mod codec;
mod config;
mod connection;
mod error;
mod filters;
mod message;
mod performative;
mod subscription;
mod terminus;
mod transaction;

pub use config::AmqpConfig;
pub use connection::AmqpSession;
pub use message::{Amqp10Format, compose, compose_json};

#[cfg(test)]
mod tests;
