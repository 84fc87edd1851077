//! The way out by mail: `[mail]` and `[mail.canary]`.

use std::net::IpAddr;
use std::time::Duration;

use super::section::Section;
use crate::delivery::mail::{CanarySettings, Login, Settings, Tls, Waits, parse_address, parse_mailbox};

/// `None` where it cannot be used; the problems say why.
pub(super) fn read(section: &Section<'_, '_>) -> Option<Settings> {
    let tls = section.word("tls", &[("starttls", Tls::StartTls), ("implicit", Tls::Implicit), ("none", Tls::None)]);
    let tls = tls.unwrap_or(Tls::StartTls);
    let host = needed(section, "host", "mail needs a `host`: the name of the relay");
    let from = needed(section, "from", "mail needs a `from`, such as \"Ringfence <ringfence@example.net>\"");
    let from = from.and_then(|text| parse_mailbox(&text).map_err(|why| section.problem("from", why)).ok());
    let login = read_login(section);
    check_guard(section, tls, host.as_deref(), login.is_some());
    let hello = section.text("hello");
    if hello.as_deref().is_some_and(|name| !name.bytes().all(|b| b.is_ascii_graphic())) {
        section.problem("hello", "a name such as `ringfence.example.net` has no spaces and only plain letters".into());
    }
    let port = section.integer("port", 1..=65_535).and_then(|port| u16::try_from(port).ok());
    let ca_file = section.path("ca_file");
    let waits = read_waits(section);
    let connections = section.integer("connections", 1..=100).map(|n| n as usize);
    let idle = section.integer("idle_s", 1..=300).map(|s| Duration::from_secs(s.unsigned_abs()));
    let canary = section.section("canary").and_then(|canary| read_canary(&canary));
    let per_minute = section.integer("per_minute", 1..=1_000_000).and_then(|n| usize::try_from(n).ok());
    let groups = section.texts("incident_groups").unwrap_or_default();
    section.finish();
    let usual = Settings::at(&host?, tls, from?);
    Some(Settings {
        port: port.unwrap_or(usual.port),
        ca_file,
        login,
        hello,
        waits,
        connections: connections.unwrap_or(usual.connections),
        idle: idle.unwrap_or(usual.idle),
        canary,
        per_minute,
        groups,
        ..usual
    })
}

fn needed(section: &Section<'_, '_>, key: &'static str, why: &str) -> Option<String> {
    if !section.has(key) {
        section.problem_here(why.to_owned());
    }
    section.text(key)
}

fn read_login(section: &Section<'_, '_>) -> Option<Login> {
    match (section.text("user"), section.secret("password")) {
        (Some(user), Some(password)) => Some(Login { user, password }),
        (None, None) => None,
        // Where the password could not be read that is told already.
        (Some(_), None) => {
            if !["password", "password_file", "password_env"].into_iter().any(|key| section.has(key)) {
                section.problem("user", "needs a `password_file` or `password_env`".into());
            }
            None
        }
        (None, Some(_)) => {
            section.problem_here("a password of mail needs a `user`".into());
            None
        }
    }
}

