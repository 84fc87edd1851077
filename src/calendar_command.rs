//! `ringfence calendar`: what the business hours are, why a deadline lies where it does, and dates that others publish.
//!
//! Works offline, on the calendars that ship and those of a rule set. Only arguments and printing; what is reckoned
//! stands in [`crate::calendar`] and [`crate::objective`].

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use jiff::civil;
use jiff::tz::{AmbiguousOffset, TimeZone};
use serde_json::{Value as Json, json};

use crate::calendar::ical::{self, Import};
use crate::calendar::{Calendar, SHIPPED, Step, WEEKDAYS, parse_date, weekday};
use crate::clock::{Clock, Timestamp, civil_from_days, days_from_civil};
use crate::limits::ICAL_BYTES_MAX;
use crate::objective::{Allowed, Deadline, Objective, Promise};
use crate::policy::{LoadOptions, RuleSource, load};
use crate::printed::{Printed, print};

/// Business hours: list, show, explain a deadline, import closed dates
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  ringfence calendar explain 2026-07-02T16:30
  ringfence calendar explain --clock complete --calendar business --rules rules/ 2026-11-25T15:00:00-06:00
  ringfence calendar show --year 2027
  ringfence calendar list --rules rules/
  ringfence calendar import holidays.ics --time-zone Europe/Berlin --years 5

A time without an offset is meant on the calendar's own clock. `import` prints dates for a person to review and paste
into `closed_dates`; it changes nothing.

Exit codes: 0 fine, 1 `import` found mistakes in the file, 2 it could not be done.")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Target, commit and warnings of something that began at this time, with every step on the way
    Explain {
        #[command(flatten)]
        which: Which,
        /// What is promised; all three unless set
        #[arg(long, value_enum, value_name = "CLOCK")]
        clock: Option<Promised>,
        /// How to print it
        #[arg(long, value_enum, default_value_t = Printed::Text)]
        format: Printed,
        /// When it began: 2026-07-02T16:30 on the calendar's clock, an RFC 3339 time, or now
        #[arg(value_name = "TIME")]
        time: String,
    },
    /// Every calendar: its zone, its hours, until when its closed dates are known
    List {
        /// Rule folder, its ruleset.toml, or one rule file, for its calendars beside those that ship
        #[arg(long, value_name = "DIR")]
        rules: Option<PathBuf>,
        /// How to print it
        #[arg(long, value_enum, default_value_t = Printed::Text)]
        format: Printed,
    },
    /// The twelve months of a year, with the dates that are closed
    Show {
        #[command(flatten)]
        which: Which,
        /// This year unless set
        #[arg(long, value_name = "YEAR", value_parser = clap::value_parser!(i64).range(1970..=2100))]
        year: Option<i64>,
    },
    /// Closed dates of an iCalendar file, as `closed_dates` for review
    Import {
        /// The file; `-` is standard input
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Zone in which times of day are meant
        #[arg(long, value_name = "ZONE", default_value = "America/Chicago")]
        time_zone: String,
        /// First date to look at; the first of January of this year unless set
        #[arg(long, value_name = "DATE")]
        from: Option<String>,
        /// How many years to look ahead
        #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(i64).range(1..=50))]
        years: i64,
        /// How to print it
        #[arg(long, value_enum, default_value_t = Printed::Text)]
        format: Printed,
    },
}

#[derive(Debug, clap::Args)]
struct Which {
    /// Name of the calendar; us-central, which ships, unless set
    #[arg(long, value_name = "NAME")]
    calendar: Option<String>,
    /// Rule folder, its ruleset.toml, or one rule file that has the calendar
    #[arg(long, value_name = "DIR")]
    rules: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Promised {
    Acknowledge,
    Complete,
    Notify,
}

impl From<Promised> for Promise {
    fn from(promised: Promised) -> Promise {
        match promised {
            Promised::Acknowledge => Promise::Acknowledge,
            Promised::Complete => Promise::Complete,
            Promised::Notify => Promise::Notify,
        }
    }
}

/// Findings are no failure to do the work.
const FINDINGS: u8 = 1;

/// Does what the arguments say.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match &args.command {
        Command::Explain { which, clock, format, time } => {
            let calendar = which.find()?;
            explain(&calendar, *clock, *format, time)
        }
        Command::List { rules, format } => list(&all(rules.as_deref())?.0, *format),
        Command::Show { which, year } => {
            let calendar = which.find()?;
            print(&year_text(&calendar, year.unwrap_or_else(|| civil_from_days(Clock.now().0 / 86_400_000).0)))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Import { file, time_zone, from, years, format } => {
            import(file, &wanted(time_zone, from.as_deref(), *years)?, *format)
        }
    }
}

