//! From the files of a rule set to one [`Policy`], or to every mistake in them at once.
//!
//! Files are read in the order of `include`, then lists, calendars and macros are gathered from all of them, then
//! rules are compiled against these. Nothing stops at the first mistake, and a mistake is told once, where it
//! stands: what only follows from it is kept back.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::sync::Arc;

use jiff::tz::TimeZone;
use serde_spanned::Spanned;
use sha2::{Digest, Sha256};
use toml::de::DeTable;

use super::declared::{self, Declared};
use super::document::{Document, Section, short};
use super::lists::utf8;
use super::problem::{Problem, suggest};
use super::render::Texts;
use super::rules::{self, KnownCustomers, Rules, Sources};
use super::source::{RULESET, RuleSource};
use super::{Action, Policy, Written, tables, usual};
use crate::clock::Timestamp;
use crate::customer::{self, Customers, Surroundings};
use crate::event::numbering::{Numbering, NumberingFiles};
use crate::limits::{
    CUSTOMERS_MAX, LATENESS_MS_DEFAULT, MAX_KEYS_DEFAULT, PROBLEMS_MAX, RULE_FILE_BYTES_MAX, RULE_FILES_MAX,
};

/// Version of the rule language that this build reads.
const LANGUAGE_VERSION: u64 = 1;
/// `include`, unless `ruleset.toml` says otherwise.
const INCLUDE_DEFAULT: [&str; 2] = ["firewall/*.toml", "ips/*.toml"];

/// What loading depends on beside the files.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoadOptions {
    /// To tell how old a list file is; nothing is called old without it.
    pub now: Option<Timestamp>,
}

/// What came of a rule set.
#[derive(Debug)]
pub struct Loaded {
    /// There if nothing in `problems` is an error.
    pub policy: Option<Policy>,
    /// In the order of files and places.
    pub problems: Vec<Problem>,
    /// What the problems point into.
    pub texts: Texts,
    pub counts: Counts,
}

impl Loaded {
    pub fn n_errors(&self) -> usize {
        self.problems.iter().filter(|p| p.is_error).count()
    }

    pub fn n_warnings(&self) -> usize {
        self.problems.len() - self.n_errors()
    }
}

/// What was checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub firewall: usize,
    pub thresholds: usize,
    pub lists: usize,
    pub entries: usize,
    /// Files of customers.
    pub customers: usize,
}

/// The top of `ruleset.toml`.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) default_action: Action,
    pub(crate) time_zone: TimeZone,
    pub(crate) lateness_ms: i64,
    pub(crate) max_keys: u64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            default_action: Action::Allow,
            time_zone: TimeZone::UTC,
            lateness_ms: LATENESS_MS_DEFAULT,
            max_keys: MAX_KEYS_DEFAULT,
        }
    }
}

