//! Every setting that is rendered is one that the binary accepts, by what the binary itself says of it.

use std::{
    path::Path,
    process::{Command, Output},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use millrace_testkit::receiver::Receiver;
use millrace_tests::binary;
use serde_json::Value;

use crate::{
    chart::{self, Object, list, of_kind, text},
    environment::{Started, Variables, started},
    tools::succeeded,
};

const SERVICES: [&str; 3] = ["control-plane", "router", "deliverer"];

/// Runs `millrace ARGUMENTS --check` with these variables and no others.
pub(crate) fn check(arguments: &[String], variables: &Variables) -> Output {
    let mut command = Command::new(binary());
    command.args(arguments).arg("--check").env_clear().envs(variables);
    command.output().expect("the binary runs")
}

/// The settings in force.
pub(crate) fn settings(arguments: &[String], variables: &Variables, what: &str) -> Value {
    let printed = succeeded(check(arguments, variables), what);
    serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{what}: {error}: {printed}"))
}

/// What a service starts with; the certificates that it mounts are files here.
fn service(objects: &[Object], component: &str, directory: &Path) -> Started {
    let mut started = started(objects, "Deployment", component);
    for name in ["MILLRACE__QUEUE__TLS_CA", "MILLRACE__TELEMETRY__OTLP__TLS_CA"] {
        let Some(file) = started.variables.get_mut(name) else { continue };
        let (mount, name) = file.rsplit_once('/').expect("a path");
        let mounts = list(&started.container["volumeMounts"]);
        assert!(mounts.iter().any(|it| it["mountPath"] == mount), "{file} is not mounted");
        let here = directory.join(name);
        std::fs::write(&here, certificate()).expect("writable");
        *file = here.to_string_lossy().into_owned();
    }
    started
}

/// One that processes can read.
fn certificate() -> String {
    let text = BASE64_STANDARD.encode(Receiver::authority());
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}

#[test]
fn the_binary_accepts_what_each_service_starts_with() {
    let directory = tempfile::tempdir().expect("a directory");
    for (set, objects) in chart::all() {
        for component in SERVICES {
            let what = format!("{set}: {component}");
            let started = service(&objects, component, directory.path());
            let settings = settings(&started.arguments, &started.variables, &what);
            let section = component.replace('-', "_");
            for (name, listen) in
                [("serve", &settings[section]["listen"]), ("admin", &settings["admin"]["listen"])]
            {
                let ports = list(&started.container["ports"]);
                let port =
                    &ports.iter().find(|it| it["name"] == name).expect(name)["containerPort"];
                assert!(
                    text(listen).ends_with(&format!(":{port}")),
                    "{what}: {listen} is not {port}"
                );
            }
        }
    }
}

#[test]
fn the_binary_has_what_was_set() {
    let directory = tempfile::tempdir().expect("a directory");
    let objects = chart::rendered("everything");
    let of = |component| {
        let started = service(&objects, component, directory.path());
        settings(&started.arguments, &started.variables, component)
    };
    let [control_plane, router, deliverer] = SERVICES.map(of);
    for settings in [&control_plane, &router, &deliverer] {
        assert_eq!(settings["queue"]["partitions"], 128);
        assert_eq!(settings["queue"]["account_backlog_bytes"], 1_073_741_824_u64);
        assert_eq!(settings["shutdown"]["grace"], "40s");
        assert_eq!(settings["log"]["format"], "json");
    }
    for settings in [&router, &deliverer] {
        assert_eq!(settings["telemetry"]["sample_ratio"], 0.05);
        let otlp = &settings["telemetry"]["otlp"];
        assert_eq!(otlp["endpoint"], "https://collector.example.com:4317");
        assert_eq!(otlp["headers"], "***");
    }
    assert_eq!(control_plane["logs"]["dropped_bytes"], 200_000_000);
    assert_eq!(control_plane["control_plane"]["public_url"], "https://events.example.com");
    assert_eq!(router["router"]["dedup_window"], "2h");
    let address = "http://mine-millrace-control-plane.events.svc:8080";
    assert_eq!(router["control_plane"]["address"], address);
    assert_eq!(deliverer["deliverer"]["advertise"], "10.9.8.7:8082");
    assert_eq!(deliverer["delivery"]["allow_cidrs"], serde_json::json!(["10.20.0.0/16"]));
    let six = service(&chart::rendered("cluster"), "deliverer", directory.path());
    assert_eq!(six.variables["MILLRACE__DELIVERER__ADVERTISE"], "[10.9.8.7]:8082");
}

#[test]
fn the_binary_accepts_what_the_migration_starts_with() {
    for (set, objects) in chart::all().into_iter().filter(|(set, _)| set != "bare") {
        let started = started(&objects, "Job", "migrate");
        let settings = settings(&started.arguments, &started.variables, &set);
        assert_eq!(settings["database"]["url"], "***", "{set}");
    }
    assert!(of_kind(&chart::rendered("bare"), "Job").is_empty());
}

#[test]
fn a_setting_that_does_not_exist_is_found_so() {
    let objects = chart::rendered_with("external", &["settings.queue.partition=8"]);
    let started = started(&objects, "Deployment", "router");
    let output = check(&started.arguments, &started.variables);
    let said = String::from_utf8(output.stderr).expect("text");
    assert!(!output.status.success() && said.contains("MILLRACE__QUEUE__PARTITION"), "{said}");
}

#[test]
fn a_url_that_names_no_redis_is_refused_without_its_password() {
    let objects = chart::rendered("external");
    for component in SERVICES {
        let mut started = started(&objects, "Deployment", component);
        for url in
            ["redis+ring://:hunter2@redis:6379", "redis+sentinel://:hunter2@redis", "hunter2"]
        {
            started.variables.insert("MILLRACE__QUEUE__URL".to_owned(), url.to_owned());
            let output = check(&started.arguments, &started.variables);
            let said = String::from_utf8(output.stderr).expect("text");
            assert!(
                !output.status.success() && said.contains("`queue.url`"),
                "{component}: {said}"
            );
            assert!(!said.contains("hunter2"), "{component}: {said}");
        }
    }
}

#[test]
fn urls_say_where_the_servers_are_and_who_connects() {
    let encoded = "p%40ss%2Fw%3Ard%20%25%2B%3F";
    for (set, database, queue) in [
        (
            "external",
            &*format!(
                "postgres://millrace:{encoded}@postgres.example.com:5432/millrace?sslmode=prefer"
            ),
            &*format!("redis://:{encoded}@redis.example.com:6379/0"),
        ),
        (
            "existing-secrets",
            "postgres://millrace:of-the-database@postgres.example.com:6432/millrace?sslmode=verify-full&sslrootcert=/etc/millrace/database-ca/ca.crt",
            "rediss://millrace:of-redis@redis.example.com/0",
        ),
        (
            "secret-urls",
            "postgres://app:whole@postgres.example.com/app",
            "rediss://:whole@redis.example.com:6379",
        ),
        (
            "sentinel",
            "postgres://app:whole@postgres.example.com/app",
            "rediss+sentinel://:of-redis@sentinel-0.example.com,sentinel-1.example.com:26380,sentinel-2.example.com/queue/2",
        ),
        (
            "cluster",
            "postgres://app:whole@postgres.example.com/app",
            "rediss+cluster://:secret@redis-0.example.com:7000,[2001:db8::7]:7001",
        ),
        (
            "bare",
            "postgres://millrace:of-the-database@postgres:5432/millrace?sslmode=prefer",
            "redis://redis/0",
        ),
    ] {
        let objects = chart::rendered(set);
        let control_plane = started(&objects, "Deployment", "control-plane").variables;
        assert_eq!(control_plane["MILLRACE__DATABASE__URL"], database, "{set}");
        for component in SERVICES {
            let variables = started(&objects, "Deployment", component).variables;
            assert_eq!(variables["MILLRACE__QUEUE__URL"], queue, "{set}: {component}");
            let knows_database = variables.contains_key("MILLRACE__DATABASE__URL");
            assert_eq!(knows_database, component == "control-plane", "{set}: {component}");
        }
    }
    let sentinel = started(&chart::rendered("sentinel"), "Deployment", "router").variables;
    assert_eq!(sentinel["MILLRACE__QUEUE__SENTINEL_PASSWORD"], "of-the-sentinels");
}

#[test]
fn the_chart_is_of_this_release() {
    let chart = std::fs::read_to_string(chart::path().join("Chart.yaml")).expect("readable");
    let version = env!("CARGO_PKG_VERSION");
    assert!(chart.contains(&format!("appVersion: \"{version}\"")), "{chart}");
}
