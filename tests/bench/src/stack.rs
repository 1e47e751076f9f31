//! Millrace as it is run: what to measure, what to ask, what to end.

use std::{net::TcpListener, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::{
    child::Child,
    redis::Redis,
    setup::Api,
    usage::{self, Usage},
};

mod embedded;
mod servers;

/// The ways to run Millrace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Its services as processes, on Redis and PostgreSQL.
    Server,
    /// `millrace dev`: one process, on files.
    Embedded,
}

/// A setting of a deliverer: its key and its value.
pub(crate) type Setting = (&'static str, &'static str);

/// A Millrace that runs; ends when it is dropped.
pub(crate) struct Stack {
    /// Where to ask what.
    pub(crate) api: Api,
    services: Vec<Child>,
    backing: Option<servers::Backing>,
    _directory: TempDir,
}

impl Stack {
    /// Starts the program `millrace` as `mode` says, and waits until it serves. `settings` are for deliverers that are
    /// processes of their own, of which there are so many, four at most.
    pub(crate) async fn start(
        mode: Mode,
        millrace: &Path,
        settings: &[(&str, &str)],
        deliverers: usize,
    ) -> Result<Self> {
        match mode {
            Mode::Server => servers::start(millrace, settings, deliverers).await,
            Mode::Embedded => embedded::start(millrace).await,
        }
    }

    /// What each of its processes has used up to now, by name.
    pub(crate) fn usage(&self) -> Result<Vec<(&'static str, Usage)>> {
        let services = self.services.iter().map(|child| (child.name, child.pid()));
        let backing = self.backing.iter().flat_map(servers::Backing::pids);
        services.chain(backing).map(|(name, pid)| Ok((name, usage::of(pid)?))).collect()
    }

    /// The Redis it stands on, if it does.
    pub(crate) fn redis(&self) -> Option<Redis> {
        self.backing.as_ref().map(servers::Backing::redis)
    }

    /// Transactions that its PostgreSQL has ended up to now; 0 where it has none.
    pub(crate) async fn transactions(&self) -> Result<u64> {
        match &self.backing {
            Some(backing) => backing.transactions().await,
            None => Ok(0),
        }
    }

    /// Runs statements in its PostgreSQL.
    pub(crate) async fn execute(&self, sql: &str) -> Result<()> {
        self.backing.as_ref().context("it has no PostgreSQL")?.execute(sql).await
    }

    /// Starts a service of it anew, and waits until it serves; tells how long that took.
    pub(crate) async fn restart(&mut self, name: &str) -> Result<Duration> {
        let found = self.services.iter_mut().find(|child| child.name == name);
        found.with_context(|| format!("it has no {name}"))?.restart().await
    }

    /// The end of the log of each of its services.
    pub(crate) fn logs(&self) -> String {
        let log = |child: &Child| format!("--- {} ---\n{}\n", child.name, child.end_of_log());
        self.services.iter().map(log).collect()
    }

    /// Ends it in order.
    pub(crate) async fn stop(self) -> Result<()> {
        // The reverse of the start: whoever asks ends before whom it asks.
        for service in self.services.into_iter().rev() {
            service.stop().await?;
        }
        Ok(())
    }
}

/// A command of Millrace with settings.
fn command(millrace: &Path, name: &str, settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(millrace);
    command.arg(name);
    for (key, value) in settings {
        command.arg("--set").arg(format!("{key}={value}"));
    }
    command
}

/// A key that nobody else has: good enough for a server on loopback that lives for a minute.
fn random_key(prefix: &str) -> Result<String> {
    let mut random = [0; 24];
    std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut random)?;
    Ok(format!("{prefix}{}", millrace_domain::secret::hex(&random)))
}

/// An address on loopback that is free now.
fn free_address() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}
