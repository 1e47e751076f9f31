//! What tests stand on: real servers, a database and a key prefix for each test, a receiver that tells what it got.
//! A server that cannot start says what to install.

pub mod aws;
pub mod eventually;
pub mod gate;
pub mod moto;
pub mod postgres;
pub mod python;
pub mod receiver;
pub mod redis;
pub mod segment;
pub mod tls;

pub use eventually::eventually;
