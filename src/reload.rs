//! Who may ask that rules and settings are read again, and what came of it.
//!
//! A handle to whoever does it, for signals, the API and the watch over files alike. What is in force, and whether what lies
//! in the files is something else that cannot be used, is told from here.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, bounded};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::limits::{RELOAD_WAIT_MS, RELOADS_MAX};

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asker {
    /// Files changed.
    Files,
    /// SIGHUP.
    Signal,
    /// Somebody, by the API, and from where.
    Person { name: String, from: String },
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Other rules are in force.
    Done,
    /// The files are what is in force.
    #[default]
    Unchanged,
    /// What is there cannot be used: what was in force stays.
    Refused,
    /// Settings changed that are read at the start only: what was in force stays.
    NeedsRestart,
    /// It could not be done: what was in force stays.
    Failed,
}

impl Outcome {
    /// As in the metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Done => "done",
            Outcome::Unchanged => "unchanged",
            Outcome::Refused => "refused",
            Outcome::NeedsRestart => "needs_restart",
            Outcome::Failed => "failed",
        }
    }

    /// The files are in force.
    pub fn is_good(self) -> bool {
        matches!(self, Outcome::Done | Outcome::Unchanged)
    }
}

/// What a reload did, or why it did nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Report {
    pub outcome: Outcome,
    /// When it ended, RFC 3339.
    pub at: String,
    /// Who asked: `files`, `signal`, or a name.
    pub by: String,
    /// Version of the rules that are in force now, and of those that were.
    pub version: String,
    pub version_before: String,
    /// Rules that count on from what they have counted.
    pub kept: u64,
    /// Rules that count on, and may count too little for a while: a level was raised beyond what was kept.
    pub warming: Vec<String>,
    /// Rules that begin anew, for `on`, `where`, `measure`, `per` or `window` changed: told of the past from the archive.
    pub restarted: Vec<String>,
    /// Rules that are new: told of the past from the archive.
    pub added: Vec<String>,
    /// Rules that are gone. Their open alerts have ended.
    pub gone: Vec<String>,
    /// Why nothing was changed, each with its place where it has one.
    pub problems: Vec<String>,
    /// What else should be known: warnings, and what only a restart changes.
    pub notes: Vec<String>,
    /// How long calls waited at the most, in microseconds.
    pub pause_us: u64,
    /// How long all of it took, in milliseconds.
    pub took_ms: u64,
}

/// What is in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Standing {
    pub version: String,
    /// The files hold something else that is not in force, and `problems` says why.
    pub is_stale: bool,
    pub problems: Vec<String>,
    /// The last reload, where there was one.
    pub last: Option<Report>,
}

/// What somebody asked for.
#[derive(Debug)]
pub struct Asked {
    pub by: Asker,
    /// Who wants to know what came of it.
    pub reply: Option<Sender<Report>>,
}

/// A handle, cheap to clone. See the module.
#[derive(Clone, Debug)]
pub struct Reloads {
    ask: Sender<Asked>,
    standing: Arc<Mutex<Standing>>,
}

impl Reloads {
    /// The handle, and the end at which whoever does the work takes what is asked.
    pub fn new(version: &str) -> (Reloads, Receiver<Asked>) {
        let (ask, asked) = bounded(RELOADS_MAX);
        let standing = Standing { version: version.to_owned(), ..Standing::default() };
        (Reloads { ask, standing: Arc::new(Mutex::new(standing)) }, asked)
    }

    /// Has it done and waits for it; `None` where it takes too long, or too many ask. Blocks.
    pub fn order(&self, by: Asker) -> Option<Report> {
        let (reply, report) = bounded(1);
        self.ask.try_send(Asked { by, reply: Some(reply) }).ok()?;
        report.recv_timeout(Duration::from_millis(RELOAD_WAIT_MS)).ok()
    }

    /// Has it done; the log tells what came of it.
    pub fn ask(&self, by: Asker) {
        // Where too many have asked, it is about to be done.
        drop(self.ask.try_send(Asked { by, reply: None }));
    }

    pub fn standing(&self) -> Standing {
        self.standing.lock().unwrap_or_else(|e| e.into_inner()).clone()
    }

    /// What came of one.
    pub fn told(&self, report: &Report) {
        let mut standing = self.standing.lock().unwrap_or_else(|e| e.into_inner());
        standing.version.clone_from(&report.version);
        standing.is_stale = !report.outcome.is_good();
        standing.problems.clone_from(&report.problems);
        standing.last = Some(report.clone());
    }
}

impl Report {
    pub fn new(by: &Asker, at: Timestamp) -> Report {
        let by = match by {
            Asker::Files => "files".to_owned(),
            Asker::Signal => "signal".to_owned(),
            Asker::Person { name, .. } => name.clone(),
        };
        Report { by, at: at.to_string(), ..Report::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_refused_is_stale_until_something_is_good_again() {
        let (reloads, asked) = Reloads::new("abc1234");
        reloads.ask(Asker::Signal);
        assert_eq!(asked.try_recv().expect("it was asked for").by, Asker::Signal);
        let report = |outcome| Report { outcome, version: "abc1234".to_owned(), ..Report::default() };
        for (outcome, is_stale) in
            [(Outcome::Refused, true), (Outcome::Unchanged, false), (Outcome::NeedsRestart, true)]
        {
            reloads.told(&report(outcome));
            assert_eq!(reloads.standing().is_stale, is_stale, "{outcome:?}");
        }
    }
}
