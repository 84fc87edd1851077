//! Random rule sets and streams that are apt to go wrong: few keys, gaps about as long as the windows, events exactly
//! at, just before and just after a window's edge, ties, late and too late events, levels near the typical counts.

use crate::brute::{Block, Firewall, Level, Measure, Rules, Threshold, Unit};
use crate::expression::{Compare, Event, Expr, Field, Item, Operand, Seconds};
use crate::support::Random;

/// How far a case goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// What `oracle.py` covers.
    Oracle,
    /// Merged missing keys, dynamic blocks, blocked calls not counted, emergency calls, `concurrent`.
    Beyond,
}

#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub seed: u64,
    pub rules: Rules,
    pub events: Vec<Event>,
}

impl Case {
    pub(crate) fn new(seed: u64, reach: Reach) -> Case {
        let mut random = Random::new(seed);
        let r = &mut random;
        let unit_ms = r.pick(&[100, 1_000, 5_000, 30_000]);
        let blocks = reach == Reach::Beyond && r.chance(60);
        let calls = reach == Reach::Beyond && !blocks && r.chance(60);
        let mut rules = Rules::default();
        for n in 0..r.between(2, 6) {
            let rule = if calls && n < 2 { concurrent(r, n, unit_ms) } else { threshold(r, n, unit_ms, reach, blocks) };
            rules.thresholds.push(rule);
        }
        if blocks {
            add_firewall(r, &mut rules, unit_ms);
        }
        let windows: Vec<i64> = rules.thresholds.iter().map(|t| t.window_ms).filter(|w| *w > 0).collect();
        let requests = rules.thresholds.iter().filter(|t| ["register", "request"].contains(&t.on)).count() * 2;
        let requests = requests > rules.thresholds.len();
        let stream = Stream { unit_ms, windows, blocks, calls, requests, in_order: calls || r.chance(20) };
        let events = stream.events(r);
        Case { seed, rules, events }
    }

    /// The stream as a gateway would send it.
    pub(crate) fn ndjson(&self) -> String {
        let mut out = String::new();
        for (n, event) in self.events.iter().enumerate() {
            out += &event.line(n.wrapping_mul(7) ^ self.seed as usize & 0xff);
            out.push('\n');
        }
        out
    }
}

const FIELDS_OF_CALLS: [Field; 6] =
    [Field::Caller, Field::Callee, Field::Trunk, Field::Account, Field::SourceIp, Field::Direction];
const FIELDS_OF_REQUESTS: [Field; 5] = [Field::Caller, Field::Trunk, Field::Account, Field::SourceIp, Field::Domain];

fn fields(on: &str) -> &'static [Field] {
    if ["register", "request"].contains(&on) { &FIELDS_OF_REQUESTS } else { &FIELDS_OF_CALLS }
}

fn is_number(field: Field) -> bool {
    [Field::Caller, Field::Callee].contains(&field)
}

fn operand(r: &mut Random, on: &str) -> Operand {
    let field = r.pick(fields(on));
    if is_number(field) && r.chance(35) {
        Operand::Prefix(field, r.between(4, 8) as usize)
    } else {
        Operand::Field(field)
    }
}

fn threshold(r: &mut Random, n: i64, unit_ms: i64, reach: Reach, blocks: bool) -> Threshold {
    let calls = ["attempt", "end", "end", "answer"];
    let on = if blocks || r.chance(85) { r.pick(&calls) } else { r.pick(&["register", "request"]) };
    let mut per = vec![operand(r, on)];
    if blocks {
        per = vec![r.pick(&[
            Operand::Field(Field::Caller),
            Operand::Field(Field::Callee),
            Operand::Prefix(Field::Caller, 7),
        ])];
    }
    while per.len() < 3 && r.chance(25) {
        let more = operand(r, on);
        if !per.contains(&more) {
            per.push(more);
        }
    }
    let measure = measure(r, on);
    let window_ms = window(r, unit_ms);
    let (warning, critical, clear) = levels(r, &measure, unit_ms);
    let counts = matches!(measure, Measure::Share(_) | Measure::Avg(_));
    let mut rule = Threshold {
        id: format!("t{n}"),
        on,
        condition: r.chance(35).then(|| condition(r, on, 2)),
        measure,
        per,
        window_ms,
        warning,
        critical,
        clear,
        cooldown_ms: cooldown(r, window_ms),
        min_count: (counts && r.chance(90)).then(|| r.between(1, 5) as usize),
        mode: r.pick(&["enforce", "enforce", "enforce", "enforce", "monitor", "off"]),
        merge_missing: reach == Reach::Beyond && r.chance(40),
        count_blocked: !blocks || r.chance(60),
        on_warning: None,
        on_critical: None,
    };
    if blocks && r.chance(80) {
        let ttl_ms = r.pick(&[0, 1, unit_ms, unit_ms * 5]);
        let block = Some(Block { list: r.pick(&["auto_a", "auto_b"]), ttl_ms, part: 0 });
        let at_warning = rule.critical.is_none() || (rule.warning.is_some() && r.chance(50));
        if at_warning { rule.on_warning = block } else { rule.on_critical = block }
    }
    rule
}

