//! `millrace accounts token`: a second auth token is made, then takes the place of the first.

use millrace_proto::v1::{self, account_service_client::AccountServiceClient as Client};

use super::show;
use crate::client::{
    connection::Connection,
    failure::explain,
    output::{self, OutputArgs},
};

const STEPS: &str = "\
Replace an auth token in three steps:
  1. `millrace accounts token create`: the second token is accepted at once; the first still signs webhooks.
  2. Have your clients use the second, and your receivers accept signatures by either.
  3. `millrace accounts token promote`: the second signs from then on, and the first opens nothing.";

#[derive(clap::Subcommand)]
#[command(after_help = STEPS)]
pub(super) enum TokenCommand {
    /// Make a second auth token, which is accepted at once beside the first.
    #[command(after_help = STEPS)]
    Create(OfArgs),
    /// Put the second auth token in the first one's place, which opens nothing any more.
    #[command(after_help = STEPS)]
    Promote(OfArgs),
    /// Give the second auth token up; the first one stays.
    Delete(OfArgs),
}

#[derive(clap::Args)]
pub(super) struct OfArgs {
    /// The account's SID [default: the caller's].
    #[arg(value_name = "AC…")]
    sid: Option<String>,
}

impl TokenCommand {
    /// Does it; `named` tells whose token it is about.
    pub(super) async fn run(
        self,
        client: &mut Client<Connection>,
        output: &OutputArgs,
        named: impl Fn(Option<String>) -> String,
    ) -> anyhow::Result<()> {
        match self {
            Self::Create(of) => {
                let account_sid = named(of.sid);
                let request =
                    v1::CreateSecondaryAuthTokenRequest { account_sid, ..Default::default() };
                let made = client.create_secondary_auth_token(request).await;
                let made = made.map_err(|s| explain(&s, "make a second auth token"))?;
                show(output, made.into_inner().account)
            }
            Self::Promote(of) => {
                let request = v1::PromoteSecondaryAuthTokenRequest { account_sid: named(of.sid) };
                let promoted = client.promote_secondary_auth_token(request).await;
                let promoted =
                    promoted.map_err(|s| explain(&s, "promote the second auth token"))?;
                show(output, promoted.into_inner().account)
            }
            Self::Delete(of) => {
                let account_sid = named(of.sid);
                let request =
                    v1::DeleteSecondaryAuthTokenRequest { account_sid: account_sid.clone() };
                let deleted = client.delete_secondary_auth_token(request).await;
                deleted.map_err(|s| explain(&s, "delete the second auth token"))?;
                output::deleted(output, "second auth token of", &account_sid)
            }
        }
    }
}
