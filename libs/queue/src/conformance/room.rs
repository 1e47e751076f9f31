//! How much room there is, and who has taken their share.

use std::time::Duration;

use bytes::Bytes;
use millrace_domain::AccountSid;

use super::{
    Fixture,
    given::{HOME, LONG, until},
};
use crate::Queue;

/// Runs the cases about room.
pub async fn room(fixture: &dyn Fixture) {
    what_is_kept_takes_room(&*fixture.fresh().await.open().await).await;
    full_accounts_are_listed_until_that_runs_out(&*fixture.fresh().await.open().await).await;
}

async fn what_is_kept_takes_room(queue: &dyn Queue) {
    const CHUNK: usize = 256 * 1024;
    for _ in 0..8 {
        // What no compression makes smaller.
        let noise: Bytes = std::iter::repeat_with(|| fastrand::u8(..)).take(CHUNK).collect();
        queue.append(HOME, noise).await.expect("append");
    }
    let pressure = queue.pressure().await.expect("pressure");
    assert!(pressure.used_bytes > 8 * CHUNK as u64, "{pressure:?}");
}

async fn full_accounts_are_listed_until_that_runs_out(queue: &dyn Queue) {
    let [a, b, c] = [1, 2, 3].map(AccountSid::from_u128);
    let full = || async {
        let mut full = queue.full_accounts().await.expect("full accounts");
        full.sort();
        full
    };
    assert!(full().await.is_empty());
    queue.set_full(&[], LONG).await.expect("nobody");
    queue.set_full(&[b, a], LONG).await.expect("set");
    queue.set_full(&[a], LONG).await.expect("set again");
    queue.set_full(&[c], Duration::from_millis(300)).await.expect("set");
    assert!(full().await.starts_with(&[a, b]));
    until("the shorter one runs out", || async { full().await == [a, b] }).await;
    let short = Duration::from_millis(100);
    queue.set_full(&[a, b, c], short).await.expect("set");
    until("all run out", || async { full().await.is_empty() }).await;
}
