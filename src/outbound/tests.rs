//! How far a request got, against servers that do their worst.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use super::scripted::{Scripted, Turn, endpoint};
use super::*;

async fn ask(endpoint: &Endpoint) -> Answer {
    let client = Client::new(endpoint).unwrap();
    client.ask(Request::post(endpoint.url.clone(), "text/plain", "hello")).await
}

/// Time-outs of tests that wait for one.
fn hasty(mut endpoint: Endpoint) -> Endpoint {
    endpoint.request_timeout = Duration::from_millis(100);
    endpoint
}

#[tokio::test]
async fn an_answer_comes_with_what_its_head_says() {
    let head = "Retry-After: 30\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
    let server = Scripted::start(vec![Turn::answer("429 Slow Down", head, "later")]).await;
    let answer = ask(&server.endpoint("/a?b=c")).await;
    let Answer::Answered { status, head, retry_after, date } = answer else { panic!("{answer:?}") };
    assert_eq!((status.as_u16(), &head[..], retry_after), (429, &b"later"[..], Some(Duration::from_secs(30))));
    assert_eq!(date, Some(Timestamp(784_111_777_000)));
    let request = server.requests().remove(0);
    assert!(request.starts_with("POST /a?b=c HTTP/1.1\r\n") && request.ends_with("\r\n\r\nhello"), "{request}");
    let host = server.url.strip_prefix("http://").unwrap();
    assert!(request.to_ascii_lowercase().contains(&format!("host: {host}\r\n")), "{request}");
}

