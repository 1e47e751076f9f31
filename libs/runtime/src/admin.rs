//! What an operator and Kubernetes ask: `/healthz`, `/readyz`, `/metrics`.

use std::sync::{Arc, Mutex};

use axum::{Router, http::StatusCode, response::IntoResponse, routing::get};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::watch;

/// Whether a process may get work: every named condition must hold. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Readiness {
    conditions: Arc<Mutex<Vec<(String, bool)>>>,
    ready: watch::Sender<bool>,
}

impl Default for Readiness {
    fn default() -> Self {
        Self { conditions: Arc::default(), ready: watch::Sender::new(true) }
    }
}

impl Readiness {
    /// Says whether a condition holds, such as `("configuration", false)`; the first time adds it.
    pub fn set(&self, condition: &str, holds: bool) {
        let mut conditions =
            self.conditions.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match conditions.iter_mut().find(|(name, _)| name == condition) {
            Some((_, value)) => *value = holds,
            None => conditions.push((condition.to_owned(), holds)),
        }
        let all = conditions.iter().all(|(_, holds)| *holds);
        self.ready.send_if_modified(|ready| std::mem::replace(ready, all) != all);
    }

    /// The conditions that do not hold.
    pub fn missing(&self) -> Vec<String> {
        let conditions = self.conditions.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        conditions.iter().filter(|(_, holds)| !holds).map(|(name, _)| name.clone()).collect()
    }

    /// Tells whether all conditions hold.
    pub fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    /// Follows [`Self::is_ready`].
    pub fn watch(&self) -> watch::Receiver<bool> {
        self.ready.subscribe()
    }
}

/// The admin routes. Healthy: the process answers. Ready: every condition of `readiness` holds; 503 names those that do not.
pub fn routes(readiness: Readiness, metrics: PrometheusHandle) -> Router {
    let ready = move || async move {
        let missing = readiness.missing();
        if missing.is_empty() {
            return (StatusCode::OK, "ready\n".to_owned());
        }
        (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {}\n", missing.join(", ")))
    };
    let render = move || async move {
        metrics.run_upkeep();
        ([("content-type", "text/plain; version=0.0.4")], metrics.render()).into_response()
    };
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(render))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_ready_when_every_condition_holds() {
        let readiness = Readiness::default();
        assert!(readiness.is_ready());
        readiness.set("configuration", false);
        readiness.set("queue", true);
        assert_eq!(
            (readiness.is_ready(), readiness.missing()),
            (false, vec!["configuration".to_owned()])
        );
        readiness.set("configuration", true);
        assert!(readiness.is_ready());
    }
}
