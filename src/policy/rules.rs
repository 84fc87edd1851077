//! `[[firewall]]` and `[[threshold]]`: from tables of a rule file to compiled rules.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use super::declared::{Declared, Names};
use super::document::{Document, Key, Section, TextValue, short};
use super::exceptions::{self, OfCustomers};
use super::expression::{Scope, compile_condition};
use super::literal;
use super::load::{Settings, value_span};
use super::origin::Origin;
use super::problem::{Place, Problem};
use super::reach::{self, RulePlace};
use super::{Action, Cause, FirewallRule, KeySpec, List, ListContent, Mode, On, Predicate, Severity, ThresholdRule};
use super::{chains, overrides, tables, thresholds};
use crate::clock::Timestamp;
use crate::event::Number;
use crate::event::numbering::EMERGENCY_ALWAYS;
use crate::limits::RULES_MAX;

/// The rules of a set, in evaluation order.
#[derive(Default)]
pub(crate) struct Rules {
    pub(crate) firewall: Vec<FirewallRule>,
    pub(crate) thresholds: Vec<ThresholdRule>,
    pub(crate) keys: Vec<KeySpec>,
    /// Read and checked, of mode `off` or not.
    pub(crate) n_firewall: usize,
    pub(crate) n_thresholds: usize,
    /// Lists that `block` of some rule writes to.
    pub(crate) block_lists: Vec<usize>,
    /// Where levels stand that are held against what is usual, by id of the rule.
    pub(crate) usual_at: HashMap<String, Place>,
    /// Behind those that are written down: what rules note for those that follow them.
    pub(crate) hidden_lists: Vec<List>,
}

impl Rules {
    pub(crate) fn blocks_to(&self, list: usize) -> bool {
        self.block_lists.contains(&list)
    }
}

/// The files that hold rules.
pub(crate) struct Sources<'s, 't> {
    /// Of the set, in evaluation order.
    pub(crate) documents: &'s [Document<'t>],
    /// Of customers, by id.
    pub(crate) customers: Vec<(&'s str, &'s Document<'t>)>,
    /// Files of overrides beside those of customers.
    pub(crate) baselines: Vec<(&'s str, &'s Document<'t>)>,
}

/// The customers that rules may name.
pub(crate) struct KnownCustomers<'s> {
    pub(crate) ids: BTreeSet<&'s str>,
    /// There are no others.
    pub(crate) is_closed: bool,
}

/// What compiling one rule needs beside its table.
pub(crate) struct Compiler<'c> {
    pub(crate) settings: &'c Settings,
    pub(crate) declared: &'c Declared,
    pub(crate) customers: &'c KnownCustomers<'c>,
    pub(crate) exceptions: &'c OfCustomers,
    /// The customer in whose file the rule stands.
    pub(crate) owner: Option<&'c str>,
    /// The customer for whom a rule is compiled once more.
    pub(crate) variant_of: Option<String>,
    pub(crate) now: Option<Timestamp>,
    pub(crate) problems: &'c mut Vec<Problem>,
}

/// A rule as it is written, wherever that is.
pub(crate) struct Written<'d, 't> {
    pub(crate) section: Section<'d, 't>,
    pub(crate) is_firewall: bool,
    /// The customer in whose file it stands.
    pub(crate) owner: Option<&'d str>,
    pub(crate) position: u32,
}

/// All rules, in evaluation order.
pub(crate) struct WrittenRules<'d, 't> {
    pub(crate) all: Vec<Written<'d, 't>>,
    /// The first of each id.
    by_id: HashMap<&'d str, usize>,
}

impl<'d, 't> WrittenRules<'d, 't> {
    pub(crate) fn find(&self, id: &str) -> Option<&Written<'d, 't>> {
        self.all.get(*self.by_id.get(id)?)
    }
}

impl<'d> Written<'d, '_> {
    /// Empty where it has none.
    pub(crate) fn id(&self) -> &'d str {
        self.section.value(tables::ID.name).and_then(|value| value.get_ref().as_str()).unwrap_or_default()
    }
}

