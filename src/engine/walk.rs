//! Which rules an event may meet: those of everybody and those of its customer, found without looking at the others.
//!
//! A rule whose condition begins with a text that must be equal (`trunk == "pstn-1"`) is found by that text, where there
//! are enough of its kind. What is left out here could only have said no. Rules come in evaluation order.

use std::ops::ControlFlow;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use hashbrown::HashMap;

use crate::clock::Timestamp;
use crate::event::{CustomerId, Field, Names};
use crate::limits::NAMES_MAX;
use crate::policy::{Concern, Operand, Predicate, View};

/// Fields by which rules are found.
const FIELDS: [Field; 4] = [Field::Trunk, Field::Account, Field::Gateway, Field::Customer];
/// Rules of one field from which on a look-up costs less than asking each.
const GUARDED_MIN: usize = 8;
/// A condition that takes more texts than these is asked as it is.
const TEXTS_MAX: usize = 64;

/// When firewall rules run; the index of their listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Attempt,
    Answer,
    End,
    Request,
}

/// A rule as it is laid out here.
pub(crate) struct Rule<'p> {
    pub(crate) number: u16,
    pub(crate) concern: &'p Concern,
    pub(crate) condition: Option<&'p Predicate>,
}

/// The rules of a policy, by whom they concern.
#[derive(Debug)]
pub(crate) struct Walks {
    everybody: Stages,
    own: Vec<Own>,
    /// Index into `own`, by the customer's name.
    by_name: HashMap<String, u32>,
    /// What `by_name` says, by the customer's id: 0 before it was asked, 1 for nothing, else the index and 2. Ids are given
    /// as events bring names, so nobody knows them beforehand. Empty where `own` is.
    known: Box<[OnceLock<Page>]>,
}

/// What one customer has of its own.
#[derive(Debug, Default)]
struct Own {
    stages: Stages,
    firewall: Box<[Bound]>,
    thresholds: Box<[Bound]>,
}

/// A rule that this customer does not always have. By the rule's number.
#[derive(Clone, Copy, Debug)]
struct Bound {
    rule: u16,
    from: Timestamp,
    until: Timestamp,
}

/// Rules by what an event is.
#[derive(Debug, Default)]
struct Stages {
    /// Counters of thresholds, by `Kind as usize`.
    thresholds: Vec<Listing>,
    /// By `Stage as usize`.
    firewall: Vec<Listing>,
    /// Counters of the calls that are up.
    calls: Listing,
}

/// Rules in evaluation order, but for those that are found by a text.
#[derive(Debug, Default)]
struct Listing {
    rules: Box<[u16]>,
    guarded: Box<[(Field, ByText)]>,
}

/// What is known of customers whose ids follow each other.
type Page = Box<[AtomicU32]>;
const PAGE: usize = 1024;

type ByText = HashMap<Box<[u8]>, Vec<u16>>;

/// Lists of rules that are walked together: of everybody and of one customer, each with those of its fields.
const HEADS: usize = 2 * (1 + FIELDS.len());

/// The rules that an event may meet.
pub(crate) struct Met<'a> {
    heads: [&'a [u16]; HEADS],
    n: usize,
    bounds: &'a [Bound],
    at: Timestamp,
}

impl Iterator for Met<'_> {
    type Item = u16;

    #[inline]
    fn next(&mut self) -> Option<u16> {
        loop {
            let rule = self.first()?;
            if self.bounds.is_empty() {
                return Some(rule);
            }
            match self.bounds.binary_search_by_key(&rule, |bound| bound.rule) {
                Ok(found) if !self.bounds.get(found).is_some_and(|b| b.from <= self.at && self.at < b.until) => {}
                _ => return Some(rule),
            }
        }
    }
}

impl<'a> Met<'a> {
    /// Takes the lowest of all heads.
    #[inline]
    fn first(&mut self) -> Option<u16> {
        let heads = self.heads.get_mut(..self.n)?;
        if let [only] = heads {
            let (first, rest) = only.split_first()?;
            *only = rest;
            return Some(*first);
        }
        let (at, _) =
            heads.iter().enumerate().min_by_key(|(_, head)| head.first().copied().map_or(u32::MAX, u32::from))?;
        let (first, rest) = heads.get(at)?.split_first()?;
        *heads.get_mut(at)? = rest;
        Some(*first)
    }

