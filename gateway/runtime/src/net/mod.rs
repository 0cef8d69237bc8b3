//! From a port to a byte stream that a session can be driven on: listening, TLS, WebSocket, and who
//! may come in.
//!
//! A connection passes [`Listener::accept`] (limit, no delay), [`TlsServer::accept`] if its listener
//! has TLS, and on the HTTP port [`serve_http`], [`WebRules`] and [`Upgrade`]. What comes out is a
//! [`Stream`], whatever the way in.

mod auth;
mod http;
mod listener;
mod port_owner;
mod stream;
mod tls;
mod web_rules;
mod websocket;

pub use auth::{AccountError, Accounts, Reach};
pub use http::serve_http;
pub use listener::{Accepted, BindError, ConnectionLimit, ConnectionPermit, Listener};
pub use stream::Stream;
pub use tls::{HandshakeError, TlsError, TlsFiles, TlsServer};
pub use web_rules::{Forbidden, WebRules, check_web_rules};
pub use websocket::{Subprotocol, Upgrade, UpgradeRefused, WebSocket};
