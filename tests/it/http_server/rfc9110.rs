//! RFC 9110, HTTP semantics.

use super::By::{Declined, Library, Set, Wrapped};
use super::Is::{With, Without, WithoutBody};
use super::{LAST, Row, admin, get, post, row};

pub(super) fn rows() -> Vec<Row> {
    [identifiers(), fields(), messages(), representations(), methods(), context(), conditions(), statuses()]
        .into_iter()
        .flatten()
        .collect()
}

/// Sections 2 to 4: versions, connections, identifiers.
fn identifiers() -> Vec<Row> {
    let target = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    vec![
        row(
            "9110 2.5",
            "the response has a version that the server conforms to",
            Library,
            get(""),
            &[200],
            &[With("HTTP/1.1 200 OK\r\n")],
        ),
        row(
            "9110 2.5",
            "a higher minor version is read as the highest one that is known (SHOULD)",
            Declined,
            "GET /healthz HTTP/1.2\r\nHost: a\r\n\r\n",
            &[400],
            &[],
        ),
        row(
            "9110 3.3",
            "requests of one connection are not taken for those of one user agent",
            Set,
            format!(
                "GET /api/v1/tokens HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer TOKEN\r\n\r\n\
                     GET /api/v1/tokens HTTP/1.1\r\nHost: a\r\n\r\n{LAST}"
            ),
            &[200, 401, 200],
            &[],
        ),
        row("9110 4.2.1", "an http URI without a host is rejected", Library, target("http:///healthz"), &[400], &[]),
        row("9110 4.2.1", "so is one with a port alone", Wrapped, target("http://:80/healthz"), &[400], &[]),
        row(
            "9110 4.2.4",
            "a user in a URI is an error (SHOULD)",
            Wrapped,
            target("http://user@a/healthz"),
            &[400],
            &[],
        ),
        row("9110 4.2.4", "so are user and password", Wrapped, target("http://user:word@a/healthz"), &[400], &[]),
    ]
}

/// Section 5: fields.
fn fields() -> Vec<Row> {
    let list = |value: &str| admin("GET WEBHOOK", &format!("If-None-Match: {value}\r\n"), "");
    let mut rows = vec![
        row(
            "9110 5.1",
            "field names do not depend on case",
            Library,
            "GET /api/v1/tokens HTTP/1.1\r\nhOST: a\r\nAUTHORIZATION: Bearer TOKEN\r\nconnection: close\r\n\r\n",
            &[200],
            &[],
        ),
        row(
            "9110 5.4",
            "a field that is too large is a 4xx",
            Wrapped,
            get(&format!("X: {}\r\n", "x".repeat(33_000))),
            &[431],
            &[With("head_too_large")],
        ),
        row("9110 5.4", "so are too many fields", Set, get(&"X: y\r\n".repeat(101)), &[431], &[]),
        row(
            "9110 5.5",
            "white space around a value is not part of it",
            Library,
            admin("GET /api/v1/tokens", "", "").replace("Bearer TOKEN", " \t Bearer TOKEN \t "),
            &[200],
            &[],
        ),
        row("9110 5.5", "NUL in a value is rejected", Library, get("X: a\0b\r\n"), &[400], &[]),
        row("9110 5.5", "a carriage return in a value is rejected", Wrapped, get("X: a\rb\r\n"), &[400], &[]),
        row("9110 5.6.1.2", "empty elements of a list are ignored", Set, list(",, \"r0\" ,,"), &[200], &[]),
        row(
            "9110 5.6.1.2",
            "in Connection",
            Library,
            format!("GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: , ,close,\r\n\r\n{LAST}"),
            &[200],
            &[],
        ),
        row(
            "9110 5.6.1.2",
            "in Accept",
            Set,
            get("Accept: , ,application/openmetrics-text;q=1, ,\r\n").replace("/healthz", "/metrics"),
            &[200],
            &[With("content-type: application/openmetrics-text"), With("\n# EOF\n")],
        ),
        row(
            "9110 5.6.1.2",
            "in Transfer-Encoding",
            Declined,
            post("Transfer-Encoding: , chunked\r\n", "0\r\n\r\n"),
            &[400],
            &[],
        ),
        row(
            "9110 5.6.4",
            "an escape in a quoted string stands for its character",
            Set,
            content_type("application/json; charset=\"u\\tf-8\""),
            &[422],
            &[],
        ),
    ];
    rows.extend(content_types());
    rows
}

