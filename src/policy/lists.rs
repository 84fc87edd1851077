//! The entries of a list: from `items`, from CSV, or from a file with one value a line.
//!
//! Every bad line is noted, the first few with their place. A list with a bad line is refused as a whole: half a
//! block list is worse than the one before it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use super::ListContent;
use super::address_set::{AddressRange, AddressSet};
use super::country_set::CountrySet;
use super::document::short;
use super::number_set::{EntryNote, NumberSetBuilder};
use super::problem::{Problem, suggest};
use super::text_set::TextSet;
use crate::calendar::parse_date;
use crate::clock::Timestamp;
use crate::event::Country;
use crate::event::{NumberPattern, NumberRange};
use crate::limits::TEXT_BYTES_MAX;

/// Bad lines of one file that are shown; the others are counted.
const BAD_LINES_SHOWN: usize = 10;
/// Columns a list file may have.
const COLUMNS: [&str; 5] = ["value", "comment", "category", "expires", "ticket"];

/// `type` of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ListType {
    Number,
    Text,
    Ip,
    Country,
}

impl ListType {
    pub(crate) const WORDS: [(&'static str, ListType); 4] =
        [("number", ListType::Number), ("text", ListType::Text), ("ip", ListType::Ip), ("country", ListType::Country)];

    pub(crate) fn as_str(self) -> &'static str {
        Self::WORDS.iter().find(|(_, t)| *t == self).map_or("", |(word, _)| word)
    }

    fn example(self) -> &'static str {
        match self {
            ListType::Number => "\"+46701234567\", \"+4670*\", \"+46840000..+46840099\" or \"short:2001\"",
            ListType::Text => "\"trunk-1\"",
            ListType::Ip => "\"192.0.2.1\" or \"10.0.0.0/8\"",
            ListType::Country => "\"SE\"",
        }
    }
}

/// Why a value is no entry.
pub(crate) struct BadEntry {
    /// Where it differs from the reader's own code.
    pub(crate) code: Option<&'static str>,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

impl BadEntry {
    fn new(message: impl Into<String>) -> BadEntry {
        BadEntry { code: None, message: message.into(), help: None }
    }

    fn help(self, help: impl Into<String>) -> BadEntry {
        BadEntry { help: Some(help.into()), ..self }
    }
}

/// Entries on their way into a list.
pub(crate) struct Entries {
    list_type: ListType,
    numbers: NumberSetBuilder,
    texts: TextSet,
    addresses: Vec<(AddressRange, Option<Timestamp>)>,
    countries: CountrySet,
    pub(crate) count: usize,
}

impl Entries {
    pub(crate) fn new(list_type: ListType, capacity: usize) -> Entries {
        Entries {
            list_type,
            numbers: NumberSetBuilder::with_capacity(if list_type == ListType::Number { capacity } else { 0 }),
            texts: TextSet::default(),
            addresses: Vec::new(),
            countries: CountrySet::new(),
            count: 0,
        }
    }

    pub(crate) fn add(&mut self, value: &str, note: EntryNote<'_>) -> Result<(), BadEntry> {
        if value.is_empty() {
            return Err(BadEntry::new("the value is empty"));
        }
        if value.len() > TEXT_BYTES_MAX {
            return Err(BadEntry::new(format!("the value has {} bytes, limit is {TEXT_BYTES_MAX}", value.len())));
        }
        match self.list_type {
            ListType::Number => self.add_number(value, note)?,
            ListType::Text => {
                self.texts.insert(value, note.expires);
            }
            ListType::Ip => self.addresses.push((address(value)?, note.expires)),
            ListType::Country => self.countries.insert(country(value)?, note.expires),
        }
        self.count += 1;
        Ok(())
    }

    fn add_number(&mut self, value: &str, note: EntryNote<'_>) -> Result<(), BadEntry> {
        let parse = |text: &str| NumberPattern::parse(text.as_bytes());
        match value.split_once("..") {
            None => self.numbers.pattern(parse(value).map_err(|e| bad_number(value, &e.to_string()))?, note),
            Some((low, high)) => {
                let ends = parse(low).and_then(|low| Ok((low, parse(high)?)));
                let range = ends.and_then(|(low, high)| NumberRange::new(low, high));
                self.numbers.range(range.map_err(|e| bad_number(value, &e.to_string()))?, note);
            }
        }
        Ok(())
    }

