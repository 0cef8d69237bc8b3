//! State-machine tests: a client's bytes on one side, the gateway's events on the other.

mod bodies;
mod client;
mod controller;
mod gateway;

mod connection;
mod conservation;
mod consume;
mod hostile;
mod large;
mod publish;
mod retirement;
mod settle;
mod stall;
mod stream;
mod subscription;
mod terminus;
mod transactions;
mod wishes;

pub(crate) use client::{data, show};
