use std::net::SocketAddr;
use std::time::Duration;

use http::{Method, Request};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::*;
use crate::proxy::upstream::egress::no_tls;

mod http2;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";

/// What the server does with one connection: what it says to each request, byte by byte where `slow`.
#[derive(Clone)]
struct Script {
    says: Vec<String>,
    slow: bool,
    /// Closes behind the last of it; else it waits for more requests than it has answers for.
    closes: bool,
}

fn says(answers: &[&str]) -> Script {
    Script { says: answers.iter().map(|text| (*text).to_owned()).collect(), slow: false, closes: false }
}

/// A server that does this with each connection after the other, and tells each request's head.
async fn serve(scripts: Vec<Script>) -> (SocketAddr, mpsc::UnboundedReceiver<(usize, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    #[expect(clippy::disallowed_methods, reason = "as many messages as the test makes requests")]
    let (heard, requests) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        for (at, script) in scripts.into_iter().enumerate() {
            let (stream, _) = listener.accept().await.unwrap();
            let heard = heard.clone();
            tokio::spawn(async move {
                play(stream, script, |request| drop(heard.send((at, request)))).await;
            });
        }
        std::future::pending::<()>().await;
    });
    (address, requests)
}

async fn play(mut stream: TcpStream, script: Script, mut heard: impl FnMut(String)) {
    stream.set_nodelay(true).unwrap();
    for answer in script.says {
        let Some(request) = hear(&mut stream).await else { return };
        heard(request);
        if !script.slow {
            stream.write_all(answer.as_bytes()).await.unwrap();
            continue;
        }
        for byte in answer.as_bytes() {
            // Whoever refuses it half-way is not there for the rest.
            if stream.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
    }
    if !script.closes {
        while hear(&mut stream).await.is_some() {}
    }
}

/// One request: its head and its body.
async fn hear(stream: &mut TcpStream) -> Option<String> {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        text.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(text).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).await.ok()?;
    Some(head + std::str::from_utf8(&body).unwrap())
}

fn pool(idle_max: usize) -> Pool {
    Pool::new(Dialer::new(no_tls().unwrap(), true, Duration::from_secs(2), true), idle_max)
}

fn post(address: SocketAddr, body: impl Into<Bytes>) -> Request<Bytes> {
    Request::post(format!("http://{address}/mcp?x=1")).header("accept", "*/*").body(body.into()).unwrap()
}

/// Status and whole body, or what went wrong.
async fn ask(pool: &Pool, request: Request<Bytes>) -> Result<(u16, String), String> {
    let mut handed = false;
    let answer = pool.request(request, &mut handed).await.map_err(|why| why.to_string())?;
    assert!(handed, "it was answered");
    let body = answer.body.collect().await.map_err(|why| why.to_string())?.to_bytes();
    Ok((answer.status.as_u16(), String::from_utf8(body.to_vec()).unwrap()))
}

/// One answer, whole and in single bytes; whether the connection is used again is checked with a second
/// request, which the same connection or another one answers.
async fn check(answer: &str, closes: bool, expect: Result<(u16, &str), &str>, again: bool) {
    for slow in [false, true] {
        let first = Script { slow, closes, ..says(&[answer, OK]) };
        let first = if closes { Script { says: vec![answer.to_owned()], ..first } } else { first };
        let (address, mut requests) = serve(vec![first, says(&[OK])]).await;
        let pool = pool(8);
        let got = ask(&pool, post(address, "{}")).await;
        let expect = expect.map(|(status, body)| (status, body.to_owned())).map_err(str::to_owned);
        assert_eq!(got, expect, "{answer:?}, slow: {slow}");
        assert_eq!(ask(&pool, post(address, "{}")).await, Ok((200, "{}".to_owned())), "{answer:?}");
        assert_eq!(requests.recv().await.unwrap().0, 0);
        assert_eq!(requests.recv().await.unwrap().0, usize::from(!again), "{answer:?}, slow: {slow}");
    }
}

