//! A parcel as a mail: its headers and its text, ready for any server.
//!
//! The same parcel gives the same mail, byte for byte, however often it is tried: whoever gets it twice sees one number
//! twice. It is plain ASCII whatever the text, so no server needs to know more than mail has known since 1982; only an
//! address in another script asks for more. Nothing that people or programs wrote can add a header or a line to it.

use std::time::{Duration, UNIX_EPOCH};

use lettre::Address;
use lettre::address::Envelope;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, Mailboxes, Message, SinglePart};

use crate::clock::Timestamp;
use crate::delivery::Parcel;
use crate::limits::{MAIL_ADDRESS_BYTES_MAX, MAIL_HEADER_CHARS_MAX, MAIL_SHOWN_CHARS_MAX};

/// A mail and where it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Letter {
    pub(super) from: String,
    pub(super) to: String,
    /// Lines that end in CR LF, the last one too.
    pub(super) bytes: Vec<u8>,
}

/// The address of one mailbox, without a name. Whatever could end a command or begin another is refused.
pub fn parse_address(text: &str) -> Result<Address, String> {
    let strange = |c: char| c.is_control() || c.is_whitespace() || matches!(c, '<' | '>');
    if text.contains(strange) {
        return Err(format!("{:?} is no mail address: it has a space, a line break or a bracket in it", shown(text)));
    }
    if text.len() > MAIL_ADDRESS_BYTES_MAX {
        let shown = shown(text);
        return Err(format!("{shown:?}... is longer than the {MAIL_ADDRESS_BYTES_MAX} bytes an address may have"));
    }
    text.parse().map_err(|_| format!("{:?} is no mail address such as `desk@example.com`", shown(text)))
}

/// Whom mails are from: an address of plain ASCII, with or without a name: `Ringfence <ringfence@example.com>`.
pub fn parse_mailbox(text: &str) -> Result<Mailbox, String> {
    let mailbox: Mailbox = match text.contains('<') {
        true => {
            text.parse().map_err(|_| format!("{:?} is no mailbox such as `Desk <desk@example.com>`", shown(text)))?
        }
        false => Mailbox::new(None, parse_address(text)?),
    };
    let address = mailbox.email.to_string();
    parse_address(&address)?;
    if text.contains(char::is_control) || !address.is_ascii() {
        return Err(format!("{:?} has other than plain letters in its address", shown(text)));
    }
    // A mail whose sender does not read as it was written is not put together.
    match mailbox.to_string().parse::<Mailboxes>() {
        Ok(read) if read.iter().eq([&mailbox]) => Ok(mailbox),
        _ => Err(format!("{:?} has a name that mails cannot carry; try one without quotes and commas", shown(text))),
    }
}

/// The mail of a parcel. What is wrong with the parcel is wrong for ever.
pub(super) fn compose(parcel: &Parcel, from: &Mailbox, site: &str) -> Result<Letter, String> {
    let to = parse_address(&parcel.address)?;
    let place = format!("{site}@{}", from.email.domain());
    let person = line(&parcel.person);
    let name = Some(person).filter(|name| !name.is_empty() && *name != parcel.address);
    let mut builder = Message::builder()
        .envelope(Envelope::new(Some(from.email.clone()), vec![to.clone()]).map_err(|e| e.to_string())?)
        .from(from.clone())
        .to(Mailbox::new(name, to.clone()))
        .subject(line(&parcel.subject))
        .date(UNIX_EPOCH + Duration::from_millis(parcel.queued.0.clamp(0, Timestamp::MAX.0).unsigned_abs()))
        .message_id(Some(format!("<{}.{place}>", word(&parcel.name))))
        .raw_header(header("Auto-Submitted", "auto-generated".into()))
        .raw_header(header("X-Auto-Response-Suppress", "All".into()))
        .raw_header(header("X-Ringfence-Delivery", word(&parcel.name)));
    let incident = word(&parcel.incident);
    if !incident.is_empty() {
        // No mail has this id. Mail programs put together what refers to the same one, whether they have it or not.
        let thread = format!("<{incident}.{place}>");
        builder =
            builder.in_reply_to(thread.clone()).references(thread).raw_header(header("X-Ringfence-Incident", incident));
    }
    if parcel.severity <= 2 {
        builder = builder.raw_header(header("Importance", "high".into()));
    }
    let message = builder.singlepart(SinglePart::plain(text_of(parcel)));
    let bytes = message.map_err(|e| format!("cannot be put together as a mail: {e}"))?.formatted();
    Ok(Letter { from: from.email.to_string(), to: to.to_string(), bytes })
}

fn header(name: &'static str, value: String) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value)
}

