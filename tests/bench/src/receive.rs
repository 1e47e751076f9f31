//! The receiver: the cheapest HTTP server that can tell which events arrived, and when.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use bytes::Bytes;
use clap::Args;
use http::{Method, Request, Response, header::AUTHORIZATION};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::{net::TcpSocket, task::JoinSet};

use crate::{
    clock,
    event::{self, EventId},
    latency::Latency,
};

mod aws;
mod segment;

/// Connections that wait to be taken: thousands of sinks connect at once.
const BACKLOG: u32 = 4_096;

/// What the ARN of a stream begins with; its number follows.
pub(crate) const STREAMS: &str = "arn:aws:kinesis:eu-west-1:123456789012:stream/";
/// What the write key of a Segment source begins with; its number follows.
pub(crate) const WRITE_KEYS: &str = "benchWriteKey";

/// Where it receives.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct ReceiveArgs {
    /// Address; port 0: a free one.
    #[arg(long)]
    pub(crate) listen: SocketAddr,
}

/// What to expect; put to `/runs`.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Expected {
    /// Number of the run.
    pub(crate) run: u64,
    /// Its events: those with the numbers below this.
    pub(crate) events: usize,
    /// Sinks that get each of them: of sink n and event m, one delivery for each n modulo this.
    pub(crate) sinks: usize,
}

/// What arrived of a run; got from `/runs/<number>`, and the number of deliveries alone from `/runs/<number>/deliveries`.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Received {
    /// Different deliveries.
    pub(crate) deliveries: usize,
    /// Deliveries that came again.
    pub(crate) duplicates: usize,
    /// Requests with an event of the run.
    pub(crate) requests: usize,
    /// When the last came that had not come before.
    pub(crate) last_us: u64,
    /// From published to received, of those that had not come before.
    pub(crate) latency: Latency,
}

/// How sinks behave; put to `/behaviour`.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Behaviour {
    /// Sinks from this number on give no answer for [`HANG`], and take nothing.
    pub(crate) hang_from: Option<usize>,
    /// All sinks answer 503.
    pub(crate) down: bool,
}

/// How long a sink that hangs gives no answer.
const HANG: Duration = Duration::from_secs(5);

/// Receives until it is killed.
pub(crate) async fn command(args: ReceiveArgs) -> Result<()> {
    // Every address of the loopback network, so that sinks can have hosts of their own.
    let socket = TcpSocket::new_v4()?;
    socket.bind(args.listen)?;
    let listener = socket.listen(BACKLOG)?;
    println!("listens on {}", listener.local_addr()?.port());
    let receiver = Arc::new(Mutex::new(Receiver::default()));
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let receiver = Arc::clone(&receiver);
        let service = service_fn(move |request| answer(request, Arc::clone(&receiver)));
        // A connection ends as its client wants; what was lost with it is seen in the account.
        connections.spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        while connections.try_join_next().is_some() {}
    }
}

#[derive(Default)]
struct Receiver {
    runs: HashMap<u64, Account>,
    /// When the first request came to each sink; got from `/first/<number>`.
    first_us: HashMap<usize, u64>,
    behaviour: Behaviour,
}

impl Receiver {
    /// Counts the events of a request, whose ids follow `key`.
    fn record(&mut self, sink: usize, key: &str, body: &str, now_us: u64) {
        self.first_us.entry(sink).or_insert(now_us);
        let mut of = None;
        for id in event::ids(body, key) {
            if let Some(account) = self.runs.get_mut(&id.run) {
                account.record(sink, id, now_us);
                of = Some(id.run);
            }
        }
        // All events of a request are of one run, but for those that meet at its end.
        if let Some(account) = of.and_then(|run| self.runs.get_mut(&run)) {
            account.received.requests += 1;
        }
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
        let all = expected.events * expected.sinks;
        Self {
            expected,
            seen: vec![false; all],
            latencies: Vec::with_capacity(all),
            ..Self::default()
        }
    }

