use super::support::{MadeUp, connection, serve};
use crate::snapshot::{ConnectionRow, ConnectionState};

#[tokio::test]
async fn health_says_live_and_ready() {
    let served = serve(MadeUp::default()).await;
    for path in ["/health/live", "/health/ready"] {
        let answer = served.get(path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
}

#[tokio::test]
async fn not_ready_is_503_with_the_reason_and_still_live() {
    let served = serve(MadeUp { ready: Err("the journal failed".into()), ..MadeUp::default() }).await;
    let answer = served.get("/health/ready").await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.json()["reason"], "the journal failed");
    assert_eq!(served.get("/health/live").await.status, 200);
    assert_eq!(served.get("/api/overview").await.json()["ready"]["reason"], "the journal failed");
}

#[tokio::test]
async fn the_overview_carries_the_whole_snapshot() {
    let answer = serve(MadeUp::default()).await.get("/api/overview").await.json();
    assert_eq!(answer["node"]["journal"], "SQLite");
    assert_eq!(answer["totals"]["published"], 10);
    assert_eq!(answer["memory"]["max_bytes"], 4096);
    assert_eq!(answer["journal"]["commit_seconds_max"], 0.125);
    assert_eq!(answer["destinations"]["total"], 3);
    assert_eq!(answer["destinations"]["rows"][0]["name"], "orders-2");
    assert_eq!(answer["destinations"]["rows"][0]["kind"], "queue");
    assert_eq!(answer["connections"]["rows"][0]["state"], "blocked");
}

#[tokio::test]
async fn lists_hold_the_busiest_thousand_and_say_how_many_there_are() {
    let served = serve(MadeUp { destinations: 5_000, ..MadeUp::default() }).await;
    let destinations = &served.get("/api/overview").await.json()["destinations"];
    assert_eq!(destinations["total"], 5_000);
    let rows = destinations["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 1_000);
    let depths: Vec<u64> = rows.iter().map(|row| row["messages"].as_u64().unwrap()).collect();
    assert_eq!(depths, (4_000..5_000).rev().collect::<Vec<u64>>());
    let more = &served.get("/api/overview?limit=999999").await.json()["destinations"];
    assert_eq!(more["rows"].as_array().unwrap().len(), 1_000, "nobody may ask for more");
    let fewer = &served.get("/api/overview?limit=2").await.json()["destinations"];
    assert_eq!(fewer["rows"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_filter_finds_rows_beyond_the_first_thousand_in_any_case() {
    let served = serve(MadeUp { destinations: 5_000, ..MadeUp::default() }).await;
    let answer = served.get("/api/overview?filter=ORDERS-17").await.json();
    assert_eq!(answer["destinations"]["total"], 5_000);
    assert_eq!(answer["destinations"]["matching"], 1 + 10 + 100);
    assert_eq!(answer["connections"]["matching"], 0);
    assert_eq!(served.get("/api/overview?filter=anna").await.json()["connections"]["matching"], 1);
    let one = served.get("/api/overview?destinations=orders-4999").await.json();
    assert_eq!((&one["destinations"]["matching"], &one["connections"]["matching"]), (&1.into(), &1.into()));
    let other = served.get("/api/overview?connections=nobody").await.json();
    assert_eq!((&other["destinations"]["matching"], &other["connections"]["matching"]), (&5_000.into(), &0.into()));
    let long = format!("/api/overview?filter={}", "a".repeat(300));
    assert_eq!(served.get(&long).await.json()["destinations"]["matching"], 0);
}

#[tokio::test]
async fn blocked_connections_come_first_are_counted_and_found() {
    let running =
        |id: u64| ConnectionRow { id, published_total: 1_000_000, state: ConnectionState::Running, ..connection() };
    let mut connections: Vec<ConnectionRow> = (2..2_000).map(running).collect();
    connections.push(connection());
    let served = serve(MadeUp { connections, ..MadeUp::default() }).await;
    let all = served.get("/api/overview?limit=5").await.json();
    assert_eq!((&all["connections"]["rows"][0]["id"], &all["connections_blocked"]), (&1.into(), &1.into()));
    let found = served.get("/api/overview?connections=blocked").await.json();
    assert_eq!(found["connections"]["matching"], 1);
    let none = served.get("/api/overview?connections=nobody").await.json();
    assert_eq!((&none["connections"]["matching"], &none["connections_blocked"]), (&0.into(), &1.into()));
}

#[tokio::test]
async fn unknown_paths_are_404_in_json() {
    let served = serve(MadeUp::default()).await;
    for path in ["/nothing", "/api/nothing", "/assets/none.js", "/%2e%2e/Cargo.toml", "//etc/passwd", "/health"] {
        let answer = served.get(path).await;
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.header("content-type"), Some("application/json"), "{path}");
        assert!(answer.json()["error"].is_string(), "{path}");
    }
    assert_eq!(served.request("POST", "/nothing", "").await.status, 404);
}

#[tokio::test]
async fn nothing_can_be_written() {
    let served = serve(MadeUp::default()).await;
    for path in ["/", "/api/overview", "/api/live", "/metrics", "/health/live"] {
        let answer = served.request("POST", path, "Content-Length: 0\r\n").await;
        assert_eq!(answer.status, 405, "{path}");
        assert!(answer.json()["error"].is_string(), "{path}");
    }
}

#[tokio::test]
async fn the_page_is_served_with_a_tag_and_asked_for_each_time() {
    let served = serve(MadeUp::default()).await;
    let page = served.get("/").await;
    assert_eq!(page.status, 200);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(page.header("cache-control"), Some("no-cache"));
    let etag = page.header("etag").unwrap();
    let again = served.request("GET", "/", &format!("If-None-Match: \"other\", W/{etag}\r\n")).await;
    assert_eq!((again.status, again.body.as_str()), (304, ""));
    let other = served.request("GET", "/", "If-None-Match: \"other\"\r\n").await;
    assert_eq!(other.status, 200);
    let head = served.request("HEAD", "/", "").await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
}

#[tokio::test]
async fn what_is_named_by_its_content_may_be_kept_for_ever() {
    let served = serve(MadeUp::default()).await;
    let page = served.get("/").await.body;
    let script = page.split('"').find(|word| word.starts_with("/assets/")).expect("the page names its script");
    let answer = served.get(script).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("cache-control"), Some("public, max-age=31536000, immutable"));
}

#[tokio::test]
async fn every_answer_carries_the_security_headers() {
    let served = serve(MadeUp::default()).await;
    for path in ["/", "/api/overview", "/nothing", "/health/live", "/metrics"] {
        let answer = served.get(path).await;
        let policy = answer.header("content-security-policy").unwrap();
        for part in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
    }
}
