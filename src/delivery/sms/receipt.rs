//! Receipts: what a provider says later of a message it took, at an address that only it was told.
//!
//! Every delivery has an address of its own, with a proof in it that nobody can make without our key; Twilio's posts are
//! signed besides. Receipts come late, twice, and in any order, so each says what it says and nothing is counted here:
//! whoever takes them knows that `Delivered` is not undone by an `Accepted` that was slower. No time of a provider is read.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::{Kind, Settings, twilio};
use crate::limits::RECEIPT_REASON_CHARS_MAX;
use crate::outbound::{Secret, hex, hmac_sha256, is_hmac_sha1, is_same};

/// Where receipts come, and the key of their proofs.
#[derive(Clone)]
pub struct Callback {
    public_url: String,
    key: Vec<u8>,
}

impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callback").field("public_url", &self.public_url).finish_non_exhaustive()
    }
}

impl Callback {
    /// `public_url`: how providers reach us, without a path. `key`: the same after a restart, or receipts of what was sent
    /// before it are refused.
    pub fn new(public_url: &str, key: &[u8]) -> Callback {
        Callback { public_url: public_url.trim_end_matches('/').to_owned(), key: key.to_vec() }
    }

    pub(crate) fn url(&self, provider: &str, delivery: &str) -> String {
        format!("{}/receipts/sms/{provider}/{delivery}/{}", self.public_url, self.proof(provider, delivery))
    }

    /// Half of the code: 128 bits are not guessed.
    fn proof(&self, provider: &str, delivery: &str) -> String {
        let code = hmac_sha256(&self.key, &[b"sms receipt\0", provider.as_bytes(), b"\0", delivery.as_bytes()]);
        hex(code.get(..16).unwrap_or_default())
    }

    fn is_proof(&self, provider: &str, delivery: &str, proof: &str) -> bool {
        is_same(&self.proof(provider, delivery), proof)
    }
}

/// What a provider says of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// `DLV-000123`
    pub delivery: String,
    pub provider: String,
    pub state: State,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It is with the SMS centre, or on its way there.
    Accepted,
    /// It is on the phone.
    Delivered,
    /// It will not get there.
    Failed(String),
}

/// A request to an address of receipts.
#[derive(Debug)]
pub(crate) struct Post<'a> {
    pub(crate) provider: &'a str,
    pub(crate) delivery: &'a str,
    pub(crate) proof: &'a str,
    /// As it was asked, with its `?`; empty where there is none.
    pub(crate) query: &'a str,
    pub(crate) body: &'a [u8],
    /// `X-Twilio-Signature`
    pub(crate) signature: Option<&'a str>,
}

/// What is to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Taken,
    /// It could not be written down: the provider is to come again.
    Busy,
    /// No such address was ever given to anybody.
    Unknown,
    /// The address is right, the signature is not.
    Forged,
    Unreadable,
}

/// Takes receipts. False: not now.
pub type Taker = Arc<dyn Fn(Receipt) -> bool + Send + Sync>;

/// All that is needed to tell a receipt from anything else.
#[derive(Clone)]
pub struct Receipts {
    callback: Callback,
    providers: Arc<BTreeMap<String, Dialect>>,
    taker: Taker,
}

impl fmt::Debug for Receipts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receipts").field("providers", &self.providers).finish_non_exhaustive()
    }
}

#[derive(Clone, Debug)]
enum Dialect {
    Kannel,
    Twilio(Secret),
    /// `state=delivered|failed|accepted` and a `reason`, in the query or a form, for whoever can be told to send so.
    Plain,
}

impl Receipts {
    pub fn new(callback: Callback, providers: &[Settings], taker: Taker) -> Receipts {
        let dialect = |settings: &Settings| match &settings.kind {
            Kind::Kannel(_) => Dialect::Kannel,
            Kind::Twilio(twilio) => Dialect::Twilio(twilio.auth_token.clone()),
            Kind::Generic(_) => Dialect::Plain,
        };
        let providers = providers.iter().map(|settings| (settings.name.clone(), dialect(settings))).collect();
        Receipts { callback, providers: Arc::new(providers), taker }
    }