fn window(r: &mut Random, unit_ms: i64) -> i64 {
    match r.between(0, 3) {
        0 => unit_ms,
        1 => unit_ms * r.between(2, 6),
        2 => unit_ms * 3 + r.between(-3, 3),
        _ => unit_ms * r.between(5, 20),
    }
}

fn cooldown(r: &mut Random, window_ms: i64) -> Option<i64> {
    match r.between(0, 4) {
        0 | 1 => None,
        2 => Some(0),
        3 => Some(r.between(1, window_ms)),
        _ => Some(window_ms * 2),
    }
}

fn measure(r: &mut Random, on: &str) -> Measure {
    let times: &[Field] = match on {
        "end" => &[Field::Duration, Field::Ring, Field::Setup],
        "answer" => &[Field::Ring, Field::Setup],
        _ => &[],
    };
    loop {
        return match r.between(0, 6) {
            0 | 1 => Measure::Count,
            2 => Measure::Distinct(operand(r, on)),
            3 => Measure::Share(condition(r, on, 1)),
            4 if is_number(fields(on)[1]) => {
                let field = if r.chance(80) { Field::Callee } else { Field::Caller };
                Measure::Run(field, r.between(1, 4))
            }
            5 if !times.is_empty() => Measure::Sum(r.pick(times)),
            6 if !times.is_empty() => Measure::Avg(r.pick(times)),
            _ => continue,
        };
    }
}

fn levels(r: &mut Random, measure: &Measure, unit_ms: i64) -> (Option<Level>, Option<Level>, Option<Level>) {
    let unit = measure.unit();
    let (low, step) = match unit {
        Unit::Count => (r.between(1, 4), r.between(1, 4)),
        Unit::Ms => {
            let grain = unit_ms.max(1_000) / 4;
            let typical = if matches!(measure, Measure::Sum(_)) { r.between(2, 24) } else { r.between(1, 8) };
            (typical * grain, r.between(1, 12) * grain)
        }
        Unit::Share => (r.between(1, 7) * 125, r.between(1, 120)),
    };
    let up = |r: &mut Random| if r.chance(75) { Compare::AtLeast } else { Compare::More };
    let level = |compare, limit| Some(Level { compare, limit, unit });
    let warning = r.chance(85);
    let critical = !warning || r.chance(55);
    let lowest = if warning { low } else { low + step };
    let clear = r.chance(35).then(|| {
        let limit = (lowest - lowest * r.between(0, 2) / 4).max(1);
        let compare = if limit < lowest && r.chance(40) { Compare::AtMost } else { Compare::Less };
        Level { compare, limit, unit }
    });
    let warning = warning.then(|| level(up(r), low)).flatten();
    let critical = critical.then(|| level(up(r), low + step)).flatten();
    (warning, critical, clear)
}

fn concurrent(r: &mut Random, n: i64, unit_ms: i64) -> Threshold {
    let (warning, critical, clear) = levels(r, &Measure::Concurrent, unit_ms);
    Threshold {
        id: format!("c{n}"),
        on: "call",
        condition: r.chance(40).then(|| condition(r, "attempt", 1)),
        measure: Measure::Concurrent,
        per: vec![operand(r, "attempt")],
        window_ms: 0,
        warning,
        critical,
        clear,
        cooldown_ms: Some(r.pick(&[0, 1, unit_ms, unit_ms * 4])),
        min_count: None,
        mode: "enforce",
        merge_missing: false,
        count_blocked: true,
        on_warning: None,
        on_critical: None,
    }
}

