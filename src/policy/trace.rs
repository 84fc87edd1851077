//! Why a rule holds for an event or does not: its condition, test by test, with what the event says.
//!
//! The tests are those of the compiler: the words of the rule are read again, each test of theirs is compiled by itself
//! and asked, and only `and`, `or`, `not` and macros are put together here. So an explanation cannot differ from what
//! the engine does in what a test means. Nothing of this is touched by an event that nobody asks about.
//!
//! - [`step`] asks the tests of an expression; `found` says which entry of a list matched, `hours` what a calendar says.
//! - [`explain_rule`] is all of it, [`why_not`] the one shortest reason.

mod after;
mod found;
mod hours;
mod step;
#[cfg(test)]
mod tests;

pub use found::PUT_BY_A_THRESHOLD;
pub use step::{Shape, Step};

use jiff::tz::TimeZone;

use self::step::Tracer;
use super::field::{FIELDS, Spec};
use super::predicate::write_value;
use super::{Concern, Exception, FirewallRule, KeySpec, Operand, Policy, Predicate, ThresholdRule, View, WrittenRule};
use crate::clock::Timestamp;
use crate::event::{CallEvent, Field, Flags, Kind, NumberKind, Which};
use crate::policy::On;

/// A rule of either kind.
#[derive(Clone, Copy, Debug)]
pub enum Rule<'p> {
    Firewall(&'p FirewallRule),
    Threshold(&'p ThresholdRule),
}

impl<'p> Rule<'p> {
    pub fn id(self) -> &'p str {
        match self {
            Rule::Firewall(rule) => &rule.id,
            Rule::Threshold(rule) => &rule.id,
        }
    }

    fn on(self) -> On {
        match self {
            Rule::Firewall(rule) => rule.on,
            Rule::Threshold(rule) => rule.on,
        }
    }

    fn condition(self) -> Option<&'p Predicate> {
        match self {
            Rule::Firewall(rule) => Some(&rule.when),
            Rule::Threshold(rule) => rule.condition.as_ref(),
        }
    }

    fn concern(self) -> &'p Concern {
        match self {
            Rule::Firewall(rule) => &rule.concern,
            Rule::Threshold(rule) => &rule.concern,
        }
    }

    /// Does its condition hold, and does the rule make no exception?
    pub fn holds(self, view: &View<'_>) -> bool {
        self.condition().is_none_or(|condition| condition.eval(view)) && self.concern().except.find(view).is_none()
    }

    /// Is it for the customer of the event, at that time?
    pub fn concerns(self, view: &View<'_>) -> bool {
        self.concern().is_of(view.names.customer_text(view.event.customer), view.event.time)
    }

    /// Why nobody is told of what the event raises: an entry of `mute`.
    pub fn muted(self, view: &View<'_>) -> Option<String> {
        self.concern().mute.find(view).map(|mute| excused(mute, &view.policy.time_zone))
    }

    /// Why it has other levels, or another mode, for this customer: an override.
    pub fn overridden(self, zone: &TimeZone) -> Option<String> {
        let (concern, variant) = (self.concern(), self.concern().variant.as_ref()?);
        let until = variant.until.map(|until| ended(until, zone));
        let said: Vec<String> =
            [Some(variant.reason.clone()), variant.ticket.clone(), until].into_iter().flatten().collect();
        Some(format!("override for {}: {}", concern.variant_of().unwrap_or_default(), said.join("; ")))
    }
}

/// On the clock of the rules: `2026-03-02 22:41:07`.
pub fn moment(at: Timestamp, zone: &TimeZone) -> String {
    let local = jiff::Timestamp::from_millisecond(at.0).map(|at| at.to_zoned(zone.clone()));
    local.map_or_else(|_| at.to_string(), |at| at.strftime("%Y-%m-%d %H:%M:%S").to_string())
}

/// The last day of something, or the instant at which it ends.
fn ended(until: Timestamp, zone: &TimeZone) -> String {
    let local = jiff::Timestamp::from_millisecond(until.0).map(|at| at.to_zoned(zone.clone()));
    match local {
        Ok(at) if at.time() == jiff::civil::Time::midnight() => match at.date().yesterday() {
            Ok(last) => format!("through {last}"),
            Err(_) => format!("until {at}"),
        },
        Ok(at) => format!("until {}", at.strftime("%Y-%m-%d %H:%M")),
        Err(_) => format!("until {until}"),
    }
}

