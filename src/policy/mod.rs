//! One immutable, compiled set of rules, and how it is loaded from text.
//!
//! Rule files say what analysts want ([`syntax`] reads them, [`load`](load()) checks them all and reports every
//! mistake at once); a [`Policy`] is what the engine runs. Nothing here reads a clock or a socket.

mod address_set;
mod ast;
mod chains;
pub mod check;
pub mod codes;
pub mod concern;
mod country_set;
pub mod coverage;
pub(crate) mod declared;
pub(crate) mod document;
pub mod dynamic;
mod exceptions;
pub mod expression;
pub mod field;
pub mod format;
pub mod level;
mod lists;
pub(crate) mod literal;
pub mod load;
mod lookback;
pub mod measure;
mod membership;
pub mod memory;
mod negation;
pub mod number_set;
mod operand;
pub mod origin;
mod overrides;
pub mod predicate;
pub mod problem;
mod reach;
pub mod render;
pub(crate) mod rules;
pub mod schema;
mod shipped;
pub mod source;
mod syntax;
pub(crate) mod tables;
mod text_set;
mod thresholds;
mod token;
pub mod trace;
mod typing;
mod usual;
mod written;

use std::path::PathBuf;
use std::sync::Arc;

pub use chains::{After, Chain};
pub use concern::{Concern, Exception};
pub use dynamic::DynamicLists;
pub use load::{Counts, LoadOptions, Loaded, load};
pub use measure::{Also, Level, Levels, Measure, Operator};
pub use predicate::{Operand, Predicate, View};
pub use problem::Problem;
pub use source::RuleSource;
pub use usual::Usual;
pub use written::{Written, WrittenRule};

use self::number_set::NumberSet;
use crate::calendar::Calendar;
use crate::clock::Timestamp;
use crate::customer::Customers;
use crate::event::numbering::Numbering;
use crate::event::{Class, Number};

impl Policy {
    /// A number that counting never blocks: an emergency number or one of the own numbers of the event's customer.
    pub fn is_protected(&self, number: Number, view: &View<'_>) -> bool {
        self.is_protected_by(number, self.customers_own(view), view.event.time)
    }

    /// The same where there is no event.
    pub(crate) fn is_protected_for(&self, number: Number, customer: &str, at: Timestamp) -> bool {
        self.is_protected_by(number, self.customers.own_numbers(customer), at)
    }

    fn is_protected_by(&self, number: Number, own: Option<&NumberSet>, at: Timestamp) -> bool {
        if self.numbering.class(number) == Class::Emergency {
            return true;
        }
        let listed = self.own_numbers.and_then(|i| self.lists.get(i)).map(|list| &list.content);
        let own = own.or(match listed {
            Some(ListContent::Numbers(set)) => Some(set),
            _ => None,
        });
        own.is_some_and(|set| set.contains(number, at))
    }

    /// What `$own_numbers` is for the customer of this event, where its file says that.
    pub(crate) fn customers_own(&self, view: &View<'_>) -> Option<&NumberSet> {
        // Most installations have no such file: no name is looked up for them.
        if !self.customers.has_own_numbers() {
            return None;
        }
        self.customers.own_numbers(view.names.customer_text(view.event.customer))
    }
}

/// What the firewall says of an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Action {
    #[default]
    Allow,
    Block,
    Divert,
    /// Marks and goes on; never a final verdict.
    Flag,
}

impl Action {
    pub const ALL: &'static [Action] = &[Action::Allow, Action::Block, Action::Divert, Action::Flag];

    pub fn as_str(self) -> &'static str {
        match self {
            Action::Allow => "allow",
            Action::Block => "block",
            Action::Divert => "divert",
            Action::Flag => "flag",
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    #[default]
    Enforce,
    /// Evaluated, counted, recorded; tells nobody, blocks nothing.
    Monitor,
    Off,
}

impl Mode {
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Enforce => "enforce",
            Mode::Monitor => "monitor",
            Mode::Off => "off",
        }
    }
}

