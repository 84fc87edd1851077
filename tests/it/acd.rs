//! Announcements over real HTTP: what telephone systems fetch, the look at it afterwards, pushes, and a real voice.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use ringfence::acd::{
    ALL, Announcement, Board, Format, Published, Pushed, QueueSettings, ReadBack, Recording, Settings, TtsSettings,
    push, read_back,
};
use ringfence::clock::Timestamp;
use ringfence::incident::Message;
use ringfence::kit::{Form, Forms, Kind, Kits, speech};
use ringfence::outbound::{Endpoint, Secret};
use ringfence::portal::acd::routes;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// A message that was released, as the store has it.
fn message(incident: i64, id: i64, severity: u8, text: &str) -> Message {
    let said = |s: &str| s.to_owned();
    let acd = text.to_owned();
    let forms = Forms { mail_subject: said("a"), mail: said("b"), sms: said("c"), portal: said("d"), acd };
    let at = "2026-03-02T10:00:00Z";
    let json = json!({
        "id": id, "incident": incident, "customer": "acme", "kit": "confirmed", "kit_version": "1", "author": "anna",
        "authors": ["anna"], "state": "released", "severity": severity, "certainty": "confirmed",
        "given": ringfence::incident::Given::default(), "hash": forms.hash(), "forms": forms, "check": null,
        "comment": null, "is_before_check": false, "drafted": at, "changed": at, "released": at, "released_by": "bert",
        "accepted": null,
    });
    serde_json::from_value(json).expect("a message")
}

fn announced(incident: i64, id: i64, severity: u8, text: &str) -> Announcement {
    Announcement::of(&message(incident, id, severity, text)).expect("it is released")
}

/// Half a second of a tone, 16 bit, 22,050 Hz.
fn tone() -> Vec<u8> {
    let sample = |i: u32| ((f64::from(i) * 0.1).sin() * 8000.0) as i16;
    let samples: Vec<u8> = (0..11_025).flat_map(|i| sample(i).to_le_bytes()).collect();
    let mut file = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0".to_vec();
    file.extend(22_050u32.to_le_bytes());
    file.extend(44_100u32.to_le_bytes());
    file.extend(b"\x02\0\x10\0data");
    file.extend((samples.len() as u32).to_le_bytes());
    file.extend(samples);
    file
}

/// A board behind HTTP.
struct House {
    runtime: Runtime,
    board: Arc<Board>,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    _folder: tempfile::TempDir,
}

impl House {
    /// Whatever is said, is said as a tone.
    fn start(queues: Vec<QueueSettings>) -> House {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("tone"), tone()).expect("writes");
        let command = ["cat".to_owned(), folder.path().join("tone").display().to_string()].to_vec();
        let tts = TtsSettings { command, timeout: Duration::from_secs(60) };
        House::with(Settings { tts: Some(tts), queues, ..Settings::default() }, folder)
    }

    fn with(settings: Settings, folder: tempfile::TempDir) -> House {
        let runtime = Runtime::new().expect("starts");
        let board = Arc::new(Board::start(settings, Some(folder.path().to_owned())).expect("starts"));
        let address = serve(&runtime, routes(Router::new(), Arc::clone(&board)));
        House { runtime, board, address, stop: watch::Sender::new(false), _folder: folder }
    }

    fn show(&self, all: &[Announcement]) {
        self.board.show(Timestamp(1_772_445_600_000), all);
    }

    fn until(&self, is_it: impl Fn(&Published) -> bool) -> Arc<Published> {
        patiently(|| self.board.queue(ALL).filter(|published| is_it(published)))
    }

    fn fetch(&self, file: &str) -> Answer {
        self.ask("GET", file, "")
    }

    fn ask(&self, method: &str, file: &str, headers: &str) -> Answer {
        let mut stream = TcpStream::connect(self.address).expect("connects");
        let request = format!("{method} /acd/{file} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).expect("sends");
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).expect("answers");
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
        let head = String::from_utf8(bytes[..end].to_vec()).expect("a head is ASCII");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        Answer { status, head, body: bytes[end..].to_vec() }
    }
}

/// Looks until there is something to see. What does not come in minutes never will.
fn patiently<T>(look: impl Fn() -> Option<T>) -> T {
    for _ in 0..60_000 {
        if let Some(found) = look() {
            return found;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    panic!("it never came");
}

fn serve(runtime: &Runtime, router: Router) -> SocketAddr {
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("binds");
    let address = listener.local_addr().expect("an address");
    runtime.spawn(async { axum::serve(listener, router).await });
    address
}

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("text")
    }
}

