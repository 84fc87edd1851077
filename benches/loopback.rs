//! How many events a second does the service take over loopback TCP, and how long does a gateway wait for a verdict?
//!
//! `cargo bench --bench loopback [-- EVENTS]`. A real service in this process, rules and events in the manner of
//! workload W1 as NDJSON, and a gateway beside it on the same cores. Each row has a service of its own. Latencies
//! are from the instant at which an event was meant to be sent, so that a sender that falls behind shows it.

#![allow(clippy::print_stdout, reason = "the table is the result")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use ringfence::config;
use ringfence::policy::Policy;
use ringfence::service::{self, Running, Setup};
use tokio::runtime::Runtime;

mod workload;
use workload::{Call, Seeded, is_measuring, rules};

const SETTINGS: &str = "data = \"off\"

[http]
listen = \"off\"
[metrics]
listen = \"off\"
[output]
violations = \"off\"
[[feed]]
listen = \"127.0.0.1:0\"
";
const OPEN_LOOP_RATE: f64 = 200_000.0;
const OPEN_LOOP_CONNECTIONS: u64 = 2;
/// Bytes a write of a gateway that does not wait.
const WRITE_BYTES: usize = 256 * 1024;

/// A running service and its threads.
struct Service {
    runtime: Runtime,
    running: Running,
}

impl Service {
    fn start(policy: &Arc<Policy>) -> Service {
        let (config, problems) = config::parse(SETTINGS, Path::new("ringfence.toml"));
        let config = config.unwrap_or_else(|| panic!("{problems:?}"));
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads");
        let setup = Setup { config, policy: Arc::clone(policy), observer: None };
        let running = runtime.block_on(service::start(setup)).expect("starts");
        Service { runtime, running }
    }

    fn address(&self) -> SocketAddr {
        self.running.feeds.first().expect("one feed").1
    }

    /// Waits until so many events are judged.
    fn wait(&self, n_events: u64) {
        while self.running.totals().judged < n_events {
            std::thread::sleep(Duration::from_micros(100));
        }
    }

    fn stop(self) {
        self.runtime.block_on(self.running.stop());
    }
}

/// A connection that was welcomed.
fn connect(address: SocketAddr, gateway: &str, reply: &str) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(address).expect("connects");
    stream.set_nodelay(true).expect("TCP_NODELAY");
    writeln!(stream, "{{\"hello\":{{\"gateway\":\"{gateway}\",\"reply\":\"{reply}\"}}}}").expect("sends");
    let mut reader = BufReader::with_capacity(WRITE_BYTES, stream);
    let mut welcome = String::new();
    reader.read_line(&mut welcome).expect("an answer");
    assert!(welcome.contains("welcome"), "{welcome}");
    reader
}

/// Calls `from..to`, numbered from 1.
fn lines(from: u64, to: u64, kind: &str) -> String {
    let mut r = Seeded(42 + from);
    let mut text = String::new();
    for n in from..to {
        Call::draw(&mut r, n).write(&mut text, n - from + 1, kind);
    }
    text
}

fn next_line(reader: &mut impl BufRead, line: &mut Vec<u8>) {
    line.clear();
    let n = reader.read_until(b'\n', line).expect("an answer");
    assert!(n > 0, "the service closed the connection");
}

fn acknowledged(line: &[u8]) -> Option<u64> {
    let digits = line.strip_prefix(b"{\"ack\":")?.iter().take_while(|b| b.is_ascii_digit());
    Some(digits.fold(0, |n, d| n * 10 + u64::from(d - b'0')))
}

fn is_verdict(line: &[u8]) -> bool {
    assert!(!line.starts_with(b"{\"reject\""), "{}", String::from_utf8_lossy(line));
    acknowledged(line).is_none()
}

/// From the first byte sent to the last event judged.
fn unanswered(policy: &Arc<Policy>, n_events: u64) -> Duration {
    let text = lines(0, n_events, "cdr");
    let service = Service::start(policy);
    let mut gateway = connect(service.address(), "none", "none");
    let begun = Instant::now();
    for block in text.as_bytes().chunks(WRITE_BYTES) {
        gateway.get_mut().write_all(block).expect("sends");
    }
    service.wait(n_events);
    let took = begun.elapsed();
    service.stop();
    took
}

/// From the first byte sent to the last acknowledgement read.
fn acknowledged_all(policy: &Arc<Policy>, n_events: u64) -> Duration {
    let text = lines(0, n_events, "cdr");
    let service = Service::start(policy);
    let mut reader = connect(service.address(), "ack", "ack");
    let mut writer = reader.get_ref().try_clone().expect("a second handle");
    let begun = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for block in text.as_bytes().chunks(WRITE_BYTES) {
                writer.write_all(block).expect("sends");
            }
        });
        let mut line = Vec::new();
        while acknowledged(&line).is_none_or(|n| n < n_events) {
            next_line(&mut reader, &mut line);
        }
    });
    let took = begun.elapsed();
    service.stop();
    took
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1_000, 60_000_000_000, 3).expect("the bounds are constants")
}

