//! What a cluster's policies ask for, of every pod of every set of values.

use std::collections::HashSet;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::Value;

use crate::chart::{self, Object, list, of_kind, selects, text, title, workloads};

fn pod(workload: &Object) -> &Value {
    &workload["spec"]["template"]["spec"]
}

/// Each workload of each set of values, with what to call it.
fn all() -> Vec<(String, Object)> {
    let of = |(set, objects): (String, Vec<Object>)| {
        let named = |it: &Object| (format!("{set}: {}", title(it)), it.clone());
        workloads(&objects).into_iter().map(named).collect::<Vec<_>>()
    };
    chart::all().into_iter().flat_map(of).collect()
}

#[test]
fn no_pod_runs_as_root_or_writes_to_its_image() {
    for (what, workload) in all() {
        let security = &pod(&workload)["securityContext"];
        assert_eq!(security["runAsNonRoot"], true, "{what}");
        assert!(security["runAsUser"].as_u64().is_some_and(|user| user > 0), "{what}");
        assert_eq!(security["seccompProfile"]["type"], "RuntimeDefault", "{what}");
        assert_eq!(pod(&workload)["automountServiceAccountToken"], false, "{what}");
        for container in list(&pod(&workload)["containers"]) {
            let security = &container["securityContext"];
            assert_eq!(security["readOnlyRootFilesystem"], true, "{what}");
            assert_eq!(security["allowPrivilegeEscalation"], false, "{what}");
            assert_eq!(list(&security["capabilities"]["drop"]), ["ALL"], "{what}");
            assert!(security.get("privileged").is_none(), "{what}");
        }
        for key in ["hostNetwork", "hostPID", "hostIPC"] {
            assert!(pod(&workload).get(key).is_none(), "{what}");
        }
    }
}

#[test]
fn every_container_asks_for_what_it_needs_and_is_bounded() {
    for (what, workload) in all() {
        for container in list(&pod(&workload)["containers"]) {
            for (kind, resource) in [
                ("requests", "cpu"),
                ("requests", "memory"),
                ("limits", "cpu"),
                ("limits", "memory"),
            ] {
                assert!(
                    container["resources"][kind][resource].is_string(),
                    "{what}: {kind} {resource}"
                );
            }
        }
    }
}

#[test]
fn every_image_is_of_one_release() {
    for (what, workload) in all() {
        for container in list(&pod(&workload)["containers"]) {
            let image = text(&container["image"]);
            let name = image.rsplit('/').next().expect("a name");
            let pinned =
                name.contains("@sha256:") || name.contains(':') && !name.ends_with(":latest");
            assert!(pinned, "{what}: {image}");
        }
    }
}

#[test]
fn every_deployment_survives_the_loss_of_a_node_and_of_a_zone() {
    for (set, objects) in chart::all() {
        let deployments = of_kind(&objects, "Deployment");
        assert_eq!(deployments.len(), 3, "{set}");
        for deployment in deployments {
            let what = format!("{set}: {}", title(deployment));
            let labels = &deployment["spec"]["template"]["metadata"]["labels"];
            let budgets = of_kind(&objects, "PodDisruptionBudget");
            let of_it =
                |budget: &&Object| selects(&budget["spec"]["selector"]["matchLabels"], labels);
            assert_eq!(budgets.into_iter().filter(of_it).count(), 1, "{what}");
            let spread = list(&pod(deployment)["topologySpreadConstraints"]);
            let keys: HashSet<_> = spread.iter().map(|it| text(&it["topologyKey"])).collect();
            let both = HashSet::from(["topology.kubernetes.io/zone", "kubernetes.io/hostname"]);
            assert_eq!(keys, both, "{what}");
            for constraint in spread {
                assert!(selects(&constraint["labelSelector"]["matchLabels"], labels), "{what}");
            }
        }
    }
}

#[test]
fn every_pod_is_asked_on_its_admin_port_and_has_time_to_drain() {
    for (set, objects) in chart::all() {
        for deployment in of_kind(&objects, "Deployment") {
            let what = format!("{set}: {}", title(deployment));
            let pod = pod(deployment);
            let container = &list(&pod["containers"])[0];
            for (probe, path) in [
                ("startupProbe", "/healthz"),
                ("livenessProbe", "/healthz"),
                ("readinessProbe", "/readyz"),
            ] {
                let asked = &container[probe]["httpGet"];
                assert_eq!(
                    (&asked["path"], &asked["port"]),
                    (&path.into(), &"admin".into()),
                    "{what}"
                );
            }
            let sleep = container["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64();
            let grace = pod["terminationGracePeriodSeconds"].as_u64().expect("a number");
            let drain = if set == "everything" { 40 } else { 20 };
            assert!(sleep.expect("a number") + drain < grace, "{what}: {grace} s");
        }
    }
}

#[test]
fn every_service_finds_the_pods_of_one_workload_and_their_ports() {
    for (set, objects) in chart::all() {
        for service in of_kind(&objects, "Service") {
            let what = format!("{set}: {}", title(service));
            let mut found = workloads(&objects);
            found.retain(|workload| {
                selects(
                    &service["spec"]["selector"],
                    &workload["spec"]["template"]["metadata"]["labels"],
                )
            });
            let [workload] = found.as_slice() else { panic!("{what}: {}", found.len()) };
            let ports = list(&list(&pod(workload)["containers"])[0]["ports"]);
            for port in list(&service["spec"]["ports"]) {
                let target = ports.iter().find(|it| it["name"] == port["targetPort"]);
                let target = &target.unwrap_or_else(|| panic!("{what}: {port}"))["containerPort"];
                // A headless Service translates no ports.
                let headless = service["spec"]["clusterIP"] == "None";
                assert!(!headless || *target == port["port"], "{what}: {port}");
            }
        }
    }
}

#[test]
fn no_secret_is_anywhere_but_in_a_secret() {
    let given = ["0123456789abcdefghijklmnop", "k1:AAEC", "9f86d081", "p@ss/w:rd", "p%40ss"];
    for (set, objects) in chart::all() {
        let (secrets, others): (Vec<_>, Vec<_>) =
            objects.iter().partition(|object| object["kind"] == "Secret");
        let mut values: HashSet<String> = given.map(str::to_owned).into();
        for secret in &secrets {
            for encoded in secret["data"].as_object().expect("data").values() {
                let value = BASE64_STANDARD.decode(text(encoded)).expect("Base64");
                values.insert(String::from_utf8(value).expect("text"));
                values.insert(text(encoded).to_owned());
            }
        }
        assert_eq!(
            secrets.is_empty(),
            !["bare", "external", "cluster", "evaluation"].contains(&set.as_str()),
            "{set}"
        );
        for object in others {
            let shown = object.to_string();
            let told = values.iter().find(|value| shown.contains(value.as_str()));
            assert!(told.is_none(), "{set}: {} shows {told:?}", title(object));
        }
    }
}
