//! What events of a recording belong to, where the recording says so: `clean`, or the name of an attack.
//!
//! Labels are read beside the events, from the same lines, and only when asked for: no event carries one, and the engine
//! never knows.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::ensure;
use memchr::memmem;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};

use super::lock;
use crate::event::Batch;
use crate::ingest::Format;
use crate::limits::LABELS_MAX;

/// What an event belongs to, by [`Labels::name`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Label(pub(super) u32);

impl Label {
    pub(super) const CLEAN: Label = Label(0);
}

/// The word that simulated traffic uses; an event without a label is clean too.
const CLEAN: &str = "clean";

/// The labels met so far. Their numbers hang on the order in which threads met them: nothing that is told may.
#[derive(Debug)]
pub(super) struct Labels {
    field: String,
    /// The field as it stands in a line, with its quotes.
    quoted: String,
    known: Mutex<Known>,
    /// A record said something in it.
    is_met: AtomicBool,
}

#[derive(Debug, Default)]
struct Known {
    ids: HashMap<String, Label>,
    names: Vec<String>,
}

impl Labels {
    /// Labels that stand in this field of each record.
    pub(super) fn new(field: &str) -> Labels {
        let known = Known { ids: HashMap::new(), names: vec![CLEAN.to_owned()] };
        let quoted = serde_json::Value::from(field).to_string();
        Labels { field: field.to_owned(), quoted, known: Mutex::new(known), is_met: AtomicBool::new(false) }
    }

    /// Whether the records of a file can tell labels.
    pub(super) fn check(&self, format: &Format, is_stateful: bool, path: &Path) -> anyhow::Result<()> {
        let path = path.display();
        ensure!(
            matches!(format, Format::Ndjson | Format::Csv(_)) && !is_stateful,
            "`{path}`: labels are read from ndjson and csv, where a record is an event"
        );
        Ok(())
    }

    /// Whether any record had the field: one that none has is misspelt, most likely.
    pub(super) fn is_met(&self) -> bool {
        self.is_met.load(Ordering::Relaxed)
    }

    pub(super) fn name(&self, label: Label) -> String {
        lock(&self.known).names.get(label.0 as usize).cloned().unwrap_or_default()
    }

    /// The label of each line of a block that is not blank.
    pub(super) fn of_lines(&self, block: &[u8]) -> Vec<Label> {
        let finder = memmem::Finder::new(&self.quoted);
        let mut last: Option<(String, Label)> = None;
        let mut labels = Vec::new();
        let mut is_met = false;
        for line in block.split(|b| *b == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
            // A field that is spelt with escapes is nobody's label.
            let value = finder.find(line).and_then(|_| self.value_in(line));
            is_met |= value.is_some();
            let Some(value) = value.filter(|value| value != CLEAN) else {
                labels.push(Label::CLEAN);
                continue;
            };
            let label = match &last {
                Some((name, label)) if *name == value => *label,
                _ => self.label(&value),
            };
            labels.push(label);
            last = Some((value, label));
        }
        self.is_met.fetch_or(is_met, Ordering::Relaxed);
        labels
    }

    /// The labels that stand in cells, one an event.
    pub(super) fn of_cells(&self, cells: &[String]) -> Vec<Label> {
        self.is_met.fetch_or(cells.iter().any(|cell| !cell.trim().is_empty()), Ordering::Relaxed);
        let is_clean = |cell: &str| cell.is_empty() || cell == CLEAN;
        cells.iter().map(|cell| if is_clean(cell.trim()) { Label::CLEAN } else { self.label(cell.trim()) }).collect()
    }

    /// What the labels stand in.
    pub(super) fn field(&self) -> &str {
        &self.field
    }

    /// The labels of a block's events, given those of its lines: a line is an event or a reject.
    pub(super) fn of_events(lines: &[Label], batch: &Batch) -> Vec<Label> {
        let mut rejects = batch.rejects.iter().peekable();
        let mut labels = Vec::with_capacity(batch.events.len());
        for label in lines {
            if rejects.next_if(|reject| reject.before as usize == labels.len()).is_none() {
                labels.push(*label);
            }
        }
        labels.resize(batch.events.len(), Label::CLEAN);
        labels
    }

    fn label(&self, name: &str) -> Label {
        let mut known = lock(&self.known);
        if let Some(label) = known.ids.get(name) {
            return *label;
        }
        // One label for all that come after: they are attacks all the same.
        let is_full = known.names.len() > LABELS_MAX;
        let name = if is_full { "(other)" } else { name };
        let next = Label(known.names.len() as u32);
        let Known { ids, names } = &mut *known;
        *ids.entry(name.to_owned()).or_insert_with(|| {
            names.push(name.to_owned());
            next
        })
    }

    /// `None` where there is none, and where the line is no object.
    fn value_in(&self, line: &[u8]) -> Option<String> {
        let mut from = serde_json::Deserializer::from_slice(line);
        (Member(&self.field)).deserialize(&mut from).ok().flatten().filter(|value| !value.is_empty())
    }
}

/// Reads one member of an object as a text.
struct Member<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for Member<'_> {
    type Value = Option<String>;

    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Member<'_> {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            if key != self.0 {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            found = match map.next_value::<serde_json::Value>()? {
                serde_json::Value::String(text) => Some(text),
                serde_json::Value::Null | serde_json::Value::Bool(false) => None,
                other => Some(other.to_string()),
            };
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{CallEvent, Reject, Rejected};

    fn names(labels: &Labels, of: &[Label]) -> Vec<String> {
        of.iter().map(|label| labels.name(*label)).collect()
    }

    #[test]
    fn a_label_is_read_from_its_field_and_nothing_else_is_taken_for_it() {
        let labels = Labels::new("label");
        let block = b"{\"label\":\"tdos\"}\n\n{\"a\":\"\\\"label\\\"\",\"b\":{\"label\":\"no\"}}\r\n{\"label\":\"clean\"}\n{\"label\":null}\n{\"label\":7}\n{\"x\":1,\"label\":\"tdos\"}";
        assert_eq!(names(&labels, &labels.of_lines(block)), ["tdos", "clean", "clean", "clean", "7", "tdos"]);
    }

    #[test]
    fn lines_that_gave_no_event_take_their_labels_with_them() {
        let reject = |before| Rejected { before, seq: 0, reason: Reject::Malformed };
        let rejects = vec![reject(0), reject(1), reject(1), reject(2)];
        let batch = Batch { events: vec![CallEvent::BLANK; 2], rejects, ..Batch::default() };
        let lines: Vec<Label> = (1..=6).map(Label).collect();
        assert_eq!(Labels::of_events(&lines, &batch), [Label(2), Label(5)]);
    }

    #[test]
    fn more_labels_than_there_is_room_for_are_one() {
        let labels = Labels::new("label");
        let block: String = (0..LABELS_MAX + 9).map(|n| format!("{{\"label\":\"a{n}\"}}\n")).collect();
        let read = labels.of_lines(block.as_bytes());
        assert_eq!(read.len(), LABELS_MAX + 9);
        assert_eq!(labels.name(read[LABELS_MAX + 8]), "(other)");
        assert_eq!(labels.name(read[LABELS_MAX - 1]), format!("a{}", LABELS_MAX - 1));
    }
}
