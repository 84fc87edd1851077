//! The table of operations and its description, without a service.

use std::collections::BTreeSet;

use serde_json::Value;

use super::*;

#[test]
fn every_operation_is_described_once_with_schemas_that_are_there() {
    let described = describe();
    let paths = described["paths"].as_object().unwrap();
    let n: usize = paths.values().map(|path| path.as_object().unwrap().len()).sum();
    assert_eq!(n, OPERATIONS.len(), "two operations have one path and method");
    let names: BTreeSet<&str> = OPERATIONS.iter().map(|operation| operation.name).collect();
    assert_eq!(names.len(), OPERATIONS.len(), "two operations have one name");
    let schemas = described["components"]["schemas"].as_object().unwrap();
    let mut references = Vec::new();
    collect(&described, &mut references);
    assert!(references.len() > 100, "{}", references.len());
    for reference in references {
        let name = reference.strip_prefix("#/components/schemas/").unwrap();
        assert!(schemas.contains_key(name), "{reference}");
    }
}

fn collect(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            found.extend(map.get("$ref").and_then(Value::as_str).map(str::to_owned));
            map.values().for_each(|value| collect(value, found));
        }
        Value::Array(all) => all.iter().for_each(|value| collect(value, found)),
        _ => {}
    }
}

#[test]
fn what_changes_something_is_never_open_to_those_who_only_look() {
    for operation in OPERATIONS.iter() {
        let looks = matches!(operation.access, Access::Scope(crate::people::Scope::Read));
        assert!(operation.method == "get" || !looks, "{}", operation.name);
        let is_login = operation.name == "log_in";
        assert_eq!(operation.access == Access::Open, is_login, "{}", operation.name);
    }
}
