//! Every setting of the service, from one TOML file.
//!
//! Every key has a default; what is unknown is a mistake with a suggestion; all mistakes are reported at once, each as
//! `ringfence.toml:LINE:COL: message`. Secrets come from files or the environment and are never printed.

mod acd;
pub mod codes;
mod cross;
mod data;
mod feed;
mod heartbeat;
mod mail;
mod pagerduty;
mod receiver;
mod section;
mod sms;
mod syslog;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
pub use cross::{Mismatch, cross_check};
pub use data::{ArchiveSettings, Durability, JournalSettings, SnapshotSettings};
pub use feed::{CustomerSource, FeedSettings};
pub use section::Problem;
use section::{Document, Section};

use crate::acd::Settings as AcdSettings;
use crate::delivery;
use crate::limits;
use crate::logging::{LogFormat, LogSettings};
use crate::notify::{self, Endpoint, Output, WebhookSettings};
use crate::service::HeartbeatSettings;
use crate::upstream;

/// The whole file, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it was read; `None`: the usual settings.
    pub file: Option<PathBuf>,
    /// Folder or file of rules; `None`: those that ship.
    pub rules: Option<PathBuf>,
    /// Worker threads; `None`: one a core.
    pub threads: Option<usize>,
    pub feeds: Vec<FeedSettings>,
    /// Where the journal, snapshots, archive and store are; `None`: nothing outlives the process.
    pub data: Option<PathBuf>,
    pub journal: JournalSettings,
    pub snapshot: SnapshotSettings,
    pub archive: ArchiveSettings,
    /// `None`: off.
    pub http: Option<SocketAddr>,
    /// How people reach it, where a proxy stands before it.
    pub public_url: Option<String>,
    /// `None`: off.
    pub metrics: Option<SocketAddr>,
    pub notify: notify::Settings,
    /// Providers of text messages, the first to be asked first.
    pub sms: Vec<delivery::sms::Settings>,
    pub pagerduty: Option<delivery::pagerduty::Settings>,
    /// Where messages go as syslog.
    pub syslog: Option<delivery::syslog::Settings>,
    /// Who may post alerts of other programs.
    pub receivers: Vec<upstream::Settings>,
    /// Where somebody outside hears that the service lives; `None`: nowhere.
    pub heartbeat: Option<HeartbeatSettings>,
    /// Where released messages go.
    pub notices: Output,
    /// The way out by mail; `None`: there is none.
    pub mail: Option<crate::delivery::mail::Settings>,
    /// Folder of kits; `None`: those that ship.
    pub kits: Option<PathBuf>,
    pub acd: AcdSettings,
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
            file: None,
            rules: None,
            threads: None,
            feeds: vec![FeedSettings::default(), FeedSettings::hep()],
            data: Some(PathBuf::from("ringfence-data")),
            journal: JournalSettings::default(),
            snapshot: SnapshotSettings::default(),
            archive: ArchiveSettings::default(),
            http: Some(loopback(8080)),
            public_url: None,
            metrics: Some(loopback(9464)),
            notify: notify::Settings::default(),
            sms: Vec::new(),
            pagerduty: None,
            syslog: None,
            receivers: Vec::new(),
            heartbeat: None,
            notices: Output::default(),
            mail: None,
            kits: None,
            acd: AcdSettings::default(),
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

/// Is this TOML settings rather than rules? Rules have none of their tables.
pub fn is_settings(text: &str) -> bool {
    let table = |line: &str| {
        let name = line.trim().trim_start_matches('[').split([']', '.']).next().unwrap_or_default().to_owned();
        line.trim_start().starts_with('[')
            && [
                "feed",
                "journal",
                "snapshot",
                "archive",
                "http",
                "metrics",
                "verdict",
                "emergency",
                "output",
                "alertmanager",
                "webhook",
                "mail",
                "sms",
                "pagerduty",
                "receiver",
                "syslog",
                "heartbeat",
                "kits",
                "acd",
                "log",
            ]
            .contains(&name.as_str())
    };
    text.lines().any(table)
}

/// Reads a settings file. `None` where it cannot be used; the problems say why.
pub fn load(path: &Path) -> (Option<Config>, Vec<Problem>) {
    match std::fs::read_to_string(path) {
        Ok(text) => {
            let (config, problems) = parse(&text, path);
            (config.map(|config| Config { file: Some(path.to_owned()), ..config }), problems)
        }
        Err(e) => (None, vec![Problem::of_file(path, format!("cannot read it: {e}"))]),
    }
}

