//! Members and leases.

use std::{slice::from_ref, sync::Arc, time::Duration};

use futures::future::join_all;
use millrace_domain::Partition;

use super::{
    Fixture,
    given::{HOME, LONG, all, append, owner, settling, snapshot, successor, token, until},
};
use crate::{Error, Member, Ownership, Queue, Settled};

/// Runs the cases about who lives and who owns.
pub async fn owners(fixture: &dyn Fixture) {
    one_of_many_gets_the_lease(fixture.fresh().await.open().await).await;
    what_a_token_does_not_hold_is_left_alone(&*fixture.fresh().await.open().await).await;
    a_lease_ends_and_its_token_has_lost(&*fixture.fresh().await.open().await).await;
    a_renewed_lease_lasts(&*fixture.fresh().await.open().await).await;
    members_are_listed_until_they_are_gone(&*fixture.fresh().await.open().await).await;
    owners_are_found_while_they_own(&*fixture.fresh().await.open().await).await;
}

async fn one_of_many_gets_the_lease(queue: Arc<dyn Queue>) {
    let acquire = || async {
        let held = queue.acquire(&all(), token(), LONG).await.expect("acquire");
        held.into_iter().filter(|ownership| *ownership == Ownership::Held).count()
    };
    let held: usize = join_all((0..20).map(|_| acquire())).await.into_iter().sum();
    assert_eq!(held, all().len(), "each partition has one owner");
}

async fn what_a_token_does_not_hold_is_left_alone(queue: &dyn Queue) {
    let (holder, other) = (owner(queue).await, token());
    assert_eq!(queue.acquire(&[], other, LONG).await.expect("acquire"), []);
    let pair = [Partition(0), HOME];
    let held = queue.acquire(&pair, other, LONG).await.expect("acquire");
    assert_eq!(held, [Ownership::Held, Ownership::Lost], "in the order asked");
    assert_eq!(queue.acquire(&pair, other, LONG).await.expect("repeat"), held);
    assert_eq!(queue.renew(&pair, other, LONG).await.expect("renew").0, held);
    queue.release(&pair, other).await.expect("release");
    queue.release(&pair, other).await.expect("repeat");
    let (renewed, _) = queue.renew(&pair, holder, LONG).await.expect("renew");
    assert_eq!(renewed, [Ownership::Lost, Ownership::Held], "nobody has one, the holder the other");
    queue.release(&[HOME], holder).await.expect("release");
    let taken = queue.acquire(&pair, other, LONG).await.expect("acquire");
    assert_eq!(taken, [Ownership::Held; 2], "what was released is free at once");
}

async fn a_lease_ends_and_its_token_has_lost(queue: &dyn Queue) {
    let id = append(queue, "a").await;
    let old = token();
    queue.acquire(&[HOME], old, Duration::from_millis(50)).await.expect("acquire");
    let new = successor(queue).await;
    let before = snapshot(queue, &[]).await;
    assert_eq!(queue.renew(&[HOME], old, LONG).await.expect("renew").0, [Ownership::Lost]);
    assert_eq!(queue.acquire(&[HOME], old, LONG).await.expect("acquire"), [Ownership::Lost]);
    queue.release(&[HOME], old).await.expect("release");
    let settled = queue.settle(HOME, old, &settling([id])).await;
    assert!(matches!(settled, Err(Error::Stale)), "{settled:?}");
    assert_eq!(snapshot(queue, &[]).await, before);
    let settled = queue.settle(HOME, new, &settling([id])).await.expect("settle");
    assert_eq!(settled, Settled::Done, "the new owner still owns");
}

async fn a_renewed_lease_lasts(queue: &dyn Queue) {
    let holder = token();
    queue.acquire(&[HOME], holder, Duration::from_millis(400)).await.expect("acquire");
    let (held, told) = queue.renew(&[HOME], holder, LONG).await.expect("renew");
    assert_eq!(held, [Ownership::Held]);
    assert!(told <= queue.now().await.expect("now"), "renewing tells the time");
    until("the first lease is over", || async {
        queue.now().await.expect("now").since(told) > Duration::from_millis(500)
    })
    .await;
    assert_eq!(queue.acquire(&[HOME], token(), LONG).await.expect("acquire"), [Ownership::Lost]);
    let (none, _) = queue.renew(&[], holder, LONG).await.expect("renew nothing");
    assert_eq!(none, [], "an idle deliverer still asks for the time");
}

async fn members_are_listed_until_they_are_gone(queue: &dyn Queue) {
    let member = |id: &str, address: &str| Member { id: id.into(), address: address.into() };
    let (a, b) = (member("a", "10.0.0.1:8082"), member("b", "[::1]:8082"));
    assert_eq!(queue.announce(&b, LONG).await.expect("announce"), from_ref(&b));
    let both = [a.clone(), b.clone()];
    assert_eq!(queue.announce(&a, LONG).await.expect("announce"), both, "by id");
    assert_eq!(queue.announce(&a, LONG).await.expect("repeat"), both);
    queue.withdraw("b").await.expect("withdraw");
    queue.withdraw("b").await.expect("repeat");
    assert_eq!(queue.announce(&a, LONG).await.expect("announce"), from_ref(&a));
    let moved = member("a", "10.0.0.2:8082");
    assert_eq!(queue.announce(&moved, LONG).await.expect("announce"), from_ref(&moved));
    queue.announce(&b, Duration::from_millis(50)).await.expect("announce");
    until("who is silent is gone", || async {
        queue.announce(&moved, LONG).await.expect("announce") == [moved.clone()]
    })
    .await;
}

async fn owners_are_found_while_they_own(queue: &dyn Queue) {
    let find = || async { queue.owner_of(HOME).await.expect("owner") };
    assert_eq!(find().await, None, "nobody owns it");
    let member = |address: &str| Member { id: "a".into(), address: address.into() };
    queue.announce(&member("[::1]:8082"), LONG).await.expect("announce");
    let holder = owner(queue).await;
    assert_eq!(find().await.as_deref(), Some("[::1]:8082"));
    queue.renew(&[HOME], holder, LONG).await.expect("renew");
    assert_eq!(find().await.as_deref(), Some("[::1]:8082"), "renewing keeps it");
    queue.release(&[HOME], token()).await.expect("release");
    assert!(find().await.is_some(), "another releases nothing");
    queue.release(&[HOME], holder).await.expect("release");
    assert_eq!(find().await, None, "it was released");
    queue.announce(&member("10.0.0.1:8082"), LONG).await.expect("announce");
    queue.acquire(&[HOME], token(), Duration::from_millis(50)).await.expect("acquire");
    until("its lease is over", || async { find().await.is_none() }).await;
    owner(queue).await;
    assert_eq!(find().await.as_deref(), Some("10.0.0.1:8082"));
}
