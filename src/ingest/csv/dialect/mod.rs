//! What the columns of a CDR file mean: settings, and the dialects that need none.
//!
//! A dialect is a table of columns and the few things that only its writer does; it never reads a file.

mod acme;
mod asterisk;
mod broadworks;
mod cucm;
mod freeswitch;
mod kamailio;

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use serde::Deserialize;

use super::when::{TimeFormat, TimeReader};
use crate::event::Text;
use crate::ingest::framing::Style;
use crate::ingest::origin::bytes;
use crate::ingest::wire::WireField;

/// The `csv` table of a feed or of a settings file for `replay`.
///
/// `columns` maps what an event is made of to a column: its name in the header row, or its number, from 1. Beside the
/// fields of spec 1.2 (`time` being the end of the call) there are: `start`; `answer`, empty or 0 where nobody did;
/// `total`, seconds with ringing; `user` and `other`, who are caller and callee as `direction` says; `cause`, a Q.850
/// number or its name; and of Asterisk `clid` and `channel`. Dialects other than `custom` have columns of their own.
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
    Acme,
    Asterisk,
    Broadworks,
    BroadworksXml,
    Cucm,
    #[default]
    Custom,
    Freeswitch,
    KamailioAcc,
}

impl DialectName {
    pub const ALL: [DialectName; 8] = [
        DialectName::Acme,
        DialectName::Asterisk,
        DialectName::Broadworks,
        DialectName::BroadworksXml,
        DialectName::Cucm,
        DialectName::Custom,
        DialectName::Freeswitch,
        DialectName::KamailioAcc,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            DialectName::Acme => "acme",
            DialectName::Asterisk => "asterisk",
            DialectName::Broadworks => "broadworks",
            DialectName::BroadworksXml => "broadworks-xml",
            DialectName::Cucm => "cucm",
            DialectName::Custom => "custom",
            DialectName::Freeswitch => "freeswitch",
            DialectName::KamailioAcc => "kamailio-acc",
        }
    }

    pub fn parse(name: &str) -> Option<DialectName> {
        DialectName::ALL.into_iter().find(|dialect| dialect.as_str() == name)
    }

    fn own(self) -> &'static Own {
        match self {
            DialectName::Acme => &acme::OWN,
            DialectName::Asterisk => &asterisk::OWN,
            DialectName::Broadworks => &broadworks::OWN,
            DialectName::BroadworksXml => &broadworks::OWN_XML,
            DialectName::Cucm => &cucm::OWN,
            DialectName::Custom => &Own::COMMON,
            DialectName::Freeswitch => &freeswitch::OWN,
            DialectName::KamailioAcc => &kamailio::OWN,
        }
    }
}

/// What only one writer of records does.
#[derive(Debug)]
pub(super) struct Own {
    /// Field, the file's word, ours.
    words: &'static [(WireField, &'static str, &'static str)],
    /// Where settings name none.
    delimiter: u8,
    times: TimeFormat,
    zone: Zone,
    /// The columns that a header row names; `None` where the row is no header.
    header: Option<HeaderReader>,
    /// The columns of one row without a header. Where there is no such function, nothing is known without the header.
    shape: Option<fn(Cells<'_>) -> Shape>,
    /// A row that is known and no call, in files whose header tells the columns.
    pub(super) passes_over: fn(Cells<'_>) -> bool,
    /// Columns of the settings stand beside the dialect's own, not in their place.
    adds_columns: bool,
    /// A call is told in several rows.
    pub(super) pairs: bool,
    /// Elements by name instead of rows.
    pub(super) elements: Option<&'static Elements>,
}

type HeaderReader = fn(&[&[u8]]) -> Option<Vec<(Column, usize)>>;

impl Own {
    const COMMON: Own = Own {
        words: &[],
        delimiter: b',',
        times: TimeFormat::Common,
        zone: Zone::Local,
        header: None,
        shape: None,
        passes_over: |_| false,
        adds_columns: false,
        pairs: false,
        elements: None,
    };
}

/// Of which zone times without an offset are, where the settings do not say.
#[derive(Debug)]
enum Zone {
    /// The settings must say, and why.
    Needed(&'static str),
    /// None: a local time is rejected.
    Local,
    Utc,
}

/// Records of a file of elements.
#[derive(Debug)]
pub(super) struct Elements {
    /// `<cdrData`.
    pub(super) open: &'static [u8],
    /// `</cdrData>`.
    pub(super) close: &'static [u8],
    /// What stands around the records.
    pub(super) root: &'static [u8],
    /// Elements that hold text, by name. Of equals the later one counts.
    pub(super) names: &'static [(&'static str, Column)],
}

/// What one row is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    /// A call, or a part of one, with these columns. Of two that fill the same field the later one counts.
    Columns(&'static [(Column, usize)]),
    /// Known, and no call of its own: the start of one whose end has its own row, a mark of the file.
    PassedOver,
    /// Not of this dialect.
    Foreign,
}

/// The cells of one row.
#[derive(Clone, Copy)]
pub(super) struct Cells<'a> {
    pub(super) cells: &'a [Text],
    pub(super) block: &'a [u8],
    pub(super) side: &'a [u8],
}

