//! `/2010-04-01/Accounts/{Sid}/Keys.json`. What a key may do is our own parameter, `Access`: `main`, `standard` (as Twilio's
//! keys are that are made so), `read-only` or `publish-only`; answers have it unless it is `standard`.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode};
use millrace_domain::{AccountSid, ApiKey, ApiKeySid, KeyAccess};
use serde_json::{Value, json};

use super::{
    NO_CONTENT,
    accounts::{ROOT, not_found, spelt, without_json},
    answer::{Answer, committed, json as answer},
    form::Fields,
    listing::{Paged, Place},
    request::{At, Base, Form, Query},
};
use crate::{
    App,
    accounts::NewKey,
    auth::Caller,
    status::{Failure, code},
};

pub(super) async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    At(account): At<String>,
    Form(form): Form,
) -> Answer {
    let account = account_sid(&account)?;
    let new = NewKey {
        friendly_name: form.one("FriendlyName")?.unwrap_or_default().to_owned(),
        access: access(&form)?,
    };
    let done = app.accounts.create_api_key(caller, Some(account), new).await.map_err(spelt)?;
    let (key, secret) = &done.value;
    let mut body = render(key);
    body["secret"] = secret.reveal().into();
    Ok(committed(done.version, answer(StatusCode::CREATED, body)))
}

pub(super) async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    At(account): At<String>,
    Query(query): Query,
) -> Answer {
    let account = account_sid(&account)?;
    let account = app.accounts.managed(caller, "account_sid", Some(account)).await?.sid;
    let paged = Paged::<ApiKeySid>::read(&query, &[])?;
    let (path, base) = (format!("{ROOT}/Accounts/{account}/Keys.json"), Base(String::new()));
    let place = Place { key: "keys", path: &path, account: Some(account), base: &base };
    let list = |after, limit| app.accounts.api_keys(account, after, limit);
    paged.answer_2010(place, list, |key: &ApiKey| key.sid, render).await
}

pub(super) async fn fetch(
    State(app): State<Arc<App>>,
    caller: Caller,
    At(place): At<(String, String)>,
) -> Answer {
    let (account, sid) = named(&place)?;
    let key = app.accounts.fetch_api_key(caller, Some(account), sid).await?;
    Ok(answer(StatusCode::OK, render(&key)))
}

pub(super) async fn update(
    State(app): State<Arc<App>>,
    caller: Caller,
    At(place): At<(String, String)>,
    Form(form): Form,
) -> Answer {
    let (account, sid) = named(&place)?;
    form.refuse("Access", "cannot be changed: make another key")?;
    let Some(name) = form.one("FriendlyName")? else {
        let key = app.accounts.fetch_api_key(caller, Some(account), sid).await?;
        return Ok(answer(StatusCode::OK, render(&key)));
    };
    let key = (Some(account), sid);
    let done = app.accounts.rename_api_key(caller, key, name).await.map_err(spelt)?;
    Ok(committed(done.version, answer(StatusCode::OK, render(&done.value))))
}

pub(super) async fn delete(
    State(app): State<Arc<App>>,
    caller: Caller,
    At(place): At<(String, String)>,
) -> Answer {
    let (account, sid) = named(&place)?;
    let done = app.accounts.delete_api_key(caller, Some(account), sid).await?;
    Ok(committed(done.version, NO_CONTENT))
}

fn access(form: &Fields) -> Result<Option<KeyAccess>, Failure> {
    let Some(word) = form.one("Access")? else { return Ok(None) };
    let access = KeyAccess::parse(word).ok_or_else(|| {
        let words = KeyAccess::ALL.map(KeyAccess::as_str).join("`, `");
        Failure::invalid(code::BAD_REQUEST, "Access", format!("must be one of `{words}`"))
    })?;
    Ok(Some(access))
}

fn account_sid(text: &str) -> Result<AccountSid, Failure> {
    text.parse().map_err(|_| not_found(text))
}

fn named((account, key): &(String, String)) -> Result<(AccountSid, ApiKeySid), Failure> {
    let sid = without_json(key)?.parse().map_err(|_| not_found(key))?;
    Ok((account_sid(account)?, sid))
}

fn render(key: &ApiKey) -> Value {
    let mut body = json!({
        "sid": key.sid,
        "friendly_name": key.friendly_name,
        "date_created": key.created.to_rfc2822(),
        "date_updated": key.updated.to_rfc2822(),
    });
    if key.access != KeyAccess::Standard {
        body["access"] = key.access.as_str().into();
    }
    body
}
