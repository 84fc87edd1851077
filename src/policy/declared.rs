//! What rules name: lists, calendars and macros, gathered from every file of the set.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use jiff::tz::TimeZone;
use toml::de::{DeTable, DeValue};

use super::document::{Document, Key, Section, TextValue, short};
use super::expression::{ListDecl, ListKind, Macro, Scope};
use super::lists::{Entries, FileReader, ListType, bad_item, utf8};
use super::load::{ListReads, Settings, reason, value_span};
use super::number_set::{EntryNote, NumberSet};
use super::origin::Origin;
use super::problem::{Place, Problem, suggest};
use super::rules::{Rules, duration};
use super::{DynamicKind, List, ListContent, tables};
use crate::calendar::{Calendar, LocalClock};
use crate::limits::{DYNAMIC_ENTRIES_DEFAULT, LIST_FILE_BYTES_MAX};

/// The list that means something by itself: nothing puts these on a dynamic list.
pub(crate) const OWN_NUMBERS: &str = tables::OWN_NUMBERS.name;
/// Longest id and name. They appear in metrics and alerts.
const NAME_CHARS_MAX: usize = 64;

/// Everything a rule may name, in the order it is written.
pub(crate) struct Declared {
    pub(crate) lists: Vec<DeclaredList>,
    pub(crate) decls: Vec<ListDecl>,
    pub(crate) calendars: Vec<Arc<Calendar>>,
    pub(crate) calendar_names: Vec<String>,
    pub(crate) macros: Vec<Macro>,
    pub(crate) clock: Arc<LocalClock>,
}

/// A list, and what `block` needs to know of it.
pub(crate) struct DeclaredList {
    pub(crate) name: String,
    pub(crate) list_type: ListType,
    pub(crate) is_dynamic: bool,
    pub(crate) default_ttl_ms: Option<i64>,
    pub(crate) n_entries: usize,
    pub(crate) place: Place,
    pub(crate) compiled: List,
}

impl Declared {
    pub(crate) fn scope(&self) -> Scope<'_> {
        Scope {
            on: None,
            on_place: None,
            lists: &self.decls,
            macros: &self.macros,
            calendars: &self.calendar_names,
            clock: &self.clock,
        }
    }
}

