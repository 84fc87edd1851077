//! The call event, the only thing the hot path carries, and the batch it travels in.
//!
//! A [`CallEvent`] is plain old data: enums, integers and [`Text`] spans into the batch's own bytes.
//! Decoding one allocates nothing. What a rule may name of it stands in [`Field`].

mod address;
pub mod country;
pub mod dialplan;
pub mod names;
pub mod number;
pub mod number_pattern;
pub mod numbering;

use std::net::IpAddr;

pub use country::Country;
pub use names::Names;
pub use number::{Number, NumberKind};
pub use number_pattern::{NumberPattern, NumberRange, PatternError};

use crate::clock::Timestamp;

/// A word of a closed vocabulary: parsed from and printed as exactly one text.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum $name { #[default] $($variant),+ }

        impl $name {
            pub const ALL: &'static [$name] = &[$($name::$variant),+];

            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $text),+ }
            }

            #[inline]
            pub fn parse(text: &[u8]) -> Option<$name> {
                $(if text == $text.as_bytes() { return Some($name::$variant); })+
                None
            }
        }
    };
}

words! {
    /// What happened. A `cdr` is a whole call in one record, `time` its end.
    Kind { Cdr = "cdr", Attempt = "attempt", Answer = "answer", Interim = "interim", End = "end",
           Register = "register", Options = "options", Message = "message" }
}
words! {
    /// As the customer sees it.
    Direction { Unknown = "unknown", Inbound = "inbound", Outbound = "outbound", Internal = "internal" }
}
words! {
    CallType { Unknown = "unknown", Voice = "voice", Fax = "fax", Modem = "modem", Video = "video", Data = "data" }
}
words! {
    /// How a call ended, one vocabulary for every format.
    Status { Unknown = "unknown", Answered = "answered", Busy = "busy", NoAnswer = "no_answer",
             Cancelled = "cancelled", Rejected = "rejected", Failed = "failed" }
}
words! {
    HangupBy { Unknown = "unknown", Caller = "caller", Callee = "callee", Network = "network" }
}
words! {
    /// STIR/SHAKEN (RFC 8588). `Unknown`: the gateway does not say; `None`: it says there was none.
    Attestation { Unknown = "unknown", A = "A", B = "B", C = "C", Failed = "failed", None = "none" }
}
words! {
    /// What a number is for, by longest prefix of the numbering tables.
    Class { Unknown = "unknown", Geographic = "geographic", Mobile = "mobile", Tollfree = "tollfree",
            Premium = "premium", Satellite = "satellite", Highcost = "highcost", Emergency = "emergency",
            International = "international" }
}

/// A span of the batch's text: see [`Batch::text`]. Length 0 is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Text {
    /// Offset into the block, or with [`Text::SIDE`] set into the side buffer.
    pub at: u32,
    pub len: u32,
}

impl Text {
    pub const ABSENT: Text = Text { at: 0, len: 0 };
    /// Marks a text that does not stand in the block as it is (escapes, normalised forms).
    pub const SIDE: u32 = 1 << 31;

    pub fn is_absent(self) -> bool {
        self.len == 0
    }
}

/// A party of a call: what came, and what it means.
#[derive(Clone, Copy, Debug, Default)]
pub struct Party {
    /// Normalised by the feed's dial plan.
    pub number: Number,
    /// As the gateway wrote it.
    pub raw: Text,
    /// The normalised text of what is no E.164 number (extension, short code, SIP user); `anonymous` of a withheld one.
    pub text: Text,
}

/// Customer, by [`Names`] index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CustomerId(pub u32);

/// Gateway, by [`Names`] index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GatewayId(pub u32);

/// One thing that happened to one call or registration. Field by field as spec 1.2 has it.
///
/// Optional integers use a sentinel ([`CallEvent::NO_TIME`], [`CallEvent::NO_COST`], 0 for codes), so that
/// the event stays small and needs no drop.
#[derive(Clone, Copy, Debug)]
pub struct CallEvent {
    pub time: Timestamp,
    /// The gateway's own running number; 0 where it gave none.
    pub seq: u64,
    pub customer: CustomerId,
    pub gateway: GatewayId,
    pub kind: Kind,
    pub direction: Direction,
    pub call_type: CallType,
    pub status: Status,
    pub hangup_by: HangupBy,
    pub attestation: Attestation,
    pub q850: u8,
    pub flags: Flags,
    pub sip_code: u16,
    /// Milliseconds, rounded half up; [`CallEvent::NO_TIME`] where absent.
    pub duration_ms: u32,
    pub ring_ms: u32,
    pub setup_ms: u32,
    /// 1/10,000 of the currency's unit; [`CallEvent::NO_COST`] where absent.
    pub cost: i64,
    pub source_ip: Option<IpAddr>,
    pub caller: Party,
    pub callee: Party,
    pub asserted: Party,
    pub diverting: Party,
    pub call_id: Text,
    pub leg: Text,
    pub trunk: Text,
    pub account: Text,
    pub extension: Text,
    pub caller_name: Text,
    pub domain: Text,
    pub user_agent: Text,
    pub method: Text,
}

