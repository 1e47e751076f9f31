//! The program under test.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
    sync::OnceLock,
};

/// Names a program to test instead of one built here; `make test` sets it to what it built.
const BINARY: &str = "MILLRACE_TEST_BINARY";

/// The path of `millrace`, built once if need be.
///
/// # Panics
/// If it cannot be built; with what cargo said.
pub fn binary() -> PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| match std::env::var_os(BINARY).filter(|path| !path.is_empty()) {
        Some(path) => PathBuf::from(path),
        None => build(),
    })
    .clone()
}

fn build() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--quiet", "--package", "millrace", "--bin", "millrace"])
        .args(["--message-format", "json-render-diagnostics"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo runs");
    assert!(built.status.success(), "`cargo build -p millrace` failed");
    let path = String::from_utf8_lossy(&built.stdout).lines().rev().find_map(executable);
    path.expect("cargo names the program it built")
}

/// The path in one of cargo's messages
/// (<https://doc.rust-lang.org/cargo/reference/external-tools.html#json-messages>).
fn executable(message: &str) -> Option<PathBuf> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    message.get("executable")?.as_str().map(PathBuf::from)
}
