//! Starts everything, waits for a reason to stop, stops everything.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use evergate_admin::operations::Operator;
use evergate_admin::{AdminState, Authorize};
use evergate_core::{
    DirectoryConfig, DirectoryLimits, FingerprintLimits, OutcomeLimits, QueueDefinition, QueueLimits, TransactionLimits,
};
use evergate_journal::Journal;
use evergate_model::{ADMIN_NAME, Access, Credentials, Formats, PeerInfo, QueueSettings};
use evergate_runtime::net::{Accounts, ConnectionLimit, Listener, Reach};
use evergate_runtime::{Compose, Gateway, GatewayConfig, Tasks, serve_requests};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::{Checked, Config, Protocol};
use crate::descriptors;
use crate::event_log::{self, Events};
use crate::listen::{Shared, accept_all};
use crate::observe::Observer;
use crate::operations;
use crate::protocols::{self, Protocols};

/// How long a clean stop may take before what is left is dropped.
const PATIENCE: Duration = Duration::from_secs(10);
/// HTTP connections over all listeners. They do not count as clients, so that health, metrics and the console answer
/// also when `connections_max` is reached; a WebSocket counts as a client.
const HTTP_CONNECTIONS_MAX: usize = 256;
/// Bytes of a queue's messages that stay in memory while memory is short everywhere.
const PRESSED_BYTES_MAX: u64 = 1 << 20;
/// Bytes of messages in one commit, about.
const BATCH_BYTES_MAX: u64 = 8 << 20;

/// Serves until a signal, or until the journal fails. The error is a text for people.
pub async fn serve(checked: Checked, events: Events) -> Result<ExitCode, String> {
    let mut signals = Signals::new()?;
    let running = tokio::select! {
        running = start(checked, events) => running?,
        // Whatever it waits for: nobody was served yet, so there is nothing to finish.
        () = signals.any() => {
            tracing::info!("stopped while it was starting");
            return Ok(ExitCode::SUCCESS);
        }
    };
    running.until_end(&mut signals).await
}

/// All that runs once it is ready.
struct Running {
    gateway: Arc<Gateway>,
    tasks: Tasks,
    accepting: Vec<JoinHandle<()>>,
    admin_stop: watch::Sender<bool>,
}

async fn start(checked: Checked, events: Events) -> Result<Running, String> {
    let started = Instant::now();
    let Checked { config, listeners, tls, accounts, queues, warnings } = checked;
    let connections = u64::from(config.limits.connections_max) + HTTP_CONNECTIONS_MAX as u64;
    descriptors::raise_limit();
    for warning in warnings.into_iter().chain(descriptors::warning(connections)) {
        tracing::warn!("{warning}");
    }

    // Ports first: another gateway on the same ones should be found before the journal is touched.
    let clients = ConnectionLimit::new(config.limits.connections_max as usize, "connections_max");
    let web = clients.beside(HTTP_CONNECTIONS_MAX, "HTTP connections");
    let mut bound = Vec::new();
    for spec in &listeners {
        let limit = if spec.protocol == Protocol::Http { &web } else { &clients };
        let listener = Listener::bind(spec.address, limit.clone())
            .await
            .map_err(|error| format!("{} listener: {error}; choose another address in [listen]", spec.protocol))?;
        bound.push((listener, *spec));
    }
    let (journal, journal_name) = open_journal(&config.journal.url).await?;
    let (gateway, tasks) = Gateway::start(gateway_config(&config, queues), journal).await?;
    tracing::info!(journal = journal_name, "journal recovered");
    tokio::spawn(event_log::publish(gateway.clone(), events));
    if config.mqtt.sys_interval_seconds > 0 {
        let interval = Duration::from_secs(config.mqtt.sys_interval_seconds.into());
        tokio::spawn(evergate_runtime::publish_figures(gateway.clone(), env!("CARGO_PKG_VERSION"), interval));
    }

    let observer = Observer::new(gateway.clone(), journal_name.to_owned(), clients.clone());
    tokio::spawn(observer.clone().run());
    let (admin_stop, admin_stopping) = watch::channel(false);
    let mut admin = AdminState::new(observer, admin_stopping);
    if !config.user.is_empty() {
        admin = admin.authorized_by(Arc::new(Console(accounts.clone())));
    }
    let users = &config.user;
    let administrators =
        (!users.is_empty()).then(|| users.iter().filter(|user| user.admin).map(|user| user.name.clone()).collect());
    let protocols = Protocols::new(protocol_settings(&config));
    serve_administration(&gateway, protocols.formats()).await;
    let shared = Shared {
        gateway: gateway.clone(),
        clients,
        protocols: Arc::new(protocols),
        accounts,
        administrators,
        handshake: Duration::from_secs(config.limits.handshake_seconds.into()),
        web_message_bytes_max: usize::try_from(config.limits.message_bytes_max.0).unwrap_or(usize::MAX) + (1 << 20),
        admin: evergate_admin::router(admin),
        allowed_hosts: config.http.allowed_hosts.into(),
        allowed_origins: config.http.allowed_origins.into(),
    };
    let mut accepting = Vec::new();
    for (listener, spec) in bound {
        tracing::info!(address = %listener.address(), tls = spec.tls, "listening for {}", spec.protocol);
        let tls = tls.clone().filter(|_| spec.tls);
        accepting.push(tokio::spawn(accept_all(listener, spec.protocol, tls, shared.clone())));
    }
    let ready_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    tracing::info!(ready_ms, "evergate {} is ready", env!("CARGO_PKG_VERSION"));

    Ok(Running { gateway, tasks, accepting, admin_stop })
}

