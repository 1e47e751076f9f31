//! `make bench`: how many events a second, at what cost and how late; one case for each way that Millrace is used, with its
//! target.
//!
//! The generator and the receiver are processes of their own (subcommands of this program), so that what they cost is not
//! counted as Millrace's. A run fails unless every event that was accepted arrived.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

mod bench;
mod calibrate;
mod case;
mod child;
mod clock;
mod cost;
mod event;
mod figures;
mod generate;
mod http;
mod latency;
mod load;
mod machine;
mod receive;
mod redis;
mod report;
mod setup;
mod stack;
mod usage;

/// Measures Millrace on this machine, over loopback.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(flatten)]
    run: case::RunArgs,
    #[command(subcommand)]
    part: Option<Part>,
}

/// The other processes of a run; not called by people.
#[derive(Subcommand)]
enum Part {
    /// Publishes events and prints how it went as one JSON object.
    #[command(hide = true)]
    Generate(generate::GenerateArgs),
    /// Receives webhooks, and answers what it received.
    #[command(hide = true)]
    Receive(receive::ReceiveArgs),
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    match args.part {
        None => runtime(true)?.block_on(until_stopped(case::command(args.run))),
        Some(Part::Generate(args)) => runtime(false)?.block_on(generate::command(args)),
        Some(Part::Receive(args)) => runtime(false)?.block_on(receive::command(args)),
    }?;
    Ok(ExitCode::SUCCESS)
}

/// A run that is asked to stop (SIGINT, SIGTERM) takes the processes and directories that it started along.
async fn until_stopped(run: impl Future<Output = Result<()>>) -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    // What is dropped ends its processes.
    tokio::select! {
        ended = run => ended,
        _ = interrupt.recv() => bail!("stopped by SIGINT: what is above was measured"),
        _ = terminate.recv() => bail!("stopped by SIGTERM: what is above was measured"),
    }
}

/// One thread is enough for the generator and the receiver, and the cheapest that there is.
fn runtime(threads: bool) -> Result<tokio::runtime::Runtime> {
    let mut builder = match threads {
        true => tokio::runtime::Builder::new_multi_thread(),
        false => tokio::runtime::Builder::new_current_thread(),
    };
    Ok(builder.enable_all().build()?)
}
