//! Text messages, handed to a provider over HTTP: Kannel's `sendsms`, Twilio's API, or whatever a template can be written
//! for.
//!
//! One try a call, and the exact word on it. A provider that answers with trouble of its own (a refused password, a wrong
//! path, a redirect) was certainly not moved to send anything: that is [`Outcome::Later`], and another provider may do. A
//! number that cannot be reached stays so: [`Outcome::Never`]. Text and numbers are never in an error; passwords are
//! nowhere but in the request.

mod generic;
mod kannel;
mod receipt;
mod twilio;

use hyper::StatusCode;

pub use generic::Settings as GenericSettings;
pub use kannel::Settings as KannelSettings;
pub use receipt::{Callback, Receipt, Receipts, State, Taker};
pub(crate) use receipt::{Post, Verdict};
pub use twilio::{Sender as TwilioSender, Settings as TwilioSettings};

use super::{Found, Outcome, Parcel};
use crate::kit::sms::SmsLength;
use crate::limits::SMS_PARTS_MAX;
use crate::outbound::{Client, Endpoint};

/// One `[[sms]]`. The first of them is asked first.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Stands in the addresses of its receipts: letters, digits, `-` and `_`.
    pub name: String,
    pub endpoint: Endpoint,
    pub kind: Kind,
    /// Texts that it is given in a minute at most.
    pub per_minute: Option<usize>,
}

#[derive(Clone, Debug)]
pub enum Kind {
    Kannel(KannelSettings),
    Twilio(TwilioSettings),
    Generic(Box<GenericSettings>),
}

/// One provider.
#[derive(Debug)]
pub struct Sms {
    settings: Settings,
    client: Client,
    callback: Option<Callback>,
}

impl Sms {
    /// `callback`: where receipts come; without one, what was handed over is all that is ever known.
    pub fn new(settings: Settings, callback: Option<Callback>) -> Result<Sms, String> {
        match &settings.kind {
            Kind::Kannel(kannel) => kannel.check()?,
            Kind::Twilio(twilio) => twilio.check()?,
            Kind::Generic(generic) => generic.check(&settings.endpoint)?,
        }
        let client = Client::new(&settings.endpoint)?;
        Ok(Sms { settings, client, callback })
    }

    pub fn per_minute(&self) -> Option<usize> {
        self.settings.per_minute
    }

    pub fn name(&self) -> &str {
        &self.settings.name
    }

    pub async fn send(&self, parcel: &Parcel) -> Outcome {
        if !is_number(&parcel.address) {
            return Outcome::Never("the number is not `+` and digits, as +46701234567 is".to_owned());
        }
        let text = text(parcel);
        let length = SmsLength::of(&text);
        if text.is_empty() {
            return Outcome::Never("there is no text".to_owned());
        }
        if length.n_parts > SMS_PARTS_MAX {
            return Outcome::Never(format!(
                "the text fills {} messages; {SMS_PARTS_MAX} are sent at most",
                length.n_parts
            ));
        }
        let callback = self.callback.as_ref().map(|callback| callback.url(self.name(), &parcel.name));
        let letter = Letter { parcel, text, is_unicode: length.forces_ucs2.is_some(), callback };
        match &self.settings.kind {
            Kind::Kannel(kannel) => kannel.send(&self.client, &letter).await,
            Kind::Twilio(twilio) => twilio.send(&self.client, &letter).await,
            Kind::Generic(generic) => generic.send(&self.client, &letter).await,
        }
    }

    /// Twilio can be asked; the others tell by their receipts, or never.
    pub async fn find(&self, parcel: &Parcel) -> Found {
        match &self.settings.kind {
            Kind::Twilio(twilio) => twilio.find(&self.client, parcel, &text(parcel)).await,
            Kind::Kannel(_) | Kind::Generic(_) => {
                Found::Unclear(format!("`{}` cannot be asked what it took; a receipt may still tell", self.name()))
            }
        }
    }
}

/// A parcel made ready.
struct Letter<'a> {
    parcel: &'a Parcel,
    /// With the link.
    text: String,
    /// A character is not in the GSM alphabet.
    is_unicode: bool,
    /// Where this delivery's receipts come.
    callback: Option<String>,
}

/// E.164 as it is written down: `+`, no leading zero, 5 to 15 digits.
fn is_number(address: &str) -> bool {
    address.strip_prefix('+').is_some_and(|digits| {
        (5..=15).contains(&digits.len()) && !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit())
    })
}

/// The link is the last line, where phones make it one to touch.
fn text(parcel: &Parcel) -> String {
    let text = parcel.text.trim();
    match &parcel.link {
        Some(link) if !text.contains(link.as_str()) => format!("{text}\n{link}").trim().to_owned(),
        _ => text.to_owned(),
    }
}

/// What an answer means that is neither a yes nor a word of its own: the provider's trouble passes, a refusal stays, and
/// of a server that failed half-way nobody knows what it did.
fn judge(status: StatusCode, said: String) -> Outcome {
    match status.as_u16() {
        300..=399 => {
            Outcome::Later(format!("{said}: it points elsewhere, and no redirect is followed; set its own address"))
        }
        401 | 403 | 407 => Outcome::Later(format!("{said}: it does not accept our name and password")),
        404 | 405 => Outcome::Later(format!("{said}: there is no such service at this address")),
        408 | 425 | 429 | 503 => Outcome::Later(said),
        400..=499 => Outcome::Never(said),
        _ => Outcome::Unknown(said),
    }
}

#[cfg(test)]
pub(super) mod tests;
