//! The built program on real captures: what `send` puts on the wire is what others read in them.

use std::io::Read;
use std::net::TcpListener;
use std::path::Path;

use crate::support::{project, ringfence, shared};

/// Sends a file to a listener of our own; what arrived, and what was said.
fn send(file: &Path) -> (Vec<u8>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let to = listener.local_addr().expect("it is bound").to_string();
    let heard = std::thread::spawn(move || {
        let mut all = Vec::new();
        listener.accept().and_then(|(mut stream, _)| stream.read_to_end(&mut all)).expect("it is read");
        all
    });
    let out = ringfence(&["send", "--to", &to, file.to_str().expect("plain names")]);
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success(), "{}: {said}", file.display());
    (heard.join().expect("the listener ends"), said)
}

/// The captured messages of a stream of HEPv3, by the wire format alone.
fn payloads(mut stream: &[u8]) -> Vec<Vec<u8>> {
    let number = |at: &[u8]| usize::from(u16::from_be_bytes([at[0], at[1]]));
    let mut found = Vec::new();
    while !stream.is_empty() {
        assert_eq!(&stream[..4], b"HEP3");
        let (packet, rest) = stream.split_at(number(&stream[4..]));
        let mut chunks = &packet[6..];
        while !chunks.is_empty() {
            let (chunk, rest) = chunks.split_at(number(&chunks[4..]));
            if chunk[..4] == [0, 0, 0, 15] {
                found.push(chunk[6..].to_vec());
            }
            chunks = rest;
        }
        stream = rest;
    }
    found
}

#[test]
fn send_puts_every_message_of_a_capture_on_the_wire_in_its_order() {
    let Some(shared) = shared("captures") else { return };
    let mut n_messages = 0;
    for entry in std::fs::read_dir(shared.join("data/sip/pcap")).expect("captures") {
        let path = entry.expect("a folder can be listed").path();
        let name = path.file_stem().and_then(|n| n.to_str()).expect("plain names");
        let known = shared.join(format!("data/sip/captures/{name}.sip.jsonl"));
        let (stream, said) = send(&path);
        let sent = payloads(&stream);
        let known = std::fs::read_to_string(known).expect("what others read");
        assert_eq!(sent.len(), known.lines().count(), "{name}");
        for (sent, line) in sent.iter().zip(known.lines()) {
            let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
            // Of a datagram in fragments others have the beginning.
            assert!(sent.starts_with(line["payload"].as_str().expect("text").as_bytes()), "{name}");
        }
        assert!(said.contains(&format!(": {} SIP messages, 0 HEP packets, ", sent.len())), "{said}");
        assert!(said.contains(&format!("sent {} messages in ", sent.len())), "{said}");
        n_messages += sent.len();
    }
    assert!(n_messages > 150, "{n_messages}");
}

/// Events and rejects that `replay` counts in files, and what it says beside.
fn replayed(files: &[&Path], threads: &str) -> (u64, serde_json::Value, String) {
    let rules = project().join("rules");
    let mut args = vec!["replay", "--output", "summary", "--threads", threads, "--rules"];
    args.push(rules.to_str().expect("plain names"));
    args.extend(files.iter().map(|file| file.to_str().expect("plain names")));
    let out = ringfence(&args);
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    let summary: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap_or_else(|_| panic!("{said}"));
    (summary["events"].as_u64().expect("a number"), summary["rejects"].clone(), said)
}

#[test]
fn replay_reads_captures_by_their_first_bytes_beside_other_files_and_says_what_they_held() {
    let Some(shared) = shared("captures") else { return };
    let capture = shared.join("data/sip/pcap/zeek_wireshark.pcap");
    let folder = tempfile::tempdir().expect("a folder");
    let (unnamed, lines) = (folder.path().join("trunk"), folder.path().join("calls.ndjson"));
    std::fs::copy(&capture, &unnamed).expect("it is copied");
    std::fs::write(&lines, "{\"time\":1120469572,\"caller\":\"+46700000001\",\"callee\":\"+46700000002\"}\n".repeat(3))
        .expect("it is written");
    let (n, rejects, said) = replayed(&[&capture], "1");
    assert!(n > 20 && rejects == serde_json::json!({}), "{n} events, {rejects}");
    assert!(said.contains("zeek_wireshark.pcap: 81 packets: 81 SIP messages, 0 HEP packets, 0 other"), "{said}");
    for threads in ["1", "3"] {
        let (all, rejects, _) = replayed(&[&lines, &unnamed, &lines], threads);
        assert_eq!((all, rejects), (n + 6, serde_json::json!({})), "{threads} threads");
    }
}

#[test]
fn a_capture_that_was_cut_off_is_read_to_its_end_and_that_is_said() {
    let Some(shared) = shared("captures") else { return };
    let whole = std::fs::read(shared.join("data/sip/pcap/sipnab_sip_auth_failure.pcapng")).expect("a capture");
    let folder = tempfile::tempdir().expect("a folder");
    let cut = folder.path().join("cut.pcapng");
    std::fs::write(&cut, &whole[..whole.len() - 100]).expect("it is written");
    let (n, _, said) = replayed(&[&cut], "1");
    assert!(n > 0 && said.contains("; the file ends inside a packet"), "{said}");
}
