use axum::http::HeaderValue;

use super::*;

fn rules(address: &str, hosts: &[&str], origins: &[&str]) -> WebRules {
    let own = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    WebRules::new(address.parse().unwrap(), &own(hosts), &own(origins))
}

fn headers(host: &str, origin: Option<&str>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(HOST, HeaderValue::from_str(host).unwrap());
    if let Some(origin) = origin {
        headers.insert(ORIGIN, HeaderValue::from_str(origin).unwrap());
    }
    headers
}

#[test]
fn our_own_names_and_pages_pass() {
    let rules = rules("127.0.0.1:15672", &[], &[]);
    for host in ["localhost:15672", "LOCALHOST:15672", "localhost.:15672", "127.0.0.1:15672", "[::1]:15672"] {
        assert_eq!(rules.check(&headers(host, None)), Ok(()), "{host}");
        for origin in [format!("http://{}", host.to_lowercase()), "http://localhost:15672".into()] {
            assert_eq!(rules.check(&headers(host, Some(&origin))), Ok(()), "{host} {origin}");
        }
    }
}

#[test]
fn a_rebound_name_is_refused() {
    let rules = rules("127.0.0.1:15672", &[], &[]);
    for host in [
        "evil.example:15672",
        "evil.example",
        "127.0.0.1.evil.example:15672",
        "localhost.evil.example:15672",
        "localhost:80",
        "localhost",
        "192.0.2.7:15672",
        "0.0.0.0:15672",
    ] {
        assert_eq!(rules.check(&headers(host, None)), Err(Forbidden::Host(host.to_owned())));
    }
}

#[test]
fn a_foreign_page_is_refused() {
    let rules = rules("127.0.0.1:15672", &[], &[]);
    for origin in [
        "http://evil.example",
        "http://evil.example:15672",
        "http://localhost:3000",
        "http://localhost",
        "https://localhost",
        "http://localhost:15672.evil.example",
        "http://localhost:15672@evil.example",
        "file://",
        "null",
        "",
        "chrome-extension://localhost:15672",
    ] {
        let answer = rules.check(&headers("localhost:15672", Some(origin)));
        assert_eq!(answer, Err(Forbidden::Origin(origin.to_owned())));
    }
}

#[test]
fn a_host_that_is_missing_doubled_or_unreadable_is_refused() {
    let rules = rules("127.0.0.1:15672", &[], &[]);
    assert_eq!(rules.check(&HeaderMap::new()), Err(Forbidden::NoHost));
    let mut twice = headers("localhost:15672", None);
    twice.append(HOST, HeaderValue::from_static("evil.example"));
    assert_eq!(rules.check(&twice), Err(Forbidden::NoHost));
    for host in ["", ":15672", "a b", "evil@localhost:15672", "localhost:99999", "localhost:"] {
        assert_eq!(rules.check(&headers(host, None)), Err(Forbidden::NoHost), "{host:?}");
    }
    let mut origins = headers("localhost:15672", Some("http://localhost:15672"));
    origins.append(ORIGIN, HeaderValue::from_static("http://evil.example"));
    assert!(matches!(rules.check(&origins), Err(Forbidden::Origin(_))));
}

#[test]
fn configured_hosts_and_origins_pass() {
    let rules = rules("127.0.0.1:15672", &["Gate.example", "other.example:8443"], &["https://app.example/"]);
    for host in ["gate.example", "gate.example:1234", "other.example:8443"] {
        assert_eq!(rules.check(&headers(host, Some("https://app.example"))), Ok(()), "{host}");
    }
    assert!(rules.check(&headers("other.example", None)).is_err());
    assert!(rules.check(&headers("gate.example", Some("http://app.example"))).is_err());
    // Our own page, served under a configured name through a proxy that ends TLS.
    assert_eq!(rules.check(&headers("gate.example", Some("https://gate.example"))), Ok(()));
}

#[test]
fn beyond_loopback_addresses_pass_and_names_do_not() {
    let rules = rules("0.0.0.0:15672", &[], &[]);
    assert_eq!(rules.check(&headers("192.0.2.7:15672", Some("http://192.0.2.7:15672"))), Ok(()));
    assert!(rules.check(&headers("evil.example:15672", None)).is_err());
    assert!(rules.check(&headers("192.0.2.7:15672", Some("http://192.0.2.8:15672"))).is_err());
}

#[test]
fn the_refusal_is_403_and_says_what_to_configure() {
    let refusal = Forbidden::Host("evil.example".into());
    assert!(refusal.to_string().contains("allowed_hosts"));
    assert_eq!(refusal.into_response().status(), StatusCode::FORBIDDEN);
}
