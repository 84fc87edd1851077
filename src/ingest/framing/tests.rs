//! Streams cut in every way, good ones and bad ones.

use std::path::PathBuf;

use proptest::prelude::*;

use super::property::{STYLES, records, records_are_the_same_however_split};
use super::sip::is_start_line;
use super::*;
use crate::limits::{JSON_CDR_BYTES_MAX, RECORD_LINES_MAX, SIP_MESSAGE_BYTES_MAX};

/// A file of the shared test data, which is no part of the project.
fn shared(path: &str) -> Option<Vec<u8>> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let root = std::env::var_os("RINGFENCE_SHARED").map_or(beside, PathBuf::from);
    let bytes = std::fs::read(root.join("data").join(path));
    if bytes.is_err() {
        eprintln!("NOT RUN: {path} is not in RINGFENCE_SHARED");
    }
    bytes.ok()
}

/// The records of a stream, cut into reads of several sizes, as text.
fn check(style: Style, stream: &[u8], expected: &[&str]) {
    for read in [1, 2, 3, 7, 100, usize::MAX] {
        let found = records(style, stream, &[read]);
        let found: Vec<_> = found.iter().map(|record| String::from_utf8_lossy(record)).collect();
        assert_eq!(found, expected, "{style:?} in reads of {read}");
    }
}

#[test]
fn a_last_line_without_newline_counts() {
    assert_eq!(records(Style::Lines, b"a\nb", &[100]), [b"a\n".to_vec(), b"b".to_vec()]);
}

#[test]
fn a_line_of_the_limit_passes_and_one_byte_more_is_cut_and_costs_no_neighbour() {
    for (len, expected) in [(LINE_BYTES_MAX, None), (LINE_BYTES_MAX + 1, Some("too long")), (300_000, Some("too long"))]
    {
        let line = vec![b'x'; len];
        let stream = [b"first\n".as_slice(), &line, b"\nlast\n"].concat();
        for read in [1 << 20, 4096, 1000, 65_536] {
            let found = records(Style::Lines, &stream, &[read]);
            assert_eq!(found.len(), 3, "{len} {read}");
            assert_eq!((&found[0][..], &found[2][..]), (&b"first\n"[..], &b"last\n"[..]));
            if let Some(mark) = expected {
                assert_eq!(found[1], mark.as_bytes(), "{len} {read}");
            }
        }
    }
}

#[test]
fn quoted_records_go_on_over_newlines_and_a_stray_quote_costs_one_line() {
    let stream = b"a,\"b\nc\",d\r\n1,\"stray\n2,3\n4,5\n";
    let expected = [&b"a,\"b\nc\",d\r\n"[..], b"1,\"stray\n", b"2,3\n", b"4,5\n"];
    for read in [1, 2, 3, 7, 100] {
        assert_eq!(records(Style::Quoted(b','), stream, &[read]), expected, "{read}");
    }
    assert_eq!(first_record(b"x\"y,\"open", b','), First::Open { in_quotes: true });
    assert_eq!(first_record(b"x\"y\n", b','), First::Record { len: 3, end: 4 });
}

#[test]
fn an_unclosed_quote_is_given_up_after_so_many_lines() {
    let stream = [b"\"\n".as_slice(), &b"x\n".repeat(RECORD_LINES_MAX)].concat();
    assert_eq!(first_record(&stream, b','), First::Unclosed { line_end: 2 });
}

const OPTIONS: &str = "OPTIONS sip:a SIP/2.0\r\nVia: x\r\n\r\n";

fn sip(header: &str, body: &str) -> String {
    format!("MESSAGE sip:b SIP/2.0\r\n{header}\r\nVia: x\r\n\r\n{body}")
}

#[test]
fn sip_messages_end_where_their_content_length_says() {
    for header in
        ["Content-Length: 5", "content-length:5", "l: 5", "L\t :\r\n  5 ", "CONTENT-LENGTH  : 0005\t", "l: 5\r\nl: 5"]
    {
        let first = sip(header, "hello");
        check(Style::Sip, format!("{first}{OPTIONS}").as_bytes(), &[&first, OPTIONS]);
    }
    let bare = "SIP/2.0 200 OK\nContent-Length: 2\nTo: b\n\nhi";
    check(Style::Sip, format!("{bare}{OPTIONS}").as_bytes(), &[bare, OPTIONS]);
    let other = sip("X-Content-Length: 7\r\nSubject: x\r\n l: 9\r\nlx: 3", "");
    check(Style::Sip, format!("{other}{OPTIONS}").as_bytes(), &[&other, OPTIONS]);
}