fn condition(r: &mut Random, on: &str, depth: u32) -> Expr {
    if depth > 0 && r.chance(40) {
        let n = r.between(2, 3);
        let parts = (0..n).map(|_| condition(r, on, depth - 1)).collect();
        return match r.between(0, 2) {
            0 => Expr::All(parts),
            1 => Expr::Any(parts),
            _ => Expr::Not(Box::new(Expr::Any(parts))),
        };
    }
    let test = test(r, on);
    if r.chance(12) { Expr::Not(Box::new(test)) } else { test }
}

fn test(r: &mut Random, on: &str) -> Expr {
    let number = if is_number(fields(on)[1]) && r.chance(50) { Field::Callee } else { Field::Caller };
    let equality = if r.chance(65) { Compare::Equal } else { Compare::Unequal };
    let order = [Compare::Less, Compare::AtMost, Compare::More, Compare::AtLeast, Compare::Equal, Compare::Unequal];
    let word = |w: &str| Item::Word(w.to_owned());
    loop {
        return match r.between(0, 8) {
            0 if !["register", "request"].contains(&on) => {
                Expr::Is(Operand::Field(Field::Direction), equality, word(r.pick(&DIRECTIONS)))
            }
            1 if on == "end" => Expr::Flag(Field::Answered),
            2 if on == "end" => Expr::In {
                operand: Operand::Field(Field::Status),
                not: r.chance(30),
                items: vec![word(r.pick(&STATUSES)), word(r.pick(&STATUSES))],
            },
            3 if on == "end" => {
                let field = r.pick(&[Field::Duration, Field::Ring, Field::Setup]);
                Expr::Time(Operand::Field(field), r.pick(&order), r.pick(&[0, 500, 1_000, 2_000, 6_000]))
            }
            3 if on == "answer" => Expr::Time(Operand::Field(Field::Ring), r.pick(&order), 2_000),
            4 if on == "end" => Expr::Integer(Operand::Field(Field::SipCode), r.pick(&order), 400),
            4 if on == "register" => Expr::Flag(Field::AuthFailed),
            5 => Expr::In { operand: Operand::Field(number), not: r.chance(30), items: numbers(r, number) },
            6 => {
                let (field, pool) = (number, if number == Field::Callee { &CALLEES[..] } else { &CALLERS[..] });
                let number = r.pick(pool);
                if !number.starts_with('+') {
                    continue;
                }
                Expr::Is(Operand::Field(field), equality, word(number))
            }
            7 if r.chance(25) => Expr::Is(Operand::Field(Field::Customer), equality, Item::Text("acme".to_owned())),
            7 => Expr::Is(Operand::Field(Field::Trunk), equality, Item::Text(r.pick(&TRUNKS).to_owned())),
            8 => Expr::Integer(Operand::Len(number), r.pick(&order), r.between(3, 11)),
            _ => continue,
        };
    }
}

/// Patterns and ranges that take some of the numbers of the stream and leave others.
fn numbers(r: &mut Random, field: Field) -> Vec<Item> {
    let pattern = |p: &str| Item::Pattern(p.to_owned());
    let range = |a: &str, b: &str| Item::Range(a.to_owned(), b.to_owned());
    let all = if field == Field::Callee {
        vec![pattern("+46850*"), pattern("+4685000?2"), range("+46850003", "+46850007"), pattern("+46850?0?*")]
    } else {
        vec![pattern("+4670*"), pattern("+46700?01"), range("+46700001", "+46700002"), pattern("+2235550*")]
    };
    let first = r.between(0, 3) as usize;
    if r.chance(50) { vec![all[first].clone()] } else { vec![all[first].clone(), all[(first + 1) % 4].clone()] }
}

