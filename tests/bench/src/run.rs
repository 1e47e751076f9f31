//! A run: start Millrace, publish, wait until all of it arrived, and see what it cost.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::{
    child::Child,
    generate::Generated,
    http::Http,
    machine,
    receive::{Expected, Received},
    report::{self, Cost, Row},
    stack::{Mode, Stack},
    usage,
};

/// Events before the measurement: connections are made, code is paged in.
const WARM_UP_EVENTS: usize = 1_000;
/// Longest wait without one more event.
const STALL: Duration = Duration::from_secs(30);
/// Longest time that publishing takes.
const PUBLISH_PATIENCE: Duration = Duration::from_secs(600);
const POLL: Duration = Duration::from_millis(50);
/// What is left to do when the last event arrived: its answer is read, its chunk is settled.
const SETTLE: Duration = Duration::from_millis(500);

/// What to measure.
#[derive(Args, Clone, Debug)]
pub(crate) struct RunArgs {
    /// Events published as fast as they are taken, in each mode.
    #[arg(long, default_value_t = 50_000)]
    events: usize,
    /// Events of a batch.
    #[arg(long, default_value_t = 100)]
    batch: usize,
    /// Batches that wait for their answer.
    #[arg(long, default_value_t = 4)]
    in_flight: usize,
    /// Events that are on their way at once, where they are published as fast as they are delivered.
    #[arg(long, default_value_t = 800)]
    undelivered: usize,
    /// Events published one by one for the latency, in each mode.
    #[arg(long, default_value_t = 500)]
    paced_events: usize,
    /// How many of those a second.
    #[arg(long, default_value_t = 100)]
    rate: u32,
    /// How Millrace is run; may be repeated. Default: every way.
    #[arg(long, value_enum)]
    mode: Vec<Mode>,
    /// The program to measure. Default: the one beside this one.
    #[arg(long, value_name = "FILE")]
    millrace: Option<PathBuf>,
}

impl RunArgs {
    fn describe(&self) {
        let Self { events, batch, in_flight, undelivered, paced_events, rate, .. } = self;
        println!("events     1 kB of JSON each, by gRPC, to one webhook, one event a request");
        println!(
            "burst      {events}, as fast as they are accepted: batches of {batch}, {in_flight} in flight"
        );
        println!(
            "steady     the same, as fast as they are delivered: at most {undelivered} on their way"
        );
        println!("paced      {paced_events}, one by one, {rate} a second");
        println!("latency    from publish sent to request received");
    }
}

/// Measures each mode and prints the report.
pub(crate) async fn command(args: RunArgs) -> Result<()> {
    let beside = std::env::current_exe()?.with_file_name("millrace");
    let millrace = args.millrace.clone().unwrap_or(beside);
    ensure!(
        millrace.is_file(),
        "no `{}`: run `make bench`, or name one by --millrace",
        millrace.display()
    );
    let modes = match args.mode.as_slice() {
        [] => vec![Mode::Server, Mode::Embedded],
        some => some.to_vec(),
    };
    args.describe();
    println!("machine    {}; load before {}", machine::hardware(), machine::load());
    println!("versions   {}", machine::versions(&millrace, modes.contains(&Mode::Server)));
    let mut rows = Vec::new();
    for mode in modes {
        let row = measure(mode, &millrace, &args).await;
        rows.extend(row.with_context(|| format!("mode {} failed", mode.name()))?);
    }
    report::print(&rows);
    Ok(())
}

async fn measure(mode: Mode, millrace: &Path, args: &RunArgs) -> Result<Vec<Row>> {
    let stack = Stack::start(mode, millrace).await?;
    println!("{:<10} {}", mode.name(), stack.durability);
    let bench = Bench::start(&stack).await?;
    let warm_up = Load { name: "warm-up", events: WARM_UP_EVENTS, ..Load::burst(args) };
    bench.run(0, warm_up).await?;
    let mut rows = Vec::new();
    for (run, load) in (1..).zip([Load::burst(args), Load::steady(args), Load::paced(args)]) {
        let before = bench.usage()?;
        let (generated, received) = bench.run(run, load).await?;
        sleep(SETTLE).await;
        let mut costs = Cost::between(&before, &bench.usage()?, load.events);
        costs.push(Cost::of_generator(&generated, load.events));
        rows.push(Row { mode, load: load.name, generated, received, costs });
    }
    drop(bench);
    stack.stop().await?;
    Ok(rows)
}

