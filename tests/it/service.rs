//! The service as gateways and operators meet it: a real one on port 0, in this process, over real sockets.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ringfence::config::{self, Config};
use ringfence::notify::Observer;
use ringfence::policy::{LoadOptions, RuleSource, load};
use ringfence::service::{self, Running, Setup};
use serde_json::{Value, json};

/// Blocks one caller; tells of three calls by one caller within a minute.
pub(crate) const RULES: &str = r#"
ringfence = 1
default_action = "allow"

[[firewall]]
id = "fw-harasser"
when = 'caller == +46700000666'
action = "block"
sip_code = 603

[[threshold]]
id = "ips-many"
on = "attempt"
measure = "count"
per = ["caller"]
window = "1m"
warning = ">= 3"
critical = ">= 5"
"#;

/// A running service and the threads it runs on.
pub(crate) struct Fixture {
    runtime: tokio::runtime::Runtime,
    running: Option<Running>,
    folder: tempfile::TempDir,
}

impl Fixture {
    /// [`Fixture::start`] with somebody who looks on.
    pub(crate) fn watched(feed: &str, observer: Observer) -> Fixture {
        Fixture::build(tempfile::tempdir().expect("a temporary folder"), feed, "", Some(observer))
    }

    /// `feed` and `rest` are lines of the settings; `FOLDER` in them is a temporary folder.
    pub(crate) fn start(feed: &str, rest: &str) -> Fixture {
        Fixture::in_folder(tempfile::tempdir().expect("a temporary folder"), feed, rest)
    }

    pub(crate) fn in_folder(folder: tempfile::TempDir, feed: &str, rest: &str) -> Fixture {
        Fixture::build(folder, feed, rest, None)
    }

    fn build(folder: tempfile::TempDir, feed: &str, rest: &str, observer: Option<Observer>) -> Fixture {
        let text = format!(
            "[http]\nlisten = \"127.0.0.1:0\"\n[metrics]\nlisten = \"127.0.0.1:0\"\n\
             [output]\nviolations = \"FOLDER/violations.jsonl\"\n{rest}\n[[feed]]\nlisten = \"127.0.0.1:0\"\n{feed}\n"
        );
        let text = text.replace("FOLDER", folder.path().to_str().expect("a plain path"));
        let (config, problems) = config::parse(&text, &folder.path().join("ringfence.toml"));
        let config = config.unwrap_or_else(|| panic!("{problems:?}"));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("threads");
        let running = runtime.block_on(start(config, observer)).expect("starts");
        Fixture { runtime, running: Some(running), folder }
    }

    /// Stops it; the folder with all that it leaves.
    pub(crate) fn into_folder(mut self) -> tempfile::TempDir {
        self.stop();
        self.folder
    }

    pub(crate) fn path(&self) -> &std::path::Path {
        self.folder.path()
    }

    pub(crate) fn running(&self) -> &Running {
        self.running.as_ref().expect("not stopped yet")
    }

    fn connect(&self) -> Gateway<TcpStream> {
        Gateway::new(self.tcp())
    }

    pub(crate) fn tcp(&self) -> TcpStream {
        let stream = TcpStream::connect(self.running().feeds[0].1).expect("connects");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a time-out");
        stream
    }

    pub(crate) fn get(&self, address: Option<SocketAddr>, path: &str) -> String {
        let mut stream = TcpStream::connect(address.expect("an address")).expect("connects");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("sends");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answers");
        answer
    }

    pub(crate) fn metrics(&self) -> String {
        self.get(self.running().metrics_address, "/metrics")
    }

