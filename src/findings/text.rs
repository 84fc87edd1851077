//! The draft in words: what a service desk can send, and what it proposes to change.
//!
//! Plain text. What callers sent was made harmless when it was read; numbers stand here, so it goes by mail only.

use jiff::tz::TimeZone;

use super::advice::{amount, count};
use super::ranking::{NAMED, Ranking};
use super::tally::Call;
use super::{Draft, Recommendation};
use crate::clock::Timestamp;

impl Draft {
    /// What happened, in a dozen lines and a table of calls.
    pub fn findings(&self) -> String {
        let mut lines = vec![
            format!("Findings on {}, {} (times in {})", self.incident, self.customer, self.time_zone),
            String::new(),
        ];
        lines.extend(self.course());
        lines.extend(self.parties());
        lines.extend(self.outcome());
        lines.extend(self.values());
        if !self.samples.is_empty() {
            let n = self.samples.len();
            lines.push(String::new());
            lines.push(match n as u64 == self.calls {
                true => "All of them:".to_owned(),
                false => format!("{n} of them, from the first to the last:"),
            });
            lines.extend(self.table());
        }
        if !self.notes.is_empty() {
            lines.push(String::new());
            lines.push("Please note:".to_owned());
            lines.extend(self.notes.iter().map(|note| format!("- {note}")));
        }
        finished(lines)
    }

    /// Numbered actions, each with what is to be typed.
    pub fn recommendations(&self) -> String {
        if self.recommended.is_empty() {
            return "No change of the rules is proposed: the calls show no pattern that one would stop.\n".to_owned();
        }
        let mut lines = Vec::new();
        for (i, one) in self.recommended.iter().enumerate() {
            lines.push(format!("{}. {}", i + 1, one.what));
            lines.push(format!("   Why: {}", one.why));
            lines.extend(one.how());
            lines.push(String::new());
        }
        lines.push("Run `ringfence check` before the changes are loaded; each can be taken back by hand.".to_owned());
        finished(lines)
    }

    fn zone(&self) -> TimeZone {
        TimeZone::get(&self.time_zone).unwrap_or(TimeZone::UTC)
    }

    /// When it began, was noticed, was stopped and was told.
    fn course(&self) -> Vec<String> {
        let zone = self.zone();
        let mut lines = Vec::new();
        if let Some(rule) = self.rules.first() {
            let about = if rule.description.is_empty() { String::new() } else { format!(" ({})", rule.description) };
            let more = match self.rules.len() {
                1 => String::new(),
                n => format!(", and {} more", count(n as u64 - 1, "rule", "rules")),
            };
            lines.push(format!(
                "- Found by rule {}{about}{more}: {}.",
                rule.id,
                count(self.violations(), "violation", "violations")
            ));
        }
        if let (Some(first), Some(last)) = (self.first_call, self.last_call) {
            let n = count(self.calls, self.noun(), &format!("{}s", self.noun()));
            let span = match first == last {
                true => format!("at {}", when(first, &zone)),
                false => format!("from {} to {}", when(first, &zone), when(last, &zone)),
            };
            lines.push(format!("- {n} {} part of it, {span}.", if self.calls == 1 { "was" } else { "were" }));
        }
        let after = |from: Option<Timestamp>, to: Timestamp| {
            let ms = from.map(|from| to.0 - from.0).filter(|ms| *ms >= 0);
            ms.map_or_else(String::new, |ms| format!(", {} after its first {}", span_text(ms), self.noun()))
        };
        let noticed = self.first_violation;
        lines.push(format!("- It was noticed at {}{}.", when(noticed, &zone), after(self.first_call, noticed)));
        if self.calls > 0 {
            lines.extend(self.first_block.map(|at| {
                format!(
                    "- The first {} was turned away at {}{}.",
                    self.noun(),
                    when(at, &zone),
                    after(self.first_call, at)
                )
            }));
        }
        if let Some(at) = self.notices.first() {
            lines.push(format!("- The first notice was released at {}.", when(*at, &zone)));
        }
        lines
    }

