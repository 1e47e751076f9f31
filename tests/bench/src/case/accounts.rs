//! Very many accounts, each with little to deliver.

use anyhow::Result;

use super::{
    Context,
    throughput::{SERVERS, Targets, measure},
};
use crate::{
    load::{Audience, Load},
    report::Outcome,
    setup::Wanted,
};

const ACCOUNTS: usize = 10_000;

/// Ten thousand accounts, one event a second each, a sink with a host of its own each. The platform publishes batches of 100
/// events of 100 accounts.
pub(super) async fn accounts(context: &Context) -> Result<Outcome> {
    let accounts = context.events(ACCOUNTS);
    let rate = u32::try_from(accounts)?;
    let seconds = usize::try_from(context.seconds(10))?;
    let wanted = Wanted { accounts, own_hosts: true, ..Wanted::default() };
    let load = |audience: &Audience| Load {
        batch: 100,
        ..Load::paced(audience, accounts * seconds, rate)
    };
    let targets = Targets {
        redis_commands: Some(3.0),
        cpu_us: Some(150.0),
        p99_below_ms: Some(50.0),
        ..Targets::default()
    };
    measure(context, SERVERS, wanted, load, targets).await
}
