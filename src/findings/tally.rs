//! The calls of an incident, each once, put together from whatever was told of it.
//!
//! A call is one of the incident where a rule of it counted one of its events, or where it was turned away and has the
//! key of an alert: a call that never rang cannot meet a condition on its ringing.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use serde::Serialize;

use super::plain;
use super::reading::Heard;
use super::watch::{Seen, Watch};
use crate::clock::Timestamp;
use crate::event::{CallEvent, Direction, Flags, Kind, Party, Status};
use crate::limits::{FINDINGS_CALLS_MAX, FINDINGS_HITS_MAX, FINDINGS_KEYS_MAX};
use crate::policy::{Action, DynamicLists, View};

/// A call, as people read it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Call {
    pub time: Timestamp,
    pub call_id: String,
    pub caller: String,
    pub callee: String,
    pub caller_name: String,
    pub trunk: String,
    pub account: String,
    pub address: String,
    pub direction: String,
    pub status: String,
    pub attestation: String,
    pub duration_ms: Option<i64>,
    /// 1/10,000.
    pub cost: Option<i64>,
    pub is_answered: bool,
    /// Id of the rule that turned it away.
    pub blocked_by: Option<String>,
    /// Id of the rule that let it through, where one did.
    pub allowed_by: Option<String>,
    /// Registrations, and other requests that are no calls.
    pub is_request: bool,
    /// Of a registration: its password was refused.
    pub is_refused: bool,
    /// The key of the alert that it belongs to.
    pub key: String,
}

/// What calls that went through may have cost.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Risk {
    /// Answered and let through.
    pub calls: u64,
    pub talk_ms: i64,
    /// 1/10,000 of the currency's unit, of those whose cost is known.
    pub cost: i64,
    pub calls_without_cost: u64,
    pub calls_without_duration: u64,
}

/// One event that a rule counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Hit {
    pub(super) rule: u16,
    pub(super) key: u32,
    pub(super) time: i64,
    pub(super) value: u64,
}

/// All that was heard.
pub(super) struct Tally {
    /// From here on, calls are the incident's; what came before tells what is normal.
    since: Timestamp,
    places: HashMap<u64, u32>,
    pub(super) calls: Vec<Call>,
    pub(super) hits: Vec<Hit>,
    keys: HashMap<(u16, Vec<u8>), u32>,
    /// Whether each key is that of an alert, and its parts.
    pub(super) key_marks: Vec<(bool, Vec<u8>)>,
    /// Addresses that registered or were answered as they should be.
    pub(super) good_addresses: HashMap<String, u64>,
    /// Prefixes and numbers of the other calls of that time, by caller: what a block would hit as well.
    pub(super) others: HashMap<String, u64>,
    /// Numbers that calls came in to, or out from: whoever owns them, they are not to be blocked.
    pub(super) own_seen: HashSet<String>,
    pub(super) n_calls_left_out: u64,
    pub(super) n_hits_left_out: u64,
    seen: Vec<Seen>,
}

impl Tally {
    pub(super) fn new(since: Timestamp) -> Tally {
        Tally {
            since,
            places: HashMap::new(),
            calls: Vec::new(),
            hits: Vec::new(),
            keys: HashMap::new(),
            key_marks: Vec::new(),
            good_addresses: HashMap::new(),
            others: HashMap::new(),
            own_seen: HashSet::new(),
            n_calls_left_out: 0,
            n_hits_left_out: 0,
            seen: Vec::new(),
        }
    }

    pub(super) fn hear(&mut self, watch: &Watch<'_>, view: View<'_>, heard: &Heard<'_>) {
        let event = heard.event;
        let is_repeated = heard.rule == "default" && event.flags.has(Flags::CALL_BLOCKED);
        let is_blocked = heard.action == Action::Block || is_repeated;
        let mut seen = std::mem::take(&mut self.seen);
        watch.look(&view, is_blocked, &mut seen);
        let mut is_member = false;
        let mut key = None;
        for one in seen.drain(..) {
            let joins = one.is_alerted && (one.is_counted || is_blocked) && event.time >= self.since;
            if joins && key.is_none() {
                key = Some(key_text(&one.key));
            }
            is_member |= joins;
            if one.is_counted {
                self.hit(one, event.time);
            }
        }
        self.seen = seen;
        self.see_own(event);
        self.call(heard, is_member, is_blocked, key);
    }

