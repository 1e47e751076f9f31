//! Schemathesis makes requests of our own OpenAPI document, good and bad: none fails us, and every answer is as described.

use std::{process::Stdio, time::Duration};

use millrace_testkit::python;
use millrace_tests::{Kind, Member, Mode, Options, Stack};
use tokio::{process::Command, time::timeout};

/// <https://pypi.org/project/schemathesis/4.32.5/>
const TOOL: &str = "schemathesis==4.32.5";
/// What is held against every answer.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance,unsupported_method";
/// Longest run on a busy machine; a quiet one takes a third of it.
const PATIENCE: Duration = Duration::from_secs(110);

#[tokio::test]
async fn whatever_is_asked_the_answer_is_as_described() {
    let stack = Stack::start(Mode::Embedded, Options::default()).await;
    let sink = stack.sink_with(serde_json::json!({ "destination": "http://127.0.0.1:9/" })).await;
    stack.subscribe(&sink, &[millrace_tests::TYPE]).await;
    // A key goes on to be good when the auth token is rotated, which is among the operations.
    let key = Member::first(&stack).key(&stack, "main").await;
    let python = tokio::task::spawn_blocking(|| python::with(&[TOOL])).await.expect("installed");
    let directory = tempfile::tempdir().expect("a directory");
    let document = format!("{}/openapi.json", stack.url(Kind::ControlPlane));
    let mut run = Command::new(python);
    run.args(["-m", "schemathesis.cli", "run", &document, "--no-color"]);
    run.args(["--header", &format!("Authorization: {key}")]);
    run.args(["--checks", CHECKS, "--phases", "examples,coverage,fuzzing", "--seed", "4711"]);
    run.args(["--max-examples", "8", "--max-time", "40", "--workers", "2", "--no-shrink"]);
    run.args(["--continue-on-failure", "--warnings", "off", "--request-timeout", "20"]);
    run.args(["--generation-database", "none"]);
    run.current_dir(directory.path()).kill_on_drop(true).stdin(Stdio::null());
    let ran = timeout(PATIENCE, run.output()).await.expect("it ends").expect("it runs");
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{out}\n{err}");
}
