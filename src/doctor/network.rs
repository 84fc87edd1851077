//! Ports that the service will want, and sinks that it will tell: reached, greeted, and told nothing.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use super::certificate::not_after;
use super::settings::tell_expiry;
use super::{Area, Report};
use crate::config::Config;
use crate::notify::{Endpoint, Output, reach};

pub(super) fn look(config: &Config, report: &mut Report) {
    if !report.is_running() {
        look_at_listeners(config, report);
    }
    look_at_sinks(config, report);
}

fn look_at_listeners(config: &Config, report: &mut Report) {
    let mut wanted: Vec<(String, SocketAddr, bool)> = Vec::new();
    for feed in &config.feeds {
        let name = format!("feed `{}`", feed.name);
        if feed.over_tcp {
            wanted.push((name.clone(), feed.listener.listen, true));
        }
        if feed.over_udp {
            wanted.push((name, feed.listener.listen, false));
        }
    }
    wanted.extend(config.http.map(|address| ("http".to_owned(), address, true)));
    let metrics = config.metrics.filter(|address| config.http != Some(*address));
    wanted.extend(metrics.map(|address| ("metrics".to_owned(), address, true)));
    let n = wanted.len();
    for (name, address, over_tcp) in wanted {
        let bound = match over_tcp {
            true => TcpListener::bind(address).map(drop),
            false => UdpSocket::bind(address).map(drop),
        };
        let Err(e) = bound else { continue };
        let protocol = if over_tcp { "TCP" } else { "UDP" };
        let mend = match e.kind() {
            ErrorKind::AddrInUse => format!(
                "`ss -lnp 'sport = {}'` tells which process has it; stop that, or listen elsewhere",
                address.port()
            ),
            ErrorKind::AddrNotAvailable => "this machine has no such address: `ip addr` tells those it has".to_owned(),
            ErrorKind::PermissionDenied => "ports below 1024 need CAP_NET_BIND_SERVICE, or listen elsewhere".to_owned(),
            _ => "listen elsewhere".to_owned(),
        };
        report.error(Area::Listeners, format!("{name}: {address} ({protocol}) cannot be had: {e}"), mend);
    }
    report.ok(Area::Listeners, format!("{n} addresses are free"));
}

fn look_at_sinks(config: &Config, report: &mut Report) {
    let mut endpoints: Vec<(String, &Endpoint)> =
        config.notify.alertmanagers.iter().map(|endpoint| ("alertmanager".to_owned(), endpoint)).collect();
    let webhooks = config.notify.webhooks.iter();
    endpoints.extend(webhooks.map(|(name, webhook)| (format!("webhook `{name}`"), &webhook.endpoint)));
    let n = endpoints.len();
    if let Output::File { path, .. } = &config.notify.output {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(std::path::Path::new("."));
        if folder.exists() && rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).is_err() {
            let what = format!("output: {} may not be written by this user", folder.display());
            report.error(Area::Sinks, what, "let the service's user write there, or run the doctor as that user");
        }
    }
    if n == 0 {
        return;
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return report.warning(Area::Sinks, format!("cannot be looked at: {e}"), ""),
    };
    // All at once: each has its own time-out.
    let reached = runtime.block_on(async {
        let tries: Vec<_> = endpoints.iter().map(|(_, endpoint)| tokio::spawn(reach((*endpoint).clone()))).collect();
        let mut reached = Vec::new();
        for one in tries {
            reached.push(one.await.unwrap_or_else(|e| Err(e.to_string())));
        }
        reached
    });
    for ((name, endpoint), reached) in endpoints.iter().zip(reached) {
        let address = format!("{name}: {}", endpoint.url.authority().map_or("", |authority| authority.as_str()));
        match reached {
            Err(e) => {
                let mend = "what is found is kept for a while and then given up: see to it, or to the way there";
                report.error(Area::Sinks, format!("{address}: {e}"), mend);
            }
            Ok(certificate) => tell_expiry(&address, certificate.and_then(|der| Some(not_after(&der)?.0)), report),
        }
    }
    report.ok(Area::Sinks, format!("{n} reached"));
}
