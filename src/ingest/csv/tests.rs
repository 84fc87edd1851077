//! The CSV codec from outside: rows of real and made files in, events and rejects out.

use std::path::PathBuf;
use std::sync::Arc;

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::{Dialect, Settings};
use crate::event::{Batch, Direction, Reject, Status};
use crate::ingest::Format;
use crate::ingest::property::{self, batches, decoder, describe};

const ASTERISK: &str = "dialect = 'asterisk'\ntime_zone = 'UTC'\n";

pub(super) fn format(settings: &str) -> Format {
    let settings: Settings = toml::from_str(settings).unwrap();
    Format::Csv(Arc::new(Dialect::new(&settings).unwrap()))
}

pub(super) fn decode(settings: &str, text: &[u8]) -> Batch {
    let mut batch = Batch::default();
    decoder(&format(settings)).decode(text.to_vec(), None, &mut batch);
    batch
}

pub(super) fn shown(batch: &Batch) -> String {
    let mut lines: Vec<String> = batch.events.iter().map(|e| describe(batch, e) + "\n").collect();
    lines.extend(batch.rejects.iter().map(|r| format!("rejected: {}\n", r.reason.as_str())));
    lines.concat()
}

pub(super) fn check(settings: &str, text: &str, expected: Expect) {
    expected.assert_eq(&shown(&decode(settings, text.as_bytes())));
}

/// A file of the shared test data, which is no part of the project.
pub(super) fn shared(path: &str) -> Option<Vec<u8>> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let root = std::env::var_os("RINGFENCE_SHARED").map_or(beside, PathBuf::from);
    let bytes = std::fs::read(root.join("data/cdr").join(path));
    if bytes.is_err() {
        eprintln!("NOT RUN: {path} is not in RINGFENCE_SHARED");
    }
    bytes.ok()
}

