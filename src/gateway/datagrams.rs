//! UDP: datagrams of capture agents and mirrors, gathered to blocks of HEP packets.
//!
//! Nothing pushes a sender of datagrams back. What waits for the engine waits in the kernel's buffer, which is made as
//! large as the machine allows, and what the kernel then drops is counted.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::{oneshot, watch};
use tokio::task::yield_now;
use tokio::time::{MissedTickBehavior, interval};

use super::clocks::FeedClock;
use super::feed::{Decoders, Feed, Finished, Job};
use super::judges::Strand;
use super::reply::Mode;
use crate::clock::Clock;
use crate::engine::Lane;
use crate::event::{Batch, Reject};
use crate::ingest::{Datagram, Decoder};
use crate::limits::{BLOCK_BYTES, DATAGRAM_BYTES_MAX, UDP_BUFFER_BYTES};

/// Blocks that are decoded or judged at once.
const IN_FLIGHT_MAX: usize = 8;
/// Smaller blocks are judged where they are read.
const INLINE_BYTES_MAX: usize = 32 * 1024;
/// Datagrams that are taken before others have their turn: what is no packet fills no block, and may come without end.
const DATAGRAMS_AT_ONCE_MAX: usize = 4096;
/// How often calls are looked at that may be over, and the kernel is asked what it dropped.
const UPKEEP_EVERY: Duration = Duration::from_secs(1);

/// A feed's socket.
#[derive(Debug)]
pub struct Datagrams {
    socket: UdpSocket,
    feed: Arc<Feed>,
}

/// What is under way.
struct Intake {
    feed: Arc<Feed>,
    clock: Arc<FeedClock>,
    decoders: Arc<Decoders>,
    strand: Arc<Strand>,
    lane: Lane,
    block: Vec<u8>,
    in_flight: VecDeque<oneshot::Receiver<Finished>>,
    spare: Vec<Batch>,
}

impl Datagrams {
    pub fn bind(address: SocketAddr, feed: Arc<Feed>) -> Result<Datagrams, String> {
        let name = &feed.counters.name;
        let socket = bind(address).map_err(|e| format!("cannot bind listener `{name}` to {address} (UDP): {e}"))?;
        Ok(Datagrams { socket, feed })
    }

    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Receives until `stop` turns true; what the kernel holds by then is judged.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let Datagrams { socket, feed } = self;
        let drops = Drops::of(&socket);
        let mut intake = Intake::new(feed);
        let mut upkeep = interval(UPKEEP_EVERY);
        upkeep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut datagram = vec![0; DATAGRAM_BYTES_MAX + 1];
        let mut may_be_more = false;
        loop {
            if may_be_more {
                yield_now().await;
            }
            intake.make_room().await;
            tokio::select! {
                readable = socket.readable() => {
                    may_be_more = readable.is_ok() && intake.receive(|datagram| socket.try_recv_from(datagram), &mut datagram);
                }
                _ = upkeep.tick() => {
                    if let Some(n) = drops.as_ref().and_then(Drops::read) {
                        intake.feed.counters.dropped_by_kernel.absolute(n);
                    }
                }
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
        // What the runtime has not noticed yet is in the kernel's buffer all the same.
        let Ok(socket) = socket.into_std() else { return };
        for _ in 0..=UDP_BUFFER_BYTES / BLOCK_BYTES {
            intake.make_room().await;
            if !intake.receive(|datagram| socket.recv_from(datagram), &mut datagram) {
                break;
            }
        }
        while let Some(finished) = intake.in_flight.pop_front() {
            // A block that was lost was reported where it was lost.
            drop(finished.await);
        }
    }
}

impl Intake {
    fn new(feed: Arc<Feed>) -> Intake {
        let decoder = Decoder::of_datagrams(&feed.format, feed.context.get());
        Intake {
            clock: Arc::new(feed.clocks.open(feed.delay_ms)),
            decoders: Arc::new(Decoders::new(decoder)),
            strand: Arc::default(),
            lane: feed.engine.lane(feed.lane_options(Mode::None)),
            block: Vec::new(),
            in_flight: VecDeque::new(),
            spare: Vec::new(),
            feed,
        }
    }

    /// Waits while too much is under way.
    async fn make_room(&mut self) {
        loop {
            let is_full = self.in_flight.len() >= IN_FLIGHT_MAX;
            let Some(front) = self.in_flight.front_mut() else { return };
            let finished = match is_full {
                true => front.await.map_err(|_| oneshot::error::TryRecvError::Closed),
                false => front.try_recv(),
            };
            let finished = match finished {
                Err(oneshot::error::TryRecvError::Empty) => return,
                finished => finished.ok(),
            };
            self.in_flight.pop_front();
            if let Some(mut finished) = finished {
                self.block = std::mem::take(&mut finished.judged.batch.block);
                self.spare.push(finished.judged.batch);
            }
        }
    }

