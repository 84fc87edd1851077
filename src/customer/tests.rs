//! Customers' files: what they say, what is wrong with them, and what a rule set does with them.

use super::*;
use crate::policy::check::{ReportFormat, check_report};
use crate::policy::load::{LoadOptions, Loaded, load};
use crate::policy::{RuleSource, Severity};

const RULES: &str = r#"
ringfence = 1
default_action = "allow"
time_zone = "Europe/Stockholm"

[calendars]
office = { open = ["Mon-Fri 07:00-18:00"] }

[[threshold]]
id = "ips-a"
group = "fraud"
on = "attempt"
measure = "count"
per = ["caller"]
window = "1m"
warning = ">= 3"

[[threshold]]
id = "ips-b"
group = "fraud"
on = "attempt"
measure = "count"
per = ["callee"]
window = "1m"
warning = ">= 3"
"#;

const EXAMPLE: &str = include_str!("../../deploy/customers/example.toml");

/// Enough for no warning.
const PLAIN: &str = "name = 'Acme'\ntime_zone = 'America/Chicago'\n\
    [command]\ncommanders = ['maria']\n[escalation]\nname = 'Desk'\nphone = '+4684000100'\n";

fn loaded(files: &[(&str, &str)]) -> Loaded {
    load(&RuleSource::memory([("ruleset.toml", RULES)].iter().chain(files).copied()), LoadOptions::default())
}

fn customers(files: &[(&str, &str)]) -> Arc<Customers> {
    let loaded = loaded(files);
    let report = check_report(&loaded, ReportFormat::Text { colour: false });
    loaded.policy.unwrap_or_else(|| panic!("{report}")).customers
}

/// `E033 unknown contact ...` of each problem.
fn told(text: &str) -> Vec<String> {
    let loaded = loaded(&[("customers/acme.toml", text)]);
    loaded.problems.iter().map(|problem| format!("{} {}", problem.code, problem.message)).collect()
}

fn has(told: &[String], wanted: &str) -> bool {
    told.iter().any(|problem| problem.contains(wanted))
}

#[test]
fn the_shipped_example_says_what_its_comments_say_and_nothing_is_wrong_with_it() {
    let loaded = loaded(&[("customers/acme.toml", EXAMPLE)]);
    let report = check_report(&loaded, ReportFormat::Text { colour: false });
    assert!(loaded.problems.is_empty(), "{report}");
    assert!(report.contains("1 customer:"), "{report}");
    let customers = loaded.policy.expect("it loads").customers;
    let acme = customers.get("acme").expect("it has a file");
    assert_eq!((acme.id.as_str(), acme.name.as_str(), acme.trunks.len()), ("acme", "Acme Ltd", 2));
    assert_eq!(acme.dial_plan.as_ref().and_then(|plan| plan.country.as_deref()), Some("US"));
    let people = |at: usize| acme.people(&acme.distributions[at]).iter().map(|c| c.id.as_str()).collect::<Vec<_>>();
    assert_eq!((people(0), people(1), people(2)), (vec!["anna", "bo"], vec!["helpdesk"], vec![]));
    let called: Vec<(i64, &str)> = acme.calls(1).calls.iter().map(|(at, c)| (at / 60_000, c.id.as_str())).collect();
    assert_eq!(called, [(0, "maria"), (5, "ingrid"), (15, "ingrid")]);
    // No chain of its own: those who command, of whom two have contacts.
    let called: Vec<(i64, &str)> = acme.calls(3).calls.iter().map(|(at, c)| (at / 60_000, c.id.as_str())).collect();
    assert_eq!(called, [(0, "maria"), (5, "ingrid")]);
    assert_eq!((acme.command.deputy_after_ms, acme.command.manager_after_ms), (300_000, 600_000));
    assert!(acme.command.managers == ["per"] && !acme.command.is_empty());
    assert_eq!(
        (acme.service.name.as_str(), acme.pre_authorised.as_slice()),
        ("us-central", &["block:fraud".into()][..])
    );
    assert!(acme.contact("anna").is_some_and(|anna| anna.rights.authorise && anna.email_verified));
    assert_eq!(acme.escalation.as_ref().and_then(|desk| desk.phone.as_deref()), Some("+13125550999"));
}

