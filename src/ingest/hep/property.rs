//! What holds of every datagram and stream. Called by the tests beside it and by the fuzz target.

use super::*;
use crate::limits::SIP_MESSAGE_BYTES_MAX;

/// Arbitrary bytes, as a datagram and as the beginning of a stream: what is read is read again after it was written.
pub(crate) fn what_is_read_can_be_written_and_read_again(bytes: &[u8]) {
    let parsed = parse_datagram(bytes);
    match first_packet(bytes) {
        Framed::Whole(len) => {
            let packet = bytes.get(..len).expect("a whole packet is there");
            assert_eq!(parse(packet).is_ok(), parse_datagram(packet).is_ok());
            holds(parse(packet));
        }
        Framed::Incomplete => assert!(bytes.len() < usize::from(u16::MAX)),
        Framed::Broken => assert!(parse(bytes).is_err()),
    }
    if let Ok(strict) = parse(bytes) {
        assert_eq!(parsed, Ok(strict));
    }
    holds(parsed);
}

fn holds(parsed: Result<Packet<'_>, Fault>) {
    let Ok(packet) = parsed else { return };
    assert!(packet.source.is_none_or(|ip| ip == ip.to_canonical()));
    if let Payload::Compressed(compressed) = packet.payload {
        let mut scratch = Vec::new();
        assert!(inflate(compressed, &mut scratch).is_none_or(|message| message.len() <= SIP_MESSAGE_BYTES_MAX));
    }
    let mut written = Vec::new();
    if encode(&packet, &mut written) {
        assert_eq!(parse(&written), Ok(packet));
        assert_eq!(first_packet(&written), Framed::Whole(written.len()));
    }
}
