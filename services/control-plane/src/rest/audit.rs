//! `/v1/Audit`: who changed what, newest first. An extension of `events/v1`.

use std::{cmp::Reverse, sync::Arc};

use axum::extract::State;
use millrace_store::{
    Page,
    audit::{AuditEntry, AuditQuery},
};
use serde_json::{Value, json};

use super::{
    answer::Answer,
    listing::{Paged, Place},
    logs::{Newest, time},
    request::{ACCOUNT_HEADER, Base, Query},
};
use crate::{
    App,
    auth::Caller,
    status::{About, Failure, code},
};

pub(super) async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    base: Base,
    Query(query): Query,
) -> Answer {
    let account = match caller {
        Caller::Platform => None,
        Caller::Account(..) => Some(caller.account(ACCOUNT_HEADER, None)?),
    };
    let text = |name: &str| -> Result<Option<String>, Failure> {
        let Some(text) = query.one(name)? else { return Ok(None) };
        if text.contains(char::is_control) {
            let message = "must not have control characters";
            return Err(Failure::invalid(code::BAD_REQUEST, name, message));
        }
        Ok(Some(text.to_owned()))
    };
    let asked = AuditQuery {
        account,
        key: text("Resource")?,
        actor: text("Actor")?,
        since: time(&query, "StartTime")?,
        until: time(&query, "EndTime")?,
    };
    let filters = ["Resource", "Actor", "StartTime", "EndTime"];
    let paged = Paged::<Newest<u64>>::read_forward(&query, &filters)?;
    let place = Place { key: "audit_entries", path: "/v1/Audit", account, base: &base };
    let list = |after: Option<Newest<u64>>, limit| {
        let (app, asked) = (&app, &asked);
        let page = Page { after: after.map(|Newest(Reverse(id))| id), limit };
        async move {
            let found = app.store.audit_entries(asked, &page).await;
            found.map_err(|error| Failure::of_store(error, About::Account))
        }
    };
    paged.answer(place, list, |entry: &AuditEntry| Newest(Reverse(entry.id)), render).await
}

fn render(entry: &AuditEntry) -> Value {
    let state = |text: &Option<String>| -> Option<Value> {
        text.as_ref().and_then(|text| serde_json::from_str(text).ok())
    };
    json!({
        "id": entry.id.to_string(),
        "date_created": entry.at.to_rfc3339_millis(),
        "account_sid": entry.account,
        "actor": entry.actor,
        "request_id": Some(&entry.request).filter(|id| !id.is_empty()),
        "action": entry.action,
        "resource_kind": entry.kind,
        "resource": entry.key,
        "config_seq": entry.seq,
        "changed": entry.changed,
        "before": state(&entry.before),
        "after": state(&entry.after),
    })
}
