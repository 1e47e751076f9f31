//! Where other services reach this deliverer.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use tokio::{net::UdpSocket, time::timeout};
use tonic::codegen::http::Uri;

use crate::config::Settings;

/// Longest wait for the name of control-plane to be resolved.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(2);

/// What is announced: `deliverer.advertise`, or else `deliverer.listen`. Where that is every address of this machine, the one
/// that it has on the way to control-plane.
pub(crate) async fn announced(settings: &Settings) -> String {
    let (listen, advertise) = (&settings.deliverer.listen, &settings.deliverer.advertise);
    if !advertise.is_empty() {
        return advertise.clone();
    }
    match listen.parse::<SocketAddr>() {
        Ok(every) if every.ip().is_unspecified() => {
            match timeout(RESOLVE_TIMEOUT, local_towards(&settings.control_plane.address)).await {
                Ok(Some(ip)) => SocketAddr::new(ip, every.port()).to_string(),
                _ => listen.clone(),
            }
        }
        _ => listen.clone(),
    }
}

/// The local address on the way to the host of `url`. Connecting a UDP socket sends nothing.
async fn local_towards(url: &str) -> Option<IpAddr> {
    let uri: Uri = url.parse().ok()?;
    let host = uri.host()?.trim_start_matches('[').trim_end_matches(']');
    let port = uri.port_u16().unwrap_or(80);
    for to in tokio::net::lookup_host((host, port)).await.ok()? {
        let from = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let Ok(socket) = UdpSocket::bind(from).await else { continue };
        if socket.connect(to).await.is_ok() {
            return socket.local_addr().ok().map(|local| local.ip());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn of(listen: &str, advertise: &str, control_plane: &str) -> String {
        let mut settings = Settings::default();
        settings.deliverer.listen = listen.to_owned();
        settings.deliverer.advertise = advertise.to_owned();
        settings.control_plane.address = control_plane.to_owned();
        announced(&settings).await
    }

    #[tokio::test]
    async fn every_address_is_announced_as_the_one_towards_control_plane() {
        let (every, local) = ("0.0.0.0:8082", "http://127.0.0.1:8080");
        assert_eq!(of(every, "", local).await, "127.0.0.1:8082");
        assert_eq!(of(every, "deliverer-0:8082", local).await, "deliverer-0:8082");
        assert_eq!(of("10.0.0.1:8082", "", local).await, "10.0.0.1:8082");
        assert_eq!(of("localhost:8082", "", local).await, "localhost:8082");
        assert_eq!(of(every, "", "no URL").await, every);
    }
}
