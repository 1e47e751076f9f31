//! `millrace accounts`: who owns sinks and publishes events, and by which auth token.

mod tokens;
mod update;

use std::process::ExitCode;

use anyhow::Context;
use clap::ValueEnum;
use millrace_domain::Secret;
use millrace_proto::v1::{self, account_service_client::AccountServiceClient as Client};
use serde_json::Value;

use self::{tokens::TokenCommand, update::UpdateArgs};
use crate::client::{
    connection::{Connection, ConnectionArgs, connect, secret},
    failure::explain,
    list::{self, LimitArgs},
    output::{self, OutputArgs},
    shape,
};

/// Create, list, show, change and close accounts and subaccounts; replace their auth tokens.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct AccountsArgs {
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    pub(super) connection: ConnectionArgs,
    #[command(subcommand)]
    command: AccountCommand,
}

const EXAMPLES: &str = "\
An account's auth token, or a main key of it, reaches the account and its subaccounts; a platform key reaches every account. Where
an account's credentials and a platform key are given, the account's are used, but for --standalone, --sid and --use-auth-token.

Examples:
  millrace accounts create --name 'Acme Europe'
  millrace accounts create --standalone --name Acme --platform-key …
  millrace accounts list --status suspended
  millrace accounts update AC… --name 'Acme EU'
  millrace accounts update AC… --suspend
  millrace accounts update AC… --close
  millrace accounts token create AC…
  millrace accounts token promote AC…";

#[derive(clap::Subcommand)]
enum AccountCommand {
    /// Make a subaccount or, with --standalone, an account; shows its auth token.
    Create(CreateArgs),
    /// List an account with its subaccounts, by SID; with a platform key and no account, all.
    List {
        /// This account and its subaccounts [default: the caller's].
        #[arg(long, value_name = "AC…")]
        of: Option<String>,
        /// Only those of exactly this name.
        #[arg(long)]
        name: Option<String>,
        /// Only those of this status.
        #[arg(long)]
        status: Option<StatusArg>,
        #[command(flatten)]
        limit: LimitArgs,
    },
    /// Show an account, with its auth token.
    Get {
        /// The account's SID [default: the caller's].
        #[arg(value_name = "AC…")]
        sid: Option<String>,
    },
    /// Rename, suspend, activate or close an account.
    Update(UpdateArgs),
    /// Replace an account's auth token without a moment in which none is accepted.
    #[command(subcommand)]
    Token(TokenCommand),
}

#[derive(clap::Args)]
struct CreateArgs {
    /// For people [default: when it was made, or its SID].
    #[arg(long, default_value = "", hide_default_value = true)]
    name: String,
    /// The account that it is a subaccount of [default: the caller's].
    #[arg(long, value_name = "AC…", conflicts_with = "standalone")]
    parent: Option<String>,
    /// Make an account of its own, not a subaccount (takes a platform key).
    #[arg(long)]
    standalone: bool,
    /// The SID to use, such as one that another system gave (takes a platform key) [default: a new one].
    #[arg(long, value_name = "AC…")]
    sid: Option<String>,
    /// The auth token to use: 32 to 128 printable characters without spaces (takes a platform key) [default: a new one].
    #[arg(long, value_name = "TOKEN", value_parser = secret)]
    use_auth_token: Option<Secret>,
}

impl CreateArgs {
    fn takes_platform(&self) -> bool {
        self.standalone || self.sid.is_some() || self.use_auth_token.is_some()
    }

