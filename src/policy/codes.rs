//! What the codes of problems mean: stable, so that they can be looked up and searched for.
//!
//! `E001`-`E039` are mistakes of files, keys and lists, `E040`-`E089` of the expression language, `E090` what this
//! version does not do yet; `W1xx` are warnings.

/// A code, in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    pub code: &'static str,
    pub title: &'static str,
    pub explanation: &'static str,
}

const fn code(code: &'static str, title: &'static str, explanation: &'static str) -> Code {
    Code { code, title, explanation }
}

/// Files, keys and lists.
pub const FILES: &[Code] = &[
    code(
        "E001",
        "not TOML",
        "The file breaks the syntax of TOML 1.1. Rule logic is text and stands in quotes: where = 'answered'.",
    ),
    code(
        "E002",
        "unknown key",
        "A key that no table of this kind has. A misspelt key would otherwise be a rule that silently does less.",
    ),
    code(
        "E003",
        "unknown table",
        "A table that rule files do not have. Rules are [[firewall]] and [[threshold]]; beside them stand [[override]], [macros], [lists] and [calendars].",
    ),
    code(
        "E004",
        "wrong type",
        "The value has another TOML type than the key takes. Durations, levels and numbers are text, so that units and the + are kept.",
    ),
    code("E005", "missing key", "The table lacks a key it cannot do without."),
    code("E006", "bad value", "The value is of the right type, but not one the key takes."),
    code(
        "E007",
        "defined twice",
        "Ids of rules and names of lists, macros and calendars are unique over all files of a rule set.",
    ),
    code(
        "E008",
        "key out of place",
        "The key exists, but says nothing here: a setting of ruleset.toml in another file, or a key of another action or measure.",
    ),
    code(
        "E009",
        "bad duration",
        "Durations carry their unit (10m, 1h30m) and have bounds: a window lies between 1 ms and 49 days.",
    ),
    code("E010", "unreadable", "A file that the rule set names cannot be read. Paths are relative to ruleset.toml."),
    code(
        "E011",
        "bad line in a list file",
        "A line of a list file is no value of the list's type. The whole list is refused: half a block list is worse than the old one.",
    ),
    code("E012", "bad list entry", "An entry of `items` is no value of the list's type."),
    code(
        "E013",
        "spreadsheet damage",
        "A spreadsheet has turned a phone number into a rounded figure (4.47900E+11) and the digits are gone. Format the column as text before pasting, and export again.",
    ),
    code(
        "E015",
        "list without one source",
        "A list has its entries from exactly one of `items`, `file` and `dynamic = true`.",
    ),
    code(
        "E016",
        "block names no such list",
        "`block` puts the crossing key on a list of the rule set; there is none of that name.",
    ),
    code(
        "E017",
        "block needs a dynamic list of its type",
        "`block` writes to lists with `dynamic = true`, and only values of the list's type.",
    ),
    code(
        "E018",
        "block field",
        "`block.field` is one of the rule's `per` entries; it may be left out only where exactly one fits the list's type.",
    ),
    code("E019", "no level", "A threshold has `warning`, `critical` or both."),
    code(
        "E020",
        "window",
        "Every measure but `concurrent` has a window; `concurrent` is a level at an instant and has none.",
    ),
    code(
        "E021",
        "bad calendar",
        "Hours are written `Mon-Fri 07:00-18:00`, dates `2026-12-24` or `2026-12-24..2026-12-26`.",
    ),
    code("E022", "unknown time zone", "Time zones have IANA names: Europe/Stockholm, America/New_York, UTC."),
    code(
        "E024",
        "bad name",
        "Ids and names consist of letters, digits, `_` and `-`, start with a letter and have at most 64 characters; they appear in metrics and alerts.",
    ),
    code(
        "E026",
        "unknown language version",
        "`ringfence = 1` names the version of the rule language. This build knows version 1.",
    ),
    code("E027", "too much", "A bound that keeps a mistake from eating the machine was reached."),
    code("E028", "no rule set", "There is no ruleset.toml and no rule file where the rules should be."),
    code(
        "E031",
        "target is not in per",
        "`target` names entries of the rule's `per`, as they are written there: incidents of one group are told apart by their values.",
    ),
    code(
        "E032",
        "bad address",
        "A mail address is one plain address without a name, a telephone number starts with + and its country code.",
    ),
    code(
        "E033",
        "nobody there",
        "A roster or distribution of a customer names somebody its file does not have, or nobody at all.",
    ),
    code(
        "E034",
        "emergency number among the own",
        "Own numbers are a customer's lines. An emergency number is nobody's, and would be treated as the customer's.",
    ),
    code(
        "E035",
        "contact cannot be told",
        "Somebody who is to be told, or may ask, needs an address for it and the right to it.",
    ),
    code(
        "E036",
        "trunk claimed twice",
        "The trunk tells whose a call is, so that of one gateway it belongs to one customer only.",
    ),
    code(
        "E037",
        "bad place or name of a customer's file",
        "A customer's file is customers/<id>.toml beside the rules, and the id is written exactly as events name the customer.",
    ),
    code(
        "E038",
        "unknown customer",
        "Where the folder customers/ exists, a customer is whoever has a file there; a rule or an override names somebody else.",
    ),
    code(
        "E039",
        "bad override",
        "An override gives one customer other levels, times, actions or another mode of a rule. What a rule measures, of which events and per what cannot change: that would be another rule.",
    ),
    code(
        "E050",
        "unknown rule or group",
        "A customer's table, an override or an exception names a rule, or a group of rules, that the rule set does not have.",
    ),
    code(
        "E090",
        "not supported yet",
        "The rule language has it, this version does not do it yet. It is refused, never ignored.",
    ),
    code(
        "W101",
        "rule can never match",
        "A rule above takes every event that this one would match, and the first match decides. Often the special case belongs above the general one.",
    ),
    code(
        "W102",
        "old list file",
        "The list's file was last changed longer ago than its `max_age`: whoever delivers it may have stopped.",
    ),
    code(
        "W103",
        "exception without an end",
        "An entry of `except` or `mute`, or an [[exception]], without `expires` lasts until somebody takes it out, and nobody remembers why it is there.",
    ),
    code(
        "W104",
        "no ruleset.toml",
        "Rule files without a ruleset.toml are read with defaults: calls are allowed unless a rule says otherwise.",
    ),
    code(
        "W107",
        "file not included",
        "A rule file lies in the folder, but no `include` pattern reads it, so its rules do nothing.",
    ),
    code(
        "W108",
        "emergency number named",
        "Calls to emergency numbers are allowed before any rule is asked. A rule that names one to block or divert it does nothing for them.",
    ),
    code(
        "W109",
        "expired entry",
        "The `expires` of an entry, an exception or an override lies in the past: it has no effect on events of today any more. On those of its time it has, so that a replay of then says what was said then.",
    ),
    code(
        "W112",
        "nothing to be held against",
        "A level such as `>= 3x` asks what is usual of the key in that hour of the week, which stands in baselines/RULE.csv. Without the file the rule never fires.",
    ),
    code("W111", "list is never used", "No rule, macro or block names the list."),
    code(
        "W120",
        "no customers",
        "Where the folder customers/ exists, events of anybody without a file there are rejected; it has no file.",
    ),
    code(
        "W121",
        "hours of the calendar that ships",
        "A customer elsewhere has the service hours of Chicago, since its file names no others.",
    ),
    code(
        "W122",
        "names that differ in case",
        "Two customers' files differ only in capital and small letters. Events of the one are easily taken for the other's.",
    ),
    code(
        "W123",
        "requester of two customers",
        "A request by mail is known by its sender. Where the sender may ask for two customers, nobody can tell for which.",
    ),
    code(
        "W124",
        "no address for a channel",
        "A distribution uses a channel for which one of its people has no address; the others reach them.",
    ),
    code(
        "W125",
        "address not verified",
        "A distribution uses an address of which nobody has said that messages arrive there.",
    ),
    code(
        "W126",
        "nobody in command",
        "Notices of this customer are checked by nobody: the escalation contact is told when one waits for its check.",
    ),
    code("W127", "no escalation contact", "When nobody answers, there is nobody left to tell."),
    code(
        "W128",
        "calendar runs out",
        "The hours of a customer name no closed date from less than a year ahead on: holidays would count as days of work.",
    ),
];

