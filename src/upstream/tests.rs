//! Receivers with a real store: what they heard is in the inbox of the incident book once, whatever is sent again.

use proptest::prelude::*;

use super::*;
use crate::store::Inbox;

const NOW: Timestamp = Timestamp(1_767_225_600_000);

pub(super) fn settings() -> Settings {
    Settings {
        name: "noc".to_owned(),
        customer: "acme".to_owned(),
        token: Secret("s3cret".to_owned()),
        critical: ["critical", "page", "error", "disaster"].map(str::to_owned).to_vec(),
        ignored_labels: vec!["replica".to_owned()],
    }
}

/// A receiver and its store.
struct Noc {
    receiver: Receiver,
    _folder: tempfile::TempDir,
}

impl Noc {
    fn open() -> Noc {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(folder.path()).unwrap().0);
        Noc { receiver: Receiver::new(settings(), store), _folder: folder }
    }

    /// An alert of a webhook, with times as seconds to [`NOW`]; how much of it was new.
    fn hear(&self, name: &str, starts: Option<i64>, over: Option<i64>, now: i64) -> usize {
        let (fingerprint, key) = heard::identity(&[("alertname", name)]);
        let at = |seconds: i64| NOW.plus_ms(seconds * 1000);
        let alert = Heard {
            fingerprint,
            key,
            group: Some(name.to_owned()),
            what: "disk is full".to_owned(),
            is_critical: name.starts_with('C'),
            starts: starts.map(at),
            ended: over.map(at),
        };
        self.receiver.take(&[alert], at(now)).unwrap()
    }

    /// What the book finds: `+` for an alert, `-` for an end, with the second from [`NOW`].
    fn inbox(&self) -> Vec<String> {
        self.receiver.store.flush().unwrap();
        let second = |at: Timestamp| (at.0 - NOW.0) / 1000;
        let show = |(_, inbox): &(i64, Inbox)| match inbox {
            Inbox::Violation(v) => format!("+{} {} {} {}", v.rule, v.group, v.level, second(v.time)),
            Inbox::Closed(c) => format!("-{} {:?} {}", c.rule, c.key.0, second(c.time)),
        };
        self.receiver.store.inbox(0, 0).unwrap().rows.iter().map(show).collect()
    }

    fn marks(&self) -> String {
        self.inbox().iter().map(|row| row.get(..1).unwrap_or_default().to_owned()).collect()
    }
}

#[test]
fn an_alert_that_is_sent_again_changes_nothing_and_one_that_comes_back_is_new() {
    let noc = Noc::open();
    assert_eq!(noc.hear("Cpu", Some(-60), None, 0), 1);
    for minute in 1..5 {
        assert_eq!(noc.hear("Cpu", Some(-60), None, minute * 60), 0);
    }
    assert_eq!(noc.hear("Cpu", Some(-60), Some(300), 301), 1);
    assert_eq!(noc.hear("Cpu", Some(-60), Some(300), 400), 0);
    // A copy that was under way.
    assert_eq!(noc.hear("Cpu", Some(-60), None, 310), 0);
    assert_eq!(noc.hear("Cpu", Some(500), None, 500), 1);
    assert_eq!(
        noc.inbox(),
        [
            "+upstream:noc Cpu critical -60",
            "-upstream:noc [(\"alertname\", \"Cpu\")] 300",
            "+upstream:noc Cpu critical 500",
        ]
    );
}

#[test]
fn without_a_start_the_time_that_it_fires_is_known_by_what_is_on_record() {
    let noc = Noc::open();
    for (over, now) in [(None, 0), (None, 5), (Some(10), 10), (Some(11), 11), (None, 12), (None, 13), (Some(14), 14)] {
        noc.hear("Disk", None, over, now);
    }
    assert_eq!(noc.marks(), "+-+-");
    assert_eq!(noc.hear("Other", None, Some(1), 1), 0, "nobody knows of it");
}

#[test]
fn an_end_that_comes_before_its_beginning_is_still_its_end() {
    let noc = Noc::open();
    assert_eq!(noc.hear("Disk", Some(0), Some(5), 6), 1);
    assert_eq!(noc.hear("Disk", Some(0), None, 7), 0);
    assert_eq!(noc.marks(), "-");
    // Half an hour later it is no copy any more.
    assert_eq!(noc.hear("Disk", Some(0), None, 1800), 1);
    assert_eq!(noc.marks(), "-+");
    // The end of the first time comes once more; then that of the second.
    assert_eq!(noc.hear("Disk", Some(0), Some(5), 1801), 0);
    assert_eq!(noc.hear("Disk", Some(0), Some(1900), 1901), 1);
    assert_eq!(noc.marks(), "-+-");
}

