//! JSON that is copied from the event as it was posted, which needs no parser.

/// Appends a member to the JSON object with which `body` ends. `name` needs no escapes; `json` is one JSON value.
pub fn push_member(body: &mut Vec<u8>, name: &str, json: impl AsRef<[u8]>) {
    debug_assert_eq!(body.last(), Some(&b'}'), "an object is expected");
    body.pop();
    if body.last() != Some(&b'{') {
        body.push(b',');
    }
    body.push(b'"');
    body.extend_from_slice(name.as_bytes());
    body.extend_from_slice(b"\":");
    body.extend_from_slice(json.as_ref());
    body.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_follow_those_that_are_there() {
        let mut body = b"{}".to_vec();
        push_member(&mut body, "a", "[1.50]");
        push_member(&mut body, "b", "{}");
        assert_eq!(body, br#"{"a":[1.50],"b":{}}"#);
    }
}
