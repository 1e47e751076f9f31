//! What every gRPC server offers besides its services: health and reflection.

use axum::Router;
use tonic::service::Routes;
use tonic_health::{ServingStatus, server::HealthReporter};

use crate::{Readiness, Tasks};

/// Routes of `grpc.health.v1` and of reflection for `services` (full names, such as `millrace.v1.SinkService`), described by
/// `descriptors`, an encoded `FileDescriptorSet`. Health follows `readiness`.
///
/// # Errors
/// Descriptors that do not decode.
pub async fn standard_routes(
    services: &[&'static str],
    descriptors: &'static [u8],
    readiness: &Readiness,
    tasks: &Tasks,
) -> anyhow::Result<Router> {
    let (reporter, health) = tonic_health::server::health_reporter();
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(descriptors)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    let names: Vec<&'static str> = services.iter().copied().chain([""]).collect();
    report(&reporter, &names, readiness.is_ready()).await;
    let mut ready = readiness.watch();
    tasks.spawn("report-grpc-health", |stopping| async move {
        while let Some(Ok(())) = stopping.run_until_cancelled(ready.changed()).await {
            let now = *ready.borrow_and_update();
            report(&reporter, &names, now).await;
        }
        report(&reporter, &names, false).await;
        Ok(())
    });
    // Without a fallback: it is merged with the routes of services.
    Ok(Routes::new(health).add_service(reflection).into_axum_router().reset_fallback())
}

async fn report(reporter: &HealthReporter, names: &[&'static str], ready: bool) {
    let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
    for name in names {
        reporter.set_service_status(*name, status).await;
    }
}
