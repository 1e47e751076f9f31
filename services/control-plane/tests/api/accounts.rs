//! Accounts, keys and tokens over REST, as Twilio's SDKs see them; and how often an account may ask.

use millrace_domain::{AccountSid, AccountStatus};
use millrace_proto::v1::{
    ListAccountsRequest, ListSinksRequest, UpdateAccountRequest,
    account_service_client::AccountServiceClient, sink_service_client::SinkServiceClient,
};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tonic::Code;
use tonic_types::StatusExt;

use crate::harness::{
    DELIVERED, Harness, PLATFORM_KEY, TOKEN, WEBHOOK, read, refused, send, start, start_with, text,
};

const ACCOUNTS: &str = "/2010-04-01/Accounts.json";

fn by(it: &Harness, method: Method, path: &str, (user, password): (&str, &str)) -> RequestBuilder {
    it.anonymous(method, path).basic_auth(user, Some(password))
}

pub(crate) async fn post(
    it: &Harness,
    path: &str,
    who: (&str, &str),
    form: &[(&str, &str)],
) -> (StatusCode, Value) {
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let request = by(it, Method::POST, path, who).body(body);
    read(request.header("content-type", "application/x-www-form-urlencoded")).await
}

async fn get(it: &Harness, path: &str, who: (&str, &str)) -> (StatusCode, Value) {
    read(by(it, Method::GET, path, who)).await
}

/// A subaccount of the harness's account: its SID and its token.
pub(crate) async fn subaccount(it: &Harness, name: &str) -> (String, String) {
    let (status, made) = it.post(ACCOUNTS, &[("FriendlyName", name)]).await;
    assert_eq!(status, 201, "{made}");
    (text(&made, "sid"), text(&made, "auth_token"))
}

#[tokio::test]
async fn a_subaccount_is_made_found_and_named_by_its_parent() {
    let it = start().await;
    let (status, made) = it.post(ACCOUNTS, &[("FriendlyName", "Acme é")]).await;
    let sid = text(&made, "sid");
    assert_eq!(status, 201);
    assert_eq!(
        made,
        json!({
            "sid": sid, "owner_account_sid": it.account, "friendly_name": "Acme é",
            "status": "active", "type": "Full", "auth_token": made["auth_token"],
            "date_created": made["date_created"], "date_updated": made["date_created"],
            "subresource_uris": {"keys": format!("/2010-04-01/Accounts/{sid}/Keys.json")},
            "uri": format!("/2010-04-01/Accounts/{sid}.json"),
        })
    );
    let date = text(&made, "date_created");
    assert!(date.len() == 31 && date.ends_with(" +0000") && date.contains(", "), "{date}");
    let path = format!("/2010-04-01/Accounts/{sid}.json");
    assert_eq!(it.get(&path).await, (StatusCode::OK, made.clone()));
    let (status, named) = it.post(&path, &[("FriendlyName", "Other")]).await;
    assert_eq!((status.as_u16(), text(&named, "friendly_name")), (200, "Other".to_owned()));
    let (_, unnamed) = it.post(ACCOUNTS, &[]).await;
    let name = text(&unnamed, "friendly_name");
    assert!(name.starts_with("SubAccount Created at 20"), "{name}");

    let own = (sid.as_str(), &*text(&made, "auth_token"));
    assert_eq!(get(&it, &path, own).await.0, 200, "it sees itself");
    let parent = format!("/2010-04-01/Accounts/{}.json", it.account);
    assert_eq!(
        refused(get(&it, &parent, own).await),
        (404, 20404, format!("account {} does not exist", it.account))
    );
    assert_eq!(refused(post(&it, ACCOUNTS, own, &[]).await).0, 403, "there are two levels");
    let (_, listed) = get(&it, ACCOUNTS, own).await;
    assert_eq!(listed["accounts"].as_array().map(Vec::len), Some(1));
    for (path, message) in [
        (format!("/2010-04-01/Accounts/{sid}"), "without its end"),
        ("/2010-04-01/Accounts/AC1.json".to_owned(), "no SID"),
        ("/2010-04-01/Accounts/AC00000000000000000000000000000099.json".to_owned(), "nobody's"),
    ] {
        assert_eq!(refused(it.get(&path).await).1, 20404, "{message}");
    }
    for (form, field) in [
        (("Status", "gone"), "Status: "),
        (("FriendlyName", "a\nb"), "FriendlyName: "),
        (("FriendlyName", &*"x".repeat(257)), "FriendlyName: "),
    ] {
        let (status, code, message) = refused(it.post(&path_of(&sid), &[form]).await);
        assert!((status, code) == (400, 20001) && message.starts_with(field), "{message}");
    }
}

