//! `except`, `mute` and `[[exception]]`: from tables of a rule file, or of a customer's, to what a rule leaves alone.

use std::collections::HashMap;
use std::sync::Arc;

use super::concern::{Concern, Exception, Exceptions};
use super::document::{Document, Key, Section, short};
use super::expression::{Scope, compile_condition};
use super::lists::expiry;
use super::problem::{Place, Problem, suggest};
use super::rules::{Compiler, Written, WrittenRules, on_of, origin};
use super::{On, tables};
use crate::clock::Timestamp;
use crate::limits::EXCEPTIONS_MAX;

/// What `[[exception]]` of customers' files says of each rule.
pub(crate) type OfCustomers = HashMap<String, Vec<OfCustomer>>;

/// One `[[exception]]`.
pub(crate) struct OfCustomer {
    customer: String,
    is_mute: bool,
    exception: Arc<Exception>,
}

/// The exceptions of customers' files, by rule.
pub(crate) fn of_customers(
    documents: &[(&str, &Document<'_>)],
    written: &WrittenRules<'_, '_>,
    compiler: &mut Compiler<'_>,
) -> OfCustomers {
    let mut found = OfCustomers::new();
    for (customer, document) in documents {
        for section in document.table().sections(&tables::EXCEPTION, compiler.problems) {
            let section = section.named("the exception").keyed(tables::EXCEPTION_KEYS);
            section.check_keys(compiler.problems);
            let kinds = [("except", false), ("mute", true)];
            let is_mute = section.word(&tables::KIND, &kinds, compiler.problems).unwrap_or(false);
            let rule = section.required_text(&tables::RULE, compiler.problems);
            let rule = rule.and_then(|text| compiler.rule_named("exception", &section, &text, written));
            let on = rule.and_then(|rule| on_of(&rule.section, rule.is_firewall));
            let on_place = rule.and_then(|rule| Compiler::on_place(&rule.section));
            let exception = compiler.exception(&section, on, on_place.as_ref());
            let Some((rule, exception)) = rule.zip(exception) else { continue };
            if is_mute && rule.is_firewall {
                let message = "`mute` is for thresholds: a firewall rule tells nobody of what it does not match";
                let problem = section.problem("E008", message, section.key_span(tables::KIND.name));
                compiler.problems.push(problem.help("use kind = \"except\""));
                continue;
            }
            let exception = OfCustomer { customer: (*customer).to_owned(), is_mute, exception: Arc::new(exception) };
            found.entry(rule.id().to_owned()).or_default().push(exception);
        }
    }
    found
}

impl Compiler<'_> {
    /// The rule that a table of a customer, or an override, names.
    pub(crate) fn rule_named<'w, 'd, 't>(
        &mut self,
        what: &str,
        section: &Section<'_, '_>,
        text: &super::document::TextValue<'_>,
        written: &'w WrittenRules<'d, 't>,
    ) -> Option<&'w Written<'d, 't>> {
        let found = written.find(text.value);
        if found.is_none() {
            let named = short(text.value);
            let message = match suggest(text.value, written.all.iter().map(Written::id)) {
                Some(near) => format!("{what} for unknown rule \"{named}\"; did you mean \"{near}\"?"),
                None => format!("{what} for unknown rule \"{named}\""),
            };
            self.problems.push(section.problem("E050", message, text.span.clone()));
        }
        found
    }

    /// Whom the rule concerns: what its table says, and what customers' files add.
    pub(crate) fn concern(&mut self, section: &Section<'_, '_>, on: Option<On>) -> Concern {
        let on_place = Self::on_place(section);
        let mut concern = Concern { customers: self.customers_of(section), ..Concern::default() };
        for (key, into) in [(&tables::EXCEPT, &mut concern.except), (&tables::MUTE, &mut concern.mute)] {
            let value = section.value(key.name).filter(|value| !value.get_ref().is_array());
            if let Some(value) = value {
                self.problems.push(section.wrong_type(key.name, value, "an array of tables", key.example));
                continue;
            }
            let entries = section.sections(key, self.problems);
            if entries.len() > EXCEPTIONS_MAX {
                let message = format!("{} entries of `{}`, limit is {EXCEPTIONS_MAX}", entries.len(), key.name);
                let problem = section.problem("E027", message, section.key_span(key.name));
                self.problems.push(problem.help("put the values on a list: where = 'caller in $known_callers'"));
            }
            for entry in entries.into_iter().take(EXCEPTIONS_MAX) {
                let entry = entry.named(format!("an entry of `{}`", key.name)).keyed(tables::EXCEPT_KEYS);
                entry.check_keys(self.problems);
                let exception = self.exception(&entry, on, on_place.as_ref());
                exception.into_iter().for_each(|exception| into.add(Arc::new(exception)));
            }
        }
        let id = section.value(tables::ID.name).and_then(|value| value.get_ref().as_str());
        let of_customers = id.and_then(|id| self.exceptions.get(id)).map(Vec::as_slice).unwrap_or_default();
        let is_its = |of: &&OfCustomer| self.variant_of.as_ref().is_none_or(|customer| of.customer == *customer);
        for OfCustomer { customer, is_mute, exception } in of_customers.iter().filter(is_its) {
            let into: &mut Exceptions = if *is_mute { &mut concern.mute } else { &mut concern.except };
            into.add_for(customer, Arc::clone(exception));
        }
        concern
    }

    /// One entry; `None` where it cannot be used. Without `on`, of a rule that is wrong itself, it is read all the same.
    fn exception(&mut self, entry: &Section<'_, '_>, on: Option<On>, on_place: Option<&Place>) -> Option<Exception> {
        if entry.lacks(&tables::EXPIRES) {
            let message = format!("{} has no `expires`: it lasts until somebody takes it out", entry.named);
            let problem = Problem::warning("W103", message).at(entry.document.path, entry.span.clone());
            self.problems.push(problem.help(format!("add the last day that it is for: {}", tables::EXPIRES.example)));
        }
        let until = self.expires(entry);
        let reason = self.reason(entry);
        let mut text = |key: &Key| entry.text(key, self.problems).map(|text| text.value.to_owned());
        let (owner, ticket) = (text(&tables::OWNER), text(&tables::TICKET));
        let condition = entry.required_text(&tables::WHERE, self.problems)?;
        let scope = Scope { on, on_place, ..self.declared.scope() };
        let condition = compile_condition(condition.value, &origin(entry, &condition), &scope, self.problems)?;
        on?;
        Some(Exception { condition, reason: reason?, owner, ticket, until: until.ok()? })
    }

    /// `reason`: without one nobody knows next year whether it may go.
    pub(crate) fn reason(&mut self, section: &Section<'_, '_>) -> Option<String> {
        let reason = section.required_text(&tables::REASON, self.problems)?;
        if reason.value.trim().is_empty() {
            let problem = section.problem("E006", "`reason` says nothing", reason.span);
            self.problems.push(problem.help(format!("write: {}", tables::REASON.example)));
            return None;
        }
        Some(reason.value.to_owned())
    }

    /// `expires`: the instant at which the last day that counts is over.
    pub(crate) fn expires(&mut self, section: &Section<'_, '_>) -> Result<Option<Timestamp>, ()> {
        if !section.has(tables::EXPIRES.name) {
            return Ok(None);
        }
        let text = section.text(&tables::EXPIRES, self.problems).ok_or(())?;
        match expiry(text.value, &self.settings.time_zone) {
            Ok(until) => {
                if self.now.is_some_and(|now| until <= now) {
                    let message = format!("{} expired: it has no effect on calls of today", section.named);
                    let problem = Problem::warning("W109", message).at(section.document.path, text.span);
                    let note = "a replay of calls of its time goes by it still";
                    self.problems.push(problem.note(note).help("take it out, or give it another day"));
                }
                Ok(Some(until))
            }
            Err(message) => {
                let problem = section.problem("E006", message, text.span);
                self.problems.push(problem.help(format!("write: {}", tables::EXPIRES.example)));
                Err(())
            }
        }
    }

    /// `customers`; in a customer's own file the one whose it is.
    fn customers_of(&mut self, section: &Section<'_, '_>) -> Option<Box<[String]>> {
        if let Some(owner) = self.owner {
            if section.has(tables::CUSTOMERS.name) {
                let message = format!("a rule of this file is for `{owner}` alone: `customers` says nothing here");
                let problem = section.problem("E008", message, section.key_span(tables::CUSTOMERS.name));
                self.problems.push(problem.help("take it out, or move the rule to a file of ips/ or firewall/"));
            }
            return Some([owner.to_owned()].into());
        }
        let texts = section.texts(&tables::CUSTOMERS, self.problems)?;
        if texts.is_empty() {
            let message = "`customers` is empty: the rule would be for nobody";
            let problem = section.problem("E006", message, section.key_span(tables::CUSTOMERS.name));
            self.problems.push(problem.help("name some, leave the key out, or write mode = \"off\""));
        }
        let mut customers = Vec::new();
        for text in texts {
            if self.is_customer(section, &text) {
                customers.push(text.value.to_owned());
            }
        }
        customers.sort_unstable();
        customers.dedup();
        Some(customers.into())
    }

    /// Notes a customer that nobody is, where the customers have files.
    pub(crate) fn is_customer(&mut self, section: &Section<'_, '_>, text: &super::document::TextValue<'_>) -> bool {
        let known = self.customers;
        if !known.is_closed || known.ids.contains(text.value) {
            return true;
        }
        let named = short(text.value);
        let message = match suggest(text.value, known.ids.iter().copied()) {
            Some(near) => format!("unknown customer `{named}`; did you mean `{near}`?"),
            None => format!("unknown customer `{named}`"),
        };
        let problem = section.problem("E038", message, text.span.clone());
        self.problems.push(problem.help(format!("a customer has a file: customers/{named}.toml")));
        false
    }
}

