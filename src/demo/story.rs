//! The demo told to whoever watches: sentences as things happen, a table at the end.

use std::collections::HashSet;
use std::io::Write;

use serde::Deserialize;

use super::gateway::Verdict;
use super::script::{ACTS, Act, EMERGENCY, NUISANCE};
use crate::clock::Timestamp;
use crate::simulate::call::{Call, Party};

/// A violation as the service's output line tells it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Sighting {
    pub rule: String,
    pub level: String,
    pub key: serde_json::Map<String, serde_json::Value>,
    pub value: f64,
    pub threshold: f64,
    pub window: String,
}

impl Sighting {
    /// The value of the key, or its values one after another.
    fn key_text(&self) -> String {
        let parts: Vec<&str> = self.key.values().filter_map(serde_json::Value::as_str).collect();
        parts.join(", ")
    }
}

/// How an attack went.
#[derive(Debug, Default)]
struct Course {
    calls: u64,
    begun_ms: Option<i64>,
    /// Calls and milliseconds until the first violation.
    found: Option<(u64, i64)>,
    blocked: u64,
    passed_after: u64,
    over: bool,
    told_block: bool,
    /// Texts by which a key shows that it is about this attack.
    marks: HashSet<String>,
    callers: HashSet<String>,
}

/// The story so far.
pub(super) struct Story<'a> {
    out: &'a mut dyn Write,
    colour: bool,
    start_ms: i64,
    courses: [Course; ACTS.len()],
    clean: u64,
    clean_blocked: Vec<String>,
    false_alarms: Vec<String>,
    emergencies: u64,
    emergencies_blocked: u64,
    late: u64,
}

const BOLD: &str = "1";
const RED: &str = "31";
const YELLOW: &str = "33";
const GREEN: &str = "32";
const DIM: &str = "2";

