//! The four forms of one message (mail has two texts), what is wrong with them, and the hash of all of it.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::lint::Lint;
use super::sms::SmsLength;
use super::{clean, phone, speech};
use crate::limits::{
    ACD_SECONDS_MAX, ACD_SECONDS_REFUSED, KIT_FORM_BYTES_MAX, MAIL_SUBJECT_CHARS_MAX, SMS_UCS2_PARTS_MAX,
};

/// Where a text goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    MailSubject,
    Mail,
    Sms,
    Portal,
    Acd,
}

impl Form {
    pub const ALL: [Form; 5] = [Form::MailSubject, Form::Mail, Form::Sms, Form::Portal, Form::Acd];

    /// As kits and JSON name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Form::MailSubject => "mail_subject",
            Form::Mail => "mail",
            Form::Sms => "sms",
            Form::Portal => "portal",
            Form::Acd => "acd",
        }
    }

    /// Anybody may see or hear it.
    pub(crate) fn is_public(self) -> bool {
        matches!(self, Form::Portal | Form::Acd)
    }

    /// May hold several lines.
    pub(crate) fn has_lines(self) -> bool {
        matches!(self, Form::Mail | Form::Portal)
    }
}

/// One message in every form: what is checked, hashed, released and sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forms {
    pub mail_subject: String,
    pub mail: String,
    pub sms: String,
    pub portal: String,
    pub acd: String,
}

impl Forms {
    pub fn get(&self, form: Form) -> &str {
        match form {
            Form::MailSubject => &self.mail_subject,
            Form::Mail => &self.mail,
            Form::Sms => &self.sms,
            Form::Portal => &self.portal,
            Form::Acd => &self.acd,
        }
    }

    pub(crate) fn set(&mut self, form: Form, text: String) {
        match form {
            Form::MailSubject => self.mail_subject = text,
            Form::Mail => self.mail = text,
            Form::Sms => self.sms = text,
            Form::Portal => self.portal = text,
            Form::Acd => self.acd = text,
        }
    }

