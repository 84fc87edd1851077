//! What holds of every input: the tests call it with what they have, the fuzz target with what it invents.

use super::frame::{self, FrameKind, Header};
use super::segment::{encode_context, encode_identity};
use super::{Context, Encoder, Entry, Identity, Reader, decode};
use crate::clock::Timestamp;
use crate::engine::{Judged, Verdict};
use crate::event::{CallEvent, GatewayId, Number, Party};

/// Any bytes in the place of a record, of a segment, and as damage of a good one: what is read was written, in order,
/// and what is missing is told.
pub fn journal_holds(bytes: &[u8]) {
    records_are_read_as_one_thing(bytes);
    drop(segment_of(bytes.to_vec()).map(|r| r.is_ok()).collect::<Vec<_>>());
    damage_is_told(bytes);
}

/// What is understood of a record means the same once it was written again.
fn records_are_read_as_one_thing(bytes: &[u8]) {
    let again = |bytes: &[u8]| {
        let Entry::Batch { options, batch, verdicts, flags, tracked, .. } = decode(bytes, 1)? else { return None };
        let mut judged = Judged { batch, verdicts, flags, tracked, options, ..Judged::default() };
        for event in &mut judged.batch.events {
            event.flags.clear(crate::event::Flags::DUPLICATE);
        }
        let mut written = Vec::new();
        Encoder::default().encode(&judged, &mut written);
        Some(written)
    };
    if let Some(written) = again(bytes) {
        assert_eq!(again(&written).as_ref(), Some(&written));
    }
}

fn segment_of(bytes: Vec<u8>) -> Reader {
    Reader::of_segment(1, bytes)
}

/// A small segment: four records and what they say.
fn good_segment() -> (Vec<u8>, Vec<Vec<u8>>) {
    let (mut segment, mut payloads) = (Vec::new(), Vec::new());
    let mut put = |kind, number: u64, n_events: u32, payload: &[u8]| {
        let header = Header { kind, n_events, number, position: 2 * number - 1, n_uncommitted: 1 };
        frame::append(&header, &mut segment, payload);
    };
    let mut opening = Vec::new();
    encode_identity(&Identity { id: [7; 16], hash_seed: 7 }, &mut opening);
    encode_context(&Context::default(), &mut opening);
    put(FrameKind::Opening, 1, 0, &opening);
    for number in 1..=4u64 {
        let mut judged = Judged::default();
        let batch = &mut judged.batch;
        batch.source.gateway = GatewayId(1);
        for i in 0..2 {
            let digits = format!("4670123456{}", number + i);
            let caller = Party {
                number: Number::e164(digits.as_bytes()).unwrap_or_default(),
                raw: batch.keep(format!("+{digits}").as_bytes()),
                ..Party::default()
            };
            let call_id = batch.keep(format!("call-{number}-{i}").as_bytes());
            batch.events.push(CallEvent { caller, call_id, time: Timestamp(number as i64), ..CallEvent::BLANK });
        }
        judged.verdicts = vec![Verdict::default(); 2];
        let mut payload = Vec::new();
        Encoder::default().encode(&judged, &mut payload);
        put(FrameKind::Batch, number, 2, &payload);
        payloads.push(payload);
    }
    (segment, payloads)
}

/// Three bytes are one change of a good segment: where, and what is added to the byte there.
fn damage_is_told(changes: &[u8]) {
    let (mut segment, payloads) = good_segment();
    for change in changes.chunks_exact(3) {
        let at = usize::from(u16::from_le_bytes([change[0], change[1]])) % segment.len();
        segment[at] ^= change[2];
    }
    let mut reader = segment_of(segment);
    let mut found = Vec::new();
    while let Some(record) = reader.next_raw() {
        let Ok(record) = record else { return };
        let expected = payloads.get(record.number as usize - 1).map(Vec::as_slice);
        assert_eq!(Some(record.payload()), expected, "what is read was written");
        assert_eq!((record.position, record.n_events), (2 * record.number - 1, 2));
        found.push(record.number);
    }
    assert!(found.is_sorted_by(|a, b| a < b), "{found:?}");
    let report = reader.report();
    let lost: Vec<u64> = report.lost.iter().flat_map(|lost| lost.records.clone()).collect();
    let missing: Vec<u64> = (1..=4).filter(|n| !found.contains(n)).collect();
    // Behind a cut nothing is told one by one.
    let told = if report.cut.is_some() { missing.starts_with(&lost) } else { missing == lost };
    assert!(told, "{missing:?} are missing, told is {report:?}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_corpus_of_the_journal_holds() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/journal");
        let files = std::fs::read_dir(folder).expect("the corpus is part of the project");
        let n = files.map(|f| journal_holds(&std::fs::read(f.expect("a file").path()).expect("reads"))).count();
        assert!(n > 0);
    }

    #[test]
    fn every_byte_of_a_segment_may_be_wrong_by_any_two_bits_and_by_all() {
        let (good, _) = good_segment();
        for at in 0..good.len() as u16 {
            let [low, high] = at.to_le_bytes();
            for change in [0xff, 0x81, 0x03, 0x10] {
                damage_is_told(&[low, high, change]);
            }
        }
        journal_holds(&good);
    }

    /// Kept to seed the corpus again when the format changes: `UPDATE_EXPECT=1`.
    #[test]
    fn the_corpus_begins_with_a_whole_segment_of_this_format() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/journal/segment");
        let (good, payloads) = good_segment();
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::create_dir_all(path.parent().expect("it has one")).expect("created");
            std::fs::write(&path, &good).expect("writes");
            std::fs::write(path.with_file_name("record"), &payloads[0]).expect("writes");
            std::fs::write(path.with_file_name("changes"), [0, 0, 1, 200, 0, 1, 44, 1, 255]).expect("writes");
        }
        assert_eq!(std::fs::read(path).expect("the corpus is part of the project"), good, "the format has changed");
    }
}
