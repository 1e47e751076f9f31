//! Events to publish.

use millrace_proto::v1::Event;
use serde_json::{Value, json};

/// A type of the catalogue that tests publish unless they care.
pub const TYPE: &str = "com.twilio.messaging.message.sent";

/// An event of [`TYPE`].
pub fn event(id: &str) -> Event {
    event_of(TYPE, id)
}

/// An event of `kind` whose `data` is a small message.
pub fn event_of(kind: &str, id: &str) -> Event {
    Event {
        id: id.to_owned(),
        source: "/tests".to_owned(),
        r#type: kind.to_owned(),
        data: data().to_string(),
        ..Event::default()
    }
}

/// An event in CloudEvents' JSON.
pub fn cloud_event(kind: &str, id: &str) -> Value {
    json!({ "specversion": "1.0", "id": id, "source": "/tests", "type": kind, "data": data() })
}

fn data() -> Value {
    json!({
        "accountSid": "AC00000000000000000000000000000001",
        "messageSid": "SM00000000000000000000000000000001",
        "messageStatus": "SENT",
        "timestamp": "2026-01-02T03:04:05.678Z",
    })
}
