//! Whether mail works: a small mail now and then, and what became of it.
//!
//! [`Pulse`] decides and knows no clock; [`Canary::run`] sends, and where it is given the folder of the mailbox that the
//! mail ends up in, waits for it there: a relay that takes everything and delivers nothing is down.
//!
//! The mailbox must be one that nobody else reads. Canaries that are found there are removed, late ones and those of
//! earlier runs too: at one a minute they would otherwise fill it, and looking would take ever longer. What else lies
//! there is left alone. Only mails with the site's own mark are canaries, so that two installations may share a mailbox.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lettre::Address;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::watch;
use tokio::time::sleep;

use super::Mail;
use crate::clock::{Clock, Timestamp};
use crate::delivery::{Outcome, Parcel};
use crate::limits::{CANARY_AGAIN_MS, CANARY_FAILURES, CANARY_INBOX_FILES_MAX, CANARY_LOOK_MS, CANARY_MAIL_BYTES_MAX};
use crate::outbound::hex;
use crate::storage::Disk;

#[derive(Clone, Debug)]
pub struct CanarySettings {
    pub to: Address,
    pub every: Duration,
    /// A mail that took longer to arrive did not.
    pub late_after: Duration,
    /// Maildir of `to`; `None`: that the server takes it must do.
    pub inbox: Option<PathBuf>,
}

/// What is known of the way by mail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum MailHealth {
    /// Nothing came of it yet.
    #[default]
    Unknown,
    Up,
    /// `since`: when the first canary failed of those that did in a row.
    Down {
        since: Timestamp,
        why: String,
    },
}

/// Judges canaries one after the other. Pure.
#[derive(Clone, Debug, Default)]
pub struct Pulse {
    health: MailHealth,
    n_failed: u32,
    first_failed: Timestamp,
}

impl Pulse {
    /// What became of a canary, and when that was known.
    pub fn feed(&mut self, came: Result<(), String>, at: Timestamp) -> &MailHealth {
        match came {
            Ok(()) => *self = Pulse { health: MailHealth::Up, ..Pulse::default() },
            Err(why) => {
                if self.n_failed == 0 {
                    self.first_failed = at;
                }
                self.n_failed = self.n_failed.saturating_add(1);
                if self.n_failed >= CANARY_FAILURES {
                    self.health = MailHealth::Down { since: self.first_failed, why };
                }
            }
        }
        &self.health
    }

    /// One more failure decides: there is no use in waiting for the usual time.
    pub fn is_in_doubt(&self) -> bool {
        (1..CANARY_FAILURES).contains(&self.n_failed)
    }
}

/// Sends canaries and tells whether mail works.
#[derive(Debug)]
pub struct Canary {
    mail: Arc<Mail>,
    settings: CanarySettings,
    /// Files of the inbox that are nobody's canary; they are not read again.
    passed: HashSet<PathBuf>,
}

