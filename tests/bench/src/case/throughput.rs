//! How many events a second, at what cost and how late.

use anyhow::Result;

use super::Context;
use crate::{
    bench::{Bench, Measured},
    cost::{self, by_process, peak_megabytes},
    figures::{Figure, Target, float, number},
    latency::Latency,
    load::{Audience, Load},
    redis::Commands,
    report::Outcome,
    setup::Wanted,
    stack::{Mode, Setting},
};

/// Events before the measurement: connections are made, code is paged in.
pub(super) const WARM_UP_EVENTS: usize = 2_000;

/// What a case runs on.
#[derive(Clone, Copy)]
pub(super) struct Ground {
    mode: Mode,
    /// Of the deliverer.
    settings: &'static [Setting],
}

impl Ground {
    /// Starts it.
    pub(super) async fn bench(self, context: &Context) -> Result<Bench> {
        Bench::start(self.mode, &context.millrace, self.settings).await
    }
}

/// The services with their defaults: every attempt is logged.
pub(super) const SERVERS: Ground = Ground { mode: Mode::Server, settings: &[] };
const SERVERS_THAT_LOG_FAILURES: Ground =
    Ground { settings: &[("logs.attempts", "failures")], ..SERVERS };
const EMBEDDED: Ground = Ground { mode: Mode::Embedded, ..SERVERS };

/// Batches of 100 to a sink that takes batches.
pub(super) async fn batched(context: &Context) -> Result<Outcome> {
    batched_on(SERVERS, context).await
}

/// The same, where only failures are logged.
pub(super) async fn batched_failures(context: &Context) -> Result<Outcome> {
    batched_on(SERVERS_THAT_LOG_FAILURES, context).await
}

async fn batched_on(ground: Ground, context: &Context) -> Result<Outcome> {
    let wanted = Wanted { batch_events: true, ..Wanted::default() };
    let load = |audience: &Audience| Load {
        undelivered: Some(1_600),
        ..Load::steady(audience, context.events(400_000))
    };
    let targets = Targets { per_second: Some(60_000.0), cpu_us: Some(12.0), ..Targets::default() };
    measure(context, ground, wanted, load, targets).await
}

/// Batches of 100 to a sink that takes one event a request.
pub(super) async fn unbatched(context: &Context) -> Result<Outcome> {
    unbatched_on(SERVERS, context).await
}

/// The same, where only failures are logged.
pub(super) async fn unbatched_failures(context: &Context) -> Result<Outcome> {
    unbatched_on(SERVERS_THAT_LOG_FAILURES, context).await
}

async fn unbatched_on(ground: Ground, context: &Context) -> Result<Outcome> {
    let targets = Targets { per_second: Some(20_000.0), cpu_us: Some(60.0), ..Targets::default() };
    let load = |audience: &Audience| Load::steady(audience, context.events(100_000));
    measure(context, ground, Wanted::default(), load, targets).await
}

/// Single events, 64 at once.
pub(super) async fn single(context: &Context) -> Result<Outcome> {
    let targets = Targets { per_second: Some(10_000.0), cpu_us: Some(90.0), ..Targets::default() };
    let load = |audience: &Audience| Load {
        batch: 1,
        in_flight: 64,
        ..Load::steady(audience, context.events(60_000))
    };
    measure(context, SERVERS, Wanted::default(), load, targets).await
}

/// Batches of 100 to ten sinks.
pub(super) async fn fan_out(context: &Context) -> Result<Outcome> {
    let wanted = Wanted { sinks: 10, ..Wanted::default() };
    let load = |audience: &Audience| Load {
        undelivered: Some(1_600),
        ..Load::steady(audience, context.events(10_000))
    };
    let targets = Targets { cpu_us: Some(45.0), ..Targets::default() };
    measure(context, SERVERS, wanted, load, targets).await
}

/// One event after the other.
pub(super) async fn latency(context: &Context, rate: u32) -> Result<Outcome> {
    let targets = Targets { p50_ms: Some(2.0), p99_ms: Some(8.0), ..Targets::default() };
    let load = |audience: &Audience| paced(context, audience, rate);
    measure(context, SERVERS, Wanted::default(), load, targets).await
}

/// Batches of 100, on one process with its files.
pub(super) async fn dev_unbatched(context: &Context) -> Result<Outcome> {
    let load = |audience: &Audience| Load::steady(audience, context.events(100_000));
    measure(context, EMBEDDED, Wanted::default(), load, Targets::default()).await
}

/// One event after the other, on one process with its files.
pub(super) async fn dev_latency(context: &Context) -> Result<Outcome> {
    let load = |audience: &Audience| paced(context, audience, 100);
    measure(context, EMBEDDED, Wanted::default(), load, Targets::default()).await
}

fn paced(context: &Context, audience: &Audience, rate: u32) -> Load {
    let events = usize::try_from(rate * context.seconds(10)).unwrap_or(usize::MAX);
    Load::paced(audience, events, rate)
}