    /// SHA-256, in hexadecimal, over the exact texts, each after its length: no byte can move from one form to the
    /// next unseen.
    pub fn hash(&self) -> String {
        let mut hash = Sha256::new();
        for form in Form::ALL {
            let text = self.get(form);
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text.as_bytes());
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// What can be told from the texts alone, errors and warnings: for texts that a person has edited since.
    pub fn lints(&self) -> Vec<Lint> {
        let mut lints = Vec::new();
        for form in Form::ALL {
            lints.extend(self.lints_of(form));
        }
        lints
    }

    pub(crate) fn lints_of(&self, form: Form) -> Vec<Lint> {
        let text = self.get(form);
        let mut lints = Vec::new();
        if text.trim().is_empty() {
            lints.push(Lint::error("E212", form, "is empty"));
        }
        if text.len() > KIT_FORM_BYTES_MAX {
            let message = format!("is longer than {KIT_FORM_BYTES_MAX} bytes");
            return vec![Lint::error("E207", form, message)];
        }
        if let Some(c) = clean::unfit(text, form.has_lines()) {
            lints.push(Lint::error("E209", form, format!("holds {}, which does not show", name(c))));
        }
        lints.extend(self.length(form));
        if form.is_public() {
            let mut numbers = phone::numbers(text);
            numbers.sort_unstable();
            numbers.dedup();
            if numbers.len() > 1 {
                let message = format!("is public and lists {} telephone numbers", numbers.len());
                lints.push(Lint::error("E208", form, message).help("name the escalation contact's number only"));
            }
        }
        lints
    }

    /// An SMS of several parts is an error in the GSM alphabet, where words can be found that fit. In another script 70
    /// units hold too little, and a customer's name must not keep a message from going out: three parts are taken. For
    /// the same reason an announcement may be a little long when it is made, though not when its kit is saved.
    fn length(&self, form: Form) -> Option<Lint> {
        let text = self.get(form);
        match form {
            Form::MailSubject if text.chars().count() > MAIL_SUBJECT_CHARS_MAX => {
                let n = text.chars().count();
                Some(Lint::error("E207", form, format!("has {n} characters; at most {MAIL_SUBJECT_CHARS_MAX} show")))
            }
            Form::Sms => {
                let length = SmsLength::of(text);
                let (n, unit, max) = (length.n_units, length.unit(), length.n_units_max());
                let is_foreign = length.forces_ucs2.is_some();
                let because = length.forces_ucs2.map_or(String::new(), |c| format!(", because of {}", name(c)));
                if length.n_parts > if is_foreign { SMS_UCS2_PARTS_MAX } else { 1 } {
                    let message = format!("has {n} {unit}{because}; one part holds {max}");
                    return Some(
                        Lint::error("E207", form, message)
                            .help("shorten a value for this form: {{ what|shorten(40) }}"),
                    );
                }
                is_foreign.then(|| {
                    let parts =
                        if length.n_parts == 1 { "one part".to_owned() } else { format!("{} parts", length.n_parts) };
                    Lint::warning("W202", form, format!("goes out as {n} {unit} in {parts}{because}"))
                })
            }
            Form::Acd if speech::seconds(text) > ACD_SECONDS_MAX => {
                let seconds = speech::seconds(text);
                let message = format!("takes {seconds:.1} s to say; callers listen for {ACD_SECONDS_MAX} s");
                let is_refused = seconds > ACD_SECONDS_REFUSED;
                let lint =
                    if is_refused { Lint::error("E207", form, message) } else { Lint::warning("W205", form, message) };
                Some(lint.help("leave out what callers cannot use"))
            }
            _ => None,
        }
    }
}

/// A character as a person can look it up.
pub(crate) fn name(c: char) -> String {
    let code = format!("U+{:04X}", u32::from(c));
    if c.is_control() || c.is_whitespace() || clean::unfit(c.encode_utf8(&mut [0; 4]), true).is_some() {
        code
    } else {
        format!("`{c}` ({code})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forms() -> Forms {
        let text = |s: &str| s.to_owned();
        Forms {
            mail_subject: text("subject"),
            mail: text("mail\nof two lines"),
            sms: text("sms"),
            portal: text("portal"),
            acd: text("said"),
        }
    }

    fn codes(forms: &Forms) -> String {
        forms.lints().iter().map(|l| l.code).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_hash_changes_with_any_byte_of_any_form() {
        let original = forms();
        let mut seen = vec![original.hash()];
        for form in Form::ALL {
            for (i, _) in original.get(form).char_indices() {
                let mut changed = original.clone();
                let mut text = changed.get(form).to_owned().into_bytes();
                text[i] ^= 1;
                changed.set(form, String::from_utf8(text).unwrap());
                seen.push(changed.hash());
            }
        }
        // A byte that moves from the end of one form to the start of the next.
        let moved = Forms { mail_subject: "subjec".to_owned(), mail: "tmail\nof two lines".to_owned(), ..original };
        seen.push(moved.hash());
        let n = seen.len();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), n);
        assert!(seen.iter().all(|h| h.len() == 64));
    }

    #[test]
    fn forms_that_fit_have_no_lints_and_each_mistake_has_its_own() {
        assert_eq!(codes(&forms()), "");
        assert_eq!(codes(&Forms { mail: " \n".to_owned(), ..forms() }), "E212");
        assert_eq!(codes(&Forms { mail_subject: "a\r\nBcc: x".to_owned(), ..forms() }), "E209");
        assert_eq!(codes(&Forms { mail_subject: "x".repeat(121), ..forms() }), "E207");
        assert_eq!(codes(&Forms { acd: "a\u{202e}b".to_owned(), ..forms() }), "E209");
        assert_eq!(codes(&Forms { sms: "x".repeat(161), ..forms() }), "E207");
        assert_eq!(codes(&Forms { sms: "Привет".to_owned(), ..forms() }), "W202");
        assert_eq!(codes(&Forms { sms: "я".repeat(201), ..forms() }), "W202");
        assert_eq!(codes(&Forms { sms: "я".repeat(202), ..forms() }), "E207");
        assert_eq!(codes(&Forms { acd: "word ".repeat(51), ..forms() }), "W205");
        assert_eq!(codes(&Forms { acd: "word ".repeat(63), ..forms() }), "E207");
        assert_eq!(codes(&Forms { portal: "+46701234567".to_owned(), ..forms() }), "");
        assert_eq!(codes(&Forms { portal: "+46701234567, +46701234568".to_owned(), ..forms() }), "E208");
        assert_eq!(codes(&Forms { mail: "x".repeat(5_000_000), ..forms() }), "E207");
    }

    #[test]
    fn the_character_that_makes_an_sms_dear_is_named() {
        let lints = Forms { sms: "Zażółć".to_owned(), ..forms() }.lints();
        assert_eq!(lints[0].message, "goes out as 6 UCS-2 units in one part, because of `ż` (U+017C)");
    }
}
