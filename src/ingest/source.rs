//! Files become blocks of whole records, in order: plain, gzip or zstd, or standard input. A capture becomes blocks of
//! HEP packets.

use std::fs::File;
use std::io::{Cursor, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Format;
use super::capture::{CaptureCounts, CaptureReader, is_capture};
use super::csv::{self, Dialect, DialectName};
use super::framing::{Framer, Style};
use crate::limits::BLOCK_BYTES;

/// A file cannot be read, or not be understood as asked.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("cannot open `{path}`")]
    Open { path: PathBuf, source: std::io::Error },
    #[error("cannot read `{path}`")]
    Read { path: PathBuf, source: std::io::Error },
    #[error(
        "`{path}`: its name does not tell its format; give `--input-format` ndjson, hep, sip, json-cdr, a dialect of CDRs ({DIALECTS}) or csv:SETTINGS.toml"
    )]
    UnknownFormat { path: PathBuf },
    #[error(
        "unknown input format `{name}`; there are ndjson, hep, sip, pcap, json-cdr, {DIALECTS} and csv:SETTINGS.toml"
    )]
    NoSuchFormat { name: String },
    #[error("`{path}`: {problem}")]
    Settings { path: PathBuf, problem: String },
}

/// One file being read.
pub struct Source {
    path: PathBuf,
    input: Input,
}

enum Input {
    Records(Records),
    Capture { reader: Box<CaptureReader>, spare: Vec<u8> },
}

struct Records {
    reader: Box<dyn Read + Send>,
    framer: Framer,
    /// Gives what it has at once: somebody may be watching the other end of the pipe.
    is_pipe: bool,
    ended: bool,
}

impl Source {
    /// `-` is standard input. Compression shows in the first bytes, whatever the name says, and so does a capture,
    /// whose blocks are HEP packets whatever `style` says.
    pub fn open(path: &Path, style: Style) -> Result<Source, SourceError> {
        let is_pipe = path.as_os_str() == "-";
        let file: Box<dyn Read + Send> = if is_pipe {
            Box::new(std::io::stdin())
        } else {
            let open = |source| SourceError::Open { path: path.into(), source };
            let file = File::open(path).map_err(open)?;
            // A folder opens, and fails only when read.
            if file.metadata().map_err(open)?.is_dir() {
                return Err(open(ErrorKind::IsADirectory.into()));
            }
            Box::new(file)
        };
        Source::new(path, file, style, is_pipe)
    }

    fn new(path: &Path, file: Box<dyn Read + Send>, style: Style, is_pipe: bool) -> Result<Source, SourceError> {
        let read = |source| SourceError::Read { path: path.into(), source };
        let (kind, whole) = peek(file).map_err(read)?;
        let plain: Box<dyn Read + Send> = match kind {
            [0x1f, 0x8b, ..] => Box::new(flate2::read::MultiGzDecoder::new(whole)),
            [0x28, 0xb5, 0x2f, 0xfd] => Box::new(zstd::Decoder::new(whole).map_err(read)?),
            _ => whole,
        };
        let (kind, plain) = peek(plain).map_err(read)?;
        let input = if is_capture(kind) {
            let reader = Box::new(CaptureReader::new(plain, is_pipe).map_err(read)?);
            Input::Capture { reader, spare: Vec::new() }
        } else {
            Input::Records(Records { reader: plain, framer: Framer::new(style), is_pipe, ended: false })
        };
        Ok(Source { path: path.into(), input })
    }

    /// Whether a file is a capture, compressed or not. A pipe is none until it is read, which can be done but once.
    pub fn is_capture(path: &Path) -> Result<bool, SourceError> {
        if path.metadata().is_ok_and(|metadata| !metadata.is_file()) {
            return Ok(false);
        }
        Source::open(path, Style::Lines).map(|source| source.capture().is_some())
    }

    /// The next block of whole records; `None` at the end.
    pub fn block(&mut self) -> Result<Option<Vec<u8>>, SourceError> {
        let block = match &mut self.input {
            Input::Records(records) => records.block(),
            Input::Capture { reader, spare } => {
                let mut block = std::mem::take(spare);
                reader.fill(&mut block).map(|has_more| has_more.then_some(block))
            }
        };
        block.map_err(|source| SourceError::Read { path: self.path.clone(), source })
    }

    /// Gives a block's memory back.
    pub fn recycle(&mut self, mut block: Vec<u8>) {
        match &mut self.input {
            Input::Records(records) => records.framer.recycle(block),
            Input::Capture { spare, .. } => {
                block.clear();
                *spare = block;
            }
        }
    }

    /// Whether the file ended inside of a record, or nothing more of it could be read, of a format where that shows.
    pub fn is_broken(&self) -> bool {
        matches!(&self.input, Input::Records(records) if records.framer.broken().is_some())
    }

