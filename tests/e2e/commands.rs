//! Accounts, keys and roll-up by the command line.

use millrace_testkit::receiver::Receiver;
use millrace_tests::{
    Kind, Member, Mode, Options, Stack, TYPE,
    arrivals::{exactly, ids},
    binary, event,
};
use serde_json::Value;
use tokio::process::Command;

/// The command line, as somebody.
struct Cli {
    environment: Vec<(&'static str, String)>,
}

impl Cli {
    fn of_account(stack: &Stack, account: &Member) -> Self {
        let server = stack.url(Kind::ControlPlane);
        let environment = vec![
            ("MILLRACE__CLIENT__SERVER", server),
            ("MILLRACE__CLIENT__ACCOUNT_SID", account.sid.clone()),
            ("MILLRACE__CLIENT__AUTH_TOKEN", account.auth_token.clone()),
        ];
        Self { environment }
    }

    fn of_platform(stack: &Stack) -> Self {
        let key = stack.identity.platform_key.clone();
        let server = stack.url(Kind::ControlPlane);
        let environment =
            vec![("MILLRACE__CLIENT__SERVER", server), ("MILLRACE__CLIENT__PLATFORM_KEY", key)];
        Self { environment }
    }

    /// Standard output, or standard error where it fails.
    async fn run(&self, line: &str) -> Result<String, String> {
        let ran = Command::new(binary())
            .args(line.split_whitespace())
            .envs(self.environment.iter().cloned())
            .stdin(std::process::Stdio::null())
            .output()
            .await
            .expect("the command runs");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        if ran.status.success() { Ok(text(ran.stdout)) } else { Err(text(ran.stderr)) }
    }

    /// What a command tells programs.
    async fn json(&self, line: &str) -> Value {
        let told = self.run(&format!("{line} --json")).await;
        serde_json::from_str(&told.unwrap_or_else(|error| panic!("{line}: {error}"))).expect("JSON")
    }

    async fn refused(&self, line: &str) -> String {
        match self.run(line).await {
            Err(error) => error,
            Ok(told) => panic!("{line}: {told}"),
        }
    }
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}"))
}

fn sids(list: &Value) -> Vec<&str> {
    list.as_array().expect("a list").iter().map(|row| text(row, "sid")).collect()
}

#[tokio::test]
async fn accounts_are_made_changed_and_closed_by_the_command_line() {
    let stack = Stack::start(Mode::Embedded, Options::default()).await;
    let own = Member::first(&stack);
    let cli = Cli::of_account(&stack, &own);
    let child = cli.json("accounts create --name child").await;
    let sid = text(&child, "sid").to_owned();
    assert_eq!((text(&child, "owner_account_sid"), text(&child, "status")), (&*own.sid, "active"));
    let shown = cli.run(&format!("accounts get {sid}")).await.expect("shown");
    for line in ["name:", "child", "subaccount of:", "auth token:", text(&child, "auth_token")] {
        assert!(shown.contains(line), "{shown}");
    }
    assert_eq!(text(&cli.json("accounts get").await, "sid"), own.sid);
    let mut family = [&*own.sid, &*sid];
    family.sort_unstable();
    assert_eq!(sids(&cli.json("accounts list").await), family);
    assert_eq!(sids(&cli.json("accounts list --name child").await), [&*sid]);
    let table = cli.run("accounts list").await.expect("a table");
    assert!(table.starts_with("SID") && table.lines().count() == 3, "{table}");

    let renamed = cli.json(&format!("accounts update {sid} --name other")).await;
    assert_eq!(text(&renamed, "friendly_name"), "other");
    for (turn, status) in [("--suspend", "suspended"), ("--activate", "active")] {
        let turned = cli.json(&format!("accounts update {sid} {turn}")).await;
        assert_eq!((text(&turned, "status"), text(&turned, "friendly_name")), (status, "other"));
    }
    let closes = cli.refused(&format!("accounts update {sid} --close")).await;
    assert!(closes.contains("cannot be taken back") && closes.contains("--yes"), "{closes}");
    assert_eq!(text(&cli.json(&format!("accounts get {sid}")).await, "status"), "active");
    let closed = cli.json(&format!("accounts update {sid} --close --yes")).await;
    assert_eq!(text(&closed, "status"), "closed");
    let none = cli.refused(&format!("accounts update {sid}")).await;
    assert!(none.contains("nothing to change"), "{none}");

    let platform = Cli::of_platform(&stack);
    let given = "AC00000000000000000000000000000042";
    let made = platform.json(&format!("accounts create --standalone --sid {given}")).await;
    assert_eq!((text(&made, "sid"), text(&made, "owner_account_sid")), (given, given));
    assert!(cli.refused("accounts create --standalone").await.contains("--platform-key"));
    let other = platform.json(&format!("accounts create --parent {given} --name b")).await;
    assert_eq!(text(&other, "owner_account_sid"), given);
    let listed = platform.json(&format!("accounts list --of {given}")).await;
    assert_eq!(sids(&listed), [given, text(&other, "sid")]);
    assert!(cli.refused(&format!("accounts get {given}")).await.contains("does not exist"));
}

