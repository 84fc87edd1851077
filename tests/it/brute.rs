//! A brute-force model of `2-rules.md` 2.9: every window is recomputed from the list of the key's past events, so
//! there is no incremental state to get wrong. Slow and plain on purpose; shares nothing with `src/`.
//!
//! Covers what the oracle covers, and `concurrent`, `missing_key = "merge"`, `count_blocked`, dynamic blocks and the
//! emergency rule besides.

use std::collections::{BTreeMap, BTreeSet};

use crate::expression::{Compare, Event, Expr, Field, Operand, Value, duration_text, pattern_matches};

const CALL_AGE_MS: i64 = 12 * 3_600_000;
const CALLBACK_MS: i64 = 30 * 60_000;

#[derive(Clone, Debug)]
pub(crate) enum Measure {
    Count,
    Distinct(Operand),
    Sum(Field),
    Avg(Field),
    Share(Expr),
    Run(Field, i64),
    Concurrent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Count,
    Ms,
    Share,
}

impl Measure {
    pub(crate) fn text(&self) -> String {
        match self {
            Measure::Distinct(operand) => format!("distinct({})", operand.text()),
            Measure::Sum(field) => format!("sum({})", field.name()),
            Measure::Avg(field) => format!("avg({})", field.name()),
            Measure::Share(expr) => format!("share({})", expr.text()),
            Measure::Run(field, step) => format!("run({}, {step})", field.name()),
            Measure::Count | Measure::Concurrent => self.name().to_owned(),
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Measure::Count => "count",
            Measure::Distinct(_) => "distinct",
            Measure::Sum(_) => "sum",
            Measure::Avg(_) => "avg",
            Measure::Share(_) => "share",
            Measure::Run(..) => "run",
            Measure::Concurrent => "concurrent",
        }
    }

    pub(crate) fn unit(&self) -> Unit {
        match self {
            Measure::Sum(_) | Measure::Avg(_) => Unit::Ms,
            Measure::Share(_) => Unit::Share,
            _ => Unit::Count,
        }
    }
}

/// An exact fraction; the denominator is positive.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fraction(pub i128, pub i128);

