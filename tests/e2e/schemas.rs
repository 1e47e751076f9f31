//! A platform's own types and schemas: registered, subscribed to at a version, enforced at publish, projected at delivery.

use std::process::Command;

use millrace_proto::v1::{Event, publish_result::Outcome};
use millrace_testkit::receiver::Receiver;
use millrace_tests::{Answer, Kind, Mode, Options, Rest, Stack, TYPE, binary, event_of};
use serde_json::{Value, json};

const PLACED: &str = "com.example.order.placed";
const CATALOGUE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/examples/catalogue");

#[tokio::test]
async fn a_schema_is_enforced_and_projected_embedded() {
    a_schema_is_enforced_and_projected(Mode::Embedded).await;
}

#[tokio::test]
async fn a_schema_is_enforced_and_projected_on_servers() {
    a_schema_is_enforced_and_projected(Mode::Servers).await;
}

async fn register(rest: &Rest, document: &Value) -> Answer {
    let document = document.to_string();
    rest.post("/v1/Schemas/Example.Order/Versions", &[("Document", &document)]).await
}

fn placed(id: &str, data: &Value) -> Event {
    Event { data: data.to_string(), ..event_of(PLACED, id) }
}

async fn a_schema_is_enforced_and_projected(mode: Mode) {
    let stack = Stack::start(mode, Options::default()).await;
    let platform = stack.rest_as(Some(&stack.identity.bearer()));
    let mut document = json!({
        "type": "object", "required": ["order_id"], "additionalProperties": false,
        "properties": {
            "order_id": {"type": "string"},
            "lines": {"type": "array", "items": {"type": "object", "properties": {"sku": {"type": "string"}}}},
        },
    });
    assert_eq!(register(&platform, &document).await.status, 201);
    let mut narrower = document.clone();
    narrower["required"] = json!(["order_id", "lines"]);
    let refused = register(&platform, &narrower).await;
    assert!(refused.status == 400 && refused.error().1 == 91201, "{refused:?}");
    document["properties"]["lines"]["items"]["properties"]["gift"] = json!({"type": "boolean"});
    let second = register(&platform, &document).await;
    assert_eq!((second.status, &second.body["schema_version"]), (201, &json!(2)));
    let form = [("Type", PLACED), ("SchemaId", "Example.Order")];
    assert_eq!(platform.post("/v1/Types", &form).await.status, 201);

    let receiver = Receiver::start().await;
    for (path, version) in [("/one", 1), ("/two", 2)] {
        let sink = stack.sink(&receiver, path, false).await;
        stack.subscribe_to(&sink, &[json!({"type": PLACED, "schema_version": version})]).await;
    }
    let wrong = json!({"order_id": "1", "lines": [{"sku": "a"}, {"sku": "b", "gift": "yes"}]});
    let right = json!({"order_id": "2", "lines": [{"sku": "a", "gift": true}], "unknown": 1});
    let of_one = Event {
        dataschema: "https://events-schemas.twilio.com/Example.Order/1".to_owned(),
        ..placed("3", &wrong)
    };
    let of_none = Event {
        dataschema: "https://events-schemas.twilio.com/Example.Order/3".to_owned(),
        ..placed("4", &right)
    };
    let events =
        vec![placed("1", &wrong), placed("2", &right), of_one, of_none, placed("5", &json!({}))];
    let answer = stack.publisher(0).publish(events).await.expect("the router answers");
    let told: Vec<String> = answer
        .results
        .into_iter()
        .map(|result| match result.outcome {
            Some(Outcome::Rejected(rejected)) => rejected.field,
            Some(Outcome::Accepted(accepted)) => format!("{} sinks", accepted.sinks),
            other => format!("{other:?}"),
        })
        .collect();
    assert_eq!(told, ["data.lines[1].gift", "2 sinks", "2 sinks", "dataschema", "data.order_id"]);

    receiver.until("both sinks get both", |receiver| receiver.requests().len() == 4).await;
    let one = json!({"order_id": "2", "lines": [{"sku": "a"}]});
    assert_eq!(data(&receiver, "/one", "2"), (one, "1".to_owned()));
    assert_eq!(data(&receiver, "/two", "2"), (right, "2".to_owned()));
    assert_eq!(data(&receiver, "/two", "3").1, "1", "as it was published");
    assert_eq!(receiver.signature_failures(), [""; 0]);
}

