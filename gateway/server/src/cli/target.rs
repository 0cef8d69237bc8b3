//! Which gateway `sub` and `pub` talk to.

use clap::Args;
use evergate_model::percent_decode;

#[derive(Clone, Debug, Args)]
pub(super) struct Target {
    /// The gateway as `mqtt://[user:password@]host[:port]`, with %XX for what would not fit
    #[arg(long, conflicts_with_all = ["host", "port"], value_parser = parse_url)]
    url: Option<Url>,
    /// The gateway's host
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// Its MQTT port
    #[arg(long, default_value_t = PORT)]
    port: u16,
    /// Account
    #[arg(long)]
    user: Option<String>,
    /// Its password; without an account it is not used
    #[arg(long, env = "EVERGATE_PASSWORD", hide_env_values = true)]
    password: Option<String>,
}

const PORT: u16 = 1883;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Url {
    host: String,
    port: u16,
    user: Option<String>,
    password: Option<String>,
}

impl Target {
    #[cfg(test)]
    pub(super) fn at(port: u16) -> Self {
        Self { url: None, host: "127.0.0.1".into(), port, user: None, password: None }
    }

    /// Host and port.
    pub(super) fn place(&self) -> (&str, u16) {
        self.url.as_ref().map_or((self.host.as_str(), self.port), |url| (url.host.as_str(), url.port))
    }

    /// User and password, if a user is given. What names the user has the first word on the password, before the
    /// environment.
    pub(super) fn login(&self) -> Option<(&str, &str)> {
        let (url, own) = (self.url.as_ref(), self.password.as_deref());
        let of_url = url.and_then(|url| url.password.as_deref());
        let (user, password) = match &self.user {
            Some(user) => (user.as_str(), own.or(of_url)),
            None => (url?.user.as_deref()?, of_url.or(own)),
        };
        Some((user, password.unwrap_or_default()))
    }
}

fn parse_url(text: &str) -> Result<Url, String> {
    let form = || "write it as mqtt://[user:password@]host[:port]".to_owned();
    let rest = text.strip_prefix("mqtt://").ok_or_else(form)?.trim_end_matches('/');
    let (login, place) = rest.rsplit_once('@').map_or((None, rest), |(login, place)| (Some(login), place));
    // The port follows the last colon, unless that one belongs to an IPv6 address in brackets.
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().map_err(|_| form())?),
        _ => (place, PORT),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    if host.is_empty() {
        return Err(form());
    }
    let (user, password) = match login.map(|login| login.split_once(':').map_or((login, None), |(u, p)| (u, Some(p)))) {
        Some((user, password)) => (Some(percent_decode(user)?), password.map(percent_decode).transpose()?),
        None => (None, None),
    };
    Ok(Url { host, port, user, password })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_gives_host_port_and_login() {
        let url = parse_url("mqtt://ada:p:w@[::1]:2883").unwrap();
        assert_eq!((url.host.as_str(), url.port), ("::1", 2883));
        assert_eq!((url.user.as_deref(), url.password.as_deref()), (Some("ada"), Some("p:w")));
        let url = parse_url("mqtt://a%40b:sec%3Are%2F%C3%BC@gate").unwrap();
        assert_eq!((url.user.as_deref(), url.password.as_deref()), (Some("a@b"), Some("sec:re/ü")));
        let url = parse_url("mqtt://ada@gate").unwrap();
        assert_eq!((url.user.as_deref(), url.password), (Some("ada"), None));
        let url = parse_url("mqtt://gate.example/").unwrap();
        assert_eq!((url.host.as_str(), url.port, url.user), ("gate.example", 1883, None));
        for wrong in ["gate.example", "http://gate", "mqtt://", "mqtt://gate:port", "mqtt://a%:b@gate"] {
            assert!(parse_url(wrong).is_err(), "{wrong}");
        }
    }
}
