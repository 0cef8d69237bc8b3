//! The web console's files, and the headers that every answer carries.

use axum::Json;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// Answers whatever no other route does.
pub(crate) async fn serve(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let path = uri.path().trim_start_matches('/');
    let Some(asset) = evergate_web_console::asset(path) else { return not_found() };
    if method != Method::GET && method != Method::HEAD {
        return method_not_allowed().await;
    }
    let caching = [
        (header::ETAG, asset.etag.clone()),
        (
            header::CACHE_CONTROL,
            // The page is asked for each time and names its files by their content.
            if asset.immutable { "public, max-age=31536000, immutable" } else { "no-cache" }.to_owned(),
        ),
    ];
    if known(&headers, &asset.etag) {
        return (StatusCode::NOT_MODIFIED, caching).into_response();
    }
    // The server leaves the body out for HEAD.
    (caching, [(header::CONTENT_TYPE, asset.mime)], asset.bytes).into_response()
}

/// Whether the caller already holds the version with this tag. [RFC9110-13.1.2]
fn known(headers: &HeaderMap, etag: &str) -> bool {
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|tag| tag.trim().trim_start_matches("W/"))
        .any(|tag| tag == etag || tag == "*")
}

fn not_found() -> Response {
    (StatusCode::NOT_FOUND, Json(json!({ "error": "there is nothing at this path" }))).into_response()
}

pub(crate) async fn method_not_allowed() -> Response {
    let error = json!({ "error": "this path can only be read" });
    (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET, HEAD")], Json(error)).into_response()
}

/// The page loads its own files and talks to its own origin (WebSocket included), and nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The middleware that puts the security headers on every answer.
pub(crate) async fn secure(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // What the gateway is doing now is nobody's to keep.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