impl CallEvent {
    pub const NO_TIME: u32 = u32::MAX;
    pub const NO_COST: i64 = i64::MIN;

    /// An event of which nothing is known yet but its time.
    pub const BLANK: CallEvent = CallEvent {
        time: Timestamp(0),
        seq: 0,
        customer: CustomerId(0),
        gateway: GatewayId(0),
        kind: Kind::Cdr,
        direction: Direction::Unknown,
        call_type: CallType::Unknown,
        status: Status::Unknown,
        hangup_by: HangupBy::Unknown,
        attestation: Attestation::Unknown,
        q850: 0,
        flags: Flags(0),
        sip_code: 0,
        duration_ms: CallEvent::NO_TIME,
        ring_ms: CallEvent::NO_TIME,
        setup_ms: CallEvent::NO_TIME,
        cost: CallEvent::NO_COST,
        source_ip: None,
        caller: Party { number: Number::ABSENT, raw: Text::ABSENT, text: Text::ABSENT },
        callee: Party { number: Number::ABSENT, raw: Text::ABSENT, text: Text::ABSENT },
        asserted: Party { number: Number::ABSENT, raw: Text::ABSENT, text: Text::ABSENT },
        diverting: Party { number: Number::ABSENT, raw: Text::ABSENT, text: Text::ABSENT },
        call_id: Text::ABSENT,
        leg: Text::ABSENT,
        trunk: Text::ABSENT,
        account: Text::ABSENT,
        extension: Text::ABSENT,
        caller_name: Text::ABSENT,
        domain: Text::ABSENT,
        user_agent: Text::ABSENT,
        method: Text::ABSENT,
    };

    pub fn answered(&self) -> bool {
        self.status == Status::Answered
    }

    /// When the call began, where the event tells it: `time` less talk and ringing time.
    /// Calendars and the clock fields of rules look at this instant; windows at `time`.
    pub fn call_start(&self) -> Timestamp {
        let known = |ms: u32| if ms == Self::NO_TIME { 0 } else { i64::from(ms) };
        self.time.minus_ms(known(self.duration_ms) + known(self.ring_ms))
    }
}

/// What is true of an event besides its fields, and which booleans it said at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u16);

impl Flags {
    /// The caller withheld the number.
    pub const ANONYMOUS: Flags = Flags(1);
    /// `register`: credentials were sent and refused.
    pub const AUTH_FAILED: Flags = Flags(1 << 1);
    /// The callee is an emergency number: always allowed, before any policy.
    pub const EMERGENCY: Flags = Flags(1 << 2);
    /// An inbound call to a number that made an emergency call shortly before. Set by the engine's gate.
    pub const EMERGENCY_CALLBACK: Flags = Flags(1 << 3);
    /// A duplicate: no rule sees it. Set by the gate.
    pub const DUPLICATE: Flags = Flags(1 << 4);
    /// Its verdict is that of its call, already given. Set by the gate.
    pub const REPEATED: Flags = Flags(1 << 5);
    /// The call's attempt, answer or end was counted before, by this or another feed. Set by the gate.
    pub const ATTEMPT_SEEN: Flags = Flags(1 << 6);
    pub const ANSWER_SEEN: Flags = Flags(1 << 7);
    pub const END_SEEN: Flags = Flags(1 << 8);
    /// The gateway's clock was ahead: `time` is that of arrival.
    pub const FUTURE: Flags = Flags(1 << 9);
    /// The attempt of its call was blocked, and so is it unless a rule decides of it alone. Set by the gate, where a
    /// rule asks.
    pub const CALL_BLOCKED: Flags = Flags(1 << 10);
    /// A `cdr` of a gateway that writes one for each leg, of a leg whose call another one tells of. Seen only where the
    /// feed wants both.
    pub const B_RECORD: Flags = Flags(1 << 11);
    /// The verdict it was told is that of its call; by itself it had none. Set by the engine.
    pub const TOLD_AGAIN: Flags = Flags(1 << 12);
    /// Blocked by nothing but what it put on a list itself: it was counted as let through. Set by the engine.
    pub const OWN_BLOCK: Flags = Flags(1 << 13);

    /// What the gate sets.
    pub const BY_GATE: Flags = Flags(
        Flags::EMERGENCY_CALLBACK.0
            | Flags::DUPLICATE.0
            | Flags::REPEATED.0
            | Flags::ATTEMPT_SEEN.0
            | Flags::ANSWER_SEEN.0
            | Flags::END_SEEN.0
            | Flags::CALL_BLOCKED.0,
    );

    pub fn has(self, other: Flags) -> bool {
        self.0 & other.0 != 0
    }

    pub fn set(&mut self, other: Flags) {
        self.0 |= other.0;
    }

    pub fn clear(&mut self, other: Flags) {
        self.0 &= !other.0;
    }
}

