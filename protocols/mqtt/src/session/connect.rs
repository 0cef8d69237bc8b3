//! From CONNECT to CONNACK, and DISCONNECT.

use std::sync::Arc;
use std::time::Duration;

use evergate_model::{
    Access, Action, Address, Attach, AttachAccess, AttachError, Attached, Close, Credentials, Lifetime, Output,
    PublishError, QueueSpec, SESSION_PREFIX, Time, Will,
};

use super::inbound::address;
use super::resend::Taken;
use super::{ClientLimits, MqttSession, OWN, PACKET_BYTES_MAX, State};
use crate::codec::{
    Connack, Connect, Disconnect, LastWill, Packet, Properties, PropertyValue, ReasonCode, Version, id,
};

/// Who the client is and how long its session lives.
#[derive(Clone, Debug, Default)]
pub(super) struct Identity {
    pub(super) client_id: Arc<str>,
    pub(super) user: Arc<str>,
    /// The server chose the client id.
    assigned: bool,
    /// Seconds after the connection; `u32::MAX`: for ever.
    pub(super) session_expiry: u32,
}

fn lifetime(session_expiry: u32) -> Lifetime {
    match session_expiry {
        0 => Lifetime::Attached,
        u32::MAX => Lifetime::Permanent,
        seconds => Lifetime::AfterDetach(Duration::from_secs(u64::from(seconds))),
    }
}

impl Identity {
    /// Whether the session outlives its connection.
    pub(super) fn is_persistent(&self) -> bool {
        self.session_expiry > 0
    }

    pub(super) fn lifetime(&self) -> Lifetime {
        lifetime(self.session_expiry)
    }
}

impl MqttSession {
    pub(super) fn connect(&mut self, now: Time, connect: Box<Connect>, out: &mut Output) {
        self.version = connect.version;
        self.deadline = None;
        if let Some(size) = connect.properties.number(id::MAXIMUM_PACKET_SIZE) {
            self.client.packet_bytes_max = (size as usize).min(PACKET_BYTES_MAX);
        }
        if connect.properties.text(id::AUTHENTICATION_METHOD).is_some() {
            let what = "enhanced authentication is not available";
            return self.refuse(ReasonCode::BAD_AUTHENTICATION_METHOD, what, out); // [MQTT-4.12.0-1]
        }
        if connect.properties.0.iter().any(|property| property.id == id::AUTHENTICATION_DATA) {
            let what = "authentication data without an authentication method";
            return self.refuse(ReasonCode::PROTOCOL_ERROR, what, out); // MQTT 5, 3.1.2.11.10
        }
        if connect.client_id.is_empty() && !connect.clean_start && !self.is_v5() {
            let what = "a persistent session needs a client identifier";
            return self.refuse(ReasonCode::CLIENT_ID_NOT_VALID, what, out); // 3.1.1 [MQTT-3.1.3-8]
        }
        if connect.client_id.len() > self.config.max_client_id_bytes {
            return self.refuse(ReasonCode::CLIENT_ID_NOT_VALID, "the client identifier is too long", out);
        }
        if let Some(will) = &connect.will
            && let Err(what) = self.check_topic(&will.topic)
        {
            return self.refuse(ReasonCode::TOPIC_NAME_INVALID, what, out);
        }
        let asked = match connect.version {
            Version::V5 => connect.properties.number(id::SESSION_EXPIRY).unwrap_or(0),
            Version::V3 | Version::V4 if connect.clean_start => 0,
            Version::V3 | Version::V4 => u32::MAX,
        };
        let assigned = connect.client_id.is_empty();
        self.identity = Identity {
            // The time keeps it unique across restarts. [MQTT-3.1.3-6]
            client_id: if assigned {
                format!("evergate-{}-{:x}", self.conn_id, now.0).into()
            } else {
                connect.client_id.as_str().into()
            },
            user: "".into(),
            assigned,
            session_expiry: asked.min(self.config.max_session_expiry_seconds),
        };
        let credentials = match (&connect.user, &connect.password) {
            (None, None) => Credentials::Anonymous,
            (user, password) => Credentials::Password {
                user: user.as_deref().unwrap_or_default().into(),
                password: password.clone().unwrap_or_default(),
            },
        };
        out.actions.push(Action::Authenticate(credentials));
        self.state = State::Authenticating(connect);
    }

