//! How many events a second one thread decodes, by format: NDJSON as gateways write it, the same with keys in
//! ever-changing order, Asterisk CSV. And how many SIP messages it parses: INVITEs of 600 bytes, responses of 400. And
//! what it costs to journal an event: as bytes and back, and all the way to a file.
//!
//! `cargo bench --bench codec`. Inputs come from a fixed seed and look like workload W1.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ringfence::engine::{Judged, Verdict};
use ringfence::event::dialplan::DialPlan;
use ringfence::event::{Batch, Names};
use ringfence::ingest::csv::{Dialect, DialectName, Settings};
use ringfence::ingest::{Decoder, FeedContext, Format, sip};
use ringfence::journal::{
    Appended, Durability, Encoder, Identity, Journal, NamesFile, Options, Settings as JournalSettings, Start, decode,
};
use ringfence::storage::Disk;

const N_EVENTS: usize = 1000;

/// Numbers that look random and are the same in every run.
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

fn members(r: &mut Seeded, n: usize) -> Vec<String> {
    let trunk = r.below(50);
    vec![
        format!("\"time\":{}", 1_767_225_600_000 + n as u64 * 700 + r.below(3)),
        "\"kind\":\"cdr\"".into(),
        format!("\"call_id\":\"{:016x}-{n}@sbc{:02}.example.net\"", r.below(u64::MAX), trunk % 8),
        format!("\"direction\":\"{}\"", if r.below(10) < 7 { "inbound" } else { "outbound" }),
        format!("\"caller\":\"+4670{:07}\"", r.below(10_000_000)),
        format!("\"callee\":\"+1210{:07}\"", r.below(10_000_000)),
        format!("\"trunk\":\"trk-{trunk:02}\""),
        format!("\"source_ip\":\"10.{trunk}.{}.{}\"", r.below(256), r.below(256)),
        "\"status\":\"answered\"".into(),
        "\"sip_code\":200".into(),
        format!("\"duration\":{}.{:03}", r.below(600), r.below(1000)),
    ]
}

fn ndjson(shuffled: bool) -> Vec<u8> {
    let mut r = Seeded(42);
    let line = |n| {
        let mut members = members(&mut r, n);
        for at in (1..members.len()).rev().filter(|_| shuffled) {
            members.swap(at, r.below(at as u64 + 1) as usize);
        }
        format!("{{{}}}\n", members.join(","))
    };
    (0..N_EVENTS).map(line).collect::<String>().into_bytes()
}

fn asterisk() -> Vec<u8> {
    let mut r = Seeded(42);
    let line = |n| {
        format!(
            "\"\",\"0701{:06}\",\"0802{:06}\",\"from-internal\",\"\"\"Test\"\" <1001>\",\"PJSIP/1001-{n:08x}\",\
             \"PJSIP/trunk-{n:08x}\",\"Dial\",\"PJSIP/trunk/x,30\",\"2026-03-02 10:00:00\",\"2026-03-02 10:00:04\",\
             \"2026-03-02 10:01:{:02}\",60,56,\"ANSWERED\",\"DOCUMENTATION\",\"1772445600.{n}\",\"\"\n",
            r.below(1_000_000),
            r.below(1_000_000),
            n % 60,
        )
    };
    (0..N_EVENTS).map(line).collect::<String>().into_bytes()
}

/// INVITEs as a trunk sends them, each of `INVITE_BYTES` with what there is of its session description.
fn invites() -> Vec<Vec<u8>> {
    const INVITE_BYTES: usize = 600;
    let mut r = Seeded(42);
    let invite = |n| {
        let (caller, callee) = (r.below(10_000_000), r.below(10_000_000));
        let mut text = format!(
            "INVITE sip:+1210{callee:07}@10.0.0.2:5060;user=phone SIP/2.0\r\n\
             Via: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK{n:012x};rport\r\n\
             Max-Forwards: 70\r\n\
             From: \"Alice\" <sip:+4670{caller:07}@10.0.0.1;user=phone>;tag={:08x}\r\n\
             To: <sip:+1210{callee:07}@10.0.0.2;user=phone>\r\n\
             Call-ID: {:016x}-{n}@10.0.0.1\r\n\
             CSeq: 1 INVITE\r\n\
             Contact: <sip:+4670{caller:07}@10.0.0.1:5060;transport=udp>\r\n\
             P-Asserted-Identity: <sip:+4670{caller:07}@10.0.0.1>\r\n\
             Allow: INVITE, ACK, CANCEL, BYE, OPTIONS\r\n\
             User-Agent: bench\r\n\
             Content-Type: application/sdp\r\nContent-Length: 250\r\n\r\nv=0\r\n",
            r.below(u64::MAX),
            r.below(u64::MAX),
        )
        .into_bytes();
        text.resize(INVITE_BYTES, b'a');
        text
    };
    (0..N_EVENTS).map(invite).collect()
}

