//! Call records in JSON, one event an object, a `cdr`: FreeSWITCH's mod_json_cdr and CGRateS, told apart by their members.
//!
//! Objects stand one behind the other, a line or many lines each, or in an array. What is no object costs itself alone.

mod bounds;
mod cgrates;
mod draft;
mod form;
mod freeswitch;
mod members;
#[cfg(test)]
mod tests;

pub(crate) use bounds::{Bounds, Next};
pub use form::{Leg, base64, leg_of_query, unwrap};

use super::Counts;
use super::origin::Attribution;
use super::wire::Origin;
use crate::clock::Timestamp;
use crate::event::{Batch, CallEvent, Flags, Reject, Rejected};
use crate::limits::JSON_CDR_BYTES_MAX;
use draft::Draft;
use members::Members;

/// Decodes blocks of whole objects. Keeps nothing between them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reader;

impl Reader {
    pub(crate) fn decode(
        self,
        block: &[u8],
        arrival: Option<Timestamp>,
        attribution: &mut Attribution,
        counts: &mut Counts,
        out: &mut Batch,
    ) {
        let mut bounds = Bounds::default();
        let mut at = 0;
        loop {
            let rest = block.get(at..).unwrap_or(&[]);
            let record = match bounds.next(rest) {
                Next::Whole(end) => {
                    at += end;
                    Ok(rest.get(..end).unwrap_or(&[]))
                }
                Next::Bad(end) => {
                    at += end;
                    Err(Reject::Malformed)
                }
                Next::TooLong(end) => {
                    at += end;
                    Err(Reject::LineTooLong)
                }
                Next::Open { is_blank: true } => return,
                Next::Open { is_blank: false } => {
                    at = block.len();
                    bounds = Bounds::default();
                    Err(Reject::Malformed)
                }
            };
            at += bounds.skip(block.get(at..).unwrap_or(&[]));
            let mut event = CallEvent::BLANK;
            let kept = out.side.len();
            let read = record.and_then(|record| {
                let (origin, n_unknown_words) = read(record, &mut event, &mut out.side)?;
                attribution.complete(&mut event, origin, arrival, block, &mut out.side, counts)?;
                Ok(n_unknown_words)
            });
            match read {
                Ok(n_unknown_words) => {
                    counts.unknown_words += n_unknown_words;
                    if !event.leg.is_absent() {
                        event.flags.set(Flags::B_RECORD);
                    }
                    out.events.push(event);
                }
                Err(reason) => {
                    out.side.truncate(kept);
                    out.rejects.push(Rejected { before: out.events.len() as u32, seq: 0, reason });
                }
            }
        }
    }
}

/// One object with what stands before it: the event is complete but for what the feed knows.
fn read(record: &[u8], event: &mut CallEvent, side: &mut Vec<u8>) -> Result<(Origin, u64), Reject> {
    let object = record.iter().position(|b| *b == b'{').and_then(|open| record.get(open..)).unwrap_or(&[]);
    if object.len() > JSON_CDR_BYTES_MAX {
        return Err(Reject::LineTooLong);
    }
    let object = std::str::from_utf8(object).map_err(|_| Reject::NotUtf8)?;
    let members = Members::read(object).ok_or(Reject::Malformed)?;
    let mut origin = Origin::default();
    let is_encoded = members.is_encoded();
    let mut draft =
        Draft { members: &members, event, origin: &mut origin, side, is_encoded, problem: None, n_unknown_words: 0 };
    if members.has_variables || members.has_callflow {
        freeswitch::read(&mut draft);
    } else if cgrates::SIGNS.into_iter().any(|name| members.get(name).is_some()) {
        cgrates::read(&mut draft);
    } else {
        // An object of something else.
        return Err(Reject::NoTime);
    }
    let (problem, n_unknown_words) = (draft.problem, draft.n_unknown_words);
    problem.map_or(Ok((origin, n_unknown_words)), Err)
}
