//! Where PostgreSQL is: what the URL says, how long it is waited for, how errors name it.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use evergate_journal::JournalError;
use evergate_model::percent_decode;
use rustls::ClientConfig;
use tokio_postgres::Config;
use tokio_postgres::config::Host;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::schema::describe;
use crate::tls;

/// How long to wait for a connection and the first answer on it, if the URL has no `connect_timeout`.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const FORM: &str = "its form is postgres://USER:PASSWORD@HOST:PORT/DATABASE";

/// A server and a database in it.
#[derive(Clone, Debug)]
pub struct Place {
    /// How to connect.
    pub config: Config,
    tls: Arc<ClientConfig>,
    is_verified: bool,
    name: String,
}

impl Place {
    /// What a URL names. The error is for people, and has no password in it.
    pub fn parse(url: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("the address of PostgreSQL is wrong: {why}; {FORM}");
        let (url, root) = take_root(url).map_err(|why| wrong(&why))?;
        let mut config: Config = url.parse().map_err(|error| wrong(&describe(&error)))?;
        let is_verified = root.is_some();
        let tls = tls::client(root.as_deref()).map_err(|why| wrong(&why))?;
        if config.get_hosts().is_empty() {
            return Err(wrong("it names no host"));
        }
        if config.get_application_name().is_none() {
            config.application_name("evergate");
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        let name = name(&config);
        Ok(Self { config, tls: Arc::new(tls), is_verified, name })
    }

    /// What encrypts.
    pub fn encryption(&self) -> MakeRustlsConnect {
        MakeRustlsConnect::new((*self.tls).clone())
    }

    /// Says in the log how safe the way is.
    pub fn tell_encryption(&self, is_encrypted: bool) {
        let is_local = self.config.get_hosts().iter().all(|host| match host {
            Host::Tcp(name) => name == "localhost" || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback()),
            Host::Unix(_) => true,
        });
        match (is_encrypted, self.is_verified) {
            (true, true) => tracing::info!("the connection to PostgreSQL is encrypted, its certificate is verified"),
            (true, false) if is_local => tracing::info!("the connection to PostgreSQL is encrypted"),
            (true, false) => tracing::warn!(
                "the connection to PostgreSQL is encrypted, but nobody verifies its certificate: add sslrootcert=FILE \
                 to [journal] url"
            ),
            (false, _) if is_local => {}
            (false, _) => tracing::warn!(
                "the connection to PostgreSQL is not encrypted: add sslmode=require to [journal] url, and ssl = on to \
                 postgresql.conf"
            ),
        }
    }

    /// How long a connection and the first answer on it may take.
    pub fn patience(&self) -> Duration {
        let each = self.config.get_connect_timeout().copied().unwrap_or(CONNECT_TIMEOUT);
        // One is tried after the other.
        each * u32::try_from(self.config.get_hosts().len()).unwrap_or(1)
    }

    /// It took connections, or seemed to, and no answer came.
    pub fn no_answer(&self) -> JournalError {
        JournalError::Open(format!(
            "it has not answered within {} s; is that PostgreSQL, and does it run? [journal] url names the server, \
             and ?connect_timeout=SECONDS in it says how long to wait",
            self.patience().as_secs()
        ))
    }

    /// The error of something that was done there.
    pub fn named(&self, error: JournalError) -> JournalError {
        match error {
            JournalError::Open(text) => JournalError::Open(format!("{}: {text}", self.name)),
            other => other,
        }
    }
}

/// Takes out of a URL what [`Config`] does not know: `sslmode=verify-full` and `sslrootcert`. Returns the rest, and the
/// file of the authorities.
fn take_root(url: &str) -> Result<(String, Option<PathBuf>), String> {
    let Some((start, parameters)) = url.rsplit_once('?') else { return Ok((url.to_owned(), None)) };
    let (mut kept, mut root, mut mode) = (Vec::new(), None, "prefer");
    for parameter in parameters.split('&') {
        match parameter.split_once('=') {
            Some(("sslrootcert", path)) => root = Some(PathBuf::from(percent_decode(path)?)),
            Some(("sslmode", word)) => mode = word,
            _ => kept.push(parameter),
        }
    }
    match (mode, &root) {
        ("disable" | "prefer", Some(_)) => Err("`sslrootcert` needs sslmode=verify-full or require".into()),
        ("verify-full", None) => Err("sslmode=verify-full needs sslrootcert=FILE".into()),
        ("disable" | "prefer" | "require", None) => Ok((url.to_owned(), None)),
        ("verify-full" | "require", Some(_)) => {
            kept.push("sslmode=require");
            Ok((format!("{start}?{}", kept.join("&")), root))
        }
        _ => Err("`sslmode` is one of disable, prefer, require, verify-full".into()),
    }
}

fn name(config: &Config) -> String {
    let port = |at: usize| config.get_ports().get(at).or(config.get_ports().first()).copied().unwrap_or(5432);
    let hosts = config.get_hosts().iter().enumerate().map(|(at, host)| match host {
        Host::Tcp(name) if name.contains(':') => format!("[{name}]:{}", port(at)),
        Host::Tcp(name) => format!("{name}:{}", port(at)),
        Host::Unix(path) => format!("{}/.s.PGSQL.{}", path.display(), port(at)),
    });
    let hosts: Vec<String> = hosts.collect();
    let user = config.get_user().map(|user| format!("user {user}"));
    let database = config.get_dbname().map(|database| format!("database {database}"));
    let what: Vec<String> = database.into_iter().chain(user).collect();
    let what = if what.is_empty() { String::new() } else { format!(" ({})", what.join(", ")) };
    format!("PostgreSQL at {}{what}", hosts.join(" or "))
}

#[cfg(test)]
mod tests {
    use tokio_postgres::config::SslMode;

    use super::*;

    #[test]
    fn a_place_is_named_without_its_password() {
        let place = |url| Place::parse(url).map(|place| place.name);
        let named = "PostgreSQL at db:5432 (database orders, user ada)";
        assert_eq!(place("postgres://ada:secret@db/orders"), Ok(named.into()));
        assert_eq!(place("postgres://db:1,[::1]:2"), Ok("PostgreSQL at db:1 or [::1]:2".into()));
        for wrong in ["postgres://h:99999/d?password=secret", "postgres:///d?password=secret", "postgres://["] {
            let error = place(wrong).unwrap_err();
            assert!(error.contains("its form is") && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn what_the_url_says_of_encryption_is_possible_or_refused() {
        let mode = |url: &str| Place::parse(url).map(|place| place.config.get_ssl_mode());
        assert_eq!(mode("postgres://h/d"), Ok(SslMode::Prefer));
        assert_eq!(mode("postgres://a:p?w@h/d"), Ok(SslMode::Prefer));
        assert_eq!(mode("postgres://h/d?port=1&sslmode=require"), Ok(SslMode::Require));
        for (wrong, why) in [
            ("sslmode=bogus", "`sslmode` is one of"),
            ("sslmode=verify-full", "needs sslrootcert=FILE"),
            ("sslmode=prefer&sslrootcert=/x", "needs sslmode="),
            ("sslmode=require&sslrootcert=/no/such%20file", "sslrootcert /no/such file: "),
        ] {
            let error = mode(&format!("postgres://h/d?{wrong}")).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn the_url_says_how_long_to_wait() {
        let patience = |url| Place::parse(url).unwrap().patience().as_secs();
        assert_eq!(patience("postgres://h/d"), 10);
        assert_eq!(patience("postgres://h/d?connect_timeout=3"), 3);
        assert_eq!(patience("postgres://h,g/d?connect_timeout=3"), 6);
    }
}
