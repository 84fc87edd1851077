//! How the API says no: `{"error": {"code", "message", "details"}}`, with the HTTP status that fits.

use axum::http::header::{self, HeaderValue};
use axum::response::{IntoResponse, Response};

use super::wire::{ErrorAnswer, ErrorBody};
use crate::desk::OrderError;
use crate::findings::FindingsError;
use crate::incident::Refusal;
use crate::people::Denied;
use crate::store::StoreError;

/// Why a request is not answered with what it asked for.
#[derive(Debug)]
pub(super) enum Problem {
    /// There is no data folder, so there is nothing to tell of.
    NoOffice,
    NoPath,
    NoMethod,
    NoCredentials,
    Unknown(String),
    Forbidden(String),
    NotFound(String),
    Conflict(String),
    Invalid(Vec<String>),
    NotJson,
    TooLong,
    CutOff,
    Slow,
    TooMany {
        wait_s: u64,
    },
    Busy,
    /// Nobody knows whether it was done.
    Undecided(String),
    /// The store cannot be read or written; the log says why.
    Failing,
    Internal,
}

impl Problem {
    fn status(&self) -> u16 {
        match self {
            Problem::CutOff => 400,
            Problem::NoCredentials | Problem::Unknown(_) => 401,
            Problem::Forbidden(_) => 403,
            Problem::NoPath | Problem::NotFound(_) => 404,
            Problem::NoMethod => 405,
            Problem::Slow => 408,
            Problem::Conflict(_) => 409,
            Problem::TooLong => 413,
            Problem::NotJson => 415,
            Problem::Invalid(_) => 422,
            Problem::TooMany { .. } => 429,
            Problem::Internal => 500,
            Problem::NoOffice | Problem::Busy | Problem::Undecided(_) | Problem::Failing => 503,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Problem::NoOffice => "no_data_folder",
            Problem::NoPath => "no_such_path",
            Problem::NoMethod => "no_such_method",
            Problem::NoCredentials | Problem::Unknown(_) => "unauthorised",
            Problem::Forbidden(_) => "forbidden",
            Problem::NotFound(_) => "not_found",
            Problem::Conflict(_) => "conflict",
            Problem::Invalid(_) => "invalid",
            Problem::NotJson => "not_json",
            Problem::TooLong => "too_long",
            Problem::CutOff => "cut_off",
            Problem::Slow => "too_slow",
            Problem::TooMany { .. } => "too_many",
            Problem::Busy => "busy",
            Problem::Undecided(_) => "undecided",
            Problem::Failing => "failing",
            Problem::Internal => "internal",
        }
    }

    fn message(&self) -> String {
        let text = match self {
            Problem::NoOffice => "there are no incidents without a data folder: the settings say `data = \"off\"`",
            Problem::NoPath => "there is nothing at this path: /api/v1/openapi.json says what there is",
            Problem::NoMethod => "not with this method: /api/v1/openapi.json says which",
            Problem::NoCredentials => "a token is needed: `Authorization: Bearer rf_...`, or the cookie of a login",
            Problem::Unknown(text)
            | Problem::Forbidden(text)
            | Problem::NotFound(text)
            | Problem::Conflict(text)
            | Problem::Undecided(text) => text,
            Problem::Invalid(details) => return details.join("; "),
            Problem::NotJson => "the body has to be JSON, and say so: `Content-Type: application/json`",
            Problem::TooLong => "the body is too long",
            Problem::CutOff => "the body was cut off",
            Problem::Slow => "the body did not come in time",
            Problem::TooMany { wait_s } => return format!("too many attempts: come again in {wait_s} s"),
            Problem::Busy => "too many requests at once: come again",
            Problem::Failing => "the store does not answer: come again; the log of the service says why",
            Problem::Internal => "this is a mistake of the service: its log says more",
        };
        text.to_owned()
    }

    pub(super) fn into_response(self) -> Response {
        let details = if let Problem::Invalid(details) = &self { details.clone() } else { Vec::new() };
        let body = ErrorAnswer { error: ErrorBody { code: self.code().to_owned(), message: self.message(), details } };
        let text = serde_json::to_string(&body).unwrap_or_default();
        let json = HeaderValue::from_static("application/json");
        let mut response = (super::status_of(self.status()), [(header::CONTENT_TYPE, json)], text).into_response();
        let headers = response.headers_mut();
        match &self {
            Problem::NoCredentials | Problem::Unknown(_) => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"ringfence\""));
            }
            Problem::TooMany { wait_s } => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(*wait_s));
            }
            Problem::Busy | Problem::Failing => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            // What is left of the body is not waited for.
            Problem::TooLong | Problem::CutOff | Problem::Slow => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        response
    }
}

impl From<OrderError> for Problem {
    fn from(error: OrderError) -> Problem {
        match error {
            OrderError::Refused(Refusal::NotFound(text)) => Problem::NotFound(text),
            OrderError::Refused(Refusal::Forbidden(text)) => Problem::Forbidden(text),
            OrderError::Refused(Refusal::Conflict(text)) => Problem::Conflict(text),
            OrderError::Refused(Refusal::Invalid(details)) => Problem::Invalid(details),
            OrderError::Unknown => Problem::Undecided(error.to_string()),
            OrderError::Busy => Problem::Busy,
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Problem {
        tracing::error!(%error, "the API could not use the store");
        match error {
            StoreError::NotYet(_) => Problem::Undecided("it is not durable yet: look whether it was done".to_owned()),
            _ => Problem::Failing,
        }
    }
}

impl From<FindingsError> for Problem {
    fn from(error: FindingsError) -> Problem {
        match error {
            FindingsError::Store(error) => error.into(),
            FindingsError::NoAlerts(_) => Problem::Conflict(error.to_string()),
        }
    }
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Problem {
        match denied {
            Denied::Unknown(text) => Problem::Unknown(text.to_owned()),
            Denied::Forbidden(text) => Problem::Forbidden(text),
            Denied::TooMany { wait_s } => Problem::TooMany { wait_s },
            Denied::Busy => Problem::Busy,
            Denied::NotFound(text) => Problem::NotFound(text),
            Denied::Conflict(text) => Problem::Conflict(text),
            Denied::Invalid(details) => Problem::Invalid(details),
            Denied::Store(error) => error.into(),
        }
    }
}
