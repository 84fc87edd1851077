//! What holds of every stream of every style. Called by the tests beside it and by the fuzz target.

use super::*;
use crate::limits::{JSON_CDR_BYTES_MAX, SIP_MESSAGE_BYTES_MAX};

/// Every style, for whoever tries them all.
pub(crate) const STYLES: [Style; 5] = [Style::Lines, Style::Quoted(b','), Style::Hep, Style::Sip, Style::Json];

/// Arbitrary bytes: how they are cut into reads changes nothing. The first byte says how they are cut.
pub(crate) fn records_are_the_same_however_split(bytes: &[u8]) {
    let Some((first, stream)) = bytes.split_first() else { return };
    let reads = [usize::from(*first) + 1, usize::from(first % 7) + 1];
    for style in STYLES {
        assert_eq!(records(style, stream, &reads), records(style, stream, &[usize::MAX]), "{style:?}");
    }
}

/// All records of a stream cut by `reads`, as the decoders would find them; long ones by their mark alone. The last
/// one tells whether the stream was broken.
pub(crate) fn records(style: Style, stream: &[u8], reads: &[usize]) -> Vec<Vec<u8>> {
    let mut framer = Framer::new(style);
    let mut found = Vec::new();
    let mut rest = stream;
    let mut reads = reads.iter().cycle();
    while !rest.is_empty() {
        let len = reads.next().map_or(rest.len(), |len| (*len).clamp(1, rest.len()));
        let (now, later) = rest.split_at(len);
        framer.space(now.len()).extend_from_slice(now);
        rest = later;
        while let Some(block) = framer.block() {
            found.extend(of_block(style, &block, false));
        }
        let record_max = match style {
            Style::Lines | Style::Quoted(_) | Style::Elements(_) => 2 * LINE_BYTES_MAX,
            Style::Hep | Style::Sip => SIP_MESSAGE_BYTES_MAX,
            Style::Json => JSON_CDR_BYTES_MAX,
        };
        assert!(framer.pending_bytes() <= record_max + now.len(), "{style:?} {}", framer.pending_bytes());
    }
    let last = framer.finish();
    found.extend(last.into_iter().flat_map(|block| of_block(style, &block, true)));
    assert!(framer.block().is_none() && framer.finish().is_none());
    found.extend(framer.broken().map(|reason| reason.as_str().into()));
    found
}

/// The records of one block. Unless it is the `last`, all of them are whole, or bad beyond repair.
fn of_block(style: Style, block: &[u8], is_last: bool) -> Vec<Vec<u8>> {
    assert!(!block.is_empty());
    let (mut found, mut rest, mut objects) = (Vec::new(), block, Bounds::default());
    while !rest.is_empty() {
        let to_newline = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
        let (record, end) = match style {
            Style::Lines => (0..to_newline, to_newline),
            Style::Quoted(delimiter) => match first_record(rest, delimiter) {
                First::Record { end, .. } | First::Unclosed { line_end: end } => (0..end, end),
                First::TooLong | First::Open { .. } => (0..to_newline, to_newline),
            },
            Style::Elements(close) => {
                let end = memmem::find(rest, close).map_or(rest.len(), |at| at + close.len());
                (0..end, end)
            }
            Style::Hep => match hep::first_packet(rest) {
                hep::Framed::Whole(len) => (0..len, len),
                otherwise => panic!("{otherwise:?} in a block"),
            },
            Style::Sip => match first_message(rest) {
                FirstMessage::Whole { skip, len } => (skip..skip + len, skip + len),
                FirstMessage::Incomplete if is_last => (0..rest.len(), rest.len()),
                FirstMessage::Between => break,
                otherwise => panic!("{otherwise:?} in a block"),
            },
            Style::Json => match objects.next(rest) {
                Next::Whole(len) => (0..len, len),
                // With what shows that it is bad, unless that begins the next one.
                Next::Bad(at) => {
                    let lost = objects.skip(rest.get(at..).unwrap_or(&[]));
                    (0..at + lost.min(1), at + lost)
                }
                Next::TooLong(at) => (0..at, at + objects.skip(rest.get(at..).unwrap_or(&[]))),
                Next::Open { is_blank: true } => break,
                Next::Open { is_blank: false } => (0..rest.len(), rest.len()),
            },
        };
        let record_max = if style == Style::Json { JSON_CDR_BYTES_MAX } else { LINE_BYTES_MAX + 1 };
        let mut record = rest.get(record).unwrap_or(&[]);
        while let (Style::Json, [b' ' | b'\n' | b'\r' | b',' | b'[' | b']', inner @ ..]) = (style, record) {
            record = inner;
        }
        found.push(if record.len() > record_max { b"too long".to_vec() } else { record.to_vec() });
        rest = rest.get(end..).unwrap_or(&[]);
    }
    found
}