    fn add(&mut self, rules: &'a [u16]) {
        if let Some(head) = self.heads.get_mut(self.n).filter(|_| !rules.is_empty()) {
            *head = rules;
            self.n += 1;
        }
    }

    fn add_listing(&mut self, listing: &'a Listing, view: &View<'_>) {
        self.add(&listing.rules);
        for (field, by_text) in &listing.guarded {
            let found = Operand::Field(*field).with_text(view, |text| by_text.get(text));
            self.add(found.flatten().map_or(&[], Vec::as_slice));
        }
    }
}

impl Walks {
    /// `thresholds` of each kind of event, `firewall` of each stage, and `calls`: all rules that may be met then, in
    /// evaluation order.
    pub(crate) fn new(thresholds: &[Vec<Rule<'_>>], firewall: &[Vec<Rule<'_>>], calls: &[Rule<'_>]) -> Walks {
        let mut by_name: HashMap<String, u32> = HashMap::new();
        for rule in thresholds.iter().chain(firewall).flatten().chain(calls) {
            for customer in rule.concern.customers.iter().flatten().chain(rule.concern.spared.keys()) {
                let next = by_name.len() as u32;
                by_name.entry_ref(customer.as_str()).or_insert(next);
            }
        }
        let stages = || Stages {
            thresholds: thresholds.iter().map(|_| Listing::default()).collect(),
            firewall: firewall.iter().map(|_| Listing::default()).collect(),
            calls: Listing::default(),
        };
        let mut own: Vec<Own> = by_name.iter().map(|_| Own { stages: stages(), ..Own::default() }).collect();
        let mut everybody = stages();
        let mut lay = |rules: &[Rule<'_>], place: &dyn Fn(&mut Stages) -> Option<&mut Listing>| {
            let mut of: HashMap<Option<u32>, Vec<&Rule<'_>>> = HashMap::new();
            for rule in rules {
                match rule.concern.customers.as_deref() {
                    None => of.entry(None).or_default().push(rule),
                    Some(customers) => customers.iter().for_each(|customer| {
                        of.entry(by_name.get(customer).copied()).or_default().push(rule);
                    }),
                }
            }
            for (whose, rules) in of {
                let stages = match whose {
                    None => Some(&mut everybody),
                    Some(whose) => own.get_mut(whose as usize).map(|own| &mut own.stages),
                };
                if let Some(listing) = stages.and_then(place) {
                    *listing = Listing::new(&rules);
                }
            }
        };
        for (kind, rules) in thresholds.iter().enumerate() {
            lay(rules, &|stages| stages.thresholds.get_mut(kind));
        }
        for (stage, rules) in firewall.iter().enumerate() {
            lay(rules, &|stages| stages.firewall.get_mut(stage));
        }
        lay(calls, &|stages| Some(&mut stages.calls));
        for (name, whose) in &by_name {
            if let Some(own) = own.get_mut(*whose as usize) {
                own.firewall = bounds(firewall.iter().flatten(), name);
                own.thresholds = bounds(thresholds.iter().flatten().chain(calls), name);
            }
        }
        let n_pages = if own.is_empty() { 0 } else { NAMES_MAX.div_ceil(PAGE) };
        let known = (0..n_pages).map(|_| OnceLock::new()).collect();
        Walks { everybody, own, by_name, known }
    }

    fn own(&self, customer: CustomerId, names: &Names) -> Option<&Own> {
        let page = self.known.get(customer.0 as usize / PAGE)?;
        let page = page.get_or_init(|| (0..PAGE).map(|_| AtomicU32::new(0)).collect());
        let known = page.get(customer.0 as usize % PAGE)?;
        let mut place = known.load(Ordering::Relaxed);
        if place == 0 {
            place = self.by_name.get(names.customer_text(customer)).map_or(1, |own| own + 2);
            // Whoever comes first says the same.
            known.store(place, Ordering::Relaxed);
        }
        self.own.get(place.checked_sub(2)? as usize)
    }

    /// Counters of the thresholds that count events of this kind.
    #[inline]
    pub(crate) fn each_threshold(&self, view: &View<'_>, mut visit: impl FnMut(u16)) {
        let kind = view.event.kind as usize;
        let mut go_on = |rule| {
            visit(rule);
            ControlFlow::<()>::Continue(())
        };
        self.each(view, |stages| stages.thresholds.get(kind), |own| &own.thresholds, &mut go_on);
    }

    /// Firewall rules that run now, until one has decided.
    #[inline]
    pub(crate) fn each_firewall<B>(
        &self,
        stage: Stage,
        view: &View<'_>,
        mut visit: impl FnMut(u16) -> ControlFlow<B>,
    ) -> Option<B> {
        self.each(view, |stages| stages.firewall.get(stage as usize), |own| &own.firewall, &mut visit)
    }

    #[inline]
    fn each<'a, B>(
        &'a self,
        view: &View<'_>,
        listing: impl Fn(&'a Stages) -> Option<&'a Listing>,
        bounds: impl Fn(&'a Own) -> &'a [Bound],
        visit: &mut impl FnMut(u16) -> ControlFlow<B>,
    ) -> Option<B> {
        // Most sets have neither customers' rules nor many of one trunk: nothing is put together for them.
        let all = listing(&self.everybody)?;
        if self.own.is_empty() && all.guarded.is_empty() {
            return all.rules.iter().find_map(|rule| visit(*rule).break_value());
        }
        let mut met = self.met(view, listing, bounds);
        met.find_map(|rule| visit(rule).break_value())
    }

    /// Counters of the thresholds that count calls that are up.
    pub(crate) fn calls(&self, view: &View<'_>) -> Met<'_> {
        self.met(view, |stages| Some(&stages.calls), |own| &own.thresholds)
    }

    #[inline]
    fn met<'a>(
        &'a self,
        view: &View<'_>,
        listing: impl Fn(&'a Stages) -> Option<&'a Listing>,
        bounds: impl Fn(&'a Own) -> &'a [Bound],
    ) -> Met<'a> {
        let mut met = Met { heads: [&[]; HEADS], n: 0, bounds: &[], at: view.event.time };
        if let Some(listing) = listing(&self.everybody) {
            met.add_listing(listing, view);
        }
        if let Some(own) = self.own(view.event.customer, view.names) {
            met.bounds = bounds(own);
            if let Some(listing) = listing(&own.stages) {
                met.add_listing(listing, view);
            }
        }
        met
    }
}

/// The rules that a customer has only for a time, or no more, or not at all.
fn bounds<'p>(rules: impl Iterator<Item = &'p Rule<'p>>, customer: &str) -> Box<[Bound]> {
    let mut found = std::collections::BTreeMap::new();
    for Rule { number, concern, .. } in rules.filter(|rule| rule.concern.names(customer)) {
        let from = concern.spared.get(customer).map(|again| again.unwrap_or(Timestamp::MAX));
        let until = concern.variant.as_ref().and_then(|variant| variant.until);
        if from.is_some() || until.is_some() {
            let (from, until) = (from.unwrap_or(Timestamp::MIN), until.unwrap_or(Timestamp::MAX));
            found.insert(*number, Bound { rule: *number, from, until });
        }
    }
    found.into_values().collect()
}

impl Listing {
    fn new(rules: &[&Rule<'_>]) -> Listing {
        let guards: Vec<Option<Guard<'_>>> = rules.iter().map(|rule| rule.condition.and_then(guard)).collect();
        let pays = |field: Field| guards.iter().flatten().filter(|(of, _)| *of == field).count() >= GUARDED_MIN;
        let fields: Vec<Field> = FIELDS.into_iter().filter(|field| pays(*field)).collect();
        let mut listing = Vec::new();
        let mut guarded: Vec<(Field, ByText)> = fields.iter().map(|field| (*field, ByText::new())).collect();
        for (rule, guard) in rules.iter().zip(&guards) {
            let found =
                guard.and_then(|(field, texts)| Some((guarded.iter_mut().find(|(of, _)| *of == field)?, texts)));
            match found {
                Some(((_, by_text), texts)) => {
                    texts.iter().for_each(|text| by_text.entry(text.clone()).or_default().push(rule.number));
                }
                None => listing.push(rule.number),
            }
        }
        Listing { rules: listing.into(), guarded: guarded.into() }
    }
}

/// A field, and the texts of which it must be one.
type Guard<'p> = (Field, &'p [Box<[u8]>]);

/// Without which the condition does not hold.
fn guard(condition: &Predicate) -> Option<Guard<'_>> {
    match condition {
        Predicate::Text(Operand::Field(field), texts) if FIELDS.contains(field) && texts.len() <= TEXTS_MAX => {
            Some((*field, texts))
        }
        Predicate::All(parts) => parts.iter().find_map(guard),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::engine::key::KeyHasher;
    use crate::engine::plan::Plan;
    use crate::event::{Batch, CallEvent, Kind};
    use crate::policy::{DynamicLists, LoadOptions, RuleSource, load};

    /// Numbers of the thresholds, and of the firewall rules, that a call over a trunk meets.
    fn met(rules: &str, trunk: &str, customer: &str) -> [Vec<u16>; 2] {
        let text = format!("ringfence = 1\ndefault_action = 'allow'\n{rules}");
        let policy = load(&RuleSource::memory([("ruleset.toml", text)]), LoadOptions::default()).policy.unwrap();
        let plan = Plan::new(Arc::new(policy), Arc::new(Names::new()), KeyHasher::new(0), 1);
        let mut batch = Batch::default();
        let customer = plan.names.customer(customer).unwrap();
        let event =
            CallEvent { kind: Kind::Attempt, trunk: batch.keep(trunk.as_bytes()), customer, ..CallEvent::BLANK };
        let dynamic = DynamicLists::default();
        let (policy, names) = (&plan.policy, &plan.names);
        let view = View { event: &event, batch: &batch, policy, names, dynamic: &dynamic };
        let (mut thresholds, mut firewall) = (Vec::new(), Vec::new());
        plan.walks.each_threshold(&view, |rule| thresholds.push(rule));
        plan.walks.each_firewall(Stage::Attempt, &view, |rule| {
            firewall.push(rule);
            ControlFlow::<()>::Continue(())
        });
        [thresholds, firewall]
    }

    fn threshold(n: usize, rest: &str) -> String {
        let what = "on = 'attempt'\nmeasure = 'count'\nper = ['caller']\nwindow = '1m'\nwarning = '>= 3'";
        format!("[[threshold]]\nid = 'r{n}'\n{what}\n{rest}\n")
    }

    #[test]
    fn of_a_thousand_rules_a_call_meets_those_of_its_trunk_and_those_of_all_in_their_order() {
        let mut rules = String::new();
        for n in 0..1_000 {
            let guard = match n % 50 {
                0 => "answered".to_owned(),
                1 => format!("direction == inbound and (trunk in {{\"t{}\", \"t49\"}})", n % 100),
                trunk => format!("trunk == \"t{trunk}\" and direction == inbound"),
            };
            rules += &threshold(n, &format!("where = '{}'", guard.replace("answered", "anonymous")));
            rules +=
                &format!("[[firewall]]\nid = 'f{n}'\nwhen = 'trunk == \"t{}\"'\naction = 'flag'\nflag = 'x'\n", n % 50);
        }
        let numbers = |wanted: &dyn Fn(u16) -> bool| (0..1_000).filter(|n| wanted(*n)).collect::<Vec<u16>>();
        let [thresholds, firewall] = met(&rules, "t7", "acme");
        assert_eq!(thresholds, numbers(&|n| n % 50 == 0 || n % 50 == 7));
        assert_eq!(firewall, numbers(&|n| n % 50 == 7));
        let [thresholds, firewall] = met(&rules, "t49", "acme");
        assert_eq!(thresholds, numbers(&|n| n % 50 == 0 || n % 50 == 1 || n % 50 == 49));
        assert_eq!(firewall, numbers(&|n| n % 50 == 49));
        assert_eq!(met(&rules, "", "acme"), [numbers(&|n| n % 50 == 0), vec![]]);
    }

    #[test]
    fn rules_of_other_customers_are_not_met_at_all() {
        let mut rules = threshold(0, "");
        for n in 1..200 {
            rules += &threshold(n, &format!("customers = ['c{n}', 'd{n}']"));
            rules += &format!("[[override]]\ncustomer = 'c{n}'\nrule = 'r0'\nreason = 'x'\nwarning = '>= 5'\n");
        }
        // The variants stand beside their rule.
        assert_eq!(met(&rules, "t", "nobody")[0], [0]);
        assert_eq!(met(&rules, "t", "c7")[0], [7, 199 + 7]);
        assert_eq!(met(&rules, "t", "d7")[0], [0, 199 + 7]);
    }
}
