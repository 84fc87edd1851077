//! The rules as people wrote them, kept beside the compiled policy for those who ask why.
//!
//! A policy is made of integers and tables; whoever asks why a rule did not hold wants to read the words of its author.
//! What stands here is read when something is explained, and never for an event: it costs a policy the bytes of its
//! rule texts and nothing else.

use std::collections::HashMap;
use std::sync::Arc;

use super::declared::Declared;
use super::document::{Document, Section};
use super::expression::{ListDecl, Macro, Scope};
use super::tables;
use crate::calendar::LocalClock;

/// Texts by the names that a [`super::Policy`] has for them.
#[derive(Debug, Default)]
pub struct Written {
    rules: HashMap<String, WrittenRule>,
    /// In the order of [`super::Policy::lists`]: where each has its entries from.
    places: Vec<ListPlace>,
    /// What expressions may name, as they were compiled with it; `None` where nothing was written.
    names: Option<Names>,
}

/// A rule, in the words of its file.
#[derive(Clone, Debug, Default)]
pub struct WrittenRule {
    /// Relative to the rule folder.
    pub path: String,
    /// Where its table begins, from 1.
    pub line: usize,
    /// `when` or `where`; `None` passes every event.
    pub condition: Option<String>,
    /// The calendar of `active`.
    pub active: Option<String>,
    /// `distinct(callee)`; empty for a firewall rule.
    pub measure: String,
    /// `distinct(callee) >= 40`, ...
    pub also: Vec<String>,
    pub description: Option<String>,
}

/// Where a list has its entries from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ListPlace {
    /// One entry a line of this file.
    File(String),
    /// `items`, counted, in this rule file.
    Items(String),
    /// Thresholds fill it.
    Dynamic,
}

#[derive(Debug)]
struct Names {
    lists: Vec<ListDecl>,
    macros: Vec<Macro>,
    calendars: Vec<String>,
    clock: Arc<LocalClock>,
}

impl Written {
    /// Gathers it from the files that a policy is compiled from.
    pub(super) fn gather(documents: &[Document<'_>], customers: &[Document<'_>], declared: &Declared) -> Written {
        // What is wrong with them is told when they are compiled.
        let mut told = Vec::new();
        let mut written = Written::default();
        let mut files: HashMap<String, ListPlace> = HashMap::new();
        for document in documents.iter().chain(customers) {
            let top = document.table();
            for (key, condition) in [(&tables::FIREWALL, &tables::WHEN), (&tables::THRESHOLD, &tables::WHERE)] {
                for section in top.sections(key, &mut told) {
                    if let Some(id) = text(&section, tables::ID.name) {
                        written.rules.entry(id).or_insert_with(|| rule(&section, condition.name));
                    }
                }
            }
            for (name, _, value) in top.section(&tables::LISTS, &mut told).iter().flat_map(Section::keys) {
                let file = value.get_ref().as_table().and_then(|list| list.get(tables::FILE.name));
                let place = match file.and_then(|file| file.get_ref().as_str()) {
                    Some(file) => ListPlace::File(file.to_owned()),
                    None => ListPlace::Items(document.path.to_owned()),
                };
                files.entry(name.to_owned()).or_insert(place);
            }
        }
        written.places = declared
            .lists
            .iter()
            .map(|list| match files.remove(&list.name) {
                _ if list.is_dynamic => ListPlace::Dynamic,
                Some(place) => place,
                None => ListPlace::Items(list.place.path.clone()),
            })
            .collect();
        written.names = Some(Names {
            lists: declared.decls.clone(),
            macros: declared.macros.clone(),
            calendars: declared.calendar_names.clone(),
            clock: Arc::clone(&declared.clock),
        });
        written
    }

    /// The rule of this id.
    pub fn rule(&self, id: &str) -> Option<&WrittenRule> {
        self.rules.get(id)
    }

    pub(super) fn place(&self, list: usize) -> Option<&ListPlace> {
        self.places.get(list)
    }

    /// What expressions may name, of whatever phase; `None` where nothing was written.
    pub(super) fn scope(&self) -> Option<Scope<'_>> {
        let names = self.names.as_ref()?;
        Some(Scope {
            on: None,
            on_place: None,
            lists: &names.lists,
            macros: &names.macros,
            calendars: &names.calendars,
            clock: &names.clock,
        })
    }
}

fn rule(section: &Section<'_, '_>, condition: &str) -> WrittenRule {
    let before = section.document.text.as_bytes().get(..section.span.start).unwrap_or(&[]);
    WrittenRule {
        path: section.document.path.to_owned(),
        line: memchr::memchr_iter(b'\n', before).count() + 1,
        condition: text(section, condition),
        active: text(section, tables::ACTIVE.name),
        measure: text(section, tables::MEASURE.name).unwrap_or_default(),
        also: section
            .texts(&tables::ALSO, &mut Vec::new())
            .unwrap_or_default()
            .iter()
            .map(|t| t.value.to_owned())
            .collect(),
        description: text(section, tables::DESCRIPTION.name),
    }
}

fn text(section: &Section<'_, '_>, name: &str) -> Option<String> {
    section.value(name)?.get_ref().as_str().map(str::to_owned)
}
