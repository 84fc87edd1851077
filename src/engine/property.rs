//! What holds of saved state whatever its bytes say, for tests and fuzzing.

use std::sync::{Arc, OnceLock};

use super::saved::frames::{Frames, Kind, take_frame};
use super::{Engine, LaneOptions, SaveProgress, Settings};
use crate::clock::Timestamp;
use crate::codec::Take;
use crate::event::{Batch, CallEvent, Kind as EventKind, Names, Number, Party};
use crate::policy::{LoadOptions, Policy, RuleSource, load};

const RULES: &str = r#"
ringfence = 1
default_action = "allow"
lists = { dyn = { type = "number", dynamic = true, max_entries = 2 } }
firewall = [
    { id = "dyn", when = "caller in $dyn", action = "block" },
    { id = "hit", when = "callee in {+4681*}", action = "allow", track = ["alert:warning"] },
]
threshold = [
    { id = "count", on = "attempt", measure = "count", per = ["caller"], window = "1m", warning = ">= 9", on_warning = { block = { list = "dyn", ttl = "1m" } } },
    { id = "distinct", on = "attempt", measure = "distinct(callee)", per = ["trunk", "caller"], window = "1m", warning = ">= 60" },
    { id = "sum", on = "end", measure = "sum(duration)", per = ["caller"], window = "1h", warning = ">= 1h" },
    { id = "avg", on = "end", measure = "avg(ring)", per = ["caller"], window = "1h", warning = ">= 1m" },
    { id = "run", on = "attempt", measure = "run(callee, 1)", per = ["caller"], window = "1h", warning = ">= 5" },
    { id = "up", on = "call", measure = "concurrent", per = ["caller"], warning = ">= 2" },
]
"#;

fn policy() -> Arc<Policy> {
    static POLICY: OnceLock<Arc<Policy>> = OnceLock::new();
    let loaded = || load(&RuleSource::memory([("ruleset.toml", RULES.to_owned())]), LoadOptions::default());
    let compiled = || Arc::new(loaded().policy.expect("the rules above are right"));
    Arc::clone(POLICY.get_or_init(compiled))
}

fn engine() -> Engine {
    let settings = Settings { n_threads: 1, hash_seed: 0, emergency_callback_ms: 60_000 };
    Engine::new(policy(), Arc::new(Names::new()), settings, Box::new(|_| {}))
}

fn play(engine: &Engine, n: u64) {
    let mut lane = engine.lane(LaneOptions { merge: true, dedup: true, verdict: true, both_legs: false });
    for i in 0..n {
        let mut batch = Batch::default();
        for kind in [EventKind::Attempt, EventKind::Attempt, EventKind::Answer, EventKind::End] {
            let party = |digits: u64| {
                let number = Number::e164(digits.to_string().as_bytes()).unwrap_or_default();
                Party { number, ..Party::default() }
            };
            let (call_id, trunk) = (batch.keep(format!("call-{}", i / 3).as_bytes()), batch.keep(b"a-long-trunk"));
            let (caller, callee) = (party(46_700_000 + i % 3), party(46_810_000 + i));
            let time = Timestamp(i as i64 * 1_000);
            let (duration_ms, kind) = (7_000, kind);
            batch.events.push(CallEvent {
                time,
                kind,
                call_id,
                trunk,
                caller,
                callee,
                duration_ms,
                ..CallEvent::BLANK
            });
        }
        lane.ticket().submit(batch, None);
    }
    engine.tick(Timestamp(n as i64 * 2_000));
}

fn saved(engine: &Engine) -> Vec<u8> {
    let mut out = Vec::new();
    if let Some(mut save) = engine.mark() {
        while save.piece(&mut out) == SaveProgress::More {}
    }
    out
}

/// Saved state as [`whatever_was_saved_is_read`] takes it: without the header, the end and checksums, which fuzzing would
/// hardly guess.
pub fn some_saved() -> Vec<u8> {
    let engine = engine();
    play(&engine, 90);
    let bytes = saved(&engine);
    let (mut rest, mut frames) = (Take::new(&bytes), Vec::new());
    while let Some(Ok((kind, mut payload))) = take_frame(&mut rest) {
        let payload = payload.exact(payload.remaining()).unwrap_or_default();
        if kind != Kind::Header && kind != Kind::End && payload.len() > 9 {
            frames.push(kind as u8);
            frames.extend_from_slice(&(payload.len() as u16).to_le_bytes());
            frames.extend_from_slice(payload);
        }
    }
    frames
}

/// Arbitrary frames, `[kind u8][length u16][payload]`, between a header and an end that are right: they are refused, or
/// the engine goes on from them and can be saved again.
pub fn whatever_was_saved_is_read(bytes: &[u8]) {
    let engine = engine();
    let mut out = Vec::new();
    if let Some(mut save) = engine.mark() {
        save.piece(&mut out);
    }
    let mut frames = Frames::new(&mut out, 1, usize::MAX / 2);
    let mut rest = Take::new(bytes);
    while let (Ok(kind), Ok(length)) = (rest.u8(), rest.u16()) {
        let length = usize::from(length).min(rest.remaining());
        let (Some(kind), Ok(payload)) = (Kind::of(kind), rest.exact(length)) else { break };
        frames.frame(kind, |put, _| put.0.extend_from_slice(payload));
    }
    let n = frames.n;
    frames.frame(Kind::End, |put, _| put.u64(n));
    let engine = self::engine();
    if engine.restore([Ok(&out)]).is_ok() {
        play(&engine, 40);
        let again = saved(&engine);
        assert!(self::engine().restore([Ok(&again)]).is_ok(), "an engine that went on saves what cannot be read");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_corpus_of_saved_state_holds() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/saved");
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(folder.join("engine"), some_saved()).unwrap();
        }
        let files: Vec<Vec<u8>> =
            std::fs::read_dir(&folder).unwrap().map(|entry| std::fs::read(entry.unwrap().path()).unwrap()).collect();
        assert!(!files.is_empty());
        files.iter().for_each(|bytes| whatever_was_saved_is_read(bytes));
    }

    #[test]
    fn what_an_engine_saved_is_read_and_none_of_its_bytes_makes_it_panic() {
        let bytes = some_saved();
        whatever_was_saved_is_read(&bytes);
        for at in (0..bytes.len()).step_by((bytes.len() / 300).max(1)) {
            for value in [0, 1, 255, bytes[at] ^ 16] {
                let mut changed = bytes.clone();
                changed[at] = value;
                whatever_was_saved_is_read(&changed);
            }
        }
    }
}
