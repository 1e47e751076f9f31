//! Twilio's own Python SDK manages sinks and subscriptions of a `millrace dev`.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use millrace_tests::{Kind, Mode, Options, Stack};
use tokio::process::Command;

/// <https://pypi.org/project/twilio/9.13.0/>
const SDK: &str = "twilio==9.13.0";

#[tokio::test]
async fn the_python_sdk_manages_sinks_and_subscriptions() {
    let stack = Stack::start(Mode::Embedded, Options::default()).await;
    let python = tokio::task::spawn_blocking(python).await.expect("no panic");
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

/// The Python of a virtual environment that has the SDK, made beside what cargo built and kept there.
fn python() -> PathBuf {
    let environment = Path::new(env!("CARGO_TARGET_TMPDIR")).join(SDK.replace("==", "-"));
    std::fs::create_dir_all(&environment).expect("a directory");
    // Tests may be run side by side by several processes.
    let lock = File::create(environment.join("lock")).expect("a lock");
    lock.lock().expect("the lock is had");
    let (python, done) = (environment.join("bin/python"), environment.join("done"));
    if !done.exists() {
        let venv = ["-m", "venv", &environment.display().to_string()].map(str::to_owned);
        run("python3", &venv, "apt-get install python3 python3-venv");
        let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", SDK];
        let by_hand = format!("{} -m pip install {SDK}", python.display());
        run(&python.display().to_string(), &install.map(str::to_owned), &by_hand);
        File::create(done).expect("a file");
    }
    python
}

fn run(program: &str, arguments: &[String], by_hand: &str) {
    let ran = std::process::Command::new(program).args(arguments).output();
    let problem = match ran {
        Ok(output) if output.status.success() => return,
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(error) => error.to_string(),
    };
    panic!("cannot have Twilio's SDK: run `{by_hand}`\n{problem}");
}
