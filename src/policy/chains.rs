//! `after = { rule, within, same }`: a rule that counts only what follows a violation of another one.
//!
//! A violation of the other rule notes the values that both have in common on a list of its own, for as long as `within`
//! says; the rule looks there as rules look at dynamic lists, and so sees what came before it in the order of events.

use super::document::{Section, short};
use super::expression::{Scope, compile_operand};
use super::problem::{Place, Problem, suggest};
use super::rules::{Compiler, Rules, origin};
use super::{DynamicKind, KeySpec, List, ListContent, On, Operand, Predicate, tables};
use crate::limits::{CHAIN_ENTRIES_MAX, KEY_PARTS_MAX, WINDOW_MS_MAX};

/// What a rule that others follow is to note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Index into [`super::Policy::lists`].
    pub list: usize,
    /// Entries of the rule's key, by their place.
    pub parts: Vec<usize>,
    pub within_ms: i64,
}

/// What a rule follows.
#[derive(Clone, Debug)]
pub struct After {
    /// Id of the other rule.
    pub rule: String,
    pub within_ms: i64,
    /// As written: an entry of the other's `per`, and what of an event is the same.
    pub same: Vec<(String, Operand)>,
    /// `same` is written, not taken from what both have in `per`.
    is_written: bool,
    place: Place,
}

impl Compiler<'_> {
    pub(crate) fn after(&mut self, section: &Section<'_, '_>, on: Option<On>, per: Option<&KeySpec>) -> Option<After> {
        let table = section.section(&tables::AFTER, self.problems)?.keyed(tables::AFTER_KEYS);
        table.check_keys(self.problems);
        let within_ms = self.bounded(&table, &tables::AFTER_WITHIN, 1, WINDOW_MS_MAX, "49d");
        if table.lacks(&tables::AFTER_WITHIN) {
            self.problems.push(table.missing(&tables::AFTER_WITHIN));
        }
        let rule = table.required_text(&tables::AFTER_RULE, self.problems)?;
        let place = Place::new(table.document.path, rule.span.clone());
        let texts = table.texts(&tables::AFTER_SAME, self.problems);
        let is_written = texts.is_some();
        let same = match texts {
            None => per?.parts.iter().map(|part| (part.name.clone(), part.operand.clone())).collect(),
            Some(texts) if texts.is_empty() || texts.len() > KEY_PARTS_MAX => {
                let message = format!("`same` has {} entries; it takes 1 to {KEY_PARTS_MAX}", texts.len());
                self.problems.push(table.problem("E006", message, texts.first()?.span.clone()));
                return None;
            }
            Some(texts) => {
                let on_place = Self::on_place(section);
                let mut same = Vec::new();
                for text in texts {
                    // `theirs == ours`, or one that is the same in both.
                    let (theirs, ours) = text.value.split_once("==").unwrap_or((text.value, text.value));
                    let at = text.value.len() - ours.len();
                    let scope = Scope { on, on_place: on_place.as_ref(), ..self.declared.scope() };
                    let place = origin(section, &text).behind(at);
                    let operand = compile_operand(ours, &place, &scope, self.problems)?;
                    same.push((theirs.trim().to_owned(), operand));
                }
                same
            }
        };
        Some(After { rule: rule.value.to_owned(), within_ms: within_ms?, same, is_written, place })
    }
}

/// Ties rules to those that they follow. `n_lists`: lists that are written down.
pub(super) fn tie(rules: &mut Rules, ids: &[&str], n_lists: usize, problems: &mut Vec<Problem>) {
    for follower in 0..rules.thresholds.len() {
        let Some((id, after)) = rules.thresholds.get(follower).and_then(|r| Some((r.id.clone(), r.after.clone()?)))
        else {
            continue;
        };
        let fault = |code, message: String| {
            let mut problem = Problem::error(code, message);
            problem.place = Some(after.place.clone());
            problem
        };
        let leaders: Vec<usize> =
            (0..rules.thresholds.len()).filter(|i| rules.thresholds[*i].id == after.rule).collect();
        if after.rule == id || leaders.is_empty() {
            problems.push(unknown(&after, &id, ids, fault));
            continue;
        }
        let mut operands = Vec::new();
        let mut lists = Vec::new();
        let mut strange = Vec::new();
        for leader in leaders {
            let per = &rules.keys[rules.thresholds[leader].key].parts;
            let is_theirs = |theirs: &str| per.iter().any(|part| bare(&part.name) == bare(theirs));
            strange.extend(after.same.iter().find(|(theirs, _)| after.is_written && !is_theirs(theirs)));
            let found = after.same.iter().filter_map(|(theirs, ours)| {
                let place = per.iter().position(|part| bare(&part.name) == bare(theirs))?;
                Some((place, ours.clone()))
            });
            let (parts, ours): (Vec<usize>, Vec<Operand>) = found.unzip();
            operands = ours;
            lists.push((leader, parts));
        }
        let entries: Vec<&str> =
            rules.keys[rules.thresholds[lists[0].0].key].parts.iter().map(|part| part.name.as_str()).collect();
        if let Some((theirs, _)) = strange.first() {
            let message = format!("`{theirs}` of `same` is no entry of `per` of rule `{}`", after.rule);
            problems.push(fault("E031", message).help(format!("its entries are: {}", entries.join(", "))));
            continue;
        }
        if operands.is_empty() {
            let message = format!("`{id}` and `{}` have no entry of `per` in common", after.rule);
            let help =
                format!("say what is the same, their entry first: same = [\"{} == callee\"]", entries.join(", "));
            problems.push(fault("E031", message).help(help));
            continue;
        }
        // By what is on it: whoever follows the same way looks there, under whatever name.
        let theirs: Vec<String> = after.same.iter().map(|(theirs, _)| bare(theirs)).collect();
        let name = format!("after {} within {} ms by {}", after.rule, after.within_ms, theirs.join(", "));
        let place = rules.hidden_lists.iter().position(|list| list.name == name).unwrap_or_else(|| {
            let content = ListContent::Dynamic(DynamicKind::Texts);
            rules.hidden_lists.push(List { name, content, max_entries: Some(CHAIN_ENTRIES_MAX) });
            rules.hidden_lists.len() - 1
        });
        let list = n_lists + place;
        for (leader, parts) in lists {
            let chain = Chain { list, parts, within_ms: after.within_ms };
            let chains = &mut rules.thresholds[leader].chains;
            if !chains.contains(&chain) {
                chains.push(chain);
            }
        }
        let rule = &mut rules.thresholds[follower];
        let test = Predicate::After { list, same: operands.into() };
        rule.condition = Some(match rule.condition.take() {
            Some(condition) => condition.and(test),
            None => test,
        });
    }
}

fn unknown(after: &After, id: &str, ids: &[&str], fault: impl Fn(&'static str, String) -> Problem) -> Problem {
    if after.rule == id {
        return fault("E050", format!("`{id}` cannot come after itself"));
    }
    if ids.contains(&after.rule.as_str()) {
        let message =
            format!("rule `{}` is no threshold that is on, so nothing ever comes after it", short(&after.rule));
        return fault("E050", message).help("use mode = \"monitor\" for one that is only to be followed");
    }
    let near = suggest(&after.rule, ids.iter().copied());
    let did = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
    fault("E050", format!("`after` of unknown rule `{}`{did}", short(&after.rule)))
}

fn bare(text: &str) -> String {
    text.replace(char::is_whitespace, "")
}
