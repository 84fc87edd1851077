//! What to change: each recommendation by a rule that can be told, with the edit as it would be typed.
//!
//! Nothing here is done by itself. What is never proposed: to block own or emergency numbers, or what a rule lets
//! through on purpose; that is said instead.

use serde::Serialize;

use super::edits::{self, DAYS_OF_NUMBERS, DAYS_OF_RANGES};
use super::evidence::Evidence;
use super::ranking::{Ranked, Ranking};
use super::ruleset::Ruleset;
use super::series::{Kind, Meter};
use super::tally::{self, Call};
use super::watch::Rule;
use super::{Draft, Sources};
use crate::customer::Customer;
use crate::event::{Batch, CallEvent, Field, Number, Which};
use crate::incident::{Alert, Incident, IncidentState};
use crate::limits::FINDINGS_BLOCKS_MAX;
use crate::policy::{Action, DynamicLists, FirewallRule, ListContent, Mode, Operand, Predicate, ThresholdRule, View};

/// So much of it comes from a few: then blocking them helps.
const MOST_PERCENT: u64 = 60;
/// So many of its calls are alike in what no carrier vouches for.
const NEARLY_ALL_PERCENT: usize = 80;
/// So much of it is turned away: it is over, as far as rules go.
const STOPPED_PERCENT: u64 = 95;
/// Fewer calls show no pattern.
const CALLS_MIN: u64 = 3;
/// Fewer keys do not tell what is normal.
const KEYS_MIN: u64 = 20;
/// Talks of people, not of machines: so long, and so many of them answered.
const TALK_MS: i64 = 30_000;
const ANSWERED_PERCENT: usize = 70;

/// A change of the rules, for a person to decide.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Recommendation {
    /// What to do, as a sentence.
    pub what: String,
    /// Beside `ruleset.toml`; empty where nothing is to be typed.
    pub file: String,
    /// The line of what the edit takes the place of.
    pub line: Option<usize>,
    /// What the edit takes the place of; without it, the edit goes to the end of the file.
    pub replaces: Option<String>,
    /// As it is typed.
    pub edit: String,
    pub why: String,
}

/// Everything the data ask for, the most urgent first.
pub(super) fn recommend(
    sources: &Sources<'_>,
    incident: &Incident,
    alerts: &[Alert],
    evidence: &mut Evidence<'_>,
) -> Vec<Recommendation> {
    let customer = sources.policy.customers.of(&incident.customer);
    let ruleset = Ruleset::read(sources.rules);
    let mut advice = Advice { sources, incident, customer, ruleset, refusals: Vec::new() };
    let found = advice.all(alerts, evidence);
    evidence.draft.notes.append(&mut advice.refusals);
    found
}

struct Advice<'a> {
    sources: &'a Sources<'a>,
    incident: &'a Incident,
    customer: &'a Customer,
    ruleset: Ruleset<'a>,
    /// Why something that suggests itself is not proposed.
    refusals: Vec<String>,
}

/// A list of a file that a rule blocks by.
struct Blocking<'a> {
    file: String,
    columns: Vec<String>,
    rule: &'a FirewallRule,
    list: usize,
}

impl<'a> Advice<'a> {
    fn all(&mut self, alerts: &[Alert], evidence: &Evidence<'_>) -> Vec<Recommendation> {
        let draft = &evidence.draft;
        let mut found = Vec::new();
        if self.incident.state == IncidentState::Dismissed || is_ordinary(alerts, &evidence.calls) {
            found.extend(self.exceptions(alerts, draft));
            return found;
        }
        found.extend(self.raise(alerts, evidence));
        if !found.is_empty() || draft.calls < CALLS_MIN {
            return found;
        }
        if self.is_stopped(draft) {
            return found;
        }
        let n = |is: fn(&Call) -> bool| evidence.calls.iter().filter(|call| is(call)).count() * 2;
        if n(|call| call.is_request) > evidence.calls.len() {
            found.extend(self.addresses(evidence));
        } else if n(|call| call.direction == "outbound") > evidence.calls.len() {
            found.extend(self.destinations(evidence));
        } else {
            self.inbound(evidence, &mut found);
        }
        found.extend(self.enforce_rules(draft));
        found
    }

