//! The members of a record that mean something here, picked out while the JSON is read; the rest is passed over.
//!
//! Of a name that stands twice the last value counts, but for the parts of a call's flow: see [`Place::Times`].

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// An object of a record, by its place in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Root,
    Variables,
    ChannelData,
    /// The parts of a call between its transfers, newest first.
    CallFlow,
    Profile,
    /// The newest part that tells an instant at all counts; of the creation the oldest.
    Times,
    Originator,
    OriginatorProfile,
    /// What CGRateS wraps a call in on its way between services.
    Event,
    ExtraFields,
}

/// What a member is for.
#[derive(Clone, Copy)]
enum Target {
    Into(Place),
    Keep(Member),
    Pass,
}

macro_rules! names {
    ($($name:ident,)+) => {
        /// A member that is kept.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Member { $($name),+ }

        const N_NAMES: usize = [$(Member::$name),+].len();
    };
}

names! {
    // FreeSWITCH, beside the variables.
    Switch, ChannelDirection, OriginatorUuid,
    CallerIdNumber, CallerIdName, DestinationNumber, Rdnis, NetworkAddress, ProfileUuid,
    CreatedTime, ProgressTime, ProgressMediaTime, AnsweredTime, HangupTime,
    // FreeSWITCH, variables of the channel.
    Uuid, CallUuid, OriginatingLegUuid, SignalBond, Direction, CallDirection, Customer,
    SipCallId, SipFromUser, SipFromDisplay, SipFromHost, SipToUser, SipReqUser, SipReqHost, SipToHost, SipNetworkIp,
    SipReceivedIp, SipUserAgent, SipAsserted, SipPreferred, SipRemoteParty, SipPrivacy, SipDiversion, SipVerstat,
    SipVerstatDetailed, SipGatewayName, SipGateway, SofiaProfileName, SipAuthorized, SipAuthUsername, UserName,
    AccountCode, DialedUser, DialedDomain, DomainName, VariableRdnis, BridgeUuid, LastBridgeTo,
    HangupCause, HangupCauseQ850, BridgeHangupCause, OriginateDisposition, SipHangupDisposition, SipTermStatus,
    ProtoCause, BridgeProtoCause, SipInviteFailureStatus, NibbleTotalBilled,
    StartUepoch, StartEpoch, ProgressUepoch, ProgressEpoch, ProgressMediaUepoch, ProgressMediaEpoch, AnswerUepoch,
    AnswerEpoch, AnswerStamp, EndUepoch, EndEpoch, BillMsec, BillUsec, BillSec, TotalMsec, TotalSec,
    // CGRateS.
    CgrOriginId, CgrOriginHost, CgrRunId, CgrTor, CgrTenant, CgrAccount, CgrSubject, CgrDestination, CgrSetupTime,
    CgrAnswerTime, CgrUsage, CgrCost, CgrDirection, CgrCause, CgrTrunk, CgrPdd, CgrSourceIp, CgrUserAgent,
}

