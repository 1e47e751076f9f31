//! A Millrace under measurement: with a receiver of its own, and generators as they are wanted.

use std::{
    cell::Cell,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::{
    child::Child,
    cost::{self, Cost},
    figures::float,
    generate::Generated,
    http::Http,
    load::{Audience, Load},
    receive::{Behaviour, Expected, Received},
    redis::{Commands, Redis},
    setup::Wanted,
    stack::{Mode, Setting, Stack},
    usage,
};

/// Longest wait without one more event.
const STALL: Duration = Duration::from_secs(60);
/// Longest time that publishing takes.
const PUBLISH_PATIENCE: Duration = Duration::from_secs(600);
const POLL: Duration = Duration::from_millis(50);
/// What is left to do when the last event arrived: its answer is read, its chunk is settled.
const SETTLE: Duration = Duration::from_millis(500);
/// Events of a run that only counts commands, at most: to be watched costs Redis much.
const COUNTED_EVENTS: usize = 10_000;

/// A stack, and the process that receives from it.
pub(crate) struct Bench {
    pub(crate) stack: Stack,
    receiver: Child,
    receiver_port: u16,
    http: Http,
    directory: TempDir,
    next_run: Cell<u64>,
}

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) generated: Generated,
    pub(crate) received: Received,
    pub(crate) costs: Vec<Cost>,
    /// Transactions of PostgreSQL.
    pub(crate) transactions: u64,
    events: usize,
}

impl Measured {
    /// Events accepted in a second.
    pub(crate) fn accepted_per_second(&self) -> f64 {
        self.per_second(self.events, self.generated.ended_us)
    }

    /// Deliveries in a second, from the first publish to the last delivery.
    pub(crate) fn delivered_per_second(&self) -> f64 {
        self.per_second(self.received.deliveries, self.received.last_us)
    }

    /// CPU-µs of Millrace and what it stands on, for each delivery.
    pub(crate) fn cpu_us(&self) -> f64 {
        cost::per_event(&self.costs, self.received.deliveries)
    }

    /// Transactions of PostgreSQL for each event.
    pub(crate) fn transactions_per_event(&self) -> f64 {
        float(self.transactions) / float(self.events.max(1))
    }

    fn per_second(&self, count: usize, ended_us: u64) -> f64 {
        float(count) * 1e6 / float(ended_us.saturating_sub(self.generated.started_us).max(1))
    }
}

/// A run that publishes while other things are done.
pub(crate) struct Running {
    run: u64,
    load: Load,
    generator: Child,
}

impl Bench {
    /// Starts a stack of the program `millrace`, and a receiver.
    pub(crate) async fn start(mode: Mode, millrace: &Path, settings: &[Setting]) -> Result<Self> {
        Self::start_with(mode, millrace, settings, 1).await
    }

    /// As [`Bench::start`], with services as processes and so many deliverers.
    pub(crate) async fn with_deliverers(millrace: &Path, deliverers: usize) -> Result<Self> {
        Self::start_with(Mode::Server, millrace, &[], deliverers).await
    }

