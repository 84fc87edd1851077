//! The dialects of call records: real files where there are some, rows made from the published columns where not.

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::tests::{check, decode, format, shared, shown};
use super::{Dialect, DialectName, Settings};
use crate::event::{Batch, Reject};
use crate::ingest::property::{self, batches, decoder, describe};
use crate::limits::{LINE_BYTES_MAX, PAIRED_BYTES_MAX, PAIRED_CALLS_MAX, PAIRED_LEGS_MAX};

const FREESWITCH: &str = "dialect = 'freeswitch'\ntime_zone = 'UTC'\n";
const CUCM: &str = "dialect = 'cucm'\n";
const ACME: &str = "dialect = 'acme'\n";
const BROADWORKS: &str = "dialect = 'broadworks'\n";
const XML: &str = "dialect = 'broadworks-xml'\n";
const KAMAILIO: &str = "dialect = 'kamailio-acc'\ntime_zone = 'UTC'\n";

/// Every event and reject of a whole stream, as a file reader has them, with what its end lets go.
fn told(settings: &str, stream: &[u8], reads: &[usize]) -> String {
    let mut told = String::new();
    for batch in batches(&format(settings), stream, reads) {
        let mut rejects = batch.rejects.iter().peekable();
        for at in 0..=batch.events.len() {
            while let Some(reject) = rejects.next_if(|r| r.before as usize <= at) {
                told += &format!("rejected: {}\n", reject.reason.as_str());
            }
            told += &batch.events.get(at).map_or(String::new(), |event| describe(&batch, event) + "\n");
        }
    }
    told
}

fn check_stream(settings: &str, stream: &str, expected: Expect) {
    let whole = told(settings, stream.as_bytes(), &[]);
    expected.assert_eq(&whole);
    assert_eq!(told(settings, stream.as_bytes(), &[1]), whole, "byte by byte");
}

fn check_shared(settings: &str, path: &str, expected: Expect) {
    let Some(bytes) = shared(path) else { return };
    let whole = told(settings, &bytes, &[]);
    expected.assert_eq(&whole);
    assert_eq!(told(settings, &bytes, &[7]), whole, "in small reads");
}