/// Compiles the rules of all files; what cannot be compiled is noted and left out.
pub(crate) fn compile(
    sources: &Sources<'_, '_>,
    settings: &Settings,
    declared: &Declared,
    customers: &KnownCustomers<'_>,
    now: Option<Timestamp>,
    problems: &mut Vec<Problem>,
) -> Rules {
    let mut rules = Rules::default();
    let written = written(sources, problems);
    let nobodys = OfCustomers::default();
    let mut compiler =
        Compiler { settings, declared, customers, exceptions: &nobodys, owner: None, variant_of: None, now, problems };
    let files: Vec<_> = sources.customers.iter().chain(&sources.baselines).copied().collect();
    let of_customers = exceptions::of_customers(&files, &written, &mut compiler);
    compiler.exceptions = &of_customers;
    let mut places = Vec::new();
    for rule in &written.all {
        compiler.owner = rule.owner;
        if rule.is_firewall {
            rules.n_firewall += 1;
            let made = compiler.firewall(&rule.section, None, rule.position);
            if let Some(made) = made.filter(|made| made.mode != Mode::Off) {
                rules.firewall.push(made);
                places.push(place_of(&rule.section));
            }
        } else {
            rules.n_thresholds += 1;
            let made = thresholds::compile(&mut compiler, &rule.section, None, rule.position, &mut rules);
            rules.thresholds.extend(made.filter(|made| made.mode != Mode::Off));
        }
    }
    compiler.renamed(&written);
    let global = sources.documents.iter().map(|document| (None, document));
    let files = files.into_iter().map(|(owner, document)| (Some(owner), document));
    overrides::compile(&global.chain(files).collect::<Vec<_>>(), &written, &mut compiler, &mut rules);
    // Variants stand behind all rules still, and each rule knows for whom it has one.
    reach::check(rules.firewall.get(..places.len()).unwrap_or_default(), &places, compiler.problems);
    // The first of those that stand at one place is the rule itself.
    rules.firewall.sort_by_key(|rule| rule.position);
    rules.thresholds.sort_by_key(|rule| rule.position);
    let ids: Vec<&str> = written.all.iter().map(Written::id).collect();
    chains::tie(&mut rules, &ids, declared.lists.len(), problems);
    for (n, what) in [(rules.firewall.len(), "firewall rules"), (rules.thresholds.len(), "thresholds")] {
        if n > RULES_MAX {
            problems.push(Problem::error("E027", format!("{n} {what}, overrides included, limit is {RULES_MAX}")));
        }
    }
    rules
}

/// All rules in evaluation order: those of customers that stand before the others, the others, and the rest of the
/// customers'.
fn written<'d, 't>(sources: &Sources<'d, 't>, problems: &mut Vec<Problem>) -> WrittenRules<'d, 't> {
    let mut names = Names::default();
    let (mut before, mut all, mut behind) = (Vec::new(), Vec::new(), Vec::new());
    for document in sources.documents {
        all.extend(written_in(document, None, &mut names, problems));
    }
    for (owner, document) in &sources.customers {
        for rule in written_in(document, Some(owner), &mut names, problems) {
            let words = [("pre", true), ("post", false)];
            let is_before = rule.is_firewall && rule.section.word(&tables::POSITION, &words, problems) == Some(true);
            if is_before { before.push(rule) } else { behind.push(rule) }
        }
    }
    for rule in all.iter().filter(|rule| rule.is_firewall && rule.section.has(tables::POSITION.name)) {
        let message = "`position` is a key of rules in customers' files: here the written order decides";
        let problem = rule.section.problem("E008", message, rule.section.key_span(tables::POSITION.name));
        problems.push(problem.help("take it out"));
    }
    before.append(&mut all);
    before.append(&mut behind);
    before.iter_mut().zip(0..).for_each(|(rule, position)| rule.position = position);
    let mut by_id = HashMap::new();
    for (place, rule) in before.iter().enumerate().filter(|(_, rule)| !rule.id().is_empty()) {
        by_id.entry(rule.id()).or_insert(place);
    }
    WrittenRules { all: before, by_id }
}

