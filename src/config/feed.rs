//! The `[[feed]]` tables.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::section::Section;
use crate::event::dialplan::{DialPlan, DialPlanSettings};
use crate::event::numbering::Numbering;
use crate::gateway::greeting::Token;
use crate::gateway::listener::ListenerSettings;
use crate::gateway::tls::TlsSettings;
use crate::ingest::csv::{self, Dialect};
use crate::ingest::{CaptureKey, Format};
use crate::limits::ID_BYTES_MAX;
use crate::notify::Secret;

/// One listener, the format it speaks, and what it knows of its gateways.
#[derive(Clone, Debug)]
pub struct FeedSettings {
    /// Label of its metrics, and name of its gateway where nothing else tells.
    pub name: String,
    pub listener: ListenerSettings,
    /// It listens itself. Records of `json-cdr` may come by HTTP alone.
    pub over_tcp: bool,
    /// It takes datagrams, at the same address: `hep` and `sip` alone.
    pub over_udp: bool,
    /// It takes posts on the address of `[http]`: `json-cdr` alone.
    pub over_http: bool,
    pub format: Format,
    pub customer: CustomerSource,
    pub gateway: String,
    /// Trunk to customer, where the event names no customer.
    pub trunks: Vec<(String, String)>,
    pub tokens: Vec<Token>,
    /// What every packet of a capture agent must show.
    pub capture_key: Option<CaptureKey>,
    pub dial_plan: DialPlanSettings,
    /// `None`: for signalling, and for connections that ask for verdicts.
    pub merge: Option<bool>,
    pub dedup: bool,
    pub both_legs: bool,
    /// `None`: the rules' `lateness`, or where records come after their calls, see [`FeedSettings::delay_ms`].
    pub delay: Option<Duration>,
}

/// Whose events they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CustomerSource {
    /// Each event's own, else by trunk, else `default`.
    Event,
    /// By trunk, else `default`: what an event says of it is not believed.
    Trunk,
    One(String),
}

/// Other addresses than these can be reached by others.
fn is_private(address: SocketAddr) -> bool {
    address.ip().is_loopback()
}

impl Default for FeedSettings {
    /// What `serve` without settings listens with.
    fn default() -> FeedSettings {
        FeedSettings {
            name: "ndjson".into(),
            listener: ListenerSettings::at(super::loopback(7060)),
            over_tcp: true,
            over_udp: false,
            over_http: false,
            format: Format::Ndjson,
            customer: CustomerSource::Event,
            gateway: "ndjson".into(),
            trunks: Vec::new(),
            tokens: Vec::new(),
            capture_key: None,
            dial_plan: DialPlanSettings::default(),
            merge: None,
            dedup: false,
            both_legs: false,
            delay: None,
        }
    }
}

impl FeedSettings {
    /// What `serve` without settings takes packets of capture agents with.
    pub(super) fn hep() -> FeedSettings {
        FeedSettings {
            name: "hep".into(),
            listener: ListenerSettings::at(super::loopback(9060)),
            over_udp: true,
            format: Format::Hep,
            gateway: "hep".into(),
            ..FeedSettings::default()
        }
    }
}

/// How far CDRs lag behind their calls, unless set otherwise.
const CDR_DELAY_MS: i64 = 15 * 60_000;

impl FeedSettings {
    /// How long after its time an event of this feed may come, ms.
    pub fn delay_ms(&self, lateness_ms: i64) -> i64 {
        match (self.delay, &self.format) {
            (Some(delay), _) => delay.as_millis() as i64,
            (None, Format::Ndjson | Format::Hep | Format::Sip) => lateness_ms,
            (None, Format::Csv(_) | Format::JsonCdr) => CDR_DELAY_MS,
        }
    }
}

