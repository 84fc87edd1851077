//! A syslog server in this process, over real sockets: what goes out to the byte, and what becomes of it when the server
//! goes, refuses, or is somebody else.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertifiedIssuer, KeyPair};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, crypto::ring};

use super::*;
use crate::delivery::cef::tests::parcel;

fn settings(address: SocketAddr) -> Settings {
    Settings {
        host: "localhost".into(),
        port: address.port(),
        tls: None,
        format: Format::Rfc5424,
        framing: Framing::OctetCounting,
        facility: 16,
        app_name: "ringfence".into(),
        hostname: Some("rf1".into()),
        enterprise: 32_473,
        connect_timeout: Duration::from_secs(10),
        send_timeout: Duration::from_secs(10),
    }
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// One frame with its length before it.
async fn counted(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut length = 0;
    loop {
        match stream.read_u8().await.unwrap() {
            b' ' => break,
            digit => length = length * 10 + usize::from(digit - b'0'),
        }
    }
    let mut line = vec![0; length];
    stream.read_exact(&mut line).await.unwrap();
    String::from_utf8(line).unwrap()
}

fn handed() -> Outcome {
    Outcome::Handed { receipt: String::new() }
}

#[tokio::test]
async fn lines_are_of_rfc_5424_with_their_length_before_them_on_one_connection() {
    let (listener, address) = listen().await;
    let syslog = Syslog::new(&settings(address)).unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        [counted(&mut stream).await, counted(&mut stream).await]
    });
    let end = Parcel { is_end: true, message: None, ..parcel() };
    assert_eq!(syslog.send(&parcel()).await, handed());
    assert_eq!(syslog.send(&end).await, handed());
    let [line, end] = server.await.unwrap();
    let process = std::process::id();
    assert_eq!(
        line,
        format!(
            "<129>1 2026-01-01T00:00:00.123Z rf1 ringfence {process} confirmed [ringfence@32473 \
             delivery=\"DLV-000007\" incident=\"INC-000123\" message=\"MSG-000009\" customer=\"acme\" \
             kit=\"confirmed\" severity=\"1\" end=\"false\" person=\"SOC \\\"night\\\" [desk\\]\"] \
             \u{feff}[INC-000123] Confirmed: calls | fraud | Line one = 1 | back\\slash | the end"
        )
    );
    assert!(end.starts_with("<134>1 ") && end.contains("end=\"true\"") && !end.contains("message="), "{end}");
}

#[tokio::test]
async fn a_line_that_ends_by_a_line_break_holds_no_other_however_long_its_text_is() {
    let (listener, address) = listen().await;
    let settings = Settings { framing: Framing::Newline, format: Format::Cef, ..settings(address) };
    let syslog = Syslog::new(&settings).unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.unwrap();
        String::from_utf8(all).unwrap()
    });
    let long = "\u{e5}\n\r\u{0}".repeat(10_000);
    let quotes = "\u{1f4de}]\"".repeat(1_000);
    let (person, customer, link) = (long.clone(), quotes.clone(), Some(quotes.clone()));
    let hostile = Parcel { subject: long.clone(), text: long.clone(), kit: long, person, customer, link, ..parcel() };
    let hostile = Parcel { name: quotes.clone(), incident: quotes.clone(), message: Some(quotes), ..hostile };
    assert_eq!(syslog.send(&hostile).await, handed());
    let plain = Syslog { settings: Settings { format: Format::Rfc5424, ..settings }, ..syslog };
    assert_eq!(plain.send(&hostile).await, handed());
    drop(plain);
    let all = server.await.unwrap();
    let lines: Vec<&str> = all.strip_suffix('\n').unwrap().split('\n').collect();
    assert_eq!(lines.len(), 2);
    assert!(lines.iter().all(|line| line.len() <= SYSLOG_LINE_BYTES_MAX && !line.chars().any(char::is_control)));
    assert!(lines[0].contains("] CEF:0|Ringfence|") && lines[1].ends_with("..."), "{all}");
}

#[tokio::test]
async fn a_server_that_hung_up_is_noticed_before_anything_is_sent() {
    let (listener, address) = listen().await;
    let syslog = Syslog::new(&settings(address)).unwrap();
    let (closed, is_closed) = tokio::sync::oneshot::channel();
    let server = tokio::spawn(async move {
        let (mut first, _) = listener.accept().await.unwrap();
        let line = counted(&mut first).await;
        drop(first);
        closed.send(()).unwrap();
        let (mut second, _) = listener.accept().await.unwrap();
        (line, counted(&mut second).await)
    });
    assert_eq!(syslog.send(&parcel()).await, handed());
    is_closed.await.unwrap();
    let other = Parcel { name: "DLV-000008".into(), ..parcel() };
    assert_eq!(syslog.send(&other).await, handed());
    let (first, second) = server.await.unwrap();
    assert!(first.contains("DLV-000007") && second.contains("DLV-000008"));
}

#[tokio::test]
async fn nobody_there_and_somebody_who_hangs_up_at_once_are_tried_later() {
    let (listener, address) = listen().await;
    let syslog = Syslog::new(&settings(address)).unwrap();
    let server = tokio::spawn(async move {
        drop(listener.accept().await.unwrap());
        listener
    });
    let outcome = syslog.send(&parcel()).await;
    assert!(matches!(&outcome, Outcome::Later(why) if why.contains("at once")), "{outcome:?}");
    drop(server.await.unwrap());
    let outcome = syslog.send(&parcel()).await;
    assert!(matches!(&outcome, Outcome::Later(why) if why.contains("cannot connect")), "{outcome:?}");
}