/// What is published, and how fast.
#[derive(Clone, Copy)]
struct Load {
    name: &'static str,
    events: usize,
    batch: usize,
    in_flight: usize,
    rate: Option<u32>,
    undelivered: Option<usize>,
}

impl Load {
    /// As fast as it is accepted.
    fn burst(args: &RunArgs) -> Self {
        let (events, batch, in_flight) = (args.events, args.batch, args.in_flight);
        Self { name: "burst", events, batch, in_flight, rate: None, undelivered: None }
    }

    /// As fast as it is delivered.
    fn steady(args: &RunArgs) -> Self {
        Self { name: "steady", undelivered: Some(args.undelivered), ..Self::burst(args) }
    }

    /// One by one.
    fn paced(args: &RunArgs) -> Self {
        let (events, rate) = (args.paced_events, Some(args.rate));
        Self { name: "paced", events, batch: 1, rate, ..Self::burst(args) }
    }
}

/// A stack, and the processes that publish to it and receive from it.
struct Bench<'a> {
    stack: &'a Stack,
    receiver: Child,
    receiver_url: String,
    http: Http,
    directory: TempDir,
}

impl<'a> Bench<'a> {
    async fn start(stack: &'a Stack) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["receive", "--listen", "127.0.0.1:0"]);
        let mut receiver = Child::spawn("receiver", command, directory.path())?;
        let address =
            receiver.printed(|line| line.strip_prefix("listens on ")?.parse().ok()).await?;
        stack.api.subscribe(address).await.with_context(|| stack.logs())?;
        Ok(Self {
            stack,
            receiver,
            receiver_url: format!("http://{address}/run"),
            http: Http::new(),
            directory,
        })
    }

    /// Publishes, and waits until everything arrived.
    async fn run(&self, run: u64, load: Load) -> Result<(Generated, Received)> {
        let expected = Expected { run, events: load.events };
        let expected = serde_json::to_vec(&expected)?;
        self.http.put(&self.receiver_url, expected).await?;
        let generator =
            Child::spawn("generator", self.generator(run, load)?, self.directory.path())?;
        let printed = generator.ended(PUBLISH_PATIENCE).await.with_context(|| self.stack.logs())?;
        let generated: Generated = serde_json::from_str(&printed)?;
        let received = self.arrived(load.events).await?;
        Ok((generated, received))
    }

    async fn arrived(&self, events: usize) -> Result<Received> {
        let (mut seen, mut since) = (0, Instant::now());
        loop {
            let answer = self.http.get(&self.receiver_url).await?;
            let received: Received = serde_json::from_slice(&answer)?;
            if received.events == events {
                return Ok(received);
            }
            if received.events > seen {
                (seen, since) = (received.events, Instant::now());
            }
            if since.elapsed() > STALL {
                let logs = self.stack.logs();
                bail!(
                    "of {events} accepted events, {seen} arrived, and none for {STALL:?}\n{logs}"
                );
            }
            sleep(POLL).await;
        }
    }

    fn generator(&self, run: u64, load: Load) -> Result<Command> {
        let api = &self.stack.api;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["generate", "--url", &api.publish_url, "--platform-key", &api.platform_key]);
        command.args(["--account-sid", &api.account_sid, "--run", &run.to_string()]);
        command.args(["--events", &load.events.to_string(), "--batch", &load.batch.to_string()]);
        command.args(["--in-flight", &load.in_flight.to_string()]);
        if let Some(rate) = load.rate {
            command.args(["--rate", &rate.to_string()]);
        }
        if let Some(undelivered) = load.undelivered {
            command.args(["--undelivered", &undelivered.to_string()]);
            command.args(["--receiver", &format!("{}/events", self.receiver_url)]);
        }
        Ok(command)
    }

    /// What Millrace's processes have used up to now, and the receiver.
    fn usage(&self) -> Result<Vec<(&'static str, usage::Usage)>> {
        let mut usage = self.stack.usage()?;
        usage.push((report::RECEIVER, usage::of(self.receiver.pid())?));
        Ok(usage)
    }
}