    /// A rule that stays turned nearly all of it away: nothing more is needed. What thresholds put on lists ends by
    /// itself.
    fn is_stopped(&mut self, draft: &Draft) -> bool {
        let policy = self.sources.policy;
        let is_dynamic =
            |list: usize| matches!(policy.lists.get(list).map(|list| &list.content), Some(ListContent::Dynamic(_)));
        let stays = |id: &str| {
            let rule = policy.firewall.iter().find(|rule| rule.id == id && rule.mode == Mode::Enforce);
            rule.is_some_and(|rule| !rule.when.uses_dynamic(&is_dynamic))
        };
        let stopped: Vec<&Ranked> = draft.blocked_by.top.iter().filter(|ranked| stays(&ranked.value)).collect();
        let n: u64 = stopped.iter().map(|ranked| ranked.count).sum();
        let is_stopped = n * 100 >= draft.calls * STOPPED_PERCENT;
        if let Some(rule) = stopped.first().filter(|_| is_stopped) {
            let share = capital(&share(n, draft.calls, "calls"));
            self.refusals
                .push(format!("{share} were turned away by rule {} as it stands: no more is proposed.", rule.value));
        }
        is_stopped
    }

    fn inbound(&mut self, evidence: &Evidence<'_>, found: &mut Vec<Recommendation>) {
        let draft = &evidence.draft;
        let callers = draft.callers.most(MOST_PERCENT, FINDINGS_BLOCKS_MAX);
        let of_all = draft.callers.total * 100 >= draft.calls * MOST_PERCENT;
        let blocks = if of_all { self.callers(callers, evidence) } else { Vec::new() };
        if !blocks.is_empty() {
            found.extend(blocks);
            return;
        }
        let ranges = ranges(&evidence.calls, |call| &call.caller, &[9, 8, 7, 6], 1);
        let blocks = ranges.first().map(|range| self.range(range, evidence)).unwrap_or_default();
        if !blocks.is_empty() {
            found.extend(blocks);
            return;
        }
        if let Some(callee) = draft.callees.most(MOST_PERCENT, 1).first() {
            found.push(self.flooded(callee, evidence));
        }
    }

    /// Few callers make most of it: block them.
    fn callers(&mut self, callers: &[Ranked], evidence: &Evidence<'_>) -> Vec<Recommendation> {
        let blocking = self.blocking(Which::Caller);
        let mut values = Vec::new();
        for caller in callers {
            match self.may_block(&caller.value, evidence, blocking.as_ref()) {
                Ok(()) => values.push(caller),
                Err(why) => self.refusals.push(format!("No block is proposed for {}: {why}.", caller.value)),
            }
        }
        if values.is_empty() {
            return Vec::new();
        }
        let (sum, all) = (values.iter().map(|v| v.count).sum::<u64>(), evidence.draft.calls);
        let why = format!("{} made {}.", if values.len() == 1 { "It" } else { "They" }, share(sum, all, "calls"));
        let what = match values.as_slice() {
            [one] => format!("Block the caller {}.", one.value),
            _ => format!("Block these {} callers.", values.len()),
        };
        let values: Vec<(&str, u64)> = values.iter().map(|v| (v.value.as_str(), v.count)).collect();
        self.block(&what, &why, &values, DAYS_OF_NUMBERS, "caller", blocking)
    }

    /// Their numbers change, and begin alike: block the range.
    fn range(&mut self, range: &Ranked, evidence: &Evidence<'_>) -> Vec<Recommendation> {
        let value = format!("{}*", range.value);
        let blocking = self.blocking(Which::Caller);
        if let Err(why) = self.may_block_range(&range.value, evidence) {
            self.refusals.push(format!("No block is proposed for {value}: {why}."));
            return Vec::new();
        }
        let others: u64 = evidence.others.iter().filter(|(n, _)| n.starts_with(&range.value)).map(|(_, n)| n).sum();
        let beside = match others {
            0 => "No other call of that time, or of the day before, came from there.".to_owned(),
            n => format!(
                "{} of that time and the day before came from there too and would be blocked.",
                count(n, "other call", "other calls")
            ),
        };
        let why = format!(
            "{} came from numbers that begin so. {beside}",
            capital(&share(range.count, evidence.draft.calls, "calls"))
        );
        let what = format!("Block the range {value}.");
        self.block(&what, &why, &[(&value, range.count)], DAYS_OF_RANGES, "caller", blocking)
    }