    /// Waits until a line of the metrics is there: things are counted when they have happened.
    pub(crate) fn wait_for_metric(&self, line: &str) {
        let begun = Instant::now();
        while !self.metrics().lines().any(|l| l == line) {
            assert!(begun.elapsed() < Duration::from_secs(10), "no line {line:?} in\n{}", self.metrics());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn stop(&mut self) -> Vec<Value> {
        let running = self.running.take().expect("stopped once");
        self.runtime.block_on(running.stop());
        let lines = std::fs::read_to_string(self.folder.path().join("violations.jsonl")).expect("the output");
        lines.lines().map(|l| serde_json::from_str(l).expect("JSON lines")).collect()
    }
}

async fn start(config: Config, observer: Option<Observer>) -> anyhow::Result<Running> {
    let loaded = load(&RuleSource::memory([("ruleset.toml", RULES)]), LoadOptions::default());
    let policy = Arc::new(loaded.policy.unwrap_or_else(|| panic!("{:?}", loaded.problems)));
    service::start(Setup { config, policy, observer }).await
}

/// The other end.
struct Gateway<S> {
    stream: BufReader<S>,
}

impl<S: Read + Write> Gateway<S> {
    fn new(stream: S) -> Gateway<S> {
        Gateway { stream: BufReader::new(stream) }
    }

    fn send(&mut self, text: &str) {
        self.send_bytes(text.as_bytes());
    }

    fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).expect("sends");
        self.stream.get_mut().flush().expect("sends");
    }

    /// The next line; `None` at the end of the connection.
    fn line(&mut self) -> Option<Value> {
        let mut line = String::new();
        match self.stream.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(serde_json::from_str(&line).unwrap_or_else(|e| panic!("{line:?}: {e}"))),
            Err(e) if e.kind() == ErrorKind::ConnectionReset => None,
            Err(e) => panic!("no line: {e}"),
        }
    }

    fn hello(&mut self, hello: &Value) -> Value {
        self.send(&format!("{}\n", json!({ "hello": hello })));
        self.line().expect("an answer to the hello")
    }

    /// Lines up to the acknowledgement of `seq`, without acknowledgements.
    fn until_ack(&mut self, seq: u64) -> Vec<Value> {
        let mut lines = Vec::new();
        loop {
            let line = self.line().expect("an acknowledgement");
            match line.get("ack").and_then(Value::as_u64) {
                Some(acked) if acked >= seq => return lines,
                Some(_) => {}
                None => lines.push(line),
            }
        }
    }
}

/// An attempt. Times rise with `seq`.
fn attempt(seq: u64, caller: &str) -> String {
    let time = 1_767_225_600_000 + seq * 10;
    format!(
        "{{\"time\":{time},\"seq\":{seq},\"kind\":\"attempt\",\"call_id\":\"c{seq}\",\"direction\":\"inbound\",\
         \"caller\":\"{caller}\",\"callee\":\"+46840000{:02}\"}}\n",
        seq % 100
    )
}

#[test]
fn a_gateway_without_a_hello_is_heard_and_hears_nothing() {
    let mut fixture = Fixture::start("", "");
    let mut gateway = fixture.connect();
    for seq in 1..=3 {
        gateway.send(&attempt(seq, "+46700000001"));
    }
    fixture.wait_for_metric("ringfence_ingest_events_total{feed=\"ndjson\",kind=\"attempt\"} 3");
    let found = fixture.stop();
    assert_eq!(gateway.line(), None);
    assert_eq!(found.len(), 1, "{found:?}");
    let violation = &found[0];
    assert_eq!((&violation["rule"], &violation["level"]), (&json!("ips-many"), &json!("warning")));
    assert_eq!(violation["key"], json!({ "caller": "+46700000001" }));
    assert!(violation["id"].is_string());
}

#[test]
fn acknowledgements_are_cumulative_and_a_reconnect_goes_on_where_it_stopped() {
    let mut fixture = Fixture::start("name = \"sbc\"", "");
    let mut gateway = fixture.connect();
    let hello = json!({ "gateway": "sbc-east", "reply": "ack" });
    assert_eq!(gateway.hello(&hello), json!({ "welcome": { "gateway": "sbc-east", "last_seq": 0, "durable": true } }));
    let lines: String = (1..=1000).map(|seq| attempt(seq, &format!("+4670{seq:07}"))).collect();
    gateway.send(&lines);
    assert_eq!(gateway.until_ack(1000), [json!(null); 0]);
    drop(gateway);

    let mut gateway = fixture.connect();
    assert_eq!(gateway.hello(&hello)["welcome"]["last_seq"], json!(1000));
    // What comes twice is dropped, counted and acknowledged; an event without seq is rejected.
    let no_seq = attempt(1001, "+46700000001").replace("\"seq\":1001,", "");
    gateway.send(
        &(attempt(999, "+46700000001") + &attempt(1000, "+46700000001") + &no_seq + &attempt(1001, "+46700000001")),
    );
    assert_eq!(gateway.until_ack(1001), [json!({ "reject": { "seq": null, "reason": "no_seq" } })]);
    let metrics = fixture.metrics();
    assert!(metrics.contains("ringfence_ingest_duplicates_total{feed=\"sbc\"} 2"), "{metrics}");
    assert!(metrics.contains("ringfence_ingest_rejects_total{feed=\"sbc\",reason=\"no_seq\"} 1"), "{metrics}");
    fixture.stop();
}

