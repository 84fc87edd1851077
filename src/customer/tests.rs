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
    for code in ["E002", "E007", "E023", "E032", "E033", "E034", "E035", "E036", "E037", "E050", "E051", "E090"] {
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
