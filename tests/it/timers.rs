//! A judge of what time alone brings (2-rules 2.9 points 8 to 12 and 14): `for`, `remind`, `longest`, levels to fall below,
//! `also`, `first_seen`. It keeps every event for ever and asks the definition at every instant at which anything
//! could happen. Slow and plain on purpose; shares nothing with `src/`.
//!
//! An instant has an order: a cooldown that ends there has ended; then timers that are due fire; then its events come, each
//! held against the levels; what leaves the window there has left before the first of them, and makes no gap. When the
//! instant is over, and only then, it is asked whether the key is clear in it.

use std::collections::{BTreeMap, BTreeSet};

/// `max_call_age`.
const CALL_AGE_MS: i64 = 12 * 3_600_000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Measure {
    Count,
    /// Of `callee`.
    Distinct,
    /// Of `callee`, with the largest step.
    Run(i64),
    /// Of `callee`, with how long it is remembered: the values that were new.
    FirstSeen(i64),
    /// Of `duration`.
    Sum,
    Avg,
    /// Of `answered`.
    Share,
    Concurrent,
    Longest,
}

impl Measure {
    pub(crate) fn text(&self) -> String {
        match self {
            Measure::Count => "count".to_owned(),
            Measure::Distinct => "distinct(callee)".to_owned(),
            Measure::Run(step) => format!("run(callee, {step})"),
            Measure::FirstSeen(_) => "first_seen(callee)".to_owned(),
            Measure::Sum => "sum(duration)".to_owned(),
            Measure::Avg => "avg(duration)".to_owned(),
            Measure::Share => "share(answered)".to_owned(),
            Measure::Concurrent => "concurrent".to_owned(),
            Measure::Longest => "longest".to_owned(),
        }
    }

    pub(crate) fn is_of_calls(&self) -> bool {
        matches!(self, Measure::Concurrent | Measure::Longest)
    }

    pub(crate) fn is_quotient(&self) -> bool {
        matches!(self, Measure::Avg | Measure::Share)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sign {
    AtLeast,
    Above,
    AtMost,
    Below,
}

/// Items, milliseconds or percent, by its measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Level {
    pub sign: Sign,
    pub limit: i64,
}

impl Level {
    pub(crate) fn text(self, measure: &Measure) -> String {
        let sign = match self.sign {
            Sign::AtLeast => ">=",
            Sign::Above => ">",
            Sign::AtMost => "<=",
            Sign::Below => "<",
        };
        let unit = match measure {
            Measure::Sum | Measure::Avg | Measure::Longest => "ms",
            Measure::Share => "%",
            _ => "",
        };
        format!("{sign} {}{unit}", self.limit)
    }

    /// `top / bottom` against the limit.
    fn holds(self, (top, bottom): (i64, i64)) -> bool {
        let limit = self.limit * bottom;
        match self.sign {
            Sign::AtLeast => top >= limit,
            Sign::Above => top > limit,
            Sign::AtMost => top <= limit,
            Sign::Below => top < limit,
        }
    }

    fn is_downward(self) -> bool {
        matches!(self.sign, Sign::AtMost | Sign::Below)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub id: String,
    pub on: &'static str,
    pub per: Vec<&'static str>,
    pub measure: Measure,
    pub also: Vec<(Measure, Level)>,
    /// 0 for what is of calls.
    pub window_ms: i64,
    pub warning: Option<Level>,
    pub critical: Option<Level>,
    pub clear: Option<Level>,
    pub cooldown_ms: i64,
    pub hold_ms: i64,
    pub remind_ms: Option<i64>,
    pub min_count: usize,
    /// Only what follows a violation of that rule counts, for so long.
    pub after: Option<(String, i64)>,
}

impl Rule {
    fn span_ms(&self) -> i64 {
        if self.measure.is_of_calls() { CALL_AGE_MS } else { self.window_ms }
    }

    fn levels(&self) -> [Option<Level>; 2] {
        [self.warning, self.critical]
    }

    fn lowest(&self) -> Option<Level> {
        self.warning.or(self.critical)
    }

    pub(crate) fn is_downward(&self) -> bool {
        self.lowest().is_some_and(Level::is_downward)
    }

