//! A sink that was down for long comes back.

use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::time::sleep;

use super::Context;
use crate::{
    bench::{Bench, Running},
    cost::peak_megabytes,
    figures::{Figure, Target, float},
    load::{Audience, Load},
    receive::Behaviour,
    redis::Commands,
    report::Outcome,
    setup::Wanted,
    stack::{Mode, Setting},
};

const EVENTS: usize = 1_000_000;
/// Probes come at most 10 s apart, so that the bench does not wait for them for long; by default it is 5 minutes.
const SETTINGS: &[Setting] = &[("delivery.backoff_cap", "10s")];
/// How long a sink that is down is watched: what is done every so often, at most once a minute, comes as often in each watch.
const WATCHED: Duration = Duration::from_secs(60);
/// Until what is parked stands in Redis, at most this much later than the last chunk is settled.
const CALM: Duration = Duration::from_secs(2);
/// Fresh events a second, and seconds of each slice in which their latency is measured.
const FRESH: (u32, u32) = (200, 3);
/// Events of random letters that are parked in addition.
const INCOMPRESSIBLE: usize = 100_000;

/// A sink with a backlog of a million events comes back, and gets fresh events meanwhile.
pub(super) async fn backlog(context: &Context) -> Result<Outcome> {
    let bench = Bench::start(Mode::Server, &context.millrace, SETTINGS).await?;
    let wanted = Wanted { batch_events: true, ..Wanted::default() };
    let audience = bench.audience(wanted).await?;
    let mut outcome = Outcome::default();
    let live =
        Load { undelivered: Some(1_600), ..Load::steady(&audience, context.events(EVENTS / 4)) };
    bench.run(&Load { events: 5_000, ..live.clone() }).await?;
    sleep(CALM).await;
    let (idle, commands_idle) = watch(&bench).await?;
    let down = Behaviour { down: true, ..Behaviour::default() };
    let events = context.events(EVENTS);
    let load = Load { undelivered: None, ..Load::steady(&audience, events) };
    let parked = park(&bench, &load, down).await?;
    let bound = Some(Target::AtMost(300.0));
    outcome.figure(Figure { target: bound, ..parked.figure("Redis bytes a parked event") });
    let (watched, commands) = watch(&bench).await?;
    outcome.figure(Figure::held(
        "Redis commands/s for a sink that is down",
        watched - idle,
        Target::AtMost(2.0),
    ));
    outcome.note(format!("Redis commands in {WATCHED:?} while it is down: {commands:?}"));
    outcome.note(format!("and while there was nothing to do: {commands_idle:?}"));
    let mut drains = Drains::default();
    let mut run = parked.run;
    for round in 1..=context.pairs {
        outcome.drift.sample();
        let drained = drain(&bench, &audience, run, events).await?;
        let normal = slice(&bench, &audience).await?;
        drains.add(drained, normal, bench.run(&live).await?.delivered_per_second());
        if round < context.pairs {
            run = park(&bench, &load, down).await?.run;
        }
    }
    drains.tell(&mut outcome);
    let load = Load {
        incompressible: true,
        events: context.events(INCOMPRESSIBLE),
        undelivered: None,
        ..Load::steady(&audience, 0)
    };
    let parked = park(&bench, &load, down).await?;
    outcome.figure(parked.figure("Redis bytes a parked event, random letters"));
    bench.behave(Behaviour::default()).await?;
    bench.arrived(parked.run, load.events).await?;
    let peak =
        peak_megabytes(&crate::cost::Cost::between(&bench.usage()?, &bench.usage()?), "deliverer");
    outcome.figure(Figure::held("deliverer's peak RSS MB", peak, Target::Below(150.0)));
    bench.stop().await?;
    Ok(outcome)
}

/// What came of each time that the backlog drained.
#[derive(Default)]
struct Drains {
    per_second: Vec<f64>,
    /// Live events that were delivered a second after it, and the drained ones by them.
    live: Vec<f64>,
    of_live: Vec<f64>,
    /// The p99 of fresh events in ms, meanwhile, after it, and the one by the other.
    fresh: Vec<f64>,
    normal: Vec<f64>,
    ratios: Vec<f64>,
    slices: usize,
}

impl Drains {
    fn add(&mut self, (per_second, slices): (f64, Vec<f64>), normal: f64, live: f64) {
        self.slices += slices.len();
        let fresh = Figure::median("", slices, None).value;
        self.per_second.push(per_second);
        self.live.push(live);
        self.of_live.push(per_second / live);
        self.fresh.push(fresh);
        self.normal.push(normal);
        self.ratios.push(fresh / normal);
    }

