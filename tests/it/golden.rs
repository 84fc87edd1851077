//! `ringfence replay` on real captures and call records: what it counts, of each kind, is what a person counted once in
//! the messages and rows themselves.
//!
//! The numbers stand in `tests/data/golden`, a file an input, rewritten with `UPDATE_EXPECT=1`. Whoever rewrites one has
//! read the input anew: [`CASES`] says what there is to be found.

use std::fmt::Write;
use std::path::Path;

use expect_test::expect_file;

use crate::support::{project, ringfence, shared};

/// One replay: files below `data` of the shared folder, how they are read, and what a person found in them.
struct Case {
    golden: &'static str,
    files: &'static [&'static str],
    read: As,
    more: &'static [&'static str],
    found: &'static str,
}

/// How the files are read.
#[derive(Clone, Copy)]
enum As {
    /// By the name of each.
    Named,
    Format(&'static str),
    /// By settings below `tests/data/csv`.
    Settings(&'static str),
    /// By settings that are of use for this file alone.
    Own(&'static str),
}

const fn capture(golden: &'static str, files: &'static [&'static str], found: &'static str) -> Case {
    Case { golden, files, read: As::Named, more: &[], found }
}

const fn records(golden: &'static str, files: &'static [&'static str], read: As, found: &'static str) -> Case {
    Case { golden, files, read, more: &[], found }
}

/// All captures and streams, and all files of calls whose dialect is known or can be told by settings.
const CASES: &[Case] = &[
    capture(
        "heplify_ipip0",
        &["sip/pcap/heplify_ipip0.pcap"],
        "IP in IP; an INVITE without an answer, a 403 without its INVITE, 3 REGISTER with 401, 2 of them with credentials",
    ),
    capture(
        "metasploit_invite_spoof",
        &["sip/pcap/sipnab_metasploit_sip_invite_spoof.pcap"],
        "one INVITE without tags, branch or callee, and a 180; nothing ends it",
    ),
    capture(
        "auth_failure",
        &["sip/pcap/sipnab_sip_auth_failure.pcapng"],
        "REGISTER: 401, then 403 to credentials; the SUBSCRIBE behind it is no event",
    ),
    capture(
        "proxy",
        &["sip/pcap/sipnab_sip_proxy.pcap"],
        "one call on both sides of its proxy: one attempt, one answer, hung up by the callee after 2 s",
    ),
    capture("register", &["sip/pcap/sipnab_sip_register.pcap"], "one REGISTER, accepted"),
    capture("sdp_example", &["sip/pcap/sipnab_sip_sdp_example.pcap"], "one call, hung up by the callee after 3.1 s"),
    capture(
        "ipv6frag",
        &["sip/pcap/sngrep_ipv6frag.pcap"],
        "one call on two hops, with PRACK and UPDATE before its answer, up for 160.8 s, hung up by the caller; its 200 has \
         two tags in To, its BYE only the second",
    ),
    capture("compact_form", &["sip/pcap/sv_compact_form.pcap"], "one INVITE with compact headers, no answer"),
    capture(
        "header_multi_value",
        &["sip/pcap/sv_header_multi_value.pcap"],
        "one INVITE with lists of values, no answer",
    ),
    capture("options", &["sip/pcap/sv_options.pcap"], "one OPTIONS"),
    capture("pattern_matching", &["sip/pcap/sv_pattern_matching.pcap"], "one REGISTER without credentials, 401"),
    capture("sdp", &["sip/pcap/sv_sdp.pcap"], "an INVITE and a 200 without a tag; no BYE"),
    capture("tcp_method", &["sip/pcap/sv_tcp_method.pcap"], "one REGISTER over TCP, accepted"),
    capture("tcp_pattern", &["sip/pcap/sv_tcp_pattern.pcap"], "one REGISTER over TCP without credentials, 401"),
    capture(
        "invalid_content_length",
        &["sip/pcap/zeek_invalid_content_length.pcap"],
        "an INVITE whose Content-Length is no number, and its 200; no BYE",
    ),
    capture(
        "wireshark",
        &["sip/pcap/zeek_wireshark.pcap"],
        "18 REGISTER: 14 with 401, one 403, 3 accepted; 6 with credentials that were refused. 4 calls in 11 INVITE: one \
         cancelled (11 CANCEL), two refused after 407, one 480",
    ),
    capture(
        "hep_real_captures",
        &["hep/streams/real_captures.hep"],
        "19 calls of 21 years: 11 answered, 7 of them hung up; 4 refused or cancelled, 2 given up when their Call-ID came \
         again, which one of 2005 does three times in 2024; 34 registrations, 9 accepted, 9 with credentials refused; 2 \
         OPTIONS; 5 re-INVITE",
    ),
    capture(
        "hep_sipp_branch_scenario",
        &["hep/streams/sipp_branch_scenario.hep"],
        "420 Call-IDs, each a REGISTER (accepted) and an INVITE: 344 refused with 403, 70 hung up by the caller (of 4 the \
         200 is missing), 4 answered without a BYE, 2 without anything; BYEs after a 403 are nothing",
    ),
    capture(
        "hep_b2bcall",
        &["hep/streams/hepgen_b2bcall.hep"],
        "one call in two legs, answered after a 407, 1.3 s and 8.5 s up",
    ),
    Case {
        golden: "hep_b2bcall_merged",
        files: &["hep/streams/hepgen_b2bcall.hep"],
        read: As::Named,
        more: &["--merge"],
        found: "the same call: its second leg, known by the correlation id, is left out",
    },
    capture("hep_b2bcall_reg_auth", &["hep/streams/hepgen_b2bcall_reg_auth.hep"], "one REGISTER: 401, then accepted"),
    capture(
        "hep_b2bcall_rfc7206_rtcp",
        &["hep/streams/hepgen_b2bcall_rfc7206_rtcp.hep"],
        "the call in two legs, up for 16.5 s and 23.7 s; reports of RTCP and log lines between",
    ),
    capture(
        "hep_b2bcall_rtcp_huge",
        &["hep/streams/hepgen_b2bcall_rtcp_huge.hep"],
        "the call in two legs among 2,496 reports of RTCP, up for four minutes",
    ),
    capture(
        "hep_default",
        &["hep/streams/hepgen_default.hep"],
        "an INVITE that was challenged and not tried again, an OPTIONS; PUBLISH is no event",
    ),
    capture("hep_isup_json", &["hep/streams/hepgen_isup_json.hep"], "ISUP in JSON alone: nothing"),
    capture("hep_log", &["hep/streams/hepgen_log.hep"], "log lines alone: nothing"),
    capture(
        "hep_loop_simple",
        &["hep/streams/hepgen_loop_simple.hep"],
        "one call without any tags, so that nobody knows who hung up",
    ),
    capture("hep_scanner", &["hep/streams/hepgen_scanner.hep"], "the INVITE of a scanner, no answer"),
    capture("hep_xrtp_stats", &["hep/streams/hepgen_xrtp_stats.hep"], "a BYE whose call was not seen: nothing"),
    records(
        "asterisk_pjsip",
        &["cdr/asterisk/Master_pjsip.csv"],
        As::Format("asterisk"),
        "9 calls between two phones, 7 answered, 3 of them for 10 s and more; the others rang out",
    ),
    records(
        "asterisk_testsuite",
        &["cdr/asterisk/Master_testsuite.csv"],
        As::Format("asterisk"),
        "2 calls of 7 s from nobody to extension 1",
    ),
    records(
        "asterisk_cdrlib",
        &["cdr/asterisk/cdrlib_good.csv"],
        As::Format("asterisk"),
        "5 calls: 2 answered (one talks longer than it lasts), one failed, one not answered, one busy",
    ),
    records(
        "asterisk_cdrlib_buggy",
        &["cdr/asterisk/cdrlib_buggy.csv"],
        As::Format("asterisk"),
        "one row that ends inside a quote: rejected",
    ),
    records(
        "freeswitch_json",
        &["cdr/freeswitch/json_cdr_body.json"],
        As::Format("json-cdr"),
        "one call of 67.5 s; the switch sent the BYE to the caller, so that the callee hung up",
    ),
    records(
        "acc_parts",
        &["cdr/acc_flatstore/part1.csv", "cdr/acc_flatstore/part2.csv"],
        As::Settings("opensips.toml"),
        "a BYE in one file and its INVITE in the next: one call of 4 s; another INVITE whose BYE is missing",
    ),
    records(
        "acc_missed",
        &["cdr/acc_flatstore/fullMissed.csv"],
        As::Settings("opensips.toml"),
        "3 calls, none answered: 487, 404, 486",
    ),
    records(
        "acc_successful",
        &["cdr/acc_flatstore/fullSuccessfull.csv"],
        As::Settings("opensips.toml"),
        "4 calls of 2, 4, 4 and 2 s, hung up by the caller",
    ),
    records(
        "acc_ack",
        &["cdr/acc_flatstore/ackSuccessfull2.csv"],
        As::Own("dialect = \"kamailio-acc\"\ntime_zone = \"UTC\"\ncolumns = { caller = 9, callee = 14 }\n"),
        "out of a database: 2 calls of 28 and 40 s with their ACK, hung up by the caller, and a CANCEL alone",
    ),
    records(
        "broadworks_xml",
        &["cdr/broadworks/broadworks_v19.xml"],
        As::Format("broadworks"),
        "2 calls of 13.5 and 23.3 s between a start and an end of the file",
    ),
    Case {
        golden: "handsets",
        files: &["cdr/mobile/real_handset_calls.csv"],
        read: As::Settings("handset.toml"),
        more: &["--sort"],
        found: "8,452 calls of 18 handsets: 5,777 talked, 4,051 for 10 s, 1,351 for a minute, 217 for ten; 280 numbers \
                called, 356 were called; some clocks stood in 1980",
    },
    records(
        "cgrates_semicolons",
        &["cdr/generic/cgrates_fileContent2.csv"],
        As::Own(
            "delimiter = \";\"\ntime_zone = \"UTC\"\n\
             columns = { call_id = 1, account = 4, caller = 4, callee = 5, start = 6, duration = 7 }\n",
        ),
        "4 calls of 62, 123, 12 and 26 s; the third row begins with #, which settings cannot tell to be a comment",
    ),
    records(
        "bandicoot_orange",
        &["cdr/mobile/bandicoot_A_orange.csv"],
        As::Own(
            "delimiter = \";\"\ntime_zone = \"UTC\"\n\
             columns = { direction = 1, user = 3, other = 4, start = 5, duration = 6 }\n\
             words = { direction = { 1 = \"outbound\", 2 = \"inbound\" } }\n",
        ),
        "7 rows of one handset, 2 of them outbound; 4 with a duration, 68 to 201 s",
    ),
];

/// What each rule counts: events of a kind that meet a condition, by a field whose values are its keys.
const RULES: &[(&str, &str, &str, &str)] = &[
    ("attempts", "attempt", "", "customer"),
    ("attempts-callers", "attempt", "", "caller"),
    ("attempts-callees", "attempt", "", "callee"),
    ("attempts-senders", "attempt", "", "source_ip"),
    ("attempts-diverted", "attempt", "diverting is present", "customer"),
    ("answers", "answer", "", "customer"),
    ("ends", "end", "", "customer"),
    ("ends-answered", "end", "status == answered", "customer"),
    ("ends-busy", "end", "status == busy", "customer"),
    ("ends-no-answer", "end", "status == no_answer", "customer"),
    ("ends-cancelled", "end", "status == cancelled", "customer"),
    ("ends-rejected", "end", "status == rejected", "customer"),
    ("ends-failed", "end", "status == failed", "customer"),
    ("ends-unknown", "end", "status == unknown", "customer"),
    ("ends-by-caller", "end", "hangup_by == caller", "customer"),
    ("ends-by-callee", "end", "hangup_by == callee", "customer"),
    ("ends-by-network", "end", "hangup_by == network", "customer"),
    ("ends-by-unknown", "end", "hangup_by == unknown", "customer"),
    ("talks-1s", "end", "duration >= 1s", "customer"),
    ("talks-10s", "end", "duration >= 10s", "customer"),
    ("talks-60s", "end", "duration >= 60s", "customer"),
    ("talks-600s", "end", "duration >= 600s", "customer"),
    ("registers", "register", "", "customer"),
    ("registers-200", "register", "sip_code == 200", "customer"),
    ("registers-401", "register", "sip_code == 401", "customer"),
    ("registers-403", "register", "sip_code == 403", "customer"),
    ("registers-refused", "register", "auth_failed", "account"),
    ("requests", "request", "", "customer"),
    ("requests-options", "request", "method == \"OPTIONS\"", "customer"),
    ("requests-message", "request", "method == \"MESSAGE\"", "customer"),
];

/// The rules in their file. None is ever violated, and windows are as long as the longest file is out of order.
fn write_rules(folder: &Path) {
    let mut text = String::from("ringfence = 1\ndefault_action = \"allow\"\n");
    for (id, on, condition, per) in RULES {
        write!(text, "\n[[threshold]]\nid = \"{id}\"\non = \"{on}\"\n").expect("memory takes it");
        if !condition.is_empty() {
            writeln!(text, "where = '{condition}'").expect("memory takes it");
        }
        let rest = "measure = \"count\"\nwindow = \"1d\"\nwarning = \">= 100000\"";
        writeln!(text, "per = [\"{per}\"]\n{rest}").expect("memory takes it");
    }
    std::fs::create_dir(folder).expect("a folder for the rules");
    std::fs::write(folder.join("ruleset.toml"), text).expect("the rules are written");
}

/// The summary as a file that people compare: a line a number, of rules only those that counted.
fn render(summary: &serde_json::Value, said: &[&str]) -> String {
    let mut text = String::new();
    for (name, value) in summary.as_object().expect("a summary is an object") {
        if name != "rules" {
            writeln!(text, "{name}: {value}").expect("memory takes it");
        }
    }
    // As the rules are written, not by name: what belongs together stands together.
    for (id, ..) in RULES {
        let counts = &summary["rules"][id];
        for zero in ["warning", "critical", "evicted"] {
            assert_eq!(counts[zero], 0, "{id}: {summary}");
        }
        if counts["matched"] != 0 {
            writeln!(text, "rule {id}: {} in {} keys", counts["matched"], counts["keys"]).expect("memory takes it");
        }
    }
    for line in said {
        writeln!(text, "said: {line}").expect("memory takes it");
    }
    text
}

#[test]
fn replay_finds_in_every_real_file_what_a_person_counted_there() {
    let Some(shared) = shared("golden") else { return };
    let data = shared.join("data");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (rules, settings) = (folder.path().join("rules"), folder.path().join("settings.toml"));
    write_rules(&rules);
    for case in CASES {
        let path = |path: &Path| path.to_str().expect("plain names").to_owned();
        let mut args = ["replay", "--output", "summary", "--threads", "2", "--rules"].map(str::to_owned).to_vec();
        args.push(path(&rules));
        let format = match case.read {
            As::Named => None,
            As::Format(name) => Some(name.to_owned()),
            As::Settings(name) => Some(format!("csv:{}", path(&project().join("tests/data/csv").join(name)))),
            As::Own(text) => {
                std::fs::write(&settings, text).expect("the settings are written");
                Some(format!("csv:{}", path(&settings)))
            }
        };
        args.extend(format.into_iter().flat_map(|format| ["--input-format".to_owned(), format]));
        args.extend(case.more.iter().map(|word| (*word).to_owned()));
        args.extend(case.files.iter().map(|file| path(&data.join(file))));
        let out = ringfence(&args);
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{}: {said}", case.golden);
        let summary = serde_json::from_slice(&out.stdout).expect("a summary is JSON");
        let place = format!("{}/", path(&data));
        let said: Vec<&str> = said
            .lines()
            .filter(|line| !line.starts_with("events/s"))
            .map(|line| line.strip_prefix(&place).unwrap_or(line))
            .collect();
        let golden = project().join(format!("tests/data/golden/{}.txt", case.golden));
        eprintln!("{}: {}", case.golden, case.found);
        expect_file![golden].assert_eq(&render(&summary, &said));
    }
}

#[test]
fn every_real_file_of_calls_is_replayed_by_some_case() {
    let Some(shared) = shared("golden") else { return };
    let named: Vec<&str> = CASES.iter().flat_map(|case| case.files).copied().collect();
    let ending = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    for (folder, endings) in [
        ("sip/pcap", &["pcap", "pcapng"][..]),
        ("hep/streams", &["hep"]),
        ("cdr/asterisk", &["csv"]),
        ("cdr/freeswitch", &["json"]),
        ("cdr/acc_flatstore", &["csv"]),
        ("cdr/broadworks", &["xml"]),
        ("cdr/generic", &["csv"]),
        ("cdr/mobile", &["csv"]),
    ] {
        for entry in std::fs::read_dir(shared.join("data").join(folder)).expect("a folder of data") {
            let name = entry.expect("a folder can be listed").file_name().into_string().expect("plain names");
            let file = format!("{folder}/{name}");
            let is_left_out = LEFT_OUT.iter().any(|(left_out, _)| *left_out == file);
            assert!(
                !endings.contains(&ending(&name).as_str()) || named.contains(&file.as_str()) != is_left_out,
                "{file} is replayed by no case"
            );
        }
    }
    let mut golden: Vec<&str> = CASES.iter().map(|case| case.golden).collect();
    golden.sort_unstable();
    golden.dedup();
    assert_eq!(golden.len(), CASES.len(), "two cases have one golden file");
}

/// Files that no dialect covers, and why.
const LEFT_OUT: &[(&str, &str)] = &[
    ("cdr/asterisk/CELMaster1.csv", "channel events, not calls"),
    ("cdr/generic/cgrates_fileContent1.csv", "its durations have a unit (`10s`), which settings cannot tell"),
];