fn written_in<'d, 't>(
    document: &'d Document<'t>,
    owner: Option<&'d str>,
    names: &mut Names,
    problems: &mut Vec<Problem>,
) -> Vec<Written<'d, 't>> {
    let top = document.table();
    let firewall = top.sections(&tables::FIREWALL, problems).into_iter().map(|s| (s, true));
    let thresholds = top.sections(&tables::THRESHOLD, problems).into_iter().map(|s| (s, false));
    let mut all: Vec<_> = firewall.chain(thresholds).collect();
    all.sort_by_key(|(section, _)| section.span.start);
    let written = all.into_iter().map(|(section, is_firewall)| {
        let keys = if is_firewall { tables::FIREWALL_KEYS } else { tables::THRESHOLD_KEYS };
        let section = identified(section.keyed(keys), names, problems);
        section.check_keys(problems);
        Written { section, is_firewall, owner, position: 0 }
    });
    written.collect()
}

/// Calls the table by its rule's id, which must be there, good and new.
fn identified<'d, 't>(section: Section<'d, 't>, names: &mut Names, problems: &mut Vec<Problem>) -> Section<'d, 't> {
    let Some(id) = section.required_text(&tables::ID, problems) else { return section };
    let place = Place::new(section.document.path, id.span.clone());
    if names.take("rule", id.value, place, problems) {
        let named = format!("`{}`", id.value);
        return section.named(named);
    }
    section
}

/// When a rule runs, as far as its table tells; what is wrong with that is told where the rule is compiled.
pub(crate) fn on_of(section: &Section<'_, '_>, is_firewall: bool) -> Option<On> {
    let mut told = Vec::new();
    match is_firewall {
        true if !section.has(tables::ON.name) => Some(On::Attempt),
        true => section.word(&tables::ON, &FIREWALL_PHASES, &mut told),
        false => section.word(&tables::ON, &thresholds::PHASES, &mut told),
    }
}

/// Ids of all rules, of whatever mode, and groups of thresholds, as they are written.
pub(crate) fn names<'d, 't: 'd>(documents: impl Iterator<Item = &'d Document<'t>>) -> (Vec<&'d str>, Vec<&'d str>) {
    let (mut ids, mut groups) = (Vec::new(), Vec::new());
    // What is wrong with them is told when they are compiled.
    let mut told = Vec::new();
    for top in documents.map(Document::table) {
        for key in [&tables::FIREWALL, &tables::THRESHOLD] {
            for section in top.sections(key, &mut told) {
                let text = |key: &Key| section.value(key.name).and_then(|value| value.get_ref().as_str());
                ids.extend(text(&tables::ID));
                groups.extend(text(&tables::GROUP).or_else(|| text(&tables::ID)));
            }
        }
    }
    (ids, groups)
}

fn place_of(section: &Section<'_, '_>) -> RulePlace {
    let before = section.document.text.as_bytes().get(..section.span.start).unwrap_or(&[]);
    let line = memchr::memchr_iter(b'\n', before).count() + 1;
    RulePlace { path: section.document.path.to_owned(), span: section.span.clone(), line }
}

/// A duration in ms.
pub(crate) fn duration(section: &Section<'_, '_>, key: &Key, problems: &mut Vec<Problem>) -> Option<i64> {
    if let Some(value) = section.value(key.name)
        && let Some(integer) = value.get_ref().as_integer()
    {
        let problem = section.problem("E046", format!("duration `{integer}` without a unit"), value.span());
        problems.push(problem.help(format!("write it as text with its unit: {} = \"{integer}s\"", key.name)));
        return None;
    }
    let text = section.text(key, problems)?;
    match literal::duration(text.value) {
        Ok(ms) => Some(ms),
        Err(fault) => {
            problems.push(fault.problem(&short(text.value)).at(section.document.path, text.span));
            None
        }
    }
}

