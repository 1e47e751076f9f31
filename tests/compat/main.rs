//! What others made against Event Streams works against Millrace, and what each release of it wrote is read for ever.

mod client;
mod openapi;
mod releases;
mod sdk;
mod segment;
mod tool;
