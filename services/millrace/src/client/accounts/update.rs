//! `millrace accounts update`: a name, or a status. What cannot be taken back is asked for twice.

use std::io::{self, BufRead, IsTerminal};

use anyhow::Context;
use millrace_proto::v1::{self, account_service_client::AccountServiceClient as Client};

use crate::client::{connection::Connection, failure::explain};

#[derive(clap::Args)]
pub(super) struct UpdateArgs {
    /// The account's SID.
    #[arg(value_name = "AC…")]
    sid: String,
    /// Call it this.
    #[arg(long)]
    name: Option<String>,
    /// Refuse its credentials and its publishes, and those of its subaccounts, until --activate; events that wait are kept for their
    /// window.
    #[arg(long, conflicts_with_all = ["activate", "close"])]
    suspend: bool,
    /// Have it go on after --suspend; what was kept is delivered.
    #[arg(long, conflicts_with = "close")]
    activate: bool,
    /// Close it and its subaccounts for good: sinks, subscriptions and keys are deleted, events that wait are dropped. Asks first.
    #[arg(long)]
    close: bool,
    /// Close it without asking.
    #[arg(long, requires = "close")]
    yes: bool,
}

impl UpdateArgs {
    /// Asks whoever sits at the terminal whether to close; where nobody does, `--yes` has said so.
    pub(super) fn confirm(&self) -> anyhow::Result<()> {
        if !self.close || self.yes {
            return Ok(());
        }
        let sid = &self.sid;
        let loss = format!(
            "closing {sid} cannot be taken back: its sinks, subscriptions, keys and subaccounts go with it, and events that wait are dropped"
        );
        anyhow::ensure!(io::stdin().is_terminal(), "{loss}. Give --yes to close it");
        eprintln!("{loss}.\nType the SID to close it:");
        answered(sid, &mut io::stdin().lock())
    }

    /// Changes the account; gives it as it now is.
    pub(super) async fn run(
        self,
        client: &mut Client<Connection>,
    ) -> anyhow::Result<Option<v1::Account>> {
        let failed = format!("update the account `{}`", self.sid);
        let request = self.request().context("nothing to change: `--help` shows what can be")?;
        let updated = client.update_account(request).await.map_err(|s| explain(&s, &failed))?;
        Ok(updated.into_inner().account)
    }

    /// `None`: nothing is to change.
    fn request(self) -> Option<v1::UpdateAccountRequest> {
        let mut paths = Vec::new();
        let mut account = v1::Account { sid: self.sid, ..v1::Account::default() };
        if let Some(name) = self.name {
            account.friendly_name = name;
            paths.push("friendly_name".to_owned());
        }
        let status = match (self.suspend, self.activate, self.close) {
            (true, ..) => Some(v1::AccountStatus::Suspended),
            (_, true, _) => Some(v1::AccountStatus::Active),
            (.., true) => Some(v1::AccountStatus::Closed),
            _ => None,
        };
        if let Some(status) = status {
            account.status = status.into();
            paths.push("status".to_owned());
        }
        let mask = (!paths.is_empty()).then_some(prost_types::FieldMask { paths });
        mask.map(|mask| v1::UpdateAccountRequest {
            account: Some(account),
            update_mask: Some(mask),
        })
    }
}

fn answered(sid: &str, from: &mut impl BufRead) -> anyhow::Result<()> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    anyhow::ensure!(line.trim() == sid, "{sid} is not closed: that was not its SID");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args() -> UpdateArgs {
        let sid = "AC1".to_owned();
        UpdateArgs { sid, name: None, suspend: false, activate: false, close: false, yes: false }
    }

    #[test]
    fn only_what_is_named_changes() {
        assert_eq!(args().request(), None);
        let asked = |args: UpdateArgs| {
            let request = args.request().expect("a change");
            let account = request.account.expect("an account");
            (
                account.friendly_name.clone(),
                account.status(),
                request.update_mask.expect("a mask").paths,
            )
        };
        let named = asked(UpdateArgs { name: Some(String::new()), ..args() });
        let none = v1::AccountStatus::Unspecified;
        assert_eq!(named, (String::new(), none, vec!["friendly_name".to_owned()]));
        for (args, status) in [
            (UpdateArgs { suspend: true, ..args() }, v1::AccountStatus::Suspended),
            (UpdateArgs { activate: true, ..args() }, v1::AccountStatus::Active),
            (UpdateArgs { close: true, ..args() }, v1::AccountStatus::Closed),
        ] {
            assert_eq!(asked(args), (String::new(), status, vec!["status".to_owned()]));
        }
    }

    #[test]
    fn an_account_is_closed_by_who_types_its_sid() {
        assert!(answered("AC1", &mut "AC1\n".as_bytes()).is_ok());
        for other in ["", "\n", "y\n", "AC2\n"] {
            assert!(answered("AC1", &mut other.as_bytes()).is_err(), "{other}");
        }
        assert!(UpdateArgs { close: true, yes: true, ..args() }.confirm().is_ok());
        assert!(args().confirm().is_ok());
    }
}
