//! `millrace demo`: real input through a running Millrace, end to end, counted at the far end.
//!
//! What must arrive is worked out from the recorded file alone, without Millrace's own matching; what did arrive is
//! counted by id where it arrives, with every signature checked by code that did not make it.

mod expect;
mod generate;
mod problems;
mod receiver;
mod report;
mod sinks;

use std::{
    collections::HashMap,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context;
use millrace_domain::Secret;
use millrace_proto::v1::publish_service_client::PublishServiceClient;
use millrace_runtime::signal;

use self::{
    expect::{PLANS, Recorded},
    problems::Problems,
    receiver::Receiver,
    report::Row,
    sinks::{Rest, Subscribed},
};
use crate::client::{
    connection::{Credentials, connect_relying_on, secret},
    output,
    publish::{self, Batch, Sender},
};
use crate::dev::{self, DevArgs};

/// The recorded events, as JSON Lines.
pub(crate) const EVENTS: &str = include_str!("../demo/events.jsonl");
/// Events in a batch.
const BATCH_EVENTS: usize = 100;
/// Longest wait for everything to arrive.
const DEADLINE: Duration = Duration::from_secs(60);
/// How long nothing may arrive before late duplicates are ruled out.
const QUIET: Duration = Duration::from_millis(750);

/// Publish 1,100 recorded Twilio events to two sinks, one of them flaky, and count what arrives.
#[derive(clap::Args)]
pub(crate) struct DemoArgs {
    /// Print the recorded events and exit.
    #[arg(long)]
    generate: bool,
    /// A running server to use [default: one that is started for the demo, keeps nothing, and ends with it].
    #[arg(long, value_name = "URL", requires_all = ["account_sid", "auth_token", "platform_key"])]
    server: Option<String>,
    /// Where its router serves [default: the server].
    #[arg(long, value_name = "URL", requires = "server")]
    router: Option<String>,
    /// The account to use on it.
    #[arg(long, value_name = "AC…", requires = "server")]
    account_sid: Option<String>,
    /// The account's auth token.
    #[arg(long, value_name = "TOKEN", requires = "server", value_parser = secret)]
    auth_token: Option<Secret>,
    /// A platform key.
    #[arg(long, value_name = "KEY", requires = "server", value_parser = secret)]
    platform_key: Option<Secret>,
}

/// A running Millrace to run the demo on.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Where REST and gRPC are served.
    pub(crate) base_url: String,
    /// Where the router serves, if elsewhere.
    pub(crate) router_url: Option<String>,
    /// The account that owns the sinks and the events.
    pub(crate) account_sid: String,
    /// Its auth token.
    pub(crate) auth_token: Secret,
    /// Publishes the events.
    pub(crate) platform_key: Secret,
}

/// Does what `millrace demo` was asked for.
pub(crate) async fn command(args: DemoArgs) -> anyhow::Result<ExitCode> {
    if args.generate {
        output::line(generate::events().trim_end())?;
        return Ok(ExitCode::SUCCESS);
    }
    // A run that is cut short leaves nothing that its end would have saved.
    tokio::select! {
        outcome = on_server(args) => outcome.map(|()| ExitCode::SUCCESS),
        _ = signal::stop_requested() => Ok(ExitCode::from(130)),
    }
}

/// Runs the demo on the server that was given, or on one that lives as long as the demo.
async fn on_server(args: DemoArgs) -> anyhow::Result<()> {
    let given = "clap requires it";
    if let Some(base_url) = args.server {
        return run(Target {
            base_url,
            router_url: args.router,
            account_sid: args.account_sid.context(given)?,
            auth_token: args.auth_token.context(given)?,
            platform_key: args.platform_key.context(given)?,
        })
        .await;
    }
    let dev = Box::pin(dev::start(DevArgs::ephemeral())).await?;
    let outcome = run(Target {
        base_url: dev.url(),
        router_url: None,
        account_sid: dev.identity.account_sid.to_string(),
        auth_token: dev.identity.auth_token.clone(),
        platform_key: dev.identity.platform_key.clone(),
    })
    .await;
    dev.stop().await?;
    outcome
}

/// Runs the demo on a running server, and prints its table.
///
/// # Errors
/// A server that does not do as it is asked; a wrong signature; events that did not arrive, by id.
pub(crate) async fn run(target: Target) -> anyhow::Result<()> {
    let recorded = expect::recorded(EVENTS)?;
    let receiver = Receiver::start(&PLANS).await?;
    let rest = Rest::new(&target)?;
    let mut made = Vec::new();
    let outcome = demonstrate(&target, &rest, &receiver, &recorded, &mut made).await;
    // A server that goes on gets its account back as it was, however the run ended.
    for sink in &made {
        if let Err(error) = rest.remove(sink).await {
            eprintln!("cannot tidy up: {error:#}");
        }
    }
    receiver.stop().await;
    outcome
}