    /// Whose event it is, as violations name it; `None` where a part is missing.
    fn key(&self, event: &Event) -> Option<String> {
        let part = |part: &&str| match *part {
            "caller" => Some(format!("caller={}", event.caller)),
            "callee" => Some(format!("callee=+{}", event.callee?)),
            _ => Some("customer=default".to_owned()),
        };
        let parts: Option<Vec<String>> = self.per.iter().map(part).collect();
        Some(parts?.join(" "))
    }

    /// As an analyst would write it.
    pub(crate) fn toml(&self) -> String {
        let per: Vec<String> = self.per.iter().map(|part| format!("\"{part}\"")).collect();
        let mut out =
            format!("[[threshold]]\nid = \"{}\"\non = \"{}\"\nper = [{}]\n", self.id, self.on, per.join(", "));
        out += &format!("measure = \"{}\"\ncooldown = \"{}ms\"\n", self.measure.text(), self.cooldown_ms);
        if self.window_ms > 0 {
            out += &format!("window = \"{}ms\"\n", self.window_ms);
        }
        if let Measure::FirstSeen(memory_ms) = self.measure {
            out += &format!("memory = \"{memory_ms}ms\"\n");
        }
        for (name, level) in [("warning", self.warning), ("critical", self.critical), ("clear", self.clear)] {
            if let Some(level) = level {
                out += &format!("{name} = \"{}\"\n", level.text(&self.measure));
            }
        }
        if self.measure.is_quotient() || self.also.iter().any(|(measure, _)| measure.is_quotient()) {
            out += &format!("min_count = {}\n", self.min_count);
        }
        if self.hold_ms > 0 {
            out += &format!("for = \"{}ms\"\n", self.hold_ms);
        }
        if let Some(remind_ms) = self.remind_ms {
            out += &format!("remind = \"{remind_ms}ms\"\n");
        }
        if let Some((rule, within_ms)) = &self.after {
            out += &format!("after = {{ rule = \"{rule}\", within = \"{within_ms}ms\" }}\n");
        }
        if !self.also.is_empty() {
            let also: Vec<String> =
                self.also.iter().map(|(m, level)| format!("\"{} {}\"", m.text(), level.text(m))).collect();
            out += &format!("also = [{}]\n", also.join(", "));
        }
        out
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Event {
    pub at_ms: i64,
    /// `attempt` or `end`.
    pub kind: &'static str,
    pub call: usize,
    pub caller: &'static str,
    pub callee: Option<i64>,
    pub duration_ms: Option<i64>,
    pub is_answered: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Input {
    Event(Event),
    Tick(i64),
}

/// What is said: of a key's levels, that they hold still, or that an episode is over.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Said {
    pub time: i64,
    pub rule: String,
    pub key: String,
    /// `warning`, `critical`, with `again` for a reminder, or `closed`.
    pub what: String,
}

/// What is said at each input, in no order.
pub(crate) fn judge(rules: &[Rule], inputs: &[Input]) -> Vec<Vec<Said>> {
    let mut keys: Vec<BTreeMap<String, Key>> = rules.iter().map(|_| BTreeMap::new()).collect();
    let mut said: Vec<Vec<Said>> = Vec::new();
    for input in inputs {
        let mut now = Vec::new();
        for (rule, keys) in rules.iter().zip(&mut keys) {
            match input {
                Input::Tick(at) => {
                    keys.iter_mut().for_each(|(name, key)| key.tick(*at, &mut Teller { rule, name, out: &mut now }));
                }
                Input::Event(event) if follows(rule, event, &said) => meet(rule, keys, event, &mut now),
                Input::Event(_) => {}
            }
        }
        now.sort();
        said.push(now);
    }
    said
}

/// Was the rule that this one comes after violated by what the event is of, as was said before it came?
fn follows(rule: &Rule, event: &Event, said: &[Vec<Said>]) -> bool {
    let Some((leader, within_ms)) = &rule.after else { return true };
    let key = rule.key(event);
    said.iter().flatten().any(|s| {
        s.rule == *leader && s.what != "closed" && Some(&s.key) == key.as_ref() && event.at_ms < s.time + within_ms
    })
}

fn meet(rule: &Rule, keys: &mut BTreeMap<String, Key>, event: &Event, out: &mut Vec<Said>) {
    let is_begun = event.kind == "attempt";
    if rule.measure.is_of_calls() && !is_begun {
        // Wherever the call is up.
        for (name, key) in keys {
            if key.events.iter().any(|e| e.of.call == event.call && !e.is_over) {
                key.end(event, &mut Teller { rule, name, out });
            }
        }
        return;
    }
    if !rule.measure.is_of_calls() && rule.on != event.kind {
        return;
    }
    let Some(name) = rule.key(event) else { return };
    let key = keys.entry(name.clone()).or_insert_with(|| Key::new(event.at_ms));
    key.count(event, &mut Teller { rule, name: &name, out });
}

/// Did a level hold for as long as it must, until `at`, by all that was ever told of a key? By its number, 0 for the warning.
pub(crate) fn held(rule: &Rule, events: &[Event], key: &str, level: usize, at: i64) -> bool {
    let counts = |event: &&Event| rule.on == event.kind && rule.key(event).as_deref() == Some(key);
    let mut of = Key::new(i64::MIN);
    for (arrival, event) in events.iter().filter(counts).enumerate() {
        of.sightings.push((event.at_ms, event.callee));
        of.events.push(Counted { of: event.clone(), arrival, is_over: false });
    }
    let from = at - rule.hold_ms;
    let times = of.events.iter().flat_map(|e| [e.of.at_ms, e.of.at_ms + rule.window_ms]);
    let mut instants = times.filter(|instant| (from..at).contains(instant)).chain([from]);
    instants.all(|instant| of.window(rule, instant - rule.window_ms, instant).holding()[level])
}

/// Says things of one key.
struct Teller<'a> {
    rule: &'a Rule,
    name: &'a str,
    out: &'a mut Vec<Said>,
}

impl Teller<'_> {
    fn say(&mut self, time: i64, what: String) {
        self.out.push(Said { time, rule: self.rule.id.clone(), key: self.name.to_owned(), what });
    }
}

#[derive(Debug)]
struct Counted {
    of: Event,
    /// Its place among all that the key was told of.
    arrival: usize,
    /// The call has ended.
    is_over: bool,
}

#[derive(Debug)]
struct Key {
    /// By time, ties by arrival.
    events: Vec<Counted>,
    /// When, in the order of arrival, it was told of which callee, however late.
    sightings: Vec<(i64, Option<i64>)>,
    /// The newest event time.
    clock: i64,
    /// All that happens before this is known, and what its own timers say.
    reached: i64,
    /// The highest level said of the episode that is open.
    said: Option<usize>,
    /// By level: since when it holds.
    since: [Option<i64>; 2],
    clear_since: Option<i64>,
    told: i64,
}

const NAMES: [&str; 2] = ["warning", "critical"];

impl Key {
    fn new(at: i64) -> Key {
        Key {
            events: Vec::new(),
            sightings: Vec::new(),
            clock: at,
            reached: at,
            said: None,
            since: [None; 2],
            clear_since: None,
            told: 0,
        }
    }

