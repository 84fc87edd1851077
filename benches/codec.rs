//! How many events a second one thread decodes, by format: NDJSON as gateways write it, the same with keys in
//! ever-changing order, Asterisk CSV. How many SIP messages it parses: INVITEs of 600 bytes, responses of 400. How many
//! HEP packets of calls it takes into the call table, without and with an annex of what they changed, and how long a part
//! of a table of a million calls is locked to be saved. And what it costs to journal an event: as bytes and back, and all
//! the way to a file.
//!
//! `cargo bench --bench codec`. Inputs come from a fixed seed and look like workload W1.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ringfence::engine::{Judged, Verdict};
use ringfence::event::dialplan::DialPlan;
use ringfence::event::{Batch, Names};
use ringfence::ingest::calls::Recovery;
use ringfence::ingest::csv::{Dialect, DialectName, Settings};
use ringfence::ingest::{CallTable, Decoder, FeedContext, Format, sip};
use ringfence::journal::{
    Appended, Durability, Encoder, Identity, Journal, NamesFile, Options, Settings as JournalSettings, Start, decode,
};
use ringfence::limits::BLOCK_BYTES;
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
        listener: Box::new(drop),
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

/// Calls that are up at once, of those that end.
const UP: usize = 20_000;

fn packet(ms: u64, from: [u8; 4], to: [u8; 4], payload: &str, out: &mut Vec<u8>) {
    let (seconds, micros) = ((ms / 1000) as u32, (ms % 1000 * 1000) as u32);
    let chunks: [(u16, &[u8]); 11] = [
        (1, &[2]),
        (2, &[17]),
        (3, &from),
        (4, &to),
        (7, &5060u16.to_be_bytes()),
        (8, &5060u16.to_be_bytes()),
        (9, &seconds.to_be_bytes()),
        (10, &micros.to_be_bytes()),
        (11, &[1]),
        (12, &2001u32.to_be_bytes()),
        (15, payload.as_bytes()),
    ];
    let length: usize = 6 + chunks.iter().map(|(_, content)| 6 + content.len()).sum::<usize>();
    out.extend_from_slice(b"HEP3");
    out.extend_from_slice(&(length as u16).to_be_bytes());
    for (kind, content) in chunks {
        let head = [[0, 0], kind.to_be_bytes(), (content.len() as u16 + 6).to_be_bytes()];
        out.extend_from_slice(head.as_flattened());
        out.extend_from_slice(content);
    }
}

/// INVITE, 200 and BYE of a call, as `hep_calls.py` writes them but for their session descriptions.
fn call(n: usize, r: &mut Seeded) -> [String; 3] {
    let host = format!("10.1.{}.{}", n % 200, n % 250);
    let (caller, callee) = (format!("+4670{:07}", r.below(400_000)), format!("+4684{:07}", r.below(1_000_000)));
    let via = format!("Via: SIP/2.0/UDP {host}:5060;branch=z9hG4bK{n:010x};rport\r\n");
    let from = format!("From: \"Anna {}\" <sip:{caller}@pbx{}.example.net>;tag=f{n:x}\r\n", n % 97, n % 50);
    let to = format!("To: <sip:{callee}@sbc.example.net>");
    let call_id = format!("Call-ID: {n:08x}-7f3a-4b2c@{host}\r\n");
    [
        format!(
            "INVITE sip:{callee}@sbc.example.net:5060;user=phone SIP/2.0\r\n{via}Max-Forwards: 70\r\n{from}{to}\r\n\
             {call_id}CSeq: 1 INVITE\r\nContact: <sip:{caller}@{host}:5060>\r\nUser-Agent: Example PBX 18.2.1\r\n\
             P-Asserted-Identity: <sip:{caller}@pbx.example.net>\r\nContent-Length: 0\r\n\r\n"
        ),
        format!(
            "SIP/2.0 200 OK\r\n{via}{from}{to};tag=t{n:x}\r\n{call_id}CSeq: 1 INVITE\r\n\
             Server: Example SBC 4.1\r\nContent-Length: 0\r\n\r\n"
        ),
        format!(
            "BYE sip:{callee}@10.9.9.9:5060 SIP/2.0\r\n{via}Max-Forwards: 70\r\n{from}{to};tag=t{n:x}\r\n{call_id}\
             CSeq: 2 BYE\r\nReason: Q.850;cause=16\r\nContent-Length: 0\r\n\r\n"
        ),
    ]
}

