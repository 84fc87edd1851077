//! Whose event it is: customer, gateway, parties, and a time that is not in the future.

use std::collections::HashMap;
use std::sync::Arc;

use super::wire::Origin;
use super::{Counts, FeedContext};
use crate::clock::Timestamp;
use crate::event::{CallEvent, CustomerId, Flags, GatewayId, Number, Party, Reject, Text};
use crate::limits::FUTURE_MS_MAX;

/// Completes decoded events by what the feed knows. One a connection, so that names are looked up
/// in shared tables once and not for every event.
#[derive(Clone, Debug)]
pub(crate) struct Attribution {
    context: Arc<FeedContext>,
    gateway: GatewayId,
    seq_required: bool,
    customers: Known,
    gateways: Known,
}

impl Attribution {
    pub(crate) fn new(context: Arc<FeedContext>) -> Attribution {
        let (gateway, seq_required) = (context.gateway, context.seq_required);
        Attribution { context, gateway, seq_required, customers: Known::default(), gateways: Known::default() }
    }

    pub(crate) fn greet(&mut self, gateway: GatewayId, seq_required: bool) {
        self.gateway = gateway;
        self.seq_required = seq_required;
    }

    /// The last step of every codec. `event` has all that the record said but ids and numbers.
    #[inline]
    pub(crate) fn complete(
        &mut self, event: &mut CallEvent, origin: Origin, arrival: Option<Timestamp>, block: &[u8], side: &mut Vec<u8>,
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
        event.customer = self.customer(event, origin, block, side)?;
        event.gateway = self.gateway;
        if self.context.gateway_from_event && !origin.gateway.is_absent() {
            let names = &self.context.names;
            event.gateway = self
                .gateways
                .id(bytes(block, side, origin.gateway), |name| names.gateway(name).map(|id| id.0))
                .map(GatewayId)?;
        }
        for party in [&mut event.caller, &mut event.callee, &mut event.asserted, &mut event.diverting] {
            if !party.raw.is_absent() {
                normalise(party, block, side);
            }
        }
        Ok(())
    }

    fn customer(
        &mut self, event: &CallEvent, origin: Origin, block: &[u8], side: &[u8],
    ) -> Result<CustomerId, Reject> {
        if self.context.customer_from_event && !origin.customer.is_absent() {
            let names = &self.context.names;
            let own = bytes(block, side, origin.customer);
            return self.customers.id(own, |name| names.customer(name).map(|id| id.0)).map(CustomerId);
        }
        if let Some(customer) = self.context.customer {
            return Ok(customer);
        }
        if self.context.trunks.is_empty() || event.trunk.is_absent() {
            return Ok(CustomerId::default());
        }
        Ok(self.context.trunks.get(bytes(block, side, event.trunk)).copied().unwrap_or_default())
    }
}

/// Stands in for the dial plan: `+` and digits is E.164, the rest is invalid.
fn normalise(party: &mut Party, block: &[u8], side: &mut Vec<u8>) {
    let raw = bytes(block, side, party.raw);
    match raw.strip_prefix(b"+").and_then(Number::e164).or_else(|| Number::short(raw)) {
        Some(number) => party.number = number,
        None => {
            party.number = Number::INVALID;
            party.text = party.raw;
        }
    }
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
#[derive(Clone, Debug, Default)]
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