#[tokio::test]
async fn tokens_are_rotated_and_keys_managed_by_the_command_line() {
    let stack = Stack::start(Mode::Embedded, Options::default()).await;
    let child = Member::first(&stack).subaccount(&stack).await;
    let cli = Cli::of_account(&stack, &child);
    let made = cli.json("accounts token create").await;
    let second = text(&made, "secondary_auth_token").to_owned();
    assert_eq!(text(&made, "auth_token"), child.auth_token);
    assert!(cli.refused("accounts token create").await.contains("cannot make a second auth token"));
    assert!(cli.run("accounts token delete").await.expect("deleted").starts_with("deleted"));
    let made = cli.json("accounts token create").await;
    assert_ne!(text(&made, "secondary_auth_token"), second);
    let second = text(&made, "secondary_auth_token").to_owned();
    let parent = Cli::of_account(&stack, &Member::first(&stack));
    let promoted = parent.json(&format!("accounts token promote {}", child.sid)).await;
    assert_eq!(
        (text(&promoted, "auth_token"), promoted.get("secondary_auth_token")),
        (&*second, None)
    );
    assert!(cli.refused("accounts get").await.contains("Check --account-sid"));
    let child = Member { auth_token: second, ..child };
    let cli = Cli::of_account(&stack, &child);

    let key = cli.json("keys create --name ingest --access publish-only").await;
    let sid = text(&key, "sid").to_owned();
    assert_eq!((text(&key, "access"), text(&key, "account_sid")), ("publish-only", &*child.sid));
    let by_key = Member { sid: sid.clone(), auth_token: text(&key, "secret").to_owned() };
    let by_key = Cli::of_account(&stack, &by_key);
    assert!(by_key.refused("sinks list").await.contains("may not do this"));
    let shown = cli.run(&format!("keys get {sid}")).await.expect("shown");
    assert!(shown.contains("ingest") && !shown.contains("secret"), "{shown}");
    let of_child = format!("keys list --of {}", child.sid);
    assert_eq!(sids(&parent.json(&of_child).await), [&*sid]);
    let renamed = cli.json(&format!("keys update {sid} --name old")).await;
    assert_eq!((text(&renamed, "friendly_name"), renamed.get("secret")), ("old", None));
    let deleted = cli.run(&format!("keys delete {sid}")).await.expect("deleted");
    assert_eq!(deleted, format!("deleted the key {sid}\n"));
    assert!(cli.run("keys list").await.expect("none").starts_with("no keys"));
    assert!(by_key.refused("sinks list").await.contains("Check --account-sid"));
}

