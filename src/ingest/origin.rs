//! Whose event it is: customer, gateway, parties, and a time that is not in the future.

use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;

use super::wire::Origin;
use super::{Counts, FeedContext};
use crate::clock::Timestamp;
use crate::event::dialplan::{DialPlan, Scratch, Wording};
use crate::event::{CallEvent, CustomerId, Flags, GatewayId, Party, Reject, Text};
use crate::limits::FUTURE_MS_MAX;

/// Longest address, as text.
const ADDRESS_BYTES_MAX: usize = 46;

/// Completes decoded events by what the feed knows. One a connection, so that names are looked up
/// in shared tables once and not for every event.
#[derive(Debug)]
pub(crate) struct Attribution {
    context: Arc<FeedContext>,
    gateway: GatewayId,
    seq_required: bool,
    customers: Known,
    gateways: Known,
    scratch: Scratch,
}

impl Clone for Attribution {
    /// The clone knows what the hello said, and learns names anew.
    fn clone(&self) -> Attribution {
        let (gateway, seq_required) = (self.gateway, self.seq_required);
        Attribution { gateway, seq_required, ..Attribution::new(self.context.clone()) }
    }
}

impl Attribution {
    pub(crate) fn new(context: Arc<FeedContext>) -> Attribution {
        let (gateway, seq_required) = (context.gateway, context.seq_required);
        let (customers, gateways, scratch) = (Known::default(), Known::default(), Scratch::default());
        Attribution { context, gateway, seq_required, customers, gateways, scratch }
    }

    pub(crate) fn greet(&mut self, gateway: GatewayId, seq_required: bool) {
        self.gateway = gateway;
        self.seq_required = seq_required;
    }

    pub(crate) fn go_by(&mut self, context: &Arc<FeedContext>) {
        if !Arc::ptr_eq(&self.context, context) {
            self.context = Arc::clone(context);
        }
    }

    pub(crate) fn context(&self) -> &FeedContext {
        &self.context
    }

    /// The last step of every codec. `event` has all that the record said but ids and numbers.
    #[inline]
    pub(crate) fn complete(
        &mut self,
        event: &mut CallEvent,
        origin: Origin,
        arrival: Option<Timestamp>,
        block: &[u8],
        side: &mut Vec<u8>,
        counts: &mut Counts,
    ) -> Result<(), Reject> {
        if self.seq_required && event.seq == 0 {
            return Err(Reject::NoSeq);
        }
        if let Some(arrival) = arrival
            && event.time > arrival.plus_ms(FUTURE_MS_MAX)
        {
            event.time = arrival;
            event.flags.set(Flags::FUTURE);
            counts.future += 1;
        }
        event.gateway = self.gateway;
        if self.context.gateway_from_event && !origin.gateway.is_absent() {
            let names = &self.context.names;
            event.gateway = self
                .gateways
                .id(bytes(block, side, origin.gateway), |name| names.gateway(name).map(|id| id.0))
                .map(GatewayId)?;
        }
        event.customer = self.customer(event, origin, block, side)?;
        let (plan, scratch) = (self.context.dial_plan_of(event.customer), &mut self.scratch);
        if !event.caller.raw.is_absent() && normalise(&mut event.caller, plan, scratch, block, side).anonymous {
            event.flags.set(Flags::ANONYMOUS);
        }
        if !event.callee.raw.is_absent() && normalise(&mut event.callee, plan, scratch, block, side).emergency {
            event.flags.set(Flags::EMERGENCY);
        }
        for party in [&mut event.asserted, &mut event.diverting] {
            if !party.raw.is_absent() && party.number.is_absent() {
                normalise_any(party, plan, scratch, block, side);
            }
        }
        Ok(())
    }

    #[inline]
    fn customer(&mut self, event: &CallEvent, origin: Origin, block: &[u8], side: &[u8]) -> Result<CustomerId, Reject> {
        let context = &self.context;
        let customer = if context.customer_from_event && !origin.customer.is_absent() {
            let own = bytes(block, side, origin.customer);
            match &context.admission {
                Some(admission) => return admission.named(own).ok_or(Reject::UnknownCustomer),
                None => {
                    let id = self.customers.id(own, |name| context.names.customer(name).map(|id| id.0))?;
                    return Ok(CustomerId(id));
                }
            }
        } else if let Some(customer) = context.customer {
            customer
        } else {
            self.by_trunk(event, bytes(block, side, event.trunk)).unwrap_or_default()
        };
        match &context.admission {
            Some(admission) if !admission.is_admitted(customer) => Err(Reject::UnknownCustomer),
            _ => Ok(customer),
        }
    }