impl Canary {
    /// Until `stop` is true. `health` changes where the judgement does.
    pub async fn run(
        mail: Arc<Mail>,
        settings: CanarySettings,
        health: watch::Sender<MailHealth>,
        mut stop: watch::Receiver<bool>,
    ) {
        let mut canary = Canary { mail, settings, passed: HashSet::new() };
        tokio::select! {
            () = canary.sing(&health) => {}
            // Whoever could say stop is gone: so is the reason to go on.
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }

    async fn sing(&mut self, health: &watch::Sender<MailHealth>) {
        let mut pulse = Pulse::default();
        loop {
            let began = Clock.monotonic();
            let came = self.try_one().await;
            let now = pulse.feed(came, Clock.now()).clone();
            health.send_if_modified(|known| {
                let is_new = *known != now;
                if is_new {
                    tell(known, &now);
                    *known = now;
                }
                is_new
            });
            let again = Duration::from_millis(CANARY_AGAIN_MS);
            let wait = if pulse.is_in_doubt() { again.min(self.settings.every) } else { self.settings.every };
            // Counted from the beginning, so that a slow one does not make them seldom; with a rest in any case.
            sleep(wait.saturating_sub(began.elapsed()).max(again.min(wait))).await;
        }
    }

    /// One mail and what became of it.
    async fn try_one(&mut self) -> Result<(), String> {
        let mark = format!("CANARY-{}-", self.mail.site());
        let token = random().map_err(|e| format!("no canary: {e}"))?;
        let parcel = self.parcel(format!("{mark}{token}"));
        match (self.mail.send(&parcel).await, self.settings.inbox.clone()) {
            (Outcome::Handed { .. }, None) => Ok(()),
            (Outcome::Unknown(why), None) | (Outcome::Later(why) | Outcome::Never(why), _) => Err(why),
            (Outcome::Handed { .. } | Outcome::Unknown(_), Some(inbox)) => self.arrival(inbox, mark, parcel.name).await,
        }
    }

    fn parcel(&self, name: String) -> Parcel {
        let now = Clock.now();
        let late_ms = i64::try_from(self.settings.late_after.as_millis()).unwrap_or(i64::MAX);
        Parcel {
            name,
            customer: String::new(),
            incident: String::new(),
            message: None,
            kit: "canary".into(),
            severity: 4,
            is_end: false,
            person: String::new(),
            address: self.settings.to.to_string(),
            subject: "Ringfence checks that mail works".into(),
            text: format!("Sent at {now} to see whether mail arrives. Nobody needs to do anything."),
            link: None,
            queued: now,
            valid_until: now.plus_ms(late_ms),
        }
    }

    /// Looks until the mail is there or late.
    async fn arrival(&mut self, inbox: PathBuf, mark: String, name: String) -> Result<(), String> {
        let began = Clock.monotonic();
        loop {
            let passed = std::mem::take(&mut self.passed);
            let (folder, mark, name) = (inbox.clone(), mark.clone(), name.clone());
            let looked = tokio::task::spawn_blocking(move || look(&folder, &mark, &name, passed)).await;
            let looked = looked.map_err(|e| format!("cannot look into the inbox: {e}"))?;
            let seen = looked.map_err(|e| format!("cannot look into the inbox {}: {e}", inbox.display()))?;
            self.passed = seen.passed;
            if seen.is_there {
                return Ok(());
            }
            if began.elapsed() >= self.settings.late_after {
                let full = match seen.is_cut {
                    true => {
                        format!("; its folders hold more than {CANARY_INBOX_FILES_MAX} mails, so not all were read")
                    }
                    false => String::new(),
                };
                let (folder, late) = (inbox.display(), self.settings.late_after);
                return Err(format!("taken by the server, and not in the inbox {folder} after {late:?}{full}"));
            }
            sleep(Duration::from_millis(CANARY_LOOK_MS)).await;
        }
    }
}

fn tell(known: &MailHealth, now: &MailHealth) {
    match (known, now) {
        (_, MailHealth::Up) => tracing::info!("mail works"),
        (MailHealth::Down { .. }, MailHealth::Down { .. }) => {}
        (_, MailHealth::Down { since, why }) => tracing::error!(%since, why, "mail is down"),
        (_, MailHealth::Unknown) => {}
    }
}

/// What nobody outside can guess, so that nobody can make a canary of it.
fn random() -> io::Result<String> {
    let mut bytes = [0u8; 8];
    SystemRandom::new().fill(&mut bytes).map_err(|_| io::Error::other("the system gives no random numbers"))?;
    Ok(hex(&bytes))
}

#[derive(Debug, Default)]
struct Seen {
    is_there: bool,
    /// There were more files than are looked at.
    is_cut: bool,
    passed: HashSet<PathBuf>,
}

/// Looks for a canary in a Maildir, and removes it and its kind.
fn look(inbox: &Path, mark: &str, name: &str, passed: HashSet<PathBuf>) -> io::Result<Seen> {
    let mut seen = Seen::default();
    for folder in ["new", "cur"] {
        for (n, entry) in std::fs::read_dir(inbox.join(folder))?.enumerate() {
            if n >= CANARY_INBOX_FILES_MAX {
                seen.is_cut = true;
                break;
            }
            let path = entry?.path();
            if passed.contains(&path) {
                seen.passed.insert(path);
                continue;
            }
            // It may go while we look; and what is no file, a pipe say, is not opened.
            let is_file = std::fs::symlink_metadata(&path).is_ok_and(|m| m.is_file());
            let Some(text) = is_file.then(|| start_of(&path)).and_then(Result::ok) else { continue };
            if memchr::memmem::find(&text, mark.as_bytes()).is_none() {
                seen.passed.insert(path);
                continue;
            }
            seen.is_there |= memchr::memmem::find(&text, name.as_bytes()).is_some();
            if let Err(e) = Disk::real().remove(&path) {
                tracing::warn!(path = %path.display(), error = %e, "cannot remove a canary from its inbox");
                seen.passed.insert(path);
            }
        }
    }
    Ok(seen)
}

/// The mark stands in the headers.
fn start_of(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?.take(CANARY_MAIL_BYTES_MAX).read_to_end(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fed(came: &[(i64, Result<(), &str>)]) -> MailHealth {
        let mut pulse = Pulse::default();
        let mut health = MailHealth::default();
        for (at, came) in came {
            health = pulse.feed(came.map_err(str::to_owned), Timestamp(*at)).clone();
        }
        health
    }

    fn down(since: i64, why: &str) -> MailHealth {
        MailHealth::Down { since: Timestamp(since), why: why.into() }
    }

    #[test]
    fn one_failure_is_a_doubt_and_two_in_a_row_are_down_since_the_first() {
        assert_eq!(fed(&[]), MailHealth::Unknown);
        assert_eq!(fed(&[(1, Err("a"))]), MailHealth::Unknown);
        assert_eq!(fed(&[(1, Ok(())), (2, Err("a"))]), MailHealth::Up);
        assert_eq!(fed(&[(1, Ok(())), (2, Err("a")), (3, Err("b"))]), down(2, "b"));
        assert_eq!(fed(&[(1, Err("a")), (2, Ok(())), (3, Err("b"))]), MailHealth::Up);
        assert_eq!(fed(&[(2, Err("a")), (3, Err("b")), (4, Err("c"))]), down(2, "c"));
    }

    #[test]
    fn one_success_is_up() {
        assert_eq!(fed(&[(1, Ok(()))]), MailHealth::Up);
        assert_eq!(fed(&[(2, Err("a")), (3, Err("b")), (4, Ok(()))]), MailHealth::Up);
        assert_eq!(fed(&[(2, Err("a")), (3, Err("b")), (4, Ok(())), (5, Err("c"))]), MailHealth::Up);
    }

    #[test]
    fn only_a_doubt_is_settled_soon() {
        let mut pulse = Pulse::default();
        assert!(!pulse.is_in_doubt());
        pulse.feed(Err("a".into()), Timestamp(1));
        assert!(pulse.is_in_doubt());
        pulse.feed(Err("a".into()), Timestamp(2));
        assert!(!pulse.is_in_doubt());
    }

    fn inbox(mails: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for below in ["new", "cur", "tmp"] {
            std::fs::create_dir(folder.path().join(below)).expect("creates");
        }
        for (name, text) in mails {
            std::fs::write(folder.path().join(name), text).expect("writes");
        }
        folder
    }

    #[test]
    fn a_canary_is_found_read_or_unread_and_removed_with_its_like_and_others_stay() {
        let folder = inbox(&[
            ("new/1", "Message-ID: <CANARY-s-1.s@x>\r\n\r\nhello"),
            ("cur/2:2,S", "X-Ringfence-Delivery: CANARY-s-2\r\n\r\nhello"),
            ("new/3", "X-Ringfence-Delivery: CANARY-other-2\r\n\r\nhello"),
            ("cur/4:2,", "Subject: lunch?\r\n\r\nhello"),
        ]);
        let seen = look(folder.path(), "CANARY-s-", "CANARY-s-2", HashSet::new()).expect("looks");
        assert!(seen.is_there && !seen.is_cut);
        let left = |name: &str| folder.path().join(name).exists();
        assert_eq!([left("new/1"), left("cur/2:2,S"), left("new/3"), left("cur/4:2,")], [false, false, true, true]);
        let again = look(folder.path(), "CANARY-s-", "CANARY-s-2", seen.passed).expect("looks");
        assert!(!again.is_there && again.passed.len() == 2);
    }

    #[test]
    fn an_inbox_that_is_none_or_holds_strange_things_is_no_arrival() {
        let folder = inbox(&[]);
        assert!(look(&folder.path().join("none"), "m", "m1", HashSet::new()).is_err());
        std::fs::create_dir(folder.path().join("new/folder")).expect("creates");
        std::os::unix::fs::symlink("/dev/zero", folder.path().join("new/link")).expect("links");
        let seen = look(folder.path(), "m", "m1", HashSet::new()).expect("looks");
        assert!(!seen.is_there && seen.passed.is_empty());
    }

    #[test]
    fn looking_ends_however_much_there_is() {
        let folder = inbox(&[]);
        for n in 0..=CANARY_INBOX_FILES_MAX {
            std::fs::write(folder.path().join(format!("new/{n}")), "x").expect("writes");
        }
        let seen = look(folder.path(), "m", "m1", HashSet::new()).expect("looks");
        assert!(seen.is_cut && seen.passed.len() == CANARY_INBOX_FILES_MAX);
    }
}
