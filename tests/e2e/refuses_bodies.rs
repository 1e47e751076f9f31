//! A request whose body never ends is answered, and holds nobody up.

use std::time::{Duration, Instant};

use millrace_testkit::receiver::Receiver;
use millrace_tests::{Kind, Mode, Options, Stack, event};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::arrivals::{exactly, ids};

/// Above the services' own limit of 10 s.
const PATIENCE: Duration = Duration::from_secs(25);
/// More than a publish may have.
const LARGE: usize = 6 * 1024 * 1024;

#[tokio::test]
async fn a_body_that_never_ends_is_answered_embedded() {
    a_body_that_never_ends_is_answered(Mode::Embedded).await;
}

#[tokio::test]
async fn a_body_that_never_ends_is_answered_on_servers() {
    a_body_that_never_ends_is_answered(Mode::Servers).await;
}

async fn a_body_that_never_ends_is_answered(mode: Mode) {
    let stack = Stack::start(mode, Options::default()).await;
    let receiver = Receiver::start().await;
    stack.subscribed(&receiver, "/all").await;
    let authorization = stack.identity.basic();
    let head = |path: &str, kind: &str, length: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nhost: test\r\nauthorization: {authorization}\r\ncontent-type: {kind}\r\n{length}\r\n\r\n"
        )
    };
    let (router, control) = (stack.url(Kind::Router(0)), stack.url(Kind::ControlPlane));
    let events = head("/v1/Events", "application/cloudevents+json", "content-length: 1000");
    let form = head("/v1/Sinks", "application/x-www-form-urlencoded", "content-length: 1000");
    let endless = head("/v1/Events", "application/cloudevents+json", "transfer-encoding: chunked");
    let started = Instant::now();
    let meanwhile = async {
        stack.publish([event("1")]).await;
        exactly(&receiver, "/all", &ids(["1"])).await;
        started.elapsed()
    };
    let (slow, slow_form, large, others) = tokio::join!(
        send(&router, events + "{\"id\":", false),
        send(&control, form + "Description=", false),
        send(&router, endless, true),
        meanwhile,
    );
    assert!(slow.starts_with("HTTP/1.1 408"), "{slow}");
    assert!(slow_form.starts_with("HTTP/1.1 408"), "{slow_form}");
    assert!(large.starts_with("HTTP/1.1 413"), "{large}");
    assert!(others < Duration::from_secs(5), "others waited {others:?}");
}

/// Sends a head and more, [`LARGE`] more if `endless`, never comes to an end, and gives the start of the answer.
async fn send(url: &str, bytes: String, endless: bool) -> String {
    let address = url.trim_start_matches("http://");
    let stream = TcpStream::connect(address).await.expect("it listens");
    let (mut reading, mut writing) = stream.into_split();
    writing.write_all(bytes.as_bytes()).await.expect("it reads");
    let write = async {
        let chunk = format!("1000\r\n{}\r\n", " ".repeat(0x1000));
        let chunks = if endless { LARGE / chunk.len() } else { 0 };
        for _ in 0..chunks {
            writing.write_all(chunk.as_bytes()).await.expect("it reads");
        }
        std::future::pending::<()>().await;
    };
    let read = async {
        let mut answer = [0; 512];
        let length = reading.read(&mut answer).await.unwrap_or(0);
        String::from_utf8_lossy(&answer[..length]).into_owned()
    };
    // The writing has no end of its own.
    let answered = async {
        tokio::select! {
            () = write => String::new(),
            answer = read => answer,
        }
    };
    timeout(PATIENCE, answered).await.unwrap_or_else(|_| "no answer".to_owned())
}