/// What an endpoint answers them with.
fn responses(invites: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let response = |invite: &Vec<u8>| {
        let text = String::from_utf8_lossy(invite);
        let copied = text.lines().filter(|l| ["Via", "From", "To", "Call-ID", "CSeq"].iter().any(|h| l.starts_with(h)));
        let head = copied.map(|line| format!("{line}\r\n")).collect::<String>();
        format!(
            "SIP/2.0 180 Ringing\r\n{head}Contact: <sip:10.0.0.2:5060>\r\nServer: bench\r\nContent-Length: 0\r\n\r\n"
        )
    };
    invites.iter().map(|invite| response(invite).into_bytes()).collect()
}

fn messages(criterion: &mut Criterion) {
    let invites = invites();
    let mut group = criterion.benchmark_group("sip");
    group.throughput(Throughput::Elements(N_EVENTS as u64));
    for (name, messages) in [("responses", responses(&invites)), ("invites of 600 bytes", invites)] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                for message in &messages {
                    assert!(black_box(sip::parse(black_box(message))).is_ok());
                }
            });
        });
    }
    group.finish();
}

fn codec(criterion: &mut Criterion) {
    let settings =
        Settings { dialect: DialectName::Asterisk, time_zone: Some("Europe/Stockholm".into()), ..Settings::default() };
    let csv = Format::Csv(Arc::new(Dialect::new(&settings).expect("the settings are complete")));
    let mut group = criterion.benchmark_group("codec");
    group.throughput(Throughput::Elements(N_EVENTS as u64));
    for (name, format, bytes) in [
        ("ndjson, keys in one order", Format::Ndjson, ndjson(false)),
        ("ndjson, keys in any order", Format::Ndjson, ndjson(true)),
        ("csv, asterisk", csv, asterisk()),
    ] {
        let context = Arc::new(FeedContext::file(Arc::new(Names::new()), DialPlan::default()));
        let mut decoder = Decoder::new(&format, context);
        let mut batch = Batch { block: bytes, ..Batch::default() };
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let block = std::mem::take(&mut batch.block);
                decoder.decode(black_box(block), None, &mut batch);
                assert_eq!(batch.events.len(), N_EVENTS);
            });
        });
    }
    group.finish();
}

/// A batch of call records as the engine hands it out.
fn judged() -> Judged {
    let mut decoder =
        Decoder::new(&Format::Ndjson, Arc::new(FeedContext::file(Arc::new(Names::new()), DialPlan::default())));
    let mut batch = Batch::default();
    decoder.decode(ndjson(false), None, &mut batch);
    assert_eq!(batch.events.len(), N_EVENTS);
    Judged { batch, verdicts: vec![Verdict::default(); N_EVENTS], ..Judged::default() }
}

fn journal_in(folder: &std::path::Path) -> Journal {
    let disk = Disk::real();
    Journal::open(Options {
        identity: Identity::open(&disk, folder).expect("a new folder"),
        names: NamesFile::open(&disk, folder).expect("a new folder").0,
        disk,
        folder: folder.to_owned(),
        settings: JournalSettings { durability: Durability::None, ..JournalSettings::default() },
        context: Arc::default(),
        start: Start::default(),
        listener: Box::new(|committed| drop(committed)),
    })
    .expect("a new folder")
}

fn journal(criterion: &mut Criterion) {
    let mut judged = judged();
    let mut group = criterion.benchmark_group("journal");
    group.throughput(Throughput::Elements(N_EVENTS as u64));
    let (mut encoder, mut bytes) = (Encoder::default(), Vec::new());
    group.bench_function("encode", |bencher| {
        bencher.iter(|| {
            bytes.clear();
            encoder.encode(black_box(&judged), &mut bytes)
        });
    });
    eprintln!("{} bytes an event", bytes.len() / N_EVENTS);
    group.bench_function("decode", |bencher| bencher.iter(|| decode(black_box(&bytes), 1).expect("it was encoded")));
    // Encoded, framed and written; what the writer cannot keep up with is waited for.
    let folder = tempfile::tempdir().expect("a temporary folder");
    let journal = journal_in(folder.path());
    group.bench_function("append", |bencher| {
        bencher.iter(|| {
            let Appended::Record { number, .. } = journal.append(&mut judged) else { panic!("there is room") };
            if number % 1024 == 0 {
                journal.trim(number).expect("the folder is ours");
            }
            while !journal.has_room() {
                std::thread::yield_now();
            }
        });
    });
    group.finish();
}

criterion_group!(benches, codec, messages, journal);
criterion_main!(benches);