#[test]
fn asterisk_rows_tell_who_called_whom_for_how_long() {
    check(
        ASTERISK,
        "\"acc\",\"100\",\"200\",\"default\",\"\"\"Test User\"\" <100>\",\"SIP/trunk-a-02897fd8\",\"SIP/200-1\",\"Dial\",\
         \"SIP/200,30\",\"2009-01-14 23:51:15\",\"2009-01-14 23:51:18\",\"2009-01-14 23:51:20\",5,2,\"ANSWERED\",\
         \"DOCUMENTATION\",\"1231977075.0\",\"\"\n\
         ,,300,default,<4711>,PJSIP/x-1,,,,2009-01-14 23:51:15,,2009-01-14 23:51:20,5,0,NO ANSWER,3\n",
        expect![[r#"
            2009-01-14T23:51:20.000Z cdr caller=100 callee=200 status=answered duration=2.000 ring=3.000 trunk=SIP/trunk-a account=acc caller_name=Test User call_id=1231977075.0 0/0
            2009-01-14T23:51:20.000Z cdr caller=4711 callee=300 status=no_answer duration=0.000 ring=5.000 trunk=PJSIP/x 0/0
        "#]],
    );
}

#[test]
fn asterisk_columns_are_found_by_arity_shape_and_header() {
    let row = ",1,2,c,,SIP/a-1,,,,2009-01-14 23:51:15,,2009-01-14 23:51:20,5,0,BUSY,3";
    for (tail, id) in [("", ""), (",1231977075.0", "1231977075.0"), (",pbx-1-1231977075.12,x", "pbx-1-1231977075.12")] {
        let batch = decode(ASTERISK, format!("{row}{tail}\n").as_bytes());
        assert_eq!(batch.rejects, [], "{tail}");
        assert_eq!(batch.text(batch.events[0].call_id), id.as_bytes(), "{tail}");
    }
    let batch = decode(ASTERISK, format!("{row},just a note\n{row},a,b,c,d,e,f\nshort\n").as_bytes());
    assert!(batch.events[0].call_id.is_absent());
    assert_eq!(batch.rejects.iter().map(|r| r.reason).collect::<Vec<_>>(), [Reject::WrongColumns; 2]);
    check(
        ASTERISK,
        "calldate,clid,src,dst,dcontext,channel,duration,billsec,disposition,uniqueid\n\
         2026-03-02 10:00:00,\"\"\"Bob\"\" <1001>\",1001,2002,from-internal,PJSIP/1001-1,30,20,ANSWERED,17.1\n\
         calldate,clid,src,dst,dcontext,channel,duration,billsec,disposition,uniqueid\n",
        expect![[r#"
            2026-03-02T10:00:30.000Z cdr caller=1001 callee=2002 status=answered duration=20.000 ring=10.000 trunk=PJSIP/1001 caller_name=Bob call_id=17.1 0/0
        "#]],
    );
}

#[test]
fn a_context_tells_the_direction_where_the_settings_say_so() {
    let settings = format!("{ASTERISK}[words.direction]\nfrom-trunk = 'inbound'\n");
    let row = |context| format!(",1,2,{context},,SIP/a-1,,,,2009-01-14 23:51:15,,2009-01-14 23:51:20,5,0,BUSY,3\n");
    let batch = decode(&settings, (row("from-trunk") + &row("default")).as_bytes());
    let directions: Vec<_> = batch.events.iter().map(|e| e.direction).collect();
    assert_eq!(directions, [Direction::Inbound, Direction::Unknown]);
}

#[test]
fn an_open_quote_costs_its_own_line_only() {
    let row = "\"\",\"t\",\"1\",\"c\",\"\",\"SIP/t-1\",\"\",\"\",\"\",\"2009-01-14 23:51:15\",\"\",\"2009-01-14 23:51:20\",5,0,\"BUSY\",\"3\"";
    let text = format!("{row}\n\"open,x\n{row}\n{row},\"open");
    for reads in [&[1][..], &[7], &[1000]] {
        let batches = batches(&format(ASTERISK), text.as_bytes(), reads);
        let n_events: usize = batches.iter().map(|b| b.events.len()).sum();
        let reasons: Vec<_> = batches.iter().flat_map(|b| b.rejects.iter().map(|r| r.reason)).collect();
        assert_eq!(n_events, 2, "{reads:?}");
        assert_eq!(reasons, [Reject::Incomplete; 2], "{reads:?}");
    }
}

#[test]
fn quoted_line_breaks_belong_to_their_field() {
    let settings = "time_zone = 'UTC'\ncolumns = { time = 'end', caller_name = 'name' }\n";
    let text = b"\xef\xbb\xbfend,name\n2026-03-02 10:00:00,\"two\nlines\"\r\n\n2026-03-02 10:00:01,one\n";
    let batch = batches(&format(settings), text, &[]).remove(0);
    assert_eq!(batch.rejects, []);
    assert_eq!(batch.text(batch.events[0].caller_name), b"two\nlines");
    assert_eq!(batch.text(batch.events[1].caller_name), b"one");
}

#[test]
fn custom_columns_are_named_or_numbered_and_constants_fill_in() {
    let text = "Nummer;Ziel;Ende;Sek;Preis\n0701;0802;02.03.2026 11:00:00;1:02:03;0,5\n0701;0802;02.03.2026 11:00:00;7;-0.12345\n";
    let settings = "delimiter = ';'\ntime_zone = 'Europe/Berlin'\ntime_format = '%d.%m.%Y %H:%M:%S'\n\
         constants = { customer = 'acme', direction = 'outbound' }\n\
         [columns]\ncaller = 'nummer'\ncallee = 'ziel'\ntime = 'ende'\nduration = 'sek'\ncost = 'preis'\n";
    check(
        settings,
        text,
        expect![[r#"
            2026-03-02T10:00:00.000Z cdr direction=outbound caller=0701 callee=0802 status=answered duration=7.000 1/0
            rejected: bad_value
        "#]],
    );
    let numbered = "time_format = 'epoch_ms'\ncolumns = { start = 1, duration = 2, ring = 3 }\n";
    for header in ["", "begin,secs,ring\n"] {
        let batch = decode(numbered, format!("{header}1000,2,3,more\n1000,2\n").as_bytes());
        assert_eq!((batch.events[0].time.0, batch.events[0].status), (6000, Status::Answered), "{header}");
        assert_eq!(batch.rejects.iter().map(|r| r.reason).collect::<Vec<_>>(), [Reject::WrongColumns], "{header}");
    }
}

#[test]
fn the_time_of_the_answer_tells_talk_ringing_and_status() {
    check(
        "time_zone = 'UTC'\ncolumns = { start = 1, answer = 2, time = 3, cause = 4 }\n",
        "2026-03-02 10:00:00,2026-03-02 10:00:04,2026-03-02 10:01:04,16\n\
         2026-03-02 10:00:00,,2026-03-02 10:01:04,USER_BUSY\n2026-03-02 10:00:00,0,2026-03-02 10:01:04,\n",
        expect![[r#"
            2026-03-02T10:01:04.000Z cdr status=answered duration=60.000 ring=4.000 q850=16 0/0
            2026-03-02T10:01:04.000Z cdr status=busy duration=0.000 ring=64.000 q850=17 0/0
            2026-03-02T10:01:04.000Z cdr status=no_answer duration=0.000 ring=64.000 0/0
        "#]],
    );
}

#[test]
fn a_missing_column_is_told_and_rejects_every_row() {
    let format = format("time_zone = 'UTC'\ncolumns = { time = 'end', callee = 'to' }\n");
    let (mut decoder, mut batch) = (decoder(&format), Batch::default());
    decoder.decode(b"end,from\n2026-03-02 10:00:00,1\n".to_vec(), None, &mut batch);
    assert_eq!(decoder.problem(), Some("csv: the header has no column `to`"));
    assert_eq!(batch.events.len(), 0);
    assert_eq!(batch.rejects.iter().map(|r| r.reason).collect::<Vec<_>>(), [Reject::WrongColumns]);
}

#[test]
fn a_clone_decodes_later_blocks_by_the_first_blocks_header() {
    let format = format("time_zone = 'UTC'\ncolumns = { time = 'end', callee = 'to' }\n");
    let mut first = decoder(&format);
    first.learn(b"to,end\n1,2026-03-02 10:00:00\n");
    let (mut second, mut batch) = (first.clone(), Batch::default());
    second.decode(b"112,2026-03-02 10:00:00\nto,end\n".to_vec(), None, &mut batch);
    assert_eq!(batch.text(batch.events[0].callee.raw), b"112");
    assert_eq!((batch.events.len(), batch.rejects.len()), (1, 0));
}

#[test]
fn a_header_is_not_forgotten_while_a_stream_is_idle() {
    let mut named = decoder(&format("time_zone = 'UTC'\ncolumns = { time = 'end', callee = 'to' }\n"));
    assert!(!named.has_learned());
    named.learn(b"to,end\n");
    assert!(named.has_learned());
    let mut by_row = decoder(&format(ASTERISK));
    by_row.learn(b",1,2,c,,SIP/a-1,,,,2009-01-14 23:51:15,,2009-01-14 23:51:20,5,0,BUSY,3\n");
    assert!(!by_row.has_learned(), "each of its rows tells by itself");
}

#[test]
fn rows_that_do_not_fit_have_their_reasons() {
    let settings = "time_zone = 'UTC'\nheader = false\n\
                    columns = { time = 1, kind = 2, duration = 3, sip_code = 4, source_ip = 5, anonymous = 6, call_id = 7 }\n";
    let long = "x".repeat(256);
    for (row, expected) in [
        ("2026-03-02 10:00:00,cdr,1,200,10.0.0.1,yes,x", None),
        (",cdr,1,200,10.0.0.1,no,x", Some(Reject::NoTime)),
        ("2026-02-30 10:00:00,,,,,,", Some(Reject::BadTime)),
        ("2026-03-02 10:00:00,ring,,,,,", Some(Reject::UnknownKind)),
        ("2026-03-02 10:00:00,,-1,,,,", Some(Reject::BadValue)),
        ("2026-03-02 10:00:00,,1:2:3:4,,,,", Some(Reject::BadValue)),
        ("2026-03-02 10:00:00,,,OK,,,", Some(Reject::BadValue)),
        ("2026-03-02 10:00:00,,,,nowhere,,", Some(Reject::BadValue)),
        ("2026-03-02 10:00:00,,,,,maybe,", Some(Reject::BadValue)),
        (&format!("2026-03-02 10:00:00,,,,,,{long}"), Some(Reject::FieldTooLong)),
    ] {
        let batch = decode(settings, row.as_bytes());
        assert_eq!(batch.rejects.first().map(|r| r.reason), expected, "{row}");
    }
    assert_eq!(decode(settings, b"2026-03-02 10:00:00,,,,,,\xff").rejects[0].reason, Reject::NotUtf8);
}

#[test]
fn the_real_asterisk_files_are_read() {
    for (file, n_events, reasons) in [
        ("asterisk/Master_testsuite.csv", 2, vec![]),
        ("asterisk/Master_pjsip.csv", 9, vec![]),
        ("asterisk/cdrlib_good.csv", 5, vec![]),
        ("asterisk/cdrlib_buggy.csv", 0, vec![Reject::Incomplete]),
    ] {
        let Some(bytes) = shared(file) else { continue };
        let batch = decode(ASTERISK, &bytes);
        assert_eq!(batch.events.len(), n_events, "{file}\n{}", shown(&batch));
        assert_eq!(batch.rejects.iter().map(|r| r.reason).collect::<Vec<_>>(), reasons, "{file}");
        assert!(batch.events.iter().all(|e| e.status != Status::Unknown), "{file}");
    }
    let Some(bytes) = shared("asterisk/Master_pjsip.csv") else { return };
    let batch = decode(ASTERISK, &bytes);
    expect![[r#"
        2023-07-26T01:52:04.000Z cdr caller=client1 callee=6789 status=answered duration=13.000 ring=18.000 trunk=PJSIP/client1 call_id=1690325492.2 0/0
    "#]]
    .assert_eq(&(describe(&batch, &batch.events[0]) + "\n"));
}

#[test]
fn the_real_handset_calls_are_read_without_loss() {
    let Some(bytes) = shared("mobile/real_handset_calls.csv") else { return };
    let settings = include_str!("../../../tests/data/csv/handset.toml");
    let all = batches(&format(settings), &bytes, &[100_000]);
    let events: Vec<_> = all.iter().flat_map(|b| b.events.iter().map(move |e| (b, e))).collect();
    assert_eq!(events.len(), 8452);
    assert_eq!(all.iter().map(|b| b.rejects.len()).sum::<usize>(), 0);
    let n_zero = bytes.split(|b| *b == b'\n').filter(|l| l.windows(3).any(|w| w == b",0,")).count();
    assert_eq!(events.iter().filter(|(_, e)| e.duration_ms == 0).count(), n_zero);
    assert!(events.iter().all(|(_, e)| (e.status == Status::Answered) == (e.duration_ms > 0)));
    assert_eq!(
        describe(events[0].0, events[0].1),
        "2010-09-15T18:21:15.000Z cdr direction=inbound caller=07434677419 callee=07610039694 status=answered \
         duration=211.000 0/0"
    );
}

proptest! {
    #[test]
    fn any_bytes_are_taken_however_they_are_split(
        text in proptest::collection::vec(prop_oneof![
            Just("\""), Just("\n"), Just(","), Just(";"), Just("2026-03-02 10:00:00"), Just("12"), Just("ANSWERED"),
            Just("end;from;to;secs\n"), Just("\u{feff}"), Just("\r"), Just("å<1>"),
            Just(",1,2,c,,SIP/a-1,,,,2009-01-14 23:51:15,,2009-01-14 23:51:20,5,0,BUSY,3\n")], 0..60),
        cut in any::<u8>(),
        noise in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let bytes = [&[cut][..], text.concat().as_bytes(), &noise].concat();
        for format in property::csv_formats() {
            property::splitting_changes_nothing(&format, &bytes);
        }
    }
}
