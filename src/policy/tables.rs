//! Every key of every table of a rule file: what works, what is refused as not supported yet, and an example for
//! the advice.

use super::document::{Key, key};

pub(crate) const RINGFENCE: Key = key("ringfence", "ringfence = 1");
pub(crate) const DEFAULT_ACTION: Key = key("default_action", "default_action = \"allow\"");
pub(crate) const TIME_ZONE: Key = key("time_zone", "time_zone = \"Europe/Stockholm\"");
pub(crate) const INCLUDE: Key = key("include", "include = [\"firewall/*.toml\", \"ips/*.toml\"]");
pub(crate) const LATENESS: Key = key("lateness", "lateness = \"5s\"");
pub(crate) const MAX_KEYS: Key = key("max_keys", "max_keys = 1000000");

/// Settings: only in `ruleset.toml`.
pub(crate) const SETTINGS: &[Key] = &[RINGFENCE, DEFAULT_ACTION, TIME_ZONE, INCLUDE, LATENESS, MAX_KEYS];

pub(crate) const FIREWALL: Key = key("firewall", "[[firewall]]");
pub(crate) const THRESHOLD: Key = key("threshold", "[[threshold]]");
pub(crate) const MACROS: Key = key("macros", "[macros]");
pub(crate) const LISTS: Key = key("lists", "[lists]");
pub(crate) const CALENDARS: Key = key("calendars", "[calendars]");
pub(crate) const OVERRIDE: Key = key("override", "[[override]]");
/// Of customers' files only: in a rule file, the rule itself has `except` and `mute`.
pub(crate) const EXCEPTION: Key = key("exception", "[[exception]]");
pub(crate) const TABLES: &[Key] = &[FIREWALL, THRESHOLD, MACROS, LISTS, CALENDARS, OVERRIDE];
/// Of `customers/<id>.baseline.toml`.
pub(crate) const BASELINE_TABLES: &[Key] = &[OVERRIDE, EXCEPTION];

pub(crate) const ID: Key = key("id", "id = \"a-name-of-its-own\"");
pub(crate) const ON: Key = key("on", "on = \"attempt\"");
pub(crate) const MODE: Key = key("mode", "mode = \"monitor\"");
pub(crate) const DESCRIPTION: Key = key("description", "description = \"short rings to many of our numbers\"");
pub(crate) const MESSAGE: Key = key("message", "message = \"many short calls from one range\"");
pub(crate) const OWNER: Key = key("owner", "owner = \"noc\"");
pub(crate) const TICKET: Key = key("ticket", "ticket = \"NOC-4711\"");
pub(crate) const REFERENCES: Key = key("references", "references = [\"https://...\"]");
pub(crate) const ACTIVE: Key = key("active", "active = \"business\"");

pub(crate) const CUSTOMERS: Key = key("customers", "customers = [\"acme\"]");
pub(crate) const EXCEPT: Key =
    key("except", "except = [{ where = 'diverting is present', reason = \"why\", expires = \"2027-03-31\" }]");
pub(crate) const MUTE: Key =
    key("mute", "mute = [{ where = 'caller == +46701234567', reason = \"why\", expires = \"2027-03-31\" }]");
pub(crate) const POSITION: Key = key("position", "position = \"pre\"");
pub(crate) const RENAMED_FROM: Key = key("renamed_from", "renamed_from = \"the-old-id\"");

pub(crate) const REASON: Key = key("reason", "reason = \"forwarded back by the carrier\"");
pub(crate) const EXPIRES: Key = key("expires", "expires = \"2027-03-31\"");
pub(crate) const EXCEPT_KEYS: &[Key] = &[WHERE, REASON, OWNER, TICKET, EXPIRES];

pub(crate) const RULE: Key = key("rule", "rule = \"ips-wangiri\"");
pub(crate) const KIND: Key = key("kind", "kind = \"mute\"");
pub(crate) const EXCEPTION_KEYS: &[Key] = &[RULE, WHERE, REASON, KIND, OWNER, TICKET, EXPIRES];

