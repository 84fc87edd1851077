//! The page behind the link in a call to somebody on call: what the incident is, and a button by which they say that they
//! look after it.
//!
//! It has no script and remembers nobody. Looking at it changes nothing, since mail scanners and previews look at every
//! link; only the button's POST does. Nobody is asked for a password: the link is the proof. 128 bits of signature cannot
//! be guessed, so that wrong links are not counted either.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::Router;
use axum::extract::Path;
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use jiff::tz::TimeZone;
use tokio::sync::Semaphore;

use super::api::Office;
use crate::clock::{Clock, Timestamp};
use crate::delivery::link::{Grant, LinkError};
use crate::desk::OrderError;
use crate::incident::{Actor, Command, Incident, Refusal, Role, Roles, incident_name};
use crate::limits::{ACK_PAGES_MAX, API_TURN_MS};
use crate::store::{StoreError, SubjectKind};

/// Where the record says that an answer by link came from.
const FROM: &str = "link";

/// People and scanners of mail alike come here; more at once wait.
static PLACES: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(ACK_PAGES_MAX));

pub(super) fn routes(router: Router, office: Arc<Office>) -> Router {
    let answer = move |method: Method, Path(token): Path<String>| {
        let office = Arc::clone(&office);
        async move {
            let wait = Duration::from_millis(API_TURN_MS);
            let Ok(Ok(_place)) = tokio::time::timeout(wait, PLACES.acquire()).await else { return sealed(busy()) };
            let page = tokio::task::spawn_blocking(move || page(&office, &token, method == Method::POST));
            sealed(page.await.unwrap_or_else(|_| busy()))
        }
    };
    router.route("/ack/{token}", get(answer.clone()).post(answer))
}

/// Nothing of it is kept, indexed, framed or told to others, and no browser takes it for anything but a page.
fn sealed((status, html): (StatusCode, String)) -> Response {
    const HEADERS: [(HeaderName, &str); 7] = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("x-robots-tag"), "noindex, nofollow"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        ),
    ];
    let mut response = (status, html).into_response();
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn busy() -> (StatusCode, String) {
    let text = "The service cannot answer at the moment. Nothing was changed; try again in a minute.";
    (StatusCode::SERVICE_UNAVAILABLE, html("Not now", &said(text)))
}

/// Blocks.
fn page(office: &Office, token: &str, is_pressed: bool) -> (StatusCode, String) {
    let grant = match office.links.read(token, Clock.now()) {
        Ok(grant) => grant,
        Err(error @ LinkError::Foreign) => return no_link(StatusCode::NOT_FOUND, &error),
        Err(error @ LinkError::Expired { .. }) => return no_link(StatusCode::GONE, &error),
    };
    let mut is_mine = false;
    if is_pressed {
        match acknowledge(office, &grant) {
            Ok(is_first) => is_mine = is_first,
            // What stands there now says why not.
            Err(OrderError::Refused(Refusal::Conflict(_))) => {}
            Err(OrderError::Refused(_)) => return unknown(&grant),
            Err(_) => return busy(),
        }
    }
    let read = |id: i64| -> Result<Option<Incident>, StoreError> {
        let row = office.store.subject(SubjectKind::Incident, id)?;
        Ok(row.and_then(|row| serde_json::from_str(&row.body).ok()))
    };
    let incident = match read(grant.incident) {
        Ok(Some(incident)) => incident,
        Ok(None) => return unknown(&grant),
        Err(_) => return busy(),
    };
    // What it was folded into is what somebody looks after.
    let whole = incident.merged_into.map(read).transpose().ok().flatten().flatten();
    let incident = whole.unwrap_or(incident);
    let terms = office.terms.get();
    let customer = terms.customers.of(&incident.customer);
    let status = if is_pressed && !incident.state.is_open() { StatusCode::CONFLICT } else { StatusCode::OK };
    (status, shown(&incident, &customer.name, &customer.time_zone, &grant.person, is_mine))
}

/// True where nobody had done so before.
fn acknowledge(office: &Office, grant: &Grant) -> Result<bool, OrderError> {
    let by = Actor { name: grant.person.clone(), roles: Roles::new([Role::Responder]), from: FROM.to_owned() };
    let answer = office.desk.order(by, Command::Acknowledge { incident: grant.incident, why: String::new() })?;
    Ok(answer.hints.is_empty())
}

fn no_link(status: StatusCode, error: &LinkError) -> (StatusCode, String) {
    let text = error.to_string();
    let mut chars = text.chars();
    let sentence =
        chars.next().map_or_else(String::new, |first| first.to_uppercase().collect::<String>() + chars.as_str());
    let help = "If you are on call and cannot get through, phone whoever called you, or the service desk.";
    (status, html("This link does not work", &(said(&format!("{sentence}.")) + &said(help))))
}

