//! A process that a run starts, watches and ends.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child as Process, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::time::{Instant, sleep};

use crate::http::Http;

/// Longest start, and longest end.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(10);
/// How much of a log is shown.
const SHOWN_LINES: usize = 40;

/// A process; killed when it is dropped.
pub(crate) struct Child {
    /// What it is called in the report.
    pub(crate) name: &'static str,
    process: Process,
    output: PathBuf,
    log: PathBuf,
    command: Command,
    /// Where it says that it serves.
    ready_url: Option<String>,
}

impl Child {
    /// Starts `command`; what it prints and logs goes to files in `directory`.
    pub(crate) fn spawn(
        name: &'static str,
        mut command: Command,
        directory: &Path,
    ) -> Result<Self> {
        let output = directory.join(format!("{name}.out"));
        let log = directory.join(format!("{name}.log"));
        // What this program was told is not for Millrace.
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("MILLRACE__")) {
            command.env_remove(name);
        }
        // Whoever asks for a role may have it of this program.
        command.env("AWS_ACCESS_KEY_ID", "bench").env("AWS_SECRET_ACCESS_KEY", "bench");
        // The end of a log is shown: causes rather than a backtrace.
        command.env("RUST_LIB_BACKTRACE", "0");
        command.stdin(Stdio::null()).stdout(File::create(&output)?).stderr(File::create(&log)?);
        let program = command.get_program().display().to_string();
        let process = command.spawn().with_context(|| format!("cannot run `{program}`"))?;
        Ok(Self { name, process, output, log, command, ready_url: None })
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Waits until it printed a line for which `find` gives something.
    pub(crate) async fn printed<T>(&mut self, find: impl Fn(&str) -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let output = fs::read_to_string(&self.output)?;
            if let Some(found) = output.lines().find_map(&find) {
                return Ok(found);
            }
            self.must_run()?;
            sleep(PAUSE).await;
        }
        bail!("`{}` does not get ready:\n{}", self.name, self.end_of_log())
    }

    /// Waits until `url` answers with success.
    pub(crate) async fn serves(&mut self, url: &str) -> Result<()> {
        let http = Http::new();
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if http.get(url).await.is_ok() {
                self.ready_url = Some(url.to_owned());
                return Ok(());
            }
            self.must_run()?;
            sleep(PAUSE).await;
        }
        bail!("`{}` does not get ready:\n{}", self.name, self.end_of_log())
    }

    /// Waits until it ended with success, and gives what it printed.
    pub(crate) async fn ended(mut self, within: Duration) -> Result<String> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.process.try_wait()? {
                ensure!(
                    status.success(),
                    "`{}` failed: {status}\n{}",
                    self.name,
                    self.end_of_log()
                );
                return Ok(fs::read_to_string(&self.output)?);
            }
            ensure!(Instant::now() < deadline, "`{}` does not end within {within:?}", self.name);
            sleep(PAUSE).await;
        }
    }

    /// Ends it, starts it anew and waits until it serves; tells how long it took from its start.
    pub(crate) async fn restart(&mut self) -> Result<Duration> {
        let url = self.ready_url.clone().context("it never served")?;
        self.process.kill()?;
        self.process.wait()?;
        let started = Instant::now();
        self.process = self.command.spawn().context("cannot start it anew")?;
        self.serves(&url).await?;
        Ok(started.elapsed())
    }

    /// Asks it to end (SIGTERM) and waits.
    pub(crate) async fn stop(self) -> Result<()> {
        kill(Pid::from_raw(i32::try_from(self.pid())?), Signal::SIGTERM)?;
        self.ended(PATIENCE).await.map(drop)
    }

    /// The last lines of its log.
    pub(crate) fn end_of_log(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines.get(lines.len().saturating_sub(SHOWN_LINES)..).unwrap_or_default().join("\n")
    }

    fn must_run(&mut self) -> Result<()> {
        match self.process.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("`{}` ended: {status}\n{}", self.name, self.end_of_log()),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
