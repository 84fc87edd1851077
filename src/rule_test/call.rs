//! A call of a test: what one entry of `calls` says, and the events it makes.
//!
//! Events are written as lines of ndjson and read by the decoder of feeds, so that a test means by a field exactly what a
//! gateway means by it.

use std::ops::Range;
use std::sync::Arc;

use toml::de::DeValue;

use super::file::{self, Rules};
use super::template::Template;
use crate::clock::Timestamp;
use crate::engine::output;
use crate::event::dialplan::DialPlan;
use crate::event::{Attestation, Batch, CallType, Direction, HangupBy, Kind, Names, Reject, Status};
use crate::ingest::{Decoder, FeedContext, Format, WireField};
use crate::limits::TEST_SPAN_MS_MAX;
use crate::policy::Action;
use crate::policy::document::{Key, Section, TextValue, key, short};
use crate::policy::problem::{Problem, suggest};

/// One entry of `calls`: as many calls as `times` says.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) span: Range<usize>,
    /// Where it stands, counted from 1.
    pub(super) line: usize,
    /// When the first begins, after the start of the test.
    pub(super) at_ms: i64,
    every_ms: i64,
    pub(super) times: u64,
    ring_ms: Option<i64>,
    /// It was answered.
    talk_ms: Option<i64>,
    /// How long its events are on their way.
    delay_ms: i64,
    /// Only this happens of it; `None`: attempt, answer where it is answered, end.
    kind: Option<Kind>,
    fields: Vec<(WireField, Value)>,
    pub(super) verdict: Option<Action>,
    /// Id of the rule that decides, `default` or `builtin:emergency`.
    pub(super) by: Option<String>,
    /// What rules mark it with, in the order of their names.
    pub(super) flags: Option<Vec<String>>,
}

#[derive(Clone, Debug)]
enum Value {
    Text(Template),
    /// As JSON writes it.
    Literal(String),
}

/// One event of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    /// When it comes in, after the start of the test.
    pub(super) arrival_ms: i64,
    time_ms: i64,
    kind: Kind,
    /// Index into the calls of the test.
    pub(super) entry: usize,
    /// Which of the entry's calls, from 1: `{n}`.
    pub(super) number: u64,
    /// Which of all calls of the test, from 1.
    pub(super) call: u64,
}

const AT: Key = key("at", "at = \"4m\"");
const EVERY: Key = key("every", "every = \"20s\"");
const TIMES: Key = key("times", "times = 16");
const RING: Key = key("ring", "ring = \"2s\"");
const TALK: Key = key("talk", "talk = \"3m\"");
const DELAY: Key = key("delay", "delay = \"30s\"");
const KIND: Key = key("kind", "kind = \"register\"");
const VERDICT: Key = key("verdict", "verdict = \"block\"");
const BY: Key = key("by", "by = \"fw-spoofed-own\"");
const FLAGS: Key = key("flags", "flags = [\"suspect-id\"]");
const SETUP: Key = key("setup", "setup = \"1200ms\"");
const TIME: Key = key("time", "at = \"4m\"");
const DURATION: Key = key("duration", "talk = \"3m\"");
const SEQ: Key = key("seq", "");

const KEYS: &[Key] = &[
    AT,
    EVERY,
    TIMES,
    RING,
    TALK,
    DELAY,
    KIND,
    VERDICT,
    BY,
    FLAGS,
    key("direction", "direction = \"inbound\""),
    key("caller", "caller = \"+4670100{n:4}\""),
    key("callee", "callee = \"+46840000{n:2}\""),
    key("trunk", "trunk = \"pstn-1\""),
    key("account", "account = \"pbx-22\""),
    key("attestation", "attestation = \"C\""),
    key("source_ip", "source_ip = \"198.51.100.7\""),
    key("customer", "customer = \"acme\""),
    key("gateway", "gateway = \"sbc-east\""),
    key("call_id", "call_id = \"call-{n}\""),
    key("leg", "leg = \"b\""),
    key("asserted", "asserted = \"+46840000001\""),
    key("diverting", "diverting = \"+46840000001\""),
    key("caller_name", "caller_name = \"Anna\""),
    key("domain", "domain = \"sip.example.com\""),
    key("user_agent", "user_agent = \"friendly-scanner\""),
    key("anonymous", "anonymous = true"),
    key("call_type", "call_type = \"fax\""),
    key("status", "status = \"busy\""),
    key("sip_code", "sip_code = 486"),
    key("q850", "q850 = 17"),
    SETUP,
    key("cost", "cost = 0.25"),
    key("extension", "extension = \"2114\""),
    key("hangup_by", "hangup_by = \"caller\""),
    key("auth_failed", "auth_failed = true"),
    key("method", "method = \"INVITE\""),
    // What a feed says otherwise is told by its own problem.
    TIME,
    DURATION,
    SEQ,
];

