//! Backups as operators make and restore them: by `pg_dump` and `psql`.

use std::{path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};

use super::{Database, INSTALL, binaries};

/// What a dump is restored into. `pg_dump --clean` does not do: tables with partitions make it fail.
const EMPTY: &str = "DROP SCHEMA public CASCADE; CREATE SCHEMA public";

impl Database {
    /// Writes all that is in it into a file, as `pg_dump` does.
    ///
    /// # Errors
    /// With what the program said.
    pub fn dump(&self, file: &Path) -> Result<()> {
        let mut dump = program("pg_dump")?;
        run(dump.args(["--no-owner", "--dbname"]).arg(self.url()).arg("--file").arg(file))
    }

    /// Has it be what was dumped into a file, in one transaction, as `psql` does it.
    ///
    /// # Errors
    /// With what the program said; nothing is changed then.
    pub fn restore(&self, file: &Path) -> Result<()> {
        let arguments = ["--no-psqlrc", "--quiet", "--single-transaction", "-v", "ON_ERROR_STOP=1"];
        let mut restore = program("psql")?;
        restore.args(arguments).args(["--command", EMPTY]);
        run(restore.arg("--dbname").arg(self.url()).arg("--file").arg(file))
    }
}

fn program(name: &str) -> Result<Command> {
    Ok(Command::new(binaries()?.join(name)))
}

fn run(command: &mut Command) -> Result<()> {
    let done = command.output().with_context(|| format!("cannot run {command:?}; {INSTALL}"))?;
    ensure!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
    Ok(())
}
