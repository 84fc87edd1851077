//! The description of the API in OpenAPI 3.1, made of the very table that answers.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use super::operation::{Access, Operation, Shape};
use super::wire::ErrorAnswer;
use super::{OPERATIONS, ROOT};

pub(super) static DESCRIPTION: LazyLock<Value> = LazyLock::new(describe);

const ABOUT: &str = "Incidents, their messages and the people who work on them. Ids are written `INC-000123`, \
                     `MSG-000123` and `DLV-000123`, times are RFC 3339 in UTC. What is answered with success is durable.";

/// As JSON.
pub fn describe() -> Value {
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    let mut schemas = BTreeMap::new();
    for operation in OPERATIONS.iter() {
        let path = paths.entry(format!("{ROOT}{}", operation.path)).or_default();
        path.insert(operation.method.to_owned(), described(operation));
        for shape in operation.takes.into_iter().chain([operation.gives, Shape::of::<ErrorAnswer>()]) {
            let mut found = Vec::new();
            (shape.schemas)(&mut found);
            let named =
                found.into_iter().map(|(name, schema)| (name, serde_json::to_value(schema).unwrap_or_default()));
            schemas.extend(named);
        }
    }
    let version = env!("CARGO_PKG_VERSION");
    json!({
        "openapi": "3.1.0",
        "info": { "title": "Ringfence", "version": version, "description": ABOUT },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer", "description": "A token: `rf_<id>_<secret>`." },
                "session": {
                    "type": "apiKey", "in": "cookie", "name": super::guest::COOKIE,
                    "description": "A login by browser; what changes something needs the header `X-CSRF-Token` too.",
                },
            },
        },
        "security": [{ "token": [] }, { "session": [] }],
    })
}

fn described(operation: &Operation) -> Value {
    let in_path = operation
        .params()
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }));
    let in_query = operation.query.iter().map(|(name, text)| {
        json!({ "name": name, "in": "query", "required": false, "description": text, "schema": { "type": "string" } })
    });
    let mut value = json!({
        "operationId": operation.name,
        "summary": operation.summary,
        "description": operation.access.text(),
        "parameters": in_path.chain(in_query).collect::<Vec<_>>(),
        "responses": {
            "2XX": { "description": "It is so.", "content": content(operation.gives) },
            "default": { "description": "Why not.", "content": content(Shape::of::<ErrorAnswer>()) },
        },
    });
    if let Some(takes) = operation.takes {
        value["requestBody"] = json!({ "required": true, "content": content(takes) });
    }
    if operation.access == Access::Open {
        value["security"] = json!([]);
    }
    value
}

fn content(shape: Shape) -> Value {
    let reference = format!("#/components/schemas/{}", (shape.name)());
    json!({ "application/json": { "schema": { "$ref": reference } } })
}
