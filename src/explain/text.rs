//! The page that people read, on a phone at night: the verdict first, then what counted, then the rest in a line each.

use jiff::tz::TimeZone;

use super::answer::{Answer, CallAnswer, CountAnswer, EventAnswer, RuleAnswer};
use crate::printed::put;

/// Columns that lines are kept within where that is possible.
const WIDTH: usize = 100;
/// Longest id that others are lined up with.
const ID_WIDTH_MAX: usize = 28;
/// Calls that are named of a window that raised nothing.
const QUIET_CALLS: usize = 3;

/// How much a page tells.
#[derive(Clone, Copy, Debug, Default)]
pub struct Detail {
    /// Every test of every rule, not only what decides.
    pub every_test: bool,
    /// Every call that the answer names; else a few, where nothing is raised.
    pub every_call: bool,
}

/// The answer as a page.
pub fn page(answer: &Answer, detail: Detail) -> String {
    let zone = TimeZone::get(&answer.time_zone).unwrap_or(TimeZone::UTC);
    let mut out = String::new();
    let page = Page { zone, zone_name: &answer.time_zone, detail, has_history: answer.has_history };
    for (i, event) in answer.events.iter().enumerate() {
        if i > 0 {
            out.push('\n');
        }
        page.event(&mut out, answer, event);
    }
    let mut notes = answer.notes.clone();
    let counts = answer.events.iter().any(|event| event.thresholds.iter().any(|rule| rule.met));
    if !answer.has_history && counts {
        notes.push(
            "how many there were before is not looked at here: `--input FILE` or `--archive DIR` with `--call` tells"
                .to_owned(),
        );
    }
    // Windows are whole; only what has gone on for long may have begun earlier than it seems.
    let is_open = |rule: &RuleAnswer| rule.count.as_ref().is_some_and(|count| count.level.is_some());
    let goes_on = answer.events.iter().any(|event| event.thresholds.iter().any(is_open));
    if let Some(from) = answer.from.as_ref().filter(|_| goes_on) {
        notes.push(format!("calls were followed from {} on: a level may have been reached before", page.moment(from)));
    }
    if !notes.is_empty() {
        out.push('\n');
        notes.iter().for_each(|note| line(&mut out, format_args!("note: {note}")));
    }
    out
}

struct Page<'p> {
    zone: TimeZone,
    zone_name: &'p str,
    detail: Detail,
    has_history: bool,
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    put(out, text);
    out.push('\n');
}

