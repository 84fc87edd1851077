//! What is told of rules that nothing can reach: each kind that must be found, and never one that some event reaches.

use proptest::prelude::*;

use super::super::predicate::View;
use super::super::{Action, DynamicLists, LoadOptions, Loaded, Mode, Policy, RuleSource, load};
use crate::clock::Timestamp;
use crate::event::{Attestation, Batch, CallEvent, Direction, Flags, Kind, Names, Number, Party};

const HEADER: &str = "ringfence = 1\ndefault_action = \"allow\"\n\
    [lists]\npartners = { type = \"number\", items = [\"+4670*\"] }\n\
    [calendars]\nbusiness = { open = [\"Mon-Fri 07:00-18:00\"] }\n\
    [macros]\nnordic = 'caller.country in {SE, NO, DK, FI}'\n";

fn rules(rules: &[(String, &str, &str)]) -> Loaded {
    let rule = |(i, (when, action, more)): (usize, &(String, &str, &str))| {
        format!("[[firewall]]\nid = \"fw-{i}\"\nwhen = '''{when}'''\naction = \"{action}\"\n{more}\n")
    };
    let text = HEADER.to_owned() + &rules.iter().enumerate().map(rule).collect::<String>();
    load(&RuleSource::memory([("ruleset.toml", text)]), LoadOptions::default())
}

/// Places of the rules of which W101 is told, among those given.
fn unreachable(loaded: &Loaded) -> Vec<usize> {
    let told = loaded.problems.iter().filter(|problem| problem.code == "W101");
    told.filter_map(|p| p.message.split_whitespace().next()?.strip_prefix("fw-")?.parse().ok()).collect()
}

fn is_taken(above: &[&str], own: &str) -> bool {
    let all: Vec<_> = above.iter().chain([&own]).map(|when| ((*when).to_owned(), "block", "")).collect();
    let loaded = rules(&all);
    assert!(loaded.policy.is_some(), "{:?}", loaded.problems);
    unreachable(&loaded).contains(&above.len())
}

#[test]
fn a_rule_whose_events_one_above_takes_is_found() {
    for (above, own) in [
        ("caller == +234*", "caller in {+2348030000000..+2348039999999}"),
        ("caller in {+460*, +461*, +462*, +463*, +464*, +465*, +466*, +467*, +468*, +469*, +46*}", "caller == +4670*"),
        ("caller in {+46700000000..+46704999999, +46705000000..+46709999999}", "caller == +4670123????"),
        (
            "caller in {+46700000000..+46704999999, +46705000000..+46709999999}",
            "caller in {+46704000000..+46706000000}",
        ),
        ("caller == +1???976*", "caller == +1212976????"),
        ("caller == +1???976*", "caller in {+12129760000..+12129769999}"),
        ("callee in {short:90510, short:90500}", "callee == short:90500"),
        ("caller startswith +46", "caller in {+46701234567, +46701234568}"),
        ("direction in {inbound, internal}", "direction == inbound and anonymous"),
        ("direction != outbound", "direction == inbound"),
        ("direction == inbound", "direction not in {outbound, internal, unknown}"),
        ("caller.country in {SE, NO, DK}", "caller.country in {NO, SE} and anonymous"),
        ("@nordic", "caller.country == FI"),
        ("caller.country is present", "caller.country == FI"),
        ("caller is present", "caller in $partners"),
        ("time in {20:00..08:00}", "time in {22:00..06:00}"),
        ("weekday in {Mon..Fri}", "weekday in {Tue, Thu}"),
        ("source_ip in {10.0.0.0/8}", "source_ip in {10.1.0.0/16, 10.2.3.4}"),
        ("source_ip in {10.0.0.0/9, 10.128.0.0/9}", "source_ip == 10.0.0.0/8"),
        ("trunk in {\"a\", \"b\"}", "trunk == \"a\" and anonymous"),
        ("user_agent startswith \"sip\"", "user_agent == \"sipvicious\""),
        ("user_agent startswith \"sip\"", "user_agent startswith \"SIPv\""),
        ("user_agent matches /^sip/", "user_agent in {\"sipvicious\", \"sipcli\"}"),
        ("anonymous or direction == inbound", "direction == inbound and trunk == \"a\""),
        ("anonymous and direction == inbound", "(anonymous and trunk == \"a\") and direction == inbound"),
        ("anonymous", "(anonymous and trunk == \"a\") or (anonymous and trunk == \"b\")"),
        ("not (anonymous and direction == inbound)", "not anonymous"),
        ("not (caller == +46701*)", "not (caller == +4670*)"),
        ("caller != +46701*", "caller == +4673*"),
        ("caller in $partners", "caller in $partners and anonymous"),
        ("during(business)", "anonymous and during(business)"),
        ("not during(business)", "anonymous and outside(business)"),
        ("caller == asserted", "caller == asserted and anonymous"),
        ("anonymous == true", "anonymous and trunk == \"a\""),
        ("anonymous != true", "not anonymous"),
        ("len(callee) < 9", "len(callee) in {3..6}"),
        ("method == \"INVITE\" or method != \"INVITE\"", "anonymous"),
    ] {
        assert!(is_taken(&[above], own), "`{above}` takes all of `{own}`");
    }
}