    fn count(&mut self, event: &Event, tell: &mut Teller<'_>) {
        let at = event.at_ms;
        let arrival = self.sightings.len();
        self.sightings.push((at, event.callee));
        if at > self.clock {
            self.pass(at, tell);
            self.clock = at;
        } else if at < self.clock && at <= self.clock - tell.rule.span_ms() {
            return;
        }
        assert!(self.reached == self.clock, "ticks are never ahead of what comes");
        let place = self.events.partition_point(|e| e.of.at_ms <= at);
        self.events.insert(place, Counted { of: event.clone(), arrival, is_over: false });
        self.look(self.clock, tell);
    }

    fn end(&mut self, event: &Event, tell: &mut Teller<'_>) {
        self.pass(event.at_ms, tell);
        self.clock = self.clock.max(event.at_ms);
        self.events.iter_mut().filter(|e| e.of.call == event.call).for_each(|e| e.is_over = true);
        self.look(self.clock, tell);
    }

    fn tick(&mut self, at: i64, tell: &mut Teller<'_>) {
        if at <= self.reached {
            return;
        }
        self.pass(at, tell);
        if tell.rule.is_downward() {
            // What holds, holds from here on. What does not may do so yet: an event of this instant may still come.
            let holds = self.window(tell.rule, at - tell.rule.span_ms(), at).holding();
            for (since, _) in self.since.iter_mut().zip(holds).filter(|(_, holds)| *holds) {
                since.get_or_insert(at);
            }
            self.fire(at, tell);
        }
    }