const VERDICTS: [(&str, Action); 3] = [("allow", Action::Allow), ("block", Action::Block), ("divert", Action::Divert)];
/// Who may decide beside the firewall rules.
const DECIDERS: [&str; 2] = ["default", "builtin:emergency"];

/// Reads one entry. `customer` is that of the test.
pub(super) fn parse(
    section: &Section<'_, '_>,
    customer: Option<&str>,
    rules: &Rules<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Call> {
    let section = section.clone().keyed(KEYS);
    let n_problems = problems.len();
    section.check_keys(problems);
    for (key, instead) in [(&TIME, "a call begins `at`"), (&DURATION, "how long they talk is `talk`")] {
        if section.has(key.name) {
            let message = format!("`{}` is not said of a call in a test: {instead}", key.name);
            let problem = section.problem("E008", message, section.key_span(key.name));
            problems.push(problem.help(format!("write: {}", key.example)));
        }
    }
    if section.has(SEQ.name) {
        let message = "`seq` is not said of a call in a test: it numbers the lines of a feed";
        problems.push(section.problem("E008", message, section.key_span(SEQ.name)));
    }
    if section.lacks(&AT) {
        problems.push(section.missing(&AT));
    }
    if section.has(EVERY.name) && section.lacks(&TIMES) {
        problems.push(section.problem("E005", "`every` says nothing without `times`", section.key_span(EVERY.name)));
    }
    let at_ms = file::bounded(&section, &AT, problems);
    let every_ms = file::bounded(&section, &EVERY, problems).unwrap_or(0);
    let times = section.integer(&TIMES, 1..crate::limits::TEST_EVENTS_MAX + 1, problems).unwrap_or(1);
    let kind = kind(&section, problems);
    let mut call = Call {
        line: file::line_of(&section, &section.span),
        span: section.span.clone(),
        at_ms: at_ms.unwrap_or(0),
        every_ms,
        times,
        ring_ms: file::bounded(&section, &RING, problems),
        talk_ms: file::bounded(&section, &TALK, problems),
        delay_ms: file::bounded(&section, &DELAY, problems).unwrap_or(0),
        kind,
        fields: Vec::new(),
        verdict: section.word(&VERDICT, &VERDICTS, problems),
        by: decider(&section, rules, problems),
        flags: flags(&section, rules, problems),
    };
    if call.last_ms() > TEST_SPAN_MS_MAX {
        let message =
            format!("the last of these calls ends more than {} days after the start", TEST_SPAN_MS_MAX / 86_400_000);
        problems.push(section.problem("E006", message, section.span.clone()));
    }
    call.check_end(&section, problems);
    let mut context = Checker::new();
    for field in WireField::ALL.iter().copied().filter(|field| !is_own(*field)) {
        let found = value(&section, field, &mut context, times, problems);
        call.fields.extend(found.map(|value| (field, value)));
    }
    if !section.has("customer") {
        let plain = |name: &str| Value::Literal(json_text(name));
        call.fields.extend(customer.map(|name| (WireField::Customer, plain(name))));
    }
    (problems.len() == n_problems).then_some(call)
}

/// Fields that a test tells in its own way.
fn is_own(field: WireField) -> bool {
    use WireField as F;
    matches!(field, F::Time | F::Kind | F::Seq | F::Duration | F::Ring)
}

fn kind(section: &Section<'_, '_>, problems: &mut Vec<Problem>) -> Option<Kind> {
    let words: Vec<(&str, Kind)> = Kind::ALL.iter().map(|kind| (kind.as_str(), *kind)).collect();
    section.word(&KIND, &words, problems)
}

fn decider(section: &Section<'_, '_>, rules: &Rules<'_>, problems: &mut Vec<Problem>) -> Option<String> {
    let by = section.text(&BY, problems)?;
    let firewall = || rules.policy.firewall.iter().map(|rule| rule.id.as_str());
    if DECIDERS.contains(&by.value) || firewall().any(|id| id == by.value) {
        return Some(by.value.to_owned());
    }
    let near = suggest(by.value, firewall().chain(DECIDERS));
    let is_threshold = rules.policy.thresholds.iter().any(|rule| rule.id == by.value);
    let message = match near {
        _ if is_threshold => format!("`{}` is a threshold: it decides of no call", short(by.value)),
        Some(near) => format!("unknown rule `{}`; did you mean `{near}`?", short(by.value)),
        None => format!("unknown rule `{}`", short(by.value)),
    };
    let problem = section.problem("E050", message, by.span.clone());
    problems.push(match near {
        Some(_) if !is_threshold => problem,
        _ => problem.help("write the id of a firewall rule, default or builtin:emergency"),
    });
    None
}

fn flags(section: &Section<'_, '_>, rules: &Rules<'_>, problems: &mut Vec<Problem>) -> Option<Vec<String>> {
    let written = section.texts(&FLAGS, problems)?;
    let known: Vec<&str> = rules.policy.firewall.iter().filter_map(|rule| rule.flag.as_deref()).collect();
    for flag in written.iter().filter(|flag| !known.contains(&flag.value)) {
        problems.push(section.not_a_word(FLAGS.name, flag, known.iter().copied()));
    }
    let mut flags: Vec<String> = written.into_iter().map(|flag| flag.value.to_owned()).collect();
    flags.sort_unstable();
    flags.dedup();
    Some(flags)
}

/// The value of a field, checked by those who read it from feeds.
fn value(
    section: &Section<'_, '_>,
    field: WireField,
    checker: &mut Checker,
    times: u64,
    problems: &mut Vec<Problem>,
) -> Option<Value> {
    let name = field.as_str();
    let found = section.value(name)?;
    if field == WireField::Setup {
        return file::bounded(section, &SETUP, problems).map(|ms| Value::Literal(seconds(ms)));
    }
    let value = match found.get_ref() {
        DeValue::String(text) => {
            let text = TextValue { value: text, span: found.span() };
            return texts(section, field, &text, checker, times, problems);
        }
        DeValue::Integer(n) if n.radix() == 10 => Value::Literal(n.as_str().trim_start_matches('+').to_owned()),
        DeValue::Float(n) => Value::Literal(n.as_str().trim_start_matches('+').to_owned()),
        DeValue::Boolean(yes) => Value::Literal(yes.to_string()),
        _ => {
            problems.push(section.wrong_type(name, found, "another kind of value", example(name)));
            return None;
        }
    };
    match checker.read(field, &value.fill(1)) {
        Ok(()) => Some(value),
        Err(reject) => {
            problems.push(misread(section, field, found.span(), reject));
            None
        }
    }
}

fn texts(
    section: &Section<'_, '_>,
    field: WireField,
    text: &TextValue<'_>,
    checker: &mut Checker,
    times: u64,
    problems: &mut Vec<Problem>,
) -> Option<Value> {
    let name = field.as_str();
    if let Some(words) = words(field) {
        let is_verstat = field == WireField::Attestation && text.value.contains("TN-Validation");
        if !is_verstat && !words.contains(&text.value) {
            problems.push(section.not_a_word(name, text, words.iter().copied()));
            return None;
        }
    }
    // Rules write short codes so; a gateway sends the digits.
    let is_party = matches!(field, WireField::Caller | WireField::Callee | WireField::Asserted | WireField::Diverting);
    let written = if is_party { text.value.strip_prefix("short:").unwrap_or(text.value) } else { text.value };
    let template = match Template::parse(written) {
        Ok(template) => template,
        Err(why) => {
            let problem = section.problem("E006", format!("`{name}`: {why}"), text.span.clone());
            problems.push(problem.help("{n} is the running number of the call, {n:4} its last four digits"));
            return None;
        }
    };
    let value = Value::Text(template);
    // What lies between the first and the last is read when the test runs.
    for number in [1, times] {
        if let Err(reject) = checker.read(field, &value.fill(number)) {
            problems.push(misread(section, field, text.span.clone(), reject));
            return None;
        }
    }
    Some(value)
}

fn example(name: &str) -> &'static str {
    KEYS.iter().find(|key| key.name == name).map_or("", |key| key.example)
}

