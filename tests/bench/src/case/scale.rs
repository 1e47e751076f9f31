//! What an event costs on 1, 2 and 4 deliverers.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::time::{Instant, sleep};

use super::Context;
use crate::{
    bench::{Bench, Measured},
    cost::by_process,
    figures::{Figure, Target},
    load::{Audience, Load},
    report::Outcome,
    setup::Wanted,
};

/// Accounts: as many as there are partitions, so that deliverers have about as much to do as each other.
const ACCOUNTS: usize = 64;
/// Events a second of four deliverers: two thirds of what two cores do of either kind where publishes are spread.
const UNBATCHED_RATE: u32 = 8_000;
const BATCHED_RATE: u32 = 28_000;
/// Deliverers of the largest installation.
const MOST_DELIVERERS: usize = 4;
/// Events of a publish, of one account as in `batched` and `unbatched`.
const BATCH: usize = 100;
/// Events of an account where a publish is spread, over 17 accounts then.
const SPREAD: usize = 6;
/// Longest time that deliverers take to share the partitions.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(50);
/// Events on their way while as many are published as are delivered: of 16 publishes.
const UNDELIVERED: usize = 1_600;
/// How many times as many events as at the rates are delivered in about the same time where as many are published as are delivered.
const FULL: usize = 3;
/// How much more an event may cost on four deliverers than on one.
const MOST: f64 = 1.1;

/// What the sinks take.
#[derive(Clone, Copy)]
enum Kind {
    Unbatched,
    Batched,
}

/// What share of the load an installation gets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Share {
    /// All get the same: what more processes cost shows where each has less to do.
    Same,
    /// Each of its deliverers gets the same: there are more because there is more to do.
    Grown,
    /// As much as is delivered, [`UNDELIVERED`] events being on their way.
    Full,
    /// The same for all, each publish being of many accounts, which many deliverers share.
    Spread,
}

/// An installation with so many deliverers.
struct Installation {
    bench: Bench,
    deliverers: usize,
    unbatched: Audience,
    batched: Audience,
}

/// What one kind of sink cost, in the order of the installations, round by round.
#[derive(Default)]
struct Costs {
    same: [Vec<f64>; 3],
    grown: [Vec<f64>; 3],
    full: [Vec<f64>; 3],
    spread: [Vec<f64>; 3],
}

/// Of each round, what an event cost on the last installation over what it cost on the first.
fn ratios(each: &[Vec<f64>; 3]) -> Vec<f64> {
    each[2].iter().zip(&each[0]).map(|(last, first)| last / first).collect()
}

/// Three installations take turns under the same load; each ratio is of two runs of one round, which follow each other: how fast the
/// machine is changes by the minute.
pub(super) async fn scale(context: &Context) -> Result<Outcome> {
    let mut installations = Vec::new();
    for deliverers in [1, 2, MOST_DELIVERERS] {
        installations.push(Installation::start(context, deliverers).await?);
    }
    let mut outcome = Outcome::default();
    let (mut unbatched, mut batched) = (Costs::default(), Costs::default());
    for round in 0..context.pairs {
        for (kind, costs) in [(Kind::Unbatched, &mut unbatched), (Kind::Batched, &mut batched)] {
            outcome.drift.sample();
            for (installation, same) in installations.iter().zip(&mut costs.same) {
                let measured = installation.run(context, kind, Share::Same).await?;
                if round == 0 {
                    outcome.note(installation.costs(&measured));
                }
                same.push(measured.cpu_us());
            }
            for (installation, grown) in installations.iter().zip(&mut costs.grown).rev() {
                grown.push(match costs.same[2].last() {
                    // The largest gets all of it either way.
                    Some(same) if installation.deliverers == MOST_DELIVERERS => *same,
                    _ => installation.run(context, kind, Share::Grown).await?.cpu_us(),
                });
            }
            for (installation, full) in installations.iter().zip(&mut costs.full) {
                full.push(installation.run(context, kind, Share::Full).await?.cpu_us());
            }
            for (installation, spread) in installations.iter().zip(&mut costs.spread).rev() {
                spread.push(installation.run(context, kind, Share::Spread).await?.cpu_us());
            }
        }
    }
    tell(&mut outcome, &unbatched, &UNBATCHED);
    tell(&mut outcome, &batched, &BATCHED);
    for installation in installations {
        installation.bench.stop().await?;
    }
    Ok(outcome)
}

