//! The audit log: who changed what, as both faces tell it.

use millrace_domain::{AccountSid, AccountStatus};
use millrace_proto::v1::{self, audit_service_client::AuditServiceClient};
use reqwest::Method;
use serde_json::{Value, json};
use tonic::Code;

use crate::harness::{
    TOKEN, basic, platform, read, refused, send, start, text, with_authorization,
};

#[tokio::test]
async fn an_account_sees_who_changed_what_and_no_secret() {
    let harness = start().await;
    let sink = harness.sink().await;
    let asked = harness.request(Method::POST, &format!("/v1/Sinks/{sink}"));
    let asked = asked.header("x-request-id", "req-7");
    let form = asked.header("content-type", "application/x-www-form-urlencoded");
    let answer = send(form.body("Description=b")).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["twilio-request-id"], "req-7");
    harness.delete(&format!("/v1/Sinks/{sink}")).await;

    let (status, log) = harness.get(&format!("/v1/Audit?Resource={sink}")).await;
    assert_eq!(status, 200, "{log}");
    let entries = log["audit_entries"].as_array().expect("a list");
    let told: Vec<_> = entries.iter().map(|entry| text(entry, "action")).collect();
    assert_eq!(told, ["delete", "update", "create"]);
    let update = &entries[1];
    assert_eq!(update["actor"], harness.account.to_string());
    assert_eq!(update["request_id"], "req-7");
    assert_eq!(update["changed"], json!(["/description"]));
    assert_eq!(
        (&update["before"]["description"], &update["after"]["description"]),
        (&json!("a"), &json!("b"))
    );
    assert_eq!(update["after"]["configuration"]["destination"], "https://e.example/***");
    assert_eq!(update["after"]["signing_secret"], "***");
    assert_eq!(entries[0]["after"], Value::Null);
    assert!(text(&entries[2], "request_id").starts_with("RQ"));
    let (_, page) = harness.get("/v1/Audit?PageSize=1").await;
    let next = text(&page["meta"], "next_page_url");
    let (_, second) = harness.get(&next).await;
    assert_eq!(second["audit_entries"][0]["action"], "update");
    let wrong = refused(harness.get("/v1/Audit?StartTime=yesterday").await);
    assert_eq!((wrong.0, wrong.1), (400, 20001));
}

#[tokio::test]
async fn others_see_nothing_and_the_platform_sees_all() {
    let harness = start().await;
    let other = AccountSid::from_u128(2);
    harness.add_account(other, AccountStatus::Active).await;
    let sink = harness.sink().await;
    let stranger = harness.anonymous(Method::GET, &format!("/v1/Audit?Resource={sink}"));
    let (status, log) = read(stranger.basic_auth(other, Some(TOKEN))).await;
    assert_eq!((status.as_u16(), &log["audit_entries"]), (200, &json!([])));

    let mut client = AuditServiceClient::new(harness.channel().await);
    let of = |resource: &str| v1::ListAuditEntriesRequest {
        resource: resource.to_owned(),
        ..v1::ListAuditEntriesRequest::default()
    };
    let all = client.list_audit_entries(platform(of(&sink))).await.expect("answers").into_inner();
    assert_eq!(all.entries.len(), 1);
    let catalogue = of("com.twilio.messaging.message.sent");
    let all = client.list_audit_entries(platform(catalogue.clone())).await.expect("answers");
    assert_eq!(all.into_inner().entries[0].actor, "millrace:catalogue");
    let own = client.list_audit_entries(harness.ask(catalogue)).await.expect("answers");
    assert!(own.into_inner().entries.is_empty(), "the installation's is not an account's");

    let named = v1::ListAuditEntriesRequest {
        account_sid: harness.account.to_string(),
        ..v1::ListAuditEntriesRequest::default()
    };
    let request = with_authorization(named, &basic(&other.to_string(), TOKEN));
    let refused = client.list_audit_entries(request).await.expect_err("not its account");
    assert!(matches!(refused.code(), Code::PermissionDenied | Code::NotFound), "{refused}");
    let hostile = client.list_audit_entries(harness.ask(of("a\0b"))).await;
    assert_eq!(hostile.expect_err("is no name").code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_platform_key_is_named_by_its_fingerprint() {
    let harness = start().await;
    let mut accounts =
        v1::account_service_client::AccountServiceClient::new(harness.channel().await);
    let new = v1::CreateAccountRequest {
        friendly_name: "new".to_owned(),
        ..v1::CreateAccountRequest::default()
    };
    let made = accounts.create_account(platform(new)).await.expect("made").into_inner();
    let sid = made.account.expect("the account").sid;
    let mut client = AuditServiceClient::new(harness.channel().await);
    let of =
        v1::ListAuditEntriesRequest { resource: sid, ..v1::ListAuditEntriesRequest::default() };
    let found = client.list_audit_entries(platform(of)).await.expect("answers").into_inner();
    let hash = millrace_domain::secret::SecretHash::of(crate::harness::PLATFORM_KEY).to_hex();
    let fingerprint = found.entries[0].actor.strip_prefix("platform-key:").expect("a platform key");
    assert!(fingerprint.len() == 12 && hash.starts_with(fingerprint), "{fingerprint}");
    assert!(
        !found.entries[0].after.contains("auth_token\":\"")
            || found.entries[0].after.contains("\"***\"")
    );
}