    pub(super) fn authenticated(&mut self, access: Access, out: &mut Output) {
        let State::Authenticating(connect) = std::mem::replace(&mut self.state, State::Silent) else { return };
        match access {
            Access::Granted(user) => self.identity.user = user,
            Access::Denied => {
                let anonymous = connect.user.is_none() && connect.password.is_none();
                let reason = if anonymous { ReasonCode::NOT_AUTHORIZED } else { ReasonCode::BAD_USER_NAME_OR_PASSWORD };
                return self.refuse_connect(reason, "name or password refused", Close::Unauthorized, out);
            }
        }
        match connect.will.as_ref().map(|will| address(&will.topic)).filter(Address::is_reserved) {
            None => self.attach_session(connect, out),
            Some(to) => {
                let token = self.token();
                out.actions.push(Action::MayPublish { to, token });
                self.state = State::AskingForWill(connect);
            }
        }
    }

    /// Whether the client may publish its will, which goes to one of the gateway's own names.
    pub(super) fn will_checked(&mut self, result: Result<u32, PublishError>, out: &mut Output) {
        let State::AskingForWill(connect) = std::mem::replace(&mut self.state, State::Silent) else { return };
        match result {
            Ok(_) => self.attach_session(connect, out),
            Err(error) => self.refuse(ReasonCode::NOT_AUTHORIZED, &format!("the will: {error}"), out),
        }
    }

    fn attach_session(&mut self, connect: Box<Connect>, out: &mut Output) {
        let queue = QueueSpec {
            name: format!("{SESSION_PREFIX}{}", self.identity.client_id).into(),
            durable: self.identity.is_persistent(),
            lifetime: self.identity.lifetime(),
        };
        out.actions.push(Action::Attach(Attach {
            access: AttachAccess::TakeOver,
            fresh: connect.clean_start, // [MQTT-3.1.2-4]
            ..Attach::new(OWN, queue)
        }));
        self.state = State::Attaching(connect);
    }

    pub(super) fn session_attached(&mut self, now: Time, result: Result<Attached, AttachError>, out: &mut Output) {
        let State::Attaching(connect) = std::mem::replace(&mut self.state, State::Silent) else { return };
        let attached = match result {
            Ok(attached) => attached,
            Err(error) => {
                let reason = match error {
                    AttachError::Denied => ReasonCode::NOT_AUTHORIZED,
                    AttachError::Limit(_) => ReasonCode::QUOTA_EXCEEDED,
                    AttachError::InUse | AttachError::NotFound | AttachError::Unavailable => {
                        ReasonCode::SERVER_UNAVAILABLE
                    }
                };
                let what = error.to_string();
                return self.refuse_connect(reason, &what, Close::Gateway(what.clone()), out);
            }
        };
        let resumed = attached.existed && !connect.clean_start; // [MQTT-3.2.2-2], [MQTT-3.2.2-3]
        let keep_alive = match (connect.keep_alive, self.config.max_keep_alive_seconds) {
            (asked, 0) => asked,
            // It cannot be told: it keeps to what it asked for. [MQTT-3.1.2-24] of 3.1.1
            (asked, _) if connect.version != Version::V5 => asked,
            (0, most) => most,
            (asked, most) => asked.min(most),
        };
        let connack = Connack {
            session_present: resumed && connect.version != Version::V3,
            reason: ReasonCode::SUCCESS,
            properties: self.connack_properties(&connect, keep_alive),
        };
        self.client = self.client_limits(&connect.properties);
        self.state = State::Online;
        self.send(&Packet::Connack(connack), out);
        if matches!(self.state, State::Closed) {
            return;
        }
        if keep_alive > 0 {
            self.silence_max = Some(Duration::from_millis(u64::from(keep_alive) * 1500));
            self.heard(now);
        }
        if let Some(will) = connect.will {
            let will = Self::will(now, will);
            out.actions.push(Action::Will(Some(Box::new(will))));
        }
        self.open_own_consumer(out);
        if resumed {
            self.inbound.resends = Taken::new(attached.fingerprints);
            self.restore_marks(&attached.marks, out);
            self.restore_subscriptions(attached.bindings, out);
        }
    }

    fn client_limits(&self, properties: &Properties) -> ClientLimits {
        let receive_maximum = properties.number(id::RECEIVE_MAXIMUM).map_or(u16::MAX, |number| number as u16);
        ClientLimits {
            receive_maximum: receive_maximum.min(self.config.delivery_window).max(1),
            packet_bytes_max: self.client.packet_bytes_max,
            wants_reasons: properties.flag(id::REQUEST_PROBLEM_INFORMATION).unwrap_or(true),
        }
    }

