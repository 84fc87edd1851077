//! The files to send, as blocks of whole lines or of HEP packets, shared out among the connections in turn.

use std::collections::VecDeque;
use std::io::Read;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard};

use anyhow::{Context, Result, bail};

use super::InputFormat;
use crate::ingest::hep::{self, Framed};
use crate::ingest::{Source, Style};
use crate::limits::BLOCK_BYTES;

/// A line longer than this is no line: sixteen times what any server takes.
const LINE_BYTES_MAX: usize = 1 << 20;

/// The input of all connections. Block `n` goes to connection `n` modulo their number, whoever is faster, so that a
/// second run deals the same events to the same gateways.
pub(super) struct Input {
    state: Mutex<State>,
    turn: Condvar,
    n_connections: usize,
}

struct State {
    files: VecDeque<PathBuf>,
    open: Option<(PathBuf, Box<dyn Read + Send>)>,
    /// Reads captures, and files of HEP, instead.
    source: Option<(PathBuf, Source)>,
    format: InputFormat,
    /// The half line that ended the last block.
    tail: Vec<u8>,
    blocks: usize,
    ended: bool,
}

impl Input {
    pub(super) fn new(files: &[PathBuf], n_connections: usize, format: InputFormat) -> Input {
        let files = files.iter().cloned().collect();
        let state = State { files, open: None, source: None, format, tail: Vec::new(), blocks: 0, ended: false };
        Input { state: Mutex::new(state), turn: Condvar::new(), n_connections: n_connections.max(1) }
    }

    /// Fills `block` with this connection's next lines, or packets; false at the end. Waits for the connection's turn.
    pub(super) fn next(&self, connection: usize, block: &mut Vec<u8>) -> Result<bool> {
        let mut state = self.lock();
        while !state.ended && state.blocks % self.n_connections != connection {
            state = self.turn.wait(state).unwrap_or_else(|e| e.into_inner());
        }
        let read = match state.format {
            _ if state.ended => Ok(false),
            InputFormat::Hep => state.fill_packets(block),
            InputFormat::Ndjson | InputFormat::Rows => state.fill(block),
        };
        state.blocks += 1;
        state.ended |= !matches!(read, Ok(true));
        drop(state);
        self.turn.notify_all();
        read
    }

