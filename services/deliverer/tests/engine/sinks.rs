//! Sinks that answer as a test says, behind the drivers' seam; they remember every request.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use millrace_domain::{
    SinkConfiguration, SinkSid,
    outcome::{Outcome, Reason, of_status},
};
use millrace_sinks::{Attempt, BatchLimits, Delivery, Driver, SinkSpec};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// What a sink is asked.
pub(crate) struct Ask<'a> {
    /// How many requests it had before.
    pub(crate) nth: usize,
    /// The events' ids.
    pub(crate) ids: &'a [String],
}

/// What it answers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    /// `None`: nothing, until the deadline.
    pub(crate) status: Option<u16>,
    pub(crate) retry_after: Option<Duration>,
    /// How long it takes.
    pub(crate) takes: Duration,
    /// Of a batch that it takes, it takes so many, and fails with the others.
    pub(crate) first: usize,
    /// Why it fails with the others.
    pub(crate) rest: Reason,
}

impl Answer {
    pub(crate) fn status(status: u16) -> Self {
        Self {
            status: Some(status),
            retry_after: None,
            takes: Duration::from_millis(1),
            first: usize::MAX,
            rest: Reason::Write,
        }
    }

    pub(crate) fn hangs() -> Self {
        Self { status: None, takes: Duration::from_secs(5), ..Self::status(0) }
    }

    pub(crate) fn takes_first(first: usize) -> Self {
        Self { first, ..Self::status(200) }
    }

    /// Takes so many of a batch; the others are too much for it.
    pub(crate) fn throttles_after(first: usize) -> Self {
        Self { rest: Reason::Throttled, ..Self::takes_first(first) }
    }

    pub(crate) fn after(self, takes: Duration) -> Self {
        Self { takes, ..self }
    }

    pub(crate) fn retry_after(self, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..self }
    }
}

type Behaviour = Arc<dyn Fn(&Ask<'_>) -> Answer + Send + Sync>;

/// A request that a sink had.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) sink: SinkSid,
    pub(crate) ids: Vec<String>,
    pub(crate) began: Instant,
    /// `None`: it is open, or its deliverer was killed meanwhile.
    pub(crate) ended: Option<Instant>,
}

#[derive(Default)]
struct State {
    behaviours: HashMap<SinkSid, Behaviour>,
    asked: HashMap<SinkSid, usize>,
    requests: Vec<Request>,
    /// How often each sink took each event.
    delivered: BTreeMap<(SinkSid, String), usize>,
}

/// All sinks of a test. One that nothing is said of takes everything.
#[derive(Default)]
pub(crate) struct Sinks {
    state: Mutex<State>,
}

impl Sinks {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics with it")
    }

    /// Says how a sink answers from now on.
    pub(crate) fn answer(
        &self,
        sink: SinkSid,
        behaviour: impl Fn(&Ask<'_>) -> Answer + Send + Sync + 'static,
    ) {
        self.lock().behaviours.insert(sink, Arc::new(behaviour));
    }

    pub(crate) fn requests(&self, sink: SinkSid) -> Vec<Request> {
        self.lock().requests.iter().filter(|request| request.sink == sink).cloned().collect()
    }

    /// How often each event was taken by a sink.
    pub(crate) fn delivered(&self, sink: SinkSid) -> BTreeMap<String, usize> {
        let state = self.lock();
        let of = state.delivered.iter().filter(|((by, _), _)| *by == sink);
        of.map(|((_, id), times)| (id.clone(), *times)).collect()
    }

    pub(crate) fn has(&self, sink: SinkSid, id: &str) -> bool {
        self.lock().delivered.contains_key(&(sink, id.to_owned()))
    }

    fn begin(&self, sink: SinkSid, ids: Vec<String>) -> (usize, Answer) {
        let (nth, behaviour) = {
            let mut state = self.lock();
            let nth = *state.asked.entry(sink).and_modify(|asked| *asked += 1).or_insert(1) - 1;
            (nth, state.behaviours.get(&sink).cloned())
        };
        let answer = behaviour
            .map_or_else(|| Answer::status(200), |behaviour| behaviour(&Ask { nth, ids: &ids }));
        let mut state = self.lock();
        let began = Instant::now();
        state.requests.push(Request { sink, ids, began, ended: None });
        (state.requests.len() - 1, answer)
    }

    fn end(&self, request: usize, delivered: usize) {
        let mut state = self.lock();
        let request = &mut state.requests[request];
        request.ended = Some(Instant::now());
        let Request { sink, ids, .. } = request.clone();
        for id in ids.into_iter().take(delivered) {
            *state.delivered.entry((sink, id)).or_default() += 1;
        }
    }
}

/// Most requests of these that were open at once.
pub(crate) fn most_at_once(requests: &[Request]) -> usize {
    let open = |at: Instant| {
        requests
            .iter()
            .filter(|request| request.began <= at && request.ended.is_none_or(|ended| ended > at))
            .count()
    };
    requests.iter().map(|request| open(request.began)).max().unwrap_or(0)
}

/// The driver of one deliverer.
pub(crate) struct Scripted {
    pub(crate) sinks: Arc<Sinks>,
    /// The deliverer was killed: nothing reaches anybody any more.
    pub(crate) dead: CancellationToken,
}

#[async_trait]
impl Driver for Scripted {
    fn limits(&self, sink: &SinkSpec) -> BatchLimits {
        match sink.configuration {
            SinkConfiguration::Webhook { batch_events: true, .. } => {
                BatchLimits { events: 50, bytes: 64 * 1024 }
            }
            _ => BatchLimits { events: 1, bytes: 64 * 1024 },
        }
    }

    async fn deliver(&self, sink: &SinkSpec, batch: &[Delivery], _: i64) -> Attempt {
        if self.dead.is_cancelled() {
            std::future::pending::<()>().await;
        }
        let ids = batch.iter().map(|delivery| delivery.id.clone()).collect();
        let (request, answer) = self.sinks.begin(sink.sid, ids);
        // Killed meanwhile, the sink has it all the same, and nobody learns of it.
        sleep(answer.takes).await;
        let outcome = match answer.status {
            Some(status) => of_status(status, answer.retry_after),
            None => Outcome::Retry { reason: Reason::Timeout, after: None },
        };
        let mut outcomes = vec![outcome; batch.len()];
        if outcomes[0] == Outcome::Delivered {
            let failed = Outcome::Retry { reason: answer.rest, after: None };
            outcomes.iter_mut().skip(answer.first).for_each(|other| *other = failed.clone());
        }
        let delivered = outcomes.iter().filter(|it| **it == Outcome::Delivered).count();
        self.sinks.end(request, delivered);
        if self.dead.is_cancelled() {
            std::future::pending::<()>().await;
        }
        Attempt {
            outcomes,
            http_status: answer.status,
            duration: answer.takes,
            detail: String::new(),
        }
    }
}