    fn connack_properties(&self, connect: &Connect, keep_alive: u16) -> Properties {
        let mut properties = Properties::default();
        if connect.properties.number(id::SESSION_EXPIRY).unwrap_or(0) != self.identity.session_expiry {
            properties.add(id::SESSION_EXPIRY, PropertyValue::Four(self.identity.session_expiry));
        }
        properties.add(id::RECEIVE_MAXIMUM, PropertyValue::Two(self.config.receive_maximum.max(1)));
        properties.add(id::MAXIMUM_PACKET_SIZE, PropertyValue::Four(self.config.max_packet_bytes.max(1)));
        properties.add(id::TOPIC_ALIAS_MAXIMUM, PropertyValue::Two(self.config.topic_alias_maximum));
        for available in [id::WILDCARD_AVAILABLE, id::SUBSCRIPTION_IDS_AVAILABLE, id::SHARED_AVAILABLE] {
            properties.add(available, PropertyValue::Flag(true));
        }
        if self.identity.assigned {
            let client_id = self.identity.client_id.to_string();
            properties.add(id::ASSIGNED_CLIENT_ID, PropertyValue::Text(client_id)); // [MQTT-3.2.2-16]
        }
        if keep_alive != connect.keep_alive {
            properties.add(id::SERVER_KEEP_ALIVE, PropertyValue::Two(keep_alive)); // [MQTT-3.1.2-21]
        }
        properties
    }

    fn will(now: Time, mut will: LastWill) -> Will {
        let delay = will.properties.will_delay;
        // The interval counts from the will's publication, which nobody knows yet.
        let expiry = will.properties.expiry.take().map(|seconds| Duration::from_secs(u64::from(seconds)));
        let LastWill { topic, qos, retain, properties, payload } = will;
        let mut message = super::inbound::message(now, &topic, qos, retain, properties, payload);
        if let Some(rare) = &mut message.meta.rare {
            rare.deliver_at = None; // a will has its own delay
        }
        Will { message, retain, delay: Duration::from_secs(u64::from(delay)), expiry }
    }

    fn refuse(&mut self, reason: ReasonCode, what: &str, out: &mut Output) {
        self.refuse_connect(reason, what, Close::ProtocolError(what.to_owned()), out);
    }

    /// Answers CONNECT by a CONNACK that says why not, where the version has a word for it, and closes.
    pub(super) fn refuse_connect(&mut self, reason: ReasonCode, what: &str, close: Close, out: &mut Output) {
        let code = match (self.version, reason) {
            (Version::V5, reason) => Some(reason),
            (_, ReasonCode::UNSUPPORTED_PROTOCOL_VERSION) => Some(ReasonCode(1)),
            (_, ReasonCode::CLIENT_ID_NOT_VALID) => Some(ReasonCode(2)),
            (_, ReasonCode::SERVER_UNAVAILABLE | ReasonCode::QUOTA_EXCEEDED) => Some(ReasonCode(3)),
            (_, ReasonCode::BAD_USER_NAME_OR_PASSWORD) => Some(ReasonCode(4)),
            (_, ReasonCode::NOT_AUTHORIZED) => Some(ReasonCode(5)),
            _ => None,
        };
        if let Some(reason) = code {
            let mut connack = Connack { session_present: false, reason, properties: Properties::default() };
            connack.properties.add(id::REASON_STRING, PropertyValue::Text(what.to_owned()));
            if !self.try_send(&Packet::Connack(connack.clone()), out) {
                connack.properties = Properties::default();
                self.try_send(&Packet::Connack(connack), out);
            }
        }
        self.close(close, out);
    }

    pub(super) fn disconnected(&mut self, disconnect: &Disconnect, out: &mut Output) {
        if let Some(asked) = disconnect.properties.number(id::SESSION_EXPIRY) {
            if self.identity.session_expiry == 0 && asked > 0 {
                let what = "a session expiry interval in DISCONNECT after 0 in CONNECT";
                return self.fail(ReasonCode::PROTOCOL_ERROR, what, out); // [MQTT-3.14.2-2]
            }
            let granted = asked.min(self.config.max_session_expiry_seconds);
            let lifetime = Some(lifetime(granted));
            out.actions.push(Action::Detach { consumer: OWN, delete: granted == 0, lifetime });
        }
        if disconnect.reason == ReasonCode::SUCCESS {
            out.actions.push(Action::Will(None)); // [MQTT-3.14.4-3]
            self.close(Close::Goodbye, out);
        } else {
            // The will is published. [MQTT-3.1.2-8]
            self.close(Close::ProtocolError(format!("the client left with reason {}", disconnect.reason)), out);
        }
    }
}
