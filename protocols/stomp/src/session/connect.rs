//! CONNECT and its answer.

use std::sync::Arc;

use bytes::Bytes;
use evergate_model::{Access, Action, Close, Credentials, Output, Time};

use super::fault::Fault;
use super::heartbeat::Heartbeat;
use super::{Phase, StompSession};
use crate::codec::{self, Command, Frame, Headers, Version};

impl StompSession {
    pub(super) fn on_connect(&mut self, now: Time, frame: &Frame, out: &mut Output) -> Result<(), Fault> {
        self.version = negotiate(frame.headers.get("accept-version"))?;
        self.decoder.set_version(self.version);
        self.connected_at = now;
        let get = |name| header_of(&frame.headers, name, self.version);
        if self.version != Version::V1_0
            && let Some(text) = get("heart-beat")
        {
            let offer = Heartbeat::parse(text)
                .ok_or_else(|| Fault::refused(format!("heart-beat must be two numbers of milliseconds: {text}")))?;
            self.heartbeat = Heartbeat::agree(&self.config, offer, now);
        }
        self.client_id = get("client-id").unwrap_or("").into();
        let credentials = match (get("login"), get("passcode")) {
            (None, None) => Credentials::Anonymous,
            (login, passcode) => Credentials::Password {
                user: login.unwrap_or("").into(),
                password: Bytes::copy_from_slice(passcode.unwrap_or("").as_bytes()),
            },
        };
        self.phase = Phase::Authenticating;
        out.actions.push(Action::Authenticate(credentials));
        Ok(())
    }

    pub(super) fn on_authenticated(&mut self, now: Time, access: Access, out: &mut Output) -> Result<(), Fault> {
        let user = match access {
            Access::Granted(user) => user,
            Access::Denied => {
                return Err(Fault::refused("access refused")
                    .with_hint("Check the login and passcode headers of CONNECT.")
                    .with_close(Close::Unauthorized));
            }
        };
        self.phase = Phase::Connected;
        self.heartbeat.heard(now);
        let mut headers = Headers::default();
        headers.push("version", self.version.as_str());
        headers.push("session", &self.conn_id.to_string());
        headers.push("server", &self.config.server);
        if self.version != Version::V1_0 {
            let millis = |interval: std::time::Duration| interval.as_millis();
            let (sx, sy) = (millis(self.config.heartbeat_send), millis(self.config.heartbeat_receive));
            headers.push("heart-beat", &format!("{sx},{sy}"));
        }
        if !user.is_empty() {
            headers.push("user-name", &user);
        }
        self.user = user;
        let frame = Frame { command: Command::Connected, headers, body: Bytes::new() };
        codec::encode(&frame, self.version, out.wire.tail());
        Ok(())
    }
}

/// The highest version that both know. No header: 1.0. [STOMP 1.2, Protocol Negotiation]
fn negotiate(accepted: Option<&str>) -> Result<Version, Fault> {
    let Some(text) = accepted else {
        return Ok(Version::V1_0);
    };
    let offered = |version: Version| text.split(',').any(|part| part.trim() == version.as_str());
    [Version::V1_2, Version::V1_1, Version::V1_0].into_iter().find(|version| offered(*version)).ok_or_else(|| Fault {
        versions: true,
        ..Fault::refused(format!("none of the versions {text} is supported"))
            .with_hint("Supported protocol versions are 1.0, 1.1 and 1.2.")
    })
}

/// CONNECT is read before the version is known, so 1.0's spaces around values are cut off here.
fn header_of<'a>(headers: &'a Headers, name: &str, version: Version) -> Option<&'a str> {
    match version {
        Version::V1_0 => headers.iter().find(|(known, _)| known.trim() == name).map(|(_, value)| value.trim()),
        Version::V1_1 | Version::V1_2 => headers.get(name),
    }
}

/// For logs and the console.
pub(super) fn protocol_name(phase: Phase, version: Version) -> &'static str {
    match (phase, version) {
        (Phase::AwaitConnect, _) => "",
        (_, Version::V1_0) => "STOMP 1.0",
        (_, Version::V1_1) => "STOMP 1.1",
        (_, Version::V1_2) => "STOMP 1.2",
    }
}

/// A client id that can be part of a queue's name.
pub(super) fn durable_owner(client_id: &Arc<str>) -> Result<&str, Fault> {
    if client_id.is_empty() || client_id.contains('/') {
        return Err(Fault::refused("a durable subscription needs a client-id header on CONNECT, without /"));
    }
    Ok(client_id)
}
