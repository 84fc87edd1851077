//! What the process itself uses, from `/proc`, under the names every Prometheus client gives it.

use std::fmt::Write;
use std::fs;

use crate::clock::Clock;

/// Unit of the times in `/proc/self/stat`: USER_HZ, 100 on every Linux ABI we build for.
const TICKS_PER_S: f64 = 100.0;

/// When the process started, read once.
#[derive(Debug)]
pub(super) struct Started {
    at_s: f64,
}

impl Started {
    pub(super) fn read() -> Started {
        let boot = fs::read_to_string("/proc/stat").ok().and_then(|text| {
            text.lines().find_map(|l| l.strip_prefix("btime ")).and_then(|s| s.trim().parse::<f64>().ok())
        });
        let since_boot = stat_field(19).map(|ticks| ticks / TICKS_PER_S);
        let at_s = match (boot, since_boot) {
            (Some(boot), Some(since)) => boot + since,
            _ => Clock.now().0 as f64 / 1000.0,
        };
        Started { at_s }
    }

    /// Leaves out what this system does not tell.
    pub(super) fn render(&self, out: &mut String) {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let of_status = |key: &str| {
            let line = status.lines().find_map(|l| l.strip_prefix(key))?;
            line.trim_start_matches(':').split_whitespace().next()?.parse::<f64>().ok()
        };
        let cpu = stat_field(11).zip(stat_field(12)).map(|(user, system)| (user + system) / TICKS_PER_S);
        let open = fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count() as f64);
        let rows = [
            ("process_cpu_seconds_total", "counter", "User and system CPU time.", cpu),
            ("process_resident_memory_bytes", "gauge", "Resident memory.", of_status("VmRSS").map(|kb| kb * 1024.0)),
            ("process_virtual_memory_bytes", "gauge", "Virtual memory.", of_status("VmSize").map(|kb| kb * 1024.0)),
            ("process_threads", "gauge", "Threads.", of_status("Threads")),
            ("process_open_fds", "gauge", "Open file descriptors.", open),
            ("process_max_fds", "gauge", "Limit of open file descriptors.", max_fds()),
            ("process_start_time_seconds", "gauge", "Start, in seconds since 1970.", Some(self.at_s)),
        ];
        for (name, kind, help, value) in rows {
            if let Some(value) = value {
                writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n").unwrap_or_default();
            }
        }
    }
}

/// A field of `/proc/self/stat`, counted from the state, which follows the parenthesised name.
fn stat_field(index: usize) -> Option<f64> {
    let text = fs::read_to_string("/proc/self/stat").ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    rest.split_whitespace().nth(index)?.parse().ok()
}

fn max_fds() -> Option<f64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find(|l| l.starts_with("Max open files"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}
