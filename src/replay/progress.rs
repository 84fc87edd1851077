//! How far a replay has come, on a line of its own that is written over: for people at a terminal.

use std::io::{IsTerminal, Write, stderr, stdout};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::clock::Clock;

/// Often enough to be seen moving.
const EVERY: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub(super) struct Progress {
    began: Instant,
    shown: Duration,
    read: u64,
    /// Bytes of all files; `None` where they do not tell, as compressed ones and pipes.
    total: Option<u64>,
}

impl Progress {
    /// `None` where nobody looks, or where results scroll by on the same terminal meanwhile.
    pub(super) fn new(paths: &[PathBuf], has_lines: bool) -> Option<Progress> {
        if !stderr().is_terminal() || has_lines && stdout().is_terminal() {
            return None;
        }
        let size = |path: &PathBuf| {
            let is_plain = path.extension().is_none_or(|ending| ending != "gz" && ending != "zst");
            path.metadata().ok().filter(|file| file.is_file() && is_plain).map(|file| file.len())
        };
        let total = paths.iter().map(size).sum::<Option<u64>>().filter(|total| *total > 0);
        Some(Progress { began: Clock.monotonic(), shown: Duration::ZERO, read: 0, total })
    }

    /// So many bytes more.
    pub(super) fn read(&mut self, bytes: usize) {
        self.read += bytes as u64;
        let past = self.began.elapsed();
        if past - self.shown < EVERY {
            return;
        }
        self.shown = past;
        drop(write!(stderr(), "\r{}\x1b[K", self.line(past)));
    }

    fn line(&self, past: Duration) -> String {
        let mib = self.read >> 20;
        match self.total {
            Some(total) => {
                let done = (self.read as f64 / total as f64).min(1.0);
                let left = past.as_secs_f64() * (1.0 - done) / done.max(1e-9);
                let bar = "#".repeat((done * 30.0) as usize);
                format!("[{bar:<30}] {:3.0} %, {mib} MiB, {left:.0} s to go", (done * 100.0).floor())
            }
            None => format!("{mib} MiB read in {:.0} s", past.as_secs_f64()),
        }
    }
}

impl Drop for Progress {
    /// Leaves the line as if nothing had been there.
    fn drop(&mut self) {
        if self.shown > Duration::ZERO {
            drop(write!(stderr(), "\r\x1b[K"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_much_is_done_and_how_long_it_takes() {
        let mut progress =
            Progress { began: Clock.monotonic(), shown: Duration::ZERO, read: 30 << 20, total: Some(120 << 20) };
        let ten = Duration::from_secs(10);
        assert_eq!(progress.line(ten), "[#######                       ]  25 %, 30 MiB, 30 s to go");
        progress.total = None;
        assert_eq!(progress.line(ten), "30 MiB read in 10 s");
    }
}
