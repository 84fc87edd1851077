//! What is told of events and rules, and that it never differs from what the engine does.

use std::sync::Arc;

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;
use crate::event::dialplan::DialPlan;
use crate::event::{Batch, Names};
use crate::ingest::{Decoder, FeedContext, Format};
use crate::policy::{DynamicLists, LoadOptions, RuleSource, load};

fn example() -> Policy {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/example");
    let loaded = load(&RuleSource::at(folder), LoadOptions::default());
    assert_eq!(loaded.n_errors(), 0, "{:?}", loaded.problems);
    loaded.policy.unwrap()
}

/// An event as a feed would send it.
fn batch(line: &str, names: &Arc<Names>) -> Batch {
    let context = FeedContext::file(Arc::clone(names), DialPlan::default());
    let mut batch = Batch::default();
    Decoder::new(&Format::Ndjson, Arc::new(context)).decode(format!("{line}\n").into_bytes(), None, &mut batch);
    assert!(batch.rejects.is_empty(), "{line}: {:?}", batch.rejects);
    batch
}

fn rules(policy: &Policy) -> impl Iterator<Item = Rule<'_>> {
    policy.firewall.iter().map(Rule::Firewall).chain(policy.thresholds.iter().map(Rule::Threshold))
}

/// Every rule of the specification's example: `+` and what held, or `-` and why not.
fn check(line: &str, expected: Expect) {
    let (policy, names) = (example(), Arc::new(Names::new()));
    let batch = batch(line, &names);
    let dynamic = DynamicLists::new(policy.lists.len());
    let view = View { event: &batch.events[0], batch: &batch, policy: &policy, names: &names, dynamic: &dynamic };
    let mut told = String::new();
    for rule in rules(&policy) {
        let explained = explain_rule(&policy, rule, &view);
        match explained.why_not() {
            Some(reason) => told += &format!("- {}: {reason}\n", rule.id()),
            None => {
                told += &format!("+ {}\n", rule.id());
                explained.deciding().iter().for_each(|step| told += &format!("    {}\n", step.told()));
            }
        }
    }
    expected.assert_eq(&told);
}

