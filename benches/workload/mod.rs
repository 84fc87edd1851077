//! The calls and rules the benches share: in the manner of workload W1, from a fixed seed, the same in every run.

// Each bench is a program of its own and uses its part.
#![allow(dead_code)]

use std::fmt::Write;
use std::sync::Arc;

use ringfence::clock::Timestamp;
use ringfence::event::{Batch, CallEvent, Direction, Kind, Number, Party, Status};
use ringfence::policy::{LoadOptions, Policy, RuleSource, load};

/// Event time of the first call, ms.
pub(crate) const START_MS: i64 = 1_767_225_600_000;
/// Calls an hour of event time, as in W1.
pub(crate) const CALLS_PER_HOUR: u64 = 5_000_000;
const CALLERS: u64 = 500_000;
const CALLEES: u64 = 1_000_000;
const BUSY_CALLEES: u64 = 1_000;
const TRUNKS: u64 = 50;
const LISTED: u64 = 1_000_000;
/// Callers that are on the block list: one in so many.
const LISTED_EVERY: u64 = 50;

/// A block list of a million numbers, a firewall rule that reads it, and four thresholds.
const RULES: &str = r#"
ringfence = 1
default_action = "allow"
max_keys = 2000000

[lists]
blocked = { type = "number", file = "lists/blocked.csv" }

[[firewall]]
id = "fw-blocked"
when = 'caller in $blocked'
action = "block"

[[threshold]]
id = "ips-rate"
on = "attempt"
measure = "count"
per = ["caller"]
window = "1m"
warning = ">= 30"

[[threshold]]
id = "ips-fan-out"
on = "attempt"
measure = "distinct(callee)"
per = ["caller"]
window = "10m"
warning = ">= 20"

[[threshold]]
id = "ips-minutes"
on = "end"
measure = "sum(duration)"
per = ["trunk"]
window = "1h"
warning = ">= 100h"

[[threshold]]
id = "ips-short-calls"
on = "end"
where = 'answered and duration < 3s'
measure = "count"
per = ["callee"]
window = "5m"
warning = ">= 10"
"#;

/// Numbers that look random and are the same in every run.
pub(crate) struct Seeded(pub(crate) u64);

impl Seeded {
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    /// In `[0, 1)`.
    fn unit(&mut self) -> f64 {
        self.below(1 << 30) as f64 / (1u64 << 30) as f64
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// Whether figures are wanted (`cargo bench`), or only that everything runs (`cargo test --benches`).
pub(crate) fn is_measuring() -> bool {
    std::env::args().any(|a| a == "--bench")
}

/// The rules above, compiled.
pub(crate) fn rules() -> Arc<Policy> {
    let n_listed = if is_measuring() { LISTED } else { LISTED / 100 };
    let mut list = String::from("value\n");
    for n in 0..n_listed {
        // The first are callers that do call; the others never do.
        let listed = if n < CALLERS / LISTED_EVERY { caller(n * LISTED_EVERY) } else { 990_000_000_000 + n };
        writeln!(list, "+{listed}").expect("a text takes all");
    }
    policy([("ruleset.toml", RULES.to_owned()), ("lists/blocked.csv", list)])
}

/// The policy of these files, which are right.
pub(crate) fn policy<const N: usize>(files: [(&str, String); N]) -> Arc<Policy> {
    let loaded = load(&RuleSource::memory(files), LoadOptions::default());
    Arc::new(loaded.policy.unwrap_or_else(|| panic!("{:?}", loaded.problems)))
}

fn caller(i: u64) -> u64 {
    const COUNTRIES: [u64; 8] = [1212, 1305, 4420, 4670, 4930, 3312, 8190, 2348];
    COUNTRIES[(i % 8) as usize] * 10_000_000 + i * 7919 % 10_000_000
}

fn callee(i: u64) -> u64 {
    12_100_000_000 + i * 6151 % 10_000_000
}

/// The number with these digits.
pub(crate) fn number(digits: u64) -> Number {
    Number::e164(digits.to_string().as_bytes()).expect("5 to 15 digits")
}

/// One finished call.
pub(crate) struct Call {
    n: u64,
    time_ms: i64,
    caller: u64,
    callee: u64,
    is_inbound: bool,
    status: Status,
    duration_ms: u32,
    trunk: u64,
    source_ip: [u64; 2],
}

impl Call {
    /// The n-th call. Callers are log-uniform (Zipf, s = 1); three in ten calls go to a busy callee.
    pub(crate) fn draw(r: &mut Seeded, n: u64) -> Call {
        let callee_i = if r.chance(30) { r.below(BUSY_CALLEES) } else { r.below(CALLEES) };
        let status = match r.below(100) {
            0..60 => Status::Answered,
            60..80 => Status::NoAnswer,
            80..95 => Status::Busy,
            _ => Status::Failed,
        };
        let talk = if r.chance(15) { r.unit() * 3.0 } else { 600f64.powf(r.unit()) };
        Call {
            n,
            time_ms: START_MS + (n * 3_600_000 / CALLS_PER_HOUR + r.below(3)) as i64,
            caller: caller((CALLERS as f64).powf(r.unit()) as u64 - 1),
            callee: callee(callee_i),
            is_inbound: r.chance(70),
            status,
            duration_ms: if status == Status::Answered { (talk * 1000.0) as u32 } else { 0 },
            trunk: r.below(TRUNKS),
            source_ip: [r.below(256), r.below(256)],
        }
    }

    /// As a decoder leaves it.
    pub(crate) fn add_to(&self, batch: &mut Batch) {
        let party = |digits| Party { number: number(digits), ..Party::default() };
        let event = CallEvent {
            time: Timestamp(self.time_ms),
            kind: Kind::Cdr,
            direction: if self.is_inbound { Direction::Inbound } else { Direction::Outbound },
            status: self.status,
            duration_ms: self.duration_ms,
            caller: party(self.caller),
            callee: party(self.callee),
            trunk: batch.keep(format!("trk-{:02}", self.trunk).as_bytes()),
            ..CallEvent::BLANK
        };
        batch.events.push(event);
    }

    /// As a gateway writes it: a line of NDJSON with this running number, `cdr` or `attempt`.
    pub(crate) fn write(&self, out: &mut String, seq: u64, kind: &str) {
        let Call { n, time_ms, caller, callee, trunk, source_ip: [a, b], .. } = self;
        let direction = if self.is_inbound { "inbound" } else { "outbound" };
        let written = writeln!(
            out,
            "{{\"seq\":{seq},\"time\":{time_ms},\"kind\":\"{kind}\",\"call_id\":\"{:016x}-{n}@sbc{:02}.example.net\",\
             \"direction\":\"{direction}\",\"caller\":\"+{caller}\",\"callee\":\"+{callee}\",\"trunk\":\"trk-{trunk:02}\",\
             \"source_ip\":\"10.{trunk}.{a}.{b}\",\"status\":\"{}\",\"duration\":{}.{:03}}}",
            n.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            trunk % 8,
            self.status.as_str(),
            self.duration_ms / 1000,
            self.duration_ms % 1000,
        );
        written.expect("a text takes all");
    }
}
