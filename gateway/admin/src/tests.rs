//! What the HTTP interface promises, over real sockets where the wire matters.

mod api;
mod live;
mod login;
mod metrics;
mod support;
