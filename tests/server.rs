//! The server over real TLS on loopback: what it answers, what it bounds, and how it ends.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that fails says where"
)]

#[path = "server/catching_up.rs"]
mod catching_up;
#[path = "support/client.rs"]
mod client;
#[path = "support/running.rs"]
mod running;

use std::time::Duration;

use axum::body::Bytes;
use client::{Client, Protocol, tls};
use hyper::StatusCode;
use llmisvc_webhook::server::Stop;
use llmisvc_webhook::tls::{Authority, Watched};
use running::{
    BOTH, NEVER, PATIENCE, SHORT, answers, good_review, read_to_end, review_of, start, start_on,
    start_with,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_kept_for_many_reviews() {
    let server = start().await;
    for protocol in BOTH {
        let mut client = server.connect(protocol).await;
        for _ in 0..20 {
            answers(&mut client).await;
        }
    }
    assert_eq!(server.metric("llmisvc_webhook_tls_handshake_failures_total").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_of_one_connection_are_all_answered() {
    let server = start().await;
    let client = server.connect(Protocol::Http2).await;
    let mut streams = tokio::task::JoinSet::new();
    // More than may be open at once.
    for _ in 0..300 {
        let mut stream = client.stream().unwrap();
        streams.spawn(async move { answers(&mut stream).await });
    }
    while let Some(answered) = streams.join_next().await {
        answered.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_malformed_is_told_and_the_next_review_served() {
    let server = start().await;
    let edited = |pointer: &str, member: &str, value: Option<Value>| {
        let mut review: Value = serde_json::from_slice(&good_review()).unwrap();
        let parent = review.pointer_mut(pointer).unwrap().as_object_mut().unwrap();
        match value {
            Some(value) => parent.insert(member.to_owned(), value),
            None => parent.remove(member),
        };
        serde_json::to_vec(&review).unwrap()
    };
    let mut truncated = good_review();
    truncated.pop();
    let twice = [good_review(), good_review()].concat();
    let cases = [
        (Vec::new(), "the body is empty"),
        (b"pod".to_vec(), "line 1 column 1"),
        (b"\xff\xfe".to_vec(), "line 1 column 1"),
        (b"null".to_vec(), "the body is null"),
        (b"[]".to_vec(), "the body is an array"),
        (vec![b'['; 1_000_000], "EOF while parsing"),
        (truncated, "EOF while parsing"),
        (twice, "trailing characters"),
        (edited("", "request", None), "request is missing"),
        (edited("/request", "uid", None), "request.uid is missing"),
        (edited("/request", "uid", Some(json!(5))), "request.uid is a number"),
        (edited("", "kind", Some(json!("Pod"))), "kind is \"Pod\""),
        (edited("", "apiVersion", Some(json!("v1"))), "apiVersion is \"v1\""),
    ];
    for protocol in BOTH {
        let mut client = server.connect(protocol).await;
        for (body, told) in &cases {
            for path in ["/mutate", "/validate"] {
                let answered = client.post(path, body.clone()).await.unwrap();
                let text = String::from_utf8(answered.body.to_vec()).unwrap();
                assert_eq!(answered.status, StatusCode::BAD_REQUEST, "{text}");
                assert!(text.contains(told), "{told:?} in {text:?}");
                answers(&mut client).await;
            }
        }
    }
    let counted = r#"llmisvc_webhook_reviews_total{path="validate",decision="malformed"}"#;
    assert_eq!(server.metric(counted).await, 2 * cases.len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_cannot_be_read_and_did_not_opt_in_is_let_through() {
    let server = start().await;
    let good = String::from_utf8(good_review()).unwrap();
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    for (object, odd) in [
        (r#"{"generateName":"web-"}"#, deep.as_str()),
        (r#"{"generateName":"web-"}"#, "[1,\"two\",null]"),
        (r#"{"generateName":"web-"}"#, "1e999"),
        (r#"[{"image":"web:1","name":"web"}]"#, "{\"0\": 7}"),
    ] {
        let body = good.replacen(object, odd, 1);
        let body = if body == good { good.replacen("\"web:1\"", odd, 1) } else { body };
        assert_ne!(body, good);
        for protocol in BOTH {
            let mut client = server.connect(protocol).await;
            let answered = client.post("/mutate", body.clone()).await.unwrap();
            assert_eq!(answered.status, StatusCode::OK, "{odd}");
            let value: Value = serde_json::from_slice(&answered.body).unwrap();
            assert_eq!(value["response"]["uid"], "5f1c");
            assert_eq!(value["response"]["allowed"], true, "{value}");
            answers(&mut client).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_read_up_to_8_mib() {
    let limit = 8 * 1024 * 1024;
    let server = start().await;
    for protocol in BOTH {
        let mut client = server.connect(protocol).await;
        let answered = client.post("/mutate", review_of(limit)).await.unwrap();
        assert_eq!(answered.status, StatusCode::OK);
        for size in [limit + 1, limit + limit / 2] {
            let mut client = server.connect(protocol).await;
            let answered = client.post("/mutate", review_of(size)).await.unwrap();
            assert_eq!(answered.status, StatusCode::PAYLOAD_TOO_LARGE);
        }
        server.serves().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_says_to_be_too_large_is_refused_unread() {
    let server = start().await;
    let mut stream = tls(server.address, &server.ca, Protocol::Http1).await.unwrap();
    stream
        .write_all(
            b"POST /mutate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
              Content-Length: 8388609\r\n\r\n",
        )
        .await
        .unwrap();
    let mut start = [0; 12];
    timeout(PATIENCE, stream.read_exact(&mut start)).await.unwrap().unwrap();
    assert_eq!(&start, b"HTTP/1.1 413");
    server.serves().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_without_a_length_is_bounded_too() {
    let server = start_with(|limits| limits.body_bytes = 1000).await;
    for (size, status) in [(1000, "HTTP/1.1 400"), (1001, "HTTP/1.1 413")] {
        let mut stream = tls(server.address, &server.ca, Protocol::Http1).await.unwrap();
        let head = "POST /mutate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                    Transfer-Encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        for _ in 0..size {
            stream.write_all(b"1\r\n \r\n").await.unwrap();
        }
        stream.write_all(b"0\r\n\r\n").await.unwrap();
        stream.flush().await.unwrap();
        let mut start = [0; 12];
        timeout(PATIENCE, stream.read_exact(&mut start)).await.unwrap().unwrap();
        assert_eq!(String::from_utf8_lossy(&start), status);
    }
    server.serves().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_types_methods_and_paths_are_refused() {
    let server = start().await;
    let json = Some("application/json");
    for protocol in BOTH {
        let mut client = server.connect(protocol).await;
        for (method, path, content_type, status) in [
            ("POST", "/mutate", None, StatusCode::UNSUPPORTED_MEDIA_TYPE),
            ("POST", "/mutate", Some("text/plain"), StatusCode::UNSUPPORTED_MEDIA_TYPE),
            ("POST", "/mutate", Some("application/json; charset=utf-8"), StatusCode::OK),
            ("GET", "/mutate", None, StatusCode::METHOD_NOT_ALLOWED),
            ("PUT", "/mutate", json, StatusCode::METHOD_NOT_ALLOWED),
            ("DELETE", "/validate", json, StatusCode::METHOD_NOT_ALLOWED),
            ("POST", "/healthz", json, StatusCode::METHOD_NOT_ALLOWED),
            ("POST", "/", json, StatusCode::NOT_FOUND),
            ("GET", "/metrics", None, StatusCode::NOT_FOUND),
            ("POST", "/mutate/", json, StatusCode::NOT_FOUND),
        ] {
            let body = Bytes::from(good_review());
            let answered = client.send(method, path, content_type, body).await.unwrap();
            assert_eq!(answered.status, status, "{method} {path}");
            answers(&mut client).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_keeps_its_connection_is_told_of_the_end() {
    let mut server = start_with(|limits| limits.drain_delay = NEVER).await;
    let mut kept = server.connect(Protocol::Http1).await;
    answers(&mut kept).await;
    server.stop(Stop::Gradually);
    let told = async {
        loop {
            let answered = kept.post("/mutate", good_review()).await.unwrap();
            assert_eq!(answered.status, StatusCode::OK);
            if let Some(connection) = answered.headers.get("connection") {
                break assert_eq!(connection, "close");
            }
        }
    };
    timeout(PATIENCE, told).await.expect("told");
    // Whoever has not heard of it yet is served.
    server.serves().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_metrics_are_where_they_should_be() {
    let mut server = start_with(|limits| limits.drain_delay = NEVER).await;
    let mut reviews = server.connect(Protocol::Http2).await;
    let mut metrics = Client::plain(server.metrics).await.unwrap();
    answers(&mut reviews).await;
    for client in [&mut reviews, &mut metrics] {
        for path in ["/healthz", "/readyz"] {
            assert_eq!(client.get(path).await.unwrap().status, StatusCode::OK);
        }
    }
    let refused = metrics.post("/mutate", good_review()).await.unwrap();
    assert_eq!(refused.status, StatusCode::NOT_FOUND);

    let scraped = metrics.get("/metrics").await.unwrap();
    assert!(scraped.headers["content-type"].to_str().unwrap().contains("openmetrics"));
    let text = server.scrape().await;
    for line in [
        r#"llmisvc_webhook_reviews_total{path="mutate",decision="not-opted-in"} 1"#,
        r#"llmisvc_webhook_review_duration_seconds_count{path="mutate"} 1"#,
        "llmisvc_webhook_reviews_in_flight 0",
        "# EOF",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }

    // Told to end, it says so first, and goes on serving meanwhile.
    server.stop(Stop::Gradually);
    let unready = async {
        while metrics.get("/readyz").await.unwrap().status != StatusCode::SERVICE_UNAVAILABLE {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, unready).await.unwrap();
    assert_eq!(reviews.get("/readyz").await.unwrap().status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(reviews.get("/healthz").await.unwrap().status, StatusCode::OK);
    server.serves().await;
    server.task.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_defect_is_answered_and_ends_nothing() {
    let server = start().await;
    for protocol in BOTH {
        let mut client = server.connect(protocol).await;
        let answered = client.post("/mutate", "panic").await.unwrap();
        assert_eq!(answered.status, StatusCode::BAD_REQUEST);
        answers(&mut client).await;
    }
    assert_eq!(server.metric("llmisvc_webhook_reviews_in_flight").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_tls_is_closed() {
    let server = start().await;
    let garbage: Vec<u8> = (0..4096_u32).map(|i| (i * 7 % 251) as u8).collect();
    for sent in [b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), garbage] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(&sent).await.unwrap();
        read_to_end(&mut stream).await;
        server.serves().await;
    }
    // Cut off inside of a record.
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"\x16\x03\x01\x02\x00\x01").await.unwrap();
    drop(stream);
    server.eventually("llmisvc_webhook_tls_handshake_failures_total", 3).await;
    server.serves().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_cut_off_ends_its_request_alone() {
    let server = start().await;
    let mut stream = tls(server.address, &server.ca, Protocol::Http1).await.unwrap();
    stream
        .write_all(
            b"POST /mutate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
              Content-Length: 100\r\n\r\n{\"apiVersion\"",
        )
        .await
        .unwrap();
    server.eventually("llmisvc_webhook_reviews_in_flight", 1).await;
    drop(stream);
    server.serves().await;
    let ended = async {
        while server.metric("llmisvc_webhook_reviews_in_flight").await != 0 {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, ended).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_handshake_ends() {
    let server = start_with(|limits| limits.handshake = SHORT).await;
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    read_to_end(&mut silent).await;
    server.eventually("llmisvc_webhook_tls_handshake_failures_total", 1).await;
    server.serves().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_head_ends() {
    let server = start_with(|limits| limits.head = SHORT).await;
    let stream = tls(server.address, &server.ca, Protocol::Http1).await.unwrap();
    let (mut reading, mut writing) = tokio::io::split(stream);
    // A line from time to time, as slowloris sends them.
    let sending = tokio::spawn(async move {
        let _ = writing.write_all(b"POST /mutate HTTP/1.1\r\n").await;
        while writing.write_all(b"X-More: 1\r\n").await.is_ok() && writing.flush().await.is_ok() {
            sleep(Duration::from_millis(100)).await;
        }
    });
    assert_eq!(read_to_end(&mut reading).await, "");
    sending.abort();
    server.serves().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_body_ends() {
    let server = start_with(|limits| limits.body = SHORT).await;
    let mut stream = tls(server.address, &server.ca, Protocol::Http1).await.unwrap();
    stream
        .write_all(
            b"POST /mutate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
              Content-Length: 100\r\n\r\n{",
        )
        .await
        .unwrap();
    let answered = read_to_end(&mut stream).await;
    assert!(answered.starts_with("HTTP/1.1 408"), "{answered}");
    server.serves().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_is_kept_while_a_body_is_slow() {
    let server = start().await;
    let mut stream = tls(server.address, &server.ca, Protocol::Http1).await.unwrap();
    stream
        .write_all(
            b"POST /mutate?timeout=300ms HTTP/1.1\r\nHost: localhost\r\n\
              Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
        )
        .await
        .unwrap();
    let mut start = [0; 12];
    timeout(PATIENCE, stream.read_exact(&mut start)).await.unwrap().unwrap();
    assert_eq!(&start, b"HTTP/1.1 504");
    server.serves().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_deadline_is_kept_while_other_reviews_take_all_the_room() {
    let server = start_with(|limits| limits.reviews = 1).await;
    let mut first = server.connect(Protocol::Http1).await;
    let waiting = tokio::spawn(async move { first.post("/mutate", "wait").await });
    server.eventually("llmisvc_webhook_reviews_in_flight", 1).await;

    let mut second = server.connect(Protocol::Http2).await;
    let answered = second.post("/mutate?timeout=300ms", good_review()).await.unwrap();
    // The first may not have got its place yet when the second came; then it came first.
    assert!([StatusCode::GATEWAY_TIMEOUT, StatusCode::OK].contains(&answered.status));
    if answered.status == StatusCode::OK {
        let answered = second.post("/mutate?timeout=300ms", good_review()).await.unwrap();
        assert_eq!(answered.status, StatusCode::GATEWAY_TIMEOUT);
    }
    server.gate.open();
    assert_eq!(waiting.await.unwrap().unwrap().status, StatusCode::OK);
    server.serves().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_connection_ends() {
    let server = start_with(|limits| limits.idle = SHORT).await;
    for protocol in BOTH {
        let mut client = server.connect(protocol).await;
        answers(&mut client).await;
        let closed = async {
            while !client.is_closed() {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, closed).await.unwrap();
    }
    // One that never sent anything after its handshake.
    let mut silent = tls(server.address, &server.ca, Protocol::Http2).await.unwrap();
    read_to_end(&mut silent).await;
    server.serves().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_give_way_when_all_places_are_taken() {
    let server = start_with(|limits| limits.connections = 2).await;
    let mut kept = Vec::new();
    for protocol in BOTH {
        let mut client = server.connect(protocol).await;
        answers(&mut client).await;
        kept.push(client);
    }
    timeout(PATIENCE, server.serves()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_connection_too_many_is_closed() {
    let server = start_with(|limits| {
        limits.connections = 1;
        limits.connection_wait = Duration::from_millis(50);
    })
    .await;
    let mut first = server.connect(Protocol::Http1).await;
    let waiting = tokio::spawn(async move { first.post("/mutate", "wait").await });
    server.eventually("llmisvc_webhook_reviews_in_flight", 1).await;
    let mut second = TcpStream::connect(server.address).await.unwrap();
    assert_eq!(read_to_end(&mut second).await, "");
    server.eventually("llmisvc_webhook_rejected_connections_total", 1).await;
    server.gate.open();
    assert_eq!(waiting.await.unwrap().unwrap().status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_end_waits_for_what_is_under_way() {
    for protocol in BOTH {
        let mut server = start().await;
        let mut idle = server.connect(Protocol::Http2).await;
        answers(&mut idle).await;
        let mut client = server.connect(protocol).await;
        let waiting = tokio::spawn(async move { client.post("/mutate", "wait").await });
        server.eventually("llmisvc_webhook_reviews_in_flight", 1).await;
        server.stop(Stop::Now);
        let refused = async {
            while TcpStream::connect(server.address).await.is_ok() {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, refused).await.unwrap();
        // Still there for whoever watches the end.
        assert_eq!(server.metric("llmisvc_webhook_reviews_in_flight").await, 1);
        server.gate.open();
        assert_eq!(waiting.await.unwrap().unwrap().status, StatusCode::OK);
        server.ends().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_does_not_wait_forever() {
    let mut server = start_with(|limits| limits.drain = Duration::from_millis(100)).await;
    let mut stream = tls(server.address, &server.ca, Protocol::Http1).await.unwrap();
    stream
        .write_all(
            b"POST /mutate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
              Content-Length: 100\r\n\r\n{",
        )
        .await
        .unwrap();
    server.eventually("llmisvc_webhook_reviews_in_flight", 1).await;
    server.stop(Stop::Now);
    server.ends().await;
    read_to_end(&mut stream).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_taken_up_while_it_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let write = |authority: &Authority| {
        let issued = authority.issue(&["localhost".to_owned()], 1).unwrap();
        std::fs::write(folder.path().join("tls.key"), &issued.key).unwrap();
        std::fs::write(folder.path().join("tls.crt"), &issued.chain).unwrap();
    };
    let (one, other) = (Authority::generate(1).unwrap(), Authority::generate(1).unwrap());
    write(&one);
    let watched = Watched::open(folder.path()).unwrap();
    let server = start_on(&watched.certificates(), one.pem(), |_| ()).await;
    tokio::spawn(watched.keep_up(Duration::from_millis(20)));
    let mut kept = server.connect(Protocol::Http1).await;
    answers(&mut kept).await;
    assert!(Client::connect(server.address, &other.pem(), Protocol::Http1).await.is_err());

    write(&other);
    let taken = async {
        while Client::connect(server.address, &other.pem(), Protocol::Http1).await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, taken).await.unwrap();
    assert!(Client::connect(server.address, &one.pem(), Protocol::Http1).await.is_err());

    // A broken pair is seen, and not served.
    std::fs::write(folder.path().join("tls.key"), "nothing").unwrap();
    sleep(Duration::from_millis(200)).await;
    std::fs::remove_file(folder.path().join("tls.crt")).unwrap();
    sleep(Duration::from_millis(200)).await;
    let mut client = Client::connect(server.address, &other.pem(), Protocol::Http2).await.unwrap();
    answers(&mut client).await;
    // A connection from before goes on.
    answers(&mut kept).await;
}
