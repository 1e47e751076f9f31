//! Who may talk to whom.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

use crate::chart::{self, Object, list, of_kind, selects, text, title, workloads};

/// The policies of a pod, by its labels.
fn policies<'a>(objects: &'a [Object], labels: &Value) -> Vec<&'a Object> {
    let mut all = of_kind(objects, "NetworkPolicy");
    all.retain(|policy| selects(&policy["spec"]["podSelector"]["matchLabels"], labels));
    all
}

/// Whether a pod of these policies may open a connection to an address outside of any pod, on some port but DNS', PostgreSQL's and Redis'.
fn reaches(policies: &[&Object], address: &str) -> bool {
    let address: IpAddr = address.parse().expect("an address");
    let within = |block: &Value, key: &str| {
        let nets = match &block[key] {
            Value::Array(nets) => nets.as_slice(),
            net => std::slice::from_ref(net),
        };
        let parsed = |net: &Value| net.as_str().and_then(|net| net.parse::<IpNet>().ok());
        nets.iter().filter_map(parsed).any(|net| net.contains(&address))
    };
    let rules = policies.iter().flat_map(|policy| list(&policy["spec"]["egress"]));
    let mut peers = rules.flat_map(|rule| list(&rule["to"]));
    peers.any(|peer| within(&peer["ipBlock"], "cidr") && !within(&peer["ipBlock"], "except"))
}

#[test]
fn every_pod_is_denied_what_is_not_allowed() {
    for (set, objects) in chart::all().into_iter().filter(|(set, _)| set != "bare") {
        for workload in workloads(&objects) {
            let labels = &workload["spec"]["template"]["metadata"]["labels"];
            let policies = policies(&objects, labels);
            let denies = |policy: &&Object| {
                let spec = &policy["spec"];
                let both = list(&spec["policyTypes"]) == ["Ingress", "Egress"];
                both && spec.get("ingress").is_none() && spec.get("egress").is_none()
            };
            assert_eq!(
                policies.iter().filter(|it| denies(it)).count(),
                1,
                "{set}: {}",
                title(workload)
            );
            assert_eq!(policies.len(), 2, "{set}: {}", title(workload));
        }
    }
}

#[test]
fn deliverers_reach_the_internet_and_nothing_that_is_private() {
    let objects = chart::rendered("external");
    for deployment in of_kind(&objects, "Deployment") {
        let labels = &deployment["spec"]["template"]["metadata"]["labels"];
        let (policies, what) = (policies(&objects, labels), title(deployment));
        let delivers = what.ends_with("-deliverer");
        for address in ["93.184.216.34", "2606:2800:220:1::1"] {
            assert_eq!(reaches(&policies, address), delivers, "{what}: {address}");
        }
        for address in [
            "169.254.169.254",
            "169.254.170.23",
            "10.0.0.1",
            "172.20.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "127.0.0.1",
            "fd00:ec2::254",
            "fe80::1",
            "::1",
        ] {
            assert!(!reaches(&policies, address), "{what}: {address}");
        }
    }
}

#[test]
fn what_may_be_delivered_to_is_reached_too() {
    let reached = |objects: &[Object], address| {
        let deployment = chart::named(objects, "Deployment", "mine-millrace-deliverer");
        reaches(&policies(objects, &deployment["spec"]["template"]["metadata"]["labels"]), address)
    };
    for (set, address) in
        [("evaluation", "10.9.8.7"), ("evaluation", "fd00::1"), ("everything", "10.20.1.1")]
    {
        assert!(reached(&chart::rendered(set), address), "{set}: {address}");
    }
    let objects = chart::rendered("everything");
    assert!(!reached(&objects, "10.21.1.1") && !reached(&objects, "2606:2800:220:1::1"));
    let text_of_cidrs = "settings.delivery.allow_cidrs=10.30.0.0/16\\,10.31.0.0/16";
    let objects = chart::rendered_with("external", &[text_of_cidrs]);
    assert!(reached(&objects, "10.31.0.1") && !reached(&objects, "10.32.0.1"));
}

#[test]
fn exceptions_are_within_what_they_are_taken_from() {
    for (set, objects) in chart::all() {
        for policy in of_kind(&objects, "NetworkPolicy") {
            let rules = list(&policy["spec"]["egress"]).iter().flat_map(|rule| list(&rule["to"]));
            for block in rules.map(|peer| &peer["ipBlock"]).filter(|block| block.is_object()) {
                let cidr: IpNet = text(&block["cidr"]).parse().expect("a network");
                for except in list(&block["except"]) {
                    let except: IpNet = text(except).parse().expect("a network");
                    assert!(cidr.contains(&except) && except.trunc() == except, "{set}: {except}");
                }
            }
        }
    }
}
