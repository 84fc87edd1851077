//! The machine: its clock, and what it allows a process.

use std::path::Path;

use rustix::process::{Resource, getrlimit};

use super::folder::seconds_ago;
use super::{Area, Report};
use crate::config::Config;
use crate::limits::UDP_BUFFER_BYTES;

/// Files beside the connections: the journal's, the store's, lists, sinks.
const FILES_BESIDE: u64 = 256;
const RMEM_MAX: &str = "/proc/sys/net/core/rmem_max";
/// systemd's keeper of the clock says here that it has set it.
const TIMESYNC: &str = "/run/systemd/timesync";

pub(super) fn look(config: &Config, report: &mut Report) {
    look_at_clock(config, report);
    look_at_limits(config, report);
}

fn look_at_clock(config: &Config, report: &mut Report) {
    let is_kept = Path::new(TIMESYNC).is_dir();
    if is_kept && !Path::new(TIMESYNC).join("synchronized").exists() {
        let mend = "let it reach its time servers: `timedatectl timesync-status`";
        report.warning(Area::Clock, "systemd-timesyncd runs but has not set the clock", mend);
    }
    let newest = config.data.as_deref().and_then(|data| seconds_ago(&data.join("journal")));
    if let Some(ago) = newest.filter(|ago| *ago < -60.0) {
        let what = format!("the journal's folder was last written {:.0} s from now, by this machine's clock", -ago);
        report.error(Area::Clock, what, "set the clock right: it went back");
    }
    report.ok(Area::Clock, "nothing here is of a time to come");
}

fn look_at_limits(config: &Config, report: &mut Report) {
    let connections: u64 = config.feeds.iter().map(|feed| u64::from(feed.listener.connections_max)).sum();
    let needed = connections + FILES_BESIDE;
    // The service raises its own limit as far as it may; as of this user, which is that of the service or should be.
    if let Some(files) = getrlimit(Resource::Nofile).maximum.filter(|files| *files < needed) {
        let what =
            format!("{files} open files are allowed, {needed} are needed if every feed has its `connections_max`");
        let mend = format!("set LimitNOFILE={needed} in the systemd unit, or lower `connections_max`");
        report.warning(Area::Limits, what, mend);
    }
    let has_datagrams = config.feeds.iter().any(|feed| feed.over_udp);
    let rmem_max = std::fs::read_to_string(RMEM_MAX).ok().and_then(|text| text.trim().parse::<u64>().ok());
    if let Some(rmem_max) = rmem_max.filter(|bytes| has_datagrams && *bytes < UDP_BUFFER_BYTES as u64) {
        let what =
            format!("the kernel holds {rmem_max} bytes of datagrams at the most, {UDP_BUFFER_BYTES} are asked for");
        let mend = format!(
            "sysctl -w net.core.rmem_max={UDP_BUFFER_BYTES}, or send HEP over TCP: datagrams are lost in bursts"
        );
        report.warning(Area::Limits, what, mend);
    }
    report.ok(Area::Limits, "open files and buffers are enough");
}
