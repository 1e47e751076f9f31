//! What outlives an owner that died, and what is done with chunks that nobody survives.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::join_all;
use millrace_domain::Partition;
use uuid::Uuid;

use super::{
    Fixture, Store,
    given::{
        HOME, LONG, append, owner, park, parked, parking, quarantined, settling, sink, standing,
        state, successor, token, until,
    },
};
use crate::{Class, Error, Ownership, Park, ParkedId, Place, Queue, Settled, Settlement, Token};

/// A lease that ends soon after its owner did.
const SHORT: Duration = Duration::from_millis(100);

/// Runs the cases about takeovers and the quarantine.
pub async fn recovery(fixture: &dyn Fixture) {
    an_owner_that_did_not_release_is_remembered(&*fixture.fresh().await.open().await).await;
    who_takes_again_what_it_lost_itself_has_not_died(&*fixture.fresh().await.open().await).await;
    a_death_outlives_the_process(&*fixture.fresh().await).await;
    notes_stay_until_their_chunk_is_settled(&*fixture.fresh().await.open().await).await;
    a_stale_token_notes_nothing(&*fixture.fresh().await.open().await).await;
    a_parked_chunk_is_quarantined_whole(&*fixture.fresh().await.open().await).await;
    what_is_redriven_is_accepted_anew_once(fixture.fresh().await.open().await).await;
    what_is_discarded_is_gone(&*fixture.fresh().await.open().await).await;
}

async fn an_owner_that_did_not_release_is_remembered(queue: &dyn Queue) {
    let first = owner(queue).await;
    let last = append(queue, "a").await;
    let found = queue.inherit(HOME).await.expect("inherit");
    assert_eq!((found.unclean, found.last), (false, Some(last)), "nobody was before");
    queue.acquire(&[HOME], first, SHORT).await.expect("repeat");
    let second = successor(queue).await;
    assert!(queue.inherit(HOME).await.expect("inherit").unclean, "it did not release");
    queue.release(&[HOME], second).await.expect("release");
    let third = owner(queue).await;
    assert!(queue.inherit(HOME).await.expect("inherit").unclean, "nobody was trusted yet");
    let trusted = Settlement { trusted: true, ..Settlement::default() };
    for _ in 0..2 {
        assert_eq!(queue.settle(HOME, third, &trusted).await.expect("settle"), Settled::Done);
    }
    assert!(!queue.inherit(HOME).await.expect("inherit").unclean);
    queue.release(&[HOME], third).await.expect("release");
    owner(queue).await;
    assert!(!queue.inherit(HOME).await.expect("inherit").unclean, "it released");
    assert!(!queue.inherit(Partition(2)).await.expect("inherit").unclean);
}

async fn who_takes_again_what_it_lost_itself_has_not_died(queue: &dyn Queue) {
    let (_, process) = token().0.as_u64_pair();
    for number in 1..=2 {
        let token = Token(Uuid::from_u64_pair(number, process));
        until("the lease ends", || async {
            queue.acquire(&[HOME], token, SHORT).await.expect("acquire") == [Ownership::Held]
        })
        .await;
        assert!(!queue.inherit(HOME).await.expect("inherit").unclean, "token {number}");
    }
    successor(queue).await;
    assert!(queue.inherit(HOME).await.expect("inherit").unclean, "another process came");
}

async fn a_death_outlives_the_process(store: &dyn Store) {
    let queue = store.open().await;
    let dead = token();
    queue.acquire(&[HOME], dead, SHORT).await.expect("acquire");
    let place = Place::Ready(append(&*queue, "a").await);
    queue.note(HOME, dead, &[(place, 2)]).await.expect("note");
    drop(queue);
    if !store.is_durable() {
        return;
    }
    let queue = store.open().await;
    successor(&*queue).await;
    let found = queue.inherit(HOME).await.expect("inherit");
    assert_eq!((found.unclean, found.notes), (true, vec![(place, 2)]));
}

async fn notes_stay_until_their_chunk_is_settled(queue: &dyn Queue) {
    let owner = owner(queue).await;
    let (a, b) = (append(queue, "a").await, append(queue, "b").await);
    let waits = park(sink(1), Class::Delayed, 1, "p");
    let places = [Place::Ready(a), Place::Ready(b), place_of(&waits)];
    let notes = places.map(|place| (place, 1));
    queue.note(HOME, owner, &notes).await.expect("note");
    queue.note(HOME, owner, &notes).await.expect("repeat");
    queue.note(HOME, owner, &[(places[1], 2)]).await.expect("note more");
    queue.note(HOME, owner, &[]).await.expect("note nothing");
    let mut found = queue.inherit(HOME).await.expect("inherit").notes;
    found.sort_unstable();
    assert_eq!(found, [(places[0], 1), (places[1], 2), (places[2], 1)]);
    let settlement = Settlement { acquitted: vec![places[0], places[2]], ..settling([a]) };
    for expected in [Settled::Done, Settled::Already] {
        assert_eq!(queue.settle(HOME, owner, &settlement).await.expect("settle"), expected);
        let notes = queue.inherit(HOME).await.expect("inherit").notes;
        assert_eq!(notes, [(places[1], 2)], "the others' stay");
    }
    assert!(queue.inherit(Partition(2)).await.expect("inherit").notes.is_empty());
}

