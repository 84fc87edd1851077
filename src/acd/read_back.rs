//! Looks at what is served as a telephone system would, and compares it with what was released.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::{StatusCode, Uri};
use tokio::sync::watch;
use tokio::time::sleep;

use super::{Board, Published, ReadBack, retry_wait};
use crate::clock::Clock;
use crate::limits::{ACD_READ_BACK_MS, ACD_SAID_MAX, KIT_FORM_BYTES_MAX, OUTBOUND_ANSWER_BYTES_MAX};
use crate::outbound::{Answer, Client, Endpoint, Request};

/// A text is read whole.
const _: () = assert!(ACD_SAID_MAX * (KIT_FORM_BYTES_MAX + 2) < OUTBOUND_ANSWER_BYTES_MAX);

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
        let are_right = tokio::select! {
            are_right = look_at_all(&board, address, &told, n_failed) => are_right,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        n_failed = if are_right { 0 } else { n_failed + 1 };
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
        let found = look(address, &published).await;
        let outcome = match &found {
            Ok(()) => ReadBack::Good(Clock.now()),
            Err(why) => ReadBack::Failed(why.clone()),
        };
        if !board.was_read(published.edition, &queue.name, outcome) {
            // It changed meanwhile, and is looked at again.
            continue;
        }
        are_right &= found.is_ok();
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

async fn look(address: SocketAddr, published: &Published) -> Result<(), String> {
    let url = format!("http://{address}/acd/{}.txt", published.queue);
    let url: Uri = url.parse().map_err(|e| format!("{url}: {e}"))?;
    let wait = Duration::from_millis(ACD_READ_BACK_MS);
    let endpoint =
        Endpoint { url: url.clone(), connect_timeout: wait, request_timeout: wait, bearer_token: None, ca_file: None };
    // A connection of its own each time: what it finds is what the next caller finds.
    match Client::new(&endpoint)?.ask(Request::get(url)).await {
        Answer::Answered { status, head, .. } => judge(published, status, &head),
        Answer::NotSent(why) | Answer::Unanswered(why) => Err(format!("no answer from {address}: {why}")),
    }
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