// long: a table
fn target(place: Place, key: &str) -> Target {
    use Target::{Into, Keep, Pass};
    match place {
        Place::Root => match key {
            "variables" => Into(Place::Variables),
            "callflow" => Into(Place::CallFlow),
            "channel_data" => Into(Place::ChannelData),
            "Event" => Into(Place::Event),
            "switchname" => Keep(Member::Switch),
            key => cgrates(key),
        },
        Place::Event => cgrates(key),
        Place::Variables => variable(key).map_or(Pass, Keep),
        Place::ChannelData => match key {
            "direction" => Keep(Member::ChannelDirection),
            _ => Pass,
        },
        Place::CallFlow => match key {
            "caller_profile" => Into(Place::Profile),
            "times" => Into(Place::Times),
            _ => Pass,
        },
        Place::Profile => match key {
            "caller_id_number" => Keep(Member::CallerIdNumber),
            "caller_id_name" => Keep(Member::CallerIdName),
            "destination_number" => Keep(Member::DestinationNumber),
            "rdnis" => Keep(Member::Rdnis),
            "network_addr" => Keep(Member::NetworkAddress),
            "uuid" => Keep(Member::ProfileUuid),
            "originator" => Into(Place::Originator),
            _ => Pass,
        },
        Place::Times => match key {
            "created_time" => Keep(Member::CreatedTime),
            "progress_time" => Keep(Member::ProgressTime),
            "progress_media_time" => Keep(Member::ProgressMediaTime),
            "answered_time" => Keep(Member::AnsweredTime),
            "hangup_time" => Keep(Member::HangupTime),
            _ => Pass,
        },
        Place::Originator => match key {
            "originator_caller_profiles" | "originator_caller_profile" => Into(Place::OriginatorProfile),
            _ => Pass,
        },
        Place::OriginatorProfile => match key {
            "uuid" => Keep(Member::OriginatorUuid),
            _ => Pass,
        },
        Place::ExtraFields => extra_field(key).map_or(Pass, Keep),
    }
}

fn cgrates(key: &str) -> Target {
    Target::Keep(match key {
        "ExtraFields" => return Target::Into(Place::ExtraFields),
        "OriginID" => Member::CgrOriginId,
        "OriginHost" => Member::CgrOriginHost,
        "RunID" => Member::CgrRunId,
        "ToR" | "TOR" => Member::CgrTor,
        "Tenant" => Member::CgrTenant,
        "Account" => Member::CgrAccount,
        "Subject" => Member::CgrSubject,
        "Destination" => Member::CgrDestination,
        "SetupTime" => Member::CgrSetupTime,
        "AnswerTime" => Member::CgrAnswerTime,
        "Usage" => Member::CgrUsage,
        "Cost" => Member::CgrCost,
        key => return extra_field(key).map_or(Target::Pass, Target::Keep),
    })
}

/// Sites name these as they like; the names are those of CGRateS' own agents and tutorials.
fn extra_field(key: &str) -> Option<Member> {
    Some(match key {
        "Direction" | "direction" => Member::CgrDirection,
        "DisconnectCause" | "HangupCause" | "hangup_cause" => Member::CgrCause,
        "Supplier" | "SUPPLIER" | "Route" | "Trunk" | "trunk" => Member::CgrTrunk,
        "PDD" | "Pdd" | "pdd" => Member::CgrPdd,
        "SourceIP" | "source_ip" => Member::CgrSourceIp,
        "UserAgent" | "user_agent" => Member::CgrUserAgent,
        _ => return None,
    })
}