#[tokio::test]
async fn what_never_left_was_not_sent() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = format!("http://{}/", closed.local_addr().unwrap());
    drop(closed);
    for (url, told) in [
        (nobody.as_str(), "cannot connect"),
        ("http://does-not-exist.invalid/", "cannot find"),
        ("http://169.254.169.254/latest/meta-data/", "nothing is ever sent"),
        ("http://[fd00:ec2::254]/", "nothing is ever sent"),
        ("http://[::ffff:169.254.169.254]/", "nothing is ever sent"),
        ("http://0.0.0.0/", "nothing is ever sent"),
    ] {
        match ask(&endpoint(url)).await {
            Answer::NotSent(why) => assert!(why.contains(told), "{url}: {why}"),
            other => panic!("{url}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_request_stays_at_its_server() {
    let (ours, other) = (Scripted::start(vec![Turn::Silence]).await, Scripted::start(vec![Turn::Silence]).await);
    let client = Client::new(&ours.endpoint("/")).unwrap();
    let elsewhere = client.ask(Request::get(other.url.parse().unwrap())).await;
    assert!(matches!(elsewhere, Answer::NotSent(_)), "{elsewhere:?}");
    assert!(ours.requests().is_empty() && other.requests().is_empty());
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_goes_nowhere() {
    let away = "Location: http://169.254.169.254/latest/meta-data/\r\n";
    let server = Scripted::start(vec![Turn::answer("302 Found", away, "")]).await;
    let answer = ask(&server.endpoint("/")).await;
    assert!(matches!(answer, Answer::Answered { status, .. } if status.as_u16() == 302), "{answer:?}");
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn once_it_was_written_nobody_knows() {
    let half = Turn::Last(b"HTTP/1.1 20".to_vec());
    for turn in [Turn::Silence, half, Turn::Last(Vec::new()), Turn::Last(b"220 mail.example ESMTP\r\n\r\n".to_vec())] {
        let server = Scripted::start(vec![turn]).await;
        let answer = ask(&hasty(server.endpoint("/"))).await;
        assert!(matches!(answer, Answer::Unanswered(_)), "{answer:?}");
        assert_eq!(server.requests().len(), 1);
    }
    let endless =
        [b"HTTP/1.1 200 OK\r\n".to_vec(), b"X-Filler: aaaaaaaaaaaaaaaaaaaaaaaaaa\r\n".repeat(10_000)].concat();
    let server = Scripted::start(vec![Turn::Last(endless)]).await;
    let answer = ask(&server.endpoint("/")).await;
    assert!(matches!(answer, Answer::Unanswered(_)), "{answer:?}");
}

#[tokio::test]
async fn a_status_counts_whatever_becomes_of_the_rest() {
    let long = "x".repeat(5 << 20);
    let endless = Turn::answer("202 Accepted", "", &long);
    let broken = Turn::Last(b"HTTP/1.1 202 Accepted\r\nContent-Length: 1000\r\n\r\n0: Accep".to_vec());
    let hanging = Turn::Say(b"HTTP/1.1 202 Accepted\r\nContent-Length: 1000\r\n\r\n0: Accep".to_vec());
    for turn in [endless, broken, hanging] {
        let server = Scripted::start(vec![turn]).await;
        let mut endpoint = server.endpoint("/");
        endpoint.request_timeout = Duration::from_secs(2);
        let answer = ask(&endpoint).await;
        let Answer::Answered { status, head, .. } = answer else { panic!("{answer:?}") };
        assert_eq!(status.as_u16(), 202);
        assert!(head.len() <= OUTBOUND_ANSWER_BYTES_MAX);
    }
}

#[tokio::test]
async fn a_connection_is_used_again_and_a_dead_one_is_not_held_against_anybody() {
    let server = Scripted::start(vec![
        Turn::answer("200 OK", "", "1"),
        Turn::answer("200 OK", "Connection: close\r\n", "2"),
        Turn::Last(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n3".to_vec()),
        Turn::answer("200 OK", "", "4"),
    ])
    .await;
    let endpoint = server.endpoint("/");
    let client = Client::new(&endpoint).unwrap();
    for n in 1..=4 {
        let answer = client.ask(Request::post(endpoint.url.clone(), "text/plain", n.to_string())).await;
        assert!(matches!(answer, Answer::Answered { status, .. } if status.is_success()), "{n}: {answer:?}");
        // The hang-up after the third is seen before the fourth goes out.
        tokio::time::timeout(Duration::from_secs(5), async {
            while n == 3 && client.idle().iter().any(|(lane, _)| lane.sender.is_ready()) {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
    }
    let bodies: Vec<_> = server.requests().iter().map(|r| r.rsplit("\r\n").next().unwrap().to_owned()).collect();
    assert_eq!(bodies, ["1", "2", "3", "4"]);
}

async fn tls_server(name: &str) -> (String, String) {
    let signed = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signed.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(tokio_rustls::rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![signed.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = socket.accept().await {
            if let Ok(mut stream) = acceptor.accept(stream).await {
                use tokio::io::{AsyncReadExt, AsyncWriteExt};
                let mut request = [0; 4096];
                assert!(stream.read(&mut request).await.unwrap_or_default() > 0);
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap_or_default();
            }
        }
    });
    (format!("https://localhost:{port}/"), signed.cert.pem())
}

#[tokio::test]
async fn certificates_are_checked_before_anything_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let trusting = |pem: &str, url: &str| {
        let path = folder.path().join("ca.pem");
        std::fs::write(&path, pem).unwrap();
        Endpoint { ca_file: Some(path), ..endpoint(url) }
    };
    let (url, pem) = tls_server("localhost").await;
    let good = ask(&trusting(&pem, &url)).await;
    assert!(matches!(good, Answer::Answered { .. }), "{good:?}");
    let unknown = ask(&endpoint(&url)).await;
    assert!(matches!(&unknown, Answer::NotSent(why) if why.contains("TLS")), "{unknown:?}");
    let (url, pem) = tls_server("another.example").await;
    let misnamed = ask(&trusting(&pem, &url)).await;
    assert!(matches!(&misnamed, Answer::NotSent(why) if why.contains("TLS")), "{misnamed:?}");
}

#[tokio::test]
async fn a_server_that_never_greets_was_sent_nothing() {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", socket.local_addr().unwrap());
    let answer = ask(&hasty(endpoint(&url))).await;
    assert!(matches!(answer, Answer::NotSent(_)), "{answer:?}");
}

#[test]
fn what_a_server_says_is_one_short_line_without_secrets() {
    let status = StatusCode::BAD_REQUEST;
    assert_eq!(shown(status, b" no\r\n\x1b[31m labels ", &[]), "HTTP 400 no [31m labels");
    assert_eq!(shown(status, b"pw=a%2Fb a/b", &["a/b"]), "HTTP 400 pw=(secret) (secret)");
    assert_eq!(shown(status, b"", &[""]), "HTTP 400");
    assert!(shown(status, "å".repeat(10_000).as_bytes(), &[]).chars().count() < 300);
}

#[test]
fn a_pause_is_told_in_seconds_or_by_the_servers_clock() {
    let date = http_date("Sun, 06 Nov 1994 08:49:37 GMT");
    assert_eq!(pause("120", date), Some(Duration::from_secs(120)));
    assert_eq!(pause("Sun, 06 Nov 1994 08:50:37 GMT", date), Some(Duration::from_secs(60)));
    assert_eq!(pause("Sun, 06 Nov 1994 08:40:37 GMT", date), None);
    assert_eq!(pause("soon", date), None);
    assert_eq!(pause("99999999999", date), Some(Duration::from_secs(86_400)));
}

#[test]
fn neither_a_secret_nor_an_address_is_printed() {
    assert_eq!(format!("{:?}", Secret("hunter2".into())), "(secret)");
    let client = Client::new(&endpoint("http://127.0.0.1:1/hooks/hunter2")).unwrap();
    assert!(!format!("{client:?}").contains("hunter2"));
}

#[test]
fn what_the_client_knows_to_be_secret_is_not_repeated() {
    let mut endpoint = endpoint("http://127.0.0.1:1/hooks/T000/B000/hunter2?key=x");
    endpoint.bearer_token = Some(Secret("s3cret".into()));
    let client = Client::new(&endpoint).unwrap();
    let said =
        client.said(StatusCode::NOT_FOUND, b"Cannot POST /hooks/T000/B000/hunter2?key=x (Bearer s3cret, pw)", &["pw"]);
    assert_eq!(said, "HTTP 404 Cannot POST (secret) (Bearer (secret), (secret))");
}

/// Many at once, one connection each; the bar of the whole is 1,000 a second.
#[tokio::test]
async fn many_requests_go_out_at_once_over_few_connections() {
    let server = Scripted::start(vec![Turn::answer("200 OK", "", "ok")]).await;
    let endpoint = server.endpoint("/");
    let client = Arc::new(Client::new(&endpoint).unwrap());
    let mut tasks = Vec::new();
    for _ in 0..16 {
        let (client, url) = (Arc::clone(&client), endpoint.url.clone());
        tasks.push(tokio::spawn(async move {
            for _ in 0..50 {
                let answer = client.ask(Request::post(url.clone(), "text/plain", "x")).await;
                assert!(matches!(answer, Answer::Answered { status, .. } if status.is_success()), "{answer:?}");
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(server.requests().len(), 800);
    assert!(server.n_connections() <= 16, "{}", server.n_connections());
}
