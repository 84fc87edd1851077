//! What becomes of files with time: hours go, numbers become pseudonyms, and are erased.
//!
//! A file is never changed: it is written anew beside the old one, then the manifest names the new one instead, then
//! the old one is removed. A crash in between leaves a file that no reader sees and that goes when the archive is
//! opened.

use super::group::{self, Wanted};
use super::manifest::{Change, Entry, State};
use super::partition::HOUR_MS;
use super::pseudonym::PseudonymKey;
use super::round::OpenFile;
use super::rows::{Kept, Rows};
use super::schema::{Column as C, Columns};
use super::{Archive, ArchiveError, io_error};
use crate::clock::Timestamp;

/// Columns that tell who called whom, and from where.
const PEOPLE: &[C] = &[
    C::CallId,
    C::Leg,
    C::Caller,
    C::CallerKind,
    C::CallerRaw,
    C::Callee,
    C::CalleeKind,
    C::CalleeRaw,
    C::Asserted,
    C::AssertedKind,
    C::AssertedRaw,
    C::Diverting,
    C::DivertingKind,
    C::DivertingRaw,
    C::CallerName,
    C::Account,
    C::Extension,
    C::SourceIp,
    C::UserAgent,
    C::Domain,
];

/// Text, kind and raw text of each party.
const PARTIES: [[C; 3]; 4] = [
    [C::Caller, C::CallerKind, C::CallerRaw],
    [C::Callee, C::CalleeKind, C::CalleeRaw],
    [C::Asserted, C::AssertedKind, C::AssertedRaw],
    [C::Diverting, C::DivertingKind, C::DivertingRaw],
];

/// Digits from which on a number is looked for within other texts, too: fewer would be found in every Call-ID.
const TELLING_DIGITS: usize = 7;

/// How long what is kept. Ages count from the end of the hour that a file is of; unset: for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    pub age_ms_max: Option<i64>,
    pub bytes_max: Option<u64>,
    pub pseudonymise_after_ms: Option<i64>,
    pub erase_after_ms: Option<i64>,
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    pub files: u64,
    pub rows: u64,
    pub bytes: u64,
}

/// What to erase.
#[derive(Clone, Debug)]
pub enum Erase {
    /// Wherever this number stands; with the key, also where a pseudonym stands for it.
    Number { number: String, pseudonym: Option<String> },
    /// All people of hours that ended by then.
    Before { before: Timestamp, customer: Option<String> },
}

impl Archive {
    /// Removes hours that are too old, then the oldest until the rest is small enough.
    pub fn retain(&mut self, now: Timestamp, retention: &Retention) -> Result<Done, ArchiveError> {
        let mut files: Vec<&Entry> = self.manifest.files.values().collect();
        files.sort_by_key(|file| (file.hour, file.first));
        let mut bytes: u64 = files.iter().map(|file| file.bytes).sum();
        let is_old = |file: &Entry| retention.age_ms_max.is_some_and(|age| ended(file) <= now.minus_ms(age));
        let (mut done, mut remove) = (Done::default(), Vec::new());
        for file in files {
            if !is_old(file) && retention.bytes_max.is_none_or(|max| bytes <= max) {
                break;
            }
            bytes -= file.bytes;
            done = done.plus(file);
            remove.push(file.path.clone());
        }
        if !remove.is_empty() {
            self.replace(Change { remove, why: "retention", ..Change::default() })?;
        }
        Ok(done)
    }

    /// Pseudonymises and erases what is due. Each file is a change of its own: what was done before an error stays.
    pub fn age(&mut self, now: Timestamp, retention: &Retention, key: &PseudonymKey) -> Result<Done, ArchiveError> {
        let is_due = |file: &Entry, age: Option<i64>| age.is_some_and(|age| ended(file) <= now.minus_ms(age));
        let files: Vec<Entry> = self.manifest.files.values().cloned().collect();
        let mut done = Done::default();
        for file in files {
            if is_due(&file, retention.erase_after_ms) && file.state < State::Erased {
                self.rewrite(&file, State::Erased, |_, _, column, _, _| without_people(column))?;
            } else if is_due(&file, retention.pseudonymise_after_ms) && file.state < State::Pseudonymous {
                self.rewrite(&file, State::Pseudonymous, |rows, row, column, value, out| {
                    key.change(rows, row, column, value, out)
                })?;
            } else {
                continue;
            }
            done = done.plus(&file);
        }
        Ok(done)
    }

    /// Erases on demand. `rows` of the answer are those that held the number, or all of the files. The journal and the
    /// snapshots may hold it still, until the events that follow have made them go.
    pub fn erase(&mut self, what: &Erase) -> Result<Done, ArchiveError> {
        let files: Vec<Entry> = self.manifest.files.values().cloned().collect();
        let mut done = Done::default();
        for file in files.iter().filter(|file| file.state < State::Erased) {
            match what {
                Erase::Number { number, pseudonym } => {
                    let sought = Sought::new(number, pseudonym.as_deref());
                    let n = self.rows_with(file, &sought)?;
                    if n > 0 {
                        self.rewrite(file, file.state, |rows, row, column, value, _| {
                            sought.fate(rows, row, column, value)
                        })?;
                        done = done.plus(&Entry { rows: n, ..file.clone() });
                    }
                }
                Erase::Before { before, customer } => {
                    if ended(file) <= *before && customer.as_ref().is_none_or(|c| *c == file.customer) {
                        self.rewrite(file, State::Erased, |_, _, column, _, _| without_people(column))?;
                        done = done.plus(file);
                    }
                }
            }
        }
        Ok(done)
    }