/// When a rule runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum On {
    Attempt,
    Answer,
    End,
    /// The life of a call: `concurrent` only.
    Call,
    Register,
    /// Any SIP request: attempt, register, options, message.
    Request,
}

impl On {
    pub fn as_str(self) -> &'static str {
        match self {
            On::Attempt => "attempt",
            On::Answer => "answer",
            On::End => "end",
            On::Call => "call",
            On::Register => "register",
            On::Request => "request",
        }
    }
}

/// How loud a violation is. `Warning < Critical`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Severity {
    Warning,
    Critical,
}

impl Severity {
    pub const ALL: &'static [Severity] = &[Severity::Warning, Severity::Critical];

    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        }
    }
}

/// Everything the engine needs of a rule folder.
#[derive(Debug)]
pub struct Policy {
    /// First 7 hex digits of the hash over every file that was read.
    pub version: String,
    pub default_action: Action,
    pub time_zone: jiff::tz::TimeZone,
    /// What counts as "late" for ticks of live feeds, ms (`lateness`).
    pub lateness_ms: i64,
    /// In evaluation order, variants beside their rules; rules of mode `off` are not here.
    pub firewall: Vec<FirewallRule>,
    /// In evaluation order, variants beside their rules; rules of mode `off` are not here.
    pub thresholds: Vec<ThresholdRule>,
    /// Distinct `per` lists, each computed once an event whatever the number of rules that use it.
    pub keys: Vec<KeySpec>,
    pub lists: Vec<List>,
    pub calendars: Vec<Arc<Calendar>>,
    pub numbering: Arc<Numbering>,
    /// Index into `lists` of `own_numbers`, where there is one: nothing puts these on a dynamic list. A customer whose
    /// file has its own numbers has those in its place.
    pub own_numbers: Option<usize>,
    /// What it was read from, wherever that lies; none of texts in memory.
    pub files: Vec<PathBuf>,
    /// Shared with whoever asks what a customer's file says.
    pub customers: Arc<Customers>,
    /// In the words of the files, for [`trace`].
    pub written: Written,
}

impl Policy {
    /// Without a rule or a list; every call is allowed. What tests and benches start from.
    pub fn empty(time_zone: jiff::tz::TimeZone) -> Policy {
        Policy {
            version: String::new(),
            default_action: Action::Allow,
            customers: Arc::new(Customers::open(time_zone.clone())),
            time_zone,
            lateness_ms: 5_000,
            firewall: Vec::new(),
            thresholds: Vec::new(),
            keys: Vec::new(),
            lists: Vec::new(),
            calendars: Vec::new(),
            numbering: Numbering::builtin(),
            own_numbers: None,
            written: Written::default(),
            files: Vec::new(),
        }
    }
}

impl Default for Policy {
    fn default() -> Policy {
        Policy::empty(jiff::tz::TimeZone::UTC)
    }
}

#[derive(Debug)]
pub struct FirewallRule {
    pub id: String,
    /// Place among all rules of the set, firewall and threshold alike, in written order.
    pub position: u32,
    pub on: On,
    pub mode: Mode,
    pub action: Action,
    /// `when`, and `during(active)` where `active` is set.
    pub when: Predicate,
    pub sip_code: Option<u16>,
    pub divert_to: Option<String>,
    pub flag: Option<String>,
    /// `track = ["alert:..."]`: a violation of measure `match` each time the rule starts to match for a caller.
    pub track: Option<Severity>,
    pub message: Option<String>,
    pub cause: Cause,
    /// Which events it looks at.
    pub concern: Concern,
}

/// Why a verdict is what it is; the FCC's and RFC 8688's answer to the caller depends on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Cause {
    /// The default action.
    #[default]
    None,
    Policy,
    /// Matched through a list of a file or of the rules.
    List,
    /// Matched through a dynamic list or a threshold.
    Analytics,
}

impl Cause {
    pub const ALL: &'static [Cause] = &[Cause::None, Cause::Policy, Cause::List, Cause::Analytics];