    /// May wait for the disk.
    pub(crate) fn take(&self, post: &Post<'_>) -> Verdict {
        let Some(dialect) = self.providers.get(post.provider) else { return Verdict::Unknown };
        if !self.callback.is_proof(post.provider, post.delivery, post.proof) {
            return Verdict::Unknown;
        }
        let mut fields = pairs(post.query.trim_start_matches('?').as_bytes());
        let posted = pairs(post.body);
        if let Dialect::Twilio(token) = dialect {
            let url = format!("{}{}", self.callback.url(post.provider, post.delivery), post.query);
            if !is_signed(token, &url, &posted, post.signature.unwrap_or_default()) {
                return Verdict::Forged;
            }
        }
        fields.extend(posted);
        let field = |name: &str| fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let state = match dialect {
            Dialect::Kannel => field("type").and_then(|kind| of_kannel(kind, field("answer").unwrap_or_default())),
            Dialect::Twilio(_) => field("MessageStatus").and_then(|status| of_twilio(status, field("ErrorCode"))),
            Dialect::Plain => field("state").and_then(|state| of_plain(state, field("reason").unwrap_or_default())),
        };
        let Some(state) = state else { return Verdict::Unreadable };
        let receipt = Receipt { delivery: post.delivery.to_owned(), provider: post.provider.to_owned(), state };
        if (self.taker)(receipt) { Verdict::Taken } else { Verdict::Busy }
    }
}

/// Bits: 1 delivered, 2 not delivered, 4 queued, 8 accepted and 16 rejected by the SMSC, 32 still trying.
fn of_kannel(kind: &str, answer: &str) -> Option<State> {
    let bits: u32 = kind.trim().parse().ok()?;
    match bits {
        _ if bits & 1 != 0 => Some(State::Delivered),
        _ if bits & 16 != 0 => Some(State::Failed(because("the SMS centre rejected it", answer))),
        _ if bits & 2 != 0 => Some(State::Failed(because("it could not be delivered", answer))),
        _ if bits & (4 | 8 | 32) != 0 => Some(State::Accepted),
        _ => None,
    }
}

fn of_twilio(status: &str, error: Option<&str>) -> Option<State> {
    let code: u32 = error.and_then(|code| code.trim().parse().ok()).unwrap_or_default();
    let why = |what: &str| match (code, twilio::told(code)) {
        (0, _) => what.to_owned(),
        (code, None) => format!("{what}: Twilio {code}"),
        (code, Some(told)) => format!("{what}: Twilio {code}: {told}"),
    };
    match status {
        "delivered" | "read" => Some(State::Delivered),
        "failed" => Some(State::Failed(why("it could not be sent"))),
        "undelivered" => Some(State::Failed(why("it could not be delivered"))),
        "canceled" => Some(State::Failed(why("it was cancelled"))),
        // A word that is new tells no more than that the message is there.
        _ => Some(State::Accepted),
    }
}

fn of_plain(state: &str, reason: &str) -> Option<State> {
    match state {
        "accepted" => Some(State::Accepted),
        "delivered" => Some(State::Delivered),
        "failed" => Some(State::Failed(because("it could not be delivered", reason))),
        _ => None,
    }
}

fn because(what: &str, said: &str) -> String {
    let words: Vec<&str> =
        said.split(|c: char| c.is_whitespace() || c.is_control()).filter(|w| !w.is_empty()).collect();
    let said: String = words.join(" ").chars().take(RECEIPT_REASON_CHARS_MAX).collect();
    if said.is_empty() { what.to_owned() } else { format!("{what}: {said}") }
}

/// The address that was called, then every field of the form by name, name and value without anything between.
fn is_signed(token: &Secret, url: &str, posted: &[(String, String)], signature: &str) -> bool {
    let mut sorted: Vec<&(String, String)> = posted.iter().collect();
    sorted.sort();
    let mut parts = vec![url.as_bytes()];
    parts.extend(sorted.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]));
    unbase64(signature).is_some_and(|code| is_hmac_sha1(token.0.as_bytes(), &parts, &code))
}

/// A form or a query. What is badly escaped stays as it is.
fn pairs(bytes: &[u8]) -> Vec<(String, String)> {
    let parts = bytes.split(|b| *b == b'&').filter(|part| !part.is_empty());
    let pair = |part: &[u8]| {
        let (name, value) = match part.iter().position(|b| *b == b'=') {
            Some(at) => (part.get(..at).unwrap_or_default(), part.get(at + 1..).unwrap_or_default()),
            None => (part, &[][..]),
        };
        (unescaped(name), unescaped(value))
    };
    parts.map(pair).collect()
}

