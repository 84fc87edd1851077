//! One simulated call, and the lines a gateway writes about it.

use crate::event::{Attestation, Direction, HangupBy, Kind, Status};
use crate::simulate::chance::mix;

/// Who a party of a simulated call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Party {
    /// E.164 digits.
    Number(u64),
    /// Dialled as it is: an extension, a short code, 112.
    Short(u64),
    /// Withheld.
    Anonymous,
}

/// What a simulated event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum About {
    Call,
    Register,
    Options,
}

/// One call (or registration) from its first message to its last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub about: About,
    /// Index into the names of the attacks; `None`: clean.
    pub attack: Option<u16>,
    /// Running number within its stream; with the stream's own number it makes the Call-ID.
    pub number: u64,
    /// When it began, ms since the epoch.
    pub start_ms: i64,
    pub customer: u16,
    pub direction: Direction,
    pub caller: Party,
    pub callee: Party,
    /// One of [`TRUNKS`], or of the further ones like it that a large run has; `None` inside the house.
    pub trunk: Option<u16>,
    /// Who forwarded the call.
    pub diverting: Option<u64>,
    /// IPv4.
    pub source_ip: u32,
    /// The customer's PBX behind it, and the extension there; 0: none.
    pub account: u32,
    pub extension: u32,
    pub attestation: Attestation,
    pub status: Status,
    pub sip_code: u16,
    pub q850: u8,
    pub setup_ms: u32,
    pub ring_ms: u32,
    pub talk_ms: u32,
    pub hangup_by: HangupBy,
    pub auth_failed: bool,
    pub user_agent: &'static str,
}

/// Trunks to the public network. A run that needs more has further ones of each: the number of a trunk is its place
/// here and six for each trunk of its kind before it.
pub(crate) const TRUNKS: [&str; 6] = ["pstn-1", "pstn-2", "pstn-3", "pstn-4", "mobile-1", "intl-1"];

/// What a trunk is called: `mobile-3` is the third of its kind, `pstn-9` the third beside `pstn-1`.
fn push_trunk(out: &mut Vec<u8>, trunk: u16) {
    let (kind, before) = (trunk % TRUNKS.len() as u16, u64::from(trunk) / TRUNKS.len() as u64);
    let (name, place) = match kind {
        0..4 => ("pstn-", u64::from(kind) + 4 * before),
        4 => ("mobile-", before),
        _ => ("intl-", before),
    };
    out.extend_from_slice(name.as_bytes());
    push_int(out, place + 1);
}

impl Call {
    pub(crate) const BLANK: Call = Call {
        about: About::Call,
        attack: None,
        number: 0,
        start_ms: 0,
        customer: 0,
        direction: Direction::Unknown,
        caller: Party::Anonymous,
        callee: Party::Anonymous,
        trunk: None,
        diverting: None,
        source_ip: 0,
        account: 0,
        extension: 0,
        attestation: Attestation::Unknown,
        status: Status::Unknown,
        sip_code: 0,
        q850: 0,
        setup_ms: 0,
        ring_ms: 0,
        talk_ms: 0,
        hangup_by: HangupBy::Unknown,
        auth_failed: false,
        user_agent: "",
    };

    pub(crate) fn answered(&self) -> bool {
        self.status == Status::Answered
    }

    pub(crate) fn end_ms(&self) -> i64 {
        self.start_ms + i64::from(self.ring_ms) + i64::from(self.talk_ms)
    }

    /// When the gateway writes of this moment of the call.
    pub(crate) fn time_of(&self, kind: Kind) -> i64 {
        match kind {
            Kind::Answer => self.start_ms + i64::from(self.ring_ms),
            Kind::End | Kind::Cdr => self.end_ms(),
            _ => self.start_ms,
        }
    }

    /// Sets how the call came out, with the codes a gateway would write beside it.
    pub(crate) fn come_out(&mut self, status: Status) {
        self.status = status;
        (self.sip_code, self.q850, self.hangup_by) = match status {
            Status::Answered => {
                (200, 16, if self.number.is_multiple_of(3) { HangupBy::Callee } else { HangupBy::Caller })
            }
            Status::Busy => (486, 17, HangupBy::Callee),
            Status::NoAnswer => (480, 19, HangupBy::Network),
            Status::Cancelled => (487, 16, HangupBy::Caller),
            Status::Rejected => (603, 21, HangupBy::Callee),
            Status::Failed => (503, 38, HangupBy::Network),
            Status::Unknown => (0, 0, HangupBy::Unknown),
        };
        if status != Status::Answered {
            self.talk_ms = 0;
        }
    }
}

