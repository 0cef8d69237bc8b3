//! The session driven by hand: a small gateway that remembers what it was asked.

mod connect;
mod deliver;
mod gateway;
mod hostile;
mod publish;
mod subscribe;