fn record(latency: &mut Histogram<u64>, since: Instant) {
    latency.saturating_record(since.elapsed().as_nanos() as u64);
}

/// One request at a time, each sent when the one before is answered.
fn closed_loop(policy: &Arc<Policy>, n_events: u64) -> (Duration, Histogram<u64>) {
    let text = lines(0, n_events, "attempt");
    let service = Service::start(policy);
    let mut reader = connect(service.address(), "closed", "verdict");
    let (mut latency, mut line) = (histogram(), Vec::new());
    let begun = Instant::now();
    for request in text.split_inclusive('\n') {
        let sent = Instant::now();
        reader.get_mut().write_all(request.as_bytes()).expect("sends");
        line.clear();
        while line.is_empty() || !is_verdict(&line) {
            next_line(&mut reader, &mut line);
        }
        record(&mut latency, sent);
    }
    let took = begun.elapsed();
    service.stop();
    (took, latency)
}

/// Requests at a steady rate, whether or not those before are answered.
fn open_loop(policy: &Arc<Policy>, n_events: u64) -> (Duration, Histogram<u64>) {
    let each = n_events / OPEN_LOOP_CONNECTIONS;
    let texts: Vec<String> = (0..OPEN_LOOP_CONNECTIONS).map(|c| lines(c * each, (c + 1) * each, "attempt")).collect();
    let service = Service::start(policy);
    let interval = Duration::from_secs_f64(OPEN_LOOP_CONNECTIONS as f64 / OPEN_LOOP_RATE);
    let readers: Vec<_> =
        (0..texts.len()).map(|c| connect(service.address(), &format!("open-{c}"), "verdict")).collect();
    let begun = Instant::now();
    let mut latency = histogram();
    std::thread::scope(|scope| {
        let mut answers = Vec::new();
        for (reader, text) in readers.into_iter().zip(&texts) {
            let writer = reader.get_ref().try_clone().expect("a second handle");
            scope.spawn(move || send_on_schedule(writer, text.as_bytes(), begun, interval));
            answers.push(scope.spawn(move || time_verdicts(reader, each, begun, interval)));
        }
        for answer in answers {
            latency.add(answer.join().expect("nobody panics")).expect("the bounds are the same");
        }
    });
    let took = begun.elapsed();
    service.stop();
    (took, latency)
}

fn send_on_schedule(mut writer: impl Write, text: &[u8], begun: Instant, interval: Duration) {
    let (mut at, mut sent) = (0, 0u32);
    while at < text.len() {
        let due = (begun.elapsed().as_nanos() / interval.as_nanos()) as u32;
        let mut end = at;
        while sent <= due && end < text.len() {
            end += memchr::memchr(b'\n', &text[end..]).expect("lines end") + 1;
            sent += 1;
        }
        if end == at {
            std::thread::sleep((begun + interval * sent).saturating_duration_since(Instant::now()));
        }
        writer.write_all(&text[at..end]).expect("sends");
        at = end;
    }
}

/// Verdicts come in the order of the requests: the n-th is that of the request that was due at `n * interval`.
fn time_verdicts(reader: impl Read, n_events: u64, begun: Instant, interval: Duration) -> Histogram<u64> {
    let mut reader = BufReader::with_capacity(WRITE_BYTES, reader);
    let (mut latency, mut line) = (histogram(), Vec::new());
    let mut answered = 0u32;
    while u64::from(answered) < n_events {
        next_line(&mut reader, &mut line);
        if is_verdict(&line) {
            record(&mut latency, begun + interval * answered);
            answered += 1;
        }
    }
    latency
}

fn print_row(what: &str, n_events: u64, took: Duration, latency: Option<&Histogram<u64>>) {
    let per_second = n_events as f64 / took.as_secs_f64();
    print!("{what:<40} {n_events:>9} {per_second:>11.0}");
    if let Some(latency) = latency {
        let us = |ns: u64| ns as f64 / 1_000.0;
        for q in [0.5, 0.99, 0.999] {
            print!(" {:>9.1}", us(latency.value_at_quantile(q)));
        }
        print!(" {:>9.1}", us(latency.max()));
    }
    println!();
}

fn main() {
    let asked = std::env::args().find_map(|a| a.parse::<u64>().ok());
    let n = asked.unwrap_or(if is_measuring() { 500_000 } else { 2_000 }).max(10);
    let policy = rules();
    let head = ["events/s", "p50 us", "p99 us", "p99.9 us", "max us"];
    println!("{:<40} {:>9} {:>11} {:>9} {:>9} {:>9} {:>9}", "", "events", head[0], head[1], head[2], head[3], head[4]);
    print_row("reply none", n, unanswered(&policy, n), None);
    print_row("reply ack", n, acknowledged_all(&policy, n), None);
    let n_closed = n / 5;
    let (took, latency) = closed_loop(&policy, n_closed);
    print_row("verdicts, one in flight", n_closed, took, Some(&latency));
    let (took, latency) = open_loop(&policy, n);
    print_row("verdicts, 200,000/s over 2 connections", n, took, Some(&latency));
}
