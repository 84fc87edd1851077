//! The fields of a call event by the names they have on the wire, and where their texts go.

use crate::event::{Attestation, CallEvent, Party, Text};
use crate::limits::{ID_BYTES_MAX, TEXT_BYTES_MAX};

macro_rules! wire_fields {
    ($($variant:ident = $text:literal),+ $(,)?) => {
        /// A field of the event, spec 1.2, by its name in NDJSON and in CSV column maps.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum WireField { $($variant),+ }

        impl WireField {
            pub const ALL: &'static [WireField] = &[$(WireField::$variant),+];

            pub fn as_str(self) -> &'static str {
                match self { $(WireField::$variant => $text),+ }
            }

            pub fn parse(name: &[u8]) -> Option<WireField> {
                const NAMES: &[(&str, WireField)] = &[$(($text, WireField::$variant)),+];
                NAMES.iter().find(|(text, _)| text.as_bytes() == name).map(|(_, field)| *field)
            }
        }
    };
}

wire_fields! {
    Time = "time",
    Kind = "kind",
    CallId = "call_id",
    Direction = "direction",
    Caller = "caller",
    Callee = "callee",
    Trunk = "trunk",
    SourceIp = "source_ip",
    Status = "status",
    SipCode = "sip_code",
    Duration = "duration",
    Customer = "customer",
    Gateway = "gateway",
    Seq = "seq",
    Leg = "leg",
    Asserted = "asserted",
    Diverting = "diverting",
    CallerName = "caller_name",
    Domain = "domain",
    UserAgent = "user_agent",
    Anonymous = "anonymous",
    CallType = "call_type",
    Q850 = "q850",
    Ring = "ring",
    Setup = "setup",
    Cost = "cost",
    Account = "account",
    Extension = "extension",
    HangupBy = "hangup_by",
    AuthFailed = "auth_failed",
    Method = "method",
    Attestation = "attestation",
}

/// Texts that become ids, which the event itself does not hold.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Origin {
    pub(crate) customer: Text,
    pub(crate) gateway: Text,
}

/// Where a text field is kept and how long it may be; `None` for fields of other types.
#[inline]
pub(crate) fn text_place<'a>(
    field: WireField,
    event: &'a mut CallEvent,
    origin: &'a mut Origin,
) -> Option<(&'a mut Text, usize)> {
    Some(match field {
        WireField::CallId => (&mut event.call_id, ID_BYTES_MAX),
        WireField::Leg => (&mut event.leg, ID_BYTES_MAX),
        WireField::Customer => (&mut origin.customer, ID_BYTES_MAX),
        WireField::Gateway => (&mut origin.gateway, ID_BYTES_MAX),
        WireField::Caller => (&mut event.caller.raw, TEXT_BYTES_MAX),
        WireField::Callee => (&mut event.callee.raw, TEXT_BYTES_MAX),
        WireField::Asserted => (&mut event.asserted.raw, TEXT_BYTES_MAX),
        WireField::Diverting => (&mut event.diverting.raw, TEXT_BYTES_MAX),
        WireField::Trunk => (&mut event.trunk, TEXT_BYTES_MAX),
        WireField::Account => (&mut event.account, TEXT_BYTES_MAX),
        WireField::Extension => (&mut event.extension, TEXT_BYTES_MAX),
        WireField::CallerName => (&mut event.caller_name, TEXT_BYTES_MAX),
        WireField::Domain => (&mut event.domain, TEXT_BYTES_MAX),
        WireField::UserAgent => (&mut event.user_agent, TEXT_BYTES_MAX),
        WireField::Method => (&mut event.method, TEXT_BYTES_MAX),
        _ => return None,
    })
}

/// The party of a field that holds a telephone number.
#[inline]
pub(crate) fn party(field: WireField, event: &mut CallEvent) -> Option<&mut Party> {
    Some(match field {
        WireField::Caller => &mut event.caller,
        WireField::Callee => &mut event.callee,
        WireField::Asserted => &mut event.asserted,
        WireField::Diverting => &mut event.diverting,
        _ => return None,
    })
}

/// Our own words, and the `verstat` forms that gateways put on P-Asserted-Identity.
pub(crate) fn attestation(text: &[u8]) -> Option<Attestation> {
    Attestation::parse(text).or_else(|| {
        let verstat: &[(&[u8], Attestation)] = &[
            (b"TN-Validation-Passed", Attestation::A),
            (b"TN-Validation-Passed-A", Attestation::A),
            (b"TN-Validation-Passed-B", Attestation::B),
            (b"TN-Validation-Passed-C", Attestation::C),
            (b"TN-Validation-Failed", Attestation::Failed),
            (b"TN-Validation-Failed-A", Attestation::Failed),
            (b"TN-Validation-Failed-B", Attestation::Failed),
            (b"TN-Validation-Failed-C", Attestation::Failed),
            (b"No-TN-Validation", Attestation::None),
            (b"A", Attestation::A),
            (b"B", Attestation::B),
            (b"C", Attestation::C),
        ];
        verstat.iter().find(|(form, _)| form.eq_ignore_ascii_case(text)).map(|(_, meaning)| *meaning)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_found_by_its_own_name_only() {
        for field in WireField::ALL {
            assert_eq!(WireField::parse(field.as_str().as_bytes()), Some(*field));
        }
        assert_eq!(WireField::parse(b"Time"), None);
        assert_eq!(WireField::parse(b""), None);
    }

    #[test]
    fn verstat_forms_are_understood_beside_the_letters() {
        assert_eq!(attestation(b"TN-Validation-Passed"), Some(Attestation::A));
        assert_eq!(attestation(b"tn-validation-passed-b"), Some(Attestation::B));
        assert_eq!(attestation(b"TN-Validation-Failed"), Some(Attestation::Failed));
        assert_eq!(attestation(b"No-TN-Validation"), Some(Attestation::None));
        assert_eq!(attestation(b"a"), Some(Attestation::A));
        assert_eq!(attestation(b"D"), None);
    }
}