impl Page<'_> {
    fn event(&self, out: &mut String, answer: &Answer, event: &EventAnswer) {
        let field = |name: &str| event.fields.get(name).map(String::as_str);
        let direction = field("direction").filter(|d| *d != "unknown").map_or(String::new(), |d| format!("{d} "));
        let weekday = self.local(&event.time).map_or(String::new(), |at| at.strftime("%a ").to_string());
        let kind = match event.kind.as_str() {
            "cdr" => "call, told whole when it was over (cdr)",
            "attempt" => "call attempt",
            "answer" => "call, answered",
            "end" => "call, over",
            "timer" => "a level is raised because time has passed",
            other => other,
        };
        line(out, format_args!("{weekday}{} {}, {direction}{kind}", self.moment(&event.time), self.zone_name));
        let (caller, callee) = (field("caller"), field("callee"));
        if caller.is_some() || callee.is_some() {
            let shown = |number: Option<&str>| number.unwrap_or("(nobody)").to_owned();
            line(out, format_args!("  {} -> {}", shown(caller), shown(callee)));
        }
        let names =
            ["account", "trunk", "source_ip", "user_agent", "status", "ring", "duration", "sip_code", "attestation"];
        let said: Vec<String> = names
            .iter()
            .filter_map(|name| Some((name, field(name)?)))
            .filter(|(_, value)| *value != "unknown")
            .map(|(name, value)| format!("{name} {value}"))
            .collect();
        let mut who = vec![format!("customer {}", answer.customer)];
        if !answer.call_id.is_empty() {
            who.insert(0, format!("call {}", answer.call_id));
        }
        wrapped(out, "  ", &who);
        if !said.is_empty() {
            wrapped(out, "  ", &said);
        }
        if !event.decided.is_empty() {
            line(out, format_args!("\n{}", event.decided));
        }
        if let Some(then) = &event.told_then {
            line(out, format_args!("  when it came it was told: {then}"));
        }
        let width = self.width(event);
        event.firewall.iter().for_each(|rule| self.firewall(out, rule, width, event));
        if event.not_asked > 0 {
            let (n, were) = (event.not_asked, if event.not_asked == 1 { " was" } else { "s were" });
            line(out, format_args!("  and {n} more rule{were} not asked"));
        }
        self.thresholds(out, event, width);
        if event.other_customers > 0 {
            line(out, format_args!("{} for other customers", rules(event.other_customers, "is", "are")));
        }
        if event.other_rules > 0 {
            line(
                out,
                format_args!(
                    "{} on other events than {}",
                    rules(event.other_rules, "runs", "run"),
                    article(&event.kind)
                ),
            );
        }
    }

    fn width(&self, event: &EventAnswer) -> usize {
        let ids = event.firewall.iter().chain(&event.thresholds).map(|rule| rule.rule.chars().count());
        ids.filter(|n| *n <= ID_WIDTH_MAX).max().unwrap_or(0)
    }

    fn firewall(&self, out: &mut String, rule: &RuleAnswer, width: usize, event: &EventAnswer) {
        let decides = event.decided_by == rule.rule;
        let id = &rule.rule;
        if !rule.met {
            line(out, format_args!("  no   {id:width$}  {}", rule.why_not.as_deref().unwrap_or_default()));
        } else {
            let does = match rule.mode.as_str() {
                "monitor" => {
                    format!("would {}, but only watches (mode = \"monitor\"), so the next was asked", rule.does)
                }
                _ if decides => rule.does.clone(),
                _ => format!("{}, and the next was asked", rule.does),
            };
            line(out, format_args!("  YES  {id:width$}  {does}"));
            self.terms(out, rule);
            self.because(out, rule);
        }
        self.tests(out, rule);
    }

    /// What holds of the rule for this customer and call beside its words.
    fn terms(&self, out: &mut String, rule: &RuleAnswer) {
        rule.overridden.iter().for_each(|why| line(out, format_args!("         {why}")));
        rule.muted.iter().for_each(|why| line(out, format_args!("         muted, nobody is told: {why}")));
    }

    fn because(&self, out: &mut String, rule: &RuleAnswer) {
        if !self.detail.every_test || rule.tests.is_empty() {
            rule.because.iter().for_each(|test| line(out, format_args!("         {test}")));
        }
    }

    /// Every test, where they are wanted.
    fn tests(&self, out: &mut String, rule: &RuleAnswer) {
        if !self.detail.every_test {
            return;
        }
        for test in &rule.tests {
            let indent = "  ".repeat(test.depth as usize);
            let holds = if test.holds { "true " } else { "false" };
            match test.because.is_empty() {
                true => line(out, format_args!("         {holds} {indent}{}", test.test)),
                false => line(out, format_args!("         {holds} {indent}{}: {}", test.test, test.because)),
            }
        }
    }

    fn thresholds(&self, out: &mut String, event: &EventAnswer, width: usize) {
        let (counted, not): (Vec<_>, Vec<_>) = event.thresholds.iter().partition(|rule| rule.met);
        if !counted.is_empty() {
            line(out, format_args!("\n{}", if self.has_history { "counted" } else { "would count" }));
        }
        for rule in counted {
            let watches = if rule.mode == "monitor" { " (monitor: tells nobody)" } else { "" };
            let key = rule.count.as_ref().map_or(String::new(), key_text);
            line(out, format_args!("  YES  {:width$}  {key}{watches}", rule.rule));
            self.terms(out, rule);
            if let Some(count) = &rule.count {
                line(out, format_args!("         {}", self.standing(rule, count, &self.day(&event.time))));
                count.also.iter().for_each(|also| line(out, format_args!("         and also {also}")));
            }
            self.because(out, rule);
            self.tests(out, rule);
            if let Some(count) = &rule.count {
                self.calls(out, count);
            }
        }
        if !not.is_empty() {
            line(out, format_args!("\nnot counted"));
        }
        for rule in not {
            let why = rule.why_not.as_deref().unwrap_or_default();
            line(out, format_args!("  no   {:width$}  {why}", rule.rule));
            self.tests(out, rule);
        }
    }

    /// `7 in 1h: warning (>= 3) since 22:31:55, critical at >= 8`
    fn standing(&self, rule: &RuleAnswer, count: &CountAnswer, day: &str) -> String {
        let value = match (&count.value, count.measure.as_str()) {
            (Some(value), "count") => value.clone(),
            (Some(value), "concurrent") => format!("{value} calls up"),
            (Some(value), _) => format!("{} = {value}", rule.does),
            (None, _) if self.has_history => format!("{} is not known yet", rule.does),
            (None, _) => rule.does.clone(),
        };
        let window = if count.window.is_empty() { String::new() } else { format!(" in {}", count.window) };
        let level = |name: &str, text: &Option<String>| text.as_ref().map(|text| format!("{name} at {text}"));
        let (warning, critical) = (level("warning", &count.warning), level("critical", &count.critical));
        let mut said = Vec::new();
        match (count.level.as_deref(), &count.since) {
            (Some(open), Some(since)) => {
                let by_this = if count.raised.is_some() { ", raised by this call" } else { "" };
                let since = if self.day(since) == day { self.clock(since) } else { self.moment(since) };
                said.push(format!("{open} since {since}{by_this}"));
                said.extend(critical.filter(|_| open == "warning"));
            }
            _ => {
                said.extend(count.held_back.clone());
                said.extend([warning, critical].into_iter().flatten());
                said.extend(count.held_for.as_ref().map(|span| format!("each once it has held for {span}")));
            }
        }
        format!("{value}{window}: {}", said.join(", "))
    }

    fn calls(&self, out: &mut String, count: &CountAnswer) {
        let n = count.calls.len() as u64 + count.more_calls;
        // The one is the call that is asked about.
        if n <= 1 {
            return;
        }
        // Where nothing is raised a few are enough, unless somebody said how many.
        let is_long = count.level.is_some() || self.detail.every_call;
        let shown = count.calls.get(..if is_long { count.calls.len() } else { QUIET_CALLS }).unwrap_or(&count.calls);
        let more = n - shown.len() as u64;
        let newest = if more > 0 { format!(", the newest {}", shown.len()) } else { String::new() };
        line(out, format_args!("         {n} calls{newest}:"));
        let day = shown.first().map(|call| self.day(&call.time));
        let id_width = shown.iter().map(|call| call.call_id.chars().count().min(ID_WIDTH_MAX)).max().unwrap_or(0);
        for call in shown {
            let time = if Some(self.day(&call.time)) == day { self.clock(&call.time) } else { self.moment(&call.time) };
            line(out, format_args!("           {time}  {:id_width$}  {}", id(call), parties(call)));
        }
        if more > 0 {
            line(out, format_args!("           and {more} more: `--calls {n}` names them"));
        }
    }

    fn local(&self, time: &str) -> Option<jiff::Zoned> {
        Some(time.parse::<jiff::Timestamp>().ok()?.to_zoned(self.zone.clone()))
    }

    /// `2026-03-02 22:41:07`
    fn moment(&self, time: &str) -> String {
        self.local(time).map_or_else(|| time.to_owned(), |at| at.strftime("%Y-%m-%d %H:%M:%S").to_string())
    }

    fn day(&self, time: &str) -> String {
        self.local(time).map_or_else(String::new, |at| at.strftime("%Y-%m-%d").to_string())
    }

    fn clock(&self, time: &str) -> String {
        self.local(time).map_or_else(|| time.to_owned(), |at| at.strftime("%H:%M:%S").to_string())
    }
}