#[test]
fn an_end_that_was_missed_is_made_up_for_by_the_next_time() {
    let noc = Noc::open();
    noc.hear("Disk", Some(0), None, 1);
    assert_eq!(noc.hear("Disk", Some(50), None, 60), 1);
    assert_eq!(noc.hear("Disk", Some(20), Some(30), 61), 0, "of a time between");
    assert_eq!(noc.hear("Disk", Some(90), Some(95), 96), 2, "of one that nobody heard of, and of what it followed");
    assert_eq!(noc.marks(), "++--");
}

#[test]
fn what_goes_on_for_days_is_noted_once_a_day() {
    let noc = Noc::open();
    let day = 86_400;
    let n: usize = (0..5 * 24).map(|hour| noc.hear("Disk", Some(0), None, hour * 3600 + 1)).sum();
    assert_eq!(n, 5);
    assert_eq!(noc.inbox().last().map(String::as_str), Some(&*format!("+upstream:noc Disk warning {}", 4 * day)));
    // One that is met for the first time when it is old is noted as of today.
    assert_eq!(noc.hear("Old", Some(-30 * day), None, 10), 1);
    assert_eq!(noc.inbox().last().map(String::as_str), Some("+upstream:noc Old warning 0"));
    assert_eq!(noc.hear("Disk", Some(0), Some(5 * day), 5 * day + 1), 1);
}

#[test]
fn the_same_alert_twice_in_one_post_counts_once() {
    let noc = Noc::open();
    let post =
        br#"[{"labels":{"alertname":"A"}},{"labels":{"alertname":"A","replica":"b"}},{"labels":{"alertname":"B"}}]"#;
    let parsed = alertmanager::posted(post, &settings(), NOW).unwrap();
    assert_eq!(noc.receiver.take(&parsed.heard, NOW).unwrap(), 2);
    assert_eq!(noc.marks(), "++");
}

#[test]
fn what_cannot_be_stored_is_not_taken_and_comes_again() {
    let noc = Noc::open();
    noc.receiver.store.close();
    let (fingerprint, key) = heard::identity(&[("alertname", "A")]);
    let what = "x".to_owned();
    let alert = Heard { fingerprint, key, group: None, what, is_critical: false, starts: None, ended: None };
    assert!(matches!(noc.receiver.take(&[alert], NOW), Err(StoreError::Closed)));
}

#[test]
fn a_token_is_of_one_receiver_and_strangers_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(folder.path()).unwrap().0);
    let other = Settings { name: "lab".to_owned(), token: Secret("other".to_owned()), ..settings() };
    let receivers = Receivers::new(&[settings(), other], &store);
    let name = |token| receivers.of_token(token, "192.0.2.1").map(|r| r.settings().name.clone());
    assert_eq!(name(Some("other")).as_deref(), Some("lab"));
    assert_eq!(name(Some("s3cret")).as_deref(), Some("noc"));
    assert_eq!((name(Some("s3cre")), name(Some("")), name(None)), (None, None, None));
    assert_eq!(receivers.counts(), UpstreamCounts { strangers: 3, ..UpstreamCounts::default() });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_post_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        property::a_post_of_alerts_is_read_or_refused(&bytes);
        property::an_event_is_read_or_refused(&bytes);
    }

    #[test]
    fn any_labels_are_kept_within_bounds(labels in prop::collection::hash_map(".{0,40}", ".{0,700}", 0..80)) {
        let alert = serde_json::json!({ "labels": labels, "annotations": labels });
        let post = serde_json::json!({ "alerts": [alert] }).to_string();
        property::a_post_of_alerts_is_read_or_refused(post.as_bytes());
        property::a_post_of_alerts_is_read_or_refused(serde_json::json!([alert]).to_string().as_bytes());
        for text in labels.values() {
            let event = serde_json::json!({ "routing_key": "x", "event_action": "trigger", "dedup_key": text,
                "payload": { "summary": "s", "source": text } });
            property::an_event_is_read_or_refused(event.to_string().as_bytes());
        }
    }
}
