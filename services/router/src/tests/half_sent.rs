//! A `PublishStream` whose client has sent half a batch, byte by byte over HTTP/2.

use std::convert::Infallible;

use axum::{
    body::Bytes,
    http::{self, HeaderMap},
};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use millrace_proto::v1::{PublishStreamRequest, PublishStreamResponse};
use prost::Message;
use tokio::sync::mpsc;
use tonic::body::Body;
use tower::{Service, ServiceExt};

use super::*;

const PREFIX: usize = 5;

/// A message as gRPC frames it.
fn framed(batch: u64, events: Vec<Event>) -> Vec<u8> {
    let message = PublishStreamRequest { batch, events, deduplicate: false }.encode_to_vec();
    let length = u32::try_from(message.len()).expect("short").to_be_bytes();
    [&[0], length.as_slice(), message.as_slice()].concat()
}

/// Opens a stream; gives where to send what, and its answers.
async fn open(router: &Fixture) -> (mpsc::Sender<Result<Frame<Bytes>, Infallible>>, Body) {
    let (bytes, mut sent) = mpsc::channel(1);
    let sent = futures::stream::poll_fn(move |context| sent.poll_recv(context));
    let uri = format!("http://{}/millrace.v1.PublishService/PublishStream", router.address);
    let request = http::Request::post(&uri)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("authorization", own())
        .body(Body::new(StreamBody::new(sent)))
        .expect("a request");
    let address = format!("http://{}", router.address);
    let mut channel = millrace_watch::connect(&address).expect("an address");
    let answer = channel.ready().await.expect("connected").call(request).await.expect("an answer");
    (bytes, answer.into_body())
}

/// What the stream ends with.
async fn trailers(answers: &mut Body) -> HeaderMap {
    loop {
        let frame = answers.frame().await.expect("trailers are last").expect("no error");
        if let Ok(trailers) = frame.into_trailers() {
            return trailers;
        }
    }
}

#[tokio::test]
async fn a_stop_ends_a_stream_within_a_batch_and_takes_nothing_of_it() {
    let watch = Watch::fixed(fixture::configuration());
    // Not for this it ends.
    let patient = |settings: &mut Settings| settings.router.read_timeout = Duration::from_secs(60);
    let router = Fixture::on(Fickle::open(8).await, watch, patient).await;
    let (bytes, mut answers) = open(&router).await;
    let mut sent = framed(1, vec![paid("1")]);
    let half = framed(2, vec![paid("2"), paid("3")]);
    sent.extend(&half[..half.len() / 2]);
    bytes.send(Ok(Frame::data(sent.into()))).await.expect("taken");
    let first = answers.frame().await.expect("an answer").expect("no error");
    let first = first.into_data().expect("a message");
    let first = PublishStreamResponse::decode(&first[PREFIX..]).expect("an answer");
    assert_eq!(first.batch, 1, "what came with it was read as well");
    let stop = router.process.tasks.stop(Duration::from_secs(20));
    let (stopped, trailers) = tokio::join!(stop, trailers(&mut answers));
    stopped.expect("all tasks end in time, though its client goes on");
    let status = Status::from_header_map(&trailers).expect("a status");
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert_eq!(router.queue.ids().await, [["1"]]);
    drop(bytes);
}
