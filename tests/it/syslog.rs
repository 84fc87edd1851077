//! Messages as a real rsyslog takes them, by TLS, compared field by field.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use ringfence::clock::Timestamp;
use ringfence::delivery::syslog::{Format, Framing, Settings, Syslog, Tls};
use ringfence::delivery::{Outcome, Parcel};
use serde_json::{Value, json};

/// What the server writes of each message.
const FIELDS: [(&str, &str); 9] = [
    ("pri", "pri"),
    ("version", "protocol-version"),
    ("time", "timereported\" dateFormat=\"rfc3339"),
    ("host", "hostname"),
    ("app", "app-name"),
    ("process", "procid"),
    ("id", "msgid"),
    ("data", "structured-data"),
    ("text", "msg"),
];

/// A running rsyslog, with TLS that asks for a certificate of its own authority.
struct Server {
    program: Child,
    folder: tempfile::TempDir,
    port: u16,
}

impl Server {
    /// None, after saying so, where the program is not installed or unpacked.
    fn start() -> Option<Server> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&path).map(|folder| folder.join("rsyslogd")).find(|path| path.is_file());
        let modules = found.as_ref().and_then(|program| {
            let libraries = program.parent()?.parent()?.join("lib/x86_64-linux-gnu");
            libraries.join("rsyslog/lmnsd_gtls.so").is_file().then_some(libraries)
        });
        let (Some(program), Some(libraries)) = (found, modules) else {
            eprintln!("NOT RUN: no rsyslogd with rsyslog-gnutls in PATH");
            return None;
        };
        let folder = tempfile::tempdir().expect("a temporary folder");
        certificates(folder.path());
        let settings = settings(folder.path());
        std::fs::write(folder.path().join("rsyslog.conf"), settings).expect("writes");
        let old = std::env::var("LD_LIBRARY_PATH").unwrap_or_default();
        let program = Command::new(program)
            .args(["-n", "-f"])
            .arg(folder.path().join("rsyslog.conf"))
            .arg("-i")
            .arg(folder.path().join("pid"))
            .arg("-M")
            .arg(libraries.join("rsyslog"))
            .env("LD_LIBRARY_PATH", format!("{}:{old}", libraries.display()))
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.path().join("log")).expect("a log"))
            .spawn()
            .expect("rsyslogd starts");
        let mut server = Server { program, folder, port: 0 };
        let read = |server: &Server| std::fs::read_to_string(server.path("port")).ok()?.trim().parse().ok();
        server.port = server.wait("its port", read);
        Some(server)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn wait<T>(&self, what: &str, look: impl Fn(&Server) -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            let log = || std::fs::read_to_string(self.path("log")).unwrap_or_default();
            assert!(begun.elapsed() < Duration::from_secs(30), "rsyslogd: no {what}: {}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What came, once there is so much of it.
    fn messages(&self, n: usize) -> Vec<Value> {
        self.wait("messages", |server| {
            let text = std::fs::read_to_string(server.path("messages")).ok()?;
            let whole: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
            (whole.len() >= n).then_some(whole)
        })
    }

    fn settings(&self, format: Format, framing: Framing) -> Settings {
        let own = Some((self.path("client"), self.path("client.key")));
        Settings {
            host: "localhost".into(),
            port: self.port,
            tls: Some(Tls { ca_file: Some(self.path("ca")), own }),
            format,
            framing,
            facility: 20,
            app_name: "ringfence-test".into(),
            hostname: Some("rf1.example".into()),
            enterprise: 32_473,
            connect_timeout: Duration::from_secs(10),
            send_timeout: Duration::from_secs(10),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.program.kill().expect("it runs");
        self.program.wait().expect("it ends");
    }
}

fn certificates(folder: &Path) {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority");
    std::fs::write(folder.join("ca"), issuer.pem()).expect("writes");
    for name in ["localhost", "client"] {
        let key = KeyPair::generate().expect("a key");
        let certificate = CertificateParams::new([name.to_owned()]).expect("a name").signed_by(&key, &issuer);
        std::fs::write(folder.join(name), certificate.expect("signed").pem()).expect("writes");
        std::fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).expect("writes");
    }
}

fn settings(folder: &Path) -> String {
    let at = folder.display();
    let property =
        |(name, property): (&str, &str)| format!("property(outname=\"{name}\" name=\"{property}\" format=\"jsonf\")");
    let fields = FIELDS.map(property).join(" constant(value=\",\") ");
    format!(
        r#"global(workDirectory="{at}" defaultNetstreamDriver="gtls" defaultNetstreamDriverCAFile="{at}/ca"
  defaultNetstreamDriverCertFile="{at}/localhost" defaultNetstreamDriverKeyFile="{at}/localhost.key")
module(load="imtcp" streamDriver.name="gtls" streamDriver.mode="1" streamDriver.authMode="x509/certvalid")
template(name="fields" type="list") {{ constant(value="{{") {fields} constant(value="}}\n") }}
input(type="imtcp" port="0" listenPortFileName="{at}/port" ruleset="all")
ruleset(name="all") {{ action(type="omfile" file="{at}/messages" template="fields") }}
"#
    )
}