impl Fraction {
    /// As output shows it: durations in seconds, shares in percent.
    fn shown(self, unit: Unit) -> f64 {
        let value = self.0 as f64 / self.1 as f64;
        match unit {
            Unit::Count => value,
            Unit::Ms => value / 1_000.0,
            Unit::Share => value * 100.0,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Level {
    pub compare: Compare,
    /// Items, milliseconds, or tenths of a percent.
    pub limit: i64,
    pub unit: Unit,
}

impl Level {
    pub(crate) fn text(&self) -> String {
        let limit = match self.unit {
            Unit::Count => self.limit.to_string(),
            Unit::Ms => duration_text(self.limit),
            Unit::Share if self.limit % 10 == 0 => format!("{}%", self.limit / 10),
            Unit::Share => format!("{}.{}%", self.limit / 10, self.limit % 10),
        };
        format!("{} {limit}", self.compare.text())
    }

    fn fraction(&self) -> Fraction {
        Fraction(i128::from(self.limit), if self.unit == Unit::Share { 1_000 } else { 1 })
    }

    fn holds(&self, value: Fraction) -> bool {
        let limit = self.fraction();
        self.compare.holds(value.0 * limit.1, limit.0 * value.1)
    }
}

/// What a crossing puts on a dynamic list.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub list: &'static str,
    pub ttl_ms: i64,
    /// Index into `per`.
    pub part: usize,
}

#[derive(Clone, Debug)]
pub(crate) struct Threshold {
    pub id: String,
    pub on: &'static str,
    pub condition: Option<Expr>,
    pub measure: Measure,
    pub per: Vec<Operand>,
    /// 0 for `concurrent`.
    pub window_ms: i64,
    pub warning: Option<Level>,
    pub critical: Option<Level>,
    pub clear: Option<Level>,
    pub cooldown_ms: Option<i64>,
    pub min_count: Option<usize>,
    pub mode: &'static str,
    pub merge_missing: bool,
    pub count_blocked: bool,
    pub on_warning: Option<Block>,
    pub on_critical: Option<Block>,
}

#[derive(Clone, Debug)]
pub(crate) struct Firewall {
    pub id: String,
    pub on: &'static str,
    pub when: Expr,
    pub action: &'static str,
    pub mode: &'static str,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    /// Names of dynamic lists of numbers.
    pub lists: Vec<&'static str>,
    pub firewall: Vec<Firewall>,
    pub thresholds: Vec<Threshold>,
}

impl Rules {
    /// The rule file an analyst would write.
    pub(crate) fn toml(&self) -> String {
        let mut out = "ringfence = 1\ndefault_action = \"allow\"\n".to_owned();
        if !self.lists.is_empty() {
            out += "[lists]\n";
        }
        for list in &self.lists {
            out += &format!("{list} = {{ type = \"number\", dynamic = true, max_entries = 100000 }}\n");
        }
        for rule in &self.firewall {
            out += &format!(
                "[[firewall]]\nid = \"{}\"\non = \"{}\"\nwhen = '{}'\naction = \"{}\"\nmode = \"{}\"\n",
                rule.id,
                rule.on,
                rule.when.text(),
                rule.action,
                rule.mode
            );
            out += &match rule.action {
                "flag" => format!("flag = \"{}\"\n", rule.id),
                "divert" => "divert_to = \"+46840000000\"\n".to_owned(),
                _ => String::new(),
            };
        }
        for rule in &self.thresholds {
            rule.write(&mut out);
        }
        out
    }
}

impl Threshold {
    fn write(&self, out: &mut String) {
        let per = self.per.iter().map(|p| format!("\"{}\"", p.text())).collect::<Vec<_>>().join(", ");
        *out += &format!("[[threshold]]\nid = \"{}\"\non = \"{}\"\nmode = \"{}\"\n", self.id, self.on, self.mode);
        *out += &format!("measure = '{}'\nper = [{per}]\n", self.measure.text());
        if self.window_ms > 0 {
            *out += &format!("window = \"{}\"\n", duration_text(self.window_ms));
        }
        if let Some(condition) = &self.condition {
            *out += &format!("where = '{}'\n", condition.text());
        }
        for (name, level) in [("warning", &self.warning), ("critical", &self.critical), ("clear", &self.clear)] {
            if let Some(level) = level {
                *out += &format!("{name} = \"{}\"\n", level.text());
            }
        }
        if let Some(ms) = self.cooldown_ms {
            *out += &format!("cooldown = \"{}\"\n", duration_text(ms));
        }
        if let Some(n) = self.min_count {
            *out += &format!("min_count = {n}\n");
        }
        if self.merge_missing {
            *out += "missing_key = \"merge\"\n";
        }
        if !self.count_blocked {
            *out += "count_blocked = false\n";
        }
        for (name, block) in [("on_warning", &self.on_warning), ("on_critical", &self.on_critical)] {
            if let Some(b) = block {
                *out += &format!(
                    "{name} = {{ do = [\"alert\"], block = {{ list = \"{}\", ttl = \"{}\", field = \"{}\" }} }}\n",
                    b.list,
                    duration_text(b.ttl_ms),
                    self.per[b.part].text()
                );
            }
        }
    }

    /// Lowest first: the name and what must hold.
    fn levels(&self) -> Vec<(&'static str, &Level)> {
        let named = [("warning", &self.warning), ("critical", &self.critical)];
        named.into_iter().filter_map(|(name, level)| level.as_ref().map(|l| (name, l))).collect()
    }

    fn span_ms(&self) -> i64 {
        if matches!(self.measure, Measure::Concurrent) { CALL_AGE_MS } else { self.window_ms }
    }

    fn cooldown(&self) -> i64 {
        self.cooldown_ms.unwrap_or(self.window_ms)
    }

    /// The key of an event; `None` where a part is missing and that is not merged. A missing part is `None` inside.
    fn key(&self, event: &Event) -> Option<Vec<Option<Value>>> {
        let mut key = Vec::new();
        for part in &self.per {
            let mut value = part.value(event);
            let withheld = ["anonymous", "restricted", "unavailable"];
            if *part == Operand::Field(Field::Caller)
                && matches!(&value, Some(Value::Text(t)) if withheld.contains(&t.as_str()))
            {
                value = None;
            }
            if value.is_none() && !self.merge_missing {
                return None;
            }
            key.push(value);
        }
        Some(key)
    }

    /// What the measure picks of an event that counts.
    fn sample(&self, event: &Event) -> Option<Value> {
        match &self.measure {
            Measure::Count => None,
            Measure::Distinct(operand) => operand.value(event),
            Measure::Sum(field) | Measure::Avg(field) | Measure::Run(field, _) => Operand::Field(*field).value(event),
            Measure::Share(expr) => Some(Value::Int(i64::from(expr.holds(event, &|_, _| false)))),
            Measure::Concurrent => event.call_id.clone().map(Value::Text),
        }
    }

    /// The value of a window that holds these samples; `None` where the measure says nothing.
    fn value(&self, samples: &[Sample]) -> Option<Fraction> {
        let known = || samples.iter().filter_map(|s| s.value.as_ref());
        let integers = || known().filter_map(|v| if let Value::Int(n) = v { Some(i128::from(*n)) } else { None });
        let whole = |n: usize| Some(Fraction(n as i128, 1));
        let too_few = samples.len() < self.min_count.unwrap_or(20);
        match &self.measure {
            Measure::Count => whole(samples.len()),
            Measure::Distinct(_) | Measure::Concurrent => whole(known().collect::<BTreeSet<_>>().len()),
            Measure::Sum(_) => Some(Fraction(integers().sum(), 1)),
            Measure::Run(_, step) => whole(longest_run(known(), *step)),
            Measure::Avg(_) | Measure::Share(_) if too_few => None,
            Measure::Share(_) => Some(Fraction(integers().sum(), samples.len() as i128)),
            Measure::Avg(_) => {
                let n = integers().count() as i128;
                (n > 0).then(|| Fraction(integers().sum(), n))
            }
        }
    }

    fn is_clear(&self, samples: &[Sample]) -> bool {
        if samples.is_empty() {
            return true;
        }
        let Some(value) = self.value(samples) else { return false };
        match &self.clear {
            Some(clear) => clear.holds(value),
            None => !self.levels()[0].1.holds(value),
        }
    }
}

/// The longest chain of distinct numbers whose neighbours are at most `step` apart.
fn longest_run<'a>(values: impl Iterator<Item = &'a Value>, step: i64) -> usize {
    let digits = |v: &Value| match v {
        Value::Text(t) => t.strip_prefix('+').unwrap_or(t).parse::<i64>().ok(),
        Value::Int(_) => None,
    };
    let numbers: Vec<i64> = values.filter_map(digits).collect::<BTreeSet<_>>().into_iter().collect();
    numbers.chunk_by(|a, b| b - a <= step).map(<[i64]>::len).max().unwrap_or(0)
}

#[derive(Clone, Debug)]
struct Sample {
    time: i64,
    value: Option<Value>,
}

/// What is known of one (customer, rule, key).
#[derive(Clone, Debug, Default)]
struct Episode {
    /// By time, ties by arrival.
    samples: Vec<Sample>,
    /// The newest event time counted.
    clock: i64,
    /// Index of the highest level said, while open.
    said: Option<usize>,
    clear_since: Option<i64>,
    /// When each episode of this key ended, oldest first.
    ended: Vec<i64>,
}

impl Episode {
    fn end_if_due(&mut self, rule: &Threshold, now: i64) {
        if let (Some(_), Some(since)) = (self.said, self.clear_since)
            && since + rule.cooldown() <= now
        {
            self.ended.push(since + rule.cooldown());
            self.said = None;
            self.clear_since = None;
        }
    }

