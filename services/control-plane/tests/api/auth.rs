//! Who may do what, over both faces.

use millrace_domain::{AccountSid, AccountStatus};
use millrace_proto::v1::{
    ApiKey, CreateAccountRequest, CreateApiKeyRequest, GetAccountRequest, GetSinkRequest,
    KeyAccess, ListSinksRequest, UpdateApiKeyRequest, account_service_client::AccountServiceClient,
    sink_service_client::SinkServiceClient,
};
use reqwest::Method;
use tonic::{Code, Request};

use crate::harness::{
    DELIVERED, PLATFORM_KEY, TOKEN, WEBHOOK, basic, platform, read, refused, send, start,
    with_authorization,
};

#[tokio::test]
async fn only_right_credentials_are_let_in() {
    let it = start().await;
    let account = it.account.to_string();
    let suspended = AccountSid::from_u128(2);
    it.add_account(suspended, AccountStatus::Suspended).await;
    let mut sinks = SinkServiceClient::new(it.channel().await);
    for (authorization, status, code, grpc) in [
        (basic(&account, TOKEN), 200, 0, Code::Ok),
        (basic(&account.to_uppercase(), TOKEN), 200, 0, Code::Ok),
        (basic(&account, "wrong"), 401, 20003, Code::Unauthenticated),
        (basic(&account, ""), 401, 20003, Code::Unauthenticated),
        (basic("AC00000000000000000000000000000099", TOKEN), 401, 20003, Code::Unauthenticated),
        (basic("SK00000000000000000000000000000099", TOKEN), 401, 20003, Code::Unauthenticated),
        (basic("nobody", TOKEN), 401, 20003, Code::Unauthenticated),
        (basic(&suspended.to_string(), TOKEN), 403, 20005, Code::PermissionDenied),
        (basic(&suspended.to_string(), "wrong"), 401, 20003, Code::Unauthenticated),
        (format!("Bearer {TOKEN}"), 401, 20003, Code::Unauthenticated),
        ("Basic !".to_owned(), 401, 20003, Code::Unauthenticated),
        ("Basic".to_owned(), 401, 20003, Code::Unauthenticated),
        (format!("Digest {TOKEN}"), 401, 20003, Code::Unauthenticated),
    ] {
        let request =
            it.anonymous(Method::GET, "/v1/Sinks").header("authorization", &authorization);
        let (told, body) = read(request).await;
        assert_eq!(
            (told.as_u16(), body["code"].as_u64().unwrap_or(0)),
            (status, code),
            "{authorization}"
        );
        let message = ListSinksRequest::default();
        let answer = sinks.list_sinks(with_authorization(message, &authorization)).await;
        assert_eq!(answer.map_or_else(|error| error.code(), |_| Code::Ok), grpc, "{authorization}");
    }
    let answer = send(it.anonymous(Method::GET, "/v1/Sinks")).await;
    assert_eq!(answer.status(), 401);
    let challenge = answer.headers().get("www-authenticate").expect("a challenge");
    assert!(challenge.to_str().expect("ASCII").starts_with("Basic "));
    let error =
        sinks.list_sinks(Request::new(ListSinksRequest::default())).await.expect_err("none");
    assert_eq!(error.code(), Code::Unauthenticated);
}

#[tokio::test]
async fn nobody_learns_of_another_accounts_resources() {
    let it = start().await;
    let sink = it.sink().await;
    let subscription = it.subscription(&sink, DELIVERED).await;
    let other = AccountSid::from_u128(2);
    it.add_account(other, AccountStatus::Active).await;
    let ask =
        |method: Method, path: &str| it.anonymous(method, path).basic_auth(other, Some(TOKEN));
    let form = |path: &str, body: String| {
        let request = ask(Method::POST, path).body(body);
        request.header("content-type", "application/x-www-form-urlencoded")
    };
    let sink_path = format!("/v1/Sinks/{sink}");
    let path = format!("/v1/Subscriptions/{subscription}");
    let events = format!("{path}/SubscribedEvents");
    let event = format!("{events}/{DELIVERED}");
    let missing = sink.replace(|digit: char| digit.is_ascii_digit(), "0");
    for (request, code) in [
        (ask(Method::GET, &sink_path), 91001),
        (ask(Method::DELETE, &sink_path), 91001),
        (form(&sink_path, "Description=x".to_owned()), 91001),
        (form(&format!("{sink_path}/Test"), String::new()), 91001),
        (form(&format!("{sink_path}/Validate"), "TestId=x".to_owned()), 91001),
        (ask(Method::GET, &path), 91102),
        (ask(Method::DELETE, &path), 91102),
        (form(&path, "Description=x".to_owned()), 91102),
        (ask(Method::GET, &events), 91102),
        (form(&events, format!("Type={DELIVERED}")), 91102),
        (ask(Method::GET, &event), 91102),
        (form(&event, String::new()), 91102),
        (ask(Method::DELETE, &event), 91102),
        (
            form(
                "/v1/Subscriptions",
                format!("Description=x&SinkSid={sink}&Types={{\"type\":\"{DELIVERED}\"}}"),
            ),
            91001,
        ),
    ] {
        let (status, told, message) = refused(read(request).await);
        assert_eq!((status, told), (404, code), "{message}");
        assert!(!missing.is_empty() && !message.contains(&it.account.to_string()));
    }
    let (_, list) = read(ask(Method::GET, "/v1/Sinks")).await;
    assert_eq!(list["sinks"].as_array().map(Vec::len), Some(0));
    let named =
        ask(Method::GET, "/v1/Sinks").header("Millrace-Account-Sid", it.account.to_string());
    assert_eq!(refused(read(named).await).0, 403);
}

