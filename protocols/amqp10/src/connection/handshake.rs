//! Protocol headers, SASL and open (part 2, 2.2 and 2.4; part 5, 5.3).

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use evergate_model::{Access, Action, Close, Credentials, Output, Time};

use super::AmqpSession;
use crate::codec::{AMQP_HEADER, HEADER_BYTES, SASL_HEADER};
use crate::error::{AmqpError, Fault, INVALID_FIELD, NOT_ALLOWED};
use crate::performative::{
    Open, OpenReply, write_open, write_sasl_challenge, write_sasl_mechanisms, write_sasl_outcome,
};

/// SASL outcome codes (5.3.3.6).
const SASL_OK: u8 = 0;
const SASL_AUTH: u8 = 1;

/// The smallest frame size that a peer may set (2.7.1).
const FRAME_BYTES_MIN: u32 = 512;

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The first protocol header.
    Start,
    SaslInit,
    /// PLAIN was named without credentials; we asked for them.
    SaslResponse,
    /// The gateway looks at the credentials.
    Authenticating {
        /// They came by SASL; else the client went straight to AMQP.
        sasl: bool,
    },
    /// SASL succeeded: the AMQP header is next.
    SaslDone,
    Open,
    Running,
    Closed,
}

impl Phase {
    /// Whether AMQP frames are spoken.
    pub fn is_amqp(self) -> bool {
        matches!(self, Self::Open | Self::Running)
    }
}

impl AmqpSession {
    /// Takes a protocol header. False: wait for more, or nothing more is wanted.
    pub(super) fn take_header(&mut self, input: &mut BytesMut, out: &mut Output) -> bool {
        let seen = input.len().min(4);
        if input[..seen] != AMQP_HEADER[..seen] {
            self.wrong_header(out);
            return false;
        }
        if input.len() < HEADER_BYTES {
            return false;
        }
        let header = input.split_to(HEADER_BYTES);
        if header[..] == SASL_HEADER && self.phase == Phase::Start {
            let buf = self.context.buf(out);
            buf.extend_from_slice(&SASL_HEADER);
            write_sasl_mechanisms(buf, &["PLAIN", "ANONYMOUS"]);
            self.phase = Phase::SaslInit;
        } else if header[..] == AMQP_HEADER && self.phase == Phase::SaslDone {
            self.context.buf(out).extend_from_slice(&AMQP_HEADER);
            self.phase = Phase::Open;
        } else if header[..] == AMQP_HEADER {
            self.authenticate(Credentials::Anonymous, false, out);
        } else {
            self.wrong_header(out);
            return false;
        }
        true
    }

    /// A version or layer that we do not speak: answer with what we do, and close (2.2).
    fn wrong_header(&mut self, out: &mut Output) {
        let ours = if self.phase == Phase::Start { SASL_HEADER } else { AMQP_HEADER };
        self.context.buf(out).extend_from_slice(&ours);
        self.finish(Close::ProtocolError("unknown protocol header".into()), out);
    }

    fn authenticate(&mut self, credentials: Credentials, sasl: bool, out: &mut Output) {
        self.phase = Phase::Authenticating { sasl };
        out.actions.push(Action::Authenticate(credentials));
    }

    pub(super) fn sasl_init(&mut self, mechanism: &str, response: Option<&[u8]>, out: &mut Output) {
        match (mechanism, response) {
            ("ANONYMOUS", _) => self.authenticate(Credentials::Anonymous, true, out),
            ("PLAIN", Some(response)) => self.sasl_plain(response, out),
            ("PLAIN", None) => {
                write_sasl_challenge(self.context.buf(out));
                self.phase = Phase::SaslResponse;
            }
            _ => self.deny(true, out),
        }
    }

    /// PLAIN: authorization id, NUL, name, NUL, password (RFC 4616).
    pub(super) fn sasl_plain(&mut self, response: &[u8], out: &mut Output) {
        let mut parts = response.splitn(3, |byte| *byte == 0);
        let (Some(acting_as), Some(user), Some(password)) = (parts.next(), parts.next(), parts.next()) else {
            return self.deny(true, out);
        };
        match std::str::from_utf8(user) {
            // Nobody may act as somebody else.
            Ok(user) if acting_as.is_empty() || acting_as == user.as_bytes() => {
                let credentials =
                    Credentials::Password { user: user.into(), password: Bytes::copy_from_slice(password) };
                self.authenticate(credentials, true, out);
            }
            _ => self.deny(true, out),
        }
    }

    /// The gateway's word on the credentials.
    pub(super) fn authenticated(&mut self, now: Time, access: Access, out: &mut Output) {
        let Phase::Authenticating { sasl } = self.phase else { return };
        let Access::Granted(user) = access else { return self.deny(sasl, out) };
        self.user = user;
        if sasl {
            write_sasl_outcome(self.context.buf(out), SASL_OK);
            self.phase = Phase::SaslDone;
        } else {
            self.context.buf(out).extend_from_slice(&AMQP_HEADER);
            self.phase = Phase::Open;
        }
        let mut stash = std::mem::take(&mut self.stash);
        self.consume(now, &mut stash, out);
        self.stash = stash;
    }

    fn deny(&mut self, sasl: bool, out: &mut Output) {
        let buf = self.context.buf(out);
        if sasl {
            write_sasl_outcome(buf, SASL_AUTH);
        } else {
            // Straight AMQP is not for everyone: name the layer that is needed.
            buf.extend_from_slice(&SASL_HEADER);
        }
        self.finish(Close::Unauthorized, out);
    }

    pub(super) fn open(&mut self, now: Time, open: &Open<'_>, out: &mut Output) -> Result<(), Fault> {
        let refuse = |condition, text| Err(Fault::Connection(AmqpError::new(condition, text)));
        let frame_bytes_max = open.frame_bytes_max.unwrap_or(u32::MAX);
        if frame_bytes_max < FRAME_BYTES_MIN {
            return refuse(INVALID_FIELD, "max-frame-size is smaller than 512");
        }
        if let Some(millis) = open.idle_timeout.filter(|millis| *millis > 0) {
            // Said openly rather than served too late (2.4.5).
            if Duration::from_millis(millis.into()) < self.context.config.peer_idle_timeout_min {
                return refuse(NOT_ALLOWED, "idle-time-out is too short for this gateway");
            }
            self.heartbeat_millis = Some(u64::from(millis) / 2);
        }
        // What we send is cut into frames no larger than we ourselves would take.
        self.context.frame_bytes_max = frame_bytes_max.min(self.context.config.frame_bytes_max.max(512)) as usize;
        self.context.container_id = open.container_id.as_ref().into();
        self.channel_max = open.channel_max.unwrap_or(u16::MAX).min(self.context.config.channel_max);
        self.write_open(out);
        self.phase = Phase::Running;
        self.handshake_until = None;
        self.heard_at = now;
        Ok(())
    }

    pub(super) fn write_open(&mut self, out: &mut Output) {
        self.opened = true;
        let config = self.context.config.clone();
        let half = config.idle_timeout.as_millis() / 2;
        let reply = OpenReply {
            container_id: &config.container_id,
            frame_bytes_max: config.frame_bytes_max.max(FRAME_BYTES_MIN),
            channel_max: config.channel_max,
            idle_timeout_millis: u32::try_from(half).unwrap_or(u32::MAX),
        };
        write_open(self.context.buf(out), &reply);
    }
}
