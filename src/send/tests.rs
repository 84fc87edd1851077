//! Against a server of a few lines that speaks the protocol by the letter.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::sync::mpsc;

use clap::Parser;

use super::*;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

fn parse(arguments: &[&str]) -> Args {
    Cli::try_parse_from(["send"].iter().chain(arguments)).expect("arguments").args
}

/// How the server treats one connection.
#[derive(Clone, Copy)]
struct Manner {
    last_seq: u64,
    /// Closes, without a word, after so many events.
    breaks_after: usize,
    reply: &'static str,
}

/// Serves one connection after another and gives what each received.
fn server(manners: Vec<Manner>) -> (String, mpsc::Receiver<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    let (heard, hear) = mpsc::channel();
    std::thread::spawn(move || {
        for manner in manners {
            let (stream, _) = listener.accept().expect("a connection");
            stream.set_nodelay(true).expect("an option");
            let mut out = stream.try_clone().expect("a clone");
            let mut lines = vec![];
            for line in BufReader::new(stream).lines().map_while(std::io::Result::ok) {
                if line.starts_with("{\"hello\"") {
                    writeln!(out, "{{\"welcome\":{{\"gateway\":\"x\",\"last_seq\":{}}}}}", manner.last_seq)
                        .expect("it writes");
                    lines.push(line);
                    continue;
                }
                lines.push(line.clone());
                let seq = numbering::seq_of(line.as_bytes()).unwrap_or(0);
                let answer = match manner.reply {
                    "ack" if line.contains("bad") => {
                        format!("{{\"reject\":{{\"seq\":{seq},\"reason\":\"malformed\"}}}}\n")
                    }
                    "ack" => format!("{{\"ack\":{seq}}}\n"),
                    "verdict" => {
                        format!("{{\"seq\":{seq},\"call_id\":null,\"action\":\"allow\",\"rule\":\"default\"}}\n")
                    }
                    _ => String::new(),
                };
                // A client that has gone away shows in what it received.
                drop(out.write_all(answer.as_bytes()));
                if lines.len() > manner.breaks_after {
                    break;
                }
            }
            heard.send(lines).expect("somebody hears");
        }
    });
    (address, hear)
}

const STAYS: Manner = Manner { last_seq: 0, breaks_after: usize::MAX, reply: "ack" };

fn file(lines: usize) -> tempfile::NamedTempFile {
    let mut file = tempfile::Builder::new().suffix(".ndjson").tempfile().expect("a file");
    for i in 0..lines {
        writeln!(file, "{{\"time\":{}}}", 1_700_000_000 + i).expect("it writes");
    }
    file
}

fn send(address: &str, more: &[&str], file: &tempfile::NamedTempFile) -> Result<ExitCode> {
    let path = file.path().to_string_lossy().into_owned();
    let mut arguments = vec!["--to", address];
    arguments.extend_from_slice(more);
    arguments.push(&path);
    run(&parse(&arguments))
}

#[test]
fn every_event_is_numbered_and_acknowledged() {
    let (address, hear) = server(vec![STAYS]);
    let code = send(&address, &["--gateway", "sbc-1"], &file(1_000)).expect("it is sent");
    assert_eq!(code, ExitCode::SUCCESS);
    let lines = hear.recv().expect("the server heard");
    assert_eq!(lines.len(), 1_001);
    assert!(lines[0].contains("\"gateway\":\"sbc-1\"") && lines[0].contains("\"reply\":\"ack\""));
    assert_eq!(lines[1], "{\"seq\":1,\"time\":1700000000}");
    assert_eq!(lines[1_000], "{\"seq\":1000,\"time\":1700000999}");
}

#[test]
fn what_the_server_holds_is_not_sent_again_unless_told_to_number_on() {
    let (address, hear) = server(vec![Manner { last_seq: 998, ..STAYS }, Manner { last_seq: 998, ..STAYS }]);
    send(&address, &[], &file(1_000)).expect("it is sent");
    let lines = hear.recv().expect("the server heard");
    assert_eq!(&lines[1..], ["{\"seq\":999,\"time\":1700000998}", "{\"seq\":1000,\"time\":1700000999}"]);
    send(&address, &["--number-on"], &file(2)).expect("it is sent");
    let lines = hear.recv().expect("the server heard");
    assert_eq!(&lines[1..], ["{\"seq\":999,\"time\":1700000000}", "{\"seq\":1000,\"time\":1700000001}"]);
}