/// What the figures are called: on 1, 2 and 4 deliverers, then 4 over 1.
struct Names {
    grown: [&'static str; 4],
    same: [&'static str; 4],
    full: [&'static str; 4],
    spread: [&'static str; 4],
}
const UNBATCHED: Names = Names {
    grown: [
        "unbatched, 2,000/s, 1 deliverer: CPU-µs",
        "unbatched, 4,000/s, 2 deliverers: CPU-µs",
        "unbatched, 8,000/s, 4 deliverers: CPU-µs",
        "unbatched, as much each, 4 over 1",
    ],
    same: [
        "unbatched, 8,000/s, 1 deliverer: CPU-µs",
        "unbatched, 8,000/s, 2 deliverers: CPU-µs",
        "unbatched, 8,000/s, 4 deliverers, again",
        "unbatched, as much in all, 4 over 1",
    ],
    full: [
        "unbatched, in full, 1 deliverer: CPU-µs",
        "unbatched, in full, 2 deliverers: CPU-µs",
        "unbatched, in full, 4 deliverers: CPU-µs",
        "unbatched, in full, 4 over 1",
    ],
    spread: [
        "unbatched, spread, 1 deliverer: CPU-µs",
        "unbatched, spread, 2 deliverers: CPU-µs",
        "unbatched, spread, 4 deliverers: CPU-µs",
        "unbatched, spread, 4 over 1",
    ],
};
const BATCHED: Names = Names {
    grown: [
        "batched, 7,000/s, 1 deliverer: CPU-µs",
        "batched, 14,000/s, 2 deliverers: CPU-µs",
        "batched, 28,000/s, 4 deliverers: CPU-µs",
        "batched, as much each, 4 over 1",
    ],
    same: [
        "batched, 28,000/s, 1 deliverer: CPU-µs",
        "batched, 28,000/s, 2 deliverers: CPU-µs",
        "batched, 28,000/s, 4 deliverers, again",
        "batched, as much in all, 4 over 1",
    ],
    full: [
        "batched, in full, 1 deliverer: CPU-µs",
        "batched, in full, 2 deliverers: CPU-µs",
        "batched, in full, 4 deliverers: CPU-µs",
        "batched, in full, 4 over 1",
    ],
    spread: [
        "batched, spread, 1 deliverer: CPU-µs",
        "batched, spread, 2 deliverers: CPU-µs",
        "batched, spread, 4 deliverers: CPU-µs",
        "batched, spread, 4 over 1",
    ],
};

fn tell(outcome: &mut Outcome, costs: &Costs, names: &Names) {
    let held = Some(Target::AtMost(MOST));
    for (each, names, held) in [
        (&costs.grown, names.grown, held),
        (&costs.same, names.same, held),
        (&costs.full, names.full, held),
        (&costs.spread, names.spread, None),
    ] {
        for (name, each) in names.into_iter().zip(each) {
            outcome.figure(Figure::median(name, each.clone(), None));
        }
        outcome.figure(Figure::median(names[3], ratios(each), held));
    }
}

impl Installation {
    async fn start(context: &Context, deliverers: usize) -> Result<Self> {
        let bench = Bench::with_deliverers(&context.millrace, deliverers).await?;
        let wanted = Wanted { accounts: ACCOUNTS, ..Wanted::default() };
        let unbatched = bench.audience(wanted).await?;
        let wanted = Wanted { batch_events: true, first: ACCOUNTS, ..wanted };
        let batched = bench.audience(wanted).await?;
        let installation = Self { bench, deliverers, unbatched, batched };
        installation.shared().await?;
        for audience in [&installation.unbatched, &installation.batched] {
            installation.bench.run(&Load::steady(audience, 2_000)).await?;
        }
        Ok(installation)
    }

    async fn run(&self, context: &Context, kind: Kind, share: Share) -> Result<Measured> {
        let (audience, most) = match kind {
            Kind::Unbatched => (&self.unbatched, UNBATCHED_RATE),
            Kind::Batched => (&self.batched, BATCHED_RATE),
        };
        let parts = u32::try_from(MOST_DELIVERERS / self.deliverers)?;
        let rate = if share == Share::Grown { most / parts } else { most };
        let events = usize::try_from(rate * context.seconds(5))?;
        let load = match share {
            Share::Full => {
                Load { undelivered: Some(UNDELIVERED), ..Load::steady(audience, events * FULL) }
            }
            _ => Load { batch: BATCH, ..Load::paced(audience, events, rate) },
        };
        let in_a_row = if share == Share::Spread { SPREAD } else { BATCH };
        self.bench.run(&Load { in_a_row, ..load }).await
    }

    /// Whom the deliveries cost how much.
    fn costs(&self, measured: &Measured) -> String {
        format!(
            "{} deliverers, CPU-µs a delivery (peak RSS): {}",
            self.deliverers,
            by_process(&measured.costs, measured.received.deliveries)
        )
    }

    /// Waits until every deliverer has its share of the partitions.
    async fn shared(&self) -> Result<()> {
        let redis = self.bench.stack.redis().context("services stand on Redis")?;
        let started = Instant::now();
        while redis.owners().await? != Some(self.deliverers) {
            ensure!(started.elapsed() < PATIENCE, "the partitions are not shared");
            sleep(PAUSE).await;
        }
        Ok(())
    }
}
