//! Ways to reach people and programs.

use super::Contact;

/// What a customer's file names as a channel: `mail`, `webhook:noc`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    Mail,
    Sms,
    CallSheet,
    /// Published, for whoever looks.
    Portal,
    /// Published, for whoever calls.
    Acd,
    /// A web server of the settings, by its name.
    Webhook(String),
    PagerDuty,
    Syslog,
}

impl Channel {
    /// Those without a name of their own.
    pub const PLAIN: [Channel; 7] = [
        Channel::Mail,
        Channel::Sms,
        Channel::CallSheet,
        Channel::Portal,
        Channel::Acd,
        Channel::PagerDuty,
        Channel::Syslog,
    ];

    /// The kind, without the name.
    pub fn as_str(&self) -> &'static str {
        match self {
            Channel::Mail => "mail",
            Channel::Sms => "sms",
            Channel::CallSheet => "call-sheet",
            Channel::Portal => "portal",
            Channel::Acd => "acd",
            Channel::Webhook(_) => "webhook",
            Channel::PagerDuty => "pagerduty",
            Channel::Syslog => "syslog",
        }
    }

    pub fn parse(text: &str) -> Option<Channel> {
        if let Some(name) = text.strip_prefix("webhook:") {
            return (!name.is_empty()).then(|| Channel::Webhook(name.to_owned()));
        }
        Channel::PLAIN.into_iter().find(|channel| channel.as_str() == text)
    }

    /// As files and deliveries write it.
    pub fn text(&self) -> String {
        match self {
            Channel::Webhook(name) => format!("webhook:{name}"),
            plain => plain.as_str().to_owned(),
        }
    }

    /// It reaches one person at an address; the others are there for programs, or for whoever looks or calls.
    pub fn is_personal(&self) -> bool {
        matches!(self, Channel::Mail | Channel::Sms | Channel::CallSheet)
    }

    /// What it needs of a contact, where it needs something.
    pub fn address<'c>(&self, contact: &'c Contact) -> Option<&'c str> {
        match self {
            Channel::Mail => contact.email.as_deref(),
            Channel::Sms | Channel::CallSheet => contact.mobile.as_deref(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_written_as_it_is_read() {
        for channel in Channel::PLAIN.into_iter().chain([Channel::Webhook("noc".into())]) {
            assert_eq!(Channel::parse(&channel.text()), Some(channel));
        }
        assert_eq!(Channel::parse("webhook:"), None);
        assert_eq!(Channel::parse("webhook"), None);
    }
}
