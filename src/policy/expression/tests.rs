//! The rule language as a whole: what reads, what is refused and where, and what is true of which event.

use std::sync::Arc;

use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::super::number_set::{EntryNote, NumberSetBuilder};
use super::super::predicate::{AddressRange, AddressSet, CountrySet, TextSet, Value, View, write_value};
use super::super::{DynamicKind, DynamicLists, List, ListContent, Measure, On, Policy, Predicate};
use super::*;
use crate::calendar::Calendar;
use crate::clock::Timestamp;
use crate::event::{
    Attestation, Batch, CallEvent, CallType, Country, Direction, Flags, HangupBy, Kind, Names, Number, NumberPattern,
    Party, Status,
};

const LISTS: [(&str, ListKind, bool); 6] = [
    ("irsf", ListKind::Numbers, false),
    ("scanner_ua", ListKind::Texts, false),
    ("peers", ListKind::Addresses, false),
    ("nordic", ListKind::Countries, false),
    ("auto_block", ListKind::Numbers, true),
    ("auto_ua", ListKind::Texts, true),
];
const MACROS: [(&str, &str); 8] = [
    ("nordic", "caller.country in {SE, NO, DK, FI}"),
    ("high_risk", "callee in $irsf or callee.class in {premium, satellite} or callee.country in {CU, SO, GM, MV}"),
    ("short", "duration < 10s"),
    ("both", "@nordic and @high_risk"),
    ("loop_a", "@loop_b"),
    ("loop_b", "not @loop_a"),
    ("broken", "caller =="),
    ("misspelt", "calle == +46700"),
];

struct World {
    policy: Policy,
    lists: Vec<ListDecl>,
    macros: Vec<Macro>,
    calendars: Vec<String>,
    clock: Arc<LocalClock>,
}

fn world() -> World {
    let zone = TimeZone::get("Europe/Stockholm").unwrap();
    let mut hours = Calendar::new("business", zone.clone());
    hours.add_open("Mon-Fri 07:00-18:00").unwrap();
    let lists = LISTS.iter().map(|(name, kind, is_dynamic)| ListDecl {
        name: (*name).to_owned(),
        kind: *kind,
        is_dynamic: *is_dynamic,
    });
    let macros = MACROS.iter().map(|(name, text)| Macro::parse(name, text, Origin::at("macros", 0), &mut Vec::new()));
    World {
        policy: policy(zone.clone(), hours),
        lists: lists.collect(),
        macros: macros.collect(),
        calendars: vec!["business".to_owned()],
        clock: Arc::new(LocalClock::new(zone)),
    }
}

fn policy(time_zone: TimeZone, hours: Calendar) -> Policy {
    let mut numbers = NumberSetBuilder::new();
    for pattern in ["+2235550*", "+881600000"] {
        numbers.pattern(NumberPattern::parse(pattern.as_bytes()).unwrap(), EntryNote::default());
    }
    let mut agents = TextSet::new();
    agents.insert("SIPVicious", None);
    agents.insert("friendly-scanner", None);
    let mut nordic = CountrySet::new();
    nordic.insert(Country::parse(b"SE").unwrap(), None);
    let contents = [
        ListContent::Numbers(numbers.build()),
        ListContent::Texts(agents),
        ListContent::Addresses(AddressSet::new(vec![(AddressRange::parse("192.0.2.0/24").unwrap(), None)])),
        ListContent::Countries(nordic),
        ListContent::Dynamic(DynamicKind::Numbers),
        ListContent::Dynamic(DynamicKind::Texts),
    ];
    let lists = LISTS.iter().zip(contents);
    Policy {
        lists: lists
            .map(|((name, ..), content)| List { name: (*name).to_owned(), content, max_entries: None })
            .collect(),
        calendars: vec![Arc::new(hours)],
        ..Policy::empty(time_zone)
    }
}

impl World {
    fn scope<'w>(&'w self, on: On, on_place: Option<&'w Place>) -> Scope<'w> {
        Scope {
            on: Some(on),
            on_place,
            lists: &self.lists,
            macros: &self.macros,
            calendars: &self.calendars,
            clock: &self.clock,
        }
    }

    /// The condition, and what was said about it: `E043@0..5 unknown field ...`.
    fn compile(&self, text: &str, on: On) -> (Option<Predicate>, Vec<String>) {
        let mut problems = Vec::new();
        let found = compile_condition(text, &Origin::at("rule", 0), &self.scope(on, None), &mut problems);
        (found, problems.iter().map(told).collect())
    }