    /// All that the kernel has, up to a block. There may be more.
    fn receive(
        &mut self,
        mut next: impl FnMut(&mut [u8]) -> io::Result<(usize, SocketAddr)>,
        datagram: &mut [u8],
    ) -> bool {
        self.block.clear();
        let (mut n_bytes, mut n_lost) = (0u64, 0u64);
        // Nobody sends a datagram again. One that waited in the kernel's buffer would only push out others, uncounted
        // by reason.
        let has_room = self.feed.durable.has_room();
        let mut may_be_more = true;
        for _ in 0..DATAGRAMS_AT_ONCE_MAX {
            // An error of a datagram that somebody could not be sent is none of ours.
            let Ok((len, peer)) = next(datagram) else {
                may_be_more = false;
                break;
            };
            n_bytes += len as u64;
            if !has_room {
                n_lost += 1;
                continue;
            }
            let wrapped = match datagram.get(..len) {
                Some(bytes) if len <= DATAGRAM_BYTES_MAX => {
                    let datagram = Datagram { bytes, source: peer };
                    datagram.wrap(&self.feed.format, &mut self.block)
                }
                _ => Err(Reject::MessageTooLong),
            };
            if let Err(reason) = wrapped {
                self.feed.counters.rejects(reason as usize, 1);
            }
            if self.block.len() >= BLOCK_BYTES {
                break;
            }
        }
        self.feed.counters.bytes.increment(n_bytes);
        self.feed.counters.dropped_no_room.increment(n_lost);
        if !self.block.is_empty() {
            self.submit();
        }
        may_be_more
    }

    fn submit(&mut self) {
        let block = std::mem::take(&mut self.block);
        let is_small = block.len() < INLINE_BYTES_MAX;
        let arrival = Clock.now();
        self.clock.received(arrival);
        let (done, finished) = oneshot::channel();
        self.in_flight.push_back(finished);
        let job = Box::new(Job {
            feed: Arc::clone(&self.feed),
            decoders: Arc::clone(&self.decoders),
            clock: Arc::clone(&self.clock),
            account: None,
            mode: Mode::None,
            turn: None,
            ticket: self.lane.ticket(),
            block: Some(block),
            batch: self.spare.pop().unwrap_or_default(),
            read_at: Clock.monotonic(),
            arrival,
            overdue: None,
            highest_seq: 0,
            done,
        });
        self.strand.take(job, is_small, &self.feed.judges);
    }
}

/// Has calls told, once a second, that are over but for the chance of another try, until `stop` turns true. Streams
/// that go on do it themselves; this is for when nothing comes.
pub async fn settle(feed: Arc<Feed>, mut stop: watch::Receiver<bool>) {
    let mut lane = feed.engine.lane(feed.lane_options(Mode::None));
    let decoders = Arc::new(Decoders::new(Decoder::new(&feed.format, feed.context.get())));
    let mut upkeep = interval(UPKEEP_EVERY);
    upkeep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = upkeep.tick() => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        // As far as all messages have come, also of streams that tell of last month.
        let arrival = feed.clocks.reached(Clock.now(), feed.delay_ms);
        let (done, _finished) = oneshot::channel();
        let clock = Arc::new(feed.clocks.aside(feed.delay_ms));
        Box::new(Job {
            feed: Arc::clone(&feed),
            decoders: Arc::clone(&decoders),
            clock,
            account: None,
            mode: Mode::None,
            turn: None,
            ticket: lane.ticket(),
            block: None,
            batch: Batch::default(),
            read_at: Clock.monotonic(),
            arrival,
            overdue: None,
            highest_seq: 0,
            done,
        })
        .run();
    }
}

fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    // The kernel cuts it to `net.core.rmem_max`.
    socket.set_recv_buffer_size(UDP_BUFFER_BYTES)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

/// Where the kernel says how many datagrams of a socket it dropped: the last column of `/proc/net/udp`.
struct Drops {
    inode: String,
}

impl Drops {
    fn of(socket: &UdpSocket) -> Option<Drops> {
        let link = std::fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd())).ok()?;
        let inode = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
        Some(Drops { inode: inode.to_owned() })
    }

    fn read(&self) -> Option<u64> {
        ["/proc/self/net/udp", "/proc/self/net/udp6"].iter().find_map(|table| self.read_from(Path::new(table)))
    }

    fn read_from(&self, table: &Path) -> Option<u64> {
        let text = std::fs::read_to_string(table).ok()?;
        let line = text.lines().skip(1).find(|line| line.split_whitespace().nth(9) == Some(&self.inode))?;
        line.split_whitespace().next_back()?.parse().ok()
    }
}
