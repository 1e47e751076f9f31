//! The quarantine as an operator works it off: by the command line.

use std::process::{Command, Output};

use bytes::Bytes;
use millrace_domain::Partition;
use millrace_queue::Queue;
use millrace_testkit::{eventually, receiver::Receiver};
use millrace_tests::{Kind, Mode, Options, Stack, binary, event};
use serde_json::Value;

use crate::arrivals;

/// `millrace quarantine …` of a platform's operator.
struct Operator {
    server: String,
    platform_key: String,
}

impl Operator {
    fn quarantine(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(binary());
        command.args(["quarantine", "--server", &self.server]);
        command.args(["--platform-key", &self.platform_key]).args(arguments);
        command.output().expect("runs")
    }

    fn told(&self, arguments: &[&str]) -> String {
        let output = self.quarantine(arguments);
        let (text, errors) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{arguments:?}: {text}{errors}");
        text.into_owned()
    }

    fn names(&self) -> Vec<String> {
        let list: Value = serde_json::from_str(&self.told(&["list", "--json"])).expect("JSON");
        let chunks = list.as_array().expect("a list");
        chunks.iter().map(|chunk| chunk["name"].as_str().expect("a name").to_owned()).collect()
    }
}

#[tokio::test]
async fn an_operator_sees_redrives_and_discards_what_cannot_be_read() {
    let mut stack = Stack::start(Mode::Servers, Options::default()).await;
    let receiver = Receiver::start().await;
    stack.subscribed(&receiver, "/a").await;
    let operator = Operator {
        server: stack.url(Kind::ControlPlane),
        platform_key: stack.identity.platform_key.clone(),
    };
    assert_eq!(operator.told(&["list"]), "nothing is in quarantine\n");

    let home = Partition(1);
    for poison in ["no chunk", "nor is this"] {
        let queue = stack.servers().queue().await;
        queue.append(home, Bytes::from(poison)).await.expect("it is kept");
    }
    let both = async || Some(operator.names()).filter(|names| names.len() == 2);
    let names = eventually("both are set aside", both).await;
    assert!(names.iter().all(|name| name.starts_with("1/")), "named by partition: {names:?}");
    let shown = operator.told(&["show", &names[0]]);
    assert!(shown.contains(&names[0]) && shown.contains("it cannot be read"), "{shown}");

    // Redriven, it is tried as anything new is, and comes back: nothing of it is lost on the way.
    assert_eq!(operator.told(&["redrive", &names[0]]), "redriven 1 chunk\n");
    eventually("it is set aside again, and named anew", async || {
        let now = operator.names();
        (now.len() == 2 && !now.contains(&names[0])).then_some(())
    })
    .await;
    let nothing = operator.told(&["redrive", &names[0]]);
    assert_eq!(nothing, "redriven 0 chunks\n", "it is there by that name no more");

    stack.publish([event("EZ1")]).await;
    arrivals::exactly(&receiver, "/a", &arrivals::ids(["EZ1"])).await;
    assert_eq!(operator.told(&["discard", "--all"]), "discarded 2 chunks\n");
    assert_eq!(operator.told(&["list"]), "nothing is in quarantine\n");
}

#[tokio::test]
async fn a_wrong_name_or_key_is_told_with_its_remedy() {
    let stack = Stack::start(Mode::Embedded, Options::default()).await;
    let server = stack.url(Kind::ControlPlane);
    let platform_key = stack.identity.platform_key.clone();
    let operator = Operator { server: server.clone(), platform_key };
    for (arguments, expected) in [
        (&["show", "7/1700000000000-0"][..], "7/1700000000000-0"),
        (&["show", "seven"], "seven"),
        (&["redrive"], "--all"),
        (&["discard", "--all", "7/1-0"], "cannot be used with"),
    ] {
        let output = operator.quarantine(arguments);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && told.contains(expected), "{arguments:?}: {told}");
    }
    let stranger = Operator { server, platform_key: "another-key-than-that".to_owned() };
    let output = stranger.quarantine(&["list"]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && told.contains("key"), "{told}");
}