const FIREWALL_PHASES: [(&str, On); 4] =
    [("attempt", On::Attempt), ("answer", On::Answer), ("end", On::End), ("request", On::Request)];
const MODES: [(&str, Mode); 3] = [("enforce", Mode::Enforce), ("monitor", Mode::Monitor), ("off", Mode::Off)];

impl Compiler<'_> {
    /// `renamed_from`: of two rules that are there, neither is the other's past.
    fn renamed(&mut self, written: &WrittenRules<'_, '_>) {
        let mut taken: Vec<(&str, Place)> = Vec::new();
        for rule in written.all.iter().filter(|rule| !rule.is_firewall) {
            let section = &rule.section;
            let Some(value) = section.value(tables::RENAMED_FROM.name) else { continue };
            let Some(old) = value.get_ref().as_str() else { continue };
            let place = Place::new(section.document.path, value.span());
            let problem = |message: String| section.problem("E007", message, value.span());
            if let Some(there) = written.find(old) {
                let problem = problem(format!("`{}` is still there: nothing was renamed", short(old)));
                let at = (there.section.document.path, there.section.span.clone());
                self.problems.push(problem.context(at.0, at.1, "it stands here").help("take `renamed_from` out"));
            } else if let Some((_, first)) = taken.iter().find(|(id, _)| *id == old) {
                let problem = problem(format!("two rules were renamed from `{}`", short(old)));
                self.problems.push(problem.context(&first.path, first.span.clone(), "first here"));
            } else {
                taken.push((old, place));
            }
        }
    }

    /// Keys that say nothing to the engine but are checked all the same.
    pub(crate) fn texts_of(&mut self, section: &Section<'_, '_>) -> RuleTexts {
        let mut text = |key: &Key| section.text(key, self.problems).map(|t| t.value.to_owned());
        let (description, message) = (text(&tables::DESCRIPTION), text(&tables::MESSAGE));
        let (owner, ticket) = (text(&tables::OWNER), text(&tables::TICKET));
        let renamed_from = text(&tables::RENAMED_FROM);
        let references = section.texts(&tables::REFERENCES, self.problems).unwrap_or_default();
        let references = references.iter().map(|t| t.value.to_owned()).collect();
        RuleTexts { description, message, owner, ticket, references, renamed_from }
    }

    pub(crate) fn mode(&mut self, section: &Section<'_, '_>) -> Mode {
        section.word(&tables::MODE, &MODES, self.problems).unwrap_or_default()
    }

    /// The place of `on`, for messages about fields that are not known then.
    pub(crate) fn on_place(section: &Section<'_, '_>) -> Option<Place> {
        section.value(tables::ON.name).map(|value| Place::new(section.document.path, value.span()))
    }

    /// A condition and, where `active` names a calendar, that the calendar is open. `active` stands in a table of its own
    /// where that is overridden.
    pub(crate) fn condition(
        &mut self,
        section: &Section<'_, '_>,
        key: &Key,
        active: &Section<'_, '_>,
        on: On,
    ) -> Result<Option<Predicate>, ()> {
        let on_place = Self::on_place(section);
        let scope = Scope { on: Some(on), on_place: on_place.as_ref(), ..self.declared.scope() };
        let mut failed = false;
        let mut whole: Option<Predicate> = None;
        if let Some(text) = section.text(key, self.problems) {
            let origin = origin(section, &text);
            match compile_condition(text.value, &origin, &scope, self.problems) {
                Some(predicate) => whole = Some(predicate),
                None => failed = true,
            }
        }
        if let Some(calendar) = active.text(&tables::ACTIVE, self.problems) {
            let origin = Origin::whole(active.document.path, calendar.span.clone());
            let during = format!("during({})", calendar.value);
            match compile_condition(&during, &origin, &scope, self.problems) {
                Some(predicate) => {
                    whole = Some(match whole {
                        Some(condition) => predicate.and(condition),
                        None => predicate,
                    })
                }
                None => failed = true,
            }
        }
        if failed || section.value(key.name).is_some() && whole.is_none() { Err(()) } else { Ok(whole) }
    }

    /// Compiles one rule, or the variant of it in which the keys of `over` stand in place of its own.
    pub(crate) fn firewall(
        &mut self,
        section: &Section<'_, '_>,
        over: Option<&Section<'_, '_>>,
        position: u32,
    ) -> Option<FirewallRule> {
        let on = section.word(&tables::ON, &FIREWALL_PHASES, self.problems);
        for key in [&tables::WHEN, &tables::ACTION].into_iter().filter(|key| section.lacks(key)) {
            self.problems.push(section.missing(key));
        }
        // A bad `on` is one mistake: what the condition names is then not held against it.
        let has_on = on.is_some() || !section.has(tables::ON.name);
        let on = on.unwrap_or(On::Attempt);
        let active = overlay(section, over, &tables::ACTIVE);
        let when = if has_on { self.condition(section, &tables::WHEN, active, on) } else { Err(()) };
        let actions =
            [("allow", Action::Allow), ("block", Action::Block), ("divert", Action::Divert), ("flag", Action::Flag)];
        let action = section.word(&tables::ACTION, &actions, self.problems);
        let mode = self.mode(overlay(section, over, &tables::MODE));
        let concern = self.concern(section, has_on.then_some(on));
        let extras = self.action_keys(section, action);
        let track = self.track(section);
        let texts = self.texts_of(section);
        let id = section.value(tables::ID.name)?.get_ref().as_str()?.to_owned();
        let when = when.ok()??;
        let action = action?;
        self.names_emergency(section, action, &when);
        let cause = self.cause(&when);
        let (sip_code, divert_to, flag) = extras;
        let message = texts.message;
        Some(FirewallRule {
            id,
            position,
            on,
            mode,
            action,
            when,
            sip_code,
            divert_to,
            flag,
            track,
            message,
            cause,
            concern,
        })
    }

    /// `sip_code`, `divert_to` and `flag`, each with the action it belongs to.
    fn action_keys(
        &mut self,
        section: &Section<'_, '_>,
        action: Option<Action>,
    ) -> (Option<u16>, Option<String>, Option<String>) {
        let owners =
            [(&tables::SIP_CODE, Action::Block), (&tables::DIVERT_TO, Action::Divert), (&tables::FLAG, Action::Flag)];
        for (key, owner) in owners {
            if section.has(key.name) && action.is_some_and(|action| action != owner) {
                let message = format!("`{}` belongs to action = \"{}\"", key.name, owner.as_str());
                let problem = section.problem("E008", message, section.key_span(key.name));
                let place = value_span(section, tables::ACTION.name);
                self.problems.push(problem.context(section.document.path, place, "the action is this"));
            }
        }
        if action == Some(Action::Divert) && section.lacks(&tables::DIVERT_TO) {
            self.problems.push(section.missing(&tables::DIVERT_TO));
        }
        let sip_code = section.integer(&tables::SIP_CODE, 400..700, self.problems).map(|code| code as u16);
        let mut word = |key: &Key| {
            let text = section.text(key, self.problems)?;
            let is_plain = !text.value.trim().is_empty() && !text.value.chars().any(char::is_control);
            if !is_plain || text.value.len() > 255 {
                let message = format!("`{}` is one line of text, at most 255 bytes", key.name);
                self.problems.push(section.problem("E006", message, text.span).help(key.example));
                return None;
            }
            Some(text.value.to_owned())
        };
        let divert_to = word(&tables::DIVERT_TO);
        let flag = word(&tables::FLAG);
        (sip_code, divert_to, flag)
    }

    fn track(&mut self, section: &Section<'_, '_>) -> Option<Severity> {
        const WORDS: [(&str, Option<Severity>); 3] =
            [("log", None), ("alert:warning", Some(Severity::Warning)), ("alert:critical", Some(Severity::Critical))];
        let mut loudest = None;
        for text in section.texts(&tables::TRACK, self.problems).unwrap_or_default() {
            match WORDS.iter().find(|(word, _)| *word == text.value) {
                Some((_, severity)) => loudest = loudest.max(*severity),
                None => {
                    let words = WORDS.iter().map(|(word, _)| *word);
                    self.problems.push(section.not_a_word(tables::TRACK.name, &text, words));
                }
            }
        }
        loudest
    }

    fn cause(&self, when: &Predicate) -> Cause {
        let is_dynamic = |list: usize| self.declared.lists.get(list).is_some_and(|l| l.is_dynamic);
        match () {
            () if when.uses_dynamic(&is_dynamic) => Cause::Analytics,
            () if when.uses_list() => Cause::List,
            () => Cause::Policy,
        }
    }

    /// Warns of a rule that names emergency numbers to keep them from getting through: it does not.
    fn names_emergency(&mut self, section: &Section<'_, '_>, action: Action, when: &Predicate) {
        if !matches!(action, Action::Block | Action::Divert) {
            return;
        }
        let Some(value) = section.value(tables::WHEN.name) else { return };
        let text = value.get_ref().as_str().unwrap_or("");
        let literal = EMERGENCY_ALWAYS.iter().find_map(|code| emergency_literal(text, code).map(|at| (*code, at)));
        if let Some((code, at)) = literal {
            let place = origin(section, &TextValue { value: text, span: value.span() }).place(at);
            self.warn_emergency(code, action, &place.path, place.span);
            return;
        }
        for code in EMERGENCY_ALWAYS {
            let Some(number) = Number::short(code.as_bytes()) else { continue };
            let names = when.any_list(&mut |list| {
                self.declared.lists.get(list).is_some_and(|l| match &l.compiled.content {
                    ListContent::Numbers(set) => set.contains(number, crate::clock::Timestamp::MIN),
                    _ => false,
                })
            });
            if names {
                self.warn_emergency(code, action, section.document.path, value.span());
                return;
            }
        }
    }

    fn warn_emergency(&mut self, code: &str, action: Action, path: &str, span: Range<usize>) {
        let verb = if action == Action::Block { "blocked" } else { "diverted" };
        let message = format!("calls to {code} are never {verb}: emergency calls are allowed before any rule is asked");
        self.problems.push(Problem::warning("W108", message).at(path, span).help("take the number out of the rule"));
    }
}