    /// Puts values on the list that a rule blocks by, or makes a rule where there is none.
    fn block(
        &self,
        what: &str,
        why: &str,
        values: &[(&str, u64)],
        days: i64,
        field: &str,
        blocking: Option<Blocking<'_>>,
    ) -> Vec<Recommendation> {
        let until = edits::date(self.sources.now, days, &self.customer.time_zone);
        let (what, why) = (what.to_owned(), why.to_owned());
        let name = incident_id(self.incident);
        let Some(blocking) = blocking else {
            let description = format!("{name}: blocked until {until}, then take this rule out");
            let set = edits::set(values.iter().map(|(value, _)| *value));
            let (on, when) = match field {
                "source_ip" => (Some("request"), format!("source_ip in {set}")),
                _ => (None, format!("direction == inbound and {field} in {set}")),
            };
            return vec![self.new_rule(what, why, &description, on, &when)];
        };
        let category =
            if self.incident.target.iter().any(|(name, _)| name == "callee") { "Harassing" } else { "Fraud" };
        let line = |(value, n): &(&str, u64)| {
            let comment = format!("{name}: {}", count(*n, "call", "calls"));
            edits::list_line(&blocking.columns, value, &comment, category, &until)
        };
        let edit = values.iter().map(line).collect::<Vec<_>>().join("\n");
        let mut found = vec![Recommendation { what, file: blocking.file, edit, why, ..Recommendation::default() }];
        if blocking.rule.mode == Mode::Monitor {
            let why = format!(
                "Rule {} blocks by that list, and only watches: without this, the list blocks nobody.",
                blocking.rule.id
            );
            found.extend(self.enforce(&blocking.rule.id, why));
        }
        found
    }

    fn new_rule(&self, what: String, why: String, description: &str, on: Option<&str>, when: &str) -> Recommendation {
        let id = self.ruleset.free_id(&format!("fw-{}", incident_id(self.incident).to_lowercase()));
        let edit = edits::firewall(&id, on, description, when);
        let file = self.ruleset.file_for_firewall(self.sources.policy);
        Recommendation { what, file, edit, why, ..Recommendation::default() }
    }

    /// Passwords are tried: block where that comes from.
    fn addresses(&mut self, evidence: &Evidence<'_>) -> Vec<Recommendation> {
        let draft = &evidence.draft;
        let mut values = Vec::new();
        for address in draft.addresses.most(MOST_PERCENT, FINDINGS_BLOCKS_MAX) {
            match evidence.good_addresses.get(&address.value) {
                Some(n) => {
                    let good = count(*n, "good call or registration", "good calls and registrations");
                    let address = &address.value;
                    self.refusals.push(format!("No block is proposed for {address}: {good} came from there too."));
                }
                None if address.value.parse::<std::net::IpAddr>().is_ok() => values.push(address),
                None => {}
            }
        }
        if values.is_empty() {
            return Vec::new();
        }
        let sum: u64 = values.iter().map(|v| v.count).sum();
        let from = count(values.len() as u64, "address", "addresses");
        let why = format!("{} came from {from}, and nothing good did.", capital(&share(sum, draft.calls, "attempts")));
        let what = match values.as_slice() {
            [one] => format!("Block the address {}.", one.value),
            _ => format!("Block these {} addresses.", values.len()),
        };
        let values: Vec<(&str, u64)> = values.iter().map(|v| (v.value.as_str(), v.count)).collect();
        let blocking = self.blocking_addresses();
        self.block(&what, &why, &values, DAYS_OF_RANGES, "source_ip", blocking)
    }