#[test]
fn verdicts_come_one_an_event_in_order_with_rejects_between() {
    let mut fixture = Fixture::start("", "");
    let mut gateway = fixture.connect();
    gateway.hello(&json!({ "gateway": "sbc", "reply": "verdict" }));
    gateway.send(&(attempt(1, "+46700000666") + "{\"seq\":2}\n" + &attempt(3, "+46700000001")));
    let lines = gateway.until_ack(3);
    let expected = [
        json!({ "seq": 1, "call_id": "c1", "action": "block", "rule": "fw-harasser", "cause": "policy", "sip": 603 }),
        json!({ "reject": { "seq": 2, "reason": "no_time" } }),
        json!({ "seq": 3, "call_id": "c3", "action": "allow", "rule": "default", "cause": "none" }),
    ];
    assert_eq!(lines, expected);
    let emergency = attempt(4, "+46700000666").replace("+4684000004", "112");
    gateway.send(&emergency);
    assert_eq!(gateway.until_ack(4)[0]["rule"], json!("builtin:emergency"));
    fixture.wait_for_metric("ringfence_verdicts_total{action=\"block\",cause=\"policy\"} 1");
    fixture.wait_for_metric("ringfence_rule_matches_total{rule=\"fw-harasser\"} 1");
    assert!(fixture.metrics().contains("ringfence_event_latency_seconds_count 3"));
    fixture.stop();
}

#[test]
fn many_large_blocks_of_one_connection_keep_their_order() {
    let mut fixture = Fixture::start("", "");
    let mut gateway = fixture.connect();
    gateway.hello(&json!({ "gateway": "sbc", "reply": "verdict" }));
    let n = 20_000;
    let mut writer = gateway.stream.get_ref().try_clone().expect("a second handle");
    let sender = std::thread::spawn(move || {
        let lines: String = (1..=n).map(|seq| attempt(seq, &format!("+4670{seq:07}"))).collect();
        writer.write_all(lines.as_bytes()).expect("sends");
    });
    let seqs: Vec<u64> = gateway.until_ack(n).iter().map(|l| l["seq"].as_u64().expect("a seq")).collect();
    assert_eq!(seqs, (1..=n).collect::<Vec<_>>());
    sender.join().expect("sent");
    fixture.stop();
}

#[test]
fn a_stop_loses_nothing_that_was_read() {
    let mut fixture = Fixture::start("", "");
    let mut gateway = fixture.connect();
    gateway.hello(&json!({ "gateway": "sbc", "reply": "ack" }));
    let n = 50_000;
    let lines: String = (1..=n).map(|seq| attempt(seq, "+46700000001")).collect();
    let mut writer = gateway.stream.get_ref().try_clone().expect("a second handle");
    let sender = std::thread::spawn(move || writer.write_all(lines.as_bytes()));
    gateway.until_ack(1);
    let running = fixture.running.take().expect("running");
    let totals = fixture.runtime.block_on(running.stop());
    // The last acknowledgement is what was judged: neither more nor less.
    let mut acked = 0;
    let mut line = String::new();
    while gateway.stream.read_line(&mut line).is_ok_and(|n| n > 0) {
        let ack: Value = serde_json::from_str(&line).expect("JSON");
        acked = ack["ack"].as_u64().unwrap_or(acked);
        line.clear();
    }
    if acked > 0 {
        assert_eq!(totals.judged, acked);
    }
    assert!(totals.judged >= 1);
    drop(sender.join());
}

