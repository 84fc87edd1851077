//! Kits as a whole: what ships, what each mistake is told as, and hostile values.

use super::*;
use crate::policy::render;

/// `holding`, small: what the mistakes below are made in.
const SMALL: &str = r#"
kit = "holding"
title = "Suspected"
for = "everyone"
mail_subject = '[{{ incident }}] suspected'
mail = '''
As of {{ as_of }}: {{ what }}
{% if next_update %}
Next: {{ next_update }}
{% endif %}
{{ action }} {{ escalation }} {{ incident }}
'''
sms = '{{ incident }} {{ as_of }} {{ what|shorten(40) }} {{ action }} {{ next_update|default("soon") }} {{ escalation }}'
portal = '{{ incident }} {{ as_of }} {{ what }} {{ action }} {{ next_update|default("soon") }} {{ escalation }}'
acd = '{{ incident }} {{ as_of }} {{ action }} {{ next_update|default("soon") }} {{ escalation }}'
[variables]
incident = { type = "text", max = 14, example = "INC-000123" }
what = { type = "text", example = "Too many calls" }
as_of = { type = "time", example = "14:30", spoken = "half past two" }
next_update = { type = "time", optional = true, example = "15:30", spoken = "half past three" }
escalation = { type = "text", max = 40, example = "Desk, +46 10 123 45 67" }
action = { fixed = "Nothing to do." }
"#;

fn lint(text: &str) -> String {
    let (kits, problems, texts) = Kits::read(&RuleSource::memory([("k.toml", text)]));
    assert_eq!(kits.is_none(), problems.iter().any(|p| p.is_error));
    problems.iter().map(|p| format!("{} {}\n", p.code, render::line(p, &texts))).collect()
}

/// The codes told of the small kit with one piece exchanged.
fn codes(old: &str, new: &str) -> String {
    assert!(SMALL.contains(old), "{old}");
    let report = lint(&SMALL.replacen(old, new, 1));
    let codes: Vec<&str> = report.lines().map(|line| &line[..4]).collect();
    codes.join(" ")
}

#[test]
fn the_kits_that_ship_lint_clean_with_the_longest_values() {
    let (kits, problems, texts) = Kits::read(&RuleSource::memory(Kits::shipped_files()));
    let report: String = problems.iter().map(|p| render::drawing(p, &texts, false)).collect();
    assert!(problems.is_empty(), "{report}");
    let kits = kits.unwrap();
    for kind in Kind::ALL {
        let kit = kits.get(kind);
        assert_eq!(kit.kind(), kind);
        let forms = kit.render(&kit.examples(|_| false)).unwrap();
        assert!(sms::SmsLength::of(&forms.sms).n_units <= 160 && forms.lints().is_empty());
        assert!(speech::seconds(&forms.acd) <= 20.0);
        for form in [Form::Portal, Form::Acd] {
            assert!(!forms.get(form).contains("Acme"), "{kind:?}: the public is not told whose problem it is");
        }
        for form in Form::ALL {
            let text = forms.get(form);
            assert!(!text.contains("  ") && !text.contains(" .") && !text.contains("\n\n\n"), "{kind:?}: {text}");
        }
    }
    assert_eq!(Kits::shipped().iter().count(), Kind::ALL.len());
}

#[test]
fn the_small_kit_is_clean_and_the_others_come_from_what_ships() {
    assert_eq!(lint(SMALL), "");
    let (kits, ..) = Kits::read(&RuleSource::memory([("k.toml", SMALL)]));
    let kits = kits.unwrap();
    assert_eq!(kits.get(Kind::Holding).title(), "Suspected");
    assert_eq!(kits.get(Kind::Holding).path(), Some("k.toml"));
    assert_eq!(kits.get(Kind::Update).path(), None);
}

