//! JSON of the API, both ways: what it takes and what it gives. The commands read the same.
//!
//! Ids are as people write them, times RFC 3339 in UTC. A field that is missing from what is taken has its default; one
//! that is not known is a mistake.

pub mod deliveries;
pub mod keys;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Why something was not done.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ErrorAnswer {
    pub error: ErrorBody,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// For programs; it does not change.
    pub code: String,
    /// For people.
    pub message: String,
    /// Everything that is wrong with what was handed in.
    pub details: Vec<String>,
}

/// An order that was done; it is durable.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Done {
    /// `INC-000123`.
    pub incident: Option<String>,
    /// `MSG-000123`.
    pub message: Option<String>,
    /// What else happened, and what to do next.
    pub hints: Vec<String>,
}

/// A name and a value, such as of a rule's key.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Pair {
    pub name: String,
    pub value: String,
}

/// How an incident stands.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct IncidentView {
    pub id: String,
    pub customer: String,
    /// Of the rules whose alerts fold into it; empty where a person opened it.
    pub group: String,
    /// Equal values of these fold into it.
    pub target: Vec<Pair>,
    pub what: String,
    /// `candidate`, `suspected`, `confirmed`, `mitigating`, `monitoring`, `resolved`, `reviewed`, `dismissed`, `merged`.
    pub state: String,
    pub is_open: bool,
    /// `suspected` or `confirmed`.
    pub certainty: String,
    /// 1 disaster, 2 major, 3 minor, 4 low.
    pub severity: u8,
    pub severity_word: String,
    /// What the customer was last told it is.
    pub severity_told: Option<u8>,
    pub opened: String,
    pub changed: String,
    /// Of its first violation, in event time.
    pub first: String,
    pub last: String,
    pub violations: u64,
    pub alerts: u64,
    pub open_alerts: u64,
    pub commander: Option<String>,
    pub scribe: Option<String>,
    pub responders: Vec<String>,
    pub findings: Option<String>,
    pub recommendations: Option<String>,
    pub messages: Vec<String>,
    pub merged_into: Option<String>,
    pub reopened: u32,
    /// When the customer was first told.
    pub notified: Option<String>,
    pub resolved: Option<String>,
    pub clock: Option<ClockView>,
    pub next: Option<NextStep>,
}

/// Until when the customer must have heard.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ClockView {
    pub incident: String,
    pub customer: String,
    /// `running`, `breached`, `met`, `late`, `stopped`.
    pub state: String,
    pub start: String,
    /// What we aim at.
    pub target: String,
    /// What we owe.
    pub commit: String,
    pub ended: Option<String>,
    /// Until the commitment, in seconds; below zero past it. While it runs.
    pub left_s: Option<i64>,
    /// The same, in business time of the customer's response hours.
    pub business_left_s: Option<i64>,
}

/// What is to be done next, and by whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NextStep {
    pub what: String,
    /// Names, or a role.
    pub who: Vec<String>,
    pub due: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct IncidentList {
    pub incidents: Vec<IncidentView>,
    /// The `cursor` of the next page; null at the end.
    pub next: Option<String>,
}

/// An incident with what belongs to it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct IncidentPage {
    pub incident: IncidentView,
    /// The newest.
    pub alerts: Vec<AlertView>,
    pub messages: Vec<MessageView>,
    /// Of the incident, its messages and its clock.
    pub transitions: Vec<TransitionView>,
    /// There are more than these.
    pub more_transitions: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AlertView {
    pub number: i64,
    pub rule: String,
    pub key: Vec<Pair>,
    /// `open`, `quiet`, `closed`.
    pub state: String,
    pub is_critical: bool,
    pub is_flapping: bool,
    /// It stands for all keys that found no room.
    pub is_others: bool,
    pub violations: u64,
    pub first: String,
    pub last: String,
}

