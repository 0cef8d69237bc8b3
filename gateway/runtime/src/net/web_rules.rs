//! Who may talk to the HTTP and WebSocket port from a browser: `Host` and `Origin`.
//!
//! A page of any site may send requests to loopback ports, and by DNS rebinding (its name suddenly
//! resolves to 127.0.0.1) even read the answers. Its `Host` and `Origin` give it away: browsers set
//! them, and pages cannot change them.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use thiserror::Error;

use super::Reach;

#[cfg(test)]
mod tests;

/// Why a request is refused; the text is the answer's body.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Forbidden {
    /// None, several, or unreadable.
    #[error("one readable Host header is needed\n")]
    NoHost,
    /// Not one of our names.
    #[error("this gateway does not answer to the name {0:?}; if it should, add it to allowed_hosts in [http]\n")]
    Host(String),
    /// A page of somebody else.
    #[error("pages of {0:?} may not use this gateway; if they should, add it to allowed_origins in [http]\n")]
    Origin(String),
}

impl IntoResponse for Forbidden {
    fn into_response(self) -> Response {
        (StatusCode::FORBIDDEN, self.to_string()).into_response()
    }
}

/// The names that the HTTP port answers to and the pages that may use it.
#[derive(Clone, Debug)]
pub struct WebRules {
    port: u16,
    reach: Reach,
    hosts: Vec<String>,
    origins: Vec<String>,
}

/// Host and port of a `Host` header or an origin, in lower case.
struct Named {
    host: String,
    port: Option<u16>,
}

impl WebRules {
    /// For the listener on `address`. Hosts are `name` (any port) or `name:port`, origins
    /// `scheme://name[:port]`.
    pub fn new(address: SocketAddr, allowed_hosts: &[String], allowed_origins: &[String]) -> Self {
        let lower = |list: &[String]| list.iter().map(|text| text.to_ascii_lowercase()).collect();
        Self {
            port: address.port(),
            reach: Reach::of(address.ip()),
            hosts: lower(allowed_hosts),
            origins: lower(allowed_origins)
                .into_iter()
                .map(|text: String| text.trim_end_matches('/').to_owned())
                .collect(),
        }
    }

    /// Looks at a request's headers.
    pub fn check(&self, headers: &HeaderMap) -> Result<(), Forbidden> {
        let host = single(headers, &HOST).ok().flatten().ok_or(Forbidden::NoHost)?;
        let named = Named::parse(host).ok_or(Forbidden::NoHost)?;
        if !self.answers_to(&named) {
            return Err(Forbidden::Host(host.to_owned()));
        }
        // Browsers send it with every WebSocket and every request that may change something; who sends
        // none is no browser, or changes nothing.
        let origin = single(headers, &ORIGIN).map_err(|()| Forbidden::Origin("several".to_owned()))?;
        match origin {
            Some(origin) if !self.trusts(origin, &named) => Err(Forbidden::Origin(origin.to_owned())),
            _ => Ok(()),
        }
    }

    fn answers_to(&self, named: &Named) -> bool {
        if self.hosts.iter().any(|allowed| named.is(allowed)) {
            return true;
        }
        let ours = named.port.unwrap_or(80) == self.port || named.port.is_none() && self.port == 443;
        // An address cannot be rebound as a name can; still, on loopback only loopback makes sense.
        ours && (named.is_loopback() || (self.reach == Reach::Network && named.address().is_some()))
    }

    fn trusts(&self, origin: &str, host: &Named) -> bool {
        let origin = origin.to_ascii_lowercase();
        if self.origins.contains(&origin) {
            return true;
        }
        // `null` (a sandboxed frame, a local file) and foreign schemes have no such form.
        let Some((scheme, authority)) = origin.split_once("://") else { return false };
        let default_port = match scheme {
            "http" => 80,
            "https" => 443,
            _ => return false,
        };
        let Some(page) = Named::parse(authority) else { return false };
        let page_port = page.port.unwrap_or(default_port);
        let same_port = page_port == host.port.unwrap_or(default_port);
        let both_loopback = page.is_loopback() && host.is_loopback() && page_port == self.port;
        (page.host == host.host && same_port) || both_loopback
    }
}

impl Named {
    fn parse(text: &str) -> Option<Self> {
        let authority: Authority = text.parse().ok()?;
        if text.contains('@') {
            return None;
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
        // `name:` and `name:99999` parse as an authority without a port.
        let port_expected = authority.as_str().len() > authority.host().len();
        let port = authority.port_u16();
        (!host.is_empty() && port_expected == port.is_some()).then(|| Self { host: host.to_ascii_lowercase(), port })
    }

    fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.address().is_some_and(|address| Reach::of(address) == Reach::Loopback)
    }

    fn is(&self, allowed: &str) -> bool {
        Self::parse(allowed)
            .is_some_and(|allowed| allowed.host == self.host && allowed.port.is_none_or(|port| Some(port) == self.port))
    }
}

fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, ()> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| ()),
        (Some(_), Some(_)) => Err(()),
    }
}

/// Middleware: `Router::layer(axum::middleware::from_fn_with_state(Arc::new(rules), check_web_rules))`.
pub async fn check_web_rules(State(rules): State<Arc<WebRules>>, request: Request, next: Next) -> Response {
    match rules.check(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(forbidden) => forbidden.into_response(),
    }
}
