//! One CSV record becomes cells: spans of the block, or of the side buffer where quotes were doubled.

use crate::event::Text;
use crate::ingest::origin::keep;

/// Cells of the record that stands at `at` in the block. A quote opens only at the start of a cell; inside quotes
/// a doubled one is one; what follows a closing quote belongs to the cell. Spaces around a cell fall away.
pub(super) fn split(block: &[u8], at: usize, len: usize, delimiter: u8, side: &mut Vec<u8>, cells: &mut Vec<Text>) {
    cells.clear();
    let record = block.get(at..at + len).unwrap_or(&[]);
    let record = record.strip_suffix(b"\r").unwrap_or(record);
    let mut from = 0;
    loop {
        let rest = record.get(from..).unwrap_or(&[]);
        let end = match rest.first() {
            Some(b'"') => {
                let (cell, end) = quoted(rest, at + from, delimiter, side);
                cells.push(cell);
                end
            }
            _ => {
                let end = memchr::memchr(delimiter, rest).unwrap_or(rest.len());
                cells.push(trimmed(rest.get(..end).unwrap_or(&[]), at + from));
                end
            }
        };
        if end >= rest.len() {
            return;
        }
        from += end + 1;
    }
}

/// The span of `cell` without the spaces around it; it starts at `at`.
fn trimmed(cell: &[u8], at: usize) -> Text {
    let lead = cell.len() - cell.trim_ascii_start().len();
    match cell.trim_ascii().len() {
        0 => Text::ABSENT,
        len => Text { at: (at + lead) as u32, len: len as u32 },
    }
}

/// A cell that starts with a quote, and where it ends.
fn quoted(rest: &[u8], at: usize, delimiter: u8, side: &mut Vec<u8>) -> (Text, usize) {
    let inner = rest.get(1..).unwrap_or(&[]);
    let close = memchr::memchr(b'"', inner).unwrap_or(inner.len());
    let after = inner.get(close + 1..).unwrap_or(&[]);
    if after.first().is_none_or(|b| *b == delimiter) {
        let end = (close + 2).min(rest.len());
        return (trimmed(inner.get(..close).unwrap_or(&[]), at + 1), end);
    }
    let (mut built, mut from) = (Vec::new(), 0);
    loop {
        let open = inner.get(from..).unwrap_or(&[]);
        let Some(close) = memchr::memchr(b'"', open) else {
            built.extend_from_slice(open);
            from = inner.len();
            break;
        };
        built.extend_from_slice(open.get(..close).unwrap_or(&[]));
        from += close + 1;
        if inner.get(from) != Some(&b'"') {
            let tail = inner.get(from..).unwrap_or(&[]);
            let end = memchr::memchr(delimiter, tail).unwrap_or(tail.len());
            built.extend_from_slice(tail.get(..end).unwrap_or(&[]));
            from += end;
            break;
        }
        built.push(b'"');
        from += 1;
    }
    (keep(side, built.trim_ascii()), from + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ingest::framing::{First, first_record};
    use crate::ingest::origin::bytes;

    fn cells(record: &[u8]) -> Vec<Vec<u8>> {
        let (mut side, mut cells) = (Vec::new(), Vec::new());
        split(record, 0, record.len(), b',', &mut side, &mut cells);
        cells.iter().map(|cell| bytes(record, &side, *cell).to_vec()).collect()
    }

    #[test]
    fn quotes_are_read_as_spreadsheets_write_them() {
        assert_eq!(cells(b"a, b ,,\"c,d\",\"\"\"x\"\" <1>\"\r"), [&b"a"[..], b"b", b"", b"c,d", b"\"x\" <1>"]);
        assert_eq!(cells(b""), [b""]);
        assert_eq!(cells(b","), [b"", b""]);
        assert_eq!(cells(b"\"a\"b,\"c"), [&b"ab"[..], b"c"]);
        assert_eq!(cells(b"x\"y,\""), [&b"x\"y"[..], b""]);
    }

    proptest! {
        #[test]
        fn cells_are_those_of_the_csv_crate(
            text in proptest::collection::vec(prop_oneof![
                Just("\""), Just(","), Just("\n"), Just("a"), Just("å"), Just("\"\"")], 0..30),
        ) {
            let mut stream = text.concat().into_bytes();
            stream.push(b'\n');
            // The crate skips empty lines, as the decoder does.
            let blank = stream.iter().take_while(|b| **b == b'\n').count();
            let stream = &stream[blank..];
            let mut reader = csv::ReaderBuilder::new()
                .has_headers(false)
                .flexible(true)
                .terminator(csv::Terminator::Any(b'\n'))
                .from_reader(stream);
            let mut expected = csv::ByteRecord::new();
            if let First::Record { len, .. } = first_record(stream, b',')
                && reader.read_byte_record(&mut expected).unwrap()
            {
                let expected: Vec<Vec<u8>> = expected.iter().map(|cell| cell.trim_ascii().to_vec()).collect();
                prop_assert_eq!(cells(&stream[..len]), expected);
            }
        }
    }
}