    /// What to ask for. An account that a platform key is to act on is the parent, unless there is to be none.
    fn request(self, acts_on: String) -> v1::CreateAccountRequest {
        let parent = self.parent.unwrap_or(acts_on);
        let token = self.use_auth_token.map(|token| token.reveal().to_owned());
        v1::CreateAccountRequest {
            friendly_name: self.name,
            parent_sid: if self.standalone { String::new() } else { parent },
            sid: self.sid.unwrap_or_default(),
            auth_token: token.unwrap_or_default(),
            ..v1::CreateAccountRequest::default()
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum StatusArg {
    Active,
    Suspended,
    Closed,
}

impl From<StatusArg> for v1::AccountStatus {
    fn from(status: StatusArg) -> Self {
        match status {
            StatusArg::Active => Self::Active,
            StatusArg::Suspended => Self::Suspended,
            StatusArg::Closed => Self::Closed,
        }
    }
}

/// Does what `millrace accounts` was asked for.
pub(crate) async fn run(args: AccountsArgs) -> anyhow::Result<ExitCode> {
    let credentials = match &args.command {
        AccountCommand::Create(create) if create.takes_platform() => args.connection.as_platform(),
        _ => args.connection.as_account(),
    }?;
    if let AccountCommand::Update(update) = &args.command {
        update.confirm()?;
    }
    let mut client = Client::new(connect(args.connection.server(), &credentials).await?);
    let named = |sid: Option<String>| sid.unwrap_or_else(|| credentials.account_named());
    match args.command {
        AccountCommand::Create(create) => {
            let made = client.create_account(create.request(credentials.account_named())).await;
            let made = made.map_err(|s| explain(&s, "create the account"))?;
            show(&args.output, made.into_inner().account)?;
        }
        AccountCommand::List { of, name, status, limit } => {
            let request = v1::ListAccountsRequest {
                account_sid: named(of),
                friendly_name: name.unwrap_or_default(),
                status: status.map_or(v1::AccountStatus::Unspecified, Into::into).into(),
                ..v1::ListAccountsRequest::default()
            };
            show_list(&args.output, &list_accounts(&client, &request, &limit).await?)?;
        }
        AccountCommand::Get { sid } => {
            let found = client.get_account(v1::GetAccountRequest { sid: named(sid) }).await;
            let found = found.map_err(|s| explain(&s, "get the account"))?;
            show(&args.output, found.into_inner().account)?;
        }
        AccountCommand::Update(update) => show(&args.output, update.run(&mut client).await?)?,
        AccountCommand::Token(command) => command.run(&mut client, &args.output, named).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn list_accounts(
    client: &Client<Connection>,
    request: &v1::ListAccountsRequest,
    limit: &LimitArgs,
) -> anyhow::Result<Vec<v1::Account>> {
    list::all(limit, "list the accounts", async |page_size, page_token| {
        let request = v1::ListAccountsRequest { page_size, page_token, ..request.clone() };
        let page = client.clone().list_accounts(request).await?.into_inner();
        Ok((page.accounts, page.next_page_token))
    })
    .await
}

fn show(output: &OutputArgs, account: Option<v1::Account>) -> anyhow::Result<()> {
    let account = account.context("the server answered without the account")?;
    if output.json {
        return output::json(&shape::account(&account));
    }
    let status = status(&account);
    let mut fields = vec![("sid", account.sid), ("name", account.friendly_name)];
    if !account.parent_sid.is_empty() {
        fields.push(("subaccount of", account.parent_sid));
    }
    fields.extend([("status", status), ("auth token", account.auth_token)]);
    if !account.secondary_auth_token.is_empty() {
        fields.push(("secondary auth token", account.secondary_auth_token));
    }
    fields.extend([
        ("created", shape::time(account.create_time.as_ref())),
        ("updated", shape::time(account.update_time.as_ref())),
    ]);
    output::line(&output::fields(fields))
}

fn show_list(output: &OutputArgs, accounts: &[v1::Account]) -> anyhow::Result<()> {
    if output.json {
        return output::json(&Value::Array(accounts.iter().map(shape::account).collect()));
    }
    if accounts.is_empty() {
        return output::line("no accounts");
    }
    let rows = accounts.iter().map(|account| {
        vec![
            account.sid.clone(),
            status(account),
            account.parent_sid.clone(),
            shape::time(account.create_time.as_ref()),
            account.friendly_name.clone(),
        ]
    });
    let headings = ["SID", "STATUS", "SUBACCOUNT OF", "CREATED", "NAME"];
    output::line(&output::columns(&headings, rows.collect()))
}

fn status(account: &v1::Account) -> String {
    shape::word(account.status().as_str_name(), "ACCOUNT_STATUS_")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn create() -> CreateArgs {
        let name = "n".to_owned();
        CreateArgs { name, parent: None, standalone: false, sid: None, use_auth_token: None }
    }

    #[test]
    fn an_account_that_is_acted_on_is_the_parent_unless_there_is_to_be_none() {
        let parent = |create: CreateArgs| create.request("AC1".to_owned()).parent_sid;
        assert_eq!(parent(create()), "AC1");
        assert_eq!(parent(CreateArgs { parent: Some("AC2".to_owned()), ..create() }), "AC2");
        assert_eq!(parent(CreateArgs { standalone: true, ..create() }), "");
    }

    #[test]
    fn only_what_takes_a_platform_key_asks_for_one() {
        assert!(!create().takes_platform());
        assert!(CreateArgs { standalone: true, ..create() }.takes_platform());
        assert!(CreateArgs { sid: Some("AC1".to_owned()), ..create() }.takes_platform());
        let token = Some(Secret::new("t"));
        assert!(CreateArgs { use_auth_token: token, ..create() }.takes_platform());
    }
}