#[cfg(test)]
mod tests {
    use super::super::{LoadOptions, RuleSource, load};
    use super::*;

    const RULES: &str = r#"
ringfence = 1
default_action = "allow"
time_zone = "Europe/Stockholm"
[[threshold]]
id = "ips-a"
on = "attempt"
measure = "count"
per = ["caller"]
window = "1m"
warning = ">= 5"
mute = [{ where = 'trunk == "a"', reason = "drill", expires = "2026-03-28" }]
[[override]]
customer = "acme"
rule = "ips-a"
reason = "large"
warning = ">= 9"
expires = "2026-03-28"
"#;

    #[test]
    fn the_last_day_counts_in_the_zone_of_the_rules_and_what_is_over_is_told() {
        // Saturday the 28th is the last day of winter time: it ends at 23:00 UTC.
        let end: Timestamp = Timestamp("2026-03-28T23:00:00Z".parse::<jiff::Timestamp>().unwrap().as_millisecond());
        let codes = |now: Timestamp| {
            let loaded = load(&RuleSource::memory([("ruleset.toml", RULES)]), LoadOptions { now: Some(now) });
            let policy = loaded.policy.unwrap();
            let [base, variant] = policy.thresholds.as_slice() else { panic!("a rule and its variant") };
            assert_eq!(base.concern.mute.iter().map(|(_, mute)| mute.until).collect::<Vec<_>>(), [Some(end)]);
            assert!(variant.concern.is_of("acme", end.plus_ms(-1)) && !base.concern.is_of("acme", end.plus_ms(-1)));
            assert!(!variant.concern.is_of("acme", end) && base.concern.is_of("acme", end));
            assert!(!variant.concern.is_of("other", end) && base.concern.is_of("other", end));
            assert_eq!((variant.concern.name("ips-a").as_str(), variant.position), ("ips-a for acme", base.position));
            assert_eq!(variant.concern.mute.iter().count(), 1, "what the rule mutes, its variant mutes");
            loaded.problems.iter().map(|p| p.code).collect::<Vec<_>>()
        };
        assert_eq!(codes(end.plus_ms(-1)), [""; 0]);
        assert_eq!(codes(end), ["W109", "W109"]);
    }

    #[test]
    fn a_rule_that_is_off_can_be_in_force_for_one_customer_and_the_other_way_round() {
        let load_with = |mode: &str, change: &str| {
            let rules = RULES
                .replace("window =", &format!("mode = \"{mode}\"\nwindow ="))
                .replace("warning = \">= 9\"", change);
            load(&RuleSource::memory([("ruleset.toml", rules)]), LoadOptions::default()).policy.unwrap().thresholds
        };
        let now = Timestamp(0);
        let only = load_with("off", "mode = \"enforce\"");
        assert!(matches!(only.as_slice(), [one] if one.concern.is_of("acme", now) && !one.concern.is_of("other", now)));
        let others = load_with("enforce", "mode = \"off\"");
        assert!(
            matches!(others.as_slice(), [one] if !one.concern.is_of("acme", now) && one.concern.is_of("other", now))
        );
    }
}
