//! One HTTP/1.1 connection, with upgrades.

use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;

use super::Stream;

/// Request headers larger than this are refused.
const HEADER_BYTES_MAX: usize = 64 * 1024;

/// Serves `router` on one connection until it ends, is upgraded, or sends headers for longer than
/// `header_timeout`. `axum::serve` would wait for headers without end.
pub async fn serve_http(stream: Stream, router: Router, header_timeout: Duration) -> hyper::Result<()> {
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_buf_size(HEADER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .with_upgrades()
        .await
}
