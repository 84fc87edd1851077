//! What a call carries, by the media lines of its session description (RFC 8866). Nothing else of a body is read.

use super::Message;
use super::value::leading_port;
use crate::event::CallType;

/// By the media that the message offers or answers; a stream of port 0 is declined and does not count. Fax counts
/// before video, video before voice: a call is what is most particular about it. In a body of several parts a media
/// line is looked for in all of them.
pub fn call_type(message: &Message<'_>) -> CallType {
    let (mut found, kind) = (CallType::Unknown, message.content_type);
    if !begins(kind, b"application/sdp") && !begins(kind, b"multipart/") {
        return found;
    }
    for line in message.body.split(|b| *b == b'\n') {
        let Some(media) = line.strip_prefix(b"m=").and_then(offered) else { continue };
        found = match (media, found) {
            (b"image", _) | (_, CallType::Fax) => CallType::Fax,
            (b"video", _) | (_, CallType::Video) => CallType::Video,
            (b"audio", _) | (_, CallType::Voice) => CallType::Voice,
            _ => CallType::Data,
        };
    }
    found
}

/// The kind of `audio 4000 RTP/AVP 0`, unless its port is 0.
fn offered(media: &[u8]) -> Option<&[u8]> {
    let (kind, port) = media.split_at_checked(memchr::memchr(b' ', media)?)?;
    leading_port(port.trim_ascii_start()).map(|_| kind)
}

fn begins(kind: &[u8], with: &[u8]) -> bool {
    kind.get(..with.len()).is_some_and(|head| head.eq_ignore_ascii_case(with))
}