    /// Nothing more happens at `instant`: is it clear there, and has it been for long enough?
    fn settle(&mut self, rule: &Threshold, instant: i64) {
        self.end_if_due(rule, instant);
        if self.said.is_some() && rule.is_clear(&self.samples) {
            self.clear_since = self.clear_since.or(Some(instant));
        } else {
            self.clear_since = None;
        }
        self.end_if_due(rule, instant);
    }

    fn leave(&mut self, rule: &Threshold, now: i64) {
        self.samples.retain(|s| s.time + rule.span_ms() > now);
    }

    /// Event time passes from the clock to `now`, which is later, with no event between.
    fn advance(&mut self, rule: &Threshold, now: i64) {
        self.settle(rule, self.clock);
        while let Some(first) = self.samples.first() {
            let instant = first.time + rule.span_ms();
            if instant >= now {
                break;
            }
            self.leave(rule, instant);
            self.settle(rule, instant);
        }
        self.end_if_due(rule, now);
        self.leave(rule, now);
        self.clock = now;
    }

    /// When the open episode would end if its key had no further event.
    fn would_end(&self, rule: &Threshold) -> i64 {
        let mut rest = self.clone();
        rest.advance(rule, i64::MAX / 2);
        *rest.ended.get(self.ended.len()).expect("an empty window is clear, and a cooldown ends")
    }
}

/// A violation, as the model says it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub time_ms: i64,
    pub customer: String,
    pub rule: String,
    pub level: &'static str,
    /// `None` is a missing part, merged.
    pub key: Vec<(String, Option<String>)>,
    pub measure: &'static str,
    pub value: f64,
    pub threshold: f64,
    pub window: String,
    pub call_id: Option<String>,
    pub mode: &'static str,
    pub late: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub action: &'static str,
    pub rule: String,
    pub cause: &'static str,
    pub flags: Vec<String>,
}