    pub(crate) fn build(self) -> ListContent {
        match self.list_type {
            ListType::Number => ListContent::Numbers(self.numbers.build()),
            ListType::Text => ListContent::Texts(self.texts),
            ListType::Ip => ListContent::Addresses(AddressSet::new(self.addresses)),
            ListType::Country => ListContent::Countries(self.countries),
        }
    }
}

fn address(value: &str) -> Result<AddressRange, BadEntry> {
    let range = match value.split_once("..") {
        None => AddressRange::parse(value),
        Some((low, high)) => {
            AddressRange::parse(low.trim()).and_then(|low| AddressRange::span(low, AddressRange::parse(high.trim())?))
        }
    };
    range.map_err(BadEntry::new)
}

fn country(value: &str) -> Result<Country, BadEntry> {
    if let Some(country) = Country::parse(value.as_bytes()) {
        return Ok(country);
    }
    let bad = BadEntry::new(format!("`{}` is no country code of ISO 3166", short(value)));
    let by_name = Country::ALL
        .iter()
        .find(|(c, name)| name.eq_ignore_ascii_case(value) || c.as_str().eq_ignore_ascii_case(value));
    Err(match by_name {
        Some((code, name)) => bad.help(format!("write {} ({name})", code.as_str())),
        None => bad,
    })
}

/// Looks closer at what is no number: spreadsheets and forgotten `+` have their own words.
fn bad_number(value: &str, reason: &str) -> BadEntry {
    let shown = short(value);
    if is_spreadsheet_figure(value) {
        return BadEntry {
            code: Some("E013"),
            ..BadEntry::new(format!("`{shown}` is a phone number that a spreadsheet has rounded"))
        }
        .help(
            "the digits are lost: format the column as text in the spreadsheet, paste the numbers again, and export",
        );
    }
    let digits: String = value.chars().filter(|c| !matches!(c, ' ' | '-' | '.' | '(' | ')' | '/' | '\'')).collect();
    let bad = BadEntry::new(format!("`{shown}`: {reason}"));
    if !value.starts_with('+') && digits.len() > 2 && digits.bytes().all(|b| b.is_ascii_digit()) {
        return match digits.strip_prefix("00") {
            Some(rest) => bad.help(format!("write it with a plus: +{rest}")),
            None if digits.starts_with('0') => bad.help("write the country code instead of the leading 0: +46..."),
            None if digits.len() > 6 => bad.help(format!("if {digits} begins with its country code: +{digits}")),
            None => bad.help(format!("if it is an extension or a short code: short:{digits}")),
        };
    }
    bad
}

/// `4.47900E+11`, `4,479E+11`, `46701234567.0`, `#####`.
pub(crate) fn is_spreadsheet_figure(text: &str) -> bool {
    let text = text.trim().trim_start_matches(['+', '\'']);
    if text.len() > 2 && text.bytes().all(|b| b == b'#') {
        return true;
    }
    let figures = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit() || b == b'.' || b == b',');
    match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => {
            let exponent = exponent.trim_start_matches('+');
            figures(mantissa) && !exponent.is_empty() && exponent.bytes().all(|b| b.is_ascii_digit())
        }
        None => text.strip_suffix(".0").is_some_and(|d| d.len() > 6 && d.bytes().all(|b| b.is_ascii_digit())),
    }
}

/// The entries of a list file. `zone` tells when a date in `expires` ends.
pub(crate) struct FileReader<'f, 'p> {
    path: &'f str,
    text: &'f str,
    entries: Entries,
    expiries: Expiries<'f>,
    n_bad: usize,
    /// The first bad line that is not shown.
    hidden: Option<Range<usize>>,
    now: Option<Timestamp>,
    n_expired: usize,
    /// The first entry that has expired.
    expired: Option<Range<usize>>,
    problems: &'p mut Vec<Problem>,
}

