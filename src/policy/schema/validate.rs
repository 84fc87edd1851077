//! As much of a validator as the tests need: the words of JSON Schema that the schemas here use, and no others.

use serde_json::Value;

/// What the schema says is wrong with a TOML text: `path: what`.
pub(crate) fn mistakes(schema: &Value, text: &str) -> Vec<String> {
    let table: toml::Table = text.parse().expect("TOML");
    let value = serde_json::to_value(table).expect("TOML is JSON, but for its dates");
    let mut found = Vec::new();
    visit(schema, schema, &value, "", &mut found);
    found
}

fn visit(root: &Value, schema: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
    for (word, wanted) in schema.as_object().expect("a schema is an object") {
        match word.as_str() {
            "$ref" => {
                let pointer = wanted.as_str().and_then(|text| text.strip_prefix('#')).expect("a local reference");
                visit(root, root.pointer(pointer).expect("a definition"), value, path, found);
            }
            "type" => {
                let is = match wanted.as_str().expect("one type") {
                    "object" => value.is_object(),
                    "array" => value.is_array(),
                    "string" => value.is_string(),
                    "integer" => value.is_i64() || value.is_u64(),
                    "number" => value.is_number(),
                    "boolean" => value.is_boolean(),
                    other => panic!("type {other}"),
                };
                if !is {
                    found.push(format!("{path}: no {wanted}"));
                }
            }
            "enum" => {
                if !wanted.as_array().expect("words").contains(value) {
                    found.push(format!("{path}: {value} is none of {wanted}"));
                }
            }
            "properties" => {
                for (key, inner) in wanted.as_object().expect("properties") {
                    if let Some(value) = value.get(key) {
                        visit(root, inner, value, &format!("{path}.{key}"), found);
                    }
                }
            }
            "additionalProperties" => {
                let known = |key: &String| schema.get("properties").is_some_and(|p| p.get(key).is_some());
                for (key, value) in value.as_object().into_iter().flatten().filter(|(key, _)| !known(key)) {
                    match wanted {
                        Value::Bool(false) => found.push(format!("{path}.{key}: unknown")),
                        inner => visit(root, inner, value, &format!("{path}.{key}"), found),
                    }
                }
            }
            "required" => {
                for key in wanted.as_array().expect("keys").iter().filter_map(Value::as_str) {
                    if value.is_object() && value.get(key).is_none() {
                        found.push(format!("{path}: lacks {key}"));
                    }
                }
            }
            "items" => {
                for (i, item) in value.as_array().into_iter().flatten().enumerate() {
                    visit(root, wanted, item, &format!("{path}[{i}]"), found);
                }
            }
            "allOf" => wanted.as_array().expect("all").iter().for_each(|one| visit(root, one, value, path, found)),
            "anyOf" => {
                let passes = |one: &Value| {
                    let mut own = Vec::new();
                    visit(root, one, value, path, &mut own);
                    own.is_empty()
                };
                if !wanted.as_array().expect("any").iter().any(passes) {
                    found.push(format!("{path}: none of the forms"));
                }
            }
            "$schema" | "title" | "description" | "definitions" => {}
            other => panic!("the validator does not know `{other}`"),
        }
    }
}
