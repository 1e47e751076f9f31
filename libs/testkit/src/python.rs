//! Python packages for tests: a virtual environment made on demand beside what cargo built, and kept there.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Command,
};

/// The Python of an environment that has `packages`, such as `twilio==9.13.0`. Blocks while it is made.
///
/// # Panics
/// If it cannot be had; with what to install.
pub fn with(packages: &[&str]) -> PathBuf {
    let word = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
    let name: String = packages.join("+").chars().map(word).collect();
    let environment = built().join(name);
    std::fs::create_dir_all(&environment).expect("a directory");
    // Tests may be run side by side by several processes.
    let lock = File::create(environment.join("lock")).expect("a lock");
    lock.lock().expect("the lock is had");
    let (python, done) = (environment.join("bin/python"), environment.join("done"));
    if !done.exists() {
        let at = environment.display().to_string();
        run(Path::new("python3"), &["-m", "venv", &at], "apt-get install python3 python3-venv");
        let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
        let install: Vec<&str> = install.into_iter().chain(packages.iter().copied()).collect();
        let by_hand = format!("{} -m pip install {}", python.display(), packages.join(" "));
        run(&python, &install, &by_hand);
        File::create(done).expect("a file");
    }
    python
}

/// Where cargo built this test: `target/tmp`, whatever the profile.
fn built() -> PathBuf {
    let test = std::env::current_exe().expect("a program has a path");
    let profile = test.ancestors().find(|path| path.ends_with("deps")).and_then(Path::parent);
    let target =
        profile.and_then(Path::parent).expect("cargo builds tests in `target/<profile>/deps`");
    target.join("tmp")
}

fn run(program: &Path, arguments: &[&str], by_hand: &str) {
    let problem = match Command::new(program).args(arguments).output() {
        Ok(output) if output.status.success() => return,
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(error) => error.to_string(),
    };
    panic!("a test needs Python packages: run `{by_hand}`\n{problem}");
}