/// The text with one kind of line end, and none at its end. Where somebody is asked to look after it, the last paragraph says how.
fn text_of(parcel: &Parcel) -> String {
    let text = parcel.text.replace("\r\n", "\n").replace('\r', "\n");
    let mut text: String =
        text.chars().map(|c| if c.is_control() && !matches!(c, '\n' | '\t') { ' ' } else { c }).collect();
    text.truncate(text.trim_end().len());
    if let Some(link) = &parcel.link {
        text += "\n\nTo say that you look after it, open this page and press the button there:\n";
        text += &link.split(|c: char| c.is_control() || c.is_whitespace()).collect::<String>();
    }
    text
}

/// As one line of a header: no line breaks, nothing that a mail program would take for a piece of encoded text.
fn line(text: &str) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let words: Vec<&str> = plain.split_whitespace().collect();
    let short: String = words.join(" ").chars().take(MAIL_HEADER_CHARS_MAX).collect();
    short.replace("=?", "= ?").trim_end().to_owned()
}

/// As a part of an id: letters, digits, `-` and `_`.
pub(super) fn word(text: &str) -> String {
    let known = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c } else { '-' };
    text.chars().take(MAIL_HEADER_CHARS_MAX).map(known).collect()
}

fn shown(text: &str) -> String {
    text.chars().take(MAIL_SHOWN_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use proptest::prelude::*;

    use super::*;

    fn from() -> Mailbox {
        parse_mailbox("Ringfence <ringfence@example.net>").expect("a mailbox")
    }

    fn parcel() -> Parcel {
        Parcel {
            name: "DLV-000123".into(),
            customer: "acme".into(),
            incident: "INC-000007".into(),
            message: Some("MSG-000009".into()),
            kit: "holding".into(),
            severity: 1,
            is_end: false,
            person: "Ann Bell".into(),
            address: "ann@acme.example".into(),
            subject: "[INC-000007] Toll fraud suspected".into(),
            text: "We see calls that look like toll fraud.\n\n.\n.next update at 10:30\n".into(),
            link: None,
            queued: Timestamp(1_767_225_600_123),
            valid_until: Timestamp(1_767_229_200_000),
        }
    }

    fn mail(parcel: &Parcel) -> String {
        String::from_utf8(compose(parcel, &from(), "s1te").expect("a letter").bytes).expect("ASCII")
    }

    /// Header lines put together again, and the body.
    fn parts(mail: &str) -> (Vec<String>, String) {
        let (head, body) = mail.split_once("\r\n\r\n").expect("an empty line");
        let head = head.replace("\r\n ", " ");
        (head.split("\r\n").map(str::to_owned).collect(), body.to_owned())
    }

    #[test]
    fn a_mail_says_what_it_is_and_where_it_belongs() {
        expect![[r#"
            From: Ringfence <ringfence@example.net>
            To: "Ann Bell" <ann@acme.example>
            Subject: [INC-000007] Toll fraud suspected
            Date: Thu, 01 Jan 2026 00:00:00 +0000
            Message-ID: <DLV-000123.s1te@example.net>
            Auto-Submitted: auto-generated
            X-Auto-Response-Suppress: All
            X-Ringfence-Delivery: DLV-000123
            In-Reply-To: <INC-000007.s1te@example.net>
            References: <INC-000007.s1te@example.net>
            X-Ringfence-Incident: INC-000007
            Importance: high
            MIME-Version: 1.0
            Content-Type: text/plain; charset=utf-8
            Content-Transfer-Encoding: 7bit

            We see calls that look like toll fraud.

            .
            .next update at 10:30
        "#]]
        .assert_eq(&mail(&parcel()).replace("\r\n", "\n"));
    }

    #[test]
    fn another_try_is_the_same_mail_and_another_delivery_is_another() {
        assert_eq!(mail(&parcel()), mail(&parcel()));
        let other = Parcel { name: "DLV-000124".into(), ..parcel() };
        let id = |mail: &str| parts(mail).0.into_iter().find(|l| l.starts_with("Message-ID")).expect("an id");
        assert_ne!(id(&mail(&parcel())), id(&mail(&other)));
    }

    #[test]
    fn a_page_ends_with_how_to_say_that_one_looks_after_it() {
        let page = Parcel { link: Some("https://ringfence.example/a/DLV-1?k=abc".into()), severity: 3, ..parcel() };
        let (head, body) = parts(&mail(&page));
        let end = "10:30\r\n\r\nTo say that you look after it, open this page and press the button there:\r\n\
                   https://ringfence.example/a/DLV-1?k=abc\r\n";
        assert!(body.ends_with(end), "{body}");
        assert!(!head.iter().any(|l| l.starts_with("Importance")));
    }

    #[test]
    fn what_belongs_to_no_incident_refers_to_none() {
        let (head, _) = parts(&mail(&Parcel { incident: String::new(), ..parcel() }));
        assert!(!head.iter().any(|l| l.starts_with("References") || l.contains("Incident")));
    }

    #[test]
    fn a_text_in_any_script_becomes_plain_ascii() {
        let text = "Störung – 通知\n".repeat(30);
        let sent =
            mail(&Parcel { text, subject: "Störung 通知".into(), person: "Jürgen \"J\" Ö".into(), ..parcel() });
        assert!(sent.is_ascii() && sent.contains("Subject: =?utf-8?b?"), "{sent}");
        assert!(sent.lines().all(|l| l.len() < 200));
    }

    #[test]
    fn a_name_is_a_name_whatever_is_in_it() {
        for person in ["Eve\" <eve@evil.example>, \"Ann", "<eve@evil.example>", "a@b.c, d@e.f", "Jürgen, \"J\""] {
            let (head, _) = parts(&mail(&Parcel { person: person.into(), ..parcel() }));
            let to = head.iter().find_map(|line| line.strip_prefix("To: ")).expect("a receiver");
            // Outside of quotes and encoded words there is one address.
            let bare = to.replace("\\\"", "").split('"').step_by(2).collect::<String>();
            assert_eq!((bare.matches('<').count(), bare.matches('@').count()), (1, 1), "{to}");
            assert!(to.ends_with("<ann@acme.example>"), "{to}");
        }
    }

    #[test]
    fn a_sender_may_have_a_name_that_mails_carry() {
        for from in ["Störung Desk <desk@example.com>", "\"Desk, Night\" <desk@example.com>", "<desk@example.com>"] {
            if let Ok(from) = parse_mailbox(from) {
                assert!(compose(&parcel(), &from, "s").is_ok(), "{from}");
            }
        }
        assert!(parse_mailbox("Störung Desk <desk@example.com>").is_ok());
        assert!(parse_mailbox("a@b.c, d@e.f").is_err());
    }

    #[test]
    fn what_is_no_address_of_one_mailbox_is_never_sent_to() {
        let long = format!("{}@example.com", "a".repeat(300));
        let strange = [
            "",
            "ann",
            "@acme.example",
            "ann@",
            "ann@acme.example\r\nRCPT TO:<eve@evil.example>",
            "ann@acme.example\n",
            "ann@acme.example, eve@evil.example",
            "Ann <ann@acme.example>",
            "<ann@acme.example>",
            "ann@acme.example> SIZE=1",
            "+46700001",
            &long,
        ];
        for address in strange {
            let refused = compose(&Parcel { address: address.into(), ..parcel() }, &from(), "s");
            let why = refused.expect_err(address);
            assert!(!why.contains('\n') && why.chars().count() < 300, "{why}");
        }
        assert!(parse_mailbox("Desk <desk@example.com>\r\nBcc: x@y.z").is_err());
        assert!(parse_mailbox("dësk@example.com").is_err());
        assert!(parse_mailbox("desk@example.com").is_ok());
    }

    /// Every header a mail may have, so that one more is noticed.
    const HEADERS: [&str; 15] = [
        "From: ",
        "To: ",
        "Subject: ",
        "Date: ",
        "Message-ID: ",
        "Auto-Submitted: ",
        "X-Auto-Response-Suppress: ",
        "X-Ringfence-Delivery: ",
        "In-Reply-To: ",
        "References: ",
        "X-Ringfence-Incident: ",
        "Importance: ",
        "MIME-Version: ",
        "Content-Type: ",
        "Content-Transfer-Encoding: ",
    ];

    fn nasty() -> impl Strategy<Value = String> {
        prop_oneof![any::<String>(), "([a-zé:=?<>@\"\\\\, \\.]|\r|\n|\t|\u{0}|\u{85}|\u{2028}|Bcc: ){0,60}"]
    }

    proptest! {
        #[test]
        fn nothing_that_was_written_adds_a_header_or_breaks_a_line(
            (subject, person, text, name, incident, link) in (nasty(), nasty(), nasty(), nasty(), nasty(), nasty())
        ) {
            let parcel = Parcel { subject, person, text, name, incident, link: Some(link), ..parcel() };
            let sent = mail(&parcel);
            prop_assert!(sent.is_ascii());
            let bare = sent.replace("\r\n", "");
            prop_assert!(!bare.contains(['\r', '\n', '\0']) && sent.ends_with("\r\n"), "{:?}", sent);
            let (head, _) = sent.split_once("\r\n\r\n").expect("an empty line");
            let mut names: Vec<&str> = Vec::new();
            for line in head.split("\r\n").filter(|l| !l.starts_with([' ', '\t'])) {
                let name = HEADERS.into_iter().find(|h| line.starts_with(h));
                prop_assert!(name.is_some_and(|name| !names.contains(&name)), "{}", line);
                names.extend(name);
            }
        }
    }
}