#[test]
fn rules_that_take_all_events_only_together_are_found_and_named() {
    for (above, own) in [
        (&["direction == inbound", "direction in {outbound, internal, unknown}"][..], "anonymous"),
        (&["caller == +4670*", "anonymous", "caller == +4673*"], "caller in {+46701234567, +46731234567}"),
        (&["anonymous and direction == inbound", "anonymous and direction != inbound"], "anonymous and trunk == \"a\""),
        (&["trunk == \"a\"", "trunk == \"b\""], "trunk in {\"a\", \"b\"} and anonymous"),
    ] {
        assert!(is_taken(above, own), "{above:?} take all of `{own}`");
    }
    let some = [("caller == +4670*".to_owned(), "block", ""), ("anonymous".to_owned(), "block", "")];
    let more = [
        ("caller == +4673*".to_owned(), "block", ""),
        ("caller in {+46701234567, +46731234567}".to_owned(), "allow", ""),
    ];
    let loaded = rules(&[some, more].concat());
    let notes = &loaded.problems.iter().find(|p| p.code == "W101").unwrap().notes;
    assert_eq!(
        notes[..],
        [
            "fw-0 (line 9) and fw-2 (line 19) together already decide every event that this rule would match",
            "the actions differ (block comes before allow): move fw-3 above fw-0",
        ]
    );
}

#[test]
fn a_rule_whose_tests_exclude_each_other_is_found() {
    for own in [
        "direction == inbound and direction == outbound",
        "caller == +46* and caller == +47*",
        "caller in {+46701234567, +46701234568} and caller == +4673*",
        "caller == +46* and not (caller == +4*)",
        "caller == +46* and caller is not present",
        "source_ip in {10.0.0.0/8} and source_ip == 192.0.2.1",
        "weekday in {Mon..Fri} and weekday in {Sat, Sun}",
        "trunk == \"a\" and trunk == \"b\"",
        "user_agent startswith \"sip\" and user_agent == \"Polycom\"",
        "anonymous and not anonymous",
        "direction == inbound and (direction == outbound or trunk == \"a\") and trunk == \"b\"",
    ] {
        assert!(is_taken(&[], own), "{own}");
    }
}

#[test]
fn a_rule_that_some_event_reaches_is_not_told_of() {
    for (above, own) in [
        ("caller == +4670*", "caller == +46*"),
        ("caller == +4670123????", "caller == +4670123*"),
        (
            "caller in {+46700000000..+46704999999, +46706000000..+46709999999}",
            "caller in {+46700000000..+46709999999}",
        ),
        ("direction == inbound", "direction in {inbound, outbound}"),
        ("caller.country in {SE, NO}", "caller.country in {SE, FI}"),
        ("caller.country == SE", "caller == +46*"),
        ("not (caller == +4670*)", "not (caller == +46701*)"),
        ("caller.country != SE", "not (caller.country == NO)"),
        ("caller is present", "caller != +46701234567"),
        ("user_agent contains \"sip\"", "user_agent contains \"si\""),
        ("user_agent endswith \"sip\"", "user_agent startswith \"sip\""),
        ("trunk == \"A\"", "trunk == \"a\""),
        ("caller in $partners", "caller == +4670*"),
        ("during(business)", "anonymous"),
        ("time in {22:00..06:00}", "time in {22:00..06:01}"),
        ("direction == inbound and anonymous", "direction == inbound or anonymous"),
    ] {
        assert!(!is_taken(&[above], own), "`{own}` is reached below `{above}`");
    }
}

