//! A webhook receiver for tests: answers as told, remembers what it got, checks signatures on its own.
//!
//! ```no_run
//! # async fn example() {
//! use millrace_testkit::receiver::{Answer, Receiver};
//!
//! let receiver = Receiver::start().await;
//! receiver.answers("/flaky", [Answer::status(503), Answer::status(503), Answer::ok()]);
//! receiver.expect_signatures("/flaky", "auth token", "whsec_…");
//! // … make a sink of `receiver.url("/flaky")`, publish …
//! receiver.until("both events are accepted", |r| r.accepted() == 2).await;
//! assert_eq!(receiver.signature_failures(), [""; 0]);
//! # }
//! ```

mod answer;
mod connection;
mod request;
mod signature;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rustls::pki_types::CertificateDer;
use tokio::{net::TcpListener, sync::watch, task::JoinSet, time::timeout};
use tokio_rustls::TlsAcceptor;

use crate::tls;

pub use self::{answer::Answer, request::Request};

/// Longest wait of [`Receiver::until`].
const PATIENCE: Duration = Duration::from_secs(30);

/// An HTTP/1.1 server on a port of its own; stops when dropped, its connections with it.
pub struct Receiver {
    address: SocketAddr,
    scheme: &'static str,
    shared: Arc<Shared>,
    /// The accept loop, which owns the connections.
    running: JoinSet<()>,
}

/// Says how to answer a request, by what is in it.
type Judge = Arc<dyn Fn(&Request) -> Answer + Send + Sync>;

/// What the connections and the test share.
struct Shared {
    state: Mutex<State>,
    /// Ticks with every request and connection.
    changes: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    answers: HashMap<String, VecDeque<Answer>>,
    judges: HashMap<String, Judge>,
    /// Answers to requests that carry an event, whatever their path.
    culprits: HashMap<String, Answer>,
    keys: HashMap<String, signature::Keys>,
    requests: Vec<Request>,
    /// How often each event was accepted.
    accepted: BTreeMap<String, usize>,
    connections: usize,
    signatures_checked: usize,
    signature_failures: Vec<String>,
}

impl Receiver {
    /// Starts a receiver on a free port of `127.0.0.1`.
    pub async fn start() -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    /// Starts a receiver at `address`, such as that of one that was stopped: a sink that comes back.
    pub async fn start_at(address: SocketAddr) -> Self {
        Self::listen(address, None).await
    }

    /// Starts a receiver that speaks TLS, with a certificate for `localhost` and `127.0.0.1` by [`Receiver::authority`].
    pub async fn start_tls() -> Self {
        Self::listen(SocketAddr::from(([127, 0, 0, 1], 0)), Some(tls::acceptor(&[]))).await
    }

