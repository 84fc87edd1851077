//! What does a rule cost? `parse and compile` once at load, `execute` once an event and rule.

use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use jiff::tz::TimeZone;
use ringfence::calendar::LocalClock;
use ringfence::clock::Timestamp;
use ringfence::event::{Batch, CallEvent, Direction, Names, Number, Party, Status};
use ringfence::policy::expression::{Scope, compile_condition};
use ringfence::policy::origin::Origin;
use ringfence::policy::{DynamicLists, On, Policy, Predicate, View};

const CONDITIONS: &[(&str, &str)] = &[
    ("enums and a duration", "direction == inbound and not answered and ring < 6s"),
    ("country", "caller.country in {SE, NO, DK, FI}"),
    ("number patterns", "caller in {+4684000000..+4684009999, +4610123*, +1???976*, +46701234567}"),
    ("text", "trunk in {\"pstn-1\", \"pstn-2\"}"),
    (
        "contains one of six",
        "user_agent contains {\"friendly-scanner\", \"sipvicious\", \"sipcli\", \"sipsak\", \"pplsip\", \"VaxSIP\"}",
    ),
    ("local time", "time in {22:00..06:00} and weekday in {Mon..Fri}"),
];

fn compile(text: &str, clock: &Arc<LocalClock>) -> Predicate {
    let scope = Scope { on: Some(On::End), on_place: None, lists: &[], macros: &[], calendars: &[], clock };
    let mut problems = Vec::new();
    compile_condition(text, &Origin::at("bench", 0), &scope, &mut problems).expect("the conditions are right")
}

fn batch() -> Batch {
    let mut batch = Batch::default();
    let number = |digits: &[u8]| Party { number: Number::e164(digits).expect("digits"), ..Party::default() };
    let event = CallEvent {
        time: Timestamp(1_772_442_000_000),
        direction: Direction::Inbound,
        status: Status::NoAnswer,
        ring_ms: 2000,
        caller: number(b"46709876543"),
        callee: number(b"46840000100"),
        trunk: batch.keep(b"pstn-2"),
        user_agent: batch.keep(b"Asterisk PBX 20.5.0"),
        ..CallEvent::BLANK
    };
    batch.events.push(event);
    batch
}

fn conditions(c: &mut Criterion) {
    let zone = TimeZone::get("Europe/Stockholm").unwrap_or(TimeZone::UTC);
    let clock = Arc::new(LocalClock::new(zone.clone()));
    let (policy, batch, names, dynamic) = (Policy::empty(zone), batch(), Names::new(), DynamicLists::new(0));
    let event = batch.events.first().expect("one event");
    let view = View { event, batch: &batch, policy: &policy, names: &names, dynamic: &dynamic };
    let mut load = c.benchmark_group("parse and compile");
    for (name, text) in CONDITIONS {
        load.bench_function(*name, |b| b.iter(|| compile(text, &clock)));
    }
    load.finish();
    let mut execute = c.benchmark_group("execute");
    for (name, text) in CONDITIONS {
        let predicate = compile(text, &clock);
        execute.bench_function(*name, |b| b.iter(|| predicate.eval(std::hint::black_box(&view))));
    }
    execute.finish();
}

criterion_group!(benches, conditions);
criterion_main!(benches);
