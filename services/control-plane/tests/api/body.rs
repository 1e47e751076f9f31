//! Bodies that are none, or never end.

use std::time::{Duration, Instant};

use reqwest::Method;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::harness::{TOKEN, WEBHOOK, basic, read, refused, start};

#[tokio::test]
async fn what_is_no_form_is_explained() {
    let it = start().await;
    let post = |content_type: Option<&'static str>, body: &'static str| {
        let request = it.request(Method::POST, "/v1/Sinks").body(body);
        match content_type {
            Some(value) => request.header("content-type", value),
            None => request,
        }
    };
    for content_type in [Some("application/json"), Some("multipart/form-data"), None] {
        let (status, code, message) = refused(read(post(content_type, "{}")).await);
        assert_eq!((status, code), (415, 20001), "{message}");
        assert!(message.starts_with("Content-Type: "), "{message}");
    }
    let form = Some("application/x-www-form-urlencoded; charset=utf-8");
    let (status, _, message) = refused(read(post(form, "Description=%ff")).await);
    assert_eq!((status, message.as_str()), (400, "Description: is not UTF-8"));
    let (status, _, message) = refused(read(post(form, "Description=a&Description=b")).await);
    assert_eq!((status, message.as_str()), (400, "Description: is given twice"));
    assert_eq!(refused(read(post(None, "")).await).1, 91000, "no body is an empty form");
}

#[tokio::test]
async fn odd_encodings_of_a_good_form_are_read() {
    let it = start().await;
    let configuration: String = WEBHOOK.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let body = format!(
        "&&SinkType=web%68ook&Description=%E2%82%AC+%2B%zz&x&SinkConfiguration={configuration}"
    );
    let (status, sink) = it.post_raw("/v1/Sinks", body).await;
    assert_eq!((status.as_u16(), &sink["description"]), (201, &"€ +%zz".into()));
}

#[tokio::test]
async fn a_body_over_a_megabyte_is_refused() {
    let it = start().await;
    let (status, code, _) = refused(it.post_raw("/v1/Sinks", "a".repeat(1024 * 1024 + 1)).await);
    assert_eq!((status, code), (413, 20001));
}

#[tokio::test]
async fn a_large_body_is_answered_although_it_is_sent_to_its_end() {
    let it = start().await;
    let address = it.url.strip_prefix("http://").expect("a URL");
    for length in ["content-length: 8000000", "transfer-encoding: chunked"] {
        let mut stream = TcpStream::connect(address).await.expect("a server");
        let head = format!(
            "POST /v1/Sinks HTTP/1.1\r\nhost: {address}\r\nauthorization: {}\r\nconnection: close\r\ncontent-type: application/x-www-form-urlencoded\r\n{length}\r\n\r\n",
            basic(&it.account.to_string(), TOKEN)
        );
        let mut bytes = head.into_bytes();
        match length.starts_with("content") {
            true => bytes.resize(bytes.len() + 8_000_000, b'a'),
            false => {
                for _ in 0..2_000 {
                    bytes.extend_from_slice(b"fa0\r\n");
                    bytes.resize(bytes.len() + 4_000, b'a');
                    bytes.extend_from_slice(b"\r\n");
                }
                bytes.extend_from_slice(b"0\r\n\r\n");
            }
        }
        stream.write_all(&bytes).await.expect("it is read to its end");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
        assert!(answer.contains("\"code\":20001"), "{answer}");
    }
}

#[tokio::test]
async fn nothing_on_the_port_is_refused_without_a_word() {
    let it = start().await;
    let large = "a".repeat(70_000);
    let cases = [
        (it.anonymous(Method::GET, "/none"), 404, 20404),
        (it.anonymous(Method::GET, "/v1/Sinks/"), 404, 20404),
        (it.anonymous(Method::PATCH, "/v1/Sinks"), 405, 20004),
        (it.anonymous(Method::POST, "/docs"), 405, 20004),
        (it.request(Method::GET, "/v1/Sinks").header("x-large", &large), 431, 20001),
        (it.request(Method::GET, &format!("/v1/Sinks?{}", "a".repeat(40_000))), 414, 20001),
    ];
    for (request, status, code) in cases {
        let shown = format!("{request:?}").chars().take(200).collect::<String>();
        let (told, number, _) = refused(read(request).await);
        assert_eq!((told, number), (status, code), "{shown}");
    }
}

#[tokio::test]
async fn a_body_that_never_ends_is_given_up_within_ten_seconds() {
    let it = start().await;
    let address = it.url.strip_prefix("http://").expect("a URL");
    let mut stream = TcpStream::connect(address).await.expect("a server");
    let head = format!(
        "POST /v1/Sinks HTTP/1.1\r\nhost: {address}\r\nauthorization: {}\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: 100\r\n\r\nDescription=",
        basic(&it.account.to_string(), TOKEN)
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    let (began, mut answer) = (Instant::now(), [0; 12]);
    stream.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 408");
    assert!(began.elapsed() < Duration::from_secs(14));
    assert_eq!(it.get("/v1/Sinks").await.0, 200, "nobody else noticed");
}