/// What stands around the calls of a run.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    /// Empty: the events name no customer.
    pub customers: Vec<String>,
    /// By [`Call::attack`].
    pub attacks: Vec<String>,
    pub seed: u64,
}

impl Names {
    pub(crate) fn label(&self, call: &Call) -> &str {
        call.attack.map_or("clean", |a| self.attacks.get(usize::from(a)).map_or("clean", String::as_str))
    }

    /// The Call-ID: unlike any other of the run.
    pub(crate) fn call_id(&self, call: &Call, out: &mut Vec<u8>) {
        let stream = call.attack.map_or(0, |a| u64::from(a) + 1);
        push_hex(out, mix(mix(self.seed ^ (stream << 56)) ^ call.number));
        out.push(b'-');
        push_int(out, stream);
        out.push(b'-');
        push_int(out, call.number);
        out.extend_from_slice(b"@sim.example");
    }

    /// Appends the line, with its newline, that a gateway writes of this moment of the call.
    pub(crate) fn write_line(&self, call: &Call, kind: Kind, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"time\":");
        push_signed(out, call.time_of(kind));
        push_word(out, "kind", kind.as_str());
        out.extend_from_slice(b",\"call_id\":\"");
        self.call_id(call, out);
        out.push(b'"');
        if let Some(customer) = self.customers.get(usize::from(call.customer)) {
            push_word(out, "customer", customer);
        }
        push_parties(out, call);
        if matches!(kind, Kind::Answer | Kind::End | Kind::Cdr) {
            push_seconds(out, "setup", call.setup_ms);
            push_seconds(out, "ring", call.ring_ms);
        }
        if matches!(kind, Kind::End | Kind::Cdr) {
            push_seconds(out, "duration", call.talk_ms);
            push_word(out, "status", call.status.as_str());
            out.extend_from_slice(b",\"q850\":");
            push_int(out, u64::from(call.q850));
            push_word(out, "hangup_by", call.hangup_by.as_str());
        }
        if call.sip_code != 0 && !matches!(kind, Kind::Attempt | Kind::Answer) {
            out.extend_from_slice(b",\"sip_code\":");
            push_int(out, u64::from(call.sip_code));
        }
        if kind == Kind::Register {
            out.extend_from_slice(if call.auth_failed { b",\"auth_failed\":true" } else { b",\"auth_failed\":false" });
        }
        push_word(out, "label", self.label(call));
        out.extend_from_slice(b"}\n");
    }
}

/// The fields that are the same at every moment of a call.
fn push_parties(out: &mut Vec<u8>, call: &Call) {
    if call.direction != Direction::Unknown {
        push_word(out, "direction", call.direction.as_str());
    }
    push_party(out, "caller", call.caller);
    push_party(out, "callee", call.callee);
    if call.caller == Party::Anonymous {
        out.extend_from_slice(b",\"anonymous\":true");
    }
    if let Some(trunk) = call.trunk {
        out.extend_from_slice(b",\"trunk\":\"");
        push_trunk(out, trunk);
        out.push(b'"');
    }
    if let Some(number) = call.diverting {
        push_party(out, "diverting", Party::Number(number));
    }
    out.extend_from_slice(b",\"source_ip\":\"");
    for (i, byte) in call.source_ip.to_be_bytes().into_iter().enumerate() {
        if i > 0 {
            out.push(b'.');
        }
        push_int(out, u64::from(byte));
    }
    out.push(b'"');
    if call.account != 0 {
        out.extend_from_slice(b",\"account\":\"pbx-");
        push_int(out, u64::from(call.account));
        out.push(b'"');
    }
    if call.extension != 0 {
        out.extend_from_slice(b",\"extension\":\"");
        push_int(out, u64::from(call.extension));
        out.push(b'"');
    }
    if call.attestation != Attestation::Unknown {
        push_word(out, "attestation", call.attestation.as_str());
    }
    if !call.user_agent.is_empty() {
        push_word(out, "user_agent", call.user_agent);
    }
}

