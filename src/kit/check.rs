//! What a kit says, checked before anybody needs it: the names it uses, what every form must carry, how long it gets.
//!
//! First what can be seen in the texts, then what comes out when they are filled: with all examples, without each value
//! that may be missing, and with values as long as they may be.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::fact::{self, Fact, Facts, OFFERED, Variable};
use super::file::Places;
use super::forms::Form;
use super::kind::Next;
use super::{Kit, Lint, template};
use crate::policy::Problem;
use crate::policy::problem::suggest;

/// Constants with these names answer what the reader is to do.
const WHAT_TO_DO: [&str; 2] = ["action", "action_short"];

/// The names that each form uses.
type Used = BTreeMap<Form, BTreeSet<String>>;

pub(super) fn check(kit: &Kit, places: &Places, problems: &mut Vec<Problem>) {
    let used = used(kit, places, problems);
    declared(kit, places, &used, problems);
    carried(kit, places, &used, problems);
    filled(kit, places, &used, problems);
}

/// Can it be read, and are all its names declared? What comes out of any other text says nothing new.
fn is_sound(kit: &Kit, used: &Used, form: Form) -> bool {
    let is_declared = |name: &String| kit.variables.iter().any(|v| v.name == *name);
    used.get(&form).is_some_and(|names| names.iter().all(is_declared))
}

fn used(kit: &Kit, places: &Places, problems: &mut Vec<Problem>) -> Used {
    let mut used = Used::new();
    for (form, place) in &places.forms {
        match template::names(kit.text(*form)) {
            Ok(names) => {
                used.insert(*form, names);
            }
            Err(e) => {
                let message = format!("{}: {}", form.as_str(), e.message);
                let problem = Problem::error(e.code, message).at(&places.path, place.part(e.range));
                problems.push(match e.help {
                    Some(help) => problem.help(help),
                    None => problem,
                });
            }
        }
    }
    for (form, names) in &used {
        for name in names.iter().filter(|name| !kit.variables.iter().any(|v| v.name == **name)) {
            problems.push(undeclared(kit, places, *form, name));
        }
    }
    used
}

fn undeclared(kit: &Kit, places: &Places, form: Form, name: &str) -> Problem {
    let near = suggest(name, kit.variables.iter().map(|v| v.name.as_str()));
    let message = match near {
        Some(near) => format!("variable `{name}` is not declared; did you mean `{near}`?"),
        None => format!("variable `{name}` is not declared"),
    };
    let span = places.forms.get(&form).map_or(0..0, |place| place.part(word(kit.text(form), name)));
    let problem = Problem::error("E202", message).at(&places.path, span);
    match fact::offered(name) {
        Some(offered) if near.is_none() => problem.help(format!(
            "add to [variables]: {name} = {{ type = \"{}\", {}example = ... }}",
            offered.of.as_str(),
            if offered.is_free { "free = true, " } else { "" }
        )),
        _ => problem,
    }
}

/// Where a template uses a name: its first whole word inside braces.
fn word(text: &str, name: &str) -> Option<Range<usize>> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(name).map(|(at, _)| at..at + name.len()).find(|range| {
        let before = text.get(..range.start).unwrap_or("");
        let after = text.get(range.end..).unwrap_or("");
        let opened = before.rfind("{{").max(before.rfind("{%"));
        let is_inside = opened > before.rfind("}}").max(before.rfind("%}"));
        is_inside && !before.ends_with(is_part) && !after.starts_with(is_part)
    })
}

/// Variables against the facts there are, and against what the texts use.
fn declared(kit: &Kit, places: &Places, used: &Used, problems: &mut Vec<Problem>) {
    // A misspelt use leaves its variable unused, which follows from it.
    let all_read = Form::ALL.into_iter().all(|form| is_sound(kit, used, form));
    for (variable, span) in kit.variables.iter().zip(&places.variables) {
        let name = variable.name.as_str();
        let at = |problem: Problem| problem.at(&places.path, span.clone());
        if all_read && !used.values().any(|names| names.contains(name)) {
            problems.push(at(Problem::warning("W201", format!("variable `{name}` is never used"))));
        }
        if variable.fixed.is_some() {
            continue;
        }
        let Some(offered) = fact::offered(name) else {
            let near = suggest(name, OFFERED.iter().map(|o| o.name));
            let problem = at(Problem::error(
                "E203",
                match near {
                    Some(near) => format!("nobody gives the variable `{name}`; did you mean `{near}`?"),
                    None => format!("nobody gives the variable `{name}`"),
                },
            ));
            problems.push(problem.help(format!("for a text that is always the same: {name} = {{ fixed = \"...\" }}")));
            continue;
        };
        if variable.of != offered.of {
            let (of, offered) = (variable.of.as_str(), offered.of.as_str());
            problems.push(at(Problem::error("E204", format!("`{name}` is a {offered}, not a {of}"))));
        }
        if kit.kind.is_checked_as_kit() && offered.is_free {
            let message = format!("`{}` kits take no free text, and `{name}` is typed by a person", kit.kind.as_str());
            let problem = at(Problem::error("E206", message));
            problems.push(problem.help(format!("write the words into the kit: {name} = {{ fixed = \"...\" }}")));
        } else if variable.is_free != offered.is_free {
            let is = if offered.is_free { "is typed by a person" } else { "is not typed by a person" };
            let problem = at(Problem::error("E204", format!("`{name}` {is}")));
            problems.push(problem.help(format!("write: free = {}", offered.is_free)));
        }
    }
}

