//! What a parser cannot see: listeners that others can reach, files, sizes that do not fit each other.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use evergate_core::QueueDefinition;
use evergate_runtime::net::{Accounts, Reach, TlsFiles, TlsServer};

use super::load::Origins;
use super::problem::{Problem, Problems};
use super::schema::{Config, Protocol};
use super::units::ByteSize;

/// MQTT's largest packet, 256 MiB less one byte, less room for topic and properties.
const MESSAGE_BYTES_CEILING: ByteSize = ByteSize(255 << 20);

/// A port to open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerSpec {
    /// What it speaks.
    pub protocol: Protocol,
    /// Where.
    pub address: SocketAddr,
    /// Encrypted.
    pub tls: bool,
}

impl ListenerSpec {
    /// From where it can be reached.
    pub fn reach(&self) -> Reach {
        Reach::of(self.address.ip())
    }
}

impl std::fmt::Display for ListenerSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:<5} {}{}", self.protocol.to_string(), self.address, if self.tls { " (TLS)" } else { "" })
    }
}

/// A configuration that can be served.
#[derive(Clone, Debug)]
pub struct Checked {
    /// All of it.
    pub config: Config,
    /// Every port to open.
    pub listeners: Vec<ListenerSpec>,
    /// The certificate, read; there if a listener has TLS or `[tls]` is given.
    pub tls: Option<TlsServer>,
    /// The accounts.
    pub accounts: Accounts,
    /// The queues that are there from the start.
    pub queues: Vec<QueueDefinition>,
    /// What is allowed but should be known.
    pub warnings: Vec<String>,
}

pub(super) struct Check<'a> {
    origins: &'a Origins,
    problems: Vec<Problem>,
}

impl Check<'_> {
    pub(super) fn wrong(&mut self, at: (&str, usize, &str), wrong: String, allowed: Option<&str>, next: &str) {
        let place = self.origins.place(at.0, at.1, at.2);
        self.problems.push(Problem { place, wrong, allowed: allowed.map(str::to_owned), next: next.to_owned() });
    }
}

/// Everything that is wrong at once, or what can be served.
pub(super) fn check(config: Config, origins: &Origins) -> Result<Checked, Problems> {
    let mut check = Check { origins, problems: Vec::new() };
    check.journal(&config);
    let listeners = check.listeners(&config);
    let accounts = check.accounts(&config);
    let tls = check.tls(&config);
    check.web(&config);
    check.limits(&config);
    check.log(&config);
    check.policies(&config);
    let queues = check.queues(&config);
    match accounts {
        Some(accounts) if check.problems.is_empty() => {
            let warnings = warnings(&config, &listeners, tls.as_ref());
            Ok(Checked { config, listeners, tls, accounts, queues, warnings })
        }
        _ => Err(Problems(check.problems)),
    }
}

fn warnings(config: &Config, listeners: &[ListenerSpec], tls: Option<&TlsServer>) -> Vec<String> {
    let open = listeners.iter().filter(|listener| listener.reach() == Reach::Network);
    let mut warnings: Vec<String> = open
        .clone()
        .filter(|listener| !listener.tls)
        .map(|listener| {
            format!(
                "{} {} can be reached from other machines without TLS: passwords and messages can be read on the way",
                listener.protocol, listener.address
            )
        })
        .collect();
    if config.auth.anonymous && open.count() > 0 {
        warnings.push("auth.anonymous = true: whoever can reach a listener comes in without a password".into());
    }
    if let (Some(files), Some(wrong)) = (&config.tls, tls.and_then(TlsServer::out_of_date)) {
        let path = files.certificate.display();
        warnings
            .push(format!("the certificate {path} {wrong}: clients refuse it; put another in its place and restart"));
    }
    warnings
}