#[test]
fn the_last_line_needs_no_newline() {
    let mut fixture = Fixture::start("", "");
    let mut stream = fixture.tcp();
    stream.write_all(attempt(1, "+46700000001").trim_end().as_bytes()).expect("sends");
    drop(stream);
    fixture.wait_for_metric("ringfence_ingest_events_total{feed=\"ndjson\",kind=\"attempt\"} 1");
    fixture.stop();
}

#[test]
fn a_call_without_its_end_is_told_when_the_stream_of_its_rows_ends() {
    let mut fixture = Fixture::start("name = \"proxy\"\nformat = \"csv\"\ncsv = { dialect = \"kamailio-acc\" }\n", "");
    let mut stream = fixture.tcp();
    stream.write_all(b"INVITE|a|b|one@x|200|OK|1772445600\nINVITE|c|d|two@x|486|Busy|1772445600\n").expect("sends");
    fixture.wait_for_metric("ringfence_ingest_events_total{feed=\"proxy\",kind=\"cdr\"} 1");
    drop(stream);
    fixture.wait_for_metric("ringfence_ingest_events_total{feed=\"proxy\",kind=\"cdr\"} 2");
    fixture.stop();
}

#[test]
fn half_a_line_and_then_silence_ends_the_connection() {
    let mut fixture = Fixture::start("slow_timeout_s = 1", "");
    let mut first = fixture.connect();
    first.send("{\"time\":17672");
    let mut later = fixture.connect();
    later.hello(&json!({ "reply": "ack" }));
    later.send(&(attempt(1, "+46700000001") + "{\"time\":17672"));
    later.until_ack(1);
    assert_eq!(first.line(), None);
    assert_eq!(later.line(), None);
    fixture.wait_for_metric("ringfence_ingest_connections_closed_total{feed=\"ndjson\",reason=\"slow_sender\"} 2");
    fixture.wait_for_metric("ringfence_ingest_connections{feed=\"ndjson\"} 0");
    fixture.stop();
}

#[test]
fn a_slow_sender_is_slow_however_often_it_sends() {
    let mut fixture = Fixture::start("slow_timeout_s = 1", "");
    let mut stream = fixture.tcp();
    let begun = Instant::now();
    // One byte at a time would keep a connection for ever if only silence counted.
    while stream.write_all(b"x").is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(8), "still open");
        std::thread::sleep(Duration::from_millis(50));
    }
    fixture.wait_for_metric("ringfence_ingest_connections_closed_total{feed=\"ndjson\",reason=\"slow_sender\"} 1");
    fixture.stop();
}

#[test]
fn silence_ends_a_connection_after_the_idle_time() {
    let mut fixture = Fixture::start("idle_timeout_s = 1", "");
    let mut silent = fixture.connect();
    let mut greeted = fixture.connect();
    greeted.hello(&json!({ "reply": "ack" }));
    assert_eq!(silent.line(), None);
    assert_eq!(greeted.line(), None);
    fixture.wait_for_metric("ringfence_ingest_connections_closed_total{feed=\"ndjson\",reason=\"idle\"} 2");
    fixture.stop();
}