impl<'f, 'p> FileReader<'f, 'p> {
    pub(crate) fn new(
        path: &'f str,
        text: &'f str,
        list_type: ListType,
        zone: &'f jiff::tz::TimeZone,
        now: Option<Timestamp>,
        problems: &'p mut Vec<Problem>,
    ) -> FileReader<'f, 'p> {
        // About one entry in 16 bytes; a guess that saves most of the growing.
        let entries = Entries::new(list_type, text.len() / 16);
        FileReader {
            path,
            text,
            entries,
            expiries: Expiries { zone, known: HashMap::new() },
            n_bad: 0,
            hidden: None,
            now,
            n_expired: 0,
            expired: None,
            problems,
        }
    }

    /// Reads it all; `None` where a line was bad.
    pub(crate) fn read(mut self) -> Option<Entries> {
        match self.header() {
            Some((start, delimiter)) => self.read_csv(start, delimiter),
            None => self.read_lines(),
        }
        if let Some(first) = self.hidden {
            let more = self.n_bad - BAD_LINES_SHOWN;
            let message = format!("{more} more bad lines in this file, {} in all", self.n_bad);
            self.problems.push(Problem::error("E011", message).at(self.path, first).label("the first of them"));
        }
        if let Some(first) = self.expired {
            let message = match self.n_expired {
                1 => "an entry of this list has expired and matches nothing any more".to_owned(),
                n => format!("{n} entries of this list have expired and match nothing any more"),
            };
            self.problems.push(Problem::warning("W109", message).at(self.path, first).label("the first"));
        }
        (self.n_bad == 0).then_some(self.entries)
    }

    /// Where the line with the names of the columns starts, and what stands between them.
    fn header(&self) -> Option<(usize, u8)> {
        let mut at = 0;
        for line in self.text.split_inclusive('\n') {
            let content = line.trim();
            if content.is_empty() || content.starts_with('#') {
                at += line.len();
                continue;
            }
            let delimiter = *[b',', b';', b'\t'].iter().find(|d| content.as_bytes().contains(d)).unwrap_or(&b',');
            let is_header = content
                .split(char::from(delimiter))
                .any(|cell| cell.trim().trim_matches('"').eq_ignore_ascii_case(COLUMNS[0]));
            return is_header.then_some((at, delimiter));
        }
        None
    }

    fn read_lines(&mut self) {
        let mut at = 0;
        for (i, line) in self.text.split_inclusive('\n').enumerate() {
            let start = at;
            at += line.len();
            let value = line.trim();
            if value.is_empty() || value.starts_with('#') {
                continue;
            }
            let mut note = EntryNote { line: i as u32 + 1, ..EntryNote::default() };
            let mut value = value;
            // A text may hold a `#`; nothing else can.
            if self.entries.list_type != ListType::Text
                && let Some((before, comment)) = value.split_once(" #")
            {
                value = before.trim_end();
                note.comment = Some(comment.trim()).filter(|c| !c.is_empty());
            }
            if let Err(bad) = self.entries.add(value, note) {
                let begin = start + line.len() - line.trim_start().len();
                let bad = if value.contains([',', ';']) && bad.help.is_none() {
                    bad.help("a file with columns begins with their names: value,comment,category,expires,ticket")
                } else {
                    bad
                };
                self.bad(bad, begin..begin + value.len(), i + 1);
            }
        }
    }

    fn read_csv(&mut self, start: usize, delimiter: u8) {
        let Some(body) = self.text.get(start..) else { return };
        let first_line = memchr::memchr_iter(b'\n', self.text.as_bytes().get(..start).unwrap_or(&[])).count();
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(delimiter)
            .comment(Some(b'#'))
            .flexible(true)
            .has_headers(false)
            .from_reader(body.as_bytes());
        let mut record = csv::StringRecord::new();
        let mut columns: Option<[Option<usize>; 5]> = None;
        loop {
            let more = reader.read_record(&mut record);
            let (at, line) = record.position().map_or((0, 1), |p| (p.byte() as usize, p.line() as usize));
            let (at, line) = self.skip_comments(start + at, first_line + line, delimiter);
            match more {
                Ok(false) => return,
                Ok(true) => {}
                // Text in memory, flexible in its width: nothing is left that could fail but a limit.
                Err(e) => return self.bad(BadEntry::new(e.to_string()), at..at, line),
            }
            match &columns {
                None => columns = self.columns(&record, at, line),
                Some(columns) => self.row(&record, columns, at, line),
            }
            if columns.is_none() {
                return;
            }
        }
    }