/// What is asked of a case; `None`: only told.
#[derive(Clone, Copy, Default)]
pub(super) struct Targets {
    pub(super) per_second: Option<f64>,
    pub(super) cpu_us: Option<f64>,
    pub(super) p50_ms: Option<f64>,
    pub(super) p99_ms: Option<f64>,
    pub(super) p99_below_ms: Option<f64>,
    pub(super) redis_commands: Option<f64>,
}

pub(super) async fn measure(
    context: &Context,
    ground: Ground,
    wanted: Wanted,
    load: impl Fn(&Audience) -> Load,
    targets: Targets,
) -> Result<Outcome> {
    let bench = ground.bench(context).await?;
    let audience = bench.audience(wanted).await?;
    let load = load(&audience);
    let mut outcome = Outcome::default();
    bench.run(&warm_up(&audience, &load)).await?;
    outcome.drift.sample();
    // One that is paced lasts long enough.
    let runs = if load.rate.is_none() { context.pairs } else { 1 };
    let mut measured = Vec::with_capacity(runs);
    for _ in 0..runs {
        measured.push(bench.run(&load).await?);
        outcome.drift.sample();
    }
    let commands = bench.commands_per_event(&load).await?;
    tell(&mut outcome, &measured, commands, targets);
    bench.stop().await?;
    Ok(outcome)
}

fn warm_up(audience: &Audience, load: &Load) -> Load {
    let events = WARM_UP_EVENTS.min(load.events);
    match load.rate {
        None => Load { events, ..load.clone() },
        Some(_) => Load::steady(audience, events),
    }
}

/// Makes the figures of one or several runs of the same load: medians.
pub(super) fn tell(
    outcome: &mut Outcome,
    runs: &[Measured],
    commands: Option<(f64, Commands)>,
    targets: Targets,
) {
    let figure = |what, value: fn(&Measured) -> f64, target: Option<Target>| match runs {
        [run] => Figure { target, ..Figure::told(what, value(run)) },
        _ => Figure::median(what, runs.iter().map(value).collect(), target),
    };
    let at_most = |bound: Option<f64>| bound.map(Target::AtMost);
    outcome.figure(figure(
        "delivered/s",
        Measured::delivered_per_second,
        targets.per_second.map(Target::AtLeast),
    ));
    outcome.figure(figure("accepted/s", Measured::accepted_per_second, None));
    outcome.figure(figure("CPU-µs a delivery", Measured::cpu_us, at_most(targets.cpu_us)));
    let p50 = |run: &Measured| float(run.received.latency.p50_us) / 1e3;
    outcome.figure(figure("latency p50 ms", p50, at_most(targets.p50_ms)));
    let p99 = |run: &Measured| float(run.received.latency.p99_us) / 1e3;
    let target = at_most(targets.p99_ms).or_else(|| targets.p99_below_ms.map(Target::Below));
    outcome.figure(figure("latency p99 ms", p99, target));
    let max = |run: &Measured| float(run.received.latency.max_us) / 1e3;
    outcome.figure(figure("latency max ms", max, None));
    let deliveries = runs.iter().map(|run| run.received.deliveries).sum();
    let costs = cost::sum(runs.iter().map(|run| run.costs.as_slice()));
    if let Some((per_event, by_name)) = commands {
        let bound = at_most(targets.redis_commands);
        let told = Figure::told("Redis commands an event", per_event);
        outcome.figure(Figure { target: bound, ..told });
        let transactions = Measured::transactions_per_event;
        outcome.figure(figure("PostgreSQL transactions an event", transactions, None));
        let list: Vec<_> = by_name.iter().map(|(name, count)| format!("{name} {count}")).collect();
        outcome.note(format!("Redis commands counted: {}", list.join(", ")));
        let peak = peak_megabytes(&costs, "deliverer");
        outcome.figure(Figure::told("deliverer's peak RSS MB", peak));
    }
    outcome.note(format!("CPU-µs a delivery (peak RSS): {}", by_process(&costs, deliveries)));
    let total = |count: fn(&Measured) -> usize| runs.iter().map(count).sum::<usize>();
    let answer = |at: fn(&Latency) -> u64| {
        let values = runs.iter().map(|run| float(at(&run.generated.answer)) / 1e3).collect();
        number(Figure::median("", values, None).value)
    };
    outcome.note(format!(
        "{} requests, {} duplicates, {} publishes repeated for want of room; publish answered p50 {} p99 {} ms",
        total(|run| run.received.requests),
        total(|run| run.received.duplicates),
        total(|run| run.generated.repeated),
        answer(|latency| latency.p50_us),
        answer(|latency| latency.p99_us),
    ));
    debug_assert!(costs.iter().any(|it| it.process == cost::GENERATOR));
}
