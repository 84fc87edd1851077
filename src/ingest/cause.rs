//! Why calls end, as gateways say it: Q.850 causes, their FreeSWITCH names and SIP codes become one status.
//!
//! Only for calls that were not answered; an answered call is `answered` whatever ended it.

use crate::event::Status;

/// What a Q.850 cause says of a call that nobody answered; 0 says nothing.
pub(crate) fn status_of_q850(cause: u8) -> Status {
    match cause {
        0 => Status::Unknown,
        // Normal clearing before an answer: the caller gave up.
        16 => Status::Cancelled,
        17 => Status::Busy,
        18..=20 => Status::NoAnswer,
        21 | 55 | 57 | 87 => Status::Rejected,
        _ => Status::Failed,
    }
}

/// What the final SIP response to an INVITE says of its call.
pub(crate) fn status_of_sip(code: u16) -> Status {
    match code {
        0..=199 => Status::Unknown,
        200..=299 => Status::Answered,
        486 | 600 => Status::Busy,
        408 | 480 => Status::NoAnswer,
        487 => Status::Cancelled,
        401 | 403 | 407 | 433 | 603 | 607 | 608 => Status::Rejected,
        _ => Status::Failed,
    }
}

/// The Q.850 cause of a FreeSWITCH hangup cause, and the status where the name says more than the number; causes of
/// FreeSWITCH's own have no number.
pub(crate) fn named(name: &[u8]) -> Option<(u8, Status)> {
    let (_, cause) = NAMES.iter().find(|(known, _)| known.as_bytes().eq_ignore_ascii_case(name))?;
    Some(match *cause {
        Cause::Q850(number) => (number, status_of_q850(number)),
        Cause::Own(status) => (0, status),
    })
}

#[derive(Clone, Copy)]
enum Cause {
    Q850(u8),
    Own(Status),
}

