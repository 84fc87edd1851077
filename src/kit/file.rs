//! From the files of a folder to kits, or to every mistake in them at once.
//!
//! Only the shape of a file is read here; what its texts say is checked in [`super::check`].

use std::collections::BTreeMap;
use std::ops::Range;

use toml::de::DeValue;

use super::fact::{Fact, Type, Variable};
use super::forms::Form;
use super::kind::Kind;
use super::{Kit, check};
use crate::limits::{
    KIT_FILE_BYTES_MAX, KIT_FILES_MAX, KIT_VALUE_CHARS_DEFAULT, KIT_VALUE_CHARS_MAX, KIT_VARIABLES_MAX,
};
use crate::policy::document::{Document, Key, Section, key};
use crate::policy::render::Texts;
use crate::policy::{Problem, RuleSource};

const KIND: Key = key("kit", "kit = \"update\"");
const TITLE: Key = key("title", "title = \"What has changed\"");
const FOR: Key = key("for", "for = \"contacts of the customer\"");
const VARIABLES: Key = key("variables", "[variables]");
const MAIL_SUBJECT: Key = key("mail_subject", "mail_subject = \"{{ incident }}: {{ what }}\"");
const MAIL: Key = key("mail", "mail = \"\"\" ... \"\"\"");
const SMS: Key = key("sms", "sms = \"\"\" ... \"\"\"");
const PORTAL: Key = key("portal", "portal = \"\"\" ... \"\"\"");
const ACD: Key = key("acd", "acd = \"\"\" ... \"\"\"");
const KIT_KEYS: &[Key] = &[KIND, TITLE, FOR, MAIL_SUBJECT, MAIL, SMS, PORTAL, ACD, VARIABLES];
/// In the order of [`Form::ALL`].
const FORMS: [Key; 5] = [MAIL_SUBJECT, MAIL, SMS, PORTAL, ACD];

const TYPE: Key = key("type", "type = \"text\"");
const OPTIONAL: Key = key("optional", "optional = true");
const FREE: Key = key("free", "free = true");
const MAX: Key = key("max", "max = 80");
const EXAMPLE: Key = key("example", "example = \"INC-000123\"");
const SPOKEN: Key = key("spoken", "spoken = \"half past two\"");
const DEFAULT: Key = key("default", "default = \"You need not do anything.\"");
const FIXED: Key = key("fixed", "fixed = \"You need not do anything.\"");
const VARIABLE_KEYS: &[Key] = &[TYPE, OPTIONAL, FREE, MAX, EXAMPLE, SPOKEN, DEFAULT, FIXED];

/// Where the parts of a kit stand in its file.
pub(super) struct Places {
    pub(super) path: String,
    /// What `kit = ` names: for what the kit as a whole lacks.
    pub(super) kind: Range<usize>,
    pub(super) forms: BTreeMap<Form, FormPlace>,
    /// The names of variables.
    pub(super) variables: Vec<Range<usize>>,
}

pub(super) struct FormPlace {
    /// The value, quotes included.
    pub(super) span: Range<usize>,
    /// Where its text begins, if it stands in the file as it is, without escapes.
    inner: Option<usize>,
}

impl FormPlace {
    /// The bytes of the file that are these bytes of the template.
    pub(super) fn part(&self, range: Option<Range<usize>>) -> Range<usize> {
        match (self.inner, range) {
            (Some(inner), Some(range)) => {
                (inner + range.start).min(self.span.end)..(inner + range.end).min(self.span.end)
            }
            _ => self.span.clone(),
        }
    }
}

/// Kits that are fit for use; what is wrong with the others is noted.
pub(super) fn read(source: &RuleSource, texts: &mut Texts, problems: &mut Vec<Problem>) -> Vec<Kit> {
    let mut kits = Vec::new();
    for (kit, places) in parse_all(source, texts, problems) {
        check::check(&kit, &places, problems);
        kits.push(kit);
    }
    let key = |p: &Problem| p.place.as_ref().map(|place| (place.path.clone(), place.span.start));
    problems.sort_by_key(key);
    kits
}

