//! The receiver: the cheapest HTTP server that can tell which events arrived, and when.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Result;
use bytes::Bytes;
use clap::Args;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::{net::TcpListener, task::JoinSet};

use crate::{clock, event, latency::Latency};

/// Where it receives.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct ReceiveArgs {
    /// Address; port 0: a free one.
    #[arg(long)]
    pub(crate) listen: SocketAddr,
}

/// What to expect; put to `/run`.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Expected {
    /// Number of the run.
    pub(crate) run: u64,
    /// Its events: those with the numbers below this.
    pub(crate) events: usize,
}

/// What arrived of the run; got from `/run`, and the number of events alone from `/run/events`.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Received {
    /// Different events.
    pub(crate) events: usize,
    /// Events that came again.
    pub(crate) duplicates: usize,
    /// Requests with an event of the run.
    pub(crate) requests: usize,
    /// When the last event came that had not come before.
    pub(crate) last_us: u64,
    /// From published to received, of the events that had not come before.
    pub(crate) latency: Latency,
}

/// Receives until it is killed.
pub(crate) async fn command(args: ReceiveArgs) -> Result<()> {
    let listener = TcpListener::bind(args.listen).await?;
    println!("listens on {}", listener.local_addr()?);
    let account = Arc::new(Mutex::new(Account::default()));
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let account = Arc::clone(&account);
        let service = service_fn(move |request| answer(request, Arc::clone(&account)));
        // A connection ends as its client wants; what was lost with it is seen in the account.
        connections.spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        while connections.try_join_next().is_some() {}
    }
}

#[derive(Default)]
struct Account {
    expected: Expected,
    seen: Vec<bool>,
    latencies: Vec<u64>,
    received: Received,
}

impl Account {
    fn open(expected: Expected) -> Self {
        let latencies = Vec::with_capacity(expected.events);
        Self { expected, seen: vec![false; expected.events], latencies, ..Self::default() }
    }

    fn record(&mut self, body: &str, now_us: u64) {
        let mut of_this_run = false;
        for id in event::ids(body).filter(|id| id.run == self.expected.run) {
            of_this_run = true;
            match self.seen.get_mut(id.number) {
                Some(seen) if !*seen => {
                    *seen = true;
                    self.received.events += 1;
                    self.received.last_us = now_us;
                    self.latencies.push(now_us.saturating_sub(id.sent_us));
                }
                _ => self.received.duplicates += 1,
            }
        }
        self.received.requests += usize::from(of_this_run);
    }

    fn received(&self) -> Received {
        Received { latency: Latency::of(self.latencies.clone()), ..self.received }
    }
}

async fn answer(
    request: Request<Incoming>,
    account: Arc<Mutex<Account>>,
) -> Result<Response<Full<Bytes>>> {
    let now_us = clock::now_micros();
    let lock = || account.lock().unwrap_or_else(PoisonError::into_inner);
    let (parts, body) = request.into_parts();
    match (parts.method, parts.uri.path()) {
        (Method::PUT, "/run") => {
            let expected = serde_json::from_slice(&body.collect().await?.to_bytes())?;
            *lock() = Account::open(expected);
        }
        (Method::GET, "/run") => {
            return Ok(Response::new(Full::from(serde_json::to_vec(&lock().received())?)));
        }
        (Method::GET, "/run/events") => {
            return Ok(Response::new(Full::from(lock().received.events.to_string())));
        }
        _ => {
            let body = body.collect().await?.to_bytes();
            lock().record(std::str::from_utf8(&body)?, now_us);
        }
    }
    Ok(Response::default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventId;

    #[test]
    fn an_event_counts_once_and_only_in_its_run() {
        let mut account = Account::open(Expected { run: 2, events: 2 });
        let body =
            |run, number| format!(r#"[{{"id":"{}"}}]"#, EventId { run, number, sent_us: 10 });
        for (run, number) in [(2, 0), (2, 0), (1, 1), (2, 1), (2, 2)] {
            account.record(&body(run, number), 30);
        }
        let received = account.received();
        assert_eq!((received.events, received.duplicates, received.requests), (2, 2, 4));
        assert_eq!(received.latency.max_us, 20);
    }
}
