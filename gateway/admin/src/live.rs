//! `/api/live`: Server-Sent Events, an overview at once and then one each second.
//!
//! A reader gets the newest state, never a backlog: a snapshot is taken only when the one before has left, and what
//! has been handed over and not yet written to the socket is bounded. A reader that takes nothing for a while loses
//! its connection; the page reconnects by itself.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, timeout};

use crate::AdminState;
use crate::overview::{Overview, Selection};
use crate::snapshot::{Observe, Snapshot};

/// Streams at once. Further readers are told to come back later.
pub(crate) const STREAMS_MAX: usize = 64;

const PERIOD: Duration = Duration::from_secs(1);

/// A reader that takes nothing for so long is dropped.
const STALL_MAX: Duration = Duration::from_secs(10);

/// Bytes travel in pieces of this size, so many of them handed over at once. Together they stay below what the
/// HTTP server buffers for a connection: it keeps asking for more, and so a stalled reader is noticed.
const PIECE_BYTES: usize = 16 * 1024;
const PIECES_MAX: usize = 4;

/// What all streams share.
#[derive(Debug)]
pub(crate) struct LiveStreams {
    places: Arc<Semaphore>,
    latest: Mutex<Option<(Instant, Snapshot)>>,
}

impl LiveStreams {
    pub(crate) fn new() -> Self {
        Self { places: Arc::new(Semaphore::new(STREAMS_MAX)), latest: Mutex::new(None) }
    }

    /// A snapshot that many readers within half a period share.
    fn snapshot(&self, observe: &dyn Observe) -> Snapshot {
        // Never held across an await.
        let mut latest = self.latest.lock();
        match &*latest {
            Some((at, snapshot)) if at.elapsed() < PERIOD / 2 => snapshot.clone(),
            _ => latest.insert((Instant::now(), observe.snapshot())).1.clone(),
        }
    }
}

pub(crate) async fn live(State(state): State<AdminState>, Query(selection): Query<Selection>) -> Response {
    let Ok(place) = Arc::clone(&state.live.places).try_acquire_owned() else {
        let error = json!({ "error": "too many readers look at the gateway now, try again later" });
        return (StatusCode::SERVICE_UNAVAILABLE, Json(error)).into_response();
    };
    let feed = Feed::new(state, selection, place);
    let body = Body::from_stream(stream::unfold(feed, async |mut feed| Some((feed.next().await?, feed))));
    ([(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")], body).into_response()
}

/// One reader's stream.
struct Feed {
    state: AdminState,
    selection: Selection,
    ticks: Interval,
    /// What is left of the event under way.
    rest: Bytes,
    /// Permits for pieces; each piece holds one until the server has written it.
    pieces: Arc<Semaphore>,
    stopping: watch::Receiver<bool>,
    stalled: bool,
    _place: OwnedSemaphorePermit,
}

/// The stream ended because the reader did not take it. Ends the connection.
#[derive(Debug)]
struct Stalled;

impl std::fmt::Display for Stalled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the reader of a live stream takes nothing")
    }
}

impl std::error::Error for Stalled {}

impl Feed {
    fn new(state: AdminState, selection: Selection, place: OwnedSemaphorePermit) -> Self {
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            stopping: state.stopping.clone(),
            state,
            selection,
            ticks,
            rest: Bytes::new(),
            pieces: Arc::new(Semaphore::new(PIECES_MAX)),
            stalled: false,
            _place: place,
        }
    }

    /// The next piece; none when the gateway stops, an error when the reader stalls.
    async fn next(&mut self) -> Option<Result<Bytes, Stalled>> {
        if self.stalled {
            return None;
        }
        if self.rest.is_empty() {
            tokio::select! {
                _ = self.ticks.tick() => {}
                // An error means that nobody can ask to stop any more: as good as being asked.
                _ = self.stopping.wait_for(|stop| *stop) => return None,
            }
        }
        let pieces = Arc::clone(&self.pieces);
        let Ok(Ok(permit)) = timeout(STALL_MAX, pieces.acquire_owned()).await else {
            tracing::debug!("a live stream's reader takes nothing, dropped");
            self.stalled = true;
            return Some(Err(Stalled));
        };
        if self.rest.is_empty() {
            // Taken only now, when there is room: the reader gets the newest state.
            self.rest = self.event();
        }
        let data = self.rest.split_to(self.rest.len().min(PIECE_BYTES));
        Some(Ok(Bytes::from_owner(Piece { data, _permit: permit })))
    }

    fn event(&self) -> Bytes {
        let observe = self.state.observe.as_ref();
        let overview = Overview::new(self.state.live.snapshot(observe), observe, &self.selection);
        let mut event = b"data: ".to_vec();
        // JSON holds no line end, so the whole is one `data` line. Writing numbers and text to memory cannot fail.
        if serde_json::to_writer(&mut event, &overview).is_err() {
            event.truncate(b"data: ".len());
        }
        event.extend_from_slice(b"\n\n");
        event.into()
    }
}

/// Bytes that give their permit back when the server has written them.
struct Piece {
    data: Bytes,
    _permit: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}
