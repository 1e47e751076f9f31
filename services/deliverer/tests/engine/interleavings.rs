//! The property that everything rests on, over random interleavings of all that can happen: **each accepted event is, for each
//! of its sinks, delivered, still in `ready`, parked, quarantined, or dropped with a report**; it holds at every moment, and in
//! the end nothing waits any more.
//!
//! Deliverers are whole; only the queue's machine and the sinks are scripted. `MILLRACE_CASES` says how many cases to run,
//! `MILLRACE_SEED` which one to repeat: the story is then the same, but for the order of events at one instant.

use std::{
    collections::{BTreeSet, HashSet},
    env, panic,
    sync::atomic::Ordering,
    time::Duration,
};

use fastrand::Rng;
use millrace_domain::SinkSid;
use millrace_queue::{Queue, chunk};
use tokio::time::{Instant, sleep};

use crate::{
    sinks::{Answer, Ask},
    world::{Deliverer, World, batched, home, sid, sink},
};

/// Cases of a run that nobody asked for more.
const CASES: u64 = 12;
const SINKS: u128 = 4;

#[test]
fn each_accepted_event_is_somewhere_at_every_moment_and_done_with_in_the_end() {
    let number =
        |name: &str| env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let seeds = match number("MILLRACE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("MILLRACE_CASES").unwrap_or(CASES),
    };
    for seed in seeds {
        // A case that never ends is named by this line.
        eprintln!("seed={seed}");
        let ended = panic::catch_unwind(|| {
            fastrand::seed(seed);
            let runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = { runtime }.enable_all().start_paused(true).build().expect("a runtime");
            runtime.block_on(Case::new(seed).run());
        });
        assert!(ended.is_ok(), "seed={seed} fails: MILLRACE_SEED={seed} repeats it");
    }
}

struct Case {
    rng: Rng,
    world: World,
    deliverers: Vec<Deliverer>,
    accepted: BTreeSet<(SinkSid, String)>,
    story: Vec<String>,
    /// Something happened that repeats deliveries.
    repeats: bool,
}

impl Case {
    fn new(seed: u64) -> Self {
        let (mut rng, mut world) = (Rng::with_seed(seed), World::new(seed));
        let delivery = &mut world.settings.delivery;
        delivery.lane_events = rng.usize(1..200);
        delivery.in_flight = rng.usize(1..40);
        delivery.linger = Duration::from_millis(rng.u64(100..5_000));
        delivery.gather = Duration::from_millis(rng.u64(0..1_000));
        delivery.unsettled_bytes = rng.usize(1..4) << 20;
        delivery.backoff_cap = Duration::from_secs(rng.u64(2..60));
        let deliverers = Vec::new();
        Self {
            rng,
            world,
            deliverers,
            accepted: BTreeSet::new(),
            story: Vec::new(),
            repeats: false,
        }
    }

    async fn run(mut self) {
        for number in 1..=SINKS {
            self.world.configure(sink(number));
        }
        self.deliverers.push(self.world.start().await);
        for step in 0..self.rng.usize(5..50) {
            self.step(step).await;
            self.check();
        }
        self.come_to_rest().await;
    }

    async fn step(&mut self, step: usize) {
        let number = self.rng.u128(1..=SINKS);
        match self.rng.u8(0..32) {
            0..=7 => self.publish(step).await,
            8..=12 => self.have_a_sink_answer(number),
            13..=18 => self.pass_time().await,
            19..=21 => self.change_a_sink(number),
            22 => {
                let status = ["active", "active", "suspended"][self.rng.usize(0..3)];
                self.story.push(format!("the account is {status}"));
                self.world.set_account(status);
            }
            23..=24 => self.trouble_the_queue(),
            25..=26 => self.kill().await,
            27..=28 => self.roll().await,
            29 => {
                let jump = self.rng.i64(-7_200_000..7_200_000);
                self.story.push(format!("the queue's clock jumps by {jump} ms"));
                // A lease that ends early by that may repeat what its owner had sent.
                self.repeats = true;
                self.world.queue.jump(jump);
            }
            30 => {
                self.story.push("the queue forgets its owners".into());
                self.repeats = true;
                self.world.queue.forget_owners();
            }
            _ => {
                self.story.push("a chunk that cannot be read".into());
                self.world.queue.append(home(), "\u{ff}no chunk".into()).await.expect("room");
            }
        }
    }

