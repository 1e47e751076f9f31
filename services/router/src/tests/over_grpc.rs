//! `millrace.v1.PublishService`.

use millrace_queue::Error;

use super::*;

/// Stands for an event that was left out.
const DUPLICATE: u32 = u32::MAX;

fn codes(results: &[PublishResult]) -> Vec<Result<u32, (RejectionCode, String)>> {
    let code = |result: &PublishResult| match result.outcome.clone().expect("an outcome") {
        Outcome::Accepted(accepted) => Ok(accepted.sinks),
        Outcome::Duplicate(_) => Ok(DUPLICATE),
        Outcome::Rejected(rejected) => Err((rejected.code(), rejected.field)),
    };
    results.iter().map(code).collect()
}

#[tokio::test]
async fn each_event_has_its_own_result_in_order() {
    let router = Fixture::start().await;
    let events = vec![
        paid("1"),
        Event { source: String::new(), ..paid("2") },
        Event { r#type: "com.example.ended".to_owned(), ..paid("3") },
        Event { account_sid: OTHER.to_string(), ..paid("4") },
        paid(""),
    ];
    let results =
        router.publish(&own(), &[("traceparent", TRACE)], events).await.expect("published");
    let refused = |code, field: &str| Err((code, field.to_owned()));
    assert_eq!(
        codes(&results),
        [
            Ok(4),
            refused(RejectionCode::InvalidArgument, "source"),
            refused(RejectionCode::InvalidArgument, "type"),
            refused(RejectionCode::PermissionDenied, "account_sid"),
            Ok(4),
        ]
    );
    let ids: Vec<&str> = results.iter().map(|result| result.id.as_str()).collect();
    assert_eq!(ids[..4], ["1", "2", "3", "4"]);
    assert!(ids[4].starts_with("EZ") && ids[4].len() == 34);
    let (_, chunk) = router.queue.chunks().await.remove(0);
    assert_eq!(chunk.config_seq, VERSION.seq);
    assert_eq!(chunk.events.len(), 2);
    assert_eq!((&*chunk.events[1].id, &*chunk.events[1].traceparent), (ids[4], TRACE));
}

#[tokio::test]
async fn a_platform_publishes_for_many_accounts_at_once() {
    let router = Fixture::start().await;
    let of = |sid: String, id| Event { account_sid: sid, ..paid(id) };
    let events = vec![
        of(ACCOUNT.to_string(), "1"),
        of(OTHER.to_string(), "2"),
        paid("3"),
        of(OTHER.to_string(), "4"),
    ];
    let results = router.publish("Bearer platform", &[], events).await.expect("published");
    let account = (RejectionCode::InvalidArgument, "account_sid".to_owned());
    assert_eq!(codes(&results), [Ok(4), Ok(1), Err(account), Ok(1)]);
    let mut ids = router.queue.ids().await;
    ids.sort();
    assert_eq!(ids, [vec!["1"], vec!["2", "4"]], "a chunk for each home");
}

#[tokio::test]
async fn credentials_are_looked_at_before_the_message() {
    let router = Fixture::start().await;
    // More than is decoded.
    let large = vec![Event { data: "x".repeat(100_000), ..paid("1") }; 60];
    let refused = router.publish("Bearer other", &[], large.clone()).await.expect_err("unknown");
    assert_eq!(refused.code(), Code::Unauthenticated);
    let refused = router.publish(&own(), &[], large).await.expect_err("too large");
    assert_eq!(refused.code(), Code::OutOfRange);
}

#[tokio::test]
async fn a_publish_over_the_limits_is_refused_by_field() {
    let router = Fixture::start().await;
    let large = Event { data: "x".repeat(100_000), ..paid("1") };
    for events in [vec![Event::default(); 10_001], vec![large; 43]] {
        let refused = router.publish(&own(), &[], events).await.expect_err("too large");
        assert_eq!(refused.code(), Code::InvalidArgument);
        let details = refused.get_error_details();
        let violations = &details.bad_request().expect("details").field_violations;
        assert_eq!(violations[0].field, "events");
    }
    assert!(router.publish(&own(), &[], Vec::new()).await.expect("nothing to do").is_empty());
}

#[tokio::test]
async fn what_the_queue_does_not_take_is_not_accepted() {
    let queue = Fickle::open(8).await.then([Some(Error::Full), Some(no_answer())]);
    let router = Fixture::on(queue, Watch::fixed(fixture::configuration()), |_| {}).await;
    let unwatched = || Event { r#type: "com.example.unwatched".to_owned(), ..paid("2") };
    for code in [RejectionCode::ResourceExhausted, RejectionCode::Unavailable] {
        let events = vec![paid("1"), unwatched()];
        let results = router.publish(&own(), &[], events).await.expect("answered");
        assert_eq!(codes(&results), [Err((code, String::new())), Ok(0)]);
    }
}
