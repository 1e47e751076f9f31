//! `millrace publish`: a file of events, streamed to the router in batches. Memory is bounded by the batches in flight.

mod batch;
mod lines;
mod parse;
mod send;
mod streamed;
mod tally;

use std::{
    io::IsTerminal, os::fd::AsFd, path::PathBuf, pin::Pin, process::ExitCode, time::Duration,
};

use anyhow::Context;
use futures::{StreamExt, TryStreamExt, stream};
use indicatif::{ProgressBar, ProgressStyle};
use millrace_proto::v1::publish_service_client::PublishServiceClient;
use millrace_runtime::{CancellationToken, signal};
use tokio::{io::AsyncRead, time::Instant};

pub(crate) use self::{
    batch::Batch,
    parse::event,
    send::{Delivery, Kept, Sender},
    streamed::Streamed,
};
use self::{
    batch::{Batches, Cut},
    tally::{Rejection, Tally},
};
use crate::client::{
    connection::{ConnectionArgs, connect},
    output::{self, OutputArgs},
};

/// Largest answer to a batch, in bytes: a result for each event.
const ANSWER_MAX_BYTES: usize = 16 * 1024 * 1024;

/// Publish a file of CloudEvents, one in JSON a line.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct PublishArgs {
    /// The file (JSON Lines); `-` reads standard input.
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    /// Most events in a batch.
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    batch: u16,
    /// Most batches in flight.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=64))]
    in_flight: u8,
    /// How long a batch is tried again while the server is away or has no room.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = humantime::parse_duration)]
    retry_for: Duration,
    /// Leave out events that were published before with the same id and this flag, within the router's window (1 h unless set).
    #[arg(long)]
    deduplicate: bool,
    /// Send all batches over one stream, instead of a call for each.
    #[arg(long)]
    stream: bool,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    pub(super) connection: ConnectionArgs,
}

const EXAMPLES: &str = "\
An event is accepted, and then kept until it is delivered, or rejected with its line and the reason. An event without
an `id` gets one before it is sent, so that a retry repeats the id. With a platform key, an event's `accountsid`
attribute says whose it is, and --account-sid where there is none. Ctrl-C stops reading and waits for what is in flight.
Exits with 1 if an event was rejected.

Examples:
  millrace publish --file events.jsonl
  millrace publish --file events.jsonl --deduplicate    # again, after an interruption
  tail -f events.jsonl | millrace publish --file - --account-sid AC… --platform-key …";