impl<'a> Story<'a> {
    pub(super) fn new(out: &'a mut dyn Write, colour: bool, start_ms: i64) -> Story<'a> {
        Story {
            out,
            colour,
            start_ms,
            courses: Default::default(),
            clean: 0,
            clean_blocked: Vec::new(),
            false_alarms: Vec::new(),
            emergencies: 0,
            emergencies_blocked: 0,
            late: 0,
        }
    }

    /// A sentence without a time. Output that goes nowhere is no reason to stop the demo.
    pub(super) fn say(&mut self, text: &str) {
        drop(writeln!(self.out, "{text}"));
        drop(self.out.flush());
    }

    /// A sentence at an instant of event time.
    fn tell(&mut self, at_ms: i64, style: &str, text: &str) {
        let time = Timestamp(at_ms).to_string();
        let line = format!("{}  {}", time.get(11..19).unwrap_or(&time), self.styled(style, text));
        self.say(&line);
    }

    pub(super) fn styled(&self, style: &str, text: &str) -> String {
        if self.colour && !style.is_empty() { format!("\x1b[{style}m{text}\x1b[0m") } else { text.to_owned() }
    }

    pub(super) fn heading(&mut self, text: &str) {
        let text = self.styled(BOLD, text);
        self.say(&text);
    }

    /// What time has brought without a call of its own: acts that end, the office that closes.
    pub(super) fn pass(&mut self, at_ms: i64, office_closes_ms: i64, before_ms: i64) {
        if before_ms < office_closes_ms && at_ms >= office_closes_ms {
            self.tell(office_closes_ms, "", "The office closes. From now on nobody here has business abroad.");
        }
        for (i, act) in ACTS.iter().enumerate() {
            let ends_ms = self.start_ms + act.begin_ms + act.length_ms;
            let Some(course) = self.courses.get_mut(i) else { continue };
            if course.over || at_ms < ends_ms {
                continue;
            }
            course.over = true;
            let (calls, blocked) = (course.calls, course.blocked);
            let text = format!("{} is over: {calls} calls, {blocked} of them turned away.", act.title);
            self.tell(ends_ms, DIM, &text);
        }
    }

    /// A call asked to be let in, some rule may have found something in that, and the service said yes or no.
    pub(super) fn attempt(&mut self, call: &Call, found: &[Sighting], verdict: &Verdict) {
        let blocked = verdict.action != "allow";
        let begins = self.count_attack(call, blocked);
        if let Some(act) = begins {
            let text = format!("{} begins: {}.", act.title, act.story);
            self.tell(call.start_ms, BOLD, &text);
        }
        self.sightings(found, call.start_ms);
        self.late += u64::from(verdict.late);
        if call.callee == Party::Short(112) {
            self.emergencies += 1;
            self.emergencies_blocked += u64::from(blocked);
        }
        match call.attack {
            None => {
                self.clean += 1;
                if blocked {
                    self.clean_blocked.push(format!(
                        "{} -> {}, {}",
                        text(call.caller),
                        text(call.callee),
                        verdict.rule
                    ));
                }
            }
            Some(NUISANCE) => self.nuisance(call, verdict),
            Some(EMERGENCY) => self.emergency(call, verdict),
            Some(act) => self.attack(usize::from(act), call, verdict, blocked),
        }
    }

    fn nuisance(&mut self, call: &Call, verdict: &Verdict) {
        let what = if verdict.rule == "demo-harassers" {
            "is on the block list"
        } else {
            "borrows one of our own numbers, and no carrier vouches for it"
        };
        let text = format!("{} calls {}: it {what}. {}.", text(call.caller), text(call.callee), outcome(verdict));
        self.tell(call.start_ms, "", &text);
    }

    fn emergency(&mut self, call: &Call, verdict: &Verdict) {
        let text = if call.callee == Party::Short(112) {
            format!(
                "A desk on that very account (pbx-{}) dials 112. {}: nothing stands in the way of an emergency call.",
                call.account,
                outcome(verdict)
            )
        } else {
            format!(
                "The call-back to {} shows a number of the block list. {}: who called 112 can be reached.",
                text(call.callee),
                outcome(verdict)
            )
        };
        let style = if verdict.action == "allow" { GREEN } else { RED };
        if call.callee != Party::Short(112) {
            self.emergencies += 1;
            self.emergencies_blocked += u64::from(verdict.action != "allow");
        }
        self.tell(call.start_ms, style, &text);
    }

    /// Counts a call of an attack; gives the act if it is the first.
    fn count_attack(&mut self, call: &Call, blocked: bool) -> Option<&'static Act> {
        let which = usize::from(call.attack?);
        let (act, course) = (ACTS.get(which)?, self.courses.get_mut(which)?);
        let begins = course.begun_ms.is_none();
        course.begun_ms.get_or_insert(call.start_ms);
        course.calls += 1;
        course.passed_after += u64::from(!blocked && course.blocked > 0);
        course.blocked += u64::from(blocked);
        course.marks.insert(text(call.callee));
        course.marks.insert(format!("pbx-{}", call.account));
        course.callers.insert(text(call.caller));
        begins.then_some(act)
    }

    fn attack(&mut self, which: usize, call: &Call, verdict: &Verdict, blocked: bool) {
        let Some(course) = self.courses.get_mut(which) else { return };
        if blocked && !std::mem::replace(&mut course.told_block, true) {
            let text = format!("{} -> {}: {}.", text(call.caller), text(call.callee), outcome(verdict));
            self.tell(call.start_ms, RED, &text);
        }
    }

    pub(super) fn sightings(&mut self, found: &[Sighting], at_ms: i64) {
        found.iter().for_each(|sighting| self.sighting(sighting, at_ms));
    }

    /// A rule has found something.
    fn sighting(&mut self, sighting: &Sighting, at_ms: i64) {
        let key = sighting.key_text();
        let Some(which) = self.attack_of(sighting, &key) else {
            // A rule of the firewall that is tracked tells of itself by its verdict.
            let text = format!("{} {}: {key} reached {}", sighting.level, sighting.rule, sighting.value);
            self.tell(at_ms, RED, &format!("FALSE ALARM, {text}"));
            self.false_alarms.push(text);
            return;
        };
        if let Some(course) = self.courses.get_mut(which)
            && course.found.is_none()
        {
            course.found = Some((course.calls, at_ms - course.begun_ms.unwrap_or(at_ms)));
        }
        let style = if sighting.level == "critical" { RED } else { YELLOW };
        let text = explain(sighting, &key);
        self.tell(at_ms, style, &text);
    }

