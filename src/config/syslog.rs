//! Where messages go as syslog: `[syslog]`.

use std::time::Duration;

use super::section::Section;
use crate::delivery::syslog::{Format, Framing, Settings, Tls};

/// Of the documentation (RFC 5612): who has a number of their own sets it.
const ENTERPRISE: i64 = 32_473;
const FACILITIES: [(&str, u8); 20] = [
    ("kern", 0),
    ("user", 1),
    ("mail", 2),
    ("daemon", 3),
    ("auth", 4),
    ("syslog", 5),
    ("lpr", 6),
    ("news", 7),
    ("uucp", 8),
    ("cron", 9),
    ("authpriv", 10),
    ("ftp", 11),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];

pub(super) fn read(root: &Section<'_, '_>) -> Option<Settings> {
    let section = root.section("syslog")?;
    let address = section.text("address");
    if !section.has("address") {
        section.problem_here("`syslog` needs an `address`".to_owned());
    }
    let place = address.and_then(|text| {
        let place = text.rsplit_once(':').and_then(|(host, port)| Some((host.to_owned(), port.parse::<u16>().ok()?)));
        let place = place.filter(|(host, port)| !host.is_empty() && *port > 0);
        if place.is_none() {
            section.problem("address", format!("`{text}` is no HOST:PORT, such as `syslog.example.net:6514`"));
        }
        place
    });
    let is_tls = section.word("tls", &[("on", true), ("off", false)]).unwrap_or(true);
    let (ca_file, cert_file, key_file) = (section.path("ca_file"), section.path("cert_file"), section.path("key_file"));
    if cert_file.is_some() != key_file.is_some() {
        section.problem_here("`syslog` needs both or none of `cert_file` and `key_file`".to_owned());
    }
    if let Some(key) = ["ca_file", "cert_file"].into_iter().find(|key| !is_tls && section.has(key)) {
        section.problem(key, "it says nothing where `tls` is off".to_owned());
    }
    let formats = [("rfc5424", Format::Rfc5424), ("cef", Format::Cef)];
    let framings = [("octet-counting", Framing::OctetCounting), ("newline", Framing::Newline)];
    let settings = Settings {
        host: String::new(),
        port: 0,
        tls: is_tls.then(|| Tls { ca_file, own: cert_file.zip(key_file) }),
        format: section.word("format", &formats).unwrap_or(Format::Rfc5424),
        framing: section.word("framing", &framings).unwrap_or(Framing::OctetCounting),
        facility: section.word("facility", &FACILITIES).unwrap_or(16),
        app_name: section.text("app_name").unwrap_or_else(|| "ringfence".to_owned()),
        hostname: section.text("hostname"),
        enterprise: section.integer("enterprise_number", 1..=i64::from(u32::MAX)).unwrap_or(ENTERPRISE) as u32,
        connect_timeout: section.milliseconds("connect_timeout_ms", 1..=60_000, Duration::from_secs(5)),
        send_timeout: section.milliseconds("send_timeout_ms", 1..=60_000, Duration::from_secs(5)),
    };
    for (key, text, bytes_max) in
        [("app_name", Some(&settings.app_name), 48), ("hostname", settings.hostname.as_ref(), 255)]
    {
        let fits = |text: &String| text.len() <= bytes_max && text.bytes().all(|b| b.is_ascii_graphic());
        if text.is_some_and(|text| !fits(text)) {
            section.problem(key, format!("at most {bytes_max} characters of ASCII, and no spaces"));
        }
    }
    section.finish();
    place.map(|(host, port)| Settings { host, port, ..settings })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config;

    fn read(text: &str) -> (Option<config::Config>, Vec<String>) {
        let (config, problems) = config::parse(text, Path::new("/etc/ringfence.toml"));
        (config, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn an_address_is_enough_and_then_it_is_tls() {
        let (config, problems) = read("[syslog]\naddress = '[2001:db8::1]:6514'\n");
        let settings = config.and_then(|c| c.syslog).unwrap_or_else(|| panic!("{problems:?}"));
        assert_eq!(
            (settings.host.as_str(), settings.port, settings.tls),
            ("[2001:db8::1]", 6514, Some(Tls::default()))
        );
        assert_eq!((settings.facility, settings.enterprise, settings.framing), (16, 32_473, Framing::OctetCounting));
    }

    #[test]
    fn mistakes_are_told_all_at_once() {
        let text = "[syslog]\naddress = 'siem'\ntls = 'off'\nca_file = 'x'\ncert_file = 'y'\nfacility = 'local9'\n\
                    app_name = 'ring fence'\nenterprise_number = 0\nframing = 'lf'\n";
        let (_, problems) = read(text);
        for part in [
            ":2:11: `syslog.address`: `siem` is no HOST:PORT",
            "`syslog` needs both or none of `cert_file` and `key_file`",
            ":4:11: `syslog.ca_file`: it says nothing",
            ":6:12: `syslog.facility`: unknown `local9`",
            ":7:12: `syslog.app_name`: at most 48",
            ":8:21: `syslog.enterprise_number`: 0 is outside",
            ":9:11: `syslog.framing`: unknown `lf`",
        ] {
            assert!(problems.iter().any(|p| p.contains(part)), "{part}: {problems:#?}");
        }
        assert!(read("[syslog]\n").1[0].contains("needs an `address`"));
    }
}
