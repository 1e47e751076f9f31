//! What an API key is good for, by REST, by gRPC and for publishing.

use millrace_proto::v1::{
    CreateApiKeyRequest, CreateSinkRequest, ListApiKeysRequest, ListSinksRequest, Sink,
    WebhookConfiguration, account_service_client::AccountServiceClient, sink::Configuration,
    sink_service_client::SinkServiceClient,
};
use millrace_tests::{
    Kind, Member, Mode, Options, Publisher, Stack, TYPE, authorized, channel, cloud_event, event,
};
use tonic::{Code, Response, Status};

/// Whether a key sees, changes, manages, publishes.
const RIGHTS: [(&str, [bool; 4]); 4] = [
    ("main", [true, true, true, true]),
    ("standard", [true, true, false, true]),
    ("read-only", [true, false, false, false]),
    ("publish-only", [false, false, false, true]),
];

#[tokio::test]
async fn a_key_is_good_for_what_it_was_made_for_embedded() {
    a_key_is_good_for_what_it_was_made_for(Mode::Embedded).await;
}

#[tokio::test]
async fn a_key_is_good_for_what_it_was_made_for_on_servers() {
    a_key_is_good_for_what_it_was_made_for(Mode::Servers).await;
}

async fn a_key_is_good_for_what_it_was_made_for(mode: Mode) {
    let stack = Stack::start(mode, Options::default()).await;
    let account = Member::first(&stack);
    let mut keys = Vec::new();
    for (access, rights) in RIGHTS {
        keys.push((access, account.key(&stack, access).await, rights));
    }
    stack.settled().await;
    for (access, key, rights) in keys {
        assert_eq!(by_rest(&stack, &account, &key).await, rights[..3], "{access} over REST");
        assert_eq!(by_grpc(&stack, &key).await, rights[..3], "{access} over gRPC");
        assert_eq!(publishing(&stack, &key).await, [rights[3]; 2], "{access} publishing");
    }
}

/// Of an answer, whether it was done; if not, it was because of the key.
fn told(status: u16, code: u64) -> bool {
    assert!(matches!((status, code), (200 | 201, _) | (403, 20006)), "{status} {code}");
    status < 300
}

async fn by_rest(stack: &Stack, account: &Member, key: &str) -> [bool; 3] {
    let rest = stack.rest_as(Some(key));
    let configuration = r#"{"destination": "http://127.0.0.1:9/", "method": "POST"}"#;
    let form = [
        ("Description", "by a key"),
        ("SinkType", "webhook"),
        ("SinkConfiguration", configuration),
    ];
    let keys = format!("/2010-04-01/Accounts/{}/Keys.json", account.sid);
    let mut done = Vec::new();
    for answer in [
        rest.get("/v1/Sinks").await,
        rest.post("/v1/Sinks", &form).await,
        rest.post(&keys, &[("FriendlyName", "by a key")]).await,
    ] {
        done.push(told(answer.status, answer.error().1));
    }
    done.try_into().expect("three")
}

async fn by_grpc(stack: &Stack, key: &str) -> [bool; 3] {
    fn told<T>(answer: Result<Response<T>, Status>) -> bool {
        let Err(status) = answer else { return true };
        assert_eq!(status.code(), Code::PermissionDenied, "{status}");
        false
    }
    let channel = channel(&stack.url(Kind::ControlPlane));
    let mut sinks = SinkServiceClient::new(channel.clone());
    let mut accounts = AccountServiceClient::new(channel);
    let destination = "http://127.0.0.1:9/".to_owned();
    let webhook = WebhookConfiguration { destination, ..WebhookConfiguration::default() };
    let sink = Sink {
        description: "by a key".to_owned(),
        configuration: Some(Configuration::Webhook(webhook)),
        ..Sink::default()
    };
    let create = CreateSinkRequest { sink: Some(sink), ..CreateSinkRequest::default() };
    let sees = told(sinks.list_sinks(authorized(ListSinksRequest::default(), key)).await);
    let changes = told(sinks.create_sink(authorized(create, key)).await);
    let list = accounts.list_api_keys(authorized(ListApiKeysRequest::default(), key)).await;
    let create = CreateApiKeyRequest::default();
    let manages = told(accounts.create_api_key(authorized(create, key)).await);
    assert_eq!(told(list), manages, "who may not make keys does not see them");
    [sees, changes, manages]
}

async fn publishing(stack: &Stack, key: &str) -> [bool; 2] {
    let publisher = Publisher::new(&stack.url(Kind::Router(0)), key);
    let grpc = publisher.publish(vec![event("by-a-key")]).await;
    let grpc = grpc.map(drop).map_err(|status| status.code());
    assert!(matches!(grpc, Ok(()) | Err(Code::PermissionDenied)), "{grpc:?}");
    let headers = [("content-type", "application/cloudevents+json")];
    let http = publisher.post(&headers, cloud_event(TYPE, "by-a-key").to_string()).await;
    assert!(matches!(http.status, 202 | 403), "{http:?}");
    [grpc.is_ok(), http.status == 202]
}
