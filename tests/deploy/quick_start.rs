//! The README's way to a first event on Kubernetes names what the chart installs.

use crate::{
    chart::{self, list, named, text},
    tools::{helms, root, succeeded},
};

/// The section of the README, its commands on a line each.
fn section() -> String {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("a README");
    let (_, after) = readme.split_once("\n## Kubernetes\n").expect("a section");
    let section = after.split("\n## ").next().expect("its text");
    section.replace("\\\n", " ")
}

/// What comes after each `before`, up to a blank.
fn after<'a>(section: &'a str, before: &str) -> Vec<&'a str> {
    let words = section.split(before).skip(1);
    words.map(|rest| rest.split_whitespace().next().expect("a word").trim_matches('\'')).collect()
}

#[test]
fn the_quick_start_names_what_the_chart_installs() {
    let section = section();
    let name = after(&section, "helm install ");
    let settings = after(&section, " --set ");
    assert!(settings.contains(&"evaluation.enabled=true"), "{settings:?}");
    let settings: Vec<&str> = settings.into_iter().flat_map(|it| ["--set", it]).collect();
    let rendered = chart::helm(&helms()[1], &["template", name[0]], &settings);
    let objects = chart::objects(&succeeded(rendered, "the README's values"));

    let forwards = after(&section, "port-forward service/");
    assert_eq!(forwards.len(), 2, "control-plane and router: {forwards:?}");
    for service in forwards {
        let port = after(&section, &format!("port-forward service/{service} "))[0];
        let port: u64 = port.parse().expect("a port");
        let ports = &named(&objects, "Service", service)["spec"]["ports"];
        let has = list(ports).iter().any(|it| it["port"] == port);
        assert!(has, "{service} {port}: {ports}");
    }
    let secret = &named(&objects, "Secret", after(&section, "get secret ")[0])["data"];
    let key = after(&section, "jsonpath='{.data.")[0].split('}').next().expect("a key");
    assert!(!text(&secret[key]).is_empty());
    // The receiver is in the namespace, and the deliverers may reach it.
    let opened = after(&section, "allow_cidrs={")[0].split('}').next().expect("a network");
    let egress =
        named(&objects, "NetworkPolicy", &format!("{}-deliverer", name[0]))["spec"].to_string();
    assert!(egress.contains(&format!(r#"{{"ipBlock":{{"cidr":"{opened}"}}}}"#)), "{egress}");
}
