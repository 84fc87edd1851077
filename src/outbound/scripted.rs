//! A server for tests that answers each connection by a script, and keeps what it was asked.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use hyper::Uri;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{Endpoint, Secret};

/// What one connection brings.
#[derive(Clone)]
pub(crate) enum Turn {
    /// This, once a whole request has come; then on to the next turn on the same connection.
    Say(Vec<u8>),
    /// This, and the connection is closed.
    Last(Vec<u8>),
    /// The request is read, and nothing is ever said.
    Silence,
    /// Closed as soon as it is open.
    HangUp,
}

impl Turn {
    pub(crate) fn answer(status: &str, headers: &str, body: &str) -> Turn {
        let length = body.len();
        Turn::Say(format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\n\r\n{body}").into_bytes())
    }
}

pub(crate) struct Scripted {
    pub(crate) url: String,
    requests: Arc<Mutex<Vec<String>>>,
    n_connections: Arc<AtomicUsize>,
}

impl Scripted {
    /// Takes the turns in order, whatever connection they come by; the last one for ever.
    pub(crate) async fn start(turns: Vec<Turn>) -> Scripted {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", socket.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let n_connections = Arc::new(AtomicUsize::new(0));
        let accepted = Arc::clone(&n_connections);
        let (seen, next) = (Arc::clone(&requests), Arc::new(Mutex::new(0)));
        tokio::spawn(async move {
            while let Ok((stream, _)) = socket.accept().await {
                accepted.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(serve(stream, turns.clone(), Arc::clone(&next), Arc::clone(&seen)));
            }
        });
        Scripted { url, requests, n_connections }
    }

    pub(crate) fn n_connections(&self) -> usize {
        self.n_connections.load(Ordering::Relaxed)
    }

    /// Whole requests, heads and bodies.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    pub(crate) fn endpoint(&self, path: &str) -> Endpoint {
        endpoint(&format!("{}{path}", self.url))
    }
}

pub(crate) fn endpoint(url: &str) -> Endpoint {
    Endpoint {
        url: url.parse::<Uri>().unwrap(),
        connect_timeout: std::time::Duration::from_secs(5),
        request_timeout: std::time::Duration::from_secs(5),
        bearer_token: None::<Secret>,
        ca_file: None,
    }
}

async fn serve(mut stream: TcpStream, turns: Vec<Turn>, next: Arc<Mutex<usize>>, seen: Arc<Mutex<Vec<String>>>) {
    loop {
        let turn = {
            let next = next.lock().unwrap();
            turns.get(*next).or(turns.last()).cloned().unwrap()
        };
        let pass = || *next.lock().unwrap() += 1;
        if matches!(turn, Turn::HangUp) {
            return pass();
        }
        let Some(request) = read(&mut stream).await else { return };
        seen.lock().unwrap().push(request);
        pass();
        match turn {
            Turn::Say(bytes) => stream.write_all(&bytes).await.unwrap_or_default(),
            Turn::Last(bytes) => return stream.write_all(&bytes).await.unwrap_or_default(),
            Turn::Silence => std::future::pending().await,
            Turn::HangUp => return,
        }
    }
}

async fn read(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let n = stream.read_buf(&mut bytes).await.ok()?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|l| l.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return Some(text);
            }
        }
        if n == 0 {
            return None;
        }
    }
}
