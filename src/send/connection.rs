//! One connection's work: greet, send, keep what is not acknowledged, and send it again after a break.

use std::collections::VecDeque;
use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use memchr::memchr;

use super::InputFormat;
use super::input::{Input, count_packets, first_packet};
use super::link::{CONNECT_TIMEOUT, Ends, Link, TlsSetup};
use super::numbering::{Numbering, count_events, seq_of};
use super::replies::{Lines, Progress, Reply, Schedule, State, Tally, parse};
use crate::clock::Clock;

/// Bytes sent and not yet acknowledged that a connection keeps to send again.
const UNACKED_BYTES_MAX: usize = 64 << 20;
/// First and longest pause between two attempts to connect.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(5)];
/// How long the server may leave everything unanswered.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// How long the last acknowledgement may take before the end of the stream asks for it.
const LAST_ACK: Duration = Duration::from_millis(300);

/// What the server is to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ReplyMode {
    None,
    Ack,
    Verdict,
}

impl ReplyMode {
    fn as_str(self) -> &'static str {
        match self {
            ReplyMode::None => "none",
            ReplyMode::Ack => "ack",
            ReplyMode::Verdict => "verdict",
        }
    }
}

/// What all connections of a run have in common.
pub(super) struct Options {
    pub to: String,
    pub tls: Option<TlsSetup>,
    /// Anything but ndjson is sent as it is, and nothing comes back.
    pub format: InputFormat,
    pub reply: ReplyMode,
    pub token: Option<String>,
    /// Number on from what the server holds, instead of leaving it out.
    pub number_on: bool,
    /// Nanoseconds between two events of one connection; `None`: as fast as it goes.
    pub interval_ns: Option<f64>,
    /// Events under way at most; `None`: no limit but the sockets'.
    pub in_flight: Option<u64>,
    pub retries: u32,
}

impl Options {
    fn is_ndjson(&self) -> bool {
        self.format == InputFormat::Ndjson
    }

    /// The first event of a block, or packet: its length, and whether it is one and no empty line.
    fn first(&self, block: &[u8]) -> (usize, bool) {
        let length = match self.format {
            InputFormat::Hep => first_packet(block),
            InputFormat::Ndjson | InputFormat::Rows => memchr(b'\n', block).map_or(block.len(), |n| n + 1),
        };
        (length, block.get(..length).is_some_and(|event| !event.trim_ascii().is_empty()))
    }

    fn count(&self, block: &[u8]) -> u64 {
        match self.format {
            InputFormat::Hep => count_packets(block),
            InputFormat::Ndjson | InputFormat::Rows => count_events(block),
        }
    }
}

/// How a connection came out.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub sent: u64,
    /// Held by the server from before.
    pub skipped: u64,
    pub reconnects: u32,
    pub tally: Tally,
}

/// One connection over its life, breaks included.
pub(super) struct Connection<'a> {
    options: &'a Options,
    input: &'a Input,
    which: usize,
    gateway: String,
    numbering: Option<Numbering>,
    /// The server holds what is numbered up to this.
    held: u64,
    last_seq: u64,
    pending: VecDeque<Pending>,
    pending_bytes: usize,
    spare: Vec<Vec<u8>>,
    input_ended: bool,
    pacing: Option<Pacing>,
    outcome: Outcome,
}

/// A block that was sent and may have to be sent again.
struct Pending {
    bytes: Vec<u8>,
    last_seq: u64,
    /// Events of this session up to its end.
    events: u64,
}

/// When events are due.
#[derive(Clone, Copy)]
struct Pacing {
    schedule: Schedule,
    sent: u64,
}

/// How a session ended.
enum End {
    Done,
    Lost(anyhow::Error),
}