async fn demonstrate(
    target: &Target,
    rest: &Rest,
    receiver: &Receiver,
    recorded: &[Recorded],
    made: &mut Vec<Subscribed>,
) -> anyhow::Result<()> {
    let mut config_version = None;
    for (at, plan) in PLANS.iter().enumerate() {
        let sink = rest.create_sink(plan, &receiver.url(plan)).await;
        made.push(sink.with_context(|| format!("cannot create the {} sink", plan.name))?);
        let sink = made.last_mut().context("it was pushed just now")?;
        let secret = sinks::signing_secret(target, &sink.sink_sid).await?;
        receiver.trust(at, target.auth_token.clone(), secret);
        // Subscribed last: no event comes before its signature can be checked.
        let version = rest.subscribe(plan, sink).await;
        let version =
            version.with_context(|| format!("cannot subscribe the {} sink", plan.name))?;
        config_version = version.or(config_version);
    }
    eprintln!("publishing {} events to {} sinks …", recorded.len(), PLANS.len());
    let published = publish(target, config_version.as_deref(), recorded).await?;
    wait(receiver, recorded).await;
    let sinks = made.iter().map(|sink| sink.sink_sid.as_str()).collect();
    let problems = Problems { account_sid: &target.account_sid, sinks, recorded };
    let table: Vec<Row> = PLANS
        .iter()
        .enumerate()
        .map(|(at, plan)| Row::count(plan, &problems, &published, &receiver.inbox(at)))
        .collect();
    output::line(&report::table(&table))?;
    report::verdict(&table)
}

/// Publishes everything in batches; gives when each event was sent.
async fn publish(
    target: &Target,
    config_version: Option<&str>,
    recorded: &[Recorded],
) -> anyhow::Result<HashMap<String, Instant>> {
    let router = target.router_url.as_deref().unwrap_or(&target.base_url);
    let credentials = Credentials::Platform {
        key: target.platform_key.clone(),
        account: target.account_sid.clone(),
    };
    let connection = connect_relying_on(router, &credentials, config_version).await?;
    let client = PublishServiceClient::new(connection);
    let sender = Sender { client, retry_for: DEADLINE, deduplicate: false, stream: None };
    let mut published = HashMap::new();
    let lines: Vec<&str> = EVENTS.lines().collect();
    for lines in lines.chunks(BATCH_EVENTS) {
        let events: Result<Vec<_>, _> =
            lines.iter().map(|line| publish::event(line.as_bytes(), &target.account_sid)).collect();
        let events = events.context("a recorded event is not valid")?;
        let now = Instant::now();
        published.extend(events.iter().map(|event| (event.id.clone(), now)));
        for delivery in sender.publish(Batch { lines: Vec::new(), events }).await? {
            if let Some(refusal) = delivery.refusal() {
                anyhow::bail!("the router rejected `{}`: {refusal}", delivery.id);
            }
        }
    }
    anyhow::ensure!(published.len() == recorded.len(), "two recorded events share an id");
    Ok(published)
}

/// Waits until every expected event has arrived and then nothing more does, or the deadline is over.
async fn wait(receiver: &Receiver, recorded: &[Recorded]) {
    let expected: Vec<_> = PLANS.iter().map(|plan| plan.expected(recorded)).collect();
    let total: usize = expected.iter().map(|ids| ids.len()).sum();
    let begun = Instant::now();
    let mut told = Instant::now();
    while begun.elapsed() < DEADLINE {
        let arrived: usize =
            expected.iter().enumerate().map(|(at, ids)| receiver.arrived(at, ids)).sum();
        let more = receiver.more(QUIET).await;
        if arrived == total && !more {
            return;
        }
        if told.elapsed() >= Duration::from_secs(1) {
            eprintln!("{arrived} of {total} delivered …");
            told = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_sinks_want_different_events_and_both_want_many() {
        let recorded = expect::recorded(EVENTS).expect("valid");
        let [a, b] = PLANS.each_ref().map(|plan| plan.expected(&recorded));
        assert!(a.len() > 300 && b.len() > 300, "{} and {}", a.len(), b.len());
        assert!(a.difference(&b).count() > 100 && b.difference(&a).count() > 100);
        let all = recorded.len();
        assert!(a.union(&b).count() < all, "some events are for nobody");
    }
}
