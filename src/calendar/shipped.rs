//! The calendars that come with Ringfence: data that people review, compiled in.

use jiff::tz::TimeZone;

use super::Calendar;

/// Names of the calendars that [`Calendar::shipped`] knows.
pub const SHIPPED: [&str; 1] = ["us-central"];

/// Also what is pasted into a rule set to change it: a file of rules may hold it as it stands.
const US_CENTRAL: &str = include_str!("../../deploy/calendars/us-central.toml");

impl Calendar {
    /// A calendar of [`SHIPPED`].
    pub fn shipped(name: &str) -> Option<Calendar> {
        let text = match name {
            "us-central" => US_CENTRAL,
            _ => return None,
        };
        Some(read(name, text).expect("the tests read every calendar that ships"))
    }
}

fn read(name: &str, text: &str) -> Result<Calendar, String> {
    let all: toml::Table = text.parse().map_err(|e: toml::de::Error| e.to_string())?;
    let table = all.get("calendars").and_then(|c| c.get(name)).ok_or("the calendar is missing")?;
    let zone = table.get("time_zone").and_then(toml::Value::as_str).ok_or("time_zone is missing")?;
    let mut calendar = Calendar::new(name, TimeZone::get(zone).map_err(|e| e.to_string())?);
    let mut each = |key: &str, add: fn(&mut Calendar, &str) -> Result<(), String>| {
        let entries = table.get(key).and_then(toml::Value::as_array).into_iter().flatten();
        entries.filter_map(toml::Value::as_str).try_for_each(|entry| add(&mut calendar, entry))
    };
    each("open", Calendar::add_open)?;
    each("closed_dates", Calendar::add_closed)?;
    each("open_dates", Calendar::add_open_dates)?;
    Ok(calendar)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calendar::weekday;
    use crate::clock::civil_from_days;

    #[test]
    fn every_calendar_that_ships_can_be_read_and_names_its_closed_dates() {
        for name in SHIPPED {
            let calendar = Calendar::shipped(name).unwrap();
            assert!(calendar.closed_dates().all(|(.., name)| name.is_some()), "{name}");
            assert!(calendar.runs_out().is_some());
        }
        assert!(Calendar::shipped("moon").is_none());
    }

    #[test]
    fn every_year_has_its_holidays_once_on_weekdays() {
        let calendar = Calendar::shipped("us-central").unwrap();
        for year in 2021..=2040 {
            let days: Vec<i64> =
                calendar.closed_dates().map(|(from, ..)| from).filter(|d| civil_from_days(*d).0 == year).collect();
            // A New Year's Day that falls on a Saturday is kept in the year before.
            assert!((11..=13).contains(&days.len()), "{year}: {} dates", days.len());
            assert!(days.iter().all(|day| weekday(*day) < 5), "{year}");
        }
    }

    #[test]
    fn the_end_of_the_dates_is_told_a_year_ahead() {
        let calendar = Calendar::shipped("us-central").unwrap();
        let at = |text: &str| crate::clock::Timestamp(text.parse::<jiff::Timestamp>().unwrap().as_millisecond());
        assert_eq!(calendar.runs_out_within_a_year(at("2036-01-01T00:00:00Z")), None);
        let told = calendar.runs_out_within_a_year(at("2040-01-02T00:00:00Z")).unwrap();
        assert_eq!(told, "calendar `us-central` names no closed date after 2040-12-25: less than a year ahead");
        let told = calendar.runs_out_within_a_year(at("2041-01-02T00:00:00Z")).unwrap();
        assert!(told.ends_with("it has passed"), "{told}");
    }
}
