//! Mail by SMTP, through the site's relay or a provider.
//!
//! [`Mail::send`] makes one try and says exactly what became of it; it never decides when there is another. A few
//! connections are shared by all who send: a letter waits for its turn, and goes over one that is idle where there is
//! one. An idle connection that turns out to be dead costs a fresh one, not a try.
//!
//! - `letter` makes the mail of a parcel, `reply` reads a server's answers, `session` holds the conversation.
//! - [`Canary`] sends a small mail now and then and says whether mail works.

mod canary;
mod letter;
mod reply;
mod session;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper_rustls::ConfigBuilderExt as _;
use lettre::message::Mailbox;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

pub use canary::{Canary, CanarySettings, MailHealth, Pulse};
pub use letter::{parse_address, parse_mailbox};
use session::{End, Greeter, Session};

use crate::clock::Clock;
use crate::delivery::{Outcome, Parcel};
use crate::limits::MAIL_SITE_CHARS_MAX;
use crate::notify::Secret;

/// How the way to the server is guarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// Begun in the clear and encrypted before anything is said; a server that does not offer it gets nothing.
    StartTls,
    /// From the first byte.
    Implicit,
    None,
}

impl Tls {
    /// The port where servers wait for it.
    pub fn port(self) -> u16 {
        match self {
            Tls::StartTls => 587,
            Tls::Implicit => 465,
            Tls::None => 25,
        }
    }
}

#[derive(Clone, Debug)]
pub struct Login {
    pub user: String,
    pub password: Secret,
}

/// How long each phase may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waits {
    /// The connection, and then again the greeting of TLS.
    pub connect: Duration,
    /// Each question and its answer; also how long a letter waits for its turn.
    pub command: Duration,
    /// The text, and then again the answer to it, which decides what became of it.
    pub data: Duration,
}

impl Default for Waits {
    fn default() -> Waits {
        let seconds = Duration::from_secs;
        Waits { connect: seconds(5), command: seconds(30), data: seconds(120) }
    }
}

#[derive(Clone, Debug)]
pub struct Settings {
    /// A name, which the certificate must have, or an address.
    pub host: String,
    pub port: u16,
    pub tls: Tls,
    /// PEM of the authorities to trust instead of the public ones.
    pub ca_file: Option<PathBuf>,
    pub login: Option<Login>,
    /// Of the envelope too: what cannot be delivered comes back to it.
    pub from: Mailbox,
    /// How this end calls itself; `None`: by its address.
    pub hello: Option<String>,
    pub waits: Waits,
    /// At most so many at once.
    pub connections: usize,
    /// How long a connection is kept that nobody uses.
    pub idle: Duration,
    pub canary: Option<CanarySettings>,
    /// Mails that it is given in a minute at most.
    pub per_minute: Option<usize>,
    /// Groups of incidents that concern the way by mail itself: grave notices of them go by text message too.
    pub groups: Vec<String>,
}

impl Settings {
    /// The usual ones, of a server.
    pub fn at(host: &str, tls: Tls, from: Mailbox) -> Settings {
        Settings {
            host: host.to_owned(),
            port: tls.port(),
            tls,
            ca_file: None,
            login: None,
            from,
            hello: None,
            waits: Waits::default(),
            connections: 8,
            idle: Duration::from_secs(5),
            canary: None,
            per_minute: None,
            groups: Vec::new(),
        }
    }
}

/// The way out by mail. See the module.
pub struct Mail {
    settings: Settings,
    site: String,
    greeter: Option<Greeter>,
    turns: Semaphore,
    idle: Arc<Idle>,
}

