//! The cases: each a way that Millrace is used, measured on a stack of its own.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use clap::{Args, ValueEnum};

use crate::{
    event::EVENT_BYTES,
    machine,
    report::{self, Outcome},
};

mod accounts;
mod backlog;
mod beside;
mod configuration;
mod hanging;
mod idle;
mod scale;
mod throughput;

/// What to measure.
#[derive(Args, Clone, Debug)]
pub(crate) struct RunArgs {
    /// Which case; may be repeated. Default: every case.
    #[arg(long, value_enum)]
    case: Vec<Case>,
    /// Lists the cases and ends.
    #[arg(long)]
    list: bool,
    /// Pairs of measurements of which a ratio is the median, and runs of which the figures of a load are.
    #[arg(long, default_value_t = 5)]
    pairs: usize,
    /// Measures little, for who changes this program: figures mean nothing.
    #[arg(long)]
    quick: bool,
    /// The program to measure. Default: the one beside this one.
    #[arg(long, value_name = "FILE")]
    millrace: Option<PathBuf>,
}

/// The cases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Case {
    /// Batches of 100 to one sink that takes batches.
    Batched,
    /// As `batched`, the data of every event being checked by a schema.
    BatchedValidated,
    /// Batches of 100 to one sink that takes one event a request.
    Unbatched,
    /// As `batched`, only failed attempts being logged.
    BatchedFailures,
    /// As `unbatched`, only failed attempts being logged.
    UnbatchedFailures,
    /// Batches of 100 to one Kinesis data stream.
    Kinesis,
    /// Batches of 100 to one Segment source.
    Segment,
    /// Single events, 64 at once, to one sink that takes one event a request.
    Single,
    /// Batches of 100 to ten sinks that all take them.
    FanOut,
    /// The same load on 1, 2 and 4 deliverers: what more of them cost.
    Scale,
    /// 10 of 100 sinks hang for 5 s each.
    Hanging,
    /// A sink with a backlog of a million events comes back.
    Backlog,
    /// A thousand sinks with backlogs come back at once.
    Memory,
    /// One event after the other, 100 a second.
    Latency100,
    /// One event after the other, 1,000 a second.
    Latency1000,
    /// Nothing to do.
    Idle,
    /// `millrace dev`: batches of 100 to one sink that takes one event a request.
    DevUnbatched,
    /// `millrace dev`: one event after the other, 100 a second.
    DevLatency100,
    /// 10,000 accounts, one event a second each, a sink each; to make them takes longest.
    Accounts,
    /// How soon a change of the configuration is in force in router and deliverer.
    Config,
    /// 100,000 subscriptions: how soon a router has them, and in how much memory.
    Load,
}

/// What a case goes by.
pub(crate) struct Context {
    pub(crate) millrace: PathBuf,
    pub(crate) pairs: usize,
    quick: bool,
}

impl Context {
    /// So many events, or a twentieth where little is measured.
    pub(crate) fn events(&self, full: usize) -> usize {
        if self.quick { full / 20 } else { full }
    }

    /// So many seconds, or two.
    pub(crate) fn seconds(&self, full: u32) -> u32 {
        if self.quick { 2 } else { full }
    }
}

impl Case {
    /// What it is called on the command line.
    pub(crate) fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// What it measures.
    pub(crate) fn about(self) -> String {
        let value = self.to_possible_value();
        value.and_then(|value| value.get_help().map(ToString::to_string)).unwrap_or_default()
    }

    async fn run(self, context: &Context) -> Result<Outcome> {
        match self {
            Self::Batched => throughput::batched(context).await,
            Self::BatchedValidated => beside::validated(context).await,
            Self::Unbatched => throughput::unbatched(context).await,
            Self::BatchedFailures => throughput::batched_failures(context).await,
            Self::UnbatchedFailures => throughput::unbatched_failures(context).await,
            Self::Kinesis => beside::kinesis(context).await,
            Self::Segment => beside::segment(context).await,
            Self::Single => throughput::single(context).await,
            Self::Accounts => accounts::accounts(context).await,
            Self::Config => configuration::config(context).await,
            Self::Load => configuration::load(context).await,
            Self::Scale => scale::scale(context).await,
            Self::Hanging => hanging::hanging(context).await,
            Self::Backlog => backlog::backlog(context).await,
            Self::Memory => backlog::memory(context).await,
            Self::FanOut => throughput::fan_out(context).await,
            Self::Latency100 => throughput::latency(context, 100).await,
            Self::Latency1000 => throughput::latency(context, 1_000).await,
            Self::Idle => idle::idle(context).await,
            Self::DevUnbatched => throughput::dev_unbatched(context).await,
            Self::DevLatency100 => throughput::dev_latency(context).await,
        }
    }
}

/// Measures each case and prints the report.
pub(crate) async fn command(args: RunArgs) -> Result<()> {
    if args.list {
        for case in Case::value_variants() {
            println!("{:<16}{}", case.name(), case.about());
        }
        return Ok(());
    }
    let beside = std::env::current_exe()?.with_file_name("millrace");
    let millrace = args.millrace.clone().unwrap_or(beside);
    ensure!(
        millrace.is_file(),
        "no `{}`: run `make bench`, or name one by --millrace",
        millrace.display()
    );
    println!(
        "events     {EVENT_BYTES} bytes of JSON each, of a type without a schema but where it says `validated`, by gRPC"
    );
    println!("CPU        of services, Redis and PostgreSQL, read from the OS");
    println!("latency    from publish sent to request received");
    println!("durability Redis appendonly=yes appendfsync=everysec; PostgreSQL fsync=on");
    println!("           `millrace dev`: SQLite synchronous=FULL");
    println!("machine    {}; load before {}", machine::hardware(), machine::load());
    println!("versions   {}", machine::versions(&millrace, true));
    let context = Context { millrace, pairs: args.pairs, quick: args.quick };
    let cases = match args.case.as_slice() {
        [] => Case::value_variants(),
        some => some,
    };
    let mut outcomes = Vec::new();
    for case in cases {
        let outcome = case.run(&context).await;
        let outcome = outcome.with_context(|| format!("case {} failed", case.name()))?;
        report::print(*case, &outcome);
        outcomes.push((*case, outcome));
    }
    report::table(&outcomes);
    Ok(())
}
