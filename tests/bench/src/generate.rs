//! The producer: a few batches in flight, or one event after the other at a given pace.

use std::{cell::Cell, fs, num::NonZeroUsize, ops::Range, path::PathBuf, rc::Rc, time::Duration};

use anyhow::{Context, Result, bail};
use clap::Args;
use millrace_proto::v1::{
    PublishRequest, PublishResponse, RejectionCode, publish_result::Outcome,
    publish_service_client::PublishServiceClient,
};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::watch,
    task::{JoinSet, LocalSet},
    time::{MissedTickBehavior, interval, sleep},
};
use tonic::transport::Channel;

use crate::{clock, event::Events, http::Http, latency::Latency, setup, usage};

/// Pause before a batch is published again that there was no room for.
const PAUSE: Duration = Duration::from_millis(50);
/// How often to ask what was received.
const LOOK: Duration = Duration::from_millis(5);

/// What to publish, and how.
#[derive(Args, Clone, Debug)]
pub(crate) struct GenerateArgs {
    /// URL of the router's gRPC.
    #[arg(long)]
    pub(crate) url: String,
    /// A platform key.
    #[arg(long)]
    pub(crate) platform_key: String,
    /// A file with the SIDs of the accounts whose events they are, one a line.
    #[arg(long)]
    pub(crate) accounts: PathBuf,
    /// Events of an account before the next account has its turn.
    #[arg(long)]
    pub(crate) in_a_row: NonZeroUsize,
    /// How many sinks get each event.
    #[arg(long)]
    pub(crate) sinks: u32,
    /// Which part of the deliveries is received at all, in percent.
    #[arg(long, default_value_t = 100)]
    pub(crate) received_percent: usize,
    /// Number of the run, which the ids of the events carry.
    #[arg(long)]
    pub(crate) run: u64,
    /// How many events.
    #[arg(long)]
    pub(crate) events: usize,
    /// Events of a batch.
    #[arg(long)]
    pub(crate) batch: usize,
    /// Batches that wait for their answer.
    #[arg(long)]
    pub(crate) in_flight: usize,
    /// Events a second; none: a batch as soon as one before it is answered.
    #[arg(long)]
    pub(crate) rate: Option<u32>,
    /// Whether the text in the events is random letters.
    #[arg(long)]
    pub(crate) incompressible: bool,
    /// Most deliveries that are published and not received; none: any number.
    #[arg(long, requires = "receiver")]
    pub(crate) undelivered: Option<usize>,
    /// Where to ask what was received.
    #[arg(long)]
    pub(crate) receiver: Option<String>,
}

/// How it went.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Generated {
    /// Events that were accepted.
    pub(crate) accepted: usize,
    /// When the first batch was sent.
    pub(crate) started_us: u64,
    /// When the last was answered.
    pub(crate) ended_us: u64,
    /// From batch sent to batch answered.
    pub(crate) answer: Latency,
    /// Batches that were published again since there was no room.
    pub(crate) repeated: usize,
    /// What it cost this process.
    pub(crate) cpu_us: u64,
}

/// Publishes and prints [`Generated`].
pub(crate) async fn command(args: GenerateArgs) -> Result<()> {
    let generated = LocalSet::new().run_until(generate(args)).await?;
    println!("{}", serde_json::to_string(&generated)?);
    Ok(())
}

async fn generate(args: GenerateArgs) -> Result<Generated> {
    let accounts: Vec<String> =
        fs::read_to_string(&args.accounts)?.lines().map(str::to_owned).collect();
    let producer = Rc::new(Producer {
        publish: PublishServiceClient::new(setup::connect(&args.url).await?),
        events: Events::new(accounts, args.run)
            .in_a_row(args.in_a_row.get())
            .incompressible(args.incompressible),
        next: Cell::new(0),
        repeated: Cell::new(0),
        received: watch::Sender::new(0),
        args,
    });
    let mut looking = JoinSet::new();
    if let Some(url) = producer.args.receiver.clone() {
        let producer = Rc::clone(&producer);
        looking.spawn_local(async move { producer.look(&url).await });
    }
    let started_us = clock::now_micros();
    let answers = match producer.args.rate {
        Some(rate) => paced(&producer, rate).await?,
        None => closed_loop(&producer).await?,
    };
    Ok(Generated {
        accepted: producer.args.events,
        started_us,
        ended_us: clock::now_micros(),
        answer: Latency::of(answers),
        repeated: producer.repeated.get(),
        cpu_us: usage::own_cpu_us()?,
    })
}

