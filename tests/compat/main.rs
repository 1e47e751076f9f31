//! What others made against Event Streams works against Millrace.

mod sdk;