#[test]
fn without_a_folder_everybody_is_a_customer_and_with_one_nobody_else_is() {
    let open = customers(&[]);
    assert!(!open.is_closed());
    let anybody = open.get("whoever").expect("everybody");
    assert!(anybody.contacts.is_empty() && anybody.command.is_empty());
    assert_eq!(anybody.time_zone.iana_name(), Some("Europe/Stockholm"));
    let closed = customers(&[("customers/acme.toml", PLAIN), ("customers/beta.se.toml", PLAIN)]);
    assert!(closed.is_closed());
    assert!(closed.get("acme").is_some() && closed.get("beta.se").is_some() && closed.get("whoever").is_none());
    assert_eq!(closed.iter().map(|c| c.id.as_str()).collect::<Vec<_>>(), ["acme", "beta.se"]);
}

#[test]
fn an_empty_folder_is_told_since_it_rejects_everything() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ruleset.toml"), RULES).unwrap();
    let load = || load(&RuleSource::at(folder.path()), LoadOptions::default());
    let open = load().policy.unwrap();
    std::fs::create_dir(folder.path().join(FOLDER)).unwrap();
    let loaded = load();
    assert_eq!(loaded.problems.iter().map(|p| p.code).collect::<Vec<_>>(), ["W120"]);
    let closed = loaded.policy.unwrap();
    assert!(closed.customers.is_closed() && closed.customers.get("default").is_none());
    assert_ne!(open.version, closed.version, "who is a customer is part of the rules");
}

#[test]
fn the_version_of_the_rules_changes_with_every_customers_file() {
    let version = |text: &str| loaded(&[("customers/acme.toml", text)]).policy.unwrap().version;
    assert_ne!(version(PLAIN), version(&format!("{PLAIN}\n# seen")));
    assert_eq!(version(PLAIN), version(PLAIN));
}

#[test]
fn severity_is_of_the_rule_then_of_its_group_then_of_all() {
    let text =
        format!("{PLAIN}[severity]\nwarning = 4\nrules.ips-a = {{ critical = 1 }}\ngroups.fraud = {{ warning = 2 }}\n");
    let text = text + "rules.'upstream:noc' = { critical = 3, warning = 4 }\n";
    let customers = customers(&[("customers/acme.toml", &text)]);
    let table = &customers.get("acme").unwrap().severity;
    let both =
        |rule: &str, group: &str| (table.of(rule, group, Severity::Critical), table.of(rule, group, Severity::Warning));
    assert_eq!(both("ips-a", "fraud"), (1, 2));
    assert_eq!(both("ips-b", "fraud"), (2, 2));
    assert_eq!(both("other", "other"), (2, 4));
    // Which receivers there are, the settings say.
    assert_eq!(both("upstream:noc", "DiskFull"), (3, 4));
    let usual = SeverityTable::default();
    assert_eq!((usual.of("x", "x", Severity::Critical), usual.of("x", "x", Severity::Warning)), (2, 3));
}

#[test]
fn hours_are_a_calendar_of_the_rules_or_written_there_and_response_is_service_else() {
    let with = |calendars: &str| {
        let text = format!("{PLAIN}[calendars]\n{calendars}\n");
        let acme = Arc::clone(customers(&[("customers/acme.toml", &text)]).get("acme").unwrap());
        (acme.service.name.clone(), Arc::ptr_eq(&acme.service, &acme.response))
    };
    assert_eq!(with("service = 'office'"), ("office".to_owned(), true));
    assert_eq!(with("service = 'us-central'\nresponse = 'office'"), ("us-central".to_owned(), false));
    let (name, same) = with("response = { open = ['Sat'] }");
    assert_eq!((name.as_str(), same), ("us-central", false));
    // 2026-06-02 14:30 in Chicago is a Tuesday's working hour.
    let text = format!("{PLAIN}[calendars]\nservice = {{ open = 'Tue 14:00-15:00' }}\n");
    let acme = Arc::clone(customers(&[("customers/acme.toml", &text)]).get("acme").unwrap());
    let at = |text: &str| crate::clock::Timestamp(text.parse::<jiff::Timestamp>().unwrap().as_millisecond());
    assert!(acme.service.is_open(at("2026-06-02T14:30:00-05:00")), "in the customer's own zone");
    assert!(!acme.service.is_open(at("2026-06-02T14:30:00Z")));
    let elsewhere = told(&PLAIN.replace("America/Chicago", "Europe/Stockholm"));
    assert!(elsewhere.len() == 1 && has(&elsewhere, "W121"), "{elsewhere:?}");
}

