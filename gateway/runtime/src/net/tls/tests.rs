use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ClientConfig;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsConnector;

use super::*;

struct Authority {
    certificate: String,
    der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

fn authority() -> Authority {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).unwrap();
    Authority { certificate: certificate.pem(), der: certificate.der().clone(), issuer: Issuer::new(params, key) }
}

impl Authority {
    fn sign(&self) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }
}

struct House {
    _directory: TempDir,
    authority: Authority,
    files: TlsFiles,
}

fn house(client_ca: bool) -> House {
    let directory = tempfile::tempdir().unwrap();
    let authority = authority();
    let (certificate, key) = authority.sign();
    let write = |name: &str, text: String| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let ca = write("ca.pem", authority.certificate.clone());
    let files = TlsFiles {
        certificate: write("server.pem", certificate.pem()),
        key: write("server.key", key.serialize_pem()),
        client_ca: client_ca.then_some(ca),
    };
    House { _directory: directory, authority, files }
}

fn connector(authority: &Authority, client: Option<(rcgen::Certificate, KeyPair)>) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(authority.der.clone()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match client {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
            builder.with_client_auth_cert(vec![certificate.der().clone()], key).unwrap()
        }
    };
    TlsConnector::from(Arc::new(config))
}

/// Echoes one byte over TLS; what the server and the client saw.
async fn exchange(files: &TlsFiles, connector: TlsConnector) -> (Result<(), HandshakeError>, io::Result<u8>) {
    let server = TlsServer::load(files).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serve = async {
        let (socket, _) = listener.accept().await.unwrap();
        let mut stream = server.accept(socket, Duration::from_secs(10)).await?;
        let byte = stream.read_u8().await?;
        stream.write_u8(byte).await?;
        stream.flush().await?;
        Ok(())
    };
    let connect = async {
        let socket = TcpStream::connect(address).await?;
        let mut stream = connector.connect("localhost".try_into().unwrap(), socket).await?;
        stream.write_u8(7).await?;
        stream.flush().await?;
        stream.read_u8().await
    };
    tokio::join!(serve, connect)
}

#[tokio::test]
async fn bytes_pass_after_the_handshake() {
    let house = house(false);
    let (served, answer) = exchange(&house.files, connector(&house.authority, None)).await;
    served.unwrap();
    assert_eq!(answer.unwrap(), 7);
}

#[tokio::test]
async fn with_a_client_authority_only_its_clients_come_in() {
    let house = house(true);
    let signed = house.authority.sign();
    let (served, answer) = exchange(&house.files, connector(&house.authority, Some(signed))).await;
    served.unwrap();
    assert_eq!(answer.unwrap(), 7);

    let (served, _) = exchange(&house.files, connector(&house.authority, None)).await;
    assert!(matches!(served, Err(HandshakeError::Failed(_))), "{served:?}");

    let stranger = authority().sign();
    let (served, _) = exchange(&house.files, connector(&house.authority, Some(stranger))).await;
    assert!(matches!(served, Err(HandshakeError::Failed(_))), "{served:?}");
}

#[tokio::test]
async fn a_client_that_never_speaks_is_given_up() {
    let server = TlsServer::load(&house(false).files).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let _silent = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (socket, _) = listener.accept().await.unwrap();
    let refused = server.accept(socket, Duration::from_millis(50)).await.unwrap_err();
    assert!(matches!(refused, HandshakeError::TimedOut(_)), "{refused}");
}

#[test]
fn a_key_of_another_certificate_is_named() {
    let (house, other) = (house(false), house(false));
    let files = TlsFiles { key: other.files.key.clone(), ..house.files.clone() };
    let error = TlsServer::load(&files).unwrap_err();
    assert!(matches!(error, TlsError::Mismatch { .. }), "{error}");
    assert!(error.to_string().contains(&*other.files.key.to_string_lossy()), "{error}");
}

#[test]
fn missing_and_mistaken_files_are_named() {
    let house = house(false);
    let missing = TlsFiles { certificate: "/nowhere/server.pem".into(), ..house.files.clone() };
    let error = TlsServer::load(&missing).unwrap_err().to_string();
    assert!(error.starts_with("cannot read /nowhere/server.pem: "), "{error}");

    let swapped = TlsFiles { certificate: house.files.key.clone(), ..house.files.clone() };
    let error = TlsServer::load(&swapped).unwrap_err().to_string();
    assert!(error.ends_with("server.key holds no certificate in PEM form"), "{error}");
}

#[test]
fn a_certificate_that_is_out_of_date_is_told_and_served_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let out_of_date = |years: (i32, i32)| {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        (params.not_before, params.not_after) =
            (rcgen::date_time_ymd(years.0, 1, 1), rcgen::date_time_ymd(years.1, 1, 1));
        let certificate = params.self_signed(&key).unwrap();
        let file = |name: &str| directory.path().join(name);
        std::fs::write(file("server.pem"), certificate.pem()).unwrap();
        std::fs::write(file("server.key"), key.serialize_pem()).unwrap();
        let files = TlsFiles { certificate: file("server.pem"), key: file("server.key"), client_ca: None };
        TlsServer::load(&files).unwrap().out_of_date()
    };
    assert_eq!(out_of_date((2019, 2020)), Some("has expired"));
    assert_eq!(out_of_date((2019, 4000)), None);
    assert_eq!(out_of_date((3999, 4000)), Some("is not valid yet"));
}
