//! What the codes of settings mean. `E301`-`E319` are mistakes that keep the service from starting; what settings and
//! rules say of each other has `W105`, `W106`, `W129` and `W130` where it can be lived with.

use crate::policy::codes::Code;

const fn code(code: &'static str, title: &'static str, explanation: &'static str) -> Code {
    Code { code, title, explanation }
}

/// The settings of the service, and what they and the rules say of each other.
pub const SETTINGS: &[Code] = &[
    code(
        "E301",
        "settings are not TOML",
        "The file breaks the syntax of TOML 1.1, or cannot be read. Nothing is guessed: the service does not start.",
    ),
    code(
        "E302",
        "unknown setting",
        "A key or table that the settings do not have. Every one there is stands in deploy/ringfence.example.toml with its default.",
    ),
    code(
        "E303",
        "setting with a bad value",
        "The value has another type than the setting takes, lies outside of its bounds, or does not go with another one.",
    ),
    code(
        "E304",
        "rules or kits are not there",
        "`rules` and `[kits] folder` name a folder, relative to the settings file. Without them, those that ship are used.",
    ),
    code(
        "E311",
        "webhook that the settings lack",
        "A rule tells `webhook:NAME`, so there has to be a [webhook.NAME] that says where that is.",
    ),
    code(
        "E312",
        "customer without a file",
        "Where the rules have customers, everybody that a feed, a receiver or a queue names needs a file there: the events of anybody else would be rejected.",
    ),
    code(
        "E313",
        "way of telling that the settings lack",
        "A customer's file has somebody told by a program that the settings do not know, so nobody would hear.",
    ),
    code(
        "W105",
        "nothing to follow a call by",
        "A rule with on = \"call\" watches calls that are up. A record that comes when its call is over never shows one, so such a rule needs a feed that tells of the call while it lasts.",
    ),
    code(
        "W106",
        "calls may count twice",
        "Two feeds tell of the calls of one gateway or customer, and only one of them merges. Feeds that merge share a table of calls, so that each call counts once.",
    ),
    code(
        "W129",
        "no way out for mail or text messages",
        "A customer's file has somebody told by mail or SMS, and the settings have no provider of it: what would be sent is written to standard output.",
    ),
    code(
        "W130",
        "announcement that nobody hears",
        "A customer's callers are to hear announcements, but no queue is for that customer.",
    ),
];
