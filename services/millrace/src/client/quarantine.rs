//! `millrace quarantine`: chunks of events that deliverers set aside.

use std::process::ExitCode;

use anyhow::Context;
use millrace_proto::v1::{self, quarantine_service_client::QuarantineServiceClient as Client};
use serde_json::{Value, json};

use crate::client::{
    connection::{Connection, ConnectionArgs, connect},
    failure::explain,
    list::{self, LimitArgs},
    output::{self, OutputArgs},
};

/// Most names in one request.
const NAMES_MAX: usize = 1_000;

/// List, show, redrive and discard chunks of events that were set aside (takes a platform key).
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct QuarantineArgs {
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    pub(super) connection: ConnectionArgs,
    #[command(subcommand)]
    command: QuarantineCommand,
}

const EXAMPLES: &str = "\
A chunk, which holds up to 1,000 events, comes here when it cannot be read, or when deliverer after deliverer died with it in
hand. It stays until it is redriven (its events are accepted anew, under the ids they have) or discarded.

Examples:
  millrace quarantine list
  millrace quarantine show 7/1700000000000-0
  millrace quarantine redrive 7/1700000000000-0
  millrace quarantine redrive --all";

#[derive(clap::Subcommand)]
enum QuarantineCommand {
    /// List the chunks, by partition.
    List {
        #[command(flatten)]
        limit: LimitArgs,
    },
    /// Show a chunk and the events in it.
    Show {
        /// Its name.
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Have chunks delivered after all.
    Redrive {
        #[command(flatten)]
        which: WhichArgs,
    },
    /// Delete chunks with their events, for good.
    Discard {
        #[command(flatten)]
        which: WhichArgs,
    },
}

#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct WhichArgs {
    /// The chunks' names.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// All that are there now.
    #[arg(long)]
    all: bool,
}

/// Does what `millrace quarantine` was asked for.
pub(crate) async fn run(args: QuarantineArgs) -> anyhow::Result<ExitCode> {
    let credentials = args.connection.as_platform()?;
    let client = Client::new(connect(args.connection.server(), &credentials).await?);
    match args.command {
        QuarantineCommand::List { limit } => {
            show_list(&args.output, &chunks(&client, &limit).await?)?;
        }
        QuarantineCommand::Show { name } => {
            let request = v1::GetQuarantinedChunkRequest { name: name.clone() };
            let found = client.clone().get_quarantined_chunk(request).await;
            let found = found.map_err(|s| explain(&s, &format!("get the chunk `{name}`")))?;
            show(&args.output, found.into_inner().chunk)?;
        }
        QuarantineCommand::Redrive { which } => {
            let (mut redriven, doing) = (0, "redrive chunks");
            for names in named(&client, which).await?.chunks(NAMES_MAX) {
                let request = v1::RedriveQuarantinedChunksRequest { names: names.to_vec() };
                let done = client.clone().redrive_quarantined_chunks(request).await;
                redriven += done.map_err(|s| explain(&s, doing))?.into_inner().redriven;
            }
            tell(&args.output, "redriven", redriven)?;
        }
        QuarantineCommand::Discard { which } => {
            let (mut discarded, doing) = (0, "discard chunks");
            for names in named(&client, which).await?.chunks(NAMES_MAX) {
                let request = v1::DiscardQuarantinedChunksRequest { names: names.to_vec() };
                let done = client.clone().discard_quarantined_chunks(request).await;
                discarded += done.map_err(|s| explain(&s, doing))?.into_inner().discarded;
            }
            tell(&args.output, "discarded", discarded)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn chunks(
    client: &Client<Connection>,
    limit: &LimitArgs,
) -> anyhow::Result<Vec<v1::QuarantinedChunk>> {
    list::all(limit, "list the quarantine", async |page_size, page_token| {
        let request = v1::ListQuarantinedChunksRequest { page_size, page_token };
        let page = client.clone().list_quarantined_chunks(request).await?.into_inner();
        Ok((page.chunks, page.next_page_token))
    })
    .await
}

async fn named(client: &Client<Connection>, which: WhichArgs) -> anyhow::Result<Vec<String>> {
    if !which.all {
        return Ok(which.names);
    }
    let all = chunks(client, &LimitArgs { limit: None }).await?;
    Ok(all.into_iter().map(|chunk| chunk.name).collect())
}

fn tell(output: &OutputArgs, what: &str, number: u64) -> anyhow::Result<()> {
    if output.json {
        return output::json(&json!({ what: number }));
    }
    let chunks = if number == 1 { "chunk" } else { "chunks" };
    output::line(&format!("{what} {number} {chunks}"))
}

fn show_list(output: &OutputArgs, chunks: &[v1::QuarantinedChunk]) -> anyhow::Result<()> {
    if output.json {
        let shape = |chunk: &v1::QuarantinedChunk| json!({ "name": chunk.name, "size_bytes": chunk.size_bytes, "reason": chunk.reason });
        return output::json(&Value::Array(chunks.iter().map(shape).collect()));
    }
    if chunks.is_empty() {
        return output::line("nothing is in quarantine");
    }
    let rows = chunks
        .iter()
        .map(|chunk| vec![chunk.name.clone(), chunk.size_bytes.to_string(), chunk.reason.clone()]);
    output::line(&output::columns(&["NAME", "BYTES", "REASON"], rows.collect()))
}

fn show(output: &OutputArgs, chunk: Option<v1::QuarantinedChunk>) -> anyhow::Result<()> {
    let chunk = chunk.context("the server answered without the chunk")?;
    if output.json {
        let events: Vec<_> = chunk.events.iter().map(event).collect();
        return output::json(&json!({
            "name": chunk.name, "size_bytes": chunk.size_bytes, "reason": chunk.reason,
            "readable": chunk.readable, "events": events,
        }));
    }
    let events = match chunk.readable {
        true => chunk.events.len().to_string(),
        false => "it cannot be read".to_owned(),
    };
    output::line(&output::fields(vec![
        ("name", chunk.name),
        ("reason", chunk.reason),
        ("bytes", chunk.size_bytes.to_string()),
        ("events", events),
    ]))?;
    if chunk.events.is_empty() {
        return Ok(());
    }
    let rows = chunk
        .events
        .into_iter()
        .map(|event| vec![event.id, event.r#type, event.account_sid, event.sink_sids.join(" ")]);
    output::line("")?;
    output::line(&output::columns(&["EVENT", "TYPE", "ACCOUNT", "SINKS"], rows.collect()))
}

fn event(event: &v1::QuarantinedEvent) -> Value {
    let content = serde_json::from_slice::<Value>(&event.event)
        .unwrap_or_else(|_| String::from_utf8_lossy(&event.event).into_owned().into());
    json!({
        "id": event.id, "account_sid": event.account_sid, "type": event.r#type,
        "sink_sids": event.sink_sids, "event": content,
    })
}
