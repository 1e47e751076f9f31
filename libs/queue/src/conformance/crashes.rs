//! A process that ends between any two calls, or within one: the next owner finds everything.

use std::{sync::Arc, time::Duration};

use futures::FutureExt;

use super::{
    Fixture, Store,
    given::{
        HOME, LONG, append, drop_of, park, parked_texts, settling, sink, snapshot, standing, state,
        successor, token, unparking,
    },
};
use crate::{Class, Park, Queue, ReportKind, Settled, Settlement, Token};

/// How many calls [`Life`] makes.
const CALLS: usize = 6;
/// A lease that ends soon after its owner did.
const SHORT: Duration = Duration::from_millis(300);

/// Runs the cases about crashes.
pub async fn crashes(fixture: &dyn Fixture) {
    for ends_after in 0..=CALLS {
        let store = fixture.fresh().await;
        if store.is_durable() {
            what_was_accepted_is_somewhere_after(&*store, ends_after).await;
        }
    }
    for polls in 0..4 {
        let store = fixture.fresh().await;
        if store.is_durable() {
            a_call_that_is_cut_off_is_done_whole_or_not_at_all(&*store, polls).await;
        }
    }
}

/// The calls that an owner makes in its life, in order.
struct Life {
    queue: Arc<dyn Queue>,
    owner: Token,
    waits: Park,
}

impl Life {
    async fn call(&self, number: usize) {
        let entries = standing(&*self.queue, HOME).await;
        let ids: Vec<_> = entries.iter().map(|entry| entry.id).collect();
        match number {
            0..=2 => {
                append(&*self.queue, ["a", "b", "c"][number]).await;
            }
            3 => {
                let settlement = Settlement {
                    parks: vec![self.waits.clone()],
                    backlogs: vec![(sink(1), Some(state(1)))],
                    ..settling([ids[0]])
                };
                self.settle(settlement).await;
            }
            4 => self.settle(Settlement { drops: drop_of("b"), ..settling([ids[0]]) }).await,
            _ => {
                let again = Park { class: Class::Delayed, ..self.waits.clone() };
                let settlement = Settlement { parks: vec![again], ..unparking([&self.waits]) };
                self.settle(settlement).await;
            }
        }
    }

    async fn settle(&self, settlement: Settlement) {
        let settled = self.queue.settle(HOME, self.owner, &settlement).await.expect("settle");
        assert_eq!(settled, Settled::Done);
    }
}

/// What is found of the texts that were appended, wherever it is.
async fn found(queue: &dyn Queue) -> Vec<String> {
    let mut texts = Vec::new();
    for entry in standing(queue, HOME).await {
        texts.push(String::from_utf8_lossy(&entry.chunk).into_owned());
    }
    texts.extend(parked_texts(queue, sink(1), Class::Backlog).await);
    texts.extend(parked_texts(queue, sink(1), Class::Delayed).await);
    let drops = queue.reports(ReportKind::Drops, "c", 10).await.expect("reports");
    texts.extend(drops.iter().map(|_| "b".to_owned()));
    texts.sort();
    texts
}

async fn what_was_accepted_is_somewhere_after(store: &dyn Store, calls: usize) {
    let queue = store.open().await;
    let owner = token();
    queue.acquire(&[HOME], owner, LONG).await.expect("acquire");
    let life = Life { queue, owner, waits: park(sink(1), Class::Backlog, 1, "a") };
    for number in 0..calls {
        life.call(number).await;
    }
    life.queue.renew(&[HOME], owner, SHORT).await.expect("renew");
    drop(life);
    let queue = store.open().await;
    successor(&*queue).await;
    let expected: Vec<_> = ["a", "b", "c"].into_iter().take(calls).collect();
    assert_eq!(found(&*queue).await, expected, "after {calls} calls");
    let backlogs = queue.backlogs(HOME).await.expect("backlogs");
    assert_eq!(backlogs.len(), usize::from(calls > 3), "after {calls} calls");
}

async fn a_call_that_is_cut_off_is_done_whole_or_not_at_all(store: &dyn Store, polls: usize) {
    let queue = store.open().await;
    let owner = token();
    queue.acquire(&[HOME], owner, SHORT).await.expect("acquire");
    let id = append(&*queue, "a").await;
    let settlement = Settlement {
        parks: vec![park(sink(1), Class::Backlog, 1, "a")],
        backlogs: vec![(sink(1), Some(state(1)))],
        ..settling([id])
    };
    let mut settle = queue.settle(HOME, owner, &settlement);
    for _ in 0..polls {
        if (&mut settle).now_or_never().is_some() {
            break;
        }
        tokio::task::yield_now().await;
    }
    drop(settle);
    drop(queue);
    let queue = store.open().await;
    // From here on, what is still on its way is stale.
    let owner = successor(&*queue).await;
    let found = snapshot(&*queue, &[sink(1)]).await;
    let counts = (found.ready.len(), found.parked.len(), found.backlogs.len());
    assert!(matches!(counts, (1, 0, 0) | (0, 1, 1)), "{found:?}");
    let repeated = queue.settle(HOME, owner, &settlement).await.expect("repeat");
    assert_eq!(repeated == Settled::Done, counts.0 == 1);
    let found = snapshot(&*queue, &[sink(1)]).await;
    assert_eq!((found.ready.len(), found.parked.len(), found.backlogs.len()), (0, 1, 1));
}
