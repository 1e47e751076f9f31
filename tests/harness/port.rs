//! Ports for processes that are started again on the same one.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, TcpListener},
};

use crate::Random;

/// Below what systems give to outgoing connections, so that none of those sits on a port whose process is being started again.
const RANGE: std::ops::Range<u64> = 15_000..32_000;

/// A port of 127.0.0.1 that nobody listens on, and that no other test takes as long as this one runs, even while its process
/// is down.
///
/// # Panics
/// If there is none.
pub fn free_port() -> u16 {
    let mut random = Random::new();
    (0..1_000)
        .filter_map(|_| u16::try_from(random.between(RANGE.start, RANGE.end)).ok())
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok() && reserve(*port))
        .expect("some port is free")
}

/// Locks the file of a port until this process ends; false: another has it.
fn reserve(port: u16) -> bool {
    let directory = std::env::temp_dir().join("millrace-test-ports");
    fs::create_dir_all(&directory).expect("a directory for temporary files");
    let file = File::create(directory.join(port.to_string())).expect("a temporary file");
    let reserved = file.try_lock().is_ok();
    // Open until the process ends, and with it the lock.
    std::mem::forget(file);
    reserved
}
