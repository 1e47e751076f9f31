//! `/v1/Subscriptions/{Sid}/SubscribedEvents`.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode};
use millrace_domain::{AccountSid, SubscribedEvent, SubscriptionSid};
use serde_json::{Value, json};

use super::{
    NO_CONTENT,
    answer::{Answer, committed, json as answer},
    form::Fields,
    listing::{Paged, Place},
    request::{At, Base, Form, Query},
    subscriptions::parse_sid,
};
use crate::{
    App,
    auth::Caller,
    status::{Failure, Kind, code},
    subscriptions::Wanted,
};

pub(super) async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    base: Base,
    At(sid): At<String>,
    Query(query): Query,
) -> Answer {
    let paged = Paged::<String>::read(&query, &[])?;
    let subscription = app.subscriptions.fetch(caller, parse_sid(&sid)?).await?;
    let path = format!("/v1/Subscriptions/{}/SubscribedEvents", subscription.sid);
    let place =
        Place { key: "types", path: &path, account: Some(subscription.account), base: &base };
    let list = |after: Option<String>, limit: u32| {
        let rest = subscription.types.iter();
        let rest = rest.filter(|event| after.as_ref().is_none_or(|key| event.event_type > *key));
        let page = rest.take(limit as usize).cloned().collect::<Vec<_>>();
        std::future::ready(Ok(page))
    };
    let of = Of { account: subscription.account, subscription: subscription.sid };
    let key = |event: &SubscribedEvent| event.event_type.clone();
    paged.answer(place, list, key, |event| of.render(&base, event)).await
}

/// Adds a type; one that is there already at that version is answered with 200.
pub(super) async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    base: Base,
    At(sid): At<String>,
    Form(form): Form,
) -> Answer {
    let sid = parse_sid(&sid)?;
    let event_type = form.required("Type", code::SUBSCRIPTION_INVALID)?;
    let wanted = wanted(&form, event_type)?;
    let of = Of::read(&app, caller, sid).await?;
    match app.subscriptions.add(caller, sid, &wanted).await {
        Ok(done) => {
            let body = answer(StatusCode::CREATED, of.render(&base, &done.value));
            Ok(committed(done.version, body))
        }
        Err(failure) if failure.kind == Kind::AlreadyExists => {
            let there = app.subscriptions.fetch_event(caller, sid, event_type).await?;
            if wanted.schema_version.is_none_or(|version| version == there.schema_version) {
                return Ok(answer(StatusCode::OK, of.render(&base, &there)));
            }
            Err(failure)
        }
        Err(failure) => Err(failure),
    }
}

pub(super) async fn fetch(
    State(app): State<Arc<App>>,
    caller: Caller,
    base: Base,
    At((sid, event_type)): At<(String, String)>,
) -> Answer {
    let sid = parse_sid(&sid)?;
    let of = Of::read(&app, caller, sid).await?;
    let event = app.subscriptions.fetch_event(caller, sid, &event_type).await?;
    Ok(answer(StatusCode::OK, of.render(&base, &event)))
}

pub(super) async fn update(
    State(app): State<Arc<App>>,
    caller: Caller,
    base: Base,
    At((sid, event_type)): At<(String, String)>,
    Form(form): Form,
) -> Answer {
    let sid = parse_sid(&sid)?;
    let wanted = wanted(&form, &event_type)?;
    let of = Of::read(&app, caller, sid).await?;
    let done = app.subscriptions.pin(caller, sid, &wanted).await?;
    let body = answer(StatusCode::OK, of.render(&base, &done.value));
    Ok(committed(done.version, body))
}

pub(super) async fn delete(
    State(app): State<Arc<App>>,
    caller: Caller,
    At((sid, event_type)): At<(String, String)>,
) -> Answer {
    let done = app.subscriptions.remove(caller, parse_sid(&sid)?, &event_type).await?;
    Ok(committed(done.version, NO_CONTENT))
}

/// The subscription that events are shown as parts of.
struct Of {
    account: AccountSid,
    subscription: SubscriptionSid,
}

impl Of {
    async fn read(app: &App, caller: Caller, sid: SubscriptionSid) -> Result<Self, Failure> {
        let subscription = app.subscriptions.fetch(caller, sid).await?;
        Ok(Self { account: subscription.account, subscription: subscription.sid })
    }

    fn render(&self, base: &Base, event: &SubscribedEvent) -> Value {
        let Self { account, subscription } = self;
        let (base, event_type) = (&base.0, &event.event_type);
        json!({
            "account_sid": account,
            "subscription_sid": subscription,
            "type": event_type,
            "schema_version": event.schema_version,
            "url": format!("{base}/v1/Subscriptions/{subscription}/SubscribedEvents/{event_type}"),
        })
    }
}

fn wanted(form: &Fields, event_type: &str) -> Result<Wanted, Failure> {
    let schema_version = match form.one("SchemaVersion")?.filter(|text| !text.is_empty()) {
        Some(text) => Some(text.parse::<u32>().map_err(|_| {
            Failure::invalid(code::BAD_REQUEST, "SchemaVersion", "must be a whole number from 1")
        })?),
        None => None,
    };
    Ok(Wanted {
        event_type: event_type.to_owned(),
        schema_version,
        type_field: "Type".to_owned(),
        version_field: "SchemaVersion".to_owned(),
    })
}