    /// What the file holds beside events, so far, where it is a capture: its blocks are HEP packets then, to be
    /// decoded as such.
    pub fn capture(&self) -> Option<CaptureCounts> {
        match &self.input {
            Input::Records(_) => None,
            Input::Capture { reader, .. } => Some(reader.counts()),
        }
    }
}

/// The first bytes of a file, zeros where it has fewer, and all of it.
fn peek(mut file: Box<dyn Read + Send>) -> std::io::Result<([u8; 4], Box<dyn Read + Send>)> {
    let mut magic = Vec::new();
    file.by_ref().take(4).read_to_end(&mut magic)?;
    let kind = <[u8; 4]>::try_from(magic.as_slice()).unwrap_or_default();
    Ok((kind, Box::new(Cursor::new(magic).chain(file))))
}

impl Records {
    fn block(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(block) = self.framer.block() {
                return Ok(Some(block));
            }
            if self.ended {
                return Ok(self.framer.finish());
            }
            self.ended = self.fill()? == 0;
        }
    }

    /// Reads a block's worth, or from a pipe what there is; 0 at the end.
    fn fill(&mut self) -> std::io::Result<usize> {
        let space = self.framer.space(BLOCK_BYTES);
        let had = space.len();
        space.resize(had + BLOCK_BYTES, 0);
        let mut n = 0;
        let read = loop {
            if n == BLOCK_BYTES {
                break Ok(n);
            }
            match self.reader.read(space.get_mut(had + n..).unwrap_or(&mut [])) {
                Ok(0) => break Ok(n),
                Ok(more) => {
                    n += more;
                    if self.is_pipe {
                        break Ok(n);
                    }
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => break Err(e),
            }
        };
        space.truncate(had + n);
        read
    }
}

impl Format {
    /// The format of a file, by what `--input-format` says or else by the file's name. Whoever reads it asks
    /// [`Source::capture`]: a capture is known by its first bytes, and read as [`Format::Hep`].
    ///
    /// `csv:FILE` takes the settings of [`csv::Settings`] from a TOML file. A dialect by its name has times in UTC where
    /// they carry no zone; `csv` without settings is `asterisk`.
    pub fn of_file(path: &Path, named: Option<&str>) -> Result<Format, SourceError> {
        match named {
            Some("ndjson" | "jsonl") => Ok(Format::Ndjson),
            Some("hep" | "pcap") => Ok(Format::Hep),
            Some("sip") => Ok(Format::Sip),
            Some("json-cdr") => Ok(Format::JsonCdr),
            Some("csv") => records(DialectName::Asterisk),
            Some("broadworks" | "csv:broadworks") if has_ending(path, ".xml") => records(DialectName::BroadworksXml),
            Some(name) if let Some(dialect) = known_dialect(name) => records(dialect),
            Some(name) => match name.strip_prefix("csv:") {
                Some(settings) => csv_settings(Path::new(settings)),
                None => Err(SourceError::NoSuchFormat { name: name.into() }),
            },
            None => {
                let name = path.file_name().map(|n| n.to_string_lossy().to_lowercase()).unwrap_or_default();
                let name = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")).unwrap_or(&name);
                // As FreeSWITCH names them.
                if name.ends_with(".cdr.json") {
                    return Ok(Format::JsonCdr);
                }
                let is_lines = [".ndjson", ".jsonl", ".json"].iter().any(|end| name.ends_with(end));
                // A pipe has no name; NDJSON is our own format.
                if is_lines || name == "-" {
                    return Ok(Format::Ndjson);
                }
                if name.ends_with(".csv") {
                    return records(DialectName::Asterisk);
                }
                if name.ends_with(".sip") {
                    return Ok(Format::Sip);
                }
                let is_hep = [".pcap", ".pcapng", ".cap", ".hep"].iter().any(|end| name.ends_with(end));
                if is_hep || Source::is_capture(path)? {
                    return Ok(Format::Hep);
                }
                Err(SourceError::UnknownFormat { path: path.into() })
            }
        }
    }
}

/// The dialects that need no settings, as they are told in errors.
const DIALECTS: &str = "asterisk, freeswitch, cucm, acme, broadworks, kamailio-acc";

/// `freeswitch` or `csv:freeswitch`.
fn known_dialect(name: &str) -> Option<DialectName> {
    DialectName::parse(name.strip_prefix("csv:").unwrap_or(name)).filter(|dialect| *dialect != DialectName::Custom)
}

fn has_ending(path: &Path, ending: &str) -> bool {
    let name = path.file_name().map(|n| n.to_string_lossy().to_lowercase()).unwrap_or_default();
    let name = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")).unwrap_or(&name);
    name.ends_with(ending)
}

fn records(name: DialectName) -> Result<Format, SourceError> {
    let settings = csv::Settings { dialect: name, time_zone: Some("UTC".into()), ..csv::Settings::default() };
    dialect(Path::new(name.as_str()), &settings)
}

