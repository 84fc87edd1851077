//! Rows of an archive file in memory, column by column: what waits to be written, and what was read.
//!
//! A column grows only when a value comes: what no event of an hour says costs nothing.

use std::io::Write;

use bytes::Bytes;
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::errors::Result;
use parquet::file::writer::SerializedFileWriter;

use super::schema::{Column, Shape};
use crate::limits::ARCHIVE_PAGE_ROWS;

/// The values of one column, one slot a row; rows behind the last slot have none.
#[derive(Debug, Default)]
struct Cells {
    /// 1 where there is a value, 0 where not: the definition levels of the format.
    levels: Vec<i16>,
    /// Of columns that are no text.
    numbers: Vec<i64>,
    /// Of texts: where each ends.
    ends: Vec<u32>,
    bytes: Vec<u8>,
}

impl Cells {
    fn pad(&mut self, rows: usize, is_text: bool) {
        if self.levels.len() < rows {
            self.levels.resize(rows, 0);
            if is_text {
                self.ends.resize(rows, self.bytes.len() as u32);
            } else {
                self.numbers.resize(rows, 0);
            }
        }
    }

    fn is_dense(&self, rows: usize) -> bool {
        self.levels.len() == rows && self.levels.iter().all(|level| *level == 1)
    }
}

#[derive(Debug)]
pub(crate) struct Rows {
    n: usize,
    cells: Vec<Cells>,
    bytes: usize,
}

impl Default for Rows {
    fn default() -> Rows {
        Rows { n: 0, cells: Column::ALL.iter().map(|_| Cells::default()).collect(), bytes: 0 }
    }
}

impl Rows {
    pub(crate) fn len(&self) -> usize {
        self.n
    }

    /// What the values hold, about.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    fn cells(&self, column: Column) -> &Cells {
        // There is one for each column, by construction.
        &self.cells[column as usize]
    }

    /// The value of the row that is being made.
    #[inline]
    pub(crate) fn number(&mut self, column: Column, value: i64) {
        let n = self.n;
        let cells = &mut self.cells[column as usize];
        cells.pad(n, false);
        cells.levels.push(1);
        cells.numbers.push(value);
        self.bytes += 10;
    }

    /// As [`Rows::number`]; an empty text is a value.
    #[inline]
    pub(crate) fn text(&mut self, column: Column, value: &[u8]) {
        let n = self.n;
        let cells = &mut self.cells[column as usize];
        cells.pad(n, true);
        cells.levels.push(1);
        cells.bytes.extend_from_slice(value);
        cells.ends.push(cells.bytes.len() as u32);
        self.bytes += value.len() + 6;
    }

    /// As [`Rows::text`]; an empty text is none.
    #[inline]
    pub(crate) fn text_if_any(&mut self, column: Column, value: &[u8]) {
        if !value.is_empty() {
            self.text(column, value);
        }
    }

    #[inline]
    pub(crate) fn end_row(&mut self) {
        self.n += 1;
    }

    /// For readers, which bring a column at a time: there are so many rows, whatever their columns hold.
    pub(crate) fn set_len(&mut self, n: usize) {
        self.n = n;
    }

    /// For readers: the next value of a column, in the order of the rows.
    pub(crate) fn put_number(&mut self, column: Column, value: Option<i64>) {
        let cells = &mut self.cells[column as usize];
        cells.levels.push(i16::from(value.is_some()));
        cells.numbers.push(value.unwrap_or_default());
    }

    /// As [`Rows::put_number`].
    pub(crate) fn put_text(&mut self, column: Column, value: Option<&[u8]>) {
        let cells = &mut self.cells[column as usize];
        cells.levels.push(i16::from(value.is_some()));
        cells.bytes.extend_from_slice(value.unwrap_or_default());
        cells.ends.push(cells.bytes.len() as u32);
    }

    pub(crate) fn number_at(&self, column: Column, row: usize) -> Option<i64> {
        let cells = self.cells(column);
        cells.levels.get(row).filter(|level| **level == 1)?;
        cells.numbers.get(row).copied()
    }

    pub(crate) fn text_at(&self, column: Column, row: usize) -> Option<&[u8]> {
        let cells = self.cells(column);
        cells.levels.get(row).filter(|level| **level == 1)?;
        let from = match row.checked_sub(1) {
            Some(before) => *cells.ends.get(before)? as usize,
            None => 0,
        };
        cells.bytes.get(from..*cells.ends.get(row)? as usize)
    }

    /// Adds a row of another, each text as `change` has it.
    pub(crate) fn copy<'a>(
        &mut self,
        from: &'a Rows,
        row: usize,
        mut change: impl FnMut(Column, &'a [u8], &mut Vec<u8>) -> Kept,
    ) {
        let mut changed = Vec::new();
        for column in Column::ALL {
            if column.spec().shape != Shape::Text {
                if let Some(value) = from.number_at(*column, row) {
                    self.number(*column, value);
                }
            } else if let Some(value) = from.text_at(*column, row) {
                changed.clear();
                match change(*column, value, &mut changed) {
                    Kept::AsItIs => self.text(*column, value),
                    Kept::Changed => self.text(*column, &changed),
                    Kept::Not => {}
                }
            }
        }
        self.end_row();
    }

    /// Writes all rows as one row group and is empty then.
    pub(crate) fn write<W: Write + Send>(&mut self, file: &mut SerializedFileWriter<W>) -> Result<()> {
        let n = std::mem::take(&mut self.n);
        self.bytes = 0;
        let mut group = file.next_row_group()?;
        for column in Column::ALL {
            let cells = std::mem::take(&mut self.cells[*column as usize]);
            let Some(mut writer) = group.next_column()? else { break };
            write_cells(*column, cells, n, writer.untyped())?;
            writer.close()?;
        }
        group.close().map(drop)
    }
}