#[test]
fn every_mistake_has_its_code() {
    for (code, old, new) in [
        ("E001", "title = ", "title "),
        ("E002", "title = ", "titel = "),
        ("E004", "title = \"Suspected\"", "title = 3"),
        ("E005", "sms = ", "# sms = "),
        ("E005", "for = ", "# for = "),
        ("E005", ", spoken = \"half past two\"", ""),
        ("E006", "kit = \"holding\"", "kit = \"holdin\""),
        ("E006", "max = 40", "max = 0"),
        ("E006", "type = \"text\", example = \"Too", "type = \"words\", example = \"Too"),
        ("E008", "example = \"14:30\"", "example = \"14:30\", default = \"now\""),
        ("E024", "[variables]", "[variables]\nWhat = { fixed = \"x\" }"),
        ("E201", "{{ what }}", "{{ what"),
        ("E201", "{{ what }}", "{{ what|upper }}"),
        ("E201", "{{ what }}", "{% set what = 1 %}"),
        ("E202", "{{ what }}", "{{ waht }}"),
        ("E202", "{{ what }}", "{{ since }}"),
        ("E203", "[variables]", "[variables]\nweather = { type = \"text\", example = \"x\" }"),
        ("E204", "what = { type = \"text\"", "what = { type = \"text\", free = true"),
        ("E205", "mail_subject = '[{{ incident }}] ", "mail_subject = '"),
        ("E205", "acd = '{{ incident }} {{ as_of }}", "acd = '{{ incident }}"),
        (
            "E205",
            "sms = '{{ incident }} {{ as_of }} {{ what|shorten(40) }} {{ action }}",
            "sms = '{{ incident }} {{ as_of }} {{ what|shorten(40) }}",
        ),
        ("E205", "{{ escalation }}'\nportal", "'\nportal"),
        (
            "E206",
            "action = { fixed = \"Nothing to do.\" }",
            "action = { type = \"text\", free = true, example = \"x\" }",
        ),
        ("W204", "example = \"Desk, ", "example = \"The desk of all of the people who are on call today, "),
        ("E207", "sms = '", &format!("sms = '{}", "too long ".repeat(15))),
        ("E207", "acd = '", &format!("acd = '{}", "too long ".repeat(20))),
        ("E207", "mail_subject = '", &format!("mail_subject = '{}", "too long ".repeat(15))),
        ("E208", "portal = '", "portal = 'Call +46 8 555 11 22. "),
        ("E208", "acd = '", "acd = 'Call 08-555 11 22. "),
        ("E209", "mail_subject = '[", "mail_subject = '\u{202e}["),
        ("E209", "acd = '{{ incident }}", "acd = '''a\nb {{ incident }}'''#"),
        ("E210", "{{ next_update|default(\"soon\") }} {{ escalation }}'\n[", "{{ next_update }} {{ escalation }}'\n["),
        ("W202", "sms = '", "sms = 'ж"),
        ("W203", "max = 40", "max = 100"),
    ] {
        let found = codes(old, new);
        assert!(found.split(' ').any(|c| c == code), "{code} {new}: {found}");
    }
}

#[test]
fn what_may_become_too_long_is_a_warning() {
    let text = SMALL.replacen("{{ what|shorten(40) }}", "{{ what }}", 1).replacen(
        "Too many calls\"",
        "Too many calls\", max = 160",
        1,
    );
    assert!(lint(&text).starts_with("W203 k.toml:13:7: sms has "), "{}", lint(&text));
}

#[test]
fn a_variable_that_no_text_shows_is_told() {
    let text = SMALL.replace("[variables]", "[variables]\ncustomer = { type = \"text\", example = \"Acme\" }");
    assert_eq!(lint(&text), "W201 k.toml:17:1: variable `customer` is never used\n");
}

#[test]
fn mistakes_are_told_at_their_place_and_all_at_once() {
    let text = SMALL.replacen("{{ what }}", "{{ waht }}", 1).replacen("| default", "|default", 1);
    let text = text.replacen("sms = '{{ incident }}", "sms = '{{ incident|upper }}", 1);
    let report = lint(&text);
    assert!(report.contains("E202 k.toml:7:23: variable `waht` is not declared; did you mean `what`?"), "{report}");
    assert!(report.contains("E201 k.toml:13:"), "{report}");
    let two = [("a.toml", SMALL), ("b.toml", SMALL)];
    let (kits, problems, _) = Kits::read(&RuleSource::memory(two));
    assert!(kits.is_none() && problems.len() == 1 && problems[0].code == "E007");
}

#[test]
fn an_update_cannot_leave_out_when_the_next_one_comes() {
    let update = Kits::shipped_files().find(|(path, _)| *path == "update.toml").unwrap().1;
    let text = update.replace("next_update = { type = \"time\"", "next_update = { type = \"time\", optional = true");
    assert!(text != update && lint(&text).contains("E205"), "{}", lint(&text));
    let kits = Kits::shipped();
    let kit = kits.get(Kind::Update);
    let lints = kit.render(&kit.examples(|v| v.name == "next_update")).unwrap_err();
    assert_eq!(lints[0].to_string(), "`next_update` is required and was not given");
}

#[test]
fn an_endless_loop_in_a_kit_is_told_when_it_is_saved() {
    let loops = "{% for a in what %}".repeat(12) + "x" + &"{% endfor %}".repeat(12);
    let report = lint(&SMALL.replacen("{{ what }}", &loops, 1));
    assert!(report.contains("E210") && report.contains("computes for too long"), "{report}");
}

fn holding(name: &str, fact: Fact) -> (Forms, Vec<Lint>) {
    let kits = Kits::shipped();
    let kit = kits.get(Kind::Holding);
    kit.draw(&kit.examples(|_| false).with(name, fact))
}