    /// The authority that signed the certificate of [`Receiver::start_tls`].
    pub fn authority() -> CertificateDer<'static> {
        tls::authority()
    }

    /// Stops and returns the address, which refuses connections from then on, and which [`Receiver::start_at`] takes. A
    /// dropped receiver stops as well, but not before its runtime gets to it.
    pub async fn stop(mut self) -> SocketAddr {
        self.running.shutdown().await;
        self.address
    }

    async fn listen(address: SocketAddr, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind(address).await.expect("the receiver's port is free");
        let shared = Arc::new(Shared { state: Mutex::default(), changes: watch::Sender::new(()) });
        let address = listener.local_addr().expect("a bound listener has an address");
        let scheme = if tls.is_some() { "https" } else { "http" };
        let mut running = JoinSet::new();
        running.spawn(connection::accept_all(listener, tls, Arc::clone(&shared)));
        Self { address, scheme, shared, running }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of `path`, which starts with `/`.
    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }

    /// Answers every request to `path` so, from now on. Without this the answer is an empty 200.
    pub fn answer(&self, path: &str, answer: Answer) {
        self.answers(path, [answer]);
    }

    /// Answers the next requests to `path` with one of `answers` each, and all after them with the last.
    pub fn answers(&self, path: &str, answers: impl IntoIterator<Item = Answer>) {
        self.state().answers.insert(path.to_owned(), answers.into_iter().collect());
    }

    /// Answers every request to `path` as `judge` says, from now on, unless [`Receiver::answers`] said something.
    pub fn judge(&self, path: &str, judge: impl Fn(&Request) -> Answer + Send + Sync + 'static) {
        let mut state = self.state();
        state.answers.remove(path);
        state.judges.insert(path.to_owned(), Arc::new(judge));
    }

    /// Answers every request that carries event `id` so, from now on, whatever else is said of its path.
    pub fn answer_event(&self, id: &str, answer: Answer) {
        self.state().culprits.insert(id.to_owned(), answer);
    }

    /// Checks from now on that requests to `path` are signed with these; see [`Receiver::signature_failures`].
    pub fn expect_signatures(&self, path: &str, auth_token: &str, signing_secret: &str) {
        let keys = signature::Keys {
            auth_token: auth_token.to_owned(),
            signing_secret: signing_secret.to_owned(),
        };
        self.state().keys.insert(path.to_owned(), keys);
    }

    /// What was wrong with signatures so far.
    pub fn signature_failures(&self) -> Vec<String> {
        self.state().signature_failures.clone()
    }

    /// How many requests had their signatures checked.
    pub fn signatures_checked(&self) -> usize {
        self.state().signatures_checked
    }

    /// How many connections were accepted so far.
    pub fn connections(&self) -> usize {
        self.state().connections
    }

    /// All requests so far, in order of arrival.
    pub fn requests(&self) -> Vec<Request> {
        self.state().requests.clone()
    }

    /// The requests to `path` so far, in order of arrival.
    pub fn requests_to(&self, path: &str) -> Vec<Request> {
        self.state().requests.iter().filter(|request| request.path() == path).cloned().collect()
    }

    /// The ids of all events that arrived, however they were answered.
    pub fn ids(&self) -> BTreeSet<String> {
        self.ids_where(|_| true).into_iter().collect()
    }

    /// The ids of the events of requests that were answered with 2xx.
    pub fn accepted_ids(&self) -> BTreeSet<String> {
        self.state().accepted.keys().cloned().collect()
    }

    /// Whether an event was accepted.
    pub fn has_accepted(&self, id: &str) -> bool {
        self.state().accepted.contains_key(id)
    }

    /// As [`Receiver::accepted_ids`], in order of arrival, an id as often as its event was accepted.
    pub fn accepted_ids_with_repeats(&self) -> Vec<String> {
        self.ids_where(Request::was_accepted)
    }

    /// How many different events were accepted; cheap, where [`Receiver::until`] waits for many.
    pub fn accepted(&self) -> usize {
        self.state().accepted.len()
    }

    /// How many accepted events were repeats of one accepted before.
    pub fn duplicates(&self) -> usize {
        let state = self.state();
        state.accepted.values().map(|times| times - 1).sum()
    }

    fn ids_where(&self, wanted: impl Fn(&Request) -> bool) -> Vec<String> {
        let state = self.state();
        state.requests.iter().filter(|it| wanted(it)).flat_map(|it| it.ids.clone()).collect()
    }

    /// Waits until `enough`, which is asked again after every request.
    ///
    /// # Panics
    /// After 30 s, with `what` and a summary of what arrived.
    pub async fn until(&self, what: &str, enough: impl Fn(&Self) -> bool) {
        self.until_within(PATIENCE, what, enough).await;
    }

    /// As [`Receiver::until`], with another patience.
    ///
    /// # Panics
    /// After `patience`, with `what` and a summary of what arrived.
    pub async fn until_within(
        &self,
        patience: Duration,
        what: &str,
        enough: impl Fn(&Self) -> bool,
    ) {
        let mut changes = self.shared.changes.subscribe();
        let waiting = async {
            while !enough(self) {
                changes.changed().await.expect("the sender lives as long as the receiver");
            }
        };
        let came = timeout(patience, waiting).await;
        assert!(came.is_ok(), "not within {patience:?}: {what}; {}", self.summary());
    }

    fn summary(&self) -> String {
        format!(
            "so far {} requests on {} connections, {} ids, {} of them accepted, {} repeats",
            // Of each by itself: what is locked in a list of arguments stays locked to its end.
            self.requests().len(),
            self.connections(),
            self.ids().len(),
            self.accepted(),
            self.duplicates()
        )
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a connection and returns its number, from 1.
    fn connected(&self) -> usize {
        let mut state = self.state();
        state.connections += 1;
        let number = state.connections;
        drop(state);
        self.changes.send_replace(());
        number
    }

    /// Whether the next request to `path` is answered before its body.
    fn answers_early(&self, path: &str) -> bool {
        self.state().answers.get(path).and_then(VecDeque::front).is_some_and(Answer::is_early)
    }

    /// Checks and remembers `request`, and says how to answer it.
    fn take(&self, scheme: &str, mut request: Request) -> Answer {
        let mut state = self.state();
        let checked = state.keys.get(request.path()).map(|keys| keys.check(scheme, &request));
        if let Some(checked) = checked {
            state.signatures_checked += 1;
            if let Err(failure) = checked {
                let failure = format!("{} {}: {failure}", request.method, request.target);
                state.signature_failures.push(failure);
            }
        }
        let culprit = request.ids.iter().find_map(|id| state.culprits.get(id)).cloned();
        let answer = match state.answers.get_mut(request.path()) {
            Some(answers) if answers.len() > 1 => answers.pop_front(),
            Some(answers) => answers.front().cloned(),
            None => state.judges.get(request.path()).map(|judge| judge(&request)),
        };
        let answer = culprit.or(answer).unwrap_or_else(Answer::ok);
        request.status = answer.promised_status();
        if request.was_accepted() {
            for id in &request.ids {
                *state.accepted.entry(id.clone()).or_default() += 1;
            }
        }
        state.requests.push(request);
        drop(state);
        self.changes.send_replace(());
        answer
    }
}