    /// Somebody calls at our cost: no more calls from there to where these went.
    fn destinations(&mut self, evidence: &Evidence<'_>) -> Vec<Recommendation> {
        let draft = &evidence.draft;
        let accounts = draft.accounts.most(MOST_PERCENT, 3);
        let callers = draft.callers.most(MOST_PERCENT, 3);
        // A rule for few people may be wider than one for everybody.
        let is_for_few = !accounts.is_empty() || !callers.is_empty();
        let lengths: &[usize] = if is_for_few { &[7, 6, 5, 4] } else { &[7, 6] };
        let ranges = ranges(&evidence.calls, |call| &call.callee, lengths, FINDINGS_BLOCKS_MAX);
        let mut values = Vec::new();
        for range in &ranges {
            match self.may_block_range(&range.value, evidence) {
                Ok(()) => values.push(format!("{}*", range.value)),
                Err(why) => self.refusals.push(format!("No block is proposed for {}*: {why}.", range.value)),
            }
        }
        if values.is_empty() {
            return Vec::new();
        }
        let set = edits::set(values.iter().map(String::as_str));
        let named: Option<Vec<String>> = accounts.iter().map(|account| edits::literal(&account.value)).collect();
        let numbers: Option<Vec<String>> =
            callers.iter().map(|c| edits::number(&c.value).map(|n| n.to_string())).collect();
        let (who, by) = match (named.filter(|n| !n.is_empty()), numbers.filter(|n| !n.is_empty())) {
            (Some(names), _) => (
                format!("account {}", names.join(", ")),
                format!("account in {} and ", edits::set(names.iter().map(String::as_str))),
            ),
            (_, Some(names)) => {
                (names.join(", "), format!("caller in {} and ", edits::set(names.iter().map(String::as_str))))
            }
            _ => ("everybody".to_owned(), String::new()),
        };
        let sum: u64 = ranges.iter().map(|range| range.count).sum();
        let why = format!(
            "{} went there. Change the password of whoever made them as well.",
            capital(&share(sum, draft.calls, "calls"))
        );
        let until = edits::date(self.sources.now, DAYS_OF_NUMBERS, &self.customer.time_zone);
        let description = format!("{}: blocked until {until}, then take this rule out", incident_id(self.incident));
        let what = format!("Block calls of {who} to {}.", values.join(", "));
        vec![self.new_rule(what, why, &description, None, &format!("direction == outbound and {by}callee in {set}"))]
    }

    /// A number is called from everywhere: what can be told apart goes, or the calls go elsewhere.
    fn flooded(&self, callee: &Ranked, evidence: &Evidence<'_>) -> Recommendation {
        let (calls, all) = (&evidence.calls, evidence.draft.calls);
        let why = format!(
            "{} were to this number, from many different callers.",
            capital(&share(callee.count, all, "calls"))
        );
        let is_nearly_all = |is: fn(&Call) -> bool| {
            !calls.is_empty() && calls.iter().filter(|call| is(call)).count() * 100 >= calls.len() * NEARLY_ALL_PERCENT
        };
        let until = edits::date(self.sources.now, DAYS_OF_RANGES, &self.customer.time_zone);
        let name = incident_id(self.incident);
        let Some(number) = edits::number(&callee.value) else {
            return ask_carrier(&callee.value, why);
        };
        let to = format!("direction == inbound and callee == {number}");
        let description = format!("{name}: until {until}, then take this rule out");
        if is_nearly_all(|call| matches!(call.attestation.as_str(), "C" | "failed" | "none")) {
            let what = format!("Block calls to {number} whose caller no carrier vouches for.");
            let when = format!("{to} and attestation in {{C, failed, none}}");
            return self.new_rule(
                what,
                format!("{why} Nearly all of them show a number that no carrier vouches for."),
                &description,
                None,
                &when,
            );
        }
        if is_nearly_all(|call| call.caller.is_empty() || call.caller == "anonymous") {
            let what = format!("Block calls to {number} that withhold their number.");
            let why = format!("{why} Nearly all of them withhold their number.");
            return self.new_rule(what, why, &description, None, &format!("{to} and anonymous"));
        }
        let divert = self.sources.policy.firewall.iter().find_map(|rule| rule.divert_to.as_deref());
        let Some(target) = divert.and_then(edits::number).filter(|target| *target != number) else {
            return ask_carrier(&callee.value, why);
        };
        let what = format!("Divert calls to {number} to {target} while it lasts.");
        let mut found = self.new_rule(what, why, &description, None, &to);
        found.edit =
            found.edit.replace("action = \"block\"\n", &format!("action = \"divert\"\ndivert_to = \"{target}\"\n"));
        found
    }

