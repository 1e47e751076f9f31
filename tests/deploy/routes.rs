//! What is reached from outside: all that is public, at whoever serves it, and nothing that is internal.

use std::collections::BTreeSet;

use crate::{
    chart::{self, list, named, of_kind, text},
    tools::root,
};

/// Full names of the gRPC services of a package, by its proto files.
fn services(package: &str) -> BTreeSet<String> {
    let directory = root().join("proto").join(package.replace('.', "/"));
    let files = std::fs::read_dir(directory).expect("proto files");
    let texts =
        files.map(|file| std::fs::read_to_string(file.expect("a file").path()).expect("text"));
    let mut services = BTreeSet::new();
    for text in texts {
        let names = text.lines().filter_map(|line| line.strip_prefix("service "));
        services.extend(names.map(|name| format!("{package}.{}", name.trim_end_matches(" {"))));
    }
    services
}

fn component(service: &str) -> &str {
    if service.ends_with(".PublishService") { "router" } else { "control-plane" }
}

#[test]
fn every_public_grpc_service_is_routed_to_who_serves_it() {
    let public = services("millrace.v1");
    assert!(public.len() > 6 && !services("millrace.internal.v1").is_empty(), "{public:?}");
    let objects = chart::rendered("everything");
    let mut routed = BTreeSet::new();
    for rule in list(&named(&objects, "GRPCRoute", "mine-millrace")["spec"]["rules"]) {
        let backend = text(&list(&rule["backendRefs"])[0]["name"]);
        for found in list(&rule["matches"]) {
            let service = text(&found["method"]["service"]);
            assert!(backend.ends_with(component(service)), "{service}: {backend}");
            routed.insert(service.to_owned());
        }
    }
    assert_eq!(routed, public, "templates/_services.tpl names who serves what");
    let ingress = named(&objects, "Ingress", "mine-millrace-grpc");
    let mut paths = BTreeSet::new();
    for path in list(&list(&ingress["spec"]["rules"])[0]["http"]["paths"]) {
        let service = text(&path["path"]).trim_start_matches('/');
        let backend = text(&path["backend"]["service"]["name"]);
        assert!(backend.ends_with(component(service)), "{service}: {backend}");
        paths.insert(service.to_owned());
    }
    assert_eq!(paths, public);
}

#[test]
fn routes_lead_to_ports_that_services_have() {
    let objects = chart::rendered("everything");
    let routes = of_kind(&objects, "HTTPRoute").into_iter().chain(of_kind(&objects, "GRPCRoute"));
    for route in routes {
        for backend in
            list(&route["spec"]["rules"]).iter().flat_map(|rule| list(&rule["backendRefs"]))
        {
            let service = named(&objects, "Service", text(&backend["name"]));
            let port =
                list(&service["spec"]["ports"]).iter().find(|port| port["port"] == backend["port"]);
            let wanted = if route["kind"] == "GRPCRoute" { "kubernetes.io/h2c" } else { "http" };
            assert_eq!(port.expect("the port is there")["appProtocol"], wanted);
        }
    }
}

#[test]
fn events_go_to_routers_and_what_is_below_them_to_control_plane() {
    let objects = chart::rendered("everything");
    let ingress = named(&objects, "Ingress", "mine-millrace");
    let paths = list(&list(&ingress["spec"]["rules"])[0]["http"]["paths"]).iter().map(|path| {
        let backend = text(&path["backend"]["service"]["name"]);
        (text(&path["path"]), text(&path["pathType"]), backend)
    });
    let wanted = [
        ("/v1/Events", "Exact", "mine-millrace-router"),
        ("/", "Prefix", "mine-millrace-control-plane"),
    ];
    assert_eq!(paths.collect::<Vec<_>>(), wanted);
}

#[test]
fn what_is_known_from_outside_becomes_the_public_url() {
    let url = |set: &str, values: &[&str]| {
        let objects = chart::rendered_with(set, values);
        let map = named(&objects, "ConfigMap", "mine-millrace-control-plane");
        map["data"]["MILLRACE__CONTROL_PLANE__PUBLIC_URL"].as_str().map(str::to_owned)
    };
    assert_eq!(url("external", &[]), None);
    assert_eq!(url("everything", &[]).as_deref(), Some("https://events.example.com"));
    let without_ingress = ["ingress.enabled=false"];
    assert_eq!(url("everything", &without_ingress).as_deref(), Some("https://events.example.net"));
    let own = ["settings.control_plane.public_url=https://other.example.com"];
    assert_eq!(url("everything", &own).as_deref(), Some("https://other.example.com"));
}
