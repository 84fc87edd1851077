//! `ringfence archive`: what is there, out of it, whether it is whole, and what is to be forgotten.
//!
//! Only arguments and printing; what is done stands in [`crate::archive`].

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, ensure};

use crate::archive::{Archive, Entry, Erase, Parties, PseudonymKey, Query, Slice};
use crate::calendar;
use crate::clock::Timestamp;
use crate::config;
use crate::engine::output;
use crate::event::{Batch, CallEvent, Flags, Names, Party};
use crate::printed::Printed;
use crate::storage::Disk;

/// List, export, verify and erase archived events
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  ringfence archive list --archive ringfence-data/archive
  ringfence archive export --archive ringfence-data/archive --from 2026-03-02 --to 2026-03-02 --number +46701234567
  ringfence archive export --archive ringfence-data/archive --customer acme | ringfence replay --rules rules/ -
  ringfence archive verify --archive ringfence-data/archive
  ringfence archive erase --archive ringfence-data/archive --number +46701234567

The files are Parquet, one folder for each customer, day and hour; DuckDB, pandas and others read them as they are:
  select callee, count(*) from read_parquet('ringfence-data/archive/**/*.parquet', hive_partitioning = false) group by 1

Exit codes: 0 fine, 1 `verify` found something, 2 it could not be done.")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Hours, rows, bytes, and whether numbers are clear, pseudonyms or erased
    List {
        #[command(flatten)]
        place: Place,
        /// How to print it
        #[arg(long, value_enum, default_value_t = Printed::Text)]
        format: Printed,
    },
    /// Events as ndjson, which `replay` and `send` read again, or as csv
    Export {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        chosen: Chosen,
        /// What to write
        #[arg(long, value_enum, default_value_t = Exported::Ndjson)]
        format: Exported,
    },
    /// Read every file whole and hold it against the manifest
    Verify {
        #[command(flatten)]
        place: Place,
        /// How to print it
        #[arg(long, value_enum, default_value_t = Printed::Text)]
        format: Printed,
    },
    /// Erase people from archived events; counts and verdicts stay. The service must not be running
    Erase {
        #[command(flatten)]
        place: Place,
        /// Erase this number wherever it stands, as it is normalised: +46701234567
        #[arg(long, value_name = "N", required_unless_present = "before", conflicts_with_all = ["before", "customer"])]
        number: Option<String>,
        /// Erase all people of hours that ended by then: a date (UTC) or an RFC 3339 time
        #[arg(long, value_name = "TIME")]
        before: Option<String>,
        /// Only of this customer
        #[arg(long, value_name = "ID")]
        customer: Option<String>,
        /// How to print what was done
        #[arg(long, value_enum, default_value_t = Printed::Text)]
        format: Printed,
    },
}

#[derive(Debug, clap::Args)]
struct Place {
    /// Folder of the archive; ringfence-data/archive unless set
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    archive: Option<PathBuf>,
    /// Settings of the service whose archive it is
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Place {
    fn folder(&self) -> anyhow::Result<PathBuf> {
        if let Some(folder) = &self.archive {
            return Ok(folder.clone());
        }
        let data = config::of_command(self.config.as_deref())?.data;
        Ok(data.context("nothing is kept: `data` is off in the settings")?.join("archive"))
    }

    fn read(&self) -> anyhow::Result<Archive> {
        Ok(Archive::read(&self.folder()?)?)
    }
}

#[derive(Debug, clap::Args)]
struct Chosen {
    /// Leave out what is earlier: a date (UTC) or an RFC 3339 time
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Leave out what is later: a date, itself included, or an RFC 3339 time, itself not
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// Only events of this customer; may be given more than once
    #[arg(long, value_name = "ID")]
    customer: Vec<String>,
    /// Only events with this caller or callee, as it is normalised: +46701234567
    #[arg(long, value_name = "N")]
    number: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Exported {
    Ndjson,
    Csv,
}

/// Findings are no failure to do the work.
const FINDINGS: u8 = 1;

/// Does what the arguments say.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match &args.command {
        Command::List { place, format } => list(&place.read()?, *format),
        Command::Export { place, chosen, format } => export(&place.read()?, chosen, *format),
        Command::Verify { place, format } => verify(&place.read()?, *format),
        Command::Erase { place, number, before, customer, format } => {
            let folder = place.folder()?;
            let what = match (number, before) {
                (Some(number), _) => Erase::Number { number: number.clone(), pseudonym: pseudonym(&folder, number)? },
                (None, Some(before)) => {
                    Erase::Before { before: instant(before, false).context("--before")?, customer: customer.clone() }
                }
                // The arguments ask for one of them.
                (None, None) => anyhow::bail!("give --number or --before"),
            };
            erase(&folder, &what, *format)
        }
    }
}

