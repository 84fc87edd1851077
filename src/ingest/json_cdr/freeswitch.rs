//! A FreeSWITCH channel becomes an event: the object that mod_json_cdr writes when a leg of a call is over.
//!
//! Each leg is a channel with a record of its own. One that another channel called out is leg `b`; its `call_id` is the
//! caller's channel, for its own Call-ID is that of another SIP dialogue. Any other leg is the call as the customer knows
//! it, and has its SIP Call-ID where there is one.
//!
//! FreeSWITCH calls every call `inbound` that comes into the switch, also that of a customer's own user. Here it is
//! outbound or internal where its caller has logged in; see [`direction`]. A dialplan that knows better says so
//! in the variable `call_direction`.

use super::draft::{Cause, Draft, meaning};
use super::members::{Kept, Member};
use crate::clock::Timestamp;
use crate::event::{CallEvent, Direction, Flags, HangupBy, Reject, Status};
use crate::ingest::value;
use crate::ingest::wire::{self, WireField};

pub(super) fn read(draft: &mut Draft<'_, '_>) {
    parties(draft);
    let is_b_leg = is_b_leg(draft);
    ids(draft, is_b_leg);
    draft.event.direction = direction(draft, is_b_leg);
    if draft.event.direction == Direction::Inbound {
        draft.set(WireField::Extension, &[Member::DialedUser]);
    } else {
        draft.set(WireField::Extension, &[Member::UserName, Member::SipAuthUsername]);
    }
    let is_answered = times(draft);
    ending(draft, is_answered);
    hangup(draft, is_b_leg, is_answered);
    if let Some(text) = draft.text(Member::SipVerstatDetailed).or_else(|| draft.text(Member::SipVerstat)) {
        match wire::attestation(text.as_bytes()) {
            Some(attestation) => draft.event.attestation = attestation,
            None => draft.n_unknown_words += 1,
        }
    }
    if draft.is_there(Member::NibbleTotalBilled) {
        let cost = draft.number(Member::NibbleTotalBilled).and_then(|number| number.ten_thousandths());
        draft.event.cost = cost.unwrap_or(CallEvent::NO_COST);
    }
}

fn parties(draft: &mut Draft<'_, '_>) {
    draft.set(WireField::Caller, &[Member::SipFromUser, Member::CallerIdNumber]);
    // Where the dialplan was entered: a transfer goes on to what was not dialled.
    draft.set(WireField::Callee, &[Member::DestinationNumber, Member::SipReqUser, Member::SipToUser]);
    draft.set(WireField::Asserted, &[Member::SipAsserted, Member::SipRemoteParty, Member::SipPreferred]);
    draft.set(WireField::Diverting, &[Member::SipDiversion, Member::Rdnis, Member::VariableRdnis]);
    draft.set(WireField::CallerName, &[Member::SipFromDisplay, Member::CallerIdName]);
    draft.set(WireField::Domain, &[Member::DomainName, Member::SipReqHost, Member::SipToHost]);
    draft.set(WireField::UserAgent, &[Member::SipUserAgent]);
    draft.set(WireField::Trunk, &[Member::SipGatewayName, Member::SipGateway, Member::SofiaProfileName]);
    draft.set(WireField::Account, &[Member::AccountCode, Member::UserName, Member::SipAuthUsername]);
    draft.set(WireField::Customer, &[Member::Customer]);
    draft.set(WireField::Gateway, &[Member::Switch]);
    let privacy = draft.text(Member::SipPrivacy);
    let hides = |word: &str| matches!(word.trim(), "id" | "user" | "full" | "header" | "yes" | "hide_number");
    if privacy.is_some_and(|words| words.split([';', ',', ':']).any(hides)) {
        draft.event.flags.set(Flags::ANONYMOUS);
    }
    let peers = [Member::SipNetworkIp, Member::NetworkAddress, Member::SipReceivedIp];
    // Channels that are no SIP have a host's name, or none, where others have an address.
    let texts = peers.into_iter().filter_map(|name| draft.text(name));
    draft.event.source_ip = texts.into_iter().find_map(|text| value::ip(text.as_bytes()));
}

/// Did another channel call this one out?
fn is_b_leg(draft: &Draft<'_, '_>) -> bool {
    if draft.is_there(Member::OriginatorUuid) {
        return true;
    }
    if !is_called_out(draft) {
        return false;
    }
    let other = draft.text(Member::CallUuid).filter(|uuid| Some(uuid) != own_uuid(draft).as_ref());
    // The first leg of a call that the switch makes by itself is called out too, and bonded to the one it then calls. Its
    // flow says that nobody called it.
    let is_bonded = !draft.members.has_callflow && draft.is_there(Member::SignalBond);
    other.is_some() || draft.is_there(Member::OriginatingLegUuid) || is_bonded
}

fn own_uuid<'m>(draft: &Draft<'m, '_>) -> Option<std::borrow::Cow<'m, str>> {
    draft.text(Member::Uuid).or_else(|| draft.text(Member::ProfileUuid))
}

