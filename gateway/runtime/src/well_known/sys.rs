//! `$SYS/broker/…`: the gateway's figures as retained topics, under the names that MQTT tools expect.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use evergate_model::SYSTEM_PREFIX;

use crate::gateway::Gateway;

/// Publishes the figures now and at each `interval`, for as long as the gateway runs.
pub async fn publish_figures(gateway: Arc<Gateway>, version: &'static str, interval: Duration) {
    let started = gateway.clock.now();
    gateway.announce(&format!("{SYSTEM_PREFIX}broker/version"), format!("Evergate {version}"), true);
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let stats = gateway.destination_stats().await;
        let sum = |figure: fn(&evergate_core::QueueStats) -> u64| stats.iter().map(|(_, one)| figure(one)).sum::<u64>();
        let totals = &gateway.totals;
        let figures = [
            ("uptime", gateway.clock.now().since(started).as_secs()),
            ("clients/connected", gateway.connections.count() as u64),
            ("messages/received", totals.published.load(Ordering::Relaxed)),
            ("messages/sent", totals.delivered.load(Ordering::Relaxed)),
            ("publish/messages/dropped", totals.dropped.load(Ordering::Relaxed)),
            ("messages/stored", sum(|queue| queue.messages)),
            ("store/messages/bytes", sum(|queue| queue.bytes)),
            ("queues/count", stats.len() as u64),
        ];
        for (name, value) in figures {
            gateway.announce(&format!("{SYSTEM_PREFIX}broker/{name}"), value.to_string(), true);
        }
    }
}
