//! How soon a change is in force in the deliverer: a sink moves to another URL, and events go there.

use anyhow::{Context as _, Result, ensure};
use millrace_proto::v1::{
    ListSinksRequest, PublishRequest, Sink, UpdateSinkRequest, WebhookConfiguration,
    publish_service_client::PublishServiceClient, sink::Configuration,
    sink_service_client::SinkServiceClient,
};
use tokio::time::{Duration, Instant, sleep};
use tonic::transport::Channel;

use super::{ASKING_RUN, PATIENCE, PAUSE};
use crate::{
    bench::Bench,
    clock,
    event::Events,
    setup::{authorized, connect},
};

/// Number of the first URL that the sink moves to: nobody else's.
const FIRST: usize = 1_000_000;
/// Time between two events that ask. So much, and an event's way, is in each figure beside what is measured.
const ASK_EVERY: Duration = Duration::from_millis(1);

/// Moves the one sink of `account` so many times, and publishes after each answer, event after event, until one arrives where the
/// sink is now: tells how long after the answer each was there, in µs.
pub(super) async fn measure(bench: &Bench, account: &str, moves: usize) -> Result<Vec<u64>> {
    let mut mover = Mover::new(bench, account).await?;
    let mut lags = Vec::with_capacity(moves);
    for number in FIRST..FIRST + moves {
        lags.push(mover.to(number).await?);
        sleep(PAUSE).await;
    }
    Ok(lags)
}

/// Who moves a sink.
struct Mover<'b> {
    bench: &'b Bench,
    sink: Sink,
    sinks: SinkServiceClient<Channel>,
    publish: PublishServiceClient<Channel>,
    events: Events,
    published: usize,
}

impl<'b> Mover<'b> {
    async fn new(bench: &'b Bench, account: &str) -> Result<Self> {
        let api = &bench.stack.api;
        let mut sinks = SinkServiceClient::new(connect(&api.url).await?);
        let list =
            ListSinksRequest { account_sid: account.to_owned(), ..ListSinksRequest::default() };
        let found = sinks.list_sinks(authorized(list, &api.platform_key)?).await?.into_inner();
        let [sink] = <[Sink; 1]>::try_from(found.sinks).ok().context("not one sink")?;
        let publish = PublishServiceClient::new(connect(&api.publish_url).await?);
        let events = Events::new(vec![account.to_owned()], ASKING_RUN);
        Ok(Self { bench, sink, sinks, publish, events, published: 0 })
    }

    /// Moves it to the URL of a number that it never had.
    async fn to(&mut self, number: usize) -> Result<u64> {
        let key = &self.bench.stack.api.platform_key;
        let mut moved = self.sink.clone();
        moved.configuration = Some(Configuration::Webhook(WebhookConfiguration {
            destination: self.bench.receiver_url(&format!("events/{number}")),
            ..WebhookConfiguration::default()
        }));
        let update_mask = Some(prost_types::FieldMask { paths: vec!["webhook".to_owned()] });
        let request = UpdateSinkRequest { sink: Some(moved), update_mask };
        self.sinks.update_sink(authorized(request, key)?).await.context("not moved")?;
        let (answered, answered_us) = (Instant::now(), clock::now_micros());
        loop {
            let event = self.events.event(self.published, clock::now_micros());
            self.published += 1;
            let request = PublishRequest { events: vec![event], ..PublishRequest::default() };
            self.publish.publish(authorized(request, key)?).await?;
            sleep(ASK_EVERY).await;
            if let Some(first_us) = self.bench.first_arrival(number).await? {
                // What comes before the answer has no lag.
                return Ok(first_us.saturating_sub(answered_us));
            }
            ensure!(answered.elapsed() < PATIENCE, "the deliverer does not know of a move");
        }
    }
}
