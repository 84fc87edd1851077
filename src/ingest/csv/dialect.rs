//! What the columns of a CDR file mean: settings, and the dialects that need none.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use serde::Deserialize;

use super::when::{TimeFormat, TimeReader};
use crate::ingest::wire::WireField;

/// The `csv` table of a feed or of a settings file for `replay`.
///
/// `columns` maps what an event is made of to a column: its name in the header row, or its number, from 1. Beside the
/// fields of spec 1.2 (`time` being the end of the call) there are: `start`; `total`, seconds with ringing; `user` and
/// `other`, who are caller and callee as `direction` says; and of Asterisk `clid` and `channel`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    pub dialect: DialectName,
    /// One character; `tab` works too. A comma unless set.
    pub delimiter: Option<String>,
    /// Whether the first row names the columns. Left out: found out.
    pub header: Option<bool>,
    /// Of times without an offset: `Europe/Stockholm`, `UTC`.
    pub time_zone: Option<String>,
    /// `epoch`, `epoch_ms`, or a pattern of `strptime`: `%d.%m.%Y %H:%M:%S`. Left out: RFC 3339, epoch numbers
    /// and `YYYY-MM-DD HH:MM:SS` are told apart.
    pub time_format: Option<String>,
    pub columns: BTreeMap<String, Place>,
    /// What the file's words mean, by field: `status = { Missed = "no_answer" }`.
    pub words: BTreeMap<String, BTreeMap<String, String>>,
    /// Fields that are the same for every row.
    pub constants: BTreeMap<String, String>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum DialectName {
    Asterisk,
    #[default]
    Custom,
}

/// Where a column stands.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(untagged)]
pub enum Place {
    /// From 1.
    Number(usize),
    Name(String),
}

/// What a column is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Field(WireField),
    Start,
    /// Seconds from start to end.
    Total,
    User,
    Other,
    /// Asterisk's `"Name" <number>`.
    Clid,
    /// Asterisk's `PJSIP/trunk-0000002a`.
    Channel,
}

impl Column {
    fn parse(name: &str) -> Option<Column> {
        Some(match name {
            "start" => Column::Start,
            "end" => Column::Field(WireField::Time),
            "total" => Column::Total,
            "user" => Column::User,
            "other" => Column::Other,
            "clid" => Column::Clid,
            "channel" => Column::Channel,
            _ => Column::Field(WireField::parse(name.as_bytes())?),
        })
    }
}

/// A dialect with its settings, checked. Immutable, shared by all who read it.
#[derive(Clone, Debug)]
pub struct Dialect {
    pub(super) name: DialectName,
    pub(super) delimiter: u8,
    pub(super) header: Option<bool>,
    pub(super) times: TimeReader,
    pub(super) columns: Vec<(Column, Place)>,
    pub(super) words: Vec<(WireField, Vec<u8>, Vec<u8>)>,
    pub(super) constants: Vec<(WireField, Vec<u8>)>,
}

impl Dialect {
    /// Or everything that is wrong with the settings, each as `key: what`.
    pub fn new(settings: &Settings) -> Result<Dialect, Vec<String>> {
        let mut problems = Vec::new();
        let columns = columns(settings, &mut problems);
        let mut words: Vec<_> = if settings.dialect == DialectName::Asterisk { dispositions() } else { Vec::new() };
        for (name, meanings) in &settings.words {
            let Some(field) = field(name, "words", &mut problems) else { continue };
            // The operator's words come before the dialect's own.
            words.splice(0..0, meanings.iter().map(|(from, to)| (field, from.clone().into(), to.clone().into())));
        }
        let mut constants = Vec::new();
        for (name, value) in &settings.constants {
            let Some(field) = field(name, "constants", &mut problems) else { continue };
            constants.push((field, value.clone().into()));
        }
        let times = TimeReader { format: time_format(settings, &mut problems), zone: zone(settings, &mut problems) };
        let delimiter = delimiter(settings, &mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }
        let (name, header) = (settings.dialect, settings.header);
        Ok(Dialect { name, delimiter, header, times, columns, words, constants })
    }

    /// The byte between cells, by which [`crate::ingest::Framer`] finds where quotes open.
    pub fn delimiter(&self) -> u8 {
        self.delimiter
    }

