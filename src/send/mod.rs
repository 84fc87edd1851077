//! `ringfence send`: a gateway for trying, loading and migrating. Reads files and sends them as a feed.
//!
//! Speaks the ndjson feed's protocol: hello, welcome, running numbers, acknowledgements, verdicts; goes on where the
//! server stopped holding events, after a break and after a run that was cut short. To a csv feed it sends rows as
//! they are, and to a hep feed what a capture holds.

mod connection;
mod input;
mod link;
mod numbering;
mod replies;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};

pub use connection::ReplyMode;
pub use link::TlsArgs;

use crate::clock::Clock;
use crate::ingest::Source;
use connection::{Connection, Options, Outcome};
use input::Input;
use replies::Tally;

const CONNECTIONS_MAX: usize = 1_000;

/// Send call events from files to a running service, as a gateway would
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  ringfence send --to 127.0.0.1:7060 calls.ndjson.zst
  ringfence send --to 127.0.0.1:7060 --reply verdict --rate 2000 calls.ndjson     # latency from the intended time
  ringfence send --to 127.0.0.1:7060 --reply verdict --in-flight 1 calls.ndjson   # one request at a time
  ringfence simulate --attack wangiri --kind events | ringfence send --to 127.0.0.1:7060 -
  ringfence send --to 127.0.0.1:7061 --input-format csv Master.csv                # to a csv feed
  ringfence send --to 127.0.0.1:9060 --rate 500 trunk.pcapng                      # to a hep feed

Numbers: each event gets a running `seq` unless it has one. What the server already holds of the gateway is left out,
so a run that was cut short can simply be repeated. The gateway is named after the files unless --gateway says
otherwise; for other events under the same name use --number-on.

Exit codes: 0 all was sent and, where replies were asked for, answered for; 1 some events were rejected; 2 it could
not be done.")]
pub struct Args {
    /// Where the feed listens
    #[arg(long, value_name = "HOST:PORT")]
    pub to: String,
    /// Events a second over all connections, evenly spaced; as fast as the server takes them unless set
    #[arg(long, value_name = "N")]
    pub rate: Option<f64>,
    /// What the files hold and the feed speaks; by the name of the first file unless set, and a capture by its first
    /// bytes
    #[arg(long, value_name = "F")]
    pub input_format: Option<InputFormat>,
    /// The gateway's name
    #[arg(long, value_name = "NAME")]
    pub gateway: Option<String>,
    /// The feed's token, in this file
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// What the server is to answer. `none` is fastest and knows least
    #[arg(long, value_enum, default_value_t = ReplyMode::Ack)]
    pub reply: ReplyMode,
    /// Connections to share the events among; each is a gateway of its own, NAME-1, NAME-2 ...
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub connections: usize,
    /// With `--reply verdict`: wait for a verdict when so many events of a connection have none, and time each
    #[arg(long, value_name = "N")]
    pub in_flight: Option<u64>,
    /// Number on after what the server holds of this gateway, instead of leaving that many events out
    #[arg(long)]
    pub number_on: bool,
    /// Attempts to connect again before giving up, when nothing moves in between
    #[arg(long, default_value_t = 5, value_name = "N")]
    pub retries: u32,
    /// How to print the summary: text on standard error, or one JSON object on standard output
    #[arg(long, value_enum, default_value_t = SummaryFormat::Text)]
    pub format: SummaryFormat,
    #[command(flatten)]
    pub tls: TlsArgs,
    /// Files of events or captures, plain, .gz or .zst; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

/// What goes over the wire. Spelt as everywhere else: `ndjson`, `asterisk`, `csv`, `csv:SETTINGS.toml`, `hep`, `pcap`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputFormat {
    Ndjson,
    /// Rows to a csv feed, which knows their dialect: no hello, no reply.
    Rows,
    /// Packets of HEP to a hep feed, out of captures or files of them: no hello, no reply.
    Hep,
}

