//! The JSON Schema of a manifest, made from its keys: editors complete and check by it.

use serde_json::{Map, Value, json};

use super::keys::{Form, Key, MANIFEST};

/// A number, or a length of time as of ISO 8601 or as `1h 30m`.
const TIME: &str = "^[P0-9]";
const SIZE: &str = "^[0-9]+[KMG]?$";

/// The schema, as one document.
pub fn schema() -> Value {
    let mut schema = table(MANIFEST, &[]);
    let head = [
        ("$schema", json!("https://json-schema.org/draft/2020-12/schema")),
        ("title", json!("hostkit.toml")),
        ("description", json!("What a project's owner says of its source tree to hostkit")),
    ];
    if let Some(object) = schema.as_object_mut() {
        object.extend(head.map(|(key, value)| (key.to_owned(), value)));
    }
    schema
}

fn table(keys: &[Key], required: &[&str]) -> Value {
    let mut schema = json!({
        "type": "object",
        "properties": properties(keys),
        "additionalProperties": false,
    });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

fn properties(keys: &[Key]) -> Map<String, Value> {
    let one = |key: &Key| {
        let mut schema = of(&key.form);
        schema["description"] = json!(key.about);
        (key.name.to_owned(), schema)
    };
    keys.iter().map(one).collect()
}

fn of(form: &Form) -> Value {
    match form {
        Form::Boolean => json!({ "type": "boolean" }),
        Form::Either(forms) => json!({ "anyOf": forms.iter().map(of).collect::<Vec<_>>() }),
        Form::List(most) => {
            json!({ "type": "array", "items": { "type": "string" }, "maxItems": most })
        }
        Form::ListOf(most, pattern) => json!({
            "type": "array",
            "items": { "type": "string", "pattern": pattern },
            "maxItems": most,
        }),
        Form::Named { names, each, also } => json!({
            "type": "object",
            "properties": properties(also),
            "patternProperties": { others(names, also): of(each) },
            "additionalProperties": false,
        }),
        Form::Number(least, most) => {
            json!({ "type": "integer", "minimum": least, "maximum": most })
        }
        Form::Pattern(pattern) => json!({ "type": "string", "pattern": pattern }),
        Form::Size => json!({ "type": "string", "pattern": SIZE }),
        Form::Table(keys, required) => table(keys, required),
        Form::Text => json!({ "type": "string" }),
        Form::Time(least, most) => json!({ "anyOf": [
            { "type": "string", "pattern": TIME },
            { "type": "integer", "minimum": least, "maximum": most },
        ] }),
        Form::Words(words) => json!({ "enum": words }),
    }
}

/// The owner's names: all that the pattern takes, but for ours.
fn others(names: &str, also: &[Key]) -> String {
    if also.is_empty() {
        return names.to_owned();
    }
    let ours: Vec<&str> = also.iter().map(|key| key.name).collect();
    format!("^(?!({})$){}", ours.join("|"), names.trim_start_matches('^'))
}
