//! One customer's file, read and checked.

use std::net::IpAddr;

use super::claims::Claims;
use super::{Customer, Surroundings, Trunk, hours, id_of, keys, oncall, people, severity};
use crate::clock::Timestamp;
use crate::event::dialplan::{DialPlan, DialPlanSettings};
use crate::event::numbering::EMERGENCY_ALWAYS;
use crate::event::{Country, Number};
use crate::limits::ID_BYTES_MAX;
use crate::policy::declared;
use crate::policy::document::{Document, Section, short};
use crate::policy::load::{ListReads, Settings, value_span};
use crate::policy::number_set::NumberSet;
use crate::policy::problem::{Place, Problem};

/// Kinds of action a customer may allow beforehand.
const ACTIONS: [&str; 5] = ["block:fraud", "block:harassing", "unblock", "policy", "report"];

/// Reads it whatever is wrong with it, so that everything is told; one mistake keeps the policy from being made.
pub(super) fn read(
    document: &Document<'_>,
    around: &Surroundings<'_>,
    reads: &mut ListReads<'_>,
    claims: &mut Claims,
    problems: &mut Vec<Problem>,
) -> Customer {
    let file = document.table().named("this file").at(0..0).keyed(keys::FILE);
    let id = id(document.path, claims, problems);
    check_keys(&file, problems);
    if file.lacks(&keys::NAME) {
        problems.push(file.missing(&keys::NAME));
    }
    let name = people::line(&file, &keys::NAME, problems).unwrap_or_else(|| id.clone());
    let country = country(&file, problems);
    let zone = declared::time_zone(&file, problems).unwrap_or_else(|| around.settings.time_zone.clone());
    let settings = Settings { time_zone: zone.clone(), ..Settings::default() };
    let dial_plan = dial_plan(&file, country, around, problems);
    let own_numbers = declared::own_numbers(&file, &settings, reads, problems);
    if let Some(own) = &own_numbers {
        check_emergency(&file, own, country, dial_plan.as_ref(), around, problems);
    }
    let trunks = trunks(&file, &id, claims, problems);
    let people = people::read(&file, &id, claims, problems);
    let oncall = oncall::read(&file, &people, problems);
    let hours = hours::read(&file, &zone, around, reads.options.now, problems);
    Customer {
        name,
        country,
        own_numbers,
        trunks,
        dial_plan,
        contacts: people.contacts,
        rosters: people.rosters,
        distributions: people.distributions,
        oncall,
        command: people::command(&file, problems),
        severity: severity::read(&file, around, problems),
        service: hours.service,
        response: hours.response,
        pre_authorised: pre_authorised(&file, problems),
        escalation: people::escalation(&file, problems),
        kits: kits(&file, problems),
        time_zone: zone,
        id,
    }
}

/// The name of the file is the id, exactly as events write it.
fn id(path: &str, claims: &mut Claims, problems: &mut Vec<Problem>) -> String {
    let id = id_of(path);
    let place = || Place::new(path, 0..0);
    let is_mark = |c: char| matches!(c, '_' | '-' | '.');
    let is_good = id.starts_with(char::is_alphanumeric) && id.chars().all(|c| c.is_alphanumeric() || is_mark(c));
    if !is_good || id.len() > ID_BYTES_MAX {
        let problem = Problem::error("E037", format!("`{}` is no id of a customer", short(id)));
        let help = format!(
            "the file is called as events name the customer: letters, digits, `_`, `-` and `.`, at most {ID_BYTES_MAX} bytes"
        );
        problems.push(problem.at(path, 0..0).help(help));
    } else {
        claims.id(id, place(), problems);
    }
    id.to_owned()
}

/// Unknown keys, and tables that stand elsewhere.
fn check_keys(file: &Section<'_, '_>, problems: &mut Vec<Problem>) {
    let before = problems.len();
    file.check_keys(problems);
    for (name, span, _) in file.keys() {
        let (message, help) = match name {
            "lists" | "macros" => (
                format!("`[{name}]` stands in rule files: rules of a customer name those of the whole set"),
                "move it to ruleset.toml, under a name that tells whose it is",
            ),
            "except" | "mute" => (
                format!("`{name}` is a key of a rule"),
                "for a rule of the set write [[exception]] with rule = \"...\" and kind = \"except\" or \"mute\"",
            ),
            _ => continue,
        };
        let is_told = |problem: &Problem| problem.place.as_ref().is_some_and(|at| at.span == span);
        if let Some(at) = problems.iter().skip(before).position(is_told) {
            problems.splice(before + at..=before + at, [file.problem("E008", message, span).help(help)]);
        }
    }
}

fn country(file: &Section<'_, '_>, problems: &mut Vec<Problem>) -> Option<Country> {
    let text = file.text(&keys::COUNTRY, problems)?;
    let country = Country::parse(text.value.as_bytes());
    if country.is_none() {
        let problem =
            file.problem("E023", format!("`{}` is no country code of ISO 3166", short(text.value)), text.span);
        let by_name = Country::ALL.iter().find(|(code, name)| {
            name.eq_ignore_ascii_case(text.value) || code.as_str().eq_ignore_ascii_case(text.value)
        });
        problems.push(match by_name {
            Some((code, name)) => problem.help(format!("write {} ({name})", code.as_str())),
            None => problem.help(format!("two capital letters: {}", keys::COUNTRY.example)),
        });
    }
    country
}