impl std::str::FromStr for InputFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<InputFormat, String> {
        match text.split_once(':').map_or(text, |(format, _)| format) {
            "ndjson" => Ok(InputFormat::Ndjson),
            "csv" | "asterisk" => Ok(InputFormat::Rows),
            "hep" | "pcap" => Ok(InputFormat::Hep),
            _ => Err("known are ndjson, asterisk, csv, csv:SETTINGS.toml, hep and pcap".into()),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum SummaryFormat {
    Text,
    Json,
}

/// Sends everything and says how it went.
pub fn run(args: &Args) -> Result<ExitCode> {
    let options = options(args)?;
    let n_connections = args.connections;
    let input = Input::new(&args.files, n_connections, options.format);
    let name = args.gateway.clone().unwrap_or_else(|| name_of(&args.files));
    let start = Clock.monotonic();
    let outcomes: Vec<Result<Outcome>> = std::thread::scope(|scope| {
        let started: Vec<_> = (0..n_connections)
            .map(|which| {
                let name = if n_connections == 1 { name.clone() } else { format!("{name}-{}", which + 1) };
                let (options, input) = (&options, &input);
                scope.spawn(move || {
                    let outcome = Connection::new(options, input, which, name).run();
                    if outcome.is_err() {
                        input.stop();
                    }
                    outcome
                })
            })
            .collect();
        started
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a connection's thread has failed"))))
            .collect()
    });
    let are_messages = options.format == InputFormat::Hep;
    let mut summary = Summary { elapsed: Clock.monotonic() - start, are_messages, ..Summary::default() };
    let mut failed = None;
    for outcome in outcomes {
        match outcome {
            Ok(outcome) => summary.add(&outcome),
            Err(e) => failed = failed.or(Some(e)),
        }
    }
    if let Some(e) = failed {
        return Err(e);
    }
    summary.reply = Some(options.reply).filter(|r| *r != ReplyMode::None);
    summary.print(args)?;
    Ok(if summary.rejected() == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn options(args: &Args) -> Result<Options> {
    if !(1..=CONNECTIONS_MAX).contains(&args.connections) {
        bail!("--connections: from 1 to {CONNECTIONS_MAX}");
    }
    if args.rate.is_some_and(|r| !(r > 0.0 && r <= 1e9)) {
        bail!("--rate: events a second, more than 0");
    }
    if args.in_flight.is_some() && (args.reply != ReplyMode::Verdict || args.rate.is_some()) {
        bail!("--in-flight needs --reply verdict, and no --rate");
    }
    let format = args.input_format.unwrap_or_else(|| format_of(args.files.first()));
    match format {
        InputFormat::Rows if args.connections > 1 => {
            bail!("--connections: a csv file goes over one connection, its header is in the first line");
        }
        InputFormat::Hep if args.connections > 1 => {
            bail!("--connections: a capture goes over one connection, its messages are of the same calls");
        }
        _ => {}
    }
    let token = match &args.token_file {
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
            Some(text.trim().to_owned())
        }
        None => None,
    };
    Ok(Options {
        to: args.to.clone(),
        tls: link::TlsSetup::from_args(&args.tls, &args.to)?,
        format,
        // Other feeds answer nothing, whatever was asked.
        reply: if format == InputFormat::Ndjson { args.reply } else { ReplyMode::None },
        token,
        number_on: args.number_on,
        interval_ns: args.rate.map(|rate| 1e9 * args.connections as f64 / rate),
        in_flight: args.in_flight,
        retries: args.retries,
    })
}

fn format_of(file: Option<&PathBuf>) -> InputFormat {
    let Some(path) = file else { return InputFormat::Ndjson };
    let name = path.to_string_lossy().to_lowercase();
    let name = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")).unwrap_or(&name);
    let ends_with = |ends: &[&str]| ends.iter().any(|end| name.ends_with(end));
    match name {
        _ if ends_with(&[".pcap", ".pcapng", ".cap", ".hep"]) => InputFormat::Hep,
        _ if ends_with(&[".csv"]) => InputFormat::Rows,
        // Standard input is read once. A file that cannot be read says why when it is.
        _ if name != "-" && Source::is_capture(path).unwrap_or(false) => InputFormat::Hep,
        _ => InputFormat::Ndjson,
    }
}

/// A gateway's name for these files: the same for the same files, so that a repeated run goes on where the first
/// ended, and another for others, so that their events are not taken for those.
fn name_of(files: &[PathBuf]) -> String {
    let whole = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for file in files {
        let size = std::fs::metadata(file).map_or(0, |m| m.len());
        for byte in whole(file).to_string_lossy().bytes().chain(size.to_le_bytes()) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
    // Standard input is different each time.
    if files.iter().any(|f| f.as_os_str() == "-") {
        hash ^= Clock.now().0.unsigned_abs();
    }
    format!("send-{:08x}", (hash ^ (hash >> 32)) as u32)
}

/// The run in numbers.
#[derive(Debug, Default)]
struct Summary {
    sent: u64,
    skipped: u64,
    reconnects: u32,
    elapsed: Duration,
    /// What the server was asked to answer, on a feed that answers.
    reply: Option<ReplyMode>,
    tally: Tally,
    /// What was sent are messages, of which a server makes events.
    are_messages: bool,
}

impl Summary {
    fn add(&mut self, outcome: &Outcome) {
        self.sent += outcome.sent;
        self.skipped += outcome.skipped;
        self.reconnects += outcome.reconnects;
        self.tally.add(&outcome.tally);
    }

    fn rejected(&self) -> u64 {
        self.tally.rejects.values().sum()
    }

    fn confirmed(&self) -> u64 {
        self.sent.saturating_sub(self.rejected())
    }

    fn per_second(&self) -> f64 {
        self.sent as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// Quantile and value in microseconds, where latencies were measured.
    fn latency_us(&self) -> Vec<(&'static str, f64)> {
        let latency = &self.tally.latency_ns;
        if latency.is_empty() {
            return Vec::new();
        }
        let at = |q: f64| latency.value_at_quantile(q) as f64 / 1_000.0;
        let max = latency.max() as f64 / 1_000.0;
        vec![("p50", at(0.5)), ("p90", at(0.9)), ("p99", at(0.99)), ("p99.9", at(0.999)), ("max", max)]
    }

    fn print(&self, args: &Args) -> Result<()> {
        match args.format {
            SummaryFormat::Json => {
                let line = serde_json::json!({
                    "events": self.sent,
                    "skipped": self.skipped,
                    "confirmed": self.reply.map(|_| self.confirmed()),
                    "rejects": self.tally.rejects,
                    "verdicts": self.tally.verdicts,
                    "late": self.tally.late,
                    "reconnects": self.reconnects,
                    "seconds": self.elapsed.as_secs_f64(),
                    "events_per_second": self.per_second(),
                    "latency_us": self.latency_us().into_iter().collect::<std::collections::BTreeMap<_, _>>(),
                });
                writeln!(std::io::stdout().lock(), "{line}")?;
            }
            SummaryFormat::Text => self.tell(&mut std::io::stderr().lock())?,
        }
        Ok(())
    }

    fn tell(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let seconds = self.elapsed.as_secs_f64();
        let what = if self.are_messages { "messages" } else { "events" };
        writeln!(out, "sent {} {what} in {seconds:.2} s", self.sent)?;
        if self.skipped > 0 {
            writeln!(out, "left out {}, which the server held already", self.skipped)?;
        }
        match self.reply {
            Some(ReplyMode::Ack) => writeln!(out, "acknowledged: {}", self.confirmed())?,
            Some(ReplyMode::Verdict) => writeln!(out, "answered: {}", self.confirmed())?,
            _ => {}
        }
        for (reason, n) in &self.tally.rejects {
            writeln!(out, "rejected, {reason}: {n}")?;
        }
        for (action, n) in &self.tally.verdicts {
            writeln!(out, "verdict {action}: {n}")?;
        }
        if self.tally.late > 0 {
            writeln!(out, "verdicts past the server's deadline: {}", self.tally.late)?;
        }
        if self.reconnects > 0 {
            writeln!(out, "reconnected: {}", self.reconnects)?;
        }
        if let Some(said) = &self.tally.said {
            writeln!(out, "the server also said: {said}")?;
        }
        let latency = self.latency_us();
        if !latency.is_empty() {
            let text: Vec<String> = latency.iter().map(|(q, us)| format!("{q} {us:.1} us")).collect();
            writeln!(out, "latency: {}", text.join("  "))?;
        }
        writeln!(out, "{what}/s: {:.0}", self.per_second())
    }
}

#[cfg(test)]
mod tests;
