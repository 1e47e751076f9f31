//! The router: accepts events, checks them against the catalogue, matches them in memory, appends them to the queue, then
//! acknowledges. One write of the queue stands between a publish and its answer; nothing else is asked on this path.
//!
//! Goes by the configuration it watches: without one it is not ready and claims nothing.

use std::sync::Arc;

use axum::Router;
use millrace_proto::DESCRIPTORS;
use millrace_queue::{
    Queue,
    redis::{RedisOptions, RedisQueue},
};
use millrace_runtime::{Process, admin, grpc::standard_routes, server, telemetry};
use millrace_watch::{Client, View, Watch};

mod auth;
pub mod config;
#[cfg(test)]
mod fixture;
mod grpc;
mod http;
mod intake;
mod metrics;
mod publish;
mod room;
mod route;
mod status;
mod trace;
mod validate;
mod writer;

pub use config::Settings;

use crate::{intake::Intake, publish::Publisher, room::Room, writer::Writers};

/// What a router serves.
#[derive(Debug)]
pub struct Service {
    /// `POST /v1/Events` and `millrace.v1.PublishService`. The writers run until this is dropped.
    pub routes: Router,
    /// Full names of the gRPC services in it.
    pub grpc_services: &'static [&'static str],
}

/// Builds a router on `queue` and `watch`: spawns its tasks on `process`, binds nothing. The process is ready once there is a
/// configuration and the queue answers.
///
/// # Errors
/// A setting out of its bounds.
pub fn build(
    settings: &Settings,
    queue: Arc<dyn Queue>,
    watch: Watch,
    process: &Process,
) -> anyhow::Result<Service> {
    let (limits, partitions) = (&settings.router, settings.queue.partitions);
    anyhow::ensure!(partitions > 0, "setting `queue.partitions` must be at least 1");
    let writers = Writers::start(&queue, partitions, limits.dedup_window, &process.tasks);
    follow_configuration(&watch, process);
    let room = Room::default();
    let readiness = process.readiness.clone();
    room.follow(queue, settings.queue.high_water_percent, readiness, &process.tasks);
    let publisher = Publisher::new(watch, writers, room, partitions, limits.append_timeout);
    let publisher = Arc::new(publisher);
    let intake = Intake::new(limits.in_flight_bytes, limits.read_timeout);
    let routes = http::routes(Arc::clone(&publisher), intake.clone()).merge(grpc::routes(
        publisher,
        intake,
        process.tasks.clone(),
    ));
    Ok(Service { routes, grpc_services: grpc::SERVICES })
}

/// Runs a router as a process of its own, on Redis, until it is told to stop.
///
/// # Errors
/// Wrong settings, a port that is taken, a Redis that must not be used, a task that failed.
pub async fn run(settings: Settings) -> anyhow::Result<()> {
    settings.validate()?;
    let telemetry =
        telemetry::init(&settings.log)?.with_traces(&settings.telemetry, "millrace-router")?;
    telemetry::describe(metrics::ALL);
    let listener = server::bind(&settings.router.listen).await?;
    let admin_listener = server::bind(&settings.admin.listen).await?;
    let process = Process::default();
    process.readiness.set("queue", false);
    let admin_routes = admin::routes(process.readiness.clone(), telemetry.metrics.clone());
    process.serve("admin", admin_listener, admin_routes)?;
    let channel = millrace_watch::connect(&settings.control_plane.address)?;
    let token = settings.internal.token.reveal();
    let (client, watch) = Client::new(channel, token, View::Router)?;
    process.tasks.spawn("watch-configuration", |stopping| async move {
        client.run(stopping.cancelled_owned()).await;
        Ok(())
    });
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
    let service = build(&settings, Arc::new(queue.await?), watch, &process)?;
    let standard =
        standard_routes(service.grpc_services, DESCRIPTORS, &process.readiness, &process.tasks)
            .await?;
    process.serve("publishing", listener, service.routes.merge(standard))?;
    let ended = process.run(settings.shutdown.grace).await;
    telemetry.flush().await;
    ended
}

fn follow_configuration(watch: &Watch, process: &Process) {
    let mut version = watch.changed();
    let readiness = process.readiness.clone();
    readiness.set("configuration", version.borrow().is_some());
    process.tasks.spawn("follow-configuration", |stopping| async move {
        let known = version.wait_for(Option::is_some);
        // What is known stays known; who fills the watch may be gone.
        if let Some(Ok(_)) = stopping.run_until_cancelled(known).await {
            readiness.set("configuration", true);
        }
        Ok(())
    });
}

#[cfg(test)]
mod tests;
