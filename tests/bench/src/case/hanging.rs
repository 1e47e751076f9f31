//! Sinks that hang, beside sinks that are well.

use anyhow::Result;

use super::Context;
use crate::{
    bench::{Bench, Measured},
    cost::peak_megabytes,
    figures::{Figure, Target, float},
    load::{Audience, Load},
    receive::Behaviour,
    report::Outcome,
    setup::Wanted,
    stack::Mode,
};

/// Sinks that are well, in both halves of a pair.
const WELL: usize = 90;
/// Sinks that hang in one half of a pair.
const HANGING: usize = 10;
/// Events a second while the latency is measured.
const RATE: u32 = 1_000;

/// 100 sinks, of which ten hang for 5 s each; against 100 sinks that are well. Sinks hang for the first time in each
/// measurement: those that did before have open breakers, which harm nobody.
pub(super) async fn hanging(context: &Context) -> Result<Outcome> {
    let bench = Bench::start(Mode::Server, &context.millrace, &[]).await?;
    let well = bench.audience(Wanted { accounts: WELL, ..Wanted::default() }).await?;
    let control = Wanted { accounts: HANGING, first: WELL, ..Wanted::default() };
    let control = well.with(&bench.audience(control).await?);
    bench.run(&Load::steady(&control, 10_000)).await?;
    let (mut throughput, mut latency) = (Vec::new(), Vec::new());
    let mut outcome = Outcome::default();
    for pair in 0..context.pairs {
        let steady = |audience: &Audience| Load::steady(audience, context.events(60_000));
        let events = usize::try_from(RATE * context.seconds(5))?;
        let paced = |audience: &Audience| Load::paced(audience, events, RATE);
        outcome.drift.sample();
        let (with, without) = both(&bench, &well, &control, 2 * pair, steady).await?;
        throughput.push(with.delivered_per_second() / without.delivered_per_second());
        outcome.drift.sample();
        let (with, without) = both(&bench, &well, &control, 2 * pair + 1, paced).await?;
        let p99 = |it: &Measured| float(it.received.latency.p99_us);
        latency.push(p99(&with) / p99(&without));
        if pair + 1 == context.pairs {
            let peak = peak_megabytes(&with.costs, "deliverer");
            outcome.figure(Figure::held("deliverer's peak RSS MB", peak, Target::Below(150.0)));
            outcome.note(format!(
                "p99 of the last pair: {:.1} ms with sinks that hang, {:.1} ms without",
                p99(&with) / 1e3,
                p99(&without) / 1e3
            ));
        }
    }
    let target = Some(Target::AtLeast(0.95));
    outcome.figure(Figure::median("throughput of the healthy, ratio", throughput, target));
    let target = Some(Target::AtMost(1.1));
    outcome.figure(Figure::median("p99 of the healthy, ratio", latency, target));
    bench.stop().await?;
    Ok(outcome)
}

/// Measures a load with new sinks that hang, and without.
async fn both(
    bench: &Bench,
    well: &Audience,
    control: &Audience,
    number: usize,
    load: impl Fn(&Audience) -> Load,
) -> Result<(Measured, Measured)> {
    let first = WELL + HANGING * (number + 1);
    bench.behave(Behaviour { hang_from: Some(first), ..Behaviour::default() }).await?;
    let sick = bench.audience(Wanted { accounts: HANGING, first, ..Wanted::default() }).await?;
    let sick = well.with(&sick);
    let measure_sick = || async {
        // The sinks of earlier measurements are well again, and deliver what they have.
        let load = Load { lost_accounts: HANGING, ..load(&sick) };
        bench.run(&load).await
    };
    // Which half comes first alternates.
    if number.is_multiple_of(2) {
        let with = measure_sick().await?;
        Ok((with, bench.run(&load(control)).await?))
    } else {
        let without = bench.run(&load(control)).await?;
        Ok((measure_sick().await?, without))
    }
}
