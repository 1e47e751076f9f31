//! The queue on Redis passes the suite.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use millrace_domain::Partition;
use millrace_proto::internal::{AttemptReport, AttemptReports};
use millrace_queue::{
    Queue, RedisOptions, RedisQueue, ReportKind, Settlement, Token,
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

#[tokio::test]
async fn reports_of_more_partitions_than_are_read_at_once_come_from_each_in_turn() {
    const MANY: u16 = 8;
    let redis = Redis::start().await.expect("a Redis to test on");
    let (url, prefix) = (redis.url().to_owned(), prefix());
    let options = RedisOptions { url, prefix, partitions: MANY, ..RedisOptions::default() };
    let queue = RedisQueue::connect(options).await.expect("connect");
    let (all, owner): (Vec<_>, _) =
        ((0..MANY).map(Partition).collect(), Token(uuid::Uuid::now_v7()));
    queue.acquire(&all, owner, Duration::from_secs(60)).await.expect("acquire");
    for partition in &all {
        for _ in 0..3 {
            let attempts = AttemptReports { attempts: vec![AttemptReport::default()] };
            let settlement = Settlement { attempts, ..Settlement::default() };
            queue.settle(*partition, owner, &settlement).await.expect("settle");
        }
    }
    for round in 0..3 {
        let mut reached = Vec::new();
        for _ in 0..4 {
            let reports = queue.reports(ReportKind::Attempts, "a", 2).await.expect("reports");
            reached.extend(reports.iter().map(|report| report.partition));
        }
        reached.sort();
        assert_eq!(reached, all, "round {round}");
    }
}
