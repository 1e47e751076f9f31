//! The servers tell gRPC clients what they serve: reflection, and health by service.

use std::collections::BTreeSet;

use millrace_tests::{Kind, Mode, Options, Stack, channel};
use tonic::Request;
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

const OF_CONTROL_PLANE: [&str; 9] = [
    "millrace.v1.AccountService",
    "millrace.v1.AuditService",
    "millrace.v1.EventService",
    "millrace.v1.EventTypeService",
    "millrace.v1.LogService",
    "millrace.v1.QuarantineService",
    "millrace.v1.SchemaService",
    "millrace.v1.SinkService",
    "millrace.v1.SubscriptionService",
];

#[tokio::test]
async fn what_is_served_can_be_asked_for_embedded() {
    what_is_served_can_be_asked_for(Mode::Embedded).await;
}

#[tokio::test]
async fn what_is_served_can_be_asked_for_on_servers() {
    what_is_served_can_be_asked_for(Mode::Servers).await;
}

async fn what_is_served_can_be_asked_for(mode: Mode) {
    let stack = Stack::start(mode, Options::default()).await;
    let control_plane = stack.url(Kind::ControlPlane);
    for service in OF_CONTROL_PLANE {
        assert!(is_described(&control_plane, service).await, "{service}");
    }
    assert!(is_described(&stack.url(Kind::Router(0)), "millrace.v1.PublishService").await);
    assert!(!is_described(&control_plane, "millrace.v1.NoService").await);
    let listed = services(&control_plane).await;
    assert!(OF_CONTROL_PLANE.iter().all(|service| listed.contains(*service)), "{listed:?}");
}

/// Asks a server for the file that a service is in.
async fn is_described(url: &str, service: &str) -> bool {
    match ask(url, MessageRequest::FileContainingSymbol(service.to_owned())).await {
        MessageResponse::FileDescriptorResponse(files) => !files.file_descriptor_proto.is_empty(),
        MessageResponse::ErrorResponse(_) => false,
        other => panic!("{other:?}"),
    }
}

async fn services(url: &str) -> BTreeSet<String> {
    match ask(url, MessageRequest::ListServices(String::new())).await {
        MessageResponse::ListServicesResponse(list) => {
            list.service.into_iter().map(|service| service.name).collect()
        }
        other => panic!("{other:?}"),
    }
}

async fn ask(url: &str, question: MessageRequest) -> MessageResponse {
    let mut client = ServerReflectionClient::new(channel(url));
    let question = ServerReflectionRequest {
        message_request: Some(question),
        ..ServerReflectionRequest::default()
    };
    let asked = Request::new(tokio_stream::iter([question]));
    match client.server_reflection_info(asked).await {
        Ok(answers) => {
            let answer = answers.into_inner().message().await;
            match answer {
                Ok(answer) => {
                    let answer = answer.expect("an answer").message_response;
                    answer.expect("of some kind")
                }
                Err(status) => not_found(&status),
            }
        }
        Err(status) => not_found(&status),
    }
}

/// What a server does not know it says by the status of the stream.
fn not_found(status: &tonic::Status) -> MessageResponse {
    assert_eq!(status.code(), tonic::Code::NotFound, "{status}");
    MessageResponse::ErrorResponse(tonic_reflection::pb::v1::ErrorResponse::default())
}
