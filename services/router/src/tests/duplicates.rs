//! Events that are left out since they are known.

use millrace_queue::Error;

use super::*;

fn ids(ids: &[&str]) -> Vec<Event> {
    ids.iter().map(|id| paid(id)).collect()
}

#[tokio::test]
async fn what_was_accepted_is_left_out_and_told_so() {
    let router = Fixture::start().await;
    assert_eq!(router.publish_once(ids(&["1", "2"])).await, ["accepted", "accepted"]);
    let again = ids(&["2", "3", "1", "3", ""]);
    let expected = ["duplicate", "accepted", "duplicate", "duplicate", "accepted"];
    assert_eq!(router.publish_once(again).await, expected);
    let mut found = router.queue.ids().await.concat();
    found.retain(|id| !id.starts_with("EZ"));
    assert_eq!(found, ["1", "2", "3"]);
}

#[tokio::test]
async fn who_does_not_ask_gets_and_leaves_no_marks() {
    let router = Fixture::start().await;
    for _ in 0..2 {
        let results = router.publish(&own(), &[], ids(&["1"])).await.expect("published");
        assert_eq!(results.into_iter().map(word).collect::<Vec<_>>(), ["accepted"]);
    }
    assert_eq!(router.publish_once(ids(&["1"])).await, ["accepted"]);
    assert_eq!(router.publish(&own(), &[], ids(&["1"])).await.expect("published").len(), 1);
    assert_eq!(router.queue.ids().await.concat(), ["1", "1", "1", "1"]);
}

#[tokio::test]
async fn an_id_is_an_accounts_own() {
    let router = Fixture::start().await;
    let events = [ACCOUNT, OTHER, ACCOUNT]
        .map(|account| Event { account_sid: account.to_string(), ..paid("1") });
    let mut request = Request::new(PublishRequest { events: events.into(), deduplicate: true });
    request.metadata_mut().insert("authorization", "Bearer platform".parse().expect("a value"));
    let results = router.grpc().publish(request).await.expect("answered").into_inner().results;
    let words: Vec<_> = results.into_iter().map(word).collect();
    assert_eq!(words, ["accepted", "accepted", "duplicate"]);
}

#[tokio::test]
async fn of_concurrent_publishes_one_is_accepted() {
    let router = Fixture::start().await;
    let publishes = (0..20).map(|_| router.publish_once(ids(&["1", "1"])));
    let words = futures::future::join_all(publishes).await.concat();
    assert_eq!(words.iter().filter(|word| **word == "accepted").count(), 1, "{words:?}");
    assert_eq!(words.iter().filter(|word| **word == "duplicate").count(), 39, "{words:?}");
    assert_eq!(router.queue.ids().await, [["1"]]);
}

#[tokio::test]
async fn what_was_not_kept_is_not_known() {
    let queue = Fickle::open(8).await.then([Some(Error::Full), Some(no_answer())]);
    let router = Fixture::on(queue, Watch::fixed(fixture::configuration()), |_| {}).await;
    assert_eq!(router.publish_once(ids(&["1", "1"])).await, ["exhausted", "exhausted"]);
    assert_eq!(router.publish_once(ids(&["1"])).await, ["unavailable"]);
    assert_eq!(router.publish_once(ids(&["1"])).await, ["accepted"]);
}

#[tokio::test]
async fn a_publish_whose_answer_was_lost_is_accepted_once() {
    let queue = Fickle::open(8).await.losing_an_answer();
    let router = Fixture::on(queue, Watch::fixed(fixture::configuration()), |_| {}).await;
    assert_eq!(router.publish_once(ids(&["1", "2"])).await, ["unavailable", "unavailable"]);
    assert_eq!(router.publish_once(ids(&["1", "2"])).await, ["duplicate", "duplicate"]);
    assert_eq!(router.queue.ids().await, [["1", "2"]]);
}

#[tokio::test]
async fn many_of_them_are_many_chunks() {
    let router = Fixture::start().await;
    let events: Vec<_> = (0..2_500).map(|n| paid(&n.to_string())).collect();
    assert!(router.publish_once(events.clone()).await.iter().all(|word| *word == "accepted"));
    assert!(router.publish_once(events).await.iter().all(|word| *word == "duplicate"));
    let sizes: Vec<usize> = router.queue.ids().await.iter().map(Vec::len).collect();
    assert_eq!(sizes, [1_000, 1_000, 500]);
}

#[tokio::test]
async fn over_http_the_query_asks_for_it() {
    let router = Fixture::start().await;
    let body = event("com.example.paid", "1", "{}");
    for status in ["accepted", "duplicate"] {
        let answer = router.post_to("/v1/Events?x=y&deduplicate=true", &body).await;
        assert_eq!((answer.status, &answer.body["results"][0]["status"]), (202, &json!(status)));
        assert_eq!(answer.body["results"][0]["id"], "1");
    }
    let answer = router.post_to("/v1/Events?deduplicate=false", &body).await;
    assert_eq!(answer.body["results"][0]["status"], "accepted");
    for wrong in ["deduplicate", "deduplicate=1", "deduplicate=true&deduplicate=true"] {
        let answer = router.post_to(&format!("/v1/Events?{wrong}"), &body).await;
        assert_eq!((answer.status, &answer.body["field"]), (400, &json!("deduplicate")), "{wrong}");
    }
}