/// Reads, checks and compiles a rule set.
pub fn load(source: &RuleSource, options: LoadOptions) -> Loaded {
    let mut problems = Vec::new();
    let files = gather(source, &mut problems);
    let customer_files = gather_customers(source, &mut problems);
    let documents = parse(&files, &mut problems);
    let customer_documents = parse(&customer_files, &mut problems);

    let settings = settings(&documents, &files, &mut problems);
    for document in &documents {
        check_tables(document, &mut problems);
    }
    let mut texts = Texts::new(source.prefix());
    let mut hash = Sha256::new();
    for file in files.iter().chain(&customer_files) {
        digest(&mut hash, &file.path, file.text.as_bytes());
    }
    let mut read = ListReads { source, options, hash: &mut hash, texts: &mut texts };
    let declared = declared::declare(&documents, &customer_documents, &settings, &mut read, &mut problems);
    let numbering = numbering(source, &mut hash, &mut problems);
    let is_closed = source.has_folder(customer::FOLDER);
    let (customers_own, baselines): (Vec<_>, Vec<_>) =
        customer_documents.iter().map(|d| (customer::id_of(d.path), d)).partition(|(_, d)| !is_baseline_file(d.path));
    let known = KnownCustomers { ids: customers_own.iter().map(|(id, _)| *id).collect(), is_closed };
    let sources = Sources { documents: &documents, customers: customers_own, baselines };
    sources.baselines.iter().for_each(|(_, document)| check_baseline(document, &mut problems));
    let mut rules = rules::compile(&sources, &settings, &declared, &known, options.now, &mut problems);
    let (ids, groups) = rules::names(documents.iter().chain(&customer_documents));
    let around =
        Surroundings { settings: &settings, numbering: &numbering, calendars: &declared.calendars, rules: ids, groups };
    if is_closed {
        digest(&mut hash, customer::FOLDER, &[]);
    }
    let mut read = ListReads { source, options, hash: &mut hash, texts: &mut texts };
    usual::read(&mut rules, &settings.time_zone, &mut read, &mut problems);
    let customers = sources.customers.iter().map(|(_, document)| *document);
    let customers = customer::compile(customers, is_closed, &around, &mut read, &mut problems);
    let n_customers = sources.customers.len();
    declared::check_use(documents.iter().chain(&customer_documents), &declared, &rules, &mut problems);
    not_included(source, &files, &mut problems);

    let all = || documents.iter().chain(&customer_documents);
    if all().any(|d| !d.broken.is_empty()) {
        keep_root_causes(all, &mut problems);
    }
    // A list that stands in for those of customers is nobody's.
    let lists = || declared.lists.iter().filter(|list| !is_customer_file(&list.place.path));
    let counts = Counts {
        firewall: rules.n_firewall,
        thresholds: rules.n_thresholds,
        lists: lists().count(),
        entries: lists().map(|list| list.n_entries).sum(),
        customers: n_customers,
    };
    let order: HashMap<&str, usize> =
        files.iter().chain(&customer_files).enumerate().map(|(i, f)| (f.path.as_str(), i)).collect();
    arrange(&mut problems, &order, source.only());
    let is_usable = !problems.iter().any(|p| p.is_error) && !files.is_empty();
    let policy = is_usable.then(|| {
        let written = Written::gather(&documents, &customer_documents, &declared);
        Policy { written, files: source.opened(), ..policy(settings, declared, rules, numbering, customers, &hash) }
    });
    drop((documents, customer_documents));
    for file in files.into_iter().chain(customer_files) {
        texts.insert(file.path, file.text);
    }
    Loaded { policy, problems, texts, counts }
}

fn policy(
    settings: Settings,
    declared: Declared,
    rules: Rules,
    numbering: Arc<Numbering>,
    customers: Customers,
    hash: &Sha256,
) -> Policy {
    let digest = hash.clone().finalize();
    let version: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let own_numbers = declared.lists.iter().position(|list| list.name == declared::OWN_NUMBERS);
    Policy {
        version: version.chars().take(7).collect(),
        default_action: settings.default_action,
        time_zone: settings.time_zone,
        lateness_ms: settings.lateness_ms,
        firewall: rules.firewall,
        thresholds: rules.thresholds,
        keys: rules.keys,
        lists: declared.lists.into_iter().map(|list| list.compiled).chain(rules.hidden_lists).collect(),
        calendars: declared.calendars,
        numbering,
        own_numbers,
        files: Vec::new(),
        customers: Arc::new(customers),
        written: Written::default(),
    }
}

/// One file of rules, as text.
struct RuleFile {
    path: String,
    text: String,
    /// Holds the settings.
    is_ruleset: bool,
}

fn parse<'f>(files: &'f [RuleFile], problems: &mut Vec<Problem>) -> Vec<Document<'f>> {
    files.iter().map(|file| Document::parse(&file.path, &file.text, problems)).collect()
}