    /// What a word of the file means for a field; itself where nothing was said.
    pub(super) fn meaning<'a>(&'a self, field: WireField, word: &'a [u8]) -> &'a [u8] {
        let same = |from: &[u8]| from.eq_ignore_ascii_case(word);
        self.words.iter().find(|(of, from, _)| *of == field && same(from)).map_or(word, |(_, _, to)| to)
    }
}

fn field(name: &str, table: &str, problems: &mut Vec<String>) -> Option<WireField> {
    let field = WireField::parse(name.as_bytes());
    if field.is_none() {
        problems.push(format!("csv.{table}: an event has no field `{name}`"));
    }
    field
}

fn columns(settings: &Settings, problems: &mut Vec<String>) -> Vec<(Column, Place)> {
    let mut columns = Vec::new();
    for (name, place) in &settings.columns {
        match Column::parse(name) {
            None => problems.push(format!("csv.columns: an event has no field `{name}`")),
            Some(_) if *place == Place::Number(0) => {
                problems.push(format!("csv.columns.{name}: columns are counted from 1"));
            }
            Some(column) => columns.push((column, place.clone())),
        }
    }
    let n_numbered = columns.iter().filter(|(_, place)| matches!(place, Place::Number(_))).count();
    if n_numbered != 0 && n_numbered != columns.len() {
        problems.push("csv.columns: give all columns by name or all by number".into());
    }
    if settings.header == Some(false) && n_numbered != columns.len() {
        problems.push("csv.columns: without a header row columns need numbers".into());
    }
    if settings.dialect == DialectName::Asterisk {
        return columns;
    }
    if columns.is_empty() {
        problems.push("csv.columns: the custom dialect needs columns".into());
    } else if !columns.iter().any(|(c, _)| matches!(c, Column::Start | Column::Field(WireField::Time))) {
        problems.push("csv.columns: a call needs `time` (its end) or `start`".into());
    }
    columns
}

fn time_format(settings: &Settings, problems: &mut Vec<String>) -> TimeFormat {
    match settings.time_format.as_deref() {
        None => TimeFormat::Common,
        Some("epoch") => TimeFormat::Epoch,
        Some("epoch_ms") => TimeFormat::EpochMs,
        Some(pattern) if pattern.contains('%') => TimeFormat::Pattern(pattern.into()),
        Some(other) => {
            problems.push(format!(
                "csv.time_format: `{other}` is none of `epoch`, `epoch_ms` and patterns like `%d.%m.%Y %H:%M:%S`"
            ));
            TimeFormat::Common
        }
    }
}

fn zone(settings: &Settings, problems: &mut Vec<String>) -> Option<TimeZone> {
    let Some(name) = settings.time_zone.as_deref() else {
        if settings.dialect == DialectName::Asterisk {
            problems.push("csv.time_zone: Asterisk writes local times; say of which zone, or `UTC`".into());
        }
        return None;
    };
    let zone = TimeZone::get(name);
    if zone.is_err() {
        problems.push(format!("csv.time_zone: there is no zone `{name}`; names are like `Europe/Stockholm`"));
    }
    zone.ok()
}

fn delimiter(settings: &Settings, problems: &mut Vec<String>) -> u8 {
    match settings.delimiter.as_deref().map(str::as_bytes) {
        None => b',',
        Some(b"tab" | b"\\t") => b'\t',
        Some([byte]) if !matches!(byte, b'"' | b'\n' | b'\r') && byte.is_ascii() => *byte,
        Some(_) => {
            problems.push("csv.delimiter: one character that is neither quote nor line break, or `tab`".into());
            b','
        }
    }
}

fn dispositions() -> Vec<(WireField, Vec<u8>, Vec<u8>)> {
    let words: &[(&str, &str)] = &[
        ("ANSWERED", "answered"),
        ("ANSWER", "answered"),
        ("NO ANSWER", "no_answer"),
        ("NOANSWER", "no_answer"),
        ("BUSY", "busy"),
        ("CANCEL", "cancelled"),
        ("FAILED", "failed"),
        ("CONGESTION", "failed"),
        ("CHANUNAVAIL", "failed"),
    ];
    words.iter().map(|(from, to)| (WireField::Status, (*from).into(), (*to).into())).collect()
}

