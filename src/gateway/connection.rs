//! One gateway's connection: read, decode, submit, answer.
//!
//! One task does it all. What little came is judged at once, in the task that read it, so a verdict waits for no hand-over;
//! full blocks of a busy sender are decoded and submitted by [`Judges`](super::judges::Judges), a few at a time, their
//! order kept by turns and tickets. When those few are under way, or the gateway does not read its replies, nothing more is read: TCP tells
//! the sender to wait. An idle connection holds no buffers.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::{oneshot, watch};
use tokio::time::{Sleep, sleep_until, timeout};

use super::clocks::FeedClock;
use super::durable::Durable;
use super::feed::{Decoders, Feed, Finished, Job};
use super::greeting::{self, Greeting, HELLO_BYTES_MAX, Refusal};
use super::judges::{Strand, Turn, Turns};
use super::listener::{Close, ListenerSettings};
use super::reply::{self, Mode, Overdue};
use super::sequence::Account;
use crate::clock::Clock;
use crate::engine::{Lane, output};
use crate::event::{Batch, GatewayId};
use crate::ingest::{Decoder, Format, Framer};
use crate::limits::BLOCK_BYTES;

/// Blocks of one connection that are decoded or judged at once.
const IN_FLIGHT_MAX: usize = 8;
/// Smaller blocks are judged where they are read: handing them over would cost more than it wins.
const INLINE_BYTES_MAX: usize = 32 * 1024;
/// What a connection that is not busy reads at once, into memory that all such connections of a thread share.
const SCRATCH_BYTES: usize = 64 * 1024;
/// While something is unacknowledged, the gateway hears from us this often.
const ACK_EVERY: Duration = Duration::from_millis(100);
/// Silence after which buffers of busy times are given back.
const RELEASE_AFTER: Duration = Duration::from_secs(2);
/// How long a connection that has ended waits for the journal, to acknowledge what it sent last.
const LAST_ACK_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for a farewell to go out.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH_BYTES]);
}

/// Serves a connection to its end.
pub(super) async fn serve<S>(
    stream: S,
    peer: SocketAddr,
    feed: &Arc<Feed>,
    settings: &ListenerSettings,
    stop: watch::Receiver<bool>,
) -> Close
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut door = Door { stream, framer: Framer::new(feed.format.style()), busy: false, out: Vec::new() };
    let (close, out) = match greet(&mut door, peer, feed, settings, stop.clone()).await {
        Err(close) => (close, std::mem::take(&mut door.out)),
        Ok(greeting) => {
            let mut connection = Connection::new(&mut door, peer, feed, settings, stop, &greeting);
            let close = match &mut connection {
                Ok(connection) => connection.run().await,
                Err(close) => *close,
            };
            drop(connection);
            (close, std::mem::take(&mut door.out))
        }
    };
    let farewell = async {
        door.stream.write_all(&out).await?;
        door.stream.shutdown().await
    };
    // The gateway may have gone already; then there is nobody to be polite to.
    drop(timeout(SHUTDOWN_TIMEOUT, farewell).await);
    close
}

/// May blocks of one stream be decoded at the same time? The rows of a CSV stream mean what its header says, and SIP
/// messages what came before them.
fn decodes_apart(format: &Format) -> bool {
    match format {
        Format::Ndjson | Format::JsonCdr => true,
        Format::Csv(_) | Format::Hep | Format::Sip => false,
    }
}

/// The bytes that go in and out.
struct Door<S> {
    stream: S,
    framer: Framer,
    /// The last read filled what it was given: a whole block is read at once.
    busy: bool,
    out: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Door<S> {
    /// Appends what has come to the framer; 0 is the end. May be dropped while it waits, without loss.
    async fn read(&mut self) -> io::Result<usize> {
        if self.busy {
            let room = BLOCK_BYTES.saturating_sub(self.framer.pending_bytes()).max(SCRATCH_BYTES);
            let n = self.stream.read_buf(self.framer.space(room)).await?;
            self.busy = n >= SCRATCH_BYTES / 4;
            return Ok(n);
        }
        let Door { stream, framer, .. } = self;
        let n = poll_fn(|cx| {
            SCRATCH.with_borrow_mut(|scratch| {
                let mut buffer = ReadBuf::new(scratch);
                match Pin::new(&mut *stream).poll_read(cx, &mut buffer) {
                    Poll::Ready(Ok(())) => {
                        let came = buffer.filled();
                        framer.space(came.len()).extend_from_slice(came);
                        Poll::Ready(Ok(came.len()))
                    }
                    Poll::Ready(Err(e)) => Poll::Ready(Err(e)),
                    Poll::Pending => Poll::Pending,
                }
            })
        })
        .await?;
        self.busy = n == SCRATCH_BYTES;
        Ok(n)
    }

    async fn flush(&mut self, within: Duration) -> Result<(), Close> {
        if self.out.is_empty() {
            return Ok(());
        }
        let write = async {
            self.stream.write_all(&self.out).await?;
            self.stream.flush().await
        };
        match timeout(within, write).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(Close::Broken),
            Err(_) => return Err(Close::SlowReader),
        }
        self.out.clear();
        if self.out.capacity() > BLOCK_BYTES {
            self.out = Vec::new();
        }
        Ok(())
    }
}