#[test]
fn long_lines_and_noise_cost_only_themselves() {
    let mut fixture = Fixture::start("", "");
    let mut gateway = fixture.connect();
    gateway.hello(&json!({ "reply": "verdict" }));
    let long = format!("{{\"time\":1767225600,\"seq\":1,\"caller_name\":\"{}\"}}\n", "x".repeat(70_000));
    gateway.send(&(attempt(1, "+46700000001") + &long + &attempt(2, "+46700000001")));
    let noise: Vec<u8> = (0..50_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    gateway.send_bytes(&noise);
    gateway.send(&("\n".to_owned() + &attempt(3, "+46700000001")));
    let lines = gateway.until_ack(3);
    let verdicts: Vec<_> = lines.iter().filter_map(|l| l.get("seq").and_then(Value::as_u64)).collect();
    assert_eq!(verdicts, [1, 2, 3]);
    let n_rejects = |reason| lines.iter().filter(|l| l["reject"]["reason"] == json!(reason)).count();
    assert_eq!(n_rejects("line_too_long"), 1);
    assert!(n_rejects("not_utf8") > 10, "noise was not rejected line by line");
    fixture.stop();
}

#[test]
fn noise_instead_of_a_hello_is_rejected_and_the_next_connection_works() {
    let mut fixture = Fixture::start("", "");
    let mut gateway = fixture.connect();
    gateway.send_bytes(&[0xff; 10_000]);
    gateway.send_bytes(b"\n\x00\x01\x02\n");
    drop(gateway);
    fixture.wait_for_metric("ringfence_ingest_rejects_total{feed=\"ndjson\",reason=\"not_utf8\"} 1");
    let mut gateway = fixture.connect();
    gateway.hello(&json!({ "reply": "ack" }));
    gateway.send(&attempt(1, "+46700000001"));
    gateway.until_ack(1);
    fixture.stop();
}

fn with_token(feed: &str) -> Fixture {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("token"), "s3cret\n").expect("writes");
    Fixture::in_folder(folder, &format!("token_file = \"FOLDER/token\"\n{feed}"), "")
}

#[test]
fn a_wrong_token_is_told_so_and_gets_no_further() {
    let mut fixture = with_token("");
    let refusal = |reason: &str| json!({ "reject": { "seq": null, "reason": reason } });
    let mut wrong = fixture.connect();
    assert_eq!(wrong.hello(&json!({ "token": "guess" })), refusal("wrong_token"));
    assert_eq!(wrong.line(), None);
    let mut none = fixture.connect();
    none.send(&attempt(1, "+46700000001"));
    assert_eq!(none.line(), Some(refusal("no_hello")));
    let mut right = fixture.connect();
    assert!(right.hello(&json!({ "token": "s3cret" })).get("welcome").is_some());
    let metrics = fixture.metrics();
    assert!(metrics.contains("reason=\"unauthorised\"} 2"), "{metrics}");
    assert!(metrics.contains("ringfence_ingest_events_total{feed=\"ndjson\",kind=\"attempt\"} 0"), "{metrics}");
    fixture.stop();
}

#[test]
fn who_owes_a_hello_owes_it_soon() {
    let mut fixture = with_token("handshake_timeout_s = 1");
    let mut silent = fixture.connect();
    let mut halting = fixture.connect();
    halting.send("{\"hello\":");
    assert_eq!(silent.line(), None);
    assert_eq!(halting.line(), None);
    fixture
        .wait_for_metric("ringfence_ingest_connections_closed_total{feed=\"ndjson\",reason=\"handshake_timeout\"} 2");
    fixture.stop();
}

#[test]
fn connections_past_the_limits_are_refused_and_places_are_given_back() {
    let mut fixture = Fixture::start("connections_max = 3\nconnections_per_address_max = 2", "");
    let mut one = fixture.connect();
    one.hello(&json!({}));
    let mut two = fixture.connect();
    two.hello(&json!({}));
    assert_eq!(fixture.connect().line(), None);
    fixture.wait_for_metric(
        "ringfence_ingest_connections_closed_total{feed=\"ndjson\",reason=\"too_many_from_address\"} 1",
    );
    drop(one);
    fixture.wait_for_metric("ringfence_ingest_connections{feed=\"ndjson\"} 1");
    let mut three = fixture.connect();
    assert!(three.hello(&json!({})).get("welcome").is_some());
    fixture.stop();
}

#[test]
fn hundreds_of_connections_are_held_and_served() {
    let mut fixture = Fixture::start("", "");
    let mut gateways: Vec<_> = (0..400).map(|_| fixture.connect()).collect();
    for (i, gateway) in gateways.iter_mut().enumerate() {
        let welcome = gateway.hello(&json!({ "gateway": format!("g{i}"), "reply": "ack" }));
        assert_eq!(welcome["welcome"]["gateway"], json!(format!("g{i}")));
    }
    for gateway in &mut gateways {
        gateway.send(&attempt(1, "+46700000001"));
    }
    for gateway in &mut gateways {
        gateway.until_ack(1);
    }
    fixture.wait_for_metric("ringfence_ingest_connections{feed=\"ndjson\"} 400");
    fixture.stop();
}

