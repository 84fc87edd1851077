//! What the server answers: acknowledgements, verdicts, rejects; counted, timed, and told to whoever waits.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use memchr::{memchr, memmem};

use crate::clock::Clock;

/// Kinds of answers told apart by name. A server with more than this is not ours.
const NAMES_MAX: usize = 64;

/// Counts over all connections of a run.
#[derive(Debug)]
pub(super) struct Tally {
    pub verdicts: BTreeMap<String, u64>,
    pub rejects: BTreeMap<String, u64>,
    pub late: u64,
    /// Nanoseconds from when an event was to be sent to its verdict.
    pub latency_ns: Histogram<u64>,
    /// Why the server closed, if it said so.
    pub said: Option<String>,
}

impl Default for Tally {
    fn default() -> Tally {
        // A microsecond to a minute, three digits.
        let latency_ns = Histogram::new_with_bounds(1_000, 60_000_000_000, 3).expect("the bounds are constants");
        Tally { verdicts: BTreeMap::new(), rejects: BTreeMap::new(), late: 0, latency_ns, said: None }
    }
}

impl Tally {
    pub(super) fn add(&mut self, other: &Tally) {
        for (name, n) in &other.verdicts {
            *self.verdicts.entry(name.clone()).or_default() += n;
        }
        for (name, n) in &other.rejects {
            *self.rejects.entry(name.clone()).or_default() += n;
        }
        self.late += other.late;
        self.latency_ns.saturating_add(&other.latency_ns);
        self.said = self.said.take().or_else(|| other.said.clone());
    }

    /// Adds `HdrHistogram`s of the same bounds cannot fail; `record` past the bounds saturates.
    pub(super) fn record(&mut self, waited: Duration) {
        self.latency_ns.saturating_record(u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX));
    }
}

trait SaturatingAdd {
    fn saturating_add(&mut self, other: &Self);
}

impl SaturatingAdd for Histogram<u64> {
    fn saturating_add(&mut self, other: &Self) {
        for step in other.iter_recorded() {
            self.saturating_record_n(step.value_iterated_to(), step.count_at_value());
        }
    }
}

/// One line of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reply<'a> {
    Ack(u64),
    Verdict {
        action: &'a str,
        late: bool,
    },
    Reject {
        reason: &'a str,
    },
    /// Anything else, for the error message.
    Other(&'a str),
}

/// Reads one line. Verdicts are the many, so they are only searched, not parsed as JSON.
pub(super) fn parse(line: &[u8]) -> Reply<'_> {
    if let Some(rest) = line.strip_prefix(b"{\"ack\":") {
        let digits = rest.iter().take_while(|b| b.is_ascii_digit());
        return Reply::Ack(digits.fold(0u64, |n, d| n.saturating_mul(10).saturating_add(u64::from(d - b'0'))));
    }
    if line.starts_with(b"{\"reject\":") {
        return Reply::Reject { reason: word_of(line, b"\"reason\":\"").unwrap_or("unknown") };
    }
    match word_of(line, b"\"action\":\"") {
        Some(action) => Reply::Verdict { action, late: memmem::find(line, b"\"late\":true").is_some() },
        None => Reply::Other(std::str::from_utf8(line).unwrap_or("").trim()),
    }
}

fn word_of<'a>(line: &'a [u8], key: &[u8]) -> Option<&'a str> {
    let from = memmem::find(line, key)? + key.len();
    let rest = line.get(from..)?;
    std::str::from_utf8(rest.get(..memchr(b'"', rest)?)?).ok()
}

impl Tally {
    /// Counts a reply; true where it answers one event.
    pub(super) fn count(&mut self, reply: Reply<'_>) -> bool {
        let (table, name) = match reply {
            Reply::Verdict { action, late } => {
                self.late += u64::from(late);
                (&mut self.verdicts, action)
            }
            Reply::Reject { reason } => (&mut self.rejects, reason),
            Reply::Ack(_) => return false,
            Reply::Other(text) => {
                if self.said.is_none() {
                    self.said = Some(text.chars().take(200).collect());
                }
                return false;
            }
        };
        if let Some(n) = table.get_mut(name) {
            *n += 1;
        } else if table.len() < NAMES_MAX {
            table.insert(name.to_owned(), 1);
        }
        true
    }
}

/// When each event of a connection was meant to be sent: the k-th at `start + k * interval`. Measuring from then,
/// and not from when it was written, is what keeps a stalled sender from hiding its own stall.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    pub start: Instant,
    pub interval_ns: f64,
}

impl Schedule {
    pub(super) fn due(&self, event: u64) -> Instant {
        self.start + Duration::from_nanos((event as f64 * self.interval_ns) as u64)
    }
}

/// How far the replies of one connection are; the writer waits on it.
#[derive(Debug, Default)]
pub(super) struct Progress {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    pub acked: u64,
    /// Events that got a verdict or a reject.
    pub answered: u64,
    /// The server closed, or the connection broke.
    pub ended: bool,
}

impl Progress {
    pub(super) fn state(&self) -> State {
        *self.lock()
    }

