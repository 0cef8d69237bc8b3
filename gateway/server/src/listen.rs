//! From a listener's configuration to driven connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum::{Extension, Router};
use evergate_model::{Access, Credentials};
use evergate_runtime::net::{
    Accepted, Accounts, ConnectionLimit, ConnectionPermit, Listener, Reach, Stream, Subprotocol, TlsServer, Upgrade,
    WebRules, check_web_rules, serve_http,
};
use evergate_runtime::{Authenticator, Gateway, drive};

use crate::config::Protocol;
use crate::protocols::Protocols;

/// What every listener needs.
#[derive(Clone)]
pub struct Shared {
    pub gateway: Arc<Gateway>,
    /// The limit of those who speak a messaging protocol.
    pub clients: ConnectionLimit,
    pub protocols: Arc<Protocols>,
    pub accounts: Accounts,
    /// Who may send requests to the administration. `None`: no account is configured; then who is on this machine.
    pub administrators: Option<Arc<[String]>>,
    /// How long TLS and HTTP headers may take.
    pub handshake: Duration,
    /// Largest WebSocket message, in bytes.
    pub web_message_bytes_max: usize,
    /// Health, metrics, API and console.
    pub admin: Router,
    pub allowed_hosts: Arc<[String]>,
    pub allowed_origins: Arc<[String]>,
}

/// One listener's way of letting peers in.
#[derive(Clone)]
struct Door {
    shared: Shared,
    name: Arc<str>,
    authenticator: Arc<dyn Authenticator>,
}

/// The accounts, as seen from one listener.
struct FromListener {
    accounts: Accounts,
    administrators: Option<Arc<[String]>>,
    reach: Reach,
}

#[async_trait::async_trait]
impl Authenticator for FromListener {
    async fn check(&self, credentials: Credentials) -> Access {
        self.accounts.check(&credentials, self.reach).await
    }

    fn may_administrate(&self, user: &str) -> bool {
        match &self.administrators {
            Some(names) => names.iter().any(|name| name == user),
            None => self.reach == Reach::Loopback,
        }
    }
}

/// Accepts connections for ever.
pub async fn accept_all(listener: Listener, protocol: Protocol, tls: Option<TlsServer>, shared: Shared) {
    let reach = Reach::of(listener.address().ip());
    let authenticator = Arc::new(FromListener {
        accounts: shared.accounts.clone(),
        administrators: shared.administrators.clone(),
        reach,
    });
    let door = Door { name: protocol.to_string().into(), authenticator, shared };
    let web = (protocol == Protocol::Http).then(|| web_router(&door, listener.address()));
    loop {
        let accepted = listener.accept().await;
        let (door, tls, web) = (door.clone(), tls.clone(), web.clone());
        tokio::spawn(async move {
            let Accepted { stream, peer, permit } = accepted;
            let stream = match &tls {
                None => Stream::Tcp(stream),
                Some(tls) => match tls.accept(stream, door.shared.handshake).await {
                    Ok(stream) => stream,
                    Err(error) => {
                        tracing::debug!(%peer, listener = %door.name, %error, "no TLS handshake");
                        return;
                    }
                },
            };
            match web {
                Some(web) => {
                    let _permit = permit;
                    let router = web.layer(Extension(Visitor { peer }));
                    if let Err(error) = serve_http(stream, router, door.shared.handshake).await {
                        tracing::debug!(%peer, %error, "HTTP connection ended");
                    }
                }
                None => door.drive(peer, stream, protocol, permit).await,
            }
        });
    }
}

impl Door {
    async fn drive(&self, peer: SocketAddr, stream: Stream, protocol: Protocol, _permit: ConnectionPermit) {
        let protocols = self.shared.protocols.clone();
        let make = move |id| protocols.session(protocol, id);
        drive(self.shared.gateway.clone(), self.authenticator.clone(), peer, self.name.clone(), stream, make).await;
    }
}

/// Who is on an HTTP connection.
#[derive(Clone, Copy)]
struct Visitor {
    peer: SocketAddr,
}

fn web_router(door: &Door, address: SocketAddr) -> Router {
    let shared = &door.shared;
    let rules = Arc::new(WebRules::new(address, &shared.allowed_hosts, &shared.allowed_origins));
    // The subprotocol decides what is spoken; the paths are what the clients' examples use.
    let sockets = ["/mqtt", "/amqp", "/stomp", "/ws"]
        .into_iter()
        .fold(Router::new(), |router, path| router.route(path, any(upgrade)))
        .with_state(door.clone());
    sockets.merge(shared.admin.clone()).layer(from_fn_with_state(rules, check_web_rules))
}

async fn upgrade(State(door): State<Door>, Extension(visitor): Extension<Visitor>, mut request: Request) -> Response {
    let (response, upgrade) = match Upgrade::begin(&mut request, door.shared.web_message_bytes_max) {
        Ok(begun) => begun,
        Err(refused) => return refused.into_response(),
    };
    // From here on it is a client as on any other listener.
    let Some(permit) = door.shared.clients.take(visitor.peer) else {
        return (StatusCode::SERVICE_UNAVAILABLE, "connections_max is reached").into_response();
    };
    let protocol = match upgrade.subprotocol() {
        Subprotocol::Mqtt | Subprotocol::Mqtt31 => Protocol::Mqtt,
        Subprotocol::Amqp => Protocol::Amqp,
        Subprotocol::Stomp10 | Subprotocol::Stomp11 | Subprotocol::Stomp12 => Protocol::Stomp,
    };
    tokio::spawn(async move {
        match upgrade.finish().await {
            Ok(socket) => {
                let stream = Stream::WebSocket(Box::new(socket));
                door.drive(visitor.peer, stream, protocol, permit).await;
            }
            Err(error) => tracing::debug!(peer = %visitor.peer, %error, "the WebSocket upgrade failed"),
        }
    });
    response
}
