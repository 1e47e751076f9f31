//! What tests stand on: real servers, a database and a key prefix for each test.

pub mod redis;
