//! Files as they are, as they should not be, and as nobody would write them.

use expect_test::expect;
use proptest::prelude::*;

use super::*;
use crate::calendar::parse_date;

fn wanted(zone: &str, from: &str, to: &str) -> Wanted {
    Wanted { zone: TimeZone::get(zone).unwrap(), from: parse_date(from).unwrap(), to: parse_date(to).unwrap() }
}

fn chicago() -> Wanted {
    wanted("America/Chicago", "2026-01-01", "2028-12-31")
}

fn events(lines: &str) -> String {
    format!("BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\n{lines}\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n")
}

fn told(import: &Import) -> String {
    let mut out = String::new();
    import.closed.iter().for_each(|d| out += &format!("{}\n", d.entry()));
    import.timed.iter().for_each(|t| out += &format!("{} - {} {}\n", t.from, t.to, t.name));
    import.mistakes.iter().for_each(|m| out += &format!("line {}: {}\n", m.line, m.message));
    out
}

fn check(lines: &str, want: expect_test::Expect) {
    want.assert_eq(&told(&read(events(lines).as_bytes(), &chicago())));
}

#[test]
fn a_date_of_a_whole_day_is_an_entry_with_its_name() {
    check(
        "DTSTART;VALUE=DATE:20261225\r\nDTEND;VALUE=DATE:20261227\r\nSUMMARY:Christmas\\, both\\ndays",
        expect![[r#"
            2026-12-25..2026-12-26 Christmas, both days
        "#]],
    );
    check("DTSTART:20260703\r\nDURATION:P1D", expect![["2026-07-03\n"]]);
}

#[test]
fn a_rule_repeats_within_the_years_asked_for_without_what_is_excepted() {
    check(
        "DTSTART;VALUE=DATE:20041125\r\nDTEND;VALUE=DATE:20041127\r\nRRULE:FREQ=YEARLY;BYMONTH=11;BYDAY=4TH\r\n\
         EXDATE;VALUE=DATE:20271125\r\nRDATE;VALUE=DATE:20270101,20270104\r\nSUMMARY:Thanksgiving",
        expect![[r#"
            2026-11-26..2026-11-27 Thanksgiving
            2027-01-01..2027-01-02 Thanksgiving
            2027-01-04..2027-01-05 Thanksgiving
            2028-11-23..2028-11-24 Thanksgiving
        "#]],
    );
    check(
        "DTSTART:20260501T100000Z\r\nDURATION:PT1H\r\nRRULE:FREQ=YEARLY;BYHOUR=3;COUNT=1",
        expect![[r#"
            2026-05-01T10:00:00.000Z - 2026-05-01T11:00:00.000Z 
            line 5: RRULE: the time of day is that of DTSTART; BYHOUR, BYMINUTE and BYSECOND are not used
        "#]],
    );
    check(
        "DTSTART;VALUE=DATE:20260501\r\nRRULE:FREQ=YEARLY;UNTIL=20270501\r\nSUMMARY:May Day",
        expect![[r#"
            2026-05-01 May Day
            2027-05-01 May Day
        "#]],
    );
    check(
        "DTSTART;VALUE=DATE:20260525\r\nRRULE:FREQ=MONTHLY;COUNT=2;BYDAY=-1MO\r\nSUMMARY:Last Monday",
        expect![[r#"
            2026-05-25 Last Monday
            2026-06-29 Last Monday
        "#]],
    );
}

#[test]
fn a_time_that_is_whole_days_here_is_a_date_and_any_other_is_for_a_person_to_judge() {
    check(
        "DTSTART;TZID=America/Chicago:20261224T000000\r\nDTEND;TZID=America/Chicago:20261226T000000\r\nSUMMARY:Closed",
        expect![[r#"
            2026-12-24..2026-12-25 Closed
        "#]],
    );
    check(
        "DTSTART:20261224T190000Z\r\nDTEND:20261224T230000Z\r\nSUMMARY:Half day",
        expect![[r#"
            2026-12-24T19:00:00.000Z - 2026-12-24T23:00:00.000Z Half day
        "#]],
    );
    check(
        "DTSTART;TZID=\"Central Standard Time\":20261224T130000\r\nDURATION:PT4H\r\nRRULE:FREQ=YEARLY;UNTIL=20271224T190000Z",
        expect![[r#"
            2026-12-24T19:00:00.000Z - 2026-12-24T23:00:00.000Z 
            2027-12-24T19:00:00.000Z - 2027-12-24T23:00:00.000Z 
        "#]],
    );
}

#[test]
fn a_date_that_was_moved_stands_where_it_was_moved_to() {
    let text = "BEGIN:VCALENDAR\nBEGIN:VEVENT\nUID:a\nSUMMARY:Day\nDTSTART;VALUE=DATE:20260704\nRRULE:FREQ=YEARLY;COUNT=2\n\
                END:VEVENT\nBEGIN:VEVENT\nUID:a\nSUMMARY:Day (observed)\nRECURRENCE-ID;VALUE=DATE:20260704\n\
                DTSTART;VALUE=DATE:20260703\nEND:VEVENT\nBEGIN:VEVENT\nSUMMARY:Off\nSTATUS:CANCELLED\n\
                DTSTART;VALUE=DATE:20260101\nEND:VEVENT\nEND:VCALENDAR\n";
    expect![[r#"
        2026-07-03 Day (observed)
        2027-07-04 Day
    "#]]
    .assert_eq(&told(&read(text.as_bytes(), &chicago())));
}

#[test]
fn every_mistake_is_told_with_its_line() {
    let text = "BEGIN:VCALENDAR\nBEGIN:VEVENT\nSUMMARY:No start\nEND:VEVENT\nnonsense\nBEGIN:VEVENT\nDTSTART:20260230\n\
                END:VEVENT\nBEGIN:VEVENT\nDTSTART;VALUE=DATE:20260105\nDTEND;VALUE=DATE:20260101\n\
                RRULE:FREQ=HOURLY\nEXDATE:never\nSUMMARY:Kept\nEND:VEVENT\nEND:VTODO\nBEGIN:VEVENT\n\
                DTSTART;TZID=Mars/Base:20260106T000000\nDURATION:soon";
    expect![[r#"
        2026-01-05 Kept
        line 3: the event has no DTSTART; it was left out
        line 5: `nonsense` is no line of iCalendar; expected `NAME:value`
        line 7: DTSTART `20260230` is no date; the event was left out
        line 11: the event ends before it starts; its end is not used
        line 12: RRULE: FREQ=HOURLY is no repetition of a closed date; only the first date was taken
        line 13: EXDATE `never` is no date; left out
        line 16: END:VTODO without its BEGIN
        line 1: BEGIN:VCALENDAR without its END; the file may be cut off
        line 17: BEGIN:VEVENT without its END; the file may be cut off
    "#]]
    .assert_eq(&{
        let mut import = read(text.as_bytes(), &chicago());
        import.mistakes.sort_by_key(|m| (m.message.contains("cut off"), m.line));
        told(&import)
    });
}

#[test]
fn a_rule_that_repeats_for_ever_or_never_ends_all_the_same() {
    let begun = std::time::Instant::now();
    for rule in [
        "FREQ=DAILY",
        "FREQ=DAILY;INTERVAL=0",
        "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30",
        "FREQ=WEEKLY;BYMONTH=2;BYMONTHDAY=31",
        "FREQ=YEARLY;BYHOUR=0,1,2,3,4,5,6,7,8,9,10,11;BYMINUTE=0,1,2,3,4,5;BYSECOND=1,2,3",
        "FREQ=YEARLY;INTERVAL=65535",
        "FREQ=DAILY;COUNT=4294967295",
        "FREQ=SECONDLY",
        "FREQ=YEARLY;BYSETPOS=-1",
        "FREQ=WEEKLY;BYDAY=54MO,-999SU",
        "FREQ=MONTHLY;BYMONTHDAY=0,99,-99",
    ] {
        check_any(events(&format!("DTSTART:16010101T000000\r\nRRULE:{rule}")).as_bytes());
        check_any(events(&format!("DTSTART;VALUE=DATE:99991231\r\nRRULE:{rule}")).as_bytes());
    }
    let daily = read(events("DTSTART;VALUE=DATE:19000101\r\nRRULE:FREQ=DAILY").as_bytes(), &chicago());
    assert_eq!(daily.closed.len(), 3 * 365 + 1);
    let many = "BEGIN:VEVENT\nDTSTART:16010101\nRRULE:FREQ=DAILY\nEND:VEVENT\n".repeat(4);
    let many = read(format!("BEGIN:VCALENDAR\n{many}END:VCALENDAR\n").as_bytes(), &chicago());
    assert!(many.mistakes.iter().any(|m| m.message.contains("too often") || m.message.contains("too many")));
    assert!(begun.elapsed().as_secs() < 60, "took {:?}", begun.elapsed());
}

#[test]
fn a_huge_file_is_refused_and_one_that_is_no_calendar_says_so() {
    let huge = read(&vec![b'A'; ICAL_BYTES_MAX + 1], &chicago());
    assert_eq!((huge.n_events, huge.mistakes.len()), (0, 1));
    assert!(huge.mistakes[0].message.contains("nothing was read"));
    let image = read(b"\x89PNG\r\n\x1a\n\0\0", &chicago());
    assert!(image.mistakes.iter().any(|m| m.message.contains("no iCalendar file")), "{image:?}");
}

/// Real files, from `RINGFENCE_SHARED` or the folder beside the project.
fn real_files(test: &str) -> Vec<std::path::PathBuf> {
    let beside = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let folder = std::env::var_os("RINGFENCE_SHARED").map_or(beside, Into::into).join("data/ics");
    let mut found = Vec::new();
    for folder in [folder.clone(), folder.join("icalendar")] {
        let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        found.extend(entries.map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "ics")));
    }
    if found.is_empty() {
        eprintln!("NOT RUN: {test}: no files at {} (set RINGFENCE_SHARED)", folder.display());
    }
    found.sort();
    found
}

#[test]
fn every_real_file_is_read_or_its_mistakes_are_told() {
    for path in real_files("every_real_file_is_read_or_its_mistakes_are_told") {
        let bytes = std::fs::read(&path).unwrap();
        check_any(&bytes);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let import = read(&bytes, &wanted("America/Chicago", "1990-01-01", "2040-12-31"));
        let n_events = text.lines().filter(|l| l.trim() == "END:VEVENT").count();
        assert!(
            import.n_events == n_events || import.n_mistakes > 0,
            "{}: {} of {n_events} events and no mistake told",
            path.display(),
            import.n_events
        );
    }
}

#[test]
fn the_holidays_of_a_real_file_agree_with_those_that_ship() {
    let files = real_files("the_holidays_of_a_real_file_agree_with_those_that_ship");
    let Some(path) = files.iter().find(|p| p.ends_with("us_holidays_aaronshivers.ics")) else { return };
    let import = read(&std::fs::read(path).unwrap(), &wanted("America/Chicago", "2026-01-01", "2026-12-31"));
    assert_eq!(import.mistakes, []);
    let calendar = super::super::Calendar::shipped("us-central").unwrap();
    let in_file: BTreeSet<i64> = import.closed.iter().map(|d| d.from).collect();
    for (day, _, name) in calendar.closed_dates().filter(|(day, ..)| civil_from_days(*day).0 == 2026) {
        // The day after Thanksgiving is ours, no holiday of the law.
        assert!(in_file.contains(&day) || name == Some("Day after Thanksgiving"), "{name:?}");
    }
}

proptest! {
    #[test]
    fn any_text_of_calendar_words_is_read_within_bounds(
        words in proptest::collection::vec(
            prop_oneof![
                Just("BEGIN:VCALENDAR\n"), Just("BEGIN:VEVENT\n"), Just("END:VEVENT\n"), Just("END:VCALENDAR\n"),
                Just("DTSTART:"), Just("DTSTART;VALUE=DATE:"), Just("DTEND:"), Just("DURATION:"), Just("RRULE:FREQ="),
                Just("DAILY"), Just("YEARLY"), Just("MONTHLY"), Just("WEEKLY"), Just(";BYDAY="), Just("2MO,-1SU"),
                Just(";COUNT="), Just(";UNTIL="), Just(";BYSETPOS="), Just(";BYYEARDAY="), Just(";BYWEEKNO="), Just("3"),
                Just("-1"), Just("20260704"), Just("20270101T000000Z"), Just("99991231T235959"), Just("00010101"),
                Just("P1D"), Just("PT99999H"), Just("SUMMARY:"), Just("x\\n\\,"), Just("\n"), Just("\r\n "), Just(";TZID="),
                Just("Europe/Berlin"), Just("(UTC+01:00) Q"), Just("/a/b/c/d"), Just(":"), Just("\u{e9}"), Just("\""),
            ],
            0..60,
        ),
    ) {
        check_any(words.concat().as_bytes());
    }

    #[test]
    fn any_bytes_are_read_within_bounds(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        check_any(&bytes);
    }
}
