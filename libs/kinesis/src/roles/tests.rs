//! The sessions of roles, in paused time, against an STS that is told what to answer.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicUsize, Ordering},
};

use futures::future::join_all;
use tokio::time::{advance, sleep};

use super::*;

const HOUR: Duration = Duration::from_secs(3_600);

/// Takes a second for each answer; grants an hour unless it is told to refuse.
#[derive(Default)]
struct Scripted {
    calls: AtomicUsize,
    open: AtomicUsize,
    refusals: Mutex<VecDeque<Refused>>,
}

#[async_trait]
impl Assume for Scripted {
    async fn assume(&self, _: &Role, _: &Asked) -> Result<Grant, Refused> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        assert_eq!(self.open.fetch_add(1, Ordering::SeqCst), 0, "one at a time");
        sleep(Duration::from_secs(1)).await;
        self.open.fetch_sub(1, Ordering::SeqCst);
        let refusal = self.refusals.lock().expect("not poisoned").pop_front();
        let credentials = Credentials::new(format!("AKIA{call}"), "s", None, None, "test");
        refusal.map_or(Ok(Grant { credentials, lasts: HOUR }), Err)
    }
}

fn role(number: usize) -> Role {
    Role {
        arn: format!("arn:aws:iam::123456789012:role/r{number}"),
        external_id: Secret::new("external"),
        partition: AwsPartition::Commercial,
    }
}

fn asked() -> Asked {
    Asked { session_name: "millrace-test".to_owned(), now_seconds: 0 }
}

fn refusing(refusals: impl IntoIterator<Item = u64>) -> Roles<Scripted> {
    let refused = |seconds| Refused {
        reason: Reason::AssumeRole,
        detail: "no".to_owned(),
        keep: Duration::from_secs(seconds),
    };
    let refusals = Mutex::new(refusals.into_iter().map(refused).collect());
    Roles::new(Scripted { refusals, ..Scripted::default() })
}

fn calls(roles: &Roles<Scripted>) -> usize {
    roles.assume.calls.load(Ordering::SeqCst)
}

#[tokio::test(start_paused = true)]
async fn a_hundred_sinks_of_one_role_make_one_call() {
    let (roles, role, asked) = (refusing([]), role(1), asked());
    let sessions = join_all((0..100).map(|_| roles.session(&role, &asked))).await;
    let first = sessions[0].as_ref().expect("granted");
    assert!(sessions.iter().flatten().all(|session| Arc::ptr_eq(session, first)));
    assert_eq!((sessions.len(), calls(&roles)), (100, 1));
    let other = Role { external_id: Secret::new("another"), ..role };
    roles.session(&other, &asked).await.expect("granted");
    assert_eq!(calls(&roles), 2, "another external id is another role");
}

#[tokio::test(start_paused = true)]
async fn a_session_is_renewed_before_it_ends_while_others_go_on_with_it() {
    let (roles, role, asked) = (refusing([]), role(1), asked());
    let first = roles.session(&role, &asked).await.expect("granted");
    advance(HOUR - RENEW_BEFORE - Duration::from_secs(2)).await;
    assert!(Arc::ptr_eq(&first, &roles.session(&role, &asked).await.expect("held")));
    assert_eq!(calls(&roles), 1);
    advance(Duration::from_secs(2)).await;
    let sessions = join_all((0..10).map(|_| roles.session(&role, &asked))).await;
    let same = |session: &Arc<Session>| Arc::ptr_eq(session, &first);
    assert_eq!(sessions.iter().flatten().filter(|session| same(session)).count(), 9);
    assert_eq!(calls(&roles), 2);
    assert!(!same(&roles.session(&role, &asked).await.expect("renewed")));
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_fails_costs_nothing_until_the_session_ends() {
    let (roles, role, asked) = (refusing([]), role(1), asked());
    roles.session(&role, &asked).await.expect("granted");
    let no = Refused {
        reason: Reason::AssumeRole,
        detail: String::new(),
        keep: Duration::from_secs(100),
    };
    roles.assume.refusals.lock().expect("not poisoned").push_back(no);
    advance(HOUR - RENEW_BEFORE).await;
    for _ in 0..10 {
        roles.session(&role, &asked).await.expect("the old one serves");
    }
    assert_eq!(calls(&roles), 2, "a refusal holds");
    advance(Duration::from_secs(101)).await;
    roles.session(&role, &asked).await.expect("renewed");
    assert_eq!(calls(&roles), 3);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_kept_for_a_while_and_somebody_who_mended_it_need_not_wait() {
    let (roles, role, asked) = (refusing([15, 15]), role(1), asked());
    let waiting = join_all((0..100).map(|_| roles.session(&role, &asked))).await;
    assert!(waiting.iter().all(|answer| answer.as_ref().is_err_and(|no| no.detail == "no")));
    assert_eq!(calls(&roles), 1, "those that wait for it have the same answer");
    advance(Duration::from_secs(14)).await;
    roles.session(&role, &asked).await.expect_err("refused");
    assert_eq!(calls(&roles), 1);
    advance(Duration::from_secs(2)).await;
    roles.session(&role, &asked).await.expect_err("refused again");
    assert_eq!(calls(&roles), 2);
    roles.ask_anew(&role, &asked).await.expect("mended");
    roles.session(&role, &asked).await.expect("known to all");
    assert_eq!(calls(&roles), 3);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_abandoned_is_made_by_the_next() {
    let (roles, role, asked) = (refusing([]), role(1), asked());
    let abandoned = tokio::time::timeout(Duration::from_millis(500), roles.session(&role, &asked));
    assert!(abandoned.await.is_err());
    roles.assume.open.store(0, Ordering::SeqCst);
    roles.session(&role, &asked).await.expect("granted");
    assert_eq!(calls(&roles), 2);
}

#[tokio::test(start_paused = true)]
async fn only_the_session_that_was_refused_is_forgotten() {
    let (roles, role, asked) = (refusing([]), role(1), asked());
    let first = roles.session(&role, &asked).await.expect("granted");
    roles.forget(&role, &first);
    let second = roles.session(&role, &asked).await.expect("granted");
    roles.forget(&role, &first);
    assert!(Arc::ptr_eq(&second, &roles.session(&role, &asked).await.expect("held")));
    assert_eq!(calls(&roles), 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_remembered_is_bounded_and_the_least_used_goes() {
    let mut roles = refusing([]);
    roles.most = 3;
    for number in 0..3 {
        roles.session(&role(number), &asked()).await.expect("granted");
    }
    roles.session(&role(0), &asked()).await.expect("held");
    roles.session(&role(3), &asked()).await.expect("granted");
    assert_eq!((roles.known.lock().expect("not poisoned").len(), calls(&roles)), (3, 4));
    roles.session(&role(0), &asked()).await.expect("held");
    assert_eq!(calls(&roles), 4, "it was used of late");
    advance(HOUR * 2).await;
    roles.session(&role(9), &asked()).await.expect("granted");
    assert_eq!(roles.known.lock().expect("not poisoned").len(), 1, "what has ended goes first");
}
