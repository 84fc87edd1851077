//! `[heartbeat]`: where somebody outside hears that the service lives.

use std::time::Duration;

use super::section::{Section, parse_url};
use crate::notify::Endpoint;
use crate::service::HeartbeatSettings;

pub(super) fn read(root: &Section<'_, '_>) -> Option<HeartbeatSettings> {
    let section = root.section("heartbeat")?;
    let endpoint = super::read_timeouts(&section);
    let every = section.seconds("every_s", 5..=3600, Duration::from_secs(60));
    let url = match section.text("url") {
        None => {
            section.problem_here("[heartbeat] needs a `url` that is asked for while all is well".to_owned());
            None
        }
        Some(text) => parse_url(&section, "url", &text),
    };
    section.finish();
    Some(HeartbeatSettings { endpoint: Endpoint { url: url?, ..endpoint }, every })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::parse;

    #[test]
    fn an_address_is_all_it_needs() {
        let (config, problems) = parse("[heartbeat]\nurl = \"https://hc.example/x\"\n", Path::new("ringfence.toml"));
        assert_eq!(problems, []);
        assert_eq!(config.unwrap().heartbeat.unwrap().every.as_secs(), 60);
        assert_eq!(parse("[heartbeat]\nevery_s = 10\n", Path::new("ringfence.toml")).1.len(), 1);
    }
}