    /// A record begins where the one before ended: past the lines between them that are none.
    fn skip_comments(&mut self, mut at: usize, mut line: usize, delimiter: u8) -> (usize, usize) {
        while let Some(rest) = self.text.get(at..).filter(|rest| rest.starts_with(['#', '\r', '\n'])) {
            let length = memchr::memchr(b'\n', rest.as_bytes()).map_or(rest.len(), |end| end + 1);
            let first = rest.get(..length).and_then(|l| l.split(char::from(delimiter)).next()).unwrap_or("");
            // A column that was too narrow is exported as signs: that is no comment.
            if first.len() < length && is_spreadsheet_figure(first) {
                self.bad(bad_number(first, "no number"), at..at + first.len(), line);
            }
            (at, line) = (at + length, line + 1);
        }
        (at, line)
    }

    /// Which column stands where; unknown ones are noted.
    fn columns(&mut self, record: &csv::StringRecord, at: usize, line: usize) -> Option<[Option<usize>; 5]> {
        let mut columns = [None; 5];
        for (i, cell) in record.iter().enumerate() {
            let name = cell.trim().to_ascii_lowercase();
            match COLUMNS.iter().position(|c| *c == name) {
                Some(known) => columns[known] = Some(i),
                None => {
                    let bad = BadEntry::new(match suggest(&name, COLUMNS) {
                        Some(near) => format!("unknown column `{}`; did you mean `{near}`?", short(cell)),
                        None => format!("unknown column `{}`", short(cell)),
                    });
                    let span = self.within(at, cell);
                    self.bad(bad.help(format!("columns are: {}", COLUMNS.join(", "))), span, line);
                }
            }
        }
        Some(columns)
    }

    fn row(&mut self, record: &csv::StringRecord, columns: &[Option<usize>; 5], at: usize, line: usize) {
        let cell = |column: usize| -> Option<&str> {
            let text = record.get(columns.get(column).copied().flatten()?)?.trim();
            (!text.is_empty()).then_some(text)
        };
        if record.len() == 1 && record.get(0).is_some_and(|c| c.trim().is_empty()) {
            return;
        }
        let n_columns = columns.iter().flatten().max().map_or(0, |c| c + 1);
        if record.len() > n_columns {
            let bad = BadEntry::new(format!("the line has {} columns, its header {n_columns}", record.len()));
            return self.bad(bad.help("put a text with commas in \"double quotes\""), self.rest_of_line(at), line);
        }
        let mut note = EntryNote { line: line as u32, ..EntryNote::default() };
        (note.comment, note.category, note.ticket) = (cell(1), cell(2), cell(4));
        if let Some(text) = cell(3) {
            match self.expiries.parse(text) {
                Ok(expires) => {
                    note.expires = Some(expires);
                    if self.now.is_some_and(|now| expires <= now) {
                        self.n_expired += 1;
                        if self.expired.is_none() {
                            self.expired = Some(self.within(at, text));
                        }
                    }
                }
                Err(message) => {
                    let span = self.within(at, text);
                    return self.bad(
                        BadEntry::new(message).help("write `2027-01-31` or `2027-01-31T18:00:00Z`"),
                        span,
                        line,
                    );
                }
            }
        }
        let value = cell(0).unwrap_or("");
        if value.contains('\n') {
            let bad = BadEntry::new("the quote that opens here is not closed on its line");
            return self.bad(bad, self.rest_of_line(at), line);
        }
        if let Err(bad) = self.entries.add(value, note) {
            let span = self.within(at, value);
            self.bad(bad, span, line);
        }
    }

    fn rest_of_line(&self, at: usize) -> Range<usize> {
        let rest = self.text.get(at..).unwrap_or("");
        // A record begins where the one before ended, line end and comments included.
        let skipped = rest.len() - rest.trim_start_matches(['\r', '\n']).len();
        let line = rest.get(skipped..).and_then(|r| r.lines().next()).unwrap_or("");
        at + skipped..at + skipped + line.len()
    }