/// Waits for the first line and takes it if it is a hello. What else came stays with the framer.
async fn greet<S>(
    door: &mut Door<S>,
    peer: SocketAddr,
    feed: &Arc<Feed>,
    settings: &ListenerSettings,
    mut stop: watch::Receiver<bool>,
) -> Result<Greeting, Close>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let unnamed = Greeting { gateway: feed.gateway.clone(), mode: Mode::None, said_hello: false };
    if !matches!(feed.format, Format::Ndjson) {
        return Ok(unnamed);
    }
    let mut begun = None;
    loop {
        let (within, late) = match (feed.tokens.is_empty(), begun) {
            (false, _) => (settings.handshake_timeout, Close::HandshakeTimeout),
            (true, None) => (settings.idle_timeout, Close::Idle),
            (true, Some(_)) => (settings.slow_timeout, Close::SlowSender),
        };
        let since = if feed.tokens.is_empty() { begun } else { begun.or(Some(Clock.monotonic())) };
        let deadline = since.unwrap_or_else(|| Clock.monotonic()) + within;
        let n = tokio::select! {
            n = door.read() => n.map_err(|_| Close::Broken)?,
            () = sleep_until(deadline.into()) => return Err(late),
            _ = stop.wait_for(|stop| *stop) => return Err(Close::Stopped),
        };
        begun = begun.or(since).or_else(|| Some(Clock.monotonic()));
        feed.counters.bytes.increment(n as u64);
        let came = door.framer.space(0);
        let line_end = memchr::memchr(b'\n', came);
        if line_end.is_none() && n > 0 && came.len() <= HELLO_BYTES_MAX {
            continue;
        }
        let line = came.get(..line_end.unwrap_or(came.len())).unwrap_or_default();
        let line = line.get(..HELLO_BYTES_MAX).unwrap_or(line);
        match greeting::read(line, &feed.gateway, &feed.tokens) {
            Ok(None) => return Ok(unnamed),
            Ok(Some(greeting)) => {
                came.drain(..line_end.map_or(came.len(), |end| end + 1));
                return Ok(greeting);
            }
            Err(Refusal { close, reason }) => {
                tracing::debug!(feed = feed.counters.name, %peer, reason, "gateway refused");
                reply::reject(&mut door.out, 0, reason);
                return Err(close);
            }
        }
    }
}

/// A connection after its greeting.
struct Connection<'a, S> {
    door: &'a mut Door<S>,
    peer: SocketAddr,
    feed: &'a Arc<Feed>,
    settings: &'a ListenerSettings,
    stop: watch::Receiver<bool>,
    mode: Mode,
    account: Option<(GatewayId, Arc<Account>)>,
    clock: Arc<FeedClock>,
    decoders: Arc<Decoders>,
    lane: Lane,
    /// Oldest first.
    in_flight: VecDeque<InFlight>,
    durable: Durable,
    /// The `seq`s of blocks that are judged, to be acknowledged once the journal holds them; oldest first.
    unacked: VecDeque<u64>,
    turns: Arc<Turns>,
    /// Where blocks are decoded that must be decoded in order.
    strand: Arc<Strand>,
    /// Blocks that have come.
    n_blocks: u64,
    spare: Vec<Batch>,
    /// There is memory of busy times to give back.
    holds_memory: bool,
    acked: u64,
    said_at: Instant,
    read_at: Instant,
    /// Since when a record is incomplete.
    partial_since: Option<Instant>,
    /// Nothing more is read; the connection ends when all in flight is answered and acknowledged.
    ending: Option<Close>,
    /// What is not acknowledged by then never will be on this connection.
    last_ack_by: Option<Instant>,
    timer: Pin<Box<Sleep>>,
}