#[test]
fn health_readiness_and_metrics_are_served_each_at_its_address() {
    let mut fixture = Fixture::start("", "");
    let http = fixture.running().http;
    assert!(fixture.get(http, "/healthz").starts_with("HTTP/1.1 200"));
    assert!(fixture.get(http, "/readyz").ends_with("ready\n"));
    assert!(fixture.get(http, "/metrics").starts_with("HTTP/1.1 404"));
    assert!(fixture.metrics().starts_with("HTTP/1.1 200"));
    fixture.stop();
}

#[test]
fn a_verdict_that_misses_its_deadline_is_the_default_and_says_so() {
    let held = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&held);
    // A large block that takes long to hand out, in a thread of its own.
    let hold_a_large_one = move |judged: &ringfence::engine::Judged, _: &ringfence::event::Names| {
        if judged.verdicts.len() > 250 && !seen.swap(true, Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(500));
        }
    };
    let mut fixture = Fixture::watched("", Box::new(hold_a_large_one));
    let mut gateway = fixture.connect();
    gateway.hello(&json!({ "gateway": "sbc", "reply": "verdict" }));
    let mut other = fixture.connect();
    other.hello(&json!({ "gateway": "other" }));
    let lines: String = (1..=5000).map(|seq| attempt(seq, &format!("+4670{seq:07}"))).collect();
    other.send(&lines);
    while !held.load(Ordering::Relaxed) {
        std::thread::yield_now();
    }
    let begun = Instant::now();
    gateway.send(&attempt(7, "+46700000666"));
    let late =
        json!({ "seq": 7, "call_id": "c7", "action": "allow", "rule": "default", "cause": "none", "late": true });
    assert_eq!(gateway.line(), Some(late));
    assert!(begun.elapsed() < Duration::from_millis(300), "answered after {:?}", begun.elapsed());
    // The event is judged all the same, and acknowledged; its own verdict is not told any more.
    assert_eq!(gateway.until_ack(7), [json!(null); 0]);
    gateway.send(&attempt(8, "+46700000666"));
    assert_eq!(gateway.until_ack(8)[0]["action"], json!("block"));
    fixture.wait_for_metric("ringfence_verdicts_late_total{feed=\"ndjson\"} 1");
    fixture.stop();
}

/// An authority, a server's and a client's certificate of it, as files in a folder.
fn certificates() -> tempfile::TempDir {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("writes");
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let authority = params.self_signed(&key).expect("signs");
    write("ca.pem", &authority.pem());
    let issuer = Issuer::new(params, key);
    for name in ["server", "client"] {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        write(&format!("{name}.pem"), &params.signed_by(&key, &issuer).expect("signs").pem());
        write(&format!("{name}.key"), &key.serialize_pem());
    }
    folder
}

type Tls = rustls::StreamOwned<rustls::ClientConnection, TcpStream>;

fn tls(fixture: &Fixture, with_certificate: bool) -> Gateway<Tls> {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
    let file = |name: &str| fixture.folder.path().join(name);
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(file("ca.pem")).expect("reads")).expect("an authority");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.expect("versions").with_root_certificates(roots);
    let config = if with_certificate {
        let certificate = CertificateDer::from_pem_file(file("client.pem")).expect("reads");
        let key = PrivateKeyDer::from_pem_file(file("client.key")).expect("reads");
        builder.with_client_auth_cert(vec![certificate], key).expect("fits")
    } else {
        builder.with_no_client_auth()
    };
    let name = ServerName::try_from("localhost").expect("a name");
    let client = rustls::ClientConnection::new(Arc::new(config), name).expect("a client");
    Gateway::new(rustls::StreamOwned::new(client, fixture.tcp()))
}