/// Those of the rule set and how many these are, then those that ship where it has none of their name.
fn all(rules: Option<&Path>) -> anyhow::Result<(Vec<Arc<Calendar>>, usize)> {
    let mut found = Vec::new();
    if let Some(path) = rules {
        ensure!(path.exists(), "cannot read rules `{}`: there is no such file or folder", path.display());
        let loaded = load(&RuleSource::at(path), LoadOptions::default());
        let n_errors = loaded.n_errors();
        let place = path.display();
        let policy = loaded.policy.with_context(|| {
            format!("the rules of `{place}` cannot be used: {n_errors} errors; `ringfence check {place}` shows them")
        })?;
        found = policy.calendars;
    }
    let n_own = found.len();
    let shipped = SHIPPED.iter().filter(|name| !found.iter().any(|c| c.name == **name));
    let shipped: Vec<_> = shipped.filter_map(|name| Calendar::shipped(name)).map(Arc::new).collect();
    found.extend(shipped);
    Ok((found, n_own))
}

impl Which {
    fn find(&self) -> anyhow::Result<Arc<Calendar>> {
        let (mut calendars, n_own) = all(self.rules.as_deref())?;
        let names: Vec<&str> = calendars.iter().map(|c| c.name.as_str()).collect();
        let names = names.join(", ");
        let index = match &self.calendar {
            Some(name) => calendars.iter().position(|c| c.name == *name).with_context(|| {
                format!("there is no calendar `{name}`; known: {names} (--rules names a rule set with others)")
            })?,
            None if n_own > 1 => bail!("the rules have {n_own} calendars; choose one with --calendar: {names}"),
            // The one of the rule set; where there is none, the first that ships.
            None => 0,
        };
        Ok(calendars.swap_remove(index))
    }
}

/// An RFC 3339 time, `now`, or what the clock on the calendar's wall shows.
fn instant(text: &str, zone: &TimeZone) -> anyhow::Result<Timestamp> {
    if text == "now" {
        return Ok(Clock.now());
    }
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Ok(Timestamp(time.as_millisecond()));
    }
    let local: civil::DateTime = text.parse().with_context(|| {
        format!("`{text}` is no time: write 2026-07-02T16:30, an RFC 3339 time (2026-07-02T21:30:00Z), or now")
    })?;
    let found = zone.to_ambiguous_timestamp(local);
    match found.offset() {
        AmbiguousOffset::Unambiguous { .. } => {}
        AmbiguousOffset::Gap { .. } => bail!("the clock skips `{text}` there; give the time with its offset from UTC"),
        AmbiguousOffset::Fold { before, after } => {
            bail!("the clock shows `{text}` twice there; write it with its offset, {local}{before} or {local}{after}")
        }
    }
    let time = found.unambiguous().with_context(|| format!("`{text}` is out of range"))?;
    Ok(Timestamp(time.as_millisecond()))
}

fn explain(calendar: &Calendar, clock: Option<Promised>, format: Printed, time: &str) -> anyhow::Result<ExitCode> {
    let start = instant(time, calendar.zone())?;
    let promises = clock.map_or(Promise::ALL.to_vec(), |clock| vec![clock.into()]);
    let mut texts = Vec::new();
    let mut values = Vec::new();
    for promise in promises {
        let objective = Objective::new(promise, calendar, start, Allowed::default());
        let objective = objective.with_context(|| {
            format!(
                "calendar `{}` does not open again within ten years of {}",
                calendar.name,
                calendar.local_text(start)
            )
        })?;
        texts.push(objective.explain(calendar));
        values.push(objective_json(calendar, &objective));
    }
    match format {
        Printed::Text => print(&texts.join("\n"))?,
        Printed::Json => print(&format!("{}\n", Json::Array(values)))?,
    }
    if let Some(warning) = calendar.runs_out_within_a_year(start) {
        eprintln!("warning: {warning}");
    }
    Ok(ExitCode::SUCCESS)
}

fn objective_json(calendar: &Calendar, objective: &Objective) -> Json {
    let moment = |at: Timestamp| json!({ "at": at.to_string(), "local": calendar.local_text(at) });
    let step = |step: &Step| {
        json!({
            "from": step.from.to_string(), "to": step.to.to_string(), "open": step.reason.is_open(),
            "reason": step.reason.as_str(), "name": step.reason.name(), "text": calendar.step_text(step),
        })
    };
    let warning = |w: crate::objective::Warning| json!({ "deadline": w.deadline.as_str(), "percent": w.percent, "at": w.at.to_string() });
    let mut value = json!({
        "clock": objective.promise.as_str(),
        "calendar": calendar.name,
        "time_zone": calendar.zone().iana_name(),
        "start": moment(objective.start),
        "commit_basis": objective.basis.as_str(),
        "steps": objective.steps(calendar).iter().map(step).collect::<Vec<_>>(),
        "warnings": objective.warnings(calendar).into_iter().map(warning).collect::<Vec<_>>(),
    });
    for deadline in Deadline::ALL {
        value[deadline.as_str()] = moment(objective.at(deadline));
    }
    value
}

