//! What a calendar says of an instant, on its own clock.

use crate::calendar::{Calendar, Reason, WEEKDAYS, weekday};
use crate::clock::{Timestamp, civil_from_days};

/// `Mon 22:41 Europe/Stockholm`, and why that is open or closed.
pub(super) fn said(calendar: &Calendar, at: Timestamp) -> String {
    let clock = crate::calendar::LocalClock::new(calendar.zone().clone());
    let (day, minute) = clock.day_and_minute(at);
    let (year, month, of_month) = civil_from_days(day);
    let date = format!("{year:04}-{month:02}-{of_month:02}");
    let zone = calendar.zone().iana_name().unwrap_or("UTC");
    let weekday = WEEKDAYS.get(weekday(day)).copied().unwrap_or_default();
    let local = format!("{weekday} {:02}:{:02} {zone}", minute / 60, minute % 60);
    let name = &calendar.name;
    let called = |called: &Option<String>| called.as_deref().map_or(String::new(), |n| format!(" ({n})"));
    let reason = calendar.steps(at, Timestamp(at.0.saturating_add(1))).into_iter().next().map(|step| step.reason);
    match reason {
        Some(Reason::ClosedDate(why)) => format!("{date} is in closed_dates of \"{name}\"{}; {local}", called(&why)),
        Some(Reason::OpenDate(why)) => format!("{date} is in open_dates of \"{name}\"{}; {local}", called(&why)),
        // Who asks about a holiday wants to hear that nobody wrote it down.
        Some(Reason::Open) if calendar.closed_dates().next().is_some() => {
            format!("{date} is not in closed_dates of \"{name}\"; {local}")
        }
        Some(Reason::NoHours) => format!("{local}, \"{name}\" has no hours on {weekday}"),
        Some(Reason::Open | Reason::OutsideHours) => {
            format!("{local}, \"{name}\" is {}", calendar.week_text().join("; "))
        }
        None => local,
    }
}