    /// Ends the input for all: a connection that fails must not leave the others waiting for its turn.
    pub(super) fn stop(&self) {
        self.lock().ended = true;
        self.turn.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl State {
    /// The next packets of HEP. Says of each capture what it held.
    fn fill_packets(&mut self, block: &mut Vec<u8>) -> Result<bool> {
        loop {
            let Some((path, source)) = &mut self.source else {
                let Some(path) = self.files.pop_front() else { return Ok(false) };
                let source = Source::open(&path, Style::Hep)?;
                self.source = Some((path, source));
                continue;
            };
            source.recycle(std::mem::take(block));
            if let Some(packets) = source.block()? {
                *block = packets;
                return Ok(true);
            }
            if let Some(held) = source.capture() {
                eprintln!("{}: {held}", path.display());
            } else if source.is_broken() {
                bail!("`{}`: neither a capture nor packets of HEP, up to the last byte", path.display());
            }
            self.source = None;
        }
    }

    fn fill(&mut self, block: &mut Vec<u8>) -> Result<bool> {
        block.clear();
        block.append(&mut self.tail);
        loop {
            if self.open.is_none() {
                let Some(path) = self.files.pop_front() else { return Ok(!block.is_empty()) };
                let reader = open(&path)?;
                self.open = Some((path, reader));
            }
            let Some((path, reader)) = &mut self.open else { continue };
            let had = block.len();
            block.resize(had.max(BLOCK_BYTES - BLOCK_BYTES / 8) + BLOCK_BYTES / 8, 0);
            let space = block.get_mut(had..).unwrap_or(&mut []);
            let read = read_some(reader, space).with_context(|| format!("cannot read `{}`", path.display()));
            let n = match read {
                Ok(n) => n,
                Err(e) => {
                    block.truncate(had);
                    return Err(e);
                }
            };
            block.truncate(had + n);
            if n == 0 {
                self.open = None;
                // The last line of a file ends with it, newline or not.
                if block.last().is_some_and(|b| *b != b'\n') {
                    block.push(b'\n');
                }
                if block.is_empty() { continue } else { return Ok(true) }
            }
            match memchr::memrchr(b'\n', block) {
                // A pipe gives what it has, at once: somebody may be watching.
                Some(last) if block.len() >= BLOCK_BYTES / 2 || path.as_os_str() == "-" => {
                    self.tail.extend_from_slice(block.get(last + 1..).unwrap_or(&[]));
                    block.truncate(last + 1);
                    return Ok(true);
                }
                None if block.len() > LINE_BYTES_MAX => {
                    bail!("`{}`: a line is longer than {LINE_BYTES_MAX} bytes", path.display());
                }
                _ => {}
            }
        }
    }
}

/// Bytes of the first packet of a block of whole ones.
pub(super) fn first_packet(block: &[u8]) -> usize {
    match hep::first_packet(block) {
        Framed::Whole(length) => length,
        Framed::Incomplete | Framed::Broken => block.len(),
    }
}

pub(super) fn count_packets(mut block: &[u8]) -> u64 {
    let mut n = 0;
    while !block.is_empty() {
        block = block.get(first_packet(block)..).unwrap_or(&[]);
        n += 1;
    }
    n
}

fn read_some(reader: &mut dyn Read, space: &mut [u8]) -> std::io::Result<usize> {
    loop {
        match reader.read(space) {
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

/// Opens a file, or standard input for `-`; gzip and zstd are known by their first bytes, not by name.
fn open(path: &PathBuf) -> Result<Box<dyn Read + Send>> {
    let mut file: Box<dyn Read + Send> = if path.as_os_str() == "-" {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(path).with_context(|| format!("cannot open `{}`", path.display()))?)
    };
    let mut magic = [0u8; 4];
    let mut had = 0;
    while had < magic.len() {
        let space = magic.get_mut(had..).unwrap_or(&mut []);
        match read_some(&mut file, space).with_context(|| format!("cannot read `{}`", path.display()))? {
            0 => break,
            n => had += n,
        }
    }
    let whole = std::io::Cursor::new(magic.get(..had).unwrap_or(&[]).to_vec()).chain(file);
    Ok(match magic {
        [0x1f, 0x8b, ..] => Box::new(flate2::read::MultiGzDecoder::new(whole)),
        [0x28, 0xb5, 0x2f, 0xfd] => {
            Box::new(zstd::Decoder::new(whole).with_context(|| format!("cannot read `{}`", path.display()))?)
        }
        _ => Box::new(whole),
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn blocks(input: &Input, connection: usize) -> Vec<u8> {
        let (mut all, mut block) = (Vec::new(), Vec::new());
        while input.next(connection, &mut block).expect("it reads") {
            assert_eq!(block.last(), Some(&b'\n'));
            all.extend_from_slice(&block);
        }
        all
    }

    fn lines(n: usize) -> Vec<u8> {
        (0..n).flat_map(|i| format!("{{\"n\":{i}}}\n").into_bytes()).collect()
    }

    #[test]
    fn plain_gzip_and_zstd_files_come_out_alike_and_an_open_last_line_is_closed() {
        let folder = tempfile::tempdir().expect("a folder");
        let text = lines(100_000);
        let text = text.strip_suffix(b"\n").expect("it ends so");
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(text).expect("memory");
        let packed = [text.to_vec(), gz.finish().expect("memory"), zstd::encode_all(text, 1).expect("memory")];
        let files: Vec<PathBuf> = packed
            .iter()
            .enumerate()
            .map(|(i, bytes)| {
                let path = folder.path().join(i.to_string());
                std::fs::write(&path, bytes).expect("it writes");
                path
            })
            .collect();
        assert!(blocks(&Input::new(&files, 1, InputFormat::Ndjson), 0) == lines(100_000).repeat(3));
    }

    #[test]
    fn two_connections_share_every_line_once_and_always_alike() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("f");
        std::fs::write(&path, lines(200_000)).expect("it writes");
        let deal = || {
            let input = Input::new(std::slice::from_ref(&path), 2, InputFormat::Ndjson);
            std::thread::scope(|s| {
                let one = s.spawn(|| blocks(&input, 1));
                (blocks(&input, 0), one.join().expect("it ends"))
            })
        };
        let (zero, one) = deal();
        assert!(zero.len() + one.len() == lines(200_000).len() && !one.is_empty());
        assert!(deal() == (zero, one));
    }

    #[test]
    fn a_missing_file_is_named() {
        let said = |format| {
            let input = Input::new(&["/no/such".into()], 1, format);
            format!("{:#}", input.next(0, &mut Vec::new()).expect_err("it is missing"))
        };
        assert!(said(InputFormat::Ndjson).contains("cannot open `/no/such`"));
        assert!(said(InputFormat::Hep).contains("cannot open `/no/such`"));
    }
}
