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
    Keep(Name),
    Pass,
}

macro_rules! names {
    ($($name:ident,)+) => {
        /// A member that is kept.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Name { $($name),+ }

        const N_NAMES: usize = [$(Name::$name),+].len();
    };
}

names! {
    // FreeSWITCH, beside the variables.
    SwitchName, ChannelDirection, OriginatorUuid,
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
            "switchname" => Keep(Name::SwitchName),
            key => cgrates(key),
        },
        Place::Event => cgrates(key),
        Place::Variables => variable(key).map_or(Pass, Keep),
        Place::ChannelData => match key {
            "direction" => Keep(Name::ChannelDirection),
            _ => Pass,
        },
        Place::CallFlow => match key {
            "caller_profile" => Into(Place::Profile),
            "times" => Into(Place::Times),
            _ => Pass,
        },
        Place::Profile => match key {
            "caller_id_number" => Keep(Name::CallerIdNumber),
            "caller_id_name" => Keep(Name::CallerIdName),
            "destination_number" => Keep(Name::DestinationNumber),
            "rdnis" => Keep(Name::Rdnis),
            "network_addr" => Keep(Name::NetworkAddress),
            "uuid" => Keep(Name::ProfileUuid),
            "originator" => Into(Place::Originator),
            _ => Pass,
        },
        Place::Times => match key {
            "created_time" => Keep(Name::CreatedTime),
            "progress_time" => Keep(Name::ProgressTime),
            "progress_media_time" => Keep(Name::ProgressMediaTime),
            "answered_time" => Keep(Name::AnsweredTime),
            "hangup_time" => Keep(Name::HangupTime),
            _ => Pass,
        },
        Place::Originator => match key {
            "originator_caller_profiles" | "originator_caller_profile" => Into(Place::OriginatorProfile),
            _ => Pass,
        },
        Place::OriginatorProfile => match key {
            "uuid" => Keep(Name::OriginatorUuid),
            _ => Pass,
        },
        Place::ExtraFields => extra_field(key).map_or(Pass, Keep),
    }
}

fn cgrates(key: &str) -> Target {
    Target::Keep(match key {
        "ExtraFields" => return Target::Into(Place::ExtraFields),
        "OriginID" => Name::CgrOriginId,
        "OriginHost" => Name::CgrOriginHost,
        "RunID" => Name::CgrRunId,
        "ToR" | "TOR" => Name::CgrTor,
        "Tenant" => Name::CgrTenant,
        "Account" => Name::CgrAccount,
        "Subject" => Name::CgrSubject,
        "Destination" => Name::CgrDestination,
        "SetupTime" => Name::CgrSetupTime,
        "AnswerTime" => Name::CgrAnswerTime,
        "Usage" => Name::CgrUsage,
        "Cost" => Name::CgrCost,
        key => return extra_field(key).map_or(Target::Pass, Target::Keep),
    })
}

/// Sites name these as they like; the names are those of CGRateS' own agents and tutorials.
fn extra_field(key: &str) -> Option<Name> {
    Some(match key {
        "Direction" | "direction" => Name::CgrDirection,
        "DisconnectCause" | "HangupCause" | "hangup_cause" => Name::CgrCause,
        "Supplier" | "SUPPLIER" | "Route" | "Trunk" | "trunk" => Name::CgrTrunk,
        "PDD" | "Pdd" | "pdd" => Name::CgrPdd,
        "SourceIP" | "source_ip" => Name::CgrSourceIp,
        "UserAgent" | "user_agent" => Name::CgrUserAgent,
        _ => return None,
    })
}