    async fn start_with(
        mode: Mode,
        millrace: &Path,
        settings: &[Setting],
        deliverers: usize,
    ) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["receive", "--listen", "0.0.0.0:0"]);
        let mut receiver = Child::spawn(cost::RECEIVER, command, directory.path())?;
        let receiver_port =
            receiver.printed(|line| line.strip_prefix("listens on ")?.parse().ok()).await?;
        let url = format!("http://127.0.0.1:{receiver_port}");
        let endpoints =
            ["sinks.kinesis.endpoint", "sinks.kinesis.sts_endpoint", "sinks.segment.endpoint"];
        let endpoints = endpoints.map(|setting| (setting, &*url));
        let settings = [settings, &endpoints[..]].concat();
        let stack = Stack::start(mode, millrace, &settings, deliverers).await?;
        stack.api.create_event_type().await.with_context(|| stack.logs())?;
        Ok(Self {
            stack,
            receiver,
            receiver_port,
            http: Http::new(),
            directory,
            next_run: Cell::new(1),
        })
    }

    /// Gives the events' type a schema, which is enforced from then on.
    pub(crate) async fn describe_events(&self) -> Result<()> {
        self.stack.api.register_schema().await.with_context(|| self.stack.logs())
    }

    /// Makes sinks.
    pub(crate) async fn audience(&self, wanted: Wanted) -> Result<Audience> {
        let made = self.stack.api.audience(wanted, self.receiver_port).await;
        made.with_context(|| self.stack.logs())
    }

    /// Says how sinks behave from now on.
    pub(crate) async fn behave(&self, behaviour: Behaviour) -> Result<()> {
        self.http.put(&self.receiver_url("behaviour"), serde_json::to_vec(&behaviour)?).await
    }

    /// Publishes, waits until everything arrived, and tells what it cost.
    pub(crate) async fn run(&self, load: &Load) -> Result<Measured> {
        let (before, transactions) = (self.usage()?, self.stack.transactions().await?);
        let running = self.publish(load).await?;
        let (generated, received) = self.finish(running).await?;
        sleep(SETTLE).await;
        let mut costs = Cost::between(&before, &self.usage()?);
        costs.push(Cost {
            process: cost::GENERATOR,
            cpu_us: generated.cpu_us,
            peak_rss_bytes: None,
        });
        let transactions = self.stack.transactions().await? - transactions;
        Ok(Measured { generated, received, costs, transactions, events: load.events })
    }

    /// Commands that Redis gets for each event of a load: counted in a run of its own, since counting is dear.
    pub(crate) async fn commands_per_event(&self, load: &Load) -> Result<Option<(f64, Commands)>> {
        let Some(redis) = self.stack.redis() else { return Ok(None) };
        let load = Load { events: load.events.min(COUNTED_EVENTS), ..load.clone() };
        let work = async {
            let running = self.publish(&load).await?;
            self.finish(running).await?;
            sleep(SETTLE).await;
            Ok(())
        };
        let ((), commands) = redis.commands(work).await?;
        let sent: usize = commands.values().sum();
        Ok(Some((float(sent) / float(load.events), commands)))
    }

    /// Starts to publish.
    pub(crate) async fn publish(&self, load: &Load) -> Result<Running> {
        let run = self.next_run.replace(self.next_run.get() + 1);
        let expected = Expected { run, events: load.events, sinks: load.audience.sinks };
        self.http.put(&self.receiver_url("runs"), serde_json::to_vec(&expected)?).await?;
        let generator =
            Child::spawn(cost::GENERATOR, self.generator(run, load)?, self.directory.path())?;
        Ok(Running { run, load: load.clone(), generator })
    }

    /// Waits until everything was published.
    pub(crate) async fn published(&self, running: Running) -> Result<(u64, Generated)> {
        let Running { run, generator, .. } = running;
        let printed = generator.ended(PUBLISH_PATIENCE).await.with_context(|| self.stack.logs())?;
        Ok((run, serde_json::from_str(&printed)?))
    }

    /// Waits until everything was published and arrived.
    pub(crate) async fn finish(&self, running: Running) -> Result<(Generated, Received)> {
        let deliveries = running.load.deliveries();
        let (run, generated) = self.published(running).await?;
        Ok((generated, self.arrived(run, deliveries).await?))
    }

    /// Waits until so many deliveries of a run arrived.
    pub(crate) async fn arrived(&self, run: u64, deliveries: usize) -> Result<Received> {
        let (mut seen, mut since) = (0, Instant::now());
        loop {
            let count = self.count(run).await?;
            if count == deliveries {
                return self.received(run).await;
            }
            if count > seen {
                (seen, since) = (count, Instant::now());
            }
            if since.elapsed() > STALL {
                let logs = self.stack.logs();
                bail!("of {deliveries} deliveries, {seen} arrived, and none for {STALL:?}\n{logs}");
            }
            sleep(POLL).await;
        }
    }

    /// How many deliveries of a run arrived.
    pub(crate) async fn count(&self, run: u64) -> Result<usize> {
        let url = self.receiver_url(&format!("runs/{run}/deliveries"));
        Ok(std::str::from_utf8(&self.http.get(&url).await?)?.parse()?)
    }

    /// When the first request came to the URL of a sink, in µs; `None`: none did yet.
    pub(crate) async fn first_arrival(&self, sink: usize) -> Result<Option<u64>> {
        let answer = self.http.get(&self.receiver_url(&format!("first/{sink}"))).await?;
        Ok(serde_json::from_slice(&answer)?)
    }

    /// What arrived of a run.
    pub(crate) async fn received(&self, run: u64) -> Result<Received> {
        let answer = self.http.get(&self.receiver_url(&format!("runs/{run}"))).await?;
        Ok(serde_json::from_slice(&answer)?)
    }

    /// The Redis that the stack stands on.
    pub(crate) fn redis(&self) -> Result<Redis> {
        self.stack.redis().context("this stack has no Redis")
    }

    /// What Millrace's processes have used up to now, and the receiver.
    pub(crate) fn usage(&self) -> Result<Vec<(&'static str, usage::Usage)>> {
        let mut usage = self.stack.usage()?;
        usage.push((cost::RECEIVER, usage::of(self.receiver.pid())?));
        Ok(usage)
    }

    /// Ends it in order.
    pub(crate) async fn stop(self) -> Result<()> {
        drop(self.receiver);
        self.stack.stop().await
    }

    /// What the receiver has at a path.
    pub(crate) fn receiver_url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.receiver_port)
    }

    fn generator(&self, run: u64, load: &Load) -> Result<Command> {
        let Load { audience, events, in_a_row, batch, in_flight, .. } = load;
        let api = &self.stack.api;
        let accounts: PathBuf = self.directory.path().join(format!("accounts-{run}"));
        fs::write(&accounts, audience.accounts.join("\n"))?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["generate", "--url", &api.publish_url, "--platform-key", &api.platform_key]);
        command.arg("--accounts").arg(accounts).args(["--run", &run.to_string()]);
        command.args(["--sinks", &audience.sinks.to_string(), "--events", &events.to_string()]);
        command.args(["--in-a-row", &in_a_row.to_string()]);
        command.args(["--batch", &batch.to_string(), "--in-flight", &in_flight.to_string()]);
        if load.incompressible {
            command.arg("--incompressible");
        }
        if let Some(rate) = load.rate {
            command.args(["--rate", &rate.to_string()]);
        }
        if let Some(undelivered) = load.undelivered {
            let received = load.deliveries() * 100 / (load.events * audience.sinks);
            command.args(["--undelivered", &undelivered.to_string()]);
            command.args(["--received-percent", &received.to_string()]);
            let url = self.receiver_url(&format!("runs/{run}/deliveries"));
            command.args(["--receiver", &url]);
        }
        Ok(command)
    }
}