#[test]
fn mutual_tls_lets_in_whom_the_authority_knows_and_nobody_else() {
    let files = "tls.cert_file = \"FOLDER/server.pem\"\ntls.key_file = \"FOLDER/server.key\"\n\
                 tls.client_ca_file = \"FOLDER/ca.pem\"\nhandshake_timeout_s = 1";
    let mut fixture = Fixture::in_folder(certificates(), files, "");
    let mut known = tls(&fixture, true);
    assert!(known.hello(&json!({ "gateway": "sbc", "reply": "verdict" })).get("welcome").is_some());
    let lines: String = (1..=2000).map(|seq| attempt(seq, &format!("+4670{seq:07}"))).collect();
    known.send(&lines);
    assert_eq!(known.until_ack(2000).len(), 2000);

    let mut unknown = tls(&fixture, false);
    let hello = unknown.stream.get_mut().write_all(b"{\"hello\":{}}\n");
    let answer = unknown.stream.read_line(&mut String::new());
    assert!(hello.is_err() || answer.is_err() || matches!(answer, Ok(0)), "let in without a certificate");
    let mut plain = fixture.connect();
    plain.send(&attempt(1, "+46700000001"));
    // Whatever the server says is an alert, and no line of ours.
    plain.stream.read_to_end(&mut Vec::new()).unwrap_or_default();
    let mut silent = fixture.connect();
    assert_eq!(silent.line(), None);
    fixture.wait_for_metric("ringfence_ingest_connections_closed_total{feed=\"ndjson\",reason=\"tls\"} 2");
    fixture
        .wait_for_metric("ringfence_ingest_connections_closed_total{feed=\"ndjson\",reason=\"handshake_timeout\"} 1");
    fixture.stop();
}

/// Answers every POST with the next of `statuses` (then 200) and hands the bodies out.
fn web_server(statuses: &'static [&'static str]) -> (SocketAddr, std::sync::mpsc::Receiver<(String, Value)>) {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
    let address = socket.local_addr().expect("an address");
    let (send, bodies) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut statuses = statuses.iter();
        for stream in socket.incoming() {
            let mut stream = BufReader::new(stream.expect("accepts"));
            let (mut head, mut length) = (String::new(), 0);
            while !head.ends_with("\r\n\r\n") {
                if stream.read_line(&mut head).unwrap_or(0) == 0 {
                    break;
                }
            }
            for line in head.lines() {
                if let Some(n) = line.to_lowercase().strip_prefix("content-length:") {
                    length = n.trim().parse().expect("a number");
                }
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).expect("a body");
            let status = statuses.next().unwrap_or(&"200 OK");
            write!(stream.get_mut(), "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                .expect("answers");
            if status.starts_with('2') {
                let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                let body = serde_json::from_slice(&body).expect("JSON");
                if send.send((path, body)).is_err() {
                    return;
                }
            }
        }
    });
    (address, bodies)
}

#[test]
fn alertmanager_hears_of_the_warning_its_end_and_the_critical_after_trouble() {
    let (address, bodies) = web_server(&["503 Service Unavailable"]);
    let mut fixture = Fixture::start("", &format!("[alertmanager]\nurls = [\"http://{address}\"]"));
    let mut gateway = fixture.connect();
    gateway.hello(&json!({ "gateway": "sbc", "reply": "ack" }));
    let next = || bodies.recv_timeout(Duration::from_secs(10)).expect("a POST");
    (1..=3).for_each(|seq| gateway.send(&attempt(seq, "+46700000001")));
    let (path, alerts) = next();
    assert_eq!(path, "/api/v2/alerts");
    let labels =
        json!({ "alertname": "ips-many", "customer": "default", "key": "caller=+46700000001", "severity": "warning" });
    assert_eq!(alerts[0]["labels"], labels);
    assert_eq!(alerts[0]["annotations"]["value"], json!("3"));
    gateway.until_ack(3);
    (4..=5).for_each(|seq| gateway.send(&attempt(seq, "+46700000001")));
    let mut told = Vec::new();
    while told.len() < 2 {
        let (_, alerts) = next();
        for alert in alerts.as_array().expect("an array") {
            let ends_later = alert["endsAt"].as_str() > Some(&ringfence::clock::Clock.now().to_string());
            told.push((alert["labels"]["severity"].clone(), ends_later));
        }
    }
    assert_eq!(told, [(json!("warning"), false), (json!("critical"), true)]);
    fixture.wait_for_metric("ringfence_deliveries_total{channel=\"alertmanager\",outcome=\"retried\"} 1");
    fixture.stop();
}