#[test]
fn line_breaks_between_sip_messages_are_no_records_and_keep_no_one_waiting() {
    check(Style::Sip, format!("\r\n\r\n{OPTIONS}\r\n\r\n\0\0\r\n{OPTIONS}\r\n").as_bytes(), &[OPTIONS, OPTIONS]);
    let mut framer = Framer::new(Style::Sip);
    framer.space(4).extend_from_slice(b"\r\n\r\n");
    assert_eq!((framer.block(), framer.pending_bytes()), (None, 0));
    framer.space(100).extend_from_slice(OPTIONS.as_bytes());
    framer.space(4).extend_from_slice(b"\r\n");
    assert_eq!(framer.block(), Some(format!("{OPTIONS}\r\n").into_bytes()));
    assert_eq!((framer.block(), framer.pending_bytes(), framer.finish(), framer.broken()), (None, 0, None, None));
}

#[test]
fn a_sip_stream_whose_framing_is_lost_gives_what_was_before() {
    let bad = ["l: -1", "l: x", "l:", "l: 5 5", "l: 5, 5", "l: 5\r\nContent-Length: 6", "l:\r\nVia: y"];
    for bad in bad {
        check(Style::Sip, format!("{OPTIONS}{}{OPTIONS}", sip(bad, "hello")).as_bytes(), &[OPTIONS, "framing_lost"]);
    }
    for junk in ["GET / HTTP/1.1\r\nHost: x\r\n\r\n", "\u{1}\u{2}", "hello\r\n"] {
        check(Style::Sip, format!("{OPTIONS}{junk}{OPTIONS}").as_bytes(), &[OPTIONS, "framing_lost"]);
    }
    for length in [SIP_MESSAGE_BYTES_MAX.to_string(), "99999999999999999999999".into()] {
        let long = sip(&format!("l: {length}"), "");
        check(Style::Sip, format!("{OPTIONS}{long}").as_bytes(), &[OPTIONS, "message_too_long"]);
    }
}

#[test]
fn a_sip_message_of_the_limit_passes_and_one_byte_more_breaks_the_stream() {
    let head_len = sip("l: 60000", "").len();
    let body_len = SIP_MESSAGE_BYTES_MAX - head_len;
    for (more, expected) in [(0, vec![SIP_MESSAGE_BYTES_MAX]), (1, vec!["message_too_long".len()])] {
        let message = sip(&format!("l: {}", body_len + more), &"x".repeat(body_len + more));
        for read in [1000, 65_536, usize::MAX] {
            let found = records(Style::Sip, message.as_bytes(), &[read]);
            assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), expected, "{more} {read}");
        }
    }
    let endless = format!("OPTIONS sip:a SIP/2.0\r\n{}", "Via: x\r\n".repeat(10_000));
    assert_eq!(records(Style::Sip, endless.as_bytes(), &[777]), [b"message_too_long"]);
}

#[test]
fn what_is_left_of_a_sip_stream_is_read_as_far_as_no_line_is_cut() {
    let short = sip("l: 50", "hello");
    check(Style::Sip, short.as_bytes(), &[&short]);
    let unfinished = "OPTIONS sip:a SIP/2.0\r\nVia: x\r\n";
    check(Style::Sip, unfinished.as_bytes(), &[unfinished]);
    check(Style::Sip, b"OPTIONS sip:a SIP/2.0\r\nFrom: <sip:+4670", &["incomplete"]);
    check(Style::Sip, b"OPTIONS sip:a", &["incomplete"]);
}

#[test]
fn the_messages_of_a_real_sip_stream_are_told_apart() {
    for (name, n_messages) in [("packet_1", 1), ("packet_2", 2)] {
        let Some(stream) = shared(&format!("sip/sip3/{name}.sip")) else { return };
        let found = records(Style::Sip, &stream, &[13]);
        let start_lines = found.iter().filter(|r| r.split(|b| *b == b'\r').next().is_some_and(is_start_line));
        assert_eq!((start_lines.count(), found.len()), (n_messages, n_messages), "{name}");
    }
}