impl<'a> Cells<'a> {
    pub(super) fn len(self) -> usize {
        self.cells.len()
    }

    /// By its index from 0; empty where the row has no such cell.
    pub(super) fn cell(self, at: usize) -> &'a [u8] {
        bytes(self.block, self.side, self.cells.get(at).copied().unwrap_or_default())
    }
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
    /// When the call was answered; empty or 0 where nobody did.
    Answer,
    /// `Yes`, `No` and the like.
    Answered,
    /// Seconds from start to end.
    Total,
    User,
    Other,
    /// Asterisk's `"Name" <number>`.
    Clid,
    /// Asterisk's `PJSIP/trunk-0000002a`.
    Channel,
    /// A word that tells the direction only where the settings say what it means.
    Context,
    /// As [`Column::Context`], of a word that is one of ours and means something else.
    ChannelDirection,
    /// A direction of the subscriber's, in the words of the dialect; others tell nothing.
    Side,
    /// A Q.850 number, or a name FreeSWITCH has for it.
    Cause,
    /// CUCM's causes: what the caller's side gave, and the callee's.
    CallerCause,
    CalleeCause,
    /// An address as a signed decimal whose lowest byte comes first.
    LittleEndianAddress,
    /// An address, also with a port behind it. What is none tells nothing.
    Address,
    /// A header of SIP: `"Name" <sip:user@host>;parameters`. Of the caller's the name is taken as well.
    NameAddr(WireField),
    /// Whole milliseconds.
    Milliseconds(WireField),
    /// Who forwarded the call, unless it is the callee.
    Redirector,
    /// `Public`, `Private`, `Anonymous` ...: whether the caller's number may be shown.
    Presentation,
    /// `local` or `remote`: who hung up, seen from the subscriber.
    ReleasedBy,
    /// A SIP Call-ID; what has no `@` is none.
    SipCallId,
    /// A part of an id, joined with a dash where there is no other.
    IdPart,
    FromTag,
    ToTag,
    /// Looked at before the columns are.
    Nothing,
}

