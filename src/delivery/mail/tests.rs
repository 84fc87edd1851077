//! Mail against a server that does as it is told: refuses, hangs up, keeps silent and lies, at every step.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use super::*;
use crate::clock::Timestamp;

/// What the server does when it is its turn.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// Lines without the last line's end.
    Say(&'static str),
    Silence,
    HangUp,
}

use Act::{HangUp, Say, Silence};

/// How the server encrypts.
#[derive(Clone)]
enum Guard {
    None,
    StartTls(TlsAcceptor),
    Implicit(TlsAcceptor),
}

#[derive(Default)]
struct Seen {
    n_connections: usize,
    n_open: usize,
    open_most: usize,
    lines: Vec<String>,
    letters: Vec<String>,
}

struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

/// What to do at which step, the first time, the second time...; what is not here goes well.
type Script = Arc<Mutex<BTreeMap<&'static str, VecDeque<Act>>>>;

impl Server {
    async fn start(script: &[(&'static str, Act)]) -> Server {
        Server::guarded(script, Guard::None).await
    }

    async fn guarded(script: &[(&'static str, Act)], guard: Guard) -> Server {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("binds");
        let address = listener.local_addr().expect("an address");
        let seen = Arc::new(Mutex::new(Seen::default()));
        let mut acts: BTreeMap<&'static str, VecDeque<Act>> = BTreeMap::new();
        for (step, act) in script {
            acts.entry(step).or_default().push_back(*act);
        }
        let (script, shared) = (Arc::new(Mutex::new(acts)), Arc::clone(&seen));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (script, seen, guard) = (Arc::clone(&script), Arc::clone(&shared), guard.clone());
                tokio::spawn(async move {
                    {
                        let mut seen = seen.lock().expect("not poisoned");
                        seen.n_connections += 1;
                        seen.n_open += 1;
                        seen.open_most = seen.open_most.max(seen.n_open);
                    }
                    accept(stream, guard, script, &seen).await;
                    seen.lock().expect("not poisoned").n_open -= 1;
                });
            }
        });
        Server { address, seen }
    }

    fn settings(&self) -> Settings {
        let from = parse_mailbox("Ringfence <ringfence@example.net>").expect("a mailbox");
        Settings { port: self.address.port(), ..Settings::at("127.0.0.1", Tls::None, from) }
    }

    fn mail(&self) -> Mail {
        Mail::new(&self.settings(), "s1te").expect("settings that can be used")
    }

    fn n_connections(&self) -> usize {
        self.seen.lock().expect("not poisoned").n_connections
    }

    fn letters(&self) -> Vec<String> {
        self.seen.lock().expect("not poisoned").letters.clone()
    }

    fn lines(&self) -> Vec<String> {
        self.seen.lock().expect("not poisoned").lines.clone()
    }
}

async fn accept(stream: TcpStream, guard: Guard, script: Script, seen: &Mutex<Seen>) {
    match guard {
        Guard::None => drop(talk(stream, false, &script, seen).await),
        Guard::Implicit(acceptor) => {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            drop(talk(stream, false, &script, seen).await);
        }
        Guard::StartTls(acceptor) => {
            let Some(stream) = talk(stream, true, &script, seen).await else { return };
            let Ok(stream) = acceptor.accept(stream).await else { return };
            // The greeting was said in the clear.
            script.lock().expect("not poisoned").entry("greeting").or_default().push_front(Say(""));
            drop(talk(stream, false, &script, seen).await);
        }
    }
}

/// Gives the stream back where TLS is to begin.
async fn talk<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    offers_tls: bool,
    script: &Script,
    seen: &Mutex<Seen>,
) -> Option<S> {
    let mut stream = BufReader::new(stream);
    let mut step = "greeting";
    loop {
        let planned = script.lock().expect("not poisoned").get_mut(step).and_then(VecDeque::pop_front);
        let said = match planned.unwrap_or(Say(usual(step, offers_tls))) {
            Say(text) => text,
            HangUp => return None,
            Silence => std::future::pending().await,
        };
        if !said.is_empty() {
            stream.write_all(format!("{said}\r\n").as_bytes()).await.ok()?;
            stream.flush().await.ok()?;
        }
        if step == "STARTTLS" && said.starts_with("220") {
            return Some(stream.into_inner());
        }
        step = if step == "DATA" && said.starts_with("354") {
            let letter = take_letter(&mut stream).await?;
            seen.lock().expect("not poisoned").letters.push(letter);
            "dot"
        } else {
            let mut line = String::new();
            if stream.read_line(&mut line).await.ok()? == 0 {
                return None;
            }
            seen.lock().expect("not poisoned").lines.push(line.trim_end().to_owned());
            let word = line.split_whitespace().next().unwrap_or_default().to_owned();
            ["EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "RSET", "QUIT"]
                .into_iter()
                .find(|known| *known == word)
                .unwrap_or("challenge")
        };
        if step == "QUIT" {
            return None;
        }
    }
}

fn usual(step: &str, offers_tls: bool) -> &'static str {
    match step {
        "greeting" => "220 mx.test ready",
        "EHLO" if offers_tls => "250-mx.test\r\n250-8BITMIME\r\n250 STARTTLS",
        "EHLO" => "250-mx.test\r\n250-8BITMIME\r\n250 AUTH PLAIN LOGIN",
        "STARTTLS" => "220 go ahead",
        "AUTH" => "235 welcome",
        "DATA" => "354 go ahead",
        "dot" => "250 2.0.0 Ok: queued as 4F1A",
        _ => "250 ok",
    }
}

