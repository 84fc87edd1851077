//! What goes out to people: the outbox with its providers, the board of announcements, and who watches over both.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::acd::{Board, push, read_back};
use crate::config::Config;
use crate::current::Current;
use crate::customer::Customers;
use crate::delivery::link::Links;
use crate::delivery::mail::{Canary, CanarySettings, Mail, MailHealth};
use crate::delivery::pagerduty::PagerDuty;
use crate::delivery::sms::{Callback, Receipts, Sms};
use crate::delivery::syslog::Syslog;
use crate::delivery::webhook::Webhook;
use crate::delivery::{self, Outbox};
use crate::desk::Desk;
use crate::store::Store;

/// See the module.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) outbox: Outbox,
    pub(super) board: Arc<Board>,
    pub(super) links: Links,
    /// Those who take what providers of text messages tell later.
    pub(super) receipts: Option<Receipts>,
    canary: Option<(Arc<Mail>, CanarySettings)>,
}

/// Letters of the text that tells this installation's mails from others'.
const SITE_CHARS: usize = 12;

impl Outgoing {
    pub(super) fn start(
        config: &Config,
        folder: &Path,
        store: &Arc<Store>,
        desk: &Desk,
        customers: &Current<Customers>,
    ) -> anyhow::Result<Outgoing> {
        let links = Links::open(folder, config.public_url.clone()).context("cannot read or make the key of links")?;
        let site = links.proof("site", "");
        let site = site.get(..SITE_CHARS).unwrap_or(&site);
        let mail = config.mail.as_ref().map(|settings| Mail::new(settings, site).map(Arc::new)).transpose();
        let mail = mail.map_err(anyhow::Error::msg)?;
        let board = Board::start(config.acd.clone(), Some(folder.to_owned())).map_err(anyhow::Error::msg)?;
        let board = Arc::new(board);
        let callback = config.public_url.as_ref().map(|url| Callback::new(url, links.proof("sms", "").as_bytes()));
        let settings = providers(config, mail.clone(), callback.clone()).map_err(anyhow::Error::msg)?;
        let charge = delivery::Charge {
            store: Arc::clone(store),
            desk: desk.clone(),
            customers: customers.clone(),
            links: links.clone(),
            board: Arc::clone(&board),
        };
        let outbox = Outbox::start(settings, charge, Handle::current()).map_err(anyhow::Error::msg)?;
        let taker = outbox.clone();
        let receipts = callback.filter(|_| !config.sms.is_empty()).map(|callback| {
            Receipts::new(
                callback,
                &config.sms,
                Arc::new(move |receipt| taker.receipt(delivery::Receipt::from(receipt))),
            )
        });
        let canary = mail.zip(config.mail.as_ref().and_then(|mail| mail.canary.clone()));
        Ok(Outgoing { outbox, board, links, receipts, canary })
    }

    /// Those who watch, until `stopping` turns true. `http`: where announcements are fetched from.
    pub(super) fn watch(&self, http: Option<SocketAddr>, stopping: &watch::Receiver<bool>) -> Vec<JoinHandle<()>> {
        let mut tasks = vec![tokio::spawn(push(Arc::clone(&self.board), stopping.clone()))];
        if let Some((mail, settings)) = self.canary.clone() {
            let (health, mut seen) = watch::channel(MailHealth::Unknown);
            tasks.push(tokio::spawn(Canary::run(mail, settings, health, stopping.clone())));
            let outbox = self.outbox.clone();
            tasks.push(tokio::spawn(async move {
                // The canary is gone: so is what it could say.
                while seen.changed().await.is_ok() {
                    let is_down = matches!(*seen.borrow_and_update(), MailHealth::Down { .. });
                    let outbox = outbox.clone();
                    spawn_blocking(move || outbox.mail_is_down(is_down)).await.unwrap_or_default();
                }
            }));
        }
        if let Some(address) = http {
            let (board, outbox) = (Arc::clone(&self.board), self.outbox.clone());
            let told = move |queue: &str, messages: &[i64], outcome: Result<(), String>| {
                outbox.was_read_back(queue, messages, outcome);
            };
            tasks.push(tokio::spawn(read_back(board, address, told, stopping.clone())));
        }
        tasks
    }
}

fn providers(
    config: &Config,
    mail: Option<Arc<Mail>>,
    callback: Option<Callback>,
) -> Result<delivery::Settings, String> {
    let sms = config.sms.iter().map(|settings| Sms::new(settings.clone(), callback.clone()));
    let webhooks = config.notify.webhooks.iter().map(|(name, settings)| Webhook::new(name, settings));
    Ok(delivery::Settings {
        notices: config.notices.clone(),
        mail,
        mail_groups: config.mail.iter().flat_map(|mail| mail.groups.iter().cloned()).collect(),
        sms: sms.collect::<Result<_, _>>()?,
        webhooks: webhooks.collect::<Result<_, _>>()?,
        pagerduty: config.pagerduty.clone().map(PagerDuty::new).transpose()?,
        syslog: config.syslog.as_ref().map(Syslog::new).transpose()?,
    })
}
