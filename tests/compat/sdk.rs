//! Twilio's own SDKs, for Python and for Node, live a life of accounts, sinks and subscriptions against Millrace.

use std::path::Path;

use millrace_testkit::python;
use millrace_tests::{Kind, Mode, Options, Stack};
use tokio::process::Command;

use crate::tool;

/// <https://pypi.org/project/twilio/9.13.0/>
const PYTHON_SDK: &str = "twilio==9.13.0";
/// <https://www.npmjs.com/package/twilio/v/6.2.0>
const NODE_SDK: &str = "twilio@6.2.0";
/// More sinks than pages are wont to have.
const SETTINGS: [(&str, &str); 1] = [("limits.sinks_per_account", "300")];

#[tokio::test]
async fn the_python_sdk_lives_its_life_embedded() {
    lives(Mode::Embedded, python_sdk().await, "sdk.py").await;
}

#[tokio::test]
async fn the_python_sdk_lives_its_life_on_servers() {
    lives(Mode::Servers, python_sdk().await, "sdk.py").await;
}

#[tokio::test]
async fn the_node_sdk_lives_its_life_embedded() {
    lives(Mode::Embedded, node_sdk().await, "sdk.js").await;
}

#[tokio::test]
async fn the_node_sdk_lives_its_life_on_servers() {
    lives(Mode::Servers, node_sdk().await, "sdk.js").await;
}

async fn python_sdk() -> Command {
    let python = tokio::task::spawn_blocking(|| python::with(&[PYTHON_SDK]));
    Command::new(python.await.expect("the SDK is installed"))
}

async fn node_sdk() -> Command {
    let modules = tokio::task::spawn_blocking(|| tool::node_modules(NODE_SDK));
    let mut node = Command::new("node");
    node.env("NODE_PATH", modules.await.expect("the SDK is installed"));
    node
}

/// Runs a script, which stops at the first answer that is not as it should be.
async fn lives(mode: Mode, mut interpreter: Command, script: &str) {
    let stack = Stack::start(mode, Options::default().set(&SETTINGS)).await;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("compat").join(script);
    interpreter.arg(script).arg(stack.url(Kind::ControlPlane));
    interpreter.arg(&stack.identity.account_sid).arg(&stack.identity.auth_token);
    let ran = interpreter.output().await.expect("it runs");
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{out}\n{err}");
    assert!(out.ends_with("all as expected\n"), "{out}\n{err}");
}