pub(crate) const CUSTOMER: Key = key("customer", "customer = \"acme\"");
/// What an override may change.
pub(crate) const OVERRIDE_CHANGES: &[Key] =
    &[WARNING, CRITICAL, WINDOW, COOLDOWN, CLEAR, MODE, ACTIVE, MIN_COUNT, ON_WARNING, ON_CRITICAL];
pub(crate) const OVERRIDE_KEYS: &[Key] = &[
    CUSTOMER,
    RULE,
    REASON,
    WARNING,
    CRITICAL,
    WINDOW,
    COOLDOWN,
    CLEAR,
    MODE,
    ACTIVE,
    MIN_COUNT,
    ON_WARNING,
    ON_CRITICAL,
    TICKET,
    EXPIRES,
];

pub(crate) const WHEN: Key = key("when", "when = 'direction == inbound and caller in $harassers'");
pub(crate) const ACTION: Key = key("action", "action = \"block\"");
pub(crate) const SIP_CODE: Key = key("sip_code", "sip_code = 603");
pub(crate) const DIVERT_TO: Key = key("divert_to", "divert_to = \"+46840000000\"");
pub(crate) const FLAG: Key = key("flag", "flag = \"suspect-id\"");
pub(crate) const TRACK: Key = key("track", "track = [\"log\", \"alert:warning\"]");

pub(crate) const FIREWALL_KEYS: &[Key] = &[
    ID,
    WHEN,
    ACTION,
    ON,
    MODE,
    DESCRIPTION,
    SIP_CODE,
    DIVERT_TO,
    FLAG,
    TRACK,
    ACTIVE,
    MESSAGE,
    OWNER,
    TICKET,
    REFERENCES,
    CUSTOMERS,
    EXCEPT,
    POSITION,
];

pub(crate) const WHERE: Key = key("where", "where = 'direction == inbound'");
pub(crate) const MEASURE: Key = key("measure", "measure = \"count\"");
pub(crate) const PER: Key = key("per", "per = [\"caller\"]");
pub(crate) const WINDOW: Key = key("window", "window = \"10m\"");
pub(crate) const WARNING: Key = key("warning", "warning = \">= 30\"");
pub(crate) const CRITICAL: Key = key("critical", "critical = \">= 80\"");
pub(crate) const CLEAR: Key = key("clear", "clear = \"< 20\"");
pub(crate) const COOLDOWN: Key = key("cooldown", "cooldown = \"1h\"");
pub(crate) const ALSO: Key = key("also", "also = [\"distinct(callee) >= 40\"]");
pub(crate) const AFTER: Key = key("after", "after = { rule = \"ips-wangiri\", within = \"1h\" }");
pub(crate) const AFTER_RULE: Key = key("rule", "rule = \"ips-wangiri\"");
pub(crate) const AFTER_WITHIN: Key = key("within", "within = \"1h\"");
pub(crate) const AFTER_SAME: Key = key("same", "same = [\"prefix(caller, 7) == prefix(callee, 7)\"]");
pub(crate) const AFTER_KEYS: &[Key] = &[AFTER_RULE, AFTER_WITHIN, AFTER_SAME];
pub(crate) const MEMORY: Key = key("memory", "memory = \"30d\"");
pub(crate) const FOR: Key = key("for", "for = \"30s\"");
pub(crate) const REMIND: Key = key("remind", "remind = \"1h\"");
pub(crate) const GROUP: Key = key("group", "group = \"toll-fraud\"");
pub(crate) const TARGET: Key = key("target", "target = [\"callee\"]");
pub(crate) const MIN_COUNT: Key = key("min_count", "min_count = 20");
pub(crate) const MIN_VALUE: Key = key("min_value", "min_value = \"50\"");
pub(crate) const MISSING_KEY: Key = key("missing_key", "missing_key = \"skip\"");
pub(crate) const COUNT_BLOCKED: Key = key("count_blocked", "count_blocked = false");
pub(crate) const MAX_BYTES: Key = key("max_bytes", "max_bytes = 1073741824");
pub(crate) const ON_WARNING: Key = key("on_warning", "on_warning = { do = [\"alert\"] }");
pub(crate) const ON_CRITICAL: Key =
    key("on_critical", "on_critical = { do = [\"alert\"], block = { list = \"auto_block\", ttl = \"6h\" } }");

