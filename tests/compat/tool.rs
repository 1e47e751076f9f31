//! Packages of npm for tests, installed once beside what cargo built and kept there.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Command,
};

/// A directory of modules for Node that has a package, such as `twilio@6.2.0`. Blocks while it is made.
pub(crate) fn node_modules(package: &str) -> PathBuf {
    let name = format!("node-{}", package.replace('@', "-"));
    let environment = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&environment).expect("a directory");
    // Tests may be run side by side by several processes.
    let lock = File::create(environment.join("lock")).expect("a lock");
    lock.lock().expect("the lock is had");
    let done = environment.join("done");
    if !done.exists() {
        let mut install = Command::new("npm");
        install.args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"]);
        let problem = match install.arg(&environment).arg(package).output() {
            Ok(output) if output.status.success() => String::new(),
            Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
            Err(error) => error.to_string(),
        };
        let by_hand = format!("apt-get install nodejs npm && npm install {package}");
        assert!(problem.is_empty(), "a test needs a package of npm: run `{by_hand}`\n{problem}");
        File::create(done).expect("a file");
    }
    environment.join("node_modules")
}