#[test]
fn a_name_cannot_write_headers_tags_or_backwards() {
    let name = "Eve\r\nBcc: all@example.com\r\n\r\n<script>alert(1)</script>\u{202e}{{ escalation }}";
    let (forms, lints) = holding("what", Fact::text(name));
    assert!(lints.is_empty(), "{lints:?}");
    assert_eq!(
        forms.mail_subject,
        "[INC-000123] Suspected: Eve Bcc: all@example.com < script>alert(1)< /script>{{ escalation }}"
    );
    for form in Form::ALL {
        assert_eq!(clean::unfit(forms.get(form), form.has_lines()), None);
        assert!(!forms.get(form).contains("<script"));
    }
    assert!(forms.mail.contains("What we see: Eve Bcc: all@example.com < script>"));
}

#[test]
fn a_value_of_five_megabytes_is_cut_and_one_that_a_person_typed_is_refused() {
    let (forms, lints) = holding("what", Fact::text("call ".repeat(1_000_000)));
    assert_eq!((lints.len(), lints[0].code), (1, "W204"));
    assert!(forms.mail.len() < 2_000 && forms.mail.contains("call..."));
    let kits = Kits::shipped();
    let kit = kits.get(Kind::Update);
    let facts = kit.examples(|_| false).with("changed", Fact::text("x".repeat(5_000_000)));
    let lints = kit.render(&facts).unwrap_err();
    assert_eq!(lints[0].to_string(), "`changed` is longer than 600 characters; say it in fewer words");
}

#[test]
fn numbers_on_public_forms_are_the_escalation_contacts_alone() {
    let (_, lints) = holding("what", Fact::text("Calls from +46701234567 and +46701234568"));
    assert!(lints.iter().any(|l| l.code == "E208" && l.form == Some(Form::Portal)), "{lints:?}");
    let (_, lints) = holding("what", Fact::text("Calls from +46701234567"));
    assert!(lints.iter().any(|l| l.code == "E208" && l.form == Some(Form::Portal)), "{lints:?}");
}

#[test]
fn an_escalation_contact_with_a_long_name_keeps_the_number() {
    let (forms, lints) =
        holding("escalation", Fact::text(format!("{}, +1 312 555 0123", "Voice Operations Center ".repeat(9))));
    assert_eq!(lints.iter().map(|l| l.code).collect::<Vec<_>>(), ["W204"]);
    assert!(Form::ALL.iter().skip(1).all(|form| forms.get(*form).contains(", +1 312 555 0123")), "{forms:?}");
}

#[test]
fn foreign_letters_do_not_stop_a_first_notice() {
    let (forms, lints) = holding("what", Fact::text("Łódź – za dużo połączeń"));
    assert!(lints.is_empty() && forms.sms.contains("Lodz - za duzo polaczen"), "{}", forms.sms);
    let (forms, lints) = holding("what", Fact::text("Слишком много звонков за границу"));
    assert_eq!(lints.iter().map(|l| l.code).collect::<Vec<_>>(), ["W202"]);
    assert!(sms::SmsLength::of(&forms.sms).n_parts <= 3);
}

#[test]
fn times_and_numbers_are_said_and_not_read() {
    let (forms, _) = holding("as_of", Fact::time("Wed 30 Sep 14:45 CDT", "a quarter to three"));
    assert!(forms.acd.contains("a quarter to three") && forms.acd.contains("Incident 1 2 3."), "{}", forms.acd);
    assert!(forms.sms.contains("14:45") && forms.mail.contains("INC-000123"));
}

#[test]
fn an_empty_value_is_one_that_was_not_given() {
    for blank in ["", " \n", "\u{200b}"] {
        let (_, lints) = holding("what", Fact::text(blank));
        assert_eq!((lints.len(), lints[0].code), (1, "E211"));
    }
    let (forms, lints) = holding("next_update", Fact::time("", ""));
    assert!(lints.is_empty() && forms.mail.contains("as soon as we know more"));
    assert_eq!(holding("severity", Fact::text("high")).1[0].to_string(), "`severity` is not given as a number");
}

#[test]
fn any_text_as_value_or_kit_keeps_the_promises() {
    for text in
        ["", "\0", "<script", "<\u{200b}script>", "{% for %}", "a,b\n\r\u{2028}\u{2066}", "+46 70 123 45 67", "😀ж€"]
    {
        property::hostile_values_come_out_harmless(text);
        property::a_kit_is_read_or_refused(text);
    }
    for (_, text) in Kits::shipped_files() {
        for n in (0..text.len()).step_by(397).filter(|n| text.is_char_boundary(*n)) {
            property::a_kit_is_read_or_refused(&text[..n]);
        }
    }
}

#[test]
fn kits_and_their_codes_are_explained() {
    let mut all: Vec<_> = codes::KITS.iter().map(|c| c.code).collect();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), codes::KITS.len());
    assert!(codes::KITS.iter().all(|c| c.explanation.ends_with('.') && c.code.len() == 4));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(24))]

    #[test]
    fn any_values_come_out_harmless(text in "(?s).{0,300}") {
        property::hostile_values_come_out_harmless(&text);
    }
}
