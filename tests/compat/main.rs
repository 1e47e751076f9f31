//! What others made against Event Streams works against Millrace.

mod client;
mod sdk;
