//! Providers of each channel, in the order in which they are tried, and whether each is worth trying.

use std::collections::VecDeque;
use std::sync::Arc;

use super::circuit::Circuit;
use super::mail::Mail;
use super::pagerduty::PagerDuty;
use super::sms::Sms;
use super::stdout::Stdout;
use super::syslog::Syslog;
use super::webhook::Webhook;
use super::{Found, Outcome, Parcel};
use crate::acd::Board;
use crate::clock::Timestamp;
use crate::incident::Message;

/// The channel that no machine serves: a page of people to phone, ticked off by hand.
pub const CALL_SHEET: &str = "call-sheet";
pub(super) const MAIL: &str = "mail";
pub(super) const SMS: &str = "sms";
pub(super) const ACD: &str = "acd";

/// Something that takes parcels.
#[derive(Debug)]
pub(super) enum Sender {
    Stdout(Stdout),
    Mail(Arc<Mail>),
    Sms(Sms),
    Webhook(Webhook),
    PagerDuty(PagerDuty),
    Syslog(Syslog),
    /// Shown there before this is asked.
    Acd(Arc<Board>),
    /// On the sheet it is as soon as it is on record.
    Sheet,
    /// Says what a test wants said.
    #[cfg(test)]
    Script(super::tests::Script),
}

/// What goes to a sender, whole.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) parcel: Parcel,
    pub(super) channel: String,
    pub(super) message: Option<Arc<Message>>,
}

impl Sender {
    pub(super) async fn send(&self, load: &Load) -> Outcome {
        match self {
            Sender::Stdout(stdout) => stdout.send(&load.parcel, &load.channel, load.message.as_deref()).await,
            Sender::Mail(mail) => mail.send(&load.parcel).await,
            Sender::Sms(sms) => sms.send(&load.parcel).await,
            Sender::Webhook(webhook) => webhook.send(&load.parcel).await,
            Sender::PagerDuty(pagerduty) => pagerduty.send(&load.parcel).await,
            Sender::Syslog(syslog) => syslog.send(&load.parcel).await,
            Sender::Acd(board) => announced(board, &load.parcel),
            Sender::Sheet => Outcome::Handed { receipt: String::new() },
            #[cfg(test)]
            Sender::Script(script) => script.send(&load.parcel).await,
        }
    }

    /// Asks for something that may have got there.
    pub(super) async fn find(&self, load: &Load) -> Found {
        match self {
            // It cannot be asked and need not be: a line that comes twice has the same delivery.
            Sender::Stdout(_) => Found::Absent,
            // The same mail twice has one id, and a log tells repeats by the delivery's name.
            Sender::Mail(_) | Sender::Syslog(_) => Found::Unclear("it cannot be asked".to_owned()),
            Sender::Sms(sms) => sms.find(&load.parcel).await,
            Sender::Webhook(webhook) => webhook.find(&load.parcel).await,
            Sender::PagerDuty(pagerduty) => pagerduty.find(&load.parcel).await,
            Sender::Acd(_) | Sender::Sheet => Found::Absent,
            #[cfg(test)]
            Sender::Script(script) => script.find(load.parcel.name.as_str()),
        }
    }
}

/// Callers hear it where a queue is for them.
fn announced(board: &Board, parcel: &Parcel) -> Outcome {
    let (queues, customer) = (board.queues_for(&parcel.customer), &parcel.customer);
    match (queues.is_empty(), parcel.is_end) {
        (true, _) => Outcome::Never(format!("no queue of the settings is for customer `{customer}`")),
        // Nothing is said any more.
        (false, true) => Outcome::Handed { receipt: format!("withdrawn from {}", queues.join(", ")) },
        (false, false) => Outcome::Handed { receipt: queues.join(", ") },
    }
}

#[derive(Debug)]
pub(super) struct Provider {
    pub(super) name: String,
    pub(super) sender: Arc<Sender>,
    pub(super) circuit: Circuit,
    /// Parcels that it is given in a minute at most; those of severity 1 count, and never wait.
    per_minute: Option<usize>,
    lately: VecDeque<Timestamp>,
}

const MINUTE_MS: i64 = 60_000;

impl Provider {
    pub(super) fn new(name: impl Into<String>, sender: Sender) -> Provider {
        let (name, sender, circuit) = (name.into(), Arc::new(sender), Circuit::default());
        Provider { name, sender, circuit, per_minute: None, lately: VecDeque::new() }
    }

    pub(super) fn at_most(mut self, per_minute: Option<usize>) -> Provider {
        self.per_minute = per_minute;
        self
    }

    /// It was given one.
    pub(super) fn gave(&mut self, now: Timestamp) {
        let Some(n) = self.per_minute else { return };
        self.lately.push_back(now);
        while self.lately.len() > n {
            self.lately.pop_front();
        }
    }

    fn takes(&self, severity: u8, now: Timestamp) -> bool {
        let is_full = |n| self.lately.len() >= n && self.lately.front().is_some_and(|at| at.plus_ms(MINUTE_MS) > now);
        self.circuit.allows(now) && (severity <= 1 || !self.per_minute.is_some_and(is_full))
    }
}

/// The providers of one channel.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) providers: Vec<Provider>,
    /// Parcels that are with them now.
    pub(super) n_sending: usize,
    pub(super) n_sending_max: usize,
}

impl Route {
    /// The one to try next: the first that is worth it, beginning behind the one that was tried last.
    pub(super) fn next(&self, last: &str, severity: u8, now: Timestamp) -> Option<usize> {
        let behind = self.providers.iter().position(|p| p.name == last).map_or(0, |place| place + 1);
        let n = self.providers.len();
        (0..n)
            .map(|i| (behind + i) % n)
            .find(|place| self.providers.get(*place).is_some_and(|p| p.takes(severity, now)))
    }

    /// Nobody of them is worth trying now.
    pub(super) fn is_down(&self) -> bool {
        self.providers.iter().all(|provider| provider.circuit.is_open())
    }

    pub(super) fn provider(&mut self, name: &str) -> Option<&mut Provider> {
        self.providers.iter_mut().find(|provider| provider.name == name)
    }

    pub(super) fn room(&self) -> usize {
        self.n_sending_max.saturating_sub(self.n_sending)
    }
}
