//! What something costs, beside batches to a webhook on the same stack.

use anyhow::Result;

use super::{
    Context,
    throughput::{SERVERS, Targets, WARM_UP_EVENTS, tell},
};
use crate::{
    bench::{Bench, Measured},
    cost,
    figures::{Figure, Target},
    load::{Audience, Load},
    report::Outcome,
    setup::{Kind, Wanted},
};

/// Most CPU-µs that the check of an event of 1 kB by its schema may add. An event is parsed and walked through once, at some 10 ns a
/// byte at most: a check should cost less than half of what delivering does.
const VALIDATION_CPU_US: f64 = 10.0;
/// Batches go to a webhook.
const WEBHOOK: Wanted = Wanted { batch_events: true, ..Wanted::ONE };

/// Batches of 100 to a Kinesis data stream, whose null endpoint is the receiver.
pub(super) async fn kinesis(context: &Context) -> Result<Outcome> {
    driver(context, Kind::Kinesis, 5_000.0).await
}

/// Batches of 100 to a Segment source, whose null endpoint is the receiver.
pub(super) async fn segment(context: &Context) -> Result<Outcome> {
    driver(context, Kind::Segment, 10_000.0).await
}

async fn driver(context: &Context, kind: Kind, per_second: f64) -> Result<Outcome> {
    let bench = SERVERS.bench(context).await?;
    let webhook = bench.audience(WEBHOOK).await?;
    let audience = bench.audience(Wanted { kind, first: 1, ..Wanted::ONE }).await?;
    let mut outcome = Outcome::default();
    let beside = run(&bench, &batches(&webhook, context.events(100_000)), &mut outcome).await?;
    let load = batches(&audience, context.events(100_000));
    let measured = run(&bench, &load, &mut outcome).await?;
    let commands = bench.commands_per_event(&load).await?;
    let targets = Targets { per_second: Some(per_second), ..Targets::default() };
    tell(&mut outcome, std::slice::from_ref(&measured), commands, targets);
    outcome.figure(Figure::told("deliverer's CPU-µs", deliverer(&measured)));
    outcome.figure(Figure::told("a batched webhook's CPU-µs a delivery", beside.cpu_us()));
    outcome.figure(Figure::told("a batched webhook's deliverer's CPU-µs", deliverer(&beside)));
    bench.stop().await?;
    Ok(outcome)
}

/// Batches of 100 to a sink that takes batches, with every event's data checked by a schema. What `batched` is held to says nothing
/// of a check that is more work than its whole budget; so the target is what the check adds.
pub(super) async fn validated(context: &Context) -> Result<Outcome> {
    let bench = SERVERS.bench(context).await?;
    let unchecked = bench.audience(WEBHOOK).await?;
    let mut outcome = Outcome::default();
    let beside = run(&bench, &batches(&unchecked, context.events(400_000)), &mut outcome).await?;
    bench.describe_events().await?;
    // Who knows a sink that was made later knows the schema.
    let checked = bench.audience(Wanted { first: 1, ..WEBHOOK }).await?;
    let load = batches(&checked, context.events(400_000));
    let measured = run(&bench, &load, &mut outcome).await?;
    let commands = bench.commands_per_event(&load).await?;
    tell(&mut outcome, std::slice::from_ref(&measured), commands, Targets::default());
    outcome.figure(Figure::told("without a schema, delivered/s", beside.delivered_per_second()));
    outcome.figure(Figure::told("without a schema, CPU-µs a delivery", beside.cpu_us()));
    let added = measured.cpu_us() - beside.cpu_us();
    outcome.figure(Figure::held(
        "CPU-µs that the check adds",
        added,
        Target::AtMost(VALIDATION_CPU_US),
    ));
    bench.stop().await?;
    Ok(outcome)
}

fn batches(audience: &Audience, events: usize) -> Load {
    Load { undelivered: Some(1_600), ..Load::steady(audience, events) }
}

/// Warms up, and measures.
async fn run(bench: &Bench, load: &Load, outcome: &mut Outcome) -> Result<Measured> {
    bench.run(&Load { events: WARM_UP_EVENTS.min(load.events), ..load.clone() }).await?;
    outcome.drift.sample();
    let measured = bench.run(load).await?;
    outcome.drift.sample();
    Ok(measured)
}

fn deliverer(measured: &Measured) -> f64 {
    cost::of_process(&measured.costs, "deliverer", measured.received.deliveries)
}
