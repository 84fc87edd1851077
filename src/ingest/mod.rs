//! Bytes become call events: frames, formats, and what a feed knows about its gateway.
//!
//! A [`Framer`] cuts a stream into blocks of whole records, a [`Decoder`] makes a [`Batch`] of each block.
//! Neither reads a clock or a socket.

pub mod calls;
pub mod capture;
pub mod csv;
pub mod framing;
pub(crate) mod hep;
pub mod json_cdr;
pub mod ndjson;
pub mod sip;
pub mod source;

#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod property;

mod admission;
mod cause;
mod origin;
mod signalling;
mod value;
mod wire;

use std::collections::HashMap;
use std::sync::Arc;

pub use admission::Admission;
pub use calls::{CallTable, Recovery as CallRecovery};
pub use framing::{Framer, Style};
pub use signalling::{CaptureKey, Datagram};
pub use source::{Source, SourceError};
pub use wire::WireField;

use crate::clock::Timestamp;
use crate::event::dialplan::DialPlan;
use crate::event::{Batch, CustomerId, GatewayId, Names};
use origin::Attribution;
use signalling::Carrier;

/// What a feed or a file reader knows beside the bytes. Immutable and shared by its connections.
#[derive(Debug)]
pub struct FeedContext {
    pub names: Arc<Names>,
    /// How the gateway writes numbers.
    pub dial_plan: DialPlan,
    /// The event's own `customer` counts where it has one.
    pub customer_from_event: bool,
    /// Every other event of this feed belongs to it.
    pub customer: Option<CustomerId>,
    /// Consulted where neither event nor feed names a customer.
    pub trunks: HashMap<Box<[u8]>, CustomerId>,
    /// The customers there are, where they have files; `None` takes everybody's events.
    pub admission: Option<Arc<Admission>>,
    /// The event's own `gateway` counts where it has one: files, never connections.
    pub gateway_from_event: bool,
    pub gateway: GatewayId,
    /// An event without `seq` is rejected.
    pub seq_required: bool,
    /// Where SIP messages become calls. Shared by all feeds that merge.
    pub calls: Arc<CallTable>,
    /// What packets of capture agents must show.
    pub capture_key: Option<CaptureKey>,
}

impl FeedContext {
    /// What a file reader knows: the event tells its customer and its gateway.
    pub fn file(names: Arc<Names>, dial_plan: DialPlan) -> FeedContext {
        FeedContext {
            names,
            dial_plan,
            customer_from_event: true,
            customer: None,
            trunks: HashMap::new(),
            admission: None,
            gateway_from_event: true,
            gateway: GatewayId::default(),
            seq_required: false,
            calls: Arc::new(CallTable::new(0)),
            capture_key: None,
        }
    }

    /// How this customer's numbers are dialled.
    #[inline]
    fn dial_plan_of(&self, customer: CustomerId) -> &DialPlan {
        self.admission.as_ref().and_then(|admission| admission.dial_plan(customer)).unwrap_or(&self.dial_plan)
    }
}

/// What the bytes of a feed or file are.
#[derive(Clone, Debug)]
pub enum Format {
    Ndjson,
    Csv(Arc<csv::Dialect>),
    /// SIP in packets of capture agents.
    Hep,
    /// SIP messages as a gateway mirrors them.
    Sip,
    JsonCdr,
}

impl Format {
    /// SIP messages, of which the call table makes calls.
    pub fn is_signalling(&self) -> bool {
        matches!(self, Format::Hep | Format::Sip)
    }

    /// How its records end, for the [`Framer`].
    pub fn style(&self) -> Style {
        match self {
            Format::Ndjson => Style::Lines,
            Format::Csv(dialect) => dialect.style(),
            Format::Hep => Style::Hep,
            Format::Sip => Style::Sip,
            Format::JsonCdr => Style::Json,
        }
    }
}

/// What decoding met beside events and rejects. Added up until [`Decoder::take_counts`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events with at least one field that spec 1.2 does not name.
    pub unknown_fields: u64,
    /// Words outside the closed vocabulary of their field, read as `unknown`.
    pub unknown_words: u64,
    /// Events, or messages, clamped to their arrival.
    pub future: u64,
    /// SIP messages read.
    pub messages: u64,
    /// Captured packets that hold something other than SIP.
    pub other_payloads: u64,
}

/// Makes events of blocks. One a connection; a clone may decode other blocks of the same stream.
#[derive(Clone, Debug)]
pub struct Decoder {
    codec: Codec,
    attribution: Attribution,
    counts: Counts,
}

#[derive(Clone, Debug)]
enum Codec {
    Ndjson(ndjson::Reader),
    Csv(Box<csv::Reader>),
    Signalling(signalling::Reader),
    JsonCdr(json_cdr::Reader),
}

impl Decoder {
    pub fn new(format: &Format, context: Arc<FeedContext>) -> Decoder {
        let codec = match format {
            Format::Ndjson => Codec::Ndjson(ndjson::Reader::default()),
            Format::Csv(dialect) => Codec::Csv(Box::new(csv::Reader::new(dialect.clone()))),
            Format::Hep => Codec::Signalling(signalling::Reader::new(Carrier::Hep)),
            Format::Sip => Codec::Signalling(signalling::Reader::new(Carrier::Sip)),
            Format::JsonCdr => Codec::JsonCdr(json_cdr::Reader),
        };
        Decoder { codec, attribution: Attribution::new(context), counts: Counts::default() }
    }

