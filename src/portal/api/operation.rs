//! One row of the table of operations.

use std::borrow::Cow;

use axum::routing::MethodFilter;
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};

use super::call::{Call, Reply};
use super::problem::Problem;
use super::wire::ErrorAnswer;
use crate::people::Scope;

/// What somebody needs to be let at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Nothing: it is how one becomes known.
    Open,
    /// To be known.
    Anybody,
    Scope(Scope),
    Admin,
}

impl Access {
    pub(super) fn text(self) -> String {
        match self {
            Access::Open => "Needs no credentials.".to_owned(),
            Access::Anybody => "For everybody who is logged in.".to_owned(),
            Access::Scope(scope) => format!("Needs the scope `{}`.", scope.as_str()),
            Access::Admin => "Needs the scope `admin` and the role `admin`.".to_owned(),
        }
    }
}

/// A kind of JSON: its name in the description, and itself with all it is made of.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) name: fn() -> Cow<'static, str>,
    pub(super) schemas: fn(&mut Vec<(String, RefOr<Schema>)>),
}

impl Shape {
    pub(super) fn of<T: ToSchema>() -> Shape {
        fn all<T: ToSchema>(schemas: &mut Vec<(String, RefOr<Schema>)>) {
            schemas.push((T::name().into_owned(), T::schema()));
            T::schemas(schemas);
        }
        Shape { name: T::name, schemas: all::<T> }
    }
}

/// See the module.
pub(super) struct Operation {
    pub(super) method: &'static str,
    /// Below the root, with `{names}`.
    pub(super) path: &'static str,
    pub(super) name: &'static str,
    pub(super) summary: &'static str,
    pub(super) access: Access,
    pub(super) takes: Option<Shape>,
    pub(super) gives: Shape,
    /// Names and meanings of what may stand in the query.
    pub(super) query: &'static [(&'static str, &'static str)],
    pub(super) run: fn(&Call<'_>) -> Result<Reply, Problem>,
}

type Run = fn(&Call<'_>) -> Result<Reply, Problem>;

impl Operation {
    fn new(method: &'static str, path: &'static str, name: &'static str, summary: &'static str, run: Run) -> Operation {
        let gives = Shape::of::<ErrorAnswer>();
        let access = Access::Scope(Scope::Read);
        Operation { method, path, name, summary, access, takes: None, gives, query: &[], run }
    }

    /// Looks.
    pub(super) fn get(path: &'static str, name: &'static str, summary: &'static str, run: Run) -> Operation {
        Operation::new("get", path, name, summary, run)
    }

    /// Changes.
    pub(super) fn post(path: &'static str, name: &'static str, summary: &'static str, run: Run) -> Operation {
        Operation::new("post", path, name, summary, run)
    }

    pub(super) fn needs(self, access: Access) -> Operation {
        Operation { access, ..self }
    }

    pub(super) fn takes<T: ToSchema>(self) -> Operation {
        Operation { takes: Some(Shape::of::<T>()), ..self }
    }

    pub(super) fn gives<T: ToSchema>(self) -> Operation {
        Operation { gives: Shape::of::<T>(), ..self }
    }

    pub(super) fn query(self, query: &'static [(&'static str, &'static str)]) -> Operation {
        Operation { query, ..self }
    }

    pub(super) fn filter(&self) -> MethodFilter {
        if self.method == "get" { MethodFilter::GET } else { MethodFilter::POST }
    }

    /// Names in braces of its path.
    pub(super) fn params(&self) -> impl Iterator<Item = &'static str> {
        self.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
    }
}
