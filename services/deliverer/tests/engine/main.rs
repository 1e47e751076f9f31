//! The engine of a deliverer, whole, with scripted sinks and under a clock that is paused: what it does when, counted.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod bounds;
mod connection;
mod deaths;
mod interleavings;
mod memory;
mod pace;
mod partitions;
mod probes;
mod shares;
mod sinks;
mod standing;
mod suspects;
mod turns;
mod world;