fn unescaped(text: &[u8]) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, behind)) = rest.split_first() {
        let digits = behind.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let byte = digits
            .filter(|two| two.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|two| u8::from_str_radix(two, 16).ok());
        match (first, byte) {
            (b'%', Some(byte)) => {
                out.push(byte);
                rest = behind.get(2..).unwrap_or_default();
            }
            (b'+', _) => {
                out.push(b' ');
                rest = behind;
            }
            _ => {
                out.push(*first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// A signature as it stands in a header: 28 characters for 20 bytes.
fn unbase64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    if text.len() != 28 || digits.len() != 27 {
        return None;
    }
    let (mut out, mut bits, mut n_bits) = (Vec::with_capacity(20), 0u32, 0);
    for byte in digits.bytes() {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6 | u32::from(digit)) & 0xffff;
        n_bits += 6;
        if n_bits >= 8 {
            n_bits -= 8;
            out.push((bits >> n_bits) as u8);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::delivery::sms::tests::{generic, kannel, twilio};
    use crate::outbound::base64;

    struct Rig {
        callback: Callback,
        receipts: Receipts,
        taken: Arc<Mutex<Vec<State>>>,
    }

    fn rig() -> Rig {
        let callback = Callback::new("https://ringfence.example.com/", b"key");
        let taken = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&taken);
        let taker: Taker = Arc::new(move |receipt: Receipt| {
            assert_eq!(receipt.delivery, "DLV-000001");
            seen.lock().unwrap().push(receipt.state);
            true
        });
        let providers = [kannel("http://k/"), twilio("http://t/"), generic("http://g/")];
        Rig { receipts: Receipts::new(callback.clone(), &providers, taker), callback, taken }
    }

    impl Rig {
        fn post(&self, provider: &str, query: &str, body: &str, signature: Option<&str>) -> Verdict {
            let proof = self.callback.proof(provider, "DLV-000001");
            let (delivery, body) = ("DLV-000001", body.as_bytes());
            self.receipts.take(&Post { provider, delivery, proof: &proof, query, body, signature })
        }

        fn taken(&self) -> Vec<State> {
            std::mem::take(&mut self.taken.lock().unwrap())
        }
    }

    fn signed(url: &str, fields: &str, token: &[u8]) -> String {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, token);
        base64(ring::hmac::sign(&key, format!("{url}{fields}").as_bytes()).as_ref())
    }

    #[test]
    fn kannels_bits_are_read_in_any_order_and_as_often_as_they_come() {
        let rig = rig();
        for query in [
            "?type=8&answer=",
            "?type=1&answer=sub%3A001",
            "?type=8",
            "?type=1",
            "?type=16&answer=NACK%2F0x0b",
            "?type=2",
            "?type=4",
        ] {
            assert_eq!(rig.post("kannel", query, "", None), Verdict::Taken, "{query}");
        }
        let failed = |why: &str| State::Failed(why.to_owned());
        let expected = [
            State::Accepted,
            State::Delivered,
            State::Accepted,
            State::Delivered,
            failed("the SMS centre rejected it: NACK/0x0b"),
            failed("it could not be delivered"),
            State::Accepted,
        ];
        assert_eq!(rig.taken(), expected);
        for query in ["", "?type=", "?type=x", "?type=0", "?type=64", "?answer=1", "?type=%", "?type=-1"] {
            assert_eq!(rig.post("kannel", query, "", None), Verdict::Unreadable, "{query}");
        }
    }

    #[test]
    fn nobody_guesses_an_address_and_none_is_good_for_another_delivery() {
        let rig = rig();
        let proof = rig.callback.proof("kannel", "DLV-000001");
        let take = |provider: &str, delivery: &str, proof: &str| {
            let post = Post { provider, delivery, proof, query: "?type=1", body: b"", signature: None };
            rig.receipts.take(&post)
        };
        assert_eq!(take("kannel", "DLV-000001", &proof), Verdict::Taken);
        assert_eq!(take("kannel", "DLV-000002", &proof), Verdict::Unknown);
        assert_eq!(take("generic", "DLV-000001", &proof), Verdict::Unknown);
        assert_eq!(take("nobody", "DLV-000001", &proof), Verdict::Unknown);
        assert_eq!(take("kannel", "DLV-000001", ""), Verdict::Unknown);
        assert_eq!(take("kannel", "DLV-000001", proof.get(..31).unwrap()), Verdict::Unknown);
        assert_eq!(take("kannel", "DLV-000001", &format!("{proof}0")), Verdict::Unknown);
        let other = Callback::new("https://ringfence.example.com", b"other key");
        assert_eq!(take("kannel", "DLV-000001", &other.proof("kannel", "DLV-000001")), Verdict::Unknown);
        assert!(!format!("{:?} {:?}", rig.callback, rig.receipts).contains("107, 101, 121"));
    }

    #[test]
    fn twilios_posts_are_believed_with_their_signature_only() {
        let rig = rig();
        let url = rig.callback.url("twilio", "DLV-000001");
        let body = "MessageSid=SM1&MessageStatus=undelivered&To=%2B46700000001&ErrorCode=30006";
        let fields = "ErrorCode30006MessageSidSM1MessageStatusundeliveredTo+46700000001";
        let good = signed(&url, fields, b"s3cret");
        assert_eq!(rig.post("twilio", "", body, Some(&good)), Verdict::Taken);
        let why = "it could not be delivered: Twilio 30006: a landline, or an operator that takes no text messages";
        assert_eq!(rig.taken(), [State::Failed(why.into())]);
        for bad in [None, Some(""), Some("????????????????????????????"), Some(signed(&url, fields, b"other").as_str())]
        {
            assert_eq!(rig.post("twilio", "", body, bad), Verdict::Forged, "{bad:?}");
        }
        assert_eq!(rig.post("twilio", "", &body.replace("undelivered", "delivered"), Some(&good)), Verdict::Forged);
        assert_eq!(rig.post("twilio", "?x=1", body, Some(&good)), Verdict::Forged);
        for (status, expected) in
            [("sent", State::Accepted), ("delivered", State::Delivered), ("brand-new", State::Accepted)]
        {
            let signature = signed(&url, &format!("MessageStatus{status}"), b"s3cret");
            assert_eq!(rig.post("twilio", "", &format!("MessageStatus={status}"), Some(&signature)), Verdict::Taken);
            assert_eq!(rig.taken(), [expected]);
        }
    }

    #[test]
    fn any_other_provider_says_it_in_plain_words() {
        let rig = rig();
        assert_eq!(rig.post("generic", "", "state=delivered", None), Verdict::Taken);
        assert_eq!(rig.post("generic", "?state=failed&reason=no+such%0d%0anumber", "", None), Verdict::Taken);
        assert_eq!(rig.taken(), [State::Delivered, State::Failed("it could not be delivered: no such number".into())]);
        assert_eq!(rig.post("generic", "?state=perhaps", "", None), Verdict::Unreadable);
        assert_eq!(rig.post("generic", "?%ff%&&==&+%2", "\u{0}", None), Verdict::Unreadable);
    }

    proptest::proptest! {
        #[test]
        fn anything_at_all_gets_an_answer(
            query in "(\\?[a-zA-Z=&%+0-9]{0,40})?|\\PC{0,40}",
            body in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200),
            signature in "[A-Za-z0-9+/=]{0,30}|\\PC{0,30}",
        ) {
            let rig = rig();
            for provider in ["kannel", "twilio", "generic"] {
                let proof = rig.callback.proof(provider, "DLV-000001");
                for proof in [proof.as_str(), signature.as_str()] {
                    let (delivery, signature) = ("DLV-000001", Some(signature.as_str()));
                    let post = Post { provider, delivery, proof, query: &query, body: &body, signature };
                    let verdict = rig.receipts.take(&post);
                    proptest::prop_assert!(provider != "twilio" || verdict != Verdict::Taken);
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_written_down_is_asked_for_again() {
        let callback = Callback::new("https://ringfence.example.com", b"key");
        let receipts = Receipts::new(callback.clone(), &[kannel("http://k/")], Arc::new(|_| false));
        let proof = callback.proof("kannel", "DLV-000001");
        let post = Post {
            provider: "kannel",
            delivery: "DLV-000001",
            proof: &proof,
            query: "?type=1",
            body: b"",
            signature: None,
        };
        assert_eq!(receipts.take(&post), Verdict::Busy);
    }
}