fn add_firewall(r: &mut Random, rules: &mut Rules, unit_ms: i64) {
    rules.lists = vec!["auto_a", "auto_b"];
    let place = |field, list| Expr::Listed(Operand::Field(field), list);
    let mut walls = vec![
        (place(Field::Caller, "auto_a"), "block"),
        (Expr::Any(vec![place(Field::Caller, "auto_b"), place(Field::Callee, "auto_b")]), "block"),
        (place(Field::Callee, "auto_a"), "divert"),
        (condition(r, "attempt", 1), r.pick(&["allow", "flag", "block", "divert"])),
        (Expr::All(vec![place(Field::Callee, "auto_b"), condition(r, "attempt", 1)]), r.pick(&["flag", "allow"])),
    ];
    let turn = (unit_ms + r.between(0, 4)) as usize % walls.len();
    walls.rotate_left(turn);
    walls.truncate(r.between(2, 5) as usize);
    for (n, (when, action)) in walls.into_iter().enumerate() {
        let mode = if r.chance(90) { "enforce" } else { "monitor" };
        rules.firewall.push(Firewall { id: format!("f{n}"), on: "attempt", when, action, mode });
    }
}

const CALLERS: [&str; 9] =
    ["+46700001", "+46700002", "+46700101", "+2235550001", "+2235550002", "100", "alice", "anonymous", "unavailable"];
const CALLEES: [&str; 12] = [
    "+46850000",
    "+46850001",
    "+46850002",
    "+46850003",
    "+46850005",
    "+46850007",
    "+46850012",
    "100",
    "101",
    "103",
    "bob",
    "+46850013",
];
const TRUNKS: [&str; 3] = ["t1", "t2", "trunk-3"];
const DIRECTIONS: [&str; 4] = ["inbound", "outbound", "internal", "unknown"];
const STATUSES: [&str; 7] = ["answered", "busy", "no_answer", "cancelled", "rejected", "failed", "unknown"];
const START_MS: i64 = 1_772_442_000_000;
/// Calls for help, so that nobody calls back before it did.
const IN_NEED: &str = "+46799999";

struct Stream {
    unit_ms: i64,
    windows: Vec<i64>,
    blocks: bool,
    calls: bool,
    requests: bool,
    in_order: bool,
}

impl Stream {
    fn events(&self, r: &mut Random) -> Vec<Event> {
        let n_events = r.between(30, 260);
        // How much of the pools this stream uses: one caller and one callee, or all of them.
        let part = |r: &mut Random, all: usize| if r.chance(60) { r.between(1, 3) } else { r.between(1, all as i64) };
        let (n_callers, n_callees) = (part(r, CALLERS.len()), r.between(1, CALLEES.len() as i64));
        let (callers, callees) = (&CALLERS[..n_callers as usize], &CALLEES[..n_callees as usize]);
        let kinds: &[&str] = match r.between(0, 4) {
            _ if self.calls => &["attempt", "attempt", "answer", "end", "end"],
            _ if self.blocks => &["cdr", "attempt", "attempt"],
            _ if self.requests && r.chance(75) => {
                &["register", "register", "register", "options", "message", "attempt"]
            }
            0 => &["attempt", "answer", "end"],
            1 => &["cdr", "attempt", "answer", "end", "register", "interim"],
            _ => &["cdr"],
        };
        let padding = if r.chance(12) { r.between(2_000, 9_000) as usize } else { 0 };
        let mut newest = START_MS + r.between(0, 999);
        let mut recent = vec![newest];
        let mut events: Vec<Event> = Vec::new();
        for n in 0..n_events {
            let time_ms = self.time(r, newest, &recent);
            newest = newest.max(time_ms);
            recent.push(time_ms);
            let kind = r.pick(kinds);
            let mut event = event(r, n, callers, callees, kind);
            if self.calls {
                self.follow(r, &mut event, &events);
            }
            if self.blocks && self.in_order && r.chance(5) {
                event.callee = Some(r.pick(&["112", "911", IN_NEED]).to_owned());
                event.direction = Some("inbound");
                if event.callee.as_deref() != Some(IN_NEED) {
                    event.caller = Some(IN_NEED.to_owned());
                }
            }
            event.time_ms = time_ms;
            event.time_text = time_text(r, time_ms);
            event.padding = padding;
            events.push(event);
        }
        events
    }