pub(super) fn read(section: &Section<'_, '_>) -> FeedSettings {
    let usual = FeedSettings::default();
    let format = section.word("format", FORMATS).unwrap_or(FormatWord::Ndjson);
    let is_posted = format == FormatWord::JsonCdr;
    let name = section.text("name").unwrap_or_else(|| "ndjson".into());
    if name.len() > ID_BYTES_MAX {
        section.problem("name", format!("longer than {ID_BYTES_MAX} bytes"));
    }
    let listener = read_listener(section, usual.listener);
    let gateway = section.text("gateway").unwrap_or_else(|| name.clone());
    let transport = read_transport(section, format);
    let capture_key = match format {
        FormatWord::Hep => section.secret("token").map(|Secret(key)| CaptureKey::new(&key)),
        _ => None,
    };
    let tokens = if format == FormatWord::Hep { Vec::new() } else { read_tokens(section) };
    let feed = FeedSettings {
        name,
        format: read_format(section, format),
        over_tcp: transport != Transport::Udp && (!is_posted || section.has("listen")),
        over_udp: transport != Transport::Tcp,
        over_http: is_posted && section.boolean("http").unwrap_or(true),
        customer: read_customer(section, listener.listen),
        gateway,
        trunks: section.text_map("trunks"),
        dial_plan: read_dial_plan(section),
        merge: section.boolean("merge"),
        // What was posted and not answered in time is posted again.
        dedup: section.boolean("dedup").unwrap_or(is_posted),
        both_legs: section.word("legs", &[("a", false), ("both", true)]).unwrap_or(false),
        delay: section.integer("delay_s", 0..=86_400).map(|s| Duration::from_secs(s.unsigned_abs())),
        listener,
        tokens,
        capture_key,
    };
    check_access(section, &feed);
    section.finish();
    feed
}

