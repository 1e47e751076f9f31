//! `/v1/Events/{Id}/Explanation` and `/v1/Events/Match`: what became of an event, and what would become of one. An extension of
//! `events/v1`.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode};
use millrace_proto::{explanation_json, matching_json};

use super::{
    answer::{Answer, json as answer},
    logs::time,
    request::{ACCOUNT_HEADER, At, EventBody, Query},
};
use crate::{
    App,
    auth::Caller,
    explain::{Asked, Subject},
    random,
};

pub(super) async fn explain(
    State(app): State<Arc<App>>,
    caller: Caller,
    At(id): At<String>,
    Query(query): Query,
) -> Answer {
    let account = caller.account(ACCOUNT_HEADER, None)?;
    let at = time(&query, "EventTime")?;
    let asked = Asked::read(account, &id, at, query.one("Type")?.unwrap_or_default())?;
    let explanation = app.explain.event(&asked).await?;
    Ok(answer(StatusCode::OK, explanation_json(&explanation)))
}

pub(super) async fn matched(
    State(app): State<Arc<App>>,
    caller: Caller,
    Query(query): Query,
    EventBody(body): EventBody,
) -> Answer {
    let account = caller.account(ACCOUNT_HEADER, None)?;
    let at = time(&query, "AtTime")?.unwrap_or_else(random::now);
    let matching = app.explain.matching(account, Subject::read(body)?, at).await?;
    Ok(answer(StatusCode::OK, matching_json(&matching)))
}