/// What becomes of a text that is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    AsItIs,
    /// What stands in the buffer takes its place.
    Changed,
    Not,
}

fn write_cells(column: Column, mut cells: Cells, n: usize, writer: &mut ColumnWriter<'_>) -> Result<()> {
    let spec = column.spec();
    cells.pad(n, spec.shape == Shape::Text);
    debug_assert!(!spec.required || cells.is_dense(n), "{} lacks a value", spec.name);
    let text = Bytes::from(std::mem::take(&mut cells.bytes));
    let (mut texts, mut wide, mut narrow, mut truths) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut begins = 0;
    for from in (0..n).step_by(ARCHIVE_PAGE_ROWS) {
        let range = from..n.min(from + ARCHIVE_PAGE_ROWS);
        let levels = cells.levels.get(range.clone()).unwrap_or(&[]);
        let numbers = cells.numbers.get(range.clone()).unwrap_or(&[]);
        let present = numbers.iter().zip(levels).filter(|(_, level)| **level == 1).map(|(number, _)| *number);
        let levels_told = (!spec.required).then_some(levels);
        match writer {
            ColumnWriter::ByteArrayColumnWriter(writer) => {
                texts.clear();
                for (end, level) in cells.ends.get(range).unwrap_or(&[]).iter().zip(levels) {
                    if *level == 1 {
                        texts.push(ByteArray::from(text.slice(begins..*end as usize)));
                    }
                    begins = *end as usize;
                }
                writer.write_batch(&texts, levels_told, None)?;
            }
            ColumnWriter::Int64ColumnWriter(writer) => {
                wide.clear();
                wide.extend(present);
                writer.write_batch(&wide, levels_told, None)?;
            }
            ColumnWriter::Int32ColumnWriter(writer) => {
                narrow.clear();
                narrow.extend(present.map(|number| number as i32));
                writer.write_batch(&narrow, levels_told, None)?;
            }
            ColumnWriter::BoolColumnWriter(writer) => {
                truths.clear();
                truths.extend(present.map(|number| number != 0));
                writer.write_batch(&truths, levels_told, None)?;
            }
            // The schema has no other.
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_without_values_has_none_in_any_row_and_others_are_not_shifted() {
        let mut rows = Rows::default();
        for n in 0..4i64 {
            rows.number(Column::Position, n);
            if n == 2 {
                rows.text(Column::CallId, b"abc");
                rows.text(Column::CallerRaw, b"");
                rows.number(Column::SipCode, 486);
            }
            rows.end_row();
        }
        let ids: Vec<_> = (0..5).map(|row| rows.text_at(Column::CallId, row)).collect();
        assert_eq!(ids, [None, None, Some(&b"abc"[..]), None, None]);
        assert_eq!(rows.text_at(Column::CallerRaw, 2), Some(&b""[..]));
        assert_eq!(rows.number_at(Column::SipCode, 1), None);
        assert_eq!(rows.number_at(Column::SipCode, 2), Some(486));
        assert_eq!(rows.number_at(Column::Position, 3), Some(3));
        let mut other = Rows::default();
        other.copy(&rows, 2, |column, value, out| match column {
            Column::CallId => {
                out.extend(value.iter().rev());
                Kept::Changed
            }
            _ => Kept::Not,
        });
        assert_eq!(other.text_at(Column::CallId, 0), Some(&b"cba"[..]));
        assert_eq!(other.text_at(Column::CallerRaw, 0), None);
        assert_eq!(other.number_at(Column::SipCode, 0), Some(486));
    }
}
