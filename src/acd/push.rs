//! Tells those who want to be told: after each change, what a queue's callers hear now, by a POST of JSON.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::{Announcement, Board, Published, Pushed, QueueSettings, retry_wait};
use crate::clock::Clock;
use crate::incident::{incident_name, message_name};
use crate::outbound::{Answer, Client, Endpoint, Request, Secret, shown};

/// One that wants to be told of a queue.
#[derive(Debug)]
pub(super) struct Listener {
    queue: String,
    client: Client,
    token: Option<Secret>,
}

/// Until `stop` turns true. Each queue is told of by itself, one state after the other; what is not taken is tried again
/// until it is, or until there is something newer to tell. After a start the present state is told once more.
pub async fn push(board: Arc<Board>, stop: watch::Receiver<bool>) {
    let mut tasks = JoinSet::new();
    for listener in board.listeners() {
        let (board, listener, mut stop) = (Arc::clone(&board), Arc::clone(listener), stop.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = listener.tell(&board) => {}
                _ = stop.wait_for(|stop| *stop) => {}
            }
        });
    }
    tasks.join_all().await;
}

impl Listener {
    /// Those of the settings. An error: one cannot be asked as it is set up.
    pub(super) fn all(queues: &[QueueSettings]) -> Result<Vec<Arc<Listener>>, String> {
        let wanted = queues.iter().filter_map(|queue| Some((queue.name.clone(), queue.push.as_ref()?)));
        let listener = |(queue, endpoint): (String, &Endpoint)| {
            let client = Client::new(endpoint).map_err(|why| format!("acd.queue.{queue}.push: {why}"))?;
            Ok(Arc::new(Listener { queue, client, token: endpoint.bearer_token.clone() }))
        };
        wanted.map(listener).collect()
    }

    /// For ever.
    async fn tell(&self, board: &Board) {
        let mut changes = board.changes();
        let (mut told, mut n_failed) = (0, 0u32);
        loop {
            changes.borrow_and_update();
            if let Some(published) = board.queue(&self.queue).filter(|published| published.edition != told) {
                let pushed = match self.post(body(&published, board.settings().expiry.as_secs())).await {
                    Ok(()) => {
                        (told, n_failed) = (published.edition, 0);
                        Pushed::Done(Clock.now())
                    }
                    Err(why) => {
                        n_failed += 1;
                        if n_failed.is_power_of_two() {
                            tracing::error!(queue = self.queue, %why, n_failed, "an announcement was not pushed");
                        }
                        Pushed::Failed(why)
                    }
                };
                board.was_pushed(published.edition, &self.queue, pushed);
            }
            tokio::select! {
                _ = changes.changed() => n_failed = 0,
                () = sleep(retry_wait(n_failed)), if n_failed > 0 => {}
            }
        }
    }

    /// Once. Whether it may have been taken all the same does not matter: the same state twice is one state.
    async fn post(&self, body: Bytes) -> Result<(), String> {
        let request = Request::post(self.client.url().clone(), "application/json", body);
        match self.client.ask(request).await {
            Answer::Answered { status, .. } if status.is_success() => Ok(()),
            Answer::Answered { status, head, .. } => {
                let secrets: Vec<&str> = self.token.iter().map(|Secret(token)| token.as_str()).collect();
                Err(shown(status, &head, &secrets))
            }
            Answer::NotSent(why) | Answer::Unanswered(why) => Err(why),
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
