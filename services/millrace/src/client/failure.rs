//! What a failed call tells a person: a sentence, and what to do about it.

use std::{error::Error, fmt::Write, time::Duration};

use tonic::{Code, Status};
use tonic_types::StatusExt;

/// Says that no connection came about.
pub(crate) fn unreachable(server: &str, error: &(dyn Error + 'static)) -> anyhow::Error {
    anyhow::anyhow!(
        "cannot reach `{server}` ({}). Is it running? `millrace dev` starts one; --server names another",
        deepest(error)
    )
}

/// Says what a call was refused for; `doing` completes "cannot …".
pub(crate) fn explain(status: &Status, doing: &str) -> anyhow::Error {
    let violations = violations(status);
    let reason = match status.code() {
        Code::Unauthenticated => format!(
            "{}. Check --account-sid with --auth-token, or --platform-key",
            sentence(status, "the credentials are wrong")
        ),
        Code::PermissionDenied => format!(
            "{}. These credentials may not do this",
            sentence(status, "it is not permitted")
        ),
        Code::Unimplemented => {
            "the server does not offer this: does --server name a control-plane, and --router a router?"
                .to_owned()
        }
        Code::Unavailable | Code::DeadlineExceeded => {
            format!("{}. Try again in a moment", sentence(status, "the server is not available"))
        }
        Code::ResourceExhausted => match retry_delay(status) {
            Some(delay) => format!(
                "{}. Try again in {}",
                sentence(status, "the server has no room"),
                humantime::format_duration(delay)
            ),
            None => format!("{}. Try again later", sentence(status, "the server has no room")),
        },
        // The fields say it better than the sentence over them.
        _ if !violations.is_empty() => return anyhow::anyhow!("cannot {doing}:{violations}"),
        _ => sentence(status, "the server gave no reason"),
    };
    anyhow::anyhow!("cannot {doing}: {reason}{violations}")
}

/// How long the server asks to wait before the call is repeated.
pub(crate) fn retry_delay(status: &Status) -> Option<Duration> {
    status.get_details_retry_info()?.retry_delay
}

/// Tells whether the call may be repeated: the server was not there, had no room, or did not get to answer.
pub(crate) fn may_pass(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable | Code::ResourceExhausted | Code::DeadlineExceeded => true,
        // A connection that broke under the call; a refusal by the server has no source.
        Code::Unknown | Code::Cancelled | Code::Internal => status.source().is_some(),
        _ => false,
    }
}

fn violations(status: &Status) -> String {
    let mut text = String::new();
    for violation in
        status.get_details_bad_request().map(|b| b.field_violations).unwrap_or_default()
    {
        write!(text, "\n  {}: {}", violation.field, violation.description)
            .expect("a String takes everything");
    }
    text
}

fn sentence(status: &Status, otherwise: &str) -> String {
    let message = status.message().trim().trim_end_matches('.');
    let cause = status.source().map(|source| format!(" ({})", deepest(source))).unwrap_or_default();
    if message.is_empty() { format!("{otherwise}{cause}") } else { format!("{message}{cause}") }
}

fn deepest(error: &(dyn Error + 'static)) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn field_violations_are_shown_field_by_field() {
        let mut details =
            ErrorDetails::with_bad_request_violation("sink.description", "is required");
        details.add_bad_request_violation("sink.webhook.destination", "must be `https`");
        let status = Status::with_error_details(Code::InvalidArgument, "invalid request", details);
        assert_eq!(
            explain(&status, "create the sink").to_string(),
            "cannot create the sink:\n  sink.description: is required\n  sink.webhook.destination: must be `https`"
        );
    }

    #[test]
    fn wrong_credentials_and_no_room_come_with_a_remedy() {
        let status = Status::unauthenticated("the auth token is wrong.");
        assert_eq!(
            explain(&status, "list sinks").to_string(),
            "cannot list sinks: the auth token is wrong. Check --account-sid with --auth-token, or --platform-key"
        );
        let details = ErrorDetails::with_retry_info(Some(Duration::from_secs(2)));
        let status =
            Status::with_error_details(Code::ResourceExhausted, "the queue is full", details);
        assert!(
            explain(&status, "publish").to_string().ends_with("the queue is full. Try again in 2s")
        );
        assert_eq!(retry_delay(&status), Some(Duration::from_secs(2)));
    }

    #[test]
    fn only_what_may_pass_is_repeated() {
        assert!(may_pass(&Status::unavailable("")) && may_pass(&Status::resource_exhausted("")));
        for status in
            [Status::invalid_argument(""), Status::unauthenticated(""), Status::internal("")]
        {
            assert!(!may_pass(&status), "{status}");
        }
    }
}