#[tokio::test]
async fn a_subscription_takes_subaccounts_events_by_the_command_line() {
    let stack = Stack::start(Mode::Embedded, Options::default()).await;
    let receiver = Receiver::start().await;
    let parent = Member::first(&stack);
    let child = parent.subaccount(&stack).await;
    let cli = Cli::of_account(&stack, &parent);
    let sink = parent.sink(&stack, &receiver, "/all").await;
    let create = format!("subscriptions create --sink {} --type {TYPE} --description a", sink.sid);
    let made = cli.json(&format!("{create} --include-subaccounts")).await;
    assert_eq!(made["include_subaccounts"], true);
    let publish = async |id: &str| {
        let answer = child.publisher(&stack).publish(vec![event(id)]).await;
        answer.expect("accepted");
    };
    publish("of-child").await;
    exactly(&receiver, "/all", &ids(["of-child"])).await;
    let update = format!("subscriptions update {}", text(&made, "sid"));
    let off = cli.json(&format!("{update} --include-subaccounts=false --description b")).await;
    assert_eq!((off.get("include_subaccounts"), text(&off, "description")), (None, "b"));
    publish("late-of-child").await;
    let shown = cli.run(&format!("{update} --include-subaccounts")).await.expect("on again");
    assert!(shown.contains("subaccounts:") && shown.contains("included"), "{shown}");
    publish("last-of-child").await;
    exactly(&receiver, "/all", &ids(["of-child", "last-of-child"])).await;
    assert!(cli.refused(&update).await.contains("nothing to change"));
}

#[tokio::test]
async fn types_are_added_to_a_subscription_pinned_and_removed_by_the_command_line() {
    let stack = Stack::start(Mode::Embedded, Options::default()).await;
    let receiver = Receiver::start().await;
    let cli = Cli::of_account(&stack, &Member::first(&stack));
    let sink = stack.sink(&receiver, "/all", false).await;
    let (sent, failed) = (TYPE, "com.twilio.messaging.message.failed");
    let delivered = "com.twilio.messaging.message.delivered";
    let made = format!("subscriptions create --sink {} --description d --type {sent}@1", sink.sid);
    let sid = text(&cli.json(&made).await, "sid").to_owned();
    let types = |subscription: &Value| -> Vec<String> {
        let types = subscription["types"].as_array().expect("a list").iter();
        types.map(|it| format!("{}@{}", text(it, "type"), it["schema_version"])).collect()
    };
    let added = cli.json(&format!("subscriptions add {sid} {failed}@2 {delivered}@1")).await;
    let mut expected = vec![format!("{failed}@2"), format!("{sent}@1"), format!("{delivered}@1")];
    expected.sort();
    let mut told = types(&added);
    told.sort();
    assert_eq!(told, expected);
    let pinned = cli.run(&format!("subscriptions pin {sid} {failed}@1 {sent}")).await;
    let pinned = pinned.expect("pinned");
    assert!(pinned.contains(&format!("{failed}@1")), "{pinned}");
    assert!(!pinned.contains(&format!("{sent}@1\n")), "the latest: {pinned}");
    let removed = cli.json(&format!("subscriptions remove {sid} {failed}")).await;
    assert!(!types(&removed).iter().any(|it| it.starts_with(failed)), "{removed}");

    for (line, words) in [
        (format!("subscriptions add {sid} com.example.nobody"), "not in the catalogue"),
        (format!("subscriptions add {sid} {sent}"), sent),
        (format!("subscriptions pin {sid} {sent}@9999"), "has the versions"),
        (format!("subscriptions pin {sid} {failed}"), failed),
        (format!("subscriptions remove {sid} {failed}"), failed),
        (format!("subscriptions remove {sid}"), "NAME"),
        (format!("subscriptions add {sid} {sent}@0"), "1 or more"),
        (format!("subscriptions add DF{:032} {sent}", 7), "does not exist"),
    ] {
        let refused = cli.refused(&line).await;
        assert!(refused.contains(words), "{line}: {refused}");
    }
    let help = cli.run("subscriptions --help").await.expect("help");
    for command in ["add ", "pin ", "remove "] {
        assert!(help.contains(command), "{help}");
    }
}
