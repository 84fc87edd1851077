//! Looks at what is served as a telephone system would, and compares it with what was released.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::header::{HOST, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::{Board, Published, ReadBack, retry_wait};
use crate::clock::Clock;
use crate::limits::{ACD_READ_BACK_MS, ACD_TEXT_BYTES_MAX};

/// Fetches each queue's text from this address after every change, until it is what was released, and until `stop` turns
/// true. `told` hears of each change once that it is right, before that at most once that it is not, with the numbers of
/// the messages that are announced; none are where everything was withdrawn. It must not block.
pub async fn read_back(
    board: Arc<Board>,
    address: SocketAddr,
    told: impl Fn(&str, &[i64], Result<(), String>) + Send,
    mut stop: watch::Receiver<bool>,
) {
    let mut changes = board.changes();
    let mut n_failed = 0;
    loop {
        changes.borrow_and_update();
        let looked = tokio::select! {
            n = look_at_all(&board, address, &told, n_failed) => n,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        n_failed = if looked { 0 } else { n_failed + 1 };
        tokio::select! {
            _ = changes.changed() => n_failed = 0,
            () = sleep(retry_wait(n_failed)), if n_failed > 0 => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

/// Those that were not found right yet. Are all right now?
async fn look_at_all(
    board: &Board,
    address: SocketAddr,
    told: &impl Fn(&str, &[i64], Result<(), String>),
    n_failed: u32,
) -> bool {
    let mut are_right = true;
    for queue in &board.settings().queues {
        let Some(published) = board.queue(&queue.name) else { continue };
        let was_wrong = match &published.read_back {
            ReadBack::Good(_) => continue,
            ReadBack::Waiting => false,
            ReadBack::Failed(_) => true,
        };
        let found = fetch(address, &published).await.and_then(|(status, body)| judge(&published, status, &body));
        let outcome = match &found {
            Ok(()) => ReadBack::Good(Clock.now()),
            Err(why) => ReadBack::Failed(why.clone()),
        };
        are_right &= found.is_ok();
        if !board.was_read(published.edition, &queue.name, outcome) {
            continue;
        }
        if let Err(why) = &found
            && (!was_wrong || (n_failed + 1).is_power_of_two())
        {
            tracing::error!(queue = queue.name, %why, "callers may not hear what was released");
        }
        if found.is_ok() || !was_wrong {
            told(&queue.name, &published.messages(), found);
        }
    }
    are_right
}

async fn fetch(address: SocketAddr, published: &Published) -> Result<(StatusCode, Bytes), String> {
    let exchange = async {
        let stream = TcpStream::connect(address).await.map_err(|e| format!("cannot connect to {address}: {e}"))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|e| format!("{address} does not speak HTTP: {e}"))?;
        // It ends with the sender.
        let connection = tokio::spawn(connection);
        let request = Request::get(format!("/acd/{}.txt", published.queue))
            .header(HOST, address.to_string())
            .header(USER_AGENT, concat!("ringfence/", env!("CARGO_PKG_VERSION")))
            .body(Empty::<Bytes>::new())
            .map_err(|e| e.to_string())?;
        let answer = sender.send_request(request).await.map_err(|e| format!("no answer from {address}: {e}"))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ACD_TEXT_BYTES_MAX).collect().await;
        let body = body.map_err(|e| format!("the answer of {address} cannot be read: {e}"))?.to_bytes();
        connection.abort();
        Ok((status, body))
    };
    let wait = Duration::from_millis(ACD_READ_BACK_MS);
    timeout(wait, exchange).await.unwrap_or_else(|_| Err(format!("no answer from {address} in {wait:?}")))
}

fn judge(published: &Published, status: StatusCode, body: &[u8]) -> Result<(), String> {
    let is_said = !published.text.is_empty();
    match status {
        StatusCode::OK if is_said => {
            let is_it = body.strip_suffix(b"\n") == Some(published.text.as_bytes());
            is_it.then_some(()).ok_or_else(|| "the text that is served is not the one that was released".to_owned())
        }
        StatusCode::NOT_FOUND if !is_said && body.is_empty() => Ok(()),
        StatusCode::OK => Err("a text is served, though nothing is to be announced".to_owned()),
        status if is_said => Err(format!("HTTP {}, not the released text", status.as_u16())),
        status => Err(format!("HTTP {}, not the answer that says that nothing is announced", status.as_u16())),
    }
}