/// What a feed says of a value that it does not take, in the words of a rule file.
fn misread(section: &Section<'_, '_>, field: WireField, span: Range<usize>, reject: Reject) -> Problem {
    let name = field.as_str();
    let (code, message) = match reject {
        Reject::NumberNotText => ("E014", "phone number written as an integer".to_owned()),
        Reject::FieldTooLong => ("E006", format!("`{name}` is longer than a feed takes")),
        Reject::WrongType => ("E004", format!("`{name}` does not take this kind of value")),
        _ => ("E006", format!("`{name}` does not take this value")),
    };
    let problem = section.problem(code, message, span);
    if example(name).is_empty() { problem } else { problem.help(format!("write it like: {}", example(name))) }
}

fn words(field: WireField) -> Option<Vec<&'static str>> {
    fn all<T: Copy>(all: &[T], word: fn(T) -> &'static str) -> Vec<&'static str> {
        all.iter().map(|one| word(*one)).collect()
    }
    Some(match field {
        WireField::Direction => all(Direction::ALL, Direction::as_str),
        WireField::Status => all(Status::ALL, Status::as_str),
        WireField::CallType => all(CallType::ALL, CallType::as_str),
        WireField::HangupBy => all(HangupBy::ALL, HangupBy::as_str),
        WireField::Attestation => all(Attestation::ALL, Attestation::as_str),
        _ => return None,
    })
}