/// Up to the dot, with the dots before lines taken away.
async fn take_letter<S: AsyncRead + Unpin>(stream: &mut BufReader<S>) -> Option<String> {
    let mut letter = String::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        if line == ".\r\n" {
            return Some(letter);
        }
        letter += line.strip_prefix('.').unwrap_or(&line);
    }
}

fn parcel(n: u32) -> Parcel {
    Parcel {
        name: format!("DLV-{n:06}"),
        customer: "acme".into(),
        incident: "INC-000007".into(),
        message: Some("MSG-000009".into()),
        kit: "holding".into(),
        severity: 1,
        is_end: false,
        person: "Ann Bell".into(),
        address: "ann@acme.example".into(),
        subject: "[INC-000007] Toll fraud suspected".into(),
        text: "We see calls that look like toll fraud.\n.\n.and more\n".into(),
        link: None,
        queued: Timestamp(1_767_225_600_123),
        valid_until: Timestamp(1_767_229_200_000),
    }
}

/// Outcome of one letter, told in a word and why, to a server with this script.
async fn told(script: &[(&'static str, Act)]) -> String {
    word_of(Server::start(script).await.mail().send(&parcel(1)).await)
}

fn word_of(outcome: Outcome) -> String {
    match outcome {
        Outcome::Handed { receipt } => format!("handed: {receipt}"),
        Outcome::Later(why) => format!("later: {why}"),
        Outcome::Never(why) => format!("never: {why}"),
        Outcome::Unknown(why) => format!("unknown: {why}"),
    }
}

#[tokio::test]
async fn a_letter_is_handed_over_as_it_is_and_the_servers_number_comes_back() {
    let server = Server::start(&[]).await;
    assert_eq!(word_of(server.mail().send(&parcel(1)).await), "handed: 2.0.0 Ok: queued as 4F1A");
    let letters = server.letters();
    let letter = letters.first().expect("a letter");
    assert!(letter.ends_with("\r\n\r\nWe see calls that look like toll fraud.\r\n.\r\n.and more\r\n"), "{letter}");
    let lines = server.lines();
    let expected = ["EHLO [127.0.0.1]", "MAIL FROM:<ringfence@example.net>", "RCPT TO:<ann@acme.example>", "DATA"];
    assert_eq!(lines, expected);
}

#[tokio::test]
async fn a_refusal_counts_for_the_letter_only_where_it_is_about_the_letter() {
    let all = [
        ("greeting", "421 too busy", "later: greeting: 421 too busy"),
        ("greeting", "554 go away", "later: greeting: 554 go away"),
        ("EHLO", "550 who are you", "later: EHLO: 550 who are you"),
        ("MAIL", "451 4.3.0 later", "later: MAIL: 451 4.3.0 later"),
        ("MAIL", "550 5.7.1 not you", "never: MAIL: 550 5.7.1 not you"),
        ("MAIL", "530 5.7.0 log in first", "later: MAIL: 530 5.7.0 log in first"),
        ("MAIL", "503 out of step", "later: MAIL: 503 out of step"),
        ("RCPT", "450 4.2.0 greylisted", "later: RCPT: 450 4.2.0 greylisted"),
        ("RCPT", "550 5.1.1 no such user", "never: RCPT: 550 5.1.1 no such user"),
        ("RCPT", "421 4.3.2 shutting down", "later: RCPT: 421 4.3.2 shutting down"),
        ("DATA", "451 4.3.1 disk full", "later: DATA: 451 4.3.1 disk full"),
        ("DATA", "554 5.5.1 no valid recipients", "never: DATA: 554 5.5.1 no valid recipients"),
        ("DATA", "250 ok", "later: DATA: 250 ok, which is no answer to it"),
        ("dot", "451 4.3.0 later", "later: after the text: 451 4.3.0 later"),
        ("dot", "421 4.3.2 shutting down", "later: after the text: 421 4.3.2 shutting down"),
        ("dot", "552 5.3.4 too big", "never: after the text: 552 5.3.4 too big"),
        ("dot", "354 go on", "unknown: after the text: 354 go on"),
        ("dot", "250-2.0.0 Ok:\r\n250 queued as 7", "handed: 2.0.0 Ok: queued as 7"),
    ];
    for (step, said, expected) in all {
        assert_eq!(told(&[(step, Say(said))]).await, expected, "{step}");
    }
}

#[tokio::test]
async fn what_breaks_before_the_dot_was_not_taken_and_what_breaks_after_it_may_have_been() {
    for step in ["greeting", "EHLO", "MAIL", "RCPT", "DATA"] {
        let told = told(&[(step, HangUp)]).await;
        assert!(told.starts_with(&format!("later: {step}: ")), "{told}");
    }
    assert_eq!(told(&[("dot", HangUp)]).await, "unknown: after the text: the server hung up");
    let strange = told(&[("dot", Say("OK, whatever"))]).await;
    assert!(strange.starts_with("unknown: after the text: an answer that is none of SMTP"), "{strange}");
    let strange = told(&[("RCPT", Say("HTTP/1.1 400 Bad Request"))]).await;
    assert!(strange.starts_with("later: RCPT: an answer that is none of SMTP"), "{strange}");
}

/// A server that never answers, at each step at once: each try ends with its own time-out.
#[tokio::test]
async fn who_never_answers_is_not_waited_for_for_ever() {
    let steps = ["greeting", "EHLO", "AUTH", "MAIL", "RCPT", "DATA", "dot"];
    let tries = steps.map(|step| {
        tokio::spawn(async move {
            let server = Server::start(&[(step, Silence)]).await;
            let wait = Duration::from_secs(1);
            let login = Some(Login { user: "u".into(), password: Secret("hunter2".into()) });
            let waits = Waits { connect: wait, command: wait, data: wait };
            let mail = Mail::new(&Settings { waits, login, ..server.settings() }, "s").expect("usable");
            (step, word_of(mail.send(&parcel(1)).await))
        })
    });
    for tried in tries {
        let (step, told) = tried.await.expect("ends");
        let expected = match step {
            "dot" => "unknown: no answer in 1s after the text".to_owned(),
            _ => format!("later: {step}: no answer in 1s"),
        };
        assert_eq!(told, expected);
    }
}

#[tokio::test]
async fn a_server_that_takes_no_bytes_of_the_text_is_given_up_before_the_dot() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("binds");
    let port = listener.local_addr().expect("an address").port();
    let serve = async {
        let (mut stream, _) = listener.accept().await.expect("accepts");
        stream.write_all(b"220 a\r\n").await.expect("writes");
        let mut stream = BufReader::new(stream);
        for said in ["250 a", "250 a", "250 a", "354 a"] {
            let mut line = String::new();
            stream.read_line(&mut line).await.expect("reads");
            stream.write_all(format!("{said}\r\n").as_bytes()).await.expect("writes");
        }
        // Nothing is read from here on; what the machine buffers is less than the letter.
        std::future::pending::<()>().await;
    };
    let from = parse_mailbox("r@example.net").expect("a mailbox");
    let waits = Waits { data: Duration::from_millis(500), ..Waits::default() };
    let settings = Settings { port, waits, ..Settings::at("127.0.0.1", Tls::None, from) };
    let letter = letter::Letter { from: "a@b.c".into(), to: "d@e.f".into(), bytes: vec![b'x'; 32 << 20] };
    let deliver = async {
        let mut session = Session::open(&settings, None).await.expect("opens");
        let end = session.deliver(&letter).await;
        (end, session.is_settled())
    };
    tokio::select! {
        () = serve => {}
        (end, is_settled) = deliver => {
            assert_eq!(end, End::Lost("the server did not take the text in 500ms".into()));
            assert!(!is_settled);
        }
    }
}

#[tokio::test]
async fn a_server_that_speaks_out_of_turn_is_left_before_the_dot() {
    let told = told(&[("DATA", Say("354 go ahead\r\n421 4.3.2 shutting down"))]).await;
    assert!(told.starts_with("later: text: the server spoke out of turn: 421 4.3.2 shutting down"), "{told}");
    let told = self::told(&[("MAIL", Say("250 ok\r\n250 ok"))]).await;
    assert!(told.starts_with("later: RCPT: the server spoke out of turn: 250 ok"), "{told}");
}

#[tokio::test]
async fn five_megabytes_of_answer_are_not_read() {
    for (step, begins) in
        [("RCPT", "later: RCPT: an answer of more than"), ("dot", "unknown: after the text: an answer of more")]
    {
        let long: &'static str = Box::leak("2".repeat(5 << 20).into_boxed_str());
        let told = told(&[(step, Say(long))]).await;
        assert!(told.starts_with(begins), "{told}");
    }
}

#[tokio::test]
async fn what_is_no_mailbox_reaches_no_server() {
    let server = Server::start(&[]).await;
    let mail = server.mail();
    for address in ["ann@acme.example\r\nRCPT TO:<eve@evil.example>", "ann", "", "+46700001"] {
        let outcome = mail.send(&Parcel { address: address.into(), ..parcel(1) }).await;
        assert!(matches!(outcome, Outcome::Never(_)), "{outcome:?}");
    }
    assert_eq!(server.n_connections(), 0);
}

#[tokio::test]
async fn an_address_in_another_script_goes_only_where_it_is_understood() {
    let address = "jürgen@example.com";
    let plain = Server::start(&[]).await;
    let mail = plain.mail();
    let outcome = mail.send(&Parcel { address: address.into(), ..parcel(1) }).await;
    assert!(matches!(&outcome, Outcome::Never(why) if why.contains("plain letters")), "{outcome:?}");
    // The conversation is as good as new.
    assert!(matches!(mail.send(&parcel(2)).await, Outcome::Handed { .. }));
    assert_eq!(plain.n_connections(), 1);
    let able = Server::start(&[("EHLO", Say("250-mx.test\r\n250-8BITMIME\r\n250 SMTPUTF8"))]).await;
    let outcome = able.mail().send(&Parcel { address: address.into(), ..parcel(1) }).await;
    assert!(matches!(outcome, Outcome::Handed { .. }), "{outcome:?}");
    assert!(able.lines().contains(&"MAIL FROM:<ringfence@example.net> BODY=8BITMIME SMTPUTF8".to_owned()));
}

#[tokio::test]
async fn no_server_is_no_connection_and_comes_later() {
    let gone = {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("binds");
        listener.local_addr().expect("an address").port()
    };
    let from = parse_mailbox("r@example.net").expect("a mailbox");
    let settings = Settings { port: gone, ..Settings::at("127.0.0.1", Tls::None, from) };
    let told = word_of(Mail::new(&settings, "s").expect("usable").send(&parcel(1)).await);
    assert!(told.starts_with(&format!("later: cannot connect to 127.0.0.1:{gone}: ")), "{told}");
    let nowhere = Settings { host: "no-such-host.invalid".into(), ..settings };
    let told = word_of(Mail::new(&nowhere, "s").expect("usable").send(&parcel(1)).await);
    assert!(told.starts_with("later: cannot connect: no address of no-such-host.invalid"), "{told}");
}

#[tokio::test]
async fn a_name_is_reached_by_whichever_of_its_addresses_answers() {
    // Often of IPv6 first, where nobody listens.
    let server = Server::start(&[]).await;
    let settings = Settings { host: "localhost".into(), ..server.settings() };
    let outcome = Mail::new(&settings, "s").expect("usable").send(&parcel(1)).await;
    assert!(matches!(outcome, Outcome::Handed { .. }), "{outcome:?}");
}

#[tokio::test]
async fn letters_one_after_the_other_share_a_connection_and_a_refused_one_does_not_spoil_it() {
    let server = Server::start(&[("RCPT", Say("250 ok")), ("RCPT", Say("550 5.1.1 no such user"))]).await;
    let mail = server.mail();
    let told: Vec<String> = vec![
        word_of(mail.send(&parcel(1)).await),
        word_of(mail.send(&parcel(2)).await),
        word_of(mail.send(&parcel(3)).await),
    ];
    let told: Vec<&str> = told.iter().map(|t| t.split(':').next().unwrap_or_default()).collect();
    assert_eq!(told, ["handed", "never", "handed"]);
    assert_eq!(server.n_connections(), 1);
    assert_eq!(server.lines().iter().filter(|line| *line == "RSET").count(), 1);
    assert_eq!(server.letters().len(), 2);
}

#[tokio::test]
async fn a_dead_idle_connection_costs_a_fresh_one_and_not_a_try() {
    // It hangs up at once, at the next letter, or says goodbye then.
    for (step, act) in [("MAIL", HangUp), ("MAIL", Say("421 4.4.2 timed out")), ("RCPT", HangUp), ("DATA", HangUp)] {
        let server = Server::start(&[(step, Say(usual(step, false))), (step, act)]).await;
        let mail = server.mail();
        assert!(matches!(mail.send(&parcel(1)).await, Outcome::Handed { .. }));
        let second = word_of(mail.send(&parcel(2)).await);
        assert_eq!(
            (second.as_str(), server.n_connections()),
            ("handed: 2.0.0 Ok: queued as 4F1A", 2),
            "{step} {act:?}"
        );
        assert_eq!(server.letters().len(), 2);
    }
}

#[tokio::test]
async fn a_fresh_connection_is_tried_once_and_doubt_after_the_dot_is_never_tried_again() {
    let server = Server::start(&[("MAIL", Say("250 ok")), ("MAIL", HangUp), ("MAIL", HangUp)]).await;
    let mail = server.mail();
    assert!(matches!(mail.send(&parcel(1)).await, Outcome::Handed { .. }));
    let told = word_of(mail.send(&parcel(2)).await);
    assert!(told.starts_with("later: MAIL: "), "{told}");
    assert_eq!(server.n_connections(), 2);

    let server = Server::start(&[("dot", Say("250 ok")), ("dot", HangUp)]).await;
    let mail = server.mail();
    assert!(matches!(mail.send(&parcel(1)).await, Outcome::Handed { .. }));
    assert!(matches!(mail.send(&parcel(2)).await, Outcome::Unknown(_)));
    assert_eq!((server.n_connections(), server.letters().len()), (1, 2));
    // And the broken conversation is not used again.
    assert!(matches!(mail.send(&parcel(3)).await, Outcome::Handed { .. }));
    assert_eq!(server.n_connections(), 2);
}

#[tokio::test]
async fn a_letter_given_up_in_the_middle_leaves_no_connection_behind() {
    let server = Server::start(&[("DATA", Silence)]).await;
    let mail = server.mail();
    let first = parcel(1);
    let sending = mail.send(&first);
    let began = async {
        while !server.lines().contains(&"DATA".to_owned()) {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        outcome = sending => panic!("{outcome:?}"),
        () = began => {}
    }
    assert!(matches!(mail.send(&parcel(2)).await, Outcome::Handed { .. }));
    assert_eq!((server.n_connections(), server.letters().len()), (2, 1));
}

#[tokio::test]
async fn an_idle_connection_is_hung_up_politely() {
    let server = Server::start(&[]).await;
    let mail = Mail::new(&Settings { idle: Duration::from_millis(20), ..server.settings() }, "s").expect("usable");
    assert!(matches!(mail.send(&parcel(1)).await, Outcome::Handed { .. }));
    while server.seen.lock().expect("not poisoned").n_open > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(server.lines().last().map(String::as_str), Some("QUIT"));
    assert!(matches!(mail.send(&parcel(2)).await, Outcome::Handed { .. }));
    assert_eq!(server.n_connections(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_letters_share_a_few_connections_and_none_is_lost_or_doubled() {
    let server = Server::start(&[]).await;
    let mail = Arc::new(Mail::new(&Settings { connections: 4, ..server.settings() }, "s").expect("usable"));
    let all: Vec<_> = (0..200)
        .map(|n| {
            let mail = Arc::clone(&mail);
            tokio::spawn(async move { mail.send(&parcel(n)).await })
        })
        .collect();
    for sent in all {
        assert!(matches!(sent.await.expect("ends"), Outcome::Handed { .. }));
    }
    let seen = server.seen.lock().expect("not poisoned");
    let id = |letter: &String| letter.lines().find(|l| l.starts_with("Message-ID")).expect("an id").to_owned();
    let mut ids: Vec<String> = seen.letters.iter().map(id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!((ids.len(), seen.letters.len()), (200, 200));
    assert!(seen.open_most <= 4 && seen.n_connections <= 8, "{} {}", seen.open_most, seen.n_connections);
}

#[tokio::test]
async fn who_waits_too_long_for_a_turn_is_told_so() {
    let server = Server::start(&[("dot", Silence)]).await;
    let waits = Waits { command: Duration::from_secs(1), ..Waits::default() };
    let mail = Mail::new(&Settings { connections: 1, waits, ..server.settings() }, "s").expect("usable");
    let parcels = [parcel(1), parcel(2)];
    let [first, second] = &parcels;
    tokio::select! {
        biased;
        first = mail.send(first) => panic!("{first:?}"),
        second = mail.send(second) => {
            assert_eq!(second, Outcome::Later("all 1 connections were busy for 1s".into()));
        }
    }
}

// ---- TLS and logging in

fn certified(name: &str) -> (TlsAcceptor, tempfile::NamedTempFile) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let config = ServerConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("a server's settings");
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), made.cert.pem()).expect("writes");
    (TlsAcceptor::from(Arc::new(config)), file)
}

fn secured(server: &Server, tls: Tls, ca_file: Option<&Path>) -> Mail {
    let settings =
        Settings { tls, host: "localhost".into(), ca_file: ca_file.map(Path::to_owned), ..server.settings() };
    Mail::new(&settings, "s").expect("usable")
}

#[tokio::test]
async fn over_tls_goes_only_to_whom_the_certificate_names_and_an_authority_vouches_for() {
    let (acceptor, authority) = certified("localhost");
    let (wrong_name, wrong_authority) = certified("elsewhere.example");
    for tls in [Tls::Implicit, Tls::StartTls] {
        let guard = |acceptor: &TlsAcceptor| match tls {
            Tls::StartTls => Guard::StartTls(acceptor.clone()),
            _ => Guard::Implicit(acceptor.clone()),
        };
        let good = Server::guarded(&[], guard(&acceptor)).await;
        let mail = secured(&good, tls, Some(authority.path()));
        assert!(matches!(mail.send(&parcel(1)).await, Outcome::Handed { .. }));
        assert!(matches!(mail.send(&parcel(2)).await, Outcome::Handed { .. }));
        assert_eq!(good.n_connections(), 1);
        // Vouched for by nobody whom the public authorities know.
        let unknown = word_of(secured(&good, tls, None).send(&parcel(1)).await);
        assert!(unknown.starts_with("later: TLS: ") && unknown.contains("UnknownIssuer"), "{unknown}");
        let other = Server::guarded(&[], guard(&wrong_name)).await;
        let named = word_of(secured(&other, tls, Some(wrong_authority.path())).send(&parcel(1)).await);
        assert!(named.starts_with("later: TLS: ") && named.contains("not valid for name"), "{named}");
        assert_eq!(other.letters().len(), 0);
    }
}

#[tokio::test]
async fn where_starttls_is_stripped_or_refused_nothing_is_sent_in_the_clear() {
    let (_, authority) = certified("localhost");
    let stripped = Server::start(&[]).await;
    let told = word_of(secured(&stripped, Tls::StartTls, Some(authority.path())).send(&parcel(1)).await);
    assert!(told.starts_with("later: the server does not offer STARTTLS"), "{told}");
    let offered = "250-mx.test\r\n250 STARTTLS";
    let refused = Server::start(&[("EHLO", Say(offered)), ("STARTTLS", Say("554 5.7.0 not now"))]).await;
    let told = word_of(secured(&refused, Tls::StartTls, Some(authority.path())).send(&parcel(1)).await);
    assert_eq!(told, "later: STARTTLS: 554 5.7.0 not now");
    for server in [&stripped, &refused] {
        assert!(!server.lines().iter().any(|line| line.starts_with("MAIL") || line.starts_with("AUTH")));
    }
}

#[tokio::test]
async fn what_was_slipped_in_before_tls_is_not_believed() {
    let (acceptor, authority) = certified("localhost");
    let slipped = [("STARTTLS", Say("220 go ahead\r\n250 AUTH PLAIN"))];
    let server = Server::guarded(&slipped, Guard::StartTls(acceptor)).await;
    let told = word_of(secured(&server, Tls::StartTls, Some(authority.path())).send(&parcel(1)).await);
    assert!(told.starts_with("later: TLS: the server, or somebody in between, spoke before"), "{told}");
}

fn with_login(server: &Server) -> Mail {
    let login = Some(Login { user: "ringfence".into(), password: Secret("hunter2".into()) });
    Mail::new(&Settings { login, ..server.settings() }, "s").expect("usable")
}

#[tokio::test]
async fn logging_in_speaks_both_ways_that_servers_know() {
    let plain = Server::start(&[]).await;
    assert!(matches!(with_login(&plain).send(&parcel(1)).await, Outcome::Handed { .. }));
    assert!(plain.lines().contains(&"AUTH PLAIN AHJpbmdmZW5jZQBodW50ZXIy".to_owned()), "{:?}", plain.lines());
    let script = [
        ("EHLO", Say("250-mx.test\r\n250 auth=LOGIN LOGIN")),
        ("AUTH", Say("334 VXNlcm5hbWU6")),
        ("challenge", Say("334 UGFzc3dvcmQ6")),
        ("challenge", Say("235 welcome")),
    ];
    let by_turns = Server::start(&script).await;
    assert!(matches!(with_login(&by_turns).send(&parcel(1)).await, Outcome::Handed { .. }));
    let said: Vec<String> = by_turns.lines().into_iter().skip(1).take(3).collect();
    assert_eq!(said, ["AUTH LOGIN", "cmluZ2ZlbmNl", "aHVudGVyMg=="]);
}

#[tokio::test]
async fn trouble_with_logging_in_is_the_providers_and_never_shows_the_password() {
    for script in [
        vec![("AUTH", Say("535 5.7.8 bad credentials"))],
        vec![("AUTH", Say("454 4.7.0 try again"))],
        vec![("AUTH", HangUp)],
        vec![("EHLO", Say("250 mx.test"))],
    ] {
        let told = word_of(with_login(&Server::start(&script).await).send(&parcel(1)).await);
        assert!(told.starts_with("later: AUTH: "), "{told}");
        assert!(!told.contains("hunter2") && !told.contains("AHJpbmdm"), "{told}");
    }
    let mail = with_login(&Server::start(&[]).await);
    assert!(!format!("{mail:?}").contains("hunter2"));
}

#[test]
fn a_site_without_a_word_for_it_and_a_file_without_authorities_are_refused() {
    let from = parse_mailbox("r@example.net").expect("a mailbox");
    let settings = Settings::at("mx.example.net", Tls::StartTls, from);
    assert!(Mail::new(&settings, "a-1").is_ok());
    for site in ["", "a b", "a@b", "a>\r\nBcc: x"] {
        assert!(Mail::new(&settings, site).is_err(), "{site}");
    }
    let missing = Settings { ca_file: Some("/nonexistent/ca.pem".into()), ..settings.clone() };
    assert!(Mail::new(&missing, "s").is_err_and(|why| why.contains("/nonexistent/ca.pem")));
    let unnamed = Settings { host: "not a name".into(), ..settings };
    assert!(Mail::new(&unnamed, "s").is_err());
}

// ---- The canary

fn canary(inbox: Option<PathBuf>) -> CanarySettings {
    CanarySettings {
        to: parse_address("canary@example.net").expect("an address"),
        every: Duration::from_millis(20),
        late_after: Duration::from_millis(50),
        inbox,
    }
}

/// Health as it changes, with the canary running.
struct Watched {
    health: watch::Receiver<MailHealth>,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

fn watched(server: &Server, settings: CanarySettings) -> Watched {
    let (sender, health) = watch::channel(MailHealth::Unknown);
    let (stop, stopped) = watch::channel(false);
    let task = tokio::spawn(Canary::run(Arc::new(server.mail()), settings, sender, stopped));
    Watched { health, stop, task }
}

impl Watched {
    async fn next(&mut self) -> MailHealth {
        self.health.changed().await.expect("a canary that sings");
        self.health.borrow_and_update().clone()
    }
}

#[tokio::test]
async fn the_canary_tells_when_mail_goes_and_when_it_is_back() {
    let refused = Say("451 4.3.0 later");
    let script = [("RCPT", Say("250 ok")), ("RCPT", refused), ("RCPT", refused), ("RCPT", refused)];
    let server = Server::start(&script).await;
    let mut watched = watched(&server, canary(None));
    assert_eq!(watched.next().await, MailHealth::Up);
    let down = watched.next().await;
    assert!(matches!(&down, MailHealth::Down { why, .. } if why == "RCPT: 451 4.3.0 later"), "{down:?}");
    assert_eq!(watched.next().await, MailHealth::Up);
    watched.stop.send(true).expect("is heard");
    watched.task.await.expect("ends");
}

#[tokio::test]
async fn with_an_inbox_only_what_arrives_counts() {
    let inbox = tempfile::tempdir().expect("a temporary folder");
    for below in ["new", "cur"] {
        std::fs::create_dir(inbox.path().join(below)).expect("creates");
    }
    // Taken and never delivered.
    let server = Server::start(&[]).await;
    let mut watched = watched(&server, canary(Some(inbox.path().to_owned())));
    let down = watched.next().await;
    assert!(matches!(&down, MailHealth::Down { why, .. } if why.contains("not in the inbox")), "{down:?}");
    // Somebody delivers from now on.
    let mut n_delivered = 0;
    let deliver = async {
        loop {
            let letters = server.letters();
            for (n, letter) in letters.iter().enumerate().skip(n_delivered) {
                std::fs::write(inbox.path().join(format!("new/{n}")), letter).expect("writes");
            }
            n_delivered = letters.len();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        () = deliver => {}
        health = watched.next() => assert_eq!(health, MailHealth::Up),
    }
    watched.stop.send(true).expect("is heard");
    watched.task.await.expect("ends");
}