    fn holds(&self, text: &str, on: On, fields: &str) -> bool {
        let (predicate, problems) = self.compile(text, on);
        let errors: Vec<_> = problems.iter().filter(|p| p.starts_with('E')).collect();
        assert!(errors.is_empty(), "{text}: {errors:?}");
        let (batch, names) = (batch(fields), Names::new());
        predicate.expect("compiles without an error").eval(&self.view(&batch, &names, &DynamicLists::new(6)))
    }

    fn view<'a>(&'a self, batch: &'a Batch, names: &'a Names, dynamic: &'a DynamicLists) -> View<'a> {
        View { event: &batch.events[0], batch, policy: &self.policy, names, dynamic }
    }
}

fn told(problem: &Problem) -> String {
    let place = problem.place.as_ref().expect("every problem has a place");
    let path = if place.path == "rule" { "" } else { &place.path };
    format!("{}@{path}{}..{} {}", problem.code, place.span.start, place.span.end, problem.message)
}

/// An event of `field=value` words.
fn batch(fields: &str) -> Batch {
    let mut batch = Batch::default();
    // A Monday, 10:00 in Stockholm.
    let mut event = CallEvent { time: Timestamp(1_772_442_000_000), kind: Kind::End, ..CallEvent::BLANK };
    for pair in fields.split_whitespace() {
        let (name, value) = pair.split_once('=').unwrap();
        let bytes = value.as_bytes();
        let ms = || value.parse::<u32>().unwrap();
        match name {
            "caller" => event.caller = party(value, &mut batch),
            "callee" => event.callee = party(value, &mut batch),
            "asserted" => event.asserted = party(value, &mut batch),
            "direction" => event.direction = Direction::parse(bytes).unwrap(),
            "call_type" => event.call_type = CallType::parse(bytes).unwrap(),
            "status" => event.status = Status::parse(bytes).unwrap(),
            "hangup_by" => event.hangup_by = HangupBy::parse(bytes).unwrap(),
            "attestation" => event.attestation = Attestation::parse(bytes).unwrap(),
            "source_ip" => event.source_ip = Some(value.parse().unwrap()),
            "user_agent" => event.user_agent = batch.keep(bytes),
            "trunk" => event.trunk = batch.keep(bytes),
            "domain" => event.domain = batch.keep(bytes),
            "duration" => event.duration_ms = ms(),
            "ring" => event.ring_ms = ms(),
            "cost" => event.cost = value.parse().unwrap(),
            "sip_code" => event.sip_code = value.parse().unwrap(),
            "flags" => event.flags = Flags(value.parse().unwrap()),
            "time" => event.time = Timestamp(value.parse::<jiff::Timestamp>().unwrap().as_millisecond()),
            other => panic!("no such field in tests: {other}"),
        }
    }
    batch.events.push(event);
    batch
}

fn party(value: &str, batch: &mut Batch) -> Party {
    let number = match value.strip_prefix('+') {
        Some(digits) => Number::e164(digits.as_bytes()).unwrap(),
        None if value == "anonymous" => Number::ANONYMOUS,
        None => Number::short(value.as_bytes()).unwrap_or(Number::INVALID),
    };
    Party {
        number,
        raw: batch.keep(value.as_bytes()),
        text: if number.is_text() { batch.keep(value.as_bytes()) } else { Default::default() },
    }
}

#[test]
fn the_conditions_of_the_specification_compile() {
    let world = world();
    for (on, text) in [
        (On::Attempt, "direction == inbound and caller in $irsf"),
        (On::Request, "user_agent contains $scanner_ua"),
        (
            On::Attempt,
            "direction == inbound and trunk in {\"pstn-1\", \"pstn-2\",} and caller in {+4684000000..+4684009999, +4610123*} and attestation != A",
        ),
        (On::Attempt, "diverting is present"),
        (On::Attempt, "direction == inbound and not @nordic and (attestation in {failed, C})"),
        (On::Attempt, "caller in $auto_block or source_ip in $peers"),
        (On::End, "direction == inbound and not answered and ring < 6s and not @nordic"),
        (On::Attempt, "direction == outbound and @high_risk and outside(business)"),
        (On::Register, "auth_failed"),
        (On::End, "direction == outbound and answered and callee.class in {highcost, premium}"),
        (On::Attempt, "callee == \"+46 8 400 00 00\" or callee == short:112 or caller == +1???976*"),
        (On::Attempt, "time in {22:00..06:00} and weekday in {Sat..Mon} and date >= 2026-01-01"),
        (On::End, "q850 == 16 and hangup_by == caller and cost > 1.25 and sip_code in {400..499, 603}"),
        (On::Attempt, "caller == asserted or caller.country != callee.country"),
        (On::Attempt, "lower(domain) == \"example.com\" and len(callee) < 7 and prefix(caller, 4) in {+4670, +4673}"),
        (On::Attempt, "caller.raw matches /^00[1-9]\\/x/ and domain not endswith {\".local\", \".lan\"}"),
        (On::Attempt, "not (caller startswith +4670) and 10:00 < time"),
    ] {
        let (predicate, problems) = world.compile(text, on);
        assert!(predicate.is_some(), "{text}: {problems:?}");
        assert!(problems.iter().all(|p| p.starts_with("W110")), "{text}: {problems:?}");
    }
}