/// Every `*.toml` of the folder, or the one file that was named.
pub(super) fn parse_all(source: &RuleSource, texts: &mut Texts, problems: &mut Vec<Problem>) -> Vec<(Kit, Places)> {
    let found = match source.only() {
        Some(path) => Ok(vec![path.to_owned()]),
        None => source.glob("*.toml"),
    };
    let mut paths = match found {
        Ok(paths) => paths,
        Err(e) => {
            problems.push(Problem::error("E010", format!("cannot read the folder of kits: {e}")));
            return Vec::new();
        }
    };
    if paths.len() > KIT_FILES_MAX {
        problems.push(Problem::error("E027", format!("{} kits; at most {KIT_FILES_MAX} are read", paths.len())));
        paths.truncate(KIT_FILES_MAX);
    }
    let mut kits: Vec<(Kit, Places)> = Vec::new();
    for path in paths {
        let Some(text) = text_of(source, &path, problems) else { continue };
        let parsed = parse(&path, &text, problems);
        texts.insert(path, text);
        let Some((kit, places)) = parsed else { continue };
        if let Some((_, other)) = kits.iter().find(|(other, _)| other.kind == kit.kind) {
            let message = format!("there are two kits for `{}`", kit.kind.as_str());
            let problem = Problem::error("E007", message).at(&places.path, places.kind);
            problems.push(problem.context(&other.path, other.kind.clone(), "the other stands here"));
            continue;
        }
        kits.push((kit, places));
    }
    kits
}

fn text_of(source: &RuleSource, path: &str, problems: &mut Vec<Problem>) -> Option<String> {
    let text = source
        .read(path, KIT_FILE_BYTES_MAX)
        .and_then(|file| String::from_utf8(file.bytes).map_err(|e| std::io::Error::other(format!("not UTF-8: {e}"))));
    match text {
        Ok(text) => Some(text),
        Err(e) => {
            problems.push(Problem::error("E010", format!("cannot read the kit: {e}")).at(path, 0..0));
            None
        }
    }
}

/// A kit whose shape is right.
fn parse(path: &str, text: &str, problems: &mut Vec<Problem>) -> Option<(Kit, Places)> {
    let n_before = problems.len();
    let document = Document::parse(path, text, problems);
    if problems.len() > n_before {
        return None;
    }
    let table = document.table().keyed(KIT_KEYS).named("a kit");
    table.check_keys(problems);
    let kinds = Kind::ALL.map(|kind| (kind.as_str(), kind));
    if table.lacks(&KIND) {
        problems.push(table.missing(&KIND));
    }
    let kind = table.word(&KIND, &kinds, problems);
    let title = table.required_text(&TITLE, problems).map(|t| t.value.to_owned());
    let audience = table.required_text(&FOR, problems).map(|t| t.value.to_owned());
    let mut texts = BTreeMap::new();
    let mut forms = BTreeMap::new();
    for (form, key) in Form::ALL.into_iter().zip(&FORMS) {
        let Some(value) = table.required_text(key, problems) else { continue };
        let raw = text.get(value.span.clone()).unwrap_or("");
        let inner =
            Some(value.value).filter(|v| !v.is_empty()).and_then(|v| raw.find(v)).map(|at| value.span.start + at);
        texts.insert(form, value.value.to_owned());
        forms.insert(form, FormPlace { span: value.span, inner });
    }
    let (variables, spans) = variables(&table, problems);
    let places = Places { path: path.to_owned(), kind: table.key_span(KIND.name), forms, variables: spans };
    if problems.get(n_before..).is_some_and(|new| new.iter().any(|p| p.is_error)) {
        return None;
    }
    let path = Some(path.to_owned());
    Some((Kit { kind: kind?, title: title?, audience: audience?, variables, texts, path }, places))
}

