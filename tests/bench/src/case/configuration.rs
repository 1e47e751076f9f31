//! The configuration: how soon a change of it is in force in router and deliverer, and what very much of it costs a router.

use anyhow::{Context as _, Result, ensure};
use millrace_proto::v1::{
    CreateSinkRequest, CreateSubscriptionRequest, DeleteSubscriptionRequest, ListSinksRequest,
    PublishRequest, SubscribedEvent, Subscription, publish_result::Outcome as Routed,
    publish_service_client::PublishServiceClient, sink_service_client::SinkServiceClient,
    subscription_service_client::SubscriptionServiceClient,
};
use tokio::time::{Duration, Instant, sleep};
use tonic::transport::Channel;

use super::Context;
use crate::{
    bench::Bench,
    clock,
    event::{EVENT_TYPE, Events},
    figures::{Figure, Target, float},
    latency::Latency,
    report::Outcome,
    setup::{Api, Wanted, authorized, connect},
    stack::Mode,
};

mod moves;

/// Changes of each kind that are measured: of subscriptions, half of them creations, and of sinks.
const CHANGES: usize = 400;
/// The run of the events that only ask; no receiver expects it.
const ASKING_RUN: u64 = 9_998;
/// Longest wait for a change.
const PATIENCE: Duration = Duration::from_secs(10);
/// Time between two changes: a burst would be told together.
const PAUSE: Duration = Duration::from_millis(20);
/// Accounts of the second case, with a sink each, and subscriptions of each.
const ACCOUNTS: usize = 1_000;
const SUBSCRIPTIONS: usize = 100;

/// Moves a sink, and asks the deliverer by events; creates and deletes a subscription, and asks the router: after each answer, event
/// after event, until one goes by the change.
pub(super) async fn config(context: &Context) -> Result<Outcome> {
    let bench = Bench::start(Mode::Server, &context.millrace, &[]).await?;
    let audience = bench.audience(Wanted::default()).await?;
    let account = audience.accounts.first().context("no account")?.clone();
    let mut outcome = Outcome::default();
    outcome.drift.sample();
    let moves = context.events(CHANGES);
    let moved = Latency::of(moves::measure(&bench, &account, moves).await?);
    let mut asker = Asker::new(&bench.stack.api, account).await?;
    let (mut lags, mut asked) = (Vec::new(), 0);
    // The audience has a subscription to the one sink; another of it makes no difference, so the sinks are counted of a second.
    let sink = bench.audience_sink(&asker.account).await?;
    for _ in 0..context.events(CHANGES) / 2 {
        let sid = asker.create(&sink).await?;
        asked += asker.until(2, &mut lags).await?;
        sleep(PAUSE).await;
        asker.delete(sid).await?;
        asked += asker.until(1, &mut lags).await?;
        sleep(PAUSE).await;
    }
    let changes = lags.len();
    tell(&mut outcome, ROUTER, Latency::of(lags));
    tell(&mut outcome, DELIVERER, moved);
    outcome.note(format!("{changes} changes, asked by {asked} events, one after the other"));
    outcome.note(format!(
        "{moves} moves of a sink; in these figures is the way of the first event that arrives"
    ));
    bench.stop().await?;
    Ok(outcome)
}

/// What figures of router and deliverer are called: median, p99 and the longest.
const ROUTER: [&str; 3] = [
    "router: answer to first event, median ms",
    "router: answer to first event, p99 ms",
    "router: answer to first event, max ms",
];
const DELIVERER: [&str; 3] = [
    "deliverer: answer to first arrival, median ms",
    "deliverer: answer to first arrival, p99 ms",
    "deliverer: answer to first arrival, max ms",
];