/// A POST with this content type.
fn content_type(value: &str) -> String {
    post(&format!("Connection: close\r\nContent-Type: {value}\r\n"), "").replacen(
        "Content-Type: application/json\r\n",
        "Content-Length: 2\r\n",
        1,
    ) + "{}"
}

/// Sections 5.6.6 and 8.3: parameters, types.
fn content_types() -> Vec<Row> {
    let mut rows = Vec::new();
    for value in [
        "application/json;",
        "application/json; charset=utf-8;",
        "application/json;;",
        "application/json ; ; charset=\"utf-8\"",
        "APPLICATION/JSON;CHARSET=UTF-8",
        "application/json\t;\tcharset=utf-8\t",
        "application/json; x=\";charset=latin1\"",
    ] {
        rows.push(row(
            "9110 5.6.6",
            "parameters may be empty, quoted and of any case",
            Set,
            content_type(value),
            &[422],
            &[],
        ));
    }
    for value in
        ["application/vnd.api+json", "application/json; charset=latin1", "text/json", "application/json; x", ""]
    {
        rows.push(row(
            "9110 8.3",
            "another type is not taken for JSON",
            Set,
            content_type(value),
            &[415],
            &[With("Content-Type must be application/json, in UTF-8")],
        ));
    }
    rows
}

/// Sections 6 and 7: messages, routing.
fn messages() -> Vec<Row> {
    let trailers = |head: &str, trailer: &str| {
        format!(
            "POST /api/v1/tokens HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{head}Transfer-Encoding: chunked\r\n\r\n\
                 2\r\n{{}}\r\n0\r\n{trailer}\r\n\r\n"
        )
    };
    let token = "Authorization: Bearer TOKEN";
    vec![
        row(
            "9110 6.5.1",
            "a trailer field is no header field",
            Library,
            trailers("Content-Type: application/json\r\n", token),
            &[401],
            &[],
        ),
        row(
            "9110 6.5.1",
            "nor is its type",
            Library,
            trailers(&format!("{token}\r\n"), "Content-Type: application/json"),
            &[415],
            &[],
        ),
        row("9110 6.6.1", "a 2xx has Date", Library, get(""), &[200], &[With("\r\ndate: ")]),
        row(
            "9110 6.6.1",
            "a 4xx has Date",
            Library,
            get("").replace("/healthz", "/nowhere"),
            &[404],
            &[With("\r\ndate: ")],
        ),
        row("9110 6.6.1", "also without a valid request", Library, "nonsense\r\n\r\n", &[400], &[With("\r\ndate: ")]),
        row(
            "9110 7.4",
            "what is asked for over https is not served in the clear",
            Wrapped,
            "GET https://a/healthz HTTP/1.1\r\nHost: a\r\n\r\n",
            &[421],
            &[With("misdirected")],
        ),
        row(
            "9110 7.4",
            "nor what belongs to another protocol",
            Wrapped,
            "GET ftp://a/healthz HTTP/1.1\r\nHost: a\r\n\r\n",
            &[421],
            &[],
        ),
        row(
            "9110 7.8",
            "the protocol is not switched to one that was not agreed on",
            Library,
            get("Upgrade: websocket\r\n").replace("close", "close, upgrade"),
            &[200],
            &[Without("upgrade:")],
        ),
        row(
            "9110 7.8",
            "nor to h2c, which is not spoken",
            Library,
            get("Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n")
                .replace("close", "close, Upgrade, HTTP2-Settings"),
            &[200],
            &[],
        ),
        row(
            "9110 7.8",
            "Upgrade is ignored in HTTP/1.0",
            Library,
            "GET /healthz HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
            &[200],
            &[],
        ),
    ]
}

