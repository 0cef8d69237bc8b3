//! Which gateway `sub` and `pub` talk to.

use clap::Args;

#[derive(Clone, Debug, Args)]
pub(super) struct Target {
    /// The gateway as `mqtt://[user:password@]host[:port]`
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
    /// Its password
    #[arg(long, env = "EVERGATE_PASSWORD", hide_env_values = true, requires = "user")]
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

    /// User and password, if one is given.
    pub(super) fn login(&self) -> Option<(&str, &str)> {
        let url = self.url.as_ref();
        let user = self.user.as_deref().or_else(|| url.and_then(|url| url.user.as_deref()))?;
        let password = self.password.as_deref().or_else(|| url.and_then(|url| url.password.as_deref()));
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
    let (user, password) = match login.map(|login| login.split_once(':').unwrap_or((login, ""))) {
        Some((user, password)) => (Some(user.to_owned()), Some(password.to_owned())),
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
        let url = parse_url("mqtt://gate.example/").unwrap();
        assert_eq!((url.host.as_str(), url.port, url.user), ("gate.example", 1883, None));
        for wrong in ["gate.example", "http://gate", "mqtt://", "mqtt://gate:port"] {
            assert!(parse_url(wrong).is_err(), "{wrong}");
        }
    }
}
