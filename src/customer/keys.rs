//! Every key of a customer's file, with an example for the advice.

use crate::policy::document::{Key, key};
pub(super) use crate::policy::tables::OWN_NUMBERS;
use crate::policy::tables::{EXCEPTION, FIREWALL, OVERRIDE, THRESHOLD};

pub(super) const NAME: Key = key("name", "name = \"Acme Ltd\"");
pub(super) const COUNTRY: Key = key("country", "country = \"SE\"");
pub(super) const TIME_ZONE: Key = key("time_zone", "time_zone = \"Europe/Stockholm\"");
pub(super) const PRE_AUTHORISED: Key = key("pre_authorised", "pre_authorised = [\"block:fraud\"]");
pub(super) const KITS: Key = key("kits", "kits = \"kits/acme\"");
pub(super) const TRUNK: Key = key("trunk", "[[trunk]]");
pub(super) const DIAL_PLAN: Key = key("dial_plan", "[dial_plan]");
pub(super) const CONTACT: Key = key("contact", "[[contact]]");
pub(super) const ROSTER: Key = key("roster", "[[roster]]");
pub(super) const DISTRIBUTION: Key = key("distribution", "[[distribution]]");
pub(super) const ONCALL: Key = key("oncall", "[[oncall]]");
pub(super) const COMMAND: Key = key("command", "[command]");
pub(super) const SEVERITY: Key = key("severity", "[severity]");
pub(super) const CALENDARS: Key = key("calendars", "[calendars]");
pub(super) const ESCALATION: Key = key("escalation", "[escalation]");

/// Rules, overrides and exceptions are read with the rules.
pub(super) const FILE: &[Key] = &[
    NAME,
    COUNTRY,
    TIME_ZONE,
    OWN_NUMBERS,
    TRUNK,
    DIAL_PLAN,
    CONTACT,
    ROSTER,
    DISTRIBUTION,
    COMMAND,
    ONCALL,
    SEVERITY,
    CALENDARS,
    PRE_AUTHORISED,
    ESCALATION,
    KITS,
    FIREWALL,
    THRESHOLD,
    OVERRIDE,
    EXCEPTION,
];

pub(super) const TRUNK_NAME: Key = key("name", "name = \"pstn-1\"");
pub(super) const GATEWAY: Key = key("gateway", "gateway = \"sbc-east\"");
pub(super) const TRUNK_KEYS: &[Key] = &[TRUNK_NAME, GATEWAY];

/// Those of [`crate::event::dialplan::DialPlanSettings`].
pub(super) const DIAL_PLAN_KEYS: &[Key] = &[
    COUNTRY,
    key("country_code", "country_code = \"46\""),
    key("international_prefixes", "international_prefixes = [\"00\"]"),
    key("trunk_prefix", "trunk_prefix = \"0\""),
    key("national_lengths", "national_lengths = [7, 8, 9]"),
    key("bare", "bare = \"national\""),
    key("area_code", "area_code = \"8\""),
    key("local_lengths", "local_lengths = [6, 7]"),
    key("short_digits_max", "short_digits_max = 6"),
    key("short_forms", "short_forms = { \"4???\" = \"+4684004???\" }"),
    key("outside_line", "outside_line = [\"9\"]"),
    key("emergency", "emergency = [\"911\"]"),
];

pub(super) const ID: Key = key("id", "id = \"anna\"");
pub(super) const CONTACT_NAME: Key = key("name", "name = \"Anna Berg\"");
pub(super) const EMAIL: Key = key("email", "email = \"anna.berg@acme.example\"");
pub(super) const EMAIL_VERIFIED: Key = key("email_verified", "email_verified = true");
pub(super) const MOBILE: Key = key("mobile", "mobile = \"+46701234567\"");
pub(super) const MOBILE_VERIFIED: Key = key("mobile_verified", "mobile_verified = true");
pub(super) const RIGHTS: Key = key("rights", "rights = [\"request\", \"authorise\", \"receive\"]");
pub(super) const USER: Key = key("user", "user = \"anna\"");
pub(super) const CONTACT_KEYS: &[Key] =
    &[ID, CONTACT_NAME, USER, EMAIL, EMAIL_VERIFIED, MOBILE, MOBILE_VERIFIED, RIGHTS];

pub(super) const ROSTER_NAME: Key = key("name", "name = \"on-call\"");
pub(super) const PEOPLE: Key = key("people", "people = [\"anna\", \"bo\"]");
pub(super) const ROSTER_KEYS: &[Key] = &[ROSTER_NAME, PEOPLE];

pub(super) const SEVERITIES: Key = key("severities", "severities = [1, 2]");
pub(super) const AUDIENCE: Key = key("audience", "audience = \"customer\"");
pub(super) const TO: Key = key("to", "to = [\"anna\", \"on-call\"]");
pub(super) const CHANNELS: Key = key("channels", "channels = [\"mail\", \"sms\"]");
pub(super) const DISTRIBUTION_KEYS: &[Key] = &[SEVERITIES, AUDIENCE, TO, CHANNELS];

pub(super) const STEPS: Key = key("steps", "steps = [{ to = [\"on-call\"] }, { to = [\"anna\"], after = \"15m\" }]");
pub(super) const REPEAT: Key = key("repeat", "repeat = 2");
pub(super) const REPEAT_AFTER: Key = key("repeat_after", "repeat_after = \"10m\"");
pub(super) const ONCALL_KEYS: &[Key] = &[SEVERITIES, CHANNELS, STEPS, REPEAT, REPEAT_AFTER];
pub(super) const AFTER: Key = key("after", "after = \"15m\"");
pub(super) const EACH: Key = key("each", "each = \"5m\"");
pub(super) const STEP_KEYS: &[Key] = &[TO, AFTER, EACH];

pub(super) const COMMANDERS: Key = key("commanders", "commanders = [\"maria\"]");
pub(super) const DEPUTIES: Key = key("deputies", "deputies = [\"lars\"]");
pub(super) const MANAGERS: Key = key("managers", "managers = [\"ingrid\"]");
pub(super) const DEPUTY_AFTER: Key = key("deputy_after", "deputy_after = \"5m\"");
pub(super) const MANAGER_AFTER: Key = key("manager_after", "manager_after = \"10m\"");
pub(super) const COMMAND_KEYS: &[Key] = &[COMMANDERS, DEPUTIES, MANAGERS, DEPUTY_AFTER, MANAGER_AFTER];

pub(super) const CRITICAL: Key = key("critical", "critical = 2");
pub(super) const WARNING: Key = key("warning", "warning = 3");
pub(super) const RULES: Key = key("rules", "rules.\"ips-wangiri\" = { critical = 1 }");
pub(super) const GROUPS: Key = key("groups", "groups.\"toll-fraud\" = { critical = 1 }");
pub(super) const SEVERITY_KEYS: &[Key] = &[CRITICAL, WARNING, RULES, GROUPS];
pub(super) const GRADE_KEYS: &[Key] = &[CRITICAL, WARNING];

pub(super) const SERVICE: Key = key("service", "service = \"us-central\"");
pub(super) const RESPONSE: Key = key("response", "response = { open = [\"Mon-Sun 00:00-24:00\"] }");
pub(super) const CALENDARS_KEYS: &[Key] = &[SERVICE, RESPONSE];

pub(super) const ESCALATION_NAME: Key = key("name", "name = \"Service desk\"");
pub(super) const PHONE: Key = key("phone", "phone = \"+4684000100\"");
pub(super) const ESCALATION_KEYS: &[Key] = &[ESCALATION_NAME, PHONE, EMAIL];