/// Why an exception is made, and by whom.
fn excused(exception: &Exception, zone: &TimeZone) -> String {
    let until = exception.until.map(|until| ended(until, zone));
    let said = [Some(exception.reason.clone()), exception.owner.clone(), exception.ticket.clone(), until];
    said.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

/// What a rule makes of one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    pub rule: String,
    /// It runs on this event, its condition holds and, of a threshold, there is a key.
    pub holds: bool,
    /// Why it does not run on the event at all.
    pub does_not_run: Option<String>,
    /// Why it makes an exception of the event: the reason somebody gave, and who.
    pub excepted: Option<String>,
    /// Its condition, and the calendar of `active`; every test is asked, whether or not it decides.
    pub condition: Option<Step>,
    /// Of a threshold: `per` entry and value, or why there is none.
    pub key: Option<Result<Key, String>>,
}

/// `per` entries and their values, as a violation shows them.
pub type Key = Vec<(String, String)>;

impl Explained {
    /// The tests that decide, in written order: all of an `and` that holds, the first of an `or` that does. Where the
    /// condition does not hold, what is wrong with it.
    pub fn deciding(&self) -> Vec<&Step> {
        self.condition.as_ref().map_or(Vec::new(), Step::deciding)
    }

    /// The one shortest reason for which the rule is not met; `None` where it is.
    pub fn why_not(&self) -> Option<String> {
        if self.holds {
            return None;
        }
        if let Some(reason) = &self.does_not_run {
            return Some(reason.clone());
        }
        if let Some(condition) = self.condition.as_ref().filter(|c| !c.holds) {
            return Some(condition.told());
        }
        match (&self.excepted, &self.key) {
            (Some(reason), _) => Some(format!("excepted: {reason}")),
            (None, Some(Err(reason))) => Some(reason.clone()),
            // No words of it are kept.
            (None, _) => Some("its condition does not hold".to_owned()),
        }
    }
}

/// Asks every test of a rule about one event.
pub fn explain_rule(policy: &Policy, rule: Rule<'_>, view: &View<'_>) -> Explained {
    let written = policy.written.rule(rule.id());
    let condition = condition(policy, rule, written, view);
    let key = match rule {
        Rule::Firewall(_) => None,
        Rule::Threshold(rule) => policy.keys.get(rule.key).map(|spec| key_of(spec, view)),
    };
    let does_not_run = does_not_run(rule.on(), view.event).or_else(|| for_others(rule, view));
    let has_key = !matches!(key, Some(Err(_)));
    Explained {
        rule: rule.id().to_owned(),
        holds: does_not_run.is_none() && has_key && rule.holds(view),
        does_not_run,
        excepted: rule.concern().except.find(view).map(|except| excused(except, &policy.time_zone)),
        condition,
        key,
    }
}

/// The one shortest reason for which the event does not meet the rule: `direction is outbound`. `None` where it does.
pub fn why_not(policy: &Policy, rule: Rule<'_>, view: &View<'_>) -> Option<String> {
    explain_rule(policy, rule, view).why_not()
}

fn condition(policy: &Policy, rule: Rule<'_>, written: Option<&WrittenRule>, view: &View<'_>) -> Option<Step> {
    let traced = |text: &str| Tracer::new(&policy.written, view)?.condition(text);
    let own = written.and_then(|written| traced(written.condition.as_deref()?));
    let active = written.and_then(|written| traced(&format!("during({})", written.active.as_deref()?)));
    let after = match rule {
        Rule::Firewall(_) => None,
        Rule::Threshold(rule) => after::step(policy, rule, view),
    };
    [own, active, after].into_iter().flatten().reduce(Step::both)
}

/// Is the rule asked about such an event, whoever its customer is?
pub fn runs(rule: Rule<'_>, event: &CallEvent) -> bool {
    does_not_run(rule.on(), event).is_none()
}

/// Why a rule is not asked about events of this customer.
fn for_others(rule: Rule<'_>, view: &View<'_>) -> Option<String> {
    if rule.concerns(view) {
        return None;
    }
    let customer = view.names.customer_text(view.event.customer);
    let concern = rule.concern();
    if concern.spared.contains_key(customer) {
        return Some(format!("an override for {customer} stands in its place"));
    }
    match (&concern.variant, &concern.customers) {
        (Some(_), _) => rule.overridden(&view.policy.time_zone),
        (None, Some(customers)) => Some(format!("it is for customer {}, this is {customer}", customers.join(", "))),
        (None, None) => None,
    }
}

