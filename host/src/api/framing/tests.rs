use super::*;

/// The state after these bytes; must be the same for every split into reads.
fn after(text: &str) -> Option<Expect> {
    let pass = |size: usize| {
        let mut framing = Framing::new();
        let mut sound = Vec::new();
        let passed = text.as_bytes().chunks(size).try_for_each(|bytes| framing.follow(bytes, &mut sound).1);
        passed.ok().map(|()| framing.expect)
    };
    let whole = pass(text.len());
    assert_eq!(whole, pass(1), "{text:?}");
    assert_eq!(whole, pass(7), "{text:?}");
    whole
}

/// What hyper gets of a stream until it ends or no more comes, and the fault.
async fn passed(stream: &[u8]) -> (Vec<u8>, Option<Fault>) {
    use tokio::io::AsyncReadExt as _;

    let fault = FaultSlot::default();
    let (mut strict, mut passed) = (Strict::new(stream, Arc::clone(&fault)), Vec::new());
    tokio::select! {
        biased;
        read = strict.read_to_end(&mut passed) => drop(read.expect("bytes")),
        () = std::future::ready(()) => {}
    }
    (passed, fault.get().copied())
}

/// Found by fuzzing: the substitute stood in place of the last bytes of the body.
#[tokio::test]
async fn a_body_before_a_faulty_head_stays_as_it_is() {
    let body = "POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\n{}\r\n";
    let (passed, fault) = passed(format!("{body}GET / HTTP/1.1\nHost: a\n\n").as_bytes()).await;
    assert_eq!(passed, [body.as_bytes(), STAND_IN].concat());
    assert!(matches!(fault, Some(Fault::Head(_))), "{fault:?}");
}

#[tokio::test]
async fn nothing_of_a_faulty_head_or_chunk_is_passed_on() {
    let (got, fault) = passed(b"\r\nGET / HTTP/1.1\r\nHost : a\r\n\r\nGET / HTTP/1.1\r\n\r\n").await;
    assert_eq!((got.as_slice(), fault.is_some()), (STAND_IN, true));
    let head = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n";
    let (got, fault) = passed(format!("{head}zz\r\n").as_bytes()).await;
    assert_eq!((got, fault), ([head.as_bytes(), POISON].concat(), Some(Fault::Chunk)));
    assert_eq!(passed(b"GET / HTTP/1.1\r\nHo").await, (Vec::new(), None));
}

#[test]
fn unambiguous_requests_pass() {
    for (text, expected) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Expect::Head),
        ("\r\nGET / HTTP/1.1\r\n\r\n", Expect::Head),
        ("POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nab", Expect::Body(3)),
        ("POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nabGET / HTTP/1.1\r\nHo", Expect::Head),
        ("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n\n\n\nGET", Expect::Head),
        ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\na\nb\r\n", Expect::ChunkSize),
        ("POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n1\r\na\r\n0\r\n", Expect::Trailers),
        ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\n\r\nGET", Expect::Head),
        ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nA\r\nab", Expect::Chunk(10)),
    ] {
        assert_eq!(after(text), Some(expected), "{text:?}");
    }
}

#[test]
fn ambiguous_requests_are_rejected() {
    for text in [
        "GET / HTTP/1.1\nHost: a\n\n",
        "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET / HTTP/1.1\r\nno colon\r\n\r\n",
        "GET / HTTP/1.1\r\nX: a\rb\r\n\r\n",
        "GET /\r HTTP/1.1\r\nX: a\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\n",
        "GET / HTTP/1.2\r\n\r\n",
        "GET / http/1.1\r\n\r\n",
        "GET /\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 1, 1\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nabGET / HTTP/1.1\nHost: a\n\n",
    ] {
        assert_eq!(after(text), None, "{text:?}");
    }
}

#[test]
fn hyper_serves_nothing_that_the_framing_has_not_seen() {
    let sound = "POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nab";
    for text in [
        "GET /a HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /a HTTP/1.1\nHost: a\n\n",
        "GET /a HTTP/1.1\r\nHost : a\r\n\r\n",
        "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2;x\r\nab\r\n0\r\nX: y\r\n\r\n",
        "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabxx0\r\n\r\n",
        "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\nab\n0\n\n",
        "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        "CONNECT a:80 HTTP/1.1\r\n\r\n",
        "GET /.faulty-request-head HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        let stream = format!("{sound}{text}{sound}{text}{sound}");
        for read_bytes in [1, 7, 60, 4096] {
            fuzzing::check(stream.as_bytes(), read_bytes);
        }
    }
}

#[test]
fn what_is_sound_stays_where_it_was_read() {
    let post = "POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nab";
    let chunked = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (reads, in_place, gathered) in [
        (vec![post], post.len(), ""),
        (vec![post, post], 2 * post.len(), ""),
        // The body comes later, and so does the rest of a head.
        (vec![&post[..post.len() - 1], &post[post.len() - 1..]], post.len(), ""),
        (vec![&post[..10], &post[10..]], 0, post),
        (vec!["\r\n", post], post.len(), ""),
        (vec![chunked, "2\r\n", "ab\r\n0\r\n\r\n"], chunked.len() + 4, "2\r\n0\r\n\r\n"),
    ] {
        let (mut framing, mut sound, mut passed) = (Framing::new(), Vec::new(), 0);
        for read in &reads {
            let (here, rest) = framing.follow(read.as_bytes(), &mut sound);
            rest.expect("sound");
            passed += here;
        }
        assert_eq!((passed, sound.as_slice()), (in_place, gathered.as_bytes()), "{reads:?}");
        assert_eq!(framing.expect, Expect::Head, "{reads:?}");
    }
}

#[test]
fn a_head_has_a_limit_of_its_own() {
    let pass = |text: String| Framing::new().follow(text.as_bytes(), &mut Vec::new()).1;
    let head = |bytes: usize| {
        let frame = "GET / HTTP/1.1\r\nX: \r\n\r\n".len();
        format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(bytes - frame))
    };
    assert_eq!(pass(head(MAX_HEAD_BYTES)), Ok(()));
    assert_eq!(pass(head(MAX_HEAD_BYTES + 1)), Err(Fault::LongHead));
    assert_eq!(pass(format!("GET /{}", "a".repeat(MAX_HEAD_BYTES - 5))), Ok(()));
    assert_eq!(pass(format!("GET /{}", "a".repeat(MAX_HEAD_BYTES - 4))), Err(Fault::LongTarget));
}