/// Every rule file of the set, in evaluation order.
fn gather(source: &RuleSource, problems: &mut Vec<Problem>) -> Vec<RuleFile> {
    let mut files = Vec::new();
    let all = match source.all_toml() {
        Ok(all) => all,
        Err(e) => {
            problems.push(Problem::error("E010", format!("rules cannot be read: {e}")).at("", 0..0));
            return files;
        }
    };
    if source.exists(RULESET) {
        let Some(ruleset) = read_file(source, RULESET, true, problems) else { return files };
        let included = included(source, &ruleset, problems);
        files.push(ruleset);
        let mut paths: BTreeSet<String> = BTreeSet::from([RULESET.to_owned()]);
        let asked = source.only().filter(|p| is_rule_file(p)).map(str::to_owned);
        for path in included.into_iter().chain(asked) {
            if is_rule_file(&path) && paths.insert(path.clone()) {
                files.extend(read_file(source, &path, false, problems));
            }
        }
    } else {
        let paths: Vec<String> = match source.only() {
            Some(only) => vec![only.to_owned()],
            None => all.into_iter().filter(|p| is_rule_file(p)).collect(),
        };
        files.extend(paths.iter().filter_map(|path| read_file(source, path, false, problems)));
        // A file with a header of its own is the ruleset, whatever its name.
        if let Some(header) = files.iter().position(|f| has_header(&f.text)) {
            files[header].is_ruleset = true;
            files.swap(0, header);
        } else if paths.is_empty() {
            let problem = Problem::error("E028", "there are no rules in this folder").at("", 0..0);
            problems.push(problem.help("a rule folder holds ruleset.toml, firewall/*.toml and ips/*.toml"));
        } else if !files.is_empty() {
            let message =
                format!("no {RULESET} here: {} read with defaults, calls are allowed", rule_files(files.len()));
            problems
                .push(Problem::warning("W104", message).at("", 0..0).help("ruleset.toml begins with: ringfence = 1"));
        }
    }
    files
}

/// Every customer's file, found by its place.
fn gather_customers(source: &RuleSource, problems: &mut Vec<Problem>) -> Vec<RuleFile> {
    let mut paths = source.glob(&format!("{}/*.toml", customer::FOLDER)).unwrap_or_else(|e| {
        let message = format!("`{}` cannot be read: {}", customer::FOLDER, reason(&e));
        problems.push(Problem::error("E010", message).at(customer::FOLDER, 0..0));
        Vec::new()
    });
    if paths.len() > CUSTOMERS_MAX {
        let message = format!("{} customers, limit is {CUSTOMERS_MAX}", paths.len());
        problems.push(Problem::error("E027", message).at(customer::FOLDER, 0..0));
        paths.truncate(CUSTOMERS_MAX);
    }
    paths.iter().filter_map(|path| read_file(source, path, false, problems)).collect()
}

fn rule_files(n: usize) -> String {
    if n == 1 { "1 rule file".to_owned() } else { format!("{n} rule files") }
}

/// Tests and customers' files have their place and are not rules of the set.
fn is_rule_file(path: &str) -> bool {
    path.ends_with(".toml") && !path.ends_with(".test.toml") && !path.starts_with("tests/") && !is_customer_file(path)
}

fn is_customer_file(path: &str) -> bool {
    path.strip_prefix(customer::FOLDER).is_some_and(|rest| rest.starts_with('/'))
}

fn has_header(text: &str) -> bool {
    DeTable::parse_recoverable(text).0.get_ref().contains_key(tables::RINGFENCE.name)
}

fn read_file(source: &RuleSource, path: &str, is_ruleset: bool, problems: &mut Vec<Problem>) -> Option<RuleFile> {
    match source.read(path, RULE_FILE_BYTES_MAX) {
        Ok(file) => {
            let text = utf8(path, &file.bytes, problems).into_owned();
            Some(RuleFile { path: path.to_owned(), text, is_ruleset })
        }
        Err(e) => {
            problems.push(Problem::error("E010", format!("`{path}` cannot be read: {}", reason(&e))).at(path, 0..0));
            None
        }
    }
}

/// Without the number of the operating system.
pub(crate) fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

/// What `include` of the ruleset names, patterns in written order.
fn included(source: &RuleSource, ruleset: &RuleFile, problems: &mut Vec<Problem>) -> Vec<String> {
    // Its other mistakes are told when it is read with the rest.
    let mut told_later = Vec::new();
    let document = Document::parse(&ruleset.path, &ruleset.text, &mut told_later);
    let top = document.table();
    let mut paths = Vec::new();
    let mut add = |pattern: &str, place: Option<std::ops::Range<usize>>| {
        let at = |p: Problem| p.at(&ruleset.path, place.clone().unwrap_or(0..0));
        match source.glob(pattern) {
            Ok(found) if found.is_empty() && !pattern.contains('*') => {
                problems.push(
                    at(Problem::error("E010", format!("`{}` cannot be read: there is no such file", short(pattern))))
                        .help("paths are relative to ruleset.toml"),
                );
            }
            Ok(found) => paths.extend(found),
            Err(e) => problems
                .push(at(Problem::error("E010", format!("`{}` cannot be read: {}", short(pattern), reason(&e))))),
        }
    };
    match top.texts(&tables::INCLUDE, &mut told_later) {
        Some(patterns) => patterns.iter().for_each(|p| add(p.value, Some(p.span.clone()))),
        None => INCLUDE_DEFAULT.iter().for_each(|p| add(p, None)),
    }
    if paths.len() > RULE_FILES_MAX {
        let message = format!("`include` names {} files, limit is {RULE_FILES_MAX}", paths.len());
        problems.push(top.problem("E027", message, top.key_span(tables::INCLUDE.name)));
        paths.truncate(RULE_FILES_MAX);
    }
    paths
}

