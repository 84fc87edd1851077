//! Text messages against the real Kannel of Debian with its fake SMSC: texts arrive as they were, receipts come back. Twilio
//! and PagerDuty are stand-ins that check what they are sent.
//!
//! All of them are started by `tests/e2e/smsservers.py`; what is not installed or unpacked is told and not tried.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use axum::Router;
use ringfence::clock::Clock;
use ringfence::delivery::pagerduty::{self, PagerDuty};
use ringfence::delivery::sms::{
    Callback, KannelSettings, Kind, Receipt, Receipts, Settings, Sms, State, TwilioSender, TwilioSettings,
};
use ringfence::delivery::{Found, Outcome, Parcel};
use ringfence::notify::{Endpoint, Secret};
use ringfence::portal::receipts;
use serde_json::Value;

use crate::support::project;

/// How long Kannel and its SMSC may take for anything.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server of `smsservers.py`, asked and told line by line.
struct Server {
    child: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    url: String,
}

impl Server {
    /// `None`, after saying so, where one of the `programs` is missing.
    fn start(test: &str, programs: &[&str], args: &[&str]) -> Option<Server> {
        let is_there = |name: &str| {
            let path = std::env::var_os("PATH").unwrap_or_default();
            std::env::split_paths(&path).any(|folder| folder.join(name).is_file())
        };
        if let Some(missing) = programs.iter().find(|name| !is_there(name)) {
            eprintln!("NOT RUN: {test}: no {missing}");
            return None;
        }
        let mut child = Command::new("python3")
            .arg("-B")
            .arg(project().join("tests/e2e/smsservers.py"))
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 starts");
        let (commands, answers) = (child.stdin.take(), child.stdout.take().expect("piped"));
        let mut server = Server { child, commands, answers: BufReader::new(answers), url: String::new() };
        let said = server.answer();
        server.url = said["url"].as_str().expect("an address").to_owned();
        Some(server)
    }

    /// Kannel and its fake SMSC: Debian's packages kannel and kannel-extras, installed or unpacked and in PATH.
    fn kannel(test: &str) -> Option<Server> {
        Server::start(test, &["python3", "bearerbox", "smsbox"], &["kannel"])
    }

    fn answer(&mut self) -> Value {
        let mut line = String::new();
        let n = self.answers.read_line(&mut line).expect("it answers");
        assert!(n > 0, "the server of this test has ended; what it said stands above");
        serde_json::from_str(&line).expect("JSON")
    }

    fn order(&mut self, command: &str) -> Value {
        writeln!(self.commands.as_mut().expect("open until the end"), "{command}").expect("it listens");
        self.answer()
    }

    /// What phones of Kannel show, once it is so many messages.
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

    fn endpoint(&self) -> Endpoint {
        Endpoint {
            url: self.url.parse().expect("a URL"),
            connect_timeout: Duration::from_secs(5),
            request_timeout: PATIENCE,
            bearer_token: None,
            ca_file: None,
        }
    }

    fn settings(&self, password: &str) -> Settings {
        let kind = Kind::Kannel(KannelSettings {
            user: "ringfence".into(),
            password: Secret(password.into()),
            from: Some("Ringfence".into()),
            extras: Vec::new(),
        });
        Settings { name: "kannel".into(), endpoint: self.endpoint(), kind, per_minute: None }
    }

    fn sms(&self, password: &str) -> Sms {
        Sms::new(self.settings(password), None).expect("good settings")
    }
}

impl Drop for Server {
    /// At the end of its input it takes down what it started.
    fn drop(&mut self) {
        self.commands = None;
        self.child.wait().expect("it ends");
    }
}