/// What the model says of a stream.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub violations: Vec<Row>,
    /// One an event.
    pub verdicts: Vec<Verdict>,
    /// Pairs of event and rule.
    pub late: u64,
    pub too_late: u64,
}

type Key = (String, usize, Vec<Option<Value>>);

struct Entry {
    list: &'static str,
    /// A number, or a prefix with `*`.
    value: String,
    ttl_ms: i64,
    key: Key,
    /// Which episode of the key put it there.
    episode: usize,
}

struct Model<'a> {
    rules: &'a Rules,
    episodes: BTreeMap<Key, Episode>,
    entries: Vec<Entry>,
    /// Customer and number of those who called for help, and when.
    helped: Vec<(String, String, i64)>,
    /// Rule, customer and id of each call that has begun.
    told: BTreeSet<(usize, String, Value)>,
    outcome: Outcome,
}

/// Judges the events in the order they came.
pub(crate) fn judge(rules: &Rules, events: &[Event]) -> Outcome {
    let mut model = Model {
        rules,
        episodes: BTreeMap::new(),
        entries: Vec::new(),
        helped: Vec::new(),
        told: BTreeSet::new(),
        outcome: Outcome::default(),
    };
    for event in events {
        model.event(event);
    }
    model.outcome
}

/// The phases of a call that an event is, in their order.
fn phases(event: &Event) -> Vec<&'static str> {
    match event.kind() {
        "cdr" if event.status == Some("answered") => vec!["attempt", "answer", "end"],
        "cdr" => vec!["attempt", "end"],
        kind => vec![kind],
    }
}

fn seen_by(rule_on: &str, event: &Event) -> bool {
    let phases = phases(event);
    let request = phases.iter().any(|p| ["attempt", "register", "options", "message"].contains(p));
    phases.contains(&rule_on) || (rule_on == "request" && request)
}