#[tokio::test]
async fn a_platform_key_acts_for_the_account_it_names() {
    let it = start().await;
    let sink = it.sink().await;
    let ask = |path: &str| {
        it.anonymous(Method::GET, path).header("authorization", format!("Bearer {PLATFORM_KEY}"))
    };
    assert_eq!(read(ask(&format!("/v1/Sinks/{sink}"))).await.0, 200);
    assert_eq!(read(ask("/v1/Types")).await.0, 200);
    let (status, _, message) = refused(read(ask("/v1/Sinks")).await);
    assert!(status == 400 && message.starts_with("Millrace-Account-Sid: "), "{message}");
    for (account, status) in [
        (it.account.to_string(), 200),
        (AccountSid::from_u128(9).to_string(), 404),
        ("x".to_owned(), 400),
    ] {
        let request = ask("/v1/Sinks").header("millrace-account-sid", account);
        assert_eq!(read(request).await.0, status);
    }
    let form = [("Description", "a"), ("SinkConfiguration", WEBHOOK), ("SinkType", "webhook")];
    let mut body = form_urlencoded::Serializer::new(String::new());
    let request = it.anonymous(Method::POST, "/v1/Sinks").body(body.extend_pairs(form).finish());
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    let request = request.header("authorization", format!("Bearer {PLATFORM_KEY}"));
    let (status, _) = read(request.header("millrace-account-sid", it.account.to_string())).await;
    assert_eq!(status, 201);
    assert_eq!(it.get("/v1/Sinks").await.1["sinks"].as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn accounts_and_api_keys_are_made_over_grpc() {
    let it = start().await;
    let mut accounts = AccountServiceClient::new(it.channel().await);
    let new = CreateAccountRequest { friendly_name: "Acme".to_owned(), ..Default::default() };
    let made = accounts.create_account(platform(new)).await.expect("a new account");
    assert!(made.metadata().get("millrace-config-version").is_some());
    let made = made.into_inner().account.expect("an account");
    assert_eq!((made.auth_token.len(), made.friendly_name.as_str()), (32, "Acme"));
    let own = basic(&made.sid, &made.auth_token);
    let main = CreateApiKeyRequest { access: KeyAccess::Main.into(), ..Default::default() };
    let request = with_authorization(main, &own);
    let key = accounts.create_api_key(request).await.expect("a new key").into_inner();
    let key = key.api_key.expect("a key");
    let by_key = basic(&key.sid, &key.secret);
    let list = it.anonymous(Method::GET, "/v1/Sinks").header("authorization", &by_key);
    assert_eq!(read(list).await.0, 200);
    let named = async |name: &str, paths: &[&str]| {
        let api_key =
            ApiKey { sid: key.sid.clone(), friendly_name: name.to_owned(), ..Default::default() };
        let paths = paths.iter().map(|path| (*path).to_owned()).collect();
        let request = UpdateApiKeyRequest {
            api_key: Some(api_key),
            update_mask: Some(prost_types::FieldMask { paths }),
        };
        let mut accounts = accounts.clone();
        let updated = accounts.update_api_key(with_authorization(request, &own)).await?;
        Ok(updated.into_inner().api_key.expect("a key").friendly_name)
    };
    for (name, paths, right) in [
        ("ingest", &[][..], Ok("ingest".to_owned())),
        ("", &[], Ok("ingest".to_owned())),
        ("", &["friendly_name"], Ok(String::new())),
        ("a", &["access"], Err(Code::InvalidArgument)),
    ] {
        let told: Result<_, tonic::Status> = named(name, paths).await;
        assert_eq!(told.map_err(|error| error.code()), right, "{name} {paths:?}");
    }
    let request = with_authorization(GetAccountRequest::default(), &by_key);
    let got = accounts.get_account(request).await.expect("its own account").into_inner();
    assert_eq!(got.account.expect("an account").sid, made.sid);
    let sub = |parent: &str| {
        let parent_sid = parent.to_owned();
        platform(CreateAccountRequest { parent_sid, ..Default::default() })
    };
    let child = accounts.create_account(sub(&made.sid)).await.expect("a subaccount").into_inner();
    let child = child.account.expect("an account").sid;
    let code = |error: tonic::Status| error.code();
    assert_eq!(
        accounts.create_account(sub(&child)).await.map_err(code).err(),
        Some(Code::InvalidArgument)
    );
    let again = CreateAccountRequest { sid: made.sid.clone(), ..Default::default() };
    assert_eq!(
        accounts.create_account(platform(again)).await.map_err(code).err(),
        Some(Code::AlreadyExists)
    );
    let weak = CreateAccountRequest { auth_token: "weak".to_owned(), ..Default::default() };
    assert_eq!(
        accounts.create_account(platform(weak)).await.map_err(code).err(),
        Some(Code::InvalidArgument)
    );
    let given = CreateAccountRequest { sid: child.clone(), ..Default::default() };
    assert_eq!(
        accounts.create_account(with_authorization(given, &own)).await.map_err(code).err(),
        Some(Code::PermissionDenied),
        "only the platform says what an account is known by"
    );
    let request = with_authorization(GetAccountRequest { sid: child }, &own);
    let got = accounts.get_account(request).await.expect("its own subaccount").into_inner();
    assert_eq!(got.account.expect("an account").parent_sid, made.sid);
    let stranger = GetAccountRequest { sid: it.account.to_string() };
    assert_eq!(
        accounts.get_account(with_authorization(stranger, &own)).await.map_err(code).err(),
        Some(Code::NotFound)
    );
    let mut sinks = SinkServiceClient::new(it.channel().await);
    let request = with_authorization(GetSinkRequest { sid: it.sink().await }, &own);
    assert_eq!(sinks.get_sink(request).await.map_err(code).err(), Some(Code::NotFound));
}
