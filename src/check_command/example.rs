//! The mistakes that explanations show, each with its mend. They stand in `examples.toml`; every code has one, and a
//! test makes each mistake and mends it.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::{against_rules, line, of_setting};
use crate::clock::Clock;
use crate::config;
use crate::kit::{Fact, Kind, Kits};
use crate::policy::load::{LoadOptions, load};
use crate::policy::render::{self, Texts};
use crate::policy::source::RULESET;
use crate::policy::{Problem, RuleSource};

const EXAMPLES: &str = include_str!("examples.toml");
/// Begins a further file within an example; its path follows.
const FILE: &str = "=== ";
const SETTINGS: &str = "ringfence.toml";
const CUSTOMER: &str = "customers/acme.toml";

const HEADER: &str = "ringfence = 1\ndefault_action = \"allow\"\n";
const FIREWALL: &str = "[[firewall]]\nid = \"fw-example\"\nwhen = 'direction == inbound'\naction = \"block\"\n";
const THRESHOLD: &str = "[[threshold]]\nid = \"ips-example\"\non = \"end\"\nmeasure = \"count\"\nper = [\"caller\"]\n\
                         window = \"10m\"\nwarning = \">= 30\"\n";
const LIST: &str = "[lists]\nblocked = { type = \"number\", file = \"lists/blocked.csv\" }\n\
                    [[firewall]]\nid = \"fw-blocked\"\nwhen = 'caller in $blocked'\naction = \"block\"\n";
const CUSTOMER_BASE: &str = "name = \"Acme\"\ntime_zone = \"America/Chicago\"\ncommand = { commanders = [\"maria\"] }\n\
                             escalation = { name = \"Service desk\", phone = \"+4684000100\" }\n";

/// Where the text of an example stands, and so what has to stand around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Home {
    /// All of `ruleset.toml`.
    Ruleset,
    /// Below the header of `ruleset.toml`.
    Rules,
    /// Keys of one rule.
    Firewall,
    Threshold,
    /// The lines of a list's file.
    List,
    /// Keys and tables of a customer's file.
    Customer,
    /// All of it.
    CustomerFile,
    Settings,
    /// Lines of a kit.
    Kit,
    /// Values that somebody types into a message, as `kit preview --set` takes them.
    Values,
    /// A form that somebody has edited.
    Message,
    /// Only what it says itself.
    Files,
}

/// A mistake and its mend.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Example {
    code: String,
    #[serde(rename = "in")]
    home: Home,
    pub(super) wrong: String,
    pub(super) right: String,
    /// Codes that are told beside it, whatever one does.
    #[serde(default)]
    pub(super) also: Vec<String>,
}

#[derive(Deserialize)]
struct All {
    example: Vec<Example>,
}

fn all() -> Vec<Example> {
    toml::from_str::<All>(EXAMPLES).expect("the examples are part of the program, and a test reads them").example
}

pub(super) fn of(code: &str) -> Option<Example> {
    all().into_iter().find(|example| example.code == code)
}

