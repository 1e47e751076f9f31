//! Places for checks of events by their schemas: each reads and compiles a document, and so takes memory and a thread for a while.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use millrace_domain::AccountSid;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Places of all.
const PLACES: usize = 2;

/// Who waits for a place, and who has one. An account has one at a time, and waits in the line of all with one request: however often it
/// asks, others wait no longer.
#[derive(Clone, Debug)]
pub(crate) struct Checks {
    all: Arc<Semaphore>,
    own: Arc<Mutex<HashMap<AccountSid, Arc<Semaphore>>>>,
}

/// A place, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    /// The place, and then the account's turn.
    _permits: [Option<OwnedSemaphorePermit>; 2],
}

impl Default for Checks {
    fn default() -> Self {
        Self { all: Arc::new(Semaphore::new(PLACES)), own: Arc::default() }
    }
}

impl Checks {
    /// Waits for a place for `account`.
    pub(super) async fn place(&self, account: AccountSid) -> Place {
        let turn = self.turn(account);
        // Never closed, so these only wait.
        let turn = turn.acquire_owned().await.ok();
        let place = Arc::clone(&self.all).acquire_owned().await.ok();
        Place { _permits: [place, turn] }
    }

    fn turn(&self, account: AccountSid) -> Arc<Semaphore> {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        // Who has or waits for one has a share of it.
        own.retain(|_, turn| Arc::strong_count(turn) > 1);
        Arc::clone(own.entry(account).or_insert_with(|| Arc::new(Semaphore::new(1))))
    }
}

#[cfg(test)]
mod tests {
    use std::{future::Future, pin::Pin};

    use futures::poll;

    use super::*;

    type Waiting<'a> = Pin<Box<dyn Future<Output = Place> + 'a>>;

    async fn is_there(waiting: &mut Waiting<'_>) -> Option<Place> {
        match poll!(waiting.as_mut()) {
            std::task::Poll::Ready(place) => Some(place),
            std::task::Poll::Pending => None,
        }
    }

    #[tokio::test]
    async fn an_account_that_asks_often_keeps_no_other_waiting() {
        let checks = Checks::default();
        let [greedy, second, third] = [1, 2, 3].map(AccountSid::from_u128);
        let first = checks.place(greedy).await;
        let mut others: Vec<Waiting<'_>> =
            (0..50).map(|_| Box::pin(checks.place(greedy)) as Waiting<'_>).collect();
        for other in &mut others {
            assert!(is_there(other).await.is_none(), "one at a time");
        }
        let beside = checks.place(second).await;
        let mut next: Waiting<'_> = Box::pin(checks.place(third));
        assert!(is_there(&mut next).await.is_none(), "both places are taken");
        drop(first);
        assert!(is_there(&mut others[0]).await.is_none(), "its turn, but behind who came before");
        let third = is_there(&mut next).await.expect("a place");
        drop(beside);
        let again = is_there(&mut others[0]).await.expect("a place");
        assert!(is_there(&mut others[1]).await.is_none());
        drop((third, again, others));
        drop(checks.place(second).await);
        assert!(checks.own.lock().expect("not poisoned").len() <= 1, "nobody is remembered");
    }
}