    /// Mostly a little later; often a tie, or at the edge of some window of an earlier event.
    fn time(&self, r: &mut Random, newest: i64, recent: &[i64]) -> i64 {
        let window = if self.windows.is_empty() { self.unit_ms } else { r.pick(&self.windows) };
        let tail = &recent[recent.len().saturating_sub(12)..];
        let edge = r.pick(tail) + window + r.between(-1, 1);
        match r.between(0, 19) {
            0..=3 => newest,
            4..=9 => newest + r.between(1, self.unit_ms),
            10 => newest + window + r.between(-1, 1),
            11 if r.chance(40) => newest + window * r.between(1, 3) + r.between(0, self.unit_ms),
            12..=14 => edge.max(newest),
            15 if !self.in_order => newest - window + r.between(-1, 1),
            16 if !self.in_order => newest - r.between(0, window * 2),
            17 if !self.in_order => r.pick(tail),
            18 if !self.in_order => newest - r.between(0, window),
            _ => newest + r.between(0, self.unit_ms / 2),
        }
    }

    /// An end ends a call that began, mostly; some attempts, answers and ends come twice or belong to no call.
    fn follow(&self, r: &mut Random, event: &mut Event, before: &[Event]) {
        let ended = |id: &Option<String>| before.iter().any(|e| e.kind() == "end" && e.call_id == *id);
        let begun: Vec<&Event> = before.iter().filter(|e| e.kind() == "attempt" && e.call_id.is_some()).collect();
        if begun.is_empty() || (event.kind() == "attempt" && !r.chance(10)) || (event.kind() == "end" && r.chance(8)) {
            return;
        }
        let call = r.pick(&begun);
        if event.kind() != "end" && ended(&call.call_id) {
            return;
        }
        let kind = event.kind;
        *event = call.clone();
        event.kind = kind;
    }
}

fn event(r: &mut Random, n: i64, callers: &[&str], callees: &[&str], kind: &'static str) -> Event {
    let number = |r: &mut Random, pool: &[&str]| match r.between(0, 29) {
        0 => None,
        1 => Some(String::new()),
        _ => Some(r.pick(pool).to_owned()),
    };
    let seconds = |r: &mut Random| match r.between(0, 9) {
        0 => None,
        1 | 2 => Some(Seconds(0)),
        3..=5 => Some(Seconds(r.between(0, 20) * 5_000)),
        6 => Some(Seconds(r.between(0, 50_000) * 10 + 5)),
        _ => Some(Seconds(r.between(0, 120_000))),
    };
    let whole_call = kind == "cdr" && r.chance(20);
    Event {
        kind: (!whole_call).then_some(kind),
        customer: r.pick(&[None, None, None, None, None, Some("acme"), Some("acme"), Some("default"), Some("")]),
        call_id: r.chance(93).then(|| format!("c{n}@sbc")),
        caller: number(r, callers),
        callee: number(r, callees),
        trunk: r.chance(92).then(|| r.pick(&TRUNKS)),
        account: r.chance(80).then(|| r.pick(&["pbx-1", "pbx-2", ""])),
        source_ip: r.chance(90).then(|| r.pick(&["192.0.2.1", "192.0.2.2", "2001:db8::5"])),
        domain: r.chance(70).then_some("example.net"),
        direction: r.chance(85).then(|| r.pick(&DIRECTIONS)),
        status: r.chance(90).then(|| if r.chance(55) { "answered" } else { r.pick(&STATUSES) }),
        sip_code: r.chance(70).then(|| r.pick(&[200, 404, 486, 503])),
        auth_failed: r.chance(60).then(|| r.chance(70)),
        duration: seconds(r),
        ring: seconds(r),
        setup: seconds(r),
        ..Event::default()
    }
}

fn time_text(r: &mut Random, ms: i64) -> String {
    match r.between(0, 9) {
        0 => format!("{}{:03}", ms, r.between(0, 999)),
        1 if ms % 1_000 == 0 => (ms / 1_000).to_string(),
        2 => rfc3339(ms, 0, &format!(".{:03}Z", ms % 1_000)),
        3 => rfc3339(ms, 120, &format!(".{:03}{:03}+02:00", ms % 1_000, r.between(0, 999))),
        4 if ms % 1_000 == 0 => rfc3339(ms, -330, "-05:30"),
        _ => ms.to_string(),
    }
}

fn rfc3339(ms: i64, offset_minutes: i64, tail: &str) -> String {
    let local = jiff::Timestamp::from_millisecond(ms + offset_minutes * 60_000).expect("a time of this century");
    format!("\"{}{tail}\"", local.strftime("%Y-%m-%dT%H:%M:%S"))
}