impl Check<'_> {
    fn journal(&mut self, config: &Config) {
        let url = &config.journal.url;
        let known = ["sqlite:", "postgres://", "postgresql://"];
        if !known.iter().any(|scheme| url.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty())) {
            // Not shown: it may hold a password.
            self.wrong(
                ("journal", 0, "url"),
                "this is no journal that the gateway knows".into(),
                Some("sqlite:DIRECTORY, postgres://USER:PASSWORD@HOST/DATABASE"),
                "write one of the two forms",
            );
        } else if !url.starts_with("sqlite:")
            && let Err(wrong) = evergate_postgres::check_url(url)
        {
            self.wrong(("journal", 0, "url"), wrong, None, "correct it; docs/operating.md says what it may hold");
        }
    }

    fn listeners(&mut self, config: &Config) -> Vec<ListenerSpec> {
        let listen = &config.listen;
        let plain = [
            (Protocol::Mqtt, &listen.mqtt),
            (Protocol::Amqp, &listen.amqp),
            (Protocol::Stomp, &listen.stomp),
            (Protocol::Http, &listen.http),
        ];
        let mut found: Vec<(ListenerSpec, (&str, usize, String))> = Vec::new();
        for (protocol, addresses) in plain {
            for address in &addresses.0 {
                let at = ("listen", 0, protocol.to_string());
                found.push((ListenerSpec { protocol, address: *address, tls: false }, at));
            }
        }
        for (item, listener) in config.listener.iter().enumerate() {
            let (protocol, address, tls) = (listener.protocol, listener.address, listener.tls);
            found.push((ListenerSpec { protocol, address, tls }, ("listener", item, "address".to_owned())));
            if tls && config.tls.is_none() {
                self.wrong(
                    ("listener", item, "tls"),
                    format!("the listener {protocol} {address} wants TLS, and there is no certificate"),
                    None,
                    "add a section [tls] with certificate and key",
                );
            }
        }
        for (index, (listener, (section, item, key))) in found.iter().enumerate() {
            let at = (*section, *item, key.as_str());
            if let Some((other, _)) = found[..index].iter().find(|(other, _)| collide(other.address, listener.address))
            {
                self.wrong(
                    at,
                    format!(
                        "{} {} and {} {} are the same port",
                        listener.protocol, listener.address, other.protocol, other.address
                    ),
                    None,
                    "give one of them another port, or \"\" for off",
                );
            }
            if listener.reach() == Reach::Network && config.user.is_empty() {
                self.wrong(
                    at,
                    format!(
                        "the listener {} {} can be reached from other machines, and there is no account: anybody could come in",
                        listener.protocol, listener.address
                    ),
                    Some("127.0.0.1, [::1] or localhost without accounts; any address with at least one"),
                    "run `evergate user hash` and add what it prints to the file as a [[user]], or listen on 127.0.0.1",
                );
            }
        }
        let listeners: Vec<_> = found.iter().map(|(listener, _)| *listener).collect();
        if listeners.is_empty() {
            self.wrong(
                ("listen", 0, "mqtt"),
                "every listener is off".into(),
                None,
                "leave at least one on, such as [listen] mqtt = \"127.0.0.1:1883\"",
            );
        }
        listeners
    }

    fn accounts(&mut self, config: &Config) -> Option<Accounts> {
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        for (item, user) in config.user.iter().enumerate() {
            if user.name.is_empty() {
                self.wrong(("user", item, "name"), "a user without a name".into(), None, "give it a name");
            }
            if seen.insert(&user.name, item).is_some() {
                self.wrong(
                    ("user", item, "name"),
                    format!("there are two users {:?}", user.name),
                    None,
                    "remove or rename one of them",
                );
            }
            let one = [(user.name.clone(), user.password.clone())];
            if let Err(error) = Accounts::new(one, false) {
                self.wrong(
                    ("user", item, "password"),
                    error.to_string(),
                    Some("a hash that begins with $argon2id$, never the password itself"),
                    "run `evergate user hash` and put what it prints here",
                );
            }
        }
        let users = config.user.iter().map(|user| (user.name.clone(), user.password.clone()));
        Accounts::new(users, config.auth.anonymous).ok()
    }

    fn tls(&mut self, config: &Config) -> Option<TlsServer> {
        let tls = config.tls.as_ref()?;
        let files =
            TlsFiles { certificate: tls.certificate.clone(), key: tls.key.clone(), client_ca: tls.client_ca.clone() };
        match TlsServer::load(&files) {
            Ok(server) => Some(server),
            Err(error) => {
                let text = error.to_string();
                let about = |path: &std::path::Path| text.contains(&*path.to_string_lossy());
                let key = match &tls.client_ca {
                    _ if about(&tls.certificate) => "certificate",
                    Some(path) if about(path) => "client_ca",
                    _ => "key",
                };
                self.wrong(
                    ("tls", 0, key),
                    text,
                    None,
                    "name PEM files that belong together and that this user may read",
                );
                None
            }
        }
    }

    fn web(&mut self, config: &Config) {
        for host in &config.http.allowed_hosts {
            if host.is_empty() || host.contains(['/', '*', '@', ' ']) {
                self.wrong(
                    ("http", 0, "allowed_hosts"),
                    format!("{host:?} is no host name"),
                    Some("names such as \"gateway.example\" or \"gateway.example:15672\", without patterns"),
                    "write each name in full",
                );
            }
        }
        for origin in &config.http.allowed_origins {
            let name = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
            let name = name.map(|name| name.trim_end_matches('/'));
            if name.is_none_or(|name| name.is_empty() || name.contains(['/', '*', '@', ' '])) {
                self.wrong(
                    ("http", 0, "allowed_origins"),
                    format!("{origin:?} is no origin"),
                    Some("\"https://name\" or \"https://name:port\", without a path and without patterns"),
                    "write what the browser shows up to the first single slash",
                );
            }
        }
    }

    fn limits(&mut self, config: &Config) {
        let limits = &config.limits;
        let message = limits.message_bytes_max;
        self.counts(config);
        if message > MESSAGE_BYTES_CEILING {
            self.limit("message_bytes_max", message, &format!("at most {MESSAGE_BYTES_CEILING}"));
        }
        if limits.large_message_bytes_max < message {
            let least = format!("at least message_bytes_max ({message}): the same, and no message is streamed");
            self.limit("large_message_bytes_max", limits.large_message_bytes_max, &least);
        }
        for (key, size) in [
            ("publish_window_bytes", limits.publish_window_bytes),
            ("queue_bytes_max", limits.queue_bytes_max),
            ("transaction_bytes_max", limits.transaction_bytes_max),
        ] {
            if size < message {
                self.limit(
                    key,
                    size,
                    &format!("at least message_bytes_max ({message}): else no such message ever fits"),
                );
            }
        }
        if limits.memory_bytes_max.0 < message.0.saturating_mul(4) {
            let least = ByteSize(message.0.saturating_mul(4));
            self.limit("memory_bytes_max", limits.memory_bytes_max, &format!("at least four messages ({least})"));
        }
        let frame = config.amqp.frame_bytes_max;
        if !(512..=u64::from(u32::MAX)).contains(&frame.0) {
            // AMQP 1.0 part 2, section 2.4.1: every peer takes frames of 512 bytes.
            self.out_of_bounds("amqp", "frame_bytes_max", &frame.to_string(), "512 B to 4294967295 B");
        }
        let sasl = config.amqp.sasl_frame_bytes_max;
        if !(512..=u64::from(u32::MAX)).contains(&sasl.0) {
            self.out_of_bounds("amqp", "sasl_frame_bytes_max", &sasl.to_string(), "512 B to 4294967295 B");
        }
        let assembly = config.amqp.assembly_bytes_max;
        if assembly < message {
            self.out_of_bounds("amqp", "assembly_bytes_max", &assembly.to_string(), "at least message_bytes_max");
        }
        let levels = config.mqtt.topic_levels_max;
        if levels > 128 {
            self.out_of_bounds("mqtt", "topic_levels_max", &levels.to_string(), "at most 128");
        }
        if config.stomp.head_bytes_max < config.stomp.line_bytes_max {
            let size = config.stomp.head_bytes_max.to_string();
            self.out_of_bounds("stomp", "head_bytes_max", &size, "at least line_bytes_max");
        }
    }

    /// Numbers of which 0 would leave nothing that works.
    fn counts(&mut self, config: &Config) {
        let (limits, mqtt, amqp, stomp) = (&config.limits, &config.mqtt, &config.amqp, &config.stomp);
        let counts = [
            ("limits", "connections_max", limits.connections_max.into()),
            ("limits", "handshake_seconds", limits.handshake_seconds.into()),
            ("limits", "message_bytes_max", limits.message_bytes_max.0),
            ("limits", "large_message_window_bytes", limits.large_message_window_bytes.0),
            ("limits", "queue_messages_max", limits.queue_messages_max),
            ("limits", "queue_resident_bytes_max", limits.queue_resident_bytes_max.0),
            ("limits", "queues_max", limits.queues_max.into()),
            ("limits", "publish_window_messages", limits.publish_window_messages.into()),
            ("limits", "transaction_messages_max", limits.transaction_messages_max.into()),
            ("limits", "transaction_age_seconds_max", limits.transaction_age_seconds_max.into()),
            ("limits", "transactions_per_connection_max", limits.transactions_per_connection_max.into()),
            ("limits", "transaction_outcomes_max", limits.transaction_outcomes_max.into()),
            ("limits", "transaction_outcome_seconds", limits.transaction_outcome_seconds.into()),
            ("limits", "delivery_window_bytes", limits.delivery_window_bytes.0),
            ("limits", "outbox_bytes_max", limits.outbox_bytes_max.0),
            ("mqtt", "receive_maximum", mqtt.receive_maximum.into()),
            ("mqtt", "delivery_window_messages", mqtt.delivery_window_messages.into()),
            ("mqtt", "subscriptions_max", mqtt.subscriptions_max.into()),
            ("mqtt", "filters_per_packet_max", mqtt.filters_per_packet_max.into()),
            ("mqtt", "topic_levels_max", mqtt.topic_levels_max.into()),
            ("mqtt", "client_id_bytes_max", mqtt.client_id_bytes_max.into()),
            ("mqtt", "control_packet_bytes_max", mqtt.control_packet_bytes_max.0),
            ("mqtt", "pending_requests_max", mqtt.pending_requests_max.into()),
            ("amqp", "depth_max", amqp.depth_max.into()),
            ("amqp", "incoming_window", amqp.incoming_window.into()),
            ("amqp", "links_per_session_max", amqp.links_per_session_max.into()),
            ("amqp", "unsettled_per_link_max", amqp.unsettled_per_link_max.into()),
            ("amqp", "link_credit", amqp.link_credit.into()),
            ("amqp", "idle_timeout_seconds", amqp.idle_timeout_seconds.into()),
            ("stomp", "headers_max", stomp.headers_max.into()),
            ("stomp", "line_bytes_max", stomp.line_bytes_max.0),
            ("stomp", "prefetch_messages", stomp.prefetch_messages.into()),
            ("stomp", "prefetch_messages_max", stomp.prefetch_messages_max.into()),
            ("stomp", "pending_frames_max", stomp.pending_frames_max.into()),
            ("stomp", "early_bytes_max", stomp.early_bytes_max.0),
        ];
        for (section, key, _) in counts.into_iter().filter(|(_, _, number)| *number == 0) {
            self.out_of_bounds(section, key, "0", "1 or more");
        }
    }

    fn limit(&mut self, key: &str, size: ByteSize, allowed: &str) {
        self.out_of_bounds("limits", key, &size.to_string(), allowed);
    }

    fn out_of_bounds(&mut self, section: &str, key: &str, value: &str, allowed: &str) {
        let wrong = format!("{section}.{key} is {value}");
        self.wrong(
            (section, 0, key),
            wrong,
            Some(allowed),
            "choose a number within these bounds, or remove the key for its default",
        );
    }
}

/// Whether the system would refuse the second: an unspecified address takes the port of all.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let (a, b) = (one.ip().to_canonical(), other.ip().to_canonical());
    let all = |ip: std::net::IpAddr| ip.is_unspecified();
    one.port() != 0 && one.port() == other.port() && (a == b || all(a) || all(b))
}