/// In the clear only to this machine, or where it is meant; a password not even then.
fn check_guard(section: &Section<'_, '_>, tls: Tls, host: Option<&str>, has_password: bool) {
    let is_meant = section.boolean("insecure").unwrap_or(false);
    if tls != Tls::None || host.is_none_or(is_loopback) {
        return;
    }
    if !is_meant {
        let advice =
            "mails would cross the network in the clear: use \"starttls\" or \"implicit\", or set `insecure = true`";
        section.problem("tls", advice.into());
    }
    if has_password {
        section.problem(
            "user",
            "the password would cross the network in the clear: use \"starttls\" or \"implicit\"".into(),
        );
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn read_waits(section: &Section<'_, '_>) -> Waits {
    let usual = Waits::default();
    Waits {
        connect: section.milliseconds("connect_timeout_ms", 1..=60_000, usual.connect),
        command: section.milliseconds("command_timeout_ms", 1..=600_000, usual.command),
        data: section.milliseconds("data_timeout_ms", 1..=600_000, usual.data),
    }
}

fn read_canary(section: &Section<'_, '_>) -> Option<CanarySettings> {
    let to = needed(section, "to", "the canary needs a `to`: a mailbox that nobody reads");
    let to = to.and_then(|text| parse_address(&text).map_err(|why| section.problem("to", why)).ok());
    let every = section.seconds("every_s", 10..=86_400, Duration::from_secs(60));
    let late_after = section.seconds("late_after_s", 1..=3_600, Duration::from_secs(30));
    let inbox = section.path("inbox");
    if section.has("late_after_s") && inbox.is_none() {
        section.problem("late_after_s", "is for an `inbox`: without one, it is enough that the server takes it".into());
    }
    section.finish();
    Some(CanarySettings { to: to?, every, late_after, inbox })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Config, Problem, parse};

    fn read(text: &str) -> (Option<Config>, Vec<String>) {
        let (config, problems) = parse(text, Path::new("ringfence.toml"));
        (config, problems.iter().map(Problem::to_string).collect())
    }

    fn settings(text: &str) -> Settings {
        let (config, problems) = read(text);
        assert_eq!(problems, [""; 0], "{text}");
        config.and_then(|c| c.mail).expect("a chapter on mail")
    }

    const LEAST: &str = "[mail]\nhost = \"relay.example.net\"\nfrom = \"ringfence@example.net\"\n";

    #[test]
    fn mail_is_off_until_somebody_says_where_it_goes() {
        assert!(read("").0.expect("no problems").mail.is_none());
        let mail = settings(LEAST);
        assert_eq!((mail.tls, mail.port, mail.connections), (Tls::StartTls, 587, 8));
        assert_eq!(settings(&format!("{LEAST}tls = \"implicit\"\n")).port, 465);
        let near = LEAST.replace("relay.example.net", "127.0.0.1");
        assert_eq!(settings(&format!("{near}tls = \"none\"\n")).port, 25);
        assert_eq!(settings(&format!("{near}tls = \"none\"\nport = 2525\n")).port, 2525);
    }

    #[test]
    fn the_example_tells_the_defaults() {
        let example = include_str!("../../deploy/ringfence.example.toml");
        let lines = example.lines().filter_map(|line| line.strip_prefix("# "));
        let chapter: Vec<&str> = lines
            .skip_while(|line| *line != "[mail]")
            .take_while(|line| !line.starts_with('-'))
            .filter(|line| line.starts_with('[') || line.contains(" = "))
            .filter(|line| !["user", "password_file", "ca_file", "hello"].iter().any(|key| line.starts_with(key)))
            .collect();
        let told = settings(&chapter.join("\n"));
        let canary = told.canary.clone().expect("a canary");
        let usual = Settings::at(&told.host, Tls::StartTls, told.from.clone());
        assert_eq!(
            format!("{:?}", Settings { canary: None, groups: Vec::new(), per_minute: None, ..told }),
            format!("{usual:?}")
        );
        let least = settings(&format!("{LEAST}[mail.canary]\nto = \"c@example.net\"\n")).canary.expect("a canary");
        assert_eq!((canary.every, canary.late_after), (least.every, least.late_after));
    }

    #[test]
    fn all_mistakes_of_mail_are_told_at_once() {
        let text = "[mail]\nfrom = \"nobody\"\nuser = \"u\"\nhello = \"a b\"\nport = 0\nconections = 25\n\
                    [mail.canary]\nto = \"a@b.c\\r\\nDATA\"\nlate_after_s = 5\n";
        let found = read(text).1;
        let expected = [
            "ringfence.toml:1:1: mail needs a `host`: the name of the relay",
            "ringfence.toml:2:8: `mail.from`: \"nobody\" is no mail address such as `desk@example.com`",
            "ringfence.toml:3:8: `mail.user`: needs a `password_file` or `password_env`",
            "ringfence.toml:4:9: `mail.hello`: a name such as `ringfence.example.net` has no spaces and only plain letters",
            "ringfence.toml:5:8: `mail.port`: 0 is outside of 1 to 65535",
            "ringfence.toml:6:1: unknown key `mail.conections`; did you mean `connections`?",
            "ringfence.toml:8:6: `mail.canary.to`: \"a@b.c\\r\\nDATA\" is no mail address: it has a space, a line break or \
             a bracket in it",
            "ringfence.toml:9:16: `mail.canary.late_after_s`: is for an `inbox`: without one, it is enough that the server \
             takes it",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn in_the_clear_only_to_this_machine_or_where_it_is_meant() {
        let far = format!("{LEAST}tls = \"none\"\n");
        let found = read(&far).1;
        assert!(found.iter().any(|p| p.contains("in the clear")) && found.len() == 1, "{found:?}");
        settings(&format!("{far}insecure = true\n"));
        let found = read(&format!("{far}insecure = true\nuser = \"u\"\npassword_env = \"PATH\"\n")).1;
        assert!(found.iter().any(|p| p.contains("the password would cross")) && found.len() == 1, "{found:?}");
        settings(&far.replace("relay.example.net", "localhost"));
    }

    #[test]
    fn the_password_is_read_from_its_file_and_never_printed() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("p"), "hunter2\n").expect("writes");
        let text = format!("{LEAST}user = \"u\"\npassword_file = \"p\"\n");
        let (config, problems) = parse(&text, &folder.path().join("ringfence.toml"));
        assert_eq!(problems, []);
        let mail = config.and_then(|c| c.mail).expect("a chapter on mail");
        assert_eq!(mail.login.as_ref().map(|l| l.password.0.as_str()), Some("hunter2"));
        assert!(!format!("{mail:?}").contains("hunter2"));
        let found = read(&format!("{LEAST}user = \"u\"\npassword = \"hunter2\"\n")).1;
        assert!(found.iter().any(|p| p.contains("does not belong here")) && found.len() == 1, "{found:?}");
    }
}