    fn hit(&mut self, seen: Seen, time: Timestamp) {
        let rule = seen.rule as u16;
        let n_keys = self.key_marks.len();
        let key = match self.keys.get(&(rule, seen.key.clone())) {
            Some(key) => *key,
            None if n_keys < FINDINGS_KEYS_MAX || seen.is_alerted && n_keys < 2 * FINDINGS_KEYS_MAX => {
                self.key_marks.push((seen.is_alerted, seen.key.clone()));
                self.keys.insert((rule, seen.key), n_keys as u32);
                n_keys as u32
            }
            None => {
                self.n_hits_left_out += 1;
                return;
            }
        };
        if self.hits.len() >= FINDINGS_HITS_MAX {
            self.n_hits_left_out += 1;
            return;
        }
        self.hits.push(Hit { rule, key, time: time.0, value: seen.value });
    }

    fn see_own(&mut self, event: &CallEvent) {
        let number = match (event.kind, event.direction) {
            (Kind::Attempt | Kind::Cdr, Direction::Inbound) => event.callee.number,
            (Kind::Attempt | Kind::Cdr, Direction::Outbound) => event.caller.number,
            _ => return,
        };
        if number.is_e164() && self.own_seen.len() < FINDINGS_KEYS_MAX {
            self.own_seen.insert(number.to_string());
        }
    }

    /// Begins the call of a member, or says more of one that is known.
    fn call(&mut self, heard: &Heard<'_>, is_member: bool, is_blocked: bool, key: Option<String>) {
        let place = place(heard);
        let at = match self.places.get(&place) {
            Some(at) => *at as usize,
            None if !is_member => return self.other(heard, is_blocked),
            None if self.calls.len() >= FINDINGS_CALLS_MAX => {
                self.n_calls_left_out += 1;
                return;
            }
            None => {
                self.places.insert(place, self.calls.len() as u32);
                self.is_no_other(heard.event);
                self.calls.push(begun(heard, key.unwrap_or_default()));
                self.calls.len() - 1
            }
        };
        if let Some(call) = self.calls.get_mut(at) {
            more(call, heard, is_blocked);
        }
    }

    /// What is no part of the incident, and would be hit by a careless block.
    fn other(&mut self, heard: &Heard<'_>, is_blocked: bool) {
        let event = heard.event;
        let is_refused = event.flags.has(Flags::AUTH_FAILED) || is_blocked || (400..700).contains(&event.sip_code);
        let is_good = match event.kind {
            Kind::Register => !is_refused,
            Kind::Cdr | Kind::Answer | Kind::End => event.answered() || event.kind == Kind::Answer,
            _ => false,
        };
        if let Some(address) = event.source_ip.filter(|_| is_good && self.good_addresses.len() < FINDINGS_KEYS_MAX) {
            *self.good_addresses.entry(address.to_string()).or_default() += 1;
        }
        let is_call = matches!(event.kind, Kind::Attempt | Kind::Cdr);
        if is_call && event.caller.number.is_e164() && self.others.len() < FINDINGS_KEYS_MAX {
            *self.others.entry(event.caller.number.to_string()).or_default() += 1;
        }
    }

    /// Its attempt came before anybody knew that the call is one of the incident.
    fn is_no_other(&mut self, event: &CallEvent) {
        let is_later = matches!(event.kind, Kind::Answer | Kind::End);
        if let Some(n) = self.others.get_mut(&event.caller.number.to_string()).filter(|_| is_later) {
            *n = n.saturating_sub(1);
        }
    }