// long: a table.
#[test]
fn every_mistake_is_told_once_and_where_it_stands() {
    let world = world();
    for (on, text, wanted) in [
        (On::Attempt, "calle == +46700", &["E043@0..5 unknown field `calle`; did you mean `callee`?"][..]),
        (
            On::Attempt,
            "direction == inbound and duration < 10s",
            &["E040@25..33 `duration` is not known yet when this rule runs"],
        ),
        (On::Request, "callee == +46700", &["E040@0..6 `callee` is not known when this rule runs"]),
        (
            On::Attempt,
            "caller.country == NOR",
            &["E023@18..21 `NOR` is not a value of `caller.country`; did you mean NO (Norway)?"],
        ),
        (
            On::Attempt,
            "caller.country == se",
            &["E023@18..20 `se` is not a value of `caller.country`; did you mean SE (Sweden)?"],
        ),
        (
            On::Attempt,
            "caller.country == Swedn",
            &["E023@18..23 `Swedn` is not a value of `caller.country`; did you mean SE (Sweden)?"],
        ),
        (
            On::Attempt,
            "direction == inbund",
            &["E023@13..19 `inbund` is not a value of `direction`; did you mean `inbound`?"],
        ),
        (On::Attempt, "caller == 46701234567", &["E014@10..21 phone number written as an integer"]),
        (On::Attempt, "country == SE", &["E043@0..7 unknown field `country`; did you mean `caller.country`?"]),
        (On::Attempt, "direction == \"inbound\"", &["E045@13..22 the values of `direction` are words, not texts"]),
        (
            On::Attempt,
            "caller.country in {UK}",
            &["E023@19..21 `UK` is not a value of `caller.country`; did you mean GB (United Kingdom)?"],
        ),
        (
            On::Attempt,
            "caller like \"+46%\"",
            &["E041@7..11 expected an operator, `and`, `or` or the end, found `like`"],
        ),
        (On::Attempt, "caller in {46701234567, +4670*}", &["E014@11..22 phone number written as an integer"]),
        (On::End, "ring < 6", &["E046@7..8 duration `6` without a unit"]),
        (
            On::Attempt,
            "anonymous and caller in $irsf or anonymous",
            &["E042@30..32 `and` and `or` side by side: which binds first is not defined"],
        ),
        (On::Attempt, "caller in $irfs", &["E047@10..15 unknown list `$irfs`; did you mean `$irsf`?"]),
        (
            On::Attempt,
            "caller in $peers",
            &["E048@10..16 list `$peers` holds IP addresses; `caller` is a phone number"],
        ),
        (On::Attempt, "@nordc", &["E049@0..6 unknown macro `@nordc`; did you mean `@nordic`?"]),
        (On::Attempt, "during(busines)", &["E051@7..14 unknown calendar `busines`; did you mean `business`?"]),
        (On::Attempt, "caller matches /^46/", &["E044@0..6 `matches` does not work here: `caller` is a phone number"]),
        (
            On::Attempt,
            "caller endswith \"00\"",
            &["E044@0..6 `endswith` does not work here: `caller` is a phone number"],
        ),
        (On::Attempt, "caller < +46700", &["E044@7..8 `<` needs an order; `caller` is a phone number"]),
        (On::Attempt, "trunk == pstn", &["E045@9..13 `pstn` is not a text"]),
        (On::Attempt, "caller in {+46100..+461000}", &["E052@11..26 a range needs two whole numbers of equal length"]),
        (On::Attempt, "caller == +1?????", &["E052@10..17 `+1?????`: pattern has 5 `?`, limit is 4"]),
        (On::Attempt, "caller.raw matches /(/", &["E053@19..22 regular expression: unclosed group"]),
        (On::Attempt, "@loop_a", &["E060@macros4..11 macro `@loop_a` uses itself"]),
        (On::Attempt, "time is present", &["E061@0..4 `time` is always present"]),
        (On::Attempt, "caller", &["E062@0..6 `caller` is a phone number; by itself it is neither true nor false"]),
        (On::Attempt, "@misspelt or @misspelt", &["E043@macros0..5 unknown field `calle`; did you mean `callee`?"]),
        (On::Attempt, "@short", &["E040@0..6 `@short` uses `duration`, which is not known yet when this rule runs"]),
        (On::Attempt, "@broken", &[]),
        (On::Attempt, "caller ==", &["E041@9..9 expected a field, the expression ends"]),
        (On::Attempt, "caller = +46700", &["E041@7..8 `=` is no operator here"]),
        (On::Attempt, "(anonymous", &["E041@10..10 expected `)`, the expression ends"]),
        (On::Attempt, "anonymous)", &["E041@9..10 `)` closes nothing"]),
        (On::Attempt, "caller + 46", &["E041@7..8 unexpected character `+`"]),
        (On::Attempt, "", &["E041@0..0 expected a field, the expression ends"]),
        (
            On::Attempt,
            "source_ip in {10.0.0.1/8}",
            &["E045@14..24 `10.0.0.1/8` has bits beyond its prefix; the network is 10.0.0.0/8"],
        ),
        (On::Attempt, "user_agent contains \"\"", &["E045@20..22 every text contains the empty text"]),
        (
            On::Attempt,
            "user_agent contains $auto_ua",
            &["E048@20..28 `contains` does not work with the dynamic list `$auto_ua`"],
        ),
        (On::Attempt, "prefix(caller, 16) == +46700", &["E045@15..17 `16` is no count of digits: 1 to 15"]),
        (
            On::Attempt,
            "caller == callee.country",
            &["E045@0..24 `caller` is a phone number and `callee.country` is a country code"],
        ),
        // Three independent mistakes, three messages.
        (
            On::Attempt,
            "calle == +46700 and direction == inbund and trunk ==",
            &[
                "E041@52..52 expected a field, the expression ends",
                "E043@0..5 unknown field `calle`; did you mean `callee`?",
                "E023@33..39 `inbund` is not a value of `direction`; did you mean `inbound`?",
            ],
        ),
    ] {
        let (predicate, problems) = world.compile(text, on);
        assert!(predicate.is_none(), "{text}");
        assert_eq!(problems, wanted, "{text}");
    }
}

