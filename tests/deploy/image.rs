//! The Dockerfile and `compose.yaml`: linted, and started from by the binary itself. Neither is built or run here.

use std::{collections::BTreeMap, process::Command};

use serde_json::Value;

use crate::{
    chart::{list, text},
    checks::settings,
    environment::Variables,
    tools::{piped, python, root, script, succeeded},
};

fn file(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).expect("readable")
}

/// The instructions of the Dockerfile, each with its continued lines.
fn instructions() -> Vec<(String, String)> {
    let joined = file("Dockerfile").replace("\\\n", " ");
    let lines = joined.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let parted = lines.filter_map(|line| line.split_once(' '));
    parted.map(|(name, rest)| (name.to_owned(), rest.trim().to_owned())).collect()
}

fn compose() -> Value {
    serde_json::from_str(&script("compose.py", &[], &file("compose.yaml"))).expect("JSON")
}

#[test]
fn the_dockerfile_is_linted_without_a_finding() {
    let mut hadolint = Command::new(python("hadolint"));
    succeeded(
        piped(hadolint.args(["--failure-threshold", "style", "-"]), &file("Dockerfile")),
        "hadolint",
    );
    let root = file("Dockerfile").replace("USER 65532:65532", "USER root");
    let mut hadolint = Command::new(python("hadolint"));
    let found = piped(hadolint.args(["--failure-threshold", "style", "-"]), &root);
    assert!(!found.status.success(), "what is wrong is found");
}

#[test]
fn what_the_dockerfile_copies_is_there_and_is_the_whole_workspace() {
    let ignored = file(".dockerignore");
    let mut copied = Vec::new();
    for (name, rest) in instructions() {
        if name == "COPY" && !rest.starts_with("--from") {
            let words: Vec<_> = rest.split_whitespace().collect();
            copied.extend(words[..words.len() - 1].iter().map(|&word| word.to_owned()));
        }
    }
    for path in copied.iter().filter(|path| *path != ".") {
        assert!(root().join(path).exists(), "{path}");
        assert!(ignored.lines().any(|line| line == format!("!{path}")), "{path} is ignored");
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut metadata = Command::new(cargo);
    metadata
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(root());
    let metadata = succeeded(metadata.output().expect("cargo runs"), "cargo metadata");
    let metadata: Value = serde_json::from_str(&metadata).expect("JSON");
    assert!(list(&metadata["packages"]).len() > 10);
    for package in list(&metadata["packages"]) {
        let manifest = text(&package["manifest_path"]);
        let inside =
            manifest.strip_prefix(root().to_str().expect("text")).expect("in the repository");
        let first = inside.trim_start_matches('/').split('/').next().expect("a directory");
        assert!(copied.iter().any(|path| path == first), "{inside} is not copied");
    }
}

#[test]
fn the_image_starts_the_binary_as_nobody_and_takes_the_toolchain_of_the_workspace() {
    let instructions = instructions();
    let last = |name: &str| {
        let found = instructions.iter().rev().find(|(it, _)| it == name);
        found.map(|(_, rest)| rest.as_str()).unwrap_or_else(|| panic!("no {name}"))
    };
    assert_eq!(last("ENTRYPOINT"), r#"["/usr/local/bin/millrace"]"#);
    assert_eq!(last("USER"), "65532:65532");
    assert!(last("FROM").contains("distroless") && last("FROM").ends_with(":nonroot"));
    let channel = file("rust-toolchain.toml");
    let channel =
        channel.lines().find_map(|line| line.strip_prefix("channel = ")).expect("a channel");
    let version = channel.trim_matches('"');
    assert!(last("ENV").contains(&format!("RUSTUP_TOOLCHAIN={version} ")), "{version}");
    let base = &instructions[0].1;
    let minor = base.strip_prefix("rust:").and_then(|tag| tag.split_once('-')).expect("a tag").0;
    assert!(version.starts_with(minor), "{base}");
}

#[test]
fn compose_starts_each_role_with_settings_that_the_binary_accepts() {
    let compose = compose();
    let services = compose["services"].as_object().expect("services");
    let mut roles = Vec::new();
    let ours = |service: &Value| {
        text(&service["image"]).starts_with("millrace:") && service.get("profiles").is_none()
    };
    for (name, service) in services.iter().filter(|(_, service)| ours(service)) {
        let environment = service["environment"].as_object().expect("variables");
        let variables: Variables =
            environment.iter().map(|(key, value)| (key.clone(), text(value).to_owned())).collect();
        let command: Vec<_> =
            list(&service["command"]).iter().map(|it| text(it).to_owned()).collect();
        let settings = settings(&command, &variables, name);
        roles.push(name.as_str());
        if name == "migrate" {
            continue;
        }
        let listen = text(&settings["admin"]["listen"]);
        let port = listen.rsplit(':').next().expect("a port");
        let asked = ["CMD", "/usr/local/bin/millrace", "ready", &format!("127.0.0.1:{port}")];
        assert_eq!(list(&service["healthcheck"]["test"]), asked, "{name}");
    }
    assert_eq!(roles, ["control-plane", "deliverer", "migrate", "router"]);
}

#[test]
fn compose_waits_for_what_each_service_needs_and_writes_to_volumes_alone() {
    let compose = compose();
    let services = compose["services"].as_object().expect("services");
    let needs: BTreeMap<_, _> = services
        .iter()
        .map(|(name, service)| {
            let needed = service["depends_on"].as_object().map(|it| it.keys().cloned().collect());
            (name.as_str(), needed.unwrap_or_else(Vec::new))
        })
        .collect();
    assert_eq!(needs["migrate"], ["postgres"]);
    assert_eq!(needs["control-plane"], ["migrate", "redis"]);
    assert_eq!(
        (&needs["router"], &needs["deliverer"]),
        (&vec!["control-plane".into()], &vec!["control-plane".into()])
    );
    for (name, service) in services {
        let image = text(&service["image"]);
        assert!(image.contains(':') && !image.ends_with(":latest"), "{name}: {image}");
        if !["migrate", "receiver"].contains(&name.as_str()) {
            assert!(service["healthcheck"]["test"].is_array(), "{name}");
        }
        if image.starts_with("millrace:") {
            assert_eq!(
                (&service["read_only"], &service["build"]),
                (&true.into(), &".".into()),
                "{name}"
            );
        }
        for port in list(&service["ports"]) {
            assert!(text(port).starts_with("127.0.0.1:"), "{name}: {port}");
        }
        for volume in list(&service["volumes"]) {
            let volume = text(volume).split(':').next().expect("a name");
            assert!(compose["volumes"].get(volume).is_some(), "{name}: {volume}");
        }
    }
    let redis = &services["redis"]["command"];
    for word in ["--appendonly", "always", "noeviction"] {
        assert!(list(redis).iter().any(|it| it == word), "{redis}");
    }
}