impl Example {
    /// The file that the text stands in, as people call it.
    pub(super) fn home(&self) -> &'static str {
        match self.home {
            Home::Ruleset => RULESET,
            Home::Rules => "a rule file",
            Home::Firewall => "a firewall rule",
            Home::Threshold => "a threshold",
            Home::List => "the file of a list",
            Home::Customer | Home::CustomerFile => "a customer's file",
            Home::Settings => "the settings",
            Home::Kit => "a kit",
            Home::Values => "the values of a message",
            Home::Message => "a message",
            Home::Files => "the folder of the rules",
        }
    }

    /// The mistake as `check` shows it; empty where it takes a real folder to see it.
    pub(super) fn drawn(&self, code: &str, colour: bool) -> String {
        let files = self.files(&self.wrong);
        let of_code = |told: Vec<(String, String)>| told.into_iter().filter(|(c, _)| c == code).map(|(_, line)| line);
        match self.home {
            Home::Settings => of_code(told_of_settings(&files)).collect(),
            Home::Values | Home::Message => of_code(self.told_of_message(&self.wrong)).take(1).collect(),
            _ => {
                let (problems, texts) = self.problems(&RuleSource::memory(files));
                let of_code = problems.iter().filter(|problem| problem.code == code);
                of_code.take(1).map(|problem| render::drawing(problem, &texts, colour)).collect()
            }
        }
    }

    /// `(code, line)` of everything that is told of the message before it goes out.
    fn told_of_message(&self, text: &str) -> Vec<(String, String)> {
        let kit = Kits::shipped().get(Kind::Action).clone();
        let mut facts = kit.examples(|_| false);
        let given = || text.lines().filter_map(|line| line.split_once('='));
        if self.home == Home::Values {
            given().for_each(|(name, value)| facts.set(name, Fact::text(value)));
        }
        let (mut forms, mut lints) = kit.draw(&facts);
        if self.home == Home::Message {
            given().for_each(|(_, value)| forms.acd = value.to_owned());
            lints = forms.lints();
        }
        let severity = |is_error: bool| if is_error { "error" } else { "warning" };
        lints.iter().map(|l| (l.code.to_owned(), format!("{}[{}]: {l}\n", severity(l.is_error), l.code))).collect()
    }

    fn problems(&self, source: &RuleSource) -> (Vec<Problem>, Texts) {
        if self.home == Home::Kit {
            let (_, problems, texts) = Kits::read(source);
            return (problems, texts);
        }
        let loaded = load(source, LoadOptions { now: Some(Clock.now()) });
        (loaded.problems, loaded.texts)
    }

    /// Every file that it takes, by path.
    fn files(&self, text: &str) -> BTreeMap<String, String> {
        let mut files = BTreeMap::new();
        let mut path: &str = match self.home {
            Home::Ruleset | Home::Rules | Home::Firewall | Home::Threshold => RULESET,
            Home::List => "lists/blocked.csv",
            Home::Customer | Home::CustomerFile => CUSTOMER,
            Home::Settings => SETTINGS,
            Home::Kit => "holding.toml",
            Home::Files | Home::Values | Home::Message => "",
        };
        let mut own = String::new();
        for line in text.split_inclusive('\n') {
            match line.strip_prefix(FILE) {
                Some(next) => {
                    files.insert(path.to_owned(), std::mem::take(&mut own));
                    path = next.trim();
                }
                None => own += line,
            }
        }
        files.insert(path.to_owned(), own);
        files.remove("");
        let mut around = |path: &str, whole: &dyn Fn(&str) -> String| {
            let own = files.get(path).map_or("", String::as_str);
            let whole = whole(own);
            files.insert(path.to_owned(), whole);
        };
        match self.home {
            Home::Rules => around(RULESET, &|own| format!("{HEADER}{own}")),
            Home::Firewall => around(RULESET, &|own| format!("{HEADER}{}", replaced(FIREWALL, own))),
            Home::Threshold => around(RULESET, &|own| format!("{HEADER}{}", replaced(THRESHOLD, own))),
            Home::List => around(RULESET, &|own| format!("{HEADER}{LIST}{own}")),
            Home::CustomerFile | Home::Settings => around(RULESET, &|own| format!("{HEADER}{own}")),
            Home::Customer => {
                around(RULESET, &|own| format!("{HEADER}{own}"));
                around(CUSTOMER, &|own| replaced(CUSTOMER_BASE, own));
            }
            Home::Kit => around("holding.toml", &|own| replaced(holding(), own)),
            Home::Ruleset | Home::Files | Home::Values | Home::Message => {}
        }
        files
    }
}

/// The kit that examples are made in.
fn holding() -> &'static str {
    Kits::shipped_files().find(|(path, _)| *path == "holding.toml").map_or("", |(_, text)| text)
}