fn is_called_out(draft: &Draft<'_, '_>) -> bool {
    let direction = draft.text(Member::Direction).or_else(|| draft.text(Member::ChannelDirection));
    direction.is_some_and(|word| word == "outbound")
}

fn ids(draft: &mut Draft<'_, '_>, is_b_leg: bool) {
    if !is_b_leg {
        return draft.set(WireField::CallId, &[Member::SipCallId, Member::Uuid, Member::ProfileUuid]);
    }
    draft.set_text(WireField::Leg, "b");
    let own = own_uuid(draft);
    let callers = [Member::OriginatorUuid, Member::CallUuid, Member::OriginatingLegUuid, Member::SignalBond];
    let others = callers.into_iter().filter_map(|name| draft.text(name)).find(|uuid| Some(uuid) != own.as_ref());
    match others {
        Some(uuid) => draft.set_text(WireField::CallId, &uuid),
        None => draft.set(WireField::CallId, &[Member::Uuid, Member::ProfileUuid, Member::SipCallId]),
    }
}

/// As the customer sees it: by the dialplan's own word, by who has logged in and whom the call reached, and else by which
/// way the channel goes.
fn direction(draft: &mut Draft<'_, '_>, is_b_leg: bool) -> Direction {
    if let Some(word) = draft.text(Member::CallDirection) {
        match &*word {
            "inbound" => return Direction::Inbound,
            "outbound" => return Direction::Outbound,
            "local" | "internal" => return Direction::Internal,
            _ => draft.n_unknown_words += 1,
        }
    }
    let to_user = draft.is_there(Member::DialedUser);
    let is_ours = draft.text(Member::SipAuthorized).is_some_and(|word| word == "true")
        || draft.is_there(Member::UserName)
        || draft.is_there(Member::SipAuthUsername);
    let came_from_gateway = draft.is_there(Member::SipGateway) || draft.is_there(Member::SipGatewayName);
    let domain = draft.text(Member::SipFromHost).or_else(|| draft.text(Member::DomainName));
    let within = to_user && domain.is_some() && domain == draft.text(Member::DialedDomain);
    if is_called_out(draft) {
        return if to_user && is_b_leg { Direction::Unknown } else { Direction::Outbound };
    }
    if came_from_gateway {
        return Direction::Inbound;
    }
    match (is_ours, to_user) {
        (true, true) => Direction::Internal,
        (true, false) => Direction::Outbound,
        _ if within => Direction::Internal,
        (false, true) => Direction::Inbound,
        _ => match draft.text(Member::Direction).or_else(|| draft.text(Member::ChannelDirection)).as_deref() {
            Some("inbound") => Direction::Inbound,
            _ => Direction::Unknown,
        },
    }
}

/// The end, and how long what came before it took. Says whether the call was answered.
fn times(draft: &mut Draft<'_, '_>) -> bool {
    let start = instant_us(draft, &[Member::StartUepoch, Member::CreatedTime, Member::StartEpoch]);
    let rang = instant_us(draft, &[Member::ProgressUepoch, Member::ProgressTime, Member::ProgressEpoch]);
    let media = [Member::ProgressMediaUepoch, Member::ProgressMediaTime, Member::ProgressMediaEpoch];
    let rang = rang.or_else(|| instant_us(draft, &media));
    let answer = instant_us(draft, &[Member::AnswerUepoch, Member::AnsweredTime, Member::AnswerEpoch]);
    let end = instant_us(draft, &[Member::EndUepoch, Member::HangupTime, Member::EndEpoch]);
    let between = |from: Option<u64>, to: Option<u64>| {
        let us = to?.saturating_sub(from?);
        u32::try_from((us + 500) / 1000).ok().filter(|ms| *ms != CallEvent::NO_TIME)
    };
    let talk = draft.span_ms(Member::BillMsec, 3);
    let talk = talk.or_else(|| draft.span_ms(Member::BillUsec, 6)).or_else(|| draft.span_ms(Member::BillSec, 0));
    let is_answered = answer.is_some() || talk.is_some_and(|ms| ms > 0) || draft.is_there(Member::AnswerStamp);
    let talk = if is_answered { talk.or_else(|| between(answer, end)) } else { Some(0) };
    let total = draft.span_ms(Member::TotalMsec, 3).or_else(|| draft.span_ms(Member::TotalSec, 0));
    let total = total.or_else(|| between(start, end));
    let setup = between(start, rang).filter(|ms| total.is_none_or(|total| *ms <= total));
    draft.event.duration_ms = talk.unwrap_or(CallEvent::NO_TIME);
    draft.event.setup_ms = setup.unwrap_or(CallEvent::NO_TIME);
    if let (Some(total), Some(talk)) = (total, talk) {
        draft.event.ring_ms = total.saturating_sub(talk).saturating_sub(setup.unwrap_or(0));
    }
    let end_ms = end.map(|us| us / 1000);
    let end_ms = end_ms.or_else(|| Some(start? / 1000 + u64::from(total?)));
    let time = end_ms.and_then(|ms| i64::try_from(ms).ok()).map(Timestamp);
    match time {
        Some(time) if time <= Timestamp::MAX => draft.event.time = time,
        Some(_) => draft.problem(Reject::BadTime),
        None => draft.problem(Reject::NoTime),
    }
    is_answered
}