#[test]
fn a_broken_connection_is_resumed_after_the_last_number_the_server_holds() {
    let breaks = Manner { breaks_after: 500, ..STAYS };
    let (address, hear) = server(vec![breaks, Manner { last_seq: 500, ..STAYS }]);
    let code = send(&address, &[], &file(1_000)).expect("it is sent");
    assert_eq!(code, ExitCode::SUCCESS);
    assert_eq!(hear.recv().expect("the server heard").len(), 501);
    let second = hear.recv().expect("the server heard");
    assert_eq!(second.len(), 501);
    assert!(second[1].starts_with("{\"seq\":501,") && second[500].starts_with("{\"seq\":1000,"));
}

#[test]
fn rejects_are_told_by_the_exit_code() {
    let (address, _hear) = server(vec![STAYS]);
    let mut file = file(10);
    writeln!(file, "{{\"bad\":1}}").expect("it writes");
    assert_eq!(send(&address, &[], &file).expect("it is sent"), ExitCode::from(1));
}

#[test]
fn verdicts_are_awaited_in_open_and_in_closed_loop() {
    let verdict = Manner { reply: "verdict", ..STAYS };
    for more in [&["--reply", "verdict", "--rate", "20000"][..], &["--reply", "verdict", "--in-flight", "1"]] {
        let (address, hear) = server(vec![verdict]);
        assert_eq!(send(&address, more, &file(500)).expect("it is sent"), ExitCode::SUCCESS);
        assert_eq!(hear.recv().expect("the server heard").len(), 501);
    }
}

#[test]
fn without_replies_and_to_a_csv_feed_lines_go_as_they_are() {
    let (address, hear) = server(vec![Manner { reply: "none", ..STAYS }, Manner { reply: "none", ..STAYS }]);
    send(&address, &["--reply", "none"], &file(2)).expect("it is sent");
    assert_eq!(&hear.recv().expect("the server heard")[1..], ["{\"time\":1700000000}", "{\"time\":1700000001}"]);
    send(&address, &["--input-format", "csv"], &file(1)).expect("it is sent");
    assert_eq!(hear.recv().expect("the server heard"), ["{\"time\":1700000000}"]);
}

#[test]
fn the_rate_is_kept() {
    let (address, _hear) = server(vec![STAYS]);
    let start = Clock.monotonic();
    send(&address, &["--rate", "1000"], &file(300)).expect("it is sent");
    let took = (Clock.monotonic() - start).as_secs_f64();
    assert!(took > 0.29, "{took}");
}

#[test]
fn nobody_listening_is_an_error_that_names_the_address() {
    let said = send("127.0.0.1:1", &["--retries", "1"], &file(1)).expect_err("nobody is there");
    let said = format!("{said:#}");
    assert!(said.contains("gave up after 2 attempts: cannot connect to 127.0.0.1:1"), "{said}");
}

#[test]
fn the_gateway_is_named_after_the_files() {
    let (one, other) = (file(1), file(2));
    let name = |f: &tempfile::NamedTempFile| name_of(&[f.path().to_owned()]);
    assert_eq!(name(&one), name(&one));
    assert_ne!(name(&one), name(&other));
}

#[test]
fn what_a_capture_holds_is_sent_as_hep_without_a_word() {
    let (capture, hep) = crate::ingest::capture::sample();
    let mut file = tempfile::Builder::new().suffix(".bin").tempfile().expect("a file");
    file.write_all(&capture).expect("it writes");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    let heard = std::thread::spawn(move || {
        let mut all = Vec::new();
        std::io::Read::read_to_end(&mut listener.accept().expect("a connection").0, &mut all).expect("it reads");
        all
    });
    assert_eq!(send(&address, &["--rate", "1000"], &file).expect("it is sent"), ExitCode::SUCCESS);
    assert!(heard.join().expect("it ends") == hep);
    let path = file.path().to_string_lossy().into_owned();
    assert!(run(&parse(&["--to", &address, "--connections", "2", &path])).is_err());
    assert_eq!(input::count_packets(&hep.repeat(3)), 3);
}

#[test]
fn a_file_that_is_no_hep_is_not_sent_as_such() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    let said = send(&address, &["--input-format", "hep"], &file(1)).expect_err("it is no hep");
    assert!(format!("{said:#}").contains("neither a capture nor packets of HEP"), "{said:#}");
}
