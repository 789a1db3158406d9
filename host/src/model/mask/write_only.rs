//! The options of a webhook that their JSON Schema marks `writeOnly`.

use serde_json::Value;

use crate::json::fault::token;

/// Steps that the search may take, and how deep it may go: a third-party schema may refer to itself.
const STEPS: usize = 10_000;
const DEPTH: usize = 64;

/// The JSON pointers of the values that the schema marks `writeOnly`; `None` if the search could not be finished, and any of
/// them may be.
pub fn write_only(schema: &Value, options: &Value) -> Option<Vec<String>> {
    let mut search = Search { root: schema, steps: STEPS, found: Vec::new() };
    search.look(schema, options, "", DEPTH);
    (search.steps > 0).then_some(search.found)
}

struct Search<'a> {
    root: &'a Value,
    steps: usize,
    found: Vec<String>,
}

impl Search<'_> {
    /// Looks at a value that this schema describes. No steps are left when the search could not be finished.
    fn look(&mut self, schema: &Value, value: &Value, pointer: &str, depth: usize) {
        let Value::Object(schema) = schema else { return };
        self.steps = if depth == 0 { 0 } else { self.steps.saturating_sub(1) };
        if self.steps == 0 {
            return;
        }
        let depth = depth - 1;
        if schema.get("writeOnly") == Some(&Value::Bool(true)) {
            return self.found.push(pointer.to_owned());
        }
        let reference = schema.get("$ref").and_then(Value::as_str);
        let target = reference.and_then(|reference| self.root.pointer(reference.strip_prefix('#')?));
        if let Some(target) = target {
            self.look(target, value, pointer, depth);
        }
        for name in ["allOf", "anyOf", "oneOf"] {
            for one in schema.get(name).and_then(Value::as_array).into_iter().flatten() {
                self.look(one, value, pointer, depth);
            }
        }
        for one in ["if", "then", "else"].iter().filter_map(|name| schema.get(*name)) {
            self.look(one, value, pointer, depth);
        }
        match value {
            Value::Object(members) => {
                for (name, member) in members {
                    let known = schema.get("properties").and_then(|properties| properties.get(name));
                    // A pattern that does not match costs a mask too much at most.
                    let patterns = schema.get("patternProperties").and_then(Value::as_object);
                    let patterns = patterns.into_iter().flat_map(|patterns| patterns.values());
                    let below = format!("{pointer}/{}", token(name));
                    for one in known.or(schema.get("additionalProperties")).into_iter().chain(patterns) {
                        self.look(one, member, &below, depth);
                    }
                }
            }
            Value::Array(elements) => {
                let first = schema.get("prefixItems").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
                for (index, element) in elements.iter().enumerate() {
                    if let Some(one) = first.get(index).or(schema.get("items")) {
                        self.look(one, element, &format!("{pointer}/{index}"), depth);
                    }
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_what_is_write_only() {
        let schema = json!({
            "$defs": {"key": {"type": "string", "writeOnly": true}},
            "properties": {
                "a/b": {"$ref": "#/$defs/key"},
                "list": {"items": {"properties": {"key": {"$ref": "#/$defs/key"}}}},
                "plain": {"type": "string"},
            },
        });
        let options = json!({"a/b": "x", "list": [{"key": "y"}, {"other": "z"}], "plain": "p"});
        assert_eq!(write_only(&schema, &options), Some(vec!["/a~1b".to_owned(), "/list/0/key".to_owned()]));
        let endless = json!({"$ref": "#"});
        assert_eq!(write_only(&endless, &options), None);
    }
}
