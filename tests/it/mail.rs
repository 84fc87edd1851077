//! Mail against real servers: Debian's Postfix and smtp-sink, and aiosmtpd told to misbehave at every step.
//!
//! What `Mail` says became of a letter is held against what the server has: what was handed over is there, what comes
//! later or never is not, and only in doubt may it be either.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringfence::clock::Timestamp;
use ringfence::delivery::mail::{
    Canary, CanarySettings, Login, Mail, MailHealth, Settings, Tls, Waits, parse_address, parse_mailbox,
};
use ringfence::delivery::{Outcome, Parcel};
use ringfence::notify::Secret;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::support::project;

/// A server of `tests/e2e/mailservers.py`, which runs as a program of its own and ends with this.
struct Server {
    program: Child,
    answers: BufReader<ChildStdout>,
    port: u16,
    certificate: PathBuf,
    inbox: PathBuf,
}

impl Server {
    /// `None` where it cannot run here, after saying so.
    fn start(kind: &str, test: &str) -> Option<Server> {
        let mut program = Command::new("python3")
            .args(["-B", "tests/e2e/mailservers.py", kind])
            .current_dir(project())
            .env("RINGFENCE", env!("CARGO_BIN_EXE_ringfence"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| eprintln!("NOT RUN: {test}: no python3: {e}"))
            .ok()?;
        let mut answers = BufReader::new(program.stdout.take().expect("a pipe"));
        let mut line = String::new();
        answers.read_line(&mut line).expect("reads");
        let Ok(told) = serde_json::from_str::<Value>(&line) else {
            let ended = program.wait().expect("ends");
            assert_eq!(ended.code(), Some(77), "mailservers.py {kind} failed: {line}");
            eprintln!("NOT RUN: {test}: {}", line.trim());
            return None;
        };
        let path = |key: &str| PathBuf::from(told[key].as_str().expect("a path"));
        let port = told["port"].as_u64().and_then(|port| u16::try_from(port).ok()).expect("a port");
        Some(Server { port, certificate: path("certificate"), inbox: path("inbox"), program, answers })
    }

    fn order(&mut self, order: &Value) -> Value {
        let pipe = self.program.stdin.as_mut().expect("a pipe");
        writeln!(pipe, "{order}").expect("is heard");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("reads");
        serde_json::from_str(&line).expect("an answer")
    }

    /// Deliveries it has, each with how often.
    fn kept(&mut self) -> BTreeMap<String, usize> {
        let told = self.order(&json!({"received": 1}));
        let mut kept = BTreeMap::new();
        for mail in told["received"].as_array().expect("mails").iter().filter(|mail| mail["kept"] == true) {
            *kept.entry(mail["delivery"].as_str().expect("a name").to_owned()).or_default() += 1;
        }
        kept
    }

    /// Asks until it has what it should; after a minute it never will.
    async fn wait_for(&mut self, has_enough: impl Fn(&BTreeMap<String, usize>) -> bool) -> BTreeMap<String, usize> {
        for _ in 0..3_000 {
            let kept = self.kept();
            if has_enough(&kept) {
                return kept;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("a minute in vain for mails to arrive; there are {:?}", self.kept());
    }

    fn settings(&self, tls: Tls) -> Settings {
        let from = parse_mailbox("Ringfence <ringfence@example.net>").expect("a mailbox");
        let (port, ca_file) = (self.port, (tls != Tls::None).then(|| self.certificate.clone()));
        // The name that the certificate has; in the clear it is all the same.
        let host = if tls == Tls::None { "127.0.0.1" } else { "localhost" };
        Settings { port, ca_file, ..Settings::at(host, tls, from) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.program.stdin.take());
        self.program.wait().expect("ends");
    }
}

fn parcel(name: &str, address: &str) -> Parcel {
    Parcel {
        name: name.into(),
        customer: "acme".into(),
        incident: "INC-000007".into(),
        message: Some("MSG-000009".into()),
        kit: "holding".into(),
        severity: 1,
        is_end: false,
        person: "Ann Bell".into(),
        address: address.into(),
        subject: "[INC-000007] Störung: toll fraud suspected".into(),
        text: "Was wir wissen:\n.\n..two dots\nStörung – 通知\n".into(),
        link: None,
        queued: Timestamp(1_767_225_600_123),
        valid_until: Timestamp(1_767_229_200_000),
    }
}

fn mail(settings: &Settings) -> Arc<Mail> {
    Arc::new(Mail::new(settings, "s1te").expect("settings that can be used"))
}

#[tokio::test]
async fn what_is_said_of_a_letter_is_what_a_misbehaving_server_has() {
    let Some(mut server) = Server::start("sink", "mail to aiosmtpd") else { return };
    let wait = Duration::from_secs(1);
    let settings = Settings { waits: Waits { connect: wait, command: wait, data: wait }, ..server.settings(Tls::None) };
    let mail = mail(&settings);
    let acts = ["421 4.3.2 busy", "451 4.3.0 later", "550 5.7.1 no", "drop", "silent", "keep-drop", "keep-silent"];
    let mut n = 0;
    for step in ["greeting", "ehlo", "mail", "rcpt", "data", "dot"] {
        for act in acts.into_iter().filter(|act| step == "dot" || !act.starts_with("keep")) {
            n += 1;
            let name = format!("DLV-{n:06}");
            // For as long as this letter is tried: a broken idle connection is followed by a fresh one.
            server.order(&json!({"always": [step, act]}));
            // Whoever greets is only met by a connection that is not there yet.
            let fresh = Arc::new(Mail::new(&settings, "s1te").expect("usable"));
            let through = if ["greeting", "ehlo"].contains(&step) { &fresh } else { &mail };
            let outcome = through.send(&parcel(&name, "ann@acme.example")).await;
            server.order(&json!({"always": [step, null]}));
            let is_kept = server.kept().contains_key(&name);
            match (step, act) {
                ("dot", "drop" | "silent" | "keep-drop" | "keep-silent") => {
                    assert!(matches!(outcome, Outcome::Unknown(_)), "{act} at {step}: {outcome:?}");
                }
                ("mail" | "rcpt" | "data" | "dot", "550 5.7.1 no") => {
                    assert!(matches!(outcome, Outcome::Never(_)) && !is_kept, "{act} at {step}: {outcome:?}");
                }
                _ => assert!(matches!(outcome, Outcome::Later(_)) && !is_kept, "{act} at {step}: {outcome:?}"),
            }
            let after = format!("DLV-{n:06}-after");
            let outcome = mail.send(&parcel(&after, "ann@acme.example")).await;
            assert!(matches!(outcome, Outcome::Handed { .. }), "after {act} at {step}: {outcome:?}");
        }
    }
    let kept = server.kept();
    assert!(kept.values().all(|n| *n == 1), "{kept:?}");
    assert_eq!(kept.keys().filter(|name| name.ends_with("after")).count(), n);
}

#[tokio::test]
async fn tls_and_passwords_are_those_that_aiosmtpd_knows() {
    for (kind, tls) in [("sink-starttls", Tls::StartTls), ("sink-implicit", Tls::Implicit)] {
        let Some(mut server) = Server::start(kind, "mail by TLS to aiosmtpd") else { return };
        let login = |password: &str| Some(Login { user: "ringfence".into(), password: Secret(password.into()) });
        let usual = server.settings(tls);
        let login_of = |password| if tls == Tls::StartTls { login(password) } else { None };
        let good = Settings { login: login_of("hunter2"), ..usual.clone() };
        let outcome = mail(&good).send(&parcel("DLV-1", "ann@acme.example")).await;
        assert!(matches!(outcome, Outcome::Handed { .. }), "{outcome:?}");
        let unknown = Settings { ca_file: None, ..good.clone() };
        let outcome = mail(&unknown).send(&parcel("DLV-2", "ann@acme.example")).await;
        assert!(matches!(&outcome, Outcome::Later(why) if why.starts_with("TLS: ")), "{outcome:?}");
        if tls == Tls::StartTls {
            for settings in [Settings { login: login_of("wrong"), ..usual.clone() }, Settings { login: None, ..usual }]
            {
                let outcome = mail(&settings).send(&parcel("DLV-3", "ann@acme.example")).await;
                assert!(matches!(&outcome, Outcome::Later(why) if why.contains(" 53")), "{outcome:?}");
            }
        }
        assert_eq!(server.kept().into_keys().collect::<Vec<_>>(), ["DLV-1"]);
    }
}

#[tokio::test]
async fn postfix_gets_what_was_written_and_its_own_canary() {
    let Some(mut server) = Server::start("postfix-tls", "mail to Postfix") else { return };
    let mail = mail(&server.settings(Tls::StartTls));
    let outcome = mail.send(&parcel("DLV-000001", "ann@acme.example")).await;
    assert!(matches!(&outcome, Outcome::Handed { receipt } if receipt.contains("queued as ")), "{outcome:?}");
    let outcome = mail.send(&parcel("DLV-000002", "unknown@box.test")).await;
    assert!(matches!(&outcome, Outcome::Never(why) if why.contains("no such person")), "{outcome:?}");
    let outcome = mail.send(&parcel("DLV-000003", "greylisted@box.test")).await;
    assert!(matches!(&outcome, Outcome::Later(why) if why.contains("come again")), "{outcome:?}");
    server.wait_for(|kept| !kept.is_empty()).await;
    let told = server.order(&json!({"received": 1}));
    let arrived = &told["received"][0];
    assert_eq!(arrived["subject"], "[INC-000007] Störung: toll fraud suspected");
    assert_eq!(arrived["text"].as_str().map(str::trim_end), Some("Was wir wissen:\n.\n..two dots\nStörung – 通知"));
    assert_eq!(arrived["message_id"], "<DLV-000001.s1te@example.net>");
    assert_eq!(arrived["sender"], "ringfence@example.net");
    assert_eq!(server.kept().len(), 1);

    let canary = CanarySettings {
        to: parse_address("canary@box.test").expect("an address"),
        every: Duration::from_millis(200),
        late_after: Duration::from_secs(30),
        inbox: Some(server.inbox.clone()),
    };
    let (sender, mut health) = watch::channel(MailHealth::Unknown);
    let (stop, stopped) = watch::channel(false);
    let sings = tokio::spawn(Canary::run(mail, canary, sender, stopped));
    assert_eq!(*health.wait_for(|health| *health != MailHealth::Unknown).await.expect("sings"), MailHealth::Up);
    server.order(&json!({"stop": []}));
    let down = health.wait_for(|health| *health != MailHealth::Up).await.expect("sings").clone();
    assert!(matches!(down, MailHealth::Down { .. }), "{down:?}");
    server.order(&json!({"start": 1}));
    assert_eq!(*health.wait_for(|health| *health == MailHealth::Up).await.expect("sings"), MailHealth::Up);
    stop.send(true).expect("is heard");
    sings.await.expect("ends");
    assert_eq!(files(&server.inbox), 0);
}

fn files(inbox: &Path) -> usize {
    ["new", "cur"].iter().map(|below| std::fs::read_dir(inbox.join(below)).expect("a folder").count()).sum()
}

/// Sends all at once and tells what became of each.
async fn send_all(mail: &Arc<Mail>, names: Vec<String>) -> Vec<(String, Outcome)> {
    let send = |name: String| {
        let mail = Arc::clone(mail);
        tokio::spawn(async move {
            let outcome = mail.send(&parcel(&name, "ann@acme.example")).await;
            (name, outcome)
        })
    };
    let mut sent = Vec::new();
    for task in names.into_iter().map(send).collect::<Vec<_>>() {
        sent.push(task.await.expect("ends"));
    }
    sent
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postfix_killed_in_the_middle_has_every_letter_once_that_it_took() {
    let Some(mut server) = Server::start("postfix", "mail to Postfix that is killed") else { return };
    let mail = mail(&Settings { connections: 4, ..server.settings(Tls::None) });
    let mut open: Vec<String> = (0..400).map(|n| format!("DLV-{n:06}")).collect();
    let (mut handed, mut doubtful, mut n_later) = (Vec::new(), Vec::new(), 0);
    for round in 0.. {
        let sending = tokio::spawn({
            let (mail, names) = (Arc::clone(&mail), std::mem::take(&mut open));
            async move { send_all(&mail, names).await }
        });
        if round == 0 {
            server.wait_for(|kept| !kept.is_empty()).await;
            server.order(&json!({"stop": [9]}));
            server.order(&json!({"start": 1}));
        }
        for (name, outcome) in sending.await.expect("ends") {
            match outcome {
                Outcome::Handed { .. } => handed.push(name),
                Outcome::Unknown(_) => doubtful.push(name),
                Outcome::Later(_) => {
                    n_later += 1;
                    open.push(name);
                }
                Outcome::Never(why) => panic!("{name}: {why}"),
            }
        }
        if open.is_empty() {
            break;
        }
    }
    eprintln!("mail: {} handed over, {} in doubt, {n_later} tried again", handed.len(), doubtful.len());
    assert_eq!(handed.len() + doubtful.len(), 400);
    let kept = server.wait_for(|kept| handed.iter().all(|name| kept.contains_key(name))).await;
    assert!(kept.values().all(|n| *n == 1), "{kept:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn how_many_letters_a_second_a_local_sink_is_sent() {
    let Some(server) = Server::start("smtp-sink", "letters a second to smtp-sink") else { return };
    let mail = mail(&server.settings(Tls::None));
    let n = 5_000;
    let began = Instant::now();
    let sent = send_all(&mail, (0..n).map(|n| format!("DLV-{n:06}")).collect()).await;
    let seconds = began.elapsed().as_secs_f64();
    assert!(sent.iter().all(|(_, outcome)| matches!(outcome, Outcome::Handed { .. })), "{:?}", sent.first());
    eprintln!("mail: {n} letters to smtp-sink in {seconds:.2} s: {:.0} a second", f64::from(n) / seconds);
}
