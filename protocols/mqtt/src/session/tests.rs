//! The session driven by hand: a small gateway that remembers what it was asked.

mod connect;
mod consuming;
mod deliver;
mod gateway;
mod hostile;
mod in_flight;
mod mqtt31;
mod publish;
mod resend;
mod subscribe;