impl Column {
    fn parse(name: &str) -> Option<Column> {
        Some(match name {
            "start" => Column::Start,
            "end" => Column::Field(WireField::Time),
            "answer" => Column::Answer,
            "total" => Column::Total,
            "cause" => Column::Cause,
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
    pub(super) own: &'static Own,
    pub(super) is_custom: bool,
    /// `None`: the dialect's own, or another that the first row shows.
    delimiter: Option<u8>,
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
        let own = settings.dialect.own();
        let columns = columns(settings, own, &mut problems);
        let mut words: Vec<_> =
            own.words.iter().map(|(field, from, to)| (*field, (*from).into(), (*to).into())).collect();
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
        let times =
            TimeReader { format: time_format(settings, own, &mut problems), zone: zone(settings, own, &mut problems) };
        let delimiter = delimiter(settings, own, &mut problems);
        check_header(settings, own, &mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }
        let (is_custom, header) = (settings.dialect == DialectName::Custom, settings.header);
        Ok(Dialect { own, is_custom, delimiter, header, times, columns, words, constants })
    }

    /// How records end, for the [`crate::ingest::Framer`].
    pub fn style(&self) -> Style {
        match self.own.elements {
            Some(elements) => Style::Elements(elements.close),
            None => Style::Quoted(self.delimiter()),
        }
    }

    /// The byte between cells, by which quotes are seen to open.
    pub(super) fn delimiter(&self) -> u8 {
        self.delimiter.unwrap_or(self.own.delimiter)
    }

    /// The byte between the cells of a file that begins with this row. Records end alike for either.
    pub(super) fn delimiter_of(&self, first_row: &[u8]) -> u8 {
        let bar = memchr::memchr(b'|', first_row).is_some();
        match self.delimiter {
            None if self.own.delimiter == b'|' && !bar => b',',
            _ => self.delimiter(),
        }
    }

    /// The columns that a header row names and whether all that the dialect needs are there; `None` where the row is
    /// no header of this dialect's own.
    pub(super) fn own_header(&self, row: &[&[u8]]) -> Option<Vec<(Column, usize)>> {
        let read = self.own.header.filter(|_| self.header != Some(false))?;
        let mut columns = read(row)?;
        columns.extend(self.numbered());
        Some(columns)
    }

    /// Rows tell by themselves what they are, without a header.
    pub(super) fn reads_rows(&self) -> bool {
        self.own.shape.is_some()
    }

    /// What one row is, by itself. `None` where only a header tells.
    pub(super) fn shape(&self, row: Cells<'_>) -> Option<Shape> {
        self.own.shape.map(|shape| shape(row))
    }

    /// Whether the settings' columns stand in the place of the dialect's own.
    pub(super) fn has_columns_of_its_own(&self) -> bool {
        self.columns.is_empty() || self.own.adds_columns
    }

    /// Columns of the settings that are numbered, by their index from 0.
    pub(super) fn numbered(&self) -> impl Iterator<Item = (Column, usize)> + '_ {
        self.columns.iter().filter_map(|(column, place)| match place {
            Place::Number(number) => Some((*column, number.saturating_sub(1))),
            Place::Name(_) => None,
        })
    }

    /// Whether somebody said what a word of the file means for a field.
    pub(super) fn has_meaning(&self, field: WireField, word: &[u8]) -> bool {
        self.words.iter().any(|(of, from, _)| *of == field && from.eq_ignore_ascii_case(word))
    }

    /// What a word of the file means for a field; itself where nothing was said.
    pub(super) fn meaning<'a>(&'a self, field: WireField, word: &'a [u8]) -> &'a [u8] {
        let same = |from: &[u8]| from.eq_ignore_ascii_case(word);
        self.words.iter().find(|(of, from, _)| *of == field && same(from)).map_or(word, |(_, _, to)| to)
    }
}

/// The columns of `names` that a header row has, in the order of `names`; `None` where it lacks one of `needs`.
fn by_name(names: &[(&str, Column)], row: &[&[u8]], needs: &[&str]) -> Option<Vec<(Column, usize)>> {
    let place = |name: &str| row.iter().position(|cell| cell.eq_ignore_ascii_case(name.as_bytes()));
    if needs.iter().any(|name| place(name).is_none()) {
        return None;
    }
    Some(names.iter().filter_map(|(name, column)| Some((*column, place(name)?))).collect())
}

fn field(name: &str, table: &str, problems: &mut Vec<String>) -> Option<WireField> {
    let field = WireField::parse(name.as_bytes());
    if field.is_none() {
        problems.push(format!("csv.{table}: an event has no field `{name}`"));
    }
    field
}

fn columns(settings: &Settings, own: &Own, problems: &mut Vec<String>) -> Vec<(Column, Place)> {
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
    if own.elements.is_some() {
        if !columns.is_empty() {
            problems.push("csv.columns: this dialect knows its elements by their names; leave them out".into());
        }
        return columns;
    }
    let n_numbered = columns.iter().filter(|(_, place)| matches!(place, Place::Number(_))).count();
    if own.adds_columns {
        if n_numbered != columns.len() {
            problems.push("csv.columns: rows of this dialect have no names; count the extra columns from 1".into());
        }
        return columns;
    }
    if n_numbered != 0 && n_numbered != columns.len() {
        problems.push("csv.columns: give all columns by name or all by number".into());
    }
    if settings.header == Some(false) && n_numbered != columns.len() {
        problems.push("csv.columns: without a header row columns need numbers".into());
    }
    if columns.is_empty() {
        if settings.dialect == DialectName::Custom {
            problems.push("csv.columns: the custom dialect needs columns".into());
        }
    } else if !columns.iter().any(|(c, _)| matches!(c, Column::Start | Column::Field(WireField::Time))) {
        problems.push("csv.columns: a call needs `time` (its end) or `start`".into());
    }
    columns
}

fn time_format(settings: &Settings, own: &Own, problems: &mut Vec<String>) -> TimeFormat {
    match settings.time_format.as_deref() {
        None => own.times.clone(),
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

fn zone(settings: &Settings, own: &Own, problems: &mut Vec<String>) -> Option<TimeZone> {
    let Some(name) = settings.time_zone.as_deref() else {
        match own.zone {
            Zone::Needed(why) => problems.push(format!("csv.time_zone: {why}")),
            Zone::Utc => return Some(TimeZone::UTC),
            Zone::Local => {}
        }
        return None;
    };
    let zone = TimeZone::get(name);
    if zone.is_err() {
        problems.push(format!("csv.time_zone: there is no zone `{name}`; names are like `Europe/Stockholm`"));
    }
    zone.ok()
}

fn delimiter(settings: &Settings, own: &Own, problems: &mut Vec<String>) -> Option<u8> {
    let delimiter = settings.delimiter.as_deref().map(str::as_bytes);
    if delimiter.is_some() && own.elements.is_some() {
        problems.push("csv.delimiter: elements have none; leave it out".into());
    }
    match delimiter {
        None => None,
        Some(b"tab" | b"\\t") => Some(b'\t'),
        Some([byte]) if !matches!(byte, b'"' | b'\n' | b'\r') && byte.is_ascii() => Some(*byte),
        Some(_) => {
            problems.push("csv.delimiter: one character that is neither quote nor line break, or `tab`".into());
            None
        }
    }
}

fn check_header(settings: &Settings, own: &Own, problems: &mut Vec<String>) {
    let only_by_header = own.header.is_some() && own.shape.is_none() && settings.columns.is_empty();
    match settings.header {
        Some(_) if own.elements.is_some() => {
            problems.push("csv.header: elements have no header row; leave it out".into());
        }
        Some(false) if only_by_header => {
            problems
                .push("csv.header: only the header row tells the columns of this dialect; or number `columns`".into());
        }
        _ => {}
    }
}

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
