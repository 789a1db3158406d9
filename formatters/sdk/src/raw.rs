//! JSON that is copied from the event as it was posted, which needs no parser.

use crate::value::equal;

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

/// Replaces each line feed and carriage return by a space. In JSON these occur only between tokens, never within one.
pub fn join_lines(json: &mut [u8]) {
    let (words, rest) = json.as_chunks_mut::<8>();
    for bytes in words {
        let word = u64::from_le_bytes(*bytes);
        let (feeds, returns) = (equal(word, b'\n') >> 7, equal(word, b'\r') >> 7);
        if feeds | returns != 0 {
            let changed = (feeds * u64::from(b'\n' ^ b' ')) | (returns * u64::from(b'\r' ^ b' '));
            *bytes = (word ^ changed).to_le_bytes();
        }
    }
    for byte in rest.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')) {
        *byte = b' ';
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_joined_by_spaces() {
        for length in 0..40 {
            let json: String = "[1,\n\r\n \"é\n\u{8a}\u{8d}\"\r]\n".chars().cycle().take(length).collect();
            let mut bytes = json.clone().into_bytes();
            join_lines(&mut bytes);
            assert_eq!(String::from_utf8(bytes).expect("UTF-8"), json.replace(['\n', '\r'], " "));
        }
    }

    #[test]
    fn members_follow_those_that_are_there() {
        let mut body = b"{}".to_vec();
        push_member(&mut body, "a", "[1.50]");
        push_member(&mut body, "b", "{}");
        assert_eq!(body, br#"{"a":[1.50],"b":{}}"#);
    }
}