    fn tell(self, outcome: &mut Outcome) {
        let rounds = self.ratios.len();
        for figure in [
            Figure::median("live events/s", self.live, None),
            Figure::median("drained events/s", self.per_second, None),
            Figure::median("drained, of live throughput", self.of_live, Some(Target::AtLeast(0.7))),
            Figure::median("fresh p99 ms, normally", self.normal, None),
            Figure::median("fresh p99 ms, while it drains", self.fresh, None),
            Figure::median("fresh p99, of normal", self.ratios, Some(Target::Below(2.0))),
        ] {
            outcome.figure(figure);
        }
        outcome.note(format!(
            "{rounds} rounds; fresh events: {} a second, {} slices of {} s while it drained",
            FRESH.0, self.slices, FRESH.1
        ));
    }
}

/// A thousand sinks with backlogs come back at once.
pub(super) async fn memory(context: &Context) -> Result<Outcome> {
    let bench = Bench::start(Mode::Server, &context.millrace, SETTINGS).await?;
    let audience = bench.audience(Wanted { accounts: 100, sinks: 10, ..Wanted::default() }).await?;
    let mut outcome = Outcome::default();
    outcome.drift.sample();
    let load = Load {
        incompressible: true,
        undelivered: None,
        ..Load::steady(&audience, context.events(20_000))
    };
    let down = Behaviour { down: true, ..Behaviour::default() };
    let parked = park(&bench, &load, down).await?;
    bench.behave(Behaviour::default()).await?;
    let received = bench.arrived(parked.run, load.deliveries()).await?;
    let costs = crate::cost::Cost::between(&bench.usage()?, &bench.usage()?);
    let peak = peak_megabytes(&costs, "deliverer");
    outcome.figure(Figure::held("deliverer's peak RSS MB", peak, Target::Below(150.0)));
    outcome.figure(Figure::told("router's peak RSS MB", peak_megabytes(&costs, "router")));
    outcome.figure(parked.figure("Redis bytes a parked event, random letters"));
    outcome.note(format!(
        "{} events parked for 1,000 sinks; {} duplicates",
        received.deliveries, received.duplicates
    ));
    bench.stop().await?;
    Ok(outcome)
}

/// Events that are parked.
struct Parked {
    run: u64,
    bytes_per_event: f64,
}

impl Parked {
    fn figure(&self, what: &'static str) -> Figure {
        Figure::told(what, self.bytes_per_event)
    }
}

/// Publishes while sinks are down, and waits until all of it is parked.
async fn park(bench: &Bench, load: &Load, down: Behaviour) -> Result<Parked> {
    sleep(CALM).await;
    let redis = bench.redis()?;
    let before = redis.info("used_memory").await?;
    bench.behave(down).await?;
    let running: Running = bench.publish(load).await?;
    let (run, _) = bench.published(running).await?;
    while redis.unsettled().await? > 0 {
        sleep(Duration::from_millis(100)).await;
    }
    sleep(CALM).await;
    let after = redis.info("used_memory").await?;
    let bytes_per_event = float(after.saturating_sub(before)) / float(load.deliveries());
    Ok(Parked { run, bytes_per_event })
}

/// Redis commands a second.
async fn watch(bench: &Bench) -> Result<(f64, Commands)> {
    let watched = async {
        sleep(WATCHED).await;
        Ok(())
    };
    let ((), commands) = bench.redis()?.commands(watched).await?;
    let sent: usize = commands.values().sum();
    Ok((float(sent) / WATCHED.as_secs_f64(), commands))
}

/// The p99 of fresh events, in ms.
async fn slice(bench: &Bench, audience: &Audience) -> Result<f64> {
    let (rate, seconds) = FRESH;
    let load = Load::paced(audience, usize::try_from(rate * seconds)?, rate);
    let running = bench.publish(&load).await?;
    let (_, received) = bench.finish(running).await?;
    Ok(float(received.latency.p99_us) / 1e3)
}

/// Lets the sink come back: events drained a second from the first that came, and the p99 of fresh events meanwhile.
async fn drain(
    bench: &Bench,
    audience: &Audience,
    run: u64,
    events: usize,
) -> Result<(f64, Vec<f64>)> {
    let before = bench.count(run).await?;
    bench.behave(Behaviour::default()).await?;
    while bench.count(run).await? == before {
        sleep(Duration::from_millis(5)).await;
    }
    let began_us = crate::clock::now_micros();
    let mut fresh = Vec::new();
    while bench.count(run).await? < events {
        fresh.push(slice(bench, audience).await?);
    }
    ensure!(
        !fresh.is_empty(),
        "it drained before a slice of fresh events began: more events are needed"
    );
    // The last slice may have ended after the drain.
    if fresh.len() > 1 {
        fresh.pop();
    }
    let received = bench.arrived(run, events).await?;
    let took_us = received.last_us.saturating_sub(began_us).max(1);
    Ok((float(events) * 1e6 / float(took_us), fresh))
}