#[test]
fn hours_whose_closed_dates_run_out_are_told_a_year_ahead() {
    let text = format!("{PLAIN}[calendars]\nresponse = {{ open = 'Mon-Fri', closed_dates = ['2026-12-25'] }}\n");
    let codes = |now: &str| {
        let now = crate::clock::Timestamp(now.parse::<jiff::Timestamp>().unwrap().as_millisecond());
        let files = [("ruleset.toml", RULES), ("customers/acme.toml", text.as_str())];
        let loaded = load(&RuleSource::memory(files), LoadOptions { now: Some(now) });
        assert!(loaded.policy.is_some());
        loaded.problems.iter().map(|p| p.code).collect::<Vec<_>>()
    };
    assert_eq!(codes("2025-06-01T00:00:00Z"), Vec::<&str>::new());
    assert_eq!(codes("2026-06-01T00:00:00Z"), ["W128"]);
}

#[test]
fn the_hours_that_ship_are_those_of_the_calendar_with_its_holidays() {
    let shipped = Customers::open(TimeZone::UTC);
    let hours = &shipped.get("x").expect("everybody").service;
    let at = |text: &str| crate::clock::Timestamp(text.parse::<jiff::Timestamp>().unwrap().as_millisecond());
    assert!(hours.is_open(at("2026-06-02T10:00:00-05:00")));
    // The day after Thanksgiving.
    assert!(!hours.is_open(at("2026-11-27T10:00:00-06:00")));
}

#[test]
fn a_mistake_of_each_kind_is_told_at_its_place() {
    let folder = "tests/data/rules/invalid/customers";
    let loaded = load(&RuleSource::at(folder), LoadOptions::default());
    let files: std::collections::BTreeSet<_> =
        loaded.problems.iter().filter_map(|p| p.place.as_ref()).map(|place| place.path.as_str()).collect();
    assert!(files.len() >= 3, "{files:?}");
    let codes: std::collections::BTreeSet<_> = loaded.problems.iter().map(|p| p.code).collect();
    for code in ["E002", "E007", "E023", "E032", "E033", "E034", "E035", "E036", "E037", "E039", "E050", "E051"] {
        assert!(codes.contains(code), "{code} in {codes:?}");
    }
}

#[test]
fn nobody_in_command_and_nobody_to_escalate_to_are_told_and_work() {
    let told = told("name = 'Acme'\ntime_zone = 'America/Chicago'\n");
    assert!(told.len() == 2 && has(&told, "W126") && has(&told, "W127"), "{told:?}");
}

#[test]
fn a_trunk_is_one_customers_unless_the_gateways_differ() {
    let trunk = |gateway: &str| format!("{PLAIN}[[trunk]]\nname = 'pstn-1'\n{gateway}\n");
    let claims = |a: &str, b: &str| {
        let files = [("customers/a.toml", trunk(a)), ("customers/b.toml", trunk(b))];
        let files = files.iter().map(|(path, text)| (*path, text.as_str()));
        let loaded = loaded(&files.collect::<Vec<_>>());
        loaded.problems.iter().filter(|p| p.code == "E036").count()
    };
    assert_eq!(claims("gateway = 'east'", "gateway = 'west'"), 0);
    assert_eq!(claims("gateway = 'east'", "gateway = 'east'"), 1);
    assert_eq!(claims("", "gateway = 'east'"), 1);
    assert_eq!(claims("", ""), 1);
}

#[test]
fn addresses_of_trunks_are_known_however_they_are_written() {
    let text = |ip: &str| format!("{PLAIN}[[trunk]]\nname = '{ip}'\n");
    let (a, b) = (text("2001:DB8:0::1"), text("2001:db8::1"));
    let loaded = loaded(&[("customers/a.toml", &a), ("customers/b.toml", &b)]);
    assert!(loaded.problems.iter().any(|p| p.code == "E036"));
}

#[test]
fn who_asks_for_two_customers_and_names_that_differ_in_case_are_told() {
    let text = format!("{PLAIN}[[contact]]\nid = 'x'\nemail = 'X@acme.se'\nrights = ['request']\n");
    let loaded = loaded(&[("customers/Acme.toml", &text), ("customers/acme.toml", &text.replace("X@", "x@"))]);
    let codes: Vec<_> = loaded.problems.iter().map(|p| p.code).collect();
    assert!(codes.contains(&"W122") && codes.contains(&"W123"), "{codes:?}");
    assert!(loaded.policy.is_some());
}

#[test]
fn unverified_and_missing_addresses_are_told_where_they_are_used() {
    let text = |channels: &str| {
        format!(
            "{PLAIN}[[contact]]\nid = 'x'\nemail = 'x@acme.se'\nrights = ['receive']\n\
             [[distribution]]\nseverities = [1]\naudience = 'customer'\nto = ['x']\nchannels = [{channels}]\n"
        )
    };
    assert_eq!(told(&text("'mail'")), ["W125 the mail address of contact `x` is not verified"]);
    assert!(has(&told(&text("'mail', 'sms'")), "W124 contact `x` has no address for sms"));
    assert_eq!(told(&text("'sms'")), ["E035 contact `x` cannot be reached by sms"]);
    assert_eq!(told(&text("'portal'")), Vec::<String>::new());
    assert!(has(
        &told(&text("'mail'").replace("['receive']", "['request']")),
        "E035 contact `x` has no right to receive"
    ));
}