    /// What counts at an instant, of `(after, at]`.
    fn window<'a>(&'a self, rule: &'a Rule, after: i64, at: i64) -> Window<'a> {
        let counts = |e: &&Counted| !e.is_over && e.of.at_ms > after && e.of.at_ms <= at;
        Window { rule, items: self.events.iter().filter(counts).collect(), sightings: &self.sightings, at }
    }

    /// Time passes up to `now`, at which nothing but timers has happened yet.
    fn pass(&mut self, now: i64, tell: &mut Teller<'_>) {
        let span_ms = tell.rule.span_ms();
        if now <= self.reached {
            return;
        }
        self.settle(self.reached, tell);
        loop {
            let instant = self.instants(tell.rule).filter(|at| *at > self.reached).fold(now, i64::min);
            self.reached = instant;
            self.close_if_due(instant, tell);
            if tell.rule.measure == Measure::Longest {
                // What leaves at the instant is there until then.
                let window = self.window(tell.rule, instant - span_ms - 1, instant);
                let (holds, is_clear) = (window.holding(), window.is_clear());
                self.hold(holds, instant);
                self.clear_since = self.clear_since.filter(|_| is_clear);
            }
            self.fire(instant, tell);
            if instant == now {
                return;
            }
            self.settle(instant, tell);
        }
    }

    /// Everything that anything may hang on.
    fn instants(&self, rule: &Rule) -> impl Iterator<Item = i64> {
        let mut instants = BTreeSet::new();
        for event in self.events.iter().filter(|e| !e.is_over) {
            instants.insert(event.of.at_ms + rule.span_ms());
            for level in [rule.warning, rule.critical, rule.clear].into_iter().flatten() {
                let ages = [event.of.at_ms + level.limit, event.of.at_ms + level.limit + 1];
                instants.extend(ages.into_iter().filter(|_| rule.measure == Measure::Longest));
            }
        }
        instants.extend(self.since.iter().flatten().map(|since| since + rule.hold_ms));
        instants.extend(self.clear_since.map(|since| since + rule.cooldown_ms));
        instants.extend(rule.remind_ms.map(|remind_ms| self.told + remind_ms));
        instants.into_iter()
    }

    fn close_if_due(&mut self, instant: i64, tell: &mut Teller<'_>) {
        if let (Some(_), Some(since)) = (self.said, self.clear_since)
            && since + tell.rule.cooldown_ms <= instant
        {
            (self.said, self.clear_since) = (None, None);
            tell.say(since + tell.rule.cooldown_ms, "closed".to_owned());
        }
    }

    /// Nothing more happens at the instant.
    fn settle(&mut self, instant: i64, tell: &mut Teller<'_>) {
        let window = self.window(tell.rule, instant - tell.rule.span_ms(), instant);
        let (holds, is_clear) = (window.holding(), window.is_clear());
        for (since, holds) in self.since.iter_mut().zip(holds) {
            *since = since.filter(|_| holds);
        }
        self.clear_since = self.said.filter(|_| is_clear).map(|_| self.clear_since.unwrap_or(instant));
        self.close_if_due(instant, tell);
    }

    /// Holds the window that ends at `at` against the levels.
    fn look(&mut self, at: i64, tell: &mut Teller<'_>) {
        let holds = self.window(tell.rule, at - tell.rule.span_ms(), at).holding();
        self.hold(holds, at);
        self.fire(at, tell);
    }

    fn hold(&mut self, holds: [bool; 2], at: i64) {
        for (since, holds) in self.since.iter_mut().zip(holds) {
            *since = if holds { since.or(Some(at)) } else { None };
        }
    }

