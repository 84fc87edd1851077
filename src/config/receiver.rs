//! Who may post alerts of other programs, and whose they are: `[receiver.NAME]`.

use super::section::Section;
use crate::limits::{ID_BYTES_MAX, UPSTREAM_RECEIVERS_MAX};
use crate::upstream::Settings;

/// Words for what cannot wait, as common rule sets use them.
const CRITICAL: [&str; 4] = ["critical", "page", "error", "disaster"];
/// Labels by which equal senders tell each other apart.
const IGNORED: [&str; 3] = ["prometheus_replica", "replica", "__replica__"];

pub(super) fn read(root: &Section<'_, '_>, has_data: bool) -> Vec<Settings> {
    let Some(all) = root.section("receiver") else { return Vec::new() };
    let mut receivers: Vec<Settings> = Vec::new();
    for (name, section) in all.named_sections() {
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if name.is_empty() || name.len() > ID_BYTES_MAX || !name.bytes().all(is_plain) {
            section.problem_here(format!("receiver `{name}`: a name has letters, digits, `-` and `_`"));
        }
        if !has_data {
            section
                .problem_here(format!("receiver `{name}` needs a `data` folder: what it takes must outlive a crash"));
        }
        let customer = section.text("customer");
        if customer.is_none() && !section.has("customer") {
            section.problem_here(format!("receiver `{name}` needs a `customer`: whose alerts these are"));
        }
        let token = section.secret("token");
        if token.is_none() && !["token", "token_file", "token_env"].into_iter().any(|key| section.has(key)) {
            section.problem_here(format!("receiver `{name}` needs a `token_file` or `token_env`"));
        }
        let words = |key, usual: &[&str]| {
            section.texts(key).unwrap_or_else(|| usual.iter().map(|word| (*word).to_owned()).collect())
        };
        let (critical, ignored_labels) = (words("critical", &CRITICAL), words("ignored_labels", &IGNORED));
        section.finish();
        let (Some(customer), Some(token)) = (customer, token) else { continue };
        if let Some(other) = receivers.iter().find(|other| other.token == token) {
            section.problem_here(format!("receivers `{}` and `{name}` have the same token", other.name));
        }
        if receivers.len() == UPSTREAM_RECEIVERS_MAX {
            section.problem_here(format!("more than {UPSTREAM_RECEIVERS_MAX} receivers"));
            break;
        }
        receivers.push(Settings { name, customer, token, critical, ignored_labels });
    }
    receivers
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::{self, Problem};

    fn read(text: &str) -> (Option<config::Config>, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), "s3cret\n").unwrap();
        let (config, problems) = config::parse(text, &folder.path().join("ringfence.toml"));
        let shown = |p: &Problem| p.to_string().replace(&format!("{}", Path::new(folder.path()).display()), "");
        (config, problems.iter().map(shown).collect())
    }

    #[test]
    fn a_receiver_has_a_customer_and_a_token_and_the_usual_words() {
        let (config, problems) = read("[receiver.noc]\ncustomer = 'acme'\ntoken_file = 'token'\n");
        let receivers = config.unwrap_or_else(|| panic!("{problems:?}")).receivers;
        assert_eq!((receivers[0].rule().as_str(), receivers[0].customer.as_str()), ("upstream:noc", "acme"));
        assert_eq!(receivers[0].critical, super::CRITICAL);
        assert!(!format!("{:?}", receivers[0]).contains("s3cret"));
    }

    #[test]
    fn what_is_missing_is_said_with_its_place() {
        let text = "data = 'off'\n[receiver.a]\ncustomer = 'x'\ntoken_file = 'token'\n[receiver.'b/c']\ntoken = 'y'\n\
                    [receiver.d]\ncustomer = 'x'\ntoken_file = 'token'\ncritcal = ['p1']\n";
        let (_, problems) = read(text);
        for part in [
            ":2:1: receiver `a` needs a `data` folder",
            ":5:1: receiver `b/c`: a name has letters",
            ":5:1: receiver `b/c` needs a `customer`",
            ":6:9: `receiver.b/c.token`: a secret does not belong here",
            ":7:1: receivers `a` and `d` have the same token",
            ":10:1: unknown key `receiver.d.critcal`; did you mean `critical`?",
        ] {
            assert!(problems.iter().any(|p| p.contains(part)), "{part}: {problems:#?}");
        }
    }
}