fn id(call: &CallAnswer) -> &str {
    if call.call_id.is_empty() { "(no call id)" } else { &call.call_id }
}

fn parties(call: &CallAnswer) -> String {
    let adds =
        if call.adds.is_empty() || call.adds == call.callee { String::new() } else { format!("  {}", call.adds) };
    match (call.caller.as_str(), call.callee.as_str()) {
        ("", "") => adds.trim_start().to_owned(),
        (caller, "") => format!("{caller}{adds}"),
        ("", callee) => format!("-> {callee}{adds}"),
        (caller, callee) => format!("{caller} -> {callee}{adds}"),
    }
}

fn key_text(count: &CountAnswer) -> String {
    count.key.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}

fn rules(n: u64, one: &str, many: &str) -> String {
    if n == 1 { format!("1 rule {one}") } else { format!("{n} rules {many}") }
}

fn article(kind: &str) -> String {
    let article = if kind.starts_with(['a', 'e', 'i', 'o']) { "an" } else { "a" };
    format!("{article} {kind}")
}

/// Phrases with commas between them, broken where a line gets long.
fn wrapped(out: &mut String, indent: &str, phrases: &[String]) {
    let mut length = 0;
    for (i, phrase) in phrases.iter().enumerate() {
        let breaks = i > 0 && length + phrase.len() > WIDTH;
        match (i, breaks) {
            (0, _) => out.push_str(indent),
            (_, true) => {
                out.push_str(",\n");
                out.push_str(indent);
            }
            (_, false) => out.push_str(", "),
        }
        length = if breaks { 0 } else { length } + phrase.len() + 2;
        out.push_str(phrase);
    }
    out.push('\n');
}
