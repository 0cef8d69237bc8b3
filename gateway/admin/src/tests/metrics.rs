use std::collections::BTreeSet;

use super::support::{MadeUp, serve};

const DOCUMENTATION: &str = include_str!("../../../../docs/observability.md");

#[tokio::test]
async fn metrics_are_open_metrics_text() {
    let answer = serve(MadeUp::default()).await.get("/metrics").await;
    assert_eq!(answer.status, 200);
    assert!(answer.header("content-type").unwrap().starts_with("application/openmetrics-text; version=1.0.0"));
    assert!(answer.body.ends_with("# EOF\n"));
    for line in [
        "evergate_build_info{version=\"0.1.0\",journal=\"SQLite\"} 1",
        "evergate_start_time_seconds 1700000000.5",
        "evergate_ready 1",
        "evergate_messages_published_total 10",
        "evergate_messages_expired_total 13",
        "evergate_messages_dead_lettered_total 14",
        "evergate_connections{protocol=\"MQTT 5\"} 1",
        "evergate_transactions_open 3",
        "evergate_transactions_committed_total 12",
        "evergate_transactions_rolled_back_total 11",
        "evergate_transactions_refused_total 2",
        "evergate_connections_refused_total 6",
        "evergate_connections_blocked 1",
        "evergate_destinations{kind=\"queue\"} 2",
        "evergate_destinations{kind=\"session\"} 0",
        "evergate_destination_bytes{kind=\"queue\",destination=\"orders-2\"} 200",
        "evergate_destination_settled_total{kind=\"subscription\",destination=\"orders-1\"} 23",
        "evergate_destination_expired_total{kind=\"queue\",destination=\"orders-0\"} 24",
        "evergate_destination_dead_lettered_total{kind=\"queue\",destination=\"orders-0\"} 25",
        "evergate_memory_used_bytes 1024",
        "evergate_journal_commit_seconds_total 0.25",
        "evergate_journal_commit_max_seconds 0.125",
        "evergate_journal_pending_records 3",
    ] {
        assert!(answer.body.lines().any(|found| found == line), "{line} is missing in\n{}", answer.body);
    }
}

#[tokio::test]
async fn readiness_is_a_metric() {
    let served = serve(MadeUp { ready: Err("no".into()), ..MadeUp::default() }).await;
    assert!(served.get("/metrics").await.body.contains("\nevergate_ready 0\n"));
}

#[tokio::test]
async fn only_the_busiest_thousand_destinations_appear_by_name() {
    let served = serve(MadeUp { destinations: 3_000, ..MadeUp::default() }).await;
    let body = served.get("/metrics").await.body;
    assert_eq!(body.matches("\nevergate_destination_messages{").count(), 1_000);
    assert!(body.contains("\nevergate_destinations{kind=\"queue\"} 1500\n"));
}

#[test]
fn a_hostile_name_stays_inside_its_label() {
    let mut snapshot = crate::Observe::snapshot(&MadeUp::default());
    snapshot.destinations[0].name = "a\"} 1\nevil 2\\".into();
    let text = crate::metrics::text(snapshot, true).unwrap();
    assert!(!text.lines().any(|line| line.starts_with("evil")), "{text}");
    assert!(text.contains(r#"destination="a\"} 1\nevil 2\\""#), "{text}");
}

/// Names of the samples in an exposition.
fn samples(text: &str) -> BTreeSet<&str> {
    text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split(['{', ' ']).next()).collect()
}

#[test]
fn every_metric_is_documented_and_every_documented_metric_exists() {
    let text = crate::metrics::text(crate::Observe::snapshot(&MadeUp::default()), true).unwrap();
    let documented: BTreeSet<&str> = DOCUMENTATION
        .lines()
        .filter(|line| line.starts_with("| `evergate_"))
        .filter_map(|line| line.split('`').nth(1))
        .map(|name| name.split('{').next().unwrap_or(name))
        .collect();
    assert_eq!(samples(&text), documented);
}