fn queue(name: &str) -> QueueSettings {
    QueueSettings { name: name.to_owned(), customers: None, push: None }
}

fn is_ready(published: &Published) -> bool {
    published.recording == Recording::Ready
}

#[test]
fn a_telephone_system_fetches_what_is_released_and_asks_again_by_its_tag() {
    let house = House::start(vec![queue(ALL)]);
    house.show(&[announced(1, 1, 1, "Calls abroad <may> fail.")]);
    house.until(is_ready);
    for (format, media_type) in [
        (Format::Text, "text/plain; charset=utf-8"),
        (Format::Ssml, "application/ssml+xml"),
        (Format::VoiceXml, "application/voicexml+xml"),
        (Format::Wav, "audio/wav"),
        (Format::MuLaw, "audio/basic"),
    ] {
        let file = format!("all.{}", format.ending());
        let answer = house.fetch(&file);
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(media_type)), "{file}");
        assert_eq!(answer.header("cache-control"), Some("public, max-age=60, must-revalidate"));
        assert!(answer.header("last-modified").is_some_and(|at| at.ends_with(" GMT")), "{}", answer.head);
        assert!(answer.header("expires").is_some_and(|at| at.ends_with(" GMT")), "{}", answer.head);
        assert!(answer.header("www-authenticate").is_none());
        let tag = answer.header("etag").expect("a tag");
        let head = house.ask("HEAD", &file, "");
        assert_eq!((head.status, head.body.len(), head.header("etag")), (200, 0, Some(tag)));
        assert_eq!(head.header("content-length"), Some(answer.body.len().to_string().as_str()));
        let known = house.ask("GET", &file, &format!("If-None-Match: \"x\", W/{tag}\r\n"));
        assert_eq!((known.status, known.body.len(), known.header("etag")), (304, 0, Some(tag)));
        assert_eq!(house.ask("GET", &file, "If-None-Match: \"x\"\r\n").status, 200);
        assert_eq!(house.ask("POST", &file, "").status, 405);
    }
    assert_eq!(house.fetch("all.txt").text(), "Calls abroad <may> fail.\n");
    assert!(house.fetch("all.ssml").text().contains("<p>Calls abroad &lt;may&gt; fail.</p>"));
    let wav = house.fetch("all.wav").body;
    assert_eq!((&wav[..4], &wav[20..22], &wav[24..28]), (&b"RIFF"[..], &[7, 0][..], &8000u32.to_le_bytes()[..]));
    assert_eq!(house.fetch("all.ulaw").body.len(), 4000);
}

#[test]
fn what_is_withdrawn_or_another_by_now_is_not_there_and_says_nothing_aloud() {
    let house = House::start(vec![queue(ALL), queue("other")]);
    let silent = |file: &str, status: u16, why: &str| {
        let answer = house.fetch(file);
        assert_eq!((answer.status, answer.body.len()), (status, 0), "{file}: {}", answer.head);
        assert_eq!((answer.header("ringfence-reason"), answer.header("cache-control")), (Some(why), Some("no-store")));
        assert_eq!(answer.header("etag"), None);
    };
    silent("all.txt", 503, "the service has just begun");
    house.show(&[announced(1, 1, 1, "One.")]);
    house.until(is_ready);
    let document = house.fetch("all.vxml").text();
    let place = document.split("src=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a place");
    assert_eq!(house.fetch(place).status, 200, "{place}");
    house.show(&[announced(1, 2, 1, "Two.")]);
    house.until(is_ready);
    // The document that somebody fetched a moment ago reads its own text instead.
    silent(place, 404, "the text is another by now");
    assert_eq!(house.fetch("all.wav").status, 200);
    house.show(&[]);
    for file in ["all.txt", "all.ssml", "all.wav", "all.ulaw", "other.txt"] {
        silent(file, 404, "nothing is announced");
    }
    let empty = house.fetch("all.vxml");
    assert!(empty.status == 200 && !empty.text().contains("<prompt>"), "{}", empty.text());
    // Whoever keeps it would not hear of the next one.
    assert_eq!(empty.header("cache-control"), Some("public, max-age=0, must-revalidate"));
    silent("nobody.txt", 404, "no such queue");
    silent("all.mp3", 404, "no such format: txt, ssml, vxml, wav or ulaw");
    for file in ["all", "..%2f..%2fetc%2fpasswd.txt", "%61ll.txt", "a%20b.txt", ".txt", "%ff.wav"] {
        silent(file, 404, "no such file: QUEUE.txt, .ssml, .vxml, .wav or .ulaw");
    }
    assert_eq!(house.fetch("all/txt").status, 404);
}