// long: a table.
#[test]
fn conditions_are_true_of_the_events_they_describe() {
    let world = world();
    for (text, fields, wanted) in [
        ("caller == +46701234567", "caller=+46701234567", true),
        ("caller == +46701234567", "caller=+46701234568", false),
        ("caller == \"+46 70-123 45 67\"", "caller=+46701234567", true),
        ("caller == +4670*", "caller=+46701234567", true),
        ("caller == +1???976*", "caller=+12129761234", true),
        ("caller in {+46100..+46199, +47*, +4812345}", "caller=+46150", true),
        ("caller in {+46100..+46199}", "caller=+461500", false),
        ("caller in {+46100..+46199}", "caller=+46099", false),
        ("caller in {+46100..+46199}", "caller=+46200", false),
        ("caller in {+46100..+46199}", "caller=+46199", true),
        ("caller in {short:0200..short:0299}", "caller=0299", true),
        ("caller in {short:0200..short:0299}", "caller=299", false),
        ("caller in {+4812345, +4812346}", "caller=+4812346", true),
        ("callee == short:112", "callee=112", true),
        ("callee == short:112", "callee=+112112", false),
        ("caller startswith +4670", "caller=+4670123", true),
        ("caller startswith {\"4670\", +47}", "caller=+47999", true),
        ("prefix(caller, 4) == +4670", "caller=+46701234567", true),
        ("len(caller) == 11", "caller=+46701234567", true),
        ("len(caller) == 4", "caller=2001", true),
        ("len(caller) == 5", "caller=alice", true),
        ("caller == asserted", "caller=+46700 asserted=+46700", true),
        ("caller == asserted", "caller=+46700 asserted=+46701", false),
        ("caller == asserted", "", false),
        ("caller.country == SE", "caller=+46701234567", true),
        ("caller.country != callee.country", "caller=+46701234567 callee=+4781549300", true),
        ("caller.country in $nordic", "caller=+46701234567", true),
        ("caller.kind == e164", "caller=+46700", true),
        ("caller.kind == anonymous", "caller=anonymous", true),
        ("callee.class == emergency", "callee=5551 flags=4", true),
        ("callee.class == emergency", "callee=5551", false),
        ("callee in $irsf", "callee=+22355501234", true),
        ("callee in {+46700, $irsf}", "callee=+46700", true),
        ("direction in {inbound, internal}", "direction=internal", true),
        ("direction == unknown", "", true),
        ("attestation != A", "", true),
        ("attestation is present", "", false),
        ("attestation is present", "attestation=none", true),
        ("callee.class is present", "callee=5551", false),
        ("hangup_by == callee", "hangup_by=callee", true),
        ("answered == true", "status=answered", true),
        ("not answered", "status=busy", true),
        ("anonymous", "flags=1", true),
        ("ring < 6s", "ring=5999", true),
        ("ring < 6s", "ring=6000", false),
        ("6s > ring", "ring=5999", true),
        ("duration in {1s..1m30s}", "duration=90000", true),
        ("duration == 0s", "duration=0", true),
        ("cost > 1.25", "cost=12501", true),
        ("cost > 1.25", "cost=12500", false),
        ("sip_code in {400..499, 603}", "sip_code=486", true),
        ("ring < duration", "ring=1 duration=2", true),
        ("source_ip in {10.0.0.0/8, 2001:db8::/32}", "source_ip=10.255.0.1", true),
        ("source_ip in {10.0.0.1..10.0.0.9}", "source_ip=10.0.0.10", false),
        ("source_ip in $peers", "source_ip=192.0.2.255", true),
        ("user_agent contains \"SIPVIC\"", "user_agent=xsipvicious", true),
        ("user_agent contains {\"a\", \"B\"}", "user_agent=xbx", true),
        ("user_agent contains $scanner_ua", "user_agent=my-sipvicious/1", true),
        ("user_agent in $scanner_ua", "user_agent=SIPVicious", true),
        ("user_agent in $scanner_ua", "user_agent=sipvicious", false),
        ("user_agent startswith \"Sip\"", "user_agent=sIP", true),
        ("user_agent endswith \"p\"", "user_agent=sIP", true),
        ("user_agent matches /^s.p$/", "user_agent=sIP", true),
        ("user_agent == \"SIP\"", "user_agent=sip", false),
        ("lower(domain) == \"example.com\"", "domain=Example.COM", true),
        ("lower(domain) in {\"a\", \"b\"}", "domain=B", true),
        ("trunk == \"a\\\"b\\\\c\"", "trunk=a\"b\\c", true),
        ("customer == \"default\" and gateway == \"file\"", "", true),
        ("weekday == Mon and time == 10:00 and date == 2026-03-02", "", true),
        ("time in {22:00..10:00}", "", true),
        ("time in {10:01..09:59}", "", false),
        ("weekday in {Sat..Mon}", "", true),
        ("weekday in {Tue..Sun}", "", false),
        ("during(business)", "", true),
        ("outside(business)", "time=2026-03-02T17:00:00Z", true),
        // Clock fields look at the call's start: 18:00:30 less 31 s.
        ("during(business)", "time=2026-03-02T17:00:30Z duration=20000 ring=11000", true),
        ("time == 17:59", "time=2026-03-02T17:00:30Z duration=20000 ring=11000", true),
        ("not (direction == inbound or direction == internal)", "direction=outbound", true),
        ("@both", "caller=+46701234567 callee=+22355501234", true),
    ] {
        assert_eq!(world.holds(text, On::End, fields), wanted, "{text} of {fields}");
    }
    assert!(world.holds("auth_failed and sip_code == 403", On::Register, "flags=2 sip_code=403"));
}