/// The settings at the top of the ruleset; in other files they are out of place.
fn settings(documents: &[Document<'_>], files: &[RuleFile], problems: &mut Vec<Problem>) -> Settings {
    let mut settings = Settings::default();
    for (document, file) in documents.iter().zip(files) {
        let top = document.table();
        if file.is_ruleset {
            let top = top.named(RULESET).keyed(tables::SETTINGS);
            settings = read_settings(&top, problems);
            continue;
        }
        for key in tables::SETTINGS.iter().filter(|key| top.has(key.name)) {
            let message = format!("`{}` is a setting of {RULESET}", key.name);
            problems.push(top.problem("E008", message, top.key_span(key.name)).help(format!("move it to {RULESET}")));
        }
    }
    settings
}

fn read_settings(top: &Section<'_, '_>, problems: &mut Vec<Problem>) -> Settings {
    let mut settings = Settings::default();
    let start = top.clone().at(0..0);
    for key in [&tables::RINGFENCE, &tables::DEFAULT_ACTION].into_iter().filter(|key| top.lacks(key)) {
        problems.push(start.missing(key));
    }
    if let Some(version) = top.integer(&tables::RINGFENCE, 0..u64::MAX, problems)
        && version != LANGUAGE_VERSION
    {
        let message = format!("language version {version} is not known to this build, which reads {LANGUAGE_VERSION}");
        problems.push(top.problem("E026", message, value_span(top, tables::RINGFENCE.name)));
    }
    let actions = [("allow", Action::Allow), ("block", Action::Block)];
    settings.default_action = top.word(&tables::DEFAULT_ACTION, &actions, problems).unwrap_or_default();
    if let Some(zone) = declared::time_zone(top, problems) {
        settings.time_zone = zone;
    }
    if let Some(lateness) = rules::duration(top, &tables::LATENESS, problems) {
        settings.lateness_ms = lateness;
    }
    if let Some(max_keys) = top.integer(&tables::MAX_KEYS, 1..1 << 32, problems) {
        settings.max_keys = max_keys;
    }
    // Its elements; that it is an array of texts.
    top.texts(&tables::INCLUDE, problems);
    settings
}

pub(crate) fn value_span(section: &Section<'_, '_>, name: &str) -> std::ops::Range<usize> {
    section.value(name).map_or(section.span.clone(), Spanned::span)
}

/// Unknown tables and stray keys at the top of a file.
fn check_tables(document: &Document<'_>, problems: &mut Vec<Problem>) {
    let top = document.table();
    for (name, span, value) in top.keys() {
        let is_known = |keys: &[super::document::Key]| keys.iter().any(|k| k.name == name);
        if is_known(tables::TABLES) || is_known(tables::SETTINGS) {
            continue;
        }
        if name == tables::EXCEPTION.name {
            let problem = top.problem("E008", "`[[exception]]` is a table of customers' files", span);
            problems.push(problem.help("write it as `except` or `mute` of the rule itself"));
            continue;
        }
        let is_table = value.get_ref().is_table()
            || value.get_ref().as_array().is_some_and(|a| a.iter().any(|v| v.get_ref().is_table()));
        let (code, what) = if is_table { ("E003", "table") } else { ("E002", "key") };
        let names = || tables::TABLES.iter().chain(tables::SETTINGS).map(|k| k.name);
        let problem = match suggest(name, names()) {
            Some(near) => top.problem(code, format!("unknown {what} `{}`; did you mean `{near}`?", short(name)), span),
            None => {
                let known =
                    "a rule file has [[firewall]], [[threshold]], [[override]], [macros], [lists] and [calendars]";
                top.problem(code, format!("unknown {what} `{}`", short(name)), span).help(known)
            }
        };
        problems.push(problem);
    }
}

/// A file of `ringfence baseline` beside that of its customer: overrides that people review, and nothing else.
fn is_baseline_file(path: &str) -> bool {
    path.ends_with(".baseline.toml")
}

fn check_baseline(document: &Document<'_>, problems: &mut Vec<Problem>) {
    let top = document.table();
    for (name, span, _) in top.keys() {
        if !tables::BASELINE_TABLES.iter().any(|key| key.name == name) {
            let message = format!("`{}` has no place in a file of baselines", short(name));
            let problem = top.problem("E003", message, span);
            problems
                .push(problem.help("it takes [[override]] and [[exception]]; the rest stands in customers/<id>.toml"));
        }
    }
}

/// Replaces the numbering tables by those of the rule folder, where it has some.
fn numbering(source: &RuleSource, hash: &mut Sha256, problems: &mut Vec<Problem>) -> Arc<Numbering> {
    const FILES: [&str; 4] = ["countries", "classes", "emergency", "dialplans"];
    let mut texts: [Option<String>; 4] = Default::default();
    for (name, text) in FILES.iter().zip(&mut texts) {
        let path = format!("numbering/{name}.csv");
        if !source.exists(&path) {
            continue;
        }
        match source.read(&path, RULE_FILE_BYTES_MAX) {
            Ok(file) => {
                digest(hash, &path, &file.bytes);
                *text = Some(utf8(&path, &file.bytes, problems).into_owned());
            }
            Err(e) => problems
                .push(Problem::error("E010", format!("`{path}` cannot be read: {}", reason(&e))).at(&path, 0..0)),
        }
    }
    if texts.iter().all(Option::is_none) {
        return Numbering::builtin();
    }
    let [countries, classes, emergency, dial_plans] = &texts;
    let shipped = NumberingFiles::BUILTIN;
    let files = NumberingFiles {
        countries: countries.as_deref().unwrap_or(shipped.countries),
        classes: classes.as_deref().unwrap_or(shipped.classes),
        emergency: emergency.as_deref().unwrap_or(shipped.emergency),
        dial_plans: dial_plans.as_deref().unwrap_or(shipped.dial_plans),
    };
    match Numbering::parse(files) {
        Ok(numbering) => Arc::new(numbering),
        Err(messages) => {
            problems.extend(messages.into_iter().map(|m| Problem::error("E011", m).at("numbering", 0..0)));
            Numbering::builtin()
        }
    }
}

/// Reads the files that lists name, and remembers what was read.
pub(crate) struct ListReads<'r> {
    pub(crate) source: &'r RuleSource,
    pub(crate) options: LoadOptions,
    hash: &'r mut Sha256,
    texts: &'r mut Texts,
}

