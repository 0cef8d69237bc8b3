//! Where PostgreSQL is: what the URL says, how long it is waited for, how errors name it.

use std::time::Duration;

use evergate_journal::JournalError;
use tokio_postgres::Config;
use tokio_postgres::config::Host;

use crate::schema::describe;

/// How long to wait for a connection and the first answer on it, if the URL has no `connect_timeout`.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const FORM: &str = "its form is postgres://USER:PASSWORD@HOST:PORT/DATABASE";

/// A server and a database in it.
#[derive(Clone, Debug)]
pub struct Place {
    /// How to connect.
    pub config: Config,
    name: String,
}

impl Place {
    /// What a URL names. The error is for people, and has no password in it.
    pub fn parse(url: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("the address of PostgreSQL is wrong: {why}; {FORM}");
        let mut config: Config = url.parse().map_err(|error| wrong(&describe(&error)))?;
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
        Ok(Self { config, name })
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
    fn the_url_says_how_long_to_wait() {
        let patience = |url| Place::parse(url).unwrap().patience().as_secs();
        assert_eq!(patience("postgres://h/d"), 10);
        assert_eq!(patience("postgres://h/d?connect_timeout=3"), 3);
        assert_eq!(patience("postgres://h,g/d?connect_timeout=3"), 6);
    }
}