/// The first instant that is told, in microseconds since 1970. 0 says that it never came.
fn instant_us(draft: &mut Draft<'_, '_>, names: &[Member]) -> Option<u64> {
    for name in names {
        if let Some(Kept::Wrong) = draft.members.get(*name) {
            draft.problem(Reject::WrongType);
        }
        let Some(text) = draft.text(*name) else { continue };
        match text.parse::<u64>() {
            Ok(0) => {}
            Ok(seconds @ ..100_000_000_000) => return Some(seconds * 1_000_000),
            Ok(ms @ ..100_000_000_000_000) => return Some(ms * 1000),
            Ok(us) => return Some(us),
            Err(_) => draft.problem(Reject::BadTime),
        }
    }
    None
}

/// Status and codes.
fn ending(draft: &mut Draft<'_, '_>, is_answered: bool) {
    if let Some(number) = draft.number(Member::HangupCauseQ850) {
        match number.whole().and_then(|cause| u8::try_from(cause).ok()) {
            Some(cause) => draft.event.q850 = cause,
            None => draft.problem(Reject::BadValue),
        }
    }
    draft.event.sip_code = sip_code(draft, is_answered);
    if is_answered {
        draft.event.status = Status::Answered;
        return;
    }
    let disposition = draft.text(Member::SipHangupDisposition);
    if disposition.is_some_and(|word| matches!(&*word, "recv_cancel" | "send_cancel")) {
        draft.event.status = Status::Cancelled;
        return;
    }
    let is_telling = |cause: &str| !matches!(meaning(cause), None | Some(Cause::Normal));
    // A dialplan that goes on when nobody answers clears the call normally in the end; why stands beside.
    let names = [Member::HangupCause, Member::BridgeHangupCause, Member::OriginateDisposition, Member::HangupCauseQ850];
    let causes: Vec<_> = names.into_iter().filter_map(|name| draft.text(name)).collect();
    match causes.iter().find(|cause| is_telling(cause)).or(causes.first()) {
        Some(cause) => draft.unanswered(cause),
        None if draft.event.sip_code > 0 => {
            let code = draft.event.sip_code.to_string();
            draft.unanswered(&code);
        }
        None => draft.event.status = Status::NoAnswer,
    }
}

/// The final answer to the INVITE.
fn sip_code(draft: &Draft<'_, '_>, is_answered: bool) -> u16 {
    let own = [Member::SipTermStatus, Member::ProtoCause, Member::SipInviteFailureStatus];
    // That of the leg that was called out is passed on where this one was not answered by the switch itself.
    let names = own.into_iter().chain([Member::BridgeProtoCause]);
    let code = |text: &str| text.strip_prefix("sip:").unwrap_or(text).parse::<u16>().ok();
    let mut codes = names.filter_map(|name| draft.text(name)).filter_map(|text| code(&text));
    if is_answered {
        return codes.find(|code| (200..300).contains(code)).unwrap_or(0);
    }
    codes.find(|code| (300..700).contains(code)).unwrap_or(0)
}

/// Who ended the call. The switch says which way the last request of this leg went.
fn hangup(draft: &mut Draft<'_, '_>, is_b_leg: bool, is_answered: bool) {
    let (near, far) = match is_b_leg || is_called_out(draft) {
        false => (HangupBy::Caller, HangupBy::Callee),
        true => (HangupBy::Callee, HangupBy::Caller),
    };
    let cause = draft.text(Member::HangupCause).unwrap_or_default();
    let by_switch =
        matches!(&*cause, "ALLOTTED_TIMEOUT" | "MANAGER_REQUEST" | "MEDIA_TIMEOUT" | "CRASH" | "SYSTEM_SHUTDOWN");
    let is_bridged = is_b_leg || draft.is_there(Member::BridgeUuid) || draft.is_there(Member::LastBridgeTo);
    let Some(word) = draft.text(Member::SipHangupDisposition) else { return };
    draft.event.hangup_by = match &*word {
        "recv_bye" | "recv_cancel" | "recv_refuse" => near,
        _ if by_switch => HangupBy::Network,
        // Without another leg it was the switch itself that answered, and that hung up.
        "send_bye" | "send_cancel" if is_bridged => far,
        "send_bye" | "send_cancel" => HangupBy::Network,
        "send_refuse" if !is_answered => match draft.event.status {
            Status::Busy | Status::Rejected if draft.is_there(Member::BridgeHangupCause) => far,
            _ => HangupBy::Network,
        },
        _ => HangupBy::Unknown,
    };
}