impl ListReads<'_> {
    pub(crate) fn was_read(&mut self, path: &str, bytes: &[u8]) {
        digest(self.hash, path, bytes);
    }

    /// Keeps the text of a file with problems, for their carets.
    pub(crate) fn keep(&mut self, path: &str, text: &str) {
        self.texts.insert(path, text);
    }
}

fn digest(hash: &mut Sha256, path: &str, bytes: &[u8]) {
    hash.update((path.len() as u64).to_le_bytes());
    hash.update(path.as_bytes());
    hash.update((bytes.len() as u64).to_le_bytes());
    hash.update(bytes);
}

/// Rule files that lie in the folder and do nothing, and customers' files that lie too deep.
fn not_included(source: &RuleSource, files: &[RuleFile], problems: &mut Vec<Problem>) {
    if !source.exists(RULESET) {
        return;
    }
    let paths = source.all_toml().unwrap_or_default();
    // A folder with a `ruleset.toml` of its own is another set.
    let other = |path: &str| {
        let own = path.rsplit_once('/').map(|(folder, _)| format!("{folder}/{RULESET}"));
        own.is_some_and(|own| paths.contains(&own))
    };
    for path in &paths {
        let path = path.as_str();
        if other(path) {
            continue;
        }
        if is_customer_file(path) {
            if path.matches('/').count() > 1 {
                let message = format!("`{path}` lies too deep: nobody reads it");
                let problem = Problem::error("E037", message).at(path, 0..0);
                problems.push(problem.help("customers' files lie in customers/ itself"));
            }
        } else if is_rule_file(path) && !files.iter().any(|f| f.path == path) && has_rules(source, path) {
            let problem = Problem::warning("W107", format!("`{path}` is not included: its rules do nothing"));
            problems.push(problem.at(path, 0..0).help("add it to `include` in ruleset.toml"));
        }
    }
}