/// One step, which nobody changes any more.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TransitionView {
    pub number: i64,
    pub time: String,
    /// `INC-000123`, `MSG-000123`, `DLV-000123`, `clock`.
    pub of: String,
    /// Empty where it begins.
    pub from: String,
    pub to: String,
    pub what: String,
    pub who: String,
    /// An address, or `local`.
    pub came_from: String,
    pub why: String,
    /// Details of any kind, null where there are none.
    pub data: serde_json::Value,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TransitionList {
    pub transitions: Vec<TransitionView>,
    pub next: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ViolationView {
    pub id: String,
    pub time: String,
    pub rule: String,
    pub level: String,
    pub key: Vec<Pair>,
    pub measure: String,
    pub value: f64,
    pub threshold: f64,
    pub window: String,
    pub call_id: String,
    pub mode: String,
    pub alert: Option<i64>,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ViolationList {
    pub violations: Vec<ViolationView>,
    pub next: Option<String>,
}

/// The exact text of every form.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct FormsView {
    pub mail_subject: String,
    pub mail: String,
    pub sms: String,
    pub portal: String,
    pub acd: String,
}

/// One notice in every form.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct MessageView {
    pub id: String,
    pub incident: String,
    pub customer: String,
    pub kit: String,
    pub author: String,
    /// `drafted`, `checked`, `returned`, `released`, `superseded`, `withdrawn`.
    pub state: String,
    pub severity: u8,
    /// What its author handed in.
    pub texts: BTreeMap<String, String>,
    pub next_update: Option<String>,
    pub forms: FormsView,
    /// Of the exact text of every form: what is checked and released.
    pub hash: String,
    pub checked_by: Option<String>,
    pub checked: Option<String>,
    /// The check covers the very text that stands there now.
    pub is_check_good: bool,
    /// Why it was returned.
    pub comment: Option<String>,
    /// It went out before anybody checked it: the holding kit.
    pub is_before_check: bool,
    pub drafted: String,
    pub changed: String,
    pub released: Option<String>,
    pub released_by: Option<String>,
    /// When a provider took it for the customer.
    pub accepted: Option<String>,
}