fn date_text(day: i64) -> String {
    let (year, month, day) = civil_from_days(day);
    format!("{year:04}-{month:02}-{day:02}")
}

fn list(calendars: &[Arc<Calendar>], format: Printed) -> anyhow::Result<ExitCode> {
    let now = Clock.now();
    let mut text = String::new();
    let mut values = Vec::new();
    for calendar in calendars {
        let zone = calendar.zone().iana_name().unwrap_or("a zone of its own");
        let known = calendar.runs_out().map(date_text);
        let state = if calendar.is_open(now) { "open now" } else { "closed now" };
        text += &format!("{}  {zone}, {state}\n", calendar.name);
        calendar.week_text().iter().for_each(|hours| text += &format!("  {hours}\n"));
        match &known {
            Some(last) => {
                let n = calendar.closed_dates().count();
                text += &format!("  {n} closed dates, the last on {last}\n");
            }
            None => text += "  no closed dates\n",
        }
        let warning = calendar.runs_out_within_a_year(now);
        warning.iter().for_each(|warning| text += &format!("  warning: {warning}\n"));
        values.push(json!({
            "calendar": calendar.name, "time_zone": calendar.zone().iana_name(), "open": calendar.week_text(),
            "open_now": calendar.is_open(now), "last_closed_date": known, "warning": warning,
        }));
    }
    match format {
        Printed::Text => print(&text)?,
        Printed::Json => print(&format!("{}\n", Json::Array(values)))?,
    }
    Ok(ExitCode::SUCCESS)
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// Twelve months in rows of three: `*` marks a closed date, a dot a weekday without hours; then the dates by name.
fn year_text(calendar: &Calendar, year: i64) -> String {
    let mut text = format!("{} {year}: `*` is a closed date, `.` a day without hours\n", calendar.name);
    for row in MONTHS.chunks(3).zip(0..) {
        let (names, index) = row;
        text.push('\n');
        let titles: Vec<String> = names.iter().map(|name| format!("{name:<28}")).collect();
        text += &format!("{}\n", titles.join("  ").trim_end());
        let head: String = WEEKDAYS.iter().map(|day| format!("{:<4}", day.get(..2).unwrap_or(day))).collect();
        text += &format!("{}\n", vec![head; names.len()].join("  ").trim_end());
        for week in 0..6 {
            let months = (0..names.len()).map(|n| week_text(calendar, year, index * 3 + n as u32 + 1, week));
            let line = months.collect::<Vec<_>>().join("  ");
            if !line.trim().is_empty() {
                text += &format!("{}\n", line.trim_end());
            }
        }
    }
    let first = days_from_civil(year, 1, 1);
    let last = days_from_civil(year + 1, 1, 1) - 1;
    text.push('\n');
    for (from, to, name) in calendar.closed_dates().filter(|(from, to, _)| *from <= last && *to >= first) {
        let day = WEEKDAYS.get(weekday(from)).copied().unwrap_or_default();
        let until = if to > from { format!(" to {}", date_text(to)) } else { String::new() };
        text += &format!("{day} {}{until}  {}\n", date_text(from), name.unwrap_or("closed"));
    }
    if calendar.runs_out().is_some_and(|known| known < first) {
        text += &format!("warning: no closed date of {year} is known to this calendar\n");
    }
    text
}

/// One week of one month, 28 characters.
fn week_text(calendar: &Calendar, year: i64, month: u32, week: i64) -> String {
    let first = days_from_civil(year, month, 1);
    let monday = first - weekday(first) as i64 + 7 * week;
    let cell = |day: i64| {
        let (y, m, d) = civil_from_days(day);
        if (y, m) != (year, month) {
            return "    ".to_owned();
        }
        let is_closed = calendar.closed_dates().any(|(from, to, _)| (from..=to).contains(&day));
        let mark = match calendar.service_day(day) {
            Some(_) => ' ',
            None if is_closed => '*',
            None => '.',
        };
        format!("{d:>2}{mark} ")
    };
    (monday..monday + 7).map(cell).collect()
}

fn wanted(time_zone: &str, from: Option<&str>, years: i64) -> anyhow::Result<ical::Wanted> {
    let zone = TimeZone::get(time_zone)
        .with_context(|| format!("--time-zone: `{time_zone}` is no IANA name such as Europe/Berlin"))?;
    let from = match from {
        Some(text) => parse_date(text).map_err(|why| anyhow::anyhow!("--from: {why}"))?,
        None => days_from_civil(civil_from_days(Clock.now().0.div_euclid(86_400_000)).0, 1, 1),
    };
    let (year, month, _) = civil_from_days(from);
    Ok(ical::Wanted { zone, from, to: days_from_civil(year + years, month, 1) - 1 })
}

fn import(file: &Path, wanted: &ical::Wanted, format: Printed) -> anyhow::Result<ExitCode> {
    // One byte more than may be read tells a file that is too long from one that just fits.
    let limit = ICAL_BYTES_MAX as u64 + 1;
    let mut bytes = Vec::new();
    if file == Path::new("-") {
        io::stdin().lock().take(limit).read_to_end(&mut bytes).context("cannot read standard input")?;
    } else {
        let opened = std::fs::File::open(file).with_context(|| format!("cannot read `{}`", file.display()))?;
        opened.take(limit).read_to_end(&mut bytes).with_context(|| format!("cannot read `{}`", file.display()))?;
    }
    let import = ical::read(&bytes, wanted);
    match format {
        Printed::Text => {
            print(&import_text(file, &import, wanted))?;
            for mistake in &import.mistakes {
                eprintln!("{}:{}: {}", file.display(), mistake.line, mistake.message);
            }
            if import.n_mistakes > import.mistakes.len() {
                eprintln!("{}: and {} more", file.display(), import.n_mistakes - import.mistakes.len());
            }
        }
        Printed::Json => print(&format!("{}\n", import_json(&import)))?,
    }
    Ok(if import.n_mistakes > 0 { ExitCode::from(FINDINGS) } else { ExitCode::SUCCESS })
}

fn import_text(file: &Path, import: &Import, wanted: &ical::Wanted) -> String {
    let clock = Calendar::new("import", wanted.zone.clone());
    let mut text = format!(
        "# {}, {} to {}; events in the file: {}. Review before use.\nclosed_dates = [\n",
        ical::plain_name(&file.display().to_string()),
        date_text(wanted.from),
        date_text(wanted.to),
        import.n_events
    );
    for dates in &import.closed {
        let day = WEEKDAYS.get(weekday(dates.from)).copied().unwrap_or_default();
        text += &format!("  {}, # {day}\n", toml::Value::String(dates.entry()));
    }
    text += "]\n";
    if !import.timed.is_empty() {
        text += "# Parts of a day, which close nothing by themselves. Where one does, write the hours that remain:\n";
        text += "# open_dates = [\"2026-12-24 08:00-12:00 Christmas Eve\"]\n";
        for timed in &import.timed {
            let (from, to) = (clock.local_text(timed.from), clock.local_text(timed.to));
            text += format!("#   {from} - {to}  {}", timed.name).trim_end();
            text.push('\n');
        }
    }
    text
}

fn import_json(import: &Import) -> Json {
    let closed = |d: &ical::ClosedDates| json!({ "from": date_text(d.from), "to": date_text(d.to), "name": d.name });
    let timed = |t: &ical::Timed| json!({ "from": t.from.to_string(), "to": t.to.to_string(), "name": t.name });
    json!({
        "events": import.n_events,
        "closed_dates": import.closed.iter().map(closed).collect::<Vec<_>>(),
        "timed": import.timed.iter().map(timed).collect::<Vec<_>>(),
        "mistakes": import.mistakes.iter().map(|m| json!({ "line": m.line, "message": m.message })).collect::<Vec<_>>(),
        "n_mistakes": import.n_mistakes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_the_wall_clock_shows_twice_or_never_is_asked_back_about() {
        let zone = TimeZone::get("America/Chicago").unwrap();
        let at = |text: &str| instant(text, &zone).map(|t| t.to_string()).map_err(|e| e.to_string());
        assert_eq!(at("2026-07-02T16:30").unwrap(), "2026-07-02T21:30:00.000Z");
        assert_eq!(at("2026-07-02 16:30").unwrap(), "2026-07-02T21:30:00.000Z");
        assert_eq!(at("2026-07-02T16:30:00+02:00").unwrap(), "2026-07-02T14:30:00.000Z");
        assert!(at("2026-11-01T01:30").unwrap_err().contains("twice"));
        assert!(at("2026-03-08T02:30").unwrap_err().contains("skips"));
        assert!(at("tomorrow").unwrap_err().contains("is no time"));
    }

    #[test]
    fn a_year_shows_each_day_once_and_its_closed_dates_by_name() {
        let calendar = Calendar::shipped("us-central").unwrap();
        let text = year_text(&calendar, 2026);
        assert!(text.contains("Fri 2026-07-03  Independence Day (observed)\n"), "{text}");
        assert_eq!(text.matches('*').count(), 1 + 12, "the legend and twelve dates:\n{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
        assert!(year_text(&calendar, 2050).contains("no closed date of 2050 is known"));
    }
}