/// Other TOML may lie beside the rules.
fn has_rules(source: &RuleSource, path: &str) -> bool {
    let Ok(file) = source.read(path, RULE_FILE_BYTES_MAX) else { return true };
    let text = String::from_utf8_lossy(&file.bytes);
    text.lines().any(|line| matches!(line.trim(), "[[firewall]]" | "[[threshold]]" | "[[override]]"))
}

/// A broken file lacks what could not be read of it, and its broken lines read as something else: neither is a
/// mistake of its own.
fn keep_root_causes<'d, 't: 'd, D>(documents: impl Fn() -> D, problems: &mut Vec<Problem>)
where
    D: Iterator<Item = &'d Document<'t>>,
{
    const FOLLOW: [&str; 11] = ["E005", "E016", "E019", "E020", "E033", "E038", "E047", "E049", "E050", "E051", "W111"];
    let is_on_broken_line = |p: &Problem| {
        let place = p.place.as_ref();
        place.is_some_and(|at| documents().any(|d| d.path == at.path && d.is_broken_at(at.span.start)))
    };
    problems.retain(|p| matches!(p.code, "E001" | "E007") || !FOLLOW.contains(&p.code) && !is_on_broken_line(p));
}

/// By file and place, each once; of one file, where one was asked for.
fn arrange(problems: &mut Vec<Problem>, order: &HashMap<&str, usize>, only: Option<&str>) {
    if let Some(only) = only {
        problems.retain(|p| p.is_error || p.place.as_ref().is_none_or(|place| place.path == only));
    }
    let rank =
        |p: &Problem| p.place.as_ref().map(|place| order.get(place.path.as_str()).copied().unwrap_or(order.len()));
    problems.sort_by(|a, b| {
        let place = |p: &Problem| p.place.as_ref().map(|place| (place.path.clone(), place.span.start));
        rank(a).cmp(&rank(b)).then_with(|| place(a).cmp(&place(b)))
    });
    problems.dedup();
    if problems.len() > PROBLEMS_MAX {
        let more = problems.len() - PROBLEMS_MAX;
        problems.truncate(PROBLEMS_MAX);
        problems.push(Problem::error("E027", format!("{more} more problems are not shown")));
    }
}

#[cfg(test)]
#[allow(clippy::string_slice)]
mod tests {
    use super::super::check::{ReportFormat, check_report};
    use super::*;

    /// The report of a folder under `tests/data/rules`; tests run in the folder of the crate.
    fn report(folder: &str) -> (Loaded, String) {
        let source = RuleSource::at(format!("tests/data/rules/{folder}"));
        let loaded = load(&source, LoadOptions::default());
        let report = check_report(&loaded, ReportFormat::Text { colour: false });
        (loaded, report)
    }

    fn folders(parent: &str) -> Vec<String> {
        let entries = std::fs::read_dir(format!("tests/data/rules/{parent}")).unwrap();
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        assert!(!names.is_empty());
        names.into_iter().map(|name| format!("{parent}/{name}")).collect()
    }

    fn golden(folder: &str, report: &str) {
        let path = format!("{}/tests/data/rules/{folder}/report.txt", env!("CARGO_MANIFEST_DIR"));
        expect_test::expect_file![path].assert_eq(report);
    }

    #[test]
    fn every_kind_of_mistake_is_told_at_its_place_with_advice() {
        for folder in folders("invalid") {
            let (loaded, report) = report(&folder);
            assert!(loaded.policy.is_none() && loaded.n_errors() > 0, "{folder} loads: {report}");
            golden(&folder, &report);
        }
    }

    #[test]
    fn what_is_only_odd_is_warned_of_and_works() {
        for folder in folders("odd") {
            let (loaded, report) = report(&folder);
            assert!(loaded.policy.is_some() && loaded.n_warnings() > 0, "{folder}: {report}");
            golden(&folder, &report);
        }
    }

    #[test]
    fn valid_rule_sets_load_without_a_word() {
        for folder in folders("valid") {
            let (loaded, report) = report(&folder);
            assert!(loaded.policy.is_some() && loaded.problems.is_empty(), "{folder}: {report}");
        }
    }

