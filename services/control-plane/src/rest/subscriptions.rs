//! `/v1/Subscriptions`.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode};
use millrace_domain::{Subscription, SubscriptionSid, SubscriptionUpdate};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    NO_CONTENT,
    answer::{Answer, committed, date, json as answer},
    form::Fields,
    listing::{Paged, Place},
    request::{ACCOUNT_HEADER, At, Base, Form, Query},
    sinks,
};
use crate::{
    App,
    auth::Caller,
    status::{Failure, Kind, code},
    subscriptions::{NewSubscription, Wanted},
};

/// One value of `Types`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TypeParameter {
    #[serde(rename = "type")]
    event_type: String,
    #[serde(default)]
    schema_version: Option<u32>,
}

pub(super) async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    base: Base,
    Form(form): Form,
) -> Answer {
    form.refuse("Filter", "is not supported: a subscription takes every event of its types")?;
    let description = form.required("Description", code::SUBSCRIPTION_INVALID)?.to_owned();
    let sink = form.required("SinkSid", code::SUBSCRIPTION_INVALID)?;
    let sink = sinks::parse_sid(sink).map_err(|failure| failure.at("SinkSid"))?;
    let include_subaccounts = includes(&form)?.unwrap_or_default();
    let new = NewSubscription { description, sink, types: types(&form)?, include_subaccounts };
    let done = app.subscriptions.create(caller, new).await?;
    Ok(committed(done.version, answer(StatusCode::CREATED, render(&base, &done.value))))
}

pub(super) async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    base: Base,
    Query(query): Query,
) -> Answer {
    let account = caller.account(ACCOUNT_HEADER, None)?;
    let sink = match query.one("SinkSid")?.filter(|sid| !sid.is_empty()) {
        Some(sid) => Some(sinks::parse_sid(sid).map_err(|failure| failure.at("SinkSid"))?),
        None => None,
    };
    let paged = Paged::<SubscriptionSid>::read(&query, &["SinkSid"])?;
    let path = "/v1/Subscriptions";
    let place = Place { key: "subscriptions", path, account: Some(account), base: &base };
    let list = |after, limit| app.subscriptions.list(account, sink, after, limit);
    let key = |subscription: &Subscription| subscription.sid;
    paged.answer(place, list, key, |subscription| render(&base, subscription)).await
}

pub(super) async fn fetch(
    State(app): State<Arc<App>>,
    caller: Caller,
    base: Base,
    At(sid): At<String>,
) -> Answer {
    let subscription = app.subscriptions.fetch(caller, parse_sid(&sid)?).await?;
    Ok(answer(StatusCode::OK, render(&base, &subscription)))
}

pub(super) async fn update(
    State(app): State<Arc<App>>,
    caller: Caller,
    base: Base,
    At(sid): At<String>,
    Form(form): Form,
) -> Answer {
    let sid = parse_sid(&sid)?;
    form.refuse("Filter", "is not supported: a subscription takes every event of its types")?;
    form.refuse("SinkSid", "cannot be changed: make a subscription to the other sink")?;
    let description = form.one("Description")?.map(str::to_owned);
    let update = SubscriptionUpdate { description, include_subaccounts: includes(&form)? };
    if update == SubscriptionUpdate::default() {
        let subscription = app.subscriptions.fetch(caller, sid).await?;
        return Ok(answer(StatusCode::OK, render(&base, &subscription)));
    }
    let done = app.subscriptions.update(caller, sid, &update).await?;
    Ok(committed(done.version, answer(StatusCode::OK, render(&base, &done.value))))
}

pub(super) async fn delete(
    State(app): State<Arc<App>>,
    caller: Caller,
    At(sid): At<String>,
) -> Answer {
    let done = app.subscriptions.delete(caller, parse_sid(&sid)?).await?;
    Ok(committed(done.version, NO_CONTENT))
}

/// Reads the SID of a subscription. What is none is not found: the dictionary has no number of its own for it.
pub(super) fn parse_sid(sid: &str) -> Result<SubscriptionSid, Failure> {
    sid.parse().map_err(|_| {
        let message = format!("subscription `{sid}` does not exist");
        Failure::new(Kind::NotFound, code::SUBSCRIPTION_NOT_FOUND, message)
    })
}

/// Reads our own parameter `IncludeSubaccounts`.
fn includes(form: &Fields) -> Result<Option<bool>, Failure> {
    form.one("IncludeSubaccounts")?
        .map(|word| match word {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => {
                let message = "must be `true` or `false`";
                let code = code::SUBSCRIPTION_INVALID;
                Err(Failure::invalid(code, "IncludeSubaccounts", message))
            }
        })
        .transpose()
}

/// Reads the values of `Types`, one JSON object each.
fn types(form: &Fields) -> Result<Vec<Wanted>, Failure> {
    let read = |(position, text): (usize, &str)| {
        let field = format!("Types[{position}]");
        // A map first: an array of the values would do for a struct.
        let object = serde_json::from_str::<Map<String, Value>>(text).map(Value::Object);
        let parameter = object.and_then(serde_json::from_value::<TypeParameter>);
        let parameter = parameter.map_err(|error| {
            // Of a value that is none, serde would tell the names of our types.
            let why = if error.is_data() { String::new() } else { format!(" ({error})") };
            let message = format!(
                "must be one JSON object such as `{{\"type\": \"com.example.order.paid\", \"schema_version\": 1}}`, with nothing else in it, the parameter repeated for every type{why}"
            );
            Failure::invalid(code::SUBSCRIPTION_INVALID, &field, message)
        })?;
        Ok(Wanted {
            event_type: parameter.event_type,
            schema_version: parameter.schema_version,
            type_field: format!("{field}.type"),
            version_field: format!("{field}.schema_version"),
        })
    };
    form.all("Types").filter(|text| !text.is_empty()).enumerate().map(read).collect()
}

fn render(base: &Base, subscription: &Subscription) -> Value {
    let url = format!("{}/v1/Subscriptions/{}", base.0, subscription.sid);
    let mut body = json!({
        "account_sid": subscription.account,
        "sid": subscription.sid,
        "date_created": date(subscription.created),
        "date_updated": date(subscription.updated),
        "description": subscription.description,
        "sink_sid": subscription.sink,
        "links": { "subscribed_events": format!("{url}/SubscribedEvents") },
        "url": url,
    });
    if subscription.include_subaccounts {
        body["include_subaccounts"] = true.into();
    }
    body
}