impl Running {
    /// Waits for a signal, or for the gateway's failure; then stops everything.
    async fn until_end(self, signals: &mut Signals) -> Result<ExitCode, String> {
        let Self { gateway, tasks, accepting, admin_stop } = self;
        let failure = tokio::select! {
            () = signals.any() => None,
            reason = gateway.failed() => Some(reason),
        };
        accepting.iter().for_each(JoinHandle::abort);
        gateway.stop("the gateway is stopping");
        let _ = admin_stop.send(true); // nobody may be looking
        tasks.finish(&gateway, PATIENCE).await;
        match failure {
            None => {
                tracing::info!("stopped");
                Ok(ExitCode::SUCCESS)
            }
            Some(reason) => Err(format!("{reason}; what was confirmed is stored: mend the journal and start again")),
        }
    }
}

/// What tells it to stop.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Self, String> {
        let no_signals = |error: std::io::Error| format!("cannot wait for signals: {error}");
        Ok(Self {
            terminate: signal(SignalKind::terminate()).map_err(no_signals)?,
            interrupt: signal(SignalKind::interrupt()).map_err(no_signals)?,
        })
    }

    async fn any(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Requests by message. Returns once nobody else can take their name.
async fn serve_administration(gateway: &Arc<Gateway>, formats: Formats) {
    let operations = Arc::new(operations::all(gateway, formats));
    let (ready, is_ready) = oneshot::channel();
    let answer = move |body: Bytes, by: PeerInfo| {
        let operations = operations.clone();
        let by = Operator { client_id: by.client_id, user: by.user };
        async move { operations.answer(&body, &by).await }
    };
    let formats = (formats, evergate_amqp10::compose_json as Compose);
    tokio::spawn(serve_requests(gateway.clone(), ADMIN_NAME, formats, ready, answer));
    // An error was logged: the gateway goes on without.
    let _ = is_ready.await;
}

/// Opens the journal that the URL names; returns it with the name that operators see.
async fn open_journal(url: &str) -> Result<(Box<dyn Journal>, &'static str), String> {
    if let Some(directory) = url.strip_prefix("sqlite:") {
        let journal = evergate_sqlite::SqliteJournal::open(Path::new(directory), evergate_sqlite::Options::default());
        return Ok((Box::new(journal.map_err(|error| error.to_string())?), "SQLite"));
    }
    let journal = evergate_postgres::PostgresJournal::connect(url, evergate_postgres::Options::default()).await;
    Ok((Box::new(journal.map_err(|error| error.to_string())?), "PostgreSQL"))
}

fn gateway_config(config: &Config, queues: Vec<QueueDefinition>) -> GatewayConfig {
    let limits = &config.limits;
    let shards = std::thread::available_parallelism().map_or(1, |cores| cores.get().min(16) as u16);
    GatewayConfig {
        shards,
        fingerprints: FingerprintLimits {
            per_session_max: config.mqtt.resend_window_messages.into(),
            total_max: config.mqtt.resend_window_messages_total as usize / usize::from(shards),
            ..FingerprintLimits::default()
        },
        queue: QueueLimits {
            resident_bytes_max: limits.queue_resident_bytes_max.0,
            pressed_bytes_max: limits.queue_resident_bytes_max.0.min(PRESSED_BYTES_MAX),
        },
        formats: protocols::formats(),
        directory: DirectoryConfig {
            // The runtime's.
            on_release: evergate_model::OnRelease::default(),
            limits: DirectoryLimits {
                queues_max: limits.queues_max as usize,
                retained_max: limits.retained_max as usize,
                retained_bytes_max: limits.retained_bytes_in_force(),
                outcomes: OutcomeLimits {
                    outcomes_max: limits.transaction_outcomes_max as usize,
                    age_max: Duration::from_secs(limits.transaction_outcome_seconds.into()),
                },
            },
            defaults: QueueSettings {
                messages_max: limits.queue_messages_max,
                bytes_max: limits.queue_bytes_max.0,
                ..QueueSettings::default()
            },
            policies: config.policy.clone(),
            queues,
        },
        transactions: TransactionLimits {
            messages_max: limits.transaction_messages_max as usize,
            bytes_max: limits.transaction_bytes_max.0,
            age_max: Duration::from_secs(limits.transaction_age_seconds_max.into()),
            per_session_max: limits.transactions_per_connection_max as usize,
        },
        memory_bytes_max: limits.memory_bytes_max.0,
        message_bytes_max: limits.message_bytes_max.0,
        large_message_bytes_max: limits.large_message_bytes_max.0,
        large_message_window_bytes: limits.large_message_window_bytes.0,
        large_message_in_bytes_per_second: limits.large_message_in_bytes_per_second.0,
        large_message_out_bytes_per_second: limits.large_message_out_bytes_per_second.0,
        publish_window_messages: limits.publish_window_messages as usize,
        publish_window_bytes: limits.publish_window_bytes.0,
        delivery_window_bytes: limits.delivery_window_bytes.0,
        outbox_bytes_max: usize::try_from(limits.outbox_bytes_max.0).unwrap_or(usize::MAX),
        batch_bytes_max: BATCH_BYTES_MAX,
    }
}

/// The protocols' settings.
pub fn protocol_settings(
    config: &Config,
) -> (evergate_mqtt::MqttConfig, evergate_amqp10::AmqpConfig, evergate_stomp::StompConfig) {
    let handshake = Duration::from_secs(config.limits.handshake_seconds.into());
    let message_bytes_max = config.limits.message_bytes_max.0;
    let large_message_bytes_max = config.limits.large_message_bytes_max.0;
    let amqp = evergate_amqp10::AmqpConfig {
        frame_bytes_max: config.amqp.frame_bytes_max.0 as u32,
        channel_max: config.amqp.channel_max,
        links_per_session_max: config.amqp.links_per_session_max,
        unsettled_per_link_max: config.amqp.unsettled_per_link_max,
        message_bytes_max,
        large_message_bytes_max,
        large_message_window_bytes: config.limits.large_message_window_bytes.0,
        assembly_bytes_max: config.amqp.assembly_bytes_max.0,
        depth_max: config.amqp.depth_max,
        incoming_window: config.amqp.incoming_window,
        sasl_frame_bytes_max: config.amqp.sasl_frame_bytes_max.0 as u32,
        link_credit: config.amqp.link_credit,
        handshake_timeout: handshake,
        idle_timeout: Duration::from_secs(config.amqp.idle_timeout_seconds.into()),
        ..Default::default()
    };
    let heartbeat = Duration::from_secs(config.stomp.heartbeat_seconds.into());
    let stomp = evergate_stomp::StompConfig {
        limits: evergate_stomp::Limits {
            line_bytes_max: config.stomp.line_bytes_max.0 as usize,
            headers_max: config.stomp.headers_max as usize,
            head_bytes_max: config.stomp.head_bytes_max.0 as usize,
            body_bytes_max: message_bytes_max as usize,
        },
        large_body_bytes_max: large_message_bytes_max,
        connect_timeout: handshake,
        heartbeat_send: heartbeat,
        heartbeat_receive: heartbeat,
        subscriptions_max: config.stomp.subscriptions_max as usize,
        prefetch_default: config.stomp.prefetch_messages.into(),
        prefetch_max: config.stomp.prefetch_messages_max.into(),
        pending_max: config.stomp.pending_frames_max as usize,
        early_bytes_max: config.stomp.early_bytes_max.0 as usize,
        ..Default::default()
    };
    (mqtt(config), amqp, stomp)
}

fn mqtt(config: &Config) -> evergate_mqtt::MqttConfig {
    // Topic and properties come on top of the message.
    let packet_bytes_max = config.limits.message_bytes_max.0 + (128 << 10);
    evergate_mqtt::MqttConfig {
        connect_timeout: Duration::from_secs(config.limits.handshake_seconds.into()),
        max_packet_bytes: u32::try_from(packet_bytes_max).unwrap_or(u32::MAX),
        max_subscriptions: config.mqtt.subscriptions_max as usize,
        max_filters_per_packet: config.mqtt.filters_per_packet_max as usize,
        max_topic_levels: config.mqtt.topic_levels_max as usize,
        max_client_id_bytes: config.mqtt.client_id_bytes_max as usize,
        max_control_packet_bytes: u32::try_from(config.mqtt.control_packet_bytes_max.0).unwrap_or(u32::MAX),
        max_pending_requests: config.mqtt.pending_requests_max as usize,
        topic_alias_maximum: config.mqtt.topic_alias_max,
        receive_maximum: config.mqtt.receive_maximum,
        delivery_window: config.mqtt.delivery_window_messages,
        max_session_expiry_seconds: config.mqtt.session_expiry_seconds_max,
        max_keep_alive_seconds: config.mqtt.keep_alive_seconds_max,
    }
}

/// Who may see the console: whoever has an account.
struct Console(Accounts);

#[async_trait::async_trait]
impl Authorize for Console {
    async fn check(&self, user: &str, password: &str) -> bool {
        let credentials = Credentials::Password { user: user.into(), password: password.to_owned().into() };
        matches!(self.0.check(&credentials, Reach::Network).await, Access::Granted(_))
    }
}
