//! HTTP Basic authentication, where accounts are configured.

use std::sync::Arc;

use async_trait::async_trait;
use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tokio::sync::Semaphore;

/// Decides who may look.
#[async_trait]
pub trait Authorize: Send + Sync {
    /// Whether `password` is `user`'s and `user` may see the console. It takes the same time for an unknown user.
    async fn check(&self, user: &str, password: &str) -> bool;
}

/// Password hashes cost memory and time by design: so many are computed at once, the others wait their turn.
const CHECKS_AT_ONCE: usize = 2;

/// A longer header is refused unread.
const CREDENTIALS_BYTES_MAX: usize = 4096;

/// [`Authorize`] with its bound.
#[derive(Clone)]
pub(crate) struct Guard {
    authorize: Arc<dyn Authorize>,
    turns: Arc<Semaphore>,
}

impl Guard {
    pub(crate) fn new(authorize: Arc<dyn Authorize>) -> Self {
        Self { authorize, turns: Arc::new(Semaphore::new(CHECKS_AT_ONCE)) }
    }

    async fn admits(&self, headers: &HeaderMap) -> bool {
        let Some((user, password)) = credentials(headers) else { return false };
        // The semaphore is never closed.
        let Ok(_turn) = self.turns.acquire().await else { return false };
        self.authorize.check(&user, &password).await
    }
}

/// The middleware: passes the request on, or answers 401. Without a guard everyone may look.
pub(crate) async fn require(State(guard): State<Option<Guard>>, request: Request, next: Next) -> Response {
    if let Some(guard) = guard
        && !guard.admits(request.headers()).await
    {
        return unauthorized();
    }
    next.run(request).await
}

fn unauthorized() -> Response {
    (
        StatusCode::UNAUTHORIZED,
        [(header::WWW_AUTHENTICATE, "Basic realm=\"Evergate\", charset=\"UTF-8\"")],
        Json(json!({ "error": "log in with the name and password of an account" })),
    )
        .into_response()
}

/// User and password of the `Authorization` header. [RFC7617-2]
fn credentials(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(header::AUTHORIZATION)?;
    if value.len() > CREDENTIALS_BYTES_MAX {
        return None;
    }
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let plain = String::from_utf8(STANDARD.decode(token.trim()).ok()?).ok()?;
    // A user name holds no colon; a password may.
    let (user, password) = plain.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}