/// Where receipts come in a test: an address, what is told of them, and whether they can be written down.
fn receipts_at(
    runtime: &tokio::runtime::Runtime,
    settings: Settings,
    taker: impl Fn(Receipt) -> bool + Send + Sync + 'static,
) -> Sms {
    let socket = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a port");
    let callback = Callback::new(&format!("http://{}", socket.local_addr().expect("bound")), b"key");
    let receipts = Receipts::new(callback.clone(), std::slice::from_ref(&settings), Arc::new(taker));
    let router = receipts::routes(Router::new(), Some(receipts));
    runtime.spawn(async move { axum::serve(socket, router).await });
    Sms::new(settings, Some(callback)).expect("good settings")
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
    let Some(mut kannel) = Server::kannel("texts through Kannel") else { return };
    let sms = kannel.sms("s3cret");
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
    let Some(mut kannel) = Server::kannel("refusals of Kannel") else { return };
    let runtime = runtime();
    let (good, bad) = (kannel.sms("s3cret"), kannel.sms("wrong"));
    let one = parcel(1, "hello");
    let refused = runtime.block_on(bad.send(&one));
    assert!(
        matches!(&refused, Outcome::Later(why) if why.contains("Authorization failed") && !why.contains("wrong")),
        "{refused:?}"
    );
    assert!(matches!(runtime.block_on(good.find(&one)), Found::Unclear(_)));
    let nowhere = runtime.block_on(good.send(&Parcel { address: "+99912345678".into(), ..one.clone() }));
    assert!(matches!(&nowhere, Outcome::Never(why) if why.contains("Not routable")), "{nowhere:?}");
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

/// Kannel is killed in the middle of many at once. What was handed over arrives, and what certainly was not taken does not.
#[test]
fn over_kills_of_kannel_each_word_on_a_try_is_true() {
    const ROUNDS: usize = 3;
    const AT_ONCE: usize = 60;
    let Some(mut kannel) = Server::kannel("kills of Kannel") else { return };
    let runtime = runtime();
    let sms = Arc::new(kannel.sms("s3cret"));
    let mut outcomes = Vec::new();
    for round in 0..ROUNDS {
        let n_ended = Arc::new(AtomicUsize::new(0));
        let tries: Vec<_> = (0..AT_ONCE)
            .map(|i| {
                let number = round * AT_ONCE + i + 1;
                let (sms, n_ended) = (Arc::clone(&sms), Arc::clone(&n_ended));
                runtime.spawn(async move {
                    let outcome = sms.send(&parcel(number, &format!("number {number}"))).await;
                    n_ended.fetch_add(1, Ordering::Relaxed);
                    (number, outcome)
                })
            })
            .collect();
        // Some have their answer, some have not; in the first round hardly any.
        while n_ended.load(Ordering::Relaxed) < round * AT_ONCE / ROUNDS {
            std::thread::yield_now();
        }
        kannel.order("kill boxes");
        outcomes.extend(tries.into_iter().map(|task| runtime.block_on(task).expect("it ends")));
        kannel.order("start");
    }
    let marker = ROUNDS * AT_ONCE + 1;
    assert!(matches!(runtime.block_on(sms.send(&parcel(marker, "marker"))), Outcome::Handed { .. }));
    let handed = |outcome: &Outcome| matches!(outcome, Outcome::Handed { .. });
    let missing = |shown: &[(String, String)]| -> Vec<usize> {
        let is_missing = |number: usize| !shown.iter().any(|(address, _)| *address == parcel(number, "").address);
        let wanted = outcomes.iter().filter(|(_, outcome)| handed(outcome)).map(|(number, _)| *number).chain([marker]);
        wanted.filter(|number| is_missing(*number)).collect()
    };
    let until = Clock.monotonic() + PATIENCE;
    let mut shown = kannel.messages(1);
    while !missing(&shown).is_empty() {
        assert!(Clock.monotonic() < until, "handed over and never shown: {:?}", missing(&shown));
        shown = kannel.messages(1);
    }
    for (number, outcome) in &outcomes {
        let is_shown = shown.iter().any(|(address, _)| *address == parcel(*number, "").address);
        assert!(!matches!(outcome, Outcome::Never(_)), "{number}: {outcome:?}");
        assert!(!(matches!(outcome, Outcome::Later(_)) && is_shown), "{number}: {outcome:?}, and it was shown");
    }
    let n = |is: fn(&Outcome) -> bool| outcomes.iter().filter(|(_, outcome)| is(outcome)).count();
    let (n_later, n_unknown) = (n(|o| matches!(o, Outcome::Later(_))), n(|o| matches!(o, Outcome::Unknown(_))));
    println!("{} handed over, {n_later} later, {n_unknown} unknown", outcomes.len() - n_later - n_unknown);
}

#[test]
fn kannels_receipts_come_back_for_their_delivery_and_again_where_they_were_not_taken() {
    let Some(mut kannel) = Server::kannel("receipts of Kannel") else { return };
    let runtime = runtime();
    let (tell, told) = mpsc::channel();
    let is_busy = AtomicBool::new(true);
    let settings = kannel.settings("s3cret");
    let sms = receipts_at(&runtime, settings, move |receipt| {
        // The very first cannot be written down.
        let is_taken = !is_busy.swap(false, Ordering::Relaxed);
        tell.send((receipt, is_taken)).expect("somebody listens");
        is_taken
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
}

#[test]
fn what_twilio_took_without_a_word_is_found_and_its_receipts_are_believed() {
    for clock_off_s in ["-3600", "0", "3600"] {
        let Some(mut twilio) = Server::start("Twilio's stand-in", &["python3"], &["twilio", clock_off_s]) else {
            return;
        };
        let runtime = runtime();
        let (tell, told) = mpsc::channel();
        let sender = TwilioSender::From("+15005550006".into());
        let account = format!("AC{}", "0".repeat(32));
        let kind = Kind::Twilio(TwilioSettings { account, auth_token: Secret("s3cret".into()), sender });
        let endpoint = Endpoint { request_timeout: Duration::from_secs(5), ..twilio.endpoint() };
        let settings = Settings { name: "twilio".into(), endpoint, kind, per_minute: None };
        let sms = receipts_at(&runtime, settings, move |receipt| tell.send(receipt).is_ok());

        let handed = runtime.block_on(sms.send(&parcel(1, "Åsa: calls to +8811 & +8812 are blocked")));
        let Outcome::Handed { receipt } = handed else { panic!("{handed:?}") };
        assert_eq!(
            runtime.block_on(sms.find(&parcel(1, "Åsa: calls to +8811 & +8812 are blocked"))),
            Found::Handed { receipt }
        );

        // It was taken, and nobody said so; it was not taken, and nobody said so.
        for (number, step, is_taken) in [(2, "take and drop", true), (3, "take and 500", true), (4, "drop", false)] {
            twilio.order(&format!("script [\"{step}\"]"));
            let one = parcel(number, "hello");
            let outcome = runtime.block_on(sms.send(&one));
            assert!(matches!(outcome, Outcome::Unknown(_)), "{step}: {outcome:?}");
            let found = runtime.block_on(sms.find(&one));
            assert_eq!(matches!(found, Found::Handed { .. }), is_taken, "{step}: {found:?}");
            assert_eq!(found == Found::Absent, !is_taken, "{step}: {found:?}");
        }
        // Once it was sent, it stands under its day.
        for (status, state) in [("\"sent\", null", State::Accepted), ("\"delivered\", null", State::Delivered)] {
            assert_eq!(twilio.order(&format!("report [{status}]")), 200);
            let receipt = told.recv_timeout(PATIENCE).expect("a receipt");
            assert_eq!((receipt.delivery.as_str(), receipt.state), ("DLV-000003", state));
        }
        assert!(matches!(runtime.block_on(sms.find(&parcel(3, "hello"))), Found::Handed { .. }));
        assert_eq!(twilio.order("report [\"undelivered\", 30006]"), 200);
        assert!(
            matches!(told.recv_timeout(PATIENCE).expect("a receipt").state, State::Failed(why) if why.contains("landline"))
        );

        twilio.order("script [[400, {\"code\": 21614, \"message\": \"not a mobile number\", \"status\": 400}]]");
        assert!(matches!(runtime.block_on(sms.send(&parcel(5, "hello"))), Outcome::Never(_)));
        assert_eq!(twilio.order("problems"), serde_json::json!([]));
        assert_eq!(twilio.order("messages").as_array().map(Vec::len), Some(3));
    }
}

#[test]
fn pagerduty_takes_a_trigger_and_its_end() {
    let Some(mut fake) = Server::start("PagerDuty's stand-in", &["python3"], &["pagerduty"]) else { return };
    let runtime = runtime();
    let settings = pagerduty::Settings {
        endpoint: fake.endpoint(),
        routing_key: Secret("0123456789abcdef0123456789abcdef".into()),
        installation: "ringfence-1".into(),
    };
    let sender = PagerDuty::new(settings).expect("good settings");
    let handed = Outcome::Handed { receipt: "ringfence-1/INC-000001".into() };
    let mut one = parcel(1, &"å".repeat(5_000));
    one.link = Some("https://ringfence.example.com/a/1".into());
    assert_eq!(runtime.block_on(sender.send(&one)), handed);
    fake.order("script [\"take and drop\", [429, {}], [400, {\"status\": \"invalid event\"}]]");
    assert!(matches!(runtime.block_on(sender.send(&one)), Outcome::Unknown(_)));
    assert!(matches!(runtime.block_on(sender.send(&one)), Outcome::Later(_)));
    assert!(matches!(runtime.block_on(sender.send(&one)), Outcome::Never(_)));
    one.is_end = true;
    assert_eq!(runtime.block_on(sender.send(&one)), handed);
    assert_eq!(fake.order("problems"), serde_json::json!([]));
    let events = fake.order("messages");
    let actions: Vec<&str> =
        events.as_array().expect("a list").iter().filter_map(|event| event["event_action"].as_str()).collect();
    assert_eq!(actions, ["trigger", "trigger", "resolve"]);
}
