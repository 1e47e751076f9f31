//! A setting that does not exist stops a process before it binds a port.

use std::net::TcpListener;

use millrace_tests::{Process, Spec, free_port};

#[tokio::test]
async fn an_unknown_setting_stops_every_process_before_it_binds() {
    let directory = tempfile::tempdir().expect("a directory");
    for (command, name, value, named) in [
        ("control-plane", "MILLRACE__CONTROL_PLANE__LISTN", "127.0.0.1:1", "listn"),
        ("router", "MILLRACE__ROUTERS__LISTEN", "127.0.0.1:1", "routers"),
        ("deliverer", "MILLRACE__DELIVERY__TIMEOUTS", "1s", "timeouts"),
        ("migrate", "MILLRACE__DATABASE__URI", "postgres://x", "uri"),
    ] {
        let (service, admin) = (taken(), taken());
        let section = command.replace('-', "_").to_uppercase();
        let mut environment = vec![(name.to_owned(), value.to_owned())];
        if command != "migrate" {
            environment.push((format!("MILLRACE__{section}__LISTEN"), service.1));
            environment.push(("MILLRACE__ADMIN__LISTEN".to_owned(), admin.1));
        }
        let arguments = vec![command.to_owned()];
        let spec = Spec { name: command.to_owned(), arguments, environment, ..Spec::default() };
        refused(spec, directory.path(), named).await;
    }
    let listen = taken();
    let arguments = ["dev", "--ephemeral", "--listen", &listen.1, "--set", "delivery.timeouts=1s"];
    let arguments = arguments.map(str::to_owned).to_vec();
    let spec = Spec { name: "dev".to_owned(), arguments, ..Spec::default() };
    refused(spec, directory.path(), "timeouts").await;
}

/// The process ends with a failure that names the setting, not with the port that is taken: it never came to that.
async fn refused(spec: Spec, directory: &std::path::Path, named: &str) {
    let mut process = Process::spawn(spec, directory);
    let status = process.end().await;
    let log = process.log();
    assert!(!status.success() && log.contains(named), "`{}` {status}: {log}", process.name());
    assert!(!log.contains("in use"), "{log}");
}

/// A port that is taken as long as the listener lives.
fn taken() -> (TcpListener, String) {
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    (TcpListener::bind(&address).expect("it was free"), address)
}
