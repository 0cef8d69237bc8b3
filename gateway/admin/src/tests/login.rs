use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::support::{Served, serve_with};
use crate::Authorize;

/// Knows one account and counts how many checks run at once.
#[derive(Default)]
struct Accounts {
    running: AtomicUsize,
    most: AtomicUsize,
}

#[async_trait]
impl Authorize for Accounts {
    async fn check(&self, user: &str, password: &str) -> bool {
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(running, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(20)).await;
        self.running.fetch_sub(1, Ordering::SeqCst);
        user == "anna" && password == "p:ä"
    }
}

async fn guarded() -> (Served, Arc<Accounts>) {
    let accounts = Arc::new(Accounts::default());
    let authorize = Arc::clone(&accounts);
    let served = serve_with(Arc::default(), |state| state.authorized_by(authorize)).await;
    (served, accounts)
}

fn basic(plain: &str) -> String {
    format!("Authorization: Basic {}\r\n", STANDARD.encode(plain))
}

#[tokio::test]
async fn without_a_login_only_health_answers() {
    let (served, _) = guarded().await;
    for path in ["/", "/api/overview", "/api/live", "/metrics", "/nothing"] {
        let answer = served.get(path).await;
        assert_eq!(answer.status, 401, "{path}");
        assert!(answer.header("www-authenticate").unwrap().starts_with("Basic realm="), "{path}");
        assert!(answer.header("content-security-policy").is_some(), "{path}");
        assert!(answer.json()["error"].is_string());
    }
    for path in ["/health/live", "/health/ready"] {
        assert_eq!(served.get(path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn the_right_password_opens_and_may_hold_a_colon() {
    let (served, _) = guarded().await;
    assert_eq!(served.request("GET", "/api/overview", &basic("anna:p:ä")).await.status, 200);
    let lower = basic("anna:p:ä").replace("Basic", "basic");
    assert_eq!(served.request("GET", "/", &lower).await.status, 200);
}

#[tokio::test]
async fn whatever_else_is_401() {
    let (served, accounts) = guarded().await;
    for header in [
        basic("anna:wrong"),
        basic("anna"),
        basic(""),
        "Authorization: Basic ?\r\n".to_owned(),
        "Authorization: Basic /w==\r\n".to_owned(),
        "Authorization: Basic\r\n".to_owned(),
        "Authorization: Bearer YW5uYTpwOsOk\r\n".to_owned(),
    ] {
        assert_eq!(served.request("GET", "/", &header).await.status, 401, "{header}");
    }
    let before = accounts.most.swap(0, Ordering::SeqCst);
    assert!(before > 0);
    let long = basic(&format!("anna:{}", "p".repeat(5000)));
    assert_eq!(served.request("GET", "/", &long).await.status, 401);
    assert_eq!(accounts.most.load(Ordering::SeqCst), 0, "refused before any hash is computed");
}

#[tokio::test]
async fn two_passwords_at_most_are_checked_at_once() {
    let (served, accounts) = guarded().await;
    let header = basic("anna:p:ä");
    let requests = (0..10).map(|_| served.request("GET", "/api/overview", &header));
    for answer in futures_util::future::join_all(requests).await {
        assert_eq!(answer.status, 200);
    }
    assert_eq!(accounts.most.load(Ordering::SeqCst), 2);
}
