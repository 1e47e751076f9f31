//! A queue without room: for anybody, or for one account.

use millrace_queue::{Pressure, Queue as _};

use super::*;

const SOME: Duration = Duration::from_secs(60);

#[tokio::test]
async fn above_the_high_water_mark_all_publishes_are_told_to_come_back() {
    let router = Fixture::start().await;
    let body = event("com.example.paid", "1", "{}");
    let publish = || router.post("application/json", &body);
    assert_eq!(publish().await.status, 202);
    let says = |used_bytes| {
        let pressure = Pressure { used_bytes, max_bytes: Some(1_000) };
        *router.queue.pressure.lock().expect("not poisoned") = pressure;
    };
    says(751);
    let refused = eventually("publishes are refused", || async {
        Some(publish().await).filter(|answer| answer.status == 429)
    })
    .await;
    assert!(refused.head.contains("retry-after: 5"));
    assert_eq!(refused.body["code"], "resource_exhausted");
    let large = "x".repeat(3_000_000);
    let refused = router.post("application/json", &large).await;
    assert_eq!(refused.status, 429, "told to who sends much, too");
    let refused = router.publish(&own(), &[], vec![paid("1")]).await.expect_err("refused");
    assert_eq!(refused.code(), Code::ResourceExhausted);
    let retry = refused.get_error_details().retry_info().and_then(|info| info.retry_delay);
    assert_eq!(retry, Some(Duration::from_secs(5)));
    let nobody = router.publish("Bearer x", &[], vec![]).await.expect_err("refused");
    assert_eq!(nobody.code(), Code::Unauthenticated, "room is only told to who may publish");
    says(750);
    eventually("there is room again", || async { (publish().await.status == 202).then_some(()) })
        .await;
}

#[tokio::test]
async fn an_account_that_is_full_is_refused_alone() {
    let router = Fixture::start().await;
    let events =
        || [ACCOUNT, OTHER].map(|account| Event { account_sid: account.to_string(), ..paid("1") });
    let publish = || async {
        let results = router.publish("Bearer platform", &[], events().into()).await;
        results.expect("answered").into_iter().map(word).collect::<Vec<_>>()
    };
    assert_eq!(publish().await, ["accepted", "accepted"]);
    router.queue.set_full(&[ACCOUNT], SOME).await.expect("set");
    eventually("the account is refused", || async {
        (publish().await == ["exhausted", "accepted"]).then_some(())
    })
    .await;
    let answer = router.post("application/json", &event("com.example.paid", "1", "{}")).await;
    assert!(answer.status == 429 && answer.head.contains("retry-after: 1"));
    let result = &answer.body["results"][0];
    assert_eq!((&result["id"], &result["field"]), (&json!("1"), &json!("accountsid")));
    let message = result["message"].as_str().expect("a text");
    assert!(message.contains(&ACCOUNT.to_string()) && message.contains("sinks"), "{message}");
    let unwatched = event("com.example.unwatched", "1", "{}");
    assert_eq!(router.post("application/json", &unwatched).await.status, 202, "takes no room");
    router.queue.set_full(&[ACCOUNT], Duration::from_millis(1)).await.expect("set");
    eventually("it is taken again", || async {
        (publish().await == ["accepted", "accepted"]).then_some(())
    })
    .await;
}
