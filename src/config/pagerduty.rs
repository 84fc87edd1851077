//! PagerDuty: `[pagerduty]`, one integration.

use hyper::Uri;

use super::section::{Section, parse_url};
use crate::delivery::pagerduty::{PagerDuty, Settings};
use crate::notify::Endpoint;

const USUAL_URL: &str = "https://events.pagerduty.com/v2/enqueue";

pub(super) fn read(root: &Section<'_, '_>) -> Option<Settings> {
    let section = root.section("pagerduty")?;
    let endpoint = super::read_timeouts(&section);
    let text = section.text("url").unwrap_or_else(|| USUAL_URL.to_owned());
    let url: Option<Uri> = parse_url(&section, "url", &text);
    let installation = section.text("installation").unwrap_or_else(|| "ringfence".to_owned());
    let routing_key = section.secret("routing_key");
    if !section.has("routing_key_file") && !section.has("routing_key_env") {
        section.problem_here(
            "[pagerduty] needs a `routing_key_file`: the integration key of \"Events API v2\"".to_owned(),
        );
    }
    section.finish();
    let settings = Settings { endpoint: Endpoint { url: url?, ..endpoint }, routing_key: routing_key?, installation };
    match PagerDuty::new(settings.clone()) {
        Ok(_) => Some(settings),
        Err(e) => {
            section.problem_here(format!("[pagerduty]: {e}"));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::parse;

    #[test]
    fn a_key_is_all_it_needs_and_the_key_does_not_show() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("key"), "hunter2\n").expect("writes");
        let path = folder.path().join("ringfence.toml");
        let (config, problems) = parse("[pagerduty]\nrouting_key_file = \"key\"\n", &path);
        assert_eq!(problems, []);
        let config = config.expect("no problems");
        let pagerduty = config.pagerduty.as_ref().expect("it is there");
        assert_eq!(pagerduty.endpoint.url, super::USUAL_URL);
        assert!(!format!("{config:?}").contains("hunter2"));
        let (_, problems) = parse("[pagerduty]\ninstallation = \"x\"\n", &path);
        assert!(problems.len() == 1 && problems[0].to_string().contains("routing_key_file"), "{problems:?}");
    }
}
