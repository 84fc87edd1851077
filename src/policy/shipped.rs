//! The rule set that ships, compiled into the binary: what `serve` runs where no other is named.

use super::source::RuleSource;

/// Path and text of a file under `rules/`.
macro_rules! files {
    ($($path:literal),+ $(,)?) => { [$(($path, include_str!(concat!("../../rules/", $path)))),+] };
}

/// Every file of the folder but the numbering tables, which [`crate::event::numbering`] holds itself.
const FILES: [(&str, &str); 17] = files![
    "ruleset.toml",
    "firewall/10-lists.toml",
    "firewall/20-identity.toml",
    "firewall/30-destinations.toml",
    "ips/10-floods.toml",
    "ips/20-callers.toml",
    "ips/30-toll-fraud.toml",
    "ips/40-routes.toml",
    "ips/50-registration.toml",
    "lists/blocked-callers.csv",
    "lists/do-not-originate.csv",
    "lists/expected-destinations.csv",
    "lists/high-risk-numbers.csv",
    "lists/known-dialers.csv",
    "lists/neighbours.csv",
    "lists/own-numbers.csv",
    "lists/service-numbers.csv",
];

impl RuleSource {
    /// The rules that ship.
    pub fn shipped() -> RuleSource {
        RuleSource::memory(FILES)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{LoadOptions, Mode, load};
    use super::*;

    #[test]
    fn the_rules_that_ship_load_without_a_word_and_only_watch() {
        for source in [RuleSource::shipped(), RuleSource::at("rules")] {
            let loaded = load(&source, LoadOptions::default());
            let report = super::super::check::summary(&loaded);
            assert!(loaded.problems.is_empty(), "{report}: {:#?}", loaded.problems);
            let policy = loaded.policy.unwrap();
            assert!(policy.firewall.iter().all(|rule| rule.mode == Mode::Monitor));
            assert!(policy.thresholds.iter().all(|rule| rule.mode == Mode::Monitor));
            assert!(policy.firewall.len() >= 9 && policy.thresholds.len() >= 28, "{report}");
        }
    }

    #[test]
    fn every_rule_file_of_the_folder_is_compiled_in() {
        let folder = RuleSource::at("rules");
        for pattern in ["*.toml", "firewall/*.toml", "ips/*.toml", "lists/*.csv"] {
            for path in folder.glob(pattern).unwrap() {
                assert!(FILES.iter().any(|(name, _)| *name == path), "{path} is not in FILES");
            }
        }
    }
}
