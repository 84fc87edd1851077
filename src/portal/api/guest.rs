//! Whoever sent a request: from where, and what it brings to prove who it is.

use std::net::IpAddr;

use axum::http::header::{self, HeaderMap};
use axum::http::{Method, request};

use super::operation::{Access, Operation};
use super::problem::Problem;
use crate::clock::Timestamp;
use crate::people::{Caller, People, Proof, Scope};
use crate::portal::Peer;

/// Of the session; for this path alone, and only for requests of the portal's own pages.
pub(super) const COOKIE: &str = "ringfence_session";
/// The second secret of a session, which no other page can know.
pub(super) const CSRF_HEADER: &str = "x-csrf-token";

/// The one change that the token of a first start is for.
pub(super) const ADD_USER: &str = "add_user";

pub(super) struct Guest {
    /// An address; `local` for this machine itself.
    pub(super) from: String,
    token: Option<String>,
    pub(super) cookie: Option<String>,
    csrf: Option<String>,
    changes: bool,
}

impl Guest {
    pub(super) fn of(head: &request::Parts) -> Result<Guest, Problem> {
        let Some(Peer(peer)) = head.extensions.get().copied() else { return Err(Problem::Internal) };
        let text = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
        let bearer = text(header::AUTHORIZATION.as_str()).and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
        });
        Ok(Guest {
            from: origin(peer.ip().to_canonical(), &head.headers),
            token: bearer,
            cookie: cookie(&head.headers),
            csrf: text(CSRF_HEADER).map(str::to_owned),
            changes: head.method != Method::GET && head.method != Method::HEAD,
        })
    }

    /// Who it is, where the operation asks for somebody; or why it may not. Blocks.
    pub(super) fn admit(
        &self,
        operation: &Operation,
        people: &People,
        now: Timestamp,
    ) -> Result<Option<Caller>, Problem> {
        if operation.access == Access::Open {
            return Ok(None);
        }
        let caller = match (&self.token, &self.cookie) {
            (Some(token), _) => people.by_token(token, now)?,
            (None, Some(cookie)) => people.by_session(cookie, now)?,
            (None, None) => return Err(Problem::NoCredentials),
        };
        if let Proof::Session { csrf } = &caller.proof
            && self.changes
            && !self.csrf.as_ref().is_some_and(|sent| people.is_same_secret(sent, csrf))
        {
            let text = format!("a change by cookie needs the header `{CSRF_HEADER}` with the value the login gave");
            return Err(Problem::Forbidden(text));
        }
        // Whoever may make the first admin may not, by the way, make themselves somebody who is there.
        if caller.proof == Proof::Setup && self.changes && operation.name != ADD_USER {
            let text = "this token makes the first admin and changes nothing else: `ringfence user add`".to_owned();
            return Err(Problem::Forbidden(text));
        }
        may(&caller, operation.access).map(|()| Some(caller))
    }
}

fn may(caller: &Caller, access: Access) -> Result<(), Problem> {
    let needs = |scope: Scope| {
        if caller.scopes.has(scope) {
            return Ok(());
        }
        let text = format!("the token lacks the scope `{}`", scope.as_str());
        Err(Problem::Forbidden(text))
    };
    match access {
        Access::Open | Access::Anybody => Ok(()),
        Access::Scope(scope) => {
            needs(scope)?;
            // Somebody whose roles were all taken away sees nothing either.
            let has_role = caller.roles.iter().next().is_some();
            if has_role { Ok(()) } else { Err(Problem::Forbidden(format!("{} has no role", caller.name))) }
        }
        Access::Admin => {
            needs(Scope::Admin)?;
            let text = || Problem::Forbidden(format!("{} is no admin", caller.name));
            if caller.manages_people() { Ok(()) } else { Err(text()) }
        }
    }
}

/// A proxy on this machine says for whom it speaks; the last it adds is what it saw itself.
fn origin(peer: IpAddr, headers: &HeaderMap) -> String {
    if !peer.is_loopback() {
        return peer.to_string();
    }
    let passed_on = headers.get_all("x-forwarded-for").iter().next_back();
    let seen = passed_on.and_then(|value| value.to_str().ok()?.rsplit(',').next()?.trim().parse::<IpAddr>().ok());
    seen.map_or_else(|| "local".to_owned(), |address| address.to_canonical().to_string())
}

fn cookie(headers: &HeaderMap) -> Option<String> {
    let values = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = values.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE).map(|(_, value)| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| (name.parse().unwrap(), value.parse().unwrap());
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn only_a_proxy_on_this_machine_speaks_for_others() {
        let far: IpAddr = "192.0.2.1".parse().unwrap();
        let near: IpAddr = "127.0.0.1".parse().unwrap();
        let passed = headers(&[("x-forwarded-for", "10.0.0.1, 203.0.113.7")]);
        assert_eq!(origin(far, &passed), "192.0.2.1");
        assert_eq!(origin(near, &passed), "203.0.113.7");
        assert_eq!(origin(near, &headers(&[])), "local");
        assert_eq!(origin(near, &headers(&[("x-forwarded-for", "somebody")])), "local");
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        let found = cookie(&headers(&[("cookie", "a=b; ringfence_session=xyz; c")]));
        assert_eq!(found.as_deref(), Some("xyz"));
        assert_eq!(cookie(&headers(&[("cookie", "xringfence_session=xyz")])), None);
    }
}