/// Publishes the file, prints the summary.
pub(crate) async fn run(args: PublishArgs) -> anyhow::Result<ExitCode> {
    let credentials = args.connection.as_producer()?;
    let (input, size) = open(&args.file).await?;
    let connection = connect(args.connection.router(), &credentials).await?;
    let client = PublishServiceClient::new(connection).max_decoding_message_size(ANSWER_MAX_BYTES);
    let stream = args.stream.then(|| Streamed::new(client.clone()));
    let sender =
        Sender { client, retry_for: args.retry_for, deduplicate: args.deduplicate, stream };
    let batches = Batches::new(input, credentials.account_named(), usize::from(args.batch));
    let progress = Progress::start(size);
    let mut tally = Tally::default();
    let finished =
        publish_all(batches, &sender, usize::from(args.in_flight), &mut tally, &progress).await;
    progress.finish();
    tally.print(&args.output, progress.started.elapsed())?;
    let interrupted = finished?;
    if interrupted {
        eprintln!(
            "stopped before the end: what comes after line {} was not read",
            tally.last_line()
        );
        return Ok(ExitCode::from(130));
    }
    Ok(if tally.rejected() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Publishes every batch; tells whether Ctrl-C came first.
///
/// # Errors
/// What cannot be read, and what the server refuses as a whole. Reading stops then, as it does at Ctrl-C, and what is in
/// flight is waited for, so that the tally is whole; a second Ctrl-C does not wait.
async fn publish_all(
    batches: Batches<Input>,
    sender: &Sender,
    in_flight: usize,
    tally: &mut Tally,
    progress: &Progress,
) -> anyhow::Result<bool> {
    let (stop, mut interrupted, mut failure) = (CancellationToken::new(), false, None);
    let cuts = stream::try_unfold(batches, |mut batches| async move {
        Ok::<_, anyhow::Error>(batches.next().await?.map(|cut| (cut, batches)))
    });
    let mut published = std::pin::pin!(
        cuts.take_until(stop.cancelled())
            .map_ok(|cut| sender.publish_cut(cut))
            .try_buffer_unordered(in_flight)
    );
    let mut signalled = Box::pin(signal::stop_requested());
    loop {
        let answered = tokio::select! {
            // Both arms may be left at any time: the stream keeps what it has, and the other only waits for a signal.
            answered = published.next() => answered,
            signal = &mut signalled => {
                signal?;
                anyhow::ensure!(!interrupted, "interrupted: some batches were in flight");
                interrupted = true;
                stop.cancel();
                signalled = Box::pin(signal::stop_requested());
                continue;
            }
        };
        match answered {
            None => return failure.map_or(Ok(interrupted), Err),
            Some(Ok(answered)) => {
                answered.rejections.iter().for_each(|rejection| progress.tell(rejection));
                progress.advance(answered.bytes, answered.deliveries.len());
                tally.add(answered);
            }
            Some(Err(error)) => {
                stop.cancel();
                failure.get_or_insert(error);
            }
        }
    }
}

/// A batch that was answered, and the lines before it that were none.
struct Answered {
    deliveries: Vec<Delivery>,
    rejections: Vec<Rejection>,
    /// The last line of the batch.
    line: u64,
    /// How much of the input it was.
    bytes: u64,
}

impl Sender {
    async fn publish_cut(&self, cut: Cut) -> anyhow::Result<Answered> {
        let lines = cut.batch.lines.clone();
        let deliveries = self.publish(cut.batch).await?;
        let refused = deliveries.iter().zip(lines).filter_map(|(delivery, line)| {
            delivery.refusal().map(|refusal| Rejection::of(line, &delivery.id, refusal))
        });
        let mut rejections = cut.rejections;
        rejections.extend(refused);
        rejections.sort_by_key(|rejection| rejection.line);
        Ok(Answered { deliveries, rejections, line: cut.last_line, bytes: cut.bytes })
    }
}

type Input = Pin<Box<dyn AsyncRead + Send>>;

/// Opens the file, and gives its size where it has one.
async fn open(path: &PathBuf) -> anyhow::Result<(Input, Option<u64>)> {
    if path.as_os_str() == "-" {
        let input = std::io::stdin().as_fd().try_clone_to_owned();
        let input = std::fs::File::from(input.context("cannot read standard input")?);
        return Ok((Box::pin(tokio::fs::File::from_std(input)), None));
    }
    let named = || format!("cannot read `{}`", path.display());
    let file = tokio::fs::File::open(path).await.with_context(named)?;
    let metadata = file.metadata().await.with_context(named)?;
    anyhow::ensure!(!metadata.is_dir(), "cannot read `{}`: it is a directory", path.display());
    let size = metadata.is_file().then_some(metadata.len());
    Ok((Box::pin(file), size))
}

/// The progress bar; on a terminal only.
struct Progress {
    bar: ProgressBar,
    started: Instant,
    events: std::cell::Cell<usize>,
}

impl Progress {
    fn start(size: Option<u64>) -> Self {
        let bar = match size {
            _ if !std::io::stderr().is_terminal() => ProgressBar::hidden(),
            Some(size) => ProgressBar::new(size).with_style(style(
                "{elapsed_precise} {bar:40} {bytes}/{total_bytes} {msg} ETA {eta}",
            )),
            None => ProgressBar::no_length().with_style(style("{elapsed_precise} {bytes} {msg}")),
        };
        bar.enable_steady_tick(Duration::from_millis(250));
        Self { bar, started: Instant::now(), events: std::cell::Cell::new(0) }
    }

    fn advance(&self, bytes: u64, events: usize) {
        self.events.set(self.events.get() + events);
        self.bar.set_message(format!(
            "{} events, {}/s",
            self.events.get(),
            tally::rate(self.events.get(), self.started.elapsed())
        ));
        self.bar.inc(bytes);
    }

    fn tell(&self, rejection: &Rejection) {
        self.bar.suspend(|| eprintln!("{rejection}"));
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the template is a constant that parses")
}

impl Tally {
    fn print(&self, output: &OutputArgs, elapsed: Duration) -> anyhow::Result<()> {
        if output.json {
            output::json(&self.to_json(elapsed))
        } else {
            output::line(&self.to_text(elapsed))
        }
    }
}