/// Reads values as a feed does, each in an event of its own.
struct Checker {
    decoder: Decoder,
    batch: Batch,
}

impl Checker {
    fn new() -> Checker {
        let context = Arc::new(FeedContext::file(Arc::new(Names::new()), DialPlan::default()));
        Checker { decoder: Decoder::new(&Format::Ndjson, context), batch: Batch::default() }
    }

    fn read(&mut self, field: WireField, value: &str) -> Result<(), Reject> {
        let line = format!("{{\"time\":0,\"{}\":{value}}}\n", field.as_str());
        self.decoder.decode(line.into_bytes(), None, &mut self.batch);
        match self.batch.rejects.first() {
            Some(rejected) => Err(rejected.reason),
            None => Ok(()),
        }
    }
}

impl Value {
    /// The JSON of the call with this number.
    fn fill(&self, number: u64) -> String {
        match self {
            Value::Text(template) => json_text(&template.fill(number)),
            Value::Literal(json) => json.clone(),
        }
    }
}

fn json_text(text: &str) -> String {
    let mut out = Vec::new();
    output::string(&mut out, text.as_bytes());
    String::from_utf8_lossy(&out).into_owned()
}

/// `2.25`, exactly.
fn seconds(ms: i64) -> String {
    format!("{}.{:03}", ms / 1000, ms % 1000)
}

impl Call {
    /// How many events it makes.
    pub(super) fn n_events(&self) -> u64 {
        self.times.saturating_mul(self.kinds().len() as u64)
    }