/// The settings that a command was given, or the usual ones. Mistakes in them are told on standard error.
pub fn of_command(path: Option<&Path>) -> anyhow::Result<Config> {
    let Some(path) = path else { return Ok(Config::default()) };
    let (config, problems) = load(path);
    problems.iter().for_each(|problem| eprintln!("{problem}"));
    config.with_context(|| format!("the settings of `{}` cannot be used", path.display()))
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
        let advice = "passwords and tokens would cross the network in the clear: bind it to 127.0.0.1 behind a proxy \
                      with TLS, or set `insecure = true`";
        config.http = listen(&http, config.http, advice);
        config.public_url = public_url(&http);
        http.finish();
    }
    data::read(root, &mut config);
    feed::meet_http(&feeds, &mut config.feeds, config.http);
    if let Some(metrics) = root.section("metrics") {
        let advice = "it has no authentication: bind it to 127.0.0.1 or set `insecure = true`";
        config.metrics = listen(&metrics, config.metrics, advice);
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
    config.mail = root.section("mail").and_then(|section| mail::read(&section));
    config.heartbeat = heartbeat::read(root);
    config.syslog = syslog::read(root);
    config.receivers = receiver::read(root, config.data.is_some());
    if let Some(kits) = root.section("kits") {
        config.kits = kits.path("folder");
        kits.finish();
    }
    acd::read(root, &mut config);
    if let Some(log) = root.section("log") {
        config.log = read_log(&log);
        log.finish();
    }
    root.finish();
    config
}

/// `listen` of a section; `off` turns it off.
fn listen(section: &Section<'_, '_>, usual: Option<SocketAddr>, advice: &str) -> Option<SocketAddr> {
    let insecure = section.boolean("insecure").unwrap_or(false);
    let Some(text) = section.text("listen") else { return usual };
    if text == "off" {
        return None;
    }
    let address = section.address("listen")?;
    if !address.ip().is_loopback() && !insecure {
        section.problem("listen", format!("{address} is open to others and {advice}"));
    }
    Some(address)
}

fn public_url(section: &Section<'_, '_>) -> Option<String> {
    let text = section.text("public_url")?;
    let url = section::parse_url(section, "public_url", &text)?;
    (url.path().len() <= 1).then(|| text.trim_end_matches('/').to_owned()).or_else(|| {
        section.problem("public_url", format!("`{text}` has a path: the service has its own"));
        None
    })
}

fn check_names(sections: &[Section<'_, '_>], feeds: &[FeedSettings]) {
    for (index, (section, feed)) in sections.iter().zip(feeds).enumerate() {
        let earlier = feeds.get(..index).unwrap_or_default();
        if earlier.iter().any(|f| f.name == feed.name) {
            section
                .problem("name", format!("there is a feed `{}` already; names tell feeds apart in metrics", feed.name));
        }
        let port_taken = |f: &&FeedSettings| {
            let both_listen = f.over_tcp && feed.over_tcp || f.over_udp && feed.over_udp;
            both_listen && f.listener.listen == feed.listener.listen && feed.listener.listen.port() != 0
        };
        if let Some(other) = earlier.iter().find(port_taken) {
            section.problem("listen", format!("{} is the address of feed `{}` too", feed.listener.listen, other.name));
        }
    }
}