#[test]
fn own_numbers_come_from_the_file_from_a_list_or_are_those_of_all() {
    let rules = RULES.replace(
        "[calendars]",
        "[[firewall]]\nid = 'fw'\nwhen = 'caller in $own_numbers'\naction = 'block'\n[calendars]",
    );
    let with = |own: &str| {
        let text = format!("own_numbers = {own}\n{PLAIN}");
        let files = [("ruleset.toml", rules.as_str()), ("lists/own.csv", "+4684*\n"), ("customers/acme.toml", &text)];
        load(&RuleSource::memory(files), LoadOptions::default())
    };
    for own in ["['+4684*']", "{ file = 'lists/own.csv' }", "{ items = ['+4684*'] }"] {
        let loaded = with(own);
        let policy = loaded.policy.unwrap_or_else(|| panic!("{own}: {:?}", loaded.problems));
        let set = policy.customers.own_numbers("acme").expect("the file has some");
        let number = crate::event::Number::e164(b"46840001").unwrap();
        assert!(set.contains(number, crate::clock::Timestamp::MIN), "{own}");
        assert!(policy.own_numbers.is_some(), "the list is there for customers that have none");
    }
    assert!(with("{ dynamic = true }").policy.is_none());
    assert!(with("[4684]").problems.iter().any(|p| p.code == "E014"));
    let without = load(&RuleSource::memory([("ruleset.toml", rules.as_str())]), LoadOptions::default());
    assert!(without.problems.iter().any(|p| p.code == "E047"), "nobody has any: a slip");
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 64, ..Default::default() })]

    #[test]
    fn no_text_makes_reading_panic(text in "[\\PC\n\t]{0,120}", cut in 0usize..4000, insert in 0usize..4000) {
        let floor = |at: usize| (0..=at.min(EXAMPLE.len())).rev().find(|at| EXAMPLE.is_char_boundary(*at)).unwrap_or(0);
        let (from, to) = (floor(cut.min(insert)), floor(cut.max(insert)));
        let (head, tail) = (EXAMPLE.get(..from).unwrap_or(""), EXAMPLE.get(to..).unwrap_or(""));
        let loaded = loaded(&[("customers/acme.toml", &format!("{head}{text}{tail}"))]);
        proptest::prop_assert_eq!(loaded.policy.is_some(), loaded.n_errors() == 0);
        check_report(&loaded, ReportFormat::Text { colour: true });
    }
}

const PEOPLE: &str = "[[contact]]\nid = 'maria'\nuser = 'maria'\nemail = 'm@op.example'\nemail_verified = true\n\
    mobile = '+4670000001'\nmobile_verified = true\nrights = ['receive']\n\
    [[contact]]\nid = 'bo'\nemail = 'b@op.example'\nemail_verified = true\nrights = ['receive']\n\
    [[contact]]\nid = 'gone'\nrights = []\n[[roster]]\nname = 'night'\npeople = ['maria', 'bo']\n";

#[test]
fn a_chain_calls_a_roster_one_after_the_other_and_a_contact_at_its_time() {
    let chain = "[[oncall]]\nseverities = [1, 2]\nchannels = ['mail']\nrepeat = 1\nrepeat_after = '2m'\n\
        steps = [{ to = ['night'], each = '3m' }, { to = ['maria'], after = '10m' }]\n";
    let customers = customers(&[("customers/acme.toml", &format!("{PLAIN}{PEOPLE}{chain}"))]);
    let acme = customers.get("acme").unwrap();
    let calls = acme.calls(2);
    let when: Vec<(i64, &str)> = calls.calls.iter().map(|(at, contact)| (*at, contact.id.as_str())).collect();
    assert_eq!(when, [(0, "maria"), (180_000, "bo"), (600_000, "maria")]);
    assert_eq!((calls.channels.as_slice(), calls.repeats, calls.repeat_after_ms), (&[Channel::Mail][..], 1, 120_000));
    // Without a chain, those who command: PLAIN has maria.
    let calls = acme.calls(3);
    assert_eq!(calls.calls.iter().map(|(at, contact)| (*at, contact.id.as_str())).collect::<Vec<_>>(), [(0, "maria")]);
    assert_eq!(calls.channels, [Channel::Sms, Channel::Mail]);
}