    /// Where a cell stands in the record that begins at `at`.
    fn within(&self, at: usize, cell: &str) -> Range<usize> {
        /// A record this long is a mistake of its own.
        const RECORD_BYTES_MAX: usize = 8 * 1024;
        if self.n_bad > BAD_LINES_SHOWN {
            return at..at;
        }
        let near = self.text.as_bytes().get(at..).map(|rest| rest.get(..RECORD_BYTES_MAX).unwrap_or(rest));
        let found = near.filter(|_| !cell.is_empty()).and_then(|near| memchr::memmem::find(near, cell.as_bytes()));
        found.map_or_else(|| self.rest_of_line(at), |from| at + from..at + from + cell.len())
    }

    fn bad(&mut self, bad: BadEntry, span: Range<usize>, line: usize) {
        self.n_bad += 1;
        if self.n_bad > BAD_LINES_SHOWN {
            self.hidden.get_or_insert(span);
            return;
        }
        let message = format!("line {line}: {}", bad.message);
        let problem = Problem::error(bad.code.unwrap_or("E011"), message).at(self.path, span);
        self.problems.push(Problem { help: bad.help, ..problem });
    }
}

/// Reads `expires`: the same few dates come again and again.
struct Expiries<'z> {
    zone: &'z jiff::tz::TimeZone,
    known: HashMap<String, Timestamp>,
}

impl Expiries<'_> {
    /// A date lasts to its end in the zone; an instant is itself.
    fn parse(&mut self, text: &str) -> Result<Timestamp, String> {
        /// Only what repeats is worth remembering.
        const KNOWN_MAX: usize = 10_000;
        if let Some(known) = self.known.get(text) {
            return Ok(*known);
        }
        let at = expiry(text, self.zone)?;
        if self.known.len() < KNOWN_MAX {
            self.known.insert(text.to_owned(), at);
        }
        Ok(at)
    }
}

pub(crate) fn expiry(text: &str, zone: &jiff::tz::TimeZone) -> Result<Timestamp, String> {
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Ok(Timestamp(at.as_millisecond()));
    }
    parse_date(text)?;
    let wrong = || format!("`{}` is no date", short(text));
    let date: jiff::civil::Date = text.trim().parse().map_err(|_| wrong())?;
    let end = date.tomorrow().and_then(|next| next.to_zoned(zone.clone())).map_err(|_| wrong())?;
    Ok(Timestamp(end.timestamp().as_millisecond()))
}

/// A message for an entry of `items`, which stands in a rule file.
pub(crate) fn bad_item(list_type: ListType, bad: BadEntry, path: &str, span: Range<usize>) -> Problem {
    let help = bad.help.unwrap_or_else(|| format!("entries of this list look like {}", list_type.example()));
    Problem::error(bad.code.unwrap_or("E012"), bad.message).at(path, span).help(help)
}