/// Section 8: representations.
fn representations() -> Vec<Row> {
    let length = |length: &str| post(&format!("Content-Length: {length}\r\n"), "{}");
    vec![
        row(
            "9110 8.6",
            "a 204 has no Content-Length",
            Library,
            admin("DELETE OTHER", "", ""),
            &[204],
            &[Without("content-length"), WithoutBody],
        ),
        row(
            "9110 8.6",
            "the length in a response to HEAD is that of a GET",
            Library,
            get("").replace("GET", "HEAD"),
            &[200],
            &[With("\r\ncontent-length: 15\r\n"), WithoutBody],
        ),
        row(
            "9110 8.6",
            "a length that no number can hold is rejected",
            Wrapped,
            length("99999999999999999999999"),
            &[400],
            &[],
        ),
        row(
            "9110 8.6",
            "a length that nothing can hold is rejected",
            Set,
            post("Content-Length: 9223372036854775807\r\nExpect: 100-continue\r\n", ""),
            &[413],
            &[],
        ),
        row(
            "9110 8.8.3",
            "an entity tag is quoted",
            Set,
            admin("GET WEBHOOK", "", ""),
            &[200],
            &[With("\r\netag: \"r1\"\r\n")],
        ),
    ]
}

/// Section 9: methods.
fn methods() -> Vec<Row> {
    vec![
        row("9110 9.1", "GET is supported", Set, get(""), &[200], &[With("{\"status\":\"ok\"}")]),
        row("9110 9.1", "HEAD is supported", Library, get("").replace("GET", "HEAD"), &[200], &[]),
        row(
            "9110 9.1",
            "an unknown method is a 501 (SHOULD)",
            Declined,
            get("").replace("GET", "BREW"),
            &[405],
            &[With("\r\nallow: GET,HEAD\r\n")],
        ),
        row("9110 9.1", "methods depend on case", Library, get("").replace("GET", "get"), &[405], &[]),
        row(
            "9110 9.3.2",
            "a response to HEAD has no content",
            Library,
            format!("HEAD /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n{LAST}"),
            &[200, 200],
            &[Without("openapi\":")],
        ),
        row(
            "9110 9.3.2",
            "nor has an error",
            Library,
            format!("HEAD /nowhere HTTP/1.1\r\nHost: a\r\n\r\n{LAST}"),
            &[404, 200],
            &[Without("not_found")],
        ),
        row(
            "9110 9.3.4",
            "a PUT that changes is a 200",
            Set,
            admin("PUT WEBHOOK", "Content-Type: application/json\r\n", "{\"name\":\"b\"}"),
            &[200],
            &[],
        ),
        row(
            "9110 9.3.4",
            "a PUT has no validator unless what was sent is what is stored",
            Declined,
            admin("PUT WEBHOOK", "Content-Type: application/json\r\n", "{\"name\":\"b\"}"),
            &[200],
            &[With("\r\netag: \"r2\"")],
        ),
        row(
            "9110 9.3.6",
            "CONNECT to an empty port is rejected",
            Library,
            "CONNECT a: HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            &[405],
            &[],
        ),
        row(
            "9110 9.3.6",
            "CONNECT to an invalid port is rejected",
            Library,
            "CONNECT a:99999 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            &[405],
            &[],
        ),
        row(
            "9110 9.3.6",
            "CONNECT makes no tunnel",
            Set,
            format!("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n{LAST}"),
            &[405, 200],
            &[],
        ),
        row(
            "9110 9.3.7",
            "OPTIONS * asks for the server as a whole",
            Declined,
            "OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            &[405],
            &[With("\r\nallow: GET, HEAD, POST, PUT, DELETE\r\n")],
        ),
    ]
}

