//! Payloads that agents have compressed: gzip, zlib or bare deflate, which the chunk does not tell.

use std::io::Read;

use flate2::read::{DeflateDecoder, GzDecoder, ZlibDecoder};

use crate::limits::SIP_MESSAGE_BYTES_MAX;

/// The message in `compressed`, kept in `scratch`. `None` where it is damaged, or would be longer than any message
/// that is read: no more than that is ever inflated.
pub(crate) fn inflate<'b>(compressed: &[u8], scratch: &'b mut Vec<u8>) -> Option<&'b [u8]> {
    let inflated = match compressed {
        [0x1f, 0x8b, ..] => read(GzDecoder::new(compressed), scratch),
        // Two octets of bare deflate may look like this by chance; then their checksum fails.
        [method, flags, ..] if is_zlib(*method, *flags) => {
            read(ZlibDecoder::new(compressed), scratch) || read(DeflateDecoder::new(compressed), scratch)
        }
        [] => false,
        _ => read(DeflateDecoder::new(compressed), scratch),
    };
    inflated.then_some(scratch.as_slice())
}

/// RFC 1950 2.2: method 8, and the two octets as one number are a multiple of 31.
fn is_zlib(method: u8, flags: u8) -> bool {
    method & 0x0f == 8 && u16::from_be_bytes([method, flags]).is_multiple_of(31)
}

fn read(decoder: impl Read, scratch: &mut Vec<u8>) -> bool {
    scratch.clear();
    let one_more = SIP_MESSAGE_BYTES_MAX as u64 + 1;
    decoder.take(one_more).read_to_end(scratch).is_ok_and(|n| n <= SIP_MESSAGE_BYTES_MAX)
}
