//! One connection to the server, plain or by TLS, as a blocking reader and a blocking writer.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};

/// How long a server may take to accept, and to answer the hello.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How to reach the server securely.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct TlsArgs {
    /// Speak TLS, and trust the certificate authorities in this PEM file
    #[arg(long, value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
    /// Show this certificate (PEM, with its chain): for servers that want mutual TLS
    #[arg(long, value_name = "FILE", requires_all = ["tls_ca", "tls_key"])]
    pub tls_cert: Option<PathBuf>,
    /// The key of that certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Name the server's certificate must have; the host of `--to` unless said
    #[arg(long, value_name = "NAME", requires = "tls_ca")]
    pub tls_name: Option<String>,
}

/// Both ends of a connection.
pub(super) struct Link {
    pub reader: Box<dyn Read + Send>,
    pub writer: Box<dyn Write + Send>,
    pub ends: Ends,
}

/// The handle by which a connection is ended and its patience set.
pub(super) enum Ends {
    Tcp(TcpStream),
    /// Our end of a TLS connection that a thread of its own encrypts.
    Local(UnixStream),
}

impl Link {
    pub(super) fn connect(to: &str, tls: Option<&TlsSetup>) -> Result<Link> {
        let mut last = None;
        for address in to.to_socket_addrs().with_context(|| format!("cannot resolve `{to}`"))? {
            match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
                Ok(stream) => return Link::over(stream, tls),
                Err(e) => last = Some(e),
            }
        }
        match last {
            Some(e) => Err(e).with_context(|| format!("cannot connect to {to}")),
            None => bail!("`{to}` has no address"),
        }
    }

    fn over(stream: TcpStream, tls: Option<&TlsSetup>) -> Result<Link> {
        // A verdict request must not wait for the acknowledgement of the one before.
        stream.set_nodelay(true).context("set TCP_NODELAY")?;
        let Some(tls) = tls else {
            let (reader, writer) = (stream.try_clone()?, stream.try_clone()?);
            return Ok(Link { reader: Box::new(reader), writer: Box::new(writer), ends: Ends::Tcp(stream) });
        };
        let local = tls.wrap(stream)?;
        let (reader, writer) = (local.try_clone()?, local.try_clone()?);
        Ok(Link { reader: Box::new(reader), writer: Box::new(writer), ends: Ends::Local(local) })
    }
}

impl Ends {
    /// Bounds how long a read waits; `None`: for ever.
    pub(super) fn read_timeout(&self, time: Option<Duration>) -> Result<()> {
        match self {
            Ends::Tcp(s) => s.set_read_timeout(time),
            Ends::Local(s) => s.set_read_timeout(time),
        }
        .context("set a read time-out")
    }

    /// Tells the server that nothing more comes; its replies are still read.
    pub(super) fn finish(&self) {
        self.shut(Shutdown::Write);
    }

    /// Ends both ways, which also wakes the reader.
    pub(super) fn close(&self) {
        self.shut(Shutdown::Both);
    }

    fn shut(&self, how: Shutdown) {
        // Fails only where the server was first.
        drop(match self {
            Ends::Tcp(s) => s.shutdown(how),
            Ends::Local(s) => s.shutdown(how),
        });
    }
}

/// Certificates read and checked once, and the runtime that encrypts.
pub(super) struct TlsSetup {
    connector: tokio_rustls::TlsConnector,
    name: ServerName<'static>,
    runtime: tokio::runtime::Runtime,
}

impl TlsSetup {
    /// `None` where the arguments ask for no TLS.
    pub(super) fn from_args(args: &TlsArgs, to: &str) -> Result<Option<TlsSetup>> {
        let Some(ca) = &args.tls_ca else { return Ok(None) };
        let mut roots = RootCertStore::empty();
        for certificate in certificates(ca)? {
            roots.add(certificate).with_context(|| format!("`{}`: not a certificate authority", ca.display()))?;
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let config = match (&args.tls_cert, &args.tls_key) {
            (Some(chain), Some(key_file)) => {
                let key = PrivateKeyDer::from_pem_file(key_file)
                    .map_err(|e| anyhow::anyhow!("cannot read a key from `{}`: {e}", key_file.display()))?;
                config.with_client_auth_cert(certificates(chain)?, key).context("--tls-cert and --tls-key")?
            }
            _ => config.with_no_client_auth(),
        };
        let host = to.rsplit_once(':').map_or(to, |(host, _)| host).trim_matches(['[', ']']);
        let name = args.tls_name.clone().unwrap_or_else(|| host.to_owned());
        let name = ServerName::try_from(name.clone()).with_context(|| format!("`{name}` is no server name"))?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        Ok(Some(TlsSetup { connector: Arc::new(config).into(), name, runtime }))
    }

    /// Shakes hands, then carries bytes between the server and the returned socket.
    fn wrap(&self, stream: TcpStream) -> Result<UnixStream> {
        let (near, far) = UnixStream::pair().context("a socket pair")?;
        stream.set_nonblocking(true)?;
        far.set_nonblocking(true)?;
        let (mut secure, mut far) = self.runtime.block_on(async {
            let stream = tokio::net::TcpStream::from_std(stream)?;
            let shake = self.connector.connect(self.name.clone(), stream);
            let secure =
                tokio::time::timeout(CONNECT_TIMEOUT, shake).await.context("the TLS handshake took too long")?;
            anyhow::Ok((secure.context("TLS handshake")?, tokio::net::UnixStream::from_std(far)?))
        })?;
        self.runtime.spawn(async move {
            // Either end closing ends it; what was lost shows as missing acknowledgements.
            drop(tokio::io::copy_bidirectional(&mut secure, &mut far).await);
        });
        Ok(near)
    }
}

fn certificates(path: &PathBuf) -> Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(path).and_then(|found| found.collect::<Result<Vec<_>, _>>());
    match read {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => bail!("`{}`: no certificate in it", path.display()),
        Err(e) => bail!("cannot read certificates from `{}`: {e}", path.display()),
    }
}
