//! `millrace.v1.AuditService`.

use millrace_proto::{
    v1::{self, audit_service_server::AuditService},
    wire_time,
};
use millrace_store::{
    Page,
    audit::{AuditEntry, AuditQuery},
};
use tonic::{Request, Response, Status};

use super::{Asked, Face, logs::time, optional_sid, scope};
use crate::{
    auth::Caller,
    status::{About, Failure, code},
};

/// Longest name of a resource or an actor.
const NAME_MAX_BYTES: usize = 512;

#[tonic::async_trait]
impl AuditService for Face {
    async fn list_audit_entries(
        &self,
        request: Request<v1::ListAuditEntriesRequest>,
    ) -> Result<Response<v1::ListAuditEntriesResponse>, Status> {
        self.within(request, |caller, request| async move {
            let named = optional_sid("account_sid", &request.account_sid)?;
            let account = match (caller, named) {
                (Caller::Platform, None) => None,
                _ => Some(caller.account("account_sid", named)?),
            };
            let query = AuditQuery {
                account,
                key: name("resource", &request.resource)?,
                actor: name("actor", &request.actor)?,
                since: time("start_time", request.start_time)?,
                until: time("end_time", request.end_time)?,
            };
            let rest = v1::ListAuditEntriesRequest {
                page_size: 0,
                page_token: String::new(),
                ..request.clone()
            };
            let scope = scope("audit_entries", account, &rest);
            let asked = Asked::<u64>::read(scope, request.page_size, &request.page_token)?;
            let page = Page { after: asked.after, limit: asked.size + 1 };
            let found = self.app.store.audit_entries(&query, &page).await;
            let mut found = found.map_err(|error| Failure::of_store(error, About::Account))?;
            let next_page_token = asked.next(&mut found, |entry| entry.id);
            let entries = found.into_iter().map(wire).collect();
            Ok(Response::new(v1::ListAuditEntriesResponse { entries, next_page_token }))
        })
        .await
    }
}

/// A name to filter by; empty: none.
fn name(field: &str, text: &str) -> Result<Option<String>, Failure> {
    if text.len() > NAME_MAX_BYTES || text.contains(char::is_control) {
        let message = "must be a name without control characters, of 512 bytes at most";
        return Err(Failure::invalid(code::BAD_REQUEST, field, message));
    }
    Ok(Some(text.to_owned()).filter(|text| !text.is_empty()))
}

fn wire(entry: AuditEntry) -> v1::AuditEntry {
    v1::AuditEntry {
        id: entry.id.to_string(),
        time: Some(wire_time(entry.at)),
        account_sid: entry.account.map(|sid| sid.to_string()).unwrap_or_default(),
        actor: entry.actor,
        request_id: entry.request,
        action: entry.action,
        resource_kind: entry.kind,
        resource: entry.key,
        config_seq: entry.seq.unwrap_or(0),
        changed: entry.changed,
        before: entry.before.unwrap_or_default(),
        after: entry.after.unwrap_or_default(),
    }
}