#[test]
fn of_an_absent_field_every_positive_test_is_false_and_every_negated_one_true() {
    let world = world();
    for positive in [
        "caller == +46700",
        "caller in {+46700, +47*, $irsf}",
        "caller startswith +46",
        "caller in $auto_block",
        "caller.country == SE",
        "caller.country in $nordic",
        "caller.kind == e164",
        "trunk == \"a\"",
        "trunk in {\"a\", $scanner_ua}",
        "trunk contains \"a\"",
        "trunk startswith \"a\"",
        "trunk endswith $scanner_ua",
        "trunk matches /a|/",
        "ring == 6s",
        "ring < 6s",
        "ring >= 0s",
        "sip_code == 0",
        "cost <= 1",
        "source_ip in {0.0.0.0/0, ::/0}",
        "prefix(caller, 4) == +4670",
        "len(trunk) == 0",
        "lower(trunk) == \"\"",
        "caller == callee",
        "ring <= duration",
    ] {
        assert!(!world.holds(positive, On::End, ""), "{positive}");
        assert!(world.holds(&format!("not ({positive})"), On::End, ""), "not ({positive})");
    }
    for negated in [
        "caller != +46700",
        "caller not in {+46700}",
        "trunk not contains \"a\"",
        "trunk not matches /a/",
        "caller != callee",
        "trunk is not present",
        "caller is not present",
        "direction != inbound",
    ] {
        assert!(world.holds(negated, On::End, ""), "{negated}");
    }
}

