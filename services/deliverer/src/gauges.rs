//! What the process does at the moment, as metrics: sums over its sinks, for no label may name one.

use std::{collections::HashSet, sync::Arc, time::Duration};

use millrace_domain::{Partition, SinkSid, Timestamp};
use millrace_queue::{Class, EntryId};
use millrace_runtime::CancellationToken;
use tokio::time::{Instant, sleep};

use crate::{context::Context, ownership::Tenures, tenure::Tenure};

/// How often the gauges are set.
const INTERVAL: Duration = Duration::from_secs(5);
/// How often it is looked up what waits longest.
const OLDEST_INTERVAL: Duration = Duration::from_secs(15);
/// How many sinks are looked at for that, at most.
const LOOKS: usize = 16;

/// Sets the gauges until the process stops.
pub(crate) async fn run(cx: Arc<Context>, tenures: Arc<Tenures>, stopping: CancellationToken) {
    // Cancelled anywhere, nothing is lost: it only looks.
    stopping.run_until_cancelled(keep_measuring(&cx, &tenures)).await;
}

async fn keep_measuring(cx: &Context, tenures: &Tenures) {
    let (mut oldest, mut looked) = (None, None::<Instant>);
    loop {
        let held = tenures.all();
        if looked.is_none_or(|looked| looked.elapsed() >= OLDEST_INTERVAL) {
            (oldest, looked) = (oldest_of(cx, &held).await, Some(Instant::now()));
        }
        set(cx, &held, oldest);
        sleep(INTERVAL).await;
    }
}

fn set(cx: &Context, held: &[Arc<Tenure>], oldest: Option<Timestamp>) {
    let (mut lanes, mut events, mut bytes) = (0, 0, 0);
    let (mut closed, mut open, mut half_open) = (0, 0, 0);
    let now = cx.clock.now();
    for tenure in held {
        lanes += tenure.lanes();
        let states = tenure.breakers();
        closed += tenure.lanes_but(|sink| states.get(sink).is_some_and(|it| it.open.is_some()));
        for breaker in states.values().filter_map(|state| state.open) {
            *(if breaker.next_probe <= now { &mut half_open } else { &mut open }) += 1;
        }
        let (parked, parked_bytes) = tenure.tally.total();
        (events, bytes) = (events + parked, bytes + parked_bytes);
    }
    let oldest = oldest.filter(|_| events > 0);
    let age = |since: Option<Timestamp>| since.map_or(0.0, |it| now.since(it).as_secs_f64());
    let unsettled = held.iter().filter_map(|tenure| tenure.cursor.oldest()).min();
    let (chunks, open_bytes) = cx.unsettled.open();
    let gauges = [
        ("millrace_partitions", held.len() as f64),
        ("millrace_lanes", lanes as f64),
        ("millrace_backlog_events", events as f64),
        ("millrace_backlog_bytes", bytes as f64),
        ("millrace_backlog_oldest_seconds", age(oldest)),
        ("millrace_unsettled_chunks", chunks as f64),
        ("millrace_unsettled_bytes", open_bytes as f64),
        ("millrace_oldest_unsettled_seconds", age(unsettled.map(EntryId::accepted))),
    ];
    for (name, value) in gauges {
        metrics::gauge!(name).set(value);
    }
    for (state, count) in [("closed", closed), ("open", open), ("half_open", half_open)] {
        metrics::gauge!("millrace_breakers", "state" => state).set(f64::from(count));
    }
}

/// When about the oldest parked event was accepted: looks up the sinks that may have it, until one has.
async fn oldest_of(cx: &Context, held: &[Arc<Tenure>]) -> Option<Timestamp> {
    let mut seen: HashSet<(Partition, SinkSid)> = HashSet::new();
    loop {
        let first = held
            .iter()
            .filter_map(|tenure| tenure.tally.oldest().map(|(sink, since)| (tenure, sink, since)));
        let (tenure, sink, since) = first.min_by_key(|(.., since)| *since)?;
        let known = since > Timestamp::default();
        if !seen.insert((tenure.partition, sink)) || seen.len() > LOOKS {
            return Some(since).filter(|_| known);
        }
        let found = cx.queue.first_parked(tenure.partition, sink, Class::Backlog).await;
        match found {
            Ok(Some(first)) => tenure.tally.learnt(sink, first),
            // Only what waits for a retry of its own is left: that is not long.
            Ok(None) if !known => tenure.tally.learnt(sink, cx.clock.now()),
            Ok(None) => {}
            Err(_) => return Some(since).filter(|_| known),
        }
    }
}