    /// What has held for long enough is reached; what goes on is told again.
    fn fire(&mut self, at: i64, tell: &mut Teller<'_>) {
        let due = |since: &Option<i64>| since.is_some_and(|since| since + tell.rule.hold_ms <= at);
        // The highest alone.
        if let Some(level) = self.since.iter().rposition(due)
            && self.said.is_none_or(|said| said < level)
        {
            if self.said.is_none() {
                (self.told, self.clear_since) = (at, None);
            }
            self.said = Some(level);
            tell.say(at, NAMES[level].to_owned());
        }
        if let (Some(said), Some(remind_ms)) = (self.said, tell.rule.remind_ms)
            && self.told + remind_ms <= at
        {
            self.told = at;
            // What has come to rest is not told again while it cools down.
            if self.clear_since.is_none() {
                tell.say(at, format!("{} again", NAMES[said]));
            }
        }
    }
}

/// What a rule sees of a key at an instant.
struct Window<'a> {
    rule: &'a Rule,
    items: Vec<&'a Counted>,
    sightings: &'a [(i64, Option<i64>)],
    at: i64,
}

impl Window<'_> {
    /// Which levels hold. None does of an empty window.
    fn holding(&self) -> [bool; 2] {
        let value = self.value(&self.rule.measure).filter(|_| !self.items.is_empty() && self.is_joined());
        self.rule.levels().map(|level| level.zip(value).is_some_and(|(level, value)| level.holds(value)))
    }

    fn is_joined(&self) -> bool {
        let also = self.rule.also.iter();
        also.into_iter().all(|(measure, level)| self.value(measure).is_some_and(|value| level.holds(value)))
    }

    fn is_clear(&self) -> bool {
        if self.items.is_empty() {
            return true;
        }
        // Below `min_count` it neither fires nor clears.
        let Some(value) = self.value(&self.rule.measure) else { return false };
        match (self.rule.clear, self.rule.lowest()) {
            (Some(clear), _) => clear.holds(value),
            (None, Some(lowest)) => !(lowest.holds(value) && self.is_joined()),
            (None, None) => true,
        }
    }

    /// What a measure shows; `None` where it says nothing.
    fn value(&self, measure: &Measure) -> Option<(i64, i64)> {
        let items = &self.items;
        let n = items.len() as i64;
        let callees: BTreeSet<i64> = items.iter().filter_map(|e| e.of.callee).collect();
        let durations: Vec<i64> = items.iter().filter_map(|e| e.of.duration_ms).collect();
        let oldest = items.iter().map(|e| e.of.at_ms).min();
        let is_enough = items.len() >= self.rule.min_count;
        let quotient = |top: i64, bottom: i64| (is_enough && bottom > 0).then_some((top, bottom));
        match measure {
            Measure::Count | Measure::Concurrent => Some((n, 1)),
            Measure::Distinct => Some((callees.len() as i64, 1)),
            Measure::Run(step) => {
                let callees: Vec<i64> = callees.into_iter().collect();
                let longest = callees.chunk_by(|a, b| b - a <= *step).map(<[i64]>::len).max().unwrap_or(0);
                Some((longest as i64, 1))
            }
            Measure::FirstSeen(memory_ms) => {
                let new = items.iter().filter(|item| self.is_new(item, *memory_ms)).map(|item| item.of.callee);
                Some((new.collect::<BTreeSet<_>>().len() as i64, 1))
            }
            Measure::Sum => Some((durations.iter().sum(), 1)),
            Measure::Avg => quotient(durations.iter().sum(), durations.len() as i64),
            Measure::Share => quotient(items.iter().filter(|e| e.of.is_answered).count() as i64 * 100, n),
            Measure::Longest => Some((oldest.map_or(0, |oldest| self.at - oldest), 1)),
        }
    }

    /// Had the key not seen the value for so long before? What is older than that by the newest that was told of is
    /// forgotten.
    fn is_new(&self, item: &Counted, memory_ms: i64) -> bool {
        let now = (item.of.at_ms, item.arrival);
        let newest = |arrival: usize| self.sightings[..=arrival].iter().filter(|s| s.1.is_some()).map(|s| s.0).max();
        let is_before = |(arrival, (at, callee)): (usize, &(i64, Option<i64>))| {
            let is_known = newest(arrival.max(item.arrival)).is_none_or(|newest| *at > newest - memory_ms);
            *callee == item.of.callee && (*at, arrival) < now && *at > item.of.at_ms - memory_ms && is_known
        };
        item.of.callee.is_some() && !self.sightings.iter().enumerate().any(is_before)
    }
}