impl<'a> Connection<'a> {
    pub(super) fn new(options: &'a Options, input: &'a Input, which: usize, gateway: String) -> Connection<'a> {
        Connection {
            options,
            input,
            which,
            gateway,
            numbering: None,
            held: 0,
            last_seq: 0,
            pending: VecDeque::new(),
            pending_bytes: 0,
            spare: Vec::new(),
            input_ended: false,
            pacing: None,
            outcome: Outcome::default(),
        }
    }

    /// Sends everything; comes back when the server has answered for it, or nothing more can be done.
    pub(super) fn run(mut self) -> Result<Outcome> {
        let mut failures = 0;
        loop {
            let held = self.held;
            let why = match self.session() {
                Ok(End::Done) => return Ok(self.outcome),
                Ok(End::Lost(why)) => why,
                // Refused, or nobody there: only worth another attempt where the network was in the way.
                Err(e) if e.downcast_ref::<std::io::Error>().is_some() => e,
                Err(e) => return Err(e),
            };
            if self.held > held {
                failures = 0;
            }
            let lossless =
                self.outcome.sent == 0 || (self.options.is_ndjson() && self.options.reply != ReplyMode::None);
            if !lossless {
                let sent = self.outcome.sent;
                return Err(why.context(format!("lost after {sent} events, with no word on how many arrived")));
            }
            if failures >= self.options.retries {
                return Err(why.context(format!("gave up after {} attempts", failures + 1)));
            }
            std::thread::sleep(PAUSES[0].saturating_mul(1 << failures.min(10)).min(PAUSES[1]));
            failures += 1;
            self.outcome.reconnects += u32::from(self.outcome.sent > 0);
        }
    }

    fn session(&mut self) -> Result<End> {
        let mut link = Link::connect(&self.options.to, self.options.tls.as_ref())?;
        let mut lines = Lines::default();
        if self.options.is_ndjson() {
            let last_seq = self.greet(&mut link, &mut lines)?;
            self.begin(last_seq);
        }
        if self.pacing.is_none() {
            let start = Clock.monotonic();
            let interval = self.options.interval_ns;
            self.pacing = interval.map(|interval_ns| Pacing { schedule: Schedule { start, interval_ns }, sent: 0 });
        }
        if self.options.in_flight.is_some() && self.options.reply == ReplyMode::Verdict {
            return self.closed_loop(&mut link, lines);
        }
        self.open_loop(link, lines)
    }

    /// Hello and welcome; gives the last number the server holds of this gateway.
    fn greet(&self, link: &mut Link, lines: &mut Lines) -> Result<u64> {
        let mut hello = serde_json::json!({"gateway": self.gateway, "reply": self.options.reply.as_str()});
        if let Some(token) = &self.options.token {
            hello["token"] = token.as_str().into();
        }
        link.ends.read_timeout(Some(CONNECT_TIMEOUT))?;
        let hello = format!("{}\n", serde_json::json!({ "hello": hello }));
        link.writer.write_all(hello.as_bytes()).context("say hello")?;
        let line = loop {
            if let Some(line) = lines.take_one() {
                break line;
            }
            if !lines.read(&mut link.reader) {
                bail!("{} closed the connection, or said nothing, instead of a welcome", self.options.to);
            }
        };
        link.ends.read_timeout(None)?;
        let answer: serde_json::Value = serde_json::from_slice(&line).unwrap_or_default();
        match answer.get("welcome") {
            Some(welcome) => Ok(welcome.get("last_seq").and_then(serde_json::Value::as_u64).unwrap_or(0)),
            None => bail!("{} did not welcome us: {}", self.options.to, String::from_utf8_lossy(&line).trim()),
        }
    }

    /// Sets out from what the server holds.
    fn begin(&mut self, last_seq: u64) {
        if self.options.reply == ReplyMode::None {
            return;
        }
        if self.numbering.is_some() {
            self.held = self.held.max(last_seq);
            while self.pending.front().is_some_and(|p| p.last_seq <= last_seq) {
                self.pop_pending();
            }
            return;
        }
        let first = if self.options.number_on { last_seq.saturating_add(1) } else { 1 };
        self.held = last_seq;
        self.numbering = Some(Numbering::starting_at(first));
        if last_seq > 0 && !self.options.number_on {
            eprintln!("{} holds {last_seq} events of gateway `{}`: going on after them", self.options.to, self.gateway);
        }
    }

    fn pop_pending(&mut self) {
        if let Some(pending) = self.pending.pop_front() {
            self.pending_bytes -= pending.bytes.len();
            self.held = self.held.max(pending.last_seq);
            if self.spare.len() < 4 {
                self.spare.push(pending.bytes);
            }
        }
    }

    /// Fills `out` with the next block as it goes over the wire; `None` at the end.
    fn next_block(&mut self, block: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<Option<(u64, u64)>> {
        out.clear();
        if self.input_ended || !self.input.next(self.which, block)? {
            self.input_ended = true;
            return Ok(None);
        }
        let Some(numbering) = &mut self.numbering else {
            std::mem::swap(block, out);
            return Ok(Some((self.options.count(out), 0)));
        };
        let done = numbering.write(block, self.held, out);
        self.outcome.skipped += done.skipped;
        Ok(Some((done.events, done.last_seq)))
    }

    /// Writes as fast as the server takes it, or on schedule; a thread of its own reads the replies.
    fn open_loop(&mut self, link: Link, lines: Lines) -> Result<End> {
        let Link { mut reader, mut writer, ends } = link;
        let progress = Progress::default();
        // A schedule that a break has put behind would only measure the break.
        let schedule = self.pacing.filter(|p| p.sent == 0).map(|p| p.schedule);
        let schedule = schedule.filter(|_| self.options.reply == ReplyMode::Verdict);
        let (end, tally) = std::thread::scope(|scope| {
            let follower = scope.spawn(|| progress.follow(&mut reader, lines, schedule));
            let end = self.write_all(&ends, &mut writer, &progress);
            ends.close();
            (end, follower.join())
        });
        let tally = tally.map_err(|_| anyhow!("the thread that reads replies has failed"))?;
        let said = tally.said.clone();
        self.outcome.tally.add(&tally);
        match (end?, said) {
            (End::Lost(why), Some(said)) => Ok(End::Lost(why.context(format!("the server said: {said}")))),
            (end, _) => Ok(end),
        }
    }

    fn write_all(&mut self, ends: &Ends, writer: &mut dyn Write, progress: &Progress) -> Result<End> {
        let mut events = 0;
        if let Err(e) = self.send_pending(writer, &mut events) {
            return Ok(End::Lost(e.into()));
        }
        let (mut block, mut out) = (Vec::new(), Vec::new());
        while let Some((n, last_seq)) = self.next_block(&mut block, &mut out)? {
            events += n;
            self.last_seq = self.last_seq.max(last_seq);
            let written = self.write(writer, &out);
            self.outcome.sent += n;
            if self.numbering.is_some() && !out.is_empty() {
                let bytes = std::mem::replace(&mut out, self.spare.pop().unwrap_or_default());
                self.pending_bytes += bytes.len();
                self.pending.push_back(Pending { bytes, last_seq, events });
            }
            if let Err(e) = written {
                return Ok(End::Lost(e.into()));
            }
            if let Some(lost) = self.make_room(progress) {
                return Ok(End::Lost(lost));
            }
        }
        Ok(self.settle(ends, progress, events))
    }

    fn send_pending(&mut self, writer: &mut dyn Write, events: &mut u64) -> std::io::Result<()> {
        let held = self.held;
        for pending in &mut self.pending {
            let bytes: Vec<u8> = pending
                .bytes
                .split_inclusive(|b| *b == b'\n')
                .filter(|line| seq_of(line).is_none_or(|seq| seq > held))
                .flatten()
                .copied()
                .collect();
            *events += count_events(&bytes);
            pending.events = *events;
            writer.write_all(&bytes)?;
        }
        Ok(())
    }

    /// Writes whole blocks, or event by event when each is due.
    fn write(&mut self, writer: &mut dyn Write, bytes: &[u8]) -> std::io::Result<()> {
        let Some(pacing) = &mut self.pacing else { return writer.write_all(bytes) };
        let mut at = 0;
        while at < bytes.len() {
            let now = Clock.monotonic();
            let mut end = at;
            while end < bytes.len() && pacing.schedule.due(pacing.sent) <= now {
                let rest = bytes.get(end..).unwrap_or(&[]);
                let (length, is_event) = self.options.first(rest);
                pacing.sent += u64::from(is_event);
                end += length;
            }
            if end > at {
                writer.write_all(bytes.get(at..end).unwrap_or(&[]))?;
                at = end;
            } else {
                std::thread::sleep(pacing.schedule.due(pacing.sent).saturating_duration_since(now));
            }
        }
        Ok(())
    }

    /// Forgets what was answered for, and waits where too much was not.
    fn make_room(&mut self, progress: &Progress) -> Option<anyhow::Error> {
        loop {
            let state = progress.state();
            while self.pending.front().is_some_and(|p| self.is_answered(p, &state)) {
                self.pop_pending();
            }
            let full = self.pending_bytes > UNACKED_BYTES_MAX;
            if state.ended && self.numbering.is_some() {
                return Some(anyhow!("{} closed the connection", self.options.to));
            }
            if !full {
                return None;
            }
            if progress.wait(SILENCE_MAX, |s| *s != state) == state {
                return Some(anyhow!("{} acknowledged nothing for {SILENCE_MAX:?}", self.options.to));
            }
        }
    }

    fn is_answered(&self, pending: &Pending, state: &State) -> bool {
        state.acked >= pending.last_seq
            || (self.options.reply == ReplyMode::Verdict && state.answered >= pending.events)
    }

    /// Waits for the last answers.
    fn settle(&mut self, ends: &Ends, progress: &Progress, events: u64) -> End {
        let (reply, last_seq) = (self.options.reply, self.last_seq);
        let enough = |s: &State| match reply {
            ReplyMode::None => false,
            ReplyMode::Ack => s.acked >= last_seq,
            ReplyMode::Verdict => s.answered >= events,
        };
        if reply != ReplyMode::None {
            progress.wait(LAST_ACK, enough);
        }
        // The end of the stream: the server answers for the rest and closes.
        ends.finish();
        let mut state = progress.state();
        while !state.ended && !enough(&state) {
            let next = progress.wait(SILENCE_MAX, |s| *s != state);
            if next == state {
                break;
            }
            state = next;
        }
        if reply == ReplyMode::None {
            return End::Done;
        }
        while self.pending.front().is_some_and(|p| self.is_answered(p, &state)) {
            self.pop_pending();
        }
        let missing = match reply {
            ReplyMode::Verdict => events.saturating_sub(state.answered),
            // A refused line is answered for, and may leave the last number without acknowledgement.
            _ if state.acked >= last_seq => 0,
            _ => (last_seq - state.acked.max(self.held).min(last_seq)).saturating_sub(state.answered),
        };
        if missing == 0 {
            self.pending.clear();
            return End::Done;
        }
        End::Lost(anyhow!("{} closed the connection with {missing} events unanswered", self.options.to))
    }

    /// At most so many events under way, each timed from its own sending: what a gateway that waits sees.
    fn closed_loop(&mut self, link: &mut Link, mut lines: Lines) -> Result<End> {
        let in_flight = self.options.in_flight.unwrap_or(1).max(1) as usize;
        link.ends.read_timeout(Some(SILENCE_MAX))?;
        let mut under_way: VecDeque<Instant> = VecDeque::new();
        let (mut block, mut out) = (Vec::new(), Vec::new());
        while let Some((n, last_seq)) = self.next_block(&mut block, &mut out)? {
            self.outcome.sent += n;
            self.last_seq = self.last_seq.max(last_seq);
            for line in out.split_inclusive(|b| *b == b'\n').filter(|l| !l.trim_ascii().is_empty()) {
                while under_way.len() >= in_flight {
                    self.hear(link, &mut lines, &mut under_way)?;
                }
                let intended = Clock.monotonic();
                link.writer.write_all(line).context("lost in a closed loop, which is not resumed")?;
                under_way.push_back(intended);
            }
        }
        while !under_way.is_empty() {
            self.hear(link, &mut lines, &mut under_way)?;
        }
        link.ends.finish();
        Ok(End::Done)
    }

    /// Reads what has come, waiting for at least something.
    fn hear(&mut self, link: &mut Link, lines: &mut Lines, under_way: &mut VecDeque<Instant>) -> Result<()> {
        if !lines.read(&mut link.reader) {
            bail!("{} closed the connection with {} events unanswered", self.options.to, under_way.len());
        }
        let arrived = Clock.monotonic();
        let tally = &mut self.outcome.tally;
        lines.take(|line| {
            let reply = parse(line);
            if tally.count(reply)
                && let Some(sent) = under_way.pop_front()
                && !matches!(reply, Reply::Reject { .. })
            {
                tally.record(arrived.saturating_duration_since(sent));
            }
        });
        Ok(())
    }
}
