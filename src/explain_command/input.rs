//! What the command is given: events, violations, files of calls.

use std::io::Read;
use std::mem::discriminant;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use crate::clock::Timestamp;
use crate::event::Batch;
use crate::explain::{About, Crossing, Piece, Take};
use crate::ingest::source::Source;
use crate::ingest::{Decoder, FeedContext, Format};
use crate::limits::{EXPLAIN_LINE_BYTES_MAX, EXPLAIN_LINES_MAX};
use crate::policy::Severity;

/// An event: a line of JSON, a file of such lines, or `-`.
pub(super) fn events(given: &str, context: &Arc<FeedContext>) -> anyhow::Result<Piece> {
    let text = text(given, EXPLAIN_LINE_BYTES_MAX * EXPLAIN_LINES_MAX as u64)?;
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    ensure!(!lines.is_empty(), "there is no event in it: an event is one line of JSON");
    ensure!(
        lines.len() <= EXPLAIN_LINES_MAX,
        "these are {} events, at most {EXPLAIN_LINES_MAX} are told one by one; `--input FILE --call ID` tells of one call \
         among many",
        lines.len()
    );
    let mut piece = Piece::default();
    for (i, line) in lines.iter().enumerate() {
        let place = if lines.len() == 1 { "the event".to_owned() } else { format!("line {}", i + 1) };
        if let Err(error) = serde_json::from_str::<serde_json::Map<String, Value>>(line) {
            bail!("{place} is no JSON object: {error}");
        }
        let mut batch = Batch::default();
        Decoder::new(&Format::Ndjson, Arc::clone(context)).decode(format!("{line}\n").into_bytes(), None, &mut batch);
        if let Some(reject) = batch.rejects.first() {
            bail!("{place} is refused as a gateway's would be: {}; {}", reject.reason.as_str(), ADVICE);
        }
        batch.events.iter().for_each(|event| piece.batch.adopt(&batch, event));
    }
    Ok(piece)
}

const ADVICE: &str = "an event has a `time` (RFC 3339), a `kind` such as \"attempt\" or \"end\" (a whole call unless said), \
                      and numbers as text: \"caller\":\"+46701234567\"";

/// A violation: its line, `-`, or `POSITION/RULE/LEVEL`.
pub(super) fn violation(given: &str) -> anyhow::Result<About> {
    let given = given.trim();
    if !given.starts_with('{') && given != "-" {
        let parts: Option<(&str, &str)> = given.split_once('/');
        let id = parts.and_then(|(position, rest)| Some((position.parse().ok()?, rest.rsplit_once('/')?.0.to_owned())));
        let (position, rule) = id.with_context(|| {
            format!("--violation: `{given}` is neither a violation's line of JSON nor its id, such as 4711/ips-wangiri/warning")
        })?;
        return Ok(About::Position { position, rule });
    }
    let text = text(given, EXPLAIN_LINE_BYTES_MAX)?;
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).context("--violation: there is no line")?;
    let value: Value = serde_json::from_str(line).map_err(|error| anyhow::anyhow!("--violation: no JSON: {error}"))?;
    let text = |name: &str| {
        let found = value.get(name).and_then(Value::as_str).map(str::to_owned);
        found.with_context(|| format!("--violation: it has no `{name}`: is it a line of `replay --output violations`?"))
    };
    let (time, level) = (text("time")?, text("level")?);
    let time = time.parse::<jiff::Timestamp>().with_context(|| format!("--violation: time `{time}`"))?;
    let level = Severity::ALL.iter().find(|severity| severity.as_str() == level);
    let key = value.get("key").and_then(Value::as_object).context("--violation: it has no `key`")?;
    Ok(About::Crossing(Crossing {
        id: value.get("id").and_then(Value::as_str).map(str::to_owned),
        rule: text("rule")?,
        level: *level.context("--violation: `level` is warning or critical")?,
        time: Timestamp(time.as_millisecond()),
        customer: text("customer")?,
        key: key.iter().filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect(),
        call_id: value.get("call_id").and_then(Value::as_str).map(str::to_owned),
    }))
}

/// What was given itself, or what stands where it points to.
fn text(given: &str, bytes_max: u64) -> anyhow::Result<String> {
    if given.trim_start().starts_with('{') {
        return Ok(given.to_owned());
    }
    let mut bytes = Vec::new();
    let read: Box<dyn Read> = match given {
        "-" => Box::new(std::io::stdin()),
        path => {
            let advice = "an event is a line of JSON such as {\"time\":\"...\",\"kind\":\"attempt\"}, a file, or `-`";
            ensure!(Path::new(path).is_file(), "there is no file `{path}`; {advice}");
            Box::new(std::fs::File::open(path).with_context(|| format!("cannot open `{path}`"))?)
        }
    };
    read.take(bytes_max + 1).read_to_end(&mut bytes).with_context(|| format!("cannot read `{given}`"))?;
    ensure!(bytes.len() as u64 <= bytes_max, "`{given}` is longer than {bytes_max} bytes");
    String::from_utf8(bytes).with_context(|| format!("`{given}` is no UTF-8"))
}

/// Files of calls that can be read more than once.
pub(super) struct Files<C> {
    paths: Vec<(PathBuf, Format)>,
    /// Made anew for each reading: it remembers the calls of signalling.
    context: C,
}

impl<C: Fn() -> anyhow::Result<Arc<FeedContext>>> Files<C> {
    pub(super) fn new(paths: &[PathBuf], format: Option<&str>, context: C) -> anyhow::Result<Files<C>> {
        let mut files = Vec::new();
        for path in paths {
            ensure!(path.as_os_str() != "-", "--input: standard input can be read once only; save it as a file");
            ensure!(path.exists(), "--input: there is no file `{}`", path.display());
            ensure!(!path.is_dir(), "--input: `{}` is a folder; `--archive` reads an archive", path.display());
            files.push((path.clone(), Format::of_file(path, format)?));
        }
        Ok(Files { paths: files, context })
    }

    /// Everything, in order; a decoder that must see all files of its kind does.
    pub(super) fn read(&self, take: Take<'_>) -> anyhow::Result<()> {
        let mut held: Vec<(Format, Decoder)> = Vec::new();
        let context = (self.context)()?;
        for (path, format) in &self.paths {
            let mut source = Source::open(path, format.style())?;
            let format = if source.capture().is_some() { Format::Hep } else { format.clone() };
            let at = held.iter().position(|(known, _)| discriminant(known) == discriminant(&format));
            let mut decoder = match at {
                Some(at) => held.remove(at).1,
                None => Decoder::new(&format, Arc::clone(&context)),
            };
            decoder.begin_file();
            let mut is_first = true;
            while let Some(block) = source.block()? {
                if std::mem::take(&mut is_first) {
                    decoder.learn(&block);
                    if let Some(problem) = decoder.problem() {
                        bail!("`{}`: {problem}", path.display());
                    }
                }
                let mut batch = Batch::default();
                decoder.decode(block, None, &mut batch);
                if !take(Piece { batch, ..Piece::default() }) {
                    return Ok(());
                }
            }
            if decoder.is_stateful() {
                held.push((format, decoder));
            }
        }
        for (_, mut decoder) in held {
            let mut batch = Batch::default();
            decoder.finish(None, &mut batch);
            if !take(Piece { batch, ..Piece::default() }) {
                return Ok(());
            }
        }
        Ok(())
    }
}
