//! One connection to a syslog server, in the clear or by TLS: whether it is open, and how much of what was written the
//! system took.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::{Settings, Tls};
use crate::limits::SYSLOG_SETTLE_MS;

/// A peer that is gone without a word is noticed within this, where nothing is sent.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// What a server says is read and passed over, so many times at once.
const READS_MAX: usize = 16;

/// How to reach the server.
pub(super) struct Connector {
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    patience: Duration,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

#[derive(Debug)]
pub(super) struct Connection(Stream);

#[derive(Debug)]
enum Stream {
    Plain(Counted),
    Tls(Box<TlsStream<Counted>>),
}

/// Counts the bytes that the system took.
#[derive(Debug)]
struct Counted {
    tcp: TcpStream,
    n_sent: u64,
}

impl Connector {
    pub(super) fn new(settings: &Settings) -> Result<Connector, String> {
        let name = |tls: &Tls| -> Result<_, String> {
            let host = settings.host.trim_matches(['[', ']']).to_owned();
            let name = ServerName::try_from(host).map_err(|_| format!("`{}` has no certificate", settings.host))?;
            Ok((TlsConnector::from(Arc::new(config(tls)?)), name))
        };
        let tls = settings.tls.as_ref().map(name).transpose()?;
        let host = settings.host.trim_matches(['[', ']']).to_owned();
        Ok(Connector { host, port: settings.port, tls, patience: settings.send_timeout })
    }

    /// Where it fails, nothing that counts was sent.
    pub(super) async fn connect(&self) -> Result<Connection, String> {
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await;
        let tcp = tcp.map_err(|e| format!("cannot connect to the syslog server: {e}"))?;
        let socket = SockRef::from(&tcp);
        // Without them it works all the same, only slower to notice what is gone.
        socket.set_tcp_nodelay(true).unwrap_or_default();
        socket
            .set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE))
            .unwrap_or_default();
        socket.set_tcp_user_timeout(Some(self.patience)).unwrap_or_default();
        let counted = Counted { tcp, n_sent: 0 };
        let stream = match &self.tls {
            None => Stream::Plain(counted),
            Some((connector, name)) => {
                let greeted = connector.connect(name.clone(), counted).await;
                Stream::Tls(Box::new(greeted.map_err(|e| format!("no TLS with the syslog server: {e}"))?))
            }
        };
        let mut connection = Connection(stream);
        // A server that does not want us, or our certificate, says so behind the handshake.
        let settle = Duration::from_millis(SYSLOG_SETTLE_MS);
        timeout(settle, connection.tcp().readable()).await.map_or(Ok(()), |ready| ready).unwrap_or_default();
        if connection.is_open().await {
            Ok(connection)
        } else {
            Err("the syslog server closed the connection at once".to_owned())
        }
    }
}

fn config(tls: &Tls) -> Result<ClientConfig, String> {
    let builder = ClientConfig::builder_with_provider(ring::default_provider().into());
    let builder = builder.with_safe_default_protocol_versions().map_err(|e| e.to_string())?;
    let builder = match &tls.ca_file {
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                let shown = path.display();
                roots.add(certificate).map_err(|e| format!("{shown}: not a usable authority: {e}"))?;
            }
            builder.with_root_certificates(roots)
        }
        None => hyper_rustls::ConfigBuilderExt::with_webpki_roots(builder),
    };
    let Some((certificate, key_file)) = &tls.own else { return Ok(builder.with_no_client_auth()) };
    let key = PrivateKeyDer::from_pem_file(key_file).map_err(|e| format!("cannot read {}: {e}", key_file.display()))?;
    let config = builder.with_client_auth_cert(certificates(certificate)?, key);
    config.map_err(|e| format!("{} does not fit {}: {e}", key_file.display(), certificate.display()))
}

fn certificates(path: &std::path::Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(path).and_then(|found| found.collect::<Result<Vec<_>, _>>());
    let found = read.map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    if found.is_empty() { Err(format!("{}: no certificate in it", path.display())) } else { Ok(found) }
}

impl Connection {
    fn counted(&self) -> &Counted {
        match &self.0 {
            Stream::Plain(counted) => counted,
            Stream::Tls(stream) => stream.get_ref().0,
        }
    }

    fn tcp(&self) -> &TcpStream {
        &self.counted().tcp
    }

    /// What the server showed, in DER.
    pub(super) fn certificate(&self) -> Option<Vec<u8>> {
        match &self.0 {
            Stream::Plain(_) => None,
            Stream::Tls(stream) => Some(stream.get_ref().1.peer_certificates()?.first()?.to_vec()),
        }
    }

    /// Bytes that the system took since the connection was made.
    pub(super) fn n_sent(&self) -> u64 {
        self.counted().n_sent
    }

    /// All of it is with the system.
    pub(super) async fn write(&mut self, frame: &[u8]) -> io::Result<()> {
        match &mut self.0 {
            Stream::Plain(counted) => counted.write_all(frame).await,
            Stream::Tls(stream) => {
                stream.write_all(frame).await?;
                stream.flush().await
            }
        }
    }

    /// Asks the socket itself, without waiting for it. What the server sent is read and passed over: by TLS it may be the
    /// word that it hangs up.
    pub(super) async fn is_open(&mut self) -> bool {
        for _ in 0..READS_MAX {
            match SockRef::from(self.tcp()).peek(&mut [MaybeUninit::uninit()]) {
                Ok(0) => return false,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return true,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return false,
                Ok(_) => {}
            }
            // There is something, so this returns at once; it makes the next read look.
            if self.tcp().readable().await.is_err() {
                return false;
            }
            let mut bytes = [0; 4096];
            let mut came = ReadBuf::new(&mut bytes);
            let read = poll_fn(|cx| {
                Poll::Ready(match &mut self.0 {
                    Stream::Plain(counted) => Pin::new(counted).poll_read(cx, &mut came),
                    Stream::Tls(stream) => Pin::new(stream).poll_read(cx, &mut came),
                })
            });
            match read.await {
                Poll::Ready(Ok(())) if came.filled().is_empty() => return false,
                Poll::Ready(Err(_)) => return false,
                Poll::Ready(Ok(())) | Poll::Pending => {}
            }
        }
        // It talks without an end, and is there.
        true
    }
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.tcp).poll_write(cx, bytes);
        if let Poll::Ready(Ok(n)) = &written {
            self.n_sent += *n as u64;
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