#[tokio::test]
async fn an_answer_ends_where_its_framing_says_and_its_connection_is_used_again() {
    check(OK, false, Ok((200, "{}")), true).await;
    for (head, body, text) in [
        ("200 OK\r\ncontent-length: 0", "", ""),
        ("200 OK\r\nContent-Length: 5\r\ncontent-length: 5", "hello", "hello"),
        ("200 \r\nTransfer-Encoding: Chunked", "5\r\nhello\r\n1;a\r\n!\r\n0\r\nx: y\r\n\r\n", "hello!"),
        ("204 No Content", "", ""),
        ("304 Not Modified\r\ncontent-length: 70", "", ""),
        ("404 Not Found\r\ncontent-length: 2\r\nconnection: keep-alive", "no", "no"),
    ] {
        let status = head.get(..3).unwrap().parse().unwrap();
        check(&format!("HTTP/1.1 {head}\r\n\r\n{body}"), false, Ok((status, text)), true).await;
    }
    let interim = format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n{OK}");
    check(&interim, false, Ok((200, "{}")), true).await;
}

#[tokio::test]
async fn a_connection_that_ends_with_its_answer_is_not_used_again() {
    for head in
        ["HTTP/1.1 200 OK\r\nconnection: Close\r\ncontent-length: 2", "HTTP/1.0 200 OK\r\ncontent-length: 2"]
    {
        check(&format!("{head}\r\n\r\n{{}}"), false, Ok((200, "{}")), false).await;
    }
    check("HTTP/1.1 200 OK\r\n\r\nto the end", true, Ok((200, "to the end")), false).await;
    check("HTTP/1.0 200 OK\r\n\r\n", true, Ok((200, "")), false).await;
}