/// `short:112` as a whole word of the expression.
fn emergency_literal(text: &str, code: &str) -> Option<Range<usize>> {
    let literal = format!("short:{code}");
    text.match_indices(&literal).map(|(at, _)| at..at + literal.len()).find(|span| {
        let after = text.get(span.end..).and_then(|rest| rest.chars().next());
        !after.is_some_and(|c| c.is_ascii_alphanumeric() || c == '*' || c == '#')
    })
}

/// The table that a key is read from: what an override says stands in place of what the rule does.
pub(crate) fn overlay<'s, 'd, 't>(
    section: &'s Section<'d, 't>,
    over: Option<&'s Section<'d, 't>>,
    key: &Key,
) -> &'s Section<'d, 't> {
    over.filter(|over| over.has(key.name)).unwrap_or(section)
}

/// Where the text of a value stands.
pub(crate) fn origin(section: &Section<'_, '_>, text: &TextValue<'_>) -> Origin {
    Origin::toml(section.document.path, section.document.text, text.span.clone())
}

/// What people wrote about a rule.
pub(crate) struct RuleTexts {
    pub(crate) description: Option<String>,
    pub(crate) message: Option<String>,
    pub(crate) owner: Option<String>,
    pub(crate) ticket: Option<String>,
    pub(crate) references: Vec<String>,
    /// Of thresholds.
    pub(crate) renamed_from: Option<String>,
}
