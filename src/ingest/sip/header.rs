//! Which header fields are read, by their long and compact names (IANA's registry of SIP parameters).

/// A header field that tells something of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Header {
    AttestationInfo,
    Authorization,
    CallId,
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
            (2, b't') => (b"to", H::To),
            (3, b'v') => (b"via", H::Via),
            (4, b'f') => (b"from", H::From),
            (4, b'c') => (b"cseq", H::Cseq),
            (6, b'r') => (b"reason", H::Reason),
            (6, b's') => (b"server", H::Server),
            (7, b'c') if name.get(4) == Some(&b'-') => (b"call-id", H::CallId),
            (7, b'c') => (b"contact", H::Contact),
            (7, b'p') => (b"privacy", H::Privacy),
            (7, b'e') => (b"expires", H::Expires),
            (8, b'i') => (b"identity", H::Identity),
            (8, b'r') if name.get(5) == Some(&b'-') => (b"refer-to", H::ReferTo),
            (8, b'r') => (b"replaces", H::Replaces),
            (9, b'd') => (b"diversion", H::Diversion),
            (10, b'u') => (b"user-agent", H::UserAgent),
            (11, b'r') => (b"referred-by", H::ReferredBy),
            (12, b'c') => (b"content-type", H::ContentType),
            (12, b'h') => (b"history-info", H::HistoryInfo),
            (13, b'a') => (b"authorization", H::Authorization),
            (14, b'c') => (b"content-length", H::ContentLength),
            // What carriers write who verified the caller's signature, or will sign: DIDWW, Twilio, Oracle, Verizon,
            // Bandwidth.
            (14, b'p') => (b"p-stir-verstat", H::Verstat),
            (16, b'x') => (b"x-twilio-verstat", H::Verstat),
            (16, b'a') => (b"attestation-info", H::AttestationInfo),
            (18, b'x') => (b"x-attestation-info", H::AttestationInfo),
            (23, b'p') => (b"p-attestation-indicator", H::AttestationInfo),
            (15, b'r') => (b"remote-party-id", H::RemoteParty),
            (19, b'p') if name.get(1) == Some(&b'-') => (b"p-asserted-identity", H::AssertedIdentity),
            (19, b'p') => (b"proxy-authorization", H::Authorization),
            // Asterisk's cause of a hang-up, where it writes no Reason.
            (26, b'x') => (b"x-asterisk-hangupcausecode", H::HangupCause),
            _ => return None,
        };
        name.eq_ignore_ascii_case(long).then_some(header)
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
