//! Text messages against the real Kannel of Debian with its fake SMSC: texts arrive as they were, receipts come back.
//!
//! Kannel is started by `tests/e2e/smsservers.py`; where it is not installed or unpacked, this says so.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use axum::Router;
use ringfence::clock::Clock;
use ringfence::delivery::sms::{Callback, KannelSettings, Kind, Receipt, Receipts, Settings, Sms, State};
use ringfence::delivery::{Found, Outcome, Parcel};
use ringfence::notify::{Endpoint, Secret};
use ringfence::portal::receipts;
use serde_json::Value;

use crate::support::project;

/// How long Kannel and its SMSC may take for anything.
const PATIENCE: Duration = Duration::from_secs(30);

struct Kannel {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
    url: String,
}

impl Kannel {
    fn start(test: &str) -> Option<Kannel> {
        let is_there = |name: &str| {
            let path = std::env::var_os("PATH").unwrap_or_default();
            std::env::split_paths(&path).any(|folder| folder.join(name).is_file())
        };
        if let Some(missing) = ["python3", "bearerbox", "smsbox"].iter().find(|name| !is_there(name)) {
            eprintln!("NOT RUN: {test}: no {missing} (kannel and kannel-extras of Debian, unpacked and in PATH)");
            return None;
        }
        let mut child = Command::new("python3")
            .arg("-B")
            .arg(project().join("tests/e2e/smsservers.py"))
            .arg("kannel")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 starts");
        let (commands, answers) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        let mut kannel = Kannel { child, commands, answers: BufReader::new(answers), url: String::new() };
        let said = kannel.answer();
        kannel.url = said["url"].as_str().expect("an address").to_owned();
        Some(kannel)
    }

    fn answer(&mut self) -> Value {
        let mut line = String::new();
        let n = self.answers.read_line(&mut line).expect("it answers");
        assert!(n > 0, "Kannel did not come up; what it said stands above");
        serde_json::from_str(&line).expect("JSON")
    }

    fn order(&mut self, command: &str) -> Value {
        writeln!(self.commands, "{command}").expect("it listens");
        self.answer()
    }

    /// What phones show, once it is so many messages.
    fn messages(&mut self, n: usize) -> Vec<(String, String)> {
        let until = Clock.monotonic() + PATIENCE;
        loop {
            let found: Vec<(String, String)> = serde_json::from_value(self.order("messages")).expect("pairs");
            if found.len() >= n {
                return found;
            }
            assert!(Clock.monotonic() < until, "only {} of {n} messages: {found:?}", found.len());
            std::thread::yield_now();
        }
    }

    fn sms(&self, password: &str, callback: Option<Callback>) -> Sms {
        Sms::new(self.settings(password), callback).expect("good settings")
    }

    fn settings(&self, password: &str) -> Settings {
        let kind = Kind::Kannel(KannelSettings {
            user: "ringfence".into(),
            password: Secret(password.into()),
            from: Some("Ringfence".into()),
            extras: Vec::new(),
        });
        let endpoint = Endpoint {
            url: self.url.parse().expect("a URL"),
            connect_timeout: Duration::from_secs(5),
            request_timeout: PATIENCE,
            bearer_token: None,
            ca_file: None,
        };
        Settings { name: "kannel".into(), endpoint, kind }
    }
}

impl Drop for Kannel {
    /// At the end of its input it takes Kannel down.
    fn drop(&mut self) {
        self.commands = Command::new("true").stdin(Stdio::piped()).spawn().expect("true starts").stdin.expect("piped");
        self.child.wait().expect("it ends");
    }
}