fn unknown(grant: &Grant) -> (StatusCode, String) {
    let text = format!("There is no incident {} any more.", incident_name(grant.incident));
    (StatusCode::NOT_FOUND, html("Nothing to look after", &said(&text)))
}

/// The incident as it stands, and what there is to do about it. `is_mine`: the button was pressed, and in time.
fn shown(incident: &Incident, customer: &str, zone: &TimeZone, person: &str, is_mine: bool) -> String {
    let name = incident_name(incident.id);
    let severity = incident.severity;
    let title = format!("Severity {} ({}): {name}", severity.number(), severity.word());
    let mut facts = vec![("Customer", customer.to_owned()), ("First seen", time(incident.first, zone))];
    if incident.violations > 0 {
        facts.push(("So far", format!("{} violations, last {}", incident.violations, time(incident.last, zone))));
    }
    facts.push(("State", incident.state.as_str().to_owned()));
    facts.push(("You are", person.to_owned()));
    let facts: String =
        facts.iter().map(|(name, value)| format!("<dt>{name}</dt><dd>{}</dd>\n", escaped(value))).collect();
    let body = format!("<p class=what>{}</p>\n<dl>\n{facts}</dl>\n", escaped(&incident.what));
    let acknowledged = incident.page.as_ref().and_then(|page| page.acknowledged.as_ref());
    let more = match acknowledged {
        _ if !incident.state.is_open() => {
            answer(&format!("{name} is {}. There is nothing left to do for you.", incident.state.as_str()))
        }
        Some(_) if is_mine => {
            answer(&format!("Thank you. You look after {name} now, and nobody else is called."))
                + &said(&format!("Everything about it, and what to do next: ringfence incident show {name}"))
        }
        Some((who, at)) if who == person => {
            answer(&format!("You have looked after it since {}. Nobody else is called.", time(*at, zone)))
        }
        Some((who, at)) => {
            let since = time(*at, zone);
            answer(&format!("{who} was quicker and has looked after it since {since}. Nobody else is called."))
        }
        None => {
            "<form method=post><button>I look after it</button></form>\n".to_owned()
                + &said("Until somebody presses it, the next person is called.")
        }
    };
    html(&title, &(body + &more))
}

fn said(text: &str) -> String {
    format!("<p>{}</p>\n", escaped(text))
}

fn answer(text: &str) -> String {
    format!("<p class=answer>{}</p>\n", escaped(text))
}

fn time(at: Timestamp, zone: &TimeZone) -> String {
    let at = jiff::Timestamp::from_millisecond(at.0).unwrap_or_default();
    at.to_zoned(zone.clone()).strftime("%a %-d %b %H:%M %Z").to_string()
}

const STYLE: &str = "body{margin:0;font:18px/1.5 system-ui,sans-serif;color:#1a1a1a;background:#f4f4f2}\
main{max-width:34rem;margin:0 auto;padding:1.25rem}h1{font-size:1.35rem;line-height:1.3;margin:0 0 .75rem}\
.what{font-size:1.15rem;margin:0 0 1rem;overflow-wrap:anywhere}\
dl{display:grid;grid-template-columns:auto 1fr;gap:.25rem 1rem;margin:0 0 1.5rem}dt{color:#555}\
dd{margin:0;overflow-wrap:anywhere}\
button{font:inherit;font-weight:600;width:100%;padding:1rem;border:0;border-radius:.5rem;color:#fff;background:#0b5a9c}\
button:focus-visible{outline:3px solid #f0a500;outline-offset:2px}\
.answer{padding:1rem;border-radius:.5rem;background:#fff;border:1px solid #ccc;font-weight:600}\
@media(prefers-color-scheme:dark){body{color:#eee;background:#161616}dt{color:#aaa}\
.answer{background:#222;border-color:#444}}";

fn html(title: &str, body: &str) -> String {
    let title = escaped(title);
    format!(
        "<!doctype html>\n<html lang=en>\n<head>\n<meta charset=utf-8>\n\
         <meta name=viewport content=\"width=device-width, initial-scale=1\">\n<meta name=robots content=noindex>\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n{body}</main>\n\
         </body>\n</html>\n"
    )
}

/// As text between tags; nothing of strangers stands inside a tag.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() && c != '\n' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_strangers_wrote_is_text_and_nothing_else() {
        let page = html("<b>\"x'&", &said("</p><script>alert(1)</script>\u{1b}"));
        assert!(!page.contains("<script") && !page.contains("<b>") && !page.contains('\u{1b}'), "{page}");
        assert!(page.contains("&lt;b&gt;&quot;x&#39;&amp;"), "{page}");
    }

    #[test]
    fn a_link_that_does_not_work_says_what_to_do() {
        let (status, page) = no_link(StatusCode::GONE, &LinkError::Expired { incident: 7 });
        assert_eq!(status, StatusCode::GONE);
        assert!(page.contains("This link has expired: use `ringfence incident acknowledge INC-000007`."), "{page}");
    }
}