    /// Which attack a key is about: its rule's, if it names one of its numbers, its account, or a range of its callers.
    fn attack_of(&self, sighting: &Sighting, key: &str) -> Option<usize> {
        let which = ACTS.iter().position(|act| act.rule == sighting.rule)?;
        let course = self.courses.get(which)?;
        let range = key.strip_suffix('*');
        let known = course.marks.contains(key)
            || course.callers.iter().any(|c| c == key || range.is_some_and(|range| c.starts_with(range)));
        known.then_some(which)
    }

    /// The table, and whether every attack was found and 112 always passed.
    pub(super) fn ending(&mut self, events: u64, seconds: f64) -> bool {
        self.say("");
        let head = format!(
            "{:<12} {:>6}  {:<24} {:<16} {:>8} {:>8}",
            "attack", "calls", "found after", "by rule", "blocked", "passed"
        );
        self.heading(&head);
        let mut rows = Vec::new();
        for (act, course) in ACTS.iter().zip(&self.courses) {
            let found = match course.found {
                Some((calls, ms)) => format!("{calls} calls, {} s", (ms + 500) / 1000),
                None => "NOT FOUND".to_owned(),
            };
            let passed = course.calls - course.blocked;
            rows.push(format!(
                "{:<12} {:>6}  {found:<24} {:<16} {:>8} {passed:>8}",
                act.title, course.calls, act.rule, course.blocked
            ));
            if course.passed_after > 0 {
                rows.push(format!("{:<12} {} of them after the first was blocked", "", course.passed_after));
            }
        }
        rows.push(String::new());
        rows.push(format!("false alarms on {} clean calls: {}", self.clean, self.false_alarms.len()));
        rows.push(format!("clean calls turned away: {}", self.clean_blocked.len()));
        rows.extend(self.clean_blocked.iter().take(10).map(|call| format!("  {call}")));
        rows.push(format!(
            "emergency calls and call-backs: {}, blocked: {}",
            self.emergencies, self.emergencies_blocked
        ));
        if self.late > 0 {
            rows.push(format!("verdicts past the deadline, so let through: {}", self.late));
        }
        rows.push(format!("{events} events over TCP, each with its verdict, in {seconds:.1} s"));
        for row in rows {
            self.say(&row);
        }
        self.emergencies_blocked == 0 && self.courses.iter().all(|c| c.found.is_some() && c.blocked > 0)
    }
}

fn outcome(verdict: &Verdict) -> String {
    let word = match verdict.action.as_str() {
        "allow" => "Allowed",
        "block" => "Blocked",
        "divert" => "Diverted",
        other => other,
    };
    match verdict.rule.as_str() {
        "default" => word.to_owned(),
        rule => format!("{word} by {rule}"),
    }
}

/// What a violation means, in words.
fn explain(sighting: &Sighting, key: &str) -> String {
    let Sighting { rule, level, value, threshold, window, .. } = sighting;
    let what = match rule.as_str() {
        "demo-wangiri" => format!("callers {key} gave {value} of our numbers one short ring within {window}"),
        "demo-tdos" => format!("{key} got {value} calls within {window}"),
        "demo-toll-fraud" => format!("account {key} made {value} calls to dear places within {window}, after hours"),
        _ => format!("{key} reached {value} within {window}"),
    };
    let then = match (level.as_str(), rule.as_str()) {
        ("critical", "demo-wangiri") => " The range is blocked from now on.",
        ("critical", "demo-tdos") => " Callers that no carrier vouches for no longer get through to it.",
        ("critical", "demo-toll-fraud") => " It makes no more of them.",
        _ => "",
    };
    format!("{level} {rule}: {what} (threshold {threshold}).{then}")
}

fn text(party: Party) -> String {
    match party {
        Party::Number(digits) => format!("+{digits}"),
        Party::Short(digits) => digits.to_string(),
        Party::Anonymous => "anonymous".to_owned(),
    }
}