#[test]
fn freeswitch_templates_are_told_apart_by_their_columns() {
    check(
        FREESWITCH,
        concat!(
            r#""Ann","1001","46812345","default","2026-03-02 10:00:00","2026-03-02 10:00:04","2026-03-02 10:01:10","70","66","NORMAL_CLEARING","u-1","u-2","acc","PCMU","PCMU""#,
            "\n",
            r#""","1001","46812345","default","2026-03-02 10:00:00","","2026-03-02 10:00:10","10","0","USER_BUSY","u-3","","","","""#,
            "\n",
            r#""acc","1001","1002","public","""Ann"" <1001>","sofia/internal/1001","","bridge","user/1002","2026-03-02 10:00:00","","2026-03-02 10:00:30","30","0","ORIGINATOR_CANCEL","3","u-4","""#,
            "\n",
            r#""u-5","","inbound","1001","1002","2026-03-02 10:00:04","2026-03-02 10:01:10","66","acc","","192.0.2.7","A","gw-east""#,
            "\n",
            r#""u-6","","inbound","1001","1002","","2026-03-02 10:01:10","0","acc","","192.0.2.7","A","""#,
            "\n",
            r#""something","else""#,
            "\n",
        ),
        expect![[r#"
            2026-03-02T10:01:10.000Z cdr caller=1001 callee=46812345 status=answered duration=66.000 ring=4.000 q850=16 account=acc caller_name=Ann call_id=u-1 0/0
            2026-03-02T10:00:10.000Z cdr caller=1001 callee=46812345 status=busy duration=0.000 ring=10.000 q850=17 call_id=u-3 0/0
            2026-03-02T10:00:30.000Z cdr caller=1001 callee=1002 status=cancelled duration=0.000 ring=30.000 account=acc caller_name=Ann call_id=u-4 0/0
            2026-03-02T10:01:10.000Z cdr caller=1001 callee=1002 status=answered duration=66.000 source_ip=192.0.2.7 trunk=gw-east account=acc call_id=u-5 0/0
            2026-03-02T10:01:10.000Z cdr caller=1001 callee=1002 status=no_answer duration=0.000 source_ip=192.0.2.7 account=acc call_id=u-6 0/0
            rejected: wrong_columns
        "#]],
    );
}

#[test]
fn the_rows_that_freeswitch_documents_are_read() {
    check(
        "dialect = 'freeswitch'\ntime_zone = 'Europe/Madrid'\nwords = { direction = { public = 'inbound' } }\n",
        concat!(
            r#""9007","9007","0034688886392","public","2014-05-29 16:59:50","","2014-05-29 16:59:50","0","0","NORMAL_CLEARING","a5c9f6c0-e752-11e3-8bfb-65b6c3cdac7d","","","","""#,
            "\n",
        ),
        expect![[r#"
            2014-05-29T14:59:50.000Z cdr direction=inbound caller=9007 callee=0034688886392 status=cancelled duration=0.000 ring=0.000 q850=16 caller_name=9007 call_id=a5c9f6c0-e752-11e3-8bfb-65b6c3cdac7d 0/0
        "#]],
    );
}

#[test]
fn nights_when_clocks_change_neither_lose_nor_repeat_a_call() {
    let settings = "dialect = 'freeswitch'\ntime_zone = 'Europe/Stockholm'\n";
    let row = |start: &str, answer: &str, end: &str, total: u32, talk: u32| {
        format!("x,1,2,c,{start},{answer},{end},{total},{talk},NORMAL_CLEARING,u,,\n")
    };
    let night = [
        // The hour that comes twice: its first pass.
        row("2026-10-25 02:10:00", "2026-10-25 02:10:05", "2026-10-25 02:20:05", 605, 600),
        // Over the change: the clock shows an end before the start, and means its second pass.
        row("2026-10-25 02:50:00", "2026-10-25 02:50:05", "2026-10-25 02:10:05", 1205, 1200),
        // The hour that never was.
        row("2026-03-29 02:30:00", "2026-03-29 02:30:01", "2026-03-29 02:30:11", 11, 10),
        // Over it.
        row("2026-03-29 01:59:50", "2026-03-29 01:59:55", "2026-03-29 03:00:05", 15, 10),
    ]
    .concat();
    check(
        settings,
        &night,
        expect![[r#"
        2026-10-25T00:20:05.000Z cdr caller=1 callee=2 status=answered duration=600.000 ring=5.000 q850=16 caller_name=x call_id=u 0/0
        2026-10-25T01:10:05.000Z cdr caller=1 callee=2 status=answered duration=1200.000 ring=5.000 q850=16 caller_name=x call_id=u 0/0
        2026-03-29T01:30:11.000Z cdr caller=1 callee=2 status=answered duration=10.000 ring=1.000 q850=16 caller_name=x call_id=u 0/0
        2026-03-29T01:00:05.000Z cdr caller=1 callee=2 status=answered duration=10.000 ring=5.000 q850=16 caller_name=x call_id=u 0/0
    "#]],
    );
}

#[test]
fn cucm_rows_are_known_by_their_header_and_the_row_of_types_is_no_call() {
    let header = "\"cdrRecordType\",\"globalCallID_callManagerId\",\"globalCallID_callId\",\"dateTimeOrigination\",\
                  \"origIpAddr\",\"callingPartyNumber\",\"origCause_value\",\"originalCalledPartyNumber\",\
                  \"finalCalledPartyNumber\",\"destCause_value\",\"dateTimeConnect\",\"dateTimeDisconnect\",\
                  \"lastRedirectDn\",\"duration\",\"origDeviceName\",\"incomingProtocolCallRef\"";
    let text = format!(
        "{header}\nINTEGER,INTEGER,INTEGER,INTEGER,INTEGER,VARCHAR(50),INTEGER,VARCHAR(50),VARCHAR(50),INTEGER,INTEGER,\
         INTEGER,VARCHAR(50),INTEGER,VARCHAR(129),VARCHAR(32)\n\
         1,2,77,1772445600,-1139627840,\"1001\",0,\"1002\",\"1002\",16,1772445605,1772445665,\"1002\",60,\"SEP0011\",\n\
         1,2,78,1772445600,16885952,\"1001\",16,\"1002\",\"0701234567\",0,0,1772445620,\"1002\",0,\"TRUNK-A\",\"abc@cucm\"\n\
         1,2,79,1772445600,0,\"1001\",0,\"1002\",\"\",17,0,1772445620,\"1002\",0,\"TRUNK-A\",\"00AF\"\n{header}\n\
         1,2,80,yesterday,0,\"1001\",0,\"1002\",\"\",17,0,1772445620,\"1002\",0,\"TRUNK-A\",\"\"\n"
    );
    check(
        CUCM,
        &text,
        expect![[r#"
        2026-03-02T10:01:05.000Z cdr caller=1001 callee=1002 status=answered duration=60.000 ring=5.000 q850=16 hangup_by=callee source_ip=192.168.18.188 trunk=SEP0011 call_id=2-77 0/0
        2026-03-02T10:00:20.000Z cdr caller=1001 callee=0701234567 diverting=1002 status=cancelled duration=0.000 ring=20.000 q850=16 hangup_by=caller source_ip=192.168.1.1 trunk=TRUNK-A call_id=abc@cucm 0/0
        2026-03-02T10:00:20.000Z cdr caller=1001 callee=1002 status=busy duration=0.000 ring=20.000 q850=17 hangup_by=callee trunk=TRUNK-A call_id=2-79 0/0
        rejected: bad_time
    "#]],
    );
}

#[test]
fn a_cucm_file_without_its_header_says_why_no_row_can_be_read() {
    let (mut decoder, mut batch) = (decoder(&format(CUCM)), Batch::default());
    decoder.decode(b"1,2,77,1772445600\n".to_vec(), None, &mut batch);
    assert_eq!(decoder.problem(), Some("csv: the first row is no header of this dialect"));
    assert_eq!(batch.rejects.iter().map(|r| r.reason).collect::<Vec<_>>(), [Reject::WrongColumns]);
}

#[test]
fn local_times_without_a_zone_are_rejected_and_the_reason_is_told() {
    for (time, problem) in [
        ("2026-03-02 10:00:00", Some("csv: times are local and of no zone: set `time_zone`")),
        ("soon", None),
        ("1772445600", None),
    ] {
        let (mut decoder, mut batch) = (decoder(&format("dialect = 'kamailio-acc'\n")), Batch::default());
        decoder.decode(format!("INVITE|a|b|one@x|404|no|{time}\n").into_bytes(), None, &mut batch);
        assert_eq!((decoder.problem(), batch.events.len()), (problem, usize::from(time == "1772445600")), "{time}");
    }
}

/// A stop record with its cells set by the numbers of the published lists.
fn acme_stop(n_columns: usize, cells: &[(usize, &str)]) -> String {
    let mut row = vec![String::new(); n_columns];
    for (number, text) in cells {
        if let Some(cell) = row.get_mut(number - 1) {
            *cell = format!("\"{}\"", text.replace('"', "\"\""));
        }
    }
    row.join(",") + "\n"
}

const ACME_CALL: &[(usize, &str)] = &[
    (1, "2"),
    (5, "SDabc@10.0.0.1"),
    (10, "\"Ann B\" <sip:+46700000001@192.0.2.9:5060>;tag=SD1"),
    (11, "<sip:+46800000002@10.0.0.1;user=phone>"),
    (13, "61"),
    (14, "10:00:00.500 UTC MAR 02 2026"),
    (15, "10:00:04.250 UTC MAR 02 2026"),
    (16, "10:01:05.500 UTC MAR 02 2026"),
    (23, "access"),
    (120, "812"),
    (126, "sip:+46700000009@192.0.2.9"),
    (128, "192.0.2.9:5060"),
    (131, "<sip:+46800000007@10.0.0.1>;reason=unconditional"),
    (133, "2"),
    (134, "16"),
    (135, "200"),
];

#[test]
fn acme_stop_records_of_every_release_are_read_and_starts_are_passed_over() {
    let unanswered: Vec<_> = ACME_CALL
        .iter()
        .map(|(number, text)| match number {
            13 => (13, "0"),
            15 => (15, "0"),
            122 => (122, ""),
            134 => (134, "17"),
            135 => (135, "486"),
            _ => (*number, *text),
        })
        .chain([(122, "TG-7")])
        .collect();
    let text = [
        acme_stop(171, ACME_CALL),
        acme_stop(175, &unanswered),
        acme_stop(20, ACME_CALL),
        "1,start\n3,interim\n9,what\n".into(),
    ]
    .concat();
    let numbers: Vec<_> = decode(ACME, text.as_bytes()).events.iter().map(|e| e.callee.number.to_string()).collect();
    assert_eq!(numbers, ["+46800000002"; 3]);
    check(
        ACME,
        &text,
        expect![[r#"
        2026-03-02T10:01:05.500Z cdr caller=sip:+46700000001@192.0.2.9:5060 callee=sip:+46800000002@10.0.0.1;user=phone asserted=sip:+46700000009@192.0.2.9 diverting=sip:+46800000007@10.0.0.1 status=answered duration=61.000 ring=3.750 setup=0.812 sip_code=200 q850=16 hangup_by=callee source_ip=192.0.2.9 trunk=access caller_name=Ann B call_id=SDabc@10.0.0.1 0/0
        2026-03-02T10:01:05.500Z cdr caller=sip:+46700000001@192.0.2.9:5060 callee=sip:+46800000002@10.0.0.1;user=phone asserted=sip:+46700000009@192.0.2.9 diverting=sip:+46800000007@10.0.0.1 status=busy duration=0.000 ring=65.000 setup=0.812 sip_code=486 q850=17 hangup_by=callee source_ip=192.0.2.9 trunk=TG-7 caller_name=Ann B call_id=SDabc@10.0.0.1 0/0
        2026-03-02T10:01:05.500Z cdr caller=sip:+46700000001@192.0.2.9:5060 callee=sip:+46800000002@10.0.0.1;user=phone status=answered duration=61.000 ring=3.750 caller_name=Ann B call_id=SDabc@10.0.0.1 0/0
        rejected: wrong_columns
    "#]],
    );
}

#[test]
fn the_acme_columns_are_those_of_the_published_lists() {
    for release in ["C620", "C630", "C640"] {
        let Some(list) = shared(&format!("acme_packet_fields/{release}_stop.csv")) else { return };
        let list = String::from_utf8(list).unwrap();
        for (number, name) in [
            (5, "Acme-Session-Ingress-CallId"),
            (10, "Calling-Station-Id"),
            (11, "Called-Station-Id"),
            (13, "Acct-Session-Time"),
            (14, "h323-setup-time"),
            (15, "h323-connect-time"),
            (16, "h323-disconnect-time"),
            (23, "Acme-Session-Ingress-Realm"),
            (120, "Acme-Post-Dial-Delay"),
            (122, "Acme-Originating-Trunk-Group"),
            (126, "Acme-P-Asserted-ID"),
            (128, "Acme-Ingress-Remote-Addr"),
            (131, "Acme-SIP-Diversion"),
            (133, "Acme-Disconnect-Initiator"),
            (134, "Acme-Disconnect-Cause"),
            (135, "Acme-SIP-Status"),
        ] {
            let line = format!("{number},{name},");
            assert!(list.lines().any(|l| l.starts_with(&line)), "{release}: {line}");
        }
    }
}

#[test]
fn broadworks_rows_have_the_published_order() {
    let row = "001,SP,Normal,+4610,+4611,Originating,+4612,Public,+4613,20260302100000.100,1+010000,Yes,\
               20260302100003.100,20260302100103.100,016,VoIP,,0013,local,,,,local,gw1,nid@host,PCMA,192.0.2.1,aid@host";
    let mut long: Vec<&str> = row.split(',').collect();
    long.resize(121, "");
    (long[5], long[7], long[11], long[12], long[14], long[22]) = ("Terminating", "Private", "No", "", "019", "remote");
    (long[24], long[38], long[120]) = ("", "+4699", "ann@example.net");
    let text = format!("000,,Start\n{row}\n{}\n002,SP,Long Duration\n003,,End\n004,SP,Normal\nx\n", long.join(","));
    check(
        BROADWORKS,
        &text,
        expect![[r#"
        2026-03-02T10:01:03.100Z cdr direction=outbound caller=+4612 callee=+4613 status=answered duration=60.000 ring=3.000 q850=16 hangup_by=caller source_ip=192.0.2.1 trunk=gw1 call_id=nid@host 0/0
        2026-03-02T10:01:03.100Z cdr direction=inbound caller=+4612 callee=+4613 diverting=+4699 status=no_answer duration=0.000 ring=63.000 q850=19 hangup_by=caller anonymous=yes source_ip=192.0.2.1 trunk=gw1 account=ann@example.net call_id=aid@host 0/0
        rejected: wrong_columns
        rejected: wrong_columns
    "#]],
    );
}

#[test]
fn the_real_broadworks_file_is_read() {
    check_shared(
        XML,
        "broadworks/broadworks_v19.xml",
        expect![[r#"
        2016-04-19T21:00:20.296Z cdr caller=1001 callee=+4915117174963 status=answered duration=13.483 ring=1.566 q850=16 source_ip=172.16.1.4 trunk=CGR_GROUP/CGR_GROUP_TRUNK30 account=1001@cgrates.org call_id=74122796919420162305@172.16.1.2 user_agent=OmniPCX Enterprise R11.0.1 k1.520.22.b 0/0
        2016-04-19T21:00:30.322Z cdr caller=+4986517174964 callee=1001 status=answered duration=23.285 ring=0.128 q850=16 source_ip=172.16.1.4 trunk=CGR_GROUP/CGR_GROUP_TRUNK65 account=314028947650@cgrates.org call_id=108352493719420162306@172.31.250.150 user_agent=Altitude vBox 0/0
    "#]],
    );
}

#[test]
fn a_bad_element_costs_its_own_record_only_and_nothing_is_expanded() {
    let record = |inside: &str| format!("<cdrData><type>Normal</type>{inside}</cdrData>\n");
    let good = record("<releaseTime>20260302100000</releaseTime><callingNumber>1&#50;3&amp;</callingNumber>");
    let stream = [
        "<?xml version='1.0'?>\n<!DOCTYPE broadWorksCDR [<!ENTITY bomb SYSTEM \"file:///etc/passwd\">]>\n<broadWorksCDR>\n",
        &good,
        &record("<releaseTime>20260302100001</releaseTime><callingNumber>&bomb;</callingNumber>"),
        &record("<releaseTime>20260302100002"),
        "</cdrData>",
        &record("<releaseTime>never</releaseTime>"),
        "<cdrData><releaseTime>lost</cdrData>",
        &record(&format!("<x>{}</x>", "y".repeat(LINE_BYTES_MAX))),
        "<cdrData><type>Normal</type><releaseTime>2026 <!-- opened and never closed -->\n",
        &good,
        "<cdrData><type>Interim</type></cdrData></broadWorksCDR>\n",
    ]
    .concat();
    check_stream(
        XML,
        &stream,
        expect![[r#"
        2026-03-02T10:00:00.000Z cdr caller=123& status=no_answer duration=0.000 0/0
        rejected: malformed
        rejected: malformed
        rejected: malformed
        rejected: bad_time
        rejected: malformed
        rejected: line_too_long
        2026-03-02T10:00:00.000Z cdr caller=123& status=no_answer duration=0.000 0/0
    "#]],
    );
    check_stream(
        XML,
        "<broadWorksCDR><cdrData><type>Nor",
        expect![[r#"
        rejected: incomplete
    "#]],
    );
    check_stream(
        XML,
        "1,2,3\n",
        expect![[r#"
        rejected: malformed
    "#]],
    );
}

#[test]
fn xml_is_read_in_the_encoding_it_declares() {
    let record =
        b"<cdrData><type>Normal</type><releaseTime>20260302100000</releaseTime><userAgent>\xe5</userAgent></cdrData>";
    let latin = [&b"<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>"[..], record].concat();
    let batch = decode(XML, &latin);
    assert_eq!(batch.text(batch.events[0].user_agent), "å".as_bytes());
    assert_eq!(decode(XML, record).rejects[0].reason, Reject::NotUtf8);
}

#[test]
fn the_real_flatstore_files_become_calls() {
    let columns = format!("{KAMAILIO}columns = {{ caller = 9, callee = 10 }}\n");
    check_shared(
        &columns,
        "acc_flatstore/fullSuccessfull.csv",
        expect![[r#"
        2015-07-09T15:06:50.000Z cdr caller=1001 callee=1002 status=answered duration=2.000 sip_code=200 hangup_by=caller call_id=dd0c4c617a9919d29a6175cdff223a9e@0:0:0:0:0:0:0:0 0/0
        2015-07-09T15:10:51.000Z cdr caller=1002 callee=1001 status=answered duration=4.000 sip_code=200 hangup_by=caller call_id=214d8f52b566e33a9349b184e72a4cca@0:0:0:0:0:0:0:0 0/0
        2015-07-09T15:11:01.000Z cdr caller=1001 callee=1002 status=answered duration=4.000 sip_code=200 hangup_by=caller call_id=3a63321dd3b325eec688dc2aefb6ac2d@0:0:0:0:0:0:0:0 0/0
        2015-07-09T15:11:32.000Z cdr caller=1001 callee=1002 status=answered duration=2.000 sip_code=200 hangup_by=caller call_id=a58ebaae40d08d6757d8424fb09c4c54@0:0:0:0:0:0:0:0 0/0
    "#]],
    );
    check_shared(
        &columns,
        "acc_flatstore/fullMissed.csv",
        expect![[r#"
        2015-07-09T15:10:43.000Z cdr caller=1001 callee=1002 status=cancelled duration=0.000 sip_code=487 call_id=0bfdd176d1b93e7df3de5c6f4873ee04@0:0:0:0:0:0:0:0 0/0
        2015-07-09T15:11:08.000Z cdr caller=1001 callee=1002 status=failed duration=0.000 sip_code=404 call_id=81880da80a94bda81b425b09009e055c@0:0:0:0:0:0:0:0 0/0
        2015-07-09T15:11:27.000Z cdr caller=1002 callee=1001 status=busy duration=0.000 sip_code=486 call_id=8deaadf2ae9a17809a391f05af31afb0@0:0:0:0:0:0:0:0 0/0
    "#]],
    );
    let columns = format!("{KAMAILIO}columns = {{ caller = 9, callee = 14 }}\n");
    check_shared(
        &columns,
        "acc_flatstore/ackSuccessfull2.csv",
        expect![[r#"
        2021-06-01T00:00:37.000Z cdr caller=1001 callee=1002 status=answered duration=28.000 sip_code=200 hangup_by=caller call_id=CGqwerty-asd5sdf456s1f53a1sf51s648486h4et86h46 0/0
        2021-06-01T00:00:50.000Z cdr caller=1003 callee=1004 status=answered duration=40.000 sip_code=200 hangup_by=caller call_id=CGqwerty-56dfghs56hj4fg56j56sdgf516351drfg 0/0
        2021-06-01T00:00:42.000Z cdr caller=1005 callee=1006 status=cancelled duration=0.000 hangup_by=caller call_id=CGqwerty-dfgdfhdfgjfgdh534dfg563h56dr56deghed6r5 0/0
    "#]],
    );
}

#[test]
fn a_bye_in_one_file_ends_the_call_that_the_next_file_tells() {
    let columns = format!("{KAMAILIO}columns = {{ caller = 9, callee = 10 }}\n");
    let (Some(one), Some(two)) = (shared("acc_flatstore/part1.csv"), shared("acc_flatstore/part2.csv")) else { return };
    let (mut decoder, mut batch) = (decoder(&format(&columns)), Batch::default());
    assert!(decoder.is_stateful());
    decoder.decode(one, None, &mut batch);
    assert_eq!(shown(&batch), "");
    decoder.begin_file();
    decoder.decode(two, None, &mut batch);
    expect![[r#"
        2015-07-09T15:10:51.000Z cdr caller=1002 callee=1003 status=answered duration=4.000 sip_code=200 hangup_by=caller call_id=214d8f52b566e33a9349b184e72a4ccb@0:0:0:0:0:0:0:0 0/0
    "#]].assert_eq(&shown(&batch));
    decoder.finish(None, &mut batch);
    expect![[r#"
        2015-07-09T15:06:48.000Z cdr caller=1001 callee=1002 status=answered sip_code=200 call_id=dd0c4c617a9919d29a6175cdff223a9p@0:0:0:0:0:0:0:0 0/0
    "#]].assert_eq(&shown(&batch));
}

#[test]
fn rows_of_a_call_come_in_any_order_and_copies_change_nothing() {
    let invite = "INVITE|a|b|one@x|200|OK|1772445600|+4670|example.net|192.0.2.1|+46800|+46801|example.net\n";
    let (ack, bye) = ("ACK|a|b|one@x|200|OK|1772445600\n", "BYE|b|a|one@x|200|OK|1772445660\n");
    let expected = "2026-03-02T10:01:00.000Z cdr caller=+4670 callee=+46801 status=answered duration=60.000 sip_code=200 \
                    hangup_by=callee source_ip=192.0.2.1 call_id=one@x domain=example.net 0/0\n";
    for order in [
        [invite, ack, bye],
        [invite, bye, ack],
        [bye, invite, ack],
        [bye, ack, invite],
        [ack, bye, invite],
        [ack, invite, bye],
    ] {
        assert_eq!(told(KAMAILIO, order.concat().as_bytes(), &[]), expected, "{order:?}");
        assert_eq!(told(KAMAILIO, [order, order].concat().concat().as_bytes(), &[]), expected, "twice: {order:?}");
    }
    let unstamped = "INVITE|a|b|one@x|200|OK||+4670|example.net|192.0.2.1|+46800|+46801|example.net\n";
    for order in [[unstamped, ack, bye], [bye, unstamped, ack], [ack, bye, unstamped]] {
        assert_eq!(told(KAMAILIO, order.concat().as_bytes(), &[]), expected, "{order:?}");
    }
}

#[test]
fn one_attempt_however_many_rows_a_call_has() {
    check_stream(
        KAMAILIO,
        concat!(
            // Asked for credentials; then answered; a re-INVITE accepted, another refused; over.
            "INVITE|a|x1|one@x|407|Proxy Authentication Required|1772445600\n",
            "INVITE|a|b|one@x|200|OK|1772445601\n",
            "INVITE|b|a|one@x|200|OK|1772445610\n",
            "INVITE|a|b|one@x|491|Request Pending|1772445611\n",
            "BYE|a|b|one@x|200|OK|1772445621\n",
            // Cancelled: both rows, either alone.
            "CANCEL|c||two@x|200|OK|1772445600\nINVITE|c|d|two@x|487|Request Terminated|1772445600\n",
            "INVITE|c|d|three@x|487|Request Terminated|1772445600\nCANCEL|c||three@x|200|OK|1772445600\n",
            "CANCEL|c||four@x|200|OK|1772445600\n",
            // The CANCEL came too late.
            "CANCEL|c||five@x|200|OK|1772445600\nINVITE|c|d|five@x|200|OK|1772445600\nBYE|c|d|five@x|200|OK|1772445603\n",
            // Busy at one, answered by the next.
            "INVITE|e|f|six@x|486|Busy here|1772445600\nINVITE|e|g|six@x|200|OK|1772445604\nBYE|g|e|six@x|200|OK|1772445605\n",
            // Other requests.
            "MESSAGE|h|i|seven@x|200|OK|1772445600\nREGISTER|h|i|eight@x|403|Forbidden|1772445600\nINFO|h|i|n@x|200|OK|1\n",
            // Never ended; an end of something else.
            "INVITE|j|k|ten@x|200|OK|1772445600\nBYE|l|m|eleven@x|200|OK|1772445600\nBYE|n|o|twelve@x|200|OK|\nBYE|a\n",
        ),
        expect![[r#"
            2026-03-02T10:00:21.000Z cdr status=answered duration=20.000 sip_code=200 hangup_by=caller call_id=one@x 0/0
            2026-03-02T10:00:00.000Z cdr status=cancelled duration=0.000 sip_code=487 call_id=two@x 0/0
            2026-03-02T10:00:00.000Z cdr status=cancelled duration=0.000 sip_code=487 call_id=three@x 0/0
            2026-03-02T10:00:03.000Z cdr status=answered duration=3.000 sip_code=200 hangup_by=caller call_id=five@x 0/0
            2026-03-02T10:00:00.000Z cdr status=busy duration=0.000 sip_code=486 call_id=six@x 0/0
            2026-03-02T10:00:05.000Z cdr status=answered duration=1.000 sip_code=200 hangup_by=callee call_id=six@x 0/0
            2026-03-02T10:00:00.000Z message sip_code=200 call_id=seven@x method=MESSAGE 0/0
            2026-03-02T10:00:00.000Z register sip_code=403 call_id=eight@x method=REGISTER 0/0
            rejected: no_time
            rejected: wrong_columns
            2026-03-02T10:00:00.000Z cdr status=cancelled duration=0.000 hangup_by=caller call_id=four@x 0/0
            2026-03-02T10:00:00.000Z cdr status=answered sip_code=200 call_id=ten@x 0/0
            rejected: incomplete
        "#]],
    );
}

#[test]
fn a_call_over_the_end_of_summer_time_is_as_long_as_it_was() {
    check_stream(
        "dialect = 'kamailio-acc'\ntime_zone = 'Europe/Stockholm'\n",
        "INVITE|a|b|one@x|200|OK|2026-10-25 02:50:00\nBYE|a|b|one@x|200|OK|2026-10-25 02:10:00\n\
         INVITE|c|d|two@x|200|OK|2026-07-01 02:50:00\nBYE|c|d|two@x|200|OK|2026-07-01 02:10:00\n",
        expect![[r#"
            2026-10-25T01:10:00.000Z cdr status=answered duration=1200.000 sip_code=200 hangup_by=caller call_id=one@x 0/0
            2026-07-01T00:10:00.000Z cdr status=answered duration=0.000 sip_code=200 hangup_by=caller call_id=two@x 0/0
        "#]],
    );
}

#[test]
fn a_row_with_its_duration_is_the_whole_call() {
    check_stream(
        KAMAILIO,
        "method,from_tag,to_tag,callid,sip_code,sip_reason,time,duration,setuptime,src_user,dst_user\n\
         INVITE,a,b,one@x,200,OK,2026-03-02 10:00:00,30,4,4670,46800\n\
         INVITE,a,b,one@x,200,OK,2026-03-02 10:00:00,30,4,4670,46800\n\
         CANCEL,a,,two@x,481,Call leg does not exist,2026-03-02 10:00:00,,,4670,46800\n",
        expect![[r#"
            2026-03-02T10:00:30.000Z cdr caller=4670 callee=46800 status=answered duration=30.000 setup=4.000 sip_code=200 call_id=one@x 0/0
        "#]],
    );
}

#[test]
fn a_database_export_is_read_by_its_header_and_with_commas() {
    check_stream(
        KAMAILIO,
        "id,method,from_tag,to_tag,callid,sip_code,sip_reason,time,src_user,dst_user\n\
         1,INVITE,a,b,one@x,200,OK,2026-03-02 10:00:00,4670,46800\n\
         2,BYE,a,b,one@x,200,OK,2026-03-02 10:00:30,,\n",
        expect![[r#"
            2026-03-02T10:00:30.000Z cdr caller=4670 callee=46800 status=answered duration=30.000 sip_code=200 hangup_by=caller call_id=one@x 0/0
        "#]],
    );
}

#[test]
fn open_calls_leave_by_age_and_one_wild_time_costs_few_of_them() {
    let invite = |n: u32, time: u64| format!("INVITE|a|b|{n}@x|200|OK|{time}\n");
    let mut text: String = (0..10).map(|n| invite(n, 1_772_445_600)).collect();
    text += &invite(10, 1_772_445_600 + 12 * 3600);
    let n_events = |text: &str| decode(KAMAILIO, text.as_bytes()).events.len();
    assert_eq!(n_events(&text), 0, "twelve hours old is not older");
    assert_eq!(n_events(&(text.clone() + &invite(11, 1_772_445_601 + 12 * 3600))), 2);
    assert_eq!(n_events(&(text.clone() + &invite(11, 9_999_999_999))), 2, "not all ten");
    let many: String = (0..6).map(|n| invite(20 + n, 1_772_445_601 + 12 * 3600)).collect();
    assert_eq!(n_events(&(text + &many)), 10);
}

#[test]
fn open_calls_are_bounded_by_number_and_by_branch() {
    let stream: String = (0..PAIRED_CALLS_MAX + 5).map(|n| format!("INVITE|a|b|{n}@x|200|OK|1772445600\n")).collect();
    let batch = decode(KAMAILIO, stream.as_bytes());
    assert_eq!((batch.events.len(), batch.rejects.len()), (5, 0));
    assert_eq!(batch.text(batch.events[0].call_id), b"0@x", "the oldest leaves first");
    let forks: String = (0..PAIRED_LEGS_MAX + 3).map(|n| format!("INVITE|a|b{n}|1@x|200|OK|1772445600\n")).collect();
    assert_eq!(decode(KAMAILIO, forks.as_bytes()).events.len(), 3);
    let byes: String = (0..50).map(|n| format!("BYE|a|b|{n}@x|200|OK|1772445600\n")).collect();
    let told = told(KAMAILIO, byes.as_bytes(), &[]);
    assert_eq!(told, "rejected: incomplete\n".repeat(50), "an end of a call nobody told of");
}

#[test]
fn what_open_calls_hold_is_bounded_however_it_grows() {
    let settings = format!("{KAMAILIO}columns = {{ caller = 8, callee = 9, account = 10, domain = 11 }}\n");
    let long = "9".repeat(1000);
    let n_calls = PAIRED_BYTES_MAX / 4000 + 100;
    let mut reader = decoder(&format(&settings));
    let (mut batch, mut n_events) = (Batch::default(), 0);
    // First a little of each call, then much.
    let acks: String = (0..n_calls).map(|n| format!("ACK|a|b|{n}@x|200|OK|1772445600\n")).collect();
    reader.decode(acks.into_bytes(), None, &mut batch);
    for n in 0..n_calls {
        let row = format!("INVITE|a|b|{n}@x|200|OK|1772445600|{long}|{long}|{long}|{long}\n");
        reader.decode(row.into_bytes(), None, &mut batch);
        n_events += batch.events.len();
    }
    assert!((50..1000).contains(&n_events), "{n_events}");
}

#[test]
fn an_open_quote_at_the_end_of_any_file_costs_its_record_only() {
    for (settings, row) in [
        (FREESWITCH, "x,1,2,c,2026-03-02 10:00:00,,2026-03-02 10:00:05,5,0,NO_ANSWER,u,,\n"),
        (KAMAILIO, "INVITE|a|b|one@x|404|Not Found|1772445600\n"),
        (ACME, &acme_stop(171, ACME_CALL)),
    ] {
        let told = told(settings, format!("{row}\"open").as_bytes(), &[]);
        assert_eq!(told.lines().count(), 2, "{told}");
        assert!(told.ends_with("\nrejected: incomplete\n"), "{told}");
    }
}

#[test]
fn what_a_dialect_needs_is_said_with_advice() {
    let problems = |settings: &str| {
        let settings: Settings = toml::from_str(settings).unwrap();
        Dialect::new(&settings).unwrap_err().join("\n") + "\n"
    };
    expect![[r#"
        csv.columns.caller: columns are counted from 1
        csv.columns: a call needs `time` (its end) or `start`
        csv.time_zone: FreeSWITCH writes local times; say of which zone, or `UTC`
    "#]]
    .assert_eq(&problems("dialect = 'freeswitch'\ncolumns = { caller = 0, callee = 1 }"));
    expect![[r#"
        csv.header: only the header row tells the columns of this dialect; or number `columns`
    "#]]
    .assert_eq(&problems("dialect = 'cucm'\nheader = false\n"));
    expect![[r#"
        csv.columns: this dialect knows its elements by their names; leave them out
        csv.delimiter: elements have none; leave it out
        csv.header: elements have no header row; leave it out
    "#]]
    .assert_eq(&problems(
        "dialect = 'broadworks-xml'\nheader = true\ndelimiter = ','\ncolumns = { caller = 'callingNumber' }",
    ));
    expect![[r#"
        csv.columns: rows of this dialect have no names; count the extra columns from 1
    "#]]
    .assert_eq(&problems("dialect = 'kamailio-acc'\ncolumns = { caller = 'user' }"));
    for dialect in DialectName::ALL {
        let named: Settings = toml::from_str(&format!("dialect = '{}'", dialect.as_str())).unwrap();
        assert_eq!((named.dialect, DialectName::parse(dialect.as_str())), (dialect, Some(dialect)));
    }
}

proptest! {
    /// Each call by its rows, of which every order tells the same.
    #[test]
    fn every_order_of_rows_tells_each_call_once(
        rows in Just((0..6u32).flat_map(|n| {
            let (time, user) = (1_772_445_600 + n, format!("||||u{n}"));
            let row = |method: &str, tags: &str, code: u32, s: u32| {
                format!("{method}|{tags}|{n}@x|{code}|x|{}{user}\n", time + s)
            };
            match n % 3 {
                0 => vec![row("INVITE", "a|b", 200, 0), row("ACK", "a|b", 200, 0), row("BYE", "b|a", 200, 9)],
                1 => vec![row("INVITE", "a|b", 487, 5), row("CANCEL", "a|", 200, 5)],
                _ => vec![row("INVITE", "a|", 404, 1), row("INVITE", "a|", 404, 1), row("INVITE", "a|q", 401, 0)],
            }
        }).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let settings = format!("{KAMAILIO}columns = {{ caller = 11 }}\n");
        let mut calls: Vec<String> = told(&settings, rows.concat().as_bytes(), &[]).lines().map(str::to_owned).collect();
        calls.sort();
        let expected = [
            "2026-03-02T10:00:03.000Z cdr caller=u2 status=failed duration=0.000 sip_code=404 call_id=2@x 0/0",
            "2026-03-02T10:00:06.000Z cdr caller=u1 status=cancelled duration=0.000 sip_code=487 call_id=1@x 0/0",
            "2026-03-02T10:00:06.000Z cdr caller=u5 status=failed duration=0.000 sip_code=404 call_id=5@x 0/0",
            "2026-03-02T10:00:09.000Z cdr caller=u0 status=answered duration=9.000 sip_code=200 hangup_by=callee call_id=0@x 0/0",
            "2026-03-02T10:00:09.000Z cdr caller=u4 status=cancelled duration=0.000 sip_code=487 call_id=4@x 0/0",
            "2026-03-02T10:00:12.000Z cdr caller=u3 status=answered duration=9.000 sip_code=200 hangup_by=callee call_id=3@x 0/0",
        ];
        prop_assert_eq!(calls, expected);
    }

    #[test]
    fn any_record_is_taken_however_it_is_split(
        dialect in any::<u8>(),
        cut in any::<u8>(),
        text in proptest::collection::vec(prop_oneof![
            Just("\""), Just("\n"), Just(","), Just("|"), Just("<cdrData>"), Just("</cdrData>"), Just("<type>Normal</type>"),
            Just("<releaseTime>20260302100000</releaseTime>"), Just("&amp;"), Just("&x;"), Just("<broadWorksCDR>"),
            Just("INVITE|a|b|one@x|200|OK|1772445600\n"), Just("INVITE|a|b|one@x|200|OK|\n"),
            Just("BYE|b|a|one@x|200|OK|1772445660\n"), Just("ACK|a|b|one@x|200|OK|1772445601\n"),
            Just("CANCEL|a||one@x|200|OK|1772445600\n"), Just("INVITE|a||one@x|487|no|1772445600\n"),
            Just("INVITE|a|c|one@x|200|OK|1872445600\n"), Just("BYE|x|y|two@x|200|OK|1972445660\n"),
            Just("callingPartyNumber,finalCalledPartyNumber,dateTimeDisconnect\n"), Just("1,2,1772445600\n"),
            Just("INTEGER,INTEGER,INTEGER\n"), Just("2,Stop,Normal"), Just("2026-03-02 10:00:00"),
            Just("x,1,2,c,2026-03-02 10:00:00,,2026-03-02 10:00:05,5,0,NO_ANSWER,u,,\n"),
            Just("1,SP,Normal,1,2,Originating,3,Public,4,20260302100000,,Yes,20260302100003,20260302100103,16,,,,,,,,local,g,i@h\n"),
        ], 0..60),
        noise in proptest::collection::vec(any::<u8>(), 0..20),
    ) {
        let bytes = [&[dialect, cut][..], text.concat().as_bytes(), &noise].concat();
        property::any_cdr_is_taken(&bytes);
    }
}