    /// Crossed by little, and close to what is normal: raise the level.
    fn raise(&self, alerts: &[Alert], evidence: &Evidence<'_>) -> Vec<Recommendation> {
        let (Some(meter), Some(normal)) = (evidence.meter, evidence.normal()) else { return Vec::new() };
        let Some(Rule::Threshold(rule)) = evidence.lead().map(|rule| rule.rule) else { return Vec::new() };
        let is_critical = alerts.iter().any(|alert| alert.rule == rule.id && alert.is_critical);
        let critical = rule.levels.critical.as_ref();
        let (key, level) = match (is_critical, critical, rule.levels.warning.as_ref()) {
            (true, Some(critical), _) | (_, Some(critical), None) => ("critical", critical),
            (_, _, Some(warning)) => ("warning", warning),
            _ => return Vec::new(),
        };
        let (limit, peak) = (meter.shown(level.smallest().try_into().unwrap_or(u64::MAX)), meter.shown(evidence.peak));
        let is_slight = peak * 2.0 < limit * 3.0 && peak >= limit;
        if !is_slight || normal.p99 * 2.0 < limit || normal.keys < KEYS_MIN {
            return Vec::new();
        }
        let raised = (peak + 1.0).max(normal.p99 * 1.25).ceil();
        let mut why = format!(
            "The highest value was {}, little above the level of {}. Of {} keys that the same rule counted in that time and \
             the day before, half came no higher than {}, 99 in 100 no higher than {}, and none higher than {}.",
            amount(peak),
            amount(limit),
            normal.keys,
            amount(normal.median),
            amount(normal.p99),
            amount(normal.highest)
        );
        if self.sources.policy.customers.iter().count() > 1 {
            why.push_str(" The level is that of every customer.");
        }
        let mut found = Vec::from_iter(self.level(rule, key, meter, raised, why.clone()));
        let overtaken =
            critical.filter(|c| key == "warning" && meter.shown(c.smallest().try_into().unwrap_or(u64::MAX)) <= raised);
        if !found.is_empty() && overtaken.is_some() {
            found.extend(self.level(
                rule,
                "critical",
                meter,
                raised * 2.0,
                "It must not be below the warning.".to_owned(),
            ));
        }
        found
    }

    fn level(&self, rule: &ThresholdRule, key: &str, meter: Meter, raised: f64, why: String) -> Option<Recommendation> {
        let written = self.ruleset.key_of_rule(&rule.id, key)?;
        let unit = match meter.kind {
            Kind::Count | Kind::Distinct => "",
            Kind::Minutes => "m",
            Kind::Money => return None,
        };
        let level = format!(">= {raised}{unit}");
        let what = format!("Raise the {key} level of rule {} from {} to {level}.", rule.id, written.value);
        let edit = format!("{key} = \"{level}\"");
        Some(Recommendation {
            what,
            file: written.file,
            line: Some(written.line),
            replaces: Some(written.text),
            edit,
            why,
        })
    }

    /// It was no attack, and would be counted again: leave it out.
    fn exceptions(&self, alerts: &[Alert], draft: &Draft) -> Vec<Recommendation> {
        let Some(alert) = alerts.iter().max_by_key(|alert| (alert.rule == draft.series.rule, alert.count, -alert.id))
        else {
            return Vec::new();
        };
        let rule = self.sources.policy.threshold_of(&alert.rule, &alert.customer, alert.last);
        let (Some(rule), Some(key)) = (rule, edits::has_key(alert)) else { return Vec::new() };
        let until = edits::date(self.sources.now, DAYS_OF_NUMBERS * 3, &self.customer.time_zone);
        let owner = rule
            .owner
            .as_deref()
            .and_then(edits::literal)
            .map_or_else(|| "whoever adds it".to_owned(), |o| o.replace('"', ""));
        let note = format!(
            "# exception of {}: a false alarm; owner {owner}; look at it again by {until}",
            incident_id(self.incident)
        );
        let written = self.ruleset.key_of_rule(&rule.id, "where");
        let found = match written {
            // A text of several lines, or with quotes in it, is for a person.
            Some(where_) if where_.value.contains(['\'', '\n', '\r']) => None,
            Some(where_) => {
                let edit = format!("{note}\nwhere = '({}) and not ({key})'", where_.value);
                Some((where_, edit))
            }
            None => self.ruleset.key_of_rule(&rule.id, "id").map(|id| {
                let edit = format!("{}\n{note}\nwhere = 'not ({key})'", id.text);
                (id, edit)
            }),
        };
        let Some((written, edit)) = found else { return Vec::new() };
        let what = format!("Leave {} out of rule {}.", alert.key_text(), rule.id);
        let why = match self.incident.state {
            IncidentState::Dismissed => {
                "The incident was dismissed as a false alarm; the same calls would raise it again.".to_owned()
            }
            _ => format!("The alert came back {} times, and its calls look like people talking.", alert.n_flaps),
        };
        vec![Recommendation {
            what,
            file: written.file,
            line: Some(written.line),
            replaces: Some(written.text),
            edit,
            why,
        }]
    }

