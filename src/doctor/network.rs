//! Ports that the service will want, and sinks that it will tell: reached, greeted, and told nothing.

use std::future::Future;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use tokio::task::JoinHandle;

use super::certificate::not_after;
use super::settings::tell_expiry;
use super::{Area, Report};
use crate::config::Config;
use crate::delivery::mail::Mail;
use crate::delivery::syslog::Syslog;
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
    if let Output::File { path, .. } = &config.notify.output {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(std::path::Path::new("."));
        if folder.exists() && rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).is_err() {
            let what = format!("output: {} may not be written by this user", folder.display());
            report.error(Area::Sinks, what, "let the service's user write there, or run the doctor as that user");
        }
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return report.warning(Area::Sinks, format!("cannot be looked at: {e}"), ""),
    };
    let found = runtime.block_on(async {
        let mut found = Vec::new();
        for Sink { name, mend, reached } in tried(config) {
            found.push((name, mend, reached.await.unwrap_or_else(|e| Err(e.to_string()))));
        }
        found
    });
    let n = found.iter().filter(|(_, _, reached)| reached.is_ok()).count();
    for (name, mend, reached) in found {
        match reached {
            Err(e) => report.error(Area::Sinks, format!("{name}: {e}"), mend),
            Ok(certificate) => tell_expiry(&name, certificate.and_then(|der| Some(not_after(&der)?.0)), report),
        }
    }
    if n > 0 {
        report.ok(Area::Sinks, format!("{n} reached"));
    }
}

/// The certificate that was shown, in DER, where one was.
type Reached = Result<Option<Vec<u8>>, String>;

/// One that is being tried.
struct Sink {
    name: String,
    mend: &'static str,
    reached: JoinHandle<Reached>,
}

impl Sink {
    fn try_it(name: String, mend: &'static str, reach: impl Future<Output = Reached> + Send + 'static) -> Sink {
        Sink { name, mend, reached: tokio::spawn(reach) }
    }

    fn of_endpoint(name: &str, mend: &'static str, endpoint: &Endpoint) -> Sink {
        let address = endpoint.url.authority().map_or("", |authority| authority.as_str());
        Sink::try_it(format!("{name}: {address}"), mend, reach(endpoint.clone()))
    }
}

/// Everybody that is told anything, all at once: each has its own time-out.
fn tried(config: &Config) -> Vec<Sink> {
    let kept = "what is found is kept for a while and then given up: see to it, or to the way there";
    let alertmanagers = config.notify.alertmanagers.iter();
    let mut sinks: Vec<Sink> = alertmanagers.map(|one| Sink::of_endpoint("alertmanager", kept, one)).collect();
    let webhooks = config.notify.webhooks.iter();
    sinks.extend(webhooks.map(|(name, hook)| Sink::of_endpoint(&format!("webhook `{name}`"), kept, &hook.endpoint)));
    if let Some(mail) = config.mail.clone() {
        let mend = "no notice goes out by mail, and grave ones go by text message: see that the server runs, and to \
                    `host`, `port`, `tls`, `ca_file` and the login of [mail]";
        let name = format!("mail: {}:{}", mail.host, mail.port);
        sinks.push(Sink::try_it(name, mend, async move { Mail::new(&mail, "doctor")?.reach().await }));
    }
    let mend = "no text message goes out by it, and the next provider is asked, where there is one: see to it, or to \
                the way there";
    let providers = config.sms.iter();
    sinks.extend(providers.map(|sms| Sink::of_endpoint(&format!("sms `{}`", sms.name), mend, &sms.endpoint)));
    let mend = "nobody is paged by it, and what waits is tried again for a while: see to the way there";
    let pagerduty = config.pagerduty.iter();
    sinks.extend(pagerduty.map(|pagerduty| Sink::of_endpoint("pagerduty", mend, &pagerduty.endpoint)));
    if let Some(syslog) = config.syslog.clone() {
        let mend = "notices for it wait, and are given up after a day: see that the server runs, and to `address` and \
                    the certificates of [syslog]";
        let name = format!("syslog: {}:{}", syslog.host, syslog.port);
        sinks.push(Sink::try_it(name, mend, async move { Syslog::new(&syslog)?.reach().await }));
    }
    sinks
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::path::Path;
    use std::thread;

    use super::*;
    use crate::doctor::Severity;

    fn found(settings: &str) -> Vec<(Severity, String, String)> {
        let (config, problems) = crate::config::parse(settings, Path::new("ringfence.toml"));
        assert!(problems.is_empty(), "{problems:?}");
        let mut report = Report::default();
        look_at_sinks(&config.expect("good settings"), &mut report);
        report.findings.into_iter().map(|finding| (finding.severity, finding.what, finding.mend)).collect()
    }

    /// A port at which nobody listens: it was free a moment ago.
    fn dead() -> u16 {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }

    #[test]
    fn ways_out_that_nobody_answers_are_told_each_with_its_mend() {
        let (mail, sms, page, log) = (dead(), dead(), dead(), dead());
        let settings = format!(
            "[mail]\nhost = '127.0.0.1'\nport = {mail}\ntls = 'none'\nfrom = 'a@b.example'\n\
             [[sms]]\nname = 'one'\nkind = 'kannel'\nurl = 'http://127.0.0.1:{sms}'\nuser = 'u'\npassword_env = 'PATH'\n\
             [pagerduty]\nurl = 'http://127.0.0.1:{page}/v2/enqueue'\nrouting_key_env = 'PATH'\n\
             [syslog]\naddress = '127.0.0.1:{log}'\ntls = 'off'\n"
        );
        let found = found(&settings);
        let names = [
            (format!("mail: 127.0.0.1:{mail}: cannot connect"), "[mail]"),
            (format!("sms `one`: 127.0.0.1:{sms}: cannot connect"), "provider"),
            (format!("pagerduty: 127.0.0.1:{page}: cannot connect"), "paged"),
            (format!("syslog: 127.0.0.1:{log}: cannot connect"), "[syslog]"),
        ];
        assert_eq!(found.len(), names.len(), "{found:?}");
        for ((severity, what, mend), (expected, word)) in found.iter().zip(&names) {
            assert!(*severity == Severity::Error && what.starts_with(expected) && mend.contains(word), "{found:?}");
        }
    }

    #[test]
    fn a_mail_server_is_greeted_and_left_and_gets_no_mail() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let mut heard = Vec::new();
            stream.write_all(b"220 here\r\n").unwrap();
            while let Some(Ok(line)) = lines.next() {
                heard.push(line.split(' ').next().unwrap_or_default().to_owned());
                stream.write_all(b"250 yes\r\n").unwrap();
            }
            heard
        });
        let settings = format!("[mail]\nhost = '127.0.0.1'\nport = {port}\ntls = 'none'\nfrom = 'a@b.example'\n");
        assert_eq!(found(&settings), [(Severity::Ok, "1 reached".to_owned(), String::new())]);
        assert_eq!(server.join().unwrap(), ["EHLO", "QUIT"]);
    }

    #[test]
    fn a_mail_server_without_the_encryption_that_is_wanted_is_told() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            stream.write_all(b"220 here\r\n").unwrap();
            while let Some(Ok(_)) = lines.next() {
                stream.write_all(b"250 yes\r\n").unwrap();
            }
        });
        let settings = format!("[mail]\nhost = '127.0.0.1'\nport = {port}\nfrom = 'a@b.example'\n");
        let found = found(&settings);
        assert!(
            found.iter().any(|(severity, what, _)| *severity == Severity::Error && what.contains("STARTTLS")),
            "{found:?}"
        );
        server.join().unwrap();
    }
}
