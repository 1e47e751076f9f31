//! `/2010-04-01/Accounts.json`, as the 2010 API speaks: dates by RFC 2822, URIs without a host.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode};
use millrace_domain::{Account, AccountSid, AccountStatus, AccountUpdate};
use millrace_store::AccountFilter;
use serde_json::{Value, json};

use super::{
    answer::{Answer, committed, json as answer},
    form::Fields,
    listing::{Paged, Place},
    request::{At, Base, Form, Query},
};
use crate::{
    App,
    accounts::NewAccount,
    auth::Caller,
    status::{Failure, Kind, code},
};

/// What paths of the 2010 API start with.
pub(super) const ROOT: &str = "/2010-04-01";

pub(super) async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    Form(form): Form,
) -> Answer {
    let friendly_name = form.one("FriendlyName")?.unwrap_or_default().to_owned();
    let new = NewAccount { friendly_name, ..NewAccount::default() };
    let done = app.accounts.create(caller, new).await.map_err(spelt)?;
    Ok(committed(done.version, answer(StatusCode::CREATED, render(&done.value))))
}

pub(super) async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Query(query): Query,
) -> Answer {
    let family = app.accounts.family(caller, None).await?;
    let name = query.one("FriendlyName")?.filter(|name| !name.is_empty());
    let filter =
        AccountFilter { family, friendly_name: name.map(str::to_owned), status: status(&query)? };
    let filters = ["FriendlyName", "Status"];
    // A family is short; all accounts of an installation may be many.
    let paged = match family {
        Some(_) => Paged::<AccountSid>::read(&query, &filters)?,
        None => Paged::read_forward(&query, &filters)?,
    };
    let (path, base) = (format!("{ROOT}/Accounts.json"), Base(String::new()));
    let place = Place { key: "accounts", path: &path, account: family, base: &base };
    let list = |after, limit| app.accounts.list(&filter, after, limit);
    paged.answer_2010(place, list, |account: &Account| account.sid, render).await
}

pub(super) async fn fetch(
    State(app): State<Arc<App>>,
    caller: Caller,
    At(name): At<String>,
) -> Answer {
    let sid = named(&name)?;
    let account = app.accounts.fetch(caller, Some(sid)).await?;
    Ok(answer(StatusCode::OK, render(&account)))
}

pub(super) async fn update(
    State(app): State<Arc<App>>,
    caller: Caller,
    At(name): At<String>,
    Form(form): Form,
) -> Answer {
    let sid = named(&name)?;
    let friendly_name = form.one("FriendlyName")?.map(str::to_owned);
    let update = AccountUpdate { friendly_name, status: status(&form)? };
    let done = app.accounts.update(caller, Some(sid), update).await.map_err(spelt)?;
    Ok(committed(done.version, answer(StatusCode::OK, render(&done.value))))
}

/// Reads `Status`; empty: not said.
fn status(fields: &Fields) -> Result<Option<AccountStatus>, Failure> {
    let Some(word) = fields.one("Status")?.filter(|word| !word.is_empty()) else {
        return Ok(None);
    };
    let status = AccountStatus::parse(word).ok_or_else(|| {
        let message = "must be `active`, `suspended` or `closed`";
        Failure::invalid(code::BAD_REQUEST, "Status", message)
    })?;
    Ok(Some(status))
}

/// Reads `AC….json`. What is none is not found.
pub(super) fn named(name: &str) -> Result<AccountSid, Failure> {
    without_json(name)?.parse().map_err(|_| not_found(name))
}

/// Takes off the end that says what kind of answer is wanted: there is no other.
pub(super) fn without_json(name: &str) -> Result<&str, Failure> {
    name.strip_suffix(".json").ok_or_else(|| not_found(name))
}

pub(super) fn not_found(name: &str) -> Failure {
    let message = format!("`{name}` does not exist");
    Failure::new(Kind::NotFound, code::NOT_FOUND, message)
}

pub(super) fn spelt(failure: Failure) -> Failure {
    failure.spelt(&[("friendly_name", "FriendlyName"), ("parent_sid", "ParentSid")])
}

fn render(account: &Account) -> Value {
    let uri = format!("{ROOT}/Accounts/{}", account.sid);
    json!({
        "sid": account.sid,
        "owner_account_sid": account.parent.unwrap_or(account.sid),
        "friendly_name": account.friendly_name,
        "status": account.status.as_str(),
        "type": "Full",
        "auth_token": account.auth_token.reveal(),
        "date_created": account.created.to_rfc2822(),
        "date_updated": account.updated.to_rfc2822(),
        "subresource_uris": { "keys": format!("{uri}/Keys.json") },
        "uri": format!("{uri}.json"),
    })
}