#[test]
fn negated_tests_of_fields_that_may_be_absent_are_warned_of_unless_presence_is_asked() {
    let world = world();
    let warned = |text: &str| {
        let (predicate, problems) = world.compile(text, On::End);
        assert!(predicate.is_some(), "{text}: {problems:?}");
        problems
    };
    for (text, place) in [
        ("caller.country != SE", "0..20"),
        ("caller.country not in {SE}", "0..26"),
        ("not (caller.country == SE)", "5..25"),
        ("direction == inbound and not @nordic", "29..36"),
        ("trunk is present or trunk != \"a\" and false_friend", ""),
        ("trunk != \"a\" or caller == +46700", "0..12"),
    ] {
        if !place.is_empty() {
            let (problems, wanted) = (warned(text), format!("W110@{place} "));
            assert!(matches!(problems.as_slice(), [only] if only.starts_with(&wanted)), "{text}: {problems:?}");
        }
    }
    for text in [
        "caller.country is present and caller.country != SE",
        "caller.country is not present or caller.country != SE",
        "caller.country is present and not @nordic",
        "not (caller.country is not present or caller.country == SE)",
        "caller.country in {SE, NO} and caller.country != SE",
        "not (caller.country != SE)",
        "attestation != A and not answered and customer != \"x\" and weekday != Mon",
        "caller.country is present and (anonymous or caller.country != SE)",
    ] {
        assert_eq!(warned(text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn a_field_that_is_not_known_yet_points_at_the_rules_on_as_well() {
    let world = world();
    let place = Place::new("rule", 4..13);
    let mut problems = Vec::new();
    let scope = world.scope(On::Attempt, Some(&place));
    assert!(compile_condition("duration < 10s", &Origin::at("rule", 100), &scope, &mut problems).is_none());
    let [problem] = problems.as_slice() else { panic!("{problems:?}") };
    assert_eq!(problem.place.as_ref().map(|p| p.span.clone()), Some(100..108));
    assert_eq!(problem.context, Some((place.clone(), "runs at call start".to_owned())));
    assert_eq!(problem.label, "known from: end");
    assert_eq!(problem.help.as_deref(), Some("use on = \"end\""));
}

#[test]
fn measures_compile_and_misfits_are_refused() {
    let world = world();
    let measure = |text: &str, on| {
        let mut problems = Vec::new();
        let found = compile_measure(text, &Origin::at("rule", 0), &world.scope(on, None), &mut problems);
        (found, problems.iter().map(told).collect::<Vec<_>>())
    };
    for (text, kind) in [
        ("count", "count"),
        ("longest", "longest"),
        ("first_seen(callee.country)", "first_seen"),
        ("concurrent", "concurrent"),
        ("distinct(callee)", "distinct"),
        ("sum(duration)", "sum"),
        ("distinct(prefix(callee, 7))", "distinct"),
        ("avg(cost)", "avg"),
        ("share(duration < 10s and answered)", "share"),
        (" run( callee , 3 ) ", "run"),
    ] {
        let (found, problems) = measure(text, On::End);
        assert_eq!(found.map(|m| m.as_str()), Some(kind), "{text}: {problems:?}");
    }
    for (text, on, wanted) in [
        ("distinct(calle)", On::End, "E043@9..14 unknown field `calle`; did you mean `callee`?"),
        ("sum(duration)", On::Attempt, "E040@4..12 `duration` is not known yet when this rule runs"),
        ("sum(sip_code)", On::End, "E059@4..12 `sum` adds up duration, ring, setup or cost"),
        ("run(trunk, 3)", On::End, "E059@4..9 `run` takes a phone number; `trunk` is a text"),
        ("run(callee, 0)", On::End, "E059@12..13 `0` is no step: 1 to 1000000"),
        ("distinct", On::End, "E059@0..8 `distinct` needs to know of what"),
        ("count(callee)", On::End, "E059@6..12 `count` takes no field"),
        ("cuont", On::End, "E059@0..5 unknown measure `cuont`; did you mean `count`?"),
        ("first_seen", On::End, "E059@0..10 `first_seen` needs to know of what"),
        ("share(answered", On::End, "E041@14..14 expected `)`, the expression ends"),
        ("count 3", On::End, "E041@6..7 expected the end, found `3`"),
    ] {
        let (found, problems) = measure(text, on);
        assert!(found.is_none(), "{text}");
        assert_eq!(problems, [wanted], "{text}");
    }
    assert!(matches!(measure("sum(ring)", On::Answer).0, Some(Measure::Sum(crate::event::Field::Ring))));
}

#[test]
fn keys_print_as_violations_show_them() {
    let world = world();
    let batch =
        batch("caller=+46701234567 callee=2001 trunk=pbx-22 source_ip=2001:db8::1 direction=inbound cost=12500");
    let (names, dynamic) = (Names::new(), DynamicLists::new(6));
    let view = world.view(&batch, &names, &dynamic);
    let print = |text: &str| {
        let mut problems = Vec::new();
        let operand =
            compile_operand(text, &Origin::at("rule", 0), &world.scope(On::End, None), &mut problems).unwrap();
        operand.value(&view).map(|value: Value<'_>| {
            let mut out = Vec::new();
            write_value(&value, &mut out);
            String::from_utf8(out).unwrap()
        })
    };
    for (text, wanted) in [
        ("caller", Some("+46701234567")),
        ("prefix(caller, 7)", Some("+4670123*")),
        ("prefix(caller, 11)", Some("+46701234567")),
        ("prefix(callee, 2)", None),
        ("callee", Some("2001")),
        ("caller.country", Some("SE")),
        ("caller.kind", Some("e164")),
        ("direction", Some("inbound")),
        ("attestation", Some("unknown")),
        ("trunk", Some("pbx-22")),
        ("domain", None),
        ("source_ip", Some("2001:db8::1")),
        ("customer", Some("default")),
        ("cost", Some("1.25")),
        ("weekday", Some("Mon")),
        ("date", Some("2026-03-02")),
        ("time", Some("10:00")),
    ] {
        assert_eq!(print(text).as_deref(), wanted, "{text}");
    }
}

#[test]
fn a_macro_is_checked_without_a_rule_that_uses_it() {
    let world = world();
    let check = |name: &str| {
        let mut problems = Vec::new();
        let found = world.macros.iter().find(|m| m.name() == name).unwrap();
        found.check(&world.scope(On::Attempt, None), &mut problems);
        problems.iter().map(told).collect::<Vec<_>>()
    };
    assert_eq!(check("short"), Vec::<String>::new());
    assert_eq!(check("misspelt"), ["E043@macros0..5 unknown field `calle`; did you mean `callee`?"]);
    assert_eq!(check("loop_a"), ["E060@macros4..11 macro `@loop_a` uses itself"]);
}

#[test]
fn nesting_and_macro_growth_have_an_end() {
    let mut world = world();
    let deep = |n: usize| format!("{}anonymous{}", "(".repeat(n), ")".repeat(n));
    assert!(world.compile(&deep(60), On::End).0.is_some());
    let (predicate, problems) = world.compile(&deep(10_000), On::End);
    assert!(predicate.is_none());
    assert_eq!(problems, ["E054@64..65 nested more than 64 deep"]);
    assert!(world.compile(&"not ".repeat(10_000), On::End).0.is_none());
    world.macros = (0..8)
        .map(|i| {
            let text = if i == 0 { "anonymous".to_owned() } else { vec![format!("@m{}", i - 1); 20].join(" and ") };
            Macro::parse(&format!("m{i}"), &text, Origin::at("macros", 0), &mut Vec::new())
        })
        .collect();
    let (predicate, problems) = world.compile("@m7", On::End);
    assert!(predicate.is_none());
    assert!(problems.iter().all(|p| p.starts_with("E054")) && !problems.is_empty(), "{problems:?}");
}

#[rustfmt::skip]
const WORDS: &[&str] = &[
    "caller", "callee.country", "ring", "trunk", "direction", "source_ip", "time", "weekday", "date", "cost",
    "user_agent", "answered", "sip_code", "==", "!=", "<", ">=", "in", "not", "and", "or", "is", "present", "(",
    ")", "{", "}", ",", "..", "$irsf", "$scanner_ua", "@nordic", "@loop_a", "@both", "+4670*", "+46701234567",
    "+1???5", "short:112", "\"text\"", "6s", "22:00", "2026-12-24", "10.0.0.0/8", "::1", "SE", "Mon", "inbound",
    "486", "1.5", "contains", "startswith", "endswith", "matches", "/a.b/", "during(business)", "prefix(",
    "len(", "lower(", "x", "40%", "=", "&&", "\"", "/", "é", "\\",
];

/// The conditions, events and answers of `tests/data/conditions.py`, which asks the specification's own judge.
#[test]
fn conditions_agree_with_the_oracle() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let shared = std::env::var("RINGFENCE_SHARED").map_or_else(|_| root.join("../shared"), Into::into);
    let oracle = shared.join("oracle");
    if !oracle.join("oracle.py").exists() {
        return eprintln!("did not run: there is no oracle.py in {}", oracle.display());
    }
    let script = root.join("tests/data/conditions.py");
    let Ok(output) = std::process::Command::new("python3").arg(script).arg(oracle).arg("1").output() else {
        return eprintln!("did not run: there is no python3");
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (world, answers) = (world(), String::from_utf8(output.stdout).unwrap());
    let wrong: Vec<&str> = answers
        .lines()
        .filter(|line| match line.split('\t').collect::<Vec<_>>().as_slice() {
            [text, fields, wanted] => world.holds(text, On::End, fields) != (*wanted == "1"),
            other => panic!("three columns: {other:?}"),
        })
        .collect();
    assert_eq!(answers.lines().count(), 2000);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Texts that are nearly rules, so that the deeper layers are reached.
fn nearly() -> impl Strategy<Value = String> {
    proptest::collection::vec(proptest::sample::select(WORDS), 0..24).prop_map(|w| w.join(" "))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_compiled_or_refused_with_a_place_inside_it(text in prop_oneof![nearly(), ".{0,80}", "[ -~]{0,80}"]) {
        let world = world();
        let scope = world.scope(On::End, None);
        let mut problems = Vec::new();
        let found = compile_condition(&text, &Origin::at("rule", 0), &scope, &mut problems);
        prop_assert!(found.is_some() || text.contains('@') || problems.iter().any(|p| p.is_error), "refused in silence");
        for problem in problems.iter().filter(|p| p.place.as_ref().is_some_and(|p| p.path == "rule")) {
            let span = problem.place.as_ref().map(|p| p.span.clone()).unwrap_or_default();
            prop_assert!(text.get(span).is_some(), "{:?}", problem);
        }
        let mut problems = Vec::new();
        compile_measure(&text, &Origin::at("rule", 0), &scope, &mut problems);
        compile_operand(&text, &Origin::at("rule", 0), &scope, &mut problems);
        Origin::toml("rule", &text, 0..text.len()).place(0..text.len());
    }

    #[test]
    fn what_compiles_is_true_or_false_of_any_event_and_its_negation_the_other(
        text in nearly(),
        caller in prop_oneof![Just(String::new()), "[1-9][0-9]{2,14}".prop_map(|d| format!("caller=+{d}")), "[a-z0-9*#]{1,20}".prop_map(|t| format!("caller={t}"))],
        trunk in prop_oneof![Just(String::new()), "[!-~éöK]{1,300}".prop_map(|t| format!(" trunk={t} user_agent={t}"))],
        rest in prop_oneof![Just(""), Just(" ring=0 duration=4294967294 cost=-9223372036854775807"), Just(" source_ip=::1 sip_code=486 direction=inbound")],
        time in any::<i64>(),
    ) {
        let world = world();
        let mut batch = batch(&format!("{caller}{trunk}{rest}"));
        batch.events[0].time = Timestamp(time);
        let (names, dynamic) = (Names::new(), DynamicLists::new(6));
        let view = world.view(&batch, &names, &dynamic);
        for part in text.split(" and ") {
            if let Some(predicate) = world.compile(part, On::End).0 {
                let opposite = world.compile(&format!("not ({part})"), On::End).0.expect("compiles as well");
                prop_assert_eq!(predicate.eval(&view), !opposite.eval(&view));
            }
        }
    }
}