    /// What the feed says of the trunk or of who sent it, else what the customers' files do.
    fn by_trunk(&self, event: &CallEvent, trunk: &[u8]) -> Option<CustomerId> {
        let trunks = &self.context.trunks;
        let files = self.context.admission.as_deref().filter(|admission| admission.has_trunks());
        let of_feed = |name: &[u8]| trunks.get(name).filter(|_| !name.is_empty()).copied();
        let of_files = |name: &[u8]| files?.by_trunk(name, event.gateway).filter(|_| !name.is_empty());
        if trunks.is_empty() && files.is_none() {
            return None;
        }
        let found = of_feed(trunk).or_else(|| if trunks.is_empty() { of_files(trunk) } else { None });
        // Signalling seldom names its trunk; who sent it tells as much.
        found.or_else(|| {
            let mut text = [0; ADDRESS_BYTES_MAX];
            let mut rest = text.as_mut_slice();
            let written = event.source_ip.and_then(|address| write!(rest, "{address}").ok());
            let len = written.map_or(0, |()| ADDRESS_BYTES_MAX - rest.len());
            let address = text.get(..len)?;
            of_feed(address).or_else(|| of_files(trunk)).or_else(|| of_files(address))
        })
    }
}

/// What is true of a call because of one of its numbers.
struct Said {
    anonymous: bool,
    emergency: bool,
}

/// Lets the dial plan say what a party's number means. The party is as decoding left it: raw text alone, or with a
/// number read from `+` and digits, which mean the same in every plan.
#[inline(always)]
fn normalise(party: &mut Party, plan: &DialPlan, scratch: &mut Scratch, block: &[u8], side: &mut Vec<u8>) -> Said {
    if !party.number.is_absent() {
        return Said { anonymous: false, emergency: plan.is_emergency_e164(party.number) };
    }
    match plan.international_number(bytes(block, side, party.raw)) {
        Some((number, emergency)) => {
            party.number = number;
            Said { anonymous: false, emergency }
        }
        None => normalise_any(party, plan, scratch, block, side),
    }
}

#[inline(never)]
fn normalise_any(party: &mut Party, plan: &DialPlan, scratch: &mut Scratch, block: &[u8], side: &mut Vec<u8>) -> Said {
    let meant = plan.normalise(bytes(block, side, party.raw), scratch);
    party.number = meant.number;
    party.text = match &meant.wording {
        Wording::Absent => Text::ABSENT,
        Wording::Raw(range) => Text { at: party.raw.at + range.start as u32, len: range.len() as u32 },
        Wording::Built => keep(side, scratch.built()),
    };
    Said { anonymous: meant.anonymous, emergency: meant.emergency }
}

/// As [`crate::event::Batch::keep`], for a side buffer on its own.
pub(crate) fn keep(side: &mut Vec<u8>, text: &[u8]) -> Text {
    if text.is_empty() {
        return Text::ABSENT;
    }
    let at = side.len() as u32 | Text::SIDE;
    side.extend_from_slice(text);
    Text { at, len: text.len() as u32 }
}

/// The bytes of a text of a batch whose block is not yet its own.
#[inline]
pub(crate) fn bytes<'a>(block: &'a [u8], side: &'a [u8], text: Text) -> &'a [u8] {
    let from = if text.at & Text::SIDE != 0 { side } else { block };
    let at = (text.at & !Text::SIDE) as usize;
    from.get(at..at + text.len as usize).unwrap_or(&[])
}

/// Names a connection keeps before it forgets them all. Forgetting costs a lock each, nothing else.
const KNOWN_MAX: usize = 4096;

/// Ids this connection has seen, so that shared tables are asked once a name.
#[derive(Debug, Default)]
struct Known {
    last: Option<(Box<[u8]>, u32)>,
    all: HashMap<Box<[u8]>, u32>,
}

impl Known {
    #[inline]
    fn id(&mut self, name: &[u8], ask: impl FnOnce(&str) -> Option<u32>) -> Result<u32, Reject> {
        if let Some((last, id)) = &self.last
            && **last == *name
        {
            return Ok(*id);
        }
        self.find(name, ask)
    }

    fn find(&mut self, name: &[u8], ask: impl FnOnce(&str) -> Option<u32>) -> Result<u32, Reject> {
        if let Some(id) = self.all.get(name) {
            return Ok(*id);
        }
        let text = std::str::from_utf8(name).map_err(|_| Reject::NotUtf8)?;
        let id = ask(text).ok_or(Reject::TooManyNames)?;
        if self.all.len() >= KNOWN_MAX {
            self.all.clear();
        }
        self.all.insert(name.into(), id);
        self.last = Some((name.into(), id));
        Ok(id)
    }
}
