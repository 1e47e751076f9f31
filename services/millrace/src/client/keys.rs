//! `millrace keys`: further credentials of an account, each good for so much.

use std::process::ExitCode;

use anyhow::Context;
use clap::ValueEnum;
use millrace_proto::v1::{self, account_service_client::AccountServiceClient as Client};
use serde_json::Value;

use crate::client::{
    connection::{Connection, ConnectionArgs, connect},
    failure::explain,
    list::{self, LimitArgs},
    output::{self, OutputArgs},
    shape,
};

/// Create, list, show, rename and delete API keys: further credentials of an account, restricted ones too.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct KeysArgs {
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    pub(super) connection: ConnectionArgs,
    #[command(subcommand)]
    command: KeyCommand,
}

const EXAMPLES: &str = "\
A key's SID and secret stand in for account SID and auth token (--account-sid SK… --auth-token SECRET). What it may do is said
when it is made and never changes; its secret is shown then and never again.

Examples:
  millrace keys create --name ingest --access publish-only
  millrace keys create --name dashboard --access read-only --of AC…
  millrace keys list
  millrace keys update SK… --name 'ingest, old'
  millrace keys delete SK…";

#[derive(clap::Subcommand)]
enum KeyCommand {
    /// Make a key; shows its secret, this once.
    Create {
        /// For people [default: its SID].
        #[arg(long, default_value = "", hide_default_value = true)]
        name: String,
        /// What it may do.
        #[arg(long, default_value = "standard")]
        access: AccessArg,
        /// The account that it is of, such as a subaccount [default: the caller's].
        #[arg(long, value_name = "AC…")]
        of: Option<String>,
    },
    /// List an account's keys, oldest first.
    List {
        /// The account, such as a subaccount [default: the caller's].
        #[arg(long, value_name = "AC…")]
        of: Option<String>,
        #[command(flatten)]
        limit: LimitArgs,
    },
    /// Show a key, without its secret.
    Get {
        /// The key's SID.
        #[arg(value_name = "SK…")]
        sid: String,
    },
    /// Rename a key.
    Update {
        /// The key's SID.
        #[arg(value_name = "SK…")]
        sid: String,
        /// Call it this.
        #[arg(long)]
        name: String,
    },
    /// Delete keys: they open nothing from then on.
    Delete {
        /// The keys' SIDs.
        #[arg(value_name = "SK…", required = true)]
        sids: Vec<String>,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum AccessArg {
    /// All that the auth token may: accounts, keys and tokens, too.
    Main,
    /// All but accounts, keys and tokens.
    Standard,
    /// Sees sinks, subscriptions, types and logs; changes and publishes nothing.
    ReadOnly,
    /// Publishes, and sees nothing.
    PublishOnly,
}

impl From<AccessArg> for v1::KeyAccess {
    fn from(access: AccessArg) -> Self {
        match access {
            AccessArg::Main => Self::Main,
            AccessArg::Standard => Self::Standard,
            AccessArg::ReadOnly => Self::ReadOnly,
            AccessArg::PublishOnly => Self::PublishOnly,
        }
    }
}

/// Does what `millrace keys` was asked for.
pub(crate) async fn run(args: KeysArgs) -> anyhow::Result<ExitCode> {
    let credentials = args.connection.as_account()?;
    let mut client = Client::new(connect(args.connection.server(), &credentials).await?);
    let named = |sid: Option<String>| sid.unwrap_or_else(|| credentials.account_named());
    match args.command {
        KeyCommand::Create { name, access, of } => {
            let request = v1::CreateApiKeyRequest {
                account_sid: named(of),
                friendly_name: name,
                access: v1::KeyAccess::from(access).into(),
                ..v1::CreateApiKeyRequest::default()
            };
            let made = client.create_api_key(request).await;
            let made = made.map_err(|s| explain(&s, "create the key"))?;
            show(&args.output, made.into_inner().api_key)?;
        }
        KeyCommand::List { of, limit } => {
            show_list(&args.output, &list_keys(&client, &named(of), &limit).await?)?;
        }
        KeyCommand::Get { sid } => {
            let found = client.get_api_key(v1::GetApiKeyRequest { sid: sid.clone() }).await;
            let found = found.map_err(|s| explain(&s, &format!("get the key `{sid}`")))?;
            show(&args.output, found.into_inner().api_key)?;
        }
        KeyCommand::Update { sid, name } => {
            let failed = format!("rename the key `{sid}`");
            let api_key = v1::ApiKey { sid, friendly_name: name, ..v1::ApiKey::default() };
            let mask = prost_types::FieldMask { paths: vec!["friendly_name".to_owned()] };
            let request =
                v1::UpdateApiKeyRequest { api_key: Some(api_key), update_mask: Some(mask) };
            let renamed = client.update_api_key(request).await.map_err(|s| explain(&s, &failed))?;
            show(&args.output, renamed.into_inner().api_key)?;
        }
        KeyCommand::Delete { sids } => {
            for sid in sids {
                let deleted = client.delete_api_key(v1::DeleteApiKeyRequest { sid: sid.clone() });
                deleted.await.map_err(|s| explain(&s, &format!("delete the key `{sid}`")))?;
                output::deleted(&args.output, "key", &sid)?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn list_keys(
    client: &Client<Connection>,
    account_sid: &str,
    limit: &LimitArgs,
) -> anyhow::Result<Vec<v1::ApiKey>> {
    list::all(limit, "list the keys", async |page_size, page_token| {
        let account_sid = account_sid.to_owned();
        let request = v1::ListApiKeysRequest { account_sid, page_size, page_token };
        let page = client.clone().list_api_keys(request).await?.into_inner();
        Ok((page.api_keys, page.next_page_token))
    })
    .await
}

fn show(output: &OutputArgs, key: Option<v1::ApiKey>) -> anyhow::Result<()> {
    let key = key.context("the server answered without the key")?;
    if output.json {
        return output::json(&shape::api_key(&key));
    }
    let access = shape::access(&key);
    let mut fields = vec![("sid", key.sid), ("name", key.friendly_name), ("access", access)];
    if !key.secret.is_empty() {
        fields.push(("secret (shown this once)", key.secret));
    }
    fields.extend([
        ("account", key.account_sid),
        ("created", shape::time(key.create_time.as_ref())),
        ("updated", shape::time(key.update_time.as_ref())),
    ]);
    output::line(&output::fields(fields))
}

fn show_list(output: &OutputArgs, keys: &[v1::ApiKey]) -> anyhow::Result<()> {
    if output.json {
        return output::json(&Value::Array(keys.iter().map(shape::api_key).collect()));
    }
    if keys.is_empty() {
        return output::line("no keys; `millrace keys create --help` shows how to make one");
    }
    let rows = keys.iter().map(|key| {
        vec![
            key.sid.clone(),
            shape::access(key),
            shape::time(key.create_time.as_ref()),
            key.friendly_name.clone(),
        ]
    });
    output::line(&output::columns(&["SID", "ACCESS", "CREATED", "NAME"], rows.collect()))
}
