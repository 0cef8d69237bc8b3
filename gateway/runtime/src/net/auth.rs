//! Who may come in: accounts with argon2 hashes, checked off the async threads, a few at a time.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use argon2::password_hash::{PasswordHasher, SaltString};
use argon2::{Argon2, PasswordHash, PasswordVerifier};
use evergate_model::{Access, Credentials};
use parking_lot::RwLock;
use ring::hmac;
use ring::rand::SystemRandom;
use thiserror::Error;
use tokio::sync::Semaphore;

#[cfg(test)]
mod tests;

/// Argon2 runs at a time: each takes tens of milliseconds and 19 MiB, and the gateway has other work.
const CHECKS_AT_ONCE: usize = 2;

/// No password in use is longer; a longer one only costs time to hash.
const PASSWORD_BYTES_MAX: usize = 1024;

/// From where a listener can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// From this machine only.
    Loopback,
    /// From other machines too.
    Network,
}

impl Reach {
    /// The reach of a listener on this address.
    pub fn of(address: IpAddr) -> Self {
        if address.to_canonical().is_loopback() { Self::Loopback } else { Self::Network }
    }
}

/// Why the accounts cannot be used.
#[derive(Debug, Error)]
pub enum AccountError {
    /// Not an argon2 hash.
    #[error("the password of user {user:?} is not an argon2 hash ({reason})")]
    NotAHash {
        /// Whose.
        user: String,
        /// The library's word.
        reason: String,
    },
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    NoRandom,
}

/// The accounts, and who may come in without one. Clones share everything.
#[derive(Clone)]
pub struct Accounts {
    inner: Arc<Inner>,
}

struct Inner {
    /// By user: the argon2 hash in PHC form.
    hashes: HashMap<Arc<str>, String>,
    /// Checked in place of an unknown user's, so that the time taken does not tell who exists.
    nobody: String,
    anonymous: bool,
    checks: Semaphore,
    /// By user: the tag of the password that was right last, so that a thousand clients that
    /// reconnect do not cost a thousand argon2 runs. Never larger than `hashes`.
    verified: RwLock<HashMap<Arc<str>, hmac::Tag>>,
    /// Drawn at each start: the tags are worth nothing elsewhere.
    tag_key: hmac::Key,
}

impl Accounts {
    /// From users and their argon2 hashes. `anonymous`: a name is not needed, wherever one comes from.
    pub fn new(users: impl IntoIterator<Item = (String, String)>, anonymous: bool) -> Result<Self, AccountError> {
        let mut hashes = HashMap::new();
        for (user, hash) in users {
            let reason = match PasswordHash::new(&hash) {
                Ok(parsed) if !parsed.algorithm.as_str().starts_with("argon2") => "another algorithm".to_owned(),
                // No password would be right.
                Ok(parsed) if parsed.salt.is_none() || parsed.hash.is_none() => "it was cut off".to_owned(),
                Ok(_) => {
                    hashes.insert(user.into(), hash);
                    continue;
                }
                Err(error) => error.to_string(),
            };
            return Err(AccountError::NotAHash { user, reason });
        }
        let random = SystemRandom::new();
        let tag_key = hmac::Key::generate(hmac::HMAC_SHA256, &random).map_err(|_| AccountError::NoRandom)?;
        let salt = SaltString::encode_b64(b"no such user").map_err(|_| AccountError::NoRandom)?;
        let nobody = Argon2::default().hash_password(b"", &salt).map_err(|_| AccountError::NoRandom)?.to_string();
        Ok(Self {
            inner: Arc::new(Inner {
                hashes,
                nobody,
                anonymous,
                checks: Semaphore::new(CHECKS_AT_ONCE),
                verified: RwLock::default(),
                tag_key,
            }),
        })
    }

    /// Whether the peer may come in by a listener of this reach, and as whom.
    pub async fn check(&self, credentials: &Credentials, reach: Reach) -> Access {
        match credentials {
            Credentials::Anonymous if self.admits_anonymous(reach) => Access::Granted("".into()),
            Credentials::Anonymous => Access::Denied,
            // Where no account exists no password can be wrong: clients that always send one (STOMP's
            // guest) come in as nobody.
            Credentials::Password { .. } if self.inner.hashes.is_empty() && self.admits_anonymous(reach) => {
                Access::Granted("".into())
            }
            Credentials::Password { user, password } => self.check_password(user, password).await,
        }
    }

    /// Whether a listener of this reach lets in who gives no name.
    pub fn admits_anonymous(&self, reach: Reach) -> bool {
        self.inner.anonymous || (reach == Reach::Loopback && self.inner.hashes.is_empty())
    }

    async fn check_password(&self, user: &Arc<str>, password: &[u8]) -> Access {
        if password.len() > PASSWORD_BYTES_MAX {
            return Access::Denied;
        }
        if self.inner.was_verified(user, password) {
            return Access::Granted(Arc::clone(user));
        }
        let Ok(_permit) = self.inner.checks.acquire().await else { return Access::Denied };
        // Another connection of the same user may have been first while this one waited.
        if self.inner.was_verified(user, password) {
            return Access::Granted(Arc::clone(user));
        }
        let (inner, name, password) = (Arc::clone(&self.inner), Arc::clone(user), password.to_vec());
        let right = tokio::task::spawn_blocking(move || inner.verify(&name, &password)).await;
        if right.unwrap_or(false) { Access::Granted(Arc::clone(user)) } else { Access::Denied }
    }
}

impl Inner {
    fn was_verified(&self, user: &str, password: &[u8]) -> bool {
        let verified = self.verified.read();
        let Some(tag) = verified.get(user) else { return false };
        // Compares in constant time.
        hmac::verify(&self.tag_key, &tag_input(user, password), tag.as_ref()).is_ok()
    }

    fn verify(&self, user: &str, password: &[u8]) -> bool {
        let known = self.hashes.get_key_value(user);
        let hash = known.map_or(&self.nobody, |(_, hash)| hash);
        let right =
            PasswordHash::new(hash).is_ok_and(|parsed| Argon2::default().verify_password(password, &parsed).is_ok());
        let Some((name, _)) = known else { return false };
        if right {
            let tag = hmac::sign(&self.tag_key, &tag_input(user, password));
            self.verified.write().insert(Arc::clone(name), tag);
        }
        right
    }
}

fn tag_input(user: &str, password: &[u8]) -> Vec<u8> {
    // The length in front: no other pair gives the same bytes.
    let mut input = Vec::with_capacity(8 + user.len() + password.len());
    input.extend_from_slice(&(user.len() as u64).to_be_bytes());
    input.extend_from_slice(user.as_bytes());
    input.extend_from_slice(password);
    input
}

impl std::fmt::Debug for Accounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Neither hashes nor tags belong in a log.
        f.debug_struct("Accounts").field("users", &self.inner.hashes.len()).finish_non_exhaustive()
    }
}
