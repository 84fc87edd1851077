//! From a rule and its level to a severity: the customer's table.

use std::collections::BTreeMap;

use super::{Surroundings, keys};
use crate::policy::Severity as Level;
use crate::policy::document::{Key, Section, short};
use crate::policy::load::value_span;
use crate::policy::problem::{Problem, suggest};

const CRITICAL_DEFAULT: u8 = 2;
const WARNING_DEFAULT: u8 = 3;
/// 1 is a disaster, 4 the least.
const SEVERITIES: std::ops::Range<u64> = 1..5;

/// What is written of a rule comes before what is written of its group, and that before what holds for all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeverityTable {
    all: Grades,
    groups: BTreeMap<String, Grades>,
    rules: BTreeMap<String, Grades>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Grades {
    critical: Option<u8>,
    warning: Option<u8>,
}

impl Grades {
    fn of(self, level: Level) -> Option<u8> {
        match level {
            Level::Critical => self.critical,
            Level::Warning => self.warning,
        }
    }
}

impl SeverityTable {
    /// 1 to 4.
    pub fn of(&self, rule: &str, group: &str, level: Level) -> u8 {
        let written = [self.rules.get(rule), self.groups.get(group), Some(&self.all)];
        written.into_iter().flatten().find_map(|grades| grades.of(level)).unwrap_or(match level {
            Level::Critical => CRITICAL_DEFAULT,
            Level::Warning => WARNING_DEFAULT,
        })
    }
}

/// `[severity]`.
pub(super) fn read(file: &Section<'_, '_>, around: &Surroundings<'_>, problems: &mut Vec<Problem>) -> SeverityTable {
    let Some(section) = file.section(&keys::SEVERITY, problems) else { return SeverityTable::default() };
    let section = section.keyed(keys::SEVERITY_KEYS);
    section.check_keys(problems);
    SeverityTable {
        all: grades(&section, problems),
        groups: named(&section, &keys::GROUPS, ("group", &around.groups), problems),
        rules: named(&section, &keys::RULES, ("rule", &around.rules), problems),
    }
}

fn named(
    section: &Section<'_, '_>,
    key: &Key,
    (what, known): (&str, &[&str]),
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, Grades> {
    let mut found = BTreeMap::new();
    let Some(all) = section.section(key, problems) else { return found };
    for (name, span, value) in all.keys() {
        // Of which receivers there are, the settings tell; it is not known here.
        let is_of_receiver = what == "rule" && name.starts_with("upstream:");
        if !known.contains(&name) && !is_of_receiver {
            let message = match suggest(name, known.iter().copied()) {
                Some(near) => format!("unknown {what} `{}`; did you mean `{near}`?", short(name)),
                None => format!("unknown {what} `{}`", short(name)),
            };
            problems.push(section.problem("E050", message, span.clone()));
        }
        let Some(table) = value.get_ref().as_table() else {
            problems.push(all.wrong_type(name, value, "a table", key.example));
            continue;
        };
        let table = all.inner(table, span, name).keyed(keys::GRADE_KEYS);
        table.check_keys(problems);
        found.insert(name.to_owned(), grades(&table, problems));
    }
    found
}

fn grades(section: &Section<'_, '_>, problems: &mut Vec<Problem>) -> Grades {
    let mut grade = |key: &Key| section.integer(key, SEVERITIES, problems).and_then(|n| u8::try_from(n).ok());
    let grades = Grades { critical: grade(&keys::CRITICAL), warning: grade(&keys::WARNING) };
    if let (Some(critical), Some(warning)) = (grades.critical, grades.warning)
        && critical > warning
    {
        let message = format!("a critical finding of severity {critical} is less grave than a warning of {warning}");
        let problem = section.problem("E006", message, value_span(section, keys::CRITICAL.name));
        let place = value_span(section, keys::WARNING.name);
        let problem = problem.context(section.document.path, place, "the warning");
        problems.push(problem.help("severity 1 is the gravest, 4 the least"));
    }
    grades
}