    /// The rule that found it tells nobody.
    fn enforce_rules(&self, draft: &Draft) -> Vec<Recommendation> {
        let monitors = draft.rules.iter().filter(|rule| rule.is_monitor);
        let why =
            |id: &str| format!("Rule {id} found it and only watches: by itself it tells nobody and blocks nothing.");
        monitors.filter_map(|rule| self.enforce(&rule.id, why(&rule.id))).collect()
    }

    fn enforce(&self, id: &str, why: String) -> Option<Recommendation> {
        let mode = self.ruleset.key_of_rule(id, "mode")?;
        let what = format!("Let rule {id} act.");
        let edit = "mode = \"enforce\"".to_owned();
        Some(Recommendation { what, file: mode.file, line: Some(mode.line), replaces: Some(mode.text), edit, why })
    }

    /// The list of a file that a rule blocks callers by.
    fn blocking(&self, which: Which) -> Option<Blocking<'a>> {
        self.blocking_by(&Operand::Field(Field::Party(which)), |content| matches!(content, ListContent::Numbers(_)))
    }

    fn blocking_addresses(&self) -> Option<Blocking<'a>> {
        self.blocking_by(&Operand::Field(Field::SourceIp), |content| matches!(content, ListContent::Addresses(_)))
            .filter(|blocking| blocking.rule.on == crate::policy::On::Request)
    }

    fn blocking_by(&self, by: &Operand, fits: fn(&ListContent) -> bool) -> Option<Blocking<'a>> {
        let policy = self.sources.policy;
        policy.firewall.iter().filter(|rule| rule.action == Action::Block).find_map(|rule| {
            let mut lists = Vec::new();
            asks(&rule.when, by, &mut lists);
            lists.into_iter().find_map(|list| {
                let is = policy.lists.get(list).filter(|list| fits(&list.content))?;
                let file = self.ruleset.file_of_list(&is.name)?;
                let columns = self.ruleset.columns(&file)?;
                Some(Blocking { file, columns, rule, list })
            })
        })
    }

    /// Whether a number may be proposed for a block; else why not.
    fn may_block(&self, value: &str, evidence: &Evidence<'_>, blocking: Option<&Blocking<'_>>) -> Result<(), String> {
        let number = edits::number(value).ok_or("it is no public number")?;
        if self.is_protected(number) {
            return Err("it is an own number or an emergency number".to_owned());
        }
        if evidence.own_seen.contains(value) {
            return Err("calls come in to it: it is one of the customer's own".to_owned());
        }
        let allowed =
            evidence.calls.iter().filter(|call| call.caller == value).find_map(|call| call.allowed_by.as_deref());
        if let Some(rule) = allowed {
            return Err(format!("rule {rule} lets it through on purpose"));
        }
        let list = blocking.and_then(|blocking| self.sources.policy.lists.get(blocking.list));
        match list.map(|list| &list.content) {
            Some(ListContent::Numbers(set)) if set.contains(number, self.sources.now) => {
                Err(format!("it is on list {} already", list.map_or("", |list| &list.name)))
            }
            _ => Ok(()),
        }
    }

    /// The same for all numbers that begin so.
    fn may_block_range(&self, digits: &str, evidence: &Evidence<'_>) -> Result<(), String> {
        let mut ends = [b'0', b'5', b'9'].into_iter().flat_map(|fill| (digits.len()..=15).map(move |len| (fill, len)));
        let is_own = ends.any(|(fill, len)| {
            let mut text = digits.as_bytes().to_vec();
            text.resize(len + 1, fill);
            text.get(1..).and_then(Number::e164).is_some_and(|number| self.is_protected(number))
        });
        let begins = |number: &str| number.starts_with(digits);
        if is_own || evidence.own_seen.iter().any(|number| begins(number)) {
            return Err("own numbers, or emergency numbers, begin so".to_owned());
        }
        let of_calls = evidence.calls.iter().filter(|call| begins(&call.caller) || begins(&call.callee));
        match of_calls.into_iter().find_map(|call| call.allowed_by.as_deref()) {
            Some(rule) => Err(format!("rule {rule} lets some of them through on purpose")),
            None => Ok(()),
        }
    }

    fn is_protected(&self, number: Number) -> bool {
        let names = self.sources.names;
        let customer = names.customer(&self.incident.customer).unwrap_or_default();
        let event = CallEvent { customer, time: self.sources.now, ..CallEvent::BLANK };
        let (batch, nothing) = (Batch::default(), DynamicLists::default());
        let view = View { event: &event, batch: &batch, policy: self.sources.policy, names, dynamic: &nothing };
        self.sources.policy.is_protected(number, &view)
    }
}