/// Sections 10 to 12: context, authentication, negotiation.
fn context() -> Vec<Row> {
    let expecting = |more: &str| post(&format!("Connection: close\r\nContent-Length: 2\r\n{more}"), "{}");
    vec![
        row(
            "9110 10.1.1",
            "100-continue is answered with 100, and with a final status",
            Library,
            expecting("Expect: 100-Continue\r\n"),
            &[100, 422],
            &[],
        ),
        row(
            "9110 10.1.1",
            "or with the final status at once, if the head decides it",
            Set,
            expecting("Expect: 100-continue\r\n").replace("Bearer TOKEN", "Bearer nonsense"),
            &[401],
            &[Without("100 Continue")],
        ),
        row(
            "9110 10.1.1",
            "it is ignored in HTTP/1.0",
            Library,
            expecting("Expect: 100-continue\r\n").replace("HTTP/1.1", "HTTP/1.0"),
            &[422],
            &[Without("100 Continue")],
        ),
        row(
            "9110 10.1.1",
            "and without content",
            Library,
            get("Expect: 100-continue\r\n"),
            &[200],
            &[Without("100 Continue")],
        ),
        row(
            "9110 10.2.1",
            "a 405 has Allow",
            Library,
            get("").replace("GET", "DELETE"),
            &[405],
            &[With("\r\nallow: GET,HEAD\r\n")],
        ),
        row(
            "9110 11.1",
            "the scheme does not depend on case",
            Set,
            admin("GET /api/v1/tokens", "", "").replace("Bearer", "bEARER"),
            &[200],
            &[],
        ),
        row(
            "9110 11.6.1",
            "a 401 has WWW-Authenticate",
            Set,
            get("").replace("/healthz", "/api/v1/tokens"),
            &[401],
            &[With("\r\nwww-authenticate: Bearer realm=\"heraldry\"\r\n")],
        ),
        row(
            "9110 12.5.1",
            "what Accept excludes may be sent all the same",
            Set,
            get("Accept: image/png\r\n"),
            &[200],
            &[],
        ),
        row(
            "9110 12.5.1",
            "qualities decide",
            Set,
            get("Accept: application/openmetrics-text;q=0.1, text/plain;q=0.2\r\n").replace("/healthz", "/metrics"),
            &[200],
            &[
                With("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"),
                With("\r\nvary: accept\r\n"),
                Without("# EOF"),
            ],
        ),
    ]
}

/// Sections 13 and 14: preconditions, ranges.
fn conditions() -> Vec<Row> {
    [if_match(), if_none_match(), other_conditions()].into_iter().flatten().collect()
}

/// A GET of the webhook.
fn read(more: &str) -> String {
    admin("GET WEBHOOK", more, "")
}

/// A PUT of the webhook that gives it the name b.
fn change(more: &str) -> String {
    admin("PUT WEBHOOK", &format!("Content-Type: application/json\r\n{more}"), "{\"name\":\"b\"}")
}

/// A request, and then a GET of the webhook.
fn then_read(request: &str) -> String {
    request.replacen("Connection: close\r\n", "", 1) + &read("")
}

/// A PUT of a formatter that is none.
fn upload(name: &str, more: &str) -> String {
    admin(&format!("PUT /api/v1/formatters/{name}"), &format!("Content-Type: application/wasm\r\n{more}"), "nonsense")
}

fn if_match() -> Vec<Row> {
    vec![
        row(
            "9110 13.1.1",
            "a PUT is not performed if If-Match is false",
            Set,
            then_read(&change("If-Match: \"r9\"\r\n")),
            &[412, 200],
            &[Without("\"name\":\"b\"")],
        ),
        row(
            "9110 13.1.1",
            "it is if If-Match is true",
            Set,
            then_read(&change("If-Match: \"r9\", ETAG\r\n")),
            &[200, 200],
            &[With("\"name\":\"b\"")],
        ),
        row(
            "9110 13.1.1",
            "a DELETE is not performed if If-Match is false",
            Set,
            then_read(&admin("DELETE WEBHOOK", "If-Match: \"r9\"\r\n", "")),
            &[412, 200],
            &[],
        ),
        row(
            "9110 13.1.1",
            "it is if If-Match is true",
            Set,
            then_read(&admin("DELETE WEBHOOK", "If-Match: ETAG\r\n", "")),
            &[204, 404],
            &[],
        ),
        row(
            "9110 13.1.1",
            "nor is the DELETE of what has no tag",
            Set,
            admin("DELETE OTHER", "If-Match: \"r1\"\r\n", ""),
            &[412],
            &[],
        ),
        row("9110 13.1.1", "nor a GET", Set, read("If-Match: \"r9\"\r\n"), &[412], &[]),
        row("9110 13.1.1", "the comparison is strong", Set, change("If-Match: W/ETAG\r\n"), &[412], &[]),
        row("9110 13.1.1", "* is false where nothing exists", Set, upload("nothing", "If-Match: *\r\n"), &[412], &[]),
    ]
}

