//! Ringfence: a voice firewall and voice intrusion-prevention system. Call events in, verdicts and violations out.
//!
//! # The path of an event
//!
//! `Frame -> CallEvent -> Verdict -> Violation -> Alert -> Incident -> Message -> Delivery`, one type an arrow, downward
//! through the modules below:
//!
//! - [`ingest`] cuts the bytes of a feed or file into frames and decodes each into a [`event::CallEvent`], or a counted
//!   [`event::Reject`]; a [`event::Batch`] carries the events of one block with the bytes their texts stand in. SIP
//!   messages become events by way of the [`ingest::CallTable`] that feeds share.
//! - [`engine`] puts batches in one order, asks the firewall of the [`policy`] for a verdict, counts what thresholds
//!   count in exact sliding [`window`]s, and hands the batch back [`engine::Judged`].
//! - [`journal`] keeps what the engine took, in its order; [`gateway`] answers the gateway and acknowledges what is on the
//!   disk, [`notify`] tells whoever listens of what was found in it; [`replay`] prints.
//! - [`desk`] takes what was found from the [`store`], hands it to the [`incident`] book, which folds it by the files of the
//!   [`customer`]s, and makes durable what the book says before anybody hears of it. People order it about through the API
//!   of the [`portal`] ([`people`] knows who they are); notices are made from [`kit`]s, [`findings`] from the calls.
//! - A released message is queued in the [`store`] for everybody who must hear, in the transaction that releases it;
//!   [`delivery`] hands each to a provider of its channel until one took it, and [`acd`] publishes what the callers of a
//!   queue hear. [`outbound`] is the one way out by HTTP. Alerts of other programs come in by [`upstream`] and go the same
//!   way from the store on.
//! - Whoever asks why is answered by [`explain`], which puts the past through an engine of its own; [`policy::trace`] says
//!   test by test what a rule made of an event. Nothing is kept for it while calls flow.
//! - Beside the rules, each [`customer`] has a file that says whose a call is, who is told, and when people work.
//! - Behind the flow, [`snapshot`] files hold the whole state at one place in the journal, the [`archive`] holds events by
//!   customer and hour for years, the [`store`] what people look up. A restart is a snapshot and the journal's tail through
//!   the same engine.
//!
//! # Who may import whom
//!
//! Words (`limits`, `clock`, `event`, `calendar`, `objective`) know nothing above them. The pure cores (`policy`,
//! `customer`, `window`, the engine's shards, `kit`, `incident`) take values and return values: they read no clock, no
//! socket, and never log or count. The rims (`gateway`, `notify`, `desk`, `portal`, `metrics`, `storage`) meet only in
//! [`service`], and commands only in [`cli`]. `tests/it/tidy.rs` holds the table and fails the build where it is broken.
//!
//! # The one loop
//!
//! What a threshold's `block` puts on a dynamic list is read by the firewall at the next event; it never leaves the
//! engine and acts in the order of the events. Nothing else flows upward.

pub mod clock;
mod codec;
pub mod current;
pub mod limits;
pub mod metrics;
pub mod printed;
pub mod storage;

pub mod calendar;
pub mod event;
pub mod objective;

pub mod ingest;

pub mod customer;
pub mod policy;
mod window;

pub mod kit;

pub mod engine;

pub mod journal;
pub mod store;

pub mod archive;

pub mod incident;

pub mod explain;
pub mod findings;

pub mod acd;
pub mod delivery;
pub mod desk;
pub mod people;
pub mod upstream;

pub mod gateway;
pub mod notify;
pub mod outbound;
pub mod portal;
pub mod reload;

pub mod snapshot;

pub mod config;
pub mod logging;
pub mod replay;
pub mod service;

pub mod acd_command;
pub mod archive_command;
pub mod backup;
pub mod baseline;
pub mod calendar_command;
pub mod check_command;
pub mod delivery_command;
pub mod doctor;
pub mod explain_command;
pub mod format_command;
pub mod incident_command;
pub mod keys_command;
pub mod kit_command;
pub mod oncall_command;
pub mod reload_command;
pub mod replay_command;
pub mod rule_test;
pub mod schema_command;
pub mod user_command;

pub mod demo;
pub mod send;
pub mod simulate;

pub mod cli;