/// Gathers them from all files; each mistake is noted, and a list that could not be read is there but empty, so
/// that no rule is blamed for it.
pub(crate) fn declare(
    documents: &[Document<'_>],
    customers: &[Document<'_>],
    settings: &Settings,
    reads: &mut ListReads<'_>,
    problems: &mut Vec<Problem>,
) -> Declared {
    let mut lists = Vec::new();
    for (name, section) in entries(documents, &tables::LISTS, "list", problems) {
        lists.push(list(name, &section, settings, reads, problems));
    }
    if !lists.iter().any(|list| list.name == OWN_NUMBERS) {
        lists.extend(customers.iter().find_map(no_numbers_of_all));
    }
    let mut calendars = Vec::new();
    for (name, section) in entries(documents, &tables::CALENDARS, "calendar", problems) {
        calendars.push(Arc::new(calendar(name, &section, settings, problems)));
    }
    let declared = Declared {
        decls: lists.iter().map(DeclaredList::decl).collect(),
        lists,
        calendar_names: calendars.iter().map(|c| c.name.clone()).collect(),
        calendars,
        macros: macros(documents, problems),
        clock: Arc::new(LocalClock::new(settings.time_zone.clone())),
    };
    declared.macros.iter().for_each(|one| one.check(&declared.scope(), problems));
    declared
}

impl DeclaredList {
    fn decl(&self) -> ListDecl {
        let kind = match self.list_type {
            ListType::Number => ListKind::Numbers,
            ListType::Text => ListKind::Texts,
            ListType::Ip => ListKind::Addresses,
            ListType::Country => ListKind::Countries,
        };
        ListDecl { name: self.name.clone(), kind, is_dynamic: self.is_dynamic }
    }
}

/// `own_numbers` where only customers' files have some: empty, for those that have none.
fn no_numbers_of_all(customer: &Document<'_>) -> Option<DeclaredList> {
    let span = customer.table().value(OWN_NUMBERS)?.span();
    Some(DeclaredList {
        name: OWN_NUMBERS.to_owned(),
        list_type: ListType::Number,
        is_dynamic: false,
        default_ttl_ms: None,
        n_entries: 0,
        place: Place::new(customer.path, span),
        compiled: List {
            name: OWN_NUMBERS.to_owned(),
            content: Entries::new(ListType::Number, 0).build(),
            max_entries: None,
        },
    })
}

/// A letter, then letters, digits, `_` and `-`.
pub(crate) fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.len() <= NAME_CHARS_MAX
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// Names of one kind seen so far, over all files.
#[derive(Default)]
pub(crate) struct Names {
    seen: HashMap<String, Place>,
}

impl Names {
    /// Is the name good and new? If not, that is noted.
    pub(crate) fn take(&mut self, what: &str, name: &str, place: Place, problems: &mut Vec<Problem>) -> bool {
        if !is_name(name) {
            let message = format!("`{}` is no name for a {what}", short(name));
            let help = format!("a letter, then letters, digits, `_` and `-`, at most {NAME_CHARS_MAX}");
            problems.push(Problem { place: Some(place), ..Problem::error("E024", message).help(help) });
            return false;
        }
        if let Some(first) = self.seen.get(name) {
            let problem = Problem::error("E007", format!("{what} `{name}` is defined twice"));
            let problem = problem.context(&first.path, first.span.clone(), "first here");
            problems.push(Problem { place: Some(place), ..problem }.label("again here"));
            return false;
        }
        self.seen.insert(name.to_owned(), place);
        true
    }
}

/// The named tables inside `[lists]` or `[calendars]`, over all files.
fn entries<'d, 't>(
    documents: &'d [Document<'t>],
    key: &Key,
    what: &str,
    problems: &mut Vec<Problem>,
) -> Vec<(&'d str, Section<'d, 't>)> {
    let mut names = Names::default();
    let mut found = Vec::new();
    for document in documents {
        let Some(all) = document.table().section(key, problems) else { continue };
        for (name, span, value) in all.keys() {
            if !names.take(what, name, Place::new(document.path, span.clone()), problems) {
                continue;
            }
            match value.get_ref().as_table() {
                Some(table) => found.push((name, named_table(&all, table, span, what, name))),
                None => problems.push(all.wrong_type(name, value, "a table", &example(what, name))),
            }
        }
    }
    found
}

fn named_table<'d, 't>(
    all: &Section<'d, 't>,
    table: &'d DeTable<'t>,
    span: Range<usize>,
    what: &str,
    name: &str,
) -> Section<'d, 't> {
    all.inner(table, span, name).named(format!("{what} `{name}`"))
}

fn example(what: &str, name: &str) -> String {
    match what {
        "list" => format!("{name} = {{ type = \"number\", items = [\"+4670*\"] }}"),
        _ => format!("{name} = {{ open = [\"Mon-Fri 07:00-18:00\"] }}"),
    }
}

fn macros(documents: &[Document<'_>], problems: &mut Vec<Problem>) -> Vec<Macro> {
    let mut names = Names::default();
    let mut macros = Vec::new();
    for document in documents {
        let Some(all) = document.table().section(&tables::MACROS, problems) else { continue };
        for (name, span, value) in all.keys() {
            if !names.take("macro", name, Place::new(document.path, span), problems) {
                continue;
            }
            match value.get_ref().as_str() {
                Some(text) => {
                    let origin = Origin::toml(document.path, document.text, value.span());
                    macros.push(Macro::parse(name, text, origin, problems));
                }
                None => problems.push(all.wrong_type(name, value, "text", "name = 'an expression'")),
            }
        }
    }
    macros
}

fn list(
    name: &str,
    section: &Section<'_, '_>,
    settings: &Settings,
    reads: &mut ListReads<'_>,
    problems: &mut Vec<Problem>,
) -> DeclaredList {
    let section = &section.clone().keyed(tables::LIST_KEYS);
    section.check_keys(problems);
    if section.lacks(&tables::TYPE) {
        problems.push(section.missing(&tables::TYPE));
    }
    let list_type = section.word(&tables::TYPE, &ListType::WORDS, problems);
    let is_dynamic = section.boolean(&tables::DYNAMIC, problems).unwrap_or(false);
    let max_entries = section.integer(&tables::MAX_ENTRIES, 1..1 << 32, problems).map(|n| n as usize);
    let default_ttl_ms = duration(section, &tables::DEFAULT_TTL, problems);
    let max_age_ms = duration(section, &tables::MAX_AGE, problems);
    section.word(&tables::ON_ERROR, &[("keep-last", ()), ("fail", ())], problems);
    section.text(&tables::LIST_DESCRIPTION, problems);
    one_source(section, is_dynamic, problems);

    let known_type = list_type.unwrap_or(ListType::Number);
    let (content, n_entries) = if is_dynamic {
        (ListContent::Dynamic(dynamic_kind(known_type, section, problems)), 0)
    } else {
        let read = list_type.and_then(|list_type| {
            if section.has(tables::FILE.name) {
                from_file(section, list_type, max_age_ms, settings, reads, problems)
            } else {
                items(section, &tables::ITEMS, list_type, problems)
            }
        });
        let entries = read.unwrap_or_else(|| Entries::new(known_type, 0));
        let n = entries.count;
        (entries.build(), n)
    };
    if let Some(limit) = max_entries.filter(|limit| n_entries > *limit) {
        let message = format!("list `{name}` has {n_entries} entries, its `max_entries` is {limit}");
        problems.push(section.problem("E027", message, value_span(section, tables::MAX_ENTRIES.name)));
    }
    let max_entries = if is_dynamic { max_entries.or(Some(DYNAMIC_ENTRIES_DEFAULT)) } else { max_entries };
    DeclaredList {
        name: name.to_owned(),
        list_type: known_type,
        is_dynamic,
        default_ttl_ms,
        n_entries,
        place: Place::new(section.document.path, section.span.clone()),
        compiled: List { name: name.to_owned(), content, max_entries },
    }
}

/// Exactly one of `items`, `file` and `dynamic = true`; keys that go with another are out of place.
fn one_source(section: &Section<'_, '_>, is_dynamic: bool, problems: &mut Vec<Problem>) {
    let sources = [section.has(tables::ITEMS.name), section.has(tables::FILE.name), is_dynamic];
    let n_sources = sources.iter().filter(|on| **on).count();
    if n_sources != 1 {
        let message = match n_sources {
            0 => format!("{} has no entries", section.named),
            _ => format!("{} has its entries from more than one place", section.named),
        };
        let help = "give it exactly one of: items = [...], file = \"...\", dynamic = true";
        problems.push(section.problem("E015", message, section.span.clone()).help(help));
        return;
    }
    let out_of_place = [
        (tables::DEFAULT_TTL.name, is_dynamic, "a dynamic list"),
        (tables::MAX_AGE.name, section.has(tables::FILE.name), "a list from a file"),
        (tables::ON_ERROR.name, section.has(tables::FILE.name), "a list from a file"),
    ];
    for (name, fits, whose) in out_of_place {
        if section.has(name) && !fits {
            let message = format!("`{name}` is a key of {whose}");
            problems.push(section.problem("E008", message, section.key_span(name)));
        }
    }
}

fn dynamic_kind(list_type: ListType, section: &Section<'_, '_>, problems: &mut Vec<Problem>) -> DynamicKind {
    match list_type {
        ListType::Number => DynamicKind::Numbers,
        ListType::Text => DynamicKind::Texts,
        ListType::Ip => DynamicKind::Addresses,
        ListType::Country => {
            let span = value_span(section, tables::TYPE.name);
            let problem = section.problem("E015", "a list of countries cannot be dynamic", span);
            problems.push(problem.help("dynamic lists hold number, text or ip"));
            DynamicKind::Texts
        }
    }
}

/// `own_numbers` of a customer: entries, or a table with `items` or `file`, as of a list.
pub(crate) fn own_numbers(
    section: &Section<'_, '_>,
    settings: &Settings,
    reads: &mut ListReads<'_>,
    problems: &mut Vec<Problem>,
) -> Option<NumberSet> {
    let value = section.value(tables::OWN_NUMBERS.name)?;
    let entries = if value.get_ref().is_table() {
        let table = section.section(&tables::OWN_NUMBERS, problems)?.keyed(tables::OWN_NUMBERS_KEYS);
        table.check_keys(problems);
        one_source(&table, false, problems);
        let max_age_ms = duration(&table, &tables::MAX_AGE, problems);
        match table.has(tables::FILE.name) {
            true => from_file(&table, ListType::Number, max_age_ms, settings, reads, problems),
            false => items(&table, &tables::ITEMS, ListType::Number, problems),
        }
    } else {
        items(section, &tables::OWN_NUMBERS, ListType::Number, problems)
    };
    match entries?.build() {
        ListContent::Numbers(set) => Some(set),
        _ => None,
    }
}

/// `items`. All are checked; `None` where one is bad.
fn items(section: &Section<'_, '_>, key: &Key, list_type: ListType, problems: &mut Vec<Problem>) -> Option<Entries> {
    let array = section.array(key, problems)?;
    let mut entries = Entries::new(list_type, array.len());
    let mut is_good = true;
    let path = section.document.path;
    for (i, item) in array.iter().enumerate() {
        let problem = match item.get_ref() {
            DeValue::String(text) => {
                let note = EntryNote { line: i as u32 + 1, ..EntryNote::default() };
                match entries.add(text, note) {
                    Ok(()) => continue,
                    Err(bad) => bad_item(list_type, bad, path, item.span()),
                }
            }
            DeValue::Integer(_) | DeValue::Float(_) if list_type == ListType::Number => figure(section, item.span()),
            _ => section.wrong_type(key.name, item, "an array of texts", key.example),
        };
        is_good = false;
        problems.push(problem);
    }
    is_good.then_some(entries)
}

/// A phone number that is no text in the file.
fn figure(section: &Section<'_, '_>, span: Range<usize>) -> Problem {
    let written = section.document.text.get(span.clone()).unwrap_or("").trim();
    let digits = written.trim_start_matches('+').replace('_', "");
    if digits.contains(['e', 'E', '.']) {
        return section
            .problem("E013", format!("`{}` is a phone number that a spreadsheet has rounded", short(written)), span)
            .help("the digits are lost: take the number from its source and write it as text: \"+447900900123\"");
    }
    let problem = section.problem("E014", "phone number written as an integer", span);
    let label = match written.starts_with('+') {
        true => format!("the \"+\" is lost here: this is the number {digits}"),
        false => "an integer has no \"+\" and loses leading zeros".to_owned(),
    };
    problem.label(label).help(format!("write it as text: \"+{digits}\""))
}

/// `file`. `None` where it could not be read or has a bad line.
fn from_file(
    section: &Section<'_, '_>,
    list_type: ListType,
    max_age_ms: Option<i64>,
    settings: &Settings,
    reads: &mut ListReads<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Entries> {
    let path = section.text(&tables::FILE, problems)?;
    let file = match reads.source.read(path.value, LIST_FILE_BYTES_MAX) {
        Ok(file) => file,
        Err(e) => {
            let message = format!("list file `{}` cannot be read: {}", short(path.value), reason(&e));
            let problem = section.problem("E010", message, path.span.clone());
            problems.push(problem.help("paths are relative to ruleset.toml"));
            return None;
        }
    };
    reads.was_read(path.value, &file.bytes);
    if let (Some(now), Some(modified), Some(max_age_ms)) = (reads.options.now, file.modified, max_age_ms)
        && now.0.saturating_sub(modified.0) > max_age_ms
    {
        let days = now.0.saturating_sub(modified.0) / 86_400_000;
        let message = format!("`{}` was last changed {modified}, {days} days ago", short(path.value));
        let place = (section.document.path, value_span(section, tables::MAX_AGE.name));
        problems.push(Problem::warning("W102", message).at(place.0, place.1).label("older than this"));
    }
    let before = problems.len();
    let text = utf8(path.value, &file.bytes, problems);
    let is_whole = problems.len() == before;
    let entries =
        FileReader::new(path.value, &text, list_type, &settings.time_zone, reads.options.now, problems).read();
    if problems.len() > before {
        reads.keep(path.value, &text);
    }
    entries.filter(|_| is_whole)
}

/// `time_zone` of the ruleset or of a calendar.
pub(crate) fn time_zone(section: &Section<'_, '_>, problems: &mut Vec<Problem>) -> Option<TimeZone> {
    let text = section.text(&tables::TIME_ZONE, problems)?;
    let found = TimeZone::get(text.value).ok().filter(|_| !text.value.is_empty());
    if found.is_none() {
        let names: Vec<_> = jiff::tz::db().available().map(|name| name.to_string()).collect();
        let message = match suggest(text.value, names.iter().map(String::as_str)) {
            Some(near) => format!("unknown time zone `{}`; did you mean `{near}`?", short(text.value)),
            None => format!("unknown time zone `{}`", short(text.value)),
        };
        problems.push(section.problem("E022", message, text.span).help("an IANA name such as Europe/Stockholm or UTC"));
    }
    found
}

/// The hours of one calendar; in the zone of `settings` unless it names another.
pub(crate) fn calendar(
    name: &str,
    section: &Section<'_, '_>,
    settings: &Settings,
    problems: &mut Vec<Problem>,
) -> Calendar {
    let section = &section.clone().keyed(tables::CALENDAR_KEYS);
    section.check_keys(problems);
    let zone = time_zone(section, problems).unwrap_or_else(|| settings.time_zone.clone());
    let mut calendar = Calendar::new(name, zone);
    if section.lacks(&tables::OPEN) {
        problems.push(section.missing(&tables::OPEN));
    }
    let mut bad = |text: &TextValue<'_>, message: String| {
        problems.push(section.problem("E021", message, text.span.clone()));
    };
    let mut told = Vec::new();
    let open = match section.value(tables::OPEN.name).and_then(|v| v.get_ref().as_str().map(|s| (s, v.span()))) {
        Some((value, span)) => vec![TextValue { value, span }],
        None => section.texts(&tables::OPEN, &mut told).unwrap_or_default(),
    };
    for text in open {
        calendar.add_open(text.value).unwrap_or_else(|e| bad(&text, e));
    }
    for text in section.texts(&tables::CLOSED_DATES, &mut told).unwrap_or_default() {
        calendar.add_closed(text.value).unwrap_or_else(|e| bad(&text, e));
    }
    for text in section.texts(&tables::OPEN_DATES, &mut told).unwrap_or_default() {
        calendar.add_open_dates(text.value).unwrap_or_else(|e| bad(&text, e));
    }
    problems.append(&mut told);
    calendar
}

/// Warns of lists that nothing names.
pub(crate) fn check_use<'d, 't: 'd>(
    documents: impl Iterator<Item = &'d Document<'t>> + Clone,
    declared: &Declared,
    rules: &Rules,
    problems: &mut Vec<Problem>,
) {
    for (index, list) in declared.lists.iter().enumerate() {
        if list.name == OWN_NUMBERS || rules.blocks_to(index) {
            continue;
        }
        if !documents.clone().any(|d| names_list(d.text, &list.name)) {
            let problem = Problem::warning("W111", format!("list `{}` is never used", list.name));
            problems.push(problem.at(&list.place.path, list.place.span.clone()));
        }
    }
}

/// Does `$name` stand in the text?
fn names_list(text: &str, name: &str) -> bool {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    text.match_indices('$').any(|(at, _)| {
        let rest = text.get(at + 1..).unwrap_or("");
        rest.strip_prefix(name).is_some_and(|after| !after.starts_with(is_name))
    })
}
