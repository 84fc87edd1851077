//! Which header fields are read, by their long and compact names (IANA's registry of SIP parameters).

/// A header field that tells something of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Header {
    AttestationInfo,
    Authorization,
    CallId,
    Challenge,
    Contact,
    ContentLength,
    ContentType,
    Cseq,
    Diversion,
    Expires,
    From,
    HangupCause,
    HistoryInfo,
    Identity,
    AssertedIdentity,
    Privacy,
    Reason,
    ReferTo,
    ReferredBy,
    RemoteParty,
    Replaces,
    Server,
    To,
    UserAgent,
    Verstat,
    Via,
}

impl Header {
    /// By length and first letter, so that a name is compared once; most headers of a message are none of these.
    #[inline]
    pub(super) fn of(name: &[u8]) -> Option<Header> {
        use Header as H;
        let first = name.first()? | 0x20;
        let (long, header): (&[u8], Header) = match (name.len(), first) {
            (1, _) => return Header::compact(first),
            (2, b't') => (b"To", H::To),
            (3, b'v') => (b"Via", H::Via),
            (4, b'f') => (b"From", H::From),
            (4, b'c') => (b"CSeq", H::Cseq),
            (6, b'r') => (b"Reason", H::Reason),
            (6, b's') => (b"Server", H::Server),
            (7, b'c') if name.get(4) == Some(&b'-') => (b"Call-ID", H::CallId),
            (7, b'c') => (b"Contact", H::Contact),
            (7, b'p') => (b"Privacy", H::Privacy),
            (7, b'e') => (b"Expires", H::Expires),
            (8, b'i') => (b"Identity", H::Identity),
            (8, b'r') if name.get(5) == Some(&b'-') => (b"Refer-To", H::ReferTo),
            (8, b'r') => (b"Replaces", H::Replaces),
            (9, b'd') => (b"Diversion", H::Diversion),
            (10, b'u') => (b"User-Agent", H::UserAgent),
            (11, b'r') => (b"Referred-By", H::ReferredBy),
            (12, b'c') => (b"Content-Type", H::ContentType),
            (12, b'h') => (b"History-Info", H::HistoryInfo),
            (13, b'a') => (b"Authorization", H::Authorization),
            (14, b'c') => (b"Content-Length", H::ContentLength),
            // What carriers write who verified the caller's signature, or will sign: DIDWW, Twilio, Oracle, Verizon,
            // Bandwidth.
            (14, b'p') => (b"P-Stir-Verstat", H::Verstat),
            (16, b'w') => (b"WWW-Authenticate", H::Challenge),
            (16, b'x') => (b"X-Twilio-VerStat", H::Verstat),
            (16, b'a') => (b"Attestation-Info", H::AttestationInfo),
            (18, b'p') => (b"Proxy-Authenticate", H::Challenge),
            (18, b'x') => (b"X-Attestation-Info", H::AttestationInfo),
            (23, b'p') => (b"P-Attestation-Indicator", H::AttestationInfo),
            (15, b'r') => (b"Remote-Party-ID", H::RemoteParty),
            (19, b'p') if name.get(1) == Some(&b'-') => (b"P-Asserted-Identity", H::AssertedIdentity),
            (19, b'p') => (b"Proxy-Authorization", H::Authorization),
            // Asterisk's cause of a hang-up, where it writes no Reason.
            (26, b'x') => (b"X-Asterisk-HangupCauseCode", H::HangupCause),
            _ => return None,
        };
        // Nearly all write it so.
        (name == long || name.eq_ignore_ascii_case(long)).then_some(header)
    }

    fn compact(letter: u8) -> Option<Header> {
        Some(match letter {
            b'b' => Header::ReferredBy,
            b'c' => Header::ContentType,
            b'f' => Header::From,
            b'i' => Header::CallId,
            b'l' => Header::ContentLength,
            b'm' => Header::Contact,
            b'r' => Header::ReferTo,
            b't' => Header::To,
            b'v' => Header::Via,
            b'y' => Header::Identity,
            _ => return None,
        })
    }
}