#[tokio::test]
async fn a_server_that_reads_nothing_ends_in_a_line_that_may_have_been_cut_off() {
    let (listener, address) = listen().await;
    let mut settings = settings(address);
    settings.send_timeout = Duration::from_millis(100);
    let syslog = Syslog::new(&settings).unwrap();
    let long = Parcel { text: "x".repeat(20_000), ..parcel() };
    let mut stuck: Option<TcpStream> = None;
    let outcome = loop {
        let sent = syslog.send(&long);
        let outcome = match &stuck {
            Some(_) => sent.await,
            None => {
                let (outcome, accepted) = tokio::join!(sent, listener.accept());
                stuck = Some(accepted.unwrap().0);
                outcome
            }
        };
        if outcome != handed() {
            break outcome;
        }
    };
    assert!(matches!(outcome, Outcome::Later(_) | Outcome::Unknown(_)), "{outcome:?}");
    assert!(syslog.connection.lock().await.is_none(), "a line that is half there spoils those behind it");
}

/// An authority, and a server of `localhost` that it vouches for.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

impl Authority {
    fn new() -> Authority {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let authority = Authority { issuer, folder: tempfile::tempdir().unwrap() };
        std::fs::write(authority.file("ca"), authority.issuer.pem()).unwrap();
        authority.vouch("localhost");
        authority
    }

    fn vouch(&self, name: &str) {
        let key = KeyPair::generate().unwrap();
        let certificate =
            rcgen::CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.file(name), certificate.pem()).unwrap();
        std::fs::write(self.file(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `asks`: for a certificate of the same authority.
    fn acceptor(&self, asks: bool) -> TlsAcceptor {
        let certificate = |path: &Path| CertificateDer::from_pem_file(path).unwrap();
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate(&self.file("ca"))).unwrap();
        let builder = if asks {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        let key = PrivateKeyDer::from_pem_file(self.file("localhost.key")).unwrap();
        let config = builder.with_single_cert(vec![certificate(&self.file("localhost"))], key).unwrap();
        TlsAcceptor::from(Arc::new(config))
    }

    fn tls(&self, own: Option<&str>) -> Tls {
        let own = own.map(|name| (self.file(name), self.file(&format!("{name}.key"))));
        Tls { ca_file: Some(self.file("ca")), own }
    }
}

/// What the server reads of one connection, whatever becomes of the handshake; and what the sender was told.
async fn by_tls(acceptor: TlsAcceptor, tls: Tls) -> (Outcome, Option<String>) {
    let (listener, address) = listen().await;
    let syslog = Syslog::new(&Settings { tls: Some(tls), ..settings(address) }).unwrap();
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        match acceptor.accept(stream).await {
            Ok(mut stream) => Some(counted(&mut stream).await),
            Err(_) => None,
        }
    });
    let outcome = syslog.send(&parcel()).await;
    (outcome, server.await.unwrap())
}

#[tokio::test]
async fn by_tls_a_line_goes_to_whom_the_authority_vouches_for_and_to_nobody_else() {
    let (ours, others) = (Authority::new(), Authority::new());
    let (outcome, line) = by_tls(ours.acceptor(false), ours.tls(None)).await;
    assert_eq!(outcome, handed());
    assert!(line.unwrap().contains("DLV-000007"));
    let (outcome, line) = by_tls(ours.acceptor(false), others.tls(None)).await;
    assert!(matches!(&outcome, Outcome::Later(why) if why.contains("certificate")), "{outcome:?}");
    assert_eq!(line, None);
    // Of the right authority, and another name.
    ours.vouch("elsewhere.example");
    for ending in ["", ".key"] {
        std::fs::copy(ours.file(&format!("elsewhere.example{ending}")), ours.file(&format!("localhost{ending}")))
            .unwrap();
    }
    let (outcome, line) = by_tls(ours.acceptor(false), ours.tls(None)).await;
    assert!(matches!(&outcome, Outcome::Later(why) if why.contains("certificate")), "{outcome:?}");
    assert_eq!(line, None);
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_gets_one_or_is_tried_later() {
    let authority = Authority::new();
    authority.vouch("client");
    let (outcome, line) = by_tls(authority.acceptor(true), authority.tls(Some("client"))).await;
    assert_eq!(outcome, handed());
    assert!(line.unwrap().contains("DLV-000007"));
    let (outcome, line) = by_tls(authority.acceptor(true), authority.tls(None)).await;
    assert!(matches!(outcome, Outcome::Later(_)), "{outcome:?}");
    assert_eq!(line, None);
}

#[test]
fn files_that_cannot_be_used_are_told_at_the_start() {
    let address = SocketAddr::from(([127, 0, 0, 1], 1));
    let tls = Tls { ca_file: Some("/nowhere/ca.pem".into()), own: None };
    let problem = Syslog::new(&Settings { tls: Some(tls), ..settings(address) }).err().unwrap();
    assert!(problem.starts_with("cannot read /nowhere/ca.pem"), "{problem}");
}
