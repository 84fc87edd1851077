//! Violations as JSON lines, on standard output or in a rotated file.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use tokio::task::{JoinHandle, spawn_blocking};

use super::http::Backoff;
use super::queue::Queue;
use crate::metrics::ChannelMetrics;
use crate::storage::RotatedFile;

/// Lines waiting for a slow disk or reader. Past it the oldest go, counted: see [`Queue`].
const WAITING_BYTES_MAX: usize = 64 << 20;

/// Where violations are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Output {
    #[default]
    Stdout,
    File {
        path: PathBuf,
        rotate_bytes: u64,
        n_kept: u32,
    },
    Off,
}

impl Output {
    /// Name of the channel in the metrics.
    pub fn channel(&self) -> Option<&'static str> {
        match self {
            Output::Stdout => Some("stdout"),
            Output::File { .. } => Some("file"),
            Output::Off => None,
        }
    }
}

#[derive(Debug)]
pub(super) struct Lines {
    pub(super) queue: Arc<Queue<Vec<u8>>>,
}

/// What lines are written to.
#[derive(Debug)]
enum Sink {
    Stdout,
    File(RotatedFile),
}

impl Lines {
    /// None where the settings say `off`.
    pub(super) fn start(output: &Output, metrics: Arc<ChannelMetrics>) -> io::Result<Option<(Lines, JoinHandle<()>)>> {
        let sink = match output {
            Output::Off => return Ok(None),
            Output::Stdout => Sink::Stdout,
            Output::File { path, rotate_bytes, n_kept } => Sink::File(RotatedFile::open(path, *rotate_bytes, *n_kept)?),
        };
        let queue = Arc::new(Queue::new(WAITING_BYTES_MAX, Arc::clone(&metrics)));
        let worker = tokio::spawn(write_lines(Arc::clone(&queue), sink, metrics));
        Ok(Some((Lines { queue }, worker)))
    }

    /// A piece is the lines of one batch.
    pub(super) fn push(&self, piece: Vec<u8>, n_lines: u64) {
        let weight = piece.len();
        self.queue.push(piece, weight, n_lines);
    }
}

async fn write_lines(queue: Arc<Queue<Vec<u8>>>, mut sink: Sink, metrics: Arc<ChannelMetrics>) {
    let mut backoff = Backoff::default();
    loop {
        let taken = queue.take(256).await;
        if taken.is_empty() {
            return;
        }
        let mut pieces: Vec<Vec<u8>> = taken.into_iter().map(|e| e.item).collect();
        while !pieces.is_empty() {
            // Writing may block for as long as a disk or a reader likes, so not on the runtime's own threads.
            let written = spawn_blocking(move || {
                let (n_lines, result) = sink.write(&mut pieces);
                (sink, pieces, n_lines, result)
            });
            let Ok((back, rest, n_lines, result)) = written.await else { return };
            (sink, pieces) = (back, rest);
            metrics.delivered.increment(n_lines);
            match result {
                Ok(()) => backoff.reset(),
                // Nobody reads standard output any more, and nobody will.
                Err(e) if e.kind() == io::ErrorKind::BrokenPipe => {
                    metrics.failed.increment(pieces.iter().map(|p| count_lines(p)).sum());
                    pieces.clear();
                }
                Err(e) => {
                    let wait = backoff.next();
                    metrics.retried.increment(1);
                    if backoff.worth_a_line() {
                        tracing::error!(error = %e, "cannot write violations; trying again");
                    }
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }
}

fn count_lines(piece: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', piece).count() as u64
}

impl Sink {
    /// Takes what it has written off `pieces`; says how many lines that were.
    fn write(&mut self, pieces: &mut Vec<Vec<u8>>) -> (u64, io::Result<()>) {
        let mut n_lines = 0;
        let mut n_written = 0;
        let mut result = Ok(());
        for piece in pieces.iter() {
            result = match self {
                Sink::Stdout => io::stdout().lock().write_all(piece),
                Sink::File(file) => file.append(piece),
            };
            if result.is_err() {
                break;
            }
            n_lines += count_lines(piece);
            n_written += 1;
        }
        pieces.drain(..n_written);
        if result.is_ok() && matches!(self, Sink::Stdout) {
            result = io::stdout().lock().flush();
        }
        (n_lines, result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Labels, Metrics};

    #[tokio::test]
    async fn what_was_pushed_before_the_close_is_in_the_file() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("violations.jsonl");
        let metrics = Metrics::new(&Labels { channels: vec!["file".into()], ..Labels::default() });
        let output = Output::File { path: path.clone(), rotate_bytes: 1 << 20, n_kept: 1 };
        let (lines, worker) = Lines::start(&output, metrics.channel("file")).expect("opens").expect("not off");
        lines.push(b"{\"a\":1}\n{\"a\":2}\n".to_vec(), 2);
        lines.push(b"{\"a\":3}\n".to_vec(), 1);
        lines.queue.close();
        worker.await.expect("ends by itself");
        assert_eq!(std::fs::read_to_string(path).expect("reads"), "{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n");
        assert!(metrics.render().contains("ringfence_deliveries_total{channel=\"file\",outcome=\"delivered\"} 3"));
    }
}
