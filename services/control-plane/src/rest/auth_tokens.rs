//! `/v1/AuthTokens`, as `accounts/v1` speaks: a secondary token is made, then promoted or given up.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode};
use millrace_domain::{Account, Timestamp};
use serde_json::{Value, json};

use super::{
    NO_CONTENT,
    answer::{Answer, committed, date, json as answer},
    request::{ACCOUNT_HEADER, Base},
};
use crate::{App, auth::Caller};

pub(super) async fn create(State(app): State<Arc<App>>, caller: Caller, base: Base) -> Answer {
    let account = caller.account(ACCOUNT_HEADER, None)?;
    let done = app.accounts.create_secondary(caller, Some(account)).await?;
    let second = done.value.secondary_auth_token.as_ref();
    let created = second.map_or(done.value.updated, |second| second.created);
    let url = format!("{}/v1/AuthTokens/Secondary", base.0);
    let mut body = render(&done.value, created, &url);
    body["secondary_auth_token"] = second.map(|second| second.token.reveal()).into();
    Ok(committed(done.version, answer(StatusCode::CREATED, body)))
}

pub(super) async fn delete(State(app): State<Arc<App>>, caller: Caller) -> Answer {
    let account = caller.account(ACCOUNT_HEADER, None)?;
    let done = app.accounts.delete_secondary(caller, Some(account)).await?;
    Ok(committed(done.version, NO_CONTENT))
}

pub(super) async fn promote(State(app): State<Arc<App>>, caller: Caller, base: Base) -> Answer {
    let account = caller.account(ACCOUNT_HEADER, None)?;
    let done = app.accounts.promote_secondary(caller, Some(account)).await?;
    let url = format!("{}/v1/AuthTokens/Promote", base.0);
    let mut body = render(&done.value, done.value.updated, &url);
    body["auth_token"] = done.value.auth_token.reveal().into();
    Ok(committed(done.version, answer(StatusCode::OK, body)))
}

fn render(account: &Account, created: Timestamp, url: &str) -> Value {
    json!({
        "account_sid": account.sid,
        "date_created": date(created),
        "date_updated": date(account.updated),
        "url": url,
    })
}