/// What a person saw before any rule did.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenOrder {
    pub customer: String,
    pub what: String,
    /// 1 disaster, 2 major, 3 minor, 4 low.
    pub severity: u8,
    #[serde(default)]
    pub why: String,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WhyOrder {
    #[serde(default)]
    pub why: String,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SeverityOrder {
    pub severity: u8,
    pub why: String,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AssignOrder {
    /// `commander`, `scribe`, `responder`.
    pub position: String,
    pub person: String,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FoldOrder {
    /// The incident that takes this one in.
    pub into: String,
    #[serde(default)]
    pub why: String,
}

/// What the data say of an incident, for a person to better.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct FindingsDraft {
    pub findings: String,
    pub recommendations: String,
    /// Calls over time against the thresholds, as SVG.
    pub chart: String,
}

/// What is left out stays as it is.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FindingsOrder {
    #[serde(default)]
    pub findings: Option<String>,
    #[serde(default)]
    pub recommendations: Option<String>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NoteOrder {
    pub text: String,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DraftOrder {
    pub kit: String,
    /// By the names of the kit's variables.
    #[serde(default)]
    pub texts: BTreeMap<String, String>,
    /// When the customer hears more, RFC 3339.
    #[serde(default)]
    pub next_update: Option<String>,
}

/// Another text; what is left out stays as it was.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RedraftOrder {
    /// Of the text that was looked at; its first 8 digits do.
    pub hash: String,
    #[serde(default)]
    pub texts: BTreeMap<String, String>,
    #[serde(default)]
    pub next_update: Option<String>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HashOrder {
    /// Of the text that was looked at; its first 8 digits do.
    pub hash: String,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReturnOrder {
    pub comment: String,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct KitView {
    pub kind: String,
    pub title: String,
    /// For whom it is written.
    pub audience: String,
    pub version: String,
    pub variables: Vec<VariableView>,
    /// The templates.
    pub forms: FormsView,
}

/// A name that the texts of a kit use.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct VariableView {
    pub name: String,
    /// `text`, `number`, `time`, `list`.
    pub of: String,
    pub is_required: bool,
    /// Typed by a person, at the time.
    pub is_free: bool,
    pub chars_max: usize,
    pub default: Option<String>,
    pub fixed: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct KitList {
    pub kits: Vec<KitView>,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ObjectiveList {
    /// Clocks that run, or that are past and nobody was told yet; the most urgent first.
    pub clocks: Vec<ClockView>,
    /// Commitments that were missed since the service started.
    pub breaches: u64,
}

/// What lies between two instants, by a customer's calendar.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct CalendarTrace {
    pub customer: String,
    pub from: String,
    pub to: String,
    pub zone: String,
    /// Business time between them, in seconds.
    pub business_s: i64,
    /// A line a stretch, for people.
    pub steps: Vec<String>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    pub name: String,
    pub password: String,
}

/// Who one is, and what one may do.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Me {
    pub name: String,
    pub display: String,
    pub roles: Vec<String>,
    pub scopes: Vec<String>,
    /// Of a login by cookie: what changes something needs it in the header `X-CSRF-Token`.
    pub csrf: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct UserView {
    pub name: String,
    pub display: String,
    pub roles: Vec<String>,
    pub has_password: bool,
    pub is_disabled: bool,
    pub created: String,
    pub changed: String,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct UserList {
    pub users: Vec<UserView>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserOrder {
    pub name: String,
    #[serde(default)]
    pub display: String,
    pub roles: Vec<String>,
    /// Without one: no login by password, tokens only.
    #[serde(default)]
    pub password: Option<String>,
    /// A token for them at once, of all scopes that their roles can use.
    #[serde(default)]
    pub with_token: bool,
}

/// A new user, with the token that was asked for: it is shown this once.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct UserDone {
    pub user: UserView,
    pub token: Option<String>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RolesOrder {
    pub roles: Vec<String>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PasswordOrder {
    pub password: String,
    /// The one that held before, where it is one's own.
    #[serde(default)]
    pub before: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TokenView {
    pub id: String,
    pub user: String,
    pub label: String,
    pub scopes: Vec<String>,
    pub created: String,
    pub expires: Option<String>,
    pub last_used: Option<String>,
    pub revoked: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TokenList {
    pub tokens: Vec<TokenView>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenOrder {
    /// Whose it is; one's own unless an admin says otherwise.
    #[serde(default)]
    pub user: Option<String>,
    #[serde(default)]
    pub label: String,
    /// `read`, `incidents`, `messages`, `admin`; left out, all that one has but `admin`.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// How long it holds; left out, until it is revoked.
    #[serde(default)]
    pub days: Option<u32>,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TokenDone {
    pub token: TokenView,
    /// What to send behind `Bearer`; it is shown this once.
    pub text: String,
}

/// What callers of every queue hear.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct QueueList {
    pub queues: Vec<QueueView>,
}

/// What callers of a queue hear, and whether they do.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct QueueView {
    pub queue: String,
    /// Whose incidents they hear of; null: everybody's.
    pub customers: Option<Vec<String>>,
    /// False for a moment after a start, until it is known what is to be announced.
    pub is_known: bool,
    /// Null: nothing.
    pub text: Option<String>,
    /// To say it, as it is reckoned.
    pub seconds: f64,
    /// When the text became this.
    pub since: Option<String>,
    /// How long a telephone system may go on with what it fetched.
    pub expiry_s: u64,
    /// In the order in which they are said.
    pub announcements: Vec<AnnouncementView>,
    /// What callers do not hear: the first of it.
    pub left_out: Vec<LeftOutView>,
    pub left_out_count: u64,
    /// `off`, `waiting`, `ready`, `failed`.
    pub recording: String,
    pub recording_why: Option<String>,
    /// Whether what is served was fetched and is what was released: `waiting`, `good`, `failed`.
    pub read_back: String,
    pub read_back_at: Option<String>,
    pub read_back_why: Option<String>,
    /// Whether the queue's `push` was told: `off`, `waiting`, `done`, `failed`.
    pub push: String,
    pub push_at: Option<String>,
    pub push_why: Option<String>,
}

/// One released announcement.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AnnouncementView {
    pub incident: String,
    pub message: String,
    pub customer: String,
    /// 1 disaster, 2 major, 3 minor, 4 low.
    pub severity: u8,
    pub severity_word: String,
    pub released: String,
    pub text: String,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct LeftOutView {
    pub announcement: AnnouncementView,
    pub why: String,
}