/// The rule language.
pub const LANGUAGE: &[Code] = &[
    code(
        "E014",
        "phone number written as an integer",
        "A number is text with its country code: +46701234567 in an expression, \"+46701234567\" in a list. As an integer the + is lost, and with it what makes the number mean one subscriber.",
    ),
    code(
        "E023",
        "no such word",
        "The field takes one of a few words, or an ISO 3166 country code, and this is none of them. Words are case-sensitive.",
    ),
    code(
        "E040",
        "field not known when the rule runs",
        "A rule runs at the point that its `on` names. What the network has not told by then (the duration, at call start) cannot be asked.",
    ),
    code(
        "E041",
        "expression cannot be read",
        "The text breaks the grammar of the rule language. The message says what could have stood there.",
    ),
    code(
        "E042",
        "`and` and `or` without parentheses",
        "Which of the two binds first is remembered differently by different people, so the rule language asks for parentheses.",
    ),
    code(
        "E043",
        "unknown field",
        "No event has a field of this name. A misspelt field would otherwise be absent for ever.",
    ),
    code(
        "E044",
        "operator does not work on this type",
        "Every operator takes some types only. Numbers in particular are matched by digits from the left, never by regular expressions.",
    ),
    code(
        "E045",
        "value of another type",
        "What stands here cannot be compared with its field: texts stand in quotes, durations have a unit, words are bare.",
    ),
    code(
        "E046",
        "duration without a unit",
        "Write 6s, 250ms or 1h30m: a bare 6 could be any of seconds, minutes or milliseconds.",
    ),
    code("E047", "unknown list", "`$name` is a list of the [lists] table; there is none of that name."),
    code(
        "E048",
        "list of another type",
        "A list holds numbers, texts, addresses or countries, and fields of that type are looked up in it.",
    ),
    code("E049", "unknown macro", "`@name` is an entry of the [macros] table; there is none of that name."),
    code(
        "E051",
        "unknown calendar",
        "`during(name)` and `outside(name)` name an entry of the [calendars] table; there is none of that name.",
    ),
    code(
        "E052",
        "bad number or range",
        "A number has 3 to 15 digits, a pattern at most four `?`, and the two ends of a range are of one kind and length, the lower one first.",
    ),
    code(
        "E053",
        "bad regular expression",
        "The syntax is that of the Rust regex crate: linear time, so without look-around and back-references.",
    ),
    code(
        "E054",
        "expression too large",
        "A bound on length, depth or size that keeps one rule from costing every call. Lists have no such bound.",
    ),
    code(
        "E056",
        "bad level",
        "A level is an operator and a value in the unit of its measure: \">= 30\", \">= 300m\", \">= 70%\".",
    ),
    code(
        "E057",
        "critical weaker than warning",
        "The critical level would hold before the warning does, so there would never be a warning.",
    ),
    code("E058", "clear overlaps a level", "An episode would be over and going on at the same value."),
    code(
        "E059",
        "bad measure",
        "Measures are count, concurrent, distinct(field), sum(field), avg(field), share(condition) and run(field, step).",
    ),
    code(
        "E060",
        "macro uses itself",
        "Macros are trees that are filled in where they are used; one that contains itself has no end.",
    ),
    code("E061", "test that always holds", "The field is present in every event, so the test says nothing."),
    code(
        "E062",
        "field is no condition by itself",
        "Only fields that are yes or no (answered, anonymous, auth_failed) may stand alone.",
    ),
    code(
        "W110",
        "negated test of a field that may be absent",
        "With an absent field every positive test is false and so its negation true: `caller.country != SE` also means callers without a country. Say `is present` beside it where that is not meant.",
    ),
];

/// Every code there is.
pub fn all() -> impl Iterator<Item = &'static Code> {
    FILES.iter().chain(LANGUAGE)
}

/// What a code means, in any case.
pub fn explain(code: &str) -> Option<&'static Code> {
    all().find(|c| c.code.eq_ignore_ascii_case(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_explained() {
        let mut codes: Vec<_> = all().map(|c| c.code).collect();
        codes.sort_unstable();
        let n = codes.len();
        codes.dedup();
        assert_eq!(codes.len(), n);
        assert!(all().all(|c| c.explanation.ends_with('.') && c.code.len() == 4));
        assert_eq!(explain("e013").map(|c| c.title), Some("spreadsheet damage"));
        assert_eq!(explain("E999"), None);
    }
}
