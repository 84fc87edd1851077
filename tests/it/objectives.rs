//! Business time and the promises that rest on it: the vectors of the specification, its Python judge, and plain
//! counting minute by minute in zones that change their clocks in other ways.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use jiff::tz::TimeZone;
use proptest::prelude::*;
use ringfence::calendar::{Calendar, parse_date};
use ringfence::clock::Timestamp;
use ringfence::objective::{Allowed, Deadline, Objective, Promise};
use serde_json::Value as Json;

use crate::support::{Random, ringfence, shared};

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

fn instant(text: &str) -> Timestamp {
    Timestamp(text.parse::<jiff::Timestamp>().unwrap_or_else(|e| panic!("{text}: {e}")).as_millisecond())
}

fn us_central() -> Calendar {
    Calendar::shipped("us-central").expect("it ships")
}

/// A time on Chicago's clock; the earlier one where it is shown twice.
fn chicago(text: &str) -> Timestamp {
    let local: jiff::civil::DateTime = text.parse().expect("a local time");
    let zone = TimeZone::get("America/Chicago").expect("a zone");
    Timestamp(local.to_zoned(zone).expect("a time of this century").timestamp().as_millisecond())
}

fn objective(calendar: &Calendar, promise: Promise, start: Timestamp) -> Objective {
    Objective::new(promise, calendar, start, Allowed::default()).expect("the calendar opens")
}

/// received, acknowledge target and commit, complete target and commit; on Chicago's clock.
const VECTORS: [[&str; 5]; 11] = [
    ["2026-06-02T10:00", "2026-06-02T11:00", "2026-06-02T11:00", "2026-06-02T14:00", "2026-06-03T17:00"],
    ["2026-06-02T16:30", "2026-06-03T08:30", "2026-06-03T08:30", "2026-06-03T11:30", "2026-06-03T17:00"],
    ["2026-06-02T17:00", "2026-06-03T09:00", "2026-06-03T17:00", "2026-06-03T12:00", "2026-06-03T17:00"],
    ["2026-06-03T07:59", "2026-06-03T09:00", "2026-06-03T17:00", "2026-06-03T12:00", "2026-06-04T17:00"],
    ["2026-06-03T08:00", "2026-06-03T09:00", "2026-06-03T09:00", "2026-06-03T12:00", "2026-06-04T17:00"],
    ["2026-03-06T16:30", "2026-03-09T08:30", "2026-03-09T08:30", "2026-03-09T11:30", "2026-03-09T17:00"],
    ["2026-10-30T16:30", "2026-11-02T08:30", "2026-11-02T08:30", "2026-11-02T11:30", "2026-11-02T17:00"],
    ["2026-07-02T16:30", "2026-07-06T08:30", "2026-07-06T08:30", "2026-07-06T11:30", "2026-07-06T17:00"],
    ["2026-09-07T11:00", "2026-09-08T09:00", "2026-09-08T17:00", "2026-09-08T12:00", "2026-09-08T17:00"],
    ["2026-11-25T15:00", "2026-11-25T16:00", "2026-11-25T16:00", "2026-11-30T10:00", "2026-11-30T17:00"],
    ["2027-12-30T16:00", "2027-12-30T17:00", "2027-12-30T17:00", "2028-01-03T11:00", "2028-01-03T17:00"],
];

#[test]
fn the_vectors_of_the_specification_hold() {
    let calendar = us_central();
    for [received, ack_target, ack_commit, complete_target, complete_commit] in VECTORS {
        let start = chicago(received);
        for (promise, target, commit) in [
            (Promise::Acknowledge, ack_target, ack_commit),
            (Promise::Notify, ack_target, ack_commit),
            (Promise::Complete, complete_target, complete_commit),
        ] {
            let found = objective(&calendar, promise, start);
            assert_eq!((found.target, found.commit), (chicago(target), chicago(commit)), "{received} {promise:?}");
        }
    }
}

