//! While Postgres is away: quick answers, and no restart when it is back.

use std::{sync::Arc, time::Duration};

use millrace_proto::v1::{ListSinksRequest, sink_service_client::SinkServiceClient};
use millrace_store::{Keyring, postgres};
use millrace_testkit::{eventually::eventually_within, postgres::Server};
use tonic::Code;

use crate::harness::{SENT, refused, start_on};

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_told_quickly_and_ends_by_itself() {
    let server = Server::start().expect("PostgreSQL");
    let database = server.database().await.expect("a database");
    postgres::migrate(database.url()).await.expect("migrated");
    let keyring = Keyring::parse(Keyring::generate("test").reveal()).expect("a keyring");
    let options = postgres::Options {
        acquire_timeout: Duration::from_secs(2),
        ..postgres::Options::default()
    };
    let store = postgres::open(database.url(), keyring, &options).await.expect("open");
    let it = start_on(Arc::new(store), |_| {}).await;
    let sink = it.sink().await;
    it.subscription(&sink, SENT).await;

    server.kill().expect("killed");
    let asked = tokio::time::timeout(Duration::from_secs(8), it.get("/v1/Sinks"));
    let (status, code, _) = refused(asked.await.expect("a quick answer"));
    assert_eq!((status, code), (503, 20503));
    let mut sinks = SinkServiceClient::new(it.channel().await);
    let error = sinks.list_sinks(it.ask(ListSinksRequest::default())).await.expect_err("away");
    assert_eq!(error.code(), Code::Unavailable);
    eventually_within(Duration::from_secs(20), "is not ready", async || {
        (it.process.readiness.missing() == ["database"]).then_some(())
    })
    .await;

    server.start_again().expect("started again");
    eventually_within(Duration::from_secs(30), "serves again", async || {
        let (status, list) = it.get("/v1/Sinks").await;
        (status == 200 && list["sinks"][0]["sid"] == sink.as_str()).then_some(())
    })
    .await;
    eventually_within(Duration::from_secs(20), "is ready again", async || {
        it.process.readiness.is_ready().then_some(())
    })
    .await;
}
