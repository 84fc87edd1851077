//! The kits that ship, compiled into the binary: what is said where nobody has written better.

use std::sync::LazyLock;

use super::{Kit, Kits, file};
use crate::policy::RuleSource;
use crate::policy::render::Texts;

/// Path and text of a file of the folder beside this one.
macro_rules! files {
    ($($path:literal),+ $(,)?) => { [$(($path, include_str!(concat!("shipped/", $path)))),+] };
}

const FILES: [(&str, &str); 16] = files![
    "action.toml",
    "case-authorise.toml",
    "case-done.toml",
    "case-findings.toml",
    "case-missing.toml",
    "case-received.toml",
    "case-refused.toml",
    "confirmed.toml",
    "false-alarm.toml",
    "holding.toml",
    "monitoring.toml",
    "objective-breached.toml",
    "resolved.toml",
    "review.toml",
    "severity.toml",
    "update.toml",
];

/// Read once; tests hold that every kind is there and free of mistakes.
static SHIPPED: LazyLock<Kits> = LazyLock::new(|| {
    let kits = file::parse_all(&RuleSource::memory(FILES), &mut Texts::default(), &mut Vec::new());
    Kits(kits.into_iter().map(|(kit, _)| (kit.kind, Kit { path: None, ..kit })).collect())
});

impl Kits {
    /// The kits that ship.
    pub fn shipped() -> Kits {
        SHIPPED.clone()
    }

    /// The text of the shipped file of each kind, by its name: to start one's own from.
    pub fn shipped_files() -> impl Iterator<Item = (&'static str, &'static str)> {
        FILES.into_iter()
    }
}
