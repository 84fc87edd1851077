//! The built program on real captures: what `send` puts on the wire is what others read in them.

use std::io::Read;
use std::net::TcpListener;
use std::path::Path;

use crate::support::{ringfence, shared};

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