/// A field of the event as people write it; `None` where it does not say.
pub fn field(name: &str, view: &View<'_>) -> Option<String> {
    step::shown(&Operand::Field(Field::named(name)?.field), view)
}

/// Every field that the event says, by its name.
pub fn fields(view: &View<'_>) -> impl Iterator<Item = (&'static str, String)> {
    let said = |spec: &'static Spec| Some((spec.name, step::shown(&Operand::Field(spec.field), view)?));
    FIELDS.iter().filter(|spec| Operand::Field(spec.field).is_present(view)).filter_map(said)
}

/// Why a rule of this `on` is not asked about the event; `None` where it is.
fn does_not_run(on: On, event: &CallEvent) -> Option<String> {
    if event.flags.has(Flags::DUPLICATE) {
        return Some("it came before: no rule sees a duplicate".to_owned());
    }
    let seen = |flag, what: &str| {
        event.flags.has(flag).then(|| format!("the {what} of this call was counted before, from another record"))
    };
    let starts = matches!(event.kind, Kind::Attempt | Kind::Cdr);
    match on {
        On::Attempt if starts => seen(Flags::ATTEMPT_SEEN, "attempt"),
        On::Answer if event.kind == Kind::Cdr && !event.answered() => {
            Some("it runs on answer, and the call was not answered".to_owned())
        }
        On::Answer if matches!(event.kind, Kind::Answer | Kind::Cdr) => seen(Flags::ANSWER_SEEN, "answer"),
        On::End if matches!(event.kind, Kind::End | Kind::Cdr) => seen(Flags::END_SEEN, "end"),
        On::Call if event.kind == Kind::End => {
            Some("it counts calls as they begin; an end only takes its call out again".to_owned())
        }
        On::Call if event.kind == Kind::Cdr => {
            Some("it follows calls that are up, and a whole record tells of one that is over".to_owned())
        }
        On::Call if matches!(event.kind, Kind::Attempt | Kind::Answer) => None,
        On::Register if event.kind == Kind::Register => None,
        On::Request if starts => seen(Flags::ATTEMPT_SEEN, "attempt"),
        On::Request if matches!(event.kind, Kind::Register | Kind::Options | Kind::Message) => None,
        _ => Some(format!("it runs on {}, this is {}", word(on), described(event.kind))),
    }
}

fn word(on: On) -> &'static str {
    match on {
        On::Attempt => "attempt",
        On::Answer => "answer",
        On::End => "end",
        On::Call => "call",
        On::Register => "register",
        On::Request => "request",
    }
}

/// With its article: `an attempt`.
pub fn described(kind: Kind) -> &'static str {
    match kind {
        Kind::Cdr => "a whole call (cdr)",
        Kind::Attempt => "an attempt",
        Kind::Answer => "an answer",
        Kind::Interim => "an interim record",
        Kind::End => "an end",
        Kind::Register => "a registration",
        Kind::Options => "an OPTIONS request",
        Kind::Message => "a MESSAGE request",
    }
}

/// The key of an event, as a violation shows it, or why the event has none.
pub fn key_of(spec: &KeySpec, view: &View<'_>) -> Result<Key, String> {
    let mut key = Vec::with_capacity(spec.parts.len());
    for part in &spec.parts {
        let value = match missing(&part.operand, view) {
            None => part.operand.value(view).map(|value| {
                let mut text = Vec::new();
                write_value(&value, &mut text);
                String::from_utf8_lossy(&text).into_owned()
            }),
            Some(_) if spec.merge_missing => None,
            Some(reason) => return Err(format!("{reason}: no key")),
        };
        key.push((part.name.clone(), value.unwrap_or_else(|| "(none)".to_owned())));
    }
    Ok(key)
}

/// Why a part of a key is not there.
fn missing(operand: &Operand, view: &View<'_>) -> Option<String> {
    let field = operand.field();
    let name = field.spec().map_or("", |spec| spec.name);
    let is_caller = *operand == Operand::Field(Field::Party(Which::Caller));
    if is_caller && view.event.caller.number.kind() == Some(NumberKind::Anonymous) {
        return Some(format!("{name} is anonymous"));
    }
    match operand.value(view) {
        Some(_) => None,
        None if !Operand::Field(field).is_present(view) => Some(format!("{name} is absent")),
        None => {
            let whole = step::shown(&Operand::Field(field), view).unwrap_or_default();
            Some(format!("{name} {whole} is no E.164 number and has no prefix"))
        }
    }
}