    #[test]
    fn fourteen_different_mistakes_are_told_at_once() {
        let (loaded, _) = report("invalid/fourteen");
        let codes: BTreeSet<_> = loaded.problems.iter().filter(|p| p.is_error).map(|p| p.code).collect();
        assert!(codes.len() >= 14, "{codes:?}");
    }

    #[test]
    fn the_rules_of_workload_w1_load() {
        let shared = std::env::var("RINGFENCE_SHARED").unwrap_or_else(|_| "../shared".to_owned());
        let Ok(text) = std::fs::read_to_string(format!("{shared}/bench/w1-rules/ruleset.toml")) else {
            println!("did not run: there is no {shared}/bench/w1-rules");
            return;
        };
        let files = [(RULESET, text.as_str()), ("lists/blocked.csv", "value,comment\n+12120000000,calls\n")];
        let loaded = load(&RuleSource::memory(files), LoadOptions::default());
        let policy = loaded.policy.unwrap();
        assert_eq!((policy.firewall.len(), policy.thresholds.len()), (1, 4));
        assert_eq!(policy.firewall[0].cause, crate::policy::Cause::List);
        assert_eq!(policy.thresholds[0].max_keys, 2_000_000);
        assert_eq!((policy.thresholds[2].window_ms, policy.thresholds[2].cooldown_ms), (3_600_000, 3_600_000));
        assert_eq!(policy.keys.len(), 3, "caller, trunk, callee");
    }

    /// The example rules of the language's description, less what does not work yet.
    #[test]
    fn the_examples_of_the_language_load() {
        let shared = std::env::var("RINGFENCE_SHARED").unwrap_or_else(|_| "../shared".to_owned());
        let Ok(text) = std::fs::read_to_string(format!("{shared}/spec/2-rules.md")) else {
            println!("did not run: there is no {shared}/spec/2-rules.md");
            return;
        };
        let examples = text.split("## 2.6").nth(1).unwrap().split("```").nth(1).unwrap().trim_start_matches("toml");
        let examples = examples.split("[[override]]").next().unwrap();
        let is_later = |line: &&str| ["except", "also", "for ="].iter().any(|key| line.starts_with(key));
        let examples: Vec<_> = examples.lines().filter(|line| !is_later(line)).collect();
        let examples = examples.join("\n").replace("\"< 40%\"", "\">= 40%\"").replace("\"< 20%\"", "\">= 60%\"");
        let files =
            [(RULESET, examples.as_str()), ("lists/harassers.csv", "+46701"), ("lists/irsf.csv", "value\n+2235550*")];
        let loaded = load(&RuleSource::memory(files), LoadOptions::default());
        let report = check_report(&loaded, ReportFormat::Text { colour: false });
        let policy = loaded.policy.unwrap_or_else(|| panic!("{report}"));
        assert_eq!((policy.firewall.len(), policy.thresholds.len()), (5, 9), "{report}");
        assert!(loaded.problems.iter().all(|p| p.code == "W110"), "{report}");
        assert_eq!(policy.firewall[4].cause, crate::policy::Cause::Analytics);
    }

    #[test]
    fn rules_are_counted_in_written_order_over_all_files_and_kinds() {
        let policy = report("valid/all-keys").0.policy.unwrap();
        let firewall = policy.firewall.iter().map(|rule| (rule.position, rule.id.as_str()));
        let thresholds = policy.thresholds.iter().map(|rule| (rule.position, rule.id.as_str()));
        let mut all: Vec<_> = firewall.chain(thresholds).collect();
        all.sort_unstable();
        let ids: Vec<_> = all.iter().map(|(_, id)| *id).collect();
        let (first, off) = (["fw-partner", "fw-lines", "fw-divert", "fw-flag"], "fw-off");
        assert_eq!(ids[..4], first);
        assert!(!ids.contains(&off));
        assert_eq!(all[4], (5, "fw-auto"), "a rule that is off keeps its place");
        assert_eq!(ids[5..8], ["ips-wangiri", "ips-share", "ips-irsf"]);
        assert_eq!(ids[11..], ["ips-register", "ips-concurrent"]);
    }

