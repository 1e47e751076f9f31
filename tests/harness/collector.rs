//! A collector of OpenTelemetry traces, on the protocol's own definition: keeps what it gets.

use std::sync::{Arc, Mutex};

use millrace_testkit::tls;
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{ResourceSpans, Span},
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};
use tonic::{Request, Response, Status, service::Routes};

/// A collector; ends when it is dropped.
pub struct Collector {
    url: String,
    kept: Kept,
    tasks: Vec<JoinHandle<()>>,
}

/// A span, and who sent it.
#[derive(Clone, Debug)]
pub struct Received {
    /// `service.name` of the sender.
    pub service: String,
    /// What it sent.
    pub span: Span,
}

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<Received>>>);

impl Collector {
    /// Starts one on a free port.
    ///
    /// # Panics
    /// If there is none.
    #[expect(
        clippy::disallowed_methods,
        reason = "a test has no supervisor; it is stopped on drop"
    )]
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let kept = Kept::default();
        let routes = Routes::new(TraceServiceServer::new(kept.clone()));
        let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
        let serving = tonic::transport::Server::builder().add_routes(routes);
        let server = tokio::spawn(async move {
            serving.serve_with_incoming(incoming).await.expect("serves");
        });
        Self { url, kept, tasks: vec![server] }
    }

    /// Starts one that speaks TLS only, with a certificate by [`tls::authority`].
    ///
    /// # Panics
    /// If there is no port.
    #[expect(
        clippy::disallowed_methods,
        reason = "a test has no supervisor; it is stopped on drop"
    )]
    pub async fn start_tls() -> Self {
        let mut plain = Self::start().await;
        let behind = plain.url.replace("http://", "");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        plain.url = format!("https://localhost:{port}");
        plain.tasks.push(tokio::spawn(async move {
            let (acceptor, mut connections) = (tls::acceptor(&["h2"]), JoinSet::new());
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, behind) = (acceptor.clone(), behind.clone());
                connections.spawn(async move {
                    let mut outer = acceptor.accept(stream).await?;
                    let mut inner = TcpStream::connect(behind).await?;
                    copy_bidirectional(&mut outer, &mut inner).await
                });
            }
        }));
        plain
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What it has of a trace, by its id in hex.
    ///
    /// # Panics
    /// If it is poisoned.
    pub fn of_trace(&self, id: &str) -> Vec<Received> {
        let kept = self.kept.0.lock().expect("not poisoned");
        kept.iter().filter(|it| hex(&it.span.trace_id) == id).cloned().collect()
    }

    /// Everything it has.
    ///
    /// # Panics
    /// If it is poisoned.
    pub fn all(&self) -> Vec<Received> {
        self.kept.0.lock().expect("not poisoned").clone()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Received {
    /// The span's id, in hex.
    pub fn id(&self) -> String {
        hex(&self.span.span_id)
    }

    /// The id of its parent, in hex.
    pub fn parent(&self) -> String {
        hex(&self.span.parent_span_id)
    }

    /// An attribute as text; empty: it has none of that name.
    pub fn text(&self, name: &str) -> String {
        let found = self.span.attributes.iter().find(|attribute| attribute.key == name);
        found.map(shown).unwrap_or_default()
    }

    /// The `traceparent` that names it.
    pub fn traceparent(&self) -> String {
        format!("00-{}-{}-01", hex(&self.span.trace_id), self.id())
    }
}

/// Bytes as hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn shown(attribute: &KeyValue) -> String {
    match attribute.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::DoubleValue(number)) => number.to_string(),
        Some(Value::BoolValue(yes)) => yes.to_string(),
        other => format!("{other:?}"),
    }
}

#[tonic::async_trait]
impl TraceService for Kept {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for ResourceSpans { resource, scope_spans, .. } in request.into_inner().resource_spans {
            let attributes = resource.unwrap_or_default().attributes;
            let name = attributes.iter().find(|attribute| attribute.key == "service.name");
            let service = name.map(shown).unwrap_or_default();
            let spans = scope_spans.into_iter().flat_map(|scope| scope.spans);
            let received = spans.map(|span| Received { service: service.clone(), span });
            self.0.lock().expect("not poisoned").extend(received);
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}
