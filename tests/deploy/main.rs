//! What is deployed: the Helm chart, the image and `compose.yaml`, by the tools that read them and the binary that they start.

mod catalogue;
mod chart;
mod checks;
mod commands;
mod documented;
mod environment;
mod evaluation;
mod image;
mod metrics;
mod monitoring;
mod network;
mod notes;
mod policy;
mod quick_start;
mod refusals;
mod rendered;
mod routes;
mod snapshots;
mod tools;