/// `E033 unknown contact ... at "sven"` of each problem, with the text it points to.
fn pointed(text: &str) -> Vec<String> {
    let loaded = loaded(&[("customers/acme.toml", text)]);
    let part = |span: std::ops::Range<usize>| text.get(span).unwrap_or_default().to_owned();
    let place = |p: &crate::policy::problem::Problem| p.place.as_ref().map(|place| part(place.span.clone()));
    loaded.problems.iter().map(|p| format!("{} {} at {}", p.code, p.message, place(p).unwrap_or_default())).collect()
}

#[test]
fn every_mistake_of_a_chain_is_told_at_its_place() {
    let chain = |text: &str| pointed(&format!("{PLAIN}{PEOPLE}[[oncall]]\n{text}\n"));
    let steps = "steps = [{ to = ['maria'] }]";
    let usual = |more: &str| chain(&format!("severities = [1]\n{steps}\n{more}"));
    assert_eq!(usual(""), Vec::<String>::new());
    let cases: Vec<(Vec<String>, &str)> = vec![
        (chain(steps), "`severities`"),
        (chain("severities = [1]"), "`steps`"),
        (chain(&format!("severities = [0]\n{steps}")), "E006 a severity is 1, 2, 3 or 4 at 0"),
        (chain(&format!("severities = []\n{steps}")), "E006 `severities` names none at []"),
        (usual(&format!("[[oncall]]\nseverities = [1, 2]\n{steps}")), "E007 severity 1 has a chain already at [1, 2]"),
        (usual("channels = ['portal']"), "E006 `portal` calls nobody at ['portal']"),
        (usual("channels = ['acd', 'sms']"), "E006 `acd` calls nobody"),
        (usual("channels = ['fax']"), "at 'fax'"),
        (usual("channels = ['webhook:']"), "at 'webhook:'"),
        (usual("channels = ['sms', 'sms']"), "E007 `sms` is named twice in `channels` at 'sms'"),
        (usual("channels = []"), "E033 `channels` names none"),
        (usual("repeat = 21"), "at 21"),
        (usual("repeat = -1"), "at -1"),
        (usual("repeat_after = '25h'"), "E009 `repeat_after` is at most 24h at '25h'"),
        (usual("repeats = 2"), "E002 unknown key `repeats`; did you mean `repeat`? at repeats"),
        (chain("severities = [1]\nsteps = [{ to = ['sven'] }]"), "E033 unknown contact or roster `sven` at 'sven'"),
        (chain("severities = [1]\nsteps = [{ to = ['marie'] }]"), "did you mean `maria`?"),
        (chain("severities = [1]\nsteps = [{ to = ['gone'] }]"), "E035 contact `gone` has no right to receive"),
        (
            chain("severities = [1]\nchannels = ['sms']\nsteps = [{ to = ['bo'] }]"),
            "E035 contact `bo` cannot be reached by sms",
        ),
        (chain("severities = [1]\nsteps = [{ after = '5m' }]"), "`to`"),
        (chain("severities = [1]\nsteps = [{ to = ['maria'], after = 5 }]"), "at 5"),
        (chain("severities = [1]\nsteps = [{ to = ['maria'], each = '2d' }]"), "E009 `each` is at most 24h at '2d'"),
        (chain("severities = [1]\nsteps = [{ to = ['maria'], later = '5m' }]"), "unknown key `later`"),
        (
            chain("severities = [1]\nsteps = [{ to = ['bo'], after = '5m' }, { to = ['maria'] }]"),
            "E009 a step comes before the one above it, which begins after 300 s",
        ),
        (chain("severities = [1]\nsteps = []"), "E033 `steps` calls nobody at []"),
        (chain("severities = [1]\nsteps = [{ to = [] }]"), "E033 this step calls nobody: `to` is empty at []"),
        (chain("severities = [1]\nsteps = 'maria'"), "at 'maria'"),
    ];
    for (told, wanted) in cases {
        assert!(has(&told, wanted), "{wanted} in {told:?}");
    }
}

#[test]
fn a_user_is_one_name_without_spaces() {
    let user = |name: &str| pointed(&PEOPLE.replace("user = 'maria'", &format!("user = {name}")));
    for bad in ["''", "'maria lund'", "'a\u{301} b'", "\"a\\nb\""] {
        assert!(has(&user(bad), "is no name of a user at"), "{bad}: {:?}", user(bad));
    }
    assert!(has(&user(&format!("'{}'", "x".repeat(101))), "is no name of a user"));
    assert!(has(&user("7"), "`user`"), "{:?}", user("7"));
}