/// What the address of `[http]` means for the feeds that take posts there.
pub(super) fn meet_http(sections: &[Section<'_, '_>], feeds: &mut [FeedSettings], http: Option<SocketAddr>) {
    for (section, feed) in sections.iter().zip(feeds).filter(|(_, feed)| feed.over_http) {
        match http {
            None if feed.over_tcp && !section.has("http") => feed.over_http = false,
            None => section.problem("http", "there is no HTTP: `http.listen` is off".into()),
            // As with a listener that others can reach.
            Some(http) if !is_private(http) && !section.has("customer") => feed.customer = CustomerSource::Trunk,
            Some(_) => {}
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum FormatWord {
    Ndjson,
    Csv,
    Hep,
    Sip,
    JsonCdr,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Transport {
    Tcp,
    Udp,
    Both,
}

/// Signalling comes over either, unless the settings say which.
fn read_transport(section: &Section<'_, '_>, format: FormatWord) -> Transport {
    let words = [("tcp", Transport::Tcp), ("udp", Transport::Udp), ("both", Transport::Both)];
    let said = section.word("transport", &words);
    match (format, said) {
        (FormatWord::Hep | FormatWord::Sip, said) => said.unwrap_or(Transport::Both),
        (_, None | Some(Transport::Tcp)) => Transport::Tcp,
        (_, Some(_)) => {
            section.problem("transport", "only `hep` and `sip` come over UDP".into());
            Transport::Tcp
        }
    }
}

const FORMATS: &[(&str, FormatWord)] = &[
    ("ndjson", FormatWord::Ndjson),
    ("csv", FormatWord::Csv),
    ("json-cdr", FormatWord::JsonCdr),
    ("hep", FormatWord::Hep),
    ("sip", FormatWord::Sip),
];

fn read_format(section: &Section<'_, '_>, word: FormatWord) -> Format {
    if word != FormatWord::Csv && section.has("csv") {
        section.foreign::<csv::Settings>("csv");
        section.problem("csv", "is for feeds with `format = \"csv\"`".into());
    }
    if word != FormatWord::JsonCdr && section.has("http") {
        section.boolean("http");
        section.problem("http", "is for feeds with `format = \"json-cdr\"`".into());
    }
    match word {
        FormatWord::Ndjson => Format::Ndjson,
        FormatWord::Hep => Format::Hep,
        FormatWord::Sip => Format::Sip,
        FormatWord::JsonCdr => Format::JsonCdr,
        FormatWord::Csv => {
            let settings = section.foreign("csv").unwrap_or_default();
            match Dialect::new(&settings) {
                Ok(dialect) => Format::Csv(Arc::new(dialect)),
                Err(problems) => {
                    problems.into_iter().for_each(|p| section.problem("csv", p));
                    Format::Ndjson
                }
            }
        }
    }
}

fn read_dial_plan(section: &Section<'_, '_>) -> DialPlanSettings {
    let settings = section.foreign("dial_plan").unwrap_or_default();
    // With the tables that ship: those of a rule set differ in what numbers are for, not in how they are dialled.
    if let Err(problems) = DialPlan::new(&settings, &Numbering::builtin()) {
        problems.into_iter().for_each(|p| section.problem("dial_plan", p));
    }
    settings
}

fn read_customer(section: &Section<'_, '_>, listen: SocketAddr) -> CustomerSource {
    match section.text("customer") {
        Some(text) if text == "event" => CustomerSource::Event,
        Some(text) => CustomerSource::One(text),
        None if is_private(listen) => CustomerSource::Event,
        None => CustomerSource::Trunk,
    }
}

fn read_listener(section: &Section<'_, '_>, usual: ListenerSettings) -> ListenerSettings {
    let count = |key, usual: u32| section.integer(key, 1..=1_000_000).map_or(usual, |n| n as u32);
    ListenerSettings {
        listen: section.address("listen").unwrap_or(usual.listen),
        tls: section.section("tls").and_then(|tls| read_tls(&tls)),
        connections_max: count("connections_max", usual.connections_max),
        connections_per_address_max: count("connections_per_address_max", usual.connections_per_address_max),
        handshake_timeout: section.seconds("handshake_timeout_s", 1..=600, usual.handshake_timeout),
        idle_timeout: section.seconds("idle_timeout_s", 1..=7 * 86_400, usual.idle_timeout),
        slow_timeout: section.seconds("slow_timeout_s", 1..=3600, usual.slow_timeout),
    }
}

fn read_tls(section: &Section<'_, '_>) -> Option<TlsSettings> {
    let (cert_file, key_file) = (section.path("cert_file"), section.path("key_file"));
    let client_ca_file = section.path("client_ca_file");
    for (key, file) in [("cert_file", &cert_file), ("key_file", &key_file)] {
        if file.is_none() && !section.has(key) {
            section.problem_here(format!("`feed.tls` needs `{key}`"));
        }
    }
    section.finish();
    Some(TlsSettings { cert_file: cert_file?, key_file: key_file?, client_ca_file })
}

fn read_tokens(section: &Section<'_, '_>) -> Vec<Token> {
    let mut tokens = Vec::new();
    if let Some(Secret(secret)) = section.secret("token") {
        tokens.push(Token::new(&secret, None));
    }
    for gateway in section.sections("gateways") {
        let name = gateway.text("name");
        if name.is_none() && !gateway.has("name") {
            gateway.problem_here("`feed.gateways` needs a `name`".into());
        }
        match (name, gateway.secret("token")) {
            (Some(name), Some(Secret(secret))) => tokens.push(Token::new(&secret, Some(name))),
            (Some(name), None) if !gateway.has("token_file") && !gateway.has("token_env") => {
                gateway.problem_here(format!("gateway `{name}` needs `token_file` or `token_env`"));
            }
            _ => {}
        }
        gateway.finish();
    }
    tokens
}

/// An open door must be meant: others than this machine need a token or a certificate.
fn check_access(section: &Section<'_, '_>, feed: &FeedSettings) {
    let insecure = section.boolean("insecure").unwrap_or(false);
    let mutual = feed.listener.tls.as_ref().is_some_and(|tls| tls.client_ca_file.is_some());
    let asks = ["token", "token_file", "token_env", "gateways"].iter().any(|key| section.has(key));
    if matches!(feed.format, Format::Csv(_)) && asks {
        section.problem("format", "a csv feed has no hello to show a token in: set `tls.client_ca_file`".into());
    }
    if matches!(feed.format, Format::JsonCdr) {
        if !feed.over_tcp && !feed.over_http {
            section.problem("http", "nothing comes in: set `listen`, or leave `http` on".into());
        }
        if feed.over_tcp && asks && !mutual && !insecure {
            let advice = "over TCP no token can be shown: leave `listen` out and take posts alone, or set \
                          `tls.client_ca_file`, or `insecure = true`";
            return section.problem("listen", advice.into());
        }
    }
    if matches!(feed.format, Format::Sip) && asks {
        section.problem("format", "SIP messages show no token: set `tls.client_ca_file`".into());
    }
    if feed.over_udp && feed.listener.tls.is_some() {
        section.problem("tls", "there is none over UDP: set `transport = \"tcp\"`".into());
    }
    if !is_private(feed.listener.listen) && !mutual && !asks && !insecure {
        let advice = "set `token_file`, `tls.client_ca_file`, or `insecure = true`";
        let listen = feed.listener.listen;
        section.problem("listen", format!("{listen} lets anybody in: {advice}"));
    }
}
