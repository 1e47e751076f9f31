//! The evaluation mode as it runs: its Redis as it is configured, and the services as they are started, on real servers.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
    time::Duration,
};

use millrace_testkit::{eventually, eventually::eventually_within, postgres};
use millrace_tests::binary;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    chart::{self, Object},
    environment::{Started, started},
    tools::succeeded,
};

/// Longest start, of debug builds on a busy machine.
const START: Duration = Duration::from_secs(60);

/// A process that does not outlive its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("a port");
    listener.local_addr().expect("bound").port()
}

/// Starts Redis as its pod does, but for where its data is and which port it takes.
fn redis(objects: &[Object], data: &str, port: u16) -> Running {
    let Started { mut arguments, variables, .. } = started(objects, "StatefulSet", "redis");
    let directory = arguments.iter().position(|it| it == "/data").expect("its data is on the disk");
    data.clone_into(&mut arguments[directory]);
    let mut command = Command::new("redis-server");
    command.args(arguments).args(["--port", &port.to_string()]).envs(variables);
    Running(command.stdout(Stdio::null()).spawn().expect("apt-get install redis-server"))
}

fn redis_says(port: u16, password: &str, command: &[&str]) -> String {
    let mut cli = Command::new("redis-cli");
    cli.args(["-p", &port.to_string(), "--no-auth-warning", "-a", password]).args(command);
    String::from_utf8(cli.output().expect("redis-cli runs").stdout).expect("text")
}

#[tokio::test]
async fn its_redis_keeps_what_it_acknowledged_and_evicts_nothing() {
    let objects = chart::rendered("evaluation");
    let (data, port) = (tempfile::tempdir().expect("a directory"), free_port());
    let password = started(&objects, "StatefulSet", "redis").variables["REDIS_PASSWORD"].clone();
    let _redis = redis(&objects, data.path().to_str().expect("text"), port);
    eventually("Redis answers", async || {
        (redis_says(port, &password, &["ping"]).trim() == "PONG").then_some(())
    })
    .await;
    for (name, value) in [
        ("appendonly", "yes"),
        ("appendfsync", "always"),
        ("maxmemory-policy", "noeviction"),
        ("maxmemory", "536870912"),
        ("save", ""),
    ] {
        let said = redis_says(port, &password, &["config", "get", name]);
        assert_eq!(said.lines().nth(1).unwrap_or_default(), value, "{name}");
    }
    assert!(redis_says(port, "wrong", &["ping"]).contains("NOAUTH"));
}

/// Runs `millrace` as a pod does, on these servers and ports.
fn millrace(started: &Started, changed: &[(&str, &str)]) -> Command {
    let mut command = Command::new(binary());
    command
        .args(&started.arguments)
        .env_clear()
        .envs(&started.variables)
        .envs(changed.iter().copied());
    command
}

#[tokio::test]
async fn its_services_start_and_end_as_their_pods_do() {
    let objects = chart::rendered("evaluation");
    let (data, port) = (tempfile::tempdir().expect("a directory"), free_port());
    let _redis = redis(&objects, data.path().to_str().expect("text"), port);
    let database = postgres::database().await;
    let migrate = millrace(
        &started(&objects, "Job", "migrate"),
        &[("MILLRACE__DATABASE__URL", database.url())],
    )
    .output();
    let said = succeeded(migrate.expect("the binary runs"), "migrate");
    assert!(said.contains("up to date"), "{said}");

    let ports = [free_port(), free_port(), free_port()];
    let address = format!("http://127.0.0.1:{}", ports[0]);
    let mut services = Vec::new();
    for (component, serves) in ["control-plane", "router", "deliverer"].into_iter().zip(ports) {
        let started = started(&objects, "Deployment", component);
        let own = format!("MILLRACE__{}__LISTEN", component.replace('-', "_").to_uppercase());
        let queue = started.variables["MILLRACE__QUEUE__URL"]
            .replace("mine-millrace-redis:6379", &format!("127.0.0.1:{port}"));
        let admin = format!("127.0.0.1:{}", free_port());
        let listen = format!("127.0.0.1:{serves}");
        let mut changed = vec![
            (own.as_str(), listen.as_str()),
            ("MILLRACE__ADMIN__LISTEN", &admin),
            ("MILLRACE__QUEUE__URL", &queue),
        ];
        if component == "control-plane" {
            changed.push(("MILLRACE__DATABASE__URL", database.url()));
        } else {
            changed.push(("MILLRACE__CONTROL_PLANE__ADDRESS", &address));
        }
        let mut command = millrace(&started, &changed);
        let running = Running(command.stderr(Stdio::null()).spawn().expect("the binary runs"));
        services.push((component, running, admin));
    }
    for (component, _, admin) in &services {
        let what = format!("{component} is ready");
        eventually_within(START, &what, async || is_ready(admin).then_some(())).await;
    }
    for (component, running, admin) in &mut services {
        let process = Pid::from_raw(i32::try_from(running.0.id()).expect("an id"));
        kill(process, Signal::SIGTERM).expect("it runs");
        let ended = running.0.wait().expect("it ends");
        assert!(ended.success(), "{component}: {ended}");
        assert!(!is_ready(admin), "{component}");
    }
}

fn is_ready(admin: &str) -> bool {
    let asked = Command::new(binary()).args(["ready", admin]).output();
    asked.expect("the binary runs").status.success()
}