/// The names Asterisk gives its columns (`cdr_csv.c`, `cdr_custom.conf`, database exports), and their use.
const ASTERISK_NAMES: &[(&str, Column)] = &[
    ("accountcode", Column::Field(WireField::Account)),
    ("src", Column::Field(WireField::Caller)),
    ("dst", Column::Field(WireField::Callee)),
    ("dcontext", Column::Field(WireField::Direction)),
    ("clid", Column::Clid),
    ("channel", Column::Channel),
    ("start", Column::Start),
    ("calldate", Column::Start),
    ("end", Column::Field(WireField::Time)),
    ("duration", Column::Total),
    ("billsec", Column::Field(WireField::Duration)),
    ("disposition", Column::Field(WireField::Status)),
    ("uniqueid", Column::Field(WireField::CallId)),
];

/// The columns of an Asterisk header row; `None` where the row is none.
pub(super) fn asterisk_header(names: &[&[u8]]) -> Option<Vec<(Column, usize)>> {
    let lower: Vec<Vec<u8>> = names.iter().map(|n| n.to_ascii_lowercase()).collect();
    let has = |name: &[u8]| lower.iter().any(|n| n == name);
    if !has(b"src") || !has(b"dst") {
        return None;
    }
    let column = |name: &Vec<u8>| ASTERISK_NAMES.iter().find(|(n, _)| n.as_bytes() == name).map(|(_, c)| *c);
    Some(lower.iter().enumerate().filter_map(|(at, name)| Some((column(name)?, at))).collect())
}

/// `cdr_csv`: account, src, dst, context, clid, channel, dstchannel, app, data, start, answer, end, duration, billsec,
/// disposition, amaflags.
pub(super) const ASTERISK_CSV: &[(Column, usize)] = &[
    (Column::Field(WireField::Account), 0),
    (Column::Field(WireField::Caller), 1),
    (Column::Field(WireField::Callee), 2),
    (Column::Field(WireField::Direction), 3),
    (Column::Clid, 4),
    (Column::Channel, 5),
    (Column::Start, 9),
    (Column::Field(WireField::Time), 11),
    (Column::Total, 12),
    (Column::Field(WireField::Duration), 13),
    (Column::Field(WireField::Status), 14),
];

/// As [`ASTERISK_CSV`], with the unique id, which that file has only where it is configured.
pub(super) const ASTERISK_CSV_ID: &[(Column, usize)] = &[
    (Column::Field(WireField::Account), 0),
    (Column::Field(WireField::Caller), 1),
    (Column::Field(WireField::Callee), 2),
    (Column::Field(WireField::Direction), 3),
    (Column::Clid, 4),
    (Column::Channel, 5),
    (Column::Start, 9),
    (Column::Field(WireField::Time), 11),
    (Column::Total, 12),
    (Column::Field(WireField::Duration), 13),
    (Column::Field(WireField::Status), 14),
    (Column::Field(WireField::CallId), 16),
];

/// The order of the sample `cdr_custom.conf`: clid first, account and unique id behind the flags.
pub(super) const ASTERISK_CUSTOM: &[(Column, usize)] = &[
    (Column::Clid, 0),
    (Column::Field(WireField::Caller), 1),
    (Column::Field(WireField::Callee), 2),
    (Column::Field(WireField::Direction), 3),
    (Column::Channel, 4),
    (Column::Start, 8),
    (Column::Field(WireField::Time), 10),
    (Column::Total, 11),
    (Column::Field(WireField::Duration), 12),
    (Column::Field(WireField::Status), 13),
    (Column::Field(WireField::Account), 15),
    (Column::Field(WireField::CallId), 16),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_in_the_settings_is_told_at_once() {
        let settings: Settings = toml::from_str(
            "delimiter = '||'\ntime_zone = 'Mars/Olympus'\ntime_format = 'iso'\nheader = false\n\
             [columns]\ncaler = 'a'\ncallee = 0\ncaller = 'b'\nduration = 3\n\
             [words.stat]\nX = 'y'\n[constants]\nfoo = 'bar'\n",
        )
        .unwrap();
        let problems = Dialect::new(&settings).unwrap_err();
        for part in
            ["caler", "counted from 1", "all columns", "need numbers", "start", "stat", "foo", "Mars", "iso", "delim"]
        {
            assert!(problems.iter().any(|p| p.contains(part)), "{part}: {problems:?}");
        }
    }

    #[test]
    fn asterisk_needs_a_zone() {
        let settings = Settings { dialect: DialectName::Asterisk, ..Settings::default() };
        assert!(Dialect::new(&settings).unwrap_err()[0].contains("time_zone"));
    }
}
