//! What others made against Event Streams works against Millrace.

mod client;
mod openapi;
mod sdk;
mod segment;
mod tool;
