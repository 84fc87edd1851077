//! What callers of each queue hear.

use super::call::{Call, Reply, short};
use super::operation::Operation;
use super::problem::Problem;
use super::wire::{AnnouncementView, LeftOutView, QueueList, QueueView};
use crate::acd::{Announcement, Published, Pushed, QueueSettings, ReadBack, Recording};
use crate::incident::{incident_name, message_name};

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/acd", "list_announcements", "What callers of each queue hear", list).gives::<QueueList>(),
        Operation::get("/acd/{queue}", "show_announcement", "What callers of one queue hear", show)
            .gives::<QueueView>(),
    ]
}

fn list(call: &Call<'_>) -> Result<Reply, Problem> {
    let queues = call.office.acd.settings().queues.iter().map(|queue| view(call, queue)).collect();
    Ok(Reply::json(&QueueList { queues }))
}

fn show(call: &Call<'_>) -> Result<Reply, Problem> {
    let name = call.param("queue");
    let queues = &call.office.acd.settings().queues;
    let queue = queues.iter().find(|queue| queue.name == name).ok_or_else(|| {
        let known: Vec<&str> = queues.iter().take(20).map(|queue| queue.name.as_str()).collect();
        Problem::NotFound(format!("there is no queue `{}`; there are {}", short(name), known.join(", ")))
    })?;
    Ok(Reply::json(&view(call, queue)))
}

fn view(call: &Call<'_>, queue: &QueueSettings) -> QueueView {
    let board = &call.office.acd;
    let published = board.queue(&queue.name);
    let unknown = QueueView {
        queue: queue.name.clone(),
        customers: queue.customers.clone(),
        is_known: false,
        text: None,
        seconds: 0.0,
        since: None,
        expiry_s: board.settings().expiry.as_secs(),
        announcements: Vec::new(),
        left_out: Vec::new(),
        left_out_count: 0,
        recording: "off".to_owned(),
        recording_why: None,
        read_back: "waiting".to_owned(),
        read_back_at: None,
        read_back_why: None,
        push: "off".to_owned(),
        push_at: None,
        push_why: None,
    };
    published.map_or(unknown.clone(), |published| known(unknown, &published))
}

fn known(unknown: QueueView, published: &Published) -> QueueView {
    let (recording, recording_why) = match &published.recording {
        Recording::Off => ("off", None),
        Recording::Waiting => ("waiting", None),
        Recording::Ready => ("ready", None),
        Recording::Failed(why) => ("failed", Some(why.clone())),
    };
    let (read_back, read_back_at, read_back_why) = match &published.read_back {
        ReadBack::Waiting => ("waiting", None, None),
        ReadBack::Good(at) => ("good", Some(at.to_string()), None),
        ReadBack::Failed(why) => ("failed", None, Some(why.clone())),
    };
    let (push, push_at, push_why) = match &published.pushed {
        Pushed::Off => ("off", None, None),
        Pushed::Waiting => ("waiting", None, None),
        Pushed::Done(at) => ("done", Some(at.to_string()), None),
        Pushed::Failed(why) => ("failed", None, Some(why.clone())),
    };
    let left_out = |(a, why): &(Announcement, _)| {
        let why: &crate::acd::Unsaid = why;
        LeftOutView { announcement: announcement(a), why: why.text() }
    };
    QueueView {
        is_known: true,
        text: Some(published.text.clone()).filter(|text| !text.is_empty()),
        // To the tenth: more is not known of how fast somebody speaks.
        seconds: (published.seconds * 10.0).round() / 10.0,
        since: Some(published.since.to_string()),
        announcements: published.said.iter().map(announcement).collect(),
        left_out: published.left_out.iter().map(left_out).collect(),
        left_out_count: published.n_left_out as u64,
        recording: recording.to_owned(),
        recording_why,
        read_back: read_back.to_owned(),
        read_back_at,
        read_back_why,
        push: push.to_owned(),
        push_at,
        push_why,
        ..unknown
    }
}

fn announcement(a: &Announcement) -> AnnouncementView {
    AnnouncementView {
        incident: incident_name(a.incident()),
        message: message_name(a.message()),
        customer: a.customer().to_owned(),
        severity: a.severity().number(),
        severity_word: a.severity().word().to_owned(),
        released: a.released().to_string(),
        text: a.text().to_owned(),
    }
}