fn read_notify(root: &Section<'_, '_>, config: &mut Config) {
    if let Some(output) = root.section("output") {
        let rotate = output.integer("rotate_mib", 1..=1 << 20).unwrap_or(100);
        let n_kept = output.integer("keep", 0..=1000).unwrap_or(10);
        config.notify.output = read_output(&output, "violations", rotate, n_kept);
        config.notices = read_output(&output, "notices", rotate, n_kept);
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
    config.sms = sms::read(root);
    config.pagerduty = pagerduty::read(root);
}

fn read_output(output: &Section<'_, '_>, key: &'static str, rotate: i64, n_kept: i64) -> Output {
    match output.text(key).as_deref() {
        None | Some("stdout") => Output::Stdout,
        Some("off") => Output::Off,
        Some(_) => match output.path(key) {
            Some(path) => Output::File { path, rotate_bytes: rotate as u64 * (1 << 20), n_kept: n_kept as u32 },
            None => Output::Off,
        },
    }
}

fn read_endpoint(section: &Section<'_, '_>) -> Endpoint {
    Endpoint { bearer_token: section.secret("bearer_token"), ..read_timeouts(section) }
}

/// An endpoint without its URL, and without a token.
fn read_timeouts(section: &Section<'_, '_>) -> Endpoint {
    Endpoint {
        url: hyper::Uri::default(),
        connect_timeout: section.milliseconds("connect_timeout_ms", 1..=60_000, Duration::from_secs(2)),
        request_timeout: section.milliseconds("request_timeout_ms", 1..=600_000, Duration::from_secs(10)),
        bearer_token: None,
        ca_file: section.path("ca_file"),
    }
}

fn read_webhooks(root: &Section<'_, '_>) -> BTreeMap<String, WebhookSettings> {
    let mut webhooks = BTreeMap::new();
    let Some(all) = root.section("webhook") else { return webhooks };
    for (name, section) in all.named_sections() {
        let endpoint = read_endpoint(&section);
        let age_max = section.seconds("age_max_s", 1..=7 * 86_400, Duration::from_secs(3600));
        let secret = section.secret("secret");
        match section.text("url") {
            None => section.problem_here(format!("webhook `{name}` needs a `url`")),
            Some(url) => {
                if let Some(url) = section::parse_url(&section, "url", &url) {
                    let endpoint = Endpoint { url, ..endpoint };
                    webhooks.insert(name, WebhookSettings { endpoint, age_max, secret });
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
    let log =
        LogSettings { level: section.text("level").unwrap_or(usual.level), format: format.unwrap_or(usual.format) };
    if let Err(e) = log.check() {
        section.problem("level", format!("not a log level: {e}; write `info` or `info,ringfence::ingest=debug`"));
    }
    log
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::listener::ListenerSettings;

    fn problems(text: &str) -> Vec<String> {
        parse(text, Path::new("ringfence.toml")).1.iter().map(Problem::to_string).collect()
    }

    #[test]
    fn the_example_file_says_what_the_defaults_are() {
        let text = include_str!("../../deploy/ringfence.example.toml");
        let (config, problems) = parse(text, Path::new("ringfence.toml"));
        assert_eq!(problems, []);
        assert_eq!(format!("{:?}", config.expect("no problems")), format!("{:?}", Config::default()));
    }

    #[test]
    fn an_empty_file_gives_the_defaults() {
        let (config, _) = parse("", Path::new("ringfence.toml"));
        assert_eq!(format!("{:?}", config.expect("no problems")), format!("{:?}", Config::default()));
    }

    #[test]
    fn every_setting_that_the_example_only_mentions_is_known() {
        let text = include_str!("../../deploy/ringfence.example.toml");
        // What is commented out and looks like a setting is one.
        let uncommented: String = text
            .lines()
            .map(|line| match line.strip_prefix("# ") {
                Some(rest) if rest.starts_with('[') || rest.split_once(" = ").is_some_and(|(k, _)| is_key(k)) => rest,
                _ => line,
            })
            .map(|line| format!("{line}\n"))
            .collect();
        let found = problems(&uncommented);
        let unknown: Vec<_> =
            found.iter().filter(|p| !p.contains("cannot read") && !p.contains("environment")).collect();
        assert!(unknown.is_empty(), "{unknown:?}\n{uncommented}");
    }

    fn is_key(text: &str) -> bool {
        text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
    }

    #[test]
    fn all_mistakes_are_told_at_once_with_their_places_and_advice() {
        let text = "\
thread = 2
[[feed]]
listen = \"7060\"
fromat = \"ndjson\"
legs = \"c\"
token = \"s3cret\"
[verdict]
deadline_ms = 0
[output]
violations = 5
[webhook.noc]
[http]
listen = \"0.0.0.0:8080\"
";
        let expected = [
            "ringfence.toml:1:1: unknown key `thread`; did you mean `threads`?",
            "ringfence.toml:3:10: `feed.listen`: `7060` is no address with a port, such as `127.0.0.1:7060` or `[::1]:7060`",
            "ringfence.toml:4:1: unknown key `feed.fromat`; did you mean `format`?",
            "ringfence.toml:5:8: `feed.legs`: unknown `c`; did you mean `a`?; one of a, both",
            "ringfence.toml:6:9: `feed.token`: a secret does not belong here: set `token_file` or `token_env`",
            "ringfence.toml:8:15: `verdict.deadline_ms`: 0 is outside of 1 to 10000",
            "ringfence.toml:10:14: `output.violations`: expected a text, found integer",
            "ringfence.toml:11:1: webhook `noc` needs a `url`",
            "ringfence.toml:13:10: `http.listen`: 0.0.0.0:8080 is open to others and passwords and tokens would \
             cross the network in the clear: bind it to 127.0.0.1 behind a proxy with TLS, or set `insecure = true`",
        ];
        assert_eq!(problems(text), expected);
    }

    #[test]
    fn an_open_door_must_be_meant() {
        let open = "[[feed]]\nlisten = \"0.0.0.0:7060\"\n";
        assert_eq!(
            problems(open),
            [
                "ringfence.toml:2:10: `feed.listen`: 0.0.0.0:7060 lets anybody in: set `token_file`, `tls.client_ca_file`, \
              or `insecure = true`"
            ]
        );
        assert_eq!(problems(&format!("{open}insecure = true")), [""; 0]);
        let mutual = "tls = { cert_file = \"c\", key_file = \"k\", client_ca_file = \"a\" }";
        assert_eq!(problems(&format!("{open}{mutual}")), [""; 0]);
        assert_eq!(problems(&format!("{open}tls = {{ cert_file = \"c\", key_file = \"k\" }}")).len(), 1);
    }

    #[test]
    fn two_feeds_share_neither_name_nor_address() {
        let found = problems("[[feed]]\n[[feed]]\n");
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found.iter().all(|p| p.starts_with("ringfence.toml:2:1:")), "{found:?}");
    }

    #[test]
    fn a_feed_of_posted_records_listens_only_where_it_says_so() {
        let feed = |text: &str| {
            let (config, problems) = parse(text, Path::new("ringfence.toml"));
            assert_eq!(problems, [], "{text}");
            config.expect("no problems").feeds.remove(0)
        };
        let json = "[[feed]]\nformat = \"json-cdr\"\n";
        let alone = feed(json);
        assert_eq!((alone.over_tcp, alone.over_http, alone.dedup, alone.merge), (false, true, true, None));
        assert_eq!(alone.delay_ms(5_000), 15 * 60_000);
        assert_eq!(alone.customer, CustomerSource::Event);
        let streamed = feed(&format!("{json}listen = \"127.0.0.1:7061\"\nhttp = false\ndedup = false\n"));
        assert_eq!((streamed.over_tcp, streamed.over_http, streamed.dedup), (true, false, false));
        // Others can reach it: what a record says of its customer is not believed unasked.
        let open = feed(&format!("{json}[http]\nlisten = \"0.0.0.0:8080\"\ninsecure = true\n"));
        assert_eq!(open.customer, CustomerSource::Trunk);
        let both_off = feed(&format!("{json}listen = \"127.0.0.1:7061\"\n[http]\nlisten = \"off\"\n"));
        assert!(both_off.over_tcp && !both_off.over_http);
        // Two of them need no addresses of their own.
        assert_eq!(problems(&format!("{json}name = \"a\"\n{json}name = \"b\"\n[[feed]]\n")), [""; 0]);
    }

    #[test]
    fn a_feed_of_posted_records_that_nothing_reaches_or_guards_is_a_mistake() {
        let json = "[[feed]]\nformat = \"json-cdr\"\n";
        for (text, told) in [
            (format!("{json}http = false\n"), "`feed.http`: nothing comes in"),
            (format!("{json}[http]\nlisten = \"off\"\n"), "there is no HTTP"),
            (format!("{json}listen = \"127.0.0.1:1\"\ntoken_env = \"PATH\"\n"), "over TCP no token can be shown"),
            (format!("{json}listen = \"0.0.0.0:1\"\n"), "lets anybody in"),
            ("[[feed]]\nhttp = true\n".into(), "is for feeds with `format = \"json-cdr\"`"),
            (format!("{json}csv = {{ dialect = \"asterisk\" }}\n"), "is for feeds with `format = \"csv\"`"),
        ] {
            let found = problems(&text);
            assert!(found.len() == 1 && found.iter().all(|p| p.contains(told)), "{text}: {found:?}");
        }
    }

    #[test]
    fn secrets_are_read_and_never_printed() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("t"), "hunter2\n").expect("writes");
        let text = "[[feed]]\nlisten = \"0.0.0.0:1\"\ntoken_file = \"t\"\n[webhook.x]\nurl = \"http://h/p\"\nbearer_token_file = \"t\"\n";
        let (config, problems) = parse(text, &folder.path().join("ringfence.toml"));
        assert_eq!(problems, []);
        let config = config.expect("no problems");
        assert_eq!(config.feeds.first().map(|f| f.tokens.len()), Some(1));
        assert!(!format!("{config:?}").contains("hunter2"));
    }

    #[test]
    fn broken_toml_is_told_by_its_place() {
        let found = problems("[[feed]\nname = 5\n");
        assert!(found.iter().any(|p| p.starts_with("ringfence.toml:1:")), "{found:?}");
    }

    #[test]
    fn limits_are_those_of_the_listener() {
        let (config, _) = parse("[[feed]]\nconnections_max = 7\nidle_timeout_s = 3\n", Path::new("x"));
        let feed = config.expect("no problems").feeds.remove(0);
        let usual = ListenerSettings::at(loopback(7060));
        let expected = ListenerSettings { connections_max: 7, idle_timeout: Duration::from_secs(3), ..usual };
        assert_eq!(feed.listener, expected);
    }
}