#[test]
fn hep_packets_end_where_their_header_says_and_a_wrong_one_breaks_the_stream() {
    let packet = "HEP3\0\u{b}hello";
    check(Style::Hep, format!("{packet}HEP3\0\u{6}{packet}").as_bytes(), &[packet, "HEP3\0\u{6}", packet]);
    check(Style::Hep, format!("{packet}EEP3\0\u{6}EEP1\0\u{6}").as_bytes(), &[packet, "EEP3\0\u{6}", "EEP1\0\u{6}"]);
    for broken in ["HEP3\0\u{5}", "HEP4\0\u{6}", "X", "HEPX"] {
        check(Style::Hep, format!("{packet}{broken}{packet}").as_bytes(), &[packet, "framing_lost"]);
    }
    check(Style::Hep, format!("{packet}HEP3\0\u{b}hell").as_bytes(), &[packet, "incomplete"]);
    check(Style::Hep, format!("{packet}HE").as_bytes(), &[packet, "incomplete"]);
}

#[test]
fn a_real_stream_of_hep_packets_comes_whole_however_it_is_cut() {
    for name in ["hepgen_default", "sipp_branch_scenario"] {
        let Some(stream) = shared(&format!("hep/streams/{name}.hep")) else { return };
        let n_packets = if name == "hepgen_default" { 8 } else { 3007 };
        for read in [1, 1000, 65_536] {
            let found = records(Style::Hep, &stream, &[read]);
            assert_eq!((found.len(), found.concat().len()), (n_packets, stream.len()), "{name} {read}");
        }
    }
}

