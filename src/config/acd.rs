//! `[acd]`: the queues whose callers hear announcements, and the program that reads them aloud.

use std::time::Duration;

use super::section::{self, Section};
use super::{Config, read_endpoint};
use crate::acd::{FILE_MARK, QueueSettings, Settings, TtsSettings, is_queue_name};
use crate::limits::{ACD_QUEUE_NAME_BYTES_MAX, ACD_QUEUES_MAX};
use crate::outbound::Endpoint;

pub(super) fn read(root: &Section<'_, '_>, config: &mut Config) {
    let Some(acd) = root.section("acd") else { return };
    let usual = Settings::default();
    let timeout = acd.seconds("tts_timeout_s", 1..=600, Duration::from_secs(30));
    config.acd = Settings {
        tts: acd.texts("tts").and_then(|command| read_tts(&acd, command, timeout)),
        expiry: acd.seconds("expiry_s", 1..=3600, usual.expiry),
        language: read_language(&acd).unwrap_or(usual.language),
        queues: read_queues(&acd).unwrap_or(usual.queues),
    };
    acd.finish();
}

fn read_tts(acd: &Section<'_, '_>, command: Vec<String>, timeout: Duration) -> Option<TtsSettings> {
    // Left empty, nobody reads.
    let program = command.first()?;
    if program.trim().is_empty() || program.contains(FILE_MARK) {
        acd.problem("tts", format!("`{program}` is no program: first the program, then its arguments"));
        return None;
    }
    if command.len() == 1 && program.contains(char::is_whitespace) && !std::path::Path::new(program).exists() {
        let advice = "no shell takes it apart: write [\"espeak-ng\", \"--stdin\", \"--stdout\"]";
        acd.problem("tts", format!("there is no program `{program}`, and {advice}"));
        return None;
    }
    Some(TtsSettings { command, timeout })
}

/// As XML names languages: `en`, `en-US`.
fn read_language(acd: &Section<'_, '_>) -> Option<String> {
    let language = acd.text("language")?;
    let is_tag = |part: &str| (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric());
    if language.split('-').all(is_tag) {
        return Some(language);
    }
    acd.problem("language", format!("`{language}` is no language such as `en-US`"));
    None
}

fn read_queues(acd: &Section<'_, '_>) -> Option<Vec<QueueSettings>> {
    let all = acd.section("queue")?;
    let mut queues = Vec::new();
    for (name, section) in all.named_sections() {
        if !is_queue_name(&name) {
            section.problem_here(format!(
                "queue `{name}`: a name has up to {ACD_QUEUE_NAME_BYTES_MAX} letters (a to z), digits, `-` and `_`"
            ));
        }
        let customers = section.texts("customers");
        if customers.as_ref().is_some_and(Vec::is_empty) {
            section.problem("customers", "names nobody; leave it out for all customers".to_owned());
        }
        let push = read_push(&section);
        section.finish();
        queues.push(QueueSettings { name, customers, push });
    }
    if queues.len() > ACD_QUEUES_MAX {
        all.problem_here(format!("{} queues; at most {ACD_QUEUES_MAX} can be served", queues.len()));
    }
    (!queues.is_empty()).then_some(queues)
}

fn read_push(section: &Section<'_, '_>) -> Option<Endpoint> {
    let endpoint = read_endpoint(section);
    let text = section.text("push")?;
    let url = section::parse_url(section, "push", &text)?;
    Some(Endpoint { url, ..endpoint })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::acd::Settings;
    use crate::config::{Problem, parse};

    fn acd(text: &str) -> Settings {
        let (config, problems) = parse(text, Path::new("ringfence.toml"));
        assert_eq!(problems, []);
        config.unwrap().acd
    }

    #[test]
    fn without_queues_there_is_one_for_everybody_and_with_some_there_are_those() {
        for text in ["", "[acd]\nexpiry_s = 60\n", "[acd.queue]\n"] {
            assert_eq!(format!("{:?}", acd(text)), format!("{:?}", Settings::default()), "{text}");
        }
        let text = "
            [acd]
            tts = [\"espeak-ng\", \"--stdin\", \"-w\", \"{wav}\"]
            [acd.queue.vip]
            customers = [\"acme\"]
            push = \"https://pbx.example.net/hook\"
            request_timeout_ms = 500
            [acd.queue.all]
        ";
        let settings = acd(text);
        assert_eq!(settings.tts.unwrap().command.len(), 4);
        let queues = settings.queues.iter().map(|queue| (queue.name.as_str(), queue.customers.clone()));
        assert_eq!(queues.collect::<Vec<_>>(), [("all", None), ("vip", Some(vec!["acme".to_owned()]))]);
        let push = settings.queues[1].push.as_ref().unwrap();
        assert_eq!(
            (push.url.to_string().as_str(), push.request_timeout.as_millis()),
            ("https://pbx.example.net/hook", 500)
        );
    }

    #[test]
    fn every_mistake_is_told_with_what_to_write_instead() {
        let text = "[acd]\ntts = [\"espeak-ng --stdin\"]\nexpiry_s = 0\nlanguage = \"en US\"\n[acd.queue.\"a b\"]\n\
                    customers = []\npush = \"pbx\"\nclients = []\n";
        let found: Vec<String> = parse(text, Path::new("r.toml")).1.iter().map(Problem::to_string).collect();
        assert_eq!(
            found,
            [
                "r.toml:2:7: `acd.tts`: there is no program `espeak-ng --stdin`, and no shell takes it apart: write \
             [\"espeak-ng\", \"--stdin\", \"--stdout\"]",
                "r.toml:3:12: `acd.expiry_s`: 0 is outside of 1 to 3600",
                "r.toml:4:12: `acd.language`: `en US` is no language such as `en-US`",
                "r.toml:5:1: queue `a b`: a name has up to 64 letters (a to z), digits, `-` and `_`",
                "r.toml:6:13: `acd.queue.a b.customers`: names nobody; leave it out for all customers",
                "r.toml:7:8: `acd.queue.a b.push`: `pbx` is no URL of the form http://HOST:PORT/PATH",
                "r.toml:8:1: unknown key `acd.queue.a b.clients`",
            ]
        );
        let found = parse("[acd]\ntts = [\"{wav}\"]\n", Path::new("r.toml")).1;
        assert_eq!(
            found[0].to_string(),
            "r.toml:2:7: `acd.tts`: `{wav}` is no program: first the program, then its arguments"
        );
    }
}