fn variables(table: &Section<'_, '_>, problems: &mut Vec<Problem>) -> (Vec<Variable>, Vec<Range<usize>>) {
    let mut variables = Vec::new();
    let mut spans = Vec::new();
    let Some(section) = table.section(&VARIABLES, problems) else { return (variables, spans) };
    for (n, (name, span, value)) in section.keys().into_iter().enumerate() {
        if n >= KIT_VARIABLES_MAX {
            problems.push(section.problem("E027", format!("more than {KIT_VARIABLES_MAX} variables"), span));
            break;
        }
        let is_name =
            !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if !is_name || name.starts_with(|c: char| c.is_ascii_digit()) {
            let message = "a variable is called by small letters, digits and `_`";
            problems.push(section.problem("E024", message, span));
            continue;
        }
        let Some(table) = value.get_ref().as_table() else {
            let example = format!("{name} = {{ type = \"text\", example = \"...\" }}");
            problems.push(section.wrong_type(name, value, "a table", &example));
            continue;
        };
        let inner = section.inner(table, value.span(), name).keyed(VARIABLE_KEYS);
        if let Some(variable) = variable(name, &inner, problems) {
            variables.push(variable);
            spans.push(span);
        }
    }
    (variables, spans)
}

fn variable(name: &str, table: &Section<'_, '_>, problems: &mut Vec<Problem>) -> Option<Variable> {
    table.check_keys(problems);
    let fixed = table.text(&FIXED, problems).map(|t| t.value.to_owned());
    if table.lacks(&TYPE) && fixed.is_none() {
        problems.push(table.missing(&TYPE));
    }
    let of = table.word(&TYPE, &Type::WORDS, problems).or(fixed.as_ref().map(|_| Type::Text))?;
    let is_optional = table.boolean(&OPTIONAL, problems).unwrap_or(false);
    let is_free = table.boolean(&FREE, problems).unwrap_or(false);
    let bounds = 1..KIT_VALUE_CHARS_MAX as u64 + 1;
    let chars_max = table.integer(&MAX, bounds, problems).map_or(KIT_VALUE_CHARS_DEFAULT, |n| n as usize);
    let default = table.text(&DEFAULT, problems).map(|t| t.value.to_owned());
    for key in [&DEFAULT, &FIXED].into_iter().filter(|key| of != Type::Text && table.has(key.name)) {
        let message = format!("`{}` is for variables of type text", key.name);
        problems.push(table.problem("E008", message, table.key_span(key.name)));
    }
    let example = match &fixed {
        Some(fixed) => Fact::text(fixed.as_str()),
        None => example(of, table, problems)?,
    };
    let chars_max = fixed.as_ref().map_or(chars_max, |fixed| chars_max.max(fixed.chars().count()));
    let is_required = !is_optional && default.is_none();
    Some(Variable { name: name.to_owned(), of, is_required, is_free, chars_max, example, default, fixed })
}

fn example(of: Type, table: &Section<'_, '_>, problems: &mut Vec<Problem>) -> Option<Fact> {
    if table.lacks(&EXAMPLE) {
        problems.push(table.missing(&EXAMPLE));
        return None;
    }
    match of {
        Type::Text => table.text(&EXAMPLE, problems).map(|t| Fact::text(t.value)),
        Type::List => {
            let items = table.texts(&EXAMPLE, problems)?;
            Some(Fact::List(items.iter().map(|t| t.value.to_owned()).collect()))
        }
        Type::Time => {
            let display = table.text(&EXAMPLE, problems)?;
            let spoken = table.required_text(&SPOKEN, problems)?;
            Some(Fact::time(display.value, spoken.value))
        }
        Type::Number => {
            let value = table.value(EXAMPLE.name)?;
            let number = match value.get_ref() {
                DeValue::Integer(n) => i64::from_str_radix(n.as_str(), n.radix()).ok(),
                _ => None,
            };
            if number.is_none() {
                problems.push(table.wrong_type(EXAMPLE.name, value, "an integer", "example = 120"));
            }
            number.map(Fact::Number)
        }
    }
}