    fn parties(&self) -> Vec<String> {
        let rankings = [
            ("From", &self.callers, "numbers"),
            ("From numbers that begin with", &self.caller_prefixes, "beginnings"),
            ("To", &self.callees, "numbers"),
            ("To numbers that begin with", &self.callee_prefixes, "beginnings"),
            ("Accounts", &self.accounts, "accounts"),
            ("Trunks", &self.trunks, "trunks"),
            ("IP addresses", &self.addresses, "addresses"),
        ];
        // How one number begins is no news, nor how their own do.
        let n_out = self.samples.iter().filter(|call| call.direction == "outbound").count();
        let (own, foreign) = if n_out * 2 > self.samples.len() { ("From", "To") } else { ("To", "From") };
        let is_news = |name: &str, ranking: &Ranking| {
            let single = if foreign == "From" { &self.callers } else { &self.callees };
            let is_beginning = name.ends_with("begin with");
            ranking.total > 0 && (!is_beginning || single.values > 1 && !name.starts_with(own))
        };
        let said = rankings.into_iter().filter(|(name, ranking, _)| is_news(name, ranking));
        said.map(|(name, ranking, many)| format!("- {name}: {}.", ranked(ranking, many))).collect()
    }

    fn outcome(&self) -> Vec<String> {
        if self.calls == 0 {
            return Vec::new();
        }
        let passed = self.calls - self.blocked;
        let answered = match self.noun() {
            "call" => format!("; {} answered", was(self.answered)),
            _ => String::new(),
        };
        let mut lines = vec![match self.blocked {
            0 => format!("- No {} was turned away, {passed} went through{answered}.", self.noun()),
            n => {
                let by = ranked(&self.blocked_by, "rules");
                format!("- {} turned away (by {by}), {passed} went through{answered}.", was(n))
            }
        }];
        let risk = &self.risk;
        if risk.calls > 0 {
            let talk = match risk.calls_without_duration {
                n if n == risk.calls => "how long is not known".to_owned(),
                0 => format!("{} of talk", minutes(risk.talk_ms)),
                n => format!("{} of talk and {n} of unknown length", minutes(risk.talk_ms)),
            };
            let cost = match risk.calls_without_cost {
                n if n == risk.calls => "the records give no cost".to_owned(),
                0 => format!("cost {}", money(risk.cost)),
                n => format!("cost {} without {n} of unknown cost", money(risk.cost)),
            };
            let calls = count(risk.calls, "answered call", "answered calls");
            lines.push(format!("- At risk: {calls} that went through, {talk}; {cost}."));
        }
        lines
    }

    fn values(&self) -> Vec<String> {
        let series = &self.series;
        let Some(peak) = series.peak else { return Vec::new() };
        let levels = [("a warning", series.warning), ("a critical", series.critical)];
        let levels: Vec<String> = levels
            .into_iter()
            .filter_map(|(name, level)| level.map(|level| format!("{name} level of {}", amount(level))))
            .collect();
        let mut lines = vec![format!(
            "- Highest for {}: {} {} in {}, against {}.",
            series.key,
            amount(peak),
            series.unit,
            series.window,
            levels.join(" and ")
        )];
        if let Some(normal) = &self.normal {
            lines.push(format!(
                "- Usual in that time and the day before, among {}: half came to {} at the most, 99 in 100 to {}, the highest to {}.",
                count(normal.keys, "other", "others"), amount(normal.median), amount(normal.p99), amount(normal.highest)
            ));
        }
        lines
    }

    fn table(&self) -> Vec<String> {
        let zone = self.zone();
        let head = ["time", "from", "to", "ended", "talk", "verdict", "call id"].map(str::to_owned);
        let row = |call: &Call| {
            let or = |text: &str, none: &str| if text.is_empty() { none.to_owned() } else { text.to_owned() };
            let from = match (call.caller.is_empty(), call.caller_name.is_empty()) {
                (true, _) => or(&call.address, "withheld"),
                (_, true) => call.caller.clone(),
                _ => format!("{} \"{}\"", call.caller, name(&call.caller_name)),
            };
            let talk =
                call.duration_ms.map_or_else(|| "-".to_owned(), |ms| format!("{}:{:02}", ms / 60_000, ms / 1000 % 60));
            let verdict = match (&call.blocked_by, &call.allowed_by) {
                (Some(rule), _) => format!("blocked by {rule}"),
                (None, Some(rule)) => format!("allowed by {rule}"),
                (None, None) => "allowed".to_owned(),
            };
            let ended = if call.is_refused { "refused" } else { &call.status };
            [when(call.time, &zone), from, or(&call.callee, "-"), or(ended, "-"), talk, verdict, or(&call.call_id, "-")]
        };
        let rows: Vec<[String; 7]> = std::iter::once(head).chain(self.samples.iter().map(row)).collect();
        let width = |column: usize| {
            rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..7).map(width).collect();
        let line = |row: &[String; 7]| {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            format!("  {}", cells.collect::<Vec<_>>().join("  ")).trim_end().to_owned()
        };
        rows.iter().map(line).collect()
    }

