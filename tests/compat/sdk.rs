//! Twilio's own Python SDK manages sinks and subscriptions of a `millrace dev`.

use std::path::Path;

use millrace_testkit::python;
use millrace_tests::{Kind, Mode, Options, Stack};
use tokio::process::Command;

/// <https://pypi.org/project/twilio/9.13.0/>
const SDK: &str = "twilio==9.13.0";

#[tokio::test]
async fn the_python_sdk_manages_sinks_and_subscriptions() {
    let stack = Stack::start(Mode::Embedded, Options::default()).await;
    let python = tokio::task::spawn_blocking(|| python::with(&[SDK])).await.expect("no panic");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("compat/sdk.py");
    let ran = Command::new(python)
        .arg(script)
        .args([stack.url(Kind::ControlPlane), stack.identity.account_sid.clone()])
        .arg(&stack.identity.auth_token)
        .output()
        .await
        .expect("Python runs");
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{out}\n{err}");
    assert!(out.ends_with("all as expected\n"), "{out}\n{err}");
}