/// `[dial_plan]`, of the customer's country unless it says otherwise.
fn dial_plan(
    file: &Section<'_, '_>,
    country: Option<Country>,
    around: &Surroundings<'_>,
    problems: &mut Vec<Problem>,
) -> Option<DialPlanSettings> {
    let section = file.section(&keys::DIAL_PLAN, problems)?.keyed(keys::DIAL_PLAN_KEYS);
    let before = problems.len();
    section.check_keys(problems);
    if problems.len() > before {
        return None;
    }
    let mut settings: DialPlanSettings = section.foreign(problems)?;
    if settings.country.is_none() && settings.country_code.is_none() {
        settings.country = country.map(|country| country.as_str().to_owned());
    }
    if let Err(messages) = DialPlan::new(&settings, around.numbering) {
        for message in messages {
            let key = message.split_once(':').map(|(key, _)| key).filter(|key| section.has(key));
            let span = key.map_or(section.span.clone(), |key| value_span(&section, key));
            problems.push(section.problem("E006", message, span));
        }
        return None;
    }
    Some(settings)
}

/// Rules treat own numbers as the customer's, and counting never blocks them. An emergency number is nobody's own.
fn check_emergency(
    file: &Section<'_, '_>,
    own: &NumberSet,
    country: Option<Country>,
    dial_plan: Option<&DialPlanSettings>,
    around: &Surroundings<'_>,
    problems: &mut Vec<Problem>,
) {
    let of_country = country.into_iter().flat_map(|country| around.numbering.emergency_numbers(country));
    let of_plan = dial_plan.into_iter().flat_map(|plan| plan.emergency.iter().map(String::as_str));
    let codes = EMERGENCY_ALWAYS.iter().copied().chain(of_country).chain(of_plan);
    let short_codes = codes.filter_map(|code| Some((format!("short:{code}"), Number::short(code.as_bytes())?)));
    let whole = around.numbering.emergency_e164().iter().filter_map(|number| {
        let (value, _) = number.digits()?;
        Some((format!("+{value}"), *number))
    });
    let held = short_codes.chain(whole).find(|(_, number)| own.contains(*number, Timestamp::MIN));
    if let Some((code, _)) = held {
        let message = format!("`own_numbers` holds the emergency number {code}");
        let problem = file.problem("E034", message, value_span(file, keys::OWN_NUMBERS.name));
        problems.push(problem.help("list the customer's own blocks only, such as +4684000000..+4684009999"));
    }
}

/// `[[trunk]]`.
fn trunks(file: &Section<'_, '_>, id: &str, claims: &mut Claims, problems: &mut Vec<Problem>) -> Vec<Trunk> {
    let mut trunks = Vec::new();
    for section in file.sections(&keys::TRUNK, problems) {
        let section = section.keyed(keys::TRUNK_KEYS);
        section.check_keys(problems);
        let gateway = section.text(&keys::GATEWAY, problems);
        let Some(name) = section.required_text(&keys::TRUNK_NAME, problems) else { continue };
        for text in [Some(&name), gateway.as_ref()].into_iter().flatten() {
            if text.value.is_empty() || text.value.len() > ID_BYTES_MAX {
                let message = format!("a name has 1 to {ID_BYTES_MAX} bytes");
                problems.push(section.problem("E006", message, text.span.clone()));
            }
        }
        // An address is compared as events show it.
        let plain = name.value.parse::<IpAddr>().map_or_else(|_| name.value.to_owned(), |ip| ip.to_string());
        let trunk = Trunk { name: plain, gateway: gateway.map(|text| text.value.to_owned()) };
        claims.trunk(id, &trunk, Place::new(section.document.path, name.span), problems);
        trunks.push(trunk);
    }
    trunks
}

fn pre_authorised(file: &Section<'_, '_>, problems: &mut Vec<Problem>) -> Vec<String> {
    let mut actions: Vec<String> = Vec::new();
    for text in file.texts(&keys::PRE_AUTHORISED, problems).unwrap_or_default() {
        match ACTIONS.contains(&text.value) {
            true => actions.push(text.value.to_owned()),
            false => problems.push(file.not_a_word(keys::PRE_AUTHORISED.name, &text, ACTIONS.into_iter())),
        }
    }
    actions
}

fn kits(file: &Section<'_, '_>, problems: &mut Vec<Problem>) -> Option<String> {
    let text = file.text(&keys::KITS, problems)?;
    let is_plain = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.chars().any(char::is_control);
    if text.value.len() > ID_BYTES_MAX || !text.value.split('/').all(is_plain) {
        let problem = file.problem("E006", "`kits` is a folder beside the rules", text.span);
        problems.push(problem.help(format!("write: {}", keys::KITS.example)));
        return None;
    }
    Some(text.value.to_owned())
}