/// Where and when a batch came in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Source {
    pub arrival: Timestamp,
    /// By its place in the settings.
    pub feed: u16,
    /// Whose `seq` it brought, and the highest, with those of duplicates and rejects; 0: none.
    pub gateway: GatewayId,
    pub highest_seq: u64,
}

/// Events decoded from one block of one source, with the bytes their texts stand in.
#[derive(Debug, Default)]
pub struct Batch {
    pub source: Source,
    /// The block as it came.
    pub block: Vec<u8>,
    /// Texts that do not stand in the block as they are.
    pub side: Vec<u8>,
    pub events: Vec<CallEvent>,
    /// Lines that gave no event.
    pub rejects: Vec<Rejected>,
    /// What the block changed in the state of its decoder, to be journaled with its events: calls of the call table, as
    /// they are after it. Only who wrote it can read it.
    pub annex: Vec<u8>,
}

impl Batch {
    pub fn clear(&mut self) {
        self.block.clear();
        self.side.clear();
        self.events.clear();
        self.rejects.clear();
        self.annex.clear();
        self.source = Source::default();
    }

    /// The bytes of a text. UTF-8, which the decoders have checked.
    pub fn text(&self, text: Text) -> &[u8] {
        let from = if text.at & Text::SIDE != 0 { &self.side } else { &self.block };
        let at = (text.at & !Text::SIDE) as usize;
        from.get(at..at + text.len as usize).unwrap_or(&[])
    }

    /// Takes over an event of another batch, with its texts.
    pub fn adopt(&mut self, from: &Batch, event: &CallEvent) {
        let mut event = *event;
        for text in event.texts_mut() {
            *text = self.keep(from.text(*text));
        }
        self.events.push(event);
    }

    /// Keeps a text that does not stand in the block.
    pub fn keep(&mut self, text: &[u8]) -> Text {
        if text.is_empty() {
            return Text::ABSENT;
        }
        let at = self.side.len() as u32 | Text::SIDE;
        self.side.extend_from_slice(text);
        Text { at, len: text.len() as u32 }
    }
}

/// A line, message or record that gave no event: counted by reason, told to the gateway in reply modes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// It stood before the event of this index of its batch.
    pub before: u32,
    /// The record's own `seq`, where it could be read; else 0.
    pub seq: u64,
    pub reason: Reject,
}

words! {
    /// Why a record gave no event. Names are label values of `ringfence_ingest_rejects_total`.
    Reject {
        Malformed = "malformed",
        NotUtf8 = "not_utf8",
        LineTooLong = "line_too_long",
        FieldTooLong = "field_too_long",
        NotAnObject = "not_an_object",
        NoTime = "no_time",
        BadTime = "bad_time",
        WrongType = "wrong_type",
        BadValue = "bad_value",
        NumberNotText = "number_not_text",
        UnknownKind = "unknown_kind",
        UnknownWord = "unknown_word",
        WrongColumns = "wrong_columns",
        NoSeq = "no_seq",
        UnknownCustomer = "unknown_customer",
        TooManyNames = "too_many_names",
        Incomplete = "incomplete",
        NotSip = "not_sip",
        MissingHeader = "missing_header",
        BadKey = "bad_key",
        FramingLost = "framing_lost",
        MessageTooLong = "message_too_long",
    }
}

/// Every field a rule may name. Type, phase and access stand in one table: [`Field::spec`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    Customer,
    Gateway,
    Direction,
    CallType,
    Trunk,
    Party(Which),
    Raw(Which),
    Country(Which),
    NumberKind(Which),
    Class(Which),
    Anonymous,
    Domain,
    CallerName,
    Account,
    Extension,
    Attestation,
    SourceIp,
    UserAgent,
    Method,
    Time,
    Weekday,
    Date,
    Ring,
    Setup,
    Answered,
    Status,
    SipCode,
    Q850,
    Duration,
    HangupBy,
    Cost,
    AuthFailed,
}

/// Which number of a call. Only caller and callee have derived fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Which {
    Caller,
    Callee,
    Asserted,
    Diverting,
}

impl CallEvent {
    /// Every text of the event, to be moved with it.
    pub(crate) fn texts_mut(&mut self) -> [&mut Text; 17] {
        let CallEvent { caller, callee, asserted, diverting, .. } = self;
        [
            &mut caller.raw,
            &mut caller.text,
            &mut callee.raw,
            &mut callee.text,
            &mut asserted.raw,
            &mut asserted.text,
            &mut diverting.raw,
            &mut diverting.text,
            &mut self.call_id,
            &mut self.leg,
            &mut self.trunk,
            &mut self.account,
            &mut self.extension,
            &mut self.caller_name,
            &mut self.domain,
            &mut self.user_agent,
            &mut self.method,
        ]
    }

    pub fn party(&self, which: Which) -> &Party {
        match which {
            Which::Caller => &self.caller,
            Which::Callee => &self.callee,
            Which::Asserted => &self.asserted,
            Which::Diverting => &self.diverting,
        }
    }
}
