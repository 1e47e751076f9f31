//! Publishing and delivery go on without control-plane and without Postgres.

use std::time::Duration;

use millrace_testkit::{eventually, postgres, receiver::Receiver};
use millrace_tests::{
    Kind, Load, Mode, Options, Publisher, Stack, Verdict,
    arrivals::{exactly, ids},
    event, scaled,
};
use tokio::time::sleep;
use tonic::Code;

#[tokio::test]
async fn publishing_and_delivery_go_on_without_control_plane() {
    let mut stack = Stack::start(Mode::Servers, Options::default()).await;
    let receiver = Receiver::start().await;
    stack.subscribed(&receiver, "/all").await;
    stack.publish([event("before")]).await;
    stack.process(Kind::ControlPlane).terminate().await;

    stack.publish([event("1"), event("2")]).await;
    exactly(&receiver, "/all", &ids(["before", "1", "2"])).await;

    // A router that has no configuration yet says so, and claims nothing.
    let router = stack.servers().start_router();
    let authorization = stack.identity.basic();
    let publisher = Publisher::new(&stack.url(Kind::Router(router)), &authorization);
    let process = stack.process(Kind::Router(router));
    let unready = eventually("the router says that it has no configuration", || async {
        process.readiness().await.filter(|(_, missing)| missing.contains("configuration"))
    })
    .await;
    assert_eq!(unready.0, 503, "{unready:?}");
    let refused = eventually("the router answers", || async {
        let refused = publisher.publish(vec![event("no")]).await.expect_err("it is not ready");
        // As long as it does not listen, the connection fails, with the same code and another text.
        refused.message().contains("configuration").then_some(refused)
    })
    .await;
    assert_eq!(refused.code(), Code::Unavailable);
    let headers = [("content-type", "application/json")];
    assert_eq!(publisher.post(&headers, "[]").await.status, 503);

    stack.process(Kind::ControlPlane).restart().await;
    assert!(stack.process(Kind::Router(router)).ready().await);
    eventually("the router is in force", || async {
        publisher.publish(vec![event("3")]).await.ok()
    })
    .await;
    exactly(&receiver, "/all", &ids(["before", "1", "2", "3"])).await;
    // What changes now is in force as before.
    stack.subscribed(&receiver, "/later").await;
    stack.publish([event("4")]).await;
    exactly(&receiver, "/later", &ids(["4"])).await;
}

/// Killed and suspended, again and again: those who watch it go on with what they know.
#[tokio::test]
async fn a_control_plane_that_comes_and_goes_costs_nothing() {
    let mut stack = Stack::start(Mode::Servers, Options::default()).await;
    let receiver = Receiver::start().await;
    let accounts = stack.tenants(2, &receiver).await;
    let load = Load::start(stack.platform_publishers(), &accounts);
    for _ in 0..scaled(2, 10) {
        load.progress(60).await;
        stack.process(Kind::ControlPlane).kill();
        load.progress(scaled(60, 2_000)).await;
        stack.process(Kind::ControlPlane).restart().await;
        load.progress(60).await;
        stack.process(Kind::ControlPlane).suspend();
        load.progress(scaled(100, 2_000)).await;
        stack.process(Kind::ControlPlane).resume();
    }
    stack.subscribed(&receiver, "/later").await;
    stack.publish([event("later")]).await;
    exactly(&receiver, "/later", &ids(["later"])).await;
    let Verdict { published, duplicates, .. } = Verdict::of(&mut stack, load, &[&receiver]).await;
    assert_eq!((published.failures, duplicates), (0, 0));
    assert!(published.slowest < Duration::from_secs(5), "{:?}", published.slowest);
}

#[tokio::test]
async fn publishing_and_delivery_go_on_without_postgres() {
    let server = tokio::task::spawn_blocking(postgres::Server::start);
    let server = server.await.expect("no panic").expect("a PostgreSQL");
    let database = server.database().await.expect("a database");
    let options = Options { database: Some(database), ..Options::default() };
    let mut stack = Stack::start(Mode::Servers, options).await;
    let receiver = Receiver::start().await;
    let accounts = stack.tenants(2, &receiver).await;
    let load = Load::start(stack.platform_publishers(), &accounts);
    load.progress(60).await;
    server.stop().expect("it ran");
    load.progress(300).await;
    sleep(Duration::from_secs(scaled(0, 60))).await;
    let refused = stack.rest().get("/v1/Sinks").await;
    assert_eq!(refused.error().0, 503, "{refused:?}");
    assert_eq!(refused.error().1, 20503);
    server.start_again().expect("it starts again");
    eventually("resources are there again", || async {
        (stack.rest().get("/v1/Sinks").await.status == 200).then_some(())
    })
    .await;
    let Verdict { published, duplicates, .. } = Verdict::of(&mut stack, load, &[&receiver]).await;
    assert_eq!((published.failures, duplicates), (0, 0));
    assert!(published.slowest < Duration::from_secs(5), "{:?}", published.slowest);
    stack.subscribed(&receiver, "/later").await;
    stack.publish([event("later")]).await;
    exactly(&receiver, "/later", &ids(["later"])).await;
    drop(stack);
    server.stop().expect("it ran");
}