fn path_of(sid: &str) -> String {
    format!("/2010-04-01/Accounts/{sid}.json")
}

#[tokio::test]
async fn accounts_are_listed_by_page_name_and_status() {
    let it = start().await;
    for n in 0..5 {
        subaccount(&it, &format!("child {n}")).await;
    }
    let stranger = AccountSid::from_u128(77);
    it.add_account(stranger, AccountStatus::Active).await;
    let (mut uri, mut seen) = (format!("{ACCOUNTS}?PageSize=2"), Vec::new());
    for page in 0..3 {
        let (status, list) = it.get(&uri).await;
        assert_eq!((status.as_u16(), &list["page"]), (200, &json!(page)));
        assert_eq!((&list["start"], &list["end"]), (&json!(page * 2), &json!(page * 2 + 1)));
        let rows = list["accounts"].as_array().expect("a list");
        seen.extend(rows.iter().map(|row| text(row, "sid")));
        assert_eq!(list["next_page_uri"].is_null(), page == 2, "{list}");
        assert_eq!(list["previous_page_uri"].is_null(), page == 0, "{list}");
        if page < 2 {
            uri = text(&list, "next_page_uri");
            assert!(uri.starts_with("/2010-04-01/"), "{uri}");
        }
    }
    assert_eq!(seen.len(), 6);
    assert!(seen.contains(&it.account.to_string()) && !seen.contains(&stranger.to_string()));
    let count = async |query: &str| {
        let (_, list) = it.get(&format!("{ACCOUNTS}?{query}")).await;
        list["accounts"].as_array().expect("a list").len()
    };
    it.post(&path_of(&seen[3]), &[("Status", "suspended")]).await;
    assert_eq!(count("Status=suspended").await, 1);
    assert_eq!(count("Status=active").await, 5);
    assert_eq!(count("FriendlyName=child+1").await, 1);
    assert_eq!(count("FriendlyName=&Status=").await, 6, "an empty filter filters nothing");
    assert_eq!(count("FriendlyName=child").await, 0, "a name is the whole name");
    let (status, refused) = it.get(&format!("{ACCOUNTS}?FriendlyName=%00")).await;
    assert_eq!(status.as_u16(), 400, "no database is asked for what it refuses: {refused}");

    let all = it.anonymous(Method::GET, ACCOUNTS).bearer_auth(PLATFORM_KEY);
    assert_eq!(read(all).await.1["accounts"].as_array().map(Vec::len), Some(7));
    let new = it.anonymous(Method::POST, ACCOUNTS).bearer_auth(PLATFORM_KEY);
    let (status, made) = read(new).await;
    assert_eq!((status.as_u16(), &made["owner_account_sid"]), (201, &made["sid"]));
    let mut accounts = AccountServiceClient::new(it.channel().await);
    let request = ListAccountsRequest { page_size: 4, ..Default::default() };
    let page = accounts.list_accounts(it.ask(request)).await.expect("a page").into_inner();
    assert!(page.accounts.len() == 4 && !page.next_page_token.is_empty());
}

