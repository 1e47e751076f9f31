//! The queue on Redis passes the suite.

use std::sync::Arc;

use async_trait::async_trait;
use millrace_queue::{
    Queue, RedisOptions, RedisQueue,
    conformance::{self, ATTEMPTS_MAX, Fixture, PARTITIONS, Store},
};
use millrace_testkit::redis::{Redis, prefix};

struct OnRedis(Redis);

impl OnRedis {
    async fn start() -> Self {
        Self(Redis::start().await.expect("a Redis to test on"))
    }
}

#[async_trait]
impl Fixture for OnRedis {
    async fn fresh(&self) -> Box<dyn Store> {
        Box::new(UnderPrefix(RedisOptions {
            url: self.0.url().to_owned(),
            prefix: prefix(),
            partitions: PARTITIONS,
            attempts_max: ATTEMPTS_MAX,
            ..RedisOptions::default()
        }))
    }
}

struct UnderPrefix(RedisOptions);

#[async_trait]
impl Store for UnderPrefix {
    async fn open(&self) -> Arc<dyn Queue> {
        Arc::new(RedisQueue::connect(self.0.clone()).await.expect("connect"))
    }

    fn is_durable(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn ready_is_as_the_contract_says() {
    conformance::ready(&OnRedis::start().await).await;
}

#[tokio::test]
async fn marks_are_as_the_contract_says() {
    conformance::marks(&OnRedis::start().await).await;
}

#[tokio::test]
async fn room_is_as_the_contract_says() {
    conformance::room(&OnRedis::start().await).await;
}

#[tokio::test]
async fn owners_are_as_the_contract_says() {
    conformance::owners(&OnRedis::start().await).await;
}

#[tokio::test]
async fn settlements_are_as_the_contract_says() {
    conformance::settlements(&OnRedis::start().await).await;
}

#[tokio::test]
async fn parks_are_as_the_contract_says() {
    conformance::parks(&OnRedis::start().await).await;
}

#[tokio::test]
async fn reports_are_as_the_contract_says() {
    conformance::reports(&OnRedis::start().await).await;
}

#[tokio::test]
async fn crashes_lose_nothing() {
    conformance::crashes(&OnRedis::start().await).await;
}

#[tokio::test]
async fn recovery_is_as_the_contract_says() {
    conformance::recovery(&OnRedis::start().await).await;
}
