//! An upgrade under load, and a step back: two releases share Redis and PostgreSQL, process after process becomes the other.
//!
//! In `make test` both are the program under test: what an upgrade does to it besides the new code. `make upgrade` names the
//! program of the release before in `MILLRACE_OLD_BINARY`.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use millrace_testkit::{
    eventually,
    receiver::{Answer, Receiver},
};
use millrace_tests::{
    Kind, Load, Mode, Options, Process, Stack, Verdict, arrivals::queue_is_empty, binary, scaled,
};

/// Names the program to come from.
const OLD: &str = "MILLRACE_OLD_BINARY";
/// Events between one process and the next.
const BETWEEN: usize = 60;

/// Longest wait for the first event that is parked.
const PATIENCE: Duration = Duration::from_secs(60);

/// Sinks that are down while one release is there, and well again under the other: the path of each.
const PARKED_BY_OLD: &str = "/tenant-100";
const PARKED_BY_NEW: &str = "/tenant-101";

fn old() -> PathBuf {
    std::env::var_os(OLD).filter(|path| !path.is_empty()).map_or_else(binary, PathBuf::from)
}

/// A program, and settings that it gets besides those of its process.
#[derive(Clone, Copy)]
struct Release<'a> {
    program: &'a Path,
    settings: &'a [(&'a str, &'a str)],
}

/// What docs/upgrading.md asks for while processes run that know of no compression.
const BESIDE_OLD: &[(&str, &str)] = &[("queue.compression", "none")];

/// One process after the other.
struct Roll<'a> {
    stack: &'a mut Stack,
    load: &'a Load,
}

impl Roll<'_> {
    async fn control_planes(&mut self, release: Release<'_>) {
        for number in 0..2 {
            becomes(self.stack.servers().control_plane(number), release, self.load).await;
        }
    }

    async fn routers(&mut self, release: Release<'_>) {
        for number in 0..2 {
            becomes(self.stack.process(Kind::Router(number)), release, self.load).await;
        }
    }

    async fn deliverers(&mut self, release: Release<'_>) {
        for number in 0..2 {
            becomes(self.stack.process(Kind::Deliverer(number)), release, self.load).await;
        }
    }
}

/// Ends a process as Kubernetes does, and starts another program in its place.
async fn becomes(process: &mut Process, release: Release<'_>, load: &Load) {
    load.progress(BETWEEN).await;
    process.terminate().await;
    load.progress(BETWEEN).await;
    process.become_program(release.program, release.settings);
    process.restart().await;
}

/// Waits until a sink that was down has events waiting for it.
async fn is_parked(stack: &mut Stack, load: &Load) {
    load.progress(BETWEEN).await;
    let started = Instant::now();
    while stack.servers().parked_events().await == 0 {
        assert!(started.elapsed() < PATIENCE, "nothing is parked for a sink that is down");
        load.progress(BETWEEN).await;
    }
}

/// Waits until a sink that is well again gets something.
async fn arrives(receiver: &Receiver, path: &str) {
    let had = millrace_tests::arrivals::at(receiver, path).len();
    receiver.answer(path, Answer::ok());
    eventually(&format!("{path} gets what waited for it"), || async {
        (millrace_tests::arrivals::at(receiver, path).len() > had).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_upgrade_under_load_and_a_step_back_lose_nothing() {
    let (from, to) = (old(), binary());
    let old = Release { program: &from, settings: &[] };
    let new = Release { program: &to, settings: BESIDE_OLD };
    let new_alone = Release { settings: &[], ..new };
    let options = Options {
        control_planes: 2,
        routers: 2,
        deliverers: 2,
        program: Some(from.clone()),
        ..Options::default()
    };
    let mut stack = Stack::start(Mode::Servers, options).await;
    let receiver = Receiver::start().await;
    let mut accounts = stack.tenants(6, &receiver).await;
    let load = Load::start(stack.platform_publishers(), &accounts);

    // Beside the old release, under load.
    stack.servers().migrate(new.program, &[]).await;
    load.progress(BETWEEN).await;
    for _ in 0..scaled(1, 3) {
        receiver.answer(PARKED_BY_OLD, Answer::status(503));
        is_parked(&mut stack, &load).await;
        let mut roll = Roll { stack: &mut stack, load: &load };
        roll.control_planes(new).await;
        // Old routers and deliverers take what a new control-plane tells them.
        accounts.push(roll.stack.tenant(200 + accounts.len(), &receiver).await);
        roll.routers(new).await;
        roll.deliverers(new).await;
        arrives(&receiver, PARKED_BY_OLD).await;

        // A step back, in the reverse order: what the new release parked, the old one drains; what it wrote, the old one reads.
        receiver.answer(PARKED_BY_NEW, Answer::status(503));
        is_parked(&mut stack, &load).await;
        let mut roll = Roll { stack: &mut stack, load: &load };
        roll.deliverers(old).await;
        roll.routers(old).await;
        roll.control_planes(old).await;
        accounts.push(roll.stack.tenant(200 + accounts.len(), &receiver).await);
        arrives(&receiver, PARKED_BY_NEW).await;
    }
    let mut roll = Roll { stack: &mut stack, load: &load };
    roll.control_planes(new).await;
    roll.routers(new).await;
    roll.deliverers(new).await;
    // Nobody is left who cannot read what is compressed.
    roll.control_planes(new_alone).await;
    roll.routers(new_alone).await;
    let late = accounts.split_off(6);
    let to_late = Load::start_from(1_000_000, stack.platform_publishers(), &late);
    to_late.progress(BETWEEN).await;
    let of_late = Verdict::of(&mut stack, to_late, &[&receiver]).await;
    let verdict = Verdict::of(&mut stack, load, &[&receiver]).await;
    println!("from {} to {}, back, and to it again", from.display(), to.display());
    assert!(of_late.dropped.is_empty() && verdict.dropped.is_empty());
    assert!(verdict.quarantined.is_empty());
    assert_eq!(verdict.duplicates, 0, "a process that ends in order repeats nothing");
    queue_is_empty(&mut stack).await;
}
