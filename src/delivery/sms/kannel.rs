//! Kannel's `sendsms`: everything in the query of a GET, the password too, so that Kannel belongs beside us or behind TLS.

use hyper::{StatusCode, Uri};

use super::{Letter, Outcome, judge};
use crate::clock::{Clock, Timestamp};
use crate::limits::SMS_VALIDITY_MINUTES_MAX;
use crate::outbound::{Answer, Client, Request, Secret, form};

#[derive(Clone, Debug)]
pub struct Settings {
    pub user: String,
    pub password: Secret,
    /// A number or a short name; `None`: what Kannel is set to.
    pub from: Option<String>,
    /// More of Kannel's own: `smsc`, `account`, `priority`.
    pub extras: Vec<(String, String)>,
}

/// Delivered, not delivered, queued, accepted and rejected by the SMSC: all there are.
const EVERY_RECEIPT: &str = "31";

/// What we set ourselves.
const OURS: [&str; 16] = [
    "username", "user", "password", "pass", "from", "to", "text", "charset", "coding", "udh", "validity", "dlr-mask",
    "dlr-url", "dlrmask", "dlrurl", "deferred",
];

impl Settings {
    pub(super) fn check(&self) -> Result<(), String> {
        match self.extras.iter().find(|(name, _)| OURS.contains(&name.as_str())) {
            Some((name, _)) => Err(format!("`{name}` of `extras` is set by Ringfence itself")),
            None => Ok(()),
        }
    }

    pub(super) async fn send(&self, client: &Client, letter: &Letter<'_>) -> Outcome {
        let url = match self.url(client.url(), letter, Clock.now()) {
            Ok(url) => url,
            Err(why) => return Outcome::Never(why),
        };
        match client.ask(Request::get(url)).await {
            Answer::Answered { status, head, .. } => {
                judge_kannel(status, &head, client.said(status, &head, &[&self.password.0]))
            }
            Answer::NotSent(why) => Outcome::Later(why),
            Answer::Unanswered(why) => Outcome::Unknown(why),
        }
    }

    fn url(&self, base: &Uri, letter: &Letter<'_>, now: Timestamp) -> Result<Uri, String> {
        let validity = minutes(letter.parcel.valid_until, now).to_string();
        let mut pairs = vec![
            ("username", self.user.as_str()),
            ("password", self.password.0.as_str()),
            ("to", letter.parcel.address.as_str()),
            ("text", letter.text.as_str()),
            // Of the query; what the phone is sent follows from the coding.
            ("charset", "UTF-8"),
            ("coding", if letter.is_unicode { "2" } else { "0" }),
            ("validity", &validity),
        ];
        pairs.extend(self.from.as_deref().map(|from| ("from", from)));
        // Kannel puts the kind of receipt for %d and what the SMSC said for %A, once it has read the query.
        let receipts = letter.callback.as_ref().map(|callback| format!("{callback}?type=%d&answer=%A"));
        if let Some(receipts) = &receipts {
            pairs.extend([("dlr-mask", EVERY_RECEIPT), ("dlr-url", receipts.as_str())]);
        }
        pairs.extend(self.extras.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let between = if base.query().is_some() { '&' } else { '?' };
        format!("{base}{between}{}", form(&pairs)).parse().map_err(|_| "the message makes no address".to_owned())
    }
}

fn judge_kannel(status: StatusCode, head: &[u8], said: String) -> Outcome {
    let text = String::from_utf8_lossy(head);
    let text = text.trim_start();
    match status.as_u16() {
        // `0: Accepted for delivery`, `3: Queued for later delivery`, and `Sent.` of old ones.
        200..=299 if ["0:", "3:", "Sent"].iter().any(|yes| text.starts_with(yes)) => {
            Outcome::Handed { receipt: String::new() }
        }
        200..=299 => Outcome::Unknown(format!("{said}: Kannel does not say yes like this")),
        // Its word for a number that no SMSC of its takes has the same status as a wrong password.
        403 if text.contains("Not routable") => Outcome::Never(said),
        500 if text.contains("Sending failed") => Outcome::Later(said),
        _ => judge(status, said),
    }
}

/// Left until then, rounded up: Kannel counts minutes.
fn minutes(until: Timestamp, now: Timestamp) -> i64 {
    let ms = until.0.saturating_sub(now.0).max(0);
    (ms / 60_000 + i64::from(ms % 60_000 > 0)).clamp(1, SMS_VALIDITY_MINUTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings { user: "ringfence".into(), password: Secret("a/b c".into()), from: None, extras: Vec::new() }
    }

    #[test]
    fn kannels_words_mean_what_kannel_means_by_them() {
        let judged =
            |status, text: &str| judge_kannel(StatusCode::from_u16(status).unwrap(), text.as_bytes(), text.to_owned());
        for yes in ["0: Accepted for delivery", "3: Queued for later delivery", "Sent.\n"] {
            assert!(matches!(judged(202, yes), Outcome::Handed { .. }), "{yes}");
        }
        assert!(matches!(judged(200, "<html>Welcome to the hotel</html>"), Outcome::Unknown(_)));
        assert!(matches!(judged(202, ""), Outcome::Unknown(_)));
        for no in [(400, "Sender missing and no global set, rejected"), (403, "Not routable. Do not try again.")] {
            assert!(matches!(judged(no.0, no.1), Outcome::Never(_)), "{no:?}");
        }
        for later in [
            (403, "Authorization failed for sendsms"),
            (401, ""),
            (404, "Unknown request."),
            (302, ""),
            (429, ""),
            (500, "Sending failed."),
            (503, "Temporal failure, try again later."),
        ] {
            assert!(matches!(judged(later.0, later.1), Outcome::Later(_)), "{later:?}");
        }
        for lost in [(502, "Bad Gateway"), (504, ""), (500, "oops")] {
            assert!(matches!(judged(lost.0, lost.1), Outcome::Unknown(_)), "{lost:?}");
        }
    }

    #[test]
    fn validity_is_in_whole_minutes_and_never_none() {
        let now = Timestamp(1_000_000);
        for (ms, expected) in [(-5, 1), (0, 1), (1, 1), (60_000, 1), (60_001, 2), (i64::MAX, SMS_VALIDITY_MINUTES_MAX)]
        {
            assert_eq!(minutes(now.plus_ms(ms), now), expected, "{ms}");
        }
    }

    #[test]
    fn extras_do_not_overrule_us() {
        let mut settings = settings();
        settings.extras = vec![("smsc".into(), "a".into())];
        assert_eq!(settings.check(), Ok(()));
        settings.extras.push(("to".into(), "+1".into()));
        assert!(settings.check().is_err());
    }
}
