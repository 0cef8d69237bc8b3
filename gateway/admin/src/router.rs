//! The routes, and what they share.

use std::sync::Arc;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;
use tokio::sync::watch;

use crate::authorize::{self, Authorize, Guard};
use crate::live::LiveStreams;
use crate::snapshot::Observe;
use crate::{console, health, live, metrics, overview};

/// What the routes need from the server.
#[derive(Clone)]
pub struct AdminState {
    pub(crate) observe: Arc<dyn Observe>,
    guard: Option<Guard>,
    pub(crate) live: Arc<LiveStreams>,
    pub(crate) stopping: watch::Receiver<bool>,
}

impl AdminState {
    /// Everyone may look: for a listener on loopback while no account is configured. Live streams end when
    /// `stopping` becomes true or its sender is gone, so that a clean stop need not wait for their readers.
    pub fn new(observe: Arc<dyn Observe>, stopping: watch::Receiver<bool>) -> Self {
        Self { observe, guard: None, live: Arc::new(LiveStreams::new()), stopping }
    }

    /// Asks for a login (HTTP Basic) for everything but health.
    #[must_use]
    pub fn authorized_by(self, authorize: Arc<dyn Authorize>) -> Self {
        Self { guard: Some(Guard::new(authorize)), ..self }
    }
}

/// Health, metrics, API and console.
pub fn router(state: AdminState) -> Router {
    let guarded = Router::new()
        .route("/metrics", get(metrics::metrics))
        .route("/api/overview", get(overview::overview))
        .route("/api/live", get(live::live))
        .fallback(console::serve)
        .method_not_allowed_fallback(console::method_not_allowed)
        .layer(from_fn_with_state(state.guard.clone(), authorize::require));
    let open = Router::new()
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .method_not_allowed_fallback(console::method_not_allowed);
    guarded.merge(open).layer(from_fn(console::secure)).with_state(state)
}
