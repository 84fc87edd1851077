//! JSON of deliveries, of the call sheet and of those on call.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::TransitionView;

/// What goes to one person, or to one program, by one channel.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DeliveryView {
    /// `DLV-000123`.
    pub id: String,
    pub customer: String,
    /// `INC-000123`; null where it tells of several.
    pub incident: Option<String>,
    /// `MSG-000123`; null where it is no released message.
    pub message: Option<String>,
    pub severity: u8,
    /// `notice`: a released message; `page`: somebody on call is to look after an incident; `digest`: several notices in
    /// one.
    pub purpose: String,
    /// Kind of the notice: `holding`, `resolved`; `page`, `digest`.
    pub kit: String,
    pub channel: String,
    /// Empty where the channel knows by itself.
    pub address: String,
    pub person: String,
    /// In the customer's file; null where it is nobody of it.
    pub contact: Option<String>,
    /// What the person is there for: `customer`, `helpdesk`, `on-call`, `escalation`, `program`.
    pub audience: String,
    /// The customer counts as told when this one has come.
    pub is_for_customer: bool,
    /// `queued`, `leased`, `handed`, `delivered`, `unknown`, `failed`, `expired`, `suppressed`, `superseded`.
    pub state: String,
    /// Why it is in this state, where that needs saying.
    pub reason: String,
    /// What became of it, in a sentence.
    pub became: String,
    /// Who has it, or had it last.
    pub provider: String,
    /// The provider's own number of it.
    pub receipt: String,
    pub attempts: u32,
    pub queued: String,
    /// When it is tried next, where it is to be.
    pub due: Option<String>,
    /// After this it is not worth sending.
    pub valid_until: String,
    pub changed: String,
    /// When it was first taken, or the person reached.
    pub handed: Option<String>,
    /// The delivery that this one stands in for.
    pub instead_of: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DeliveryList {
    /// The newest first.
    pub deliveries: Vec<DeliveryView>,
    /// The `cursor` of the next page; null at the end.
    pub next: Option<String>,
}

/// A delivery with every step of it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DeliveryPage {
    pub delivery: DeliveryView,
    pub subject: String,
    /// What it says.
    pub text: String,
    /// Why there is one.
    pub why: String,
    /// The oldest first: who, when, why.
    pub steps: Vec<TransitionView>,
}

/// A delivery after an order about it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DeliveryDone {
    pub delivery: DeliveryView,
    pub hints: Vec<String>,
}

/// Somebody to phone.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct CallView {
    /// `DLV-000123`: what is ticked off.
    pub id: String,
    pub person: String,
    /// `+` and digits; null where nobody wrote one down.
    pub number: Option<String>,
    pub customer: String,
    pub customer_name: String,
    pub incident: Option<String>,
    pub message: Option<String>,
    pub kit: String,
    pub severity: u8,
    pub severity_word: String,
    /// Since when it stands there.
    pub since: String,
    /// Why it has to be said by phone.
    pub why: String,
    pub subject: String,
    /// What to read out.
    pub text: String,
    /// Why the text should not be read out as it is, where it should not.
    pub warning: Option<String>,
}

/// Whom to phone, the gravest first, then whoever has waited longest.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct CallSheet {
    pub calls: Vec<CallView>,
    /// There are more than these.
    pub more: bool,
}

/// What came of a call.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TickOrder {
    /// The person was told.
    pub reached: bool,
    #[serde(default)]
    pub note: String,
}

/// Who was told of an incident or a message, who was not, and why.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ToldPage {
    /// `INC-000123` or `MSG-000123`.
    pub of: String,
    pub incident: String,
    pub customer: String,
    /// Of what was released last; else of the incident.
    pub severity: u8,
    pub is_released: bool,
    pub people: Vec<ToldPerson>,
    /// There were more deliveries than were looked at: these are the newest.
    pub more: bool,
}

/// Somebody, and every way to them.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ToldPerson {
    /// Of a program the name of its channel.
    pub person: String,
    pub contact: Option<String>,
    pub audience: String,
    /// Whether a notice has come to them: `told`, `waiting`, `missed`; `called`: only called, to look after the incident;
    /// `not-meant`: the customer's file does not want them told.
    pub stands: String,
    pub ways: Vec<ToldWay>,
}

/// One way to somebody, taken or not.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ToldWay {
    pub delivery: Option<String>,
    pub message: Option<String>,
    /// `notice`, `page`.
    pub purpose: String,
    pub kit: String,
    /// Empty where no channel would be the right one.
    pub channel: String,
    pub address: String,
    /// Of the delivery; `none` where there is none.
    pub state: String,
    /// When it came into that state; of what is still to come, when that is.
    pub at: Option<String>,
    /// What became of it, in a sentence; or why there is none.
    pub became: String,
    /// Why it was to be sent.
    pub why: String,
    pub attempts: u32,
}

/// Who would be called, and who is being called.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct OnCallPage {
    pub chains: Vec<ChainView>,
    /// Incidents for which people are called, or were until somebody answered; open ones, the newest first.
    pub now: Vec<CallingView>,
}

/// Whom a customer's file has called at some severities.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ChainView {
    pub customer: String,
    /// 1 to 4.
    pub severities: Vec<u8>,
    /// `oncall`: a chain of the file; `command`: those who command, since the file has no chain; `nobody`.
    pub source: String,
    pub channels: Vec<String>,
    /// In the order in which they are called.
    pub calls: Vec<ChainCall>,
    /// How often the whole chain is gone through again.
    pub repeats: u32,
    /// From the last call to the first one again.
    pub repeat_after_s: i64,
    /// Who is told when nobody answers.
    pub escalation: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ChainCall {
    /// From the beginning.
    pub after_s: i64,
    pub person: String,
    pub contact: String,
    /// Ways by which the person can be called: `sms +4670000000`.
    pub by: Vec<String>,
}

/// How the calling for one incident stands.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct CallingView {
    pub incident: String,
    pub customer: String,
    pub severity: u8,
    pub what: String,
    /// `calling`, `acknowledged`, `unanswered`.
    pub state: String,
    pub since: String,
    /// The first is 1.
    pub round: u32,
    /// When the next person is called.
    pub next: Option<String>,
    pub acknowledged_by: Option<String>,
    pub acknowledged: Option<String>,
    /// The oldest first.
    pub called: Vec<CalledView>,
}

/// A call that was made.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct CalledView {
    pub delivery: String,
    pub person: String,
    pub channel: String,
    pub at: String,
    pub state: String,
    pub became: String,
}