async fn a_stale_token_notes_nothing(queue: &dyn Queue) {
    let owner = owner(queue).await;
    let place = Place::Ready(append(queue, "a").await);
    queue.release(&[HOME], owner).await.expect("release");
    for stale in [owner, token()] {
        let noted = queue.note(HOME, stale, &[(place, 1)]).await;
        assert!(matches!(noted, Err(Error::Stale)), "{noted:?}");
    }
    assert!(queue.inherit(HOME).await.expect("inherit").notes.is_empty());
}

async fn a_parked_chunk_is_quarantined_whole(queue: &dyn Queue) {
    let owner = owner(queue).await;
    let waits = park(sink(1), Class::Backlog, 1, "the parked text");
    let settlement =
        Settlement { backlogs: vec![(sink(1), Some(state(1)))], ..parking([waits.clone()]) };
    queue.settle(HOME, owner, &settlement).await.expect("park");
    let never_parked = Place::Parked(sink(1), Class::Backlog, ParkedId(Uuid::now_v7()));
    let settlement = Settlement {
        quarantined: vec![
            (place_of(&waits), "nobody survives it".into()),
            (never_parked, "is not there".into()),
        ],
        ..Settlement::default()
    };
    let text = Bytes::from_static(b"the parked text");
    for expected in [Settled::Done, Settled::Already] {
        assert_eq!(queue.settle(HOME, owner, &settlement).await.expect("settle"), expected);
        let found = quarantined(queue, HOME).await;
        assert_eq!(found, [(place_of(&waits), "nobody survives it".into(), text.clone())]);
    }
    assert!(parked(queue, sink(1), Class::Backlog).await.is_empty());
    assert!(queue.backlogs(HOME).await.expect("backlogs").is_empty(), "the last of the sink");
    assert_eq!(queue.redrive(HOME, &[place_of(&waits)]).await.expect("redrive"), 1);
    let chunks: Vec<_> = standing(queue, HOME).await.into_iter().map(|e| e.chunk).collect();
    assert_eq!(chunks, [text], "as it was before it was parked");
}

async fn what_is_redriven_is_accepted_anew_once(queue: Arc<dyn Queue>) {
    let owner = owner(&*queue).await;
    let places = quarantine(&*queue, owner, &["a", "b", "c"]).await;
    let last = append(&*queue, "last").await;
    let some = [places[1], places[0]];
    let (wait, after) = (Duration::from_secs(10), [(HOME, last)]);
    let (redriven, woken) = tokio::join!(
        join_all((0..5).map(|_| queue.redrive(HOME, &some))),
        queue.read(&after, wait)
    );
    let moved: u64 = redriven.into_iter().map(|moved| moved.expect("redrive")).sum();
    assert_eq!(moved, 2, "each once, whoever asks");
    assert!(!woken.expect("read").is_empty(), "who waits is woken");
    let ready = standing(&*queue, HOME).await;
    let chunks: Vec<_> = ready.iter().map(|entry| entry.chunk.clone()).collect();
    assert_eq!(chunks, ["last", "b", "a"], "at the end, in the order given");
    assert!(ready[1].id > last);
    let left = quarantined(&*queue, HOME).await;
    assert_eq!(left, [(places[2], "a reason".into(), Bytes::from_static(b"c"))]);
    assert_eq!(queue.redrive(HOME, &[]).await.expect("redrive nothing"), 0);
    assert_eq!(queue.redrive(Partition(2), &places).await.expect("elsewhere"), 0);
}

async fn what_is_discarded_is_gone(queue: &dyn Queue) {
    let owner = owner(queue).await;
    let places = quarantine(queue, owner, &["a", "b"]).await;
    assert_eq!(queue.discard(HOME, &[]).await.expect("discard nothing"), 0);
    assert_eq!(queue.discard(Partition(2), &places).await.expect("elsewhere"), 0);
    assert_eq!(queue.discard(HOME, &places[..1]).await.expect("discard"), 1);
    assert_eq!(queue.discard(HOME, &places[..1]).await.expect("repeat"), 0);
    assert_eq!(quarantined(queue, HOME).await.len(), 1);
    let gone = queue.quarantined_chunk(HOME, places[0]).await.expect("show");
    assert_eq!((gone, standing(queue, HOME).await.len()), (None, 0));
    queue.release(&[HOME], owner).await.expect("release");
    queue.acquire(&[HOME], token(), LONG).await.expect("acquire");
    assert_eq!(queue.discard(HOME, &places).await.expect("by no owner"), 1);
}

/// Puts chunks into quarantine; tells where they are there.
async fn quarantine(queue: &dyn Queue, owner: Token, texts: &[&str]) -> Vec<Place> {
    let mut places = Vec::new();
    for text in texts {
        places.push(Place::Ready(append(queue, text).await));
    }
    let quarantined = places.iter().map(|place| (*place, "a reason".to_owned())).collect();
    let settlement = Settlement { quarantined, ..Settlement::default() };
    assert_eq!(queue.settle(HOME, owner, &settlement).await.expect("settle"), Settled::Done);
    places
}

fn place_of(park: &Park) -> Place {
    Place::Parked(park.sink, park.class, park.id)
}
