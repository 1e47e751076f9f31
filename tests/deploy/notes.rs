//! What an operator reads after an installation.

use crate::{
    chart,
    tools::{helms, succeeded},
};

fn notes(set: &str) -> String {
    let file = chart::values(set);
    let more = ["--dry-run=client", "--values", file.to_str().expect("text")];
    // Helm 3 asks a cluster even so.
    let said = succeeded(chart::helm(&helms()[1], &["install", "mine"], &more), set);
    said.split_once("\nNOTES:\n").expect("notes").1.to_owned()
}

#[test]
fn the_notes_tell_the_next_step() {
    let evaluation = notes("evaluation");
    for words in [
        "--namespace events get secret mine-millrace-evaluation",
        "--namespace events port-forward service/mine-millrace-control-plane 8080",
        "-plaintext",
        "millrace.v1.AccountService/CreateAccount",
        "networkPolicy.callers",
    ] {
        assert!(evaluation.contains(words), "{words}: {evaluation}");
    }
    let everything = notes("everything");
    for words in ["grpc.events.example.com:443", "REST is at https://events.example.com."] {
        assert!(everything.contains(words), "{words}: {everything}");
    }
    for words in ["port-forward", "evaluation", "networkPolicy.callers"] {
        assert!(!everything.contains(words), "{words}: {everything}");
    }
}

#[test]
fn the_notes_show_no_secret() {
    let told = notes("external");
    for secret in ["0123456789abcdefghijklmnop", "p@ss", "p%40ss", "k1:"] {
        assert!(!told.contains(secret), "{told}");
    }
}