type Told = Arc<Mutex<Vec<(String, Vec<i64>, Result<(), String>)>>>;

/// Starts the task that looks at this address.
fn look(house: &House, address: SocketAddr) -> Told {
    let told = Told::default();
    let note = {
        let told = Arc::clone(&told);
        move |queue: &str, messages: &[i64], found| {
            told.lock().expect("not poisoned").push((queue.to_owned(), messages.to_vec(), found));
        }
    };
    house.runtime.spawn(read_back(Arc::clone(&house.board), address, note, house.stop.subscribe()));
    told
}

fn is_good(published: &Published) -> bool {
    matches!(published.read_back, ReadBack::Good(_))
}

fn until_told(told: &Told, n: usize) -> Vec<(String, Vec<i64>, Result<(), String>)> {
    patiently(|| Some(told.lock().expect("not poisoned").clone()).filter(|found| found.len() >= n))
}

#[test]
fn what_is_released_is_told_only_when_it_was_fetched_as_it_was_released() {
    let house = House::start(vec![queue(ALL)]);
    let told = look(&house, house.address);
    house.show(&[]);
    house.until(is_good);
    house.show(&[announced(1, 1, 1, "One."), announced(2, 2, 2, "Two.")]);
    house.until(|published| published.messages() == [1, 2] && is_good(published));
    house.show(&[]);
    house.until(|published| published.messages().is_empty() && is_good(published));
    let all = |messages: &[i64]| ("all".to_owned(), messages.to_vec(), Ok(()));
    assert_eq!(until_told(&told, 3), [all(&[]), all(&[1, 2]), all(&[])]);
}

#[test]
fn a_text_that_is_not_the_released_one_is_told_once_and_looked_at_until_it_is() {
    let house = House::start(vec![queue(ALL)]);
    let text = Arc::new(Mutex::new((500, "")));
    let answer = {
        let text = Arc::clone(&text);
        move || async move {
            let (status, body) = *text.lock().expect("not poisoned");
            (StatusCode::from_u16(status).expect("a status"), body)
        }
    };
    let address = serve(&house.runtime, Router::new().route("/acd/all.txt", get(answer)));
    let told = look(&house, address);
    house.show(&[announced(1, 7, 1, "One.")]);
    let failed =
        |why: &'static str| move |published: &Published| published.read_back == ReadBack::Failed(why.to_owned());
    house.until(failed("HTTP 500, not the released text"));
    *text.lock().expect("not poisoned") = (200, "One, and more.\n");
    house.until(failed("the text that is served is not the one that was released"));
    *text.lock().expect("not poisoned") = (200, "One.\n");
    house.until(is_good);
    let why = "HTTP 500, not the released text".to_owned();
    let all = |found| ("all".to_owned(), vec![7], found);
    assert_eq!(until_told(&told, 2), [all(Err(why)), all(Ok(()))]);
    house.show(&[]);
    house.until(failed("a text is served, though nothing is to be announced"));
    // Nobody there at all.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("an address");
    look(&house, gone);
    house.show(&[announced(1, 8, 1, "Three.")]);
    house.until(|p| matches!(&p.read_back, ReadBack::Failed(why) if why.starts_with("no answer from ")));
}

#[test]
fn whoever_wants_to_be_told_gets_every_state_in_order_until_it_is_taken() {
    let posted: Arc<Mutex<Vec<Value>>> = Arc::default();
    let take = {
        let posted = Arc::clone(&posted);
        move |headers: HeaderMap, body: String| async move {
            assert_eq!(headers["authorization"], "Bearer s3cret");
            let mut posted = posted.lock().expect("not poisoned");
            posted.push(serde_json::from_str(&body).expect("JSON"));
            if posted.len() == 1 { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::NO_CONTENT }
        }
    };
    let runtime = Runtime::new().expect("starts");
    let address = serve(&runtime, Router::new().route("/hook", post(take)));
    let wait = Duration::from_secs(60);
    let endpoint = Endpoint {
        url: format!("http://{address}/hook").parse().expect("a URL"),
        connect_timeout: wait,
        request_timeout: wait,
        bearer_token: Some(Secret("s3cret".to_owned())),
        ca_file: None,
    };
    let house = House::start(vec![QueueSettings { push: Some(endpoint), ..queue(ALL) }]);
    house.runtime.spawn(push(Arc::clone(&house.board), house.stop.subscribe()));
    house.show(&[announced(1, 2, 1, "One.")]);
    house.until(|published| matches!(published.pushed, Pushed::Done(_)));
    house.show(&[]);
    house.until(|published| published.said.is_empty() && matches!(published.pushed, Pushed::Done(_)));
    let posted = posted.lock().expect("not poisoned");
    assert_eq!(posted.len(), 3, "refused, taken, withdrawn: {posted:?}");
    assert_eq!(posted[0], posted[1]);
    let expected = json!([{
        "incident": "INC-000001", "message": "MSG-000002", "customer": "acme", "severity": 1,
        "released": "2026-03-02T10:00:00.000Z", "text": "One.",
    }]);
    assert_eq!((&posted[1]["text"], &posted[1]["announcements"]), (&json!("One."), &expected));
    assert_eq!((&posted[2]["text"], &posted[2]["announcements"]), (&Value::Null, &json!([])));
}

