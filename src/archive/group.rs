//! One row group of one file: whether it can hold what is asked for, which of its rows do, and those rows.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::bloom_filter::Sbbf;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, DataType};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{
    ColumnChunkMask, PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData,
};
use parquet::file::properties::ReaderProperties;
use parquet::file::reader::RowGroupReader;
use parquet::file::serialized_reader::SerializedRowGroupReader;
use parquet::file::statistics::Statistics;

use super::checked::Checked;
use super::manifest::Entry;
use super::round::POLICIES;
use super::rows::Rows;
use super::schema::{self, Column, Columns, Shape};
use super::{ArchiveError, file_error, io_error};
use crate::limits::{ARCHIVE_PAGE_ROWS, ARCHIVE_ROW_GROUP_ROWS};

/// What is looked for in a row group; bounds are half open.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) times: Range<i64>,
    pub(crate) positions: Range<i64>,
    /// A number as the archive writes it, and the columns it may stand in.
    pub(crate) number: Option<(Box<[u8]>, Vec<Column>)>,
    pub(crate) columns: Columns,
}

/// A file whose end was read.
#[derive(Debug)]
pub(crate) struct OpenedFile {
    path: PathBuf,
    checked: Checked,
    metadata: ParquetMetaData,
}

/// A row group that may hold what is wanted.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    file: Arc<OpenedFile>,
    index: usize,
    pub(crate) first: i64,
}

/// Opens a file, and tells which of its row groups may hold what is wanted.
pub(crate) fn open(archive: &Path, entry: &Entry, wanted: &Wanted) -> std::result::Result<Vec<Group>, ArchiveError> {
    let path = archive.join(&entry.path);
    let checked = Checked::open(&path, entry.bytes, entry.sums.clone()).map_err(io_error("open", &path))?;
    let in_file = || file_error(&path);
    let metadata = ParquetMetaDataReader::new().parse_and_finish(&checked).map_err(in_file())?;
    if !schema::fits(metadata.file_metadata().schema_descr()) {
        return Err(super::damaged(&path, "it has other columns than this build reads"));
    }
    let mut groups = Vec::new();
    for (index, group) in metadata.row_groups().iter().enumerate() {
        if group.num_rows() < 0 || group.num_rows() as usize > ARCHIVE_ROW_GROUP_ROWS {
            return Err(super::damaged(&path, format!("a row group has {} rows", group.num_rows())));
        }
        if may_hold(group, wanted, &checked).map_err(in_file())? {
            groups.push((index, bounds(group, Column::Position).map_or(entry.first as i64, |b| b.start)));
        }
    }
    let metadata = match &wanted.number {
        // Of few rows, only the pages that have them are to be read.
        Some(_) if !groups.is_empty() => {
            let mask = ColumnChunkMask::row_groups(groups.iter().map(|(index, _)| *index));
            let mut reader = ParquetMetaDataReader::new_with_metadata(metadata)
                .with_offset_index_policy(PageIndexPolicy::Optional)
                .with_offset_index_mask(mask);
            reader.read_page_indexes(&checked).map_err(in_file())?;
            reader.finish().map_err(in_file())?
        }
        _ => metadata,
    };
    let file = Arc::new(OpenedFile { path, checked, metadata });
    Ok(groups.into_iter().map(|(index, first)| Group { file: Arc::clone(&file), index, first }).collect())
}