impl fmt::Debug for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mail").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Mail {
    /// `site`: what tells this installation from others that send from the same address; it goes into the ids of mails,
    /// so it must stay what it is.
    pub fn new(settings: &Settings, site: &str) -> Result<Mail, String> {
        let is_known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if site.is_empty() || site.len() > MAIL_SITE_CHARS_MAX || !site.chars().all(is_known) {
            return Err(format!(
                "mail: the site `{site}` is no word of up to {MAIL_SITE_CHARS_MAX} letters and digits"
            ));
        }
        let greeter = match settings.tls {
            Tls::None => None,
            Tls::StartTls | Tls::Implicit => {
                let name = ServerName::try_from(settings.host.clone());
                let name = name.map_err(|_| format!("mail: `{}` is no name a certificate can have", settings.host))?;
                Some(Greeter { name, connector: connector(settings.ca_file.as_deref())? })
            }
        };
        Ok(Mail {
            settings: settings.clone(),
            site: site.to_owned(),
            greeter,
            turns: Semaphore::new(settings.connections.max(1)),
            idle: Arc::default(),
        })
    }

    /// Connects, greets, logs in and hangs up: nothing is sent. The certificate that was shown, in DER.
    pub async fn reach(&self) -> Result<Option<Vec<u8>>, String> {
        let session = Session::open(&self.settings, self.greeter.as_ref()).await?;
        let shown = session.certificate();
        session.quit().await;
        Ok(shown)
    }

    pub fn per_minute(&self) -> Option<usize> {
        self.settings.per_minute
    }

    /// Letters that can be under way at once.
    pub fn connections(&self) -> usize {
        self.settings.connections
    }

    /// One try. Ends within the time-outs whatever the server does.
    pub async fn send(&self, parcel: &Parcel) -> Outcome {
        let letter = match letter::compose(parcel, &self.settings.from, &self.site) {
            Ok(letter) => letter,
            Err(why) => return Outcome::Never(why),
        };
        let wait = self.settings.waits.command;
        let Ok(Ok(_turn)) = timeout(wait, self.turns.acquire()).await else {
            return Outcome::Later(format!("all {} connections were busy for {wait:?}", self.settings.connections));
        };
        if let Some(mut session) = self.idle.take(self.settings.idle).await {
            match session.deliver(&letter).await {
                // It was dead, or grew tired of us. Nothing was taken, and a fresh one tells more.
                End::Lost(_) => {}
                end => return self.after(session, end),
            }
        }
        match Session::open(&self.settings, self.greeter.as_ref()).await {
            Err(why) => Outcome::Later(why),
            Ok(mut session) => {
                let end = session.deliver(&letter).await;
                self.after(session, end)
            }
        }
    }

    fn after(&self, session: Session, end: End) -> Outcome {
        if session.is_settled() {
            Idle::keep(&self.idle, session, self.settings.idle);
        }
        match end {
            End::Taken(receipt) => Outcome::Handed { receipt },
            End::Later(why) | End::Lost(why) => Outcome::Later(why),
            End::Never(why) => Outcome::Never(why),
            End::Unclear(why) => Outcome::Unknown(why),
        }
    }

    fn site(&self) -> &str {
        &self.site
    }
}

/// Connections that nobody uses, the latest used last; never more than there are turns.
#[derive(Default)]
struct Idle {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    sessions: Vec<(Instant, Session)>,
    is_swept: bool,
}

impl Idle {
    /// One that was used within the time and is still good.
    async fn take(&self, idle_max: Duration) -> Option<Session> {
        loop {
            let popped = self.kept.lock().unwrap_or_else(PoisonError::into_inner).sessions.pop();
            let (since, mut session) = popped?;
            if Clock.monotonic().duration_since(since) < idle_max && session.is_usable().await {
                return Some(session);
            }
        }
    }

    /// A task of its own hangs up what is not used in time, and ends with the last.
    fn keep(idle: &Arc<Idle>, session: Session, idle_max: Duration) {
        let mut kept = idle.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.sessions.push((Clock.monotonic(), session));
        if !std::mem::replace(&mut kept.is_swept, true) {
            tokio::spawn(Arc::clone(idle).sweep(idle_max));
        }
    }

    async fn sweep(self: Arc<Idle>, idle_max: Duration) {
        loop {
            tokio::time::sleep(idle_max).await;
            for session in self.take_old(idle_max) {
                session.quit().await;
            }
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.sessions.is_empty() {
                kept.is_swept = false;
                return;
            }
        }
    }

    fn take_old(&self, idle_max: Duration) -> Vec<Session> {
        let now = Clock.monotonic();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let n_old = kept.sessions.iter().take_while(|(since, _)| now.duration_since(*since) >= idle_max).count();
        kept.sessions.drain(..n_old).map(|(_, session)| session).collect()
    }
}

fn connector(ca_file: Option<&Path>) -> Result<TlsConnector, String> {
    let builder = ClientConfig::builder_with_provider(ring::default_provider().into());
    let builder = builder.with_safe_default_protocol_versions().map_err(|e| format!("mail: cannot set up TLS: {e}"))?;
    let config = match ca_file {
        Some(path) => builder.with_root_certificates(authorities(path)?).with_no_client_auth(),
        None => builder.with_webpki_roots().with_no_client_auth(),
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

fn authorities(path: &Path) -> Result<RootCertStore, String> {
    let shown = path.display();
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(path).map_err(|e| format!("mail: cannot read {shown}: {e}"))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|e| format!("mail: cannot read {shown}: {e}"))?;
        roots.add(certificate).map_err(|e| format!("mail: {shown}: not a usable authority: {e}"))?;
    }
    match roots.is_empty() {
        true => Err(format!("mail: {shown}: no certificate in it")),
        false => Ok(roots),
    }
}
