//! Kits: the texts of every kind of notice, written beforehand, in four forms at once; and messages made of them.
//!
//! A kit is one TOML file: texts with holes, and the variables that fill them. Kits are checked where they are read,
//! and a message again when it is made, so that nobody has to find words, or mistakes in them, during an incident. Four
//! forms are made of the same facts in one step and cannot contradict each other. Pure: the same facts give the same
//! bytes; what is said when is the incident book's.
//!
//! Values are made harmless where they enter a form ([`clean`]), once, for all kits: data is one line of a bounded
//! length; only what a person typed may have lines, and only in mail and on the portal. Public forms (portal, announcement)
//! of shipped kits do not name the customer.

mod check;
mod clean;
pub mod codes;
mod fact;
mod file;
mod forms;
mod kind;
mod lint;
mod phone;
pub mod property;
mod shipped;
pub mod sms;
pub mod speech;
mod template;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;

use minijinja::value::Value;
use sha2::{Digest, Sha256};

pub use fact::{Fact, Facts, OFFERED, Offered, Type, Variable};
pub use forms::{Form, Forms};
pub use kind::Kind;
pub use lint::Lint;

use crate::limits::{KIT_LIST_ITEMS_MAX, KIT_VALUE_CHARS_DEFAULT, KIT_VALUE_CHARS_MAX};
use crate::policy::render::Texts;
use crate::policy::{Problem, RuleSource};

/// The texts of one kind of notice.
#[derive(Clone, Debug)]
pub struct Kit {
    kind: Kind,
    title: String,
    audience: String,
    variables: Vec<Variable>,
    texts: BTreeMap<Form, String>,
    /// The file it was read from; none where it shipped.
    path: Option<String>,
}

/// One kit for every kind.
#[derive(Clone, Debug)]
pub struct Kits(BTreeMap<Kind, Kit>);

impl Kits {
    /// The kits of a folder, and the shipped ones for the kinds it does not have; or every mistake in them.
    pub fn load(folder: &Path) -> (Option<Kits>, Vec<Problem>) {
        let (kits, problems, _) = Kits::read(&RuleSource::at(folder));
        (kits, problems)
    }

    /// As [`Kits::load`], with the texts that the problems point into.
    pub fn read(source: &RuleSource) -> (Option<Kits>, Vec<Problem>, Texts) {
        let mut problems = Vec::new();
        let mut texts = Texts::new(source.prefix());
        let own = file::read(source, &mut texts, &mut problems);
        let is_usable = !problems.iter().any(|p| p.is_error);
        let kits = is_usable.then(|| {
            let mut kits = Kits::shipped();
            kits.0.extend(own.into_iter().map(|kit| (kit.kind, kit)));
            kits
        });
        (kits, problems, texts)
    }

    pub fn get(&self, kind: Kind) -> &Kit {
        self.0.get(&kind).expect("every kind has a kit: shipped ones come first")
    }

    /// In the order of [`Kind::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = &Kit> {
        self.0.values()
    }
}

impl Kit {
    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub fn title(&self) -> &str {
        &self.title
    }

    /// For whom it is written.
    pub fn audience(&self) -> &str {
        &self.audience
    }

    /// In the order of the file.
    pub fn variables(&self) -> &[Variable] {
        &self.variables
    }

    pub fn text(&self, form: Form) -> &str {
        self.texts.get(&form).map_or("", String::as_str)
    }

    /// Of what it says: another one makes other messages of the same facts.
    pub fn version(&self) -> String {
        let mut hash = Sha256::new();
        for (form, text) in &self.texts {
            for part in [form.as_str(), text] {
                hash.update((part.len() as u64).to_le_bytes());
                hash.update(part);
            }
        }
        hash.update(serde_json::to_vec(&self.variables).unwrap_or_default());
        hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }

    pub fn path(&self) -> Option<&str> {
        self.path.as_deref()
    }

    /// The message in all its forms; or everything that keeps it from going out. Facts that the kit does not declare
    /// are left aside.
    pub fn render(&self, facts: &Facts) -> Result<Forms, Vec<Lint>> {
        let (forms, lints) = self.draw(facts);
        if lints.iter().any(|lint| lint.is_error) { Err(lints) } else { Ok(forms) }
    }

    /// As [`Kit::render`], with what could be made in any case, and the warnings too. A form that could not be made is
    /// empty.
    pub fn draw(&self, facts: &Facts) -> (Forms, Vec<Lint>) {
        let mut lints = Vec::new();
        let given = self.given(facts, &mut lints);
        let mut forms = Forms::default();
        if lints.iter().any(|lint| lint.is_error) {
            return (forms, lints);
        }
        for form in Form::ALL {
            let values: BTreeMap<&str, Value> =
                given.iter().filter_map(|(v, fact)| Some((v.name.as_str(), value(v, fact, form)?))).collect();
            match template::fill(self.text(form), &values) {
                Err(e) => {
                    let lint = Lint::error(e.code, form, e.message);
                    lints.push(Lint { help: e.help, range: e.range, ..lint });
                }
                Ok(text) => {
                    forms.set(form, text);
                    lints.extend(forms.lints_of(form));
                    lints.extend(strange_number(&forms, form, &given, &lints));
                }
            }
        }
        (forms, lints)
    }