/// Hundreds of forms, and events as large as may be that fit none of them, each for a hundred thousand reasons: refused with one of them, and
/// whoever else publishes is answered.
#[tokio::test]
async fn events_that_are_meant_to_cost_are_refused_and_hold_up_nobody() {
    let stack = Stack::start(Mode::Embedded, Options::default()).await;
    let platform = stack.rest_as(Some(&stack.identity.bearer()));
    let form = |n: usize| {
        json!({"required": ["kind"], "properties": {
            "kind": {"const": n}, "lines": {"items": {"type": "string"}},
        }})
    };
    let forms: Vec<Value> = (0..300).map(form).collect();
    let registered = register(&platform, &json!({"oneOf": forms})).await;
    assert_eq!(registered.status, 201, "{registered:?}");
    let form = [("Type", PLACED), ("SchemaId", "Example.Order")];
    assert_eq!(platform.post("/v1/Types", &form).await.status, 201);

    let publisher = stack.publisher(0);
    let lines = vec![1; 100_000];
    let costly: Vec<Event> =
        (0..8).map(|n| placed(&n.to_string(), &json!({"lines": lines, "n": n}))).collect();
    let refusing = publisher.publish(costly);
    let others = async {
        for n in 0..20 {
            stack.publish([event_of(TYPE, &format!("other-{n}"))]).await;
        }
    };
    let (refused, ()) = tokio::join!(refusing, others);
    for result in refused.expect("the router answers").results {
        let Some(Outcome::Rejected(rejected)) = result.outcome else {
            panic!("{:?}", result.outcome)
        };
        assert_eq!(rejected.field, "data");
        assert!(rejected.message.contains("fits none of the forms"), "{}", rejected.message);
    }
    let fits = placed("fits", &json!({"kind": 7, "lines": ["a"]}));
    stack.publish([fits]).await;
}

/// The data of an event at a path, and the version that it names.
fn data(receiver: &Receiver, path: &str, id: &str) -> (Value, String) {
    let requests = receiver.requests_to(path);
    let mut events = requests.iter().flat_map(|request| request.events());
    let event = events.find(|event| event["id"] == id).expect("delivered");
    let schema = event["dataschema"].as_str().expect("a schema");
    let version = schema.rsplit('/').next().unwrap_or_default().to_owned();
    (event["data"].clone(), version)
}

#[tokio::test]
async fn a_directory_is_pushed_once_and_then_there_is_nothing_to_do() {
    let stack = Stack::start(Mode::Embedded, Options::default()).await;
    let (server, key) = (stack.url(Kind::ControlPlane), stack.identity.platform_key.clone());
    let millrace = |arguments: &[&str]| {
        let mut command = Command::new(binary());
        command.args(["--server", &server, "--platform-key", &key]).args(arguments);
        let output = command.output().expect("runs");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        let errors = String::from_utf8(output.stderr).expect("UTF-8");
        assert!(output.status.success(), "{arguments:?}: {text}{errors}");
        text
    };
    millrace(&["schemas", "check", CATALOGUE]);
    let planned = millrace(&["types", "push", CATALOGUE, "--dry-run"]);
    assert!(planned.contains("+ schema Example.Order 2"), "{planned}");
    assert!(
        planned.contains("+ type com.example.order.placed (schema Example.Order)"),
        "{planned}"
    );
    let found = stack.rest().get(&format!("/v1/Types/{PLACED}")).await;
    assert_eq!(found.status, 404, "a dry run changes nothing");

    assert_eq!(
        millrace(&["types", "push", CATALOGUE]).replace("to be ", ""),
        planned.replace("to be ", "").replace("to register", "registered")
    );
    let again = millrace(&["types", "push", CATALOGUE]);
    let nothing =
        "schema versions: 0 registered, 2 unchanged\ntypes: 0 added, 0 changed, 3 unchanged\n";
    assert_eq!(again, nothing);
    let found = stack.rest().get("/v1/Types/com.example.order.faxed").await;
    assert_eq!((found.text("/status"), found.text("/validation")), ("deprecated", "warn"));

    let update = [("Status", "restricted"), ("Description", "changed")];
    let platform = stack.rest_as(Some(&stack.identity.bearer()));
    assert_eq!(platform.post(&format!("/v1/Types/{PLACED}"), &update).await.status, 200);
    let told = millrace(&["types", "push", CATALOGUE]);
    let change = r#"~ type com.example.order.placed: description "changed" → "A customer placed an order."; status restricted → available"#;
    assert!(told.contains(change), "{told}");
    assert!(
        millrace(&["schemas", "check", CATALOGUE, "--against"]).contains("ok   Example.Order 2")
    );
    assert!(millrace(&["schemas", "get", "Example.Order"]).contains("\"gift\""));
}