    /// Waits until `enough`, the end, or the time is over; says how it stands then.
    pub(super) fn wait(&self, time: Duration, enough: impl Fn(&State) -> bool) -> State {
        let guard = self.lock();
        let waited = self.changed.wait_timeout_while(guard, time, |s| !s.ended && !enough(s));
        *waited.unwrap_or_else(|e| e.into_inner()).0
    }

    fn update(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Reads replies until the server closes. `lines` may hold what came together with the welcome.
    pub(super) fn follow(&self, reader: &mut dyn Read, mut lines: Lines, schedule: Option<Schedule>) -> Tally {
        let mut tally = Tally::default();
        let mut state = State::default();
        loop {
            let arrived = Clock.monotonic();
            lines.take(|line| {
                let reply = parse(line);
                if let Reply::Ack(n) = reply {
                    state.acked = state.acked.max(n);
                }
                if tally.count(reply) {
                    if let Some(schedule) = &schedule {
                        tally.record(arrived.saturating_duration_since(schedule.due(state.answered)));
                    }
                    state.answered += 1;
                }
            });
            self.update(|s| *s = state);
            if !lines.read(reader) {
                self.update(|s| s.ended = true);
                return tally;
            }
        }
    }
}

/// Lines out of a stream, the half one kept for later.
#[derive(Debug)]
pub(super) struct Lines {
    buffer: Vec<u8>,
    filled: usize,
}

/// A reply longer than this is none of ours.
const REPLY_BYTES_MAX: usize = 1 << 20;

impl Default for Lines {
    fn default() -> Lines {
        Lines { buffer: vec![0; 64 * 1024], filled: 0 }
    }
}

impl Lines {
    /// Hands out the whole lines.
    pub(super) fn take(&mut self, mut each: impl FnMut(&[u8])) {
        let filled = self.buffer.get(..self.filled).unwrap_or(&[]);
        let mut at = 0;
        while let Some(n) = filled.get(at..).and_then(|rest| memchr(b'\n', rest)) {
            each(filled.get(at..at + n).unwrap_or(&[]));
            at += n + 1;
        }
        self.buffer.copy_within(at..self.filled, 0);
        self.filled -= at;
    }

    /// The first whole line, if there is one.
    pub(super) fn take_one(&mut self) -> Option<Vec<u8>> {
        let filled = self.buffer.get(..self.filled)?;
        let end = memchr(b'\n', filled)?;
        let line = filled.get(..end)?.to_vec();
        self.buffer.copy_within(end + 1..self.filled, 0);
        self.filled -= end + 1;
        Some(line)
    }

    /// Reads more; false at the end of the stream, however it came.
    pub(super) fn read(&mut self, reader: &mut dyn Read) -> bool {
        if self.filled == self.buffer.len() {
            if self.filled >= REPLY_BYTES_MAX {
                return false;
            }
            self.buffer.resize(self.filled * 2, 0);
        }
        loop {
            return match reader.read(self.buffer.get_mut(self.filled..).unwrap_or(&mut [])) {
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Ok(n) if n > 0 => {
                    self.filled += n;
                    true
                }
                _ => false,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_told_apart() {
        assert_eq!(parse(b"{\"ack\":42}"), Reply::Ack(42));
        assert_eq!(parse(b"{\"reject\":{\"seq\":7,\"reason\":\"no_time\"}}"), Reply::Reject { reason: "no_time" });
        let verdict =
            b"{\"seq\":1,\"call_id\":\"a\",\"action\":\"block\",\"rule\":\"r\",\"cause\":\"list\",\"sip\":603}";
        assert_eq!(parse(verdict), Reply::Verdict { action: "block", late: false });
        assert_eq!(parse(b"{\"action\":\"allow\",\"late\":true}"), Reply::Verdict { action: "allow", late: true });
        assert_eq!(parse(b"{\"error\":\"token\"}"), Reply::Other("{\"error\":\"token\"}"));
    }

    #[test]
    fn replies_cut_anywhere_are_counted_once() {
        let bytes = b"{\"action\":\"allow\"}\n{\"ack\":2}\n{\"reject\":{\"seq\":3,\"reason\":\"bad_time\"}}\n{\"action\":\"block\"}\n";
        for step in 1..bytes.len() {
            struct Drip<'a>(&'a [u8], usize);
            impl Read for Drip<'_> {
                fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
                    let n = self.1.min(self.0.len());
                    let (now, later) = self.0.split_at(n);
                    buf[..n].copy_from_slice(now);
                    self.0 = later;
                    Ok(n)
                }
            }
            let progress = Progress::default();
            let tally = progress.follow(&mut Drip(bytes, step), Lines::default(), None);
            assert_eq!(progress.state(), State { acked: 2, answered: 3, ended: true });
            assert_eq!(tally.verdicts.into_iter().collect::<Vec<_>>(), [("allow".into(), 1), ("block".into(), 1)]);
            assert_eq!(tally.rejects.into_iter().collect::<Vec<_>>(), [("bad_time".into(), 1)]);
        }
    }
}