#[test]
fn json_objects_end_at_their_brace_on_one_line_or_many() {
    let (one, many) =
        (r#"{"a":"}{\"\\","b":[{},{"c":{}}]}"#, "{\r\n\t\"a\" :\n{ \"b\":\"\\u000a\" } ,\n\"c\":[ {} ]\n}");
    check(Style::Json, format!("{one}\n{many}\r\n\n{one}{many} {one}").as_bytes(), &[one, many, one, many, one]);
    check(Style::Json, format!("\u{feff}[{one},\n {many}]\n{one}\n").as_bytes(), &[one, many, one]);
    let mut framer = Framer::new(Style::Json);
    framer.space(9).extend_from_slice(b"{}\n{}\r\n\n");
    assert_eq!(framer.block(), Some(b"{}\n{}\r\n\n".to_vec()));
    framer.space(4).extend_from_slice(b"\n  \n");
    assert_eq!((framer.block(), framer.pending_bytes(), framer.finish()), (None, 0, None));
}

#[test]
fn what_is_no_json_object_costs_no_neighbour() {
    let good = r#"{"a":"b"}"#;
    let both = |bad: &str, cut: &str| {
        check(Style::Json, format!("{good}\n{bad}\n{good}\n{good}").as_bytes(), &[good, cut, good, good]);
    };
    both("hello", "h");
    both("null\nnull\n 1", "n");
    both(r#"{"a":"b"#, "{\"a\":\"b\n");
    both(r#"{"a":{"b":1}"#, "{\"a\":{\"b\":1}\n");
    both(r#"{"a":1,"#, "{\"a\":1,\n");
    both(r#"{"a" 1, "b":{"c":{}}}"#, r#"{"a" 1"#);
    check(Style::Json, format!("{good}}}\n{good}").as_bytes(), &[good, "}", good]);
    check(Style::Json, format!("{good}\n{{\"a\":[").as_bytes(), &[good, "{\"a\":["]);
    check(Style::Json, b"hell", &["h"]);
}

#[test]
fn a_json_object_of_the_limit_passes_and_one_byte_more_is_cut_and_costs_no_neighbour() {
    for (len, mark) in
        [(JSON_CDR_BYTES_MAX, None), (JSON_CDR_BYTES_MAX + 1, Some("too long")), (600_000, Some("too long"))]
    {
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(len - 8));
        let stream = format!("{{}}\n {long}\n{{\"b\":2}}\n");
        for read in [1 << 20, 4096, 1000, 65_536] {
            let found = records(Style::Json, stream.as_bytes(), &[read]);
            let found: Vec<_> = found.iter().map(|record| String::from_utf8_lossy(record)).collect();
            assert_eq!(found, ["{}", mark.unwrap_or(&long), "{\"b\":2}"], "{len} {read}");
        }
    }
}

#[test]
fn no_byte_of_a_record_is_looked_at_again_when_more_comes() {
    let message = format!("OPTIONS sip:a SIP/2.0\r\nVia: {}", "x".repeat(1000));
    let mut messages = sip::Progress::default();
    let mut framer = Framer::new(Style::Json);
    framer.space(10).extend_from_slice(b"{}{\"a\":\"");
    assert_eq!(framer.block(), Some(b"{}".to_vec()));
    for n in 1..1000 {
        messages.first(&message.as_bytes()[..n]);
        // The start line's end is looked at until it is known what follows.
        assert_eq!(messages.looked(), if n == 23 { 22 } else { n });
        framer.space(1).push(b'x');
        assert_eq!((framer.block(), framer.seen), (None, 6 + n));
    }
}

#[test]
fn a_sip_stream_that_ends_inside_of_a_message_tells_it_without_what_stood_before() {
    let stream = b"\r\n\r\n\r\n\"OPTIONS sip:a SIP/2.0\r\n";
    for read in [1, 2, 3, 5, 100] {
        assert_eq!(records(Style::Sip, stream, &[read]), [&stream[6..]], "{read}");
    }
}

#[test]
fn a_read_gives_one_block_however_many_records_it_holds_or_breaks() {
    for (style, record) in [
        (Style::Json, "{x\n"),
        (Style::Json, "{}"),
        (Style::Hep, "HEP3\0\u{6}"),
        (Style::Sip, "OPTIONS sip:a SIP/2.0\n\n"),
        (Style::Lines, "\n"),
    ] {
        let mut framer = Framer::new(style);
        for _ in 0..4 {
            framer.space(0).extend_from_slice(record.repeat(65_536 / record.len()).as_bytes());
            assert!(framer.block().is_some());
            assert_eq!((framer.block(), framer.broken()), (None, None), "{style:?} {record:?}");
        }
    }
}

/// Pieces of which every style makes something.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let text = |text: &str| text.as_bytes().to_vec();
    prop_oneof![
        8 => proptest::sample::select(vec!["\"", "\n", ",", "ab", "{", "}", "\\", ":", "\n{", "{\"a\":", "[", "\r", " "])
            .prop_map(text),
        4 => proptest::sample::select(vec![
            "OPTIONS sip:a SIP/2.0\r\n", "SIP/2.0 200 OK\n", "Content-Length: 5\r\n", "l:\r\n 3\r\n", "l: 70000\r\n",
            "Via: x\r\n", "\r\n", "\r\n\r\n", "hello", OPTIONS,
        ]).prop_map(text),
        4 => proptest::sample::select(vec!["HEP3\0\u{b}hello", "EEP1\0\u{6}", "HEP3\0\u{5}", "HEP3\u{7f}\u{7f}", "HE"])
            .prop_map(text),
        1 => proptest::sample::select(vec![40usize, 40_000, 70_000, 200_000]).prop_map(|n| vec![b'y'; n]),
        1 => Just(b"\n".repeat(40)),
    ]
}

/// Pieces of one style after each other, so that most of the stream is good.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let long = |n: usize| format!("{{\"a\":\"{}\"}}", "z".repeat(n));
    prop_oneof![
        proptest::collection::vec(piece(), 0..60).prop_map(|pieces| pieces.concat()),
        proptest::collection::vec(
            prop_oneof![
                6 => Just(OPTIONS.to_owned()), 3 => Just("\r\n".to_owned()), 3 => Just(sip("l: 5", "hello")),
                1 => Just(sip("l: 40000", &"b".repeat(40_000))), 1 => Just(sip("l: 1", "xyz")),
            ],
            0..40
        )
        .prop_map(|pieces| pieces.concat().into_bytes()),
        proptest::collection::vec(
            prop_oneof![
                6 => Just("{\"a\":{}}".to_owned()), 3 => Just("\n".to_owned()), 2 => Just("{\"a\n".to_owned()),
                2 => Just("{\"a\":1\n".to_owned()), 1 => Just(long(150_000)), 1 => Just(long(JSON_CDR_BYTES_MAX)),
                1 => Just("junk".to_owned()),
            ],
            0..40
        )
        .prop_map(|pieces| pieces.concat().into_bytes()),
    ]
}

proptest! {
    #[test]
    fn records_are_the_same_however_the_stream_is_split(
        stream in stream(),
        reads in proptest::collection::vec(1usize..100_000, 1..20),
        small in proptest::collection::vec(1usize..50, 1..20),
    ) {
        for style in STYLES {
            let expected = records(style, &stream, &[usize::MAX]);
            prop_assert_eq!(&records(style, &stream, &reads), &expected);
            if stream.len() < 10_000 {
                prop_assert_eq!(&records(style, &stream, &small), &expected);
            }
        }
    }

    #[test]
    fn any_bytes_are_framed(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        records_are_the_same_however_split(&bytes);
    }
}