/// The text of a file without its byte order mark; what is not UTF-8 is cut off and noted.
pub(crate) fn utf8<'b>(path: &str, bytes: &'b [u8], problems: &mut Vec<Problem>) -> Cow<'b, str> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(e) => {
            let good = bytes.get(..e.valid_up_to()).unwrap_or(&[]);
            let line = memchr::memchr_iter(b'\n', good).count() + 1;
            let problem = Problem::error("E010", format!("line {line} is not UTF-8")).at(path, good.len()..good.len());
            problems.push(problem.help("save the file as UTF-8"));
            String::from_utf8_lossy(good)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Number;
    use crate::policy::number_set::NumberSet;

    fn read(list_type: ListType, text: &str, now: Option<Timestamp>) -> (Option<Entries>, Vec<Problem>) {
        let mut problems = Vec::new();
        let zone = jiff::tz::TimeZone::get("Europe/Stockholm").unwrap();
        let entries = FileReader::new("f.csv", text, list_type, &zone, now, &mut problems).read();
        (entries, problems)
    }

    fn numbers(text: &str) -> NumberSet {
        let (entries, problems) = read(ListType::Number, text, None);
        assert!(problems.is_empty(), "{problems:#?}");
        match entries.unwrap().build() {
            ListContent::Numbers(set) => set,
            other => panic!("{other:?}"),
        }
    }

    fn number(digits: &str) -> Number {
        Number::e164(digits.as_bytes()).unwrap()
    }

    #[test]
    fn columns_are_found_by_their_names_in_any_order_and_kept_beside_the_value() {
        let set =
            numbers("comment;value;ticket\n# from the desk\n\"rang; at night\";+46 70-123 45 67;T-1\n;+4671*;\n\n");
        let found = set.find(number("46701234567"), Timestamp(0)).unwrap();
        assert_eq!((found.comment, found.ticket, found.line), (Some("rang; at night"), Some("T-1"), 3));
        assert_eq!(set.find(number("46711"), Timestamp(0)).unwrap().line, 4);
        assert!(!set.contains(number("46721"), Timestamp(0)));
    }

    #[test]
    fn a_date_lasts_to_its_end_on_the_local_clock() {
        let set = numbers("value,expires\n+46701234567,2027-01-31\n+46701234568,2027-01-31T12:00:00Z\n");
        let at = |text: &str| Timestamp(text.parse::<jiff::Timestamp>().unwrap().as_millisecond());
        assert!(set.contains(number("46701234567"), at("2027-01-31T22:59:59.999Z")));
        assert!(!set.contains(number("46701234567"), at("2027-01-31T23:00:00Z")));
        assert!(set.contains(number("46701234568"), at("2027-01-31T11:59:59.999Z")));
        assert!(!set.contains(number("46701234568"), at("2027-01-31T12:00:00Z")));
    }

    #[test]
    fn entries_that_have_expired_are_told_once_a_file() {
        let text = "value,expires\n+46701234567,2027-01-31\n+46701234568,2026-01-31\n+46701234569,2029-01-31\n";
        let (entries, problems) = read(ListType::Number, text, Some(Timestamp(1_830_000_000_000)));
        assert_eq!(entries.unwrap().count, 3);
        let codes: Vec<_> = problems.iter().map(|p| (p.code, p.message.as_str())).collect();
        assert_eq!(codes, [("W109", "2 entries of this list have expired and match nothing any more")]);
    }

    #[test]
    fn a_list_of_many_bad_lines_tells_ten_and_counts_the_others() {
        let text = "value\n".to_owned() + &"x\n".repeat(100_000);
        let (entries, problems) = read(ListType::Number, &text, None);
        assert!(entries.is_none());
        assert_eq!(problems.len(), BAD_LINES_SHOWN + 1);
        assert_eq!(problems[BAD_LINES_SHOWN].message, "99990 more bad lines in this file, 100000 in all");
        assert_eq!(problems[BAD_LINES_SHOWN].place.as_ref().unwrap().span, 26..27);
    }

    #[test]
    fn a_quote_that_is_not_closed_is_one_mistake() {
        let (entries, problems) = read(ListType::Number, "value,comment\n\"+46701234567,x\n+46701234568,y\n", None);
        assert!(entries.is_none());
        assert_eq!(problems.len(), 1);
        assert!(problems[0].message.starts_with("line 2: the quote that opens here"), "{problems:?}");
    }

    #[test]
    fn figures_that_a_spreadsheet_left_are_known() {
        for text in ["4.47900E+11", "4,479E+11", "4E11", "+4.6701E10", "46701234567.0", "########", "'4.4E+11"] {
            assert!(is_spreadsheet_figure(text), "{text}");
        }
        for text in ["+46701234567", "46701234567", "E11", "#", "4.5", "DEAD", "1e", "alice"] {
            assert!(!is_spreadsheet_figure(text), "{text}");
        }
    }

    #[test]
    fn texts_keep_their_signs_and_numbers_may_have_a_comment_behind_them() {
        let (entries, problems) = read(ListType::Text, "# agents\nfoo #1\nbar, baz\n", None);
        assert!(problems.is_empty());
        let ListContent::Texts(texts) = entries.unwrap().build() else { panic!("texts") };
        assert!(texts.contains(b"foo #1", Timestamp(0)) && texts.contains(b"bar, baz", Timestamp(0)));
        let set = numbers("\n+46701234567 # rang at night\n");
        assert_eq!(set.find(number("46701234567"), Timestamp(0)).unwrap().comment, Some("rang at night"));
    }
}
