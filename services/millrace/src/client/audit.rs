//! `millrace audit`: who changed what.

use std::process::ExitCode;

use millrace_proto::v1::{self, audit_service_client::AuditServiceClient as Client};
use serde_json::{Value, json};

use crate::client::{
    connection::{ConnectionArgs, Credentials, connect},
    list,
    logs::RangeArgs,
    output::{self, OutputArgs},
    shape,
};

/// List who changed what, newest first. Kept for 90 days.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct AuditArgs {
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    pub(super) connection: ConnectionArgs,
    /// Only of this resource: its SID or name.
    #[arg(long, value_name = "SID")]
    resource: Option<String>,
    /// Only by this actor: AC…, SK…, platform-key:…, millrace:….
    #[arg(long, value_name = "ACTOR")]
    actor: Option<String>,
    #[command(flatten)]
    range: RangeArgs,
}

const EXAMPLES: &str = "\
An account sees what it owns; a platform key without --account-sid sees everything. --json shows each resource before and
afterwards, with its secrets masked.

Examples:
  millrace audit --since 1d
  millrace audit --resource DG… --json";

/// Does what `millrace audit` was asked for.
pub(crate) async fn run(args: AuditArgs) -> anyhow::Result<ExitCode> {
    let credentials = args.connection.as_account()?;
    let client = Client::new(connect(args.connection.server(), &credentials).await?);
    let request = v1::ListAuditEntriesRequest {
        account_sid: Credentials::account_named(&credentials),
        resource: args.resource.unwrap_or_default(),
        actor: args.actor.unwrap_or_default(),
        start_time: args.range.since,
        end_time: args.range.until,
        ..v1::ListAuditEntriesRequest::default()
    };
    let limit = args.range.limit();
    let found = list::all(&limit, "list the audit log", async |page_size, page_token| {
        let request = v1::ListAuditEntriesRequest { page_size, page_token, ..request.clone() };
        let page = client.clone().list_audit_entries(request).await?.into_inner();
        Ok((page.entries, page.next_page_token))
    });
    show(&args.output, &found.await?)?;
    Ok(ExitCode::SUCCESS)
}

fn show(output: &OutputArgs, entries: &[v1::AuditEntry]) -> anyhow::Result<()> {
    if output.json {
        return output::json(&entries.iter().map(entry).collect());
    }
    if entries.is_empty() {
        return output::line("no changes");
    }
    let rows = entries.iter().map(|entry| {
        vec![
            shape::time(entry.time.as_ref()),
            entry.actor.clone(),
            entry.action.clone(),
            format!("{} {}", entry.resource_kind, entry.resource),
            entry.changed.join(" "),
            entry.request_id.clone(),
        ]
    });
    let headings = ["TIME", "ACTOR", "ACTION", "RESOURCE", "CHANGED", "REQUEST"];
    output::line(&output::columns(&headings, rows.collect()))
}

fn entry(entry: &v1::AuditEntry) -> Value {
    let state = |text: &str| serde_json::from_str::<Value>(text).unwrap_or(Value::Null);
    json!({
        "id": entry.id,
        "date_created": shape::time(entry.time.as_ref()),
        "account_sid": entry.account_sid,
        "actor": entry.actor,
        "request_id": entry.request_id,
        "action": entry.action,
        "resource_kind": entry.resource_kind,
        "resource": entry.resource,
        "changed": entry.changed,
        "before": state(&entry.before),
        "after": state(&entry.after),
    })
}