fn parcel(number: usize, text: &str) -> Parcel {
    let now = Clock.now();
    Parcel {
        name: format!("DLV-{number:06}"),
        customer: "acme".into(),
        incident: "INC-000001".into(),
        message: Some("MSG-000001".into()),
        kit: "holding".into(),
        severity: 1,
        is_end: false,
        person: "Ada".into(),
        address: format!("+4670000{number:04}"),
        subject: String::new(),
        text: text.into(),
        link: None,
        queued: now,
        valid_until: now.plus_ms(3_600_000),
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Runtime::new().expect("a runtime")
}

#[test]
fn texts_reach_the_phone_as_they_were() {
    let Some(mut kannel) = Kannel::start("texts through Kannel") else { return };
    let sms = kannel.sms("s3cret", None);
    let texts = [
        "Calls to +8811 are blocked since 10:14. Next word at 11:00.".to_owned(),
        // Everything the GSM alphabet has that is easily broken on the way.
        "@£$¥èéùìòÇ Øø Åå Δ_ΦΓΛΩΠΨΣΘΞ ÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ÄÖÑÜ§¿äöñüà ^{}\\[~]|€".to_owned(),
        "two\nlines".to_owned(),
        format!("{}€{}", "x".repeat(159), "y".repeat(400)),
        "Łódź, Київ, 東京".to_owned(),
        format!("{}😀{}", "Ж".repeat(66), "ж".repeat(200)),
        "100 % & 1+1=2 %d %A %41 ?x=1#y".to_owned(),
        "z".repeat(1530),
    ];
    let outcomes = runtime().block_on(async {
        let mut outcomes = Vec::new();
        for (i, text) in texts.iter().enumerate() {
            outcomes.push(sms.send(&parcel(i + 1, text)).await);
        }
        outcomes
    });
    for outcome in outcomes {
        assert_eq!(outcome, Outcome::Handed { receipt: String::new() });
    }
    let expected: Vec<(String, String)> =
        texts.iter().enumerate().map(|(i, text)| (parcel(i + 1, "").address, text.clone())).collect();
    assert_eq!(kannel.messages(texts.len()), expected);
}

#[test]
fn what_kannel_cannot_do_now_is_told_from_what_it_never_will() {
    let Some(mut kannel) = Kannel::start("refusals of Kannel") else { return };
    let runtime = runtime();
    let (good, bad) = (kannel.sms("s3cret", None), kannel.sms("wrong", None));
    let one = parcel(1, "hello");
    let refused = runtime.block_on(bad.send(&one));
    assert!(
        matches!(&refused, Outcome::Later(why) if why.contains("Authorization failed") && !why.contains("wrong")),
        "{refused:?}"
    );
    assert!(matches!(runtime.block_on(good.find(&one)), Found::Unclear(_)));
    // Without its SMSC it queues: that is handed over, and arrives when the SMSC is back.
    kannel.order("smsc stop");
    assert!(matches!(runtime.block_on(good.send(&one)), Outcome::Handed { .. }));
    kannel.order("smsc start");
    assert_eq!(kannel.messages(1), [(one.address.clone(), "hello".to_owned())]);
    kannel.order("stop");
    assert!(matches!(runtime.block_on(good.send(&one)), Outcome::Later(_)));
    kannel.order("start");
    assert!(matches!(runtime.block_on(good.send(&one)), Outcome::Handed { .. }));
    assert_eq!(kannel.messages(2).len(), 2);
}

#[test]
fn kannels_receipts_come_back_for_their_delivery_and_again_where_they_were_not_taken() {
    let Some(mut kannel) = Kannel::start("receipts of Kannel") else { return };
    let runtime = runtime();
    let (tell, told) = mpsc::channel();
    let (sms, server) = runtime.block_on(async {
        let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let callback = Callback::new(&format!("http://{}", socket.local_addr().expect("bound")), b"key");
        let busy = std::sync::atomic::AtomicBool::new(true);
        let taker = std::sync::Arc::new(move |receipt: Receipt| {
            // The very first cannot be written down.
            let is_taken = !busy.swap(false, std::sync::atomic::Ordering::Relaxed);
            tell.send((receipt, is_taken)).expect("somebody listens");
            is_taken
        });
        let sms = kannel.sms("s3cret", Some(callback.clone()));
        let receipts = Receipts::new(callback, &[kannel.settings("s3cret")], taker);
        let router = receipts::routes(Router::new(), Some(receipts));
        (sms, tokio::spawn(async move { axum::serve(socket, router).await }))
    });
    assert!(matches!(runtime.block_on(sms.send(&parcel(1, "hello"))), Outcome::Handed { .. }));
    let mut states = Vec::new();
    let mut n_refused = 0;
    while !states.contains(&State::Delivered) {
        let (receipt, is_taken) = told.recv_timeout(PATIENCE).expect("a receipt");
        assert_eq!((receipt.delivery.as_str(), receipt.provider.as_str()), ("DLV-000001", "kannel"));
        match is_taken {
            true => states.push(receipt.state),
            false => n_refused += 1,
        }
    }
    assert_eq!(n_refused, 1);
    assert!(states.iter().all(|state| !matches!(state, State::Failed(_))), "{states:?}");
    assert_eq!(kannel.messages(1).len(), 1);
    server.abort();
}
