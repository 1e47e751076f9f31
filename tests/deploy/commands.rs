//! What the binary does for those who deploy it: wait for a database, tell whether a service is ready.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    process::{Command, Stdio},
};

use millrace_testkit::{gate::Gate, postgres};
use millrace_tests::binary;
use url::Url;

#[tokio::test]
async fn a_migration_waits_for_its_database() {
    let database = postgres::database().await;
    let mut url = Url::parse(database.url()).expect("a URL");
    let target = format!("{}:{}", url.host_str().expect("a host"), url.port().unwrap_or(5432));
    let gate = Gate::to(target.parse().expect("an address")).await;
    gate.shut();
    url.set_port(Some(gate.address().port())).expect("a port");
    let mut command = Command::new(binary());
    command.args(["migrate", "--wait", "5m"]).env("MILLRACE__DATABASE__URL", url.as_str());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    let mut said = BufReader::new(child.stderr.take().expect("piped"));
    let told = tokio::task::spawn_blocking(move || {
        let mut line = String::new();
        said.read_line(&mut line).expect("text");
        line
    });
    let line = told.await.expect("no panic");
    assert!(line.contains("cannot open the database") && line.contains("tries again"), "{line}");
    gate.open();
    let ended =
        tokio::task::spawn_blocking(move || child.wait_with_output()).await.expect("no panic");
    let output = ended.expect("it ends");
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stdout), "the database is up to date\n");
}

#[test]
fn a_migration_that_is_not_told_to_wait_fails_at_once() {
    let mut command = Command::new(binary());
    command.args([
        "migrate",
        "--set",
        "database.url=postgres://millrace:hunter2@127.0.0.1:1/millrace",
    ]);
    let output = command.output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("cannot open the database"), "{said}");
    assert!(!said.contains("hunter2") && !said.contains("waits"), "{said}");
}

/// Answers one request so.
fn answering(status: &'static str, body: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a request");
        let mut request = [0; 1024];
        let length = stream.read(&mut request).expect("its head");
        assert!(request[..length].starts_with(b"GET /readyz HTTP/1.1\r\n"));
        let length = body.len();
        write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}")
            .expect("sent");
    });
    address
}

#[test]
fn ready_tells_by_its_status_and_says_what_is_missing() {
    let asked =
        |admin: &str| Command::new(binary()).args(["ready", admin]).output().expect("it runs");
    let ready = asked(&answering("200 OK", "ready\n"));
    assert!(ready.status.success() && ready.stdout == b"ready\n");
    let not = asked(&answering("503 Service Unavailable", "not ready: configuration\n"));
    let said = String::from_utf8_lossy(&not.stderr).into_owned();
    assert!(!not.status.success() && said.contains("not ready: configuration"), "{said}");
    assert!(!asked("127.0.0.1:1").status.success(), "nobody is there");
}
