//! `/acd/QUEUE.txt`, `.ssml`, `.vxml`, `.wav`, `.ulaw`: what telephone systems fetch to play or read to the callers of a queue.
//!
//! Nobody is asked who they are: what stands here was released for everybody who calls. Where there is nothing to say, the
//! answer is 404 and empty: dial plans go on after that by themselves, and one that reads out whatever it gets is silent.
//! For the same reason no answer has a body that says what was wrong; the header `Ringfence-Reason` does. Only VoiceXML is
//! always there, as a document that says nothing: what cannot be fetched would end a dialogue.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::acd::{Board, Document, Format, is_queue_name};
use crate::clock::{Clock, Timestamp, civil_from_days};

/// Why there is nothing, for people who look.
const REASON: HeaderName = HeaderName::from_static("ringfence-reason");

/// Adds the paths of a board.
pub fn routes(router: Router, board: Arc<Board>) -> Router {
    router.merge(Router::new().route("/acd/{file}", get(answer)).with_state(board))
}

async fn answer(State(board): State<Arc<Board>>, uri: Uri, headers: HeaderMap) -> Response {
    let file = uri.path().rsplit('/').next().unwrap_or_default();
    let mut response = match find(&board, file, uri.query().unwrap_or_default()) {
        Ok((format, document, expiry_s)) => serve(format, &document, &headers, expiry_s, Clock.now()),
        Err((status, why)) => {
            // The next one may be a release later.
            let headers = [(header::CACHE_CONTROL, "no-store"), (REASON, why)];
            (status, headers).into_response()
        }
    };
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// The document, and for how many seconds it may be kept.
fn find(board: &Board, file: &str, query: &str) -> Result<(Format, Document, u64), (StatusCode, &'static str)> {
    let missing = |why| (StatusCode::NOT_FOUND, why);
    let named = file.rsplit_once('.').filter(|(name, _)| is_queue_name(name));
    let (name, ending) = named.ok_or(missing("no such file: QUEUE.txt, .ssml, .vxml, .wav or .ulaw"))?;
    let format = Format::ALL.into_iter().find(|format| format.ending() == ending);
    let format = format.ok_or(missing("no such format: txt, ssml, vxml, wav or ulaw"))?;
    let Some(published) = board.queue(name) else {
        let is_set = board.settings().queues.iter().any(|queue| queue.name == name);
        let not_yet = (StatusCode::SERVICE_UNAVAILABLE, "the service has just begun");
        return Err(if is_set { not_yet } else { missing("no such queue") });
    };
    let text = published.document(Format::Text);
    // A recording that was asked for as that of another text.
    let wanted = query.split('&').find_map(|pair| pair.strip_prefix("text="));
    if matches!(format, Format::Wav | Format::MuLaw)
        && wanted.is_some_and(|tag| text.is_none_or(|text| text.tag != tag))
    {
        return Err(missing("the text is another by now"));
    }
    let nothing = if text.is_some() { "it is not recorded" } else { "nothing is announced" };
    let document = published.document(format).ok_or(missing(nothing))?;
    // Whoever keeps a document that says nothing does not hear of the next release.
    let expiry_s = if text.is_some() { board.settings().expiry.as_secs() } else { 0 };
    Ok((format, document.clone(), expiry_s))
}

fn serve(format: Format, document: &Document, asked: &HeaderMap, expiry_s: u64, now: Timestamp) -> Response {
    let tag = format!("\"{}\"", document.tag);
    // Asterisk takes `must-revalidate` to ask each time, by the tag, which is a good thing: what is over is over at once.
    let expires = now.plus_ms(i64::try_from(expiry_s * 1000).unwrap_or(i64::MAX));
    let headers = [
        (header::ETAG, tag.clone()),
        (header::LAST_MODIFIED, http_date(document.modified)),
        (header::CACHE_CONTROL, format!("public, max-age={expiry_s}, must-revalidate")),
        (header::EXPIRES, http_date(expires)),
    ];
    let known = asked.get_all(header::IF_NONE_MATCH).iter().filter_map(|known| known.to_str().ok());
    // A second is too coarse for If-Modified-Since: two releases may fall into one.
    if known.flat_map(|known| known.split(',')).any(|known| is_tag(known, &tag)) {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    (headers, [(header::CONTENT_TYPE, format.media_type())], document.body.clone()).into_response()
}

fn is_tag(known: &str, tag: &str) -> bool {
    let known = known.trim();
    known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag
}

/// As HTTP writes times: `Sun, 06 Nov 1994 08:49:37 GMT`.
fn http_date(at: Timestamp) -> String {
    let (days, second) = (at.0.div_euclid(86_400_000), at.0.rem_euclid(86_400_000) / 1000);
    let (year, month, day) = civil_from_days(days);
    // 1970 began on a Thursday.
    let weekday = WEEKDAYS.get((days + 3).rem_euclid(7) as usize).copied().unwrap_or_default();
    let month = MONTHS.get(month as usize - 1).copied().unwrap_or_default();
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{:02} GMT", second % 60)
}

const WEEKDAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_http_wants_them() {
        assert_eq!(http_date(Timestamp(784_111_777_999)), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(http_date(Timestamp(0)), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(http_date(Timestamp(951_782_400_000)), "Tue, 29 Feb 2000 00:00:00 GMT");
    }

    #[test]
    fn a_tag_is_known_weak_or_in_a_list_and_nothing_else_is() {
        for known in ["\"ab\"", " W/\"ab\"", "*"] {
            assert!(is_tag(known, "\"ab\""), "{known}");
        }
        for other in ["ab", "\"a\"", "", "W/", "\"ab\"x"] {
            assert!(!is_tag(other, "\"ab\""), "{other}");
        }
    }
}