fn parcel(n: u64) -> Parcel {
    Parcel {
        name: format!("DLV-{n:06}"),
        customer: "acme".into(),
        incident: "INC-000123".into(),
        message: Some("MSG-000009".into()),
        kit: "confirmed".into(),
        severity: 1 + (n % 4) as u8,
        is_end: n % 5 == 4,
        person: "Anna \"night\\shift\" \u{c5}berg [1]".into(),
        address: "siem".into(),
        subject: "[INC-000123] Confirmed: calls = expensive | many".into(),
        text: "First line.\nSecond \u{2013} line\\ with a = sign.\n".into(),
        link: Some("https://ringfence.example/i/123?a=b".into()),
        queued: Timestamp(1_767_225_600_123),
        valid_until: Timestamp(1_767_229_200_000),
    }
}

/// Sends these in their order; all are taken.
fn send(settings: &Settings, parcels: impl Iterator<Item = u64>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let syslog = Syslog::new(settings).expect("good settings");
        for n in parcels {
            let outcome = syslog.send(&parcel(n)).await;
            assert_eq!(outcome, Outcome::Handed { receipt: String::new() }, "{n}");
        }
    });
}

fn data(n: u64) -> String {
    let (severity, end) = (1 + n % 4, n % 5 == 4);
    format!(
        "[ringfence@32473 delivery=\"DLV-{n:06}\" incident=\"INC-000123\" message=\"MSG-000009\" customer=\"acme\" \
         kit=\"confirmed\" severity=\"{severity}\" end=\"{end}\" person=\"Anna \\\"night\\\\shift\\\" \u{c5}berg [1\\]\" \
         link=\"https://ringfence.example/i/123?a=b\"]"
    )
}

#[test]
fn a_real_syslog_server_takes_every_field_of_every_message_by_tls() {
    let Some(server) = Server::start() else { return };
    const N: u64 = 200;
    send(&server.settings(Format::Rfc5424, Framing::OctetCounting), 0..N);
    let process = std::process::id().to_string();
    let urgency = |n: u64| if n % 5 == 4 { 6 } else { [1, 2, 4, 5][(n % 4) as usize] };
    for (n, message) in (0..N).zip(server.messages(N as usize)) {
        let text = message["text"].as_str().expect("a text").trim_start_matches('\u{feff}');
        assert_eq!(
            text,
            "[INC-000123] Confirmed: calls = expensive | many | First line. | Second \u{2013} line\\ with a = sign."
        );
        let mut rest = message.clone();
        rest.as_object_mut().expect("fields").remove("text");
        let expected = json!({
            "pri": (20 * 8 + urgency(n)).to_string(), "version": "1", "time": "2026-01-01T00:00:00.123Z",
            "host": "rf1.example", "app": "ringfence-test", "process": process, "id": "confirmed", "data": data(n),
        });
        assert_eq!(rest, expected);
    }
}

#[test]
fn cef_comes_first_in_its_line_and_lines_may_end_by_line_breaks() {
    let Some(server) = Server::start() else { return };
    send(&server.settings(Format::Cef, Framing::Newline), 0..20);
    for (n, message) in (0..20).zip(server.messages(20)) {
        let text = message["text"].as_str().expect("a text");
        let (head, fields) = text.split_once("|rt=").expect("fields");
        let level = if n % 5 == 4 { 2 } else { [10, 8, 5, 3][(n % 4) as usize] };
        let version = env!("CARGO_PKG_VERSION");
        let subject = r"[INC-000123] Confirmed: calls = expensive \| many";
        assert_eq!(head, format!("CEF:0|Ringfence|Ringfence|{version}|confirmed|{subject}|{level}"));
        for field in [
            "1767225600123 dvchost=rf1.example externalId=INC-000123".to_owned(),
            format!(" cs1=DLV-{n:06} cs1Label=delivery "),
            r" request=https://ringfence.example/i/123?a\=b ".to_owned(),
            format!(r" msg=First line.\nSecond {} line\\ with a \= sign.", '\u{2013}'),
        ] {
            assert!(fields.contains(&field), "{field}: {fields}");
        }
        assert_eq!(message["data"], json!(data(n)));
    }
}

#[test]
fn a_real_server_that_wants_a_certificate_gets_nothing_without_one_and_nothing_is_called_handed() {
    let Some(server) = Server::start() else { return };
    let mut settings = server.settings(Format::Rfc5424, Framing::OctetCounting);
    if let Some(tls) = &mut settings.tls {
        tls.own = None;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let outcome = runtime.block_on(async { Syslog::new(&settings).expect("good settings").send(&parcel(1)).await });
    assert!(matches!(outcome, Outcome::Later(_)), "{outcome:?}");
    send(&server.settings(Format::Rfc5424, Framing::OctetCounting), 2..3);
    let came = server.messages(1);
    assert!(came.len() == 1 && came[0]["data"] == json!(data(2)), "{came:?}");
}