#[test]
fn only_rules_that_end_the_search_take_events() {
    let all = |more: &'static str, action: &'static str| {
        let rule = || "trunk == \"a\"".to_owned();
        unreachable(&rules(&[(rule(), action, more), (rule(), "block", "")]))
    };
    assert_eq!(all("", "block"), [1]);
    assert_eq!(all("", "allow"), [1]);
    assert_eq!(all("on = \"request\"", "block"), [1], "an attempt is a request as well");
    for (more, action) in [
        ("mode = \"monitor\"", "block"),
        ("mode = \"off\"", "block"),
        ("flag = \"x\"", "flag"),
        ("on = \"end\"", "block"),
        ("active = \"business\"", "block"),
    ] {
        assert_eq!(all(more, action), Vec::<usize>::new(), "{more} {action}");
    }
    let rule = || "trunk == \"a\"".to_owned();
    let request_below = [(rule(), "block", ""), (rule(), "block", "on = \"request\"")];
    assert_eq!(unreachable(&rules(&request_below)), Vec::<usize>::new(), "a registration is no attempt");
}

#[test]
fn rules_that_are_otherwise_for_some_customers_take_nothing_of_the_others() {
    let below = "[[firewall]]\nid = \"fw-1\"\nwhen = 'anonymous'\naction = \"allow\"\n";
    let told = |more: &str, override_: &str| {
        let above = format!("[[firewall]]\nid = \"fw-0\"\nwhen = 'anonymous'\naction = \"block\"\n{more}\n");
        let text = format!("{HEADER}{above}{below}{override_}");
        let loaded = load(&RuleSource::memory([("ruleset.toml", text)]), LoadOptions::default());
        assert!(loaded.policy.is_some(), "{:?}", loaded.problems);
        unreachable(&loaded)
    };
    assert_eq!(told("", ""), [1]);
    assert_eq!(told("customers = [\"acme\"]", ""), Vec::<usize>::new());
    assert_eq!(told("except = [{ where = 'trunk == \"a\"', reason = \"x\" }]", ""), Vec::<usize>::new());
    let monitored = "[[override]]\ncustomer = \"acme\"\nrule = \"fw-0\"\nreason = \"x\"\nmode = \"monitor\"\n";
    assert_eq!(told("", monitored), Vec::<usize>::new(), "of acme the rule below is asked");
}

const NUMBERS: [&str; 10] = [
    "+46700000000",
    "+46701234567",
    "+46709999999",
    "+4670",
    "+46731234567",
    "+4684000000",
    "+12129760000",
    "+12129761234",
    "+4799999999",
    "+461",
];

fn atom() -> impl Strategy<Value = String> {
    const ATOMS: [&str; 44] = [
        "direction == inbound",
        "direction == outbound",
        "direction in {inbound, internal}",
        "direction != inbound",
        "direction not in {outbound, internal}",
        "anonymous",
        "caller == +46*",
        "caller == +4670*",
        "caller == +4670123????",
        "caller in {+46700000000..+46709999999}",
        "caller in {+46700000000..+46704999999, +46705000000..+46709999999}",
        "caller in {+46701234567, +46731234567}",
        "caller == +46701234567",
        "caller in {+467*, +4670*, short:112}",
        "caller == +1???976*",
        "caller == +1212976????",
        "caller != +46701234567",
        "caller is present",
        "caller is not present",
        "caller in $partners",
        "caller startswith +46",
        "prefix(caller, 4) == +4670",
        "prefix(caller, 3) in {+467, +479}",
        "len(caller) < 8",
        "len(caller) in {3..11}",
        "caller.country == SE",
        "caller.country in {SE, NO}",
        "caller.country != NO",
        "@nordic",
        "caller == asserted",
        "trunk == \"a\"",
        "trunk in {\"a\", \"ab\"}",
        "trunk startswith \"A\"",
        "trunk startswith \"ab\"",
        "trunk endswith \"b\"",
        "trunk contains \"b\"",
        "trunk matches /^a/",
        "trunk is present",
        "trunk != \"a\"",
        "source_ip in {10.0.0.0/8}",
        "source_ip in {10.0.0.0/9, 10.128.0.0/9}",
        "source_ip == 10.0.0.1",
        "during(business)",
        "attestation in {A, failed}",
    ];
    prop::sample::select(&ATOMS[..]).prop_map(str::to_owned)
}