    fn record(&mut self, sink: usize, id: EventId, now_us: u64) {
        let place = id.number * self.expected.sinks + sink % self.expected.sinks.max(1);
        match self.seen.get_mut(place) {
            Some(seen) if !*seen => {
                *seen = true;
                self.received.deliveries += 1;
                self.received.last_us = now_us;
                self.latencies.push(now_us.saturating_sub(id.sent_us));
            }
            _ => self.received.duplicates += 1,
        }
    }

    fn received(&self) -> Received {
        Received { latency: Latency::of(self.latencies.clone()), ..self.received }
    }
}

async fn answer(
    request: Request<Incoming>,
    receiver: Arc<Mutex<Receiver>>,
) -> Result<Response<Full<Bytes>>> {
    let now_us = clock::now_micros();
    let lock = || receiver.lock().unwrap_or_else(PoisonError::into_inner);
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    if let Some(sink) = path.strip_prefix("/events/") {
        let (sink, behaviour) = (sink.parse()?, lock().behaviour);
        let body = body.collect().await?.to_bytes();
        if behaviour.down {
            return Ok(Response::builder().status(503).body(Full::default())?);
        }
        if behaviour.hang_from.is_some_and(|first| first <= sink) {
            tokio::time::sleep(HANG).await;
        } else {
            lock().record(sink, event::ID, std::str::from_utf8(&body)?, now_us);
        }
        return Ok(Response::default());
    }
    if parts.method == Method::POST {
        let body = body.collect().await?.to_bytes();
        let body = std::str::from_utf8(&body)?;
        let record = |sink, key: &str, body: &str| lock().record(sink, key, body, now_us);
        return match path {
            segment::PATH => segment::answer(parts.headers.get(AUTHORIZATION), body, record),
            _ => aws::answer(body, record),
        };
    }
    if parts.method == Method::PUT {
        let body = body.collect().await?.to_bytes();
        if path == "/runs" {
            let expected: Expected = serde_json::from_slice(&body)?;
            lock().runs.insert(expected.run, Account::open(expected));
        } else {
            lock().behaviour = serde_json::from_slice(&body)?;
        }
        return Ok(Response::default());
    }
    if let Some(sink) = path.strip_prefix("/first/") {
        let first_us = lock().first_us.get(&sink.parse()?).copied();
        return Ok(Response::new(Full::from(serde_json::to_vec(&first_us)?)));
    }
    asked(path, &lock().runs)
}

/// What came of a run: all that is known, or the number of deliveries alone.
fn asked(path: &str, runs: &HashMap<u64, Account>) -> Result<Response<Full<Bytes>>> {
    let path = path.strip_prefix("/runs/").context("nothing there")?;
    let (number, alone) = match path.strip_suffix("/deliveries") {
        Some(number) => (number, true),
        None => (path, false),
    };
    let account = runs.get(&number.parse()?).context("no such run")?;
    let body = match alone {
        true => account.received.deliveries.to_string().into_bytes(),
        false => serde_json::to_vec(&account.received())?,
    };
    Ok(Response::new(Full::from(body)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_counts_once_and_only_in_its_run() {
        let mut receiver = Receiver::default();
        let expected = Expected { run: 2, events: 2, sinks: 2 };
        receiver.runs.insert(2, Account::open(expected));
        let body =
            |run, number| format!(r#"[{{"id":"{}"}}]"#, EventId { run, number, sent_us: 10 });
        for (sink, run, number) in
            [(0, 2, 0), (0, 2, 0), (1, 2, 0), (0, 1, 1), (3, 2, 1), (0, 2, 2)]
        {
            receiver.record(sink, event::ID, &body(run, number), 30);
        }
        assert_eq!((receiver.first_us.get(&3), receiver.first_us.get(&4)), (Some(&30), None));
        let received = receiver.runs[&2].received();
        assert_eq!((received.deliveries, received.duplicates, received.requests), (3, 2, 5));
        assert_eq!(received.latency.max_us, 20);
    }
}
