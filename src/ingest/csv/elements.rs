//! Call records as XML elements: each record is found by its closing tag and read by itself, as cells by name.
//!
//! Nothing is ever fetched or expanded: of a document type only the name is passed by, and of entities only the five of
//! XML itself and those that give a character's number are known.

use memchr::memmem;
use quick_xml::events::Event;
use quick_xml::reader::Reader;

use super::Next;
use super::dialect::Elements;
use crate::event::{Reject, Text};
use crate::ingest::origin::keep;
use crate::limits::LINE_BYTES_MAX;

/// How bytes become text, as the first line of the file declares it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Encoding {
    #[default]
    Utf8,
    /// ISO-8859-1: every byte is the character of its number.
    Latin1,
}

/// The declaration stands at the start and is not longer than this.
const DECLARATION_BYTES_MAX: usize = 256;

impl Encoding {
    pub(super) fn declared(stream: &[u8]) -> Encoding {
        let head = stream.get(..DECLARATION_BYTES_MAX).unwrap_or(stream);
        let declaration = memmem::find(head, b"?>").and_then(|end| head.get(..end)).unwrap_or(&[]);
        let name = memmem::find(declaration, b"encoding").and_then(|at| declaration.get(at..)).unwrap_or(&[]);
        let mut quoted = name.split(|b| matches!(b, b'"' | b'\''));
        match quoted.nth(1) {
            Some(name) if name.eq_ignore_ascii_case(b"ISO-8859-1") || name.eq_ignore_ascii_case(b"latin1") => {
                Encoding::Latin1
            }
            _ => Encoding::Utf8,
        }
    }

    fn text(self, bytes: &[u8]) -> Option<String> {
        match self {
            Encoding::Utf8 => std::str::from_utf8(bytes).ok().map(str::to_owned),
            Encoding::Latin1 => Some(bytes.iter().map(|b| char::from(*b)).collect()),
        }
    }
}

/// The record that ends with the next closing tag. What stands between two such tags is one record, so that a bad one
/// costs no other.
pub(super) fn next(elements: &Elements, block: &[u8], at: usize) -> Next {
    let rest = block.get(at..).unwrap_or(&[]);
    let close = memmem::find(rest, elements.close).map(|close| close + elements.close.len());
    let segment = rest.get(..close.unwrap_or(rest.len())).unwrap_or(&[]);
    let end = at + segment.len();
    if segment.len() > LINE_BYTES_MAX {
        return Next::Bad { reason: Reject::LineTooLong, end };
    }
    let opened = opening(segment, elements.open);
    match (opened, close) {
        (Some(open), Some(_)) => Next::Record { at: at + open, len: segment.len() - open, end },
        (Some(_), None) => Next::Bad { reason: Reject::Incomplete, end },
        (None, Some(_)) => Next::Bad { reason: Reject::Malformed, end },
        // What may stand before the first record and behind the last.
        (None, None) if segment.trim_ascii().is_empty() || memmem::find(segment, elements.root).is_some() => {
            Next::Nothing
        }
        (None, None) => Next::Bad { reason: Reject::Malformed, end },
    }
}

/// Where the last record of a segment opens: one before it that was never closed is lost with it no longer.
fn opening(segment: &[u8], open: &[u8]) -> Option<usize> {
    let ends =
        |at: usize| segment.get(at + open.len()).is_some_and(|b| matches!(b, b'>' | b' ' | b'\t' | b'\r' | b'\n'));
    let mut found = None;
    for at in memmem::find_iter(segment, open).filter(|at| ends(*at)) {
        found = Some(at);
    }
    found
}

/// The texts of the elements that have a name of the table, in the table's order. Of two of one name the first counts.
pub(super) fn split(
    elements: &Elements,
    record: &[u8],
    encoding: Encoding,
    side: &mut Vec<u8>,
    cells: &mut Vec<Text>,
) -> Result<(), Reject> {
    cells.clear();
    cells.resize(elements.names.len(), Text::ABSENT);
    let record = encoding.text(record).ok_or(Reject::NotUtf8)?;
    let mut reader = Reader::from_str(&record);
    let (mut current, mut text) = (None, String::new());
    loop {
        match reader.read_event().map_err(|_| Reject::Malformed)? {
            Event::Start(tag) => {
                let name = tag.local_name();
                let name: &str = name.as_ref();
                current = elements.names.iter().position(|(known, _)| *known == name);
                text.clear();
            }
            Event::Text(part) => text.push_str(&part),
            Event::CData(part) => text.push_str(&part),
            Event::GeneralRef(reference) => text.push(character(&reference)?),
            Event::End(_) => {
                if let Some(index) = current.take()
                    && let Some(cell) = cells.get_mut(index)
                    && cell.is_absent()
                {
                    *cell = keep(side, text.trim().as_bytes());
                }
            }
            Event::Eof => return Ok(()),
            Event::Empty(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
    }
}

fn character(reference: &quick_xml::events::BytesRef<'_>) -> Result<char, Reject> {
    if let Some(numbered) = reference.resolve_char_ref().map_err(|_| Reject::Malformed)? {
        return Ok(numbered);
    }
    match &**reference {
        "lt" => Ok('<'),
        "gt" => Ok('>'),
        "amp" => Ok('&'),
        "apos" => Ok('\''),
        "quot" => Ok('"'),
        _ => Err(Reject::Malformed),
    }
}