#[tokio::test]
async fn an_answer_that_can_be_read_in_two_ways_is_refused() {
    let unclear = Err("the length of its answer is not clear");
    for framing in [
        "content-length: 2\r\ntransfer-encoding: chunked",
        "content-length: 2\r\ncontent-length: 3",
        "content-length: 2, 2",
        "content-length: +2",
        "content-length: -2",
        "content-length: 0x2",
        "content-length: ",
        "content-length: 18446744073709551616",
        "transfer-encoding: gzip, chunked",
        "transfer-encoding: identity",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
    ] {
        check(&format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n{{}}"), false, unclear, false).await;
    }
    check("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", false, unclear, false).await;
}

#[tokio::test]
async fn what_is_no_answer_is_refused() {
    let no_http = Err("its answer is no HTTP/1.1");
    for answer in [
        "SSH-2.0-x\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\na b: c\r\n\r\n",
    ] {
        check(answer, false, no_http, false).await;
    }
    check(
        "HTTP/1.1 101 Switching Protocols\r\n\r\n",
        false,
        Err("it answers without an answer (HTTP 1xx)"),
        false,
    )
    .await;
    check(
        &"HTTP/1.1 100 Continue\r\n\r\n".repeat(101),
        false,
        Err("it answers without an answer (HTTP 1xx)"),
        false,
    )
    .await;
    let large = Err("the head of its answer is larger than is read");
    let many = "x: y\r\n".repeat(101);
    check(&format!("HTTP/1.1 200 OK\r\n{many}\r\n"), false, large, false).await;
    let long = "y".repeat(70_000);
    check(&format!("HTTP/1.1 200 OK\r\nx: {long}\r\n\r\n"), false, large, false).await;
}

#[tokio::test]
async fn an_answer_that_is_cut_is_never_whole() {
    let silent = Err("it closed the connection before it answered");
    for cut in ["", "HTTP/1.1 200 OK\r\ncontent-len"] {
        check(cut, true, silent, false).await;
    }
    let short = Err("it closed the connection before its answer was whole");
    for cut in [
        "content-length: 3\r\n\r\n{}",
        "transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n",
        "transfer-encoding: chunked\r\n\r\n2\r\n{",
    ] {
        check(&format!("HTTP/1.1 200 OK\r\n{cut}"), true, short, false).await;
    }
    check(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n-1\r\n",
        false,
        Err("a chunk of its body has no size"),
        false,
    )
    .await;
}

#[tokio::test]
async fn a_connection_on_which_something_lies_behind_the_answer_is_not_used_again() {
    let (address, mut requests) = serve(vec![says(&[&format!("{OK}{OK}")]), says(&[OK])]).await;
    let pool = pool(8);
    for at in 0..2 {
        assert_eq!(ask(&pool, post(address, "{}")).await, Ok((200, "{}".to_owned())));
        assert_eq!(requests.recv().await.unwrap().0, at);
    }
}

#[tokio::test]
async fn a_connection_that_speaks_while_it_lies_idle_is_passed_over() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (spoken, mut has_spoken) = tokio::sync::watch::channel(false);
    tokio::spawn(async move {
        let (mut first, _) = listener.accept().await.unwrap();
        hear(&mut first).await.unwrap();
        first.write_all(OK.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        first.write_all(b"HTTP/1.1 408 Request Timeout\r\n\r\n").await.unwrap();
        spoken.send(true).unwrap();
        play(listener.accept().await.unwrap().0, says(&[OK]), drop).await;
    });
    let pool = pool(8);
    assert_eq!(ask(&pool, post(address, "{}")).await, Ok((200, "{}".to_owned())));
    has_spoken.wait_for(|spoken| *spoken).await.unwrap();
    // The runtime has to hear of it before it can be seen.
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(ask(&pool, post(address, "{}")).await, Ok((200, "{}".to_owned())));
}

#[tokio::test]
async fn a_connection_that_was_closed_while_it_lay_idle_is_passed_over() {
    let closing = Script { closes: true, ..says(&[OK]) };
    let (address, mut requests) = serve(vec![closing.clone(), closing, says(&[OK])]).await;
    let pool = pool(8);
    for at in 0..3 {
        assert_eq!(ask(&pool, post(address, "{}")).await, Ok((200, "{}".to_owned())));
        assert_eq!(requests.recv().await.unwrap().0, at);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_connection_that_was_closed_since_the_runtime_last_looked_is_passed_over() {
    use std::io::{Read as _, Write as _};

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (close, may_close) = std::sync::mpsc::sync_channel(1);
    let (closes, closed) = std::sync::mpsc::sync_channel(1);
    std::thread::spawn(move || {
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().unwrap();
            assert!(stream.read(&mut [0; 1_024]).unwrap() > 0);
            stream.write_all(OK.as_bytes()).unwrap();
            may_close.recv().unwrap();
            drop(stream);
            closes.send(()).unwrap();
        }
    });
    let pool = pool(8);
    for _ in 0..2 {
        assert_eq!(ask(&pool, post(address, "{}")).await, Ok((200, "{}".to_owned())));
        // This thread's runtime looks at no socket meanwhile.
        close.send(()).unwrap();
        closed.recv().unwrap();
    }
}

#[tokio::test]
async fn a_request_is_written_with_one_length_and_its_own_headers() {
    let (address, mut requests) = serve(vec![says(&[OK, OK, OK, OK])]).await;
    let pool = pool(8);
    let large = "x".repeat(1 << 20);
    let sent = [post(address, "{}"), post(address, ""), post(address, large.clone())];
    for request in sent {
        assert_eq!(ask(&pool, request).await, Ok((200, "{}".to_owned())));
    }
    let mut named = Request::new(Bytes::new());
    *named.method_mut() = Method::DELETE;
    *named.uri_mut() = format!("http://{address}").parse().unwrap();
    named.headers_mut().insert("host", HeaderValue::from_static("mcp.example"));
    assert_eq!(ask(&pool, named).await, Ok((200, "{}".to_owned())));
    let head = format!("POST /mcp?x=1 HTTP/1.1\r\nhost: {address}\r\naccept: */*\r\ncontent-length: ");
    assert_eq!(requests.recv().await.unwrap(), (0, format!("{head}2\r\n\r\n{{}}")));
    assert_eq!(requests.recv().await.unwrap(), (0, format!("{head}0\r\n\r\n")));
    assert_eq!(requests.recv().await.unwrap(), (0, format!("{head}1048576\r\n\r\n{large}")));
    assert_eq!(
        requests.recv().await.unwrap(),
        (0, "DELETE / HTTP/1.1\r\nhost: mcp.example\r\n\r\n".to_owned())
    );
}

#[tokio::test]
async fn an_answer_before_the_request_is_written_is_the_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let refusal = "HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n";
    tokio::spawn(async move {
        for answer in [refusal, OK] {
            let (mut stream, _) = listener.accept().await.unwrap();
            // Not a byte is read of the first one.
            stream.write_all(answer.as_bytes()).await.unwrap();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_secs(5)).await;
                drop(stream);
            });
        }
    });
    let pool = pool(8);
    let got = ask(&pool, post(address, vec![b' '; 64 << 20])).await;
    assert_eq!(got, Ok((413, String::new())));
    // Half of a request still lies on that connection.
    assert_eq!(ask(&pool, post(address, "{}")).await, Ok((200, "{}".to_owned())));
}

