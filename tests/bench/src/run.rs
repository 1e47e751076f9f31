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
    let (events, batch, in_flight, rate) = (args.events, args.batch, args.in_flight, args.rate);
    println!(
        "events     {events} of 1 kB in batches of {batch}, {in_flight} batches in flight, by gRPC, to one webhook, one event a request"
    );
    println!(
        "latency    from publish sent to request received; paced: {} events, {rate} a second",
        args.paced_events
    );
    println!("machine    {}; load before {}", machine::hardware(), machine::load());
    println!("versions   {}", machine::versions(&millrace, modes.contains(&Mode::Server)));
    let mut rows = Vec::new();
    for mode in modes {
        let row = measure(mode, &millrace, &args).await;
        rows.push(row.with_context(|| format!("mode {} failed", mode.name()))?);
    }
    report::print(&rows);
    Ok(())
}

async fn measure(mode: Mode, millrace: &Path, args: &RunArgs) -> Result<Row> {
    let stack = Stack::start(mode, millrace).await?;
    println!("{:<10} {}", mode.name(), stack.durability);
    let bench = Bench::start(&stack).await?;
    let warm = Load {
        run: 0,
        events: WARM_UP_EVENTS,
        batch: args.batch,
        in_flight: args.in_flight,
        rate: None,
    };
    bench.run(warm).await?;
    let before = bench.usage()?;
    let full = bench.run(Load { run: 1, events: args.events, ..warm }).await?;
    sleep(SETTLE).await;
    let mut costs = Cost::between(&before, &bench.usage()?, args.events);
    costs.push(Cost::of_generator(&full.0, args.events));
    let paced =
        Load { run: 2, events: args.paced_events, batch: 1, in_flight: 1, rate: Some(args.rate) };
    let paced = bench.run(paced).await?;
    drop(bench);
    stack.stop().await?;
    Ok(Row { mode, generated: full.0, received: full.1, paced: paced.1, costs })
}

/// What is published.
#[derive(Clone, Copy)]
struct Load {
    run: u64,
    events: usize,
    batch: usize,
    in_flight: usize,
    rate: Option<u32>,
}

/// A stack, and the processes that publish to it and receive from it.
struct Bench<'a> {
    stack: &'a Stack,
    receiver: Child,
    receiver_url: String,
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
        Ok(Self { stack, receiver, receiver_url: format!("http://{address}/run"), directory })
    }

    /// Publishes, and waits until everything arrived.
    async fn run(&self, load: Load) -> Result<(Generated, Received)> {
        let expected = Expected { run: load.run, events: load.events };
        let expected = serde_json::to_vec(&expected)?;
        reqwest::Client::new()
            .put(&self.receiver_url)
            .body(expected)
            .send()
            .await?
            .error_for_status()?;
        let generator = Child::spawn("generator", self.generator(load)?, self.directory.path())?;
        let printed = generator.ended(PUBLISH_PATIENCE).await.with_context(|| self.stack.logs())?;
        let generated: Generated = serde_json::from_str(&printed)?;
        let received = self.arrived(load.events).await?;
        Ok((generated, received))
    }

    async fn arrived(&self, events: usize) -> Result<Received> {
        let (mut seen, mut since) = (0, Instant::now());
        loop {
            let answer = reqwest::get(&self.receiver_url).await?.bytes().await?;
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

    fn generator(&self, load: Load) -> Result<Command> {
        let api = &self.stack.api;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["generate", "--url", &api.publish_url, "--platform-key", &api.platform_key]);
        command.args(["--account-sid", &api.account_sid, "--run", &load.run.to_string()]);
        command.args(["--events", &load.events.to_string(), "--batch", &load.batch.to_string()]);
        command.args(["--in-flight", &load.in_flight.to_string()]);
        if let Some(rate) = load.rate {
            command.args(["--rate", &rate.to_string()]);
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