/// The program and where its data are, or `None` after saying so.
fn espeak(test: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join("espeak-ng")).find(|file| file.is_file());
    let Some(program) = found else {
        eprintln!("NOT RUN: {test}: espeak-ng is not installed");
        return None;
    };
    let works = Command::new(&program).args(["-q", "--stdout", "word"]).output().is_ok_and(|out| out.status.success());
    assert!(works, "{} does not run: are its libraries and ESPEAK_DATA_PATH set?", program.display());
    Some(program)
}

fn speaking(program: &Path, more: &[&str]) -> House {
    let mut command = vec![program.display().to_string()];
    command.extend(["-v", "en-us", "-s", "150", "--stdin"].iter().chain(more).map(|&word| word.to_owned()));
    let tts = TtsSettings { command, timeout: Duration::from_secs(60) };
    let folder = tempfile::tempdir().expect("a temporary folder");
    House::with(Settings { tts: Some(tts), ..Settings::default() }, folder)
}

/// Loudness of each tenth of a second, of mu-law.
fn loudness(samples: &[u8]) -> Vec<f64> {
    let value = |byte: &u8| {
        let byte = !byte;
        let size = (((i32::from(byte & 0x0f) << 3) + 0x84) << ((byte >> 4) & 7)) - 0x84;
        f64::from(size)
    };
    samples
        .chunks(800)
        .map(|part| (part.iter().map(|b| value(b).powi(2)).sum::<f64>() / part.len() as f64).sqrt())
        .collect()
}

#[test]
fn a_real_voice_says_every_shipped_kit_about_as_long_as_it_is_reckoned() {
    let Some(program) = espeak("a real voice") else { return };
    let kits = Kits::shipped();
    for (n, kind) in Kind::ALL.into_iter().enumerate() {
        let kit = kits.get(kind);
        let text = kit.render(&kit.examples(|_| false)).expect("its examples fit").get(Form::Acd).to_owned();
        // By the pipe and by the file, in turns.
        let more: &[&str] = if n % 2 == 0 { &["--stdout"] } else { &["-w", "{wav}"] };
        let house = speaking(&program, more);
        house.show(&[announced(1, 1, 1, &text)]);
        let published = house.until(|p| is_ready(p) || matches!(p.recording, Recording::Failed(_)));
        assert_eq!(published.recording, Recording::Ready, "{kind:?}: {text}");
        let wav = house.fetch("all.wav").body;
        let header = (u16::from_le_bytes([wav[20], wav[21]]), u16::from_le_bytes([wav[22], wav[23]]));
        assert_eq!((header, u32::from_le_bytes([wav[24], wav[25], wav[26], wav[27]])), ((7, 1), 8000));
        let samples = house.fetch("all.ulaw").body;
        let (real, reckoned) = (samples.len() as f64 / 8000.0, speech::seconds(&text));
        let loudness = loudness(&samples);
        let n_loud = loudness.iter().filter(|rms| **rms > 300.0).count();
        let share = n_loud as f64 / loudness.len() as f64;
        println!("{kind:?}: {real:.1} s, reckoned {reckoned:.1} s, {:.2}; loud {share:.2}", real / reckoned);
        assert!((0.7..1.4).contains(&(real / reckoned)), "{kind:?}: {real:.1} s, reckoned {reckoned:.1} s: {text}");
        // Speech has pauses, but most of it is heard, and none of it is a clipped roar.
        assert!((0.5..0.98).contains(&share), "{kind:?}: {share:.2} is loud");
        assert!(loudness.iter().all(|rms| *rms < 20_000.0), "{kind:?}: it is clipped");
        if let Some(folder) = std::env::var_os("RINGFENCE_KEEP_WAV") {
            std::fs::write(Path::new(&folder).join(format!("{kind:?}.wav")), &wav).expect("writes");
        }
    }
}
