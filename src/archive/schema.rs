//! The columns of an archive file: names, types, and how each is encoded.
//!
//! Names and order are a contract with whoever reads the files; columns are added at the end and never renamed.

use std::sync::{Arc, LazyLock};

use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesPtr};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::{ColumnPath, SchemaDescriptor, TypePtr};

use crate::limits::{ARCHIVE_PAGE_ROWS, ARCHIVE_ROW_GROUP_ROWS};

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Int64,
    Int32,
    Bool,
    Text,
}

/// How its values are laid down before they are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    /// Few values, each written once.
    Dictionary,
    /// The same as long as they are few; past that, as `Lengths`: a dictionary of values that do not come back costs
    /// more than it saves (7.0 instead of 4.6 bytes an address where each call has another).
    FewOrMany,
    /// Differences to the value before.
    Delta,
    /// All lengths, then all bytes: nearly every value is another.
    Lengths,
}

/// One column: see [`Column::spec`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spec {
    pub(crate) name: &'static str,
    pub(crate) shape: Shape,
    /// The logical type as the schema names it; empty: none.
    logical: &'static str,
    pub(crate) required: bool,
    coding: Coding,
}

macro_rules! columns {
    ($($variant:ident = $name:literal $shape:ident $logical:literal $required:literal $coding:ident),+ $(,)?) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub(crate) enum Column { $($variant),+ }

        impl Column {
            pub(crate) const ALL: &'static [Column] = &[$(Column::$variant),+];

            pub(crate) const fn spec(self) -> Spec {
                match self {
                    $(Column::$variant => Spec {
                        name: $name,
                        shape: Shape::$shape,
                        logical: $logical,
                        required: $required,
                        coding: Coding::$coding,
                    }),+
                }
            }
        }
    };
}

columns! {
    Position = "position" Int64 "" true Delta,
    Time = "time" Int64 "TIMESTAMP(MILLIS,true)" true Delta,
    Arrival = "arrival" Int64 "TIMESTAMP(MILLIS,true)" false Delta,
    Feed = "feed" Text "STRING" false Dictionary,
    Gateway = "gateway" Text "STRING" true Dictionary,
    Customer = "customer" Text "STRING" true Dictionary,
    Seq = "seq" Int64 "INTEGER(64,false)" false Delta,
    Kind = "kind" Text "STRING" true Dictionary,
    CallId = "call_id" Text "STRING" false Lengths,
    Leg = "leg" Text "STRING" false Lengths,
    Direction = "direction" Text "STRING" true Dictionary,
    CallType = "call_type" Text "STRING" true Dictionary,
    Caller = "caller" Text "STRING" false Dictionary,
    CallerKind = "caller_kind" Text "STRING" false Dictionary,
    CallerRaw = "caller_raw" Text "STRING" false Lengths,
    Callee = "callee" Text "STRING" false FewOrMany,
    CalleeKind = "callee_kind" Text "STRING" false Dictionary,
    CalleeRaw = "callee_raw" Text "STRING" false Lengths,
    Asserted = "asserted" Text "STRING" false Dictionary,
    AssertedKind = "asserted_kind" Text "STRING" false Dictionary,
    AssertedRaw = "asserted_raw" Text "STRING" false Lengths,
    Diverting = "diverting" Text "STRING" false Dictionary,
    DivertingKind = "diverting_kind" Text "STRING" false Dictionary,
    DivertingRaw = "diverting_raw" Text "STRING" false Lengths,
    CallerName = "caller_name" Text "STRING" false Dictionary,
    Account = "account" Text "STRING" false Dictionary,
    Extension = "extension" Text "STRING" false Dictionary,
    Trunk = "trunk" Text "STRING" false Dictionary,
    Domain = "domain" Text "STRING" false Dictionary,
    UserAgent = "user_agent" Text "STRING" false Dictionary,
    Method = "method" Text "STRING" false Dictionary,
    SourceIp = "source_ip" Text "STRING" false FewOrMany,
    Status = "status" Text "STRING" true Dictionary,
    SipCode = "sip_code" Int32 "" false Dictionary,
    Q850 = "q850" Int32 "" false Dictionary,
    DurationMs = "duration_ms" Int64 "" false Dictionary,
    RingMs = "ring_ms" Int64 "" false Dictionary,
    SetupMs = "setup_ms" Int64 "" false Dictionary,
    Cost = "cost" Int64 "DECIMAL(18,4)" false Dictionary,
    HangupBy = "hangup_by" Text "STRING" true Dictionary,
    Attestation = "attestation" Text "STRING" true Dictionary,
    Anonymous = "anonymous" Bool "" true Dictionary,
    Emergency = "emergency" Bool "" true Dictionary,
    AuthFailed = "auth_failed" Bool "" true Dictionary,
    Action = "action" Text "STRING" true Dictionary,
    Cause = "cause" Text "STRING" true Dictionary,
    Rule = "rule" Text "STRING" true Dictionary,
    Flags = "flags" Text "STRING" false Dictionary,
    Marks = "marks" Int32 "" true Dictionary,
}

/// A set of columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Columns(u64);

const _: () = assert!(Column::ALL.len() <= 64);

impl Columns {
    pub(crate) const ALL: Columns = Columns(u64::MAX);

    pub(crate) fn has(self, column: Column) -> bool {
        self.0 & 1 << column as u8 != 0
    }
}

