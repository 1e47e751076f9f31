//! What nothing costs.

use std::time::Duration;

use anyhow::Result;
use tokio::time::sleep;

use super::Context;
use crate::{
    bench::Bench,
    cost::Cost,
    figures::{Figure, Target, float},
    redis::PARTITIONS,
    report::Outcome,
    setup::Wanted,
    stack::Mode,
};

/// Until nothing is left of what was done before: lanes have retired but for their minute, connections are idle.
const CALM: Duration = Duration::from_secs(5);

/// A stack with a hundred sinks and nothing to deliver.
pub(super) async fn idle(context: &Context) -> Result<Outcome> {
    let bench = Bench::start(Mode::Server, &context.millrace, &[]).await?;
    bench.audience(Wanted { accounts: 100, ..Wanted::default() }).await?;
    sleep(CALM).await;
    let seconds = context.seconds(15);
    let period = Duration::from_secs(seconds.into());
    let mut outcome = Outcome::default();
    outcome.drift.sample();
    let before = bench.usage()?;
    sleep(period).await;
    let costs = Cost::between(&before, &bench.usage()?);
    let watched = async {
        sleep(period).await;
        Ok(())
    };
    let ((), commands) = bench.redis()?.commands(watched).await?;
    let percent = |cost: &Cost| float(cost.cpu_us) / 1e4 / f64::from(seconds);
    let services = ["control-plane", "router", "deliverer"];
    let ours: f64 = costs.iter().filter(|cost| services.contains(&cost.process)).map(percent).sum();
    outcome.figure(Figure::held("services, % of a core", ours, Target::Below(1.0)));
    let sent: usize = commands.values().sum();
    let per_second = float(sent) / f64::from(seconds);
    outcome.figure(Figure::held(
        "Redis commands/s a partition",
        per_second / f64::from(PARTITIONS),
        Target::Below(1.0),
    ));
    let list: Vec<_> = costs
        .iter()
        .filter(|cost| cost.is_millrace())
        .map(|cost| format!("{} {:.2}", cost.process, percent(cost)))
        .collect();
    outcome.note(format!("% of a core: {}", list.join(", ")));
    let list: Vec<_> = commands
        .iter()
        .map(|(name, count)| format!("{name} {:.1}", float(*count) / f64::from(seconds)))
        .collect();
    outcome.note(format!("Redis commands/s: {}", list.join(", ")));
    bench.stop().await?;
    Ok(outcome)
}