async fn closed_loop(producer: &Rc<Producer>) -> Result<Vec<u64>> {
    let mut loops = JoinSet::new();
    for _ in 0..producer.args.in_flight {
        let producer = Rc::clone(producer);
        loops.spawn_local(async move {
            let mut answers = Vec::new();
            while let Some(batch) = producer.next_batch() {
                producer.room_for(&batch).await?;
                answers.push(producer.publish(batch).await?);
            }
            anyhow::Ok(answers)
        });
    }
    let answers: Result<Vec<_>> = loops.join_all().await.into_iter().collect();
    Ok(answers?.concat())
}

async fn paced(producer: &Rc<Producer>, rate: u32) -> Result<Vec<u64>> {
    let mut ticks = interval(Duration::from_secs(1) * u32::try_from(producer.args.batch)? / rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut publishes = JoinSet::new();
    while let Some(batch) = producer.next_batch() {
        ticks.tick().await;
        let producer = Rc::clone(producer);
        publishes.spawn_local(async move { producer.publish(batch).await });
    }
    publishes.join_all().await.into_iter().collect()
}

struct Producer {
    publish: PublishServiceClient<Channel>,
    events: Events,
    next: Cell<usize>,
    repeated: Cell<usize>,
    /// Events that were received, as far as is known.
    received: watch::Sender<usize>,
    args: GenerateArgs,
}

impl Producer {
    /// The numbers of the next batch.
    fn next_batch(&self) -> Option<Range<usize>> {
        let from = self.next.get();
        let to = self.args.events.min(from + self.args.batch);
        self.next.set(to);
        (from < to).then_some(from..to)
    }

    /// Waits until so much was received that `batch` may be published.
    async fn room_for(&self, batch: &Range<usize>) -> Result<()> {
        if let Some(undelivered) = self.args.undelivered {
            let mut received = self.received.subscribe();
            let GenerateArgs { sinks, received_percent, .. } = &self.args;
            let awaited = batch.end * usize::try_from(*sinks)? * received_percent / 100;
            received.wait_for(|received| awaited <= received + undelivered).await?;
        }
        Ok(())
    }

    /// Keeps asking what was received.
    async fn look(&self, url: &str) -> Result<()> {
        let http = Http::new();
        loop {
            let received = std::str::from_utf8(&http.get(url).await?)?.parse()?;
            self.received.send_replace(received);
            sleep(LOOK).await;
        }
    }

    /// Publishes a batch until all of it is accepted; gives how long the last answer took.
    async fn publish(&self, batch: Range<usize>) -> Result<u64> {
        loop {
            let sent_us = clock::now_micros();
            let events = batch.clone().map(|number| self.events.event(number, sent_us)).collect();
            let request = setup::authorized(
                PublishRequest { events, deduplicate: false },
                &self.args.platform_key,
            )?;
            match self.publish.clone().publish(request).await {
                Ok(response) if all_accepted(response.get_ref(), self.args.sinks)? => {
                    return Ok(clock::now_micros() - sent_us);
                }
                Ok(_) => {}
                Err(status) if status.code() == tonic::Code::ResourceExhausted => {}
                Err(status) => return Err(status).context("the router refused a batch"),
            }
            self.repeated.set(self.repeated.get() + 1);
            sleep(PAUSE).await;
        }
    }
}

/// Whether every event is on its way to so many sinks; false: there was no room for some.
fn all_accepted(response: &PublishResponse, sinks: u32) -> Result<bool> {
    for result in &response.results {
        match &result.outcome {
            Some(Outcome::Accepted(accepted)) if accepted.sinks == sinks => {}
            Some(Outcome::Rejected(rejected))
                if rejected.code() == RejectionCode::ResourceExhausted =>
            {
                return Ok(false);
            }
            outcome => {
                bail!("event `{}` is not on its way to {sinks} sinks: {outcome:?}", result.id)
            }
        }
    }
    Ok(true)
}