/// What every form must say.
fn carried(kit: &Kit, places: &Places, used: &Used, problems: &mut Vec<Problem>) {
    let numbers = kit.kind.numbers();
    let next: &[&str] = match kit.kind.next() {
        Next::Told(names) => names,
        Next::Promised(name) => {
            if !kit.variables.iter().any(|v| v.name == name && v.is_required) {
                let message = format!("a kit for `{}` requires the variable `{name}`", kit.kind.as_str());
                let problem = Problem::error("E205", message).at(&places.path, places.kind.clone());
                problems.push(problem.help("it is not optional and has no default: the reader is always told"));
            }
            match name {
                "authorise_by" => &["authorise_by"],
                _ => &["next_update"],
            }
        }
        Next::Last => &[],
    };
    let demands: [(&str, &[&str]); 5] = [
        ("the number to ask about", numbers),
        ("as of when this is known", &["as_of"]),
        ("what to do", &WHAT_TO_DO),
        ("when the reader hears again", next),
        ("whom to call", &["escalation"]),
    ];
    for (form, names) in used {
        let n_demands = if *form == Form::MailSubject { 1 } else { demands.len() };
        for (what, any) in demands.iter().take(n_demands).filter(|(_, any)| !any.is_empty()) {
            if any.iter().any(|name| names.contains(*name)) {
                continue;
            }
            let span = places.forms.get(form).map_or(0..0, |place| place.span.clone());
            let written: Vec<_> = any.iter().map(|name| format!("{{{{ {name} }}}}")).collect();
            let problem = Problem::error("E205", format!("{} does not say {what}", form.as_str()));
            problems.push(problem.at(&places.path, span).help(format!("use {}", written.join(" or "))));
        }
    }
}

/// What comes out of the texts. Each mistake is told once, however many fillings show it.
fn filled(kit: &Kit, places: &Places, used: &Used, problems: &mut Vec<Problem>) {
    let mut told: BTreeSet<(&str, Option<Form>)> = BTreeSet::new();
    let mut tell = |lint: Lint, when: &str| {
        if lint.form.is_none_or(|form| is_sound(kit, used, form)) && told.insert((lint.code, lint.form)) {
            problems.push(placed(&lint, when, kit, places));
        }
    };
    let saved = |facts: Facts| kit.draw(&facts).1.into_iter().map(refused_when_saved);
    for lint in saved(kit.examples(|_| false)) {
        tell(lint, "");
    }
    // A number of one kind is enough, but one there always is.
    let number = kit.kind.numbers().first().copied().unwrap_or_default();
    let may_miss = |v: &Variable| !v.is_required && v.name != number;
    for lint in saved(kit.examples(may_miss)) {
        tell(lint, " where nothing optional is given");
    }
    for missing in kit.variables.iter().filter(|v| !v.is_required && v.fixed.is_none()) {
        for lint in saved(kit.examples(|v| v.name == missing.name)) {
            tell(lint, &format!(" where `{}` is not given", missing.name));
        }
    }
    let mut longest = kit.examples(|_| false);
    for variable in kit.variables.iter().filter(|v| v.fixed.is_none()) {
        if let Fact::Text(example) = &variable.example {
            longest.set(variable.name.as_str(), Fact::Text(stretched(example, variable.chars_max)));
        }
    }
    let too_long: Vec<Lint> = saved(longest).filter(|l| l.code == "E207" && l.form.is_some()).collect();
    for lint in too_long {
        // What is too long with the examples is so with longer values.
        if !told.contains(&(lint.code, lint.form)) {
            let lint = Lint { code: "W203", is_error: false, ..lint };
            problems.push(placed(&lint, " where every value is as long as its `max`", kit, places));
        }
    }
}

/// There is time to shorten a kit when it is saved, and none when a message is made of it.
fn refused_when_saved(lint: Lint) -> Lint {
    if lint.code == "W205" { Lint { code: "E207", is_error: true, ..lint } } else { lint }
}

/// The example over and over, as long as a value may be. A reference, and the number of a contact, have the length they
/// have.
fn stretched(example: &str, chars_max: usize) -> String {
    if let Some((name, number)) = example.rsplit_once(", ").filter(|(_, n)| !super::phone::numbers(n).is_empty()) {
        let room = chars_max.saturating_sub(number.chars().count() + 2);
        return format!("{}, {number}", stretched(name, room));
    }
    let is_reference = example.contains('-') && example.ends_with(|c: char| c.is_ascii_digit());
    if is_reference || example.is_empty() {
        return example.to_owned();
    }
    let endless = std::iter::repeat_n([example, " "], chars_max).flatten().flat_map(str::chars);
    let text: String = endless.take(chars_max).collect();
    text.trim_end().to_owned()
}

fn placed(lint: &Lint, when: &str, kit: &Kit, places: &Places) -> Problem {
    let message = match (lint.form, &lint.variable) {
        (Some(form), _) => format!("{} {}{when}", form.as_str(), lint.message),
        (None, Some(variable)) => format!("the example of `{variable}` {}", lint.message),
        (None, None) => lint.message.clone(),
    };
    let problem = if lint.is_error { Problem::error(lint.code, message) } else { Problem::warning(lint.code, message) };
    let variable = || kit.variables.iter().position(|v| Some(&v.name) == lint.variable.as_ref());
    let span = match lint.form.and_then(|form| places.forms.get(&form)) {
        Some(place) => place.part(lint.range.clone()),
        None => variable().and_then(|n| places.variables.get(n)).cloned().unwrap_or(places.kind.clone()),
    };
    let problem = problem.at(&places.path, span);
    match lint.help {
        Some(help) => problem.help(help),
        None => problem,
    }
}