    /// What each variable holds; one that was not given, or holds nothing, is left out.
    fn given(&self, facts: &Facts, lints: &mut Vec<Lint>) -> Vec<(&Variable, Fact)> {
        let mut given = Vec::new();
        for variable in &self.variables {
            let name = variable.name.as_str();
            let own = |text: &Option<String>| text.clone().map(Fact::Text);
            let fact = own(&variable.fixed).or_else(|| facts.get(name).cloned().filter(|f| !is_empty(f)));
            let Some(fact) = fact.or_else(|| own(&variable.default)) else {
                if variable.is_required {
                    lints.push(Lint::of_value("E211", name, "is required and was not given"));
                }
                continue;
            };
            if !variable.of.takes(&fact) {
                lints.push(Lint::of_value("E211", name, format!("is not given as a {}", variable.of.as_str())));
                continue;
            }
            lints.extend(too_long(variable, &fact));
            given.push((variable, fact));
        }
        given
    }

    /// The facts of the examples, without those that `is_left_out`.
    pub fn examples(&self, is_left_out: impl Fn(&Variable) -> bool) -> Facts {
        let mut facts = Facts::default();
        for variable in self.variables.iter().filter(|v| v.fixed.is_none() && !is_left_out(v)) {
            facts.set(variable.name.as_str(), variable.example.clone());
        }
        facts
    }
}

/// Nothing to show: an empty value is one that was not given.
fn is_empty(fact: &Fact) -> bool {
    let is_blank = |text: &str| clean::line(text, 1).0.is_empty();
    match fact {
        Fact::Text(text) => is_blank(text),
        Fact::Number(_) => false,
        Fact::Time { display, spoken } => is_blank(display) || is_blank(spoken),
        Fact::List(items) => items.iter().all(|item| is_blank(item)),
    }
}

/// Data is cut and that is told; a person is asked to find fewer words.
fn too_long(variable: &Variable, fact: &Fact) -> Option<Lint> {
    let Fact::Text(text) = fact else { return None };
    let max = variable.chars_max;
    let (_, is_cut) = if variable.is_free { clean::lines(text, max) } else { clean::line(text, max) };
    is_cut.then(|| match variable.is_free {
        true => Lint::of_value("E207", &variable.name, format!("is longer than {max} characters"))
            .help("say it in fewer words"),
        false => Lint::of_value("W204", &variable.name, format!("is longer than {max} characters and was cut")),
    })
}

/// A fact as a form shows it.
fn value(variable: &Variable, fact: &Fact, form: Form) -> Option<Value> {
    let line = |text: &str, max: usize| {
        let clean = clean::line(text, max).0;
        if form == Form::Sms { sms::nearest(&clean) } else { clean }
    };
    Some(match fact {
        Fact::Text(text) if variable.name == "escalation" => {
            Value::from(contact(&line(text, KIT_VALUE_CHARS_MAX), variable.chars_max))
        }
        Fact::Text(text) if form == Form::Acd && fact::is_reference(&variable.name) => Value::from(said_digits(text)),
        Fact::Text(text) if variable.is_free && form.has_lines() => {
            Value::from(clean::lines(text, variable.chars_max).0)
        }
        Fact::Text(text) => Value::from(line(text, variable.chars_max)),
        Fact::Number(n) => Value::from(*n),
        Fact::Time { spoken, .. } if form == Form::Acd => Value::from(line(spoken, KIT_VALUE_CHARS_DEFAULT)),
        Fact::Time { display, .. } => Value::from(line(display, KIT_VALUE_CHARS_DEFAULT)),
        Fact::List(items) => {
            let mut shown: Vec<String> =
                items.iter().take(KIT_LIST_ITEMS_MAX).map(|item| line(item, variable.chars_max)).collect();
            shown.retain(|item| !item.is_empty());
            if let Some(n) = items.len().checked_sub(KIT_LIST_ITEMS_MAX).filter(|n| *n > 0) {
                shown.push(format!("and {n} more"));
            }
            Value::from(shown)
        }
    })
}

/// `Voice operations, +46 10 123 45 67`: where it is too long, the name is cut and the number kept.
fn contact(text: &str, chars_max: usize) -> String {
    let Some((name, number)) = text.rsplit_once(", ") else { return clean::line(text, chars_max).0 };
    match chars_max.checked_sub(number.chars().count() + 2) {
        Some(room) if room > 3 => format!("{}, {number}", clean::line(name, room).0),
        _ => clean::line(text, chars_max).0,
    }
}

/// `INC-000123` as people say it: `1 2 3`.
fn said_digits(reference: &str) -> String {
    let digits: String = reference.chars().take(KIT_VALUE_CHARS_DEFAULT).filter(char::is_ascii_digit).collect();
    digits.trim_start_matches('0').chars().map(String::from).collect::<Vec<_>>().join(" ")
}

/// A telephone number on a public form that is neither the escalation contact's nor the reference.
fn strange_number(forms: &Forms, form: Form, given: &[(&Variable, Fact)], lints: &[Lint]) -> Option<Lint> {
    if !form.is_public() || lints.iter().any(|l| l.code == "E208" && l.form == Some(form)) {
        return None;
    }
    let mut allowed = Vec::new();
    for (variable, fact) in given {
        match fact {
            Fact::Text(text) if variable.name == "escalation" => {
                let shown = clean::line(text, KIT_VALUE_CHARS_MAX).0;
                allowed.extend(phone::numbers(&contact(&shown, variable.chars_max)));
            }
            Fact::Text(text) if fact::is_reference(&variable.name) => allowed.push(said_digits(text).replace(' ', "")),
            _ => {}
        }
    }
    let strange = phone::numbers(forms.get(form)).into_iter().find(|n| !allowed.contains(n))?;
    let message = format!("is public and names the telephone number {strange}");
    Some(Lint::error("E208", form, message).help("only the escalation contact's number is named in public"))
}
