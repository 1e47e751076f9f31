//! The deliverer: owns partitions, reads their chunks, delivers events to sinks, and settles.
//!
//! | question | file |
//! |---|---|
//! | which partitions are mine? | `ownership` |
//! | what happens while one is? | `tenure`, `reader`, `settler` |
//! | what is still to be done of a chunk? | `parcel` |
//! | when does a sink get its events? | `lane`, `attempt` |
//! | who may send next? | `budget` |
//! | what waits, and where? | `backlog` |
//! | which threads work it off? | `background` |
//! | who has as much waiting as it may? | `quota` |
//! | what is told of an attempt in its trace? | `trace` |
//! | does a sink take events at all? | `trial` |
//! | what did the last owner die of, if it did? | `probation`, `living` |
//! | how does a sink do? | `status`, `gauges` |
//! | what is counted? | `metrics` |
//!
//! The invariant: **a chunk leaves `ready` only when every (event, sink) in it is delivered, parked, quarantined or
//! dropped with a report.** A retry is always a durable park, never a timer that holds the event.

use std::sync::Arc;

use axum::Router;
use millrace_domain::secret::SecretHash;
use millrace_proto::internal::delivery_service_server::DeliveryServiceServer;
use millrace_queue::{
    Member, Queue,
    redis::{RedisOptions, RedisQueue},
};
use millrace_runtime::{Process, Readiness, admin, grpc::standard_routes, server, telemetry};
use millrace_sinks::Drivers;
use millrace_watch::{Client, View, Watch};
use tokio::{
    sync::{Notify, Semaphore},
    time::Instant,
};
use tonic::service::Routes;
use uuid::Uuid;

use crate::{
    background::Background,
    budget::Budget,
    clock::QueueClock,
    context::{Context, ParkedBudget, Unsettled},
    living::Living,
    ownership::{Owner, Tenures},
    parking::ParkingRoom,
    quota::Quota,
};

mod address;
mod attempt;
mod background;
mod backlog;
mod budget;
mod clock;
pub mod config;
mod context;
mod cursor;
mod drivers;
mod gauges;
mod grpc;
mod intake;
mod lane;
mod ledger;
mod living;
mod metrics;
mod ownership;
mod parcel;
mod parking;
mod probation;
mod quota;
mod reader;
mod report;
mod settler;
mod standing;
mod status;
mod tally;
mod tenure;
mod trace;
mod trial;
mod trimmed;

pub use config::Settings;

/// Names of the gRPC services.
pub const GRPC_SERVICES: &[&str] = &["millrace.internal.v1.DeliveryService"];

/// A deliverer that runs.
pub struct Service {
    /// Its gRPC, without a fallback: several services may share a port.
    pub routes: Router,
}

/// What a deliverer stands on.
pub struct Seams {
    /// Where events wait.
    pub queue: Arc<dyn Queue>,
    /// What is configured.
    pub watch: Watch,
    /// How sinks are spoken to.
    pub drivers: Drivers,
}

/// Starts delivering over HTTP: see [`build_with`].
///
/// # Errors
/// As [`build_with`].
pub async fn build(
    settings: &Settings,
    queue: Arc<dyn Queue>,
    watch: Watch,
    process: &Process,
) -> anyhow::Result<Service> {
    let drivers = drivers::of(settings)?;
    build_with(settings, Seams { queue, watch, drivers }, process).await
}

/// Starts delivering: spawns its tasks on `process`, binds nothing. Claims no partition before it has a configuration.
///
/// # Errors
/// A queue that does not answer; settings that cannot be used.
pub async fn build_with(
    settings: &Settings,
    seams: Seams,
    process: &Process,
) -> anyhow::Result<Service> {
    let Seams { queue, watch, drivers } = seams;
    let (clock, id) = (QueueClock::new(queue.now().await?), Uuid::now_v7());
    let cx = Arc::new(Context {
        tasks: process.tasks.clone(),
        queue,
        drivers,
        watch,
        clock,
        began: Instant::now(),
        background: Background::new()?,
        in_flight: Budget::new(settings.delivery.in_flight),
        unsettled: Unsettled::new(settings.delivery.unsettled_bytes),
        // Besides what is fresh: so much keeps a hundred slow sinks that drain busy.
        parked: ParkedBudget::new(settings.delivery.unsettled_bytes * 2 / 5),
        parking: ParkingRoom::default(),
        more_to_read: Notify::new(),
        living: Living::new(id),
        suspects: Arc::default(),
        quiet: settings.deliverer.quiet,
        delivery: settings.delivery.clone(),
        logs: settings.logs.clone(),
    });
    let tenures = Arc::new(Tenures::default());
    let owner = Arc::new(owner(settings, id, &cx, &tenures));
    let service = grpc::Delivery {
        id: owner.member.id.clone(),
        cx: Arc::clone(&cx),
        tenures: Arc::clone(&tenures),
        token: SecretHash::of(settings.internal.token.reveal()),
        tests: Semaphore::new(grpc::TESTS),
        trimmed: Arc::default(),
    };
    let (looked, trimmed) = (Arc::clone(&cx), Arc::clone(&service.trimmed));
    cx.tasks.spawn("look-for-trimmed-reports", |stopping| async move {
        // Cancelled anywhere, nothing is lost: it only looks.
        stopping.run_until_cancelled(trimmed.keep_looking(&looked)).await;
        Ok(())
    });
    let quota = Quota {
        cx: Arc::clone(&cx),
        tenures: Arc::clone(&tenures),
        settings: settings.queue.clone(),
    };
    cx.tasks.spawn("tell-full-accounts", |stopping| async move {
        quota.run(stopping).await;
        Ok(())
    });
    spawn(&cx, tenures, owner, &process.readiness);
    Ok(Service {
        routes: Routes::new(DeliveryServiceServer::new(service))
            .into_axum_router()
            .reset_fallback(),
    })
}