fn condition() -> impl Strategy<Value = String> {
    atom().prop_recursive(2, 6, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|a| format!("not ({a})")),
            prop::collection::vec(inner.clone(), 2..4).prop_map(|all| format!("({})", all.join(" and "))),
            prop::collection::vec(inner, 2..4).prop_map(|any| format!("({})", any.join(" or "))),
        ]
    })
}

/// The rule that decides, as the engine finds it.
fn first(policy: &Policy, batch: &Batch, names: &Names) -> Option<usize> {
    let view = View { event: &batch.events[0], batch, policy, names, dynamic: &DynamicLists::new(1) };
    let mut rules = policy.firewall.iter();
    let rule = rules.find(|r| r.mode == Mode::Enforce && r.action != Action::Flag && r.when.eval(&view))?;
    rule.id.strip_prefix("fw-")?.parse().ok()
}

/// Every event that the tests above tell apart, but for a few of its fields chosen by `seed`.
fn events(seed: u64) -> Vec<Batch> {
    let party = |text: &str| Party {
        number: text.strip_prefix('+').and_then(|d| Number::e164(d.as_bytes())).unwrap_or(Number::ABSENT),
        ..Party::default()
    };
    let mut found = Vec::new();
    let callers = NUMBERS.iter().copied().chain([""]);
    for (i, caller) in callers.enumerate() {
        for (j, direction) in ["inbound", "outbound", "internal", "unknown"].iter().enumerate() {
            for (k, trunk) in ["", "a", "A", "ab", "AB", "xb", "x"].iter().enumerate() {
                let mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left((7 * i + 11 * j + 13 * k) as u32);
                let mut batch = Batch::default();
                let mut event = CallEvent { kind: Kind::Attempt, ..CallEvent::BLANK };
                // A Monday morning in UTC, and the Sunday before.
                event.time = Timestamp(1_772_442_000_000 - 86_400_000 * (mixed & 1) as i64);
                event.caller = if caller.is_empty() && mixed & 2 != 0 {
                    Party { number: Number::short(b"112").unwrap(), ..Party::default() }
                } else {
                    party(caller)
                };
                event.asserted = party(NUMBERS[(mixed >> 2) as usize % NUMBERS.len()]);
                event.direction = Direction::parse(direction.as_bytes()).unwrap();
                event.attestation =
                    Attestation::parse([&b"A"[..], b"C", b"failed"][(mixed >> 8) as usize % 3]).unwrap();
                event.flags = if mixed & 4 == 0 { Flags(0) } else { Flags(Flags::ANONYMOUS.0) };
                let addresses = [None, Some("10.0.0.1"), Some("10.200.0.1"), Some("192.0.2.1")];
                event.source_ip = addresses[(mixed >> 12) as usize % 4].map(|ip| ip.parse().unwrap());
                event.trunk = batch.keep(trunk.as_bytes());
                batch.events.push(event);
                found.push(batch);
            }
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..Default::default() })]

    #[test]
    fn no_event_reaches_a_rule_that_is_told_to_be_out_of_reach(
        whens in prop::collection::vec(condition(), 2..7),
        seed in any::<u64>(),
    ) {
        let all: Vec<_> = whens.iter().map(|when| (when.clone(), "block", "")).collect();
        let loaded = rules(&all);
        let told = unreachable(&loaded);
        let Some(policy) = &loaded.policy else { panic!("{:?}", loaded.problems) };
        let names = Names::new();
        // Nothing to refute where nothing is claimed.
        let rounds = if told.is_empty() { 0 } else { 6 };
        for batch in (0..rounds).flat_map(|round| events(seed.wrapping_add(round))) {
            if let Some(decided) = first(policy, &batch, &names) {
                prop_assert!(!told.contains(&decided), "fw-{decided} is reached: {:?} {whens:?}", batch.events[0]);
            }
        }
    }
}

#[test]
fn the_random_rules_are_told_of_often_enough_to_mean_something() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let strategy = prop::collection::vec(condition(), 2..7);
    let mut told = 0;
    for _ in 0..60 {
        let whens = strategy.new_tree(&mut runner).unwrap().current();
        let all: Vec<_> = whens.into_iter().map(|when| (when, "block", "")).collect();
        told += unreachable(&rules(&all)).len();
    }
    assert!(told >= 10, "{told} of 60 rule sets");
}