    pub(super) fn risk(&self) -> Risk {
        let mut risk = Risk::default();
        for call in self.calls.iter().filter(|call| call.is_answered && call.blocked_by.is_none()) {
            risk.calls += 1;
            risk.talk_ms += call.duration_ms.unwrap_or(0);
            risk.cost += call.cost.unwrap_or(0);
            risk.calls_without_duration += u64::from(call.duration_ms.is_none());
            risk.calls_without_cost += u64::from(call.cost.is_none());
        }
        risk
    }
}

/// What tells one call from another.
fn place(heard: &Heard<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    let event = heard.event;
    let id = heard.batch.text(event.call_id);
    let is_call = matches!(event.kind, Kind::Attempt | Kind::Answer | Kind::Interim | Kind::End | Kind::Cdr);
    match is_call && !id.is_empty() {
        true => (event.gateway.0, id).hash(&mut hasher),
        false => heard.position.hash(&mut hasher),
    }
    hasher.finish()
}

fn begun(heard: &Heard<'_>, key: String) -> Call {
    let (event, batch) = (heard.event, heard.batch);
    let text = |text| plain(&String::from_utf8_lossy(batch.text(text)));
    let party = |party: &Party| match party.number.is_e164() {
        true => party.number.to_string(),
        false if party.text.is_absent() => text(party.raw),
        false => text(party.text),
    };
    let said = |word: &str| if word == "unknown" { String::new() } else { word.to_owned() };
    Call {
        time: event.call_start(),
        call_id: text(event.call_id),
        caller: party(&event.caller),
        callee: party(&event.callee),
        caller_name: text(event.caller_name),
        trunk: text(event.trunk),
        account: text(event.account),
        address: event.source_ip.map(|address| address.to_string()).unwrap_or_default(),
        direction: if event.direction == Direction::Unknown {
            String::new()
        } else {
            event.direction.as_str().to_owned()
        },
        attestation: said(event.attestation.as_str()),
        is_request: matches!(event.kind, Kind::Register | Kind::Options | Kind::Message),
        key,
        ..Call::default()
    }
}

fn more(call: &mut Call, heard: &Heard<'_>, is_blocked: bool) {
    let event = heard.event;
    call.time = call.time.min(event.call_start());
    call.is_answered |= event.answered() || event.kind == Kind::Answer;
    call.is_refused |= event.flags.has(Flags::AUTH_FAILED);
    if event.status != Status::Unknown {
        call.status = event.status.as_str().to_owned();
    }
    if event.duration_ms != CallEvent::NO_TIME {
        call.duration_ms = Some(i64::from(event.duration_ms));
    }
    if event.cost != CallEvent::NO_COST {
        call.cost = Some(event.cost);
    }
    if is_blocked && call.blocked_by.is_none() {
        call.blocked_by = Some(heard.rule.to_owned());
    }
    if heard.action == Action::Allow && !matches!(heard.rule, "" | "default") && call.allowed_by.is_none() {
        call.allowed_by = Some(heard.rule.to_owned());
    }
}

/// The values of a key, as an alert shows them.
pub(super) fn key_text(key: &[u8]) -> String {
    let parts = super::watch::parts(key);
    let shown: Vec<String> = parts.iter().map(|part| plain(&String::from_utf8_lossy(part))).collect();
    shown.join(", ")
}

/// A view of an event without what thresholds put on lists: nobody remembers that of the past.
pub(super) fn view<'a>(
    heard: &Heard<'a>,
    policy: &'a crate::policy::Policy,
    names: &'a crate::event::Names,
    nothing: &'a DynamicLists,
) -> View<'a> {
    View { event: heard.event, batch: heard.batch, policy, names, dynamic: nothing }
}

/// The first digits of a number: what those of one origin have in common.
pub(super) fn prefix(number: &str, n_digits: usize) -> Option<&str> {
    let digits = number.strip_prefix('+')?;
    (digits.len() > n_digits && digits.bytes().all(|b| b.is_ascii_digit())).then(|| number.get(..=n_digits)).flatten()
}