/// Runs a deliverer on Redis until it is told to stop.
///
/// # Errors
/// Settings, Redis or ports that cannot be used; a task that failed.
pub async fn run(mut settings: Settings) -> anyhow::Result<()> {
    settings.validate()?;
    let telemetry =
        telemetry::init(&settings.log)?.with_traces(&settings.telemetry, "millrace-deliverer")?;
    telemetry::describe(metrics::ALL);
    ::metrics::gauge!("millrace_partitions_configured").set(f64::from(settings.queue.partitions));
    let process = Process::default();
    let (client, watch) = Client::new(
        millrace_watch::connect(&settings.control_plane.address)?,
        settings.internal.token.reveal(),
        View::Deliverer,
    )?;
    let listener = server::bind(&settings.deliverer.listen).await?;
    let admin_listener = server::bind(&settings.admin.listen).await?;
    let queue = RedisQueue::connect_when_up(RedisOptions {
        url: settings.queue.url.reveal().to_owned(),
        sentinel_password: settings.queue.sentinel_password.reveal().to_owned(),
        tls_ca: settings.queue.tls_ca_pem()?,
        wait_replicas: settings.queue.wait_replicas,
        wait_timeout: settings.queue.wait_timeout,
        partitions: settings.queue.partitions,
        prefix: settings.queue.prefix.clone(),
        compress_ready: settings.queue.compression.is_on(),
        ..RedisOptions::default()
    });
    process.readiness.set("queue", false);
    let admin_routes = admin::routes(process.readiness.clone(), telemetry.metrics.clone());
    process.serve("admin", admin_listener, admin_routes)?;
    process.tasks.spawn("watch-configuration", |stopping| async move {
        client.run(stopping.cancelled_owned()).await;
        Ok(())
    });
    let queue = Arc::new(queue.await?);
    process.readiness.set("queue", true);
    settings.deliverer.advertise = address::announced(&settings).await;
    let service = build(&settings, queue, watch, &process).await?;
    let standard = standard_routes(
        GRPC_SERVICES,
        millrace_proto::DESCRIPTORS,
        &process.readiness,
        &process.tasks,
    )
    .await?;
    process.serve("gRPC", listener, service.routes.merge(standard))?;
    // The deliverer drains within `shutdown.grace`; what settles after that needs a moment more.
    let ended = process.run(settings.shutdown.grace * 2).await;
    telemetry.flush().await;
    ended
}

fn owner(settings: &Settings, id: Uuid, cx: &Arc<Context>, tenures: &Arc<Tenures>) -> Owner {
    let address = if settings.deliverer.advertise.is_empty() {
        &settings.deliverer.listen
    } else {
        &settings.deliverer.advertise
    };
    Owner {
        cx: Arc::clone(cx),
        tenures: Arc::clone(tenures),
        member: Member { id: id.to_string(), address: address.clone() },
        partitions: settings.queue.partitions,
        lease: settings.deliverer.lease,
        renew: settings.deliverer.renew,
        grace: settings.shutdown.grace,
    }
}

fn spawn(cx: &Arc<Context>, tenures: Arc<Tenures>, owner: Arc<Owner>, readiness: &Readiness) {
    let (measured, measured_tenures) = (Arc::clone(cx), Arc::clone(&tenures));
    cx.tasks.spawn("measure", |stopping| async move {
        gauges::run(measured, measured_tenures, stopping).await;
        Ok(())
    });
    let (reading, reading_tenures) = (Arc::clone(cx), tenures);
    cx.tasks.spawn("read-chunks", |stopping| async move {
        reader::run(reading, reading_tenures, stopping).await;
        Ok(())
    });
    let (mut configured, readiness) = (cx.watch.changed(), readiness.clone());
    readiness.set("configuration", configured.borrow().is_some());
    cx.tasks.spawn("own-partitions", |stopping| async move {
        // Waiting changes nothing: cut off, nothing was claimed.
        let first = stopping
            .run_until_cancelled(configured.wait_for(Option::is_some))
            .await
            .is_some_and(|known| known.is_ok());
        if first {
            readiness.set("configuration", true);
            owner.run(stopping).await;
        }
        Ok(())
    });
}
