//! Tells those who want to be told: after each change, what a queue's callers hear now, by a POST of JSON.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::{Announcement, Board, Published, Pushed, QueueSettings, retry_wait};
use crate::clock::Clock;
use crate::incident::{incident_name, message_name};
use crate::notify::Endpoint;

/// Posts JSON once, within its own time-outs. The error says why it was not taken.
pub type Post = Arc<dyn Fn(&Endpoint, Bytes) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> + Send + Sync>;

/// Until `stop` turns true. Each queue is told of by itself, one state after the other; what is not taken is tried again
/// until it is, or until there is something newer to tell. After a start the present state is told once more.
pub async fn push(board: Arc<Board>, post: Post, stop: watch::Receiver<bool>) {
    let mut tasks = JoinSet::new();
    for queue in board.settings().queues.clone() {
        let (board, post, mut stop) = (Arc::clone(&board), Arc::clone(&post), stop.clone());
        if let Some(endpoint) = queue.push.clone() {
            tasks.spawn(async move {
                tokio::select! {
                    () = tell(&board, &queue, &endpoint, &post) => {}
                    _ = stop.wait_for(|stop| *stop) => {}
                }
            });
        }
    }
    tasks.join_all().await;
}

/// For ever.
async fn tell(board: &Board, queue: &QueueSettings, endpoint: &Endpoint, post: &Post) {
    let mut changes = board.changes();
    let (mut told, mut n_failed) = (0, 0u32);
    loop {
        changes.borrow_and_update();
        if let Some(published) = board.queue(&queue.name).filter(|published| published.edition != told) {
            let expiry_s = board.settings().expiry.as_secs();
            let pushed = match post(endpoint, body(&published, expiry_s)).await {
                Ok(()) => {
                    (told, n_failed) = (published.edition, 0);
                    Pushed::Done(Clock.now())
                }
                Err(why) => {
                    n_failed += 1;
                    if n_failed.is_power_of_two() {
                        tracing::error!(queue = queue.name, %why, n_failed, "an announcement was not pushed");
                    }
                    Pushed::Failed(why)
                }
            };
            board.was_pushed(published.edition, &queue.name, pushed);
        }
        tokio::select! {
            _ = changes.changed() => n_failed = 0,
            () = sleep(retry_wait(n_failed)), if n_failed > 0 => {}
        }
    }
}

fn body(published: &Published, expiry_s: u64) -> Bytes {
    let announcement = |a: &Announcement| {
        json!({
            "incident": incident_name(a.incident()), "message": message_name(a.message()), "customer": a.customer(),
            "severity": a.severity().number(), "released": a.released(), "text": a.text(),
        })
    };
    let value = json!({
        "queue": published.queue,
        // Null: withdrawn, or there is nothing.
        "text": Some(&published.text).filter(|text| !text.is_empty()),
        "seconds": published.seconds,
        "since": published.since,
        "expiry_s": expiry_s,
        "announcements": published.said.iter().map(announcement).collect::<Vec<_>>(),
    });
    value.to_string().into()
}
