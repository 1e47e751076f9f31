//! The binary: what it refuses to start with, what it serves, how it ends.

use std::{net::TcpListener, process::Output};

use millrace_store::{Keyring, postgres};
use millrace_testkit::{eventually, postgres::database};
use reqwest::StatusCode;
use tokio::process::{Child, Command};

use crate::harness::INTERNAL_TOKEN;

fn command(settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millrace-control-plane"));
    command.kill_on_drop(true).env("MILLRACE__INTERNAL__TOKEN", INTERNAL_TOKEN);
    for (key, value) in settings {
        command.env(format!("MILLRACE__{key}"), value);
    }
    command
}

async fn refused(settings: &[(&str, &str)]) -> String {
    let Output { status, stderr, .. } = command(settings).output().await.expect("it ran");
    assert!(!status.success());
    String::from_utf8(stderr).expect("UTF-8")
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

async fn status(url: String) -> Option<StatusCode> {
    Some(reqwest::get(url).await.ok()?.status())
}

async fn terminate(mut child: Child) {
    let id = child.id().expect("it runs").to_string();
    let told = Command::new("kill").args(["-TERM", &id]).status().await.expect("kill");
    assert!(told.success());
    let ended = tokio::time::timeout(std::time::Duration::from_secs(20), child.wait());
    assert!(ended.await.expect("in time").expect("ended").success());
}

#[tokio::test]
async fn a_wrong_setting_stops_it_before_it_listens() {
    let keys = Keyring::generate("a");
    let sealed = ("SEAL__KEYS", keys.reveal());
    let queue = ("QUEUE__URL", "redis://127.0.0.1:1");
    for (settings, word) in [
        (vec![sealed, queue], "database.url"),
        (vec![sealed, ("DATABASE__URL", "postgres://a/b")], "queue.url"),
        (vec![], "seal.keys"),
        (vec![sealed, ("CONTROL_PLANE__LISTN", "x")], "listn"),
        (vec![sealed, ("CONTROL_PLANE__PLATFORM_KEYS", "abc")], "platform_keys"),
        (vec![sealed, ("INTERNAL__TOKEN", "")], "internal.token"),
    ] {
        let told = refused(&settings).await;
        assert!(told.contains(word) && !told.contains(INTERNAL_TOKEN), "{told}");
    }
}

#[tokio::test]
async fn it_serves_on_postgres_until_it_is_told_to_stop() {
    drop(rustls::crypto::ring::default_provider().install_default());
    let database = database().await;
    postgres::migrate(database.url()).await.expect("migrated");
    let keys = Keyring::generate("a");
    let (port, admin) = (free_port(), free_port());
    let (listen, admin_listen) = (format!("127.0.0.1:{port}"), format!("127.0.0.1:{admin}"));
    let settings = [
        ("SEAL__KEYS", keys.reveal()),
        ("DATABASE__URL", database.url()),
        // Nothing is there, which resources do without.
        ("QUEUE__URL", "redis://127.0.0.1:1"),
        ("CONTROL_PLANE__LISTEN", &listen),
        ("ADMIN__LISTEN", &admin_listen),
    ];
    let checked = command(&settings).arg("--check").output().await.expect("it ran");
    let told = String::from_utf8(checked.stdout).expect("UTF-8");
    assert!(checked.status.success() && told.contains(&listen), "{told}");
    assert!(!told.contains(INTERNAL_TOKEN) && !told.contains(database.url()), "{told}");
    let child = command(&settings).spawn().expect("it starts");
    eventually("it is ready", async || {
        status(format!("http://{admin_listen}/readyz")).await.filter(StatusCode::is_success)
    })
    .await;
    assert_eq!(status(format!("http://{listen}/v1/Sinks")).await, Some(StatusCode::UNAUTHORIZED));
    let unknown = reqwest::get(format!("http://{listen}/none")).await.expect("an answer");
    let body: serde_json::Value = unknown.json().await.expect("JSON");
    assert_eq!(body["code"], 20404);
    assert_eq!(status(format!("http://{admin_listen}/metrics")).await, Some(StatusCode::OK));
    terminate(child).await;
}
