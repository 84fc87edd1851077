//! The rules of one set or of two, a line each, whichever sets have it: what reports count by.

use std::collections::HashMap;

use crate::engine::RuleRef;
use crate::policy::{Action, Mode, Policy};

/// A rule by its id.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) id: String,
    /// Where it stands in each set.
    pub(super) places: Vec<Option<RuleRef>>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) lines: Vec<Line>,
    /// By set: lines of its firewall rules and of its thresholds.
    firewall: Vec<Vec<usize>>,
    thresholds: Vec<Vec<usize>>,
}

impl Rules {
    /// In the order of the last set; what only others have stands behind.
    pub(super) fn new(sets: &[&Policy]) -> Rules {
        let mut rules = Rules {
            lines: Vec::new(),
            firewall: vec![Vec::new(); sets.len()],
            thresholds: vec![Vec::new(); sets.len()],
        };
        let mut known: HashMap<String, usize> = HashMap::new();
        // A rule that has another name now is the same rule.
        let last = sets.last().map(|policy| policy.thresholds.as_slice()).unwrap_or_default();
        let renamed: HashMap<&str, &str> =
            last.iter().filter_map(|rule| Some((rule.renamed_from.as_deref()?, rule.id.as_str()))).collect();
        for (set, policy) in sets.iter().enumerate().rev() {
            let mut ordered: Vec<(u32, &str, RuleRef)> = Vec::new();
            let firewall = policy.firewall.iter().enumerate();
            ordered.extend(firewall.map(|(i, rule)| (rule.position, rule.id.as_str(), RuleRef::Firewall(i as u16))));
            let thresholds = policy.thresholds.iter().enumerate();
            ordered.extend(thresholds.map(|(i, rule)| (rule.position, rule.id.as_str(), RuleRef::Threshold(i as u16))));
            ordered.sort_by_key(|(position, ..)| *position);
            rules.firewall[set] = vec![0; policy.firewall.len()];
            rules.thresholds[set] = vec![0; policy.thresholds.len()];
            for (_, id, place) in ordered {
                let is_last = set + 1 == sets.len();
                let id = if is_last { id } else { renamed.get(id).copied().unwrap_or(id) };
                let lines = &mut rules.lines;
                let line = *known.entry(id.to_owned()).or_insert_with(|| {
                    lines.push(Line { id: id.to_owned(), places: vec![None; sets.len()] });
                    lines.len() - 1
                });
                // Variants for customers stand on the line of their rule.
                lines[line].places[set].get_or_insert(place);
                match place {
                    RuleRef::Firewall(i) => rules.firewall[set][usize::from(i)] = line,
                    RuleRef::Threshold(i) => rules.thresholds[set][usize::from(i)] = line,
                    RuleRef::Default | RuleRef::Emergency => {}
                }
            }
        }
        rules
    }

    /// The line of a rule of a set; `None` for what is no rule.
    pub(super) fn line(&self, set: usize, rule: RuleRef) -> Option<usize> {
        match rule {
            RuleRef::Firewall(i) => self.firewall[set].get(usize::from(i)).copied(),
            RuleRef::Threshold(i) => self.thresholds[set].get(usize::from(i)).copied(),
            RuleRef::Default | RuleRef::Emergency => None,
        }
    }
}

/// What a firewall rule does to a call, or would where it is not in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Effect {
    pub(super) action: Action,
    pub(super) is_in_force: bool,
}

impl Effect {
    pub(super) fn of(policy: &Policy, rule: u16) -> Effect {
        let found = policy.firewall.get(usize::from(rule));
        Effect {
            action: found.map_or(Action::Allow, |rule| rule.action),
            is_in_force: found.is_some_and(|rule| rule.mode == Mode::Enforce),
        }
    }

    pub(super) fn text(self) -> String {
        let action = self.action.as_str();
        if self.is_in_force { action.to_owned() } else { format!("would {action}") }
    }
}
