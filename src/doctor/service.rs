//! What the running service says of itself, by its metrics.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::{Area, Report};
use crate::config::Config;
use crate::limits::{DOCTOR_METRICS_BYTES_MAX, JOURNAL_BACKLOG_BYTES};

const TIMEOUT: Duration = Duration::from_secs(5);
/// An idle service takes a snapshot once an hour.
const SNAPSHOT_AGE_S_MAX: f64 = 2.0 * 3600.0 + 600.0;
const LAG_S_MAX: f64 = 300.0;

pub(super) fn look(config: &Config, report: &mut Report) {
    if !report.is_running() {
        return;
    }
    let Some(address) = config.metrics.filter(|address| address.port() != 0) else { return };
    match fetch(address) {
        Err(e) => report.warning(
            Area::Service,
            format!("the data folder is in use, but {address}/metrics does not answer: {e}"),
            "is it the service of these settings? It may be starting: then look again; else look at its log",
        ),
        Ok(text) => {
            judge(&samples(&text), report);
            report.ok(Area::Service, format!("answers at {address}"));
        }
    }
}

fn fetch(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(DOCTOR_METRICS_BYTES_MAX).read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.lines().next().unwrap_or_default().to_owned();
    match status.contains(" 200 ") {
        true => Ok(answer),
        false => Err(std::io::Error::other(format!("it answers `{status}`"))),
    }
}

/// Name, with its labels, and value.
fn samples(text: &str) -> HashMap<&str, f64> {
    let sample = |line: &'_ str| -> Option<(usize, f64)> {
        let (name, value) = line.rsplit_once(' ')?;
        Some((name.len(), value.parse().ok()?))
    };
    let lines = text.lines().filter(|line| line.starts_with("ringfence_"));
    lines.filter_map(|line| sample(line).and_then(|(n, value)| Some((line.get(..n)?, value)))).collect()
}

fn judge(samples: &HashMap<&str, f64>, report: &mut Report) {
    let value = |name: &str| samples.get(name).copied().unwrap_or(0.0);
    if value("ringfence_journal_stuck") > 0.0 {
        let mend = "look for the reason in the log, mostly a full disk: make room, and it goes on by itself";
        report.error(
            Area::Service,
            "the journal cannot be written: nothing is acknowledged, calls are still judged",
            mend,
        );
    }
    let outside = value("ringfence_journal_outside_total");
    if outside > 0.0 {
        let what = format!("{outside} batches were judged since the start that the journal had no room for");
        report.warning(
            Area::Service,
            what,
            "gateways with acknowledgements send them again; give the disk room and speed",
        );
    }
    let backlog = value("ringfence_journal_backlog_bytes");
    if backlog > JOURNAL_BACKLOG_BYTES as f64 {
        let what = format!("{backlog} bytes wait for the disk: gateways are held back");
        report.warning(
            Area::Service,
            what,
            "the disk is slower than the calls come: see `ringfence_journal_fsync_seconds`",
        );
    }
    let age = value("ringfence_snapshot_age_seconds");
    if age > SNAPSHOT_AGE_S_MAX {
        let what = format!("no snapshot for {:.0} min", age / 60.0);
        report.error(
            Area::Service,
            what,
            "look for `no snapshot` in the log; a restart takes longer with every minute",
        );
    }
    for (name, value) in samples.iter().filter(|(_, value)| **value > 0.0) {
        if name.starts_with("ringfence_archive_failures_total") {
            let what = format!("the archive could not be written {value} times since the start");
            report.warning(Area::Service, what, "look for the reason in the log; the journal grows until it can");
        } else if name.starts_with("ringfence_event_lag_seconds") && *value > LAG_S_MAX {
            let what = format!("{name}: events come {value:.0} s late");
            report.warning(
                Area::Service,
                what,
                "compare the gateway's clock with this one; and is it caught up with its files?",
            );
        } else if name.starts_with("ringfence_deliveries_total") && name.contains("dropped") {
            let what = format!("{name}: {value} messages were given up");
            report.warning(Area::Service, what, "look whether that sink can be reached");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_that_is_stuck_and_old_snapshots_are_told() {
        let text = "# HELP x\nringfence_journal_stuck 1\nringfence_snapshot_age_seconds 9000\n\
                    ringfence_deliveries_total{channel=\"webhook:noc\",outcome=\"dropped\"} 3\nother 7\n";
        let mut report = Report::default();
        judge(&samples(text), &mut report);
        let told: Vec<&str> = report.findings.iter().map(|finding| finding.what.as_str()).collect();
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told[0].starts_with("the journal cannot be written") && told[1] == "no snapshot for 150 min");
        let mut well = Report::default();
        judge(&samples("ringfence_journal_stuck 0\nringfence_event_lag_seconds{feed=\"a\"} 2\n"), &mut well);
        assert_eq!(well.findings, []);
    }
}
