//! Connections: names looked up, addresses refused that no provider has, TCP, and TLS with the certificate checked.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_rustls::ConfigBuilderExt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};

use super::Endpoint;

/// Metadata services of clouds that are not link-local: AWS and GCP over IPv6, Alibaba, Oracle, Azure.
const METADATA_V6: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)];
const METADATA_V4: [Ipv4Addr; 3] =
    [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192), Ipv4Addr::new(168, 63, 129, 16)];

/// With or without TLS. The size of the one does not matter: there are few.
#[expect(clippy::large_enum_variant)]
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(TlsStream<TcpStream>),
}

/// Connects, and where the URL says so greets by TLS. The caller bounds the whole.
pub(super) async fn open(endpoint: &Endpoint, tls: Option<&Arc<ClientConfig>>) -> Result<Stream, String> {
    let host = endpoint.url.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let port = endpoint.url.port_u16().unwrap_or(if tls.is_some() { 443 } else { 80 });
    let connected = timeout(endpoint.connect_timeout, connect(&host, port, endpoint.connect_timeout)).await;
    let stream = connected.unwrap_or_else(|_| Err(format!("no connection in {:?}", endpoint.connect_timeout)))?;
    let Some(config) = tls else { return Ok(Stream::Plain(stream)) };
    let name = ServerName::try_from(host).map_err(|e| e.to_string())?;
    let greeted = TlsConnector::from(Arc::clone(config)).connect(name, stream).await;
    greeted.map(Stream::Tls).map_err(|e| format!("no TLS: {e}"))
}

/// Connects and greets, then hangs up: nothing is sent. The certificate that was shown, in DER.
pub async fn reach(endpoint: Endpoint) -> Result<Option<Vec<u8>>, String> {
    let greet = async {
        let tls = match endpoint.url.scheme_str() {
            Some("https") => Some(Arc::new(trusting(endpoint.ca_file.as_deref())?)),
            _ => None,
        };
        Ok(match open(&endpoint, tls.as_ref()).await? {
            Stream::Plain(_) => None,
            Stream::Tls(stream) => {
                let shown = stream.get_ref().1.peer_certificates().and_then(|all| all.first());
                shown.map(|certificate| certificate.to_vec())
            }
        })
    };
    let waited = timeout(endpoint.request_timeout, greet).await;
    waited.unwrap_or_else(|_| Err(format!("no answer in {:?}", endpoint.request_timeout)))
}

/// The addresses one after the other, each with its share of the time.
async fn connect(host: &str, port: u16, within: Duration) -> Result<TcpStream, String> {
    let found: Vec<SocketAddr> =
        lookup_host((host, port)).await.map_err(|e| format!("cannot find `{host}`: {e}"))?.collect();
    let allowed: Vec<SocketAddr> = found.iter().copied().filter(|address| !is_refused(address.ip())).collect();
    let Some(n) = u32::try_from(allowed.len()).ok().filter(|n| *n > 0) else {
        return Err(match found.first() {
            Some(address) => format!("`{host}` is at {}, where nothing is ever sent", address.ip()),
            None => format!("`{host}` has no address"),
        });
    };
    let mut last = String::new();
    for address in allowed {
        match timeout(within / n, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Small requests, one at a time; without it they still go, later.
                stream.set_nodelay(true).unwrap_or_default();
                return Ok(stream);
            }
            Ok(Err(e)) => last = format!("cannot connect to {address}: {e}"),
            Err(_) => last = format!("no connection to {address} in {:?}", within / n),
        }
    }
    Err(last)
}

/// Addresses that no provider has and that tell an attacker much: the link-local ones with the metadata of clouds among
/// them, and what is no single machine. Loopback and private ones stay: a gateway beside us is the normal case.
pub(super) fn is_refused(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_refused_v4(v4),
        IpAddr::V6(v6) => {
            let is_own =
                v6.is_unspecified() || v6.is_multicast() || v6.is_unicast_link_local() || METADATA_V6.contains(&v6);
            is_own || (v6 != Ipv6Addr::LOCALHOST && inner_v4(v6).is_some_and(is_refused_v4))
        }
    }
}

fn is_refused_v4(v4: Ipv4Addr) -> bool {
    v4.octets().first() == Some(&0)
        || v4.is_link_local()
        || v4.is_multicast()
        || v4.is_broadcast()
        || METADATA_V4.contains(&v4)
}

/// The IPv4 address that a mapped, compatible, translated (NAT64) or tunnelled (6to4) one leads to.
fn inner_v4(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let low = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match v6.segments() {
        [0, 0, 0, 0, 0, 0 | 0xffff, a, b] | [0x64, 0xff9b, 0, 0, 0, 0, a, b] | [0x2002, a, b, ..] => Some(low(a, b)),
        _ => None,
    }
}

/// The public authorities, or those of the file.
pub(super) fn trusting(ca_file: Option<&Path>) -> Result<ClientConfig, String> {
    let builder = ClientConfig::builder_with_provider(ring::default_provider().into());
    let builder = builder.with_safe_default_protocol_versions().map_err(|e| format!("cannot set up TLS: {e}"))?;
    let Some(path) = ca_file else { return Ok(builder.with_webpki_roots().with_no_client_auth()) };
    let shown = path.display();
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(path).map_err(|e| format!("cannot read {shown}: {e}"))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|e| format!("cannot read {shown}: {e}"))?;
        roots.add(certificate).map_err(|e| format!("{shown}: not a usable authority: {e}"))?;
    }
    if roots.is_empty() {
        return Err(format!("{shown}: no certificate in it"));
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> bool {
        is_refused(text.parse().unwrap())
    }

    #[test]
    fn metadata_and_link_local_addresses_are_refused_in_every_spelling() {
        for address in [
            "169.254.169.254",
            "169.254.0.1",
            "0.0.0.0",
            "0.1.2.3",
            "224.0.0.1",
            "239.255.255.250",
            "255.255.255.255",
            "100.100.100.200",
            "168.63.129.16",
            "fe80::1",
            "febf::1",
            "fd00:ec2::254",
            "fd20:ce::254",
            "ff02::1",
            "::",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
        ] {
            assert!(refused(address), "{address}");
        }
    }

    #[test]
    fn a_gateway_beside_us_is_reached() {
        for address in ["127.0.0.1", "::1", "10.1.2.3", "192.168.0.9", "172.16.0.1", "fd12::1", "100.64.0.1", "1.1.1.1"]
        {
            assert!(!refused(address), "{address}");
        }
    }
}
