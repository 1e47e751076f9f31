//! What makes no sense is refused before anything is installed, by the name of the value.

use crate::{chart, tools::helms};

/// What Helm says of `--set` with these; it must refuse, whichever major it is.
fn refused(set: &str, settings: &[&str]) -> String {
    let file = chart::values(set);
    let mut more = vec!["--values", file.to_str().expect("text")];
    more.extend(settings.iter().flat_map(|setting| ["--set", setting]));
    let mut said = String::new();
    for helm in helms() {
        let output = chart::helm(&helm, &["template", "mine"], &more);
        assert!(!output.status.success(), "{settings:?} is not refused");
        said = String::from_utf8(output.stderr).expect("text");
    }
    said
}

#[test]
fn the_schema_refuses_wrong_values_by_name() {
    for (setting, word) in [
        ("controlPlane.replicas=0", "replicas"),
        ("router.replicas=two", "replicas"),
        ("routr.replicas=2", "routr"),
        ("router.replica=2", "replica"),
        ("router.autoscaling.queueLag.enabled=true", "queueLag"),
        ("image.tag=latest", "tag"),
        ("image.pullPolicy=Sometimes", "pullPolicy"),
        ("internal.token=short", "token"),
        ("platformKeys.hashes=abc", "hashes"),
        ("database.port=70000", "port"),
        ("database.tls.mode=maybe", "mode"),
        ("redis.mode=sharded", "mode"),
        ("redis.hosts={a:6379,b:6379}", "hosts"),
        ("redis.hosts={redis://a:6379}", "hosts"),
        ("deliverer.resources.limits.memory=lots", "memory"),
        ("deliverer.resources.limits.memory=null", "memory"),
        ("networkPolicy.internet.cidrs={internet}", "cidrs"),
        ("metrics.serviceMonitor.interval=often", "interval"),
        ("shutdown.graceSeconds=0", "graceSeconds"),
        ("deliverer.affinity.nodes=1", "nodes"),
        ("settings.queue.URL=1", "URL"),
    ] {
        let said = refused("external", &[setting]);
        assert!(said.contains(word), "{setting}: {said}");
    }
}

#[test]
fn a_secret_or_what_the_chart_decides_is_no_setting() {
    for key in [
        "internal.token",
        "seal.keys",
        "database.url",
        "queue.url",
        "queue.sentinel_password",
        "control_plane.platform_keys",
        "control_plane.listen",
        "admin.listen",
        "deliverer.advertise",
        "shutdown.grace",
    ] {
        for values in ["settings", "controlPlane.settings", "router.settings", "deliverer.settings"]
        {
            refused("external", &[&format!("{values}.{key}=x")]);
        }
    }
}

#[test]
fn what_is_missing_or_contradicts_itself_is_told() {
    for (set, settings, words) in [
        ("external", &["internal.token="][..], "internal.token is missing"),
        ("external", &["seal.keys="], "seal.keys is missing"),
        ("external", &["platformKeys.hashes="], "platformKeys.hashes is missing"),
        ("external", &["database.host="], "database.host is missing"),
        ("external", &["redis.hosts=null"], "redis.hosts is missing"),
        ("external", &["redis.mode=sentinel"], "redis.sentinelName is missing"),
        ("external", &["evaluation.enabled=true"], "evaluation.enabled brings a PostgreSQL"),
        ("evaluation", &["seal.keys=k1:AAAA"], "evaluation.enabled generates"),
        ("external", &["ingress.enabled=true"], "ingress.host is missing"),
        ("everything", &["ingress.grpc.host=events.example.com"], "ingress.grpc.host"),
        ("external", &["gateway.enabled=true"], "gateway.parentRefs is missing"),
        ("everything", &["gateway.grpcHostnames={events.example.net}"], "gateway.grpcHostnames"),
        ("external", &["router.autoscaling.minReplicas=20"], "router.autoscaling.minReplicas"),
    ] {
        let said = refused(set, settings);
        assert!(said.contains(words), "{settings:?}: {said}");
    }
}
