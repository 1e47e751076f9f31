//! Resources as JSON, in the words of `events/v1`, and as the words of a table.

use millrace_domain::Timestamp;
use millrace_proto::v1;
use serde_json::{Value, json};
use v1::sink::Configuration;

/// A sink, secrets included: it is the caller's own.
pub(crate) fn sink(sink: &v1::Sink) -> Value {
    let (sink_type, configuration) = match &sink.configuration {
        Some(configuration) => (Value::from(type_of(configuration)), configuration.to_json()),
        None => (Value::Null, Value::Null),
    };
    let mut json = json!({
        "sid": sink.sid,
        "account_sid": sink.account_sid,
        "description": sink.description,
        "sink_type": sink_type,
        "sink_configuration": configuration,
        "status": word(sink.status().as_str_name(), "SINK_STATUS_"),
        "signing_secret": sink.signing_secret,
        "date_created": time(sink.create_time.as_ref()),
        "date_updated": time(sink.update_time.as_ref()),
    });
    let set = |number: u32| (number > 0).then(|| Value::from(number));
    let settings = [
        ("paused", sink.paused.then_some(Value::Bool(true))),
        ("rate_limit", set(sink.rate_limit)),
        ("max_concurrency", set(sink.max_concurrency)),
        ("delivery_window", sink.delivery_window.map(|window| window.seconds.into())),
        ("headers", (!sink.headers.is_empty()).then(|| json!(sink.headers))),
    ];
    for (name, value) in settings {
        if let Some(value) = value {
            json[name] = value;
        }
    }
    json
}

/// A subscription with its types.
pub(crate) fn subscription(subscription: &v1::Subscription) -> Value {
    let types: Vec<Value> = subscription
        .types
        .iter()
        .map(|t| json!({"type": t.r#type, "schema_version": t.schema_version}))
        .collect();
    let mut json = json!({
        "sid": subscription.sid,
        "account_sid": subscription.account_sid,
        "description": subscription.description,
        "sink_sid": subscription.sink_sid,
        "types": types,
        "date_created": time(subscription.create_time.as_ref()),
        "date_updated": time(subscription.update_time.as_ref()),
    });
    if subscription.include_subaccounts {
        json["include_subaccounts"] = true.into();
    }
    json
}

/// An account, auth tokens included: it is the caller's own, or one that the caller manages.
pub(crate) fn account(account: &v1::Account) -> Value {
    let owner = match account.parent_sid.as_str() {
        "" => &account.sid,
        parent => parent,
    };
    let mut json = json!({
        "sid": account.sid,
        "owner_account_sid": owner,
        "friendly_name": account.friendly_name,
        "status": word(account.status().as_str_name(), "ACCOUNT_STATUS_"),
        "auth_token": account.auth_token,
        "date_created": time(account.create_time.as_ref()),
        "date_updated": time(account.update_time.as_ref()),
    });
    if !account.secondary_auth_token.is_empty() {
        json["secondary_auth_token"] = account.secondary_auth_token.as_str().into();
    }
    json
}

/// An API key; with its secret, where the server showed it.
pub(crate) fn api_key(key: &v1::ApiKey) -> Value {
    let mut json = json!({
        "sid": key.sid,
        "account_sid": key.account_sid,
        "friendly_name": key.friendly_name,
        "access": access(key),
        "date_created": time(key.create_time.as_ref()),
        "date_updated": time(key.update_time.as_ref()),
    });
    if !key.secret.is_empty() {
        json["secret"] = key.secret.as_str().into();
    }
    json
}

/// What a key may do, as REST and the command line spell it.
pub(crate) fn access(key: &v1::ApiKey) -> String {
    word(key.access().as_str_name(), "KEY_ACCESS_").replace('_', "-")
}

/// An event type.
pub(crate) fn event_type(event_type: &v1::EventType) -> Value {
    json!({
        "type": event_type.r#type,
        "schema_id": event_type.schema_id,
        "description": event_type.description,
        "status": word(event_type.status().as_str_name(), "EVENT_TYPE_STATUS_"),
        "documentation_url": Some(&event_type.documentation_url).filter(|url| !url.is_empty()),
        "validation": word(event_type.validation().as_str_name(), "VALIDATION_MODE_"),
        "date_created": time(event_type.create_time.as_ref()),
        "date_updated": time(event_type.update_time.as_ref()),
    })
}

/// The word of a sink's type.
pub(crate) fn type_of(configuration: &Configuration) -> &'static str {
    match configuration {
        Configuration::Webhook(_) => "webhook",
        Configuration::Kinesis(_) => "kinesis",
        Configuration::Segment(_) => "segment",
        Configuration::Cloudevents(_) => "cloudevents",
        Configuration::File(_) => "file",
    }
}

/// Where a sink delivers, without the password of its URL.
pub(crate) fn destination(sink: &v1::Sink) -> String {
    match &sink.configuration {
        Some(Configuration::Webhook(webhook)) => without_password(&webhook.destination),
        Some(Configuration::Kinesis(kinesis)) => kinesis.arn.clone(),
        Some(Configuration::Cloudevents(receiver)) => without_password(&receiver.destination),
        Some(Configuration::File(file)) => file.path.clone(),
        Some(Configuration::Segment(segment)) => {
            word(segment.region().as_str_name(), "SEGMENT_REGION_")
        }
        None => String::new(),
    }
}

/// An enum's name on the wire as one lower-case word.
pub(crate) fn word(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_ascii_lowercase()
}

/// RFC 3339 in seconds; empty for none.
pub(crate) fn time(time: Option<&prost_types::Timestamp>) -> String {
    time.map(|t| Timestamp::from_millis(t.seconds.saturating_mul(1_000)).to_rfc3339_seconds())
        .unwrap_or_default()
}

fn without_password(destination: &str) -> String {
    let Ok(mut url) = url::Url::parse(destination) else { return destination.to_owned() };
    if url.password().is_none() || url.set_password(Some("***")).is_err() {
        return destination.to_owned();
    }
    url.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sink_reads_like_the_rest_resource_and_its_table_hides_the_password() {
        let wire = v1::Sink {
            sid: "DG1".to_owned(),
            configuration: Some(Configuration::Webhook(v1::WebhookConfiguration {
                destination: "https://u:p@a.example/x".to_owned(),
                method: v1::WebhookMethod::Post.into(),
                batch_events: true,
            })),
            status: v1::SinkStatus::Active.into(),
            rate_limit: 7,
            create_time: Some(prost_types::Timestamp { seconds: 1_767_323_045, nanos: 5 }),
            ..v1::Sink::default()
        };
        let json = sink(&wire);
        assert_eq!(json["sink_type"], "webhook");
        assert_eq!(json["sink_configuration"]["method"], "POST");
        assert_eq!(json["sink_configuration"]["destination"], "https://u:p@a.example/x");
        assert_eq!(json["status"], "active");
        assert_eq!((&json["rate_limit"], json.get("paused")), (&7.into(), None));
        assert_eq!(json["date_created"], "2026-01-02T03:04:05Z");
        assert_eq!(destination(&wire), "https://u:***@a.example/x");
    }
}