#[test]
fn the_weekends_on_which_the_clock_is_set_are_reckoned_on_the_clock_of_the_wall() {
    let calendar = us_central();
    let spring = objective(&calendar, Promise::Complete, instant("2026-03-06T22:30:00Z"));
    assert_eq!(spring.target, instant("2026-03-09T16:30:00Z"));
    assert_eq!(spring.commit, instant("2026-03-09T22:00:00Z"));
    let autumn = objective(&calendar, Promise::Acknowledge, instant("2026-10-30T21:30:00Z"));
    assert_eq!(autumn.target, instant("2026-11-02T14:30:00Z"));
    // The second 01:30 of the night.
    let night = instant("2026-11-01T07:30:00Z");
    let (ack, complete) =
        (objective(&calendar, Promise::Acknowledge, night), objective(&calendar, Promise::Complete, night));
    assert_eq!((ack.target, ack.commit), (chicago("2026-11-02T09:00"), chicago("2026-11-02T17:00")));
    assert_eq!((complete.target, complete.commit), (chicago("2026-11-02T12:00"), chicago("2026-11-02T17:00")));
}

fn judge(place: &std::path::Path, args: &[&str], input: &str) -> String {
    let mut child = Command::new("python3")
        .arg("-B")
        .args(args)
        .current_dir(place.join("oracle"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 starts");
    let mut stdin = child.stdin.take().expect("stdin is piped");
    let input = input.to_owned();
    // It answers while it reads, so the two pipes are served at once.
    let feeder = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let out = child.wait_with_output().expect("the judge ends");
    feeder.join().expect("the feeder ends").expect("the judge reads its input");
    assert!(out.status.success(), "the judge failed: {}", out.status);
    String::from_utf8(out.stdout).expect("the judge prints UTF-8")
}

#[test]
fn a_hundred_thousand_random_instants_of_ten_years_agree_with_the_judge() {
    let Some(place) = shared("a_hundred_thousand_random_instants_of_ten_years_agree_with_the_judge") else { return };
    let n = std::env::var("RINGFENCE_INSTANTS").ok().and_then(|v| v.parse().ok()).unwrap_or(100_000_usize);
    let seed = std::env::var("RINGFENCE_SEED").ok().and_then(|v| v.parse().ok()).unwrap_or(45);
    eprintln!("{n} instants, seed {seed} (RINGFENCE_INSTANTS, RINGFENCE_SEED)");
    let mut random = Random::new(seed);
    let (from, to) = (instant("2024-01-01T00:00:00Z").0 / 1000, instant("2034-01-01T00:00:00Z").0 / 1000);
    // Half of them anywhere, half on whole hours, where openings and closes are.
    let draw = |random: &mut Random| {
        let second = random.between(from, to);
        Timestamp(1000 * if random.chance(50) { second } else { second / 3600 * 3600 })
    };
    let instants: Vec<Timestamp> = (0..n).map(|_| draw(&mut random)).collect();
    let lines: String = instants.iter().map(|t| format!("{t}\n").replace(".000Z", "Z")).collect();
    let answer = judge(&place, &["objectives.py"], &lines);
    let calendar = us_central();
    let mut n_compared = 0;
    let mut ours_took = std::time::Duration::ZERO;
    for (start, line) in instants.iter().zip(answer.lines()) {
        let want: Json = serde_json::from_str(line).expect("a line of JSON");
        let begun = std::time::Instant::now();
        let found = Promise::ALL.map(|promise| objective(&calendar, promise, *start));
        ours_took += begun.elapsed();
        for (objective, name) in found.iter().zip(["ack", "complete", "notify"]) {
            for deadline in Deadline::ALL {
                let want = instant(want[format!("{name}_{}", deadline.as_str())].as_str().expect("an instant"));
                assert_eq!(objective.at(deadline), want, "{start} {name} {}", deadline.as_str());
            }
        }
        n_compared += 1;
    }
    assert_eq!(n_compared, n);
    eprintln!("ours: {ours_took:?}");
}

#[test]
fn the_closed_dates_that_ship_are_those_that_follow_from_the_law() {
    let Some(place) = shared("the_closed_dates_that_ship_are_those_that_follow_from_the_law") else { return };
    let program = "import objectives as o\nfor y in range(2021, 2041):\n  for d in sorted(o.closures(y)):\n    \
                   if d.year == y: print(d)";
    let want: Vec<i64> = judge(&place, &["-c", program], "").lines().map(|l| parse_date(l).expect("a date")).collect();
    let mut got: Vec<i64> = Vec::new();
    for (from, to, _) in us_central().closed_dates() {
        got.extend(from..=to);
    }
    assert_eq!(got, want);
}

/// A calendar and what is plainly true of it: which minutes are open, one by one.
struct Counted {
    calendar: Calendar,
    first: Timestamp,
    /// Local day number of each minute from `first` on.
    day: Vec<i64>,
    /// How many minutes before each were open; one more than there are minutes.
    open_before: Vec<i64>,
    /// By local day, its last open minute. Hours of these calendars do not pass midnight, so it ends the service.
    last_open: BTreeMap<i64, usize>,
}

/// Local day numbers of so many days of minutes.
fn local_days(zone: &TimeZone, first: Timestamp, days: i64) -> Vec<i64> {
    let epoch = jiff::civil::date(1970, 1, 1);
    let day = |minute: i64| {
        let at = jiff::Timestamp::from_millisecond(first.0 + minute * MINUTE_MS).expect("a time of this century");
        i64::from(epoch.until(zone.to_datetime(at).date()).expect("days apart").get_days())
    };
    (0..days * 24 * 60).map(day).collect()
}

impl Counted {
    fn new(calendar: Calendar, first: Timestamp, day: Vec<i64>) -> Counted {
        let (mut open_before, mut last_open) = (vec![0], BTreeMap::new());
        for (minute, day) in day.iter().enumerate() {
            let is_open = calendar.is_open(first.plus_ms(minute as i64 * MINUTE_MS));
            open_before.push(open_before[minute] + i64::from(is_open));
            if is_open {
                last_open.insert(*day, minute);
            }
        }
        Counted { calendar, first, day, open_before, last_open }
    }

    fn at(&self, index: usize) -> Timestamp {
        self.first.plus_ms(index as i64 * MINUTE_MS)
    }

    fn next_open(&self, index: usize) -> Option<usize> {
        let after = self.open_before.partition_point(|n| *n <= self.open_before[index]);
        (after < self.open_before.len()).then(|| after - 1)
    }

    fn add(&self, index: usize, minutes: i64) -> Option<Timestamp> {
        if minutes == 0 {
            return self.next_open(index).map(|i| self.at(i));
        }
        let end = self.open_before.partition_point(|n| *n < self.open_before[index] + minutes);
        (end < self.open_before.len()).then(|| self.at(end))
    }

    fn between(&self, from: usize, to: usize) -> i64 {
        (self.open_before[to] - self.open_before[from]) * MINUTE_MS
    }

    fn end_of_day(&self, day: i64) -> Option<Timestamp> {
        self.last_open.get(&day).map(|last| self.at(last + 1))
    }

    fn end_of_next_day(&self, index: usize) -> Option<Timestamp> {
        let (day, _) = self.last_open.range(self.day[index] + 1..).next()?;
        self.end_of_day(*day)
    }
}

fn calendar(zone: &str, open: &[&str], closed: &[&str]) -> Calendar {
    let mut calendar = Calendar::new("counted", TimeZone::get(zone).expect("a zone"));
    open.iter().for_each(|text| calendar.add_open(text).expect("hours"));
    closed.iter().for_each(|text| calendar.add_closed(text).expect("a date"));
    calendar
}

fn check(counted: &Counted, seed: u64) {
    let mut random = Random::new(seed);
    // What is asked of the first half is answered within the second.
    let half = counted.day.len() as i64 / 2;
    for _ in 0..1000 {
        let index = random.between(0, half) as usize;
        let (at, calendar) = (counted.at(index), &counted.calendar);
        let minutes = random.between(0, 600);
        assert_eq!(calendar.next_open(at), counted.next_open(index).map(|i| counted.at(i)), "next opening at {at}");
        assert_eq!(calendar.add(at, minutes * MINUTE_MS), counted.add(index, minutes), "{at} and {minutes} min");
        let later = random.between(index as i64, half * 2 - 1) as usize;
        let between = calendar.between(at, counted.at(later));
        assert_eq!(between, counted.between(index, later), "from {at} to {}", counted.at(later));
        let first = counted.next_open(index).and_then(|i| counted.end_of_day(counted.day[i]));
        assert_eq!(calendar.end_of_first_service_day(at), first, "end of the first day at {at}");
        assert_eq!(calendar.end_of_next_service_day(at), counted.end_of_next_day(index), "end of the next day at {at}");
        let steps = calendar.steps(at, counted.at(later));
        let open_ms: i64 = steps.iter().filter(|s| s.reason.is_open()).map(|s| s.to.0 - s.from.0).sum();
        assert_eq!(open_ms, between, "the steps from {at} add up");
        assert!(steps.windows(2).all(|pair| pair[0].to == pair[1].from), "the steps from {at} leave no gap");
    }
}

#[test]
fn other_zones_agree_with_counting_every_minute() {
    // Both changes of the clock lie in each, at night and, for the hours that are meant to be hard, within the hours.
    for (zone, first) in [
        ("Europe/Berlin", "2026-03-20T00:00:00Z"),
        ("Europe/Berlin", "2026-10-18T00:00:00Z"),
        ("Australia/Lord_Howe", "2026-03-28T00:00:00Z"),
        ("Australia/Lord_Howe", "2026-09-27T00:00:00Z"),
        ("America/Chicago", "2026-10-25T00:00:00Z"),
        // Goes over the date line: 30 December 2011 was not.
        ("Pacific/Apia", "2011-12-24T00:00:00Z"),
        // Sets its clock at midnight.
        ("Africa/Cairo", "2026-04-17T00:00:00Z"),
        ("Africa/Cairo", "2026-10-23T00:00:00Z"),
    ] {
        let first = instant(first);
        let days = local_days(&TimeZone::get(zone).expect("a zone"), first, 24);
        for (n, open) in [
            &["Mon-Fri 08:00-17:00"][..],
            &["Mon-Sun 00:00-24:00"],
            &["Mon-Sun 01:15-01:45, 02:10-02:50, 12:00-13:00"],
            &["Mon-Thu 07:30-12:00, 12:45-16:15", "Fri 07:30-12:00", "Sun 01:00-03:30"],
        ]
        .into_iter()
        .enumerate()
        {
            let closed = ["2026-04-03..2026-04-06", "2026-10-20"];
            check(&Counted::new(calendar(zone, open, &closed), first, days.clone()), n as u64 + 1);
        }
    }
}

#[test]
fn hours_over_midnight_end_with_the_day_they_started_on() {
    let night = calendar("Europe/Berlin", &["Mon-Fri 22:00-06:00"], &[]);
    // Saturday 03:00 is the night of Friday; the next business day after that Saturday starts on Monday evening.
    let at = instant("2026-06-06T01:00:00Z");
    assert_eq!(night.end_of_service_day(at), Some(instant("2026-06-06T04:00:00Z")));
    assert_eq!(night.end_of_next_service_day(at), Some(instant("2026-06-09T04:00:00Z")));
    assert_eq!(night.add(at, 4 * HOUR_MS), Some(instant("2026-06-08T21:00:00Z")));
    // The night in which the clock goes back is an hour longer, the one in which it goes forward an hour shorter.
    let saturday = calendar("Europe/Berlin", &["Sat 22:00-06:00"], &[]);
    let between = |from: &str, to: &str| saturday.between(instant(from), instant(to));
    assert_eq!(between("2026-10-24T12:00:00Z", "2026-10-25T12:00:00Z"), 9 * HOUR_MS);
    assert_eq!(between("2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z"), 7 * HOUR_MS);
}

#[test]
fn a_calendar_that_never_opens_promises_nothing_and_says_so_at_once() {
    let begun = std::time::Instant::now();
    let closed_for_years = calendar("America/Chicago", &["Mon-Fri 08:00-17:00"], &["2026-01-01..2099-12-31"]);
    for never in [calendar("UTC", &[], &[]), closed_for_years] {
        let at = instant("2026-06-02T15:00:00Z");
        assert_eq!(never.next_open(at), None);
        assert_eq!(never.add(at, HOUR_MS), None);
        assert_eq!(never.end_of_first_service_day(at), None);
        assert_eq!(never.end_of_next_service_day(at), None);
        assert_eq!(Promise::ALL.map(|p| Objective::new(p, &never, at, Allowed::default())), [None; 3]);
        assert_eq!(never.between(at, at.plus_ms(1000 * DAY_MS)), 0);
    }
    let always = calendar("UTC", &["Mon-Sun 00:00-24:00"], &[]);
    assert_eq!(always.add(Timestamp(i64::MAX), HOUR_MS), None);
    assert_eq!(always.add(Timestamp(0), i64::MAX), None, "more than a century");
    assert_eq!(always.add(instant("2026-01-01T00:00:00Z"), -5), Some(instant("2026-01-01T00:00:00Z")));
    assert!(begun.elapsed().as_secs() < 20, "took {:?}", begun.elapsed());
}

#[test]
fn warnings_stand_where_people_work_and_the_last_is_the_deadline() {
    let calendar = us_central();
    let found = objective(&calendar, Promise::Complete, chicago("2026-07-02T16:00"));
    let at: Vec<(String, u8, Timestamp)> =
        found.warnings(&calendar).into_iter().map(|w| (w.deadline.as_str().to_owned(), w.percent, w.at)).collect();
    // Target: 4 h from Thursday 16:00, over a closed Friday and a weekend. Commit: Monday 17:00, 10 h of business time.
    let want = [
        ("target", 50, "2026-07-06T09:00"),
        ("target", 80, "2026-07-06T10:12"),
        ("target", 100, "2026-07-06T11:00"),
        ("commit", 50, "2026-07-06T12:00"),
        ("commit", 80, "2026-07-06T15:00"),
        ("commit", 100, "2026-07-06T17:00"),
    ];
    assert_eq!(at, want.map(|(deadline, percent, at)| (deadline.to_owned(), percent, chicago(at))));
    let in_hours = objective(&calendar, Promise::Notify, chicago("2026-06-02T10:00"));
    assert_eq!(in_hours.warnings(&calendar).len(), 3, "one deadline warns once");
}

proptest! {
    #[test]
    fn business_time_is_monotone_and_adding_undoes_between(
        at in 1_700_000_000_000_i64..2_000_000_000_000,
        later in 0_i64..40 * DAY_MS,
        ms in 0_i64..40 * HOUR_MS,
        more in 0_i64..40 * HOUR_MS,
    ) {
        let calendar = us_central();
        let (a, b) = (Timestamp(at), Timestamp(at + later));
        let end = calendar.add(a, ms).expect("it opens");
        prop_assert!(end >= a);
        prop_assert_eq!(calendar.between(a, end), ms);
        prop_assert!(calendar.add(b, ms).expect("it opens") >= end);
        prop_assert!(calendar.add(a, ms + more).expect("it opens") >= end);
        let way = calendar.between(a, b);
        prop_assert_eq!(way + calendar.between(b, Timestamp(b.0 + more)), calendar.between(a, Timestamp(b.0 + more)));
        if way > 0 {
            prop_assert!(calendar.add(a, way).expect("it opens") <= b);
        }
        for promise in Promise::ALL {
            let (first, second) = (objective(&calendar, promise, a), objective(&calendar, promise, b));
            prop_assert!(first.target <= second.target);
            prop_assert!(first.commit >= a && first.target >= a);
        }
    }
}

fn printed(args: &[&str]) -> (String, String, Option<i32>) {
    let out = ringfence(args);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&out.stdout), text(&out.stderr), out.status.code())
}

