//! One request, on its way through an operation, and what is answered.

use axum::http::header::{self, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Office;
use super::guest::Guest;
use super::problem::Problem;
use super::wire::Done;
use crate::clock::Timestamp;
use crate::incident::{Actor, Command, incident_name, message_name, parse_name};
use crate::limits::{API_ROWS, API_ROWS_MAX};
use crate::people::{By, Caller};

/// See the module.
pub(super) struct Call<'a> {
    pub(super) office: &'a Office,
    pub(super) caller: Option<&'a Caller>,
    pub(super) guest: &'a Guest,
    pub(super) now: Timestamp,
    /// By the names of the path.
    pub(super) params: Vec<(String, String)>,
    pub(super) query: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Call<'_> {
    pub(super) fn caller(&self) -> Result<&Caller, Problem> {
        self.caller.ok_or(Problem::NoCredentials)
    }

    pub(super) fn by(&self) -> Result<By<'_>, Problem> {
        Ok(By { caller: self.caller()?, from: &self.guest.from, now: self.now })
    }

    pub(super) fn param(&self, name: &str) -> &str {
        self.params.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value)
    }

    /// Of the path: `INC-000123`, or its number alone.
    pub(super) fn incident(&self) -> Result<i64, Problem> {
        let text = self.param("id");
        parse_name(text, "INC").ok_or_else(|| Problem::NotFound(format!("there is no incident `{}`", short(text))))
    }

    pub(super) fn message(&self) -> Result<i64, Problem> {
        let text = self.param("id");
        parse_name(text, "MSG").ok_or_else(|| Problem::NotFound(format!("there is no message `{}`", short(text))))
    }

    /// What the query says of it; empty is nothing.
    pub(super) fn query(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
        found.filter(|value| !value.is_empty())
    }

    pub(super) fn query_flag(&self, name: &str) -> Result<bool, Problem> {
        match self.query(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(other) => Err(wrong(name, other, "is neither `true` nor `false`")),
        }
    }

    /// Rows that are wanted at once.
    pub(super) fn limit(&self) -> Result<usize, Problem> {
        let Some(text) = self.query("limit") else { return Ok(API_ROWS) };
        let limit = text.parse().ok().filter(|n| (1..=API_ROWS_MAX).contains(n));
        limit.ok_or_else(|| wrong("limit", text, &format!("is no number from 1 to {API_ROWS_MAX}")))
    }

    /// Where a page before ended.
    pub(super) fn cursor(&self) -> Result<Option<i64>, Problem> {
        let Some(text) = self.query("cursor") else { return Ok(None) };
        let cursor = text.parse().ok().filter(|n: &i64| *n >= 0);
        cursor.map(Some).ok_or_else(|| wrong("cursor", text, "is not what the page before gave as `next`"))
    }

    /// The body; nothing is `{}`.
    pub(super) fn body<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        let bytes = if self.body.is_empty() { b"{}" } else { self.body.as_slice() };
        // Lists would be taken for the fields in their order, which nobody means.
        if bytes.trim_ascii_start().first() != Some(&b'{') {
            return Err(Problem::Invalid(vec!["body: is a JSON object: {...}".to_owned()]));
        }
        serde_json::from_slice(bytes).map_err(|error| Problem::Invalid(vec![format!("body: {error}")]))
    }

    /// Gives the order to the desk.
    pub(super) fn order(&self, command: Command) -> Result<Reply, Problem> {
        let caller = self.caller()?;
        let by = Actor { name: caller.name.clone(), roles: caller.roles.clone(), from: self.guest.from.clone() };
        let answer = self.office.desk.order(by, command)?;
        Ok(Reply::json(&Done {
            incident: answer.incident.map(incident_name),
            message: answer.message.map(message_name),
            hints: answer.hints,
        }))
    }
}

/// One value that is wrong, and how.
pub(super) fn wrong(name: &str, value: &str, how: &str) -> Problem {
    Problem::Invalid(vec![format!("{name}: `{}` {how}", short(value))])
}

/// Of a stranger's text, as much as an answer repeats.
pub(super) fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(60).collect()
}

/// What is answered to a request that was done.
#[derive(Debug)]
pub(super) struct Reply {
    status: u16,
    json: Vec<u8>,
    cookie: Option<String>,
}

impl Reply {
    pub(super) fn json(value: &impl Serialize) -> Reply {
        let json = serde_json::to_vec(value).expect("texts, numbers and lists always serialise");
        Reply { status: 200, json, cookie: None }
    }

    /// It made something new.
    pub(super) fn created(self) -> Reply {
        Reply { status: 201, ..self }
    }

    pub(super) fn with_cookie(self, cookie: String) -> Reply {
        Reply { cookie: Some(cookie), ..self }
    }

    pub(super) fn into_response(self) -> Response {
        let json = HeaderValue::from_static("application/json");
        let mut response = (super::status_of(self.status), [(header::CONTENT_TYPE, json)], self.json).into_response();
        if let Some(cookie) = self.cookie.and_then(|cookie| HeaderValue::try_from(cookie).ok()) {
            response.headers_mut().insert(header::SET_COOKIE, cookie);
        }
        response
    }
}

/// Names and values of a query, decoded. What is no UTF-8 then is left out.
pub(super) fn query_pairs(query: &str) -> Vec<(String, String)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.filter_map(|(name, value)| Some((decoded(name)?, decoded(value)?))).collect()
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |b: Option<u8>| char::from(b?).to_digit(16);
                let (high, low) = (digit(rest.next())?, digit(rest.next())?);
                u8::try_from(high * 16 + low).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_taken_apart_and_decoded() {
        let pairs = |query| query_pairs(query);
        assert_eq!(
            pairs("a=1&b=x%20y+z&c"),
            [("a", "1"), ("b", "x y z"), ("c", "")].map(|(a, b)| (a.into(), b.into()))
        );
        assert_eq!(pairs("a=%ff&b=%4&c=%zz&&"), []);
        assert_eq!(pairs("%61=%C3%A5"), [("a".to_owned(), "å".to_owned())]);
    }
}
