//! Ports for processes that are started again on the same one.

use std::net::{Ipv4Addr, TcpListener};

use crate::Random;

/// Below what systems give to outgoing connections, so that none of those sits on a port whose process is being started again.
const RANGE: std::ops::Range<u64> = 15_000..32_000;

/// A port of 127.0.0.1 that nobody listens on. Another process may take it first: who starts a server must be ready to try again.
///
/// # Panics
/// If there is none.
pub fn free_port() -> u16 {
    let mut random = Random::new();
    (0..1_000)
        .filter_map(|_| u16::try_from(random.between(RANGE.start, RANGE.end)).ok())
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .expect("some port is free")
}