/// Blocks of so many calls, ten a millisecond, and how many messages they are. Those that do not end stay up.
fn hep_blocks(n_calls: usize, end: bool) -> (Vec<Vec<u8>>, u64) {
    let (mut r, mut blocks, mut block) = (Seeded(42), Vec::new(), Vec::new());
    let (mut ringing, mut up) = (std::collections::VecDeque::new(), std::collections::VecDeque::new());
    let mut n_messages = 0;
    for n in 0..n_calls {
        let ms = 1_782_864_000_000 + n as u64 / 10;
        let [invite, ok, bye] = call(n, &mut r);
        let (address, sbc) = ([10, 1, (n % 200) as u8, (n % 250) as u8], [10, 9, 9, 9]);
        packet(ms, address, sbc, &invite, &mut block);
        ringing.push_back((address, ok, bye));
        n_messages += 1;
        if ringing.len() > 500
            && let Some((address, ok, bye)) = ringing.pop_front()
        {
            packet(ms, sbc, address, &ok, &mut block);
            up.push_back((address, bye));
            n_messages += 1;
        }
        if up.len() > UP
            && let Some((address, bye)) = up.pop_front()
            && end
        {
            packet(ms, address, sbc, &bye, &mut block);
            n_messages += 1;
        }
        if block.len() > BLOCK_BYTES - 4096 {
            blocks.push(std::mem::take(&mut block));
        }
    }
    blocks.push(block);
    (blocks, n_messages)
}

/// Shows all blocks to a table, which writes so many bytes of annex.
fn take(blocks: &[Vec<u8>], table: &Arc<CallTable>) -> u64 {
    let names = Arc::new(Names::new());
    let context = FeedContext { calls: Arc::clone(table), ..FeedContext::file(names, DialPlan::default()) };
    let mut decoder = Decoder::new(&Format::Hep, Arc::new(context));
    let (mut batch, mut n_bytes) = (Batch::default(), 0);
    for block in blocks {
        decoder.decode(block.clone(), None, &mut batch);
        n_bytes += batch.annex.len() as u64;
    }
    n_bytes
}

fn calls(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("calls");
    group.sample_size(20);
    let (blocks, n_messages) = hep_blocks(100_000, true);
    group.throughput(Throughput::Elements(n_messages));
    for (name, has_annex) in [("hep", false), ("hep, with annex", true)] {
        let mut n_bytes = 0;
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let table = CallTable::new(1);
                let table = Arc::new(if has_annex { table.with_annex() } else { table });
                n_bytes = take(black_box(&blocks), &table);
            });
        });
        eprintln!("{name}: {} bytes of annex a message", n_bytes / n_messages);
    }
    let table = Arc::new(CallTable::new(1));
    take(&hep_blocks(1_000_000, false).0, &table);
    let mut saved = Vec::new();
    group.throughput(Throughput::Elements(table.take_counts().held / CallTable::PARTS as u64));
    group.bench_function("save a part", |bencher| {
        let mut parts = (0..CallTable::PARTS).cycle();
        bencher.iter(|| {
            saved.clear();
            table.save_part(parts.next().unwrap_or_default(), &mut saved);
        });
    });
    let mut last = Vec::new();
    table.save_part(0, &mut last);
    group.bench_function("restore a part", |bencher| {
        bencher.iter(|| {
            let mut recovery = Recovery::new(Arc::new(CallTable::new(1)));
            assert!(recovery.restore_part(0, black_box(&last)).is_ok());
            recovery.finish();
        });
    });
    eprintln!("a part: {} bytes", last.len());
    group.finish();
}

criterion_group!(benches, codec, messages, calls, journal);
criterion_main!(benches);
