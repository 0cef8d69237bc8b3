//! TLS on a listener: certificates from PEM files, optional client certificates, a bounded handshake.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{CertificateError, RootCertStore, ServerConfig};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::Stream;

#[cfg(test)]
mod tests;

/// Where the PEM files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate, followed by those between it and its authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// If given, clients must show a certificate signed by one of these authorities.
    pub client_ca: Option<PathBuf>,
}

/// Why TLS cannot be set up.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("{} holds no {expected} in PEM form", path.display())]
    NotPem {
        /// Which.
        path: PathBuf,
        /// What it should hold.
        expected: &'static str,
    },
    /// The two do not belong together.
    #[error("the certificate in {} does not belong to the key in {}", certificate.display(), key.display())]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// The content is refused.
    #[error("{}: {reason}", path.display())]
    Refused {
        /// Which file.
        path: PathBuf,
        /// The library's word.
        reason: String,
    },
}

/// Why a handshake failed.
#[derive(Debug, Error)]
pub enum HandshakeError {
    /// It took too long.
    #[error("the TLS handshake took longer than {0:?}")]
    TimedOut(Duration),
    /// The peer speaks no TLS, refuses the certificate, shows none, or left.
    #[error("the TLS handshake failed: {0}")]
    Failed(#[from] io::Error),
}

/// A listener's side of TLS. Clones share it.
#[derive(Clone)]
pub struct TlsServer {
    acceptor: TlsAcceptor,
    certificate: CertificateDer<'static>,
}

impl TlsServer {
    /// Reads the files and checks that they belong together.
    pub fn load(files: &TlsFiles) -> Result<Self, TlsError> {
        let chain = certificates(&files.certificate)?;
        let key = private_key(&files.key)?;
        let refused = |path: &Path, error: &dyn std::fmt::Display| TlsError::Refused {
            path: path.to_path_buf(),
            reason: error.to_string(),
        };

        // The provider is named, not process-wide: whoever else uses rustls cannot change it.
        let provider = Arc::new(default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| refused(&files.certificate, &error))?;
        let builder = match &files.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let mut roots = RootCertStore::empty();
                for authority in certificates(path)? {
                    roots.add(authority).map_err(|error| refused(path, &error))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                    .build()
                    .map_err(|error| refused(path, &error))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let certificate = chain[0].clone();
        let config = builder.with_single_cert(chain, key).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                TlsError::Mismatch { certificate: files.certificate.clone(), key: files.key.clone() }
            }
            other => refused(&files.certificate, &other),
        })?;
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), certificate })
    }

    /// What clients will say of the certificate's dates now, if it is not good.
    pub fn out_of_date(&self) -> Option<&'static str> {
        let certificate = ParsedCertificate::try_from(&self.certificate).ok()?;
        let algorithms = default_provider().signature_verification_algorithms.all;
        // Without an authority it is never right; its dates are looked at before that is found out.
        let (nobody, now) = (RootCertStore::empty(), UnixTime::now());
        match verify_server_cert_signed_by_trust_anchor(&certificate, &nobody, &[], now, algorithms) {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::Expired | CertificateError::ExpiredContext { .. },
            )) => Some("has expired"),
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
            )) => Some("is not valid yet"),
            _ => None,
        }
    }

    /// The handshake with one client.
    pub async fn accept(&self, stream: TcpStream, within: Duration) -> Result<Stream, HandshakeError> {
        let handshake = tokio::time::timeout(within, self.acceptor.accept(stream)).await;
        let stream = handshake.map_err(|_| HandshakeError::TimedOut(within))??;
        Ok(Stream::Tls(Box::new(stream)))
    }
}

impl std::fmt::Debug for TlsServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TlsServer")
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let expected = "certificate";
    let found: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).and_then(Iterator::collect).map_err(|error| broken(path, expected, error));
    match found {
        Ok(list) if list.is_empty() => Err(TlsError::NotPem { path: path.to_path_buf(), expected }),
        other => other,
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| broken(path, "private key", error))
}

fn broken(path: &Path, expected: &'static str, error: pem::Error) -> TlsError {
    let path = path.to_path_buf();
    match error {
        pem::Error::Io(source) => TlsError::Unreadable { path, source },
        _ => TlsError::NotPem { path, expected },
    }
}