    fn violations(&self) -> u64 {
        self.rules.iter().map(|rule| rule.violations).sum()
    }

    fn noun(&self) -> &'static str {
        if self.samples.first().is_some_and(|call| call.is_request) { "attempt" } else { "call" }
    }
}

impl Recommendation {
    fn how(&self) -> Vec<String> {
        if self.edit.is_empty() {
            return Vec::new();
        }
        let place = match (&self.replaces, self.line) {
            (Some(old), Some(line)) => format!("   In {}, line {line}, write in place of {old}", self.file),
            _ => format!("   Add to the end of {}", self.file),
        };
        let typed = self.edit.trim_matches('\n').lines().map(|line| format!("       {line}"));
        std::iter::once(format!("{place}:")).chain(typed).collect()
    }
}

fn finished(lines: Vec<String>) -> String {
    let mut text = lines.join("\n");
    text.push('\n');
    text
}

fn ranked(ranking: &Ranking, many: &str) -> String {
    if ranking.values > NAMED as u64 && ranking.top.first().is_some_and(|first| first.count == 1) {
        return format!("{} different {many}, none of them twice", ranking.values);
    }
    let shown = ranking.top.iter().take(NAMED);
    let mut parts: Vec<String> = shown.map(|ranked| format!("{} ({})", ranked.value, ranked.count)).collect();
    let more = ranking.values - parts.len() as u64;
    if more > 0 {
        parts.push(format!("{more} more {many}"));
    }
    parts.join(", ")
}

/// Cut to what a column has room for.
fn name(text: &str) -> String {
    const CHARS_MAX: usize = 24;
    let text = text.replace('"', "'");
    if text.chars().count() <= CHARS_MAX {
        text
    } else {
        text.chars().take(CHARS_MAX - 3).chain("...".chars()).collect()
    }
}

fn was(n: u64) -> String {
    if n == 1 { "1 was".to_owned() } else { format!("{n} were") }
}

/// On the customer's clock, to the second.
pub(super) fn when(at: Timestamp, zone: &TimeZone) -> String {
    let at = jiff::Timestamp::from_millisecond(at.0).unwrap_or_default();
    at.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// `2 h 5 min`, `1 min 30 s`, `4 s`.
pub(super) fn span_text(ms: i64) -> String {
    let s = ms / 1000;
    match s {
        s if s >= 86_400 && s / 3600 % 24 == 0 => format!("{} d", s / 86_400),
        s if s >= 86_400 => format!("{} d {} h", s / 86_400, s / 3600 % 24),
        s if s >= 3600 && s / 60 % 60 == 0 => format!("{} h", s / 3600),
        s if s >= 3600 => format!("{} h {} min", s / 3600, s / 60 % 60),
        s if s >= 60 && s % 60 == 0 => format!("{} min", s / 60),
        s if s >= 60 => format!("{} min {} s", s / 60, s % 60),
        s => format!("{s} s"),
    }
}

fn minutes(ms: i64) -> String {
    let whole = (ms + 30_000) / 60_000;
    if ms < 60_000 { span_text(ms) } else { count(whole as u64, "minute", "minutes") }
}

/// 1/10,000 of the currency's unit, to a hundredth.
fn money(parts: i64) -> String {
    let cents = (parts + 50).div_euclid(100);
    format!("{}.{:02}", cents / 100, cents.rem_euclid(100))
}