/// False only where the statistics or the filters of the row group rule it out.
fn may_hold(group: &RowGroupMetaData, wanted: &Wanted, file: &Checked) -> Result<bool> {
    let overlaps = |column, range: &Range<i64>| {
        bounds(group, column).is_none_or(|found| found.start < range.end && range.start < found.end)
    };
    if !overlaps(Column::Time, &wanted.times) || !overlaps(Column::Position, &wanted.positions) {
        return Ok(false);
    }
    let Some((number, columns)) = &wanted.number else { return Ok(true) };
    for column in columns {
        let chunk = group.column(*column as usize);
        let in_range = match chunk.statistics() {
            Some(Statistics::ByteArray(bounds)) => {
                bounds.min_opt().is_none_or(|min| min.data() <= &**number)
                    && bounds.max_opt().is_none_or(|max| &**number <= max.data())
            }
            _ => true,
        };
        if in_range && Sbbf::read_from_column_chunk(chunk, file)?.is_none_or(|filter| filter.check(&**number)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// From the smallest value to behind the largest, of a column of numbers.
fn bounds(group: &RowGroupMetaData, column: Column) -> Option<Range<i64>> {
    match group.column(column as usize).statistics()? {
        Statistics::Int64(bounds) => Some(*bounds.min_opt()?..bounds.max_opt()?.saturating_add(1)),
        _ => None,
    }
}

impl Group {
    /// Versions of the rules that judged the events of its file.
    pub(crate) fn policies(&self) -> impl Iterator<Item = &str> {
        let told = self.file.metadata.file_metadata().key_value_metadata().into_iter().flatten();
        let versions = told.filter(|pair| pair.key == POLICIES).filter_map(|pair| pair.value.as_deref());
        versions.flat_map(|versions| versions.split(',')).filter(|version| !version.is_empty())
    }

    /// The rows that are wanted, with the columns that are.
    pub(crate) fn find(&self, wanted: &Wanted) -> std::result::Result<Rows, ArchiveError> {
        self.rows(wanted).map_err(file_error(&self.file.path))
    }

    fn rows(&self, wanted: &Wanted) -> Result<Rows> {
        let metadata = self.file.metadata.row_group(self.index);
        let reader = SerializedRowGroupReader::new(
            Arc::new(self.file.checked.clone()),
            metadata,
            self.file.metadata.page_index_for_row_group(self.index),
            Arc::new(ReaderProperties::builder().build()),
        )?;
        let n = metadata.num_rows() as usize;
        let mut chosen = Chosen::all(n);
        if let Some((number, columns)) = &wanted.number {
            let mut found = vec![false; n];
            for column in columns {
                search(&reader, *column, number, &mut found)?;
            }
            chosen.retain(|row| found.get(row) == Some(&true));
        }
        for (column, range) in [(Column::Time, &wanted.times), (Column::Position, &wanted.positions)] {
            let is_inside = bounds(metadata, column).is_some_and(|b| range.start <= b.start && b.end <= range.end);
            if !is_inside && !chosen.is_empty() {
                let mut rows = Rows::default();
                read_column(&reader, column, &Chosen::all(n), &mut rows)?;
                chosen.retain(|row| rows.number_at(column, row).is_some_and(|value| range.contains(&value)));
            }
        }
        let mut rows = Rows::default();
        rows.set_len(chosen.n);
        if chosen.is_empty() {
            return Ok(rows);
        }
        for column in Column::ALL.iter().filter(|column| wanted.columns.has(**column)) {
            if !is_empty(metadata, *column) {
                read_column(&reader, *column, &chosen, &mut rows)?;
            }
        }
        Ok(rows)
    }
}

/// Whether the statistics say that no row has a value.
fn is_empty(group: &RowGroupMetaData, column: Column) -> bool {
    let chunk = group.column(column as usize);
    chunk.statistics().and_then(Statistics::null_count_opt) == Some(chunk.num_values() as u64)
}

/// Rows of a row group, as ranges in their order.
struct Chosen {
    ranges: Vec<Range<usize>>,
    n: usize,
}

impl Chosen {
    fn all(n: usize) -> Chosen {
        Chosen { ranges: std::iter::once(0..n).collect(), n }
    }

    fn is_empty(&self) -> bool {
        self.n == 0
    }

    fn retain(&mut self, mut keeps: impl FnMut(usize) -> bool) {
        let mut ranges: Vec<Range<usize>> = Vec::new();
        for row in self.ranges.iter().cloned().flatten().filter(|row| keeps(*row)) {
            match ranges.last_mut() {
                Some(last) if last.end == row => last.end += 1,
                _ => ranges.push(row..row + 1),
            }
        }
        self.n = ranges.iter().map(Range::len).sum();
        self.ranges = ranges;
    }
}

/// Marks the rows in which a column has this very text.
fn search(group: &impl RowGroupReader, column: Column, text: &[u8], found: &mut [bool]) -> Result<()> {
    let ColumnReader::ByteArrayColumnReader(reader) = group.get_column_reader(column as usize)? else {
        return Err(unexpected(column));
    };
    let mut places = found.iter_mut();
    each::<parquet::data_type::ByteArrayType>(
        reader,
        &Chosen::all(places.len()),
        column,
        |value: Option<&ByteArray>| {
            if let Some(place) = places.next() {
                *place |= value.is_some_and(|value| value.data() == text);
            }
        },
    )
}

fn read_column(group: &impl RowGroupReader, column: Column, chosen: &Chosen, rows: &mut Rows) -> Result<()> {
    match (group.get_column_reader(column as usize)?, column.spec().shape) {
        (ColumnReader::ByteArrayColumnReader(reader), Shape::Text) => {
            each(reader, chosen, column, |value: Option<&ByteArray>| rows.put_text(column, value.map(ByteArray::data)))
        }
        (ColumnReader::Int64ColumnReader(reader), Shape::Int64) => {
            each(reader, chosen, column, |value: Option<&i64>| rows.put_number(column, value.copied()))
        }
        (ColumnReader::Int32ColumnReader(reader), Shape::Int32) => {
            each(reader, chosen, column, |value: Option<&i32>| rows.put_number(column, value.copied().map(i64::from)))
        }
        (ColumnReader::BoolColumnReader(reader), Shape::Bool) => {
            each(reader, chosen, column, |value: Option<&bool>| rows.put_number(column, value.copied().map(i64::from)))
        }
        _ => Err(unexpected(column)),
    }
}

fn unexpected(column: Column) -> ParquetError {
    ParquetError::General(format!("column {} is of another type than its schema says", column.spec().name))
}

/// Hands out the values of the chosen rows, `None` for rows without.
fn each<T: DataType>(
    mut reader: ColumnReaderImpl<T>,
    chosen: &Chosen,
    column: Column,
    mut take: impl FnMut(Option<&T::T>),
) -> Result<()> {
    let too_short =
        || ParquetError::General(format!("column {} has fewer rows than its file says", column.spec().name));
    let (mut values, mut levels) = (Vec::new(), Vec::new());
    let mut at = 0;
    for range in &chosen.ranges {
        let gap = range.start - at;
        if gap > 0 && reader.skip_records(gap)? != gap {
            return Err(too_short());
        }
        at = range.start;
        while at < range.end {
            values.clear();
            levels.clear();
            let n = (range.end - at).min(ARCHIVE_PAGE_ROWS);
            let levels_wanted = (!column.spec().required).then_some(&mut levels);
            let (n_read, _, _) = reader.read_records(n, levels_wanted, None, &mut values)?;
            if n_read == 0 {
                return Err(too_short());
            }
            let mut present = values.iter();
            if column.spec().required {
                present.for_each(|value| take(Some(value)));
            } else {
                levels.iter().for_each(|level| take(if *level == 1 { present.next() } else { None }));
            }
            at += n_read;
        }
    }
    Ok(())
}
