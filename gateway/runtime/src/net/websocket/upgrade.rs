//! The opening handshake (RFC 6455, section 4.2).

use axum::body::Body;
use axum::http::header::{
    CONNECTION, HeaderName, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
    UPGRADE,
};
use axum::http::{HeaderMap, Method, Request, Response, StatusCode};
use axum::response::IntoResponse;
use bytes::Bytes;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::{SENT_BYTES_MAX, WebSocket};

/// What is spoken inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subprotocol {
    /// `mqtt`
    Mqtt,
    /// `mqttv3.1`, as clients of MQTT 3.1 say
    Mqtt31,
    /// `amqp`
    Amqp,
    /// `v12.stomp`
    Stomp12,
    /// `v11.stomp`
    Stomp11,
    /// `v10.stomp`
    Stomp10,
}

impl Subprotocol {
    const ALL: [Self; 6] = [Self::Mqtt, Self::Mqtt31, Self::Amqp, Self::Stomp12, Self::Stomp11, Self::Stomp10];

    /// Its registered name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mqtt => "mqtt",
            Self::Mqtt31 => "mqttv3.1",
            Self::Amqp => "amqp",
            Self::Stomp12 => "v12.stomp",
            Self::Stomp11 => "v11.stomp",
            Self::Stomp10 => "v10.stomp",
        }
    }

    /// STOMP is text as often as not; the others want binary messages.
    pub(super) fn takes_text(self) -> bool {
        matches!(self, Self::Stomp12 | Self::Stomp11 | Self::Stomp10)
    }

    /// The first of the client's, in its order, that we speak.
    fn choose(headers: &HeaderMap) -> Option<Self> {
        let offers = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
        offers
            .flat_map(|list| list.split(','))
            .find_map(|offer| Self::ALL.into_iter().find(|known| known.name() == offer.trim()))
    }
}

/// Why a request is no WebSocket that we serve; answered with its status and text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum UpgradeRefused {
    /// An ordinary request.
    #[error("this is a WebSocket: connect with a WebSocket client\n")]
    NotAnUpgrade,
    /// Another version than 13.
    #[error("only WebSocket version 13 is spoken here\n")]
    Version,
    /// No or a broken key.
    #[error("the Sec-WebSocket-Key is missing or broken\n")]
    Key,
    /// None of ours among those offered.
    #[error("offer one of the subprotocols mqtt, mqttv3.1, v12.stomp, v11.stomp, v10.stomp, amqp\n")]
    Subprotocol,
}

impl IntoResponse for UpgradeRefused {
    fn into_response(self) -> axum::response::Response {
        let status = match self {
            Self::NotAnUpgrade | Self::Version => StatusCode::UPGRADE_REQUIRED,
            Self::Key | Self::Subprotocol => StatusCode::BAD_REQUEST,
        };
        // RFC 6455, section 4.4; RFC 9110, section 15.5.22
        (status, [(UPGRADE, "websocket"), (SEC_WEBSOCKET_VERSION, "13")], self.to_string()).into_response()
    }
}

/// A connection on its way from HTTP to WebSocket.
#[derive(Debug)]
pub struct Upgrade {
    connection: OnUpgrade,
    subprotocol: Subprotocol,
    message_bytes_max: usize,
}

impl Upgrade {
    /// Checks the request. Return the response to the client, and [`finish`](Self::finish) in a task
    /// of its own: the connection is handed over after the response was sent. Longer messages than
    /// `message_bytes_max` end the connection.
    pub fn begin<B>(
        request: &mut Request<B>,
        message_bytes_max: usize,
    ) -> Result<(Response<Body>, Self), UpgradeRefused> {
        let headers = request.headers();
        let upgrades = request.method() == Method::GET
            && lists(headers, &CONNECTION, "upgrade")
            && lists(headers, &UPGRADE, "websocket");
        if !upgrades {
            return Err(UpgradeRefused::NotAnUpgrade);
        }
        if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
            return Err(UpgradeRefused::Version);
        }
        // 16 bytes in base64
        let key = headers.get(SEC_WEBSOCKET_KEY).filter(|key| key.len() == 24).ok_or(UpgradeRefused::Key)?;
        let accept = derive_accept_key(key.as_bytes());
        let subprotocol = Subprotocol::choose(headers).ok_or(UpgradeRefused::Subprotocol)?;
        let connection = request.extensions_mut().remove::<OnUpgrade>().ok_or(UpgradeRefused::NotAnUpgrade)?;

        let response = (
            StatusCode::SWITCHING_PROTOCOLS,
            [
                (CONNECTION, "upgrade"),
                (UPGRADE, "websocket"),
                (SEC_WEBSOCKET_ACCEPT, accept.as_str()),
                (SEC_WEBSOCKET_PROTOCOL, subprotocol.name()),
            ],
        );
        Ok((response.into_response(), Self { connection, subprotocol, message_bytes_max }))
    }

    /// What was agreed on.
    pub fn subprotocol(&self) -> Subprotocol {
        self.subprotocol
    }

    /// Waits for the connection.
    pub async fn finish(self) -> Result<WebSocket, hyper::Error> {
        let connection = TokioIo::new(self.connection.await?);
        let config = WebSocketConfig::default()
            .max_message_size(Some(self.message_bytes_max))
            .max_frame_size(Some(self.message_bytes_max))
            .write_buffer_size(SENT_BYTES_MAX)
            // Room for one more frame and its header; beyond it a peer that floods us with pings and
            // reads no pong is cut off.
            .max_write_buffer_size(4 * SENT_BYTES_MAX);
        let inner = WebSocketStream::from_raw_socket(connection, Role::Server, Some(config)).await;
        Ok(WebSocket { inner, subprotocol: self.subprotocol, unread: Bytes::new() })
    }
}

fn lists(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|list| list.split(',')).any(|item| item.trim().eq_ignore_ascii_case(token))
}