fn if_none_match() -> Vec<Row> {
    vec![
        row(
            "9110 13.1.2",
            "a GET is a 304 if If-None-Match is false",
            Set,
            read("If-None-Match: \"x\", ETAG\r\n"),
            &[304],
            &[WithoutBody],
        ),
        row("9110 13.1.2", "the comparison is weak", Set, read("If-None-Match: W/ETAG\r\n"), &[304], &[WithoutBody]),
        row(
            "9110 13.1.2",
            "a PUT is a 412",
            Set,
            then_read(&change("If-None-Match: *\r\n")),
            &[412, 200],
            &[Without("\"name\":\"b\"")],
        ),
        row("9110 13.1.2", "also of what has no tag", Set, upload("taken", "If-None-Match: *\r\n"), &[412], &[]),
        row(
            "9110 13.1.2",
            "* is true where nothing exists",
            Set,
            upload("nothing", "If-None-Match: *\r\n"),
            &[422],
            &[],
        ),
        row(
            "9110 13.1.2",
            "a read of what has no tag is conditional too",
            Declined,
            admin("GET /api/v1/tokens", "If-None-Match: *\r\n", ""),
            &[200],
            &[],
        ),
    ]
}

fn other_conditions() -> Vec<Row> {
    vec![
        row(
            "9110 13.1.3",
            "If-Modified-Since is ignored without a modification date",
            Set,
            read("If-Modified-Since: Sun, 06 Nov 2094 08:49:37 GMT\r\n"),
            &[200],
            &[],
        ),
        row(
            "9110 13.1.4",
            "so is If-Unmodified-Since",
            Set,
            change("If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n"),
            &[200],
            &[],
        ),
        row("9110 13.1.5", "If-Range is ignored without a Range", Set, read("If-Range: \"r9\"\r\n"), &[200], &[]),
        row(
            "9110 13.2.1",
            "preconditions are ignored if the response would be an error anyway",
            Set,
            admin("PUT /api/v1/webhooks/none", "If-Match: \"r9\"\r\n", ""),
            &[404],
            &[],
        ),
        row(
            "9110 13.2.1",
            "also without a token",
            Set,
            change("If-Match: \"r9\"\r\n").replace("Bearer TOKEN", "Bearer no"),
            &[401],
            &[],
        ),
        row(
            "9110 13.2.1",
            "and for methods that select nothing",
            Library,
            get("If-Match: \"r9\"\r\n").replace("GET", "OPTIONS"),
            &[405],
            &[],
        ),
        row(
            "9110 13.2.2",
            "If-Match comes before If-None-Match",
            Set,
            read("If-Match: \"r9\"\r\nIf-None-Match: ETAG\r\n"),
            &[412],
            &[],
        ),
        row(
            "9110 13.2.2",
            "and If-None-Match after it",
            Set,
            read("If-Match: ETAG\r\nIf-None-Match: ETAG\r\n"),
            &[304],
            &[],
        ),
        row("9110 14.2", "Range is ignored except for GET", Set, change("Range: bytes=0-1\r\n"), &[200], &[]),
        row(
            "9110 14.2",
            "a range unit that is unknown is ignored",
            Set,
            read("Range: lines=1-2\r\n"),
            &[200],
            &[Without("content-range")],
        ),
        row(
            "9110 14.5",
            "a partial PUT is a 400 (SHOULD)",
            Set,
            change("Content-Range: bytes 0-1/9\r\n"),
            &[400],
            &[With("Content-Range")],
        ),
    ]
}

/// Section 15: status codes.
fn statuses() -> Vec<Row> {
    vec![
        row(
            "9110 15.2",
            "no 1xx for HTTP/1.0",
            Library,
            post("Content-Length: 2\r\nExpect: 100-continue\r\n", "{}").replace("HTTP/1.1", "HTTP/1.0"),
            &[422],
            &[],
        ),
        row(
            "9110 15.3.5",
            "a 204 ends with its head",
            Library,
            admin("DELETE OTHER", "", "").replace("Connection: close\r\n", "") + LAST,
            &[204, 200],
            &[],
        ),
        row(
            "9110 15.4.5",
            "a 304 has the tag of the 200",
            Set,
            admin("GET WEBHOOK", "If-None-Match: ETAG\r\n", ""),
            &[304],
            &[With("\r\netag: \"r1\"\r\n"), With("\r\ncache-control: no-store\r\n"), WithoutBody],
        ),
        row(
            "9110 15.5.15",
            "a target that is too long is a 414",
            Wrapped,
            format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(33_000)),
            &[414],
            &[With("target_too_long")],
        ),
    ]
}
