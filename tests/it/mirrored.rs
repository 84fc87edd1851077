//! Mirrored signalling over UDP, as the service makes calls of it.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ringfence::event::{Flags, Kind};
use ringfence::notify::Observer;

use crate::service::Fixture;

/// What the engine has judged of the calls: kind, Call-ID, number of the customer, whether an emergency number is called.
type Seen = Arc<Mutex<Vec<(Kind, String, u32, bool)>>>;

fn watch(seen: &Seen, before: impl Fn() + Send + Sync + 'static) -> Observer {
    let seen = Arc::clone(seen);
    Box::new(move |judged, _names| {
        if judged.batch.events.is_empty() {
            return;
        }
        before();
        let mut seen = seen.lock().expect("nobody panics with it");
        for event in &judged.batch.events {
            let call_id = String::from_utf8_lossy(judged.batch.text(event.call_id)).into_owned();
            seen.push((event.kind, call_id, event.customer.0, event.flags.has(Flags::EMERGENCY)));
        }
    })
}

fn wait_for(what: &str, is_there: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_there() {
        assert!(begun.elapsed() < Duration::from_secs(10), "never came: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn message(first_line: &str, call_id: &str) -> String {
    format!(
        "{first_line}\r\nVia: SIP/2.0/UDP 10.0.0.2;branch=z9hG4bK2\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1\r\n\
         From: <sip:+46700001@a.example>;tag=1\r\nTo: <sip:+46840001@a.example>\r\nCall-ID: {call_id}\r\n\
         CSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
    )
}

const ONE: &str = "format = \"sip\"\ntransport = \"udp\"\nname = \"a\"\ncustomer = \"acme\"\n";
const OTHER: &str = "[[feed]]\nlisten = \"127.0.0.1:0\"\nformat = \"sip\"\ntransport = \"udp\"\nname = \"b\"\n\
                     customer = \"beta\"\n";

#[test]
fn the_end_of_a_call_is_of_the_customer_whose_call_it_was_whichever_feed_comes_next() {
    let seen = Seen::default();
    let fixture = Fixture::watched(&format!("{ONE}{OTHER}"), watch(&seen, || {}));
    let feeds: Vec<_> = ["a", "b"].map(|name| fixture.running().feed(name).expect("listens")).into();
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let send = |feed: usize, text: String| socket.send_to(text.as_bytes(), feeds[feed]).expect("sends");
    let has = |kind: Kind, call_id: &str| seen.lock().expect("whole").iter().any(|s| s.0 == kind && s.1 == call_id);
    send(0, message("INVITE sip:+46840001@a.example SIP/2.0", "first"));
    wait_for("the attempt", || has(Kind::Attempt, "first"));
    // The proxy may try the next callee, for a second.
    send(0, message("SIP/2.0 486 Busy Here", "first"));
    std::thread::sleep(Duration::from_millis(1300));
    send(1, message("INVITE sip:+46840001@a.example SIP/2.0", "second"));
    wait_for("the other customer's attempt", || has(Kind::Attempt, "second"));
    send(0, message("INVITE sip:+46840001@a.example SIP/2.0", "third"));
    wait_for("the end", || has(Kind::End, "first"));
    let seen = seen.lock().expect("whole");
    let customers: Vec<u32> = seen.iter().filter(|s| s.1 == "first").map(|s| s.2).collect();
    assert!(customers.len() == 2 && customers[0] == customers[1], "{seen:?}");
}

#[test]
fn a_sink_that_panics_costs_a_udp_feed_no_more_than_its_block() {
    let (seen, has_panicked) = (Seen::default(), Arc::new(AtomicBool::new(false)));
    let flag = Arc::clone(&has_panicked);
    let panics_once = move || assert!(flag.swap(true, Ordering::SeqCst), "a panic that the test wants");
    let fixture = Fixture::watched(ONE, watch(&seen, panics_once));
    let feed = fixture.running().feed("a").expect("listens");
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let send = |text: String| socket.send_to(text.as_bytes(), feed).expect("sends");
    send(message("INVITE sip:+46840001@a.example SIP/2.0", "first"));
    wait_for("the panic", || has_panicked.load(Ordering::SeqCst));
    let begun = Instant::now();
    while !seen.lock().expect("whole").iter().any(|s| s.1.starts_with("again")) {
        assert!(begun.elapsed() < Duration::from_secs(5), "nothing is received any more");
        send(message("INVITE sip:+46840001@a.example SIP/2.0", &format!("again-{:?}", begun.elapsed())));
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn an_emergency_call_is_known_however_it_is_written() {
    let forms = [
        "sip:112@gw.example",
        "sip:112@gw.example;user=phone",
        "sip:112@10.0.0.1:5060;transport=udp",
        "sip:112@[2001:db8::1]:5060",
        "SIP:112@gw.example",
        "sips:911@gw.example",
        "sip:%31%31%32@gw.example",
        "sip:1%312@gw.example;user=phone",
        "sip:112;phone-context=+46@gw.example;user=phone",
        "sip:112;phone-context=gw.example@gw.example;user=phone",
        "sip:112:secret@gw.example",
        "sip:1-1-2@gw.example",
        "sip:+112@gw.example",
        "tel:112",
        "TEL:112",
        "tel:112;phone-context=+46",
        "tel:1.1.2;phone-context=gw.example",
        "tel:+46112",
        "tel:+112",
        "urn:service:sos",
        "URN:SERVICE:SOS",
        "urn:service:sos.police",
        "urn:service:sos.ecall.manual",
    ];
    let seen = Seen::default();
    let feed = format!("{ONE}[feed.dial_plan]\ncountry = \"SE\"\n");
    let fixture = Fixture::watched(&feed, watch(&seen, || {}));
    let feed = fixture.running().feed("a").expect("listens");
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    for form in forms {
        socket.send_to(message(&format!("INVITE {form} SIP/2.0"), form).as_bytes(), feed).expect("sends");
    }
    wait_for("all of them", || seen.lock().expect("whole").len() >= forms.len());
    let seen = seen.lock().expect("whole");
    let missed: Vec<_> = seen.iter().filter(|s| !s.3).map(|s| &s.1).collect();
    assert!(missed.is_empty(), "{missed:?}");
}