#[tokio::test]
async fn a_server_that_begins_its_answer_first_still_gets_the_whole_request() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let large = vec![b' '; 16 << 20];
    let length = large.len();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n").await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        let heard = hear(&mut stream).await.unwrap();
        assert_eq!(heard.split_once("\r\n\r\n").unwrap().1.len(), length);
        stream.write_all(b"{}").await.unwrap();
        play(stream, says(&[OK]), drop).await;
    });
    let pool = pool(8);
    assert_eq!(ask(&pool, post(address, large)).await, Ok((200, "{}".to_owned())));
    assert_eq!(ask(&pool, post(address, "{}")).await, Ok((200, "{}".to_owned())));
}

#[tokio::test]
async fn an_empty_body_that_nobody_reads_costs_no_connection() {
    let accepted = "HTTP/1.1 202 Accepted\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    let (address, mut requests) = serve(vec![says(&[accepted, OK]), says(&[OK])]).await;
    let pool = pool(8);
    drop(pool.request(post(address, "{}"), &mut false).await.unwrap());
    assert_eq!(ask(&pool, post(address, "{}")).await, Ok((200, "{}".to_owned())));
    assert_eq!([requests.recv().await.unwrap().0, requests.recv().await.unwrap().0], [0, 0]);
}

#[tokio::test]
async fn a_url_with_a_query_and_no_path_is_asked_at_its_root() {
    let (address, mut requests) = serve(vec![says(&[OK])]).await;
    let request = Request::get(format!("http://{address}?key=1")).body(Bytes::new()).unwrap();
    assert!(ask(&pool(1), request).await.is_ok());
    let head = format!("GET /?key=1 HTTP/1.1\r\nhost: {address}\r\n\r\n");
    assert_eq!(requests.recv().await.unwrap(), (0, head));
}

#[tokio::test]
async fn it_is_said_whether_a_request_may_have_arrived() {
    let pool = pool(8);
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut handed = false;
    let failed = pool.request(post(nobody, "{}"), &mut handed).await;
    assert!(matches!(failed, Err(NoAnswer::Dial(_))) && !handed);
    let (address, _requests) = serve(vec![Script { closes: true, ..says(&[""]) }]).await;
    let failed = pool.request(post(address, "{}"), &mut handed).await;
    assert!(matches!(failed, Err(NoAnswer::Broken(_))) && handed);
    // Also where nobody waits for the answer.
    let (address, _requests) = serve(vec![says(&[""])]).await;
    let mut handed = false;
    let waited =
        tokio::time::timeout(Duration::from_millis(100), pool.request(post(address, "{}"), &mut handed));
    assert!(waited.await.is_err() && handed);
}

#[tokio::test]
async fn a_body_that_is_dropped_closes_its_connection_and_one_that_is_not_read_waits() {
    let long = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", 64 << 20);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        hear(&mut stream).await.unwrap();
        stream.write_all(long.as_bytes()).await.unwrap();
        let mut written = 0;
        while let Ok(n) = stream.write(&[b'x'; 64 << 10]).await {
            written += n;
        }
        written
    });
    let pool = pool(8);
    let answer = pool.request(post(address, "{}"), &mut false).await.unwrap();
    assert_eq!(answer.body.size_hint().exact(), Some(64 << 20));
    tokio::time::sleep(Duration::from_millis(200)).await;
    drop(answer);
    let written = server.await.unwrap();
    assert!(written < 32 << 20, "{written} bytes were taken of a body that nobody read");
    assert!(pool.idle.take().is_none());
}

#[tokio::test]
async fn no_more_idle_connections_are_kept_than_asked_for() {
    let (address, _requests) = serve(vec![says(&[OK]); 4]).await;
    let pool = pool(2);
    let asked = futures_util::future::join_all((0..4).map(|_| ask(&pool, post(address, "{}")))).await;
    assert!(asked.iter().all(Result::is_ok), "{asked:?}");
    let kept: Vec<_> = std::iter::from_fn(|| pool.idle.take()).collect();
    assert!((1..=2).contains(&kept.len()), "{} are kept", kept.len());
}

#[tokio::test]
async fn an_idle_connection_is_closed_in_time() {
    let (address, _requests) = serve(vec![says(&[OK])]).await;
    let pool = pool(2);
    assert!(ask(&pool, post(address, "{}")).await.is_ok());
    let kept = format!("{pool:?}");
    assert!(kept.contains("Idle(1 of 2)"), "{kept}");
    tokio::time::pause();
    tokio::time::sleep(Duration::from_secs(50)).await;
    assert!(format!("{pool:?}").contains("Idle(1 of 2)"));
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(format!("{pool:?}").contains("Idle(0 of 2)"), "{pool:?}");
}
