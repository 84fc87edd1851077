//! Every setting of the service, from one TOML file.
//!
//! Every key has a default; what is unknown is a mistake with a suggestion; all mistakes are reported at once, each as
//! `ringfence.toml:LINE:COL: message`. Secrets come from files or the environment and are never printed.

mod feed;
mod section;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use feed::{CustomerSource, FeedSettings};
pub use section::Problem;
use section::{Document, Section};

use crate::limits;
use crate::logging::{LogFormat, LogSettings};
use crate::notify::{self, Endpoint, Output, WebhookSettings};

/// The whole file, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Folder or file of rules; `None`: those that ship.
    pub rules: Option<PathBuf>,
    /// Worker threads; `None`: one a core.
    pub threads: Option<usize>,
    pub feeds: Vec<FeedSettings>,
    /// `None`: off.
    pub http: Option<SocketAddr>,
    /// `None`: off.
    pub metrics: Option<SocketAddr>,
    pub notify: notify::Settings,
    pub verdict_deadline: Duration,
    /// Besides those of the feeds' countries, 112 and 911.
    pub emergency_numbers: Vec<String>,
    pub emergency_callback_ms: i64,
    /// How long a stop may take before what is left is given up.
    pub stop_timeout: Duration,
    pub log: LogSettings,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            rules: None,
            threads: None,
            feeds: vec![FeedSettings::default()],
            http: Some(loopback(8080)),
            metrics: Some(loopback(9464)),
            notify: notify::Settings::default(),
            verdict_deadline: Duration::from_millis(20),
            emergency_numbers: Vec::new(),
            emergency_callback_ms: limits::EMERGENCY_CALLBACK_MS,
            stop_timeout: Duration::from_secs(30),
            log: LogSettings::default(),
        }
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// Reads a settings file. `None` where it cannot be used; the problems say why.
pub fn load(path: &Path) -> (Option<Config>, Vec<Problem>) {
    match std::fs::read_to_string(path) {
        Ok(text) => parse(&text, path),
        Err(e) => (None, vec![Problem::of_file(path, format!("cannot read it: {e}"))]),
    }
}

/// [`load`] of a text. Relative paths are meant from the folder of `path`.
pub fn parse(text: &str, path: &Path) -> (Option<Config>, Vec<Problem>) {
    let document = Document::new(text, path);
    let config = read(&document.root());
    let problems = document.into_problems();
    (problems.is_empty().then_some(config), problems)
}

fn read(root: &Section<'_, '_>) -> Config {
    let usual = Config::default();
    let mut config = Config {
        rules: root.path("rules"),
        threads: root.integer("threads", 1..=256).map(|n| n as usize),
        stop_timeout: root.seconds("stop_timeout_s", 1..=3600, usual.stop_timeout),
        ..usual
    };
    let feeds = root.sections("feed");
    if root.has("feed") {
        config.feeds = feeds.iter().map(feed::read).collect();
    }
    check_names(&feeds, &config.feeds);
    if let Some(http) = root.section("http") {
        config.http = listen(&http, config.http);
        http.finish();
    }
    if let Some(metrics) = root.section("metrics") {
        config.metrics = listen(&metrics, config.metrics);
        metrics.finish();
    }
    if let Some(verdict) = root.section("verdict") {
        config.verdict_deadline = verdict.milliseconds("deadline_ms", 1..=10_000, config.verdict_deadline);
        verdict.finish();
    }
    if let Some(emergency) = root.section("emergency") {
        config.emergency_numbers = emergency.texts("numbers").unwrap_or_default();
        let minutes = emergency.integer("callback_minutes", 0..=24 * 60);
        config.emergency_callback_ms = minutes.map_or(config.emergency_callback_ms, |m| m * 60_000);
        emergency.finish();
    }
    read_notify(root, &mut config);
    if let Some(log) = root.section("log") {
        config.log = read_log(&log);
        log.finish();
    }
    root.finish();
    config
}