fn csv_settings(path: &Path) -> Result<Format, SourceError> {
    let text = std::fs::read_to_string(path).map_err(|source| SourceError::Open { path: path.into(), source })?;
    let settings = toml::from_str(&text)
        .map_err(|e| SourceError::Settings { path: path.into(), problem: e.to_string().trim_end().into() })?;
    dialect(path, &settings)
}

fn dialect(path: &Path, settings: &csv::Settings) -> Result<Format, SourceError> {
    let dialect = Dialect::new(settings)
        .map_err(|problems| SourceError::Settings { path: path.into(), problem: problems.join("; ") })?;
    Ok(Format::Csv(Arc::new(dialect)))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn read_all(name: &str, bytes: &[u8]) -> Result<Vec<u8>, SourceError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let mut source = Source::open(&path, Style::Lines)?;
        let mut all = Vec::new();
        while let Some(block) = source.block()? {
            assert!(block.len() <= 2 * BLOCK_BYTES);
            all.extend_from_slice(&block);
            source.recycle(block);
        }
        Ok(all)
    }

    fn lines() -> Vec<u8> {
        (0..100_000).flat_map(|i| format!("{{\"n\":{i}}}\n").into_bytes()).collect()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn plain_gzip_and_zstd_give_the_same_bytes_whatever_their_name() {
        let lines = lines();
        let (one, two) = lines.split_at(500_000);
        let members = [gzip(one), gzip(two)].concat();
        let zst = zstd::encode_all(lines.as_slice(), 1).unwrap();
        for bytes in [&lines, &members, &zst] {
            assert!(read_all("calls.ndjson", bytes).unwrap() == lines);
        }
        assert_eq!(read_all("empty", b"").unwrap(), b"");
        assert_eq!(read_all("short", b"{}").unwrap(), b"{}");
    }

    #[test]
    fn a_truncated_archive_is_an_error_and_not_an_end() {
        let whole = gzip(&lines());
        let error = read_all("calls.gz", &whole[..whole.len() / 2]).unwrap_err();
        assert!(error.to_string().starts_with("cannot read `"), "{error}");
    }

    #[test]
    fn a_capture_is_known_by_its_first_bytes_compressed_or_not_and_gives_hep() {
        let (capture, hep) = crate::ingest::capture::sample();
        let zst = zstd::encode_all(capture.as_slice(), 1).unwrap();
        for bytes in [&capture, &gzip(&capture), &zst] {
            assert!(read_all("calls.ndjson", bytes).unwrap() == hep);
        }
        assert_eq!(read_all("cut", &capture[..4]).unwrap(), b"");
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("x"), &capture).unwrap();
        assert!(matches!(Format::of_file(&folder.path().join("x"), None), Ok(Format::Hep)));
        let mut source = Source::open(&folder.path().join("x"), Style::Lines).unwrap();
        while source.block().unwrap().is_some() {}
        assert_eq!(source.capture().map(|counts| counts.sip), Some(1));
    }

    #[test]
    fn formats_are_known_by_name_or_by_word() {
        let of = |path: &str, named| Format::of_file(Path::new(path), named);
        for path in ["a.ndjson", "a.jsonl.gz", "a.JSON.zst", "-"] {
            assert!(matches!(of(path, None), Ok(Format::Ndjson)), "{path}");
        }
        assert!(matches!(of("a_3da8bf84-c133.cdr.json.gz", None), Ok(Format::JsonCdr)));
        assert!(matches!(of("calls.json", Some("json-cdr")), Ok(Format::JsonCdr)));
        assert!(matches!(of("Master.csv", None), Ok(Format::Csv(_))));
        assert!(matches!(of("calls", Some("asterisk")), Ok(Format::Csv(_))));
        assert!(matches!(of("calls.csv", Some("csv:tests/data/csv/handset.toml")), Ok(Format::Csv(_))));
        for path in ["a.pcap", "a.pcapng.gz", "a.CAP", "a.hep"] {
            assert!(matches!(of(path, None), Ok(Format::Hep)), "{path}");
        }
        assert!(matches!(of("a.sip.zst", None), Ok(Format::Sip)));
        assert!(matches!(of("a.ndjson", Some("pcap")), Ok(Format::Hep)));
        for dialect in DIALECTS.split(", ") {
            assert!(matches!(of("calls", Some(dialect)), Ok(Format::Csv(_))), "{dialect}");
            let as_csv = Format::of_file(Path::new("calls"), Some(&format!("csv:{dialect}")));
            assert!(matches!(as_csv, Ok(Format::Csv(_))), "{dialect}");
        }
        let style = |path| of(path, Some("broadworks")).unwrap().style();
        assert!(matches!(style("calls.XML.gz"), Style::Elements(_)));
        assert!(matches!(style("calls.csv"), Style::Quoted(b',')));
        for (path, named) in
            [("Cargo.toml", None), ("Master.txt", None), ("a.ndjson", Some("xml")), ("a", Some("csv:no/such.toml"))]
        {
            assert!(of(path, named).is_err(), "{path}");
        }
    }
}
