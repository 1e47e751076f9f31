//! What every process of Millrace needs, once: settings, logs and metrics, named tasks, signals, servers.
//!
//! A service gives its routes and spawns its tasks; [`Process`] binds, serves, waits for a signal or for a task that
//! fails, and ends in order: not ready, drain within the grace period, stop.

pub mod admin;
mod allocator;
pub mod clock;
pub mod config;
pub mod grpc;
pub mod process;
pub mod sections;
pub mod server;
pub mod signal;
pub mod tasks;
pub mod telemetry;

pub use admin::Readiness;
pub use process::Process;
pub use tasks::Tasks;
pub use tokio_util::sync::CancellationToken;