// long: a table
fn variable(key: &str) -> Option<Member> {
    Some(match key {
        "uuid" => Member::Uuid,
        "call_uuid" => Member::CallUuid,
        "originating_leg_uuid" => Member::OriginatingLegUuid,
        "signal_bond" => Member::SignalBond,
        "direction" => Member::Direction,
        "call_direction" => Member::CallDirection,
        "customer" => Member::Customer,
        "sip_call_id" => Member::SipCallId,
        "sip_from_user" => Member::SipFromUser,
        "sip_from_display" => Member::SipFromDisplay,
        "sip_from_host" => Member::SipFromHost,
        "sip_to_user" => Member::SipToUser,
        "sip_to_host" => Member::SipToHost,
        "sip_req_user" => Member::SipReqUser,
        "sip_req_host" => Member::SipReqHost,
        "sip_network_ip" => Member::SipNetworkIp,
        "sip_received_ip" => Member::SipReceivedIp,
        "sip_user_agent" => Member::SipUserAgent,
        "sip_P-Asserted-Identity" => Member::SipAsserted,
        "sip_P-Preferred-Identity" => Member::SipPreferred,
        "sip_Remote-Party-ID" => Member::SipRemoteParty,
        "sip_Privacy" | "sip_h_Privacy" => Member::SipPrivacy,
        "sip_h_Diversion" => Member::SipDiversion,
        "sip_verstat" => Member::SipVerstat,
        "sip_verstat_detailed" => Member::SipVerstatDetailed,
        "sip_gateway_name" => Member::SipGatewayName,
        "sip_gateway" => Member::SipGateway,
        "sofia_profile_name" => Member::SofiaProfileName,
        "sip_authorized" => Member::SipAuthorized,
        "sip_auth_username" => Member::SipAuthUsername,
        "user_name" => Member::UserName,
        "accountcode" => Member::AccountCode,
        "dialed_user" => Member::DialedUser,
        "dialed_domain" => Member::DialedDomain,
        "domain_name" => Member::DomainName,
        "rdnis" => Member::VariableRdnis,
        "bridge_uuid" => Member::BridgeUuid,
        "last_bridge_to" => Member::LastBridgeTo,
        "hangup_cause" => Member::HangupCause,
        "hangup_cause_q850" => Member::HangupCauseQ850,
        "last_bridge_hangup_cause" => Member::BridgeHangupCause,
        "originate_disposition" => Member::OriginateDisposition,
        "sip_hangup_disposition" => Member::SipHangupDisposition,
        "sip_term_status" => Member::SipTermStatus,
        "proto_specific_hangup_cause" => Member::ProtoCause,
        "last_bridge_proto_specific_hangup_cause" => Member::BridgeProtoCause,
        "sip_invite_failure_status" => Member::SipInviteFailureStatus,
        "nibble_total_billed" => Member::NibbleTotalBilled,
        "start_uepoch" => Member::StartUepoch,
        "start_epoch" => Member::StartEpoch,
        "progress_uepoch" => Member::ProgressUepoch,
        "progress_epoch" => Member::ProgressEpoch,
        "progress_media_uepoch" => Member::ProgressMediaUepoch,
        "progress_media_epoch" => Member::ProgressMediaEpoch,
        "answer_uepoch" => Member::AnswerUepoch,
        "answer_epoch" => Member::AnswerEpoch,
        "answer_stamp" => Member::AnswerStamp,
        "end_uepoch" => Member::EndUepoch,
        "end_epoch" => Member::EndEpoch,
        "billmsec" => Member::BillMsec,
        "billusec" => Member::BillUsec,
        "billsec" => Member::BillSec,
        "mduration" => Member::TotalMsec,
        "duration" => Member::TotalSec,
        _ => return None,
    })
}

/// A value that is kept, as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kept<'a> {
    Text(Cow<'a, str>),
    /// It came as a number or a boolean.
    Bare(String),
    /// It came as an array or an object.
    Wrong,
}

/// What a record says.
#[derive(Debug)]
pub(super) struct Members<'a> {
    kept: [Option<Kept<'a>>; N_NAMES],
    pub(super) has_variables: bool,
    pub(super) has_callflow: bool,
    /// Variables hold percent escapes.
    n_escapes: usize,
    /// Variables hold what an encoder would have escaped.
    n_raw: usize,
}

impl<'a> Members<'a> {
    /// Reads one object. `None`: it is no JSON.
    pub(super) fn read(record: &'a str) -> Option<Members<'a>> {
        let mut members = Members {
            kept: std::array::from_fn(|_| None),
            has_variables: false,
            has_callflow: false,
            n_escapes: 0,
            n_raw: 0,
        };
        let mut deserializer = serde_json::Deserializer::from_str(record);
        Object { place: Place::Root, members: &mut members }.deserialize(&mut deserializer).ok()?;
        deserializer.end().ok()?;
        Some(members)
    }

    pub(super) fn get(&self, name: Member) -> Option<&Kept<'a>> {
        self.kept.get(name as usize).and_then(Option::as_ref)
    }

    /// Were the variables written with `encode-values`? Nothing in the record says so, but its variables hold addresses
    /// and such, which come either with escapes or as they are.
    pub(super) fn is_encoded(&self) -> bool {
        self.n_escapes > 0 && self.n_raw == 0
    }