    /// For blocks of HEP packets that were made of datagrams: of what a mirror sends it is not known who sent it.
    pub fn of_datagrams(format: &Format, context: Arc<FeedContext>) -> Decoder {
        let carrier = if matches!(format, Format::Sip) { Carrier::Datagrams } else { Carrier::Hep };
        let codec = Codec::Signalling(signalling::Reader::new(carrier));
        Decoder { codec, ..Decoder::new(format, context) }
    }

    /// What a hello says of all events of its connection.
    pub fn greet(&mut self, gateway: GatewayId, seq_required: bool) {
        self.attribution.greet(gateway, seq_required);
    }

    /// What the feed knows may change between two blocks; what the hello said stays.
    pub fn go_by(&mut self, context: &Arc<FeedContext>) {
        self.attribution.go_by(context);
    }

    /// Decodes a block of whole records into `out`, which is emptied first and takes the block.
    /// `arrival` is when the block came, `None` for files.
    pub fn decode(&mut self, block: Vec<u8>, arrival: Option<Timestamp>, out: &mut Batch) {
        out.clear();
        match &mut self.codec {
            Codec::Ndjson(reader) => reader.decode(&block, arrival, &mut self.attribution, &mut self.counts, out),
            Codec::Csv(reader) => reader.decode(&block, arrival, &mut self.attribution, &mut self.counts, out),
            Codec::Signalling(reader) => reader.decode(&block, arrival, &mut self.attribution, &mut self.counts, out),
            Codec::JsonCdr(reader) => reader.decode(&block, arrival, &mut self.attribution, &mut self.counts, out),
        }
        out.block = block;
    }

    /// Learns what only the first block of a stream tells: the header row of CSV. Whoever decodes blocks of one
    /// stream with clones calls it before cloning; [`Decoder::decode`] alone needs no such call.
    pub fn learn(&mut self, first_block: &[u8]) {
        if let Codec::Csv(reader) = &mut self.codec {
            reader.learn(first_block);
        }
    }

    /// Why no row of this stream can be read, where that is so: `csv: the header has no column `start``.
    pub fn problem(&self) -> Option<&str> {
        match &self.codec {
            Codec::Ndjson(_) | Codec::JsonCdr(_) | Codec::Signalling(_) => None,
            Codec::Csv(reader) => reader.problem(),
        }
    }

    /// Has one more column of CSV read beside the events, by its name or number: see [`Decoder::take_noted`]. Before the
    /// first block; without effect on other formats.
    pub fn note(&mut self, column: &str) {
        if let Codec::Csv(reader) = &mut self.codec {
            reader.note(column);
        }
    }

    /// Whether it reads such a column.
    pub fn notes(&self) -> bool {
        matches!(&self.codec, Codec::Csv(reader) if reader.notes())
    }

    /// What stood in that column, for each event of the last block.
    pub fn take_noted(&mut self) -> Vec<String> {
        match &mut self.codec {
            Codec::Csv(reader) => reader.take_noted(),
            Codec::Ndjson(_) | Codec::JsonCdr(_) | Codec::Signalling(_) => Vec::new(),
        }
    }

    /// Blocks mean what blocks before them said, so that one decoder must see them all, in order.
    pub fn is_stateful(&self) -> bool {
        match &self.codec {
            Codec::Ndjson(_) | Codec::JsonCdr(_) => false,
            Codec::Csv(reader) => reader.is_stateful(),
            Codec::Signalling(_) => true,
        }
    }

    /// Knows of its stream what no later block tells again.
    pub fn has_learned(&self) -> bool {
        match &self.codec {
            // What was seen of calls is the table's to know.
            Codec::Ndjson(_) | Codec::JsonCdr(_) | Codec::Signalling(_) => false,
            Codec::Csv(reader) => reader.has_learned(),
        }
    }

    /// Has something to tell at the end of its stream.
    pub fn holds_calls(&self) -> bool {
        match &self.codec {
            // Other streams may go on with the calls of this one.
            Codec::Ndjson(_) | Codec::JsonCdr(_) | Codec::Signalling(_) => false,
            Codec::Csv(reader) => reader.holds_calls(),
        }
    }

    /// Another file follows in the stream of a stateful decoder.
    pub fn begin_file(&mut self) {
        if let Codec::Csv(reader) = &mut self.codec {
            reader.begin_file();
        }
    }

    /// What a stateful decoder still holds once its stream has ended, into `out`, which is emptied first.
    pub fn finish(&mut self, arrival: Option<Timestamp>, out: &mut Batch) {
        out.clear();
        match &mut self.codec {
            Codec::Ndjson(_) | Codec::JsonCdr(_) => {}
            Codec::Csv(reader) => reader.finish(arrival, &mut self.attribution, &mut self.counts, out),
            Codec::Signalling(reader) => reader.finish(arrival, &mut self.attribution, &mut self.counts, out),
        }
    }

    /// The counts since the last call.
    pub fn take_counts(&mut self) -> Counts {
        std::mem::take(&mut self.counts)
    }
}
