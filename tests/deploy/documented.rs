//! Every value is documented, and the documentation is that of the values there are.

use std::process::Command;

use crate::tools::{root, succeeded};

#[test]
fn the_charts_readme_tells_every_value_as_it_is() {
    let mut command = Command::new("python3");
    command.arg(root().join("helm/document.py")).arg("--check");
    succeeded(command.output().expect("apt-get install python3"), "helm/document.py");
}

#[test]
fn a_value_without_a_word_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    for file in ["values.yaml", "README.md"] {
        std::fs::copy(root().join("helm/millrace").join(file), directory.path().join(file))
            .expect("copied");
    }
    let values = directory.path().join("values.yaml");
    let more = std::fs::read_to_string(&values).expect("text") + "secretValue: 1\n";
    std::fs::write(values, more).expect("written");
    let mut command = Command::new("python3");
    command.arg(root().join("helm/document.py")).arg("--check").arg(directory.path());
    let output = command.output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("secretValue"), "{said}");
}