fn tell(outcome: &mut Outcome, [median, p99, max]: [&'static str; 3], lags: Latency) {
    let ms = |us: u64| float(us) / 1e3;
    outcome.figure(Figure::held(median, ms(lags.p50_us), Target::AtMost(100.0)));
    outcome.figure(Figure::told(p99, ms(lags.p99_us)));
    outcome.figure(Figure::told(max, ms(lags.max_us)));
}

/// Who changes the configuration and asks the router.
struct Asker {
    account: String,
    key: String,
    subscriptions: SubscriptionServiceClient<Channel>,
    publish: PublishServiceClient<Channel>,
    events: Events,
    number: usize,
    answered: Instant,
}

impl Asker {
    async fn new(api: &Api, account: String) -> Result<Self> {
        Ok(Self {
            key: api.platform_key.clone(),
            subscriptions: SubscriptionServiceClient::new(connect(&api.url).await?),
            publish: PublishServiceClient::new(connect(&api.publish_url).await?),
            events: Events::new(vec![account.clone()], ASKING_RUN),
            account,
            number: 0,
            answered: Instant::now(),
        })
    }

    async fn create(&mut self, sink: &str) -> Result<String> {
        let subscription = Subscription {
            account_sid: self.account.clone(),
            description: "bench".to_owned(),
            sink_sid: sink.to_owned(),
            types: vec![SubscribedEvent { r#type: EVENT_TYPE.to_owned(), schema_version: 0 }],
            ..Subscription::default()
        };
        let request = CreateSubscriptionRequest {
            subscription: Some(subscription),
            ..CreateSubscriptionRequest::default()
        };
        let made = self.subscriptions.create_subscription(authorized(request, &self.key)?).await;
        self.answered = Instant::now();
        Ok(made?.into_inner().subscription.context("no subscription")?.sid)
    }

    async fn delete(&mut self, sid: String) -> Result<()> {
        let request = DeleteSubscriptionRequest { sid };
        let gone = self.subscriptions.delete_subscription(authorized(request, &self.key)?).await;
        self.answered = Instant::now();
        gone.map(drop).context("not deleted")
    }

    /// Publishes event after event until one is routed to so many sinks; tells how many that took.
    async fn until(&mut self, sinks: u32, lags: &mut Vec<u64>) -> Result<usize> {
        for asked in 1.. {
            let event = self.events.event(self.number, clock::now_micros());
            self.number += 1;
            let request = PublishRequest { events: vec![event], ..PublishRequest::default() };
            let answer = self.publish.publish(authorized(request, &self.key)?).await?.into_inner();
            let routed = answer.results.first().and_then(|result| result.outcome.as_ref());
            if matches!(routed, Some(Routed::Accepted(to)) if to.sinks == sinks) {
                lags.push(u64::try_from(self.answered.elapsed().as_micros())?);
                return Ok(asked);
            }
            ensure!(self.answered.elapsed() < PATIENCE, "the router does not know of a change");
        }
        Ok(0)
    }
}

impl Bench {
    /// Makes another sink in an account, without a subscription to it.
    async fn audience_sink(&self, account: &str) -> Result<String> {
        let api = &self.stack.api;
        let mut sinks = SinkServiceClient::new(connect(&api.url).await?);
        let list =
            ListSinksRequest { account_sid: account.to_owned(), ..ListSinksRequest::default() };
        let found = sinks.list_sinks(authorized(list, &api.platform_key)?).await?.into_inner();
        let mut sink = found.sinks.into_iter().next().context("no sink")?;
        sink.sid.clear();
        let request = CreateSinkRequest { sink: Some(sink), ..CreateSinkRequest::default() };
        let made = sinks.create_sink(authorized(request, &api.platform_key)?).await?.into_inner();
        Ok(made.sink.context("no sink in the answer")?.sid)
    }
}

/// Starts a router anew before a configuration that has very much: how long until it is ready, and how much memory it takes.
pub(super) async fn load(context: &Context) -> Result<Outcome> {
    let mut bench = Bench::start(Mode::Server, &context.millrace, &[]).await?;
    let accounts = context.events(ACCOUNTS);
    bench.audience(Wanted { accounts, ..Wanted::default() }).await?;
    // Through the API it would take an hour; a router sees no difference.
    let fill = format!(
        "INSERT INTO subscriptions (sid, account, description, sink, types, created, updated)
         SELECT 'DF' || md5(sinks.sid || n::text), account, 'bench', sid,
                '[{{\"event_type\":\"{EVENT_TYPE}\",\"schema_version\":1}},
                  {{\"event_type\":\"com.twilio.messaging.message.sent\",\"schema_version\":1}}]', 0, 0
           FROM sinks, generate_series(1, {}) AS n",
        SUBSCRIPTIONS - 1
    );
    let empty = rss(&bench, "router")?;
    bench.stack.execute(&fill).await?;
    let mut outcome = Outcome::default();
    outcome.drift.sample();
    let took = bench.stack.restart("router").await?;
    let after = rss(&bench, "router")?;
    let what = "a router's start with all, s";
    outcome.figure(Figure::held(what, took.as_secs_f64(), Target::Below(5.0)));
    outcome.figure(Figure::held("peak RSS of the router, MB", after, Target::Below(200.0)));
    outcome.note(format!(
        "{} subscriptions of 2 types in {accounts} accounts; {empty:.0} MB without them",
        accounts * SUBSCRIPTIONS
    ));
    bench.stop().await?;
    Ok(outcome)
}

/// The most memory a process had, in MB.
fn rss(bench: &Bench, name: &str) -> Result<f64> {
    let usage = bench.usage()?;
    let of = usage.iter().find(|(process, _)| *process == name).context("it does not run")?;
    Ok(float(of.1.peak_rss_bytes) / 1024.0 / 1024.0)
}
