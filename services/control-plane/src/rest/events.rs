//! `/v1/Events/{Id}/Explanation` and `/v1/Events/Match`: what became of an event, and what would become of one. An extension of
//! `events/v1`.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode};
use millrace_proto::{explanation_json, matching_json};

use super::{
    answer::{Answer, json as answer},
    form::Fields,
    logs::time,
    request::{At, EventBody, Query},
};
use crate::{
    App,
    auth::Caller,
    explain::{Asked, Scope, Subject},
    random,
    status::{Failure, code},
};

/// The parameter that names whose the event is, where it is not the caller's.
const EVENT_ACCOUNT: &str = "AccountSid";

pub(super) async fn explain(
    State(app): State<Arc<App>>,
    caller: Caller,
    At(id): At<String>,
    Query(query): Query,
) -> Answer {
    let scope = scope(&app, caller, &query).await?;
    let at = time(&query, "EventTime")?;
    let asked = Asked::read(scope, &id, at, query.one("Type")?.unwrap_or_default())?;
    let explanation = app.explain.event(&asked).await?;
    Ok(answer(StatusCode::OK, explanation_json(&explanation)))
}

pub(super) async fn matched(
    State(app): State<Arc<App>>,
    caller: Caller,
    Query(query): Query,
    EventBody(body): EventBody,
) -> Answer {
    let scope = scope(&app, caller, &query).await?;
    let at = time(&query, "AtTime")?.unwrap_or_else(random::now);
    let matching = app.explain.matching(scope, Subject::read(body)?, at).await?;
    Ok(answer(StatusCode::OK, matching_json(&matching)))
}

/// Whose event is asked about: the caller's, or that of the account which the query names.
async fn scope(app: &App, caller: Caller, query: &Fields) -> Result<Scope, Failure> {
    let sid = query.one(EVENT_ACCOUNT)?.map(str::parse).transpose().map_err(|_| {
        let message = "must be `AC` followed by 32 hex digits";
        Failure::invalid(code::BAD_REQUEST, EVENT_ACCOUNT, message)
    })?;
    app.explain.scope(caller, (EVENT_ACCOUNT, sid)).await
}