/// What the number became in files that have pseudonyms, where the data folder has the key of them.
fn pseudonym(archive: &Path, number: &str) -> anyhow::Result<Option<String>> {
    let key = archive.parent().unwrap_or(Path::new("")).join(crate::archive::KEY_FILE);
    if !key.is_file() {
        return Ok(None);
    }
    Ok(Some(PseudonymKey::of_file(&key)?.number(number)))
}

/// A date in UTC, its end where `is_end`; or an RFC 3339 time.
fn instant(text: &str, is_end: bool) -> anyhow::Result<Timestamp> {
    calendar::instant(text, &jiff::tz::TimeZone::UTC, is_end)
        .with_context(|| format!("`{text}` is neither a date (2026-02-28) nor an RFC 3339 time (2026-02-28T12:00:00Z)"))
}

/// The hours of a customer that are alike, as one line.
fn list(archive: &Archive, format: Printed) -> anyhow::Result<ExitCode> {
    let mut hours: std::collections::BTreeMap<(i64, &str, &str), [u64; 3]> = Default::default();
    for file in archive.files() {
        let [files, rows, bytes] = hours.entry((file.hour, &file.customer, file.state.as_str())).or_default();
        (*files, *rows, *bytes) = (*files + 1, *rows + file.rows, *bytes + file.bytes);
    }
    let mut out = BufWriter::new(io::stdout().lock());
    if format == Printed::Text {
        writeln!(
            out,
            "{:<16} {:<20} {:>6} {:>12} {:>14}  numbers",
            "hour (UTC)", "customer", "files", "events", "bytes"
        )?;
    }
    let mut total = [0; 3];
    for ((hour, customer, state), [files, rows, bytes]) in &hours {
        let start = Timestamp(hour.saturating_mul(3_600_000)).to_string();
        match format {
            Printed::Text => {
                let start = start.get(..16).unwrap_or(&start).replace('T', " ");
                writeln!(out, "{start:<16} {customer:<20} {files:>6} {rows:>12} {bytes:>14}  {state}")?;
            }
            Printed::Json => {
                let line = serde_json::json!({ "hour": start, "customer": customer, "files": files, "events": rows,
                    "bytes": bytes, "numbers": state });
                writeln!(out, "{line}")?;
            }
        }
        total = [total[0] + files, total[1] + rows, total[2] + bytes];
    }
    if format == Printed::Text {
        writeln!(out, "{:<16} {:<20} {:>6} {:>12} {:>14}", "all", "", total[0], total[1], total[2])?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn export(archive: &Archive, chosen: &Chosen, format: Exported) -> anyhow::Result<ExitCode> {
    let query = Query {
        from: chosen.from.as_deref().map(|t| instant(t, false)).transpose().context("--from")?,
        to: chosen.to.as_deref().map(|t| instant(t, true)).transpose().context("--to")?,
        customers: chosen.customer.clone(),
        number: chosen.number.clone(),
        parties: Parties::Either,
        ..Query::default()
    };
    let names = Arc::new(Names::new());
    let mut out = BufWriter::new(io::stdout().lock());
    let mut csv = csv::Writer::from_writer(Vec::new());
    if format == Exported::Csv {
        csv.write_record(FIELDS.iter().chain(&TOLD))?;
    }
    for slice in archive.events(&query, Arc::clone(&names)) {
        let slice = slice?;
        for i in 0..slice.positions.len() {
            match format {
                Exported::Ndjson => ndjson_line(&mut out, &slice, i, &names)?,
                Exported::Csv => csv.write_record(csv_record(&slice, i, &names))?,
            }
        }
        if format == Exported::Csv {
            csv.flush()?;
            out.write_all(csv.get_ref())?;
            csv = csv::Writer::from_writer(Vec::new());
        }
    }
    out.write_all(&csv.into_inner().context("cannot finish the csv")?)?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Names of spec 1.2, in the order in which they are written.
const FIELDS: [&str; 32] = [
    "time",
    "kind",
    "customer",
    "gateway",
    "seq",
    "call_id",
    "leg",
    "direction",
    "caller",
    "callee",
    "asserted",
    "diverting",
    "caller_name",
    "domain",
    "user_agent",
    "anonymous",
    "trunk",
    "source_ip",
    "call_type",
    "status",
    "sip_code",
    "q850",
    "duration",
    "ring",
    "setup",
    "cost",
    "account",
    "extension",
    "hangup_by",
    "auth_failed",
    "method",
    "attestation",
];
/// What csv adds: ndjson is to be read as a feed again.
const TOLD: [&str; 4] = ["position", "action", "cause", "rule"];

/// A value of a field, as JSON writes it.
enum Value {
    Absent,
    Text(Vec<u8>),
    /// Digits and signs that need no quotes.
    Plain(String),
}

impl From<&[u8]> for Value {
    fn from(text: &[u8]) -> Value {
        if text.is_empty() { Value::Absent } else { Value::Text(text.to_vec()) }
    }
}

/// The text that gives the same number when it is read again: what came where it is kept, else the number. Of numbers
/// that a dial plan has completed, the number itself: the plan may not be there when it is read.
fn party(batch: &Batch, party: &Party) -> Value {
    let number = if party.number.is_e164() { party.number.to_string().into_bytes() } else { Vec::new() };
    if number.is_empty() { batch.text(party.raw).into() } else { number.as_slice().into() }
}

/// Values of [`FIELDS`].
fn values(batch: &Batch, event: &CallEvent, names: &Names) -> [Value; 32] {
    let text = |text| Value::from(batch.text(text));
    let word = |word: &str| if word == "unknown" { Value::Absent } else { word.as_bytes().into() };
    let code = |code: u64| if code == 0 { Value::Absent } else { Value::Plain(code.to_string()) };
    let seconds = |ms: u32| match ms {
        CallEvent::NO_TIME => Value::Absent,
        ms => Value::Plain(format!("{}.{:03}", ms / 1000, ms % 1000)),
    };
    let truth = |flag| if event.flags.has(flag) { Value::Plain("true".into()) } else { Value::Absent };
    let cost = || {
        let units = event.cost.unsigned_abs();
        let sign = if event.cost < 0 { "-" } else { "" };
        Value::Plain(format!("{sign}{}.{:04}", units / 10_000, units % 10_000))
    };
    [
        Value::Text(event.time.to_string().into_bytes()),
        word(event.kind.as_str()),
        names.customer_text(event.customer).as_bytes().into(),
        names.gateway_text(event.gateway).as_bytes().into(),
        code(event.seq),
        text(event.call_id),
        text(event.leg),
        word(event.direction.as_str()),
        party(batch, &event.caller),
        party(batch, &event.callee),
        party(batch, &event.asserted),
        party(batch, &event.diverting),
        text(event.caller_name),
        text(event.domain),
        text(event.user_agent),
        truth(Flags::ANONYMOUS),
        text(event.trunk),
        event.source_ip.map_or(Value::Absent, |ip| Value::Text(ip.to_string().into_bytes())),
        word(event.call_type.as_str()),
        word(event.status.as_str()),
        code(u64::from(event.sip_code)),
        code(u64::from(event.q850)),
        seconds(event.duration_ms),
        seconds(event.ring_ms),
        seconds(event.setup_ms),
        if event.cost == CallEvent::NO_COST { Value::Absent } else { cost() },
        text(event.account),
        text(event.extension),
        word(event.hangup_by.as_str()),
        truth(Flags::AUTH_FAILED),
        text(event.method),
        word(event.attestation.as_str()),
    ]
}

fn ndjson_line(out: &mut impl Write, slice: &Slice, i: usize, names: &Names) -> io::Result<()> {
    let Some(event) = slice.batch.events.get(i) else { return Ok(()) };
    let mut line = Vec::with_capacity(512);
    for (name, value) in FIELDS.iter().zip(values(&slice.batch, event, names)) {
        let begin = if line.is_empty() { "{" } else { "," };
        match value {
            Value::Absent => continue,
            Value::Plain(text) => write!(line, "{begin}\"{name}\":{text}")?,
            Value::Text(text) => {
                write!(line, "{begin}\"{name}\":")?;
                output::string(&mut line, &text);
            }
        }
    }
    line.extend_from_slice(b"}\n");
    out.write_all(&line)
}

fn csv_record(slice: &Slice, i: usize, names: &Names) -> Vec<Vec<u8>> {
    let (Some(event), Some(told)) = (slice.batch.events.get(i), slice.told.get(i)) else { return Vec::new() };
    let bytes = |value| match value {
        Value::Absent => Vec::new(),
        Value::Text(text) => text,
        Value::Plain(text) => text.into_bytes(),
    };
    let mut record: Vec<Vec<u8>> = values(&slice.batch, event, names).into_iter().map(bytes).collect();
    let position = slice.positions.get(i).copied().unwrap_or_default();
    record.push(position.to_string().into_bytes());
    record.push(told.action.as_str().into());
    record.push(told.cause.as_str().into());
    record.push(slice.batch.text(told.rule).to_vec());
    record
}

fn verify(archive: &Archive, format: Printed) -> anyhow::Result<ExitCode> {
    let (mut files, mut rows) = (0u64, 0);
    let findings = archive.verify(|file: &Entry| (files, rows) = (files + 1, rows + file.rows))?;
    let mut out = io::stdout().lock();
    match format {
        Printed::Text => {
            for finding in &findings {
                writeln!(out, "{}: {}", finding.path, finding.problem)?;
            }
            let said = if findings.is_empty() { "no problems".into() } else { format!("{} problems", findings.len()) };
            writeln!(out, "{files} files, {rows} events, archived up to record {}: {said}", archive.reached() - 1)?;
        }
        Printed::Json => {
            let findings: Vec<_> =
                findings.iter().map(|f| serde_json::json!({ "path": f.path, "problem": f.problem })).collect();
            let report = serde_json::json!({ "files": files, "events": rows, "findings": findings });
            writeln!(out, "{report}")?;
        }
    }
    Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FINDINGS) })
}

fn erase(folder: &Path, what: &Erase, format: Printed) -> anyhow::Result<ExitCode> {
    // Not to be begun by a mistyped name.
    ensure!(Archive::is_at(folder), "there is no archive at `{}`", folder.display());
    let done = Archive::open(&Disk::real(), folder)?.erase(what)?;
    let mut out = io::stdout().lock();
    match format {
        Printed::Text => writeln!(out, "erased from {} events, in {} files written anew", done.rows, done.files)?,
        Printed::Json => writeln!(out, "{}", serde_json::json!({ "events": done.rows, "files": done.files }))?,
    }
    eprintln!(
        "The journal, snapshots and backups may hold it still: the journal and the snapshots let go of it once what \
         was written since has made them move on; `ringfence archive` has no hand in them."
    );
    Ok(ExitCode::SUCCESS)
}