/// A block between its read and its reply.
struct InFlight {
    finished: oneshot::Receiver<Finished>,
    result: Option<Finished>,
    read_at: Instant,
    overdue: Option<Arc<OnceLock<Overdue>>>,
    /// Its deadline has passed and the default was told.
    answered: bool,
}

/// What a connection waits for.
enum Wake {
    Read(io::Result<usize>),
    /// The oldest block in flight has its result, or will never have one.
    Judged(bool),
    /// The journal has more.
    Durable,
    /// The journal has room again.
    Room,
    Timer,
    Stop,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Connection<'a, S> {
    fn new(
        door: &'a mut Door<S>,
        peer: SocketAddr,
        feed: &'a Arc<Feed>,
        settings: &'a ListenerSettings,
        stop: watch::Receiver<bool>,
        greeting: &Greeting,
    ) -> Result<Connection<'a, S>, Close> {
        let gateway = feed.names.gateway(&greeting.gateway).ok_or(Close::TooManyNames)?;
        let mode = greeting.mode;
        let account = (mode != Mode::None).then(|| (gateway, feed.ledger.account(gateway)));
        if greeting.said_hello {
            let last_seq = feed.ledger.account(gateway).last_kept();
            reply::welcome(&mut door.out, &greeting.gateway, last_seq, feed.durable.promises());
        }
        let mut decoder = Decoder::new(&feed.format, feed.context.get());
        decoder.greet(gateway, mode == Mode::Ack);
        let now = Clock.monotonic();
        tracing::debug!(feed = feed.counters.name, %peer, gateway = greeting.gateway, ?mode, "gateway connected");
        Ok(Connection {
            door,
            peer,
            feed,
            settings,
            stop,
            mode,
            account,
            clock: Arc::new(feed.clocks.open(feed.delay_ms)),
            decoders: Arc::new(Decoders::new(decoder)),
            lane: feed.engine.lane(feed.lane_options(mode)),
            in_flight: VecDeque::new(),
            durable: feed.durable.clone(),
            unacked: VecDeque::new(),
            turns: Arc::default(),
            strand: Arc::default(),
            n_blocks: 0,
            spare: Vec::new(),
            holds_memory: false,
            acked: 0,
            said_at: now,
            read_at: now,
            partial_since: None,
            ending: None,
            last_ack_by: None,
            timer: Box::pin(sleep_until(now.into())),
        })
    }

    async fn run(&mut self) -> Close {
        // The hello's read may have brought events too.
        self.take_blocks();
        loop {
            self.settle();
            self.acknowledge();
            if let Err(close) = self.door.flush(self.settings.slow_timeout).await {
                return close;
            }
            if let (Some(close), true) = (self.ending, self.is_answered()) {
                if !self.decoders.hold_calls() {
                    return close;
                }
                // What the rows left open is told with the end of the stream.
                self.take_block(None);
                continue;
            }
            match self.wait().await {
                Wake::Read(Ok(0)) => {
                    self.ending = Some(Close::Ended);
                    if let Some(last) = self.door.framer.finish() {
                        self.take_block(Some(last));
                    }
                    self.note_break();
                }
                Wake::Read(Ok(n)) => {
                    self.feed.counters.bytes.increment(n as u64);
                    self.take_blocks();
                    if self.note_break() {
                        self.ending = Some(Close::FramingLost);
                    }
                }
                Wake::Read(Err(e)) => {
                    tracing::debug!(feed = self.feed.counters.name, peer = %self.peer, error = %e, "cannot read");
                    self.ending = Some(Close::Broken);
                }
                Wake::Judged(true) | Wake::Durable | Wake::Room => {}
                Wake::Judged(false) => self.lose_front(),
                Wake::Timer => self.on_timer(),
                Wake::Stop => self.ending = Some(Close::Stopped),
            }
        }
    }

    /// Counts a record after which nothing tells where the next one starts.
    fn note_break(&self) -> bool {
        let broken = self.door.framer.broken();
        if let Some(reason) = broken {
            self.feed.counters.rejects(reason as usize, 1);
        }
        broken.is_some()
    }

    async fn wait(&mut self) -> Wake {
        let wake_at = self.wake_at();
        // Whoever asks for verdicts gets them, journal or not: a call cannot wait for a disk.
        let has_room = self.mode == Mode::Verdict || self.durable.has_room();
        let reads = self.ending.is_none() && self.in_flight.len() < IN_FLIGHT_MAX && has_room;
        let waits_for_room = self.ending.is_none() && !has_room;
        let full = waits_for_room.then(|| self.durable.clone());
        let Connection { door, in_flight, durable, unacked, stop, timer, ending, .. } = self;
        // The timer is only ever brought forward: most reads push deadlines back, and need not touch it.
        if tokio::time::Instant::from_std(wake_at) < timer.deadline() || timer.is_elapsed() {
            timer.as_mut().reset(wake_at.into());
        }
        let front = async {
            match in_flight.front_mut() {
                Some(front) => {
                    front.result = (&mut front.finished).await.ok();
                    front.result.is_some()
                }
                None => std::future::pending().await,
            }
        };
        let acknowledged = async {
            match unacked.is_empty() {
                true => std::future::pending().await,
                false => durable.more().await,
            }
        };
        let room = async {
            match full {
                Some(mut full) => full.room().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            is_judged = front => Wake::Judged(is_judged),
            () = acknowledged => Wake::Durable,
            n = door.read(), if reads => Wake::Read(n),
            () = timer.as_mut() => Wake::Timer,
            () = room => Wake::Room,
            _ = stop.wait_for(|stop| *stop), if ending.is_none() => Wake::Stop,
        }
    }

    /// Has everything that came been judged, and acknowledged as far as it will be?
    fn is_answered(&mut self) -> bool {
        if !self.in_flight.is_empty() {
            return false;
        }
        let now = Clock.monotonic();
        self.unacked.is_empty() || now >= *self.last_ack_by.get_or_insert(now + LAST_ACK_TIMEOUT)
    }

    /// Tells the gateway how far what it sent is in the journal.
    fn acknowledge(&mut self) {
        let Some((_, account)) = &self.account else { return };
        let (mut acked, kept) = (self.acked, account.last_kept());
        while let Some(seq) = self.unacked.pop_front_if(|seq| *seq <= kept) {
            acked = acked.max(seq);
        }
        if acked > self.acked {
            self.acked = acked;
            self.said_at = Clock.monotonic();
            reply::ack(&mut self.door.out, acked);
        }
    }

    /// The next instant at which something is due.
    fn wake_at(&self) -> Instant {
        let mut at = self.read_at + self.settings.idle_timeout;
        if let Some(since) = self.partial_since {
            at = at.min(since + self.settings.slow_timeout);
        }
        if self.holds_memory {
            at = at.min(self.read_at + RELEASE_AFTER);
        }
        if self.mode == Mode::Verdict
            && let Some(first) = self.in_flight.iter().find(|f| !f.answered)
        {
            let due = first.read_at + self.feed.verdict_deadline;
            // Overdue but not decoded yet: there is nothing to answer until it is.
            at = at.min(due.max(Clock.monotonic() + Duration::from_millis(1)));
        }
        if self.has_unacknowledged() {
            at = at.min(self.said_at + ACK_EVERY);
        }
        self.last_ack_by.map_or(at, |last| at.min(last))
    }

    fn has_unacknowledged(&self) -> bool {
        self.mode != Mode::None && !(self.in_flight.is_empty() && self.unacked.is_empty())
    }

    fn on_timer(&mut self) {
        let now = Clock.monotonic();
        self.answer_overdue(now);
        if self.has_unacknowledged() && now >= self.said_at + ACK_EVERY {
            if self.acked > 0 {
                reply::ack(&mut self.door.out, self.acked);
            }
            self.said_at = now;
        }
        if self.holds_memory && self.in_flight.is_empty() && now >= self.read_at + RELEASE_AFTER {
            self.release();
        }
        if self.ending.is_some() {
            return;
        }
        if self.partial_since.is_some_and(|since| now >= since + self.settings.slow_timeout) {
            self.ending = Some(Close::SlowSender);
        } else if self.in_flight.is_empty() && now >= self.read_at + self.settings.idle_timeout {
            self.ending = Some(Close::Idle);
        }
    }

    fn release(&mut self) {
        self.door.framer.release();
        self.door.out = Vec::new();
        self.spare = Vec::new();
        if decodes_apart(&self.feed.format) {
            self.decoders.release();
        }
        (self.door.busy, self.holds_memory) = (false, false);
    }

    /// Takes every whole record that has come.
    fn take_blocks(&mut self) {
        self.read_at = Clock.monotonic();
        let mut n_blocks = 0;
        while let Some(block) = self.door.framer.block() {
            n_blocks += 1;
            self.take_block(Some(block));
        }
        self.partial_since = match self.door.framer.pending_bytes() {
            0 => None,
            _ if n_blocks > 0 => Some(self.read_at),
            _ => self.partial_since.or(Some(self.read_at)),
        };
    }

    /// A block on its way; `None` is the end of the stream.
    fn take_block(&mut self, block: Option<Vec<u8>>) {
        let arrival = Clock.now();
        self.clock.received(arrival);
        let overdue = (self.mode == Mode::Verdict).then(Arc::default);
        let (done, finished) = oneshot::channel();
        let number = self.n_blocks;
        self.n_blocks += 1;
        let read_at = self.read_at;
        self.in_flight.push_back(InFlight {
            finished,
            result: None,
            read_at,
            overdue: overdue.clone(),
            answered: false,
        });
        let n_bytes = block.as_ref().map_or(0, Vec::len);
        let is_small = n_bytes < INLINE_BYTES_MAX;
        self.holds_memory |= !is_small;
        let job = Box::new(Job {
            feed: Arc::clone(self.feed),
            decoders: Arc::clone(&self.decoders),
            clock: Arc::clone(&self.clock),
            account: self.account.clone(),
            mode: self.mode,
            turn: Some(Turn::new(&self.turns, number)),
            ticket: self.lane.ticket(),
            block,
            batch: self.spare.pop().unwrap_or_default(),
            read_at,
            arrival,
            overdue,
            highest_seq: 0,
            done,
        });
        match (decodes_apart(&self.feed.format), is_small) {
            (true, true) => job.run(),
            (true, false) => self.feed.judges.judge(job),
            (false, _) => self.strand.take(job, is_small, &self.feed.judges),
        }
    }

    /// Answers what has been judged, in order.
    fn settle(&mut self) {
        while let Some(front) = self.in_flight.front_mut() {
            if front.result.is_none() {
                match front.finished.try_recv() {
                    Ok(finished) => front.result = Some(finished),
                    Err(oneshot::error::TryRecvError::Empty) => return,
                    Err(oneshot::error::TryRecvError::Closed) => {
                        self.lose_front();
                        continue;
                    }
                }
            }
            if let Some(InFlight { result: Some(finished), answered, .. }) = self.in_flight.pop_front() {
                self.answer(&finished, answered);
                self.recycle(finished.judged.batch);
            }
        }
    }

    /// The engine gave nothing back for a block: it must have panicked. Nobody is told that it was applied.
    fn lose_front(&mut self) {
        self.in_flight.pop_front();
        tracing::error!(feed = self.feed.counters.name, peer = %self.peer, "a block was not judged");
        self.ending = Some(Close::Broken);
    }

    fn answer(&mut self, finished: &Finished, answered: bool) {
        if self.mode == Mode::None {
            return;
        }
        let (out, judged) = (&mut self.door.out, &finished.judged);
        let mut rejects = judged.batch.rejects.iter().peekable();
        if !answered {
            if self.mode == Mode::Verdict {
                for index in 0..judged.batch.events.len() {
                    while let Some(r) = rejects.next_if(|r| r.before as usize <= index) {
                        reply::reject(out, r.seq, r.reason.as_str());
                    }
                    let verdict = judged.verdicts.get(index).copied().unwrap_or_default();
                    output::verdict_line(out, judged, index, verdict, &judged.policy, false, false);
                    out.push(b'\n');
                }
            }
            rejects.for_each(|r| reply::reject(out, r.seq, r.reason.as_str()));
        }
        if finished.highest_seq > self.acked {
            self.unacked.push_back(finished.highest_seq);
        }
    }

    /// Fails open: what has waited past its deadline gets the default action.
    fn answer_overdue(&mut self, now: Instant) {
        if self.mode != Mode::Verdict {
            return;
        }
        for waiting in self.in_flight.iter_mut().filter(|f| !f.answered) {
            let decoded = waiting.overdue.as_ref().and_then(|o| o.get());
            match decoded {
                Some(overdue) if now >= waiting.read_at + self.feed.verdict_deadline => {
                    overdue.lines(&mut self.door.out, self.feed.engine.policy().default_action);
                    self.feed.counters.late_verdicts.increment(overdue.n_events());
                    waiting.answered = true;
                }
                _ => return,
            }
        }
    }

    fn recycle(&mut self, mut batch: Batch) {
        if self.spare.len() < IN_FLIGHT_MAX {
            self.door.framer.recycle(std::mem::take(&mut batch.block));
            self.spare.push(batch);
        }
    }
}