pub(crate) const THRESHOLD_KEYS: &[Key] = &[
    ID,
    ON,
    MEASURE,
    PER,
    WINDOW,
    WARNING,
    CRITICAL,
    WHERE,
    CLEAR,
    COOLDOWN,
    GROUP,
    TARGET,
    MIN_COUNT,
    MODE,
    DESCRIPTION,
    ACTIVE,
    MISSING_KEY,
    COUNT_BLOCKED,
    MAX_KEYS,
    MAX_BYTES,
    ON_WARNING,
    ON_CRITICAL,
    MESSAGE,
    OWNER,
    TICKET,
    REFERENCES,
    ALSO,
    AFTER,
    FOR,
    REMIND,
    CUSTOMERS,
    EXCEPT,
    MUTE,
    RENAMED_FROM,
    MIN_VALUE,
    MEMORY,
];

pub(crate) const DO: Key = key("do", "do = [\"alert\", \"webhook:noc\"]");
pub(crate) const BLOCK: Key = key("block", "block = { list = \"auto_block\", ttl = \"6h\" }");
pub(crate) const REACTION_KEYS: &[Key] = &[DO, BLOCK];

pub(crate) const BLOCK_LIST: Key = key("list", "list = \"auto_block\"");
pub(crate) const BLOCK_TTL: Key = key("ttl", "ttl = \"6h\"");
pub(crate) const BLOCK_FIELD: Key = key("field", "field = \"caller\"");
pub(crate) const BLOCK_KEYS: &[Key] = &[BLOCK_LIST, BLOCK_TTL, BLOCK_FIELD];

pub(crate) const TYPE: Key = key("type", "type = \"number\"");
pub(crate) const ITEMS: Key = key("items", "items = [\"+46701234567\", \"+4670*\"]");
pub(crate) const FILE: Key = key("file", "file = \"lists/harassers.csv\"");
pub(crate) const DYNAMIC: Key = key("dynamic", "dynamic = true");
pub(crate) const MAX_ENTRIES: Key = key("max_entries", "max_entries = 50000");
pub(crate) const DEFAULT_TTL: Key = key("default_ttl", "default_ttl = \"6h\"");
pub(crate) const MAX_AGE: Key = key("max_age", "max_age = \"30d\"");
pub(crate) const ON_ERROR: Key = key("on_error", "on_error = \"keep-last\"");
pub(crate) const LIST_DESCRIPTION: Key = key("description", "description = \"numbers that harass our customers\"");
pub(crate) const LIST_KEYS: &[Key] =
    &[TYPE, ITEMS, FILE, DYNAMIC, MAX_ENTRIES, DEFAULT_TTL, MAX_AGE, ON_ERROR, LIST_DESCRIPTION];

/// Of a customer's file: an array of entries, or a table with these keys.
pub(crate) const OWN_NUMBERS: Key = key("own_numbers", "own_numbers = [\"+4684000000..+4684009999\"]");
pub(crate) const OWN_NUMBERS_KEYS: &[Key] = &[ITEMS, FILE, MAX_AGE, ON_ERROR];

pub(crate) const OPEN: Key = key("open", "open = [\"Mon-Fri 07:00-18:00\"]");
pub(crate) const CLOSED_DATES: Key = key("closed_dates", "closed_dates = [\"2026-12-24..2026-12-26\"]");
pub(crate) const OPEN_DATES: Key = key("open_dates", "open_dates = [\"2026-12-19 09:00-15:00\"]");
pub(crate) const CALENDAR_KEYS: &[Key] = &[OPEN, TIME_ZONE, CLOSED_DATES, OPEN_DATES];