/// `listen` of a section; `off` turns it off.
fn listen(section: &Section<'_, '_>, usual: Option<SocketAddr>) -> Option<SocketAddr> {
    let insecure = section.boolean("insecure").unwrap_or(false);
    let Some(text) = section.text("listen") else { return usual };
    if text == "off" {
        return None;
    }
    let address = section.address("listen")?;
    if !address.ip().is_loopback() && !insecure {
        let advice = "it has no authentication yet: bind it to 127.0.0.1 or set `insecure = true`";
        section.problem("listen", format!("{address} is open to others and {advice}"));
    }
    Some(address)
}

fn check_names(sections: &[Section<'_, '_>], feeds: &[FeedSettings]) {
    for (index, (section, feed)) in sections.iter().zip(feeds).enumerate() {
        let earlier = feeds.get(..index).unwrap_or_default();
        if earlier.iter().any(|f| f.name == feed.name) {
            section.problem("name", format!("there is a feed `{}` already; names tell feeds apart in metrics", feed.name));
        }
        let port_taken = |f: &&FeedSettings| f.listener.listen == feed.listener.listen && feed.listener.listen.port() != 0;
        if let Some(other) = earlier.iter().find(port_taken) {
            section.problem("listen", format!("{} is the address of feed `{}` too", feed.listener.listen, other.name));
        }
    }
}

fn read_notify(root: &Section<'_, '_>, config: &mut Config) {
    if let Some(output) = root.section("output") {
        config.notify.output = read_output(&output);
        output.finish();
    }
    if let Some(alertmanager) = root.section("alertmanager") {
        let urls = alertmanager.texts("urls").unwrap_or_default();
        let endpoint = read_endpoint(&alertmanager);
        for url in urls {
            let url = format!("{}/api/v2/alerts", url.trim_end_matches('/'));
            if let Some(url) = section::parse_url(&alertmanager, "urls", &url) {
                config.notify.alertmanagers.push(Endpoint { url, ..endpoint.clone() });
            }
        }
        alertmanager.finish();
    }
    config.notify.webhooks = read_webhooks(root);
}

fn read_output(output: &Section<'_, '_>) -> Output {
    let rotate = output.integer("rotate_mib", 1..=1 << 20).unwrap_or(100);
    let n_kept = output.integer("keep", 0..=1000).unwrap_or(10);
    match output.text("violations").as_deref() {
        None | Some("stdout") => Output::Stdout,
        Some("off") => Output::Off,
        Some(_) => match output.path("violations") {
            Some(path) => Output::File { path, rotate_bytes: rotate as u64 * (1 << 20), n_kept: n_kept as u32 },
            None => Output::Off,
        },
    }
}

fn read_endpoint(section: &Section<'_, '_>) -> Endpoint {
    Endpoint {
        url: hyper::Uri::default(),
        connect_timeout: section.milliseconds("connect_timeout_ms", 1..=60_000, Duration::from_secs(2)),
        request_timeout: section.milliseconds("request_timeout_ms", 1..=600_000, Duration::from_secs(10)),
        bearer_token: section.secret("bearer_token"),
        ca_file: section.path("ca_file"),
    }
}

fn read_webhooks(root: &Section<'_, '_>) -> BTreeMap<String, WebhookSettings> {
    let mut webhooks = BTreeMap::new();
    let Some(all) = root.section("webhook") else { return webhooks };
    for (name, section) in all.named_sections() {
        let endpoint = read_endpoint(&section);
        let age_max = section.seconds("age_max_s", 1..=7 * 86_400, Duration::from_secs(3600));
        match section.text("url") {
            None => section.problem_here(format!("webhook `{name}` needs a `url`")),
            Some(url) => {
                if let Some(url) = section::parse_url(&section, "url", &url) {
                    webhooks.insert(name, WebhookSettings { endpoint: Endpoint { url, ..endpoint }, age_max });
                }
            }
        }
        section.finish();
    }
    webhooks
}

fn read_log(section: &Section<'_, '_>) -> LogSettings {
    let usual = LogSettings::default();
    let format = section.word("format", &[("text", LogFormat::Text), ("json", LogFormat::Json)]);
    let log = LogSettings {
        level: section.text("level").unwrap_or(usual.level),
        format: format.unwrap_or(usual.format),
    };
    if let Err(e) = log.check() {
        section.problem("level", format!("not a log level: {e}; write `info` or `info,ringfence::ingest=debug`"));
    }
    log
}
