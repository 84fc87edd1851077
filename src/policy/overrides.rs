//! `[[override]]`: other levels, or another mode, of a rule for one customer.
//!
//! An override compiles to a variant: a rule of the same id and place that concerns that customer alone, while the rule
//! itself no longer does. It is made by compiling the rule's own table once more, with what the override says in place of
//! what stands there, so that a variant can be nothing that a rule could not be.

use std::collections::HashMap;

use super::concern::{Concern, Variant};
use super::document::{Document, Section, short};
use super::problem::Place;
use super::rules::{Compiler, Rules, Written, WrittenRules};
use super::{FirewallRule, Mode, ThresholdRule, tables, thresholds};

/// Where the override of a rule for a customer stands.
type Taken = HashMap<(String, String), Place>;

/// Compiles the overrides of all files into variants, beside the rules that are there.
pub(crate) fn compile<'c>(
    documents: &[(Option<&str>, &Document<'_>)],
    written: &WrittenRules<'c, '_>,
    compiler: &mut Compiler<'c>,
    rules: &mut Rules,
) {
    let mut taken = Taken::new();
    for (owner, document) in documents {
        for section in document.table().sections(&tables::OVERRIDE, compiler.problems) {
            let rule = section.value(tables::RULE.name).and_then(|value| value.get_ref().as_str());
            let named = rule.map_or("the override".to_owned(), |rule| format!("the override of {}", short(rule)));
            let section = section.named(named).keyed(tables::OVERRIDE_KEYS);
            compiler.override_of(*owner, &section, written, &mut taken, rules);
        }
    }
}

impl<'c> Compiler<'c> {
    fn override_of(
        &mut self,
        owner: Option<&str>,
        over: &Section<'_, '_>,
        written: &WrittenRules<'c, '_>,
        taken: &mut Taken,
        rules: &mut Rules,
    ) {
        self.override_keys(over);
        let customer = self.override_customer(owner, over);
        let rule = over.required_text(&tables::RULE, self.problems);
        let place = rule.as_ref().map(|text| Place::new(over.document.path, text.span.clone()));
        let rule = rule.and_then(|text| self.rule_named("override", over, &text, written));
        let reason = self.reason(over);
        let ticket = over.text(&tables::TICKET, self.problems).map(|text| text.value.to_owned());
        let until = self.expires(over);
        let (Some(customer), Some(rule), Some(place)) = (customer, rule, place) else { return };
        if !self.fits(over, rule, &customer) || !self.is_first(rule, &customer, place, taken) {
            return;
        }
        let variant = Variant { reason: reason.unwrap_or_default(), ticket, until: until.unwrap_or_default() };
        // What is wrong with the rule itself is told already.
        let told = std::mem::take(self.problems);
        self.variant(rule, over, &customer, variant, rules);
        let new = std::mem::replace(self.problems, told);
        let place = format!("as the override for `{customer}` in {} has it", over.document.path);
        for problem in new {
            if !self.problems.contains(&problem) {
                self.problems.push(problem.note(&place));
            }
        }
    }

    /// Keys that an override does not have; a key of the rule that it must not change is told as that.
    fn override_keys(&mut self, over: &Section<'_, '_>) {
        let before = self.problems.len();
        over.check_keys(self.problems);
        let is_of_rules = |name: &str| {
            let mut keys = tables::THRESHOLD_KEYS.iter().chain(tables::FIREWALL_KEYS);
            keys.any(|key| key.name == name)
        };
        for (name, span, _) in over.keys() {
            let is_told = |problem: &super::Problem| problem.place.as_ref().is_some_and(|at| at.span == span);
            let at = self.problems.iter().skip(before).position(is_told);
            if let Some(at) = at.filter(|_| is_of_rules(name)) {
                let problem = over.problem("E039", format!("an override cannot change `{name}`"), span);
                let changes: Vec<&str> = tables::OVERRIDE_CHANGES.iter().map(|key| key.name).collect();
                let problem = problem
                    .note(format!("it takes: {}", changes.join(", ")))
                    .help("write a rule of the customer's own, and `customers` or an exception at this one");
                self.problems.splice(before + at..=before + at, [problem]);
            }
        }
        if !tables::OVERRIDE_CHANGES.iter().any(|key| over.has(key.name)) && self.problems.len() == before {
            let problem = over.problem("E039", "the override changes nothing", over.span.clone());
            self.problems.push(problem.help("add a line such as: warning = \">= 214\""));
        }
    }

    /// Whose it is: in a customer's file that customer's.
    fn override_customer(&mut self, owner: Option<&str>, over: &Section<'_, '_>) -> Option<String> {
        let Some(owner) = owner else {
            let text = over.required_text(&tables::CUSTOMER, self.problems)?;
            return self.is_customer(over, &text).then(|| text.value.to_owned());
        };
        if let Some(text) = over.text(&tables::CUSTOMER, self.problems)
            && text.value != owner
        {
            let message = format!("the override is for `{}`, the file is of `{owner}`", text.value);
            let problem = over.problem("E039", message, text.span);
            self.problems.push(problem.help("leave `customer` out, or move the override to the other file"));
            return None;
        }
        if self.customers.is_closed && !self.customers.ids.contains(owner) {
            // Of a file beside that of a customer, who has none.
            let problem = over.problem("E038", format!("unknown customer `{owner}`"), over.span.clone());
            self.problems.push(problem.help(format!("a customer has a file: customers/{owner}.toml")));
            return None;
        }
        Some(owner.to_owned())
    }

    /// The rule is one that the customer has, and of the kind that has these keys.
    fn fits(&mut self, over: &Section<'_, '_>, rule: &Written<'_, '_>, customer: &str) -> bool {
        let before = self.problems.len();
        if rule.owner.is_some_and(|owner| owner != customer) {
            let message = format!("{} is a rule of another customer", rule.id());
            let problem = over.problem("E039", message, over.key_span(tables::RULE.name));
            let place = (rule.section.document.path, rule.section.span.clone());
            self.problems.push(problem.context(place.0, place.1, "it stands here"));
        }
        let is_known = |name: &str| match rule.is_firewall {
            true => [&tables::MODE, &tables::ACTIVE].iter().any(|key| key.name == name),
            false => true,
        };
        for key in tables::OVERRIDE_CHANGES.iter().filter(|key| over.has(key.name) && !is_known(key.name)) {
            let message = format!("`{}` is a key of thresholds, and {} is a firewall rule", key.name, rule.id());
            let problem = over.problem("E008", message, over.key_span(key.name));
            self.problems.push(problem.help("an override of a firewall rule takes `mode` and `active`"));
        }
        self.problems.len() == before
    }

    fn is_first(&mut self, rule: &Written<'_, '_>, customer: &str, place: Place, taken: &mut Taken) -> bool {
        let of = (rule.id().to_owned(), customer.to_owned());
        if let Some(first) = taken.get(&of) {
            let message = format!("{} is overridden twice for `{customer}`", rule.id());
            let problem = super::Problem::error("E007", message).at(&place.path, place.span);
            self.problems.push(problem.context(&first.path, first.span.clone(), "first here"));
            return false;
        }
        taken.insert(of, place);
        true
    }

    /// Puts the variant beside its rule, which from then on spares the customer.
    fn variant(
        &mut self,
        rule: &Written<'c, '_>,
        over: &Section<'_, '_>,
        customer: &str,
        variant: Variant,
        rules: &mut Rules,
    ) {
        let again = variant.until;
        (self.owner, self.variant_of) = (rule.owner, Some(customer.to_owned()));
        let is_base = |concern: &Concern, position: u32| position == rule.position && concern.variant.is_none();
        if rule.is_firewall {
            if let Some(made) = self.firewall(&rule.section, Some(over), rule.position) {
                let base = rules.firewall.iter_mut().find(|base| is_base(&base.concern, base.position));
                base.into_iter().for_each(|base| base.concern.spare(customer, again));
                let made = FirewallRule { concern: made.concern.of_variant(customer, variant), ..made };
                rules.firewall.extend(Some(made).filter(|made| made.mode != Mode::Off));
            }
        } else if let Some(made) = thresholds::compile(self, &rule.section, Some(over), rule.position, rules) {
            let base = rules.thresholds.iter_mut().find(|base| is_base(&base.concern, base.position));
            base.into_iter().for_each(|base| base.concern.spare(customer, again));
            let made = ThresholdRule { concern: made.concern.of_variant(customer, variant), ..made };
            rules.thresholds.extend(Some(made).filter(|made| made.mode != Mode::Off));
        }
        self.variant_of = None;
    }
}