/// `base` without the lines of keys that `own` gives, and `own` behind it; a text of several lines is one.
fn replaced(base: &str, own: &str) -> String {
    fn key(line: &str) -> Option<&str> {
        let (key, _) = line.split_once('=')?;
        let key = key.trim();
        (!key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')).then_some(key)
    }
    let mut is_inside = false;
    // Keys take the place of the base's, tables come behind them all.
    let (keys, tables) = own
        .find("[")
        .filter(|at| *at == 0)
        .map_or_else(|| own.find("\n[").map_or((own, ""), |at| own.split_at(at + 1)), |at| own.split_at(at));
    let given: Vec<&str> = keys.lines().filter_map(key).collect();
    let mut out = String::new();
    let mut is_left_out = false;
    let mut keys = Some(keys);
    for line in base.split_inclusive('\n') {
        if !is_inside {
            is_left_out = key(line).is_some_and(|key| given.contains(&key));
            if is_left_out {
                // In its place, so that it stays in its table.
                out += keys.take().unwrap_or_default();
            }
        }
        if line.matches("'''").count() % 2 == 1 {
            is_inside = !is_inside;
        }
        if !is_left_out {
            out += line;
        }
    }
    out + keys.unwrap_or_default() + tables
}

/// `(code, line)` of everything that `check` says of settings and the rules beside them.
fn told_of_settings(files: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let path = Path::new(SETTINGS);
    let (config, problems) = config::parse(files.get(SETTINGS).map_or("", String::as_str), path);
    let rules = files.iter().filter(|(path, _)| *path != SETTINGS).map(|(path, text)| (path.clone(), text.clone()));
    let policy = load(&RuleSource::memory(rules), LoadOptions::default()).policy;
    let mut found: Vec<_> = problems.iter().map(of_setting).collect();
    found.extend(config.iter().flat_map(|config| against_rules(path, config, policy.as_ref())));
    found.iter().map(|told| (told.code.to_owned(), line(told))).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::explain;
    use super::*;

    /// Codes told of the files, those of errors apart. On a real disk: some mistakes are those of a file's age or of a
    /// folder.
    fn codes(example: &Example, text: &str) -> (BTreeSet<String>, BTreeSet<String>) {
        let files = example.files(text);
        let mut codes = BTreeSet::new();
        if example.home == Home::Settings {
            codes.extend(told_of_settings(&files).into_iter().map(|(code, _)| code));
        } else if matches!(example.home, Home::Values | Home::Message) {
            codes.extend(example.told_of_message(text).into_iter().map(|(code, _)| code));
        } else {
            let folder = tempfile::tempdir().unwrap();
            for (path, text) in &files {
                let path = folder.path().join(path);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                if !path.ends_with(".keep") {
                    std::fs::write(path, text).unwrap();
                }
            }
            let source = RuleSource::at(folder.path());
            let problems = match example.home {
                Home::Kit => Kits::read(&source).1,
                _ => load(&source, LoadOptions { now: Some(Clock.now().plus_ms(60_000)) }).problems,
            };
            codes.extend(problems.into_iter().map(|problem| problem.code.to_owned()));
        }
        let errors = codes.iter().filter(|code| code.starts_with('E')).cloned().collect();
        (codes, errors)
    }

    #[test]
    fn every_code_has_an_example_whose_mistake_is_told_by_it_and_whose_mend_is_good() {
        let examples = all();
        let mut wrong = Vec::new();
        for code in explain::all() {
            let Some(example) = examples.iter().find(|example| example.code == code.code) else {
                wrong.push(format!("{} has no example in examples.toml", code.code));
                continue;
            };
            let (told, errors) = codes(example, &example.wrong);
            if !told.contains(code.code) {
                wrong.push(format!("{}: the mistake is told as {told:?}", code.code));
            }
            let others: Vec<_> =
                errors.iter().filter(|other| *other != code.code && !example.also.contains(other)).collect();
            if !others.is_empty() {
                wrong.push(format!("{}: the mistake is more than one: {others:?}", code.code));
            }
            let (told, errors) = codes(example, &example.right);
            if told.contains(code.code) || !errors.is_empty() {
                wrong.push(format!("{}: the mend is told as {told:?}", code.code));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn examples_are_of_codes_that_there_are_and_each_of_one() {
        let codes: BTreeSet<_> = explain::all().iter().map(|code| code.code).collect();
        let mut seen = BTreeSet::new();
        for example in all() {
            assert!(codes.contains(example.code.as_str()), "{}", example.code);
            assert!(seen.insert(example.code.clone()), "{} twice", example.code);
        }
    }

    #[test]
    fn every_code_that_the_program_tells_is_explained() {
        let codes: BTreeSet<_> = explain::all().iter().map(|code| code.code).collect();
        let mut folders = vec![std::path::PathBuf::from("src")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let text = std::fs::read_to_string(&path).unwrap();
                let text = text.split("#[cfg(test)]").next().unwrap_or_default();
                for code in text.split('"').filter(|word| word.len() == 4 && word.starts_with(['E', 'W'])) {
                    let is_code = code.chars().skip(1).all(|c| c.is_ascii_digit());
                    assert!(!is_code || code == "E000" || codes.contains(code), "{code} in {}", path.display());
                }
            }
        }
    }
}
