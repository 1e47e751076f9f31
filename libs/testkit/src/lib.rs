//! What tests stand on: real servers, a database and a key prefix for each test, a receiver that tells what it got.

pub mod receiver;
pub mod redis;
