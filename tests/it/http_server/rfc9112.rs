//! RFC 9112, HTTP/1.1.

use super::By::{Declined, Library, Set, Wrapped};
use super::Is::{With, Without};
use super::{LAST, Row, admin, get, post, row};

pub(super) fn rows() -> Vec<Row> {
    [syntax(), targets(), hosts(), fields(), bodies(), chunks(), connections()].into_iter().flatten().collect()
}

const OK: &str = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";

/// Sections 2 to 4: message format.
fn syntax() -> Vec<Row> {
    vec![
        row(
            "9112 2.2",
            "a message is octets",
            Library,
            get("").replace("Host: a", "Host: a\r\nX: \u{e9}\u{2028}"),
            &[200],
            &[],
        ),
        row(
            "9112 2.2",
            "a bare carriage return is rejected in the request line",
            Wrapped,
            get("").replace("/healthz", "/he\ralthz"),
            &[400],
            &[With("bare carriage return")],
        ),
        row(
            "9112 2.2",
            "and in a header line",
            Wrapped,
            get("X: y\r\rZ: a\r\n"),
            &[400],
            &[With("bare carriage return")],
        ),
        row(
            "9112 2.2",
            "a bare line feed may end a line (MAY)",
            Declined,
            get("").replace("\r\n", "\n"),
            &[400],
            &[With("bare line feed"), With("application/problem+json")],
        ),
        row(
            "9112 2.2",
            "an empty line before a request is ignored (SHOULD)",
            Wrapped,
            format!("\r\n\r\n{LAST}"),
            &[200],
            &[],
        ),
        row("9112 2.2", "also between two", Wrapped, format!("{OK}\r\n{LAST}"), &[200, 200], &[]),
        row(
            "9112 2.2",
            "white space before the first header field is rejected",
            Wrapped,
            "GET /healthz HTTP/1.1\r\n Host: a\r\nHost: a\r\n\r\n",
            &[400],
            &[],
        ),
        row("9112 2.2", "what is not HTTP is a 400 (SHOULD)", Library, "SSH-2.0-OpenSSH_9.9\r\n\r\n", &[400], &[]),
        row("9112 2.3", "the name of the version depends on case", Library, OK.replace("HTTP", "http"), &[400], &[]),
        row(
            "9112 2.3",
            "another major version is not served",
            Library,
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            &[400],
            &[],
        ),
        row(
            "9112 3",
            "white space in the request line is no separator of its own",
            Library,
            "GET /heal thz HTTP/1.1\r\nHost: a\r\n\r\n",
            &[400],
            &[],
        ),
        row(
            "9112 3",
            "a target that is too long is a 414",
            Wrapped,
            format!("GET /?{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(70_000)),
            &[414],
            &[],
        ),
        row(
            "9112 3",
            "request lines of 8,000 octets are served (SHOULD)",
            Set,
            get("").replace("/healthz", &format!("/healthz?{}", "a".repeat(7978))),
            &[200],
            &[],
        ),
        row(
            "9112 4",
            "a status line has its spaces",
            Library,
            get("").replace("/healthz", "/nowhere"),
            &[404],
            &[With("HTTP/1.1 404 Not Found\r\n")],
        ),
    ]
}

/// Sections 3.2 and 3.3: request targets.
fn targets() -> Vec<Row> {
    let target =
        |target: &str, host: &str| format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    vec![
        row("9112 3.2.1", "the origin form is served", Library, target("/healthz?x", "a"), &[200], &[]),
        row("9112 3.2.2", "the absolute form is served", Library, target("http://a/healthz", "a"), &[200], &[]),
        row("9112 3.2.2", "and Host is ignored then", Wrapped, target("http://a:8080/healthz", "b"), &[200], &[]),
        row("9112 3.2.2", "also an empty one", Wrapped, target("http://a/healthz", ""), &[200], &[]),
        row("9112 3.2.2", "but not one that is invalid", Wrapped, target("http://a/healthz", "a b"), &[400], &[]),
        row(
            "9112 3.2.2",
            "a scheme does not depend on case",
            Library,
            target("HTTP://[::1]:80/healthz", "a"),
            &[200],
            &[],
        ),
        row(
            "9112 3.2.2",
            "a percent-encoded name in the absolute form is a name",
            Declined,
            target("http://%61/healthz", "a"),
            &[400],
            &[],
        ),
        row("9112 3.2.3", "the authority form is for CONNECT only", Wrapped, target("a:80", "a:80"), &[400], &[]),
        row("9112 3.2.4", "the asterisk form is for OPTIONS only", Wrapped, target("*", "a"), &[400], &[]),
        row(
            "9112 3.3",
            "a target without an authority may get the default one",
            Wrapped,
            target("/healthz", ""),
            &[200],
            &[],
        ),
    ]
}

/// Section 3.2: Host.
fn hosts() -> Vec<Row> {
    let with = |hosts: &str| format!("GET /healthz HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n");
    let mut rows = vec![
        row("9112 3.2", "no Host is a 400", Wrapped, with(""), &[400], &[With("invalid_header")]),
        row(
            "9112 3.2",
            "also with the absolute form",
            Wrapped,
            with("").replace("/healthz", "http://a/healthz"),
            &[400],
            &[],
        ),
        row("9112 3.2", "two are a 400", Wrapped, with("Host: a\r\nHost: b\r\n"), &[400], &[]),
        row("9112 3.2", "also if they are equal", Wrapped, with("Host: a\r\nX: y\r\nHOST: a\r\n"), &[400], &[]),
        row("9112 3.2", "and if one is empty", Wrapped, with("Host:\r\nHost: a\r\n"), &[400], &[]),
        row(
            "9112 3.2",
            "also in HTTP/1.0",
            Wrapped,
            with("Host: a\r\nHost: a\r\n").replace("HTTP/1.1", "HTTP/1.0"),
            &[400],
            &[],
        ),
        row("9112 3.2", "HTTP/1.0 may have none", Wrapped, with("").replace("HTTP/1.1", "HTTP/1.0"), &[200], &[]),
        row(
            "9112 3.2",
            "nothing is done for a request without",
            Wrapped,
            admin("DELETE WEBHOOK", "", "").replace("Host: a\r\nConnection: close\r\n", "") + LAST,
            &[400],
            &[],
        ),
    ];
    for host in [
        "a b/c",
        "user@a",
        "user:word@a",
        "[::1",
        "::1",
        "[::1]x",
        "[]",
        "a/b",
        "a?b",
        "a#b",
        "a:b",
        "a:80:80",
        ":80",
        "a%zz",
        "a%4",
        "http://a",
        "<a>",
        "a\\b",
        "a,b c",
        "[fe80::1%25eth0]",
        "a\tb",
        "caf\u{e9}",
        "\"a\"",
        "a^b",
        "{a}",
        "a:80 b",
    ] {
        rows.push(row(
            "9112 3.2",
            "an invalid Host is a 400",
            Wrapped,
            with(&format!("Host: {host}\r\n")),
            &[400],
            &[With("invalid_header"), With("connection: close")],
        ));
    }
    for host in [
        "a.example",
        "A_b.internal:8080",
        "127.0.0.1",
        "127.0.0.1:80",
        "[::1]",
        "[2001:db8::1]:8080",
        "%61.example",
        "a:",
        "",
    ] {
        rows.push(row("9112 3.2", "a valid Host is served", Wrapped, with(&format!("Host: {host}\r\n")), &[200], &[]));
    }
    rows
}

/// Section 5: fields.
fn fields() -> Vec<Row> {
    vec![
        row("9112 5.1", "white space before a colon is a 400", Wrapped, get("X : y\r\n"), &[400], &[]),
        row("9112 5.1", "also a tab", Wrapped, get("X\t: y\r\n"), &[400], &[]),
        row("9112 5.1", "a line without a colon is a 400", Wrapped, get("X\r\n"), &[400], &[]),
        row("9112 5.1", "an empty name is a 400", Wrapped, get(": y\r\n"), &[400], &[]),
        row("9112 5.2", "a folded line is a 400", Wrapped, get("X: y\r\n z\r\n"), &[400], &[]),
        row("9112 5.2", "also with a colon", Wrapped, get("X: y\r\n\tz: a\r\n"), &[400], &[]),
    ]
}

/// Section 6: bodies.
fn bodies() -> Vec<Row> {
    let mut rows = vec![
        row(
            "9112 6",
            "a body is where its length says, for any method",
            Set,
            format!("{}{LAST}", OK.replace("\r\n\r\n", "\r\nContent-Length: 5\r\n\r\nGET /")),
            &[200, 200],
            &[],
        ),
        row(
            "9112 6.1",
            "chunked is decoded",
            Library,
            post("Connection: close\r\nTransfer-Encoding: chunked\r\n", "1\r\n{\r\n1\r\n}\r\n0\r\n\r\n"),
            &[422],
            &[],
        ),
        row(
            "9112 6.1",
            "a 204 has no Transfer-Encoding",
            Library,
            admin("DELETE OTHER", "", ""),
            &[204],
            &[Without("transfer-encoding")],
        ),
        row(
            "9112 6.1",
            "nor has a response to HTTP/1.0",
            Library,
            admin("GET /api/v1/export", "", "").replace("HTTP/1.1", "HTTP/1.0"),
            &[200],
            &[Without("transfer-encoding")],
        ),
        row(
            "9112 6.1",
            "Transfer-Encoding in HTTP/1.0 is faulty",
            Library,
            post("Transfer-Encoding: chunked\r\n", "2\r\n{}\r\n0\r\n\r\n").replace("HTTP/1.1", "HTTP/1.0") + LAST,
            &[400],
            &[],
        ),
        row(
            "9112 6.1",
            "a length beside it ends the connection",
            Declined,
            post("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n") + LAST,
            &[400],
            &[With("beside a Transfer-Encoding")],
        ),
        row(
            "9112 6.1",
            "an unknown coding is a 501 (SHOULD)",
            Declined,
            post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n") + LAST,
            &[400],
            &[],
        ),
        row(
            "9112 6.2",
            "a chunked response has no Content-Length",
            Library,
            admin("GET /api/v1/export", "", ""),
            &[200],
            &[With("transfer-encoding: chunked"), Without("content-length"), With("\r\n0\r\n\r\n")],
        ),
        row(
            "9112 6.3",
            "a request without length and coding has no body",
            Library,
            format!("{}{LAST}", post("", "")),
            &[400, 200],
            &[],
        ),
        row(
            "9112 6.3",
            "equal lengths may be read as one (MAY)",
            Declined,
            post("Content-Length: 2, 2\r\n", "{}") + LAST,
            &[400],
            &[],
        ),
    ];
    rows.extend(faulty_framing());
    rows
}

/// Section 6.3: what ends the connection.
fn faulty_framing() -> Vec<Row> {
    let mut rows = Vec::new();
    for coding in
        ["gzip", "chunked, gzip", "identity", "chunked\r\nTransfer-Encoding: chunked", "xchunked", "chunked;x=y", ""]
    {
        rows.push(row(
            "9112 6.3",
            "where chunked is not the coding the response is 400 and the last",
            Wrapped,
            post(&format!("Transfer-Encoding: {coding}\r\n"), "0\r\n\r\n") + LAST,
            &[400],
            &[],
        ));
    }
    for length in ["x", "-1", "+2", "0x2", "2 2", "", "1\r\nContent-Length: 2", "2\r\nContent-Length: 2", "2.0"] {
        rows.push(row(
            "9112 6.3",
            "an invalid Content-Length is 400 and the last",
            Wrapped,
            post(&format!("Content-Length: {length}\r\n"), "{}") + LAST,
            &[400],
            &[],
        ));
    }
    rows
}

/// Section 7: transfer codings.
fn chunks() -> Vec<Row> {
    let chunked = |body: &str| post("Connection: close\r\nTransfer-Encoding: chunked\r\n", body);
    let mut rows = vec![
        row(
            "9112 7",
            "names of codings do not depend on case",
            Library,
            post("Connection: close\r\nTransfer-Encoding: CHUNKED\r\n", "2\r\n{}\r\n0\r\n\r\n"),
            &[422],
            &[],
        ),
        row(
            "9112 7.1",
            "digits do not depend on case",
            Library,
            chunked(&format!("A\r\n{:10}\r\na\r\n{:10}\r\n0\r\n\r\n", "{", "}")),
            &[422],
            &[],
        ),
        row(
            "9112 7.1",
            "a size that no number can hold is rejected",
            Wrapped,
            chunked("FFFFFFFFFFFFFFFFF\r\n{}\r\n0\r\n\r\n"),
            &[400],
            &[],
        ),
        row(
            "9112 7.1",
            "also with its line terminator",
            Wrapped,
            chunked("FFFFFFFFFFFFFFFF\r\n{}\r\n0\r\n\r\n"),
            &[400],
            &[],
        ),
        row(
            "9112 7.1.1",
            "unknown extensions are ignored",
            Library,
            chunked("2;a;b=c;d=\"e;f\"\r\n{}\r\n0;g\r\n\r\n"),
            &[422],
            &[],
        ),
        row("9112 7.1.1", "with white space before them", Library, chunked("2 ; a\r\n{}\r\n0\r\n\r\n"), &[422], &[]),
        row(
            "9112 7.1.2",
            "trailer fields are discarded",
            Library,
            chunked("2\r\n{}\r\n0\r\nX: y\r\nContent-Length: 9\r\n\r\n"),
            &[422],
            &[],
        ),
        row("9112 7.4", "TE is not needed", Library, get("TE: trailers, deflate;q=0.5\r\n"), &[200], &[]),
    ];
    for body in [
        "zz\r\n{}\r\n0\r\n\r\n",
        "2\n{}\r\n0\r\n\r\n",
        "2\r\n{}0\r\n\r\n",
        "2\r\n{}xx0\r\n\r\n",
        "\r\n{}\r\n0\r\n\r\n",
        "-2\r\n{}\r\n",
        "0x2\r\n{}\r\n",
    ] {
        rows.push(row("9112 7.1", "a malformed chunk is a 400", Wrapped, chunked(body), &[400], &[]));
    }
    rows
}

/// Sections 8 and 9: incomplete messages, connections.
fn connections() -> Vec<Row> {
    let pipelined = OK.repeat(2) + &OK.replace("/healthz", "/nowhere") + LAST;
    vec![
        row(
            "9112 8",
            "an incomplete body is not processed",
            Library,
            post(
                "Connection: close\r\nTransfer-Encoding: chunked\r\n",
                "25\r\n{\"name\":\"incomplete\",\"role\":\"ingest\"}\r\nx\r\n",
            ),
            &[400],
            &[],
        ),
        row("9112 9.3", "a connection persists", Library, format!("{OK}{LAST}"), &[200, 200], &[]),
        row(
            "9112 9.3",
            "unless HTTP/1.0 does not ask for it",
            Library,
            OK.replace("HTTP/1.1", "HTTP/1.0") + LAST,
            &[200],
            &[],
        ),
        row(
            "9112 9.3",
            "in HTTP/1.0 it may ask for it",
            Library,
            OK.replace("HTTP/1.1", "HTTP/1.0").replace("\r\n\r\n", "\r\nConnection: keep-alive\r\n\r\n") + LAST,
            &[200, 200],
            &[With("connection: keep-alive")],
        ),
        row(
            "9112 9.3",
            "a body that no one wanted is read, or the connection ends",
            Set,
            post("Content-Length: 30\r\n", "GET /openapi.json HTTP/1.1\r\n\r\n").replace("Bearer TOKEN", "Bearer no")
                + LAST,
            &[401, 200],
            &[],
        ),
        row(
            "9112 9.3.2",
            "responses come in the order of the requests",
            Library,
            pipelined,
            &[200, 200, 404, 200],
            &[],
        ),
        row(
            "9112 9.6",
            "after close no request is processed",
            Library,
            format!("{LAST}{OK}"),
            &[200],
            &[With("connection: close")],
        ),
        row("9112 9.6", "close does not depend on case", Library, get("").replace("close", "Close") + OK, &[200], &[]),
        row(
            "9112 9.6",
            "close among other options",
            Library,
            get("").replace("close", "x, close, y") + OK,
            &[200],
            &[],
        ),
        row(
            "9112 9.6",
            "a server that says close closes",
            Wrapped,
            get("X : y\r\n") + OK,
            &[400],
            &[With("connection: close")],
        ),
    ]
}