// long: a table
fn variable(key: &str) -> Option<Name> {
    Some(match key {
        "uuid" => Name::Uuid,
        "call_uuid" => Name::CallUuid,
        "originating_leg_uuid" => Name::OriginatingLegUuid,
        "signal_bond" => Name::SignalBond,
        "direction" => Name::Direction,
        "call_direction" => Name::CallDirection,
        "customer" => Name::Customer,
        "sip_call_id" => Name::SipCallId,
        "sip_from_user" => Name::SipFromUser,
        "sip_from_display" => Name::SipFromDisplay,
        "sip_from_host" => Name::SipFromHost,
        "sip_to_user" => Name::SipToUser,
        "sip_to_host" => Name::SipToHost,
        "sip_req_user" => Name::SipReqUser,
        "sip_req_host" => Name::SipReqHost,
        "sip_network_ip" => Name::SipNetworkIp,
        "sip_received_ip" => Name::SipReceivedIp,
        "sip_user_agent" => Name::SipUserAgent,
        "sip_P-Asserted-Identity" => Name::SipAsserted,
        "sip_P-Preferred-Identity" => Name::SipPreferred,
        "sip_Remote-Party-ID" => Name::SipRemoteParty,
        "sip_Privacy" | "sip_h_Privacy" => Name::SipPrivacy,
        "sip_h_Diversion" => Name::SipDiversion,
        "sip_verstat" => Name::SipVerstat,
        "sip_verstat_detailed" => Name::SipVerstatDetailed,
        "sip_gateway_name" => Name::SipGatewayName,
        "sip_gateway" => Name::SipGateway,
        "sofia_profile_name" => Name::SofiaProfileName,
        "sip_authorized" => Name::SipAuthorized,
        "sip_auth_username" => Name::SipAuthUsername,
        "user_name" => Name::UserName,
        "accountcode" => Name::AccountCode,
        "dialed_user" => Name::DialedUser,
        "dialed_domain" => Name::DialedDomain,
        "domain_name" => Name::DomainName,
        "rdnis" => Name::VariableRdnis,
        "bridge_uuid" => Name::BridgeUuid,
        "last_bridge_to" => Name::LastBridgeTo,
        "hangup_cause" => Name::HangupCause,
        "hangup_cause_q850" => Name::HangupCauseQ850,
        "last_bridge_hangup_cause" => Name::BridgeHangupCause,
        "originate_disposition" => Name::OriginateDisposition,
        "sip_hangup_disposition" => Name::SipHangupDisposition,
        "sip_term_status" => Name::SipTermStatus,
        "proto_specific_hangup_cause" => Name::ProtoCause,
        "last_bridge_proto_specific_hangup_cause" => Name::BridgeProtoCause,
        "sip_invite_failure_status" => Name::SipInviteFailureStatus,
        "nibble_total_billed" => Name::NibbleTotalBilled,
        "start_uepoch" => Name::StartUepoch,
        "start_epoch" => Name::StartEpoch,
        "progress_uepoch" => Name::ProgressUepoch,
        "progress_epoch" => Name::ProgressEpoch,
        "progress_media_uepoch" => Name::ProgressMediaUepoch,
        "progress_media_epoch" => Name::ProgressMediaEpoch,
        "answer_uepoch" => Name::AnswerUepoch,
        "answer_epoch" => Name::AnswerEpoch,
        "answer_stamp" => Name::AnswerStamp,
        "end_uepoch" => Name::EndUepoch,
        "end_epoch" => Name::EndEpoch,
        "billmsec" => Name::BillMsec,
        "billusec" => Name::BillUsec,
        "billsec" => Name::BillSec,
        "mduration" => Name::TotalMsec,
        "duration" => Name::TotalSec,
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

    pub(super) fn get(&self, name: Name) -> Option<&Kept<'a>> {
        self.kept.get(name as usize).and_then(Option::as_ref)
    }

    /// Were the variables written with `encode-values`? Nothing in the record says so, but its variables hold addresses
    /// and such, which come either with escapes or as they are.
    pub(super) fn is_encoded(&self) -> bool {
        self.n_escapes > 0 && self.n_raw == 0
    }

    fn keep(&mut self, place: Place, name: Name, value: Kept<'a>) {
        let Some(kept) = self.kept.get_mut(name as usize) else { return };
        let tells = |value: &Kept<'_>| match value {
            Kept::Text(text) => !matches!(&**text, "" | "0"),
            Kept::Bare(text) => text != "0",
            Kept::Wrong => true,
        };
        let is_settled = place == Place::Times && name != Name::CreatedTime && kept.as_ref().is_some_and(tells);
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
                for name in [Name::CallerIdNumber, Name::CallerIdName, Name::DestinationNumber, Name::Rdnis] {
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