#[test]
fn an_explanation_can_be_followed_by_a_person() {
    let (text, _, code) = printed(&["calendar", "explain", "--clock", "notify", "2026-07-02T16:30"]);
    assert_eq!(code, Some(0));
    expect_test::expect![[r#"
        notify, from Thu 2026-07-02 16:30 CDT (us-central, America/Chicago)

        target  Mon 2026-07-06 08:30 CDT     1 h of business time
        commit  Mon 2026-07-06 08:30 CDT     began in service hours: the same as the target

        How the target was counted:
          Thu 2026-07-02 16:30 CDT - 17:00 CDT                       30 min  open; 30 min counted
          Thu 2026-07-02 17:00 CDT - Fri 2026-07-03 00:00 CDT           7 h  closed: outside the hours of the day
          Fri 2026-07-03 00:00 CDT - Sat 2026-07-04 00:00 CDT           1 d  closed: Independence Day (observed)
          Sat 2026-07-04 00:00 CDT - Mon 2026-07-06 00:00 CDT           2 d  closed: a weekday without hours
          Mon 2026-07-06 00:00 CDT - 08:00 CDT                          8 h  closed: outside the hours of the day
          Mon 2026-07-06 08:00 CDT - 08:30 CDT                       30 min  open; 1 h counted

        Warnings, by the share of business time gone:
          Thu 2026-07-02 17:00 CDT     50 % of the way to the commit
          Mon 2026-07-06 08:18 CDT     80 % of the way to the commit
          Mon 2026-07-06 08:30 CDT     100 % of the way to the commit
    "#]]
    .assert_eq(&text);
}

#[test]
fn an_explanation_for_machines_says_the_same() {
    let (text, _, code) =
        printed(&["calendar", "explain", "--clock", "complete", "--format", "json", "2026-03-06T22:30:00Z"]);
    assert_eq!(code, Some(0));
    let value: Json = serde_json::from_str(&text).expect("JSON");
    assert_eq!(value[0]["target"]["at"], "2026-03-09T16:30:00.000Z");
    assert_eq!(value[0]["commit"]["local"], "Mon 2026-03-09 17:00 CDT");
    assert_eq!(value[0]["steps"][0]["reason"], "open");
}

#[test]
fn dates_that_are_imported_can_be_pasted_and_mistakes_name_their_lines() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("holidays.ics");
    let text = "BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART;VALUE=DATE:20261225\nSUMMARY:Say \"Hi\"\nEND:VEVENT\n\
                BEGIN:VEVENT\nDTSTART:20261301\nEND:VEVENT\nEND:VCALENDAR\n";
    std::fs::write(&file, text).expect("the file is written");
    let path = file.to_str().expect("a plain path");
    let (text, errors, code) = printed(&["calendar", "import", path, "--from", "2026-01-01", "--years", "2"]);
    assert_eq!(code, Some(1), "mistakes are findings");
    assert!(errors.ends_with("holidays.ics:7: DTSTART `20261301` is no date; the event was left out\n"), "{errors}");
    let table: toml::Table = text.parse().expect("what is printed is TOML");
    assert_eq!(table["closed_dates"][0].as_str(), Some("2026-12-25 Say \"Hi\""));
}