    fn kinds(&self) -> &'static [Kind] {
        match self.kind {
            Some(Kind::Attempt) => &[Kind::Attempt],
            Some(Kind::Answer) => &[Kind::Answer],
            Some(Kind::Interim) => &[Kind::Interim],
            Some(Kind::End) => &[Kind::End],
            Some(Kind::Cdr) => &[Kind::Cdr],
            Some(Kind::Register) => &[Kind::Register],
            Some(Kind::Options) => &[Kind::Options],
            Some(Kind::Message) => &[Kind::Message],
            None if self.talk_ms.is_some() => &[Kind::Attempt, Kind::Answer, Kind::End],
            None => &[Kind::Attempt, Kind::End],
        }
    }

    /// When the last of them has ended, after the start of the test.
    fn last_ms(&self) -> i64 {
        let gaps = i64::try_from(self.times - 1).unwrap_or(i64::MAX);
        let lasts = self.ring_ms.unwrap_or(0) + self.talk_ms.unwrap_or(0) + self.delay_ms;
        self.at_ms.saturating_add(gaps.saturating_mul(self.every_ms)).saturating_add(lasts)
    }

    /// When the call with this number begins, after the start of the test.
    pub(super) fn begins_ms(&self, number: u64) -> i64 {
        self.at_ms + self.every_ms * (number.saturating_sub(1) as i64)
    }

    /// `status` and `talk` say the same.
    fn check_end(&self, section: &Section<'_, '_>, problems: &mut Vec<Problem>) {
        let Some(status) = section.value("status").and_then(|value| value.get_ref().as_str()) else { return };
        let at = || section.value("status").map_or(section.span.clone(), |value| value.span());
        if status == Status::Answered.as_str() && self.talk_ms.is_none() {
            let problem = section.problem("E006", "an answered call has a `talk` time", at());
            problems.push(problem.help("write: talk = \"3m\"; `status` then follows from it"));
        } else if status != Status::Answered.as_str()
            && self.talk_ms.is_some()
            && words(WireField::Status).is_some_and(|w| w.contains(&status))
        {
            let problem =
                section.problem("E006", format!("a call with a `talk` time was answered, not {status}"), at());
            problems.push(problem.context(section.document.path, section.key_span(TALK.name), "answered"));
        }
    }

    /// Adds its events; `entry` is its place among the calls of the test, `before` how many calls stand before it.
    pub(super) fn moments(&self, entry: usize, before: u64, out: &mut Vec<Moment>) {
        for number in 1..=self.times {
            let begins = self.begins_ms(number);
            let ring = self.ring_ms.unwrap_or(0);
            for kind in self.kinds() {
                let time_ms = match kind {
                    Kind::Answer => begins + ring,
                    Kind::End | Kind::Cdr => begins + ring + self.talk_ms.unwrap_or(0),
                    _ => begins,
                };
                let arrival_ms = time_ms + self.delay_ms;
                out.push(Moment { arrival_ms, time_ms, kind: *kind, entry, number, call: before + number });
            }
        }
    }

    /// Writes an event as a feed would send it, with the line's end.
    pub(super) fn write(&self, moment: &Moment, start: Timestamp, out: &mut Vec<u8>) {
        let kind = moment.kind;
        let mut line = format!("{{\"time\":\"{}\",\"kind\":\"{}\"", start.plus_ms(moment.time_ms), kind.as_str());
        let mut add = |name: &str, json: &str| {
            line.push_str(",\"");
            line.push_str(name);
            line.push_str("\":");
            line.push_str(json);
        };
        let mut has_id = false;
        let mut has_status = false;
        for (field, value) in &self.fields {
            if !is_known(*field, kind) {
                continue;
            }
            has_id |= *field == WireField::CallId;
            has_status |= *field == WireField::Status;
            add(field.as_str(), &value.fill(moment.number));
        }
        if !has_id {
            add(WireField::CallId.as_str(), &format!("\"call-{}\"", moment.call));
        }
        if matches!(kind, Kind::Answer | Kind::End | Kind::Cdr)
            && let Some(ring) = self.ring_ms
        {
            add(WireField::Ring.as_str(), &seconds(ring));
        }
        if matches!(kind, Kind::End | Kind::Cdr) {
            add(WireField::Duration.as_str(), &seconds(self.talk_ms.unwrap_or(0)));
            if !has_status {
                let status = if self.talk_ms.is_some() { Status::Answered } else { Status::NoAnswer };
                add(WireField::Status.as_str(), &format!("\"{}\"", status.as_str()));
            }
        }
        line.push_str("}\n");
        out.extend_from_slice(line.as_bytes());
    }
}

/// Can a gateway say this of a call when that happens?
fn is_known(field: WireField, kind: Kind) -> bool {
    use WireField as F;
    match field {
        F::Setup => matches!(kind, Kind::Answer | Kind::End | Kind::Cdr),
        F::Status | F::Q850 | F::Cost | F::HangupBy => matches!(kind, Kind::End | Kind::Cdr),
        F::SipCode => !matches!(kind, Kind::Attempt | Kind::Answer | Kind::Interim),
        _ => true,
    }
}
