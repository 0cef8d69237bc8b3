//! `evergate user hash`: a password in, the lines for the configuration out.

use std::fmt;
use std::io::BufRead;

use argon2::Argon2;
use argon2::password_hash::rand_core::OsRng;
use argon2::password_hash::{PasswordHasher, SaltString};

use super::read_line;

/// Why there is no hash.
#[derive(Debug)]
pub(super) enum HashError {
    Empty,
    Input(std::io::Error),
    Hash(argon2::password_hash::Error),
}

impl fmt::Display for HashError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str(
                "no password came on standard input: type it and press Enter, or pipe it in:\n  evergate user hash ada < password.txt",
            ),
            Self::Input(error) => write!(f, "standard input cannot be read: {error}"),
            Self::Hash(error) => write!(f, "the password cannot be hashed: {error}"),
        }
    }
}

/// Reads a line and gives the `[[user]]` table, ready to be appended to the file.
pub(super) fn user_lines(name: &str, input: &mut impl BufRead) -> Result<String, HashError> {
    let password = read_line(input).map_err(HashError::Input)?;
    if password.is_empty() {
        return Err(HashError::Empty);
    }
    let salt = SaltString::generate(&mut OsRng);
    let hash = Argon2::default().hash_password(password.as_bytes(), &salt).map_err(HashError::Hash)?.to_string();
    // As TOML writes it: a name may hold quotes.
    Ok(format!("[[user]]\nname = {}\npassword = {}\n", toml::Value::from(name), toml::Value::from(hash)))
}