#[tokio::test]
async fn a_suspended_account_can_do_nothing_until_it_is_active_again() {
    let it = start().await;
    let (sid, token) = subaccount(&it, "child").await;
    let own = (sid.as_str(), token.as_str());
    let turn = async |status: &str| it.post(&path_of(&sid), &[("Status", status)]).await;
    assert_eq!(refused(post(&it, &path_of(&sid), own, &[("Status", "closed")]).await).1, 20006);
    assert_eq!(turn("suspended").await.1["status"], "suspended");
    assert_eq!(refused(get(&it, "/v1/Sinks", own).await).1, 20005);
    assert_eq!(refused(get(&it, &path_of(&sid), own).await).1, 20005);
    assert_eq!(turn("active").await.0, 200);
    assert_eq!(get(&it, "/v1/Sinks", own).await.0, 200);

    let form = [("Description", "a"), ("SinkConfiguration", WEBHOOK), ("SinkType", "webhook")];
    let sink = text(&post(&it, "/v1/Sinks", own, &form).await.1, "sid");
    let types = format!(r#"{{"type": "{DELIVERED}"}}"#);
    let form = [("Description", "s"), ("SinkSid", &*sink), ("Types", &types)];
    assert_eq!(post(&it, "/v1/Subscriptions", own, &form).await.0, 201);
    assert_eq!(turn("closed").await.1["status"], "closed");
    assert_eq!(refused(turn("active").await).1, 20005, "closed is for good");
    assert_eq!(refused(get(&it, "/v1/Sinks", own).await).1, 20005);
    let left = it.anonymous(Method::GET, "/v1/Sinks").bearer_auth(PLATFORM_KEY);
    let (_, left) = read(left.header("millrace-account-sid", &sid)).await;
    assert_eq!(left["sinks"].as_array().map(Vec::len), Some(0));
    let keys = format!("/2010-04-01/Accounts/{sid}/Keys.json");
    assert_eq!(refused(it.post(&keys, &[]).await).1, 20005);

    let mut accounts = AccountServiceClient::new(it.channel().await);
    let account = millrace_proto::v1::Account { sid, status: 1, ..Default::default() };
    let request = UpdateAccountRequest { account: Some(account), update_mask: None };
    let error = accounts.update_account(it.ask(request)).await.expect_err("closed");
    assert_eq!(error.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn keys_are_made_listed_named_and_deleted() {
    let it = start().await;
    let keys = format!("/2010-04-01/Accounts/{}/Keys.json", it.account);
    let (status, made) = it.post(&keys, &[("FriendlyName", "first")]).await;
    let (sid, secret) = (text(&made, "sid"), text(&made, "secret"));
    assert_eq!(status, 201);
    assert_eq!(
        made,
        json!({
            "sid": sid, "friendly_name": "first", "secret": secret,
            "date_created": made["date_created"], "date_updated": made["date_created"],
        })
    );
    let path = format!("/2010-04-01/Accounts/{}/Keys/{sid}.json", it.account);
    assert!(it.get(&path).await.1.get("secret").is_none(), "its secret is shown once");
    let key = (sid.as_str(), secret.as_str());
    assert_eq!(get(&it, "/v1/Sinks", key).await.0, 200);
    assert_eq!(refused(get(&it, &keys, key).await).1, 20006, "a standard key");
    let (_, named) = it.post(&path, &[("FriendlyName", "new")]).await;
    assert_eq!(named["friendly_name"], "new");
    assert_eq!(refused(it.post(&path, &[("Access", "main")]).await).0, 400);
    assert_eq!(refused(it.post(&keys, &[("Access", "root")]).await).0, 400);
    let (_, reader) = it.post(&keys, &[("Access", "read-only")]).await;
    assert_eq!(reader["access"], "read-only");
    let (_, list) = it.get(&keys).await;
    let listed: Vec<_> =
        list["keys"].as_array().expect("a list").iter().map(|row| text(row, "sid")).collect();
    assert_eq!(listed, [sid.clone(), text(&reader, "sid")]);
    assert_eq!(it.delete(&path).await.0, 204);
    assert_eq!(refused(it.delete(&path).await).1, 20404);
    assert_eq!(refused(get(&it, "/v1/Sinks", key).await).0, 401, "it opens nothing any more");

    let (child, _) = subaccount(&it, "child").await;
    let elsewhere = format!("/2010-04-01/Accounts/{child}/Keys/{}.json", text(&reader, "sid"));
    assert_eq!(refused(it.get(&elsewhere).await).1, 20404, "a key of another account");
    let of_child = format!("/2010-04-01/Accounts/{child}/Keys.json");
    assert_eq!(it.post(&of_child, &[]).await.0, 201, "a parent makes keys of its subaccount");
}

#[tokio::test]
async fn limits_of_keys_and_subaccounts_hold() {
    let it = start_with(|settings| {
        settings.limits.api_keys_per_account = 1;
        settings.limits.subaccounts_per_account = 1;
    })
    .await;
    let keys = format!("/2010-04-01/Accounts/{}/Keys.json", it.account);
    for path in [ACCOUNTS, &keys] {
        assert_eq!(it.post(path, &[]).await.0, 201);
        let (status, code, message) = refused(it.post(path, &[]).await);
        assert!((status, code) == (400, 20001) && message.starts_with("the 1 "), "{message}");
    }
}

#[tokio::test]
async fn a_token_is_replaced_without_a_moment_in_which_none_works() {
    let it = start().await;
    let account = it.account.to_string();
    let (secondary, promote) = ("/v1/AuthTokens/Secondary", "/v1/AuthTokens/Promote");
    assert_eq!(refused(it.post(promote, &[]).await).1, 20404);
    let (status, made) = it.post(secondary, &[]).await;
    let second = text(&made, "secondary_auth_token");
    assert_eq!(status, 201);
    assert_eq!(
        made,
        json!({
            "account_sid": account, "secondary_auth_token": second,
            "date_created": made["date_created"], "date_updated": made["date_created"],
            "url": format!("{}{secondary}", it.url),
        })
    );
    assert_eq!(refused(it.post(secondary, &[]).await).0, 409, "one at a time");
    let by_second = (account.as_str(), second.as_str());
    assert_eq!(get(&it, "/v1/Sinks", by_second).await.0, 200, "both are accepted");
    assert_eq!(it.get("/v1/Sinks").await.0, 200);
    assert_eq!(it.delete(secondary).await.0, 204);
    assert_eq!(refused(get(&it, "/v1/Sinks", by_second).await).0, 401);
    let (_, made) = it.post(secondary, &[]).await;
    let second = text(&made, "secondary_auth_token");
    let by_second = (account.as_str(), second.as_str());
    let (status, promoted) = post(&it, promote, by_second, &[]).await;
    assert_eq!((status.as_u16(), &promoted["auth_token"]), (200, &json!(second)));
    assert_eq!(refused(it.get("/v1/Sinks").await).0, 401, "the old one opens nothing");
    assert_eq!(get(&it, "/v1/Sinks", by_second).await.0, 200);
    let (_, shown) = get(&it, &path_of(&account), by_second).await;
    assert_eq!(shown["auth_token"], json!(second));
}

#[tokio::test]
async fn an_account_that_asks_too_often_is_told_when_to_come_back() {
    let it = start_with(|settings| {
        settings.limits.requests_per_second = 1;
        settings.limits.request_burst = 3;
    })
    .await;
    let other = AccountSid::from_u128(2);
    it.add_account(other, AccountStatus::Active).await;
    // However slow the machine is, a hundred requests take less than a hundred seconds.
    let mut held_back = None;
    for _ in 0..100 {
        let response = send(it.request(Method::GET, "/v1/Sinks")).await;
        if response.status() == 429 {
            held_back = Some(response);
            break;
        }
    }
    let response = held_back.expect("the burst has an end");
    let wait: u64 = response.headers()["retry-after"].to_str().expect("ASCII").parse().expect("s");
    assert_eq!(wait, 1);
    let body: Value = response.json().await.expect("JSON");
    assert_eq!((&body["code"], &body["status"]), (&json!(20429), &json!(429)));
    assert!(body.get("message").is_some());

    let mut sinks = SinkServiceClient::new(it.channel().await);
    let mut refused = None;
    for _ in 0..100 {
        if let Err(status) = sinks.list_sinks(it.ask(ListSinksRequest::default())).await {
            refused = Some(status);
            break;
        }
    }
    let status = refused.expect("both faces count together");
    assert_eq!(status.code(), Code::ResourceExhausted);
    let retry = status.get_details_retry_info().and_then(|info| info.retry_delay);
    assert!(retry.is_some_and(|wait| !wait.is_zero()), "{status}");
    let others = it.anonymous(Method::GET, "/v1/Sinks").basic_auth(other, Some(TOKEN));
    assert_eq!(send(others).await.status(), 200, "another account is not held back");
    for _ in 0..10 {
        let platform = it.anonymous(Method::GET, "/v1/Types").bearer_auth(PLATFORM_KEY);
        assert_eq!(send(platform).await.status(), 200, "nor is the platform");
    }
}

#[tokio::test]
async fn a_subscription_says_that_it_includes_subaccounts_only_if_it_does() {
    let it = start().await;
    let sink = it.sink().await;
    let types = format!(r#"{{"type": "{DELIVERED}"}}"#);
    let form = [("Description", "s"), ("SinkSid", &*sink), ("Types", &types)];
    let (_, plain) = it.post("/v1/Subscriptions", &form).await;
    assert!(plain.get("include_subaccounts").is_none());
    let path = format!("/v1/Subscriptions/{}", text(&plain, "sid"));
    let (_, set) = it.post(&path, &[("IncludeSubaccounts", "true")]).await;
    assert_eq!((&set["include_subaccounts"], &set["description"]), (&json!(true), &json!("s")));
    let (_, unset) = it.post(&path, &[("IncludeSubaccounts", "false")]).await;
    assert!(unset.get("include_subaccounts").is_none());
    let (status, code, _) = refused(it.post(&path, &[("IncludeSubaccounts", "yes")]).await);
    assert_eq!((status, code), (400, 91101));

    let (sid, token) = subaccount(&it, "child").await;
    let own = (sid.as_str(), token.as_str());
    let form = [("Description", "a"), ("SinkConfiguration", WEBHOOK), ("SinkType", "webhook")];
    let sink = text(&post(&it, "/v1/Sinks", own, &form).await.1, "sid");
    let form = [
        ("Description", "s"),
        ("SinkSid", &*sink),
        ("Types", &types),
        ("IncludeSubaccounts", "true"),
    ];
    let (_, code, message) = refused(post(&it, "/v1/Subscriptions", own, &form).await);
    assert!(code == 91101 && message.starts_with("IncludeSubaccounts: "), "{message}");
}