    async fn publish(&mut self, step: usize) {
        let (count, bytes) =
            (self.rng.usize(1..40), [20, 200, 5_000, 200_000][self.rng.usize(0..4)]);
        let count = if bytes > 100_000 { count.min(10) } else { count };
        let sinks: Vec<u128> = (1..=SINKS).filter(|_| self.rng.bool()).collect();
        let ids: Vec<_> = (0..count).map(|n| format!("{step}-{n}")).collect();
        if sinks.is_empty() {
            return;
        }
        self.story.push(format!("{step}: {count} events of {bytes} bytes to {sinks:?}"));
        for sink in &sinks {
            self.accepted.extend(ids.iter().map(|id| (sid(*sink), id.clone())));
        }
        self.world.publish_sized(bytes, ids, &sinks).await;
    }

    fn have_a_sink_answer(&mut self, number: u128) {
        let takes = Duration::from_millis(self.rng.u64(0..3_000));
        let wait = Duration::from_secs(self.rng.u64(0..40));
        let how = self.rng.usize(0..10);
        self.story.push(format!("sink {number} answers by {how} in {takes:?}, {wait:?}"));
        self.world.sinks.answer(sid(number), move |ask: &Ask<'_>| {
            let bad = ask.ids.iter().any(|id| id.ends_with('3'));
            let answer = match how {
                0 => Answer::status(500),
                1 => Answer::hangs(),
                2 => Answer::status(429).retry_after(wait),
                3 => Answer::status(503).retry_after(wait),
                4 => Answer::status(if bad { 400 } else { 200 }),
                5 => Answer::status(if bad { 500 } else { 200 }),
                6 => Answer::status(if ask.nth.is_multiple_of(2) { 200 } else { 500 }),
                7 => Answer::status(if ask.nth.is_multiple_of(5) { 404 } else { 200 }),
                8 if ask.nth.is_multiple_of(16) => panic!("on purpose"),
                _ => Answer::status(200),
            };
            if how == 1 { answer } else { answer.after(takes) }
        });
    }

    async fn pass_time(&mut self) {
        let most = [50, 1_000, 20_000, 400_000][self.rng.usize(0..4)];
        let time = Duration::from_millis(self.rng.u64(0..most));
        self.story.push(format!("{time:?} pass"));
        sleep(time).await;
    }

    fn change_a_sink(&mut self, number: u128) {
        let mut changed = if self.rng.bool() { sink(number) } else { batched(number) };
        let how = self.rng.usize(0..8);
        match how {
            0 => changed.paused = true,
            1 => changed.deleted = true,
            2 => changed.rate_limit = self.rng.u32(1..50),
            3 => changed.max_concurrency = self.rng.u32(1..4),
            4 => changed.delivery_window_ms = 60_000,
            _ => {}
        }
        self.story.push(format!("sink {number} is changed by {how}"));
        match how {
            5 => self.world.forget(number),
            _ => self.world.configure(changed),
        }
    }

    fn trouble_the_queue(&mut self) {
        let troubles = &self.world.troubles;
        let failing = [0, 0, 20, 300, 900][self.rng.usize(0..5)];
        let slow = [0, 10, 500][self.rng.usize(0..3)];
        let refused = [0, 0, 3, 12][self.rng.usize(0..4)];
        self.story.push(format!(
            "of 1,000 calls {failing} fail, they take {slow} ms, {refused} settlements are refused"
        ));
        troubles.failing.store(failing, Ordering::Relaxed);
        troubles.slow_ms.store(slow, Ordering::Relaxed);
        troubles.refused.store(refused, Ordering::Relaxed);
        self.repeats |= failing + slow + refused > 0;
    }

    async fn kill(&mut self) {
        self.repeats = true;
        let at = self.rng.usize(0..self.deliverers.len());
        self.story.push("a deliverer is killed, another starts".into());
        self.deliverers.swap_remove(at).kill();
        if self.rng.bool() {
            self.pass_time().await;
        }
        self.check();
        self.deliverers.push(self.world.start().await);
    }

    async fn roll(&mut self) {
        let at = self.rng.usize(0..self.deliverers.len());
        let and_more = self.deliverers.len() < 3 && self.rng.bool();
        self.story.push(format!(
            "a deliverer starts, {}",
            if and_more { "one more" } else { "one stops" }
        ));
        self.deliverers.push(self.world.start().await);
        if !and_more {
            self.deliverers.swap_remove(at).stop().await;
        }
    }

    /// All is well from now on: everything is delivered, or was given up with a report.
    async fn come_to_rest(mut self) {
        self.world.troubles.failing.store(0, Ordering::Relaxed);
        self.world.troubles.slow_ms.store(0, Ordering::Relaxed);
        self.world.troubles.refused.store(0, Ordering::Relaxed);
        self.world.set_account("active");
        for number in 1..=SINKS {
            self.world.configure(batched(number));
            self.world.sinks.answer(sid(number), |_| Answer::status(200));
        }
        let began = Instant::now();
        while !self.world.is_empty() {
            let left = {
                let state = self.world.queue.state();
                format!("{} in ready, {:?}", state.ready.len(), state.backlogs)
            };
            // Longer than any clock jumped, and than any window is open.
            assert!(
                began.elapsed() < Duration::from_hours(12),
                "{left} are never done with: {:#?}",
                self.story
            );
            sleep((began.elapsed() / 8).max(Duration::from_millis(100))).await;
        }
        self.check();
        for deliverer in self.deliverers.drain(..) {
            deliverer.stop().await;
        }
        self.check();
        let state = self.world.queue.state();
        assert!(state.parked.values().all(|set| set.is_empty()), "parked, and no owner would look");
        drop(state);
        if !self.repeats {
            let delivered = (1..=SINKS).flat_map(|number| self.world.sinks.delivered(sid(number)));
            let repeated: Vec<_> = delivered.filter(|(_, times)| *times > 1).collect();
            assert!(repeated.is_empty(), "{repeated:?} without need: {:#?}", self.story);
        }
    }

    /// The property itself.
    fn check(&self) {
        let state = self.world.queue.state();
        let mut kept: HashSet<(SinkSid, String)> = HashSet::new();
        let quarantined = state.quarantined.values().map(|(_, chunk)| chunk);
        for bytes in state.ready.values().chain(quarantined) {
            for event in
                chunk::decode(bytes.clone()).map_or_else(|_| Vec::new(), |chunk| chunk.events)
            {
                let sinks = event.variants.iter().flat_map(chunk::sinks_of);
                kept.extend(sinks.map(|sink| (sink, event.id.clone())));
            }
        }
        for ((partition, sink, _), set) in &state.parked {
            let found = set.is_empty() || state.backlogs.contains_key(&(*partition, *sink));
            assert!(
                found,
                "{sink} has something parked that no owner would find: {:#?}",
                self.story
            );
            for parked in set.values() {
                let events =
                    chunk::decode(parked.chunk.clone()).expect("what was parked is read").events;
                kept.extend(events.into_iter().map(|event| (*sink, event.id)));
            }
        }
        for drop in &state.drops {
            let sink = drop.sink.as_ref().try_into().map(u128::from_be_bytes).expect("16 bytes");
            kept.insert((SinkSid::from_u128(sink), drop.event_id.clone()));
        }
        drop(state);
        let lost: Vec<_> = self
            .accepted
            .iter()
            .filter(|event| !kept.contains(*event) && !self.world.sinks.has(event.0, &event.1))
            .collect();
        assert!(lost.is_empty(), "{lost:?} are lost: {:#?}", self.story);
    }
}