    pub fn as_str(self) -> &'static str {
        match self {
            Cause::None => "none",
            Cause::Policy => "policy",
            Cause::List => "list",
            Cause::Analytics => "analytics",
        }
    }
}

#[derive(Debug)]
pub struct ThresholdRule {
    pub id: String,
    /// See [`FirewallRule::position`].
    pub position: u32,
    pub on: On,
    pub mode: Mode,
    /// Which events it looks at, and of which nobody is told.
    pub concern: Concern,
    /// The id it had before: what was counted under it goes on.
    pub renamed_from: Option<String>,
    /// `where`, and `during(active)` where `active` is set; `None` passes every event.
    pub condition: Option<Predicate>,
    pub measure: Measure,
    /// Further conditions on the same window and key.
    pub also: Vec<Also>,
    /// It counts only what follows a violation of another rule; part of `condition`.
    pub after: Option<After>,
    /// What others that follow it look for.
    pub chains: Vec<Chain>,
    /// Index into [`Policy::keys`].
    pub key: usize,
    /// Alerts of rules of one group may fold into one incident; the id where nothing else is written.
    pub group: String,
    /// Indices into the parts of the key: alerts fold only where their values of these are equal. None for all keys.
    pub target: Vec<usize>,
    /// 0 for `concurrent` and `longest`.
    pub window_ms: i64,
    /// As written; `0s` for `concurrent` and `longest`.
    pub window_text: String,
    pub levels: Levels,
    /// What levels such as `>= 3x` are held against, where there is a file of it.
    pub usual: Option<Arc<Usual>>,
    /// `min_value`: no level of what is usual holds where it, or what is usual of one to fall below, is smaller.
    pub least: i128,
    pub cooldown_ms: i64,
    /// `for`: how long a level must hold without a break; 0: not at all.
    pub hold_ms: i64,
    /// `remind`: how often an episode that goes on is told again.
    pub remind_ms: Option<i64>,
    /// `share` and `avg` say nothing below it.
    pub min_count: u32,
    pub count_blocked: bool,
    pub max_keys: u64,
    pub max_bytes: u64,
    pub on_warning: Reaction,
    pub on_critical: Reaction,
    pub message: Option<String>,
    pub description: Option<String>,
    pub owner: Option<String>,
    pub ticket: Option<String>,
    pub references: Vec<String>,
}

/// `on_warning`, `on_critical`.
#[derive(Clone, Debug, Default)]
pub struct Reaction {
    /// `do = ["alert"]`; the default where nothing is written.
    pub alert: bool,
    /// `do = ["webhook:NAME"]`.
    pub webhooks: Vec<String>,
    pub block: Option<Block>,
}

/// `block = { list, ttl, field }`.
#[derive(Clone, Debug)]
pub struct Block {
    /// Index into [`Policy::lists`]; dynamic.
    pub list: usize,
    /// How long the entry outlives the episode that made it.
    pub ttl_ms: i64,
    pub field: Operand,
}

/// A `per` list.
#[derive(Clone, Debug, PartialEq)]
pub struct KeySpec {
    pub parts: Vec<KeyPart>,
    /// `missing_key = "merge"`: an absent part counts as its own value instead of skipping the event.
    pub merge_missing: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct KeyPart {
    /// As written, for the `key` of a violation: `prefix(caller, 6)`.
    pub name: String,
    pub operand: Operand,
}

#[derive(Debug)]
pub struct List {
    pub name: String,
    pub content: ListContent,
    /// Largest number of entries.
    pub max_entries: Option<usize>,
}

#[derive(Debug)]
pub enum ListContent {
    Numbers(number_set::NumberSet),
    Texts(predicate::TextSet),
    Addresses(predicate::AddressSet),
    Countries(predicate::CountrySet),
    /// Filled by `block`; what it holds lives in the engine.
    Dynamic(DynamicKind),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DynamicKind {
    Numbers,
    Texts,
    Addresses,
}