    #[test]
    fn defaults_are_those_of_the_language() {
        let policy = report("valid/all-keys").0.policy.unwrap();
        let rule = |id: &str| policy.thresholds.iter().find(|rule| rule.id == id).unwrap();
        assert_eq!(rule("ips-irsf").cooldown_ms, 3_600_000, "the window");
        assert_eq!(rule("ips-wangiri").cooldown_ms, 0);
        assert_eq!(rule("ips-concurrent").cooldown_ms, 60_000);
        assert_eq!((rule("ips-average").min_count, rule("ips-share").min_count), (20, 50));
        assert_eq!((rule("ips-irsf").max_keys, rule("ips-wangiri").max_keys), (500_000, 1000));
        assert_eq!((rule("ips-irsf").group.as_str(), rule("ips-irsf").target.as_slice()), ("ips-irsf", &[][..]));
        assert_eq!((rule("ips-share").group.as_str(), rule("ips-share").target.as_slice()), ("robocalls", &[1, 0][..]));
        let reaction = &rule("ips-wangiri").on_critical;
        assert!(reaction.alert && reaction.webhooks.is_empty() && reaction.block.is_some());
        assert!(!rule("ips-wangiri").on_warning.alert);
        assert_eq!(rule("ips-register").on_critical.block.as_ref().unwrap().ttl_ms, 3_600_000, "of the list");
        assert_eq!(rule("ips-register").on_critical.webhooks, ["noc"]);
        assert_eq!(policy.own_numbers, Some(0));
        assert_eq!((policy.lateness_ms, policy.default_action), (10_000, Action::Block));
    }

    #[test]
    fn the_version_changes_with_every_byte_that_was_read() {
        let version = |list: &str| {
            let rules = "ringfence = 1\ndefault_action = \"allow\"\n[lists]\na = { type = \"number\", file = \"a.csv\" }\n\
                [[firewall]]\nid = \"fw\"\nwhen = 'caller in $a'\naction = \"block\"\n";
            let loaded = load(&RuleSource::memory([(RULESET, rules), ("a.csv", list)]), LoadOptions::default());
            loaded.policy.unwrap().version
        };
        assert_eq!(version("+46701234567\n").len(), 7);
        assert_eq!(version("+46701234567\n"), version("+46701234567\n"));
        assert_ne!(version("+46701234567\n"), version("+46701234567\n# seen\n"));
    }

    #[test]
    fn an_old_list_file_is_told_and_used() {
        let folder = tempfile::tempdir().unwrap();
        let rules = "ringfence = 1\ndefault_action = \"allow\"\n[lists]\n\
            a = { type = \"number\", file = \"a.csv\", max_age = \"30d\" }\n\
            [[firewall]]\nid = \"fw\"\nwhen = 'caller in $a'\naction = \"block\"\n";
        std::fs::write(folder.path().join(RULESET), rules).unwrap();
        std::fs::write(folder.path().join("a.csv"), "+46701234567\n").unwrap();
        let codes = |now: Timestamp| {
            let loaded = load(&RuleSource::at(folder.path()), LoadOptions { now: Some(now) });
            (loaded.policy.is_some(), loaded.problems.iter().map(|p| p.code).collect::<Vec<_>>())
        };
        let now = crate::clock::Clock.now();
        assert_eq!(codes(now), (true, vec![]));
        assert_eq!(codes(now.plus_ms(31 * 86_400_000)), (true, vec!["W102"]));
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig { cases: 64, ..Default::default() })]

        #[test]
        fn no_text_makes_loading_panic(
            text in "[\\PC\n\t]{0,200}",
            cut in 0usize..5000,
            insert in 0usize..5000,
        ) {
            let good = include_str!("../../tests/data/rules/invalid/fourteen/ruleset.toml");
            let floor = |at: usize| (0..=at.min(good.len())).rev().find(|at| good.is_char_boundary(*at)).unwrap_or(0);
            let (from, to) = (floor(cut.min(insert)), floor(cut.max(insert)));
            let spliced = format!("{}{text}{}", &good[..from], &good[to..]);
            for (rules, list) in [(text.as_str(), "+4670"), (spliced.as_str(), text.as_str())] {
                let files = [(RULESET, rules), ("lists/blocked.csv", list)];
                let loaded = load(&RuleSource::memory(files), LoadOptions::default());
                proptest::prop_assert_eq!(loaded.policy.is_some(), loaded.n_errors() == 0);
                check_report(&loaded, ReportFormat::Text { colour: true });
                check_report(&loaded, ReportFormat::Json);
            }
        }
    }
}