    fn rows_with(&self, file: &Entry, sought: &Sought) -> Result<u64, ArchiveError> {
        let mut found = 0;
        for group in group::open(&self.folder, file, &everything())? {
            let rows = group.find(&everything())?;
            found += (0..rows.len()).filter(|row| sought.is_in(&rows, *row)).count() as u64;
        }
        Ok(found)
    }

    /// Writes a file anew, each text as `change` has it, and puts it in the old one's place.
    fn rewrite(
        &mut self,
        file: &Entry,
        state: State,
        change: impl Fn(&Rows, usize, C, &[u8], &mut Vec<u8>) -> Kept,
    ) -> Result<(), ArchiveError> {
        let mut new = OpenFile::new(&file.customer, file.hour, file.generation + 1, state);
        for group in group::open(&self.folder, file, &everything())? {
            let old = group.find(&everything())?;
            let mut rows = Rows::default();
            for row in 0..old.len() {
                rows.copy(&old, row, |column, value, out| change(&old, row, column, value, out));
                let number = |column| old.number_at(column, row).unwrap_or_default();
                new.see(number(C::Position) as u64, Timestamp(number(C::Time)));
            }
            new.judged_by(group.policies());
            new.write(&self.disk, &self.folder, &mut rows)?;
        }
        let entry = new.finish(&self.folder)?;
        let path = self.folder.join(&entry.path);
        if let Some(folder) = path.parent() {
            self.disk.sync_folder(folder).map_err(io_error("sync", folder))?;
        }
        let why = state.as_str();
        self.replace(Change { add: vec![entry], remove: vec![file.path.clone()], why, ..Change::default() })
    }

    /// The manifest first, then the files.
    fn replace(&mut self, change: Change) -> Result<(), ArchiveError> {
        debug_assert!(self.lock.is_some(), "opened for reading");
        self.manifest.commit(&self.disk, &change)?;
        self.leftovers.extend(change.remove);
        self.sweep()
    }
}

/// The end of the hour a file is of.
fn ended(file: &Entry) -> Timestamp {
    Timestamp(file.hour.saturating_add(1).saturating_mul(HOUR_MS))
}

impl Done {
    fn plus(self, file: &Entry) -> Done {
        Done { files: self.files + 1, rows: self.rows + file.rows, bytes: self.bytes + file.bytes }
    }
}

fn everything() -> Wanted {
    Wanted { times: i64::MIN..i64::MAX, positions: 0..i64::MAX, number: None, columns: Columns::ALL }
}

fn without_people(column: C) -> Kept {
    if PEOPLE.contains(&column) { Kept::Not } else { Kept::AsItIs }
}

/// A number that is to be gone.
struct Sought {
    /// As the archive writes it, and the pseudonym it may have.
    texts: Vec<Vec<u8>>,
    /// Its digits, where they are enough to be found within other texts.
    digits: Option<Vec<u8>>,
}

impl Sought {
    fn new(number: &str, pseudonym: Option<&str>) -> Sought {
        let digits = number.trim_start_matches('+').as_bytes();
        let is_telling = digits.len() >= TELLING_DIGITS;
        Sought {
            texts: std::iter::once(number).chain(pseudonym).map(|text| text.as_bytes().to_vec()).collect(),
            digits: is_telling.then(|| digits.to_vec()),
        }
    }

    fn is(&self, text: &[u8]) -> bool {
        let within = |digits: &Vec<u8>| memchr::memmem::find(text, digits).is_some();
        self.texts.iter().any(|sought| sought == text) || self.digits.as_ref().is_some_and(within)
    }

    fn is_in(&self, rows: &Rows, row: usize) -> bool {
        PEOPLE.iter().any(|column| rows.text_at(*column, row).is_some_and(|text| self.is(text)))
    }

    /// The party that has the number goes whole, and so does its name; so does any other text with its digits.
    fn fate(&self, rows: &Rows, row: usize, column: C, value: &[u8]) -> Kept {
        let is_party = |columns: &[C; 3]| {
            columns.iter().any(|column| rows.text_at(*column, row).is_some_and(|text| self.is(text)))
        };
        let gone = match column {
            C::CallerName => self.is(value) || PARTIES.first().is_some_and(is_party),
            _ if !PEOPLE.contains(&column) => false,
            _ => match PARTIES.iter().find(|columns| columns.contains(&column)) {
                Some(columns) => is_party(columns),
                None => self.is(value),
            },
        };
        if gone { Kept::Not } else { Kept::AsItIs }
    }
}