fn push_party(out: &mut Vec<u8>, name: &str, party: Party) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":\"");
    match party {
        Party::Number(digits) => {
            out.push(b'+');
            push_int(out, digits);
        }
        Party::Short(digits) => push_int(out, digits),
        Party::Anonymous => out.extend_from_slice(b"anonymous"),
    }
    out.push(b'"');
}

/// `,"name":"word"`. The words are ours or were checked to need no escape.
fn push_word(out: &mut Vec<u8>, name: &str, word: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":\"");
    out.extend_from_slice(word.as_bytes());
    out.push(b'"');
}

fn push_seconds(out: &mut Vec<u8>, name: &str, ms: u32) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    push_int(out, u64::from(ms / 1000));
    if !ms.is_multiple_of(1000) {
        out.push(b'.');
        let digit = |n: u32| b'0' + (n % 10) as u8;
        out.extend_from_slice(&[digit(ms / 100), digit(ms / 10), digit(ms)]);
    }
}

fn push_signed(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    push_int(out, value.unsigned_abs());
}

pub(crate) fn push_int(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

fn push_hex(out: &mut Vec<u8>, value: u64) {
    for shift in (0..16).rev() {
        out.push(b"0123456789abcdef"[(value >> (shift * 4)) as usize & 15]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        Names { customers: vec!["acme".into()], attacks: vec!["wangiri".into()], seed: 1 }
    }

    fn line(call: &Call, kind: Kind) -> serde_json::Value {
        let mut out = Vec::new();
        names().write_line(call, kind, &mut out);
        assert_eq!(out.pop(), Some(b'\n'));
        serde_json::from_slice(&out).expect("a line is one JSON object")
    }

    fn call() -> Call {
        let mut call = Call {
            number: 7,
            start_ms: 1_772_438_400_000,
            direction: Direction::Inbound,
            caller: Party::Number(46_701_234_567),
            callee: Party::Short(112),
            trunk: Some(1),
            source_ip: 0xc633_640a,
            account: 22,
            extension: 2114,
            setup_ms: 40,
            ring_ms: 9_250,
            talk_ms: 61_000,
            attestation: Attestation::A,
            ..Call::BLANK
        };
        call.come_out(Status::Answered);
        call
    }

    #[test]
    fn a_cdr_tells_the_whole_call_at_its_end() {
        let line = line(&call(), Kind::Cdr);
        assert_eq!(line["time"], 1_772_438_470_250i64);
        assert_eq!(line["caller"], "+46701234567");
        assert_eq!(line["callee"], "112");
        assert_eq!(line["source_ip"], "198.51.100.10");
        assert_eq!(line["ring"], 9.25);
        assert_eq!(line["setup"], 0.04);
        assert_eq!(line["duration"], 61);
        assert_eq!(line["sip_code"], 200);
        assert_eq!(line["label"], "clean");
        assert_eq!(line["customer"], "acme");
    }

    #[test]
    fn an_attempt_tells_nothing_that_is_known_only_later() {
        let line = line(&Call { attack: Some(0), ..call() }, Kind::Attempt);
        assert_eq!(line["time"], 1_772_438_400_000i64);
        for later in ["ring", "setup", "duration", "status", "sip_code", "q850", "hangup_by"] {
            assert!(line.get(later).is_none(), "{later}");
        }
        assert_eq!(line["label"], "wangiri");
    }

    #[test]
    fn every_trunk_has_a_name_of_its_own() {
        let name = |trunk| line(&Call { trunk: Some(trunk), ..call() }, Kind::Attempt)["trunk"].to_string();
        assert!((0..6).all(|t| name(t) == format!("\"{}\"", TRUNKS[usize::from(t)])));
        let names: std::collections::HashSet<String> = (0..600).map(name).collect();
        assert_eq!(names.len(), 600);
        assert!(names.contains("\"pstn-9\"") && names.contains("\"mobile-100\""));
    }

    #[test]
    fn call_ids_of_different_streams_differ() {
        let (mut a, mut b) = (Vec::new(), Vec::new());
        names().call_id(&call(), &mut a);
        names().call_id(&Call { attack: Some(0), ..call() }, &mut b);
        assert_ne!(a, b);
    }
}