#[test]
fn a_call_to_a_listed_range_after_hours_is_told_with_its_entry_and_the_local_time() {
    check(
        r#"{"time":"2026-03-02T21:41:07Z","kind":"attempt","direction":"outbound","account":"pbx-22","caller":"+4684000007","callee":"+22355501234"}"#,
        expect![[r#"
            - fw-harassers: direction is outbound
            - fw-scanner-ua: user_agent is absent
            - fw-spoofed-own: direction is outbound
            - fw-attest-c: direction is outbound
            - fw-auto-block: caller +4684000007 is not in $auto_block, source_ip is absent
            - ips-wangiri: it runs on end, this is an attempt
            + ips-irsf-after-hours
                direction is outbound
                @high_risk: callee in $irsf_ranges "+2235550*" (lists/irsf.csv:2; irsf; Mali premium range; NOC-118)
                outside(business): Mon 22:41 Europe/Stockholm, "business" is Mon-Fri 07:00-18:00
            - ips-tdos-callee: direction is outbound
            - ips-war-dialing: direction is outbound
            - ips-robocall-short: it runs on end, this is an attempt
            - ips-reg-bruteforce: it runs on register, this is an attempt
            - ips-traffic-pumping: it runs on end, this is an attempt
            - ips-trunk-concurrent: trunk is absent: no key
            - ips-asr-drop: it runs on end, this is an attempt
        "#]],
    );
}

#[test]
fn a_holiday_that_nobody_wrote_down_is_named() {
    check(
        r#"{"time":"2026-12-23T13:00:00Z","kind":"attempt","direction":"outbound","account":"pbx-22","caller":"+4684000007","callee":"+22355501234"}"#,
        expect![[r#"
            - fw-harassers: direction is outbound
            - fw-scanner-ua: user_agent is absent
            - fw-spoofed-own: direction is outbound
            - fw-attest-c: direction is outbound
            - fw-auto-block: caller +4684000007 is not in $auto_block, source_ip is absent
            - ips-wangiri: it runs on end, this is an attempt
            - ips-irsf-after-hours: outside(business) is false: 2026-12-23 is not in closed_dates of "business"; Wed 14:00 Europe/Stockholm
            - ips-tdos-callee: direction is outbound
            - ips-war-dialing: direction is outbound
            - ips-robocall-short: it runs on end, this is an attempt
            - ips-reg-bruteforce: it runs on register, this is an attempt
            - ips-traffic-pumping: it runs on end, this is an attempt
            - ips-trunk-concurrent: trunk is absent: no key
            - ips-asr-drop: it runs on end, this is an attempt
        "#]],
    );
}

#[test]
fn a_short_ring_from_abroad_is_told_with_its_prefix() {
    check(
        r#"{"time":"2026-12-25T10:00:05Z","kind":"end","direction":"inbound","trunk":"pstn-1","caller":"+22355501234","callee":"+4684000007","ring":2.4,"status":"cancelled","attestation":"C"}"#,
        expect![[r#"
            - fw-harassers: it runs on attempt, this is an end
            - fw-scanner-ua: it runs on request, this is an end
            - fw-spoofed-own: it runs on attempt, this is an end
            - fw-attest-c: it runs on attempt, this is an end
            - fw-auto-block: it runs on attempt, this is an end
            + ips-wangiri
                direction is inbound
                the call was not answered (status is cancelled)
                ring is 2.4s
                @nordic is false: caller.country is ML
            - ips-irsf-after-hours: it runs on attempt, this is an end
            - ips-tdos-callee: it runs on attempt, this is an end
            - ips-war-dialing: it runs on attempt, this is an end
            - ips-robocall-short: the call was not answered (status is cancelled)
            - ips-reg-bruteforce: it runs on register, this is an end
            - ips-traffic-pumping: direction is inbound
            - ips-trunk-concurrent: it counts calls as they begin; an end only takes its call out again
            + ips-asr-drop
        "#]],
    );
}

#[test]
fn a_listed_caller_and_an_own_number_from_outside_are_told() {
    check(
        r#"{"time":"2026-03-02T10:00:00Z","kind":"attempt","direction":"inbound","trunk":"pstn-1","caller":"+46705550199","callee":"+4684000007","user_agent":"my SIPVicious/1.0"}"#,
        expect![[r#"
            + fw-harassers
                direction is inbound
                caller in $harassers "+46705550199" (lists/harassers.csv:2; calls the reception every night)
            + fw-scanner-ua
                user_agent contains $scanner_ua "sipvicious" (ruleset.toml)
            - fw-spoofed-own: caller +46705550199 is not in $own_numbers
            - fw-attest-c: attestation is unknown
            - fw-auto-block: caller +46705550199 is not in $auto_block, source_ip is absent
            - ips-wangiri: it runs on end, this is an attempt
            - ips-irsf-after-hours: direction is inbound
            + ips-tdos-callee
                direction is inbound
            + ips-war-dialing
                direction is inbound
            - ips-robocall-short: it runs on end, this is an attempt
            - ips-reg-bruteforce: it runs on register, this is an attempt
            - ips-traffic-pumping: it runs on end, this is an attempt
            + ips-trunk-concurrent
            - ips-asr-drop: it runs on end, this is an attempt
        "#]],
    );
    check(
        r#"{"time":"2026-03-02T10:00:00Z","kind":"attempt","direction":"inbound","trunk":"pstn-1","caller":"+4684001234","callee":"2001","attestation":"C"}"#,
        expect![[r#"
            - fw-harassers: caller +4684001234 is not in $harassers
            - fw-scanner-ua: user_agent is absent
            + fw-spoofed-own
                direction is inbound
                trunk in $pstn_trunks "pstn-1" (ruleset.toml)
                caller in $own_numbers "+4684000000..+4684009999" (ruleset.toml, entry 1)
                attestation is C
            - fw-attest-c: @nordic holds: caller.country is SE
            - fw-auto-block: caller +4684001234 is not in $auto_block, source_ip is absent
            - ips-wangiri: it runs on end, this is an attempt
            - ips-irsf-after-hours: direction is inbound
            + ips-tdos-callee
                direction is inbound
            + ips-war-dialing
                direction is inbound
            - ips-robocall-short: it runs on end, this is an attempt
            - ips-reg-bruteforce: it runs on register, this is an attempt
            - ips-traffic-pumping: it runs on end, this is an attempt
            + ips-trunk-concurrent
            - ips-asr-drop: it runs on end, this is an attempt
        "#]],
    );
}

#[test]
fn an_exception_is_told_with_its_reason() {
    check(
        r#"{"time":"2026-03-02T10:00:00Z","kind":"attempt","direction":"inbound","trunk":"pstn-1","caller":"+4684001234","callee":"+4684000007","diverting":"+4684000008"}"#,
        expect![[r#"
            - fw-harassers: caller +4684001234 is not in $harassers
            - fw-scanner-ua: user_agent is absent
            - fw-spoofed-own: excepted: forwarded back by carrier; noc; through 2027-03-31
            - fw-attest-c: attestation is unknown
            - fw-auto-block: caller +4684001234 is not in $auto_block, source_ip is absent
            - ips-wangiri: it runs on end, this is an attempt
            - ips-irsf-after-hours: direction is inbound
            + ips-tdos-callee
                direction is inbound
            + ips-war-dialing
                direction is inbound
            - ips-robocall-short: it runs on end, this is an attempt
            - ips-reg-bruteforce: it runs on register, this is an attempt
            - ips-traffic-pumping: it runs on end, this is an attempt
            + ips-trunk-concurrent
            - ips-asr-drop: it runs on end, this is an attempt
        "#]],
    );
}

#[test]
fn a_caller_that_withholds_the_number_has_no_key_and_a_record_is_told_as_one() {
    check(
        r#"{"time":"2026-03-02T10:00:00Z","kind":"cdr","direction":"inbound","caller":"anonymous","callee":"+4684000007","duration":90,"ring":7.5,"status":"answered"}"#,
        expect![[r#"
            - fw-harassers: caller anonymous is not in $harassers
            - fw-scanner-ua: user_agent is absent
            - fw-spoofed-own: trunk is absent
            - fw-attest-c: attestation is unknown
            - fw-auto-block: caller anonymous is not in $auto_block, source_ip is absent
            - ips-wangiri: the call was answered
            - ips-irsf-after-hours: direction is inbound
            + ips-tdos-callee
                direction is inbound
            - ips-war-dialing: caller is anonymous: no key
            - ips-robocall-short: caller anonymous is no E.164 number and has no prefix: no key
            - ips-reg-bruteforce: it runs on register, this is a whole call (cdr)
            - ips-traffic-pumping: direction is inbound
            - ips-trunk-concurrent: it follows calls that are up, and a whole record tells of one that is over
            - ips-asr-drop: trunk is absent: no key
        "#]],
    );
}

/// Tests that compile, with values that the events below meet and miss.
const TESTS: &[&str] = &[
    "caller == +46701234567",
    "caller != +4670*",
    "callee in {+46700000000..+46709999999, +1???976*, $irsf_ranges}",
    "callee not in $own_numbers",
    "caller in {$harassers, $own_numbers}",
    "prefix(caller, 4) in {+4670, +2235}",
    "len(callee) < 8",
    "lower(user_agent) == \"sipvicious\"",
    "user_agent contains {\"vicious\", $scanner_ua}",
    "user_agent not startswith \"Asterisk\"",
    "user_agent matches /^sip/",
    "trunk in $pstn_trunks",
    "trunk is present",
    "caller is not present",
    "direction == inbound",
    "inbound == direction",
    "hangup_by == caller",
    "caller == asserted",
    "caller.country != callee.country",
    "caller.country in {SE, NO}",
    "callee.class in {premium, mobile}",
    "ring < 6s",
    "6s <= ring",
    "duration in {1s..10s, 30s}",
    "sip_code in {400..499, 603}",
    "answered",
    "anonymous",
    "status not in {busy, failed}",
    "attestation in {A, B}",
    "source_ip in {192.0.2.0/24, ::1}",
    "time in {22:00..06:00}",
    "weekday in {Sat..Mon}",
    "date >= 2026-06-01",
    "during(business)",
    "outside(business)",
    "@nordic",
    "@high_risk",
    "caller in $auto_block",
];

const NUMBERS: &[&str] =
    &["+46701234567", "+22355501234", "+46705550199", "+4684001234", "+12129761234", "2001", "anonymous"];

fn expression() -> impl Strategy<Value = String> {
    let test = proptest::sample::select(TESTS).prop_map(str::to_owned);
    test.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            inner.clone().prop_map(|e| format!("not ({e})")),
            proptest::collection::vec(inner.clone(), 2..4).prop_map(|e| format!("({})", e.join(") and ("))),
            proptest::collection::vec(inner, 2..4).prop_map(|e| format!("({})", e.join(") or ("))),
        ]
    })
}

fn event() -> impl Strategy<Value = String> {
    let number = || proptest::option::of(proptest::sample::select(NUMBERS));
    let fields = (
        (number(), number(), number()),
        proptest::option::of(proptest::sample::select(["inbound", "outbound"].as_slice())),
        proptest::option::of(proptest::sample::select(["pstn-1", "sbc"].as_slice())),
        proptest::option::of(proptest::sample::select(["SIPVicious", "x sipcli", "Asterisk 20"].as_slice())),
        proptest::option::of(proptest::sample::select(["answered", "busy", "failed"].as_slice())),
        proptest::option::of(0u32..40),
        proptest::option::of(0u32..12),
        0i64..31_536_000,
    );
    fields.prop_map(|((caller, callee, asserted), direction, trunk, agent, status, duration, ring, second)| {
        let time = crate::clock::Timestamp(1_767_225_600_000 + second * 1000).to_string();
        let mut event =
            serde_json::json!({ "time": time, "kind": "end", "hangup_by": "caller", "source_ip": "192.0.2.7" });
        let texts = [("caller", caller), ("callee", callee), ("asserted", asserted), ("direction", direction)];
        let more = [("trunk", trunk), ("user_agent", agent), ("status", status)];
        for (name, value) in texts.into_iter().chain(more) {
            value.into_iter().for_each(|value| event[name] = value.into());
        }
        duration.into_iter().for_each(|value| event["duration"] = value.into());
        ring.into_iter().for_each(|value| event["ring"] = value.into());
        event.to_string()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn an_explanation_agrees_with_the_engine_in_the_whole_and_in_each_test(
        conditions in proptest::collection::vec(expression(), 8),
        lines in proptest::collection::vec(event(), 4),
    ) {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/example");
        let read = |path: &str| std::fs::read_to_string(folder.join(path)).unwrap();
        let mut text = read("ruleset.toml");
        for (i, condition) in conditions.iter().enumerate() {
            let active = if i == 0 { "active = 'business'\n" } else { "" };
            text += &format!("[[firewall]]\nid = 'r{i}'\non = 'end'\naction = 'block'\n{active}when = '{condition}'\n");
        }
        let lists = ["lists/irsf.csv", "lists/harassers.csv"].map(|path| (path.to_owned(), read(path)));
        let source = RuleSource::memory(lists.into_iter().chain([("ruleset.toml".to_owned(), text)]));
        let policy = load(&source, LoadOptions::default()).policy.expect("each test compiles");
        let (names, dynamic) = (Arc::new(Names::new()), DynamicLists::new(policy.lists.len()));
        for line in &lines {
            let batch = batch(line, &names);
            let view = View { event: &batch.events[0], batch: &batch, policy: &policy, names: &names, dynamic: &dynamic };
            for rule in rules(&policy).filter(|rule| rule.id().starts_with('r')) {
                let explained = explain_rule(&policy, rule, &view);
                let step = explained.condition.as_ref().expect("the words of the rule are kept");
                prop_assert_eq!(step.holds, rule.holds(&view), "{} of {}", rule.id(), line);
                prop_assert_eq!(explained.holds, rule.holds(&view));
                prop_assert_eq!(explained.why_not().is_none(), explained.holds);
                prop_assert!(!step.told().is_empty());
                for deciding in step.deciding() {
                    prop_assert!(!deciding.told().is_empty(), "{:?}", deciding);
                }
            }
        }
    }
}
