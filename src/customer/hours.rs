//! `[calendars]` of a customer: when requests are worked on, and when violations are answered.

use std::sync::{Arc, LazyLock};

use jiff::tz::TimeZone;

use super::{Surroundings, keys};
use crate::calendar::Calendar;
use crate::clock::Timestamp;
use crate::policy::declared;
use crate::policy::document::{Key, Section, short};
use crate::policy::load::Settings;
use crate::policy::problem::{Problem, suggest};

/// The calendar that ships, by its name in files.
const SHIPPED: &str = "us-central";

/// Service hours and response hours.
pub(super) struct Hours {
    pub(super) service: Arc<Calendar>,
    pub(super) response: Arc<Calendar>,
}

/// Those of the calendar that ships, one for all customers.
pub(super) fn shipped() -> Arc<Calendar> {
    static CALENDAR: LazyLock<Arc<Calendar>> =
        LazyLock::new(|| Arc::new(Calendar::shipped(SHIPPED).expect("it is among those that ship")));
    Arc::clone(&CALENDAR)
}

/// Reads them; what the file does not say is the calendar that ships, and response is service.
pub(super) fn read(
    file: &Section<'_, '_>,
    zone: &TimeZone,
    around: &Surroundings<'_>,
    now: Option<Timestamp>,
    problems: &mut Vec<Problem>,
) -> Hours {
    let section = file.section(&keys::CALENDARS, problems).map(|section| section.keyed(keys::CALENDARS_KEYS));
    if let Some(section) = &section {
        section.check_keys(problems);
    }
    let mut hours = |key: &Key| one(section.as_ref()?, key, zone, around, problems);
    let (service, response) = (hours(&keys::SERVICE), hours(&keys::RESPONSE));
    let is_written = section.as_ref().is_some_and(|section| section.has(keys::SERVICE.name));
    let service = service.unwrap_or_else(shipped);
    let is_elsewhere = zone.iana_name().is_none_or(|name| name != "America/Chicago");
    if !is_written && is_elsewhere {
        let message = format!("no service hours are written: those of `{SHIPPED}` count, 08:00-17:00 in Chicago");
        let place = section.map_or(0..0, |section| section.span);
        problems.push(
            Problem::warning("W121", message)
                .at(file.document.path, place)
                .help("add under [calendars]: service = { open = [\"Mon-Fri 08:00-17:00\"] }"),
        );
    }
    let response = response.unwrap_or_else(|| Arc::clone(&service));
    runs_out(file, &service, now, problems);
    if !Arc::ptr_eq(&service, &response) {
        runs_out(file, &response, now, problems);
    }
    Hours { service, response }
}

/// Past its last closed date every holiday counts as a day of work.
fn runs_out(file: &Section<'_, '_>, calendar: &Calendar, now: Option<Timestamp>, problems: &mut Vec<Problem>) {
    let Some(message) = now.and_then(|now| calendar.runs_out_within_a_year(now)) else { return };
    let span = file.key_span(keys::CALENDARS.name);
    let problem = Problem::warning("W128", message).at(file.document.path, span);
    problems.push(problem.help("add the closed dates of the years to come"));
}

fn one(
    section: &Section<'_, '_>,
    key: &Key,
    zone: &TimeZone,
    around: &Surroundings<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Arc<Calendar>> {
    let value = section.value(key.name)?;
    if value.get_ref().is_table() {
        let table = section.section(key, problems)?;
        let settings = Settings { time_zone: zone.clone(), ..Settings::default() };
        let name = format!("{} of {}", key.name, section.document.path);
        return Some(Arc::new(declared::calendar(&name, &table, &settings, problems)));
    }
    let Some(name) = value.get_ref().as_str() else {
        problems.push(section.wrong_type(key.name, value, "the name of a calendar or a table", key.example));
        return None;
    };
    if let Some(known) = around.calendars.iter().find(|calendar| calendar.name == name) {
        return Some(Arc::clone(known));
    }
    if name == SHIPPED {
        return Some(shipped());
    }
    let names = || around.calendars.iter().map(|calendar| calendar.name.as_str()).chain([SHIPPED]);
    let message = match suggest(name, names()) {
        Some(near) => format!("unknown calendar `{}`; did you mean `{near}`?", short(name)),
        None => format!("unknown calendar `{}`", short(name)),
    };
    let help =
        format!("there are: {}; or write hours: {}", names().collect::<Vec<_>>().join(", "), keys::RESPONSE.example);
    problems.push(section.problem("E051", message, value.span()).help(help));
    None
}