    fn keep(&mut self, place: Place, name: Member, value: Kept<'a>) {
        let Some(kept) = self.kept.get_mut(name as usize) else { return };
        let tells = |value: &Kept<'_>| match value {
            Kept::Text(text) => !matches!(&**text, "" | "0"),
            Kept::Bare(text) => text != "0",
            Kept::Wrong => true,
        };
        let is_settled = place == Place::Times && name != Member::CreatedTime && kept.as_ref().is_some_and(tells);
        if !is_settled {
            *kept = Some(value);
        }
    }

    /// Weighs what a variable looks like.
    fn weigh(&mut self, value: &str) {
        let bytes = value.as_bytes();
        for (at, byte) in bytes.iter().enumerate() {
            let escape = || bytes.get(at + 1..at + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
            match byte {
                b'%' if escape() => self.n_escapes += 1,
                b'%' | b' ' | b'"' | b'+' | b':' | b'<' | b'>' | b'@' | b'[' | b']' | b'{' | b'}' => self.n_raw += 1,
                _ => {}
            }
        }
    }
}

/// Reads the object at a place, or the objects of an array there; anything else means nothing.
struct Object<'m, 'a> {
    place: Place,
    members: &'m mut Members<'a>,
}

impl<'a> DeserializeSeed<'a> for Object<'_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for Object<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a record")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        match self.place {
            Place::Variables => self.members.has_variables = true,
            Place::CallFlow => self.members.has_callflow = true,
            // What an older part of the call said does not fill up what this one leaves out.
            Place::Profile => {
                for name in [Member::CallerIdNumber, Member::CallerIdName, Member::DestinationNumber, Member::Rdnis] {
                    self.members.keep(self.place, name, Kept::Text(Cow::Borrowed("")));
                }
            }
            _ => {}
        }
        while let Some(target) = map.next_key_seed(Key(self.place))? {
            match target {
                Target::Into(place) => map.next_value_seed(Object { place, members: &mut *self.members })?,
                Target::Keep(name) => {
                    let value = map.next_value_seed(Value)?;
                    if let (Place::Variables, Kept::Text(text)) = (self.place, &value) {
                        self.members.weigh(text);
                    }
                    self.members.keep(self.place, name, value);
                }
                Target::Pass if self.place == Place::Variables => {
                    if let Kept::Text(text) = map.next_value_seed(Value)? {
                        self.members.weigh(&text);
                    }
                }
                Target::Pass => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut seq: A) -> Result<(), A::Error> {
        let Object { place, members } = self;
        while seq.next_element_seed(Object { place, members: &mut *members })?.is_some() {}
        Ok(())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }
}

/// Reads a name for what it means, without keeping it.
struct Key(Place);

impl<'a> DeserializeSeed<'a> for Key {
    type Value = Target;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Target, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key {
    type Value = Target;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Target, E> {
        Ok(target(self.0, key))
    }
}

/// Reads a value of any type.
struct Value;

impl<'a> DeserializeSeed<'a> for Value {
    type Value = Kept<'a>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Kept<'a>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for Value {
    type Value = Kept<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'a str) -> Result<Kept<'a>, E> {
        Ok(Kept::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Kept<'a>, E> {
        Ok(Kept::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Kept<'a>, E> {
        Ok(Kept::Bare(value.to_string()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Kept<'a>, E> {
        Ok(Kept::Bare(value.to_string()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Kept<'a>, E> {
        Ok(Kept::Bare(value.to_string()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Kept<'a>, E> {
        Ok(Kept::Bare(value.to_string()))
    }

    fn visit_unit<E: Error>(self) -> Result<Kept<'a>, E> {
        Ok(Kept::Text(Cow::Borrowed("")))
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Kept<'a>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Kept::Wrong)
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut seq: A) -> Result<Kept<'a>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Kept::Wrong)
    }
}