/// The columns that find a number have what makes finding quick: a filter that tells in which row groups it is not.
pub(crate) const SEARCHED: [Column; 2] = [Column::Caller, Column::Callee];

/// How often a filter may say that a number is there while it is not. One row group read in vain costs a few
/// milliseconds; a filter ten times as exact is half as large again.
const FILTER_WRONG: f64 = 0.002;

/// Dictionary up to which values are few: some thousand numbers or addresses.
const FEW_BYTES_MAX: usize = 64 << 10;

/// More than the default of 1 MiB: the callers of a row group fit.
const DICTIONARY_BYTES_MAX: usize = 4 << 20;

/// A page ends by its rows, so that those of all columns end together; this is the bound for rows of long texts.
const PAGE_BYTES_MAX: usize = 4 << 20;

pub(crate) fn schema() -> TypePtr {
    static SCHEMA: LazyLock<TypePtr> = LazyLock::new(|| {
        let mut text = String::from("message event {\n");
        for column in Column::ALL {
            let Spec { name, shape, logical, required, .. } = column.spec();
            let repetition = if required { "REQUIRED" } else { "OPTIONAL" };
            let physical = match shape {
                Shape::Int64 => "INT64",
                Shape::Int32 => "INT32",
                Shape::Bool => "BOOLEAN",
                Shape::Text => "BYTE_ARRAY",
            };
            let logical = if logical.is_empty() { String::new() } else { format!(" ({logical})") };
            text += &format!("{repetition} {physical} {name}{logical};\n");
        }
        text.push('}');
        Arc::new(parse_message_type(&text).expect("the schema is a constant"))
    });
    Arc::clone(&SCHEMA)
}

/// Whether a file has these columns, at these places.
pub(crate) fn fits(found: &SchemaDescriptor) -> bool {
    static OURS: LazyLock<SchemaDescriptor> = LazyLock::new(|| SchemaDescriptor::new(schema()));
    let alike = |column: &Column| {
        let (ours, theirs) = (OURS.column(*column as usize), found.column(*column as usize));
        ours.name() == theirs.name()
            && ours.physical_type() == theirs.physical_type()
            && ours.max_def_level() == theirs.max_def_level()
            && theirs.max_rep_level() == 0
    };
    found.num_columns() >= Column::ALL.len() && Column::ALL.iter().all(alike)
}

/// How files are written.
pub(crate) fn properties() -> WriterPropertiesPtr {
    static PROPERTIES: LazyLock<WriterPropertiesPtr> = LazyLock::new(|| {
        let level = ZstdLevel::try_new(3).unwrap_or_default();
        let mut builder = WriterProperties::builder()
            .set_created_by(format!("ringfence {}", env!("CARGO_PKG_VERSION")))
            .set_compression(Compression::ZSTD(level))
            .set_max_row_group_row_count(Some(ARCHIVE_ROW_GROUP_ROWS))
            .set_data_page_row_count_limit(ARCHIVE_PAGE_ROWS)
            .set_data_page_size_limit(PAGE_BYTES_MAX)
            .set_dictionary_page_size_limit(DICTIONARY_BYTES_MAX)
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_bloom_filter_for_dictionary_encoded_chunks(true);
        for column in Column::ALL {
            let spec = column.spec();
            let path = ColumnPath::from(spec.name);
            builder = match (spec.coding, spec.shape) {
                (Coding::Dictionary, Shape::Bool) => builder.set_column_dictionary_enabled(path, false),
                (Coding::Dictionary, _) => builder.set_column_dictionary_enabled(path, true),
                (Coding::FewOrMany, _) => builder
                    .set_column_dictionary_enabled(path.clone(), true)
                    .set_column_dictionary_page_size_limit(path.clone(), FEW_BYTES_MAX)
                    .set_column_encoding(path, Encoding::DELTA_LENGTH_BYTE_ARRAY),
                (Coding::Delta, _) => builder
                    .set_column_dictionary_enabled(path.clone(), false)
                    .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED),
                (Coding::Lengths, _) => builder
                    .set_column_dictionary_enabled(path.clone(), false)
                    .set_column_encoding(path, Encoding::DELTA_LENGTH_BYTE_ARRAY),
            };
        }
        for column in SEARCHED {
            let path = ColumnPath::from(column.spec().name);
            builder = builder
                .set_column_bloom_filter_enabled(path.clone(), true)
                .set_column_bloom_filter_fpp(path.clone(), FILTER_WRONG)
                .set_column_bloom_filter_max_ndv(path, ARCHIVE_ROW_GROUP_ROWS as u64);
        }
        for column in [Column::Position, Column::Time, Column::Caller, Column::Callee] {
            let path = ColumnPath::from(column.spec().name);
            builder = builder.set_column_statistics_enabled(path, EnabledStatistics::Page);
        }
        Arc::new(builder.build())
    });
    Arc::clone(&PROPERTIES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_names_every_column_at_its_place() {
        let schema = SchemaDescriptor::new(schema());
        assert_eq!(schema.num_columns(), Column::ALL.len());
        assert!(fits(&schema));
        assert_eq!(schema.column(Column::Cost as usize).name(), "cost");
        let other = parse_message_type("message event { REQUIRED INT64 position; }").unwrap();
        assert!(!fits(&SchemaDescriptor::new(Arc::new(other))));
    }
}