/// The longest beginnings of numbers, of these lengths, of which few make most of the calls.
fn ranges(calls: &[Call], number: fn(&Call) -> &str, lengths: &[usize], n_max: usize) -> Vec<Ranked> {
    let of = |digits: usize| {
        let ranking = Ranking::of(calls.iter().filter_map(|call| tally::prefix(number(call), digits)));
        let most = ranking.most(MOST_PERCENT, n_max).to_vec();
        // Numbers that are shorter, or withheld, count against it.
        let sum: u64 = most.iter().map(|ranked| ranked.count).sum();
        (sum * 100 >= calls.len() as u64 * MOST_PERCENT).then_some(most)
    };
    lengths.iter().find_map(|digits| of(*digits)).unwrap_or_default()
}

/// Lists whose members alone make the condition true, so far as it looks at them.
fn asks(when: &Predicate, by: &Operand, lists: &mut Vec<usize>) {
    match when {
        Predicate::All(parts) | Predicate::Any(parts) => parts.iter().for_each(|part| asks(part, by, lists)),
        Predicate::List(operand, list) if operand == by => lists.push(*list),
        _ => {}
    }
}

/// An alert that comes back again and again, of calls in which people talk.
fn is_ordinary(alerts: &[Alert], calls: &[Call]) -> bool {
    let mut talks: Vec<i64> = calls.iter().filter_map(|call| call.duration_ms.filter(|_| call.is_answered)).collect();
    talks.sort_unstable();
    let median = talks.get(talks.len() / 2).copied().unwrap_or(0);
    // Calls out may be talks that somebody is paid for.
    let comes_in =
        !calls.is_empty() && calls.iter().all(|call| call.direction == "inbound" && call.blocked_by.is_none());
    alerts.iter().any(|alert| alert.is_flapping)
        && comes_in
        && talks.len() * 100 >= calls.len() * ANSWERED_PERCENT
        && median >= TALK_MS
}

fn ask_carrier(callee: &str, why: String) -> Recommendation {
    let what = format!("Ask the carrier to limit calls to {callee}, or to send them elsewhere while it lasts.");
    Recommendation { what, why: format!("{why} Nothing tells these calls from others."), ..Recommendation::default() }
}

fn incident_id(incident: &Incident) -> String {
    crate::incident::incident_name(incident.id)
}

pub(super) fn count(n: u64, one: &str, many: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {many}") }
}

/// `all 90 calls`, `25 of the 40 calls`
fn share(n: u64, all: u64, what: &str) -> String {
    if n == all { format!("all {all} {what}") } else { format!("{n} of the {all} {what}") }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(chars).collect()
}

/// A number as people write it: whole where it is whole.
pub(super) fn amount(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}