impl Model<'_> {
    fn event(&mut self, event: &Event) {
        let mut verdict = self.firewall(event);
        let blocked = verdict.action == "block";
        let n_entries = self.entries.len();
        for index in 0..self.rules.thresholds.len() {
            let rule = &self.rules.thresholds[index];
            if rule.mode == "off" || (blocked && !rule.count_blocked) {
                continue;
            }
            if matches!(rule.measure, Measure::Concurrent) {
                self.concurrent(index, event);
            } else if seen_by(rule.on, event) {
                self.count(index, event);
            }
        }
        if self.entries.len() > n_entries && !blocked {
            verdict = self.firewall(event);
        }
        if is_emergency(event) && event.kind() != "end" {
            let number = event.caller.clone().unwrap_or_default();
            self.helped.push((event.customer().to_owned(), number, event.time_ms));
        }
        self.outcome.verdicts.push(verdict);
    }

    fn firewall(&self, event: &Event) -> Verdict {
        let says = |action, rule: &str, cause, flags| Verdict { action, rule: rule.to_owned(), cause, flags };
        if is_emergency(event) || self.is_call_back(event) {
            return says("allow", "builtin:emergency", "policy", Vec::new());
        }
        let lists = |list: &str, value: &Value| self.listed(list, value, event.time_ms);
        let mut flags = Vec::new();
        for phase in phases(event) {
            for rule in self.rules.firewall.iter().filter(|r| r.mode == "enforce" && r.on == phase) {
                if !rule.when.holds(event, &lists) {
                    continue;
                }
                if rule.action == "flag" {
                    flags.push(rule.id.clone());
                    continue;
                }
                let cause = if names_a_list(&rule.when) { "analytics" } else { "policy" };
                return says(rule.action, &rule.id, cause, flags);
            }
        }
        says("allow", "default", "none", flags)
    }

    fn is_call_back(&self, event: &Event) -> bool {
        event.direction == Some("inbound")
            && phases(event).contains(&"attempt")
            && self.helped.iter().any(|(customer, number, at)| {
                customer == event.customer()
                    && Some(number.as_str()) == event.callee.as_deref()
                    && event.time_ms < at + CALLBACK_MS
            })
    }

    fn listed(&self, list: &str, value: &Value, now: i64) -> bool {
        let Value::Text(number) = value else { return false };
        self.entries.iter().any(|entry| {
            let episode = &self.episodes[&entry.key];
            let ended = episode.ended.get(entry.episode).copied();
            let ended = ended.unwrap_or_else(|| episode.would_end(&self.rules.thresholds[entry.key.1]));
            entry.list == list
                && now < ended + entry.ttl_ms
                && pattern_matches(entry.value.as_bytes(), number.as_bytes())
        })
    }

    fn count(&mut self, index: usize, event: &Event) {
        let rule = &self.rules.thresholds[index];
        if !rule.condition.as_ref().is_none_or(|c| c.holds(event, &|_, _| false)) {
            return;
        }
        let Some(parts) = rule.key(event) else { return };
        let key = (event.customer().to_owned(), index, parts);
        let known = self.episodes.contains_key(&key);
        let episode = self.episodes.entry(key.clone()).or_default();
        let time = event.time_ms;
        if !known {
            episode.clock = time;
        } else if time > episode.clock {
            episode.advance(rule, time);
        } else if time <= episode.clock - rule.window_ms {
            self.outcome.too_late += 1;
            return;
        }
        let late = time < episode.clock;
        self.outcome.late += u64::from(late);
        let at = episode.samples.iter().rposition(|s| s.time <= time).map_or(0, |before| before + 1);
        episode.samples.insert(at, Sample { time, value: rule.sample(event) });
        self.hold_against_levels(key, event, late);
    }

    /// A set of call ids: the first sign of a call adds its own, its end takes it away wherever it is.
    fn concurrent(&mut self, index: usize, event: &Event) {
        let rule = &self.rules.thresholds[index];
        let (Some(id), customer) = (event.call_id.clone().map(Value::Text), event.customer()) else { return };
        if event.kind() == "end" {
            for (key, episode) in &mut self.episodes {
                if key.0 == customer && key.1 == index && episode.samples.iter().any(|s| s.value.as_ref() == Some(&id))
                {
                    if event.time_ms > episode.clock {
                        episode.advance(rule, event.time_ms);
                    }
                    episode.samples.retain(|s| s.value.as_ref() != Some(&id));
                }
            }
        }
        let begins = ["attempt", "answer"].contains(&event.kind());
        if !begins
            || !self.told.insert((index, customer.to_owned(), id.clone()))
            || !rule.condition.as_ref().is_none_or(|c| c.holds(event, &|_, _| false))
        {
            return;
        }
        let Some(parts) = rule.key(event) else { return };
        let key = (customer.to_owned(), index, parts);
        let known = self.episodes.contains_key(&key);
        let episode = self.episodes.entry(key.clone()).or_default();
        if !known {
            episode.clock = event.time_ms;
        } else if event.time_ms > episode.clock {
            episode.advance(rule, event.time_ms);
        }
        episode.samples.push(Sample { time: event.time_ms, value: Some(id) });
        self.hold_against_levels(key, event, false);
    }

    fn hold_against_levels(&mut self, key: Key, event: &Event, late: bool) {
        let rule = &self.rules.thresholds[key.1];
        let episode = self.episodes.get_mut(&key).expect("the caller made it");
        let levels = rule.levels();
        let Some(value) = rule.value(&episode.samples) else { return };
        let Some(reached) = levels.iter().rposition(|(_, level)| level.holds(value)) else { return };
        if episode.said.is_some_and(|said| reached <= said) {
            return;
        }
        episode.said = Some(reached);
        let (name, level) = levels[reached];
        let shown = |value: &Option<Value>| match value {
            Some(Value::Text(text)) => Some(text.clone()),
            Some(Value::Int(n)) => Some(n.to_string()),
            None => None,
        };
        let unit = rule.measure.unit();
        self.outcome.violations.push(Row {
            time_ms: episode.clock,
            customer: key.0.clone(),
            rule: rule.id.clone(),
            level: name,
            key: rule.per.iter().map(Operand::text).zip(key.2.iter().map(shown)).collect(),
            measure: rule.measure.name(),
            value: value.shown(unit),
            threshold: level.fraction().shown(unit),
            window: duration_text(rule.window_ms),
            call_id: event.call_id.clone(),
            mode: rule.mode,
            late,
        });
        let block = if name == "critical" { &rule.on_critical } else { &rule.on_warning };
        if let (Some(block), "enforce") = (block, rule.mode)
            && let Some(Value::Text(value)) = key.2[block.part].clone()
        {
            let episode = episode.ended.len();
            self.entries.push(Entry { list: block.list, value, ttl_ms: block.ttl_ms, key, episode });
        }
    }
}

fn is_emergency(event: &Event) -> bool {
    matches!(event.callee.as_deref(), Some("112" | "911"))
}

fn names_a_list(expr: &Expr) -> bool {
    match expr {
        Expr::All(parts) | Expr::Any(parts) => parts.iter().any(names_a_list),
        Expr::Not(part) => names_a_list(part),
        Expr::Listed(..) => true,
        _ => false,
    }
}