const NAMES: &[(&str, Cause)] = &[
    ("NORMAL_CLEARING", Cause::Q850(16)),
    ("ORIGINATOR_CANCEL", Cause::Own(Status::Cancelled)),
    ("USER_BUSY", Cause::Q850(17)),
    ("NO_USER_RESPONSE", Cause::Q850(18)),
    ("NO_ANSWER", Cause::Q850(19)),
    ("SUBSCRIBER_ABSENT", Cause::Q850(20)),
    ("CALL_REJECTED", Cause::Q850(21)),
    ("UNSPECIFIED", Cause::Own(Status::Unknown)),
    ("NONE", Cause::Own(Status::Unknown)),
    ("UNALLOCATED_NUMBER", Cause::Q850(1)),
    ("NO_ROUTE_TRANSIT_NET", Cause::Q850(2)),
    ("NO_ROUTE_DESTINATION", Cause::Q850(3)),
    ("CHANNEL_UNACCEPTABLE", Cause::Q850(6)),
    ("CALL_AWARDED_DELIVERED", Cause::Q850(7)),
    ("NUMBER_CHANGED", Cause::Q850(22)),
    ("REDIRECTION_TO_NEW_DESTINATION", Cause::Q850(23)),
    ("EXCHANGE_ROUTING_ERROR", Cause::Q850(25)),
    ("DESTINATION_OUT_OF_ORDER", Cause::Q850(27)),
    ("INVALID_NUMBER_FORMAT", Cause::Q850(28)),
    ("FACILITY_REJECTED", Cause::Q850(29)),
    ("RESPONSE_TO_STATUS_ENQUIRY", Cause::Q850(30)),
    ("NORMAL_UNSPECIFIED", Cause::Q850(31)),
    ("NORMAL_CIRCUIT_CONGESTION", Cause::Q850(34)),
    ("NETWORK_OUT_OF_ORDER", Cause::Q850(38)),
    ("NORMAL_TEMPORARY_FAILURE", Cause::Q850(41)),
    ("SWITCH_CONGESTION", Cause::Q850(42)),
    ("ACCESS_INFO_DISCARDED", Cause::Q850(43)),
    ("REQUESTED_CHAN_UNAVAIL", Cause::Q850(44)),
    ("PRE_EMPTED", Cause::Q850(45)),
    ("FACILITY_NOT_SUBSCRIBED", Cause::Q850(50)),
    ("OUTGOING_CALL_BARRED", Cause::Q850(52)),
    ("INCOMING_CALL_BARRED", Cause::Q850(54)),
    ("BEARERCAPABILITY_NOTAUTH", Cause::Q850(57)),
    ("BEARERCAPABILITY_NOTAVAIL", Cause::Q850(58)),
    ("SERVICE_UNAVAILABLE", Cause::Q850(63)),
    ("BEARERCAPABILITY_NOTIMPL", Cause::Q850(65)),
    ("CHAN_NOT_IMPLEMENTED", Cause::Q850(66)),
    ("FACILITY_NOT_IMPLEMENTED", Cause::Q850(69)),
    ("SERVICE_NOT_IMPLEMENTED", Cause::Q850(79)),
    ("INVALID_CALL_REFERENCE", Cause::Q850(81)),
    ("INCOMPATIBLE_DESTINATION", Cause::Q850(88)),
    ("INVALID_MSG_UNSPECIFIED", Cause::Q850(95)),
    ("MANDATORY_IE_MISSING", Cause::Q850(96)),
    ("MESSAGE_TYPE_NONEXIST", Cause::Q850(97)),
    ("WRONG_MESSAGE", Cause::Q850(98)),
    ("IE_NONEXIST", Cause::Q850(99)),
    ("INVALID_IE_CONTENTS", Cause::Q850(100)),
    ("WRONG_CALL_STATE", Cause::Q850(101)),
    ("RECOVERY_ON_TIMER_EXPIRE", Cause::Q850(102)),
    ("MANDATORY_IE_LENGTH_ERROR", Cause::Q850(103)),
    ("PROTOCOL_ERROR", Cause::Q850(111)),
    ("INTERWORKING", Cause::Q850(127)),
    ("SUCCESS", Cause::Own(Status::Unknown)),
    ("CRASH", Cause::Own(Status::Failed)),
    ("SYSTEM_SHUTDOWN", Cause::Own(Status::Failed)),
    ("LOSE_RACE", Cause::Own(Status::Cancelled)),
    ("MANAGER_REQUEST", Cause::Own(Status::Cancelled)),
    ("BLIND_TRANSFER", Cause::Own(Status::Unknown)),
    ("ATTENDED_TRANSFER", Cause::Own(Status::Unknown)),
    ("ALLOTTED_TIMEOUT", Cause::Own(Status::NoAnswer)),
    ("USER_CHALLENGE", Cause::Own(Status::Rejected)),
    ("MEDIA_TIMEOUT", Cause::Own(Status::Failed)),
    ("PICKED_OFF", Cause::Own(Status::Cancelled)),
    ("USER_NOT_REGISTERED", Cause::Own(Status::Failed)),
    ("PROGRESS_TIMEOUT", Cause::Own(Status::NoAnswer)),
    ("INVALID_GATEWAY", Cause::Own(Status::Failed)),
    ("GATEWAY_DOWN", Cause::Own(Status::Failed)),
    ("INVALID_URL", Cause::Own(Status::Failed)),
    ("INVALID_PROFILE", Cause::Own(Status::Failed)),
    ("NO_PICKUP", Cause::Own(Status::NoAnswer)),
    ("SRTP_READ_ERROR", Cause::Own(Status::Failed)),
    ("BOWOUT", Cause::Own(Status::Unknown)),
    ("BUSY_EVERYWHERE", Cause::Own(Status::Busy)),
    ("DECLINE", Cause::Own(Status::Rejected)),
    ("DOES_NOT_EXIST_ANYWHERE", Cause::Own(Status::Failed)),
    ("NOT_ACCEPTABLE", Cause::Own(Status::Failed)),
    ("UNWANTED", Cause::Own(Status::Rejected)),
    ("NO_IDENTITY", Cause::Own(Status::Rejected)),
    ("BAD_IDENTITY_INFO", Cause::Own(Status::Rejected)),
    ("UNSUPPORTED_CERTIFICATE", Cause::Own(Status::Rejected)),
    ("INVALID_IDENTITY", Cause::Own(Status::Rejected)),
    ("STALE_DATE", Cause::Own(Status::Rejected)),
    ("REJECT_ALL", Cause::Own(Status::Rejected)),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_vocabulary_for_every_way_a_call_fails() {
        assert_eq!(named(b"USER_BUSY"), Some((17, Status::Busy)));
        assert_eq!(named(b"originator_cancel"), Some((0, Status::Cancelled)));
        assert_eq!(named(b"UNALLOCATED_NUMBER"), Some((1, Status::Failed)));
        assert_eq!(named(b"LUNCH"), None);
        for (code, status) in [
            (200, Status::Answered),
            (302, Status::Failed),
            (404, Status::Failed),
            (480, Status::NoAnswer),
            (486, Status::Busy),
            (487, Status::Cancelled),
            (603, Status::Rejected),
        ] {
            assert_eq!(status_of_sip(code), status, "{code}");
        }
    }

    #[test]
    fn every_name_stands_once() {
        let mut names: Vec<_> = NAMES.iter().map(|(name, _)| *name).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|two| two[0] != two[1]));
    }
}
